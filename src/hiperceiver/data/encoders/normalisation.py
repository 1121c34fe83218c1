"""Mean and standard deviation of a modality's channels, taken from training data."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np

from hiperceiver.data.encoders.encoder import Encoder

FITTED_TO = 256
"""How many raw values normalisation is taken from at most."""


def channel_statistics(
    encoder: Encoder, raws: Iterable[Any], *, scale: float = 1.0, least_std: float = 1e-6, limit: int = FITTED_TO
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel (the last axis of the encoder's values), of six digits.

    Args:
        encoder: reads the raw values. Those that it cannot read are left out.
        raws: of training data only.
        scale: values are multiplied with it first.
        least_std: a channel that varies less keeps the deviation 1.
        limit: how many raw values are read at most.

    Raises:
        ValueError: none of them can be read; the first one's fault is given.
    """
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    first_fault = None
    for raw in islice(raws, limit):
        try:
            value = encoder.read(raw)
        except ValueError as error:
            first_fault = first_fault or str(error)
            continue
        channels = value.reshape(-1, value.shape[-1]).astype(np.float64) * scale
        count += len(channels)
        total = total + channels.sum(0)
        squares = squares + np.square(channels).sum(0)
    if count == 0:
        raise ValueError(f"nothing to take mean and std from: {first_fault or 'there is no training example'}")
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    std = np.where(std < least_std, 1.0, std)
    return tuple(_rounded(value) for value in mean), tuple(_rounded(value) for value in std)


def check_statistics(name: str, values: Iterable[float], channels: int, *, default: float) -> tuple[float, ...]:
    """Per channel one finite number, above 0 for `std`; `default` for each if none is given.

    Raises:
        ValueError: the number of values or one of them is wrong.
    """
    given = tuple(values)
    numbers = tuple(float(value) for value in given) or (default,) * channels
    is_good = len(numbers) == channels and all(math.isfinite(value) for value in numbers)
    if not is_good or (name == "std" and min(numbers) <= 0):
        above = " above 0" if name == "std" else ""
        raise ValueError(f"{name}: expected {channels} finite numbers{above}, one for each channel, got {given!r}")
    return numbers


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
