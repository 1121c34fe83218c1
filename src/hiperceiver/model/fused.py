"""The work at every token as one pass over the memory: kernels in C for float32 on the CPU, beside the plain path.

PyTorch's own operations on a few channels pass over the memory about thirty times at each token. `fused.c` does the
same in tiles that stay in the cache, and keeps nothing for the backward pass but its arguments. Where it cannot be
compiled (see `kernels.py`), or HIPERCEIVER_FUSED=0 is set, PyTorch computes the same, more slowly.

Shapes: B batch, g groups of a modality, P places in a group, K visible places in a group, C raw channels, E embedding
channels, N latents, R channels of a result, W places that are read.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula

from hiperceiver.model.kernels import add_up, kernels, one_for_each_thread, run_kernel

_MOST_CHANNELS = 128
_MOST_QUERIES = 1024
_LARGE = 2**25  # bytes
_FEWEST_VALUES = {"look": 2**18, "read": 2**17}
"""Values of an activation, B g P E, below which PyTorch's own operations are about as quick, by kernel."""


def suits(kernel: str, *tensors: Tensor, num_values: int, num_channels: int, num_queries: int) -> bool:
    """Whether a kernel computes this, and is worth it.

    Args:
        kernel: "look" or "read".
        tensors: the values that it would be given.
        num_values: of an activation, B g K E.
        num_channels: the most channels of anything, E.
        num_queries: queries or latents of a group, all heads together.
    """
    return (
        num_values >= _FEWEST_VALUES[kernel]
        and num_channels <= _MOST_CHANNELS
        and num_queries <= _MOST_QUERIES
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and all(x.device.type == "cpu" and x.dtype == torch.float32 for x in tensors)
        and kernels() is not None
    )


# ----------------------------------------------------------------------------------------------------------- gradients


class SharedGradient:
    """One buffer for the gradient of a tensor that several kernels use.

    autograd would keep a buffer for each and add them up: for 16.8 M positions of 16 channels 1 GiB more.
    """

    def __init__(self) -> None:
        self._buffers: dict[int, Tensor] = {}  # by backward pass: one may run inside another, as checkpoints do it

    def buffer(self, like: Tensor) -> tuple[Tensor, bool]:
        """Where a kernel's gradient by a tensor goes, in the backward pass that is under way.

        Returns:
            The buffer, at first zeros, and whether another kernel has written to it, so that this one must add.
        """
        backward_pass = torch._C._current_graph_task_id()
        if backward_pass in self._buffers:
            return self._buffers[backward_pass], True
        self._buffers[backward_pass] = buffer = _zeros(*like.shape)
        return buffer, False

    def take(self) -> Tensor | None:
        """The sum of this backward pass and of those inside it, which is not kept here; None where there is none."""
        current = torch._C._current_graph_task_id()  # they are counted up: earlier ones never came so far
        buffers = [buffer for backward_pass, buffer in self._buffers.items() if backward_pass >= current]
        self._buffers.clear()
        for buffer in buffers[1:]:
            buffers[0] += buffer
        return buffers[0] if buffers else None


def share_gradient(x: Tensor) -> tuple[Tensor, SharedGradient | None]:
    """The same tensor, and where kernels add up its gradient if they are given that; None where they would not."""
    if not (x.requires_grad and torch.is_grad_enabled()):
        return x, None
    if not suits("read", x, num_values=x.numel(), num_channels=x.shape[-1], num_queries=1):
        return x, None
    gradient = SharedGradient()
    shared = _Share.apply(x, gradient)
    assert isinstance(shared, Tensor)
    return shared, gradient


