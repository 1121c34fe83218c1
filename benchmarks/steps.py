"""Time and memory of a model's step."""

from __future__ import annotations

import time
from dataclasses import replace
from importlib import import_module
from typing import Any

from benchmarks.jobs import Job
from benchmarks.memory import forget_peak, peak_resident, resident
from benchmarks.peers import COMPILED, PEERS
from benchmarks.timing import Step, seconds_of


def measure(job: Job) -> dict[str, Any]:
    """Numbers of a step, as `measured` has them; of PyTorch's models also `matmul_rate`, of the machine just then."""
    peer = PEERS[job.implementation]
    module = import_module(peer.module)
    if peer.framework == "jax":
        before = resident()
        return measured(module.make_step(job), import_bytes=before, job=job)
    from benchmarks.machine import matmul_rate
    from benchmarks.torch_steps import make_step

    before = resident()
    step = make_step(job, module.make_model(job.variant, job.side))
    if job.implementation == COMPILED:
        started = time.perf_counter()
        step.run()
        step = replace(step, compile_seconds=time.perf_counter() - started)
    return measured(step, import_bytes=before, job=job) | {"matmul_rate": matmul_rate(job)}


def measured(step: Step, *, import_bytes: int, job: Job) -> dict[str, Any]:
    """Warm up, then time.

    Two steps warm up: a training step's second is the first one beside the optimizer's state, and fetches memory once
    more.

    Returns:
        `seconds` of each call, `first_seconds` of the very first, which is not among them, `compile_seconds`,
        `peak_bytes` of the process from the first call on (on a GPU: of what PyTorch allocated there), `import_bytes`
        that it held before the model was made, and `num_parameters`.
    """
    forget_peak()
    started = time.perf_counter()
    step.run()
    first = time.perf_counter() - started
    step.run()
    seconds = seconds_of(step.run)
    peak = peak_resident()
    if job.device == "cuda":
        import torch

        peak = torch.cuda.max_memory_allocated()
    return {
        "seconds": seconds,
        "first_seconds": first,
        "compile_seconds": step.compile_seconds,
        "peak_bytes": peak,
        "import_bytes": import_bytes,
        "num_parameters": step.num_parameters,
    }
