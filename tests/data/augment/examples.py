"""Values of every kind, for the tests of augmentations."""

import numpy as np

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


def numbered(height: int, width: int) -> np.ndarray:
    """A picture whose red is its row and whose green is its column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    """The same modalities with the same values."""
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)
