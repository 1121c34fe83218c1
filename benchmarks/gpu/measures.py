"""The measurements, each a generator that gives numbers by name as soon as it has them.

A GPU runs behind Python: nothing is timed without waiting for it before and after. A window of several steps is timed
as a whole, as in training, where nobody waits after each step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import machine, values
from benchmarks.gpu.classifiers import make_classifier, make_ours, num_parameters, random_classes
from benchmarks.gpu.plan import Measurement
from benchmarks.jobs import Job
from benchmarks.memory import forget_peak, peak_resident
from hiperceiver.settings.base import one_line
from hiperceiver.training.compute import count_flops

Numbers = dict[str, Any]
_WINDOWS, _WINDOW_SECONDS, _MOST_STEPS = 3, 0.5, 200
_WARM_UP = 3
_PROFILED_STEPS = 3
_MOST_OPERATIONS = 15
_COUNTED_BATCH = 2
"""With one picture alone other orders of computation are cheaper; per picture two cost what any number does."""


def measure(what: Measurement) -> Iterator[Numbers]:
    """Do a measurement."""
    torch.manual_seed(0)
    others = {"device": _device, "values": _values, "profile": _profile}
    yield from others.get(what.part, _steps)(what)


# -------------------------------------------------------------------------------------------------------------- device


def _device(what: Measurement) -> Iterator[Numbers]:
    """Names, versions and settings; rates of matrix products in operations a second, of copies in bytes a second."""
    yield {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "matmul_precision": torch.get_float32_matmul_precision(),  # highest: no TF32
        "conv_precision": torch.backends.cudnn.conv.fp32_precision,
        "num_threads": torch.get_num_threads(),
    }
    if what.device == "cuda":
        card = torch.cuda.get_device_properties()
        yield {
            "compute_capability": f"{card.major}.{card.minor}",
            "memory_bytes": card.total_memory,
            "num_multiprocessors": card.multi_processor_count,
        }
    job = Job(kind="machine", device=what.device, precision=what.precision)
    yield machine.measure(job)
    if what.precision != "32":
        yield {"matmul_rate_32": machine.matmul_rate(Job(kind="machine", device=what.device))}


# -------------------------------------------------------------------------------------------------------------- values


def _values(what: Measurement) -> Iterator[Numbers]:
    """Distances to the plain formulas in float64, of the device, and of the CPU (`cpu_...`) in the same precision."""
    job = Job(
        kind="values",
        name=f"hiperceiver:{what.model}",
        side=what.side,
        batch=what.batch,
        ratio=0.75,
        device=what.device,
        precision=what.precision,
    )
    yield values.measure(job)
    on_cpu = values.measure(Job(**{**vars(job), "device": "cpu"}))
    yield {f"cpu_{name}": on_cpu[name] for name in ("outputs", "loss", "gradients", "worst")}


# --------------------------------------------------------------------------------------------------------------- steps


def _steps(what: Measurement) -> Iterator[Numbers]:
    """Seconds of a step in each of three windows, peak memory, operations; then the same step as a CUDA graph.

    `flops` are those of the matrix products that a step must do, by convention three forward passes for training: what
    is computed twice to save memory is not counted.
    """
    model, forward = _make(what)
    flops = _forward_flops(what, model, forward) * (3 if what.mode == "training" else 1)
    is_head = what.part == "cost"
    yield {"flops": flops, "num_parameters": num_parameters(model) if is_head else _num_weights(model)}
    if what.part == "compiled":
        model.compile()
    step = _make_step(what, model, forward)
    yield _timed(step, what.device)
    if what.part != "cost" and what.device == "cuda":
        # What goes wrong here is said beside the numbers of the step, which stand.
        try:
            replay = _capture(step)
            yield {"graph_seconds": _windows(replay, what.device)}
        except Exception as error:
            yield {"graph_problem": short(error)}


def _make(what: Measurement) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """A new model on the device, and its loss or, for inference, its result of pixels (B, M, 3)."""
    with torch.device(what.device):  # made where it is: large tables take long on a CPU
        if what.part == "cost":
            model = make_classifier(what.model, what.side)
        else:
            model = make_ours(what.model, what.side)
    model.to(what.device).train(what.mode == "training")
    if what.part == "cost":
        target = random_classes(what.batch, what.device)
        return model, lambda x: F.cross_entropy(model(x), target[: len(x)])

    def reconstruct(x: Tensor) -> Tensor:
        y = model({"image": x}).reconstruction["image"]
        return F.mse_loss(y, x) if what.mode == "training" else y

    return model, reconstruct


def _make_step(what: Measurement, model: nn.Module, forward: Callable[[Tensor], Tensor]) -> Callable[[], None]:
    """A step that does not wait for the GPU, on pictures of noise."""
    x = _pictures(what, what.batch)
    if what.mode == "inference":

        def infer() -> None:
            with torch.inference_mode(), _autocast(what):
                forward(x)

        return infer

    is_gpu = what.device == "cuda"
    # Capturable: its count of steps is on the GPU too, as a graph needs it.
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True, capturable=is_gpu)

    def train() -> None:
        with _autocast(what):
            loss = forward(x)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)  # a graph then has the memory of its gradients for itself

    return train


def _forward_flops(what: Measurement, model: nn.Module, forward: Callable[[Tensor], Tensor]) -> float:
    """Operations of a forward pass of the whole batch."""
    x = _pictures(what, min(_COUNTED_BATCH, what.batch))
    model.requires_grad_(False)  # the counter looks for the gradients of weights, even where there are none
    with torch.no_grad(), _autocast(what):
        flops = count_flops(lambda: forward(x)) * what.batch / len(x)
    model.requires_grad_(True)
    return flops


def _pictures(what: Measurement, batch: int) -> Tensor:
    return torch.randn(batch, what.side**2, 3, device=what.device)


def _autocast(what: Measurement) -> AbstractContextManager[object]:
    return torch.autocast(what.device, torch.bfloat16, enabled=what.precision == "bf16")


def _num_weights(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def _timed(step: Callable[[], None], device: str) -> Numbers:
    """Warm up, then time windows of steps.

    Returns:
        `first_seconds` of the first step, which may compile; `seconds` of a step, by window; `peak_bytes`, the most
        that PyTorch had allocated on the GPU at any time after the first step, weights and optimizer included, and
        `reserved_bytes` that it held for that. On the CPU: resident memory of the process, everything in it included.
    """
    started = time.perf_counter()
    step()
    _wait(device)
    first = time.perf_counter() - started
    if device == "cuda":
        torch.cuda.empty_cache()  # what a compiler or the first step held is not what a step holds
        torch.cuda.reset_peak_memory_stats()
    else:
        forget_peak()
    for _ in range(_WARM_UP - 1):
        step()
    seconds = _windows(step, device)
    if device == "cuda":
        peak = {"peak_bytes": torch.cuda.max_memory_allocated(), "reserved_bytes": torch.cuda.max_memory_reserved()}
    else:
        peak = {"peak_bytes": peak_resident()}
    return {"first_seconds": first, "seconds": seconds, **peak}


def _windows(step: Callable[[], Any], device: str) -> list[float]:
    """Seconds of a step, of a few windows of about half a second each."""

    def window(num_steps: int) -> float:
        _wait(device)
        started = time.perf_counter()
        for _ in range(num_steps):
            step()
        _wait(device)
        return (time.perf_counter() - started) / num_steps

    num_steps = min(_MOST_STEPS, max(1, round(_WINDOW_SECONDS / window(1))))
    return [window(num_steps) for _ in range(_WINDOWS)]


def _capture(step: Callable[[], None]) -> Callable[[], None]:
    """A step as one CUDA graph, which starts all of its kernels at once; the optimizer's are among them.

    Warm-up and capture are on one stream that is not the default one, so that whatever a backward pass remembers of
    its stream is that of the capture.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        step()
    return graph.replay


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


