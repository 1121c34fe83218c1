"""Pictures and clips in other colours, and RandAugment, which moves them as well. The operations are kornia's.

All pictures of an example change alike, and all frames of a clip: what an operation takes from the picture (its mean,
its histogram) is taken from the whole clip, so that it does not flicker. Colours are uint8, or float in 0..1.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hiperceiver.data.augment.augmentation import MASK, Augmentation
from hiperceiver.data.encoders import Encoder
from hiperceiver.data.encoders.image import IGNORE
from hiperceiver.data.packages import import_extra
from hiperceiver.settings.augment import ColourSettings, RandAugmentSettings


class ColorJitter(ColourSettings, Augmentation):
    """Other brightness, contrast, saturation and hue, each drawn evenly. Alpha is left alone; grey has no hue.

    >>> picture = np.full((4, 4, 3), 100, dtype=np.uint8)
    >>> ColorJitter()({"image": picture}, {"image": "image"}, np.random.default_rng(0))["image"][0, 0]
    array([111, 111, 111], dtype=uint8)
    """

    kinds: ClassVar[tuple[str, ...]] = ("image", "video")
    is_on_grid: ClassVar[bool] = True

    def check(self, encoder: Encoder) -> None:
        """Find kornia."""
        _kornia()

    def _draw(self, rng: np.random.Generator) -> tuple[float, ...]:
        spans = (self.brightness, self.contrast, self.saturation)
        return *(1 + float(rng.uniform(-span, span)) for span in spans), float(rng.uniform(-self.hue, self.hue))

    def _change(self, value: np.ndarray, kind: str, draw: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
        brightness, contrast, saturation, hue = draw

        def changed(colours: Tensor) -> Tensor:
            colours = _saturation(_contrast((colours * brightness).clamp(0, 1), contrast), saturation)
            if hue and colours.shape[1] == 3:
                colours = _kornia().enhance.adjust_hue(colours, 2 * np.pi * hue)
            return colours

        return _from_frames(_on_colours(changed, _to_frames(value)), value)


class RandAugment(RandAugmentSettings, Augmentation):
    """Some operations in a row, drawn with replacement from fifteen (Cubuk et al., RandAugment, 2019).

    The defaults and the operations' strengths are those that the Perceiver was trained with, without its cutout:
    at magnitude 5 a picture is turned by 15 degrees, sheared by 0.15 or moved by 22% of its side, keeps 2 bits of each
    colour, is solarised above the middle, ... ; `colour`, `contrast`, `brightness` and `sharpness` multiply by
    0.1 + 0.18 * magnitude, which is 1 and changes nothing at 5. What comes from outside is middle grey, and has no
    label in a mask: a mask moves as its pictures do.

    >>> picture = np.arange(75, dtype=np.uint8).reshape(5, 5, 3)
    >>> changed = RandAugment()({"image": picture}, {"image": "image"}, np.random.default_rng(0))["image"]
    >>> changed.shape, changed.dtype
    ((5, 5, 3), dtype('uint8'))
    """

    kinds: ClassVar[tuple[str, ...]] = ("image", "video", MASK)
    is_on_grid: ClassVar[bool] = True

    def check(self, encoder: Encoder) -> None:
        """Find kornia."""
        _kornia()

    def _draw(self, rng: np.random.Generator) -> list[tuple[str, float]]:
        names = [*COLOUR_OPERATIONS, *MOVES]
        drawn = [names[index] for index in rng.integers(len(names), size=self.operations)]
        return list(zip(drawn, rng.choice([-1.0, 1.0], size=self.operations).tolist(), strict=True))

    def _change(self, value: Any, kind: str, draw: list[tuple[str, float]], rng: np.random.Generator) -> np.ndarray:
        is_mask, level = kind == MASK, self.magnitude / 10
        frames = _to_frames(value[..., None] if is_mask else value)
        for operation, sign in draw:
            if operation in MOVES:
                # kornia fills with 0, so that what shall come from outside is made 0 for a while.
                outside, mode = (IGNORE, "nearest") if is_mask else (0.5, "bilinear")
                frames = MOVES[operation](frames - outside, sign * level, mode) + outside
            elif not is_mask:
                change = COLOUR_OPERATIONS[operation]
                frames = _on_colours(lambda x, change=change: change(x, level), frames)
        return _from_frames(frames, value)


def _kornia() -> Any:
    return import_extra("kornia", extra="data")


def _to_frames(value: np.ndarray) -> Tensor:
    """(h, w, C) or (T, h, w, C) as float32 (T, C, h, w), uint8 as 0..1."""
    pixels = np.ascontiguousarray(np.moveaxis(value.reshape(-1, *value.shape[-3:]), -1, 1), dtype=np.float32)
    return torch.from_numpy(pixels / 255 if value.dtype == np.uint8 else pixels)


def _from_frames(frames: Tensor, like: np.ndarray) -> np.ndarray:
    """The inverse of `_to_frames`, with the shape and type of the given value."""
    pixels = np.moveaxis(frames.numpy(), 1, -1)
    if like.dtype == np.uint8:
        pixels = np.rint(pixels * 255)
    return np.ascontiguousarray(pixels.reshape(like.shape), dtype=like.dtype)


def _on_colours(change: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    """The frames with other colours, in 0..1, and the alpha that they had."""
    if frames.shape[1] == 4:
        return torch.cat([change(frames[:, :3]).clamp(0, 1), frames[:, 3:]], 1)
    return change(frames).clamp(0, 1)


def _on_whole(change: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A change of the frames (T, C, h, w) that sees all of them at once: below each other, as one picture."""
    below = x.transpose(0, 1).flatten(1, 2)[None]
    return change(below)[0].unflatten(1, (x.shape[0], x.shape[2])).transpose(0, 1)


