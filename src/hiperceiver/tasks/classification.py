"""Classification: one label for an example, read from the processor. The decoder is never run."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hiperceiver.modality import Batch
from hiperceiver.settings.tasks import ClassificationConfig
from hiperceiver.tasks.answers import Answer
from hiperceiver.tasks.label_head import ClassesTask
from hiperceiver.tasks.losses import LossTerm, class_sums, count_labels, cross_entropy
from hiperceiver.tasks.mixing import Mixed
from hiperceiver.tasks.targets import IGNORE, find_classes

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

    def sum_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the loss, of each class, and of the examples whose label is among the five most probable classes."""
        each_class = (self.config.num_classes,)
        return {**super().sum_shapes(), "members": each_class, "found": each_class, "predicted": each_class, "top5": ()}

    def sums(self, batch: Batch) -> dict[str, Tensor]:
        """Those of a batch."""
        logits, target = self.logits(batch).float(), self._target(batch)
        most_probable = logits.topk(min(_TOP, self.config.num_classes)).indices
        return {
            **self._cross_entropy(logits, target).sums(),
            **class_sums(logits.argmax(dim=-1), target, self.config.num_classes),
            "top5": (most_probable == target[:, None]).sum(),
        }

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