# ------------------------------------------------------------------------------------------------------------- profile


def _profile(what: Measurement) -> Iterator[Numbers]:
    """The operations of a training step that take most time, by torch.profiler, as shares of the time of all.

    On a GPU the time is that of the kernels that an operation starts, and `busy_share` how much of the step's time (as
    it is without the profiler) the kernels take: the rest is waiting for Python. On the CPU: the operation's own time.
    """
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    model, forward = _make(what)
    step = _make_step(what, model, forward)
    seconds = min(_timed(step, what.device)["seconds"])
    is_gpu = what.device == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_gpu else [])]
    with profile(activities=kinds) as profiler:
        for _ in range(_PROFILED_STEPS):
            step()
        _wait(what.device)
    rows = profiler.key_averages()

    def own(event: Any) -> float:
        return event.self_device_time_total if is_gpu else event.self_cpu_time_total  # microseconds

    operations = [each for each in rows if each.device_type == DeviceType.CPU and own(each) > 0]
    yield {"seconds": seconds, "operations": _largest(operations, own)}
    if is_gpu:
        kernels = [each for each in rows if each.device_type == DeviceType.CUDA and own(each) > 0]
        kernels = [each for each in kernels if not getattr(each, "is_user_annotation", False)]
        busy = sum(map(own, kernels)) / 1e6 / _PROFILED_STEPS
        yield {
            "kernels": _largest(kernels, own),
            "num_kernels": sum(each.count for each in kernels) / _PROFILED_STEPS,
            "busy_share": busy / seconds,
        }


def _largest(events: list[Any], own: Callable[[Any], float]) -> list[Numbers]:
    total = sum(map(own, events))
    largest = sorted(events, key=own, reverse=True)[:_MOST_OPERATIONS]
    return [
        {"name": each.key[:120], "share": own(each) / total, "calls": each.count / _PROFILED_STEPS} for each in largest
    ]


def short(error: BaseException) -> str:
    """What went wrong, in a short line."""
    return f"{type(error).__name__}: {one_line(error) or 'no message'}"[:300]
