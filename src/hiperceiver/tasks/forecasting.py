"""Forecasting: hide the future of a series, reconstruct it from the past."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hiperceiver.masking import future_is_masked
from hiperceiver.modality import Batch
from hiperceiver.model import Perceiver
from hiperceiver.settings.tasks import ForecastingConfig
from hiperceiver.tasks.losses import Mean, squared_error
from hiperceiver.tasks.task import Task, find_input_modality, num_position_channels

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


class Forecast(NamedTuple):
    """What a forecaster says about a batch."""

    forecast: Tensor
    """The last h steps of the grid, in the units of the input: float32 (B, tokens in h steps, C)."""


class Forecasting(Task):
    """The last steps of a series from those before, as masked auto-encoding whose mask is the future.

    The future is absent for the encoder, and read out at its positions. Other modalities stay visible whole. Absent
    tokens never count: a series that is shorter than the grid is judged as far as it reaches.

    Metrics, over all present tokens of the horizon, in the units of the input (which encoders normalise): `loss`, the
    mean squared error; `mae`; `rmse`; `explained`, 1 - (squared error) / (squared distance of each channel from its
    mean over the set); and `skill`, 1 - (squared error) / (squared error of persistence, which repeats the last step
    that was seen): above 0 is better than that floor.

    Args:
        model: the backbone.
        config: what is foretold, and how far.

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

    def __init__(self, model: Perceiver, config: ForecastingConfig):
        super().__init__(model, config)
        self.input_modality = name = find_input_modality(model, config.input_modality)
        if num_position_channels(model, name):
            raise ValueError(f"input_modality: expected one whose positions are not its own coordinates, got {name!r}")
        steps = model.modalities[name].grid[0]
        if config.horizon >= steps:
            raise ValueError(f"horizon: expected fewer than the {steps} steps of {name!r}, got {config.horizon}")

    def terms(self, batch: Batch) -> dict[str, Mean]:
        """Mean squared error over the present tokens of the horizon."""
        forecast = self._foretell(batch)
        _, future, is_counted = self._past_and_future(batch)
        return {"error": squared_error(forecast, future, is_counted)}

    def persistence(self, batch: Batch) -> Tensor:
        """The forecast that repeats the last step that was seen, 0 where none was: (B, tokens in h steps, C)."""
        past, future, _ = self._past_and_future(batch)
        is_absent = batch.is_padding.get(self.input_modality)
        steps, *rest = self.model.modalities[self.input_modality].grid
        seen, places = steps - self.config.horizon, math.prod(rest)
        past = past.unflatten(1, (seen, places))  # (B, T - h, places of a step, C)
        step = torch.arange(1, seen + 1, device=past.device)[None, :, None].expand(past.shape[:3])
        if is_absent is not None:
            step = step.masked_fill(is_absent[:, : seen * places].unflatten(1, (seen, places)), 0)
        last = step.max(dim=1, keepdim=True).values  # 0: none was seen
        index = (last - 1).clamp(min=0)[..., None].expand(-1, -1, -1, past.shape[-1])
        repeated = past.gather(1, index).masked_fill((last == 0)[..., None], 0.0)
        return repeated.expand(-1, self.config.horizon, -1, -1).reshape(future.shape)

    def make_metrics(self) -> MetricCollection:
        """`loss`, `mae`, `rmse`, `explained` and `skill`."""
        from torchmetrics import MetricCollection

        from hiperceiver.tasks.metrics import ForecastErrors

        errors = ForecastErrors(self.model.modalities[self.input_modality].channels)
        return MetricCollection({"errors": errors}).to(self.device)

    @torch.no_grad()
    def update(self, metrics: MetricCollection, batch: Batch) -> None:
        """Count a batch in."""
        forecast = self._foretell(batch)
        _, future, is_counted = self._past_and_future(batch)
        metrics.update(
            forecast=forecast[is_counted],
            target=future[is_counted],
            persistence=self.persistence(batch)[is_counted],
        )

    @torch.no_grad()
    def predict(self, batch: Batch) -> Forecast:
        """The last h steps of the grid, from those before; what stands in the future is not looked at."""
        return Forecast(self._foretell(batch).float())

    def _foretell(self, batch: Batch) -> Tensor:
        """The reconstruction of the horizon: (B, tokens in h steps, C)."""
        name = self.input_modality
        inputs, is_padding = self.input_tensors(batch)
        if name not in inputs:
            raise ValueError(f"inputs: expected {name!r}, which is foretold, got {', '.join(inputs) or 'none'}")
        is_future = self._is_future(inputs[name].device).expand(len(batch), -1)
        is_padding[name] = is_padding[name] | is_future if name in is_padding else is_future
        reconstruction = self.model(inputs, is_padding=is_padding, reconstruct=[name]).reconstruction[name]
        return reconstruction[:, self._num_seen() :]

    def _past_and_future(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens before and in the horizon, and which of the latter are present: (B, ..., C) twice, bool (B, ...)."""
        x = batch.inputs[self.input_modality]
        is_absent = batch.is_padding.get(self.input_modality)
        is_present = x.new_ones(x.shape[:2], dtype=torch.bool) if is_absent is None else ~is_absent
        x = x.masked_fill(~is_present[..., None], 0.0)  # whatever stands there, even NaN, must not matter
        return x[:, : self._num_seen()], x[:, self._num_seen() :], is_present[:, self._num_seen() :]

    def _is_future(self, device: torch.device) -> Tensor:
        return future_is_masked(self.model.modalities[self.input_modality].grid, self.config.horizon, device=device)

    def _num_seen(self) -> int:
        steps, *rest = self.model.modalities[self.input_modality].grid
        return (steps - self.config.horizon) * math.prod(rest)
