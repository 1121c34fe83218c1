"""A permutation of tokens whose backward pass gathers too, where that of an index scatters and adds."""

from typing import Any

import torch
from torch import Tensor

from hiperceiver.fast.switch import is_on


def permute(x: Tensor, order: Tensor, inverse: Tensor) -> Tensor | None:
    """Tokens (B, M, ...) in an order, with that and its inverse as int64 (M,); None if fast paths are off."""
    return _Permutation.apply(x, order, inverse) if is_on() else None  # type: ignore[return-value]


class _Permutation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return x.index_select(1, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        order, inverse = ctx.saved_tensors
        return _Permutation.apply(gradients[0], inverse, order), None, None  # type: ignore[return-value]
