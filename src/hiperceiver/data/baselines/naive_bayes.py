"""The baseline of texts: how often each class has each group of three bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hiperceiver.data.baselines.answers import judged, known
from hiperceiver.data.encoders.bytes import BytesEncoder

if TYPE_CHECKING:
    from hiperceiver.data.sources.source import Source

GRAM = 3
"""Bytes of a group."""


def naive_bayes_baseline(source: Source, *, modality: str, smoothing: float = 0.1) -> dict[str, float]:
    """Naive Bayes on groups of three bytes in a row, of the bytes that the model sees too.

    A text's ends count as a byte 0 each. Groups that training does not have are left out.

    Args:
        source: with the task `classification`.
        modality: whose bytes are looked at.
        smoothing: is added to each count.

    Returns:
        The task's metrics on the test split.

    Raises:
        ValueError: the source has another task, no such bytes or no test split.
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

    train, test = known(source, "train", modality, groups), known(source, "test", modality, groups)
    labels = train.targets["label"]
    vocabulary, column = np.unique(np.concatenate(train.features), return_inverse=True)
    row = np.repeat(labels, [len(each) for each in train.features])
    num_classes = len(source.classes)
    counts = np.bincount(row * len(vocabulary) + column, minlength=num_classes * len(vocabulary))
    counts = counts.reshape(num_classes, -1) + smoothing
    scores = np.log(counts / counts.sum(1, keepdims=True)).astype(np.float32).T.copy()  # (groups, classes)
    prior = np.log(np.maximum(np.bincount(labels, minlength=num_classes), 1e-9) / len(labels))

    answers = np.empty(len(test.features), dtype=np.int64)
    for index, each in enumerate(test.features):
        place = np.minimum(np.searchsorted(vocabulary, each), len(vocabulary) - 1)
        answers[index] = (scores[place[vocabulary[place] == each]].sum(0) + prior).argmax()
    return judged(source, {"label": answers}, test.targets)
