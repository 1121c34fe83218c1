"""Baselines of series, sound and texts: a few features of each example, and a method without a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hiperceiver.data.baselines.answers import Known, judged, known
from hiperceiver.data.encoders.bytes import BytesEncoder

if TYPE_CHECKING:
    from hiperceiver.data.sources.source import Source

FREQUENCIES = 32  # of a series: so many of the lowest are features
FRAME, BANDS, STRETCHES = 512, 24, 8
"""Sound: samples of a frame, bands of its spectrum, and stretches of time over which frames are averaged."""
GRAM = 3  # bytes of a group, of texts


def motion_features(values: np.ndarray) -> np.ndarray:
    """Mean, deviation, least and greatest value of each channel, and the logarithm of its 32 lowest frequencies.

    >>> motion_features(np.ones((128, 6))).shape  # (steps, channels)
    (216,)
    """
    mean = values.mean(0)
    spectrum = np.zeros((FREQUENCIES, values.shape[1]))
    lowest = np.abs(np.fft.rfft(values - mean, axis=0))[:FREQUENCIES]
    spectrum[: len(lowest)] = np.log1p(lowest)
    return np.concatenate([mean, values.std(0), values.min(0), values.max(0), spectrum.ravel()])


def sound_features(wave: np.ndarray) -> np.ndarray:
    """Logarithm of the energy in 24 bands and 8 stretches of time, less its mean, so that loudness does not count.

    >>> sound_features(np.sin(np.arange(16000) / 9)[:, None]).shape  # (samples, channels), which are averaged
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


def _train_and_test(source: Source, modality: str, features: Callable[[np.ndarray], np.ndarray]) -> tuple[Known, Known]:
    return known(source, "train", modality, features), known(source, "test", modality, features)


def ridge_baseline(source: Source, *, modality: str, strength: float = 1.0) -> dict[str, float]:
    """Ridge regression on `motion_features`: to each class's 0 or 1, the largest answer wins; or to the numbers.

    The task is `classification`, `regression` or `joint`; gives its metrics on the test split. Values of the modality
    are (steps, channels). `strength` keeps weights small; features have deviation 1.

    Raises:
        ValueError: the source has another task, no such modality or no test split.
    """
    train, test = _train_and_test(source, modality, motion_features)
    features, queries = np.stack(train.features), np.stack(test.features)
    mean, std = features.mean(0), features.std(0)
    std[std < 1e-9] = 1.0
    features, queries = (features - mean) / std, (queries - mean) / std
    inverse = np.linalg.inv(features.T @ features + strength * np.eye(features.shape[1])) @ features.T
    answers = {}
    for name, target in train.targets.items():
        is_class = target.dtype == np.int64
        wanted = np.eye(target.max() + 1)[target] if is_class else target
        answer = queries @ (inverse @ (wanted - wanted.mean(0))) + wanted.mean(0)
        answers[name] = answer.argmax(1) if is_class else answer
    return judged(source, answers, test.targets)


def nearest_sound_baseline(source: Source, *, modality: str) -> dict[str, float]:
    """Each recording gets the targets of the training recording whose `sound_features` are nearest (Euclidean).

    Arguments, result and errors as those of `ridge_baseline`; values are (samples, channels).
    """
    train, test = _train_and_test(source, modality, sound_features)
    features, queries = np.stack(train.features), np.stack(test.features)
    nearest = ((features**2).sum(1)[None] - 2 * queries @ features.T).argmin(1)
    return judged(source, {name: target[nearest] for name, target in train.targets.items()}, test.targets)


def naive_bayes_baseline(source: Source, *, modality: str, smoothing: float = 0.1) -> dict[str, float]:
    """Naive Bayes on groups of three bytes in a row, of the bytes that the model sees too.

    A text's ends count as a byte 0 each. Groups that training does not have are left out. `smoothing` is added to each
    count. Arguments, result and errors as those of `ridge_baseline`; the task is `classification`, the modality bytes.
    """
    if source.task != "classification":
        raise ValueError(f"source: expected the task classification, got {source.task}")
    encoder = source.encoders.get(modality)
    if not isinstance(encoder, BytesEncoder):
        raise ValueError(f"modality: expected bytes, among {', '.join(source.encoders)}, got {modality!r}")

    def groups(value: np.ndarray) -> np.ndarray:
        """Each group of the bytes on the grid as one number."""
        padded = np.pad(encoder.fit_to_grid(value).astype(np.int64), 1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, min(GRAM, len(padded)))
        return windows @ (256 ** np.arange(windows.shape[1]))

    train, test = _train_and_test(source, modality, groups)
    labels, num_classes = train.targets["label"], len(source.classes)
    vocabulary, column = np.unique(np.concatenate(train.features), return_inverse=True)
    row = np.repeat(labels, [len(each) for each in train.features])
    counts = np.bincount(row * len(vocabulary) + column, minlength=num_classes * len(vocabulary))
    counts = counts.reshape(num_classes, -1) + smoothing
    scores = np.log(counts / counts.sum(1, keepdims=True)).astype(np.float32).T.copy()  # (groups, classes)
    prior = np.log(np.maximum(np.bincount(labels, minlength=num_classes), 1e-9) / len(labels))

    answers = np.empty(len(test.features), dtype=np.int64)
    for index, each in enumerate(test.features):
        found = np.minimum(np.searchsorted(vocabulary, each), len(vocabulary) - 1)
        answers[index] = (scores[found[vocabulary[found] == each]].sum(0) + prior).argmax()
    return judged(source, {"label": answers}, test.targets)
