"""Operations of a model's step, counted while it runs: a multiply-add is two, only matrix products count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from benchmarks.jobs import Job
from benchmarks.peers import PEERS
from benchmarks.torch_steps import make_step


def _attention(q: Sequence[int], k: Sequence[int], v: Sequence[int], *args: Any, **kwargs: Any) -> int:
    return sdpa_flop_count(q, k, v)


def _attention_backward(
    gradient: Sequence[int], q: Sequence[int], k: Sequence[int], v: Sequence[int], *args: Any, **kwargs: Any
) -> int:
    return sdpa_backward_flop_count(gradient, q, k, v)


_ON_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""PyTorch counts the attention of GPUs, but not the one of CPUs."""


def measure(job: Job) -> dict[str, Any]:
    """`flops` of what runs in a step, and of it `forward_flops` of the forward pass alone."""
    model = import_module(PEERS[job.implementation].module).make_model(job.variant, job.side).to(job.device)
    model.requires_grad_(False)  # the counter looks for the gradients of weights, even where there are none
    with torch.no_grad():
        forward = count(lambda: model(torch.zeros(job.batch, job.side**2, 3, device=job.device)))
    if job.mode == "inference":
        return {"flops": forward, "forward_flops": forward}
    flops = count(make_step(job, model.requires_grad_(True)).run)
    return {"flops": flops, "forward_flops": forward}


def count(run: Callable[[], Any]) -> int:
    """Operations of whatever runs, on the CPU or a GPU."""
    with FlopCounterMode(display=False, custom_mapping=_ON_CPU) as counter:
        run()
    return counter.get_total_flops()
