"""Pictures to tokens and back: a token is a pixel, and its channels are the pixel's colours.

Any size, colour mode and file format that Pillow reads comes in; what goes out has one size and one mode. A picture
that cannot be read gives a `ValueError` of one line, never another exception, because files come from strangers.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, TypeGuard, get_args

import numpy as np
import torch
from torch import Tensor

from hiperceiver.data.encoders.encoder import Drawing, Encoder
from hiperceiver.data.encoders.normalisation import channel_statistics, check_statistics
from hiperceiver.data.packages import import_extra
from hiperceiver.modality import Modality

if TYPE_CHECKING:
    from PIL import Image

Mode = Literal["L", "RGB", "RGBA"]
Fit = Literal["crop", "squash", "pad"]
Resample = Literal["lanczos", "bilinear"]
RawImage: TypeAlias = "Image.Image | str | os.PathLike[str] | bytes | np.ndarray"
"""What is accepted as a picture: a Pillow picture, a path, a file's bytes, or uint8 (H, W) or (H, W, 1, 3 or 4)."""

CHANNELS: dict[str, int] = {"L": 1, "RGB": 3, "RGBA": 4}
"""Colour mode -> channels of a token."""
IGNORE = -100
"""The label of a position that has none."""

_ORIENTATION = 0x0112  # EXIF tag: how the camera was held
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_SIDEWAYS = {"TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"}


@dataclass(frozen=True)
class Placement:
    """Which part of a picture is shown, and how large. Pixels; y down, x right."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom in the picture."""
    height: int
    """Rows of the grid that it covers; if these are not all, it lies in the middle."""
    width: int
    """Columns of the grid that it covers."""


def place(height: int, width: int, size: tuple[int, int], fit: Fit) -> Placement:
    """How a picture of `height` x `width` is laid on a grid of `size` (rows, columns).

    >>> place(100, 200, (10, 10), "crop").box
    (50.0, 0.0, 150.0, 100.0)
    >>> placement = place(100, 200, (10, 10), "pad")
    >>> placement.height, placement.width
    (5, 10)
    """
    rows, columns = size
    if fit == "squash":
        return Placement((0.0, 0.0, float(width), float(height)), rows, columns)
    if fit == "crop":
        scale = max(rows / height, columns / width)
        # The larger quotient gives the full side; min() keeps rounding from leaving the picture.
        box_height, box_width = min(height, rows / scale), min(width, columns / scale)
        x, y = (width - box_width) / 2, (height - box_height) / 2
        return Placement((x, y, x + box_width, y + box_height), rows, columns)
    scale = min(rows / height, columns / width)
    shown_rows = min(rows, max(1, round(height * scale)))
    shown_columns = min(columns, max(1, round(width * scale)))
    return Placement((0.0, 0.0, float(width), float(height)), shown_rows, shown_columns)


