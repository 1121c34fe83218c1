"""A few groups at a time, recomputed in the backward pass: activations at M tokens never exist whole.

Groups see only their own tokens, and readout queries only their own group's latents: what happens at the tokens can be
computed for some groups after the other, and only its small result kept.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hiperceiver.fast.switch import is_on

_CHUNK_ABOVE = 32 * 2**20
"""Bytes of one activation above which chunks pay: in training, keeping less is then worth computing it twice."""
_FEW_LATENTS = 64
"""Up to this many latents per token, computing twice is cheaper than keeping; with more, the cost grows with them."""
_CHUNK = {"cpu": 2 * 2**20, "cuda": 64 * 2**20}
"""Bytes of one activation in a chunk, by kind of device: several fit a CPU's cache; a GPU needs more to be busy."""


def attend_in_chunks(
    attend: Callable[..., Tensor], queries: Tensor, tokens: Sequence[Tensor | None], modules: Sequence[nn.Module]
) -> Tensor:
    """`attend(queries, *tokens)`, (B, g, N, D), for a few groups at a time where the tokens are many.

    `attend` embeds tokens, those of `hiperceiver.model.tokens.TokenGroups`, and cross-attends with these modules.
    """
    x, positions, *_, visible = tokens
    assert x is not None and positions is not None
    seen = x.shape[2] if visible is None else visible.shape[2]
    num_values = x.shape[0] * x.shape[1] * seen * positions.shape[3]
    chunks = num_chunks(num_values * positions.element_size(), queries.shape[2], x.device)
    return in_chunks(attend, [queries, *tokens], num_chunks=chunks, weights=_parameters(modules))


def read_in_chunks(
    read: Callable[..., Tensor], latents: Tensor, tokens: Sequence[Tensor], modules: Sequence[nn.Module]
) -> Tensor:
    """`read(latents, *tokens)`, (B, g, P, K), for some slots of a few groups at a time where they are many.

    `read` cross-attends to latents (B, g, N, D) and applies a head, with these modules; from positions
    (1 or B, g, P, E), and raw tokens (B, g, P, C) where the queries need them.
    """
    positions = tokens[0]
    batch, (groups, slots, channels) = latents.shape[0], positions.shape[1:]
    num_bytes = batch * groups * slots * channels * positions.element_size()
    chunks = num_chunks(num_bytes, latents.shape[2], positions.device)
    # Slots do not see each other: a group larger than a chunk is split into several that read the same latents.
    splits = _divisor(slots, -(-chunks // groups))
    if splits > 1:
        latents = latents.repeat_interleave(splits, dim=1)
        tokens = [x.unflatten(2, (splits, -1)).flatten(1, 2) for x in tokens]
    result = in_chunks(read, [latents, *tokens], num_chunks=chunks, weights=_parameters(modules))
    return result.unflatten(1, (groups, splits)).flatten(2, 3)


def num_chunks(num_bytes: int, num_latents: int, device: torch.device) -> int:
    """In how many chunks an activation of this size, at tokens that meet so many latents, is computed; 1: whole."""
    above = _CHUNK_ABOVE * max(1, num_latents / _FEW_LATENTS) if torch.is_grad_enabled() else _CHUNK_ABOVE
    # A compiler sees through neither the chunks nor the second computation, and fuses what they are for.
    if not is_on() or torch.compiler.is_compiling() or num_bytes <= above:
        return 1
    return -(-num_bytes // _CHUNK.get(device.type, _CHUNK["cuda"]))


def in_chunks(
    function: Callable[..., Tensor],
    tensors: Sequence[Tensor | None],
    *,
    num_chunks: int,
    weights: Sequence[Tensor] = (),
) -> Tensor:
    """`function(*tensors)`, computed for a few groups at a time, and once more in the backward pass.

    Values and gradients are those of a single call. Kept for the backward pass are the arguments alone.

    Args:
        function: gives groups (B, G, ...) for groups, without random numbers.
        tensors: (B or 1, G, ...), of which the function gets some groups at a time; None is passed on.
        num_chunks: number of calls; a call has one group at least. 1: autograd keeps what it keeps.
        weights: parameters that the function uses by itself.
    """
    num_groups = next(x.shape[1] for x in tensors if x is not None)
    step = max(1, num_groups // num_chunks)
    if num_chunks == 1 or step == num_groups:
        return function(*tensors)
    if not torch.is_grad_enabled():
        return _forward(function, tensors, step)
    weights = [weight for weight in weights if weight.requires_grad]
    return _Chunked.apply(function, step, len(tensors), *tensors, *weights)  # type: ignore[return-value]


def _forward(function: Callable[..., Tensor], tensors: Sequence[Tensor | None], step: int) -> Tensor:
    num_groups = next(x.shape[1] for x in tensors if x is not None)
    result = None
    for start in range(0, num_groups, step):
        part = function(*_chunk(tensors, start, step))
        if result is None:
            result = part.new_empty(part.shape[0], num_groups, *part.shape[2:])
        result[:, start : start + step] = part
    assert result is not None
    return result


def _chunk(tensors: Sequence[Tensor | None], start: int, step: int) -> list[Tensor | None]:
    return [None if x is None else x[:, start : start + step] for x in tensors]


def _parameters(modules: Sequence[nn.Module]) -> list[Tensor]:
    return [parameter for module in modules for parameter in module.parameters()]


def _divisor(number: int, at_least: int) -> int:
    """The smallest divisor from `at_least` to four times that, or 1 where there is none."""
    return next((d for d in range(at_least, 4 * at_least + 1) if number % d == 0), 1)


class _Chunked(torch.autograd.Function):
    # torch.utils.checkpoint over chunks is shorter, but holds the arguments' gradients twice for a moment: 1 GiB more
    # at 16.8 M positions of 16 channels.

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], step: int, count: int, *tensors: Tensor | None) -> Tensor:
        ctx.function, ctx.step, ctx.count = function, step, count
        ctx.save_for_backward(*tensors)
        # Detached, as hooks on the modules inside would look for a history that they do not have here.
        result = _forward(function, [None if x is None else x.detach() for x in tensors[:count]], step)
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
        tensors, weights = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        results = {i: torch.empty_like(x) for i, x in enumerate(tensors) if x is not None and x.requires_grad}
        weight_gradients: list[Tensor | None] = [None] * len(weights)
        for start in range(0, gradients[0].shape[1], ctx.step):
            groups = slice(start, start + ctx.step)
            chunk = _chunk(tensors, start, ctx.step)
            inputs = [x.detach().requires_grad_() for i in results if (x := chunk[i]) is not None]
            with torch.enable_grad(), ctx.precision:
                for i, x in zip(results, inputs, strict=True):
                    chunk[i] = x.view_as(x)  # not a leaf, which hooks on the modules inside could not wait for
                output = ctx.function(*chunk)
            parts = torch.autograd.grad(output, [*inputs, *weights], gradients[0][:, groups], allow_unused=True)
            for part, whole in zip(parts, results.values(), strict=False):
                whole[:, groups] = 0.0 if part is None else part
            for i, part in enumerate(parts[len(inputs) :]):
                total = weight_gradients[i]
                if part is not None:
                    weight_gradients[i] = part if total is None else total + part
        return None, None, None, *[results.get(i) for i in range(ctx.count)], *weight_gradients
