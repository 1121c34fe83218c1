"""Squared ReLU with a backward pass of its own."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)^2, whose derivative 2 max(x, 0) takes half the passes over memory of a derivation step by step."""
    if torch.compiler.is_compiling():  # the compiler fuses the steps itself
        return F.relu(x).square()
    squared = _SquaredReLU.apply(x)
    assert isinstance(squared, Tensor)
    return squared


class _SquaredReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.relu(x).square_()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return (F.relu(x) * gradients[0]).mul_(2)
