"""Metrics of the tasks, exact over a whole set: sums and confusion matrices are accumulated, never averages of batches.

The only module of the tasks that needs torchmetrics when it is imported.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix
from torchmetrics.utilities import dim_zero_cat


class MeanLoss(Metric):
    """Weighted mean of losses. NaN stays NaN: torchmetrics' own mean either drops it or forgets the weights."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    total: Tensor
    total_weight: Tensor

    def __init__(self):
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total_weight", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: Tensor) -> None:
        """Count the mean of a batch in, with the weight behind it; both scalars."""
        self.total += value.double() * weight
        self.total_weight += weight

    def compute(self) -> Tensor:
        """A scalar; NaN where nothing came."""
        return (self.total / self.total_weight).float()


class ReconstructionMetrics(Metric):
    """Loss and share of explained variance of reconstructions, per modality and in total.

    Args:
        num_channels: channels of each modality.
        weights: weight of each modality in the totals.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    num_examples: Tensor
    error: Tensor
    count: Tensor
    hidden_error: Tensor
    hidden_count: Tensor
    hidden_sum: Tensor
    hidden_square: Tensor

    def __init__(self, num_channels: Mapping[str, int], weights: Mapping[str, float]):
        super().__init__()
        self.names = tuple(num_channels)
        self.channels = tuple(num_channels.values())
        self.weights = tuple(weights[name] for name in self.names)
        each, every = len(self.names), sum(self.channels)
        self.add_state("num_examples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("error", torch.zeros(each, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(each, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("hidden_error", torch.zeros(each, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("hidden_count", torch.zeros(each, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("hidden_sum", torch.zeros(every, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("hidden_square", torch.zeros(every, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        reconstruction: Mapping[str, Tensor],
        target: Mapping[str, Tensor],
        is_counted: Mapping[str, Tensor],
        is_hidden: Mapping[str, Tensor],
    ) -> None:
        """Count a batch in.

        Args:
            reconstruction: per modality that came, (B, M, C).
            target: (B, M, C).
            is_counted: bool (B, M), tokens that the loss counts.
            is_hidden: bool (B, M), tokens that are real and were hidden.
        """
        for name, x in target.items():
            index = self.names.index(name)
            channels = slice(sum(self.channels[:index]), sum(self.channels[: index + 1]))
            error = (reconstruction[name].float() - x.float()).square().mean(dim=-1)  # (B, M)
            self.error[index] += error.masked_fill(~is_counted[name], 0.0).sum(dtype=torch.float64)
            self.count[index] += is_counted[name].sum()
            self.hidden_error[index] += error.masked_fill(~is_hidden[name], 0.0).sum(dtype=torch.float64)
            self.hidden_count[index] += is_hidden[name].sum()
            hidden = x[is_hidden[name]].double()  # (hidden tokens, C)
            self.hidden_sum[channels] += hidden.sum(dim=0)
            self.hidden_square[channels] += hidden.square().sum(dim=0)
        self.num_examples += len(next(iter(target.values())))

    def compute(self) -> dict[str, Tensor]:
        """`loss`, `explained`; with several modalities also `loss_NAME`, `explained_NAME`. NaN where nothing came."""
        loss = self.error / self.count
        explained = 1 - self.hidden_error / self.hidden_count / self._variance()
        results = {"loss": self._mean(loss, self.count), "explained": self._mean(explained, self.hidden_count)}
        if len(self.names) > 1:
            for index, name in enumerate(self.names):
                results[f"loss_{name}"] = loss[index].float()
                results[f"explained_{name}"] = explained[index].float()
        return results

    def _variance(self) -> Tensor:
        """Variance of the hidden values about their channel's mean, averaged over channels, of each modality."""
        count = self.hidden_count.repeat_interleave(torch.tensor(self.channels, device=self.hidden_count.device))
        variance = self.hidden_square / count - (self.hidden_sum / count).square()
        return torch.stack([each.mean() for each in variance.split(self.channels)])

    def _mean(self, values: Tensor, count: Tensor) -> Tensor:
        """Weighted mean over the modalities that came."""
        weights = values.new_tensor(self.weights) * (count > 0)
        return (values.masked_fill(weights == 0, 0.0) * weights).sum().div(weights.sum()).float()