class _Share(torch.autograd.Function):
    """Its backward pass comes after those of all that use the tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gradient: SharedGradient) -> Tensor:
        ctx.gradient = gradient
        ctx.set_materialize_grads(False)
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None]:
        total, (others,) = ctx.gradient.take(), gradients
        if total is None or others is None:
            return others if total is None else total, None
        return total.add_(others), None


def _zeros(*shape: int) -> Tensor:
    """float32 zeros. Large ones are, on Linux, memory that the system gives zeroed and in pages of 2 MB.

    To fetch 1 GiB in pages of 4 kB takes half a second, and to write zeros into it once more another tenth or two.
    """
    num_bytes = 4 * math.prod(shape)
    if sys.platform == "linux" and num_bytes >= _LARGE:
        with contextlib.suppress(OSError):  # PyTorch knows what to say of too little memory
            memory = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            with contextlib.suppress(OSError):  # a system without such pages
                memory.madvise(mmap.MADV_HUGEPAGE)
            return torch.frombuffer(memory, dtype=torch.float32).view(shape)
    return torch.zeros(shape)


# --------------------------------------------------------------------------------------------------------------- look


_LOOK_TENSORS = ("x", "positions", "weight", "bias", "asked", "absent", "visible")


class _LookArguments(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("batch", "groups", "places", "seen", "raw", "channels", "queries")],
        *[(name, ctypes.c_int64) for name in ("shares_positions", "shares_absent", "adds")],
        *[(name, ctypes.c_void_p) for name in _LOOK_TENSORS],
    ]


def look(
    x: Tensor,
    positions: Tensor,
    weight: Tensor,
    bias: Tensor,
    asked: Tensor,
    absent: Tensor | None,
    visible: Tensor | None,
    gradient: SharedGradient | None = None,
) -> tuple[Tensor, Tensor]:
    """Embed tokens, add positions, normalise, and take the mean that each query attends to.

    Args:
        x: raw tokens (B, g, P, C); they get no gradient.
        positions: (1 or B, g, P, E).
        weight: of the embedding (E, C).
        bias: of the embedding (E,).
        asked: what scores the normalised tokens, (B, g, N, E).
        absent: bool (1 or B, g, P), True = seen by no query.
        visible: int64 (B, g, K), the places that are seen at all, -1 = none. None: all.
        gradient: of the positions, where `share_gradient` gave them; None: autograd's own.

    Returns:
        Weighted means of the normalised tokens (B, g, N, E), and the logarithm of each softmax's sum (B, g, N), -inf
        where there was nothing to see (the mean is then zero).
    """
    results = _Look.apply(gradient, x, positions, weight, bias, asked, absent, visible)
    assert isinstance(results, tuple)
    return results


class _Look(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: SharedGradient | None, *tensors: Tensor | None) -> tuple[Tensor, Tensor]:
        seen, logs = torch.ops.hiperceiver.look(*tensors)
        ctx.gradient = gradient
        ctx.save_for_backward(*tensors, seen, logs)
        ctx.mark_non_differentiable(logs)
        return seen, logs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, seen, logs = ctx.saved_tensors
        shared = ctx.gradient or SharedGradient()
        buffer, adds = None, False
        if ctx.needs_input_grad[2]:
            buffer, adds = shared.buffer(tensors[1])
        by_asked, by_weight, by_bias = torch.ops.hiperceiver.look_backward(
            *tensors, seen, logs, gradients[0], buffer, adds
        )
        return None, None, None if ctx.gradient else shared.take(), by_weight, by_bias, by_asked, None, None


_LOOK_SCHEMA = f"{', '.join(f'Tensor {name}' for name in _LOOK_TENSORS[:5])}, Tensor? absent, Tensor? visible"


@torch.library.custom_op(
    "hiperceiver::look", mutates_args=(), device_types="cpu", schema=f"({_LOOK_SCHEMA}) -> (Tensor, Tensor)"
)
def _look(*tensors: Any) -> tuple[Tensor, Tensor]:
    arguments, kept = _look_arguments(*tensors)
    asked = kept["asked"]
    seen, logs = torch.empty_like(asked), asked.new_empty(asked.shape[:3])
    run_kernel("look", arguments, arguments.groups, [[seen], [logs]])
    return seen, logs


@torch.library.custom_op(
    "hiperceiver::look_backward",
    mutates_args=("by_positions",),
    device_types="cpu",
    schema=f"({_LOOK_SCHEMA}, Tensor seen, Tensor logs, Tensor gradient, Tensor(a!)? by_positions, bool adds) "
    "-> (Tensor, Tensor, Tensor)",
)
def _look_backward(*arguments_of_look: Any) -> tuple[Tensor, Tensor, Tensor]:
    *tensors, seen, logs, gradient, by_positions, adds = arguments_of_look
    arguments, kept = _look_arguments(*tensors)
    arguments.adds = adds
    by_asked = torch.zeros_like(kept["asked"])
    by_weights = one_for_each_thread(arguments.groups, kept["weight"], kept["bias"])
    outputs = [[seen], [logs], [gradient.contiguous()], [by_positions], [by_asked], *by_weights]
    run_kernel("look_backward", arguments, arguments.groups, outputs)
    by_weight, by_bias = add_up(by_weights)
    return by_asked, by_weight, by_bias


def _look_arguments(*tensors: Tensor | None) -> tuple[_LookArguments, dict[str, Tensor]]:
    """What a kernel reads, and the tensors that it reads it from, which must live as long."""
    named = zip(_LOOK_TENSORS, tensors, strict=True)
    kept = {name: tensor.contiguous() for name, tensor in named if tensor is not None}
    x, positions, asked = kept["x"], kept["positions"], kept["asked"]
    absent, visible = kept.get("absent"), kept.get("visible")
    batch, groups, places, raw = x.shape
    arguments = _LookArguments(
        batch=batch,
        groups=groups,
        places=places,
        seen=places if visible is None else visible.shape[2],
        raw=raw,
        channels=positions.shape[3],
        queries=asked.shape[2],
        shares_positions=positions.shape[0] == 1,
        shares_absent=absent is not None and absent.shape[0] == 1,
        **{name: tensor.data_ptr() for name, tensor in kept.items()},
    )
    return arguments, kept


# --------------------------------------------------------------------------------------------------------------- read


_READ_TENSORS = (
    "positions",
    "keys",
    "constants",
    "values",
    "offset",
    "hidden",
    "hidden_bias",
    "direct",
    "fed",
    "out_bias",
)


class _ReadArguments(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("batch", "groups", "places", "read", "channels", "latents", "out")],
        *[(name, ctypes.c_int64) for name in ("shares_positions", "shares_wanted", "adds")],
        *[(name, ctypes.c_void_p) for name in ("wanted", *_READ_TENSORS)],
    ]


def read(
    positions: Tensor,
    keys: Tensor,
    constants: Tensor,
    values: Tensor,
    offset: Tensor,
    hidden: Tensor,
    hidden_bias: Tensor,
    direct: Tensor,
    fed: Tensor,
    out_bias: Tensor,
    wanted: Tensor | None = None,
    gradient: SharedGradient | None = None,
) -> Tensor:
    """Let each place attend to its group's latents, feed forward, and give the result.

    With r a normalised position, and n(x) = x normalised over its channels,
        x = offset + softmax(keys r + constants) values,
        result = direct x + fed squared_relu(hidden n(x) + hidden_bias) + out_bias.

    Args:
        positions: (1 or B, g, P, E).
        keys: (B, g, N, E).
        constants: (B, g, N).
        values: (B, g, N, E).
        offset: (E,).
        hidden: (E, E).
        hidden_bias: (E,).
        direct: (R, E).
        fed: (R, E).
        out_bias: (R,).
        wanted: int64 (B, 1 or g, W), the places that are read, each once; with 1, the same in all groups. None: all P.
        gradient: of the positions, where `share_gradient` gave them; None: autograd's own.

    Returns:
        (B, g, P or W, R).
    """
    tensors = (positions, keys, constants, values, offset, hidden, hidden_bias, direct, fed, out_bias)
    result = _Read.apply(gradient, wanted, *tensors)
    assert isinstance(result, Tensor)
    return result


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: SharedGradient | None, wanted: Tensor | None, *tensors: Tensor) -> Tensor:
        ctx.gradient = gradient
        ctx.save_for_backward(wanted, *tensors)
        return torch.ops.hiperceiver.read(*tensors, wanted)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        wanted, *tensors = ctx.saved_tensors
        shared = ctx.gradient or SharedGradient()
        buffer, adds = None, False
        if ctx.needs_input_grad[2]:
            buffer, adds = shared.buffer(tensors[0])
        others = torch.ops.hiperceiver.read_backward(*tensors, wanted, gradients[0], buffer, adds)
        return None, None, None if ctx.gradient else shared.take(), *others


_READ_SCHEMA = f"{', '.join(f'Tensor {name}' for name in _READ_TENSORS)}, Tensor? wanted"


@torch.library.custom_op("hiperceiver::read", mutates_args=(), device_types="cpu", schema=f"({_READ_SCHEMA}) -> Tensor")
def _read(*arguments_of_read: Any) -> Tensor:
    *tensors, wanted = arguments_of_read
    arguments, kept = _read_arguments(wanted, *tensors)
    keys, direct = kept["keys"], kept["direct"]
    result = keys.new_empty(*keys.shape[:2], arguments.read, direct.shape[0])
    run_kernel("read_out", arguments, keys.shape[1], [[result]])
    return result


_NINE_TENSORS = ", ".join(["Tensor"] * (len(_READ_TENSORS) - 1))


@torch.library.custom_op(
    "hiperceiver::read_backward",
    mutates_args=("by_positions",),
    device_types="cpu",
    schema=f"({_READ_SCHEMA}, Tensor gradient, Tensor(a!)? by_positions, bool adds) -> ({_NINE_TENSORS})",
)
def _read_backward(*arguments_of_read: Any) -> tuple[Tensor, ...]:
    *tensors, wanted, gradient, by_positions, adds = arguments_of_read
    keys = tensors[1]
    arguments, kept = _read_arguments(wanted, *tensors)
    arguments.adds = adds
    own = [torch.zeros_like(kept[name]) for name in ("keys", "constants", "values")]
    shared = one_for_each_thread(keys.shape[1], *tensors[4:])
    outputs = [[gradient.contiguous()], [by_positions], *[[each] for each in own], *shared]
    run_kernel("read_out_backward", arguments, keys.shape[1], outputs)
    return *own, *add_up(shared)


def _read_arguments(wanted: Tensor | None, *tensors: Tensor) -> tuple[_ReadArguments, dict[str, Tensor]]:
    kept = dict(zip(_READ_TENSORS, tensors, strict=True)) | ({} if wanted is None else {"wanted": wanted})
    kept = {name: tensor.contiguous() for name, tensor in kept.items()}
    positions, keys = kept["positions"], kept["keys"]
    arguments = _ReadArguments(
        batch=keys.shape[0],
        groups=keys.shape[1],
        places=positions.shape[2],
        read=positions.shape[2] if wanted is None else wanted.shape[2],
        channels=keys.shape[3],
        latents=keys.shape[2],
        out=kept["direct"].shape[0],
        shares_positions=positions.shape[0] == 1,
        shares_wanted=wanted is not None and wanted.shape[1] == 1,
        **{name: tensor.data_ptr() for name, tensor in kept.items()},
    )
    return arguments, kept


# ---------------------------------------------------------------------------------------------------------- operations


@register_flop_formula(torch.ops.hiperceiver.look)
def _look_flops(*shapes: torch.Size | None, out_shape: Any = None, **_: Any) -> int:
    return _look_products(shapes, embedding=1, attention=2)


@register_flop_formula(torch.ops.hiperceiver.look_backward)
def _look_backward_flops(*shapes: torch.Size | None, out_shape: Any = None, **_: Any) -> int:
    return _look_products(shapes, embedding=2, attention=5)


def _look_products(shapes: Sequence[torch.Size | None], *, embedding: int, attention: int) -> int:
    x, _, _, _, asked, _, visible = shapes[:7]
    assert x is not None and asked is not None
    batch, groups, places, raw = x
    num_tokens = batch * groups * (places if visible is None else visible[2])
    return 2 * num_tokens * asked[3] * (embedding * raw + attention * asked[2])


@register_flop_formula(torch.ops.hiperceiver.read)
def _read_flops(*shapes: torch.Size | None, out_shape: Any = None, **_: Any) -> int:
    return _read_products(shapes, attention=2, hidden=1, out=2)


@register_flop_formula(torch.ops.hiperceiver.read_backward)
def _read_backward_flops(*shapes: torch.Size | None, out_shape: Any = None, **_: Any) -> int:
    return _read_products(shapes, attention=6, hidden=3, out=4)


def _read_products(shapes: Sequence[Any], *, attention: int, hidden: int, out: int) -> int:
    positions, (batch, groups, latents, channels), direct, wanted = shapes[0], shapes[1], shapes[7], shapes[10]
    num_tokens = batch * groups * (positions if wanted is None else wanted)[2]
    return 2 * num_tokens * channels * (attention * latents + hidden * channels + out * direct[0])
