"""Classification: one label for an example, read from the processor. The decoder is never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor

from hiperceiver.modality import Batch
from hiperceiver.settings.tasks import ClassificationConfig
from hiperceiver.tasks.losses import IGNORE, Mean, cross_entropy
from hiperceiver.tasks.readout import LabelTask
from hiperceiver.tasks.task import find_target

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

_TOP = 5


class Classes(NamedTuple):
    """What a classifier says about a batch."""

    label: Tensor
    """The most probable class: int64 (B,)."""
    probabilities: Tensor
    """Of each class: float32 (B, K)."""


class Classification(LabelTask):
    """One label for each example; `batch.targets["label"]` is int64 (B,), -100 = no label.

    Metrics: `loss`; `accuracy`; `top5_accuracy` where there are more than 5 classes; `balanced_accuracy`, the mean over
    the classes that have members of the share of them that is found.

    Args:
        model: the backbone. The decoder is neither run nor trained.
        config: how the label is read out.

    >>> from hiperceiver import Batch, Modality, create_model
    >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    >>> task = Classification(model, ClassificationConfig(num_classes=10)).eval()
    >>> task.predict(Batch(inputs={"image": torch.randn(2, 1024, 3)})).probabilities.shape
    torch.Size([2, 10])
    """

    kind = ClassificationConfig.kind
    config_class = ClassificationConfig
    source_task: ClassVar[str] = "classification"
    monitor = ("accuracy", "max")

    def terms(self, batch: Batch) -> dict[str, Mean]:
        """Cross-entropy over the labelled examples, mixed ones between both labels."""
        target = self._target(batch)
        mixed = self.mixed(batch, target != IGNORE)
        if mixed is None:
            return {"error": self._cross_entropy(self.logits(batch), target)}
        logits = self.logits(mixed.batch)
        error = self._cross_entropy(
            torch.cat([logits, logits]),
            torch.cat([target, target[mixed.partner]]),
            share=torch.cat([mixed.share, 1 - mixed.share]),
        )
        return {"error": error}

    def make_metrics(self) -> MetricCollection:
        """`loss`, `accuracy`, `balanced_accuracy`, and `top5_accuracy` where there are more than 5 classes."""
        from torchmetrics import Metric, MetricCollection
        from torchmetrics.classification import MulticlassAccuracy

        from hiperceiver.tasks.metrics import BalancedAccuracy, MeanLoss

        num_classes = self.config.num_classes
        metrics: dict[str, Metric | MetricCollection] = {
            "loss": MeanLoss(),
            "accuracy": MulticlassAccuracy(num_classes, average="micro", ignore_index=IGNORE),
            "balanced_accuracy": BalancedAccuracy(num_classes, ignore_index=IGNORE),
        }
        if num_classes > _TOP:
            metrics["top5_accuracy"] = MulticlassAccuracy(num_classes, top_k=_TOP, average="micro", ignore_index=IGNORE)
        # Left to themselves, metrics whose states happen to agree on the first batch would share them ever after.
        return MetricCollection(metrics, compute_groups=False).to(self.device)

    @torch.no_grad()
    def update(self, metrics: MetricCollection, batch: Batch) -> None:
        """Count a batch in."""
        logits, target = self.logits(batch).float(), self._target(batch)
        loss, weight = self._cross_entropy(logits, target)
        metrics.update(value=loss, weight=weight, preds=logits, target=target)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Classes:
        """The class of each example, and how probable each is."""
        probabilities = self.logits(batch).float().softmax(dim=-1)
        return Classes(probabilities.argmax(dim=-1), probabilities)

    def _target(self, batch: Batch) -> Tensor:
        return find_target(batch, "label", (len(batch),), self.config.num_classes)

    def _cross_entropy(self, logits: Tensor, target: Tensor, share: Tensor | None = None) -> Mean:
        return cross_entropy(
            logits,
            target,
            class_weights=self.class_weights,
            label_smoothing=self.config.label_smoothing,
            share=share,
        )
