"""Interfaces of PyTorch that are not public and have no public counterpart. Tried with PyTorch 2.13."""

from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch._compile import _disable_dynamo
from torch.autograd.variable import Variable

FunctionT = TypeVar("FunctionT", bound=Callable)


def without_compiler(function: FunctionT) -> FunctionT:
    """A function that PyTorch's compiler leaves alone. `torch.compiler.disable` loads dynamo at once, 2 s."""
    return cast(FunctionT, _disable_dynamo(function))


def current_backward_pass() -> int:
    """Number of the backward pass that is running; later passes, also those inside another, have higher ones."""
    return torch._C._current_graph_task_id()


def call_after_backward(function: Callable[[], None]) -> None:
    """Call a function at the end of the backward pass that is running."""
    Variable._execution_engine.queue_callback(function)