class NumberErrors(Metric):
    """Errors of numbers in their own units, for each value and then averaged over the values.

    Args:
        num_values: R.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    count: Tensor
    absolute: Tensor
    square: Tensor
    target_sum: Tensor
    target_square: Tensor

    def __init__(self, num_values: int):
        super().__init__()
        for name in ("count", "absolute", "square", "target_sum", "target_square"):
            self.add_state(name, torch.zeros(num_values, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch in: both (B, R); NaN in the target = unknown."""
        is_unknown = target.isnan()
        error = (prediction.double() - target.double()).masked_fill(is_unknown, 0.0)
        target = target.double().masked_fill(is_unknown, 0.0)
        self.count += (~is_unknown).sum(dim=0)
        self.absolute += error.abs().sum(dim=0)
        self.square += error.square().sum(dim=0)
        self.target_sum += target.sum(dim=0)
        self.target_square += target.square().sum(dim=0)

    def compute(self) -> dict[str, Tensor]:
        """`mae`, `rmse` and `r2`; NaN where nothing came."""
        came = self.count > 0
        spread = sum_about_mean(self.target_sum, self.target_square, self.count)
        return {
            "mae": (self.absolute / self.count)[came].mean().float(),
            "rmse": (self.square / self.count)[came].sqrt().mean().float(),
            "r2": (1 - self.square / spread)[~spread.isnan()].mean().float(),
        }


