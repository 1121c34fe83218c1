"""Operations that training does a second, beside what the machine can do."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from hiperceiver.modality import Batch
from hiperceiver.settings.run import Precision
from hiperceiver.tasks.task import Task
from hiperceiver.training.evaluation import autocast

_SIZES = {"cpu": 1024}
_LARGE = 8192  # of a GPU
_SECONDS, _MOST_CALLS = 0.3, 30


@dataclass(frozen=True, kw_only=True)
class Compute:
    """What a run made of its machine."""

    flops_per_example: float
    """Floating-point operations of the matrix products, attention included, that a training step runs for an example,
    forward and backward. A multiply-add is two; what is computed twice to save memory counts twice; the optimizer
    does not count."""
    flops_per_second: float
    """The same a second of training, from one row of the log to the next: loading and the optimizer take their time,
    validations do not count."""
    limit: float
    """Operations a second of large matrix products on the same device, with the same threads and type of numbers."""

    @property
    def share(self) -> float:
        """Of the limit."""
        return self.flops_per_second / self.limit


def count_flops(run: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products and attention in whatever runs, on the CPU or a GPU.

    >>> count_flops(lambda: torch.ones(2, 3) @ torch.ones(3, 5))
    60
    """
    with FlopCounterMode(display=False, custom_mapping=_ON_CPU) as counter:
        run()
    return counter.get_total_flops()


def count_step(task: Task, batch: Batch, drawn: Any, precision: Precision) -> int:
    """Those of the forward and backward pass of a batch, with its random choices; leaves no gradients."""
    device = next(task.parameters()).device

    def step() -> None:
        with autocast(device, precision):
            terms = task.terms(batch, drawn)
        task.weigh(terms)[0].backward()

    with ExitStack() as stack:
        stack.enter_context(torch.compiler.set_stance("force_eager"))  # the counter does not see into what is compiled
        stack.callback(task.zero_grad)
        return count_flops(step)


def matmul_rate(device: torch.device, precision: Precision) -> float:
    """Operations a second of large square matrix products; takes about a third of a second."""
    size = _SIZES.get(device.type, _LARGE)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    x = torch.randn(size, size, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    out = torch.empty_like(x)

    def seconds() -> float:
        started = time.perf_counter()
        torch.mm(x, x, out=out)
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        return time.perf_counter() - started

    times = [seconds()]
    if times[0] < _SECONDS:  # the first one warms up
        times = [seconds()]
    while sum(times) < _SECONDS and len(times) < _MOST_CALLS:
        times.append(seconds())
    return 2 * size**3 / median(times)


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
