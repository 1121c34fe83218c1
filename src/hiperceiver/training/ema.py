"""A moving average of the weights, which is validated and saved in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class AverageWeights(WeightAveraging):
    """Lightning's weight averaging with a decay that rises, so that short runs do not drag their start along.

    After t updates the decay is min(decay, (1 + t) / (10 + t)).

    Args:
        decay: share of the average that an update keeps, once the run is long enough.
    """

    def __init__(self, decay: float):
        self.decay = decay
        super().__init__(use_buffers=False, multi_avg_fn=self._average)

    @torch.no_grad()
    def _average(self, averages: list[Tensor], weights: list[Tensor], num_averaged: Tensor | int) -> None:
        count = float(num_averaged)
        decay = min(self.decay, (1 + count) / (10 + count))
        torch._foreach_lerp_(averages, weights, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    @contextmanager
    def in_place(self, module: LightningModule) -> Iterator[None]:
        """For as long as the context lasts, the module holds the averages."""
        self._swap_models(module)
        try:
            yield
        finally:
            self._swap_models(module)
