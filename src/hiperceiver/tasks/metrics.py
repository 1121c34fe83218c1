"""Metrics of the tasks, exact over a whole set: sums and confusion matrices are accumulated, never averages of batches.

The only module of the tasks that needs torchmetrics when it is imported.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix


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
