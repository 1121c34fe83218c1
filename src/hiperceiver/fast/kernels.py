"""The work at every token as one pass over the memory: kernels in C for float32 on the CPU.

PyTorch's own operations on a few channels pass over the memory about thirty times at each token. `kernels.c` does the
same in tiles that stay in the cache, and keeps nothing for the backward pass but its arguments. Where it cannot be
compiled (see `compile.py`), or HIPERCEIVER_FUSED=0 is set, PyTorch computes the same, more slowly.

Shapes: B batch, g groups of a modality, P slots in a group, K visible slots in a group, C raw channels, E embedding
channels, D latent channels, N latents, R channels of a result, W slots that are read.
"""

import contextlib
import ctypes
import math
import mmap
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula

from hiperceiver.fast.absorbed import CrossAttentionLayer, absorb_keys, absorb_queries, project_values
from hiperceiver.fast.compile import add_up, kernels, one_for_each_thread, run_kernel
from hiperceiver.fast.switch import is_on
from hiperceiver.torch_internals import current_backward_pass

_MOST_CHANNELS = 128
_MOST_QUERIES = 1024
_LARGE = 2**25  # bytes
_FEWEST_VALUES = {"embed_and_attend": 2**18, "read_tokens": 2**17}
"""Values of an activation, B g P E, below which PyTorch's own operations are about as quick, by kernel."""


def embed_and_attend(
    embedding: nn.Module,
    layer: CrossAttentionLayer,
    queries: Tensor,
    x: Tensor,
    positions: Tensor,
    key_mask: Tensor | None,
    zero_mask: Tensor | None,
    visible: Tensor | None,
) -> Tensor | None:
    """Embed tokens, add positions, and let the queries of each group cross-attend to them: (B, g, N, D).

    Args:
        embedding: raw channels to embedding channels.
        layer: the cross-attention.
        queries: (1 or B, g, N, D).
        x: raw tokens (B, g, P, C).
        positions: (1 or B, g, P, E).
        key_mask: bool (1 or B, g, P), True = no query attends to it; None: none.
        zero_mask: slots that count as zeros; the kernel knows none.
        visible: int64 (B, g, K), -1 = none; None: all slots.

    Returns:
        None where the kernel does not fit or does not pay.
    """
    batch, groups, slots, raw_channels = x.shape
    num_values = batch * groups * (slots if visible is None else visible.shape[2]) * positions.shape[3]
    if not (
        isinstance(embedding, nn.Linear)
        and zero_mask is None
        and not x.requires_grad
        and _suits(
            "embed_and_attend",
            *(x, positions, queries),
            num_values=num_values,
            num_channels=max(positions.shape[3], raw_channels),
            num_queries=layer.num_heads * queries.shape[2],
        )
    ):
        return None
    absorbed = (absorb_keys(layer, queries) * layer.scale).expand(batch, -1, -1, -1)
    attended, logsumexp = attend_to_embedded(
        x, positions, embedding.weight, embedding.bias, absorbed, key_mask, visible
    )
    return layer.finish(queries, project_values(layer, attended, logsumexp.isinf()))


