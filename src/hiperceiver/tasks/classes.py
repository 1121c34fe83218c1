"""Bases of the tasks with K classes: several may be right, or one alone."""

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hiperceiver.modality import Batch
from hiperceiver.model import HiP
from hiperceiver.settings.tasks import ClassificationConfig, MultilabelConfig, SegmentationConfig
from hiperceiver.tasks.losses import LossTerm, class_sums, cross_entropy
from hiperceiver.tasks.task import TargetInfo, Task


class ClassesTask(Task):
    """Base of the tasks whose targets are classes."""

    has_classes = True
    config: ClassificationConfig | MultilabelConfig | SegmentationConfig
    class_weights: Tensor | None

    def __init__(self, model: HiP, config: ClassificationConfig | MultilabelConfig | SegmentationConfig):
        super().__init__(model, config)
        self.register_constant("class_weights", config.class_weights)

    @classmethod
    def config_from_data(cls, info: TargetInfo) -> dict[str, Any]:
        """The number of classes; fewer than two are refused."""
        if len(info.classes) < 2:
            raise ValueError(f"classes: expected at least 2, got {len(info.classes)}")
        return {"num_classes": len(info.classes)}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, or their numbers where those are not known."""
        return self.classes or tuple(str(number) for number in range(self.config.num_classes))

    @abstractmethod
    def logits(self, batch: Batch) -> Tensor:
        """Unnormalised log-probabilities of the classes: (B, K), or of each token, (B, M, K)."""

    @abstractmethod
    def probabilities(self, batch: Batch) -> Tensor:
        """The probability of each class: float32 in the shape of the logits."""

    @abstractmethod
    def _target(self, batch: Batch) -> Tensor:
        """The checked targets of a batch."""


class ClassPrediction(NamedTuple):
    """The output for a batch."""

    label: Tensor  # the most probable class: int64 (B,), or of each token, (B, M)
    probabilities: Tensor  # of each class: float32 (B, K), or of each token, (B, M, K)


class OneClassTask(ClassesTask):
    """Base of the tasks in which one class is right, for an example or for each of its tokens."""

    can_balance = True

    def sum_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the loss, and of each class."""
        return {**super().sum_shapes(), **dict.fromkeys(("members", "found", "predicted"), (self.config.num_classes,))}

    def sums(self, batch: Batch) -> dict[str, Tensor]:
        """Those of a batch."""
        return self._sums(self.logits(batch), self._target(batch))

    @torch.no_grad()
    def probabilities(self, batch: Batch) -> Tensor:
        """They add up to 1."""
        return self.logits(batch).float().softmax(dim=-1)

    def predict(self, batch: Batch) -> ClassPrediction:
        """The most probable class, and the probability of each class."""
        probabilities = self.probabilities(batch)
        return ClassPrediction(probabilities.argmax(dim=-1), probabilities)

    def _sums(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> dict[str, Tensor]:
        classes = class_sums(logits.argmax(dim=-1), target, self.config.num_classes)
        return {**self._cross_entropy(logits, target, weight).sums(), **classes}

    def _cross_entropy(self, logits: Tensor, target: Tensor, share: Tensor | None = None) -> LossTerm:
        smoothing = self.config.label_smoothing
        return cross_entropy(logits, target, class_weights=self.class_weights, label_smoothing=smoothing, share=share)
