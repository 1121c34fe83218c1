"""Metrics that are exact over a whole set: sums and scores are gathered, never averages of batches."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


class Metric(Protocol):
    """What is gathered over a set by its own `update`."""

    def compute(self) -> dict[str, Tensor]:
        """Scalars by name."""
        ...


class Sums:
    """Metrics that are a function of sums over a set, kept in float64.

    `shapes` has the shape of each sum; `results` gives the metrics from the sums by name.

    >>> mean = Sums({"total": (), "count": ()}, lambda sums: {"mean": sums["total"] / sums["count"]})
    >>> for values in (torch.tensor([1.0, 2.0]), torch.tensor([6.0])):
    ...     mean.update({"total": values.sum(), "count": torch.tensor(len(values))})
    >>> mean.compute()
    {'mean': tensor(3.)}
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        results: Callable[[dict[str, Tensor]], dict[str, Tensor]],
        device: torch.device | str = "cpu",
    ):
        self.shapes = dict(shapes)
        self.results = results
        size = sum(math.prod(shape) for shape in self.shapes.values())
        self.sums = torch.zeros(size, dtype=torch.float64, device=device)

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


class Scores:
    """Metrics that need every score of a set, such as a ranking: `results` takes the scores and targets, (N, K)."""

    def __init__(
        self,
        num_classes: int,
        results: Callable[[Tensor, Tensor], dict[str, Tensor]],
        device: torch.device | str = "cpu",
    ):
        self.results = results
        self.scores, self.targets = ([torch.zeros(0, num_classes, device=device)] for _ in range(2))

    def update(self, scores: Tensor, target: Tensor) -> None:
        """Add a batch: scores (B, K), target (B, K)."""
        self.scores.append(scores.float())
        self.targets.append(target.float())

    def compute(self) -> dict[str, Tensor]:
        """Scalars by name."""
        return self.results(torch.cat(self.scores), torch.cat(self.targets))


@dataclass(frozen=True)
class Metrics:
    """The metrics of a task over a set: those that follow from sums, and others by name."""

    sums: Sums
    more: Mapping[str, Metric] = field(default_factory=dict)

    def compute(self) -> dict[str, Tensor]:
        """Scalars by name, of all of them."""
        found = self.sums.compute()
        for metric in self.more.values():
            found |= metric.compute()
        return found
