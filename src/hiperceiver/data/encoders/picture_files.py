"""Files of pictures: opened, decoded upright, and brought to the colours of tokens. The work is Pillow's."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np

from hiperceiver import limits
from hiperceiver.data.encoders.regions import Region
from hiperceiver.data.faults import Fault, faults_of, read_file
from hiperceiver.data.packages import import_extra
from hiperceiver.settings.encoders import Colours

if TYPE_CHECKING:
    from PIL import Image

RawImage: TypeAlias = "Image.Image | str | os.PathLike[str] | bytes | np.ndarray"
"""What is accepted as a picture: a Pillow picture, a path, a file's bytes, or uint8 (H, W) or (H, W, 1, 3 or 4)."""

_BITS, _PHOTOMETRIC = 258, 262  # tags of TIFF: of a channel; what 0 is
_ORIENTATION = 0x0112  # EXIF tag: how the camera was held; below by its value
_SIDEWAYS = ("TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
_TURNS = dict(enumerate((None, "FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", *_SIDEWAYS), 1))
_ZEROS, _END = bytes(64), b"\xff\xd9"  # bytes at the end that are said if they are zeros; the end of a JPEG
_FORMATS = ("JPEG", "PNG", "GIF", "PPM", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "TGA")
"""What Pillow may take a file for. Others start programs (EPS: Ghostscript), or are seldom looked at by anybody."""
_FFMPEG_FORMATS = {"PNG": "png_pipe", "TIFF": "tiff_pipe", "PPM": "ppm_pipe"}
"""Formats whose 16-bit colours FFmpeg reads whole."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """An opened picture of any size, and what is shown of it. Nothing but its header is decoded yet."""

    raw: RawImage  # for messages
    content: Image.Image | bytes | np.ndarray  # bytes of a file that is opened again; or the opened picture, or pixels
    size: tuple[int, int]  # height and width, upright
    is_deep: bool = False  # it has more than 8 bits
    is_float: bool = False  # its values are floats in 0..1
    region: Region | None = None  # the part that is shown; None: as much as the grid shows of the whole

    def decoded(self, least: int | None = None) -> Image.Image:
        """The whole picture, upright; a large JPEG at 1/2, 1/4 or 1/8, its longer side not below `least`: faster."""
        image = import_extra("PIL.Image", extra="data")
        with one_line_faults(self.raw):
            picture = _identify(self.content)
            if least is not None and picture is not self.content and picture.format == "JPEG":
                picture.draft(None, (least, least))
            picture.load()
            turn = _turn(picture)
            return picture if turn is None else picture.transpose(image.Transpose[turn])

    def bands(self) -> list[Image.Image]:
        """The channels (grey, RGB or RGBA) of more than 8 bits, upright, as floats in the file's numbers."""
        image = import_extra("PIL.Image", extra="data")
        with one_line_faults(self.raw):
            picture = _identify(self.content)
            turn = _turn(picture)
            if _is_deep_grey(picture) and not _is_white_zero(picture):
                picture.load()
                turn, pixels = _turn(picture), np.asarray(picture)[..., None]  # Pillow turns a TIFF when it loads it
                if isinstance(level := picture.info.get("transparency"), int):
                    pixels = np.concatenate([pixels, pixels, pixels, np.where(pixels == level, 0, 65535)], axis=2)
            else:
                pixels = _colours_of_16_bits(self.content, _FFMPEG_FORMATS[str(picture.format)])
                pixels = pixels[..., :1] if _is_deep_grey(picture) else pixels
            pixels = np.ascontiguousarray(np.moveaxis(pixels, 2, 0), dtype=np.float32)
            bands = [image.fromarray(band) for band in pixels]
            return bands if turn is None else [band.transpose(image.Transpose[turn]) for band in bands]


def open_picture(raw: RawImage) -> Picture:
    """A picture whose header is read."""
    if is_pixels(raw):
        return Picture(raw=raw, content=raw, size=(raw.shape[0], raw.shape[1]))
    with one_line_faults(raw):
        content = read_file(raw) if isinstance(raw, str | os.PathLike) else raw
        picture = _identify(content)
        is_deep, is_float = _is_deep(picture), picture.mode == "F"
        is_sideways = _turn(picture) in _SIDEWAYS and picture.format != "TIFF"  # Pillow turns the size of these itself
        size = (picture.width, picture.height) if is_sideways else (picture.height, picture.width)
        is_decoded_by_pillow = not is_deep or (_is_deep_grey(picture) and not _is_white_zero(picture))
        if picture.format != "JPEG" and is_decoded_by_pillow:
            content = picture  # it may be decoded by now, as PNG files are to find their orientation
        return Picture(raw=raw, content=content, size=size, is_deep=is_deep, is_float=is_float)


def has_pages(raw: RawImage) -> bool:
    """Whether a file holds several pictures, as pages or frames, beside the first, which is read."""
    if not isinstance(raw, str | os.PathLike | bytes):
        return False
    with one_line_faults(raw):
        picture = _identify(raw if isinstance(raw, bytes) else read_file(raw))
        # What phones add to a JPEG are no further pictures.
        return picture.format not in ("JPEG", "MPO") and getattr(picture, "n_frames", 1) > 1


class RenumberedMask(NamedTuple):
    """A mask whose classes have other numbers elsewhere."""

    raw: RawImage
    numbers: np.ndarray  # the number of each class, by the number that it has here; -1: there is no such class


def read_labels(raw: RawImage | RenumberedMask) -> np.ndarray:
    """The class numbers of a mask, in its own size: int64 (H, W). Colours, and JPEG, which is lossy, are refused."""
    if isinstance(raw, RenumberedMask):
        labels, last = read_labels(raw.raw), len(raw.numbers) - 1
        numbers = np.where((labels < 0) | (labels > last), -1, raw.numbers[labels.clip(0, last)])
        if (is_unknown := numbers < 0).any():
            raise Fault(f"holds the class {labels[is_unknown][0]}, which has no name")
        return numbers
    if is_pixels(raw) and raw.ndim == 2:
        return raw.astype(np.int64)
    opened = open_picture(raw)
    with one_line_faults(raw):
        if _identify(opened.content).format == "JPEG":  # what is decoded no longer knows, if it was turned
            raise Fault("a mask needs exact class numbers, which JPEG does not keep; save masks as PNG")
    picture = opened.decoded()
    with one_line_faults(raw):
        if picture.mode not in ("P", "L", "1", "I") and not picture.mode.startswith("I;16"):
            raise Fault(f"a mask needs one class number per pixel (palette or grey), its mode is {picture.mode}")
    return np.asarray(picture).astype(np.int64)


def is_pixels(raw: RawImage) -> TypeGuard[np.ndarray]:
    """Whether it is pixels already, which need no decoder: uint8 (H, W) or (H, W, 1, 3 or 4)."""
    if not isinstance(raw, np.ndarray) or raw.dtype != np.uint8 or not raw.size:
        return False
    return raw.ndim == 2 or (raw.ndim == 3 and raw.shape[2] in (1, 3, 4))


def in_colours(picture: Image.Image, colours: Colours) -> Image.Image:
    """A picture of 8 bits in other colours."""
    image = import_extra("PIL.Image", extra="data")
    has_alpha = picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
    if picture.mode == colours and (colours == "RGBA" or not has_alpha):
        return picture
    try:
        if has_alpha and colours != "RGBA":
            # Colours under transparent pixels are arbitrary: without this they would show.
            picture = picture.convert("RGBA")
            picture = image.alpha_composite(image.new("RGBA", picture.size, (255, 255, 255, 255)), picture)
        return picture.convert(colours)
    except (ValueError, OSError) as error:
        raise Fault(f"cannot be converted from mode {picture.mode} to {colours}") from error


def full_scale_of(bands: Sequence[Image.Image], full_scale: float | None = None, *, is_float: bool = False) -> float:
    """The value of white of a picture with more than 8 bits, whose values must lie in 0 to this.

    It is 1 for floats up to 1, else `full_scale`; None: the largest number of as many bits as the picture uses, 255 to
    65535.
    """
    values = np.stack([np.asarray(band) for band in bands[:3]])  # not of alpha
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise Fault("holds values that are NaN or infinite")
    bits = min(max(math.ceil(max(high, 0)).bit_length(), 8), 16)
    scale = 1.0 if is_float and high <= 1 else full_scale or 2.0**bits - 1
    if not (low >= 0 and high <= scale):
        raise Fault(f"expected values in 0..{full_scale or 65535:g} (full_scale), got {low:.6g}..{high:.6g}")
    return scale


@contextlib.contextmanager
def one_line_faults(raw: RawImage) -> Iterator[None]:
    """Whatever goes wrong in Pillow becomes a `ValueError` of one line; so does a picture too large to decode."""
    image = import_extra("PIL.Image", extra="data")
    bombs = (image.DecompressionBombWarning, image.DecompressionBombError)
    before, most = image.MAX_IMAGE_PIXELS, limits.PIXELS.most

    def reason_of(error: Exception) -> str | None:
        if isinstance(error, bombs):
            return f"has more than {most / 1e6:g} million pixels, the most that {limits.PIXELS.variable} allows"
        is_unknown = isinstance(error, image.UnidentifiedImageError)
        return "is not a picture in a known format" if is_unknown else None

    with faults_of(raw, reason_of=reason_of):
        warnings.simplefilter("error", image.DecompressionBombWarning)
        image.MAX_IMAGE_PIXELS = most
        try:
            yield
        finally:
            image.MAX_IMAGE_PIXELS = before


def _is_deep_grey(picture: Image.Image) -> bool:
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16")


def _is_deep(picture: Image.Image) -> bool:
    """Whether a picture has more than 8 bits, of which Pillow keeps 8 where it has colours."""
    is_colour = picture.mode in ("RGB", "RGBA") and picture.format in _FFMPEG_FORMATS
    tiles = getattr(picture, "tile", ()) if is_colour else ()
    are_deep = (";16" in str(each.args) or (each.codec_name == "ppm" and each.args[-1] > 255) for each in tiles)
    # Of a TIFF whose channels lie one after the other the tiles do not say it.
    bits = getattr(picture, "tag_v2", {}).get(_BITS, ()) if is_colour else ()
    return _is_deep_grey(picture) or any(are_deep) or max(bits, default=8) > 8


def _is_white_zero(picture: Image.Image) -> bool:
    """Whether 0 is white in a TIFF file, which Pillow knows of 8 bits alone."""
    return picture.mode.startswith("I;16") and getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == 0


def _colours_of_16_bits(content: Any, file_format: str) -> np.ndarray:
    """uint16 (H, W, 3 or 4)."""
    with import_extra("av", extra="data").open(BytesIO(content), format=file_format) as container:
        container.streams.video[0].codec_context.options = {"max_pixels": str(limits.PIXELS.most)}
        frame = next(container.decode(video=0))
        has_alpha = any(component.is_alpha for component in frame.format.components)
        return frame.to_ndarray(format="rgba64le" if has_alpha else "rgb48le")


def _identify(content: Image.Image | bytes | np.ndarray) -> Image.Image:
    """A Pillow picture whose header is read."""
    image = import_extra("PIL.Image", extra="data")
    if isinstance(content, bytes):
        if not content:
            raise Fault("is empty (0 bytes)")
        image.preinit()  # else all formats would be loaded for the first, in most of a second
        picture = image.open(BytesIO(content), formats=_FORMATS)
        _check_scans(picture, content)
        _check_end(picture, content)
        return picture
    if isinstance(content, np.ndarray):
        if not is_pixels(content):
            expected = "uint8 of shape (H, W) or (H, W, 1, 3 or 4)"
            raise Fault(f"array: expected {expected}, got {content.dtype} of shape {content.shape}")
        return image.fromarray(np.ascontiguousarray(content[..., 0] if content.shape[2:] == (1,) else content))
    if not isinstance(content, image.Image):
        raise Fault(f"expected a picture, a path, bytes or a uint8 array, got {type(content).__name__}")
    return content


def _check_scans(picture: Image.Image, content: bytes) -> None:
    """Refuse a JPEG in too many scans: each goes through all pixels, and has a few bytes if it says nothing."""
    pixels, num_scans = picture.width * picture.height, content.count(b"\xff\xda")
    if picture.format in ("JPEG", "MPO") and num_scans > 1 and num_scans * pixels > limits.SCANS * limits.PIXELS.most:
        raise Fault(f"has {num_scans} scans of {pixels / 1e6:.3g} million pixels, which would take very long")


def _check_end(picture: Image.Image, content: bytes) -> None:
    """Refuse a JPEG whose rest is zeros, whose place was kept for what never came: it would be decoded as grey."""
    kept = content.rstrip(b"\x00") if content.endswith(_ZEROS) and picture.format in ("JPEG", "MPO") else _END
    if not kept.endswith(_END):
        raise Fault(f"is incomplete: its last {len(content) - len(kept)} bytes are zeros")


def _turn(picture: Image.Image) -> str | None:
    """The name of Pillow's transposition that puts the picture upright, if it is not."""
    try:
        return _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata of a good picture
        return None
