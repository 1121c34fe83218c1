"""Regression: numbers for an example, read from the processor. The decoder is never run."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hiperceiver.modality import Batch
from hiperceiver.model import HiP
from hiperceiver.settings.tasks import RegressionConfig
from hiperceiver.tasks.answers import Answer
from hiperceiver.tasks.label_head import ExampleTask
from hiperceiver.tasks.losses import NUMBER_SUMS, LossTerm, count_known, number_error, number_sums, sum_about_mean
from hiperceiver.tasks.targets import find_numbers, find_weights
from hiperceiver.tasks.task import TargetInfo


class RegressionPrediction(NamedTuple):
    """The output for a batch."""

    values: Tensor  # in the units of the targets: float32 (B, R)


class Regression(ExampleTask):
    """Numbers for each example; `batch.targets["values"]` is float32 (B, R), NaN = unknown.

    With a "weight", float32 (B,), losses are means weighted by it.

    Metrics, over all known targets of the set: `loss`, in standard deviations as it is trained; and in the targets' own
    units, for each value and then averaged over the values, `mae`, the mean absolute error, `rmse`, the root of the
    mean squared error, and `r2`, 1 - (squared error) / (squared distance from the set's mean): 1 is perfect, 0 is what
    the mean as prediction gives. Values that are the same in all examples are left out of `r2`.

    >>> from hiperceiver import Batch, Modality, create_model
    >>> model = create_model("hip-nano", modalities={"series": Modality(grid=(128,), channels=2)})
    >>> task = Regression(model, RegressionConfig(num_values=2, target_mean=(20.0, 1013.0))).eval()
    >>> task.predict(Batch(inputs={"series": torch.randn(1, 128, 2)})).values  # a new model predicts the mean
    tensor([[  20., 1013.]])
    """

    kind = RegressionConfig.kind
    config_class = RegressionConfig
    target_kind = "regression"
    monitor = ("loss", "min")
    config: RegressionConfig
    target_mean: Tensor
    target_std: Tensor

    def __init__(self, model: HiP, config: RegressionConfig):
        super().__init__(model, config)
        self.make_readout(config.num_values)
        self.register_constant("target_mean", config.target_mean or (0.0,) * config.num_values)
        self.register_constant("target_std", config.target_std or (1.0,) * config.num_values)

    @classmethod
    def config_from_data(cls, info: TargetInfo) -> dict[str, Any]:
        """How many numbers, and their scale."""
        mean, std = info.statistics("values")
        return {"num_values": len(mean), "target_mean": mean, "target_std": std}

    def counts(self, batch: Batch, drawn: None = None) -> dict[str, Tensor]:
        """The number of known targets."""
        return {"error": count_known(self._target(batch), find_weights(batch))}

    def terms(self, batch: Batch, drawn: None = None) -> dict[str, LossTerm]:
        """The mean error over known targets, in standard deviations."""
        return {"error": self._error(self.read(batch), batch)}

    def sum_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the loss, and of each number."""
        return {**super().sum_shapes(), **dict.fromkeys(NUMBER_SUMS, (self.config.num_values,))}

    def sums(self, batch: Batch) -> dict[str, Tensor]:
        """Those of a batch."""
        read, target = self.read(batch), self._target(batch)
        return {**self._error(read, batch).sums(), **number_sums(self._in_units(read), target)}

    def results(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`loss`, `mae`, `rmse` and `r2`."""
        count, is_known = sums["count"], sums["count"] > 0
        spread = sum_about_mean(sums["target"], sums["target_square"], count)
        return {
            **super().results(sums),
            "mae": (sums["absolute"] / count)[is_known].mean(),
            "rmse": (sums["square"] / count)[is_known].sqrt().mean(),
            "r2": (1 - sums["square"] / spread)[~spread.isnan()].mean(),
        }

    @torch.no_grad()
    def predict(self, batch: Batch) -> RegressionPrediction:
        """The numbers of each example, in the targets' own units."""
        return RegressionPrediction(self._in_units(self.read(batch)))

    def answers(self, batch: Batch, *, top: int = 5, seeds: Sequence[int] | None = None) -> Iterator[Answer]:
        """Each number with its name."""
        count = self.config.num_values
        names = self.classes or [f"value {number}" if count > 1 else "value" for number in range(count)]
        for each in self.predict(batch).values.tolist():
            values = [{"name": name, "value": value} for name, value in zip(names, each, strict=True)]
            yield Answer(values={"values": values}, text=", ".join(f"{x['name']} {x['value']:.5g}" for x in values))

    def _target(self, batch: Batch) -> Tensor:
        return find_numbers(batch, "values", (len(batch), self.config.num_values))

    def _error(self, read: Tensor, batch: Batch) -> LossTerm:
        target = (self._target(batch) - self.target_mean) / self.target_std
        return number_error(read, target, self.config.loss, weight=find_weights(batch))

    def _in_units(self, read: Tensor) -> Tensor:
        return read.float() * self.target_std + self.target_mean
