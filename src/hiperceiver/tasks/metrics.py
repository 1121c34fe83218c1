"""Metrics that are exact over a whole set: sums and scores are gathered, never averages of batches.

The only module of the tasks that needs torchmetrics when it is imported.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class Sums(Metric):
    """Metrics that are a function of sums over a set, kept in float64 and added up over batches and processes.

    `shapes` has the shape of each sum; `results` gives the metrics from the sums by name.

    >>> mean = Sums({"total": (), "count": ()}, lambda sums: {"mean": sums["total"] / sums["count"]})
    >>> for values in (torch.tensor([1.0, 2.0]), torch.tensor([6.0])):
    ...     mean.update({"total": values.sum(), "count": torch.tensor(len(values))})
    >>> mean.compute()
    {'mean': tensor(3.)}
    """

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
        """Add the sums of a batch; a missing one is zero."""
        parts = self.by_name()
        for name, values in sums.items():
            parts[name] += values.to(self.sums)

    def by_name(self) -> dict[str, Tensor]:
        """The sums so far."""
        parts = self.sums.split([math.prod(shape) for shape in self.shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def compute(self) -> dict[str, Tensor]:
        """float32 scalars by name."""
        return {name: value.float() for name, value in self.results(self.by_name()).items()}


class Scores(Metric):
    """Metrics that need every score of a set, such as a ranking: `results` takes the scores and targets, (N, K)."""

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
