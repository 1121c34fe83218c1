"""Regression: numbers for an example, read from the processor. The decoder is never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from hiperceiver.modality import Batch
from hiperceiver.model import Perceiver
from hiperceiver.settings.tasks import RegressionConfig
from hiperceiver.tasks.losses import Mean, number_error
from hiperceiver.tasks.readout import ExampleTask
from hiperceiver.tasks.task import DataFacts, find_numbers

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


class Numbers(NamedTuple):
    """What a regressor says about a batch."""

    values: Tensor
    """In the units of the targets: float32 (B, R)."""


class Regression(ExampleTask):
    """Numbers for each example; `batch.targets["values"]` is float32 (B, R), NaN = unknown.

    Metrics, over all known targets of the set: `loss`, in standard deviations as it is trained; and in the targets' own
    units, for each value and then averaged over the values, `mae`, the mean absolute error, `rmse`, the root of the
    mean squared error, and `r2`, 1 - (squared error) / (squared distance from the set's mean): 1 is perfect, 0 is what
    always saying the mean gives. Values that are the same in all examples are left out of `r2`.

    Args:
        model: the backbone. The decoder is neither run nor trained.
        config: how many numbers, and how they are judged.

    >>> from hiperceiver import Batch, Modality, create_model
    >>> model = create_model("hip-nano", modalities={"series": Modality(grid=(128,), channels=2)})
    >>> task = Regression(model, RegressionConfig(num_values=2, target_mean=(20.0, 1013.0))).eval()
    >>> task.predict(Batch(inputs={"series": torch.randn(1, 128, 2)})).values  # a new model says the mean
    tensor([[  20., 1013.]])
    """

    kind = RegressionConfig.kind
    config_class = RegressionConfig
    source_task: ClassVar[str] = "regression"
    monitor = ("loss", "min")
    config: RegressionConfig
    target_mean: Tensor
    target_std: Tensor

    def __init__(self, model: Perceiver, config: RegressionConfig):
        super().__init__(model, config)
        self._make_readout(config.num_values)
        mean = config.target_mean or (0.0,) * config.num_values
        std = config.target_std or (1.0,) * config.num_values
        self.register_buffer("target_mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("target_std", torch.tensor(std, dtype=torch.float32), persistent=False)

    @classmethod
    def settings_for(cls, facts: DataFacts) -> dict[str, Any]:
        """How many numbers, and their scale."""
        mean, std = facts.statistics["values"]
        return {"num_values": len(mean), "target_mean": mean, "target_std": std}

    def terms(self, batch: Batch) -> dict[str, Mean]:
        """The mean error over what is known, in standard deviations."""
        return {"error": self._error(self.read(batch), self._target(batch))}

    def make_metrics(self) -> MetricCollection:
        """`loss`, `mae`, `rmse` and `r2`."""
        from torchmetrics import MetricCollection

        from hiperceiver.tasks.metrics import MeanLoss, NumberErrors

        errors = NumberErrors(self.config.num_values)
        return MetricCollection({"loss": MeanLoss(), "errors": errors}, compute_groups=False).to(self.device)

    @torch.no_grad()
    def update(self, metrics: MetricCollection, batch: Batch) -> None:
        """Count a batch in."""
        read, target = self.read(batch), self._target(batch)
        loss, weight = self._error(read, target)
        metrics.update(value=loss, weight=weight, prediction=self._in_units(read), target=target)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Numbers:
        """The numbers of each example, in the targets' own units."""
        return Numbers(self._in_units(self.read(batch)))

    def _target(self, batch: Batch) -> Tensor:
        return find_numbers(batch, "values", (len(batch), self.config.num_values))

    def _error(self, read: Tensor, target: Tensor) -> Mean:
        return number_error(read, (target - self.target_mean) / self.target_std, self.config.loss)

    def _in_units(self, read: Tensor) -> Tensor:
        return read.float() * self.target_std + self.target_mean
