"""What comes in: arrays or tensors of any device and type become NumPy arrays whose shape was checked."""

from __future__ import annotations

from typing import Any

import numpy as np

MOST_POINTS = 2000
"""A line shows no more stretches than this: about one for each pixel of a wide picture."""


def as_array(values: Any, name: str, *, ndim: int | tuple[int, ...], legend: str) -> np.ndarray:
    """The values as a NumPy array; tensors are detached and copied from their device, half types become float32.

    Args:
        values: An array, a tensor or nested lists.
        name: What the error calls them.
        ndim: Number of axes that they must have, or several that are accepted.
        legend: The shape in words, for the error, such as `(B, H, W, C)`.

    Raises:
        ValueError: The number of axes is another, or an axis is empty.
    """
    if hasattr(values, "detach"):  # a tensor; PyTorch itself is not needed to draw
        values = values.detach().cpu()
        if values.dtype.itemsize < 4 and values.dtype.is_floating_point:
            values = values.float()
        values = values.numpy()
    array = np.asarray(values)
    wanted = (ndim,) if isinstance(ndim, int) else ndim
    if array.ndim not in wanted or 0 in array.shape:
        raise ValueError(f"{name}: expected shape {legend} with no empty axis, got {array.shape}")
    return array


def as_classes(values: Any, name: str, *, ndim: int, legend: str) -> np.ndarray:
    """Like `as_array`, for whole numbers: class indices as int64."""
    array = as_array(values, name, ndim=ndim, legend=legend)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected whole numbers (class indices), got {array.dtype}")
    return array.astype(np.int64)


def as_mask(values: Any, name: str, *, shape: tuple[int, ...], legend: str) -> np.ndarray:
    """Like `as_array`, for booleans of a given shape."""
    array = as_array(values, name, ndim=len(shape), legend=legend)
    if array.dtype != bool or array.shape != shape:
        raise ValueError(f"{name}: expected bool {legend} = {shape}, got {array.dtype} {array.shape}")
    return array


def spread_indices(length: int, count: int) -> list[int]:
    """At most `count` different indices, evenly spread over `range(length)` and away from its ends.

    >>> spread_indices(100, 4)
    [12, 37, 62, 87]
    >>> spread_indices(3, 5)
    [0, 1, 2]
    """
    count = min(count, length)
    return [int((k + 0.5) * length / count) for k in range(count)]


def envelope(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places and values of a line that looks like `values` (M,) with few points: least and greatest of each stretch."""
    num_tokens = len(values)
    if num_tokens <= 2 * MOST_POINTS:
        return np.arange(num_tokens), values
    width = -(-num_tokens // MOST_POINTS)
    full = np.full(-(-num_tokens // width) * width, np.nan)
    full[:num_tokens] = values
    stretches = full.reshape(-1, width)
    places = (np.arange(len(stretches)) * width)[:, None] + np.array([0.25, 0.75]) * width
    # fmin and fmax pass over NaN, and say NaN only where there is nothing else.
    ends = np.stack([np.fmin.reduce(stretches, axis=1), np.fmax.reduce(stretches, axis=1)], axis=1)
    return places.reshape(-1), ends.reshape(-1)