def _contrast(x: Tensor, factor: float) -> Tensor:
    return _on_whole(lambda whole: _kornia().enhance.adjust_contrast_with_mean_subtraction(whole, factor), x)


def _saturation(x: Tensor, factor: float) -> Tensor:
    return _kornia().enhance.adjust_saturation_with_gray_subtraction(x, factor) if x.shape[1] == 3 else x


def _auto_contrast(x: Tensor, level: float) -> Tensor:
    low, high = (extreme((0, 2, 3), keepdim=True) for extreme in (x.amin, x.amax))
    return torch.where(high > low, (x - low) / (high - low).clamp_min(1e-6), x)


def _factor(level: float) -> float:
    return 0.1 + 1.8 * level


COLOUR_OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "auto_contrast": _auto_contrast,
    "equalise": lambda x, level: _on_whole(_kornia().enhance.equalize, x),
    "invert": lambda x, level: 1 - x,
    "posterise": lambda x, level: _kornia().enhance.posterize(x, max(1, int(4 * level))),
    "solarise": lambda x, level: torch.where(x < level, x, 1 - x),
    "solarise_add": lambda x, level: torch.where(x < 0.5, x + 110 / 255 * level, x),
    "colour": lambda x, level: _saturation(x, _factor(level)),
    "contrast": lambda x, level: _contrast(x, _factor(level)),
    "brightness": lambda x, level: x * _factor(level),
    "sharpness": lambda x, level: x if min(x.shape[-2:]) < 3 else _kornia().enhance.sharpness(x, _factor(level)),
}
"""What RandAugment does to colours: name -> function of colours in 0..1 (T, C, h, w) and a level in 0..1."""


def _sheared(x: Tensor, along: tuple[float, float], mode: str) -> Tensor:
    return _kornia().geometry.shear(x, torch.tensor([along]).expand(len(x), 2), mode=mode, align_corners=True)


def _translated(x: Tensor, by: tuple[float, float], mode: str) -> Tensor:
    """By shares of the width and the height; 100 of 224 pixels at most."""
    shares = torch.tensor([by]) * torch.tensor([x.shape[-1], x.shape[-2]]) * 100 / 224
    return _kornia().geometry.translate(x, shares.expand(len(x), 2), mode=mode)


MOVES: dict[str, Callable[[Tensor, float, str], Tensor]] = {
    "rotate": lambda x, level, mode: _kornia().geometry.rotate(x, torch.full((len(x),), 30.0 * level), mode=mode),
    "shear_x": lambda x, level, mode: _sheared(x, (0.3 * level, 0.0), mode),
    "shear_y": lambda x, level, mode: _sheared(x, (0.0, 0.3 * level), mode),
    "translate_x": lambda x, level, mode: _translated(x, (level, 0.0), mode),
    "translate_y": lambda x, level, mode: _translated(x, (0.0, level), mode),
}
"""How RandAugment moves pictures: name -> function of (T, C, h, w), a level in -1..1 and the way to interpolate."""
