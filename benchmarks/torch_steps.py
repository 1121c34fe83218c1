"""Steps of PyTorch models: the same for ours and for every peer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.jobs import Job
from benchmarks.timing import Step
from hiperceiver.settings.run import TrainingSettings
from hiperceiver.training.memory import keep_freed_memory
from hiperceiver.training.optimizer import make_optimizer

LEARNING_RATE, WEIGHT_DECAY = 1e-4, 0.05


def make_step(job: Job, model: nn.Module) -> Step:
    """Inference, or forward, mean squared error, backward and mostly AdamW, on pictures of noise.

    Args:
        job: which; its device and precision hold.
        model: from raw pixels (B, M, 3) to raw pixels (B, M, 3).
    """
    keep_freed_memory()  # as our training does; peers have it too
    x = torch.randn(job.batch, job.side**2, 3, generator=torch.Generator().manual_seed(0)).to(job.device)
    model = model.to(job.device)
    if job.mode != "inference":
        return Step(run=training(job, model, lambda: F.mse_loss(model(x), x)), num_parameters=num_parameters(model))
    model.eval()

    def infer() -> None:
        with torch.inference_mode(), autocast(job):
            model(x)
        wait_for(job)

    return Step(run=infer, num_parameters=num_parameters(model))


def training(job: Job, model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """A training step: loss, backward and, unless only gradients are wanted, AdamW."""
    keep_freed_memory()
    model.train()
    optimizer = None
    if job.mode == "training":
        settings = TrainingSettings(optimizer="adamw", learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        optimizer = make_optimizer(model, settings)

    def train() -> None:
        with autocast(job):
            value = loss()
        value.backward()
        if optimizer is not None:
            optimizer.step()
        model.zero_grad(set_to_none=True)
        wait_for(job)

    return train


def autocast(job: Job) -> AbstractContextManager[object]:
    """The job's precision."""
    return torch.autocast(job.device, torch.bfloat16, enabled=job.precision == "bf16")


def wait_for(job: Job) -> None:
    """Until a GPU has done what it was told."""
    if job.device == "cuda":
        torch.cuda.synchronize()


def num_parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())
