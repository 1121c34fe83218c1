"""What a dataset gives for one record: an example, or the reason why there is none."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """One record as tokens, before it joins a batch."""

    inputs: dict[str, Tensor]
    """Per modality: float (M, C)."""
    is_padding: dict[str, Tensor] = field(default_factory=dict)
    """Per modality with absent tokens: bool (M,), True = absent."""
    targets: dict[str, Tensor] = field(default_factory=dict)
    """Per task, as in `Batch.targets` without its first axis."""
    name: str = ""
    """Where it came from, for people."""


@dataclass(frozen=True)
class BadExample:
    """A record that cannot be used. It takes the example's place, so that one bad file never ends a run.

    >>> str(BadExample("cats/7.jpg", "is empty (0 bytes)"))
    'cats/7.jpg: is empty (0 bytes)'
    """

    name: str
    """Which record."""
    reason: str
    """What is wrong with it, in one line."""

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@runtime_checkable
class ExampleDataset(Protocol):
    """Records that are read by their number. Reading never raises for a bad record: it returns a `BadExample`."""

    def __len__(self) -> int:
        """Number of records."""
        ...

    def __getitem__(self, index: int) -> Example | BadExample:
        """One record, always the same."""
        ...


@runtime_checkable
class AugmentedDataset(ExampleDataset, Protocol):
    """Records that can also be read with random changes for training."""

    def augmented(self, index: int, rng: np.random.Generator) -> Example | BadExample:
        """One record, changed at random by `rng` alone, so that the same generator gives the same example."""
        ...
