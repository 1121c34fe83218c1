"""From the options that name data to a source that is ready for the loaders."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from hiperceiver.cli.errors import UserError, closest
from hiperceiver.data.encoders import encoder_from_dict
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.example import AugmentedDataset, BadExample, Example, ExampleDataset
from hiperceiver.data.sources import open_source
from hiperceiver.data.sources.source import Source


def open_data(name: str, **options: Any) -> Source:
    """Open a source, and say what was odd about it.

    Args:
        name: `earth`, a folder or a Hugging Face dataset's id.
        options: as for `open_source`.
    """
    source = open_source(name, **options)
    for warning in source.warnings:
        print(f"hip: {warning}", file=sys.stderr)
    return source


def own_encoders(encoders: Mapping[str, Mapping[str, Any]]) -> dict[str, Encoder] | None:
    """A saved model's encoders, with its normalisation; None if it was saved without any."""
    return {name: encoder_from_dict(values) for name, values in encoders.items()} or None


def choose_split(source: Source, name: str) -> ExampleDataset:
    """One part of a source.

    Raises:
        UserError: it has no such part.
    """
    if name not in source.splits or len(source.splits[name]) == 0:
        raise UserError(
            f"--split: expected one of {', '.join(source.splits)} of {source.name}, got {name!r}"
            f"{closest(name, source.splits)}"
        )
    return source.splits[name]


def with_train_share(source: Source, share: float, *, seed: int) -> Source:
    """The same source with a share of its training examples, at least one; a smaller share is part of a larger one."""
    if share == 1:
        return source
    whole = source.splits["train"]
    count = math.ceil(share * len(whole))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(whole))[:count])
    part = AugmentedPart(whole, chosen) if isinstance(whole, AugmentedDataset) else Part(whole, chosen)
    return dataclasses.replace(source, splits={**source.splits, "train": part})


class Part:
    """Some of a dataset's examples."""

    def __init__(self, dataset: Any, indices: np.ndarray):
        self.dataset = dataset
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Example | BadExample:
        return self.dataset[int(self.indices[index])]


class AugmentedPart(Part):
    """Some of the examples of a dataset that changes them at random for training."""

    def augmented(self, index: int, rng: np.random.Generator) -> Example | BadExample:
        """As the dataset does it."""
        return self.dataset.augmented(int(self.indices[index]), rng)
