"""Mean and standard deviation of a modality's channels, taken from training data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import numpy as np

FITTED_TO = 256
"""How many raw values normalisation is taken from at most."""


def channel_statistics(
    read: Callable[[Any], np.ndarray], raws: Iterable[Any], *, scale: float = 1.0, least_std: float = 0.0
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel (the last axis of what `read` gives), of six digits. NaN is left out.

    Args:
        read: an encoder's; what it cannot read is left out.
        raws: of training data only; the first `FITTED_TO` are read.
        scale: values are multiplied with it first.
        least_std: a channel that varies less, or so little that it is lost in the rounding of its mean, keeps the
            deviation 1.

    Raises:
        ValueError: nothing can be read; the first fault is given.
    """
    count, total, squares = np.zeros(1), np.zeros(1), np.zeros(1)
    first_fault = None
    for raw in islice(raws, FITTED_TO):
        try:
            value = read(raw)
        except ValueError as error:
            first_fault = first_fault or str(error)
            continue
        channels = value.reshape(-1, value.shape[-1]).astype(np.float64) * scale
        is_there = ~np.isnan(channels)
        channels = np.where(is_there, channels, 0)
        count = count + is_there.sum(0)
        total = total + channels.sum(0)
        squares = squares + np.square(channels).sum(0)
    if not count.any():
        raise ValueError(f"nothing to take mean and std from: {first_fault or 'there is no training example'}")
    count = np.maximum(count, 1)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    std = np.where(std <= np.maximum(least_std, 1e-6 * np.abs(mean)), 1.0, std)
    return tuple(_rounded(value) for value in mean), tuple(_rounded(value) for value in std)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