def read_tokens(
    layer: CrossAttentionLayer, head: nn.Module, latents: Tensor, positions: Tensor, slots: Tensor | None
) -> Tensor | None:
    """Cross-attend from positions to the latents of their group, and apply a linear head: (B, g, P or W, R).

    Args:
        layer: the readout, without residual.
        head: embedding channels to R.
        latents: (B, g, N, D).
        positions: (1 or B, g, P, E).
        slots: int64 (B, g or 1, W), the slots that are read, each once; None: all.

    Returns:
        None where the kernel does not fit or does not pay.
    """
    batch, groups, num_latents = latents.shape[:3]
    num_slots, channels = positions.shape[2:] if slots is None else (slots.shape[2], positions.shape[3])
    if not (
        isinstance(head, nn.Linear)
        and layer.feed_forward.activation_name == "squared_relu"
        and _suits(
            "read_tokens",
            *(positions, latents),
            num_values=batch * groups * num_slots * channels,
            num_channels=max(channels, head.out_features),
            num_queries=num_latents,
        )
    ):
        return None
    # The last layers are linear in what was read, x, and in the feed-forward's hidden layer h:
    #     head (x + W h + b) = (head x) + (head W) h + head b.
    keys, constants, values = absorb_queries(layer, latents)
    norm, hidden, output = layer.feed_forward_norm, layer.feed_forward.hidden, layer.feed_forward.output
    return read(
        positions,
        keys * layer.scale,
        constants * layer.scale,
        values,
        layer.output.bias,
        hidden.weight * norm.weight,
        hidden(norm.bias),
        head.weight,
        head.weight @ output.weight,
        head(output.bias),
        slots,
    )


def _suits(kernel: str, *tensors: Tensor, num_values: int, num_channels: int, num_queries: int) -> bool:
    """Whether a kernel computes this, and is worth it.

    Args:
        kernel: a key of `_FEWEST_VALUES`.
        tensors: its arguments.
        num_values: of an activation, B g K E.
        num_channels: the most channels of anything, E.
        num_queries: queries or latents of a group, all heads together.
    """
    return (
        is_on()
        and num_values >= _FEWEST_VALUES[kernel]
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
        """The buffer of the running backward pass for a kernel's gradient by a tensor.

        Returns:
            The buffer, at first zeros, and whether another kernel has written to it, so that this one must add.
        """
        backward_pass = current_backward_pass()
        if backward_pass in self._buffers:
            return self._buffers[backward_pass], True
        self._buffers[backward_pass] = buffer = _zeros(*like.shape)
        return buffer, False

    def take(self) -> Tensor | None:
        """The sum of this backward pass and of those inside it, which is not kept; None where there is none."""
        current = current_backward_pass()  # passes before this one have lower numbers
        buffers = [buffer for backward_pass, buffer in self._buffers.items() if backward_pass >= current]
        self._buffers.clear()
        for buffer in buffers[1:]:
            buffers[0] += buffer
        return buffers[0] if buffers else None


def share_gradient(x: Tensor) -> Tensor:
    """The same tensor, whose gradient all kernels add up in one buffer; as it is where no kernel would use it."""
    if not (x.requires_grad and torch.is_grad_enabled()):
        return x
    if not _suits("read_tokens", x, num_values=x.numel(), num_channels=x.shape[-1], num_queries=1):
        return x
    gradient = SharedGradient()
    shared = _Share.apply(x, gradient)
    assert isinstance(shared, Tensor)
    shared._shared_gradient = gradient  # type: ignore[attr-defined]
    return shared


def _shared_gradient(x: Tensor) -> SharedGradient | None:
    return getattr(x, "_shared_gradient", None)


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


# --------------------------------------------------------------------------------------------------- embed and attend


_ATTEND_TENSORS = ("x", "positions", "weight", "bias", "queries", "key_mask", "visible")


class _AttendArguments(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("batch", "groups", "slots", "num_visible")],
        *[(name, ctypes.c_int64) for name in ("raw", "channels", "num_queries")],
        *[(name, ctypes.c_int64) for name in ("shares_positions", "shares_key_mask", "adds")],
        *[(name, ctypes.c_void_p) for name in _ATTEND_TENSORS],
    ]