@dataclass(frozen=True, kw_only=True)
class ImageEncoder(Encoder):
    """Pictures of any size and colour mode as (H * W, C) tokens, and back.

    Pixels are brought to 0..1, then normalised per channel: (value - mean) / std. Transparent pixels are laid on white
    where the mode has no alpha; 16-bit grey is scaled to 8 bits; the camera's EXIF orientation is applied.

    >>> encoder = ImageEncoder(size=(4, 6))
    >>> tokens = encoder.encode(np.full((40, 60, 3), 255, dtype=np.uint8))[0]
    >>> tokens.shape, tokens.max().item(), encoder.to_value(tokens).shape
    (torch.Size([24, 3]), 1.0, (4, 6, 3))
    """

    kind: ClassVar[str] = "image"
    suffixes: ClassVar[tuple[str, ...]] = (
        *("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"),
        *("avif", "jfif", "jpe", "jp2", "dib", "tga", "gif"),
    )

    size: tuple[int, int]
    """Rows and columns of the grid, (H, W); one number for a square."""
    mode: Mode = "RGB"
    """Colours of a token: `L` (grey), `RGB` or `RGBA`."""
    fit: Fit = "crop"
    """Other shapes: `crop` keeps the middle, `squash` changes proportions, `pad` marks the rest as absent tokens."""
    resample: Resample = "lanczos"
    """The resizing filter; both are averaged over what a pixel covers, so that nothing aliases."""
    mean: tuple[float, ...] = ()
    """Per channel, of values in 0..1; 0.5 if not given."""
    std: tuple[float, ...] = ()
    """Per channel, of values in 0..1; 0.5 if not given."""

    def __post_init__(self) -> None:
        size = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        if len(size) != 2 or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in size):
            raise ValueError(f"size: expected rows and columns >= 1, for example (224, 224), got {self.size!r}")
        object.__setattr__(self, "size", size)
        for name, choices in [("mode", Mode), ("fit", Fit), ("resample", Resample)]:
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name}: expected one of {', '.join(get_args(choices))}, got {getattr(self, name)!r}")
        for name in ("mean", "std"):
            values = check_statistics(name, getattr(self, name), CHANNELS[self.mode], default=0.5)
            object.__setattr__(self, name, values)

    @property
    def modality(self) -> Modality:
        """One token per pixel."""
        return Modality(grid=self.size, channels=CHANNELS[self.mode])

    @property
    def drawing(self) -> Drawing:
        """A picture."""
        return Drawing(kind="pictures")

    @classmethod
    def chosen_settings(cls, raws: Iterable[Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """224 x 224, as in the paper's ImageNet experiments."""
        return {"size": (224, 224)}

    def read(self, raw: RawImage) -> np.ndarray:
        """A picture in the size at which it lies on the grid: uint8 (h, w, C).

        Args:
            raw: a Pillow picture, a path, a file's bytes, or a uint8 array (H, W) or (H, W, 1, 3 or 4).

        Raises:
            ValueError: it cannot be read as a picture; a path is named.
        """
        if isinstance(raw, np.ndarray) and raw.dtype == np.uint8 and raw.shape == (*self.size, CHANNELS[self.mode]):
            return raw  # nothing to resize or convert
        picture, (height, width) = _open(raw, wanted=self.size)
        placement = place(height, width, self.size, self.fit)
        return self._resized(_in_mode(picture, self.mode, raw), placement, (height, width))

    def to_tokens(self, value: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Normalised tokens (M, C), M = H * W in reading order.

        A smaller picture lies in the middle; around it (`pad`) tokens are 0 and absent.
        """
        normalised = self._normalised(value)
        if value.shape[:2] == self.size:
            return normalised, None
        rows, columns = self._place_of(value)
        tokens = torch.zeros(*self.size, CHANNELS[self.mode])
        tokens[rows, columns] = normalised.view(value.shape)
        is_padding = torch.ones(self.size, dtype=torch.bool)
        is_padding[rows, columns] = False
        return tokens.flatten(0, 1), is_padding.flatten()

    def read_mask(self, raw: RawImage, *, ignore: int | None = 255) -> np.ndarray:
        """A mask (a picture whose pixels are class numbers) in the size of its picture's value, without mixing classes.

        Args:
            raw: as in `read`, in a palette, grey, 16-bit or 1-bit mode (palette masks give the colours' numbers), or
                what `read_labels` gave.
            ignore: the number that means 'no label' (255 by custom); None if all numbers are classes.

        Returns:
            int64 (h, w); -100 where there is no label.

        Raises:
            ValueError: it cannot be read, or it is a colour picture.
        """
        labels = raw if isinstance(raw, np.ndarray) and raw.dtype == np.int64 else read_labels(raw)
        height, width = labels.shape
        placement = place(height, width, self.size, self.fit)
        left, top, right, bottom = placement.box
        # The nearest pixel to the middle of each cell.
        y = top + (np.arange(placement.height) + 0.5) * (bottom - top) / placement.height
        x = left + (np.arange(placement.width) + 0.5) * (right - left) / placement.width
        rows = np.clip(y.astype(np.int64), 0, height - 1)
        columns = np.clip(x.astype(np.int64), 0, width - 1)
        seen = labels[rows[:, None], columns[None]].astype(np.int64)
        if ignore is not None:
            seen[seen == ignore] = IGNORE
        return seen

    def mask_to_targets(self, mask: np.ndarray) -> Tensor:
        """What `read_mask` gave, on the same grid as the picture: int64 (M,), -100 outside the picture."""
        if mask.shape == self.size:
            return torch.from_numpy(np.ascontiguousarray(mask).ravel())
        grid = np.full(self.size, IGNORE, dtype=np.int64)
        grid[self._place_of(mask)] = mask
        return torch.from_numpy(grid.ravel())

    def to_value(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """Tokens as a picture on the whole grid: uint8 (H, W, C), values outside 0..255 cut.

        Args:
            tokens: (M, C), of any float type and device.
            is_padding: bool (M,); absent tokens become white.

        Raises:
            ValueError: the shape is not this encoder's.
        """
        self.check_tokens(tokens)
        values = tokens.detach().to("cpu", torch.float32).numpy() * np.array(self.std) + np.array(self.mean)
        pixels = np.rint(np.nan_to_num(values) * 255).clip(0, 255).astype(np.uint8)
        if is_padding is not None:
            pixels[is_padding.cpu().numpy()] = 255
        return pixels.reshape(*self.size, -1)

    def fitted(self, raws: Iterable[RawImage]) -> Self:
        """The same encoder with mean and std per channel of these pictures, of training data only.

        A channel that hardly varies (less than one step of 255) keeps std 1.

        Raises:
            ValueError: none of them can be read; the first one's fault is given.
        """
        mean, std = channel_statistics(self.read, raws, scale=1 / 255, least_std=1 / 255)
        return replace(self, mean=mean, std=std)

    def _place_of(self, value: np.ndarray) -> tuple[slice, slice]:
        """Rows and columns of the grid that a smaller picture covers."""
        height, width = value.shape[:2]
        top, left = (self.size[0] - height) // 2, (self.size[1] - width) // 2
        return slice(top, top + height), slice(left, left + width)

    def _resized(self, picture: Image.Image, placement: Placement, true_size: tuple[int, int]) -> np.ndarray:
        """The placed part of the picture: uint8 (height, width, C) of the placement."""
        # A JPEG may have been decoded smaller than it is: its box shrinks with it.
        y, x = picture.height / true_size[0], picture.width / true_size[1]
        left, top, right, bottom = placement.box
        box = (left * x, top * y, min(right * x, picture.width), min(bottom * y, picture.height))
        image = import_extra("PIL.Image", extra="data")
        shape = (placement.width, placement.height)
        if box != (0.0, 0.0, *shape) or shape != picture.size:
            picture = picture.resize(shape, image.Resampling[self.resample.upper()], box=box, reducing_gap=3.0)
        return np.asarray(picture).reshape(placement.height, placement.width, -1)

    def _normalised(self, pixels: np.ndarray) -> Tensor:
        """uint8 (H, W, C) -> float32 (H * W, C)."""
        # NumPy, because PyTorch's threads would fight over the cores with those of the training step.
        mean, std = (np.array(values, dtype=np.float32) * 255 for values in (self.mean, self.std))
        values = pixels.reshape(-1, pixels.shape[-1]).astype(np.float32)
        values -= mean
        values /= std
        return torch.from_numpy(values)


def read_labels(raw: RawImage) -> np.ndarray:
    """The class numbers of a mask, in its own size: integers (H, W).

    Raises:
        ValueError: it cannot be read, or it is a colour picture.
    """
    if _is_plain(raw) and raw.ndim == 2:
        return raw.astype(np.int64)
    picture, _ = _open(raw)
    if picture.mode not in ("P", "L", "1", "I") and not picture.mode.startswith("I;16"):
        raise _fault(raw, f"a mask needs one class number per pixel (palette or grey), its mode is {picture.mode}")
    return np.asarray(picture).astype(np.int64)


def picture_size(raw: RawImage) -> tuple[int, int]:
    """Height and width of an upright picture, read from its header alone.

    Raises:
        ValueError: it cannot be read.
    """
    if _is_plain(raw):
        return raw.shape[0], raw.shape[1]
    with _one_line_faults(raw):
        picture = _identify(raw)
        height, width = picture.height, picture.width
        is_side = _turn(picture) in _SIDEWAYS and picture.format != "TIFF"  # Pillow has turned the size of these
    return (width, height) if is_side else (height, width)


def open_picture(raw: RawImage) -> Image.Image:
    """A picture, decoded whole and turned as its EXIF orientation says, in its own size and mode.

    Args:
        raw: a Pillow picture, a path, a file's bytes, or a uint8 array (H, W) or (H, W, 1, 3 or 4).

    Raises:
        ValueError: it cannot be read; a path is named.
    """
    return _open(raw)[0]


def _is_plain(raw: RawImage) -> TypeGuard[np.ndarray]:
    """Whether it is pixels already, which need no decoder."""
    return isinstance(raw, np.ndarray) and raw.dtype == np.uint8 and raw.ndim in (2, 3) and raw.size > 0


def _fault(raw: RawImage, reason: str) -> ValueError:
    """The one line: a path is named; the owner of anything else knows what it is."""
    return ValueError(f"{os.fspath(raw)}: {reason}" if isinstance(raw, str | os.PathLike) else reason)


def _open(raw: RawImage, wanted: tuple[int, int] | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """A decoded, upright picture and its true (height, width).

    Args:
        raw: as in `open_picture`.
        wanted: (rows, columns) that the caller will shrink it to. A JPEG several times as large is then decoded at
            1/2, 1/4 or 1/8 of its size (never below twice what is wanted), which saves most of the time.
    """
    image = import_extra("PIL.Image", extra="data")
    with _one_line_faults(raw):
        picture = _identify(raw)
        height, width = picture.height, picture.width
        if wanted is not None and picture is not raw and picture.format == "JPEG":
            picture.draft(None, (2 * max(wanted), 2 * max(wanted)))
        picture.load()
        turn = _turn(picture)
    if turn is None:
        return picture, (height, width)
    return picture.transpose(image.Transpose[turn]), (width, height) if turn in _SIDEWAYS else (height, width)


@contextlib.contextmanager
def _one_line_faults(raw: RawImage) -> Iterator[None]:
    """Whatever goes wrong in a decoder becomes a `ValueError` of one line."""
    image = import_extra("PIL.Image", extra="data")
    with warnings.catch_warnings():
        # Pillow warns of odd metadata, which changes nothing here; a picture too large to decode is an error.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", image.DecompressionBombWarning)
        try:
            yield
        except _Fault as fault:
            raise _fault(raw, str(fault)) from None
        except image.UnidentifiedImageError:
            raise _fault(raw, "is not a picture in a format that Pillow knows") from None
        except (image.DecompressionBombWarning, image.DecompressionBombError):
            limit = round((image.MAX_IMAGE_PIXELS or 0) / 1e6)
            raise _fault(raw, f"has more than {limit} million pixels (PIL.Image.MAX_IMAGE_PIXELS)") from None
        except MemoryError:
            raise
        except Exception as error:  # decoders of strangers' bytes raise many kinds: OSError, SyntaxError, struct.error
            reason = " ".join(str(error).split()) or type(error).__name__
            raise _fault(raw, f"cannot be decoded: {reason}") from error


class _Fault(ValueError):
    """What we found wrong ourselves, before a decoder was asked."""


def _identify(raw: RawImage) -> Image.Image:
    """A Pillow picture whose header is read."""
    image = import_extra("PIL.Image", extra="data")
    if isinstance(raw, str | os.PathLike):
        try:
            raw = Path(raw).read_bytes()
        except OSError as error:
            raise _Fault((error.strerror or "cannot be read").lower()) from error
    if isinstance(raw, bytes):
        if not raw:
            raise _Fault("is empty (0 bytes)")
        return image.open(BytesIO(raw))
    if isinstance(raw, np.ndarray):
        is_shape = raw.ndim == 2 or (raw.ndim == 3 and raw.shape[2] in (1, 3, 4))
        if raw.dtype != np.uint8 or not is_shape or raw.size == 0:
            expected = "uint8 of shape (H, W) or (H, W, 1, 3 or 4)"
            raise _Fault(f"array: expected {expected}, got {raw.dtype} of shape {raw.shape}")
        return image.fromarray(np.ascontiguousarray(raw[..., 0] if raw.shape[2:] == (1,) else raw))
    if not isinstance(raw, image.Image):
        raise _Fault(f"expected a picture, a path, bytes or a uint8 array, got {type(raw).__name__}")
    return raw


def _turn(picture: Image.Image) -> str | None:
    """The name of Pillow's transposition that puts the picture upright, if it is not."""
    try:
        return _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata of a good picture
        return None


def _in_mode(picture: Image.Image, mode: Mode, raw: RawImage) -> Image.Image:
    """The picture in one of our modes."""
    image = import_extra("PIL.Image", extra="data")
    if picture.mode == mode:
        return picture
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise _fault(raw, f"expected grey values in 0..65535, got {values.min()}..{values.max()}")
        picture = image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    elif picture.mode == "F":
        values = np.asarray(picture)
        if not (values.min() >= 0 and values.max() <= 1):
            raise _fault(raw, f"expected float grey values in 0..1, got {values.min():.4g}..{values.max():.4g}")
        picture = image.fromarray((values * 255).round().astype(np.uint8))
    has_alpha = picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if has_alpha and mode != "RGBA":
                # Colours under transparent pixels are arbitrary: without this they would show.
                picture = picture.convert("RGBA")
                picture = image.alpha_composite(image.new("RGBA", picture.size, (255, 255, 255, 255)), picture)
            return picture.convert(mode)
    except (ValueError, OSError) as error:
        raise _fault(raw, f"cannot be converted from mode {picture.mode} to {mode}") from error
