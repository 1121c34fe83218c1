"""Baselines of series and sound: a few features of each example, then ridge regression or the nearest neighbour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hiperceiver.data.baselines.answers import judged, known

if TYPE_CHECKING:
    from hiperceiver.data.sources.source import Source

FREQUENCIES = 32
"""How many of a series' lowest frequencies are looked at."""
FRAME, BANDS, STRETCHES = 512, 24, 8
"""Sound: samples of a frame, bands of its spectrum, and stretches of time over which frames are averaged."""


def motion_features(values: np.ndarray) -> np.ndarray:
    """Mean, deviation, least and greatest value of each channel, and the logarithm of its 32 lowest frequencies.

    Args:
        values: (steps, channels).

    >>> motion_features(np.ones((128, 6))).shape
    (216,)
    """
    mean = values.mean(0)
    spectrum = np.zeros((FREQUENCIES, values.shape[1]))
    lowest = np.abs(np.fft.rfft(values - mean, axis=0))[:FREQUENCIES]
    spectrum[: len(lowest)] = np.log1p(lowest)
    return np.concatenate([mean, values.std(0), values.min(0), values.max(0), spectrum.ravel()])


def sound_features(wave: np.ndarray) -> np.ndarray:
    """Logarithm of the energy in 24 bands and 8 stretches of time, less its mean, so that loudness does not count.

    Args:
        wave: (samples, channels); channels are averaged.

    >>> sound_features(np.sin(np.arange(16000) / 9)[:, None]).shape
    (176,)
    """
    mono = wave.mean(1)
    mono = np.pad(mono, (0, max(0, FRAME + FRAME // 2 * (STRETCHES - 1) - len(mono))))  # a frame for each stretch
    frames = np.lib.stride_tricks.sliding_window_view(mono, FRAME)[:: FRAME // 2]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME))) ** 2
    edges = np.unique(np.geomspace(2, FRAME // 2, BANDS + 1).round().astype(np.int64))  # low bands that agree are one
    bands = np.log(np.add.reduceat(power[:, : FRAME // 2], edges[:-1], axis=1) + 1e-6)
    stretches = np.array_split(bands, STRETCHES)
    features = np.concatenate([stretch.mean(0) for stretch in stretches])
    return features - features.mean()


def ridge_baseline(source: Source, *, modality: str, strength: float = 1.0) -> dict[str, float]:
    """Ridge regression on `motion_features`: to each class's 0 or 1, the largest answer wins; or to the numbers.

    Args:
        source: with the task `classification`, `regression` or `joint`.
        modality: whose values, (steps, channels), are looked at.
        strength: how strongly weights are kept small; features have deviation 1.

    Returns:
        The task's metrics on the test split.

    Raises:
        ValueError: the source has another task, no such modality or no test split.
    """
    train = known(source, "train", modality, motion_features)
    test = known(source, "test", modality, motion_features)
    features, asked = np.stack(train.features), np.stack(test.features)
    mean, std = features.mean(0), features.std(0)
    std[std < 1e-9] = 1.0
    features, asked = (features - mean) / std, (asked - mean) / std
    inverse = np.linalg.inv(features.T @ features + strength * np.eye(features.shape[1])) @ features.T
    answers = {}
    for name, target in train.targets.items():
        is_class = target.dtype == np.int64
        wanted = np.eye(target.max() + 1)[target] if is_class else target
        answer = asked @ (inverse @ (wanted - wanted.mean(0))) + wanted.mean(0)
        answers[name] = answer.argmax(1) if is_class else answer
    return judged(source, answers, test.targets)


def nearest_sound_baseline(source: Source, *, modality: str) -> dict[str, float]:
    """Each recording gets the targets of the training recording whose `sound_features` are nearest (Euclidean).

    Args:
        source: with the task `classification`, `regression` or `joint`.
        modality: whose values, (samples, channels), are looked at.

    Returns:
        The task's metrics on the test split.

    Raises:
        ValueError: the source has another task, no such modality or no test split.
    """
    train, test = known(source, "train", modality, sound_features), known(source, "test", modality, sound_features)
    features, asked = np.stack(train.features), np.stack(test.features)
    nearest = ((features**2).sum(1)[None] - 2 * asked @ features.T).argmin(1)
    return judged(source, {name: target[nearest] for name, target in train.targets.items()}, test.targets)
