"""Operations of a model's step, counted while it runs: a multiply-add is two, only matrix products count."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

from benchmarks.jobs import Job
from benchmarks.peers import PEERS
from benchmarks.torch_steps import make_step
from hiperceiver.training.compute import count_flops


def measure(job: Job) -> dict[str, Any]:
    """`flops` of what runs in a step, and of it `forward_flops` of the forward pass alone."""
    model = import_module(PEERS[job.implementation].module).make_model(job.variant, job.side).to(job.device)
    model.requires_grad_(False)  # the counter looks for the gradients of weights, even where there are none
    with torch.no_grad():
        forward = count_flops(lambda: model(torch.zeros(job.batch, job.side**2, 3, device=job.device)))
    if job.mode == "inference":
        return {"flops": forward, "forward_flops": forward}
    flops = count_flops(make_step(job, model.requires_grad_(True)).run)
    return {"flops": flops, "forward_flops": forward}
