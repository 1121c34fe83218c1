"""Classification: one label for an example, read from the processor. The decoder is never run."""

from collections.abc import Mapping

import torch
from torch import Tensor

from hiperceiver.modality import Batch
from hiperceiver.settings.tasks import ClassificationConfig
from hiperceiver.tasks.classes import ClassPrediction, OneClassTask
from hiperceiver.tasks.label_head import Drawn, LabelsTask
from hiperceiver.tasks.losses import LossTerm, count_labels
from hiperceiver.tasks.targets import find_classes, find_weights

ClassificationPrediction = ClassPrediction
_TOP = 5


class Classification(LabelsTask, OneClassTask):
    """One label for each example; `batch.targets["label"]` is int64 (B,), -100 = no label.

    With a "weight", float32 (B,), losses are means weighted by it.

    Metrics: `loss`; and, in which all examples count the same, `accuracy`; `top5_accuracy` where there are more than 5
    classes; `balanced_accuracy`, the mean over the classes with members of the share of members that are found.

    >>> import torch
    >>> from hiperceiver import Batch, Modality, create_model
    >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    >>> task = Classification(model, ClassificationConfig(num_classes=10)).eval()
    >>> task.predict(Batch(inputs={"image": torch.randn(2, 1024, 3)})).probabilities.shape
    torch.Size([2, 10])
    """

    kind = ClassificationConfig.kind
    config_class = ClassificationConfig
    target_kind = "classification"
    monitor = ("accuracy", "max")
    config: ClassificationConfig

    def counts(self, batch: Batch, drawn: Drawn | None = None) -> dict[str, Tensor]:
        """The weights of the labels."""
        target, share = self._targets(batch, drawn)
        return {"error": count_labels(target, class_weights=self.class_weights, share=share)}

    def terms(self, batch: Batch, drawn: Drawn | None = None) -> dict[str, LossTerm]:
        """Cross-entropy over everything with a label, of mixed examples between both labels."""
        drawn = drawn or self.draw(batch)
        logits = self.drawn_logits(batch, drawn)
        if drawn is not None and drawn.mixed is not None:
            logits = torch.cat([logits, logits])
        return {"error": self._cross_entropy(logits, *self._targets(batch, drawn))}

    def sum_shapes(self) -> dict[str, tuple[int, ...]]:
        """Also of the examples whose label is among the five most probable classes."""
        return {**super().sum_shapes(), "top5": ()}

    def sums(self, batch: Batch) -> dict[str, Tensor]:
        """Those of a batch."""
        logits, target = self.logits(batch).float(), self._target(batch)
        most_probable = logits.topk(min(_TOP, self.config.num_classes)).indices
        return {**self._sums(logits, target, find_weights(batch)), "top5": (most_probable == target[:, None]).sum()}

    def results(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`loss`, `accuracy`, `balanced_accuracy`, and `top5_accuracy` where there are more than 5 classes."""
        members, found = sums["members"], sums["found"]
        results = {
            "accuracy": found.sum() / members.sum(),
            **super().results(sums),
            "balanced_accuracy": (found / members)[members > 0].mean(),
        }
        if self.config.num_classes > _TOP:
            results["top5_accuracy"] = sums["top5"] / members.sum()
        return results

    def _targets(self, batch: Batch, drawn: Drawn | None) -> tuple[Tensor, Tensor | None]:
        """The labels that count and their weights; of mixed examples both labels, one after the other: (2 B,)."""
        target, weight = self._target(batch), find_weights(batch)
        if drawn is None or drawn.mixed is None:
            return target, weight
        mixed = drawn.mixed
        share = torch.cat([mixed.share, 1 - mixed.share])
        if weight is not None:
            share = share * torch.cat([weight, weight[mixed.partner]])
        return torch.cat([target, target[mixed.partner]]), share

    def _target(self, batch: Batch) -> Tensor:
        return find_classes(batch, "label", (len(batch),), self.config.num_classes)
