"""Small real picture files, made by the tests that read them."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image


def gradient(height: int = 24, width: int = 36) -> np.ndarray:
    """A smooth colour picture that looks different from every side: uint8 (height, width, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [255 * x / width, 255 * y / height, 255 * (x + y) / (height + width)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of a file of this picture."""
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def jpeg(colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (20, 16)) -> bytes:
    """A JPEG of one colour with a little noise; size is (width, height)."""
    noise = np.random.default_rng(sum(colour)).integers(-10, 10, (size[1], size[0], 3))
    return encoded(Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)), "JPEG")


def write(path: Path, content: bytes) -> Path:
    """Writes a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
