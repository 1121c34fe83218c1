"""Point clouds and meshes: a token is a point, its first channels are x, y and z, and the rest are its features.

Along a space-filling curve points come in one order whatever a file's is, and a group's tokens are a region of space.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from hiperceiver.curves import hilbert_code, morton_code
from hiperceiver.data.encoders import arrays
from hiperceiver.data.encoders.arrays import RawArray, read_named
from hiperceiver.data.encoders.encoder import Drawing, Encoder, measured
from hiperceiver.data.encoders.meshes import MESH_STARTS, check_places, points_of_mesh
from hiperceiver.data.faults import faults_of, read_file
from hiperceiver.modality import Modality
from hiperceiver.settings.encoders import PointsSettings

TABLE_ENDINGS = (".csv", ".npy", ".npz", ".pts", ".tsv", ".txt", ".xyz")
"""Endings of files that hold a row of numbers for each point."""

_CURVES = {"hilbert": hilbert_code, "morton": morton_code}
_FAR_AWAY = 100  # times a cloud's own extent: closer to the origin float32 is good enough
_FARTHEST_POINT, _FARTHEST_OF_FEW = 1e3, 1e6  # times as far as half of the points
_FEWEST_POINTS, _FEW_POINTS = 8, 30  # of a cloud: half of fewer say nothing; half of fewer say little
_FEW_AT_0 = 0.01  # share of the points that may lie at 0
_HEAD = 64  # bytes that a line with a number of points lies in
_BITS = 16  # bits of a cell along each axis, whose points are then told apart by their numbers alone


class PointsEncoder(PointsSettings, Encoder):
    """Clouds of any number of points, and meshes, as (num_points, 3 + num_features) tokens, and back.

    Of more points some are kept, evenly spaced in the chosen order; fewer have absent tokens at the end. A mesh is
    sampled evenly over its surface. With `hilbert` and `morton` a shuffled cloud gives the same tokens, bit for bit,
    and where there are too many points copies of one are left out.

    >>> rng = np.random.default_rng(0)
    >>> cloud = rng.normal(size=(1000, 3))
    >>> encoder = PointsEncoder(num_points=512)
    >>> tokens = encoder.encode(cloud)[0]
    >>> tokens.shape, tokens.equal(encoder.encode(rng.permutation(cloud))[0])
    (torch.Size([512, 3]), True)
    >>> round(tokens.norm(dim=1).max().item(), 4)  # the farthest point lies on the unit sphere
    1.0
    """

    suffixes: ClassVar[tuple[str, ...]] = ("off", "ply", "obj", "stl", "glb", "xyz", "pts")
    other_suffixes: ClassVar[tuple[str, ...]] = ("npy", "npz", "csv", "tsv", "txt")
    drawing = Drawing(kind="points")

    @property
    def modality(self) -> Modality:
        """Grid (num_points,) and channels of the tokens, of which 3 are coordinates."""
        return Modality(grid=(self.num_points,), channels=3 + self.num_features, num_coordinates=3)

    def to_value_mask(self, is_marked: np.ndarray, value: np.ndarray, is_padding: np.ndarray) -> np.ndarray:
        """Marks of points, bool (n,)."""
        return is_marked[~is_padding]

    @classmethod
    def chosen_settings(cls, raws: Iterable[Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """2048 points, as in the paper's ModelNet40 experiments, with the features, and names, of the first cloud."""
        if "num_features" in given:
            return {"num_points": 2048}
        if "feature_names" in given:
            return {"num_points": 2048, "num_features": len(given["feature_names"])}
        count, names = next(measured(raws, _features))
        return {"num_points": 2048, "num_features": count, "feature_names": names}

    def decode(self, raw: RawArray) -> np.ndarray:
        """Points as they are in the file, or points of a mesh's surface: float32 (N, 3 + num_features), N >= 2.

        Files are those of `TABLE_ENDINGS` and `MESH_STARTS`; bytes are .npy, .npz, .off, .ply, .glb or a table as text.
        """
        with faults_of(raw):
            array = self._points(raw)
            if array.ndim != 2 or array.shape[1] != 3 + self.num_features:
                expected = f"(N, {3 + self.num_features}) with num_features={self.num_features}"
                raise ValueError(f"expected points of shape {expected}, got {array.shape}")
            if array.dtype == np.float32 and self.normalise != "none":
                check_places(array[:, :3])
            points = arrays.as_float32(array if self.normalise == "none" else _near_the_origin(array))
            if (points[:, :3] == points[0, :3]).all():
                raise ValueError(f"expected points in different places, got {len(points)} in one")
            _check_origin(np.asarray(array)[:, :3])
            if self.normalise != "none":
                _check_spread(points[:, :3])
            return points

    def fit_to_grid(self, value: np.ndarray) -> np.ndarray:
        """At most num_points of the points, evenly spaced in the chosen order."""
        points = self._ordered(value.astype(np.float32) + np.float32(0))  # -0 becomes 0: they compare equal
        if len(points) > self.num_points and self.order != "index":  # copies, as files are filled up with, say nothing
            points = points[np.append(True, (points[1:] != points[:-1]).any(1))]
        if len(points) > self.num_points:
            points = points[np.arange(self.num_points) * len(points) // self.num_points]
        return points

    def to_tokens(self, value: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Points in order as tokens (num_points, 3 + num_features)."""
        # Sums depend on the order of what is summed: so the size is taken of points that are in order.
        return arrays.padded(arrays.normalised(self._scaled(value), *self._statistics), (self.num_points,))

    def to_value(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """Points that are present, float32 (n, 3 + num_features); their own scale is lost, unless normalise="none"."""
        self.check_tokens(tokens)
        return arrays.physical(tokens if is_padding is None else tokens[~is_padding], *self._statistics)

    @property
    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:  # of every channel of what `_scaled` gives
        return (0.0,) * self.num_own_scale + self.mean, (1.0,) * self.num_own_scale + self.std

    def _points(self, raw: Any) -> np.ndarray:
        """Numbers of points, not yet checked."""
        ending, is_path = _ending_of(raw), isinstance(raw, str | os.PathLike)
        if ending in MESH_STARTS:
            return points_of_mesh(read_file(raw) if is_path else raw, ending, self.num_points)
        if is_path and ending not in TABLE_ENDINGS:
            known = ", ".join(sorted((*MESH_STARTS, *TABLE_ENDINGS)))
            raise ValueError(f"expected a file of points or a mesh ({known}), got {ending or 'no ending'!r}")
        array, names = _coordinates_first(*_read_table(raw))
        wanted = (*"xyz", *(name.lower() for name in self.feature_names))
        return arrays.columns_of(array, names, wanted) if names and self.feature_names else array

    def _ordered(self, points: np.ndarray) -> np.ndarray:
        """The points along the curve, whatever order they come in."""
        if self.order == "index":
            return points
        coordinates = points[:, :3].astype(np.float64)
        coordinates -= coordinates.min(0)
        extent = coordinates.max() or 1.0
        cells = (coordinates * ((2**_BITS - 1) / extent)).astype(np.uint64)
        # In one cell all numbers of the points decide in turn; where they are equal too, the points are the same.
        return points[np.lexsort((*points.T[::-1], _CURVES[self.order](cells, _BITS)))]

    def _scaled(self, points: np.ndarray) -> np.ndarray:
        """The cloud brought to its place and size: float64 (n, 3 + num_features)."""
        scaled = points.astype(np.float64)
        coordinates = scaled[:, :3]  # a view
        if self.normalise == "sphere":
            coordinates -= coordinates.mean(0)
            coordinates /= np.sqrt(np.square(coordinates).sum(1).max()) or 1.0
        elif self.normalise == "box":
            coordinates -= (coordinates.min(0) + coordinates.max(0)) / 2
            coordinates /= np.abs(coordinates).max() or 1.0
        return scaled


def _coordinates_first(array: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Points of a table whose columns x, y and z have these names, wherever they stand; and all names, small."""
    small = [name.lower() for name in names]
    if not {"x", "y", "z"} <= {*small} or len({*small}) < len(small):
        return array, ()
    order = [*map(small.index, "xyz"), *(n for n, name in enumerate(small) if name not in ("x", "y", "z"))]
    return array[:, order], tuple(small[column] for column in order)


def _near_the_origin(points: np.ndarray) -> np.ndarray:
    """Points (N, 3 or more) that lie too far away for float32, as in maps, without their mean, which is lost anyway."""
    coordinates = points[:, :3]
    if not np.isfinite(coordinates).all():
        return points  # refused where numbers are checked
    coordinates = coordinates.astype(np.float64)
    low, high = coordinates.min(0), coordinates.max(0)
    if np.maximum(np.abs(low), np.abs(high)).max() <= _FAR_AWAY * (high - low).max():
        return points
    moved = points.astype(np.float64)
    moved[:, :3] -= coordinates.mean(0)
    return moved


def _check_spread(coordinates: np.ndarray) -> None:
    """Refuse a cloud whose farthest point would shrink the rest to nothing when the cloud is brought to one size."""
    distances = np.abs(coordinates - np.median(coordinates, 0)).max(1)
    most, usual = float(distances.max()), float(np.median(distances))
    farthest = _FARTHEST_POINT if len(coordinates) > _FEW_POINTS else _FARTHEST_OF_FEW
    if len(coordinates) >= _FEWEST_POINTS and most > farthest * usual > 0:
        raise ValueError(f"has a point {most / usual:.3g} times as far from the middle as half of the points")


def _check_origin(coordinates: np.ndarray) -> None:
    """Refuse a cloud of which many points lie at 0, 0, 0, as depth cameras write what they did not see, apart from it.

    It would be brought to one size with them.
    """
    is_zero = ~coordinates.any(axis=1)
    count = int(is_zero.sum())
    if len(coordinates) <= _FEW_POINTS or not max(1, _FEW_AT_0 * len(coordinates)) < count < len(coordinates):
        return
    others = coordinates[~is_zero]
    if ((others.min(0) > 0) | (others.max(0) < 0)).any():
        raise ValueError(f"has {count} of {len(coordinates)} points at 0, 0, 0, beside all others: leave them out")


def _ending_of(raw: Any) -> str:
    """A path's ending, or that of the files of meshes that begin as these bytes do; else ""."""
    if isinstance(raw, str | os.PathLike):
        return Path(raw).suffix.lower()
    starts = MESH_STARTS.items() if isinstance(raw, bytes) else ()
    return next((ending for ending, start in starts if start is not None and raw.startswith(start)), "")


def _features(raw: RawArray) -> tuple[int, tuple[str, ...]]:
    """How many channels there are beside x, y and z, and their names in a table that names all. Meshes have none."""
    if _ending_of(raw) in MESH_STARTS:
        return 0, ()
    with faults_of(raw):
        array, names = _coordinates_first(*_read_table(raw))
        shape = array.shape
        if len(shape) != 2 or shape[1] < 3:
            raise ValueError(f"expected points of shape (N, 3 or more), got {shape}")
    if shape[1] > shape[0]:
        option = f"--encoders.points.num_features {shape[1] - 3}"
        remedy = f"transpose them, or set num_features to {shape[1] - 3} ({option}) if that is right"
        raise ValueError(f"num_features: expected points of shape (N, 3 or more), got {shape}; {remedy}")
    return shape[1] - 3, names[3:]


def _read_table(raw: RawArray) -> tuple[np.ndarray, tuple[str, ...]]:
    """As `read_named`; in the first line of a text the number of its points may stand alone, and must be right."""
    head = raw[:_HEAD] if isinstance(raw, bytes) else b""
    if isinstance(raw, str | os.PathLike):
        head = read_file(raw, _HEAD)
    if not head.lstrip().partition(b"\n")[0].strip().isdigit():
        return read_named(raw)
    content = read_file(raw) if isinstance(raw, str | os.PathLike) else raw
    assert isinstance(content, bytes)  # as it has a head
    first, _, rest = content.lstrip().partition(b"\n")
    if not rest.strip():
        raise ValueError(f"its first line says {int(first)} points, got none")
    array, names = read_named(b"#\n" + rest)  # lines are counted from the file's first
    if len(array) != int(first):
        raise ValueError(f"its first line says {int(first)} points, got {len(array)}")
    return array, names
