"""Pictures and clips mirrored, turned, moved and cropped: all of an example alike, all of a clip, and the mask."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from hiperceiver.data.augment.augmentation import MASK, Augmentation
from hiperceiver.data.encoders.regions import Region
from hiperceiver.settings.augment import CropSettings, FlipSettings, TranslateSettings, TurnSettings


class Flip(FlipSettings, Augmentation):
    """Left and right are swapped.

    >>> picture = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    >>> Flip(probability=1)({"image": picture}, {"image": "image"}, np.random.default_rng(0))["image"].tolist()
    [[[3, 4, 5], [0, 1, 2]]]
    """

    kinds: ClassVar[tuple[str, ...]] = ("image", "video", "volume", MASK)
    is_on_grid: ClassVar[bool] = True

    def _draw(self, rng: np.random.Generator) -> bool:
        return rng.random() < self.probability

    def _change(self, value: Any, kind: str, draw: Any, rng: np.random.Generator) -> Any:
        return np.ascontiguousarray(np.flip(value, _axes(kind)[1])) if draw else value


class Rotate90(TurnSettings, Augmentation):
    """A turn by 0, 90, 180 or 270 degrees, all equally likely: for pictures without up and down.

    All of an example turn alike; by 0 or 180 degrees if one of them is not square.

    >>> picture = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    >>> Rotate90()({"image": picture}, {"image": "image"}, np.random.default_rng(0))["image"].ravel().tolist()
    [2, 0, 3, 1]
    """

    kinds: ClassVar[tuple[str, ...]] = ("image", "video", "volume", MASK)
    is_on_grid: ClassVar[bool] = True

    def __call__(self, values: dict[str, Any], kinds: Mapping[str, str], rng: np.random.Generator) -> dict[str, Any]:
        """As of the base class."""
        axes = {name: _axes(kinds[name]) for name in self.names(values, kinds)}
        sides = ([values[name].shape[axis] for axis in each] for name, each in axes.items())
        quarters = int(rng.integers(4)) if all(height == width for height, width in sides) else 2 * int(rng.integers(2))
        turned = {name: np.rot90(values[name], quarters, each) for name, each in axes.items()}
        return {**values, **{name: np.ascontiguousarray(value) for name, value in turned.items()}}


class Translate(TranslateSettings, Augmentation):
    """A move up or down and left or right, all of an example by the same shares of their height and width.

    What comes in at an edge is what lies behind it, mirrored, as are its labels: no pixel is made up or empty.

    >>> picture = np.arange(5, dtype=np.uint8).reshape(1, 5, 1)
    >>> Translate(share=0.5)({"image": picture}, {"image": "image"}, np.random.default_rng(0))["image"].ravel().tolist()
    [1, 2, 3, 4, 3]
    """

    kinds: ClassVar[tuple[str, ...]] = ("image", "video", "volume", MASK)
    is_on_grid: ClassVar[bool] = True

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-self.share, self.share, size=2)

    def _change(self, value: Any, kind: str, draw: Any, rng: np.random.Generator) -> Any:
        for axis, share in zip(_axes(kind), draw, strict=True):
            size = value.shape[axis]
            by = round(share * size)
            places = np.pad(np.arange(size), abs(by), mode="reflect")
            value = value.take(places[abs(by) - by :][:size], axis)
        return value


class Crop(CropSettings, Augmentation):
    """A region of random place, size and shape, which covers as much of the grid as the whole would.

    It is the same share of every picture, so that all show the same part, and as sharp as the full picture.

    >>> from hiperceiver.data.encoders import ImageEncoder
    >>> encoder = ImageEncoder(size=4)
    >>> values = {"image": encoder.decode(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))}
    >>> cropped = Crop(scale=(0.25, 0.25), ratio=(1, 1))(values, {"image": "image"}, np.random.default_rng(0))["image"]
    >>> cropped.region.height, encoder.fit_to_grid(cropped).shape
    (0.5, (4, 4, 3))
    """

    kinds: ClassVar[tuple[str, ...]] = ("image", "video", MASK)

    def _draw(self, rng: np.random.Generator) -> Region:
        area = rng.uniform(*self.scale)
        # The logarithm makes 3:4 as likely as 4:3. A box whose shape is not between area and 1/area would not fit.
        shape = math.exp(rng.uniform(*np.log(self.ratio)))
        shape = min(max(shape, area), 1 / area)
        height, width = min(1.0, math.sqrt(area / shape)), min(1.0, math.sqrt(area * shape))
        return Region(height=height, width=width, top=rng.random(), left=rng.random())

    def _change(self, value: Any, kind: str, draw: Any, rng: np.random.Generator) -> Any:
        return replace(value, region=draw)


def _axes(kind: str) -> tuple[int, int]:
    """Rows and columns: a mask has no channels after them; clips and volumes have another axis before."""
    return (-2, -1) if kind == MASK else (-3, -2)
