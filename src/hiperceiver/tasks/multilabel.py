"""Multi-label classification: several labels for an example or none, read from the processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor

from hiperceiver.modality import Batch
from hiperceiver.settings.tasks import MultilabelConfig
from hiperceiver.tasks.losses import Mean, binary_cross_entropy
from hiperceiver.tasks.readout import LabelTask
from hiperceiver.tasks.task import find_label_set

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


class LabelSets(NamedTuple):
    """What a multi-label classifier says about a batch."""

    probabilities: Tensor
    """Of each class, whatever the others: float32 (B, K)."""


class Multilabel(LabelTask):
    """Any number of labels for each example.

    `batch.targets["labels"]` is float32 (B, K), 1 = has it, 0 = has it not, NaN = unknown, most often a whole row.

    Metrics, over the whole set at once and without bins: `loss`; `map`, the mean over classes of average precision
    (the precision at each member, averaged; examples with the same score come together), as AudioSet's results are
    told; `auc`, the mean over classes of the area under the receiver operating characteristic. Classes without members
    are left out of `map`, and of `auc` also those without anything else.

    Args:
        model: the backbone. The decoder is neither run nor trained.
        config: how labels are read out.

    >>> from hiperceiver import Batch, Modality, create_model
    >>> model = create_model("hip-nano", modalities={"sound": Modality(grid=(256,), channels=16)})
    >>> task = Multilabel(model, MultilabelConfig(num_classes=5)).eval()
    >>> task.predict(Batch(inputs={"sound": torch.randn(2, 256, 16)})).probabilities
    tensor([[0.5000, 0.5000, 0.5000, 0.5000, 0.5000],
            [0.5000, 0.5000, 0.5000, 0.5000, 0.5000]])
    """

    kind = MultilabelConfig.kind
    config_class = MultilabelConfig
    source_task: ClassVar[str] = "multilabel"
    monitor = ("map", "max")

    def terms(self, batch: Batch) -> dict[str, Mean]:
        """Binary cross-entropy over what is known, mixed examples between both."""
        target = self._target(batch)
        mixed = self.mixed(batch, ~target.isnan().all(dim=1))
        if mixed is not None:
            batch = mixed.batch
            target = torch.lerp(target[mixed.partner], target, mixed.share[:, None])
        return {"error": self._cross_entropy(self.logits(batch), target)}

    def make_metrics(self) -> MetricCollection:
        """`loss`, `map` and `auc`."""
        from torchmetrics import MetricCollection

        from hiperceiver.tasks.metrics import LabelRanking, MeanLoss

        ranking = LabelRanking(self.config.num_classes)
        return MetricCollection({"loss": MeanLoss(), "ranking": ranking}, compute_groups=False).to(self.device)

    @torch.no_grad()
    def update(self, metrics: MetricCollection, batch: Batch) -> None:
        """Count a batch in."""
        logits, target = self.logits(batch).float(), self._target(batch)
        loss, weight = self._cross_entropy(logits, target)
        metrics.update(value=loss, weight=weight, scores=logits, target=target)

    @torch.no_grad()
    def predict(self, batch: Batch) -> LabelSets:
        """How probable each label is for each example."""
        return LabelSets(self.logits(batch).float().sigmoid())

    def _target(self, batch: Batch) -> Tensor:
        return find_label_set(batch, "labels", (len(batch), self.config.num_classes))

    def _cross_entropy(self, logits: Tensor, target: Tensor) -> Mean:
        return binary_cross_entropy(
            logits, target, class_weights=self.class_weights, label_smoothing=self.config.label_smoothing
        )
