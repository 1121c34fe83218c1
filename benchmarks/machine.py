"""What the machine can do: the rate of matrix products and of copies."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.jobs import Job
from benchmarks.timing import seconds_of
from benchmarks.torch_steps import wait_for

_SQUARE = {"cpu": 2048, "cuda": 8192}
_TOKENS = {"cpu": 2**17, "cuda": 2**21}
_NARROW = (32, 128)
"""Channels of HiP-16's outermost layers: a tall matrix of tokens meets them."""
_COPIED = {"cpu": 2**28, "cuda": 2**32}


def measure(job: Job) -> dict[str, Any]:
    """`matmul_rate` of large square matrices and `narrow_rate` of M x 32 times 32 x 128, in operations a second, in the
    job's precision; `copy_rate` in bytes a second, read and written, `num_threads` of PyTorch, `device_name`."""
    dtype = _dtype(job)
    tokens = _TOKENS[job.device]
    tall = torch.randn(tokens, _NARROW[0], device=job.device, dtype=dtype)
    small = torch.randn(*_NARROW, device=job.device, dtype=dtype)
    source = torch.ones(_COPIED[job.device], dtype=torch.uint8, device=job.device)
    target = torch.empty_like(source)
    return {
        "matmul_rate": matmul_rate(job),
        "narrow_rate": 2 * tokens * _NARROW[0] * _NARROW[1] / _usual(job, _product(tall, small)),
        "copy_rate": 2 * source.numel() / _usual(job, lambda: target.copy_(source)),
        "num_threads": torch.get_num_threads(),
        "device_name": device_name(job),
    }


def device_name(job: Job) -> str:
    """Of the GPU, or `cpu`."""
    return torch.cuda.get_device_name() if job.device == "cuda" else "cpu"


def matmul_rate(job: Job) -> float:
    """Of large square matrices, in the job's precision: operations a second."""
    size = _SQUARE[job.device]
    square = torch.randn(size, size, device=job.device, dtype=_dtype(job))
    return 2 * size**3 / _usual(job, _product(square, square))


def _dtype(job: Job) -> torch.dtype:
    return torch.bfloat16 if job.precision == "bf16" else torch.float32


def _product(a: Tensor, b: Tensor) -> Callable[[], Any]:
    out = a @ b
    return lambda: torch.mm(a, b, out=out)


def _usual(job: Job, run: Callable[[], Any]) -> float:
    """Median of the seconds, after a warm-up."""

    def waited() -> None:
        run()
        wait_for(job)

    waited()
    return median(seconds_of(waited, most=50, enough=1.0))
