"""Point clouds turned, stretched, shaken and thinned out. Only x, y and z change: normals and other features stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from hiperceiver.data.augment.augmentation import Augmentation, checked_number, checked_range, rotation_about

Axis = Literal["x", "y", "z", "any"]


@dataclass(frozen=True, kw_only=True)
class Rotate(Augmentation):
    """Clouds turn about an axis through their middle; all clouds of an example by the same angle.

    >>> cloud = np.array([[1, 0, 0], [-1, 0, 0]], dtype=np.float32)
    >>> turned = Rotate()({"cloud": cloud}, {"cloud": "points"}, np.random.default_rng(0))["cloud"]
    >>> np.linalg.norm(turned, axis=1), turned[:, 2]
    (array([1., 1.], dtype=float32), array([0., 0.], dtype=float32))
    """

    kinds: ClassVar[tuple[str, ...]] = ("points",)

    axis: Axis = "z"
    """The axis: the one that points up keeps things upright (z or y, as the files have it); `any` is drawn evenly."""
    degrees: float = 180.0
    """The largest turn either way, 0..180; how much is drawn evenly."""

    def __post_init__(self) -> None:
        if self.axis not in get_args(Axis):
            raise ValueError(f"axis: expected one of {', '.join(get_args(Axis))}, got {self.axis!r}")
        checked_number("degrees", self.degrees, 0, 180)

    def __call__(
        self, values: dict[str, np.ndarray], kinds: Mapping[str, str], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """All of the example's clouds, turned alike."""
        axis = rng.standard_normal(3) if self.axis == "any" else np.eye(3)["xyz".index(self.axis)]
        rotation = rotation_about(axis, rng.uniform(-self.degrees, self.degrees))
        return values | {name: _about_middle(values[name], rotation) for name in self.names(values, kinds)}


@dataclass(frozen=True, kw_only=True)
class Scale(Augmentation):
    """Clouds are stretched about their middle, along each axis by a factor of its own; all clouds of an example alike.

    One factor for all axes would be undone where an encoder brings every cloud to the same size.

    >>> cloud = np.array([[1, 1, 1], [-1, -1, -1]], dtype=np.float32)
    >>> Scale(factors=(2, 2))({"cloud": cloud}, {"cloud": "points"}, np.random.default_rng(0))["cloud"][0]
    array([2., 2., 2.], dtype=float32)
    """

    kinds: ClassVar[tuple[str, ...]] = ("points",)

    factors: tuple[float, float] = (0.8, 1.25)
    """Smallest and largest factor, drawn evenly in between."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", checked_range("factors", self.factors, 0))

    def __call__(
        self, values: dict[str, np.ndarray], kinds: Mapping[str, str], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """All of the example's clouds, stretched alike."""
        stretch = np.diag(rng.uniform(*self.factors, size=3))
        return values | {name: _about_middle(values[name], stretch) for name in self.names(values, kinds)}


@dataclass(frozen=True, kw_only=True)
class Jitter(Augmentation):
    """Every point moves a little, in a direction of its own. Lengths are shares of the cloud's radius.

    >>> cloud = np.array([[1, 0, 0], [-1, 0, 0]], dtype=np.float32)
    >>> shaken = Jitter()({"cloud": cloud}, {"cloud": "points"}, np.random.default_rng(0))["cloud"]
    >>> bool(0 < np.abs(shaken - cloud).max() <= 0.05)
    True
    """

    kinds: ClassVar[tuple[str, ...]] = ("points",)

    sigma: float = 0.01
    """Standard deviation along each axis, as a share of the distance from the middle to the farthest point."""
    limit: float = 0.05
    """No point moves farther than this along an axis, in the same unit."""

    def __post_init__(self) -> None:
        for name in ("sigma", "limit"):
            checked_number(name, getattr(self, name), 0)

    def __call__(
        self, values: dict[str, np.ndarray], kinds: Mapping[str, str], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Each of the example's clouds, shaken."""
        changed = {}
        for name in self.names(values, kinds):
            places = values[name][:, :3]
            radius = np.linalg.norm(places - places.mean(0), axis=1).max()
            steps = rng.normal(0, self.sigma, places.shape).clip(-self.limit, self.limit)
            changed[name] = _with_places(values[name], places + radius * steps)
        return values | changed


@dataclass(frozen=True, kw_only=True)
class DropPoints(Augmentation):
    """Some points are left out. Those that stay keep their order, and one stays always.

    >>> cloud = np.zeros((100, 3), dtype=np.float32)
    >>> DropPoints()({"cloud": cloud}, {"cloud": "points"}, np.random.default_rng(0))["cloud"].shape
    (68, 3)
    """

    kinds: ClassVar[tuple[str, ...]] = ("points",)

    share: float = 0.5
    """The largest share of the points that is left out, 0..1; how many is drawn evenly for each cloud."""

    def __post_init__(self) -> None:
        checked_number("share", self.share, 0, 1)

    def __call__(
        self, values: dict[str, np.ndarray], kinds: Mapping[str, str], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Each of the example's clouds, with fewer points."""
        changed = {}
        for name in self.names(values, kinds):
            num_points = len(values[name])
            num_kept = max(1, round(num_points * (1 - rng.uniform(0, self.share))))
            changed[name] = values[name][np.sort(rng.permutation(num_points)[:num_kept])]
        return values | changed


def _about_middle(cloud: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The cloud (N, 3 + features), its places multiplied by a matrix (3, 3) about their mean."""
    places = cloud[:, :3].astype(np.float64)
    middle = places.mean(0)
    return _with_places(cloud, (places - middle) @ matrix.T + middle)


def _with_places(cloud: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The cloud with other x, y and z and its own features."""
    changed = cloud.copy()
    changed[:, :3] = places
    return changed
