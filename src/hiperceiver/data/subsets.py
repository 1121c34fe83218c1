"""Datasets made of others: some of their examples, several after each other, or with modalities that are not there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from hiperceiver.data.example import BadExample, Example, ExampleDataset
from hiperceiver.modality import Modality


class Joined:
    """Several datasets, one after the other."""

    def __init__(self, datasets: Sequence[ExampleDataset]):
        self.places = [(dataset, index) for dataset in datasets for index in range(len(dataset))]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Example | BadExample:
        dataset, place = self.places[index]
        return dataset[place]


@dataclass(frozen=True, kw_only=True)
class WithAbsent:
    """A dataset whose examples have further modalities, or hide some of their own: absent, every token of them.

    So a model of several modalities is measured on some of them, whether the data has the others or not.

    >>> example = Example(inputs={"audio": torch.ones(4, 1)})
    >>> dataset = WithAbsent(dataset=[example], modalities={"video": Modality(grid=(2, 2), channels=3)})
    >>> {name: (tuple(x.shape), "video" in dataset[0].is_padding) for name, x in dataset[0].inputs.items()}
    {'audio': ((4, 1), True), 'video': ((4, 3), True)}
    """

    dataset: ExampleDataset
    """Where the examples come from."""
    modalities: Mapping[str, Modality]
    """The absent ones; what examples hold of them is not shown."""

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Example | BadExample:
        example = self.dataset[index]
        if isinstance(example, BadExample):
            return example
        inputs, is_padding = dict(example.inputs), dict(example.is_padding)
        for name, modality in self.modalities.items():
            inputs[name] = torch.zeros(modality.num_tokens, modality.channels)
            is_padding[name] = torch.ones(modality.num_tokens, dtype=torch.bool)
        return replace(example, inputs=inputs, is_padding=is_padding)
