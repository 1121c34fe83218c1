"""Metrics that are exact over a whole set: sums and scores are gathered, never averages of batches.

The only module of the tasks that needs torchmetrics when it is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities import dim_zero_cat


class Sums(Metric):
    """A metric that is a function of sums over a set, kept in float64 and added up over batches and processes.

    Args:
        shapes: shape of each sum.
        results: the metrics, from the sums by name.

    >>> mean = Sums({"total": (), "count": ()}, lambda sums: {"mean": sums["total"] / sums["count"]})
    >>> for values in (torch.tensor([1.0, 2.0]), torch.tensor([6.0])):
    ...     mean.update({"total": values.sum(), "count": torch.tensor(len(values))})
    >>> mean.compute()
    {'mean': tensor(3.)}
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    sums: Tensor

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], results: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    ):
        super().__init__()
        self.shapes = dict(shapes)
        self.results = results
        size = sum(math.prod(shape) for shape in self.shapes.values())
        self.add_state("sums", torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, sums: Mapping[str, Tensor]) -> None:
        """Add the sums of a batch."""
        self.sums += torch.cat([sums[name].double().reshape(-1) for name in self.shapes])

    def by_name(self) -> dict[str, Tensor]:
        """The sums so far."""
        parts = self.sums.split([math.prod(shape) for shape in self.shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def compute(self) -> dict[str, Tensor]:
        """float32 scalars by name."""
        return {name: value.float() for name, value in self.results(self.by_name()).items()}


class Scores(Metric):
    """A metric that needs every score of a set, such as a ranking.

    Args:
        num_classes: K.
        results: the metrics, from the scores (N, K) and targets (N, K); not called where there are none.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    scores: list[Tensor]
    targets: list[Tensor]

    def __init__(self, num_classes: int, results: Callable[[Tensor, Tensor], dict[str, Tensor]]):
        super().__init__()
        self.num_classes = num_classes
        self.results = results
        # Flat: a process without any example takes part in the gathering with an empty list.
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, scores: Tensor, target: Tensor) -> None:
        """Add a batch: scores (B, K), target (B, K)."""
        self.scores.append(scores.float().flatten())
        self.targets.append(target.float().flatten())

    def compute(self) -> dict[str, Tensor]:
        """Scalars by name."""
        nothing = torch.zeros(0, device=self.device)
        scores, targets = (dim_zero_cat(x) if len(x) else nothing for x in (self.scores, self.targets))
        return self.results(scores.view(-1, self.num_classes), targets.view(-1, self.num_classes))


def collection(device: torch.device, **metrics: Metric) -> MetricCollection:
    """Metrics that are updated together."""
    # Metrics whose states happen to agree on the first batch must not share them ever after.
    return MetricCollection(dict(metrics), compute_groups=False).to(device)


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
