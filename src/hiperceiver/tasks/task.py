"""The interface of a task: a model with a loss, metrics, predictions, and plain settings to save."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hiperceiver.modality import Batch, Modality
from hiperceiver.model import HiP
from hiperceiver.settings.tasks import TaskConfig
from hiperceiver.tasks.answers import Answer, DrawnTokens
from hiperceiver.tasks.losses import LossTerm, Tensors
from hiperceiver.tasks.metrics import Metric, Metrics, Sums

if TYPE_CHECKING:
    from hiperceiver.tasks.trivial import TrivialAnswers


@dataclass(frozen=True, kw_only=True)
class TargetInfo:
    """The targets of the training data as a whole."""

    classes: tuple[str, ...] = ()  # names of the classes of `label`, `labels` or `segmentation`
    background_class: int | None = None  # the class of what is no object, in masks that have one
    masked_modality: str | None = None  # whose tokens masks label, where there are masks
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For joint labels: name -> names of its classes; none for a number."""
    statistics: Callable[[str], tuple[tuple[float, ...], tuple[float, ...]]]
    """Measures a target that is numbers (`values`, or a joint label): mean and standard deviation of each number."""


class Task(nn.Module, ABC):
    """A model with an objective.

    Losses in training mode draw what is hidden or mixed by the batch's seeds, and dropout from PyTorch's global random
    numbers; in evaluation mode, and in `update` and `predict`, nothing is random.
    """

    kind: ClassVar[str]  # its name in `TASKS`, in settings and on the command line
    config_class: ClassVar[type[TaskConfig]]
    target_kind: ClassVar[str] = "none"
    """The targets that a source must give: `none`, `classification`, `multilabel`, `regression`, ..."""
    has_classes: ClassVar[bool] = False  # whether `classes` names the classes of its target
    is_self_supervised: ClassVar[bool] = False  # whether it learns without labels, so that others can be read off it
    can_balance: ClassVar[bool] = False  # whether `class_weights` can be taken from how many labels each class has
    monitor: ClassVar[tuple[str, Literal["min", "max"]]]
    """The metric that selects the best checkpoint, and which way is better."""

    model: HiP  # the model that is trained
    head: nn.Module
    """The weights that the task adds to the model; saved beside it. Its state is empty where nothing is added."""
    input_modality: str | None = None  # the modality that an example must have; None: any
    horizon: int = 0  # last steps of its `input_modality` that the task predicts; 0: it is no forecast
    drawing_note: str = ""  # behind the title of pictures of its answers
    encoders: dict[str, dict[str, Any]]  # per modality, plain values of its encoder. Empty where not known.
    classes: tuple[str, ...]  # names of the classes, or of the numbers of a regression. Empty where not known.

    def __init__(self, model: HiP, config: TaskConfig):
        super().__init__()
        if not isinstance(config, self.config_class):
            expected = f"{self.config_class.__name__} for {type(self).__name__}"
            raise ValueError(f"config: expected {expected}, got {type(config).__name__}")
        if config.from_data and not getattr(config, name := config.from_data[0]):
            raise ValueError(f"{name}: required to build {type(self).__name__}, got {getattr(config, name)!r}")
        self.config, self.model, self.head = config, model, nn.Identity()
        self.encoders = dict(model.metadata.get("encoders", {}))
        self.classes = ()  # not the model's, which are those of the task that it was saved with

    @property
    def label_classes(self) -> Mapping[str, tuple[str, ...]]:
        """For joint labels: name -> names of its classes; none for a number."""
        return {}

    def register_constant(self, name: str, values: Sequence[float] | None) -> None:
        """A float32 buffer that is not saved, as the config holds its values; None: none."""
        constant = None if values is None else torch.tensor(values, dtype=torch.float32)
        self.register_buffer(name, constant, persistent=False)

    def forward(self, batch: Batch, drawn: Any = None) -> dict[str, LossTerm]:
        """The same as `terms`, for wrappers that replace `forward`."""
        return self.terms(batch, drawn)

    @classmethod
    def config_from_data(cls, info: TargetInfo) -> dict[str, Any]:
        """The fields of the config that the training data give; targets too few to learn from are refused."""
        return {}

    @classmethod
    def label_modalities(cls, config: TaskConfig) -> dict[str, Modality]:
        """Modalities of role `label` that a model must have for this task, beside those of its inputs."""
        return {}

    @property
    def term_weights(self) -> dict[str, float]:
        """The loss's terms by name, always in the same order, and the weight of each in their mean."""
        return {"error": 1.0}

    def draw(self, batch: Batch) -> Any:
        """The random choices of a training step (masks, mixing), which `counts` and `terms` take. None: none."""
        return None

    @abstractmethod
    def counts(self, batch: Batch, drawn: Any = None) -> dict[str, Tensor]:
        """The count of each of the `terms`, without running the model: parts of a larger batch must know its counts."""

    @abstractmethod
    def terms(self, batch: Batch, drawn: Any = None) -> dict[str, LossTerm]:
        """The means whose weighted mean a training step minimises, by the names of `term_weights`.

        A term without anything to count may be missing. `drawn` is what `draw` gave for the batch; None: drawn here.
        """

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """What a training step minimises: the weighted mean of the terms with a count above 0, a float32 scalar.

        With it come, of several terms, those of the batch as `loss_NAME`, without gradient.
        """
        return self.weigh(self.terms(batch))

    def count_together(self, parts: Sequence[Tensors], group: dist.ProcessGroup | None = None) -> dict[str, Tensor]:
        """The summed `counts` of the parts of a batch that this process has, and the others of a group."""
        zero = torch.zeros((), device=self.device)
        names = self.term_weights
        counts = torch.stack([sum((part[name] for part in parts if name in part), zero) for name in names])
        if group is not None:
            dist.all_reduce(counts, group=group)
        return dict(zip(names, counts, strict=True))

    def weigh(self, terms: Mapping[str, LossTerm], counts: Tensors | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The `loss` of a batch's terms; with the `counts` of `count_together`, the share of a part in the whole's."""
        if counts is None:
            counts = {name: term.count for name, term in terms.items()}
        total = weights = torch.zeros((), device=self.device)
        logs = {}
        for name, weight in self.term_weights.items():
            if (count := counts.get(name)) is None:
                continue
            weights = weights + weight * (count > 0)  # terms with a zero count are ignored
            if name in terms:
                part = terms[name].value * (terms[name].count / torch.where(count > 0, count, 1.0))
                total = total + weight * part
                logs[f"loss_{name}"] = part.detach()
        return total / torch.where(weights > 0, weights, 1.0), logs if len(self.term_weights) > 1 else {}

    def make_metrics(self) -> Metrics:
        """New metrics, on the model's device; `compute()` gives scalars by name, one of them `monitor[0]`."""
        return Metrics(Sums(self.sum_shapes(), self.results, self.device), self.more_metrics())

    def more_metrics(self) -> dict[str, Metric]:
        """Metrics that are no sums; `update` must then feed them."""
        return {}

    @torch.no_grad()
    def update(self, metrics: Metrics, batch: Batch) -> None:
        """Add a batch to the metrics. What `compute()` gives does not depend on the division into batches."""
        metrics.sums.update(self.sums(batch))

    def sum_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each of the `sums`."""
        return {"loss": (), "weight": ()}

    def sums(self, batch: Batch) -> dict[str, Tensor]:
        """What a batch adds to the sums over a set, of which the metrics are `results`; a missing one is zero."""
        return self.terms(batch)["error"].sums()

    def results(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The metrics: scalars by name, from the sums over a set, in float64."""
        return {"loss": sums["loss"] / sums["weight"]}

    def trivial_answers(self, num_examples: int) -> TrivialAnswers | None:
        """What answers without a model reach on a set of so many examples, if the task knows any."""
        return None

    @abstractmethod
    def predict(self, batch: Batch) -> NamedTuple:
        """The model's output for a batch, as tensors. Call `eval()` first."""

    @property
    def drawings(self) -> dict[str, type[DrawnTokens]]:
        """Modality -> the picture that `answers` gives of it; empty for a task whose answers are values alone."""
        return {}

    @abstractmethod
    def answers(self, batch: Batch, *, top: int = 5, seeds: Sequence[int] | None = None) -> Iterator[Answer]:
        """The prediction for each example of a batch on the model's device, for people and programs.

        `top` classes are named; `seeds` are those of each example's random numbers, None: as in an evaluation.
        """

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that only this task uses: those that are trained where the backbone is frozen (a probe)."""
        return self.head.parameters()

    def settings(self) -> dict[str, Any]:
        """Plain values for `config.json`; `task_from_settings` builds the task of them."""
        return self.config.to_dict()

    def input_tensors(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A batch's modalities of role `input`, and their padding; in the model's order, that of its groups."""
        labels = self.model.label_names
        names = (*self.model.input_names, *batch.inputs)
        inputs = {name: batch.inputs[name] for name in names if name in batch.inputs and name not in labels}
        if self.input_modality not in (None, *inputs):
            raise ValueError(f"inputs: expected the task's {self.input_modality!r}, got {', '.join(inputs) or 'none'}")
        is_padding = {name: x for name, x in batch.is_padding.items() if name not in labels}
        return inputs, is_padding

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device


def find_input_modality(model: HiP, name: str | None) -> str:
    """The named modality of a model's inputs; None: the only one."""
    names = model.input_names
    if name is None and len(names) == 1:
        name = names[0]
    if name is None or name not in names:
        raise ValueError(f"input_modality: expected one of {', '.join(names)}, got {name!r}")
    return name


def check_hidden(model: HiP, name: str) -> None:
    """Refuse a modality whose hidden tokens would be seen in others."""
    if model.modalities[name].is_overlapping:
        raise ValueError(f"encoders.{name}.context: expected 0, as neighbours would show what is hidden")


def num_position_channels(model: HiP, name: str) -> int:
    """Number of a modality's leading channels that are its positions; they stay visible when a token is masked."""
    return model.modalities[name].num_coordinates if model.config.positions == "coordinate" else 0
