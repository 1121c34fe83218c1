"""A task as Lightning trains it: one step, its gradient, its learning rate."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from hiperceiver.modality import Batch
from hiperceiver.settings.run import TrainingSettings
from hiperceiver.tasks.losses import LossTerm
from hiperceiver.tasks.task import Task
from hiperceiver.training.logs import LossWindow
from hiperceiver.training.optimizer import make_optimizer
from hiperceiver.training.schedule import RunClock, Schedule


class TrainingModule(LightningModule):
    """One training step of a task.

    Args:
        task: trained in place.
        settings: how.
        clock: how far the run is; the learning rate follows it.
        num_ranks: processes that train together. The loss of each is what its examples add to the loss of the whole
            batch, so that together they have the gradient of one process.
    """

    stand_in: Batch | None
    """Where processes train together: what one computes with, for nothing, that has no readable example, so that the
    others do not wait for it. Set by `RunControl`."""

    def __init__(self, task: Task, settings: TrainingSettings, clock: RunClock, *, num_ranks: int = 1):
        super().__init__()
        self.task = task
        self.settings = settings
        self.clock = clock
        self.schedule = Schedule(warmup=settings.warmup, final=settings.final_learning_rate)
        self.window = LossWindow()
        self.last_loss: Tensor | None = None
        self.gradient_norm: Tensor | None = None
        self._terms = task.terms
        self.num_ranks = num_ranks
        self.stand_in: Batch | None = None

    def on_fit_start(self) -> None:
        """Compile if asked to: not before Lightning's callbacks have copied what they want to copy."""
        if self.settings.compile:
            self._terms = torch.compile(self.task.terms)

    def train(self, mode: bool = True) -> TrainingModule:
        """Training mode; whatever is frozen whole stays in evaluation mode, its dropout included."""
        super().train(mode)
        for part in self.task.modules():
            weights = list(part.parameters())
            if weights and not any(weight.requires_grad for weight in weights):
                part.eval()
        return self

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW. Its learning rate is set before each step, for it depends on the clock."""
        settings = self.settings
        return make_optimizer(self.task, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Without waiting where the batch lies in page-locked memory."""
        return batch.to(device, non_blocking=True)

    def training_step(self, batch: Batch) -> Tensor:
        """The loss of a batch; zero, with zero gradients, where all of its examples were unreadable."""
        if len(batch) == 0:
            if self.stand_in is not None:
                self.last_loss = None
                terms = self._terms(self.stand_in.to(self.device))
                return self._weigh({name: LossTerm(term.value, term.count * 0) for name, term in terms.items()})[0]
            weights = [weight for weight in self.parameters() if weight.requires_grad]
            return torch.stack([weight.sum() for weight in weights]).sum() * 0.0
        loss, logs = self._weigh(self._terms(batch))
        self.last_loss = loss.detach()
        self.window.add(batch, loss, logs)
        return loss * self.num_ranks  # Lightning's strategies take the mean of the gradients

    def _weigh(self, terms: dict[str, LossTerm]) -> tuple[Tensor, dict[str, Tensor]]:
        """What this process's examples add to the loss of the whole batch, and to its logs."""
        return self.task.weigh(terms, None if self.num_ranks == 1 else self.task.count_together(terms))

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Shorten the gradient if it is too long, and keep its norm for the log."""
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        if self.settings.gradient_clip is None:
            self.gradient_norm = torch.nn.utils.get_total_norm(
                [weight.grad for weight in weights if weight.grad is not None]
            )
        else:
            self.gradient_norm = torch.nn.utils.clip_grad_norm_(weights, self.settings.gradient_clip)
        self.gradient_norm = getattr(self.gradient_norm, "full_tensor", lambda: self.gradient_norm)()  # from its parts

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """A step with the learning rate of its time."""
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate
        optimizer.step(closure=optimizer_closure)

    @property
    def learning_rate(self) -> float:
        """Of the step that is done next: of its middle, so that neither the first nor the last is wasted on zero."""
        return self.settings.learning_rate * self.schedule(self.clock.progress(self.trainer.global_step + 0.5))
