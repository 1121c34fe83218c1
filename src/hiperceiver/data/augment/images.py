"""Pictures and clips mirrored, turned and cropped.

What lies over each other moves together: all pictures of an example, all frames of a clip, and the mask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hiperceiver.data.augment.augmentation import MASK, Augmentation, checked_number, checked_range


@dataclass(frozen=True, kw_only=True)
class Flip(Augmentation):
    """Left and right are swapped.

    >>> picture = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    >>> Flip(probability=1)({"image": picture}, {"image": "image"}, np.random.default_rng(0))["image"].tolist()
    [[[3, 4, 5], [0, 1, 2]]]
    """

    kinds: ClassVar[tuple[str, ...]] = ("image", "video", "volume", MASK)

    probability: float = 0.5
    """How often, 0..1."""

    def __post_init__(self) -> None:
        checked_number("probability", self.probability, 0, 1)

    def __call__(
        self, values: dict[str, np.ndarray], kinds: Mapping[str, str], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """All or none of the example's pictures, mirrored."""
        if rng.random() >= self.probability:
            return values
        return values | {
            name: np.ascontiguousarray(np.flip(values[name], _axes(kinds[name])[1]))
            for name in self.names(values, kinds)
        }


@dataclass(frozen=True, kw_only=True)
class Turn(Augmentation):
    """A turn by 0, 90, 180 or 270 degrees, all equally likely: for pictures without up and down.

    >>> picture = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    >>> Turn()({"image": picture}, {"image": "image"}, np.random.default_rng(0))["image"].ravel().tolist()
    [2, 0, 3, 1]
    """

    kinds: ClassVar[tuple[str, ...]] = ("image", "video", "volume", MASK)

    def __call__(
        self, values: dict[str, np.ndarray], kinds: Mapping[str, str], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """All of the example's pictures, turned alike.

        Raises:
            ValueError: one is not square.
        """
        num_turns, changed = int(rng.integers(4)), {}
        for name in self.names(values, kinds):
            axes = _axes(kinds[name])
            height, width = (values[name].shape[axis] for axis in axes)
            if height != width:
                raise ValueError(f"{name}: expected a square picture to turn, got {height}x{width}")
            changed[name] = np.ascontiguousarray(np.rot90(values[name], num_turns, axes))
        return values | changed


@dataclass(frozen=True, kw_only=True)
class Crop(Augmentation):
    """A box cut out at a random place, of random size and shape, and brought back to the size of the whole.

    The box is the same share of every picture, so pictures of different sizes still show the same part. Pixels between
    pixels are interpolated; a mask takes the nearest one.

    >>> values = {"image": np.zeros((8, 8, 3), np.uint8), "segmentation": np.arange(64).reshape(8, 8)}
    >>> kinds = {"image": "image", "segmentation": "mask"}
    >>> Crop(scale=(0.25, 0.25), ratio=(1, 1))(values, kinds, np.random.default_rng(0))["segmentation"][0]
    array([0, 0, 1, 1, 2, 2, 3, 3])
    """

    kinds: ClassVar[tuple[str, ...]] = ("image", "video", MASK)

    scale: tuple[float, float] = (0.2, 1.0)
    """Smallest and largest share of the area that is kept; the default is masked auto-encoders' custom."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Narrowest and widest shape of the box: its width to its height, as shares of the picture's."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", checked_range("scale", self.scale, 0, 1))
        object.__setattr__(self, "ratio", checked_range("ratio", self.ratio, 0))

    def __call__(
        self, values: dict[str, np.ndarray], kinds: Mapping[str, str], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """All of the example's pictures, cropped alike."""
        area = rng.uniform(*self.scale)
        # The logarithm makes 3:4 as likely as 4:3. A box whose shape is not between area and 1/area would not fit.
        shape = math.exp(rng.uniform(*np.log(self.ratio)))
        shape = min(max(shape, area), 1 / area)
        height, width = min(1.0, math.sqrt(area / shape)), min(1.0, math.sqrt(area * shape))
        top, left = rng.uniform(0, 1 - height), rng.uniform(0, 1 - width)
        changed = {}
        for name in self.names(values, kinds):
            is_mask, axes = kinds[name] == MASK, _axes(kinds[name])
            stretched = _stretched(values[name], axes[0], top, height, is_mask=is_mask)
            stretched = _stretched(stretched, axes[1], left, width, is_mask=is_mask)
            if values[name].dtype == np.uint8:
                stretched = np.rint(stretched)
            changed[name] = stretched.astype(values[name].dtype, copy=False)
        return values | changed


def _axes(kind: str) -> tuple[int, int]:
    """Rows and columns: a mask has no channels after them; clips and volumes have another axis before."""
    return (-2, -1) if kind == MASK else (-3, -2)


def _stretched(value: np.ndarray, axis: int, start: float, extent: float, *, is_mask: bool) -> np.ndarray:
    """The part start..start + extent (shares of the axis) on as many pixels as the whole had."""
    size = value.shape[axis]
    middles = (start + (np.arange(size) + 0.5) / size * extent) * size - 0.5
    if is_mask:
        return value.take(np.rint(middles).astype(np.int64), axis, mode="clip")
    middles = middles.clip(0, size - 1)
    before = np.floor(middles).astype(np.int64)
    share = (middles - before).astype(np.float32)
    share = share.reshape(-1, *(1,) * (-1 - axis))
    first = value.take(before, axis).astype(np.float32, copy=False)
    second = value.take(before + 1, axis, mode="clip").astype(np.float32, copy=False)
    return first + (second - first) * share