def attend_to_embedded(
    x: Tensor,
    positions: Tensor,
    weight: Tensor,
    bias: Tensor,
    queries: Tensor,
    key_mask: Tensor | None,
    visible: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Embed tokens, add positions, normalise, and take the mean that each query attends to.

    Args:
        x: raw tokens (B, g, P, C); they get no gradient.
        positions: (1 or B, g, P, E).
        weight: of the embedding (E, C).
        bias: of the embedding (E,).
        queries: scaled, in the space of the normalised tokens: (B, g, N, E).
        key_mask: bool (1 or B, g, P), True = no query attends to it.
        visible: int64 (B, g, K), the slots that are visible at all, -1 = none. None: all.

    Returns:
        Weighted means of the normalised tokens (B, g, N, E), and each softmax's logsumexp (B, g, N), -inf where
        a query has no key (the mean is then zero).
    """
    gradient = _shared_gradient(positions)
    results = _Attend.apply(gradient, x, positions, weight, bias, queries, key_mask, visible)
    assert isinstance(results, tuple)
    return results


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: SharedGradient | None, *tensors: Tensor | None) -> tuple[Tensor, Tensor]:
        attended, logsumexp = torch.ops.hiperceiver.embed_and_attend(*tensors)
        ctx.gradient = gradient
        ctx.save_for_backward(*tensors, attended, logsumexp)
        ctx.mark_non_differentiable(logsumexp)
        return attended, logsumexp

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, attended, logsumexp = ctx.saved_tensors
        shared = ctx.gradient or SharedGradient()
        buffer, adds = None, False
        if ctx.needs_input_grad[2]:
            buffer, adds = shared.buffer(tensors[1])
        by_queries, by_weight, by_bias = torch.ops.hiperceiver.embed_and_attend_backward(
            *tensors, attended, logsumexp, gradients[0], buffer, adds
        )
        return None, None, None if ctx.gradient else shared.take(), by_weight, by_bias, by_queries, None, None


_ATTEND_SCHEMA = f"{', '.join(f'Tensor {name}' for name in _ATTEND_TENSORS[:5])}, Tensor? key_mask, Tensor? visible"


@torch.library.custom_op(
    "hiperceiver::embed_and_attend",
    mutates_args=(),
    device_types="cpu",
    schema=f"({_ATTEND_SCHEMA}) -> (Tensor, Tensor)",
)
def _attend(*tensors: Any) -> tuple[Tensor, Tensor]:
    arguments, kept = _attend_arguments(*tensors)
    queries = kept["queries"]
    attended, logsumexp = torch.empty_like(queries), queries.new_empty(queries.shape[:3])
    run_kernel("embed_and_attend", arguments, arguments.groups, [[attended], [logsumexp]])
    return attended, logsumexp


@torch.library.custom_op(
    "hiperceiver::embed_and_attend_backward",
    mutates_args=("by_positions",),
    device_types="cpu",
    schema=f"({_ATTEND_SCHEMA}, Tensor attended, Tensor logsumexp, Tensor gradient, Tensor(a!)? by_positions, "
    "bool adds) -> (Tensor, Tensor, Tensor)",
)
def _attend_backward(*values: Any) -> tuple[Tensor, Tensor, Tensor]:
    *tensors, attended, logsumexp, gradient, by_positions, adds = values
    arguments, kept = _attend_arguments(*tensors)
    arguments.adds = adds
    by_queries = torch.zeros_like(kept["queries"])
    by_weights = one_for_each_thread(arguments.groups, kept["weight"], kept["bias"])
    outputs = [[attended], [logsumexp], [gradient.contiguous()], [by_positions], [by_queries], *by_weights]
    run_kernel("embed_and_attend_backward", arguments, arguments.groups, outputs)
    by_weight, by_bias = add_up(by_weights)
    return by_queries, by_weight, by_bias


def _attend_arguments(*tensors: Tensor | None) -> tuple[_AttendArguments, dict[str, Tensor]]:
    """What a kernel reads, and the tensors that it reads it from, which must live as long."""
    named = zip(_ATTEND_TENSORS, tensors, strict=True)
    kept = {name: tensor.contiguous() for name, tensor in named if tensor is not None}
    x, positions, queries = kept["x"], kept["positions"], kept["queries"]
    key_mask, visible = kept.get("key_mask"), kept.get("visible")
    batch, groups, slots, raw = x.shape
    arguments = _AttendArguments(
        batch=batch,
        groups=groups,
        slots=slots,
        num_visible=slots if visible is None else visible.shape[2],
        raw=raw,
        channels=positions.shape[3],
        num_queries=queries.shape[2],
        shares_positions=positions.shape[0] == 1,
        shares_key_mask=key_mask is not None and key_mask.shape[0] == 1,
        **{name: tensor.data_ptr() for name, tensor in kept.items()},
    )
    return arguments, kept


# -------------------------------------------------------------------------------------------------------- read tokens


_READ_TENSORS = (
    "positions",
    "keys",
    "constants",
    "values",
    "attention_bias",
    "mlp_weight",
    "mlp_bias",
    "head_weight",
    "head_mlp_weight",
    "out_bias",
)


class _ReadArguments(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("batch", "groups", "slots", "num_read", "channels", "latents", "out")],
        *[(name, ctypes.c_int64) for name in ("shares_positions", "shares_read_slots", "adds")],
        *[(name, ctypes.c_void_p) for name in ("read_slots", *_READ_TENSORS)],
    ]


def read(
    positions: Tensor,
    keys: Tensor,
    constants: Tensor,
    values: Tensor,
    attention_bias: Tensor,
    mlp_weight: Tensor,
    mlp_bias: Tensor,
    head_weight: Tensor,
    head_mlp_weight: Tensor,
    out_bias: Tensor,
    slots: Tensor | None = None,
) -> Tensor:
    """Let each position attend to its group's latents, feed forward, and apply the head.

    With r a normalised position, and n(x) = x normalised over its channels,
        x = attention_bias + softmax(keys r + constants) values,
        result = head_weight x + head_mlp_weight squared_relu(mlp_weight n(x) + mlp_bias) + out_bias.

    Args:
        positions: (1 or B, g, P, E).
        keys: (B, g, N, E).
        constants: (B, g, N).
        values: (B, g, N, E).
        attention_bias: (E,).
        mlp_weight: (E, E).
        mlp_bias: (E,).
        head_weight: (R, E).
        head_mlp_weight: (R, E).
        out_bias: (R,).
        slots: int64 (B, 1 or g, W), the slots that are read, each once; with 1, the same in all groups. None: all P.

    Returns:
        (B, g, P or W, R).
    """
    weights = (attention_bias, mlp_weight, mlp_bias, head_weight, head_mlp_weight, out_bias)
    result = _Read.apply(_shared_gradient(positions), slots, positions, keys, constants, values, *weights)
    assert isinstance(result, Tensor)
    return result


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: SharedGradient | None, slots: Tensor | None, *tensors: Tensor) -> Tensor:
        ctx.gradient = gradient
        ctx.save_for_backward(slots, *tensors)
        return torch.ops.hiperceiver.read_tokens(*tensors, slots)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        slots, *tensors = ctx.saved_tensors
        shared = ctx.gradient or SharedGradient()
        buffer, adds = None, False
        if ctx.needs_input_grad[2]:
            buffer, adds = shared.buffer(tensors[0])
        others = torch.ops.hiperceiver.read_tokens_backward(*tensors, slots, gradients[0], buffer, adds)
        return None, None, None if ctx.gradient else shared.take(), *others


_READ_SCHEMA = f"{', '.join(f'Tensor {name}' for name in _READ_TENSORS)}, Tensor? slots"


@torch.library.custom_op(
    "hiperceiver::read_tokens", mutates_args=(), device_types="cpu", schema=f"({_READ_SCHEMA}) -> Tensor"
)
def _read(*values: Any) -> Tensor:
    *tensors, slots = values
    arguments, kept = _read_arguments(slots, *tensors)
    keys, head_weight = kept["keys"], kept["head_weight"]
    result = keys.new_empty(*keys.shape[:2], arguments.num_read, head_weight.shape[0])
    run_kernel("read_tokens", arguments, keys.shape[1], [[result]])
    return result


_NINE_TENSORS = ", ".join(["Tensor"] * (len(_READ_TENSORS) - 1))


@torch.library.custom_op(
    "hiperceiver::read_tokens_backward",
    mutates_args=("by_positions",),
    device_types="cpu",
    schema=f"({_READ_SCHEMA}, Tensor gradient, Tensor(a!)? by_positions, bool adds) -> ({_NINE_TENSORS})",
)
def _read_backward(*values: Any) -> tuple[Tensor, ...]:
    *tensors, slots, gradient, by_positions, adds = values
    keys = tensors[1]
    arguments, kept = _read_arguments(slots, *tensors)
    arguments.adds = adds
    own = [torch.zeros_like(kept[name]) for name in ("keys", "constants", "values")]
    shared = one_for_each_thread(keys.shape[1], *tensors[4:])
    outputs = [[gradient.contiguous()], [by_positions], *[[each] for each in own], *shared]
    run_kernel("read_tokens_backward", arguments, keys.shape[1], outputs)
    return *own, *add_up(shared)


def _read_arguments(slots: Tensor | None, *tensors: Tensor) -> tuple[_ReadArguments, dict[str, Tensor]]:
    kept = dict(zip(_READ_TENSORS, tensors, strict=True)) | ({} if slots is None else {"read_slots": slots})
    kept = {name: tensor.contiguous() for name, tensor in kept.items()}
    positions, keys = kept["positions"], kept["keys"]
    arguments = _ReadArguments(
        batch=keys.shape[0],
        groups=keys.shape[1],
        slots=positions.shape[2],
        num_read=positions.shape[2] if slots is None else slots.shape[2],
        channels=keys.shape[3],
        latents=keys.shape[2],
        out=kept["head_weight"].shape[0],
        shares_positions=positions.shape[0] == 1,
        shares_read_slots=slots is not None and slots.shape[1] == 1,
        **{name: tensor.data_ptr() for name, tensor in kept.items()},
    )
    return arguments, kept


# ---------------------------------------------------------------------------------------------------------- operations


@register_flop_formula(torch.ops.hiperceiver.embed_and_attend)
def _attend_flops(*shapes: torch.Size | None, out_shape: Any = None, **_: Any) -> int:
    return _attend_products(shapes, embedding=1, attention=2)


@register_flop_formula(torch.ops.hiperceiver.embed_and_attend_backward)
def _attend_backward_flops(*shapes: torch.Size | None, out_shape: Any = None, **_: Any) -> int:
    return _attend_products(shapes, embedding=2, attention=5)


def _attend_products(shapes: Sequence[torch.Size | None], *, embedding: int, attention: int) -> int:
    x, _, _, _, queries, _, visible = shapes[:7]
    assert x is not None and queries is not None
    batch, groups, slots, raw = x
    num_tokens = batch * groups * (slots if visible is None else visible[2])
    return 2 * num_tokens * queries[3] * (embedding * raw + attention * queries[2])


@register_flop_formula(torch.ops.hiperceiver.read_tokens)
def _read_flops(*shapes: torch.Size | None, out_shape: Any = None, **_: Any) -> int:
    return _read_products(shapes, attention=2, hidden=1, out=2)


@register_flop_formula(torch.ops.hiperceiver.read_tokens_backward)
def _read_backward_flops(*shapes: torch.Size | None, out_shape: Any = None, **_: Any) -> int:
    return _read_products(shapes, attention=6, hidden=3, out=4)


def _read_products(shapes: Sequence[Any], *, attention: int, hidden: int, out: int) -> int:
    positions, (batch, groups, latents, channels), head_weight, read_slots = shapes[0], shapes[1], shapes[7], shapes[10]
    num_tokens = batch * groups * (positions if read_slots is None else read_slots)[2]
    return 2 * num_tokens * channels * (attention * latents + hidden * channels + out * head_weight[0])
