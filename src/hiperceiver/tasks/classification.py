"""Classification: one label for an example, read from the processor. The decoder is never run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hiperceiver.modality import Batch
from hiperceiver.settings.tasks import ClassificationConfig
from hiperceiver.tasks.answers import Answer
from hiperceiver.tasks.label_head import ClassesTask
from hiperceiver.tasks.losses import LossTerm, count_labels, cross_entropy
from hiperceiver.tasks.mixing import Mixed
from hiperceiver.tasks.targets import IGNORE, find_classes

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

_TOP = 5


class ClassificationPrediction(NamedTuple):
    """The output for a batch."""

    label: Tensor
    """The most probable class: int64 (B,)."""
    probabilities: Tensor
    """Of each class: float32 (B, K)."""


class Classification(ClassesTask):
    """One label for each example; `batch.targets["label"]` is int64 (B,), -100 = no label.

    Metrics: `loss`; `accuracy`; `top5_accuracy` where there are more than 5 classes; `balanced_accuracy`, the mean over
    the classes with members of the share of members that are found.

    >>> from hiperceiver import Batch, Modality, create_model
    >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    >>> task = Classification(model, ClassificationConfig(num_classes=10)).eval()
    >>> task.predict(Batch(inputs={"image": torch.randn(2, 1024, 3)})).probabilities.shape
    torch.Size([2, 10])
    """

    kind = ClassificationConfig.kind
    config_class = ClassificationConfig
    target_kind = "classification"
    can_balance = True
    monitor = ("accuracy", "max")

    def draw(self, batch: Batch) -> Mixed | None:
        """The batch with its examples mixed, if the config says so."""
        return self.mixed(batch, self._target(batch) != IGNORE)

    def counts(self, batch: Batch, drawn: Mixed | None = None) -> dict[str, Tensor]:
        """The weights of the labelled examples."""
        target, share = self._targets(batch, drawn)
        return {"error": count_labels(target, class_weights=self.class_weights, share=share)}

    def terms(self, batch: Batch, drawn: Mixed | None = None) -> dict[str, LossTerm]:
        """Cross-entropy over the labelled examples, mixed ones between both labels."""
        mixed = drawn or self.draw(batch)
        target, share = self._targets(batch, mixed)
        logits = self.logits(batch if mixed is None else mixed.batch)
        if mixed is not None:
            logits = torch.cat([logits, logits])
        return {"error": self._cross_entropy(logits, target, share)}

    def make_metrics(self) -> MetricCollection:
        """`loss`, `accuracy`, `balanced_accuracy`, and `top5_accuracy` where there are more than 5 classes."""
        from torchmetrics.classification import MulticlassAccuracy

        from hiperceiver.tasks.metrics import Sums, collection

        num_classes = self.config.num_classes
        tops = {"accuracy": 1, "top5_accuracy": _TOP} if num_classes > _TOP else {"accuracy": 1}
        return collection(
            self.device,
            sums=Sums({"loss": (), "weight": (), "members": (num_classes,), "found": (num_classes,)}, _results),
            **{
                name: MulticlassAccuracy(num_classes, top_k=k, average="micro", ignore_index=IGNORE)
                for name, k in tops.items()
            },
        )

    @torch.no_grad()
    def update(self, metrics: MetricCollection, batch: Batch) -> None:
        """Add a batch."""
        logits, target = self.logits(batch).float(), self._target(batch)
        sums = {
            **self._cross_entropy(logits, target).sums(),
            **class_counts(logits.argmax(dim=-1), target, self.config.num_classes),
        }
        metrics.update(sums=sums, preds=logits, target=target)

    @torch.no_grad()
    def predict(self, batch: Batch) -> ClassificationPrediction:
        """The class of each example, and the probability of each class."""
        probabilities = self.logits(batch).float().softmax(dim=-1)
        return ClassificationPrediction(probabilities.argmax(dim=-1), probabilities)

    def answers(self, batch: Batch, *, top: int = 5, seeds: Sequence[int] | None = None) -> Iterator[Answer]:
        """The most probable classes."""
        return self.ranked(self.predict(batch).probabilities, top)

    def _target(self, batch: Batch) -> Tensor:
        return find_classes(batch, "label", (len(batch),), self.config.num_classes)

    def _targets(self, batch: Batch, mixed: Mixed | None) -> tuple[Tensor, Tensor | None]:
        """The labels that count and their shares; of mixed examples both labels, one after the other: (2 B,)."""
        target = self._target(batch)
        if mixed is None:
            return target, None
        return torch.cat([target, target[mixed.partner]]), torch.cat([mixed.share, 1 - mixed.share])

    def _cross_entropy(self, logits: Tensor, target: Tensor, share: Tensor | None = None) -> LossTerm:
        return cross_entropy(
            logits,
            target,
            class_weights=self.class_weights,
            label_smoothing=self.config.label_smoothing,
            share=share,
        )


def class_counts(prediction: Tensor, target: Tensor, num_classes: int) -> dict[str, Tensor]:
    """By class: `members`, the number of its targets, and `found`, of those that are predicted. Both (K,).

    Args:
        prediction: int64 (...).
        target: int64 (...), -100 = not counted.
        num_classes: K.
    """
    found = target[(prediction == target) & (target != IGNORE)]
    members = target[target != IGNORE]
    return {name: x.bincount(minlength=num_classes) for name, x in {"members": members, "found": found}.items()}


def _results(sums: dict[str, Tensor]) -> dict[str, Tensor]:
    has_members = sums["members"] > 0
    return {
        "loss": sums["loss"] / sums["weight"],
        "balanced_accuracy": (sums["found"] / sums["members"])[has_members].mean(),
    }
