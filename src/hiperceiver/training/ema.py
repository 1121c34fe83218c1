"""A moving average of the weights, which is validated and saved in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class AverageWeights(WeightAveraging):
    """Lightning's weight averaging with a decay that rises, so that short runs do not drag their start along.

    After t steps the decay is min(decay, (1 + t) / (10 + t)). An update is one call over all weights: Lightning's own
    goes through them one by one, which takes a few milliseconds on a CPU.

    Args:
        decay: share of the average that an update keeps, once the run is long enough.
    """

    def __init__(self, decay: float):
        super().__init__(use_buffers=False)
        self.decay = decay
        self._averages: list[Tensor] = []
        self._weights: list[Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect the weights once; they are only ever changed in place."""
        assert self._average_model is not None
        self._averages = list(self._average_model.module.parameters())
        self._weights = list(pl_module.parameters())

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Follow the weights after each optimizer step."""
        step = trainer.global_step
        if step == self._latest_update_step:
            return
        self._latest_update_step = step
        decay = min(self.decay, step / (9 + step))
        torch._foreach_lerp_(self._averages, self._weights, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    @contextmanager
    def in_place(self, module: LightningModule) -> Iterator[None]:
        """For as long as the context lasts, the module holds the averages."""
        self._swap_models(module)
        try:
            yield
        finally:
            self._swap_models(module)
