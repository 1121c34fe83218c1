"""How long optimizers take to move the weights of a model, beside its training step."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.jobs import Job
from benchmarks.timing import seconds_of
from benchmarks.torch_steps import LEARNING_RATE, WEIGHT_DECAY, num_parameters, wait_for
from hiperceiver import Modality, create_model
from hiperceiver.settings.run import OptimizerName, TrainingSettings
from hiperceiver.training.memory import keep_freed_memory
from hiperceiver.training.optimizer import group_weights, make_optimizer

PYTORCH = "torch.optim.Muon"
NAMES = (*get_args(OptimizerName), PYTORCH)
"""Ours, and PyTorch's Muon for matrices beside its AdamW for all else."""


def measure(job: Job) -> dict[str, Any]:
    """`seconds` of moves of all weights by gradients of noise, and `step_seconds` of forward and backward.

    Args:
        job: its name is OPTIMIZER:VARIANT.
    """
    keep_freed_memory()
    name, _, variant = job.name.partition(":")
    model = create_model(variant, modalities={"image": Modality(grid=(job.side, job.side), channels=3)}).to(job.device)
    inputs = torch.randn(job.batch, job.side**2, 3, device=job.device)

    def train() -> None:
        F.mse_loss(model({"image": inputs}).reconstruction["image"], inputs).backward()
        wait_for(job)

    train()
    step = seconds_of(train)
    gradients = {name: torch.randn_like(weight) for name, weight in model.named_parameters()}
    move = _mover(name, model)

    def timed() -> None:
        move()
        wait_for(job)

    def restored() -> float:
        for name, weight in model.named_parameters():  # a move may take the gradients away
            weight.grad = gradients[name]
        wait_for(job)
        return seconds_of(timed, most=1)[0]

    restored()
    times = [restored() for _ in range(5)]
    return {"seconds": times, "step_seconds": median(step), "num_parameters": num_parameters(model)}


def _mover(name: str, model: nn.Module) -> Callable[[], object]:
    if name != PYTORCH:
        return make_optimizer(model, TrainingSettings(optimizer=name, learning_rate=LEARNING_RATE)).step  # pyright: ignore
    matrices, *others = ([model.get_parameter(each) for each in names] for names in group_weights(model))
    rest = [weight for weights in others for weight in weights]
    muon = torch.optim.Muon(matrices, LEARNING_RATE, WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(rest, LEARNING_RATE, weight_decay=0.0, fused=True)
    return lambda: (muon.step(), adamw.step())
