"""Forecasting: hide the future of a series, reconstruct it from the past."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hiperceiver.modality import Batch
from hiperceiver.model import HiP
from hiperceiver.settings.tasks import ForecastingConfig
from hiperceiver.tasks.answers import Answer, DrawnTokens, ForecastTokens
from hiperceiver.tasks.losses import LossTerm, squared_error, sum_about_mean
from hiperceiver.tasks.task import Task, check_hidden, find_input_modality, num_position_channels


class ForecastingPrediction(NamedTuple):
    """The output for a batch."""

    forecast: Tensor  # the last h steps of the grid, in the units of the input: float32 (B, tokens in h steps, C)


class Forecasting(Task):
    """The last steps of a series from those before, as masked auto-encoding whose mask is the future.

    The future is absent for the encoder, and read out at its positions; other modalities stay visible. Absent tokens
    never count: a series that is shorter than the grid is compared as far as it reaches.

    Metrics, over all present tokens of the horizon, in the units of the input (which encoders normalise): `loss`, the
    mean squared error; `mae`; `rmse`; `explained`, 1 - (squared error) / (squared distance of each channel from its
    mean over the set); and `skill`, 1 - (squared error) / (squared error of persistence, which repeats the last
    visible step, or token of several): above 0 is better than that baseline.

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
        check_hidden(model, name)
        self.horizon = config.horizon
        if num_position_channels(model, name):
            raise ValueError(f"input_modality: expected one whose positions are not its own coordinates, got {name!r}")
        if model.modalities[name].num_categories:
            raise ValueError(f"input_modality: expected one whose values are amounts, got the categories of {name!r}")
        steps, *rest = model.modalities[name].grid
        if config.horizon >= steps:
            raise ValueError(f"horizon: expected fewer than the {steps} steps of {name!r}, got {config.horizon}")
        self.tokens_per_step = math.prod(rest)
        self.num_past = (steps - config.horizon) * self.tokens_per_step

    def counts(self, batch: Batch, drawn: None = None) -> dict[str, Tensor]:
        """The number of present tokens of the horizon."""
        return {"error": self._future(batch)[1].sum().float()}

    def terms(self, batch: Batch, drawn: None = None) -> dict[str, LossTerm]:
        """Mean squared error over the present tokens of the horizon."""
        return {"error": squared_error(self._forecast(batch), *self._future(batch))}

    def persistence(self, batch: Batch) -> Tensor:
        """The forecast that repeats the last visible step, 0 where there is none: (B, tokens in h steps, C)."""
        name, shape = self.input_modality, (-1, self.tokens_per_step)
        x = batch.present_tokens(name)[:, : self.num_past].unflatten(1, shape)
        is_present = batch.is_present(name)[:, : self.num_past].unflatten(1, shape)
        x = F.pad(x, (0, 0, 0, 0, 1, 0))  # (B, 1 + T - h, tokens of a step, C): zeros before the first step
        step = torch.arange(1, x.shape[1], device=x.device)[:, None]
        last = (step * is_present).amax(dim=1, keepdim=True)
        repeated = x.gather(1, last[..., None].expand(-1, -1, -1, x.shape[-1]))
        return repeated.expand(-1, self.horizon, -1, -1).flatten(1, 2)

    def sum_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all numbers of the horizon, and of each channel."""
        each_channel = (self.model.modalities[self.input_modality].channels,)
        shapes = dict.fromkeys(("count", "absolute", "square", "persistence"), ())
        return {**shapes, "target": each_channel, "target_square": each_channel}

    def sums(self, batch: Batch) -> dict[str, Tensor]:
        """Those of a batch."""
        future, is_present = self._future(batch)
        target = future[is_present].double()  # (tokens, C)
        error = self._forecast(batch)[is_present].double() - target
        persistence = self.persistence(batch)[is_present].double()
        return {
            "count": is_present.sum(),
            "absolute": error.abs().sum(),
            "square": error.square().sum(),
            "persistence": (persistence - target).square().sum(),
            "target": target.sum(dim=0),
            "target_square": target.square().sum(dim=0),
        }

    def results(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`loss`, `mae`, `rmse`, `explained` and `skill`; the last two are NaN where there is nothing to explain."""
        num_numbers = sums["count"] * len(sums["target"])
        loss = sums["square"] / num_numbers
        spread = sum_about_mean(sums["target"], sums["target_square"], sums["count"]).nansum()
        results = {"loss": loss, "mae": sums["absolute"] / num_numbers, "rmse": loss.sqrt()}
        for name, baseline in (("explained", spread), ("skill", sums["persistence"])):
            results[name] = 1 - sums["square"] / baseline.masked_fill(baseline == 0, torch.nan)
        return results

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
        x = inputs[name]
        is_future = torch.arange(x.shape[1], device=x.device) >= self.num_past
        is_absent = is_padding.get(name, torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device))
        is_padding[name] = is_absent | is_future
        return self.model(inputs, is_padding=is_padding, reconstruct=[name]).reconstruction[name][:, self.num_past :]

    def _future(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The horizon's tokens, (B, tokens in h steps, C), and which of them are present."""
        x, is_present = batch.present_tokens(self.input_modality), batch.is_present(self.input_modality)
        return x[:, self.num_past :], is_present[:, self.num_past :]
