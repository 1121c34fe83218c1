"""Whether an exported model says what PyTorch says, and how long both take."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from hiperceiver.export.formats import Run
from hiperceiver.export.program import ExportModule

_REPEATS = 5
TOLERANCE = 1e-3
"""Largest difference, as a share of the output's largest value, with which an export counts as the same."""


class Check(NamedTuple):
    """An exported model beside PyTorch."""

    differences: dict[str, float]  # the largest of each output
    seconds: float  # of the exported model, the fastest of some calls
    torch_seconds: float


@torch.no_grad()
def check(module: ExportModule, run: Run, inputs: Mapping[str, Tensor], is_padding: Mapping[str, Tensor]) -> Check:
    """Compare an exported model with PyTorch, as it computes otherwise, on examples.

    Raises:
        ValueError: an output differs by more than `TOLERANCE`.
    """
    expected = module(dict(inputs), dict(is_padding))
    found = run(inputs, is_padding)
    differences = {}
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise ValueError(f"export: expected {tuple(value.shape)} for {name!r}, got {tuple(found[name].shape)}")
        if not value.is_floating_point():
            differences[name] = float((found[name] != value).float().mean())
            continue
        differences[name] = float((found[name] - value).abs().max())
        if not differences[name] <= TOLERANCE * max(1.0, float(value.abs().max())):
            raise ValueError(f"export: expected PyTorch's {name!r}, got a difference of {differences[name]:.3g}")
    return Check(
        differences,
        _seconds(lambda: run(inputs, is_padding)),
        _seconds(lambda: module(dict(inputs), dict(is_padding))),
    )


def _seconds(call: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
