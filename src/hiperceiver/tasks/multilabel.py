"""Multi-label classification: several labels for an example or none, read from the processor."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from hiperceiver.modality import Batch
from hiperceiver.settings.tasks import MultilabelConfig
from hiperceiver.tasks.label_head import Drawn, LabelsTask
from hiperceiver.tasks.losses import LossTerm, binary_cross_entropy, count_known
from hiperceiver.tasks.metrics import Metric, Metrics, Scores
from hiperceiver.tasks.targets import find_label_set, find_weights


class MultilabelPrediction(NamedTuple):
    """The output for a batch."""

    probabilities: Tensor  # of each class, whatever the others: float32 (B, K)


class Multilabel(LabelsTask):
    """Any number of labels for each example.

    `batch.targets["labels"]` is float32 (B, K), 1 = has it, 0 = has it not, NaN = unknown, most often a whole row.
    With a "weight", float32 (B,), losses are means weighted by it.

    Metrics, over the whole set at once and without bins: `loss`; `map`, the mean over classes of average precision
    (the precision at each member, averaged; tied scores are one group), as in AudioSet's results; `auc`, the mean over
    classes of the area under the receiver operating characteristic. Classes without members are left out of `map`, and
    of `auc` also those without anything else.

    >>> from hiperceiver import Batch, Modality, create_model
    >>> model = create_model("hip-nano", modalities={"sound": Modality(grid=(256,), channels=16)})
    >>> task = Multilabel(model, MultilabelConfig(num_classes=5)).eval()
    >>> task.predict(Batch(inputs={"sound": torch.randn(2, 256, 16)})).probabilities
    tensor([[0.5000, 0.5000, 0.5000, 0.5000, 0.5000],
            [0.5000, 0.5000, 0.5000, 0.5000, 0.5000]])
    """

    kind = MultilabelConfig.kind
    config_class = MultilabelConfig
    target_kind = "multilabel"
    monitor = ("map", "max")

    def counts(self, batch: Batch, drawn: Drawn | None = None) -> dict[str, Tensor]:
        """The number of known targets."""
        return {"error": count_known(*self._targets(batch, drawn))}

    def terms(self, batch: Batch, drawn: Drawn | None = None) -> dict[str, LossTerm]:
        """Binary cross-entropy over known targets, mixed examples between both."""
        drawn = drawn or self.draw(batch)
        logits = self.drawn_logits(batch, drawn)
        return {"error": self._cross_entropy(logits, *self._targets(batch, drawn))}

    def more_metrics(self) -> dict[str, Metric]:
        """`map` and `auc`."""
        return {"ranking": Scores(self.config.num_classes, ranking_results, self.device)}

    @torch.no_grad()
    def update(self, metrics: Metrics, batch: Batch) -> None:
        """Add a batch."""
        logits, target = self.logits(batch).float(), self._target(batch)
        metrics.sums.update(self._cross_entropy(logits, target, find_weights(batch)).sums())
        ranking = metrics.more["ranking"]
        assert isinstance(ranking, Scores)
        ranking.update(logits, target)

    @torch.no_grad()
    def probabilities(self, batch: Batch) -> Tensor:
        """Of each label, whatever the others."""
        return self.logits(batch).float().sigmoid()

    def predict(self, batch: Batch) -> MultilabelPrediction:
        """The probability of each label for each example."""
        return MultilabelPrediction(self.probabilities(batch))

    def _target(self, batch: Batch) -> Tensor:
        return find_label_set(batch, "labels", (len(batch), self.config.num_classes))

    def _targets(self, batch: Batch, drawn: Drawn | None) -> tuple[Tensor, Tensor | None]:
        """The targets and weights of the examples, mixed like these."""
        target, weight = self._target(batch), find_weights(batch)
        if drawn is None or drawn.mixed is None:
            return target, weight
        partner, share = drawn.mixed.partner, drawn.mixed.share
        target = torch.lerp(target[partner], target, share[:, None])
        return target, None if weight is None else torch.lerp(weight[partner], weight, share.to(weight.dtype))

    def _cross_entropy(self, logits: Tensor, target: Tensor, weight: Tensor | None) -> LossTerm:
        how: dict[str, Any] = {"label_smoothing": self.config.label_smoothing, "weight": weight}
        return binary_cross_entropy(logits, target, class_weights=self.class_weights, **how)


def ranking_results(scores: Tensor, target: Tensor) -> dict[str, Tensor]:
    """`map` and `auc` of scores (N, K) and targets (N, K), 1, 0 or NaN = unknown; NaN where no class has any."""
    nothing = torch.tensor(torch.nan, device=scores.device)
    precision, area = [nothing], [nothing]
    for score, each in zip(scores.T.contiguous(), target.T.contiguous(), strict=True):
        is_known = ~each.isnan()
        ap, auc = ranking_quality(score[is_known], each[is_known] == 1)
        precision.append(ap)
        area.append(auc)
    return {"map": torch.stack(precision).nanmean(), "auc": torch.stack(area).nanmean()}


def ranking_quality(scores: Tensor, is_member: Tensor) -> tuple[Tensor, Tensor]:
    """Average precision and the area under the receiver operating characteristic of one class: float32 scalars.

    Tied scores (examples,), higher = sooner, are one group. Both are NaN without members (bool), the area also without
    others.

    >>> ranking_quality(torch.tensor([0.9, 0.8, 0.7]), torch.tensor([True, False, True]))
    (tensor(0.8333), tensor(0.5000))
    """
    order = scores.argsort(descending=True)
    ranked = scores[order]
    is_last = torch.ones_like(is_member)  # of the examples with its score
    is_last[:-1] = ranked[1:] != ranked[:-1]
    found = is_member[order].cumsum(dim=0).double()[is_last]
    rank = torch.arange(1, len(scores) + 1, device=scores.device)[is_last]
    zero = found.new_zeros(1)
    members, others = is_member.sum(), (~is_member).sum()
    newly_found = found.diff(prepend=zero)
    precision = (newly_found * found / rank).sum() / members
    wrong = (rank - found).diff(prepend=zero)
    area = (wrong * (found - newly_found / 2)).sum() / (members * others)
    has_nan = scores.isnan().any()  # NaN has no rank
    return precision.masked_fill(has_nan, torch.nan).float(), area.masked_fill(has_nan, torch.nan).float()
