"""What training targets look like as a whole: how many of each class, how large their values."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.example import ExampleDataset


def class_counts(dataset: ExampleDataset, num_classes: int) -> list[int]:
    """How many examples (of masks: pixels) of each class a training set holds; unreadable ones are left out.

    Raises:
        ValueError: its examples are not counted (a stream).
    """
    counts = torch.zeros(num_classes, dtype=torch.int64)
    for targets in _targets(dataset):
        for numbers in targets.values():
            counts += numbers[numbers >= 0].flatten().bincount(minlength=num_classes)
    return counts.tolist()


def value_statistics(
    dataset: ExampleDataset, target: str, *, weight: str | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each number of a target in a training set; NaN is left out.

    `weight` is the target that holds each example's weight; None: all count the same.

    Raises:
        ValueError: no example has such a number, or they are not counted (a stream).
    """
    found = [*_targets(dataset)]
    rows = [targets[target].double().flatten().numpy() for targets in found]
    values = np.stack(rows) if rows else np.full((1, 1), np.nan)
    if np.isnan(values).all(axis=0).any():
        raise ValueError(f"{target}: expected training examples with numbers, found none")
    weights = ~np.isnan(values) * np.array([[1.0 if weight is None else float(each[weight])] for each in found])
    share, known = weights / weights.sum(axis=0), np.nan_to_num(values)
    mean = (share * known).sum(axis=0)
    std = np.sqrt((share * (known - mean) ** 2).sum(axis=0))
    varies = np.nanmax(values, axis=0) > np.nanmin(values, axis=0)
    return tuple(mean.tolist()), tuple(np.where(varies & (std > 0), std, 1.0).tolist())


def _targets(dataset: ExampleDataset) -> Iterator[dict[str, Tensor]]:
    if not isinstance(dataset, EncodedRecords):
        raise ValueError("dataset: expected examples that can be counted, got a stream")
    found = (dataset.targets_of(index) for index in range(len(dataset)))
    return (targets for targets in found if targets is not None)
