"""Several labels of an example at once, as tokens at the bottleneck of which some are hidden.

Source: "HiP", where labels join the processor as one more masked modality.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiperceiver.modality import Batch, Modality
from hiperceiver.model import Perceiver
from hiperceiver.settings.tasks import JointConfig, TaskConfig
from hiperceiver.tasks.losses import IGNORE, Mean, cross_entropy, number_error
from hiperceiver.tasks.readout import label_parameters
from hiperceiver.tasks.task import DataFacts, Task, find_numbers, find_target

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


class JointLabels(NamedTuple):
    """What a model says about all labels of a batch."""

    labels: dict[str, Tensor]
    """Per label, the most probable class, int64 (B,), or the number in its own units, float32 (B,)."""
    probabilities: dict[str, Tensor]
    """Per label that has classes, of each class: float32 (B, K)."""


def label_modalities(labels: Mapping[str, int]) -> dict[str, Modality]:
    """The modalities that a model must have for these labels: one token, a channel for each class or for the number.

    Args:
        labels: each label's number of classes; 0 = it is a number.

    >>> label_modalities({"pitch": 12, "loudness": 0})["pitch"]
    Modality(grid=(1,), channels=12, role='label', num_coordinates=0)
    """
    if not labels:
        raise ValueError("labels: expected at least one, got none")
    labels = JointConfig(labels=labels).labels
    return {name: Modality(grid=(1,), channels=count or 1, role="label") for name, count in labels.items()}


class Joint(Task):
    """Several labels for each example, as tokens that join the processor.

    `batch.targets[NAME]` is int64 (B,), -100 = no label, or for a number float32 (B,), NaN = none. While training, some
    labels are shown to the model and the hidden ones are foretold, so that it learns what they say of each other; the
    loss is the weighted mean over labels of the cross-entropy, or of the squared error in standard deviations, over the
    hidden labels of the batch. The decoder is neither run nor trained.

    Metrics, over the whole set with all labels hidden: `loss`, and `loss_NAME`; `NAME_accuracy` for classes;
    `NAME_mae`, in its own units, and `NAME_r2`, the share of its variance that is explained, for numbers; and `score`,
    the mean over labels of accuracy and r2, the latter not below 0.

    Args:
        model: the backbone, with `label_modalities` of these labels among its modalities.
        config: the labels, and how many are shown.

    >>> from hiperceiver import Batch, Modality, create_model
    >>> labels = {"pitch": 12, "loudness": 0}
    >>> modalities = {"sound": Modality(grid=(256,), channels=16), **label_modalities(labels)}
    >>> task = Joint(create_model("hip-nano", modalities=modalities), JointConfig(labels=labels)).eval()
    >>> prediction = task.predict(Batch(inputs={"sound": torch.randn(2, 256, 16)}))
    >>> {name: tuple(x.shape) for name, x in prediction.labels.items()}
    {'pitch': (2,), 'loudness': (2,)}
    """

    kind = JointConfig.kind
    config_class = JointConfig
    source_task: ClassVar[str] = "joint"
    monitor = ("score", "max")
    config: JointConfig

    def __init__(self, model: Perceiver, config: JointConfig):
        super().__init__(model, config)
        for name, expected in label_modalities(config.labels).items():
            if model.modalities.get(name) != expected:
                raise ValueError(
                    f"labels: expected a model with a modality {name!r} of role 'label', grid (1,) and "
                    f"{expected.channels} channels, got {model.modalities.get(name, 'none')}"
                )

    @classmethod
    def settings_for(cls, facts: DataFacts) -> dict[str, Any]:
        """The labels, their classes, and the scale of those that are numbers."""
        return {
            "labels": {name: len(classes) for name, classes in facts.labels.items()},
            "class_names": {name: classes for name, classes in facts.labels.items() if classes},
            "target_mean": {name: mean[0] for name, (mean, _) in facts.statistics.items()},
            "target_std": {name: std[0] for name, (_, std) in facts.statistics.items()},
        }

    @classmethod
    def label_modalities(cls, config: TaskConfig) -> dict[str, Modality]:
        """One token for each label; see the function of that name."""
        assert isinstance(config, JointConfig)
        return label_modalities(config.labels)

    @property
    def term_weights(self) -> dict[str, float]:
        """A term for each label."""
        return {name: float((self.config.weights or {}).get(name, 1.0)) for name in self.config.labels}

    def terms(self, batch: Batch) -> dict[str, Mean]:
        """Show some labels, compare the hidden ones."""
        targets = self._targets(batch)
        is_shown: dict[str, Tensor] = {}
        if self.training and self.config.shown:
            for name, target in targets.items():
                is_drawn = torch.rand(len(target), device=target.device) < self.config.shown
                is_shown[name] = is_drawn & self._is_known(name, target)
        read = self._read(batch, targets, is_shown)
        terms = {}
        for name, target in targets.items():
            if is_shown:
                target = target.masked_fill(is_shown[name], IGNORE if self.config.labels[name] else torch.nan)
            terms[name] = self._error(name, read[name], target)
        return terms

    def make_metrics(self) -> MetricCollection:
        """`loss`, `score`, and those of each label."""
        from torchmetrics import MetricCollection

        from hiperceiver.tasks.metrics import JointErrors

        errors = JointErrors(self.config.labels, self.term_weights)
        return MetricCollection({"errors": errors}).to(self.device)

    @torch.no_grad()
    def update(self, metrics: MetricCollection, batch: Batch) -> None:
        """Count a batch in, all labels hidden."""
        targets = self._targets(batch)
        read = self._read(batch, targets, {})
        errors = {name: self._error(name, read[name], target) for name, target in targets.items()}
        metrics.update(
            error={name: error for name, (error, _) in errors.items()},
            count={name: count for name, (_, count) in errors.items()},
            prediction=self._say(read).labels,
            target=targets,
        )

    @torch.no_grad()
    def predict(self, batch: Batch) -> JointLabels:
        """All labels of each example, from its inputs alone."""
        return self._say(self._read(batch, {}, {}))

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """What the model has for these labels alone."""
        yield from label_parameters(self.model, self.config.labels)
        if self.config.shown:
            for name in self.config.labels:
                yield from self.model.embedding[name].parameters()

    def _targets(self, batch: Batch) -> dict[str, Tensor]:
        shape = (len(batch),)
        return {
            name: find_target(batch, name, shape, num_classes) if num_classes else find_numbers(batch, name, shape)
            for name, num_classes in self.config.labels.items()
        }

    def _read(self, batch: Batch, targets: Mapping[str, Tensor], is_shown: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Logits (B, K) or numbers in standard deviations (B, 1) of all labels, told those that are shown."""
        inputs, is_padding = self.input_tensors(batch)
        like = next(iter(inputs.values()), torch.zeros(()))
        for name, shown in is_shown.items():
            inputs[name] = self._token(name, targets[name].where(shown, 0)).to(like.dtype)
            is_padding[name] = ~shown[:, None]
        encoded = self.model.encode(inputs, is_padding=is_padding)
        # Labels are read from the processor, so that the decoder's latents are not needed.
        read = self.model.reconstruct(encoded, encoded.processor_latents, self.config.labels)
        return {name: x.squeeze(1) for name, x in read.items()}

    def _token(self, name: str, target: Tensor) -> Tensor:
        """A label as a token: (B,) to (B, 1, K), one for the class, or (B, 1, 1), in standard deviations."""
        num_classes = self.config.labels[name]
        if num_classes:
            return F.one_hot(target, num_classes)[:, None]
        return self._in_deviations(name, target)[:, None, None]

    def _is_known(self, name: str, target: Tensor) -> Tensor:
        return target != IGNORE if self.config.labels[name] else ~target.isnan()

    def _error(self, name: str, read: Tensor, target: Tensor) -> Mean:
        if self.config.labels[name]:
            return cross_entropy(read, target)
        return number_error(read.squeeze(1), self._in_deviations(name, target))

    def _say(self, read: Mapping[str, Tensor]) -> JointLabels:
        labels, probabilities = {}, {}
        for name, x in read.items():
            if self.config.labels[name]:
                probabilities[name] = x.float().softmax(dim=-1)
                labels[name] = probabilities[name].argmax(dim=-1)
            else:
                mean, std = self._mean_and_std(name)
                labels[name] = x.squeeze(1).float() * std + mean
        return JointLabels(labels, probabilities)

    def _in_deviations(self, name: str, target: Tensor) -> Tensor:
        mean, std = self._mean_and_std(name)
        return (target - mean) / std

    def _mean_and_std(self, name: str) -> tuple[float, float]:
        return (self.config.target_mean or {}).get(name, 0.0), (self.config.target_std or {}).get(name, 1.0)
