"""Several labels of an example at once, as tokens at the bottleneck of which some are hidden.

Source: "HiP", where labels join the processor as one more masked modality.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiperceiver.modality import Batch, Modality
from hiperceiver.model import HiP
from hiperceiver.settings.tasks import JointConfig, TaskConfig
from hiperceiver.tasks.answers import Answer, in_words, most_probable
from hiperceiver.tasks.label_head import label_parameters
from hiperceiver.tasks.losses import (
    NUMBER_SUMS,
    LossTerm,
    count_known,
    cross_entropy,
    number_error,
    number_sums,
    sum_about_mean,
    weighted_mean,
)
from hiperceiver.tasks.targets import IGNORE, find_classes, find_numbers, is_known
from hiperceiver.tasks.task import TargetInfo, Task


class JointPrediction(NamedTuple):
    """The output for a batch."""

    labels: dict[str, Tensor]
    """Per label, the most probable class, int64 (B,), or the number in its own units, float32 (B,)."""
    probabilities: dict[str, Tensor]  # per label that has classes, of each class: float32 (B, K)


def label_modalities(labels: Mapping[str, int]) -> dict[str, Modality]:
    """The modalities that a model must have for these labels: one token, a channel for each class or for the number.

    `labels` gives each label's number of classes; 0 = it is a number.

    >>> label_modalities({"pitch": 12, "loudness": 0})["pitch"]
    Modality(grid=(1,), channels=12, num_categories=0, role='label', num_coordinates=0, is_overlapping=False)
    """
    if not labels:
        raise ValueError("labels: expected at least one, got none")
    labels = JointConfig(labels=labels).labels
    return {name: Modality(grid=(1,), channels=count or 1, role="label") for name, count in labels.items()}


class Joint(Task):
    """Several labels for each example, as tokens that join the processor; its model has their `label_modalities`.

    `batch.targets[NAME]` is int64 (B,), -100 = no label, or for a number float32 (B,), NaN = none. While training, some
    labels are shown to the model and the hidden ones predicted, so that it learns what they say of each other; the
    loss is the weighted mean over labels of the cross-entropy, or of the squared error in standard deviations, over the
    hidden labels of the batch. The decoder is neither run nor trained.

    Metrics, over the whole set with all labels hidden: `loss`, and `loss_NAME`; `NAME_accuracy` for classes;
    `NAME_mae`, in its own units, and `NAME_r2`, the share of its variance that is explained, for numbers; and `score`,
    the mean over labels of accuracy and r2, the latter not below 0.

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
    target_kind = "joint"
    monitor = ("score", "max")
    config: JointConfig

    def __init__(self, model: HiP, config: JointConfig):
        super().__init__(model, config)
        for name, expected in label_modalities(config.labels).items():
            if (known := model.modalities.get(name, "none")) != expected:
                needed = f"of role 'label', grid (1,) and {expected.channels} channels"
                raise ValueError(f"labels: expected a model with a modality {name!r} {needed}, got {known}")

    @classmethod
    def config_from_data(cls, info: TargetInfo) -> dict[str, Any]:
        """The labels, their classes, and the scale of those that are numbers."""
        numbers = {name: info.statistics(name) for name, classes in info.labels.items() if not classes}
        return {
            "labels": {name: len(classes) for name, classes in info.labels.items()},
            "class_names": {name: classes for name, classes in info.labels.items() if classes},
            "target_mean": {name: mean[0] for name, (mean, _) in numbers.items()},
            "target_std": {name: std[0] for name, (_, std) in numbers.items()},
        }

    @classmethod
    def label_modalities(cls, config: TaskConfig) -> dict[str, Modality]:
        """One token for each label; see the function of that name."""
        assert isinstance(config, JointConfig)
        return label_modalities(config.labels)

    @property
    def label_classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of each label's classes, as far as they are known."""
        return self.config.class_names or {}

    @property
    def term_weights(self) -> dict[str, float]:
        """A term for each label."""
        return {name: float((self.config.weights or {}).get(name, 1.0)) for name in self.config.labels}

    def draw(self, batch: Batch) -> dict[str, Tensor]:
        """By label, which examples show it to the model: bool (B,); empty where none does."""
        if not self.training or not self.config.shown:
            return {}
        targets = self._targets(batch)
        drawn = torch.stack([torch.rand(len(targets), generator=each) for each in batch.generators()], dim=1)
        return {
            name: (each.to(target.device) < self.config.shown) & is_known(target)
            for each, (name, target) in zip(drawn, targets.items(), strict=True)
        }

    def counts(self, batch: Batch, drawn: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The number of known labels that are hidden."""
        return {name: count_known(target) for name, target in self._hidden_targets(batch, drawn or {}).items()}

    def terms(self, batch: Batch, drawn: Mapping[str, Tensor] | None = None) -> dict[str, LossTerm]:
        """Show some labels, compare the hidden ones."""
        is_shown = self.draw(batch) if drawn is None else drawn
        read = self._read(batch, self._targets(batch), is_shown)
        hidden = self._hidden_targets(batch, is_shown)
        return {name: self._error(name, read[name], target) for name, target in hidden.items()}

    def sum_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of each label."""
        sums = ("loss", "weight", "found", *NUMBER_SUMS)
        return {f"{each}/{name}": () for name in self.config.labels for each in sums}

    def sums(self, batch: Batch) -> dict[str, Tensor]:
        """Those of a batch, with all labels hidden."""
        targets = self._targets(batch)
        read = self._read(batch, targets, {})
        labels = self._prediction(read).labels
        sums = {}
        for name, target in targets.items():
            each = self._error(name, read[name], target).sums()
            if self.config.labels[name]:
                each["found"] = (labels[name] == target).sum()
            else:
                each |= number_sums(labels[name], target)
            sums |= {f"{key}/{name}": x for key, x in each.items()}
        return sums

    def results(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`loss`, `score`, and those of each label."""
        counts = {name: sums[f"weight/{name}"] for name in self.config.labels}
        losses = {name: sums[f"loss/{name}"] / count for name, count in counts.items()}
        each_label, scores = {}, []
        for name, count in counts.items():
            each_label[f"loss_{name}"] = losses[name]
            if self.config.labels[name]:
                each_label[f"{name}_accuracy"] = accuracy = sums[f"found/{name}"] / count
                scores += [accuracy] if count > 0 else []
            else:
                spread = sum_about_mean(sums[f"target/{name}"], sums[f"target_square/{name}"], count)
                r2 = 1 - sums[f"square/{name}"] / spread
                each_label |= {f"{name}_mae": sums[f"absolute/{name}"] / count, f"{name}_r2": r2}
                scores += [] if spread.isnan() else [r2.clamp(min=0)]
        loss = weighted_mean(losses, self.term_weights, counts)
        score = torch.stack(scores).mean() if scores else loss.new_tensor(torch.nan)
        return {"loss": loss, "score": score, **each_label}

    @torch.no_grad()
    def predict(self, batch: Batch) -> JointPrediction:
        """All labels of each example, from its inputs alone."""
        return self._prediction(self._read(batch, {}, {}))

    def answers(self, batch: Batch, *, top: int = 5, seeds: Sequence[int] | None = None) -> Iterator[Answer]:
        """The most probable classes of each label, or its number."""
        prediction = self.predict(batch)
        for index in range(len(batch)):
            values: dict[str, Any] = {}
            texts = []
            for name, num_classes in self.config.labels.items():
                if num_classes:
                    classes = (self.config.class_names or {}).get(name) or [str(k) for k in range(num_classes)]
                    values[name] = most_probable(prediction.probabilities[name][index].cpu(), classes, top)
                    texts.append(f"{name} {in_words(values[name][:1])}")
                else:
                    values[name] = float(prediction.labels[name][index])
                    texts.append(f"{name} {values[name]:.5g}")
            yield Answer(values={"joint": values}, text=", ".join(texts))

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """The model's parameters for these labels alone."""
        yield from label_parameters(self.model, self.config.labels)
        if self.config.shown:
            for name in self.config.labels:
                yield from self.model.embedding[name].parameters()

    def _targets(self, batch: Batch) -> dict[str, Tensor]:
        shape = (len(batch),)
        return {
            name: find_classes(batch, name, shape, num_classes) if num_classes else find_numbers(batch, name, shape)
            for name, num_classes in self.config.labels.items()
        }

    def _hidden_targets(self, batch: Batch, is_shown: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The targets, without those that are shown."""
        targets = self._targets(batch)
        for name, shown in is_shown.items():
            targets[name] = targets[name].masked_fill(shown, IGNORE if self.config.labels[name] else torch.nan)
        return targets

    def _read(self, batch: Batch, targets: Mapping[str, Tensor], is_shown: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Logits (B, K) or numbers in standard deviations (B, 1) of all labels, with those visible that are shown."""
        inputs, is_padding = self.input_tensors(batch)
        like = next(iter(inputs.values()), torch.zeros(()))
        for name, shown in is_shown.items():
            target, num_classes = targets[name].where(shown, 0), self.config.labels[name]
            token = F.one_hot(target, num_classes) if num_classes else self._in_deviations(name, target)[:, None]
            inputs[name] = token[:, None].to(like.dtype)
            is_padding[name] = ~shown[:, None]
        encoded = self.model.encode(inputs, is_padding=is_padding)
        # Labels are read from the processor, so that the decoder's latents are not needed.
        read = self.model.reconstruct(encoded, encoded.processor_latents, self.config.labels)
        return {name: x.squeeze(1) for name, x in read.items()}

    def _error(self, name: str, read: Tensor, target: Tensor) -> LossTerm:
        if self.config.labels[name]:
            return cross_entropy(read, target)
        return number_error(read.squeeze(1), self._in_deviations(name, target))

    def _prediction(self, read: Mapping[str, Tensor]) -> JointPrediction:
        labels, probabilities = {}, {}
        for name, x in read.items():
            if self.config.labels[name]:
                probabilities[name] = x.float().softmax(dim=-1)
                labels[name] = probabilities[name].argmax(dim=-1)
            else:
                mean, std = self._mean_and_std(name)
                labels[name] = x.squeeze(1).float() * std + mean
        return JointPrediction(labels, probabilities)

    def _in_deviations(self, name: str, target: Tensor) -> Tensor:
        mean, std = self._mean_and_std(name)
        return (target - mean) / std

    def _mean_and_std(self, name: str) -> tuple[float, float]:
        return (self.config.target_mean or {}).get(name, 0.0), (self.config.target_std or {}).get(name, 1.0)
