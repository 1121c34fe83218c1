"""Crafted pictures."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from hiperceiver.data.encoders import ImageEncoder

from .harness import assert_refused, run_apart

PILLOW = int(PIL.__version__.partition(".")[0])
ENCODER = ImageEncoder(size=(16, 16))


@pytest.fixture(scope="module", autouse=True)
def _decoders_are_loaded() -> None:
    Image.init()
    buffer = BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    ENCODER.read(buffer.getvalue())
    ENCODER.read(_png(8, 8, bits=16, colour=2))


def _chunk(kind: bytes, content: bytes, length: int | None = None) -> bytes:
    stated = len(content) if length is None else length
    return struct.pack(">I", stated) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(width: int, height: int, *, bits: int = 8, colour: int = 0, more: bytes = b"", rows: int = 1) -> bytes:
    """A PNG of zeros, of which the first rows are there."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    row = bytes(1 + width * bits * (3 if colour == 2 else 1) // 8)
    body = zlib.compressobj(9)
    content = b"".join(body.compress(row) for _ in range(rows)) + body.flush()
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + more + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")


def _tiff(*entries: tuple[int, int, int, int]) -> bytes:
    """A TIFF whose first directory has these entries: tag, type, count and value."""
    parts = [struct.pack("<HHII", *entry) for entry in sorted(entries)]
    return b"II*\0" + struct.pack("<IH", 8, len(parts)) + b"".join(parts) + bytes(64)


def _tiff_of(width: int, height: int, *more: tuple[int, int, int, int]) -> bytes:
    own = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)}
    own |= {273: (4, 1, 8), 278: (4, 1, height), 279: (4, 1, 2**32 - 1)}
    own |= {tag: values for tag, *values in more}
    return _tiff(*((tag, *values) for tag, values in own.items()))


def _jpeg(width: int, height: int, num_scans: int) -> bytes:
    """A progressive JPEG that sends nothing again and again: each scan goes through all blocks."""
    buffer = BytesIO()
    Image.new("L", (16, 16)).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    frame, first = content.index(b"\xff\xc2"), content.index(b"\xff\xda")
    second = content.index(b"\xff\xda", first + 2)
    content = content[: frame + 5] + struct.pack(">HH", height, width) + content[frame + 9 :]
    table = content.rindex(b"\xff\xc4", 0, second) if b"\xff\xc4" in content[first + 2 : second] else second
    scan = content[table : content.index(b"\xff", second + 2 + 8)]
    return content[:table] + scan * num_scans + b"\xff\xd9"


PICTURES = {
    "terapixels.png": (_png(2**31 - 1, 2**31 - 1), "million pixels"),
    "bomb.png": (_png(60_000, 60_000, rows=600), "million pixels"),
    "bomb16.png": (_png(30_000, 30_000, bits=16, colour=2), "million pixels"),
    "text.png": (_png(4, 4, more=_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26)))), ""),
    "profile.png": (_png(4, 4, more=_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**26)))), ""),
    "chunk.png": (_png(4, 4, more=_chunk(b"tEXt", b"a\0b", 2**31 - 1)), ""),
    "strips.tif": (_tiff_of(2**31 - 1, 2**31 - 1), ""),
    "lzw_tile.tif": (
        _tiff_of(8, 8, (259, 3, 1, 5), (322, 4, 1, 2**16), (323, 4, 1, 2**16), (324, 4, 1, 8), (325, 4, 1, 64)),
        "",
    ),
    "wide.gif": (b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x44\x01\0;", "million pixels"),
    "header.ppm": (b"P6 2000000000 2000000000 255\n" + bytes(64), "million pixels"),
    "digits.ppm": (b"P6 " + b"9" * 100_000 + b" 1 255\n", ""),
    "text.ppm": (b"P3 4 4 255\n" + b"1" * 1_000_000, ""),
    "huge.bmp": (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 64, 0, 0, 54, 40, 2**31 - 1, -(2**31), 1, 32, 0, 0, 0, 0, 0, 0),
        "",
    ),
    "huge.tga": (
        struct.pack("<BBBHHBHHHHBB", 0, 1, 10, 0, 65535, 24, 0, 0, 65535, 65535, 24, 0) + bytes(64),
        "million",
    ),
    "program.jpg": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(canary) (w) file closefile\n%%EOF\n",
        "known format",
    ),
    "other.png": (b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 30_000, 30_000, 8, 3) + bytes(64), "known format"),
}


HARMLESS = {
    "count.tif": _tiff_of(8, 8, (270, 2, 2**32 - 1, 8)),
    "tile.tif": _tiff_of(8, 8, (322, 4, 1, 2**30), (323, 4, 1, 2**30), (324, 4, 1, 8), (325, 4, 1, 64)),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_a_picture_promises_beside_its_pixels_is_not_asked_for(name: str, tmp_path: Path) -> None:
    if name == "count.tif" and PILLOW < 13:  # which itself compares the count with the file
        (path := tmp_path / name).write_bytes(HARMLESS[name])
        assert_refused(lambda: ENCODER.read(str(path)), path)
        return
    assert run_apart(lambda: ENCODER.read(HARMLESS[name]).shape).result == [16, 16, 3]


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_that_promise_too_much_are_refused(name: str, tmp_path: Path) -> None:
    content, words = PICTURES[name]
    path = tmp_path / name
    path.write_bytes(content)
    assert_refused(lambda: ENCODER.read(str(path)), path, words)


def test_a_picture_that_is_sent_in_thousands_of_scans_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scans.jpg"
    path.write_bytes(_jpeg(9000, 9000, 1000))
    assert_refused(lambda: ENCODER.read(str(path)), path, "scans")


def test_masks_are_held_to_the_same_limits(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(_png(60_000, 60_000, rows=600))
    assert_refused(lambda: ENCODER.decode_mask(str(path)), path, "million pixels")


def test_an_honest_picture_is_still_read(tmp_path: Path) -> None:
    assert ENCODER.read(_jpeg(64, 64, 3)).shape == (16, 16, 3)
    assert np.ptp(ENCODER.read(_png(8, 8, rows=8))) == 0