class ForecastErrors(Metric):
    """Errors of forecasts over all tokens and channels together, and what they are beside saying the last step again.

    Args:
        num_channels: C.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    count: Tensor
    absolute: Tensor
    square: Tensor
    persistence_square: Tensor
    target_sum: Tensor
    target_square: Tensor

    def __init__(self, num_channels: int):
        super().__init__()
        for name in ("count", "absolute", "square", "persistence_square"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("target_sum", "target_square"):
            self.add_state(name, torch.zeros(num_channels, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, forecast: Tensor, target: Tensor, persistence: Tensor) -> None:
        """Count the present tokens of a batch in: all (tokens, C)."""
        error = forecast.double() - target.double()
        self.count += len(target)
        self.absolute += error.abs().sum()
        self.square += error.square().sum()
        self.persistence_square += (persistence.double() - target.double()).square().sum()
        self.target_sum += target.double().sum(dim=0)
        self.target_square += target.double().square().sum(dim=0)

    def compute(self) -> dict[str, Tensor]:
        """`loss`, `mae`, `rmse`, `explained` and `skill`; NaN where nothing came."""
        num_numbers = self.count * len(self.target_sum)
        loss, floor = self.square / num_numbers, self.persistence_square
        spread = sum_about_mean(self.target_sum, self.target_square, self.count).nansum()
        return {
            "loss": loss.float(),
            "mae": (self.absolute / num_numbers).float(),
            "rmse": loss.sqrt().float(),
            "explained": (1 - self.square / spread.masked_fill(spread == 0, torch.nan)).float(),
            "skill": (1 - self.square / floor.masked_fill(floor == 0, torch.nan)).float(),
        }


class JointErrors(Metric):
    """Loss and quality of several labels of each example.

    Args:
        labels: label -> number of classes, 0 = a number.
        weights: weight of each label in the loss.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    error: Tensor
    count: Tensor
    found: Tensor
    absolute: Tensor
    square: Tensor
    target_sum: Tensor
    target_square: Tensor

    def __init__(self, labels: Mapping[str, int], weights: Mapping[str, float]):
        super().__init__()
        self.labels = dict(labels)
        self.weights = tuple(weights[name] for name in labels)
        for name in ("error", "count", "found", "absolute", "square", "target_sum", "target_square"):
            self.add_state(name, torch.zeros(len(labels), dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        error: Mapping[str, Tensor],
        count: Mapping[str, Tensor],
        prediction: Mapping[str, Tensor],
        target: Mapping[str, Tensor],
    ) -> None:
        """Count a batch in.

        Args:
            error: per label, the mean loss of the batch, a scalar.
            count: per label, the examples behind that mean.
            prediction: per label, classes int64 (B,) or numbers (B,) in their own units.
            target: per label, classes int64 (B,), -100 = none, or numbers (B,), NaN = none.
        """
        for index, (name, num_classes) in enumerate(self.labels.items()):
            self.error[index] += error[name].double() * count[name]
            self.count[index] += count[name]
            if num_classes:
                self.found[index] += (prediction[name] == target[name]).sum()
                continue
            is_unknown = target[name].isnan()
            difference = (prediction[name].double() - target[name].double()).masked_fill(is_unknown, 0.0)
            known = target[name].double().masked_fill(is_unknown, 0.0)
            self.absolute[index] += difference.abs().sum()
            self.square[index] += difference.square().sum()
            self.target_sum[index] += known.sum()
            self.target_square[index] += known.square().sum()

    def compute(self) -> dict[str, Tensor]:
        """`loss`, `score`, `loss_NAME`, and `NAME_accuracy` or `NAME_mae` and `NAME_r2`; NaN where nothing came."""
        loss = self.error / self.count
        weights = loss.new_tensor(self.weights) * (self.count > 0)
        mean_loss = (loss.masked_fill(weights == 0, 0.0) * weights).sum() / weights.sum()
        is_class = torch.tensor([bool(count) for count in self.labels.values()], device=loss.device)
        spread = sum_about_mean(self.target_sum, self.target_square, self.count)
        accuracy, mae, r2 = self.found / self.count, self.absolute / self.count, 1 - self.square / spread
        scores = torch.where(is_class, accuracy, r2.clamp(min=0))
        score = scores[torch.where(is_class, self.count > 0, ~spread.isnan())].mean()
        results = {"loss": mean_loss, "score": score}
        for index, (name, num_classes) in enumerate(self.labels.items()):
            results[f"loss_{name}"] = loss[index]
            if num_classes:
                results[f"{name}_accuracy"] = accuracy[index]
            else:
                results |= {f"{name}_mae": mae[index], f"{name}_r2": r2[index]}
        return {name: value.float() for name, value in results.items()}


class LabelRanking(Metric):
    """How well each class ranks its members before other examples. Keeps all scores of the set: exact, without bins.

    Args:
        num_classes: K.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    scores: list[Tensor]
    targets: list[Tensor]

    def __init__(self, num_classes: int):
        super().__init__()
        self.num_classes = num_classes
        # Flat, and of one type: a process that was given no example takes part with an empty list of numbers.
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, target: Tensor) -> None:
        """Count a batch in: scores (B, K); target (B, K), 1, 0 or NaN = unknown."""
        self.scores.append(scores.float().flatten())
        self.targets.append(target.float().flatten())

    def compute(self) -> dict[str, Tensor]:
        """`map` and `auc`, means over the classes for which they exist; NaN where there is none."""
        nothing = torch.full((1,), torch.nan, device=self.device)
        precision, area = [nothing], [nothing]
        if len(self.scores):
            scores, targets = (
                dim_zero_cat(x).unflatten(0, (-1, self.num_classes)) for x in (self.scores, self.targets)
            )
            for score, target in zip(scores.T.contiguous(), targets.T.contiguous(), strict=True):
                is_known = ~target.isnan()
                ap, auc = ranking_quality(score[is_known], target[is_known] == 1)
                precision.append(ap[None])
                area.append(auc[None])
        return {"map": torch.cat(precision).nanmean(), "auc": torch.cat(area).nanmean()}


def ranking_quality(scores: Tensor, is_member: Tensor) -> tuple[Tensor, Tensor]:
    """Average precision and the area under the receiver operating characteristic of one class.

    Examples with the same score are told apart by nothing: they come together.

    Args:
        scores: (examples,), higher = sooner.
        is_member: bool (examples,).

    Returns:
        Average precision, NaN without members; the area, NaN without members or without others. Both float32 scalars.

    >>> ranking_quality(torch.tensor([0.9, 0.8, 0.7]), torch.tensor([True, False, True]))
    (tensor(0.8333), tensor(0.5000))
    """
    order = scores.argsort(descending=True)
    ranked = scores[order]
    is_last = torch.ones_like(is_member)  # of the examples with its score
    is_last[:-1] = ranked[1:] != ranked[:-1]
    found = is_member[order].cumsum(dim=0).double()[is_last]
    seen = torch.arange(1, len(scores) + 1, device=scores.device)[is_last]
    zero = found.new_zeros(1)
    members, others = is_member.sum(), (~is_member).sum()
    newly_found = found.diff(prepend=zero)
    precision = (newly_found * found / seen).sum() / members
    wrong = (seen - found).diff(prepend=zero)
    area = (wrong * (found - newly_found / 2)).sum() / (members * others)
    wrecked = scores.isnan().any()  # what has no scores has no rank
    return precision.masked_fill(wrecked, torch.nan).float(), area.masked_fill(wrecked, torch.nan).float()


def sum_about_mean(total: Tensor, total_square: Tensor, count: Tensor) -> Tensor:
    """Sum of squared distances from the mean, of each value, from sums in float64; NaN where all are the same."""
    spread = total_square - total.square() / count
    return spread.masked_fill(spread <= 1e-12 * total_square, torch.nan)


class BalancedAccuracy(MulticlassConfusionMatrix):
    """Mean over classes of the share of their members that are found; classes without members are left out."""

    higher_is_better = True

    def compute(self) -> Tensor:
        """A scalar; NaN where no class has members."""
        members = self.confmat.sum(dim=1)
        found = self.confmat.diagonal()[members > 0] / members[members > 0]
        return found.mean()


class ConfusionAccuracy(MulticlassConfusionMatrix):
    """Share of members that are found, over all classes or all but the background.

    Args:
        num_classes: K.
        background_class: members of this class do not count; as an answer for others it is wrong as any. None: all
            count.
        ignore_index: target without a label.
    """

    higher_is_better = True

    def __init__(self, num_classes: int, *, background_class: int | None = None, ignore_index: int | None = None):
        super().__init__(num_classes, ignore_index=ignore_index)
        self.background_class = background_class

    def compute(self) -> Tensor:
        """A scalar; NaN where nothing counts."""
        members, found = self.confmat.sum(dim=1), self.confmat.diagonal()
        if self.background_class is not None:
            counts = torch.arange(len(members), device=members.device) != self.background_class
            members, found = members[counts], found[counts]
        return found.sum() / members.sum()
