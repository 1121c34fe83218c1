"""Interfaces of PyTorch that are not public and have no public counterpart. Tried with PyTorch 2.9 to 2.13."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.autograd.variable import Variable


def current_backward_pass() -> int:
    """Number of the backward pass that is running; later passes, also those inside another, have higher ones."""
    return torch._C._current_graph_task_id()


def call_after_backward(function: Callable[[], None]) -> None:
    """Call a function at the end of the backward pass that is running."""
    Variable._execution_engine.queue_callback(function)
