"""What every source gives: encoders, class names, and the records of each split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.example import ExampleDataset
from hiperceiver.modality import Modality

SourceTask = Literal["none", "classification", "segmentation"]
"""What the examples' targets are: nothing, `label`, or `segmentation`."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset that is ready for the loaders."""

    name: str
    """As it was asked for."""
    task: SourceTask
    """What the examples' targets are."""
    encoders: dict[str, Encoder]
    """Per modality; normalisation is that of the training data, or was given."""
    splits: dict[str, ExampleDataset]
    """Records by split; the keys are among `train`, `validation` and `test`, in this order."""
    classes: tuple[str, ...] = ()
    """Names of the labels, in the order of their numbers; empty if the task has none."""
    colours: tuple[tuple[int, int, int], ...] = ()
    """A customary colour per class (RGB, 0..255), if there is one."""
    note: str = ""
    """What must be said where results on this source are shown."""
    warnings: tuple[str, ...] = field(default=())
    """What was odd about the data and did not stop us, each in one line."""

    @property
    def modalities(self) -> dict[str, Modality]:
        """Grid and channels per modality, for the model."""
        return {name: encoder.modality for name, encoder in self.encoders.items()}


def check_task(task: str) -> None:
    """Raises a `ValueError` of one line for a task that no source has."""
    if task not in get_args(SourceTask):
        raise ValueError(f"task: expected one of {', '.join(get_args(SourceTask))}, got {task!r}")
