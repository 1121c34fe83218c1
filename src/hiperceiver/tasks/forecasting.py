"""Forecasting: hide the future of a series, reconstruct it from the past."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hiperceiver.masking import future_is_masked
from hiperceiver.modality import Batch
from hiperceiver.model import HiP
from hiperceiver.settings.tasks import ForecastingConfig
from hiperceiver.tasks.answers import Answer, DrawnTokens, ForecastTokens
from hiperceiver.tasks.losses import LossTerm, squared_error, sum_about_mean
from hiperceiver.tasks.task import Task, find_input_modality, num_position_channels

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


class ForecastingPrediction(NamedTuple):
    """The output for a batch."""

    forecast: Tensor
    """The last h steps of the grid, in the units of the input: float32 (B, tokens in h steps, C)."""


class Forecasting(Task):
    """The last steps of a series from those before, as masked auto-encoding whose mask is the future.

    The future is absent for the encoder, and read out at its positions. Other modalities stay visible whole. Absent
    tokens never count: a series that is shorter than the grid is compared as far as it reaches.

    Metrics, over all present tokens of the horizon, in the units of the input (which encoders normalise): `loss`, the
    mean squared error; `mae`; `rmse`; `explained`, 1 - (squared error) / (squared distance of each channel from its
    mean over the set); and `skill`, 1 - (squared error) / (squared error of persistence, which repeats the last
    visible step): above 0 is better than that baseline.

    >>> from hiperceiver import Batch, Modality, create_model
    >>> model = create_model("hip-nano", modalities={"series": Modality(grid=(128,), channels=3)})
    >>> task = Forecasting(model, ForecastingConfig(horizon=16)).eval()
    >>> task.predict(Batch(inputs={"series": torch.randn(2, 128, 3)})).forecast.shape
    torch.Size([2, 16, 3])
    """

    kind = ForecastingConfig.kind
    config_class = ForecastingConfig
    monitor = ("loss", "min")
    config: ForecastingConfig
    input_modality: str

    def __init__(self, model: HiP, config: ForecastingConfig):
        super().__init__(model, config)
        self.input_modality = name = find_input_modality(model, config.input_modality)
        self.horizon = config.horizon
        if num_position_channels(model, name):
            raise ValueError(f"input_modality: expected one whose positions are not its own coordinates, got {name!r}")
        steps = model.modalities[name].grid[0]
        if config.horizon >= steps:
            raise ValueError(f"horizon: expected fewer than the {steps} steps of {name!r}, got {config.horizon}")

    def counts(self, batch: Batch, drawn: None = None) -> dict[str, Tensor]:
        """The number of present tokens of the horizon."""
        _, _, is_counted = self._past_and_future(batch)
        return {"error": is_counted.sum().float()}

    def terms(self, batch: Batch, drawn: None = None) -> dict[str, LossTerm]:
        """Mean squared error over the present tokens of the horizon."""
        forecast = self._forecast(batch)
        _, future, is_counted = self._past_and_future(batch)
        return {"error": squared_error(forecast, future, is_counted)}

    def persistence(self, batch: Batch) -> Tensor:
        """The forecast that repeats the last visible step, 0 where there is none: (B, tokens in h steps, C)."""
        past, future, _ = self._past_and_future(batch)
        is_absent = batch.is_padding.get(self.input_modality)
        steps, *rest = self.model.modalities[self.input_modality].grid
        num_past, num_cells = steps - self.horizon, math.prod(rest)
        past = past.unflatten(1, (num_past, num_cells))  # (B, T - h, tokens of a step, C)
        step = torch.arange(1, num_past + 1, device=past.device)[None, :, None].expand(past.shape[:3])
        if is_absent is not None:
            step = step.masked_fill(is_absent[:, : num_past * num_cells].unflatten(1, (num_past, num_cells)), 0)
        last = step.max(dim=1, keepdim=True).values  # 0: none is visible
        index = (last - 1).clamp(min=0)[..., None].expand(-1, -1, -1, past.shape[-1])
        repeated = past.gather(1, index).masked_fill((last == 0)[..., None], 0.0)
        return repeated.expand(-1, self.horizon, -1, -1).reshape(future.shape)

    def make_metrics(self) -> MetricCollection:
        """`loss`, `mae`, `rmse`, `explained` and `skill`."""
        from hiperceiver.tasks.metrics import Sums, collection

        channels = (self.model.modalities[self.input_modality].channels,)
        shapes = {"count": (), "absolute": (), "square": (), "persistence": (), "target": channels}
        return collection(self.device, sums=Sums({**shapes, "target_square": channels}, _results))

    @torch.no_grad()
    def update(self, metrics: MetricCollection, batch: Batch) -> None:
        """Add a batch."""
        _, future, is_counted = self._past_and_future(batch)
        target = future[is_counted].double()  # (tokens, C)
        error = self._forecast(batch)[is_counted].double() - target
        sums = {
            "count": is_counted.sum(),
            "absolute": error.abs().sum(),
            "square": error.square().sum(),
            "persistence": (self.persistence(batch)[is_counted].double() - target).square().sum(),
            "target": target.sum(dim=0),
            "target_square": target.square().sum(dim=0),
        }
        metrics.update(sums=sums)

    @torch.no_grad()
    def predict(self, batch: Batch) -> ForecastingPrediction:
        """The last h steps of the grid, from those before, whatever the batch holds in the future."""
        return ForecastingPrediction(self._forecast(batch).float())

    @property
    def drawings(self) -> dict[str, type[DrawnTokens]]:
        """The forecast."""
        return {self.input_modality: ForecastTokens}

    def answers(self, batch: Batch, *, top: int = 5, seeds: Sequence[int] | None = None) -> Iterator[Answer]:
        """The forecast as tokens, beside persistence."""
        forecast, persistence = self.predict(batch).forecast.cpu(), self.persistence(batch).cpu()
        h = self.horizon
        for each, repeated in zip(forecast, persistence, strict=True):
            drawn = ForecastTokens(modality=self.input_modality, tokens=each, persistence=repeated, horizon=h)
            yield Answer(values={"steps": h}, text=f"{h} step{'s'[: h > 1]} forecast", drawn=(drawn,))

    def _forecast(self, batch: Batch) -> Tensor:
        """The reconstruction of the horizon: (B, tokens in h steps, C)."""
        name = self.input_modality
        inputs, is_padding = self.input_tensors(batch)
        if name not in inputs:
            raise ValueError(f"inputs: expected {name!r}, which is forecast, got {', '.join(inputs) or 'none'}")
        is_future = self._is_future(inputs[name].device).expand(len(batch), -1)
        is_padding[name] = is_padding[name] | is_future if name in is_padding else is_future
        reconstruction = self.model(inputs, is_padding=is_padding, reconstruct=[name]).reconstruction[name]
        return reconstruction[:, self._num_past() :]

    def _past_and_future(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens before and in the horizon, both (B, ..., C), and which of the latter are present, bool (B, ...)."""
        x = batch.inputs[self.input_modality]
        is_absent = batch.is_padding.get(self.input_modality)
        is_present = x.new_ones(x.shape[:2], dtype=torch.bool) if is_absent is None else ~is_absent
        x = x.masked_fill(~is_present[..., None], 0.0)  # even NaN must not matter there
        return x[:, : self._num_past()], x[:, self._num_past() :], is_present[:, self._num_past() :]

    def _is_future(self, device: torch.device) -> Tensor:
        return future_is_masked(self.model.modalities[self.input_modality].grid, self.horizon, device=device)

    def _num_past(self) -> int:
        steps, *rest = self.model.modalities[self.input_modality].grid
        return (steps - self.horizon) * math.prod(rest)


def _results(sums: dict[str, Tensor]) -> dict[str, Tensor]:
    num_numbers = sums["count"] * len(sums["target"])
    loss = sums["square"] / num_numbers
    spread = sum_about_mean(sums["target"], sums["target_square"], sums["count"]).nansum()
    return {
        "loss": loss,
        "mae": sums["absolute"] / num_numbers,
        "rmse": loss.sqrt(),
        "explained": 1 - sums["square"] / spread.masked_fill(spread == 0, torch.nan),
        "skill": 1 - sums["square"] / sums["persistence"].masked_fill(sums["persistence"] == 0, torch.nan),
    }
