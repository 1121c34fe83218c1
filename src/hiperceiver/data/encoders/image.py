"""Pictures to tokens and back: a token is a pixel, and its channels are the pixel's colours."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from hiperceiver.data.encoders import picture_files
from hiperceiver.data.encoders.arrays import padded
from hiperceiver.data.encoders.encoder import Drawing, Encoder
from hiperceiver.data.encoders.normalisation import FITTED_TO, name_of
from hiperceiver.data.encoders.picture_files import (
    Picture,
    RawImage,
    has_pages,
    is_pixels,
    one_line_faults,
    open_picture,
)
from hiperceiver.data.encoders.regions import GridFit, Region, fit_to_grid
from hiperceiver.data.packages import import_extra
from hiperceiver.modality import Modality
from hiperceiver.settings.encoders import NUM_COLOURS, ImageSettings, PictureSettings

if TYPE_CHECKING:
    from PIL import Image

IGNORE = -100  # the label of a position that has none


@dataclass(frozen=True, kw_only=True, eq=False)
class Mask:
    """Class numbers of a whole picture's pixels."""

    labels: np.ndarray  # int64 (H, W); -100 where there is no label
    region: Region | None = None  # as of its picture


class PictureEncoder(PictureSettings, Encoder):
    """What pictures and clips share: colours in 0..1, normalised per channel."""

    least_std: ClassVar[float] = 1 / 255
    usual: ClassVar[float] = 1.0

    @property
    def least_deviation(self) -> float:
        """One step of the numbers in the files: of 8 bits, or of as many as white has."""
        return 1 / max(255.0, self.full_scale or 0.0)

    def pictures(self, raw: Any) -> Sequence[RawImage]:
        """The pictures in a raw value that may have more than 8 bits."""
        return (raw,)

    def fitted(self, raws: Iterable[Any], notes: list[str] | None = None) -> Self:
        """As `Encoder.fitted`; of pictures of more than 8 bits the full scale is measured too."""
        raws = list(islice(raws, FITTED_TO))
        full_scale = None
        if self.full_scale is None:
            full_scale = measured_full_scale(picture for raw in raws for picture in self.pictures(raw))
        if full_scale is None:
            return super().fitted(raws, notes)
        if notes is not None:
            notes.append(f"full_scale: white is {full_scale:g}, as measured in the pictures of more than 8 bits")
        return replace(self, full_scale=full_scale).fitted(raws, notes)

    def normalised(self, pixels: np.ndarray) -> np.ndarray:
        """uint8, or floats in 0..1, (..., C) -> float32 (..., C)."""
        # NumPy, because PyTorch's threads would fight over the cores with those of the training step.
        mean, std = (np.array(values, dtype=np.float32) * 255 for values in (self.mean, self.std))
        values = _of_255(pixels).astype(np.float32)
        values -= mean
        values /= std
        return values

    def to_value(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """Pixels on the whole grid: uint8 ([T,] H, W, C), values outside 0..255 cut, absent ones white."""
        self.check_tokens(tokens)
        values = tokens.detach().to("cpu", torch.float32).numpy() * np.array(self.std) + np.array(self.mean)
        pixels = np.rint(np.nan_to_num(values) * 255).clip(0, 255).astype(np.uint8)
        if is_padding is not None:
            pixels[is_padding.cpu().numpy()] = 255
        return pixels.reshape(*self.modality.grid, -1)

    def measured_channels(self, raw: Any) -> np.ndarray:
        """Colours on the grid, in 0..1."""
        return _of_255(self.read(raw)).astype(np.float64) * (1 / 255)


class ImageEncoder(ImageSettings, PictureEncoder):
    """Pictures of any size and colour mode as (H * W, C) tokens, and back.

    Pixels in 0..1 are normalised per channel. Transparent ones are laid on white where the colours have no alpha; the
    camera's EXIF orientation is applied.

    >>> encoder = ImageEncoder(size=(4, 6))
    >>> tokens, _ = encoder.encode(np.full((40, 60, 3), 255, dtype=np.uint8))
    >>> tokens.shape, tokens.max().item(), encoder.to_value(tokens).shape
    (torch.Size([24, 3]), 1.0, (4, 6, 3))
    """

    suffixes: ClassVar[tuple[str, ...]] = (
        *("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"),
        *("avif", "jfif", "jpe", "jp2", "dib", "tga", "gif"),
    )
    drawing = Drawing(kind="pictures")

    @property
    def modality(self) -> Modality:
        """One token per pixel."""
        return Modality(grid=self.size, channels=NUM_COLOURS[self.colours])

    def fitted(self, raws: Iterable[Any], notes: list[str] | None = None) -> Self:
        """As of all pictures; files of several pages or frames are said."""
        raws = list(islice(raws, FITTED_TO))
        several = []
        for index, raw in enumerate(raws if notes is not None else ()):
            with contextlib.suppress(ValueError):  # named when it is read
                several += [name_of(raw, index)] * has_pages(raw)
        if several and notes is not None:
            which = f"{len(several)} of {len(raws)} files hold several pictures, of which the first is read"
            notes.append(f"{which}, for example {several[0]}")
        return super().fitted(raws, notes)

    @classmethod
    def chosen_settings(cls, raws: Iterable[Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """224 x 224, as in the paper's ImageNet experiments."""
        return {"size": (224, 224)}

    def decode(self, raw: RawImage) -> Picture:
        """An opened picture; its pixels are decoded by `fit_to_grid`."""
        return open_picture(raw)

    def fit_to_grid(self, value: Picture) -> np.ndarray:
        """The picture, or its region, as it lies on the grid: (h, w, C), uint8, or float32 in 0..1 of deep ones."""
        channels = NUM_COLOURS[self.colours]
        pixels = value.content
        if is_pixels(pixels) and pixels.shape == (*self.size, channels) and value.region is None:
            return pixels  # nothing to resize or convert
        height, width = value.size
        shown = fit_to_grid(height, width, self.size, self.fit, value.region)
        if value.is_deep:
            return self._fitted_deep(value, shown)
        left, top, right, bottom = shown.box
        least = 2 * max(self.size)
        if value.region is not None:  # as many pixels of the region as else of the whole
            least = math.ceil(least * max(height / (bottom - top), width / (right - left)))
        picture, box = _cut(value.decoded(least), value, shown)
        with one_line_faults(value.raw):
            picture = self._resized(picture_files.in_colours(picture, self.colours), box, shown)
        return np.asarray(picture).reshape(shown.height, shown.width, -1)

    def _fitted_deep(self, value: Picture, shown: GridFit) -> np.ndarray:
        """As `fit_to_grid`, of more than 8 bits: float32 in 0..1."""
        bands = value.bands()
        with one_line_faults(value.raw):
            scale = picture_files.full_scale_of(bands, self.full_scale, is_float=value.is_float)
            cut = [_cut(band, value, shown) for band in bands]
            pixels = np.stack([np.asarray(self._resized(band, box, shown)) for band, box in cut], -1)
        colours, alpha = (pixels[..., :3] / np.float32(scale)).clip(0, 1), (pixels[..., 3:] / 65535).clip(0, 1)
        if alpha.size and self.colours != "RGBA":
            colours = colours * alpha + (1 - alpha)  # on white
        if self.colours == "L" and colours.shape[2] == 3:
            return (colours @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[..., None]
        colours = colours.repeat(3, 2) if self.colours != "L" and colours.shape[2] == 1 else colours
        if self.colours == "RGBA":
            colours = np.concatenate([colours, alpha if alpha.size else np.ones_like(colours[..., :1])], 2)
        return colours

    def to_tokens(self, value: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Tokens (M, C). A smaller picture lies in the middle, and what is around it (`pad`) is absent."""
        return padded(self.normalised(value), self.size, self._covered(value))

    def decode_mask(self, raw: RawImage, *, ignore: int | None = 255) -> Mask:
        """A picture (palette, grey, 16-bit or 1-bit) whose pixels are class numbers, or `ignore` for no label."""
        labels = picture_files.read_labels(raw)
        return Mask(labels=labels if ignore is None else np.where(labels == ignore, IGNORE, labels))

    def fit_mask_to_grid(self, mask: Mask) -> np.ndarray:
        """The mask as its picture lies on the grid, without mixing classes: int64 (h, w)."""
        height, width = mask.labels.shape
        shown = fit_to_grid(height, width, self.size, self.fit, mask.region)
        left, top, right, bottom = shown.box
        # The nearest pixel to the middle of each cell.
        y = top + (np.arange(shown.height) + 0.5) * (bottom - top) / shown.height
        x = left + (np.arange(shown.width) + 0.5) * (right - left) / shown.width
        rows, columns = y.astype(np.int64).clip(0, height - 1), x.astype(np.int64).clip(0, width - 1)
        return mask.labels[rows[:, None], columns]

    def mask_to_targets(self, mask: np.ndarray) -> Tensor:
        """What `fit_mask_to_grid` gave, on the same grid as the picture: int64 (M,), -100 outside the picture."""
        grid = np.full(self.size, IGNORE, dtype=np.int64)
        grid[self._covered(mask)] = mask
        return torch.from_numpy(grid.ravel())

    def mask_on_picture(self, labels: np.ndarray, picture: Picture) -> np.ndarray:
        """A mask (H, W) on the grid as it lies on a picture: int64 in the picture's size, -100 where it shows nothing.

        The inverse of `fit_mask_to_grid`, to the nearest cell.
        """
        height, width = picture.size
        shown = fit_to_grid(height, width, self.size, self.fit)
        left, top, right, bottom = shown.box
        y = np.floor((np.arange(height) + 0.5 - top) * (shown.height / (bottom - top))).astype(np.int64)
        x = np.floor((np.arange(width) + 0.5 - left) * (shown.width / (right - left))).astype(np.int64)
        rows, columns = ((self.size[0] - shown.height) // 2, (self.size[1] - shown.width) // 2)
        is_shown = ((y >= 0) & (y < shown.height))[:, None] & ((x >= 0) & (x < shown.width))
        cells = labels[rows + y.clip(0, shown.height - 1)[:, None], columns + x.clip(0, shown.width - 1)]
        return np.where(is_shown, cells, IGNORE)

    def _covered(self, value: np.ndarray) -> tuple[slice, slice]:
        """Rows and columns of the grid that a smaller picture covers."""
        height, width = value.shape[:2]
        top, left = (self.size[0] - height) // 2, (self.size[1] - width) // 2
        return slice(top, top + height), slice(left, left + width)

    def _resized(self, picture: Image.Image, box: tuple[float, float, float, float], shown: GridFit) -> Image.Image:
        """The box of the picture on as many pixels as it covers cells."""
        shape = (shown.width, shown.height)
        if box == (0.0, 0.0, *shape) and shape == picture.size:
            return picture
        resampling = import_extra("PIL.Image", extra="data").Resampling[self.resample.upper()]
        return picture.resize(shape, resampling, box=box, reducing_gap=3.0)


def _cut(picture: Image.Image, value: Picture, shown: GridFit) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """The pixels that are shown of a decoded picture, and where in them the shown box lies."""
    left, top, right, bottom = shown.box
    # A JPEG may have been decoded smaller than it is: its box shrinks with it.
    y, x = picture.height / value.size[0], picture.width / value.size[1]
    left, top, right, bottom = left * x, top * y, min(right * x, picture.width), min(bottom * y, picture.height)
    if value.region is None:
        return picture, (left, top, right, bottom)
    corner = (int(left), int(top))
    picture = picture.crop((*corner, math.ceil(right), math.ceil(bottom)))
    return picture, (left - corner[0], top - corner[1], right - corner[0], bottom - corner[1])


def _of_255(pixels: np.ndarray) -> np.ndarray:
    """Values in 0..255, whole or not."""
    return pixels if pixels.dtype == np.uint8 else pixels * np.float32(255)


def measured_full_scale(raws: Iterable[RawImage]) -> float | None:
    """The largest full scale of these pictures; None if all have 8 bits, or are floats up to 1."""
    scales = []
    for raw in raws:
        try:
            picture = open_picture(raw)
            if picture.is_deep:
                scales.append(picture_files.full_scale_of(picture.bands(), is_float=picture.is_float))
        except ValueError:  # named when it is read
            continue
    return max((scale for scale in scales if scale > 1), default=None)  # 1: of floats
