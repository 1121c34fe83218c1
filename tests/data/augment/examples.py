"""Values of every kind, for the tests of augmentations."""

from typing import Any

import numpy as np

from hiperceiver.data.augment import Augmentation
from hiperceiver.data.encoders import ImageEncoder, VideoEncoder
from hiperceiver.data.encoders.image import Mask

PHOTO, CLIP = ImageEncoder(size=16), VideoEncoder(size=8, frames=3)
KINDS = {
    "photo": "image",
    "clip": "video",
    "sound": "audio",
    "watch": "series",
    "cloud": "points",
    "scan": "volume",
    "text": "bytes",
    "numbers": "vector",
    "segmentation": "mask",
}


def example() -> dict[str, np.ndarray]:
    """One value of each kind, of random content."""
    rng = np.random.default_rng(7)
    return {
        "photo": rng.integers(0, 256, (16, 16, 3), dtype=np.uint8),
        "clip": rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8),
        "sound": rng.standard_normal((200, 2), dtype=np.float32),
        "watch": rng.standard_normal((50, 3), dtype=np.float32) + 5,
        "cloud": rng.standard_normal((40, 5), dtype=np.float32) + 3,
        "scan": rng.standard_normal((4, 6, 6, 1), dtype=np.float32),
        "text": rng.integers(0, 256, 20, dtype=np.uint8),
        "numbers": rng.standard_normal(9, dtype=np.float32),
        "segmentation": rng.integers(0, 20, (16, 16)),
    }


def decoded(values: dict[str, np.ndarray]) -> dict[str, Any]:
    """Pictures, clips and masks of example() as encoders decode them."""
    opened = {"photo": PHOTO.decode, "clip": CLIP.decode, "segmentation": lambda labels: Mask(labels=labels)}
    return {name: opened[name](value) if name in opened else value for name, value in values.items()}


def fitted(values: dict[str, Any]) -> dict[str, np.ndarray]:
    """What `decoded` gave, changed or not, on the grid; arrays as they are."""
    fits = {"photo": PHOTO.fit_to_grid, "clip": CLIP.fit_to_grid, "segmentation": PHOTO.fit_mask_to_grid}
    return {name: value if isinstance(value, np.ndarray) else fits[name](value) for name, value in values.items()}


def changed_by(augmentation: Augmentation, values: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Values as the augmentation changes them, before or after they are fitted to the grid."""
    rng = np.random.default_rng(seed)
    if augmentation.is_on_grid:
        return augmentation(values, KINDS, rng)
    return fitted(augmentation(decoded(values), KINDS, rng))


def numbered(height: int, width: int) -> np.ndarray:
    """A picture whose red is its row and whose green is its column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    """The same modalities with the same values."""
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)
