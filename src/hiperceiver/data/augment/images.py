"""Pictures and clips mirrored, turned and cropped.

What lies over each other moves together: all pictures of an example, all frames of a clip, and the mask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from hiperceiver.data.augment.augmentation import MASK, Augmentation
from hiperceiver.data.encoders.regions import Region
from hiperceiver.settings.augment import CropSettings, FlipSettings, TurnSettings


class Flip(FlipSettings, Augmentation):
    """Left and right are swapped.

    >>> picture = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    >>> Flip(probability=1)({"image": picture}, {"image": "image"}, np.random.default_rng(0))["image"].tolist()
    [[[3, 4, 5], [0, 1, 2]]]
    """

    kinds: ClassVar[tuple[str, ...]] = ("image", "video", "volume", MASK)
    is_on_grid: ClassVar[bool] = True

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


class Rotate90(TurnSettings, Augmentation):
    """A turn by 0, 90, 180 or 270 degrees, all equally likely: for pictures without up and down.

    >>> picture = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    >>> Rotate90()({"image": picture}, {"image": "image"}, np.random.default_rng(0))["image"].ravel().tolist()
    [2, 0, 3, 1]
    """

    kinds: ClassVar[tuple[str, ...]] = ("image", "video", "volume", MASK)
    is_on_grid: ClassVar[bool] = True

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


class Crop(CropSettings, Augmentation):
    """A region of random place, size and shape, which covers as much of the grid as the whole would.

    The region is the same share of every picture, so pictures of different sizes still show the same part. It is taken
    from the full picture, so a small one is as sharp as the picture is.

    >>> from hiperceiver.data.encoders import ImageEncoder
    >>> encoder = ImageEncoder(size=4)
    >>> values = {"image": encoder.decode(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))}
    >>> cropped = Crop(scale=(0.25, 0.25), ratio=(1, 1))(values, {"image": "image"}, np.random.default_rng(0))["image"]
    >>> cropped.region.height, encoder.fit_to_grid(cropped).shape
    (0.5, (4, 4, 3))
    """

    kinds: ClassVar[tuple[str, ...]] = ("image", "video", MASK)

    def __call__(self, values: dict[str, Any], kinds: Mapping[str, str], rng: np.random.Generator) -> dict[str, Any]:
        """All of the example's pictures, cropped alike."""
        area = rng.uniform(*self.scale)
        # The logarithm makes 3:4 as likely as 4:3. A box whose shape is not between area and 1/area would not fit.
        shape = math.exp(rng.uniform(*np.log(self.ratio)))
        shape = min(max(shape, area), 1 / area)
        height, width = min(1.0, math.sqrt(area / shape)), min(1.0, math.sqrt(area * shape))
        region = Region(height=height, width=width, top=rng.random(), left=rng.random())
        return values | {name: replace(values[name], region=region) for name in self.names(values, kinds)}


def _axes(kind: str) -> tuple[int, int]:
    """Rows and columns: a mask has no channels after them; clips and volumes have another axis before."""
    return (-2, -1) if kind == MASK else (-3, -2)
