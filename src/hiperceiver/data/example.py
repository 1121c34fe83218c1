"""What a dataset gives for one record: an example, or the reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from hiperceiver.data.members import mixed
from hiperceiver.modality import Modality
from hiperceiver.settings.base import printable


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """One record as tokens, before it joins a batch."""

    inputs: dict[str, Tensor]  # per modality: float (M, C)
    is_padding: dict[str, Tensor] = field(default_factory=dict)
    """Per modality with absent tokens: bool (M,), True = absent."""
    targets: dict[str, Tensor] = field(default_factory=dict)  # per task, as in `Batch.targets` without its first axis.
    name: str = ""  # where it came from, for people
    seed: int | None = None  # of its random choices in training, as `Batch.seeds`


@dataclass(frozen=True)
class BadExample:
    """A record that cannot be used, instead of its example: one bad file never ends a run.

    >>> str(BadExample("cats/7.jpg", "is empty (0 bytes)"))
    'cats/7.jpg: is empty (0 bytes)'
    """

    name: str
    reason: str  # in one line

    def __str__(self) -> str:
        return printable(f"{self.name}: {self.reason}")


def with_seed(example: Example | BadExample, key: int | np.uint64, seed: int, epoch: int) -> Example | BadExample:
    """An example with the seed of its random choices in an epoch of a run; `key` is the example's own.

    >>> with_seed(Example(inputs={}), 7, seed=0, epoch=1).seed != with_seed(Example(inputs={}), 7, seed=0, epoch=2).seed
    True
    """
    if isinstance(example, BadExample):
        return example
    number = mixed(np.array([key], dtype=np.uint64), seed, epoch, "choices")[0]
    return replace(example, seed=int(number >> np.uint64(1)))  # as it fits into int64


@runtime_checkable
class ExampleDataset(Protocol):
    """Records read by their number, always the same. Reading never raises for a bad one: it gives a `BadExample`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example | BadExample: ...


@runtime_checkable
class AugmentedDataset(ExampleDataset, Protocol):
    """Records that can also be read with random changes for training."""

    def augmented(self, index: int, rng: np.random.Generator) -> Example | BadExample:
        """One record, changed at random by `rng` alone, so that the same generator gives the same example."""
        ...


@dataclass(frozen=True, kw_only=True)
class WithAbsent:
    """A dataset whose examples have further modalities, or hide some of their own: absent, every token of them.

    So a model of several modalities is measured on some of them, whether the data has the others or not. An example
    that has nothing else is bad.

    >>> example = Example(inputs={"audio": torch.ones(4, 1)})
    >>> dataset = WithAbsent(dataset=[example], modalities={"video": Modality(grid=(2, 2), channels=3)})
    >>> {name: (tuple(x.shape), "video" in dataset[0].is_padding) for name, x in dataset[0].inputs.items()}
    {'audio': ((4, 1), True), 'video': ((4, 3), True)}
    """

    dataset: ExampleDataset
    modalities: Mapping[str, Modality]  # the absent ones; what examples hold of them is not shown

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Example | BadExample:
        example = self.dataset[index]
        if isinstance(example, BadExample):
            return example
        others = [name for name in example.inputs if name not in self.modalities]
        if all(name in example.is_padding and bool(example.is_padding[name].all()) for name in others):
            return BadExample(example.name, f"has nothing of {', '.join(others) or 'other modalities'}")
        absent = {name: torch.zeros(each.num_tokens, each.channels) for name, each in self.modalities.items()}
        is_padding = {name: torch.ones(len(tokens), dtype=torch.bool) for name, tokens in absent.items()}
        return replace(example, inputs=example.inputs | absent, is_padding=example.is_padding | is_padding)
