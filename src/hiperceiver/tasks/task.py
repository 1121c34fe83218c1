"""What every task offers the trainer: a loss, metrics, predictions, and plain settings to save."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hiperceiver.modality import Batch, Modality
from hiperceiver.model import Perceiver
from hiperceiver.settings.tasks import TaskConfig
from hiperceiver.tasks.losses import IGNORE, Mean

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What the training data says of its targets, for a task that is made for it."""

    classes: tuple[str, ...] = ()
    """Names of the classes of `label`, `labels` or `segmentation`."""
    background_class: int | None = None
    """The class of what is no object, in masks that have one."""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For joint labels: name -> names of its classes; none for a number."""
    statistics: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = field(default_factory=dict)
    """Of `values` and of joint labels that are numbers: name -> mean and standard deviation of each number."""


class Task(nn.Module, ABC):
    """A model with an objective.

    Losses in training mode draw from PyTorch's global random numbers; in evaluation mode, and in `update` and
    `predict`, nothing is random.
    """

    kind: ClassVar[str]
    """Its name in `TASKS`, in settings and on the command line."""
    config_class: ClassVar[type[TaskConfig]]
    source_task: ClassVar[str] = "none"
    """What targets a source must give: `none`, `classification`, `multilabel`, `regression`, `segmentation` or
    `joint`."""
    monitor: ClassVar[tuple[str, Literal["min", "max"]]]
    """The metric that tells the best checkpoint, and which way is better."""

    model: Perceiver
    """The model that is trained."""
    head: nn.Module
    """What the task adds to the model; saved beside it. Its state is empty where nothing is added."""
    encoders: dict[str, dict[str, Any]]
    """Per modality: how raw values become tokens, as plain values. Empty where not known."""
    classes: tuple[str, ...]
    """Names of the labels. Empty where not known."""

    def __init__(self, model: Perceiver, config: TaskConfig):
        super().__init__()
        if not isinstance(config, self.config_class):
            raise ValueError(
                f"config: expected {self.config_class.__name__} for {type(self).__name__}, got {type(config).__name__}"
            )
        if config.from_data and not getattr(config, name := config.from_data[0]):
            raise ValueError(f"{name}: required to build {type(self).__name__}, got {getattr(config, name)!r}")
        self.config = config
        self.model = model
        self.head = nn.Identity()
        self.encoders = dict(model.metadata.get("encoders", {}))
        self.classes = tuple(model.metadata.get("classes", ()))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The same as `loss`, for wrappers that replace `forward`."""
        return self.loss(batch)

    @classmethod
    def settings_for(cls, facts: DataFacts) -> dict[str, Any]:
        """Fields of the config that the data says, so that nobody else need to."""
        return {}

    @classmethod
    def label_modalities(cls, config: TaskConfig) -> dict[str, Modality]:
        """Modalities of role `label` that a model must have for this task, beside those of its inputs."""
        return {}

    @property
    def term_weights(self) -> dict[str, float]:
        """The loss's terms by name, always in the same order, and the weight of each in their mean."""
        return {"error": 1.0}

    @abstractmethod
    def terms(self, batch: Batch) -> dict[str, Mean]:
        """Means over what counts in a batch, whose weighted mean is what a training step minimises.

        By the names of `term_weights`; what the batch has nothing of may be missing.
        """

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """What a training step minimises.

        Returns:
            The weighted mean of the terms that count something, a float32 scalar; and, where the task has several
            terms, those of the batch as `loss_NAME`, without gradient.
        """
        return self.weigh(self.terms(batch))

    def count_together(self, terms: Mapping[str, Mean], group: dist.ProcessGroup | None = None) -> dict[str, Tensor]:
        """By term, what counts in the parts of all processes of a group (None: of all that there are)."""
        nothing = torch.zeros((), device=self.device)
        names = self.term_weights
        counts = torch.stack([terms[name].count if name in terms else nothing for name in names])
        dist.all_reduce(counts, group=group)
        return dict(zip(names, counts, strict=True))

    def weigh(
        self, terms: Mapping[str, Mean], counts: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The `loss` that terms come to.

        Args:
            terms: of a batch, or of the part of one that a process has.
            counts: what `count_together` gives. The loss and the logs are then what this part adds to those of the
                whole. None: the terms are of the whole.
        """
        if counts is None:
            counts = {name: term.count for name, term in terms.items()}
        total = weights = torch.zeros((), device=self.device)
        logs = {}
        for name, weight in self.term_weights.items():
            if name not in counts:
                continue
            count = counts[name]
            weights = weights + weight * (count > 0)  # a term that counts nothing has no say
            if name in terms:
                part = terms[name].value * (terms[name].count / torch.where(count > 0, count, 1.0))
                total = total + weight * part
                logs[f"loss_{name}"] = part.detach()
        return total / torch.where(weights > 0, weights, 1.0), logs if len(self.term_weights) > 1 else {}

    @abstractmethod
    def make_metrics(self) -> MetricCollection:
        """New metrics, on the model's device; `compute()` gives scalars by name, one of them `monitor[0]`."""

    @abstractmethod
    def update(self, metrics: MetricCollection, batch: Batch) -> None:
        """Count a batch in. What `compute()` gives does not depend on how examples were put into batches."""

    @abstractmethod
    def predict(self, batch: Batch) -> NamedTuple:
        """What the model says about a batch. Call `eval()` first."""

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """What is trained where the rest of the model is frozen (a probe): the parameters that only this task uses."""
        return self.head.parameters()

    def settings(self) -> dict[str, Any]:
        """Plain values for `config.json`, from which `task_from_settings` builds the task again."""
        return self.config.to_dict()

    def input_tensors(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A batch's modalities of role `input`, and their padding: labels are never shown to the model.

        They come in the model's order, whatever the batch's: the model deals its groups to them in theirs.
        """
        labels = self.model.label_names
        names = (*self.model.input_names, *batch.inputs)
        inputs = {name: batch.inputs[name] for name in names if name in batch.inputs and name not in labels}
        is_padding = {name: x for name, x in batch.is_padding.items() if name not in labels}
        return inputs, is_padding

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device


def find_input_modality(model: Perceiver, name: str | None) -> str:
    """The named modality of a model's inputs; None: the only one."""
    names = model.input_names
    if name is None and len(names) == 1:
        name = names[0]
    if name is None or name not in names:
        raise ValueError(f"input_modality: expected one of {', '.join(names)}, got {name!r}")
    return name


def num_position_channels(model: Perceiver, name: str) -> int:
    """A modality's first channels that the model is told even of hidden tokens: coordinates that are positions."""
    return model.modalities[name].num_coordinates if model.config.positions == "coordinate" else 0


def find_target(batch: Batch, name: str, shape: tuple[int, ...], num_classes: int) -> Tensor:
    """The named target of a batch, checked: int64 of the given shape, with classes 0 to K - 1 or -100."""
    target = _target(batch, name)
    if target.dtype != torch.int64 or tuple(target.shape) != shape:
        raise ValueError(f"targets: expected int64 {shape} for {name!r}, got {target.dtype} {tuple(target.shape)}")
    if _can_look_at(target):
        wrong = target[(target != IGNORE) & ((target < 0) | (target >= num_classes))]
        if len(wrong):
            raise ValueError(f"targets: expected {name!r} from 0 to {num_classes - 1} or {IGNORE}, got {int(wrong[0])}")
    return target


def find_numbers(batch: Batch, name: str, shape: tuple[int, ...]) -> Tensor:
    """The named target of a batch, checked: float32 of the given shape, finite or NaN = unknown."""
    target = _target(batch, name)
    if not target.is_floating_point() or tuple(target.shape) != shape:
        raise ValueError(f"targets: expected float32 {shape} for {name!r}, got {target.dtype} {tuple(target.shape)}")
    target = target.float()  # half precision turns whole batches into its own
    if _can_look_at(target) and target.isinf().any():
        raise ValueError(f"targets: expected finite numbers or NaN for {name!r}, got infinity")
    return target


def find_label_set(batch: Batch, name: str, shape: tuple[int, ...]) -> Tensor:
    """The named target of a batch, checked: float32 of the given shape, 0, 1 or NaN = unknown."""
    target = find_numbers(batch, name, shape)
    if _can_look_at(target):
        wrong = target[(target != 0) & (target != 1) & ~target.isnan()]
        if len(wrong):
            raise ValueError(f"targets: expected 0, 1 or NaN for {name!r}, got {wrong[0].item():g}")
    return target


def _target(batch: Batch, name: str) -> Tensor:
    if name not in batch.targets:
        came = ", ".join(batch.targets) or "none"
        raise ValueError(f"targets: expected {name!r} in the batch, got {came}")
    return batch.targets[name]


def _can_look_at(target: Tensor) -> bool:
    """On a GPU looking would make it wait; there the loss kernel itself stops on a wrong class."""
    return target.device.type == "cpu" and not torch.compiler.is_compiling()
