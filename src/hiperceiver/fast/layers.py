"""Within layers: a squared ReLU with a backward pass of its own, and attention of half precision in float32."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hiperceiver.fast.switch import is_on

_WIDEST_HEAD = 128
"""Channels of a head up to which float32 pays: measured at 32 channels (it does) and at 256 (it does not)."""


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)^2, whose derivative 2 max(x, 0) takes half the passes over memory of a derivation step by step."""
    if torch.compiler.is_compiling():  # the compiler fuses the steps itself
        return F.relu(x).square()
    return _SquaredReLU.apply(x)  # type: ignore[return-value]


class _SquaredReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.relu(x).square_()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return (F.relu(x) * gradients[0]).mul_(2)


def prefers_float32(queries: Tensor) -> bool:
    """Whether attention from these queries (..., C / H) is in half precision and is quicker in float32.

    On the CPU, PyTorch's backward pass of attention takes two to four times as long in bfloat16 as in float32,
    conversions included, unless heads are wide. Evaluation computes as training does.
    """
    if not is_on() or queries.device.type != "cpu" or queries.shape[-1] > _WIDEST_HEAD:
        return False
    return queries.dtype.itemsize == 2 or (queries.dtype == torch.float32 and torch.is_autocast_enabled("cpu"))


def float32_attention(
    queries: Tensor, keys: Tensor, values: Tensor, attn_mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """`F.scaled_dot_product_attention` on the CPU in float32, in and out in the type of the queries."""
    bias = None if attn_mask is None else attn_mask.float()
    with torch.autocast("cpu", enabled=False):
        parts = (queries.float(), keys.float(), values.float())
        return F.scaled_dot_product_attention(*parts, attn_mask=bias, scale=scale).to(queries.dtype)
