"""Compute in pieces that fit the cache, and again in the backward pass: activations at M tokens never exist whole.

Groups see only their own tokens, and readout queries only their own group's latents: what happens at the tokens can be
done for a few groups at a time, and only its small result be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_STREAM_ABOVE = 32 * 2**20
"""Bytes of one activation above which pieces pay: in training, keeping less is then worth computing it twice."""
_FEW_LATENTS = 64
"""With so many latents for each token computing twice costs less than keeping; with more it costs so much more."""
_PIECE = {"cpu": 2 * 2**20, "cuda": 64 * 2**20}
"""Bytes of one activation in a piece, by kind of device: some fit a CPU's cache; a GPU needs more to be busy."""


def pieces_of(num_bytes: int, num_latents: int, device: torch.device) -> int:
    """In how many pieces an activation at the tokens is computed best; 1 where it is small enough whole.

    Args:
        num_bytes: its size.
        num_latents: that each token meets.
        device: where it is computed.
    """
    above = _STREAM_ABOVE * max(1, num_latents / _FEW_LATENTS) if torch.is_grad_enabled() else _STREAM_ABOVE
    # A compiler sees through neither the pieces nor the second computation, and fuses what they are for.
    if torch.compiler.is_compiling() or num_bytes <= above:
        return 1
    return -(-num_bytes // _PIECE.get(device.type, _PIECE["cuda"]))


def stream(
    function: Callable[..., Tensor],
    cut: Sequence[Tensor | None],
    *,
    num_pieces: int,
    weights: Sequence[Tensor] = (),
) -> Tensor:
    """`function(*cut)`, computed for a few groups at a time, and once more in the backward pass.

    Values and gradients are those of a single call. Kept for the backward pass are the arguments alone.

    Args:
        function: gives groups (B, G, ...) for groups. It must not draw random numbers.
        cut: tensors (B or 1, G, ...) of which it is given some groups at a time; None is passed on.
        num_pieces: how many calls are wanted; a call has one group at least. 1: autograd keeps what it keeps.
        weights: parameters that the function uses by itself.
    """
    num_groups = next(x.shape[1] for x in cut if x is not None)
    step = max(1, num_groups // num_pieces)
    if num_pieces == 1 or step == num_groups:
        return function(*cut)
    if not torch.is_grad_enabled():
        return _in_pieces(function, cut, step)
    weights = [weight for weight in weights if weight.requires_grad]
    result = _Stream.apply(function, step, len(cut), *cut, *weights)
    assert isinstance(result, Tensor)
    return result


def _in_pieces(function: Callable[..., Tensor], cut: Sequence[Tensor | None], step: int) -> Tensor:
    num_groups = next(x.shape[1] for x in cut if x is not None)
    result = None
    for start in range(0, num_groups, step):
        piece = function(*_piece(cut, start, step))
        if result is None:
            result = piece.new_empty(piece.shape[0], num_groups, *piece.shape[2:])
        result[:, start : start + step] = piece
    assert result is not None
    return result


def _piece(cut: Sequence[Tensor | None], start: int, step: int) -> list[Tensor | None]:
    return [None if x is None else x[:, start : start + step] for x in cut]


class _Stream(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], step: int, num_cut: int, *tensors: Tensor | None) -> Tensor:
        ctx.function, ctx.step, ctx.num_cut = function, step, num_cut
        ctx.save_for_backward(*tensors)
        # Detached, as hooks on the modules inside would look for a history that they do not have here.
        result = _in_pieces(function, [None if x is None else x.detach() for x in tensors[:num_cut]], step)
        kind = result.device.type
        ctx.precision = nullcontext()
        if torch.amp.is_autocast_available(kind):
            ctx.precision = torch.autocast(
                kind, dtype=torch.get_autocast_dtype(kind), enabled=torch.is_autocast_enabled(kind)
            )
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        cut, weights = ctx.saved_tensors[: ctx.num_cut], ctx.saved_tensors[ctx.num_cut :]
        into = {i: torch.empty_like(x) for i, x in enumerate(cut) if x is not None and x.requires_grad}
        weight_gradients: list[Tensor | None] = [None] * len(weights)
        for start in range(0, gradients[0].shape[1], ctx.step):
            now = slice(start, start + ctx.step)
            piece = _piece(cut, start, ctx.step)
            inputs = [x.detach().requires_grad_() for i in into if (x := piece[i]) is not None]
            with torch.enable_grad(), ctx.precision:
                for i, x in zip(into, inputs, strict=True):
                    piece[i] = x.view_as(x)  # not a leaf, which hooks on the modules inside could not wait for
                result = ctx.function(*piece)
            found = torch.autograd.grad(result, [*inputs, *weights], gradients[0][:, now], allow_unused=True)
            for gradient, all_groups in zip(found, into.values(), strict=False):
                all_groups[:, now] = 0.0 if gradient is None else gradient
            for i, gradient in enumerate(found[len(inputs) :]):
                total = weight_gradients[i]
                if gradient is not None:
                    weight_gradients[i] = gradient if total is None else total + gradient
        return None, None, None, *[into.get(i) for i in range(ctx.num_cut)], *weight_gradients
