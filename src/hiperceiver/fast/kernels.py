"""The work at every token as one pass over the memory: kernels in C for float32 on the CPU, autocast or not.

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
from collections.abc import Mapping
from functools import partial
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
    """Embed tokens, add positions, and let queries (1 or B, g, N, D) cross-attend to their group's: (B, g, N, D).

    The tokens and masks are those of `hiperceiver.model.tokens.TokenGroups`. None where the kernel does not fit or does
    not pay.
    """
    batch, groups, slots, raw_channels = x.shape
    num_values = batch * groups * (slots if visible is None else visible.shape[2]) * positions.shape[3]
    if not (
        isinstance(embedding, nn.Linear)
        and zero_mask is None
        and not x.requires_grad
        and _suits(
            "embed_and_attend",
            x,
            num_values=num_values,
            num_channels=max(positions.shape[3], raw_channels),
            num_queries=layer.num_heads * queries.shape[2],
        )
    ):
        return None
    with torch.autocast("cpu", enabled=False):
        absorbed = (absorb_keys(layer, queries.float()) * layer.scale).expand(batch, -1, -1, -1)
        attended, logsumexp = attend_to_embedded(
            x, positions.float(), embedding.weight, embedding.bias, absorbed, key_mask, visible
        )
        attended = project_values(layer, attended, logsumexp.isinf())
    return layer.finish(queries, attended)


def read_tokens(
    layer: CrossAttentionLayer, head: nn.Module, latents: Tensor, positions: Tensor, slots: Tensor | None
) -> Tensor | None:
    """Cross-attend from positions (1 or B, g, P, E) to their group's latents (B, g, N, D), and apply a linear head.

    Of some slots, int64 (B, g or 1, W), each once, or of all: (B, g, W or P, R). None where the kernel does not fit or
    does not pay.
    """
    batch, groups, num_latents = latents.shape[:3]
    num_slots, channels = positions.shape[2:] if slots is None else (slots.shape[2], positions.shape[3])
    if not (
        isinstance(head, nn.Linear)
        and layer.feed_forward.activation_name == "squared_relu"
        and _suits(
            "read_tokens",
            layer.query.weight,
            num_values=batch * groups * num_slots * channels,
            num_channels=max(channels, head.out_features),
            num_queries=num_latents,
        )
    ):
        return None
    # The last layers are linear in what was read, x, and in the feed-forward's hidden layer h:
    #     head (x + W h + b) = (head x) + (head W) h + head b.
    norm, hidden, output = layer.feed_forward_norm, layer.feed_forward.hidden, layer.feed_forward.output
    with torch.autocast("cpu", enabled=False):
        keys, constants, values = absorb_queries(layer, latents.float())
        return read(
            positions.float(),
            keys * layer.scale,
            constants * layer.scale,
            values,
            layer.output.bias,
            hidden.weight * norm.weight,
            hidden(norm.bias),
            head.weight,
            head.weight @ output.weight,
            head(output.bias),
            slots=slots,
        )


def _suits(kernel: str, like: Tensor, *, num_values: int, num_channels: int, num_queries: int) -> bool:
    """Whether a kernel computes this, and is worth it.

    `like` has the type and the device of the layer's tensors outside of autocast. `num_values` are those of an
    activation, B g K E; `num_queries` the queries or latents of a group, of all heads.
    """
    return (
        is_on()
        and num_values >= _FEWEST_VALUES[kernel]
        and num_channels <= _MOST_CHANNELS
        and num_queries <= _MOST_QUERIES
        and not torch.compiler.is_compiling()
        and like.device.type == "cpu"
        and like.dtype == torch.float32
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
        """The running backward pass's buffer, at first zeros, and whether another kernel has written to it."""
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
    is_learned = x.requires_grad and torch.is_grad_enabled()
    if not (is_learned and _suits("read_tokens", x, num_values=x.numel(), num_channels=x.shape[-1], num_queries=1)):
        return x
    gradient = SharedGradient()
    shared: Any = _Share.apply(x, gradient)
    shared._shared_gradient = gradient
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


# ----------------------------------------------------------------------------------------------------------- operators


class _Kernel(torch.autograd.Function):
    """An operator whose gradient by its first tensor, the positions, is added up in the buffer that all share.

    Its backward operator gets the tensors, the results where there are several, and the gradient by the first result.
    """

    @staticmethod
    def forward(ctx: Any, name: str, gradient: SharedGradient | None, *tensors: Tensor | None) -> Any:
        results = getattr(torch.ops.hiperceiver, name)(*tensors)
        kept = results if isinstance(results, tuple) else ()
        ctx.name, ctx.gradient = name, gradient
        ctx.save_for_backward(*tensors, *kept)
        ctx.mark_non_differentiable(*kept[1:])
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        tensors, (_, _, by_positions, *others) = ctx.saved_tensors, ctx.needs_input_grad
        shared = ctx.gradient or SharedGradient()
        buffer, adds = shared.buffer(tensors[0]) if by_positions else (None, False)
        results = getattr(torch.ops.hiperceiver, f"{ctx.name}_backward")(*tensors, gradients[0], buffer, adds)
        without_gradient = [None] * (len(others) - len(results))
        return None, None, None if ctx.gradient else shared.take(), *results, *without_gradient


class _Arguments(ctypes.Structure):
    """What a kernel reads: a structure of `kernels.c`, and the tensors that it points into."""

    def __init__(self, tensors: Mapping[str, Tensor | None], **numbers: int):
        self.tensors = {name: x.contiguous() for name, x in tensors.items() if x is not None}
        super().__init__(**numbers, **{name: x.data_ptr() for name, x in self.tensors.items()})


def _fields(numbers: str, pointers: str) -> list[tuple[str, type]]:
    return [(name, ctypes.c_int64) for name in numbers.split()] + [(name, ctypes.c_void_p) for name in pointers.split()]


_operator = partial(torch.library.custom_op, device_types="cpu")
_GRADIENT = "Tensor gradient, Tensor(a!)? by_positions, bool adds"

# --------------------------------------------------------------------------------------------------- embed and attend


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

    Of raw tokens x (B, g, P, C), which get no gradient, positions (1 or B, g, P, E), the embedding's weight (E, C) and
    bias (E,), queries (B, g, N, E) that are scaled and in the space of the normalised tokens, and masks as in
    `embed_and_attend`. Gives weighted means of the normalised tokens (B, g, N, E), and each softmax's logsumexp
    (B, g, N), -inf where a query has no key (the mean is then zero).
    """
    tensors = (positions, weight, bias, queries, x, key_mask, visible)
    return _Kernel.apply("embed_and_attend", _shared_gradient(positions), *tensors)  # type: ignore[return-value]


class _AttendArguments(_Arguments):
    _fields_ = _fields(
        "batch groups slots num_visible raw channels num_queries shares_positions shares_key_mask adds",
        "x positions weight bias queries key_mask visible",
    )

    def __init__(self, *tensors: Any, adds: bool = False):
        names = ("positions", "weight", "bias", "queries", "x", "key_mask", "visible")
        positions, _, _, queries, x, key_mask, visible = tensors
        batch, groups, slots, raw = x.shape
        super().__init__(
            dict(zip(names, tensors, strict=True)),
            batch=batch,
            groups=groups,
            slots=slots,
            num_visible=slots if visible is None else visible.shape[2],
            raw=raw,
            channels=positions.shape[3],
            num_queries=queries.shape[2],
            shares_positions=positions.shape[0] == 1,
            shares_key_mask=key_mask is not None and key_mask.shape[0] == 1,
            adds=adds,
        )


_ATTEND = "Tensor positions, Tensor weight, Tensor bias, Tensor queries, Tensor x, Tensor? key_mask, Tensor? visible"


@_operator("hiperceiver::embed_and_attend", mutates_args=(), schema=f"({_ATTEND}) -> (Tensor, Tensor)")
def _attend(*tensors: Any) -> tuple[Tensor, Tensor]:
    arguments = _AttendArguments(*tensors)
    queries = arguments.tensors["queries"]
    attended, logsumexp = torch.empty_like(queries), queries.new_empty(queries.shape[:3])
    run_kernel("embed_and_attend", arguments, arguments.groups, [[attended], [logsumexp]])
    return attended, logsumexp


@_operator(
    "hiperceiver::embed_and_attend_backward",
    mutates_args=("by_positions",),
    schema=f"({_ATTEND}, Tensor attended, Tensor logsumexp, {_GRADIENT}) -> (Tensor, Tensor, Tensor)",
)
def _attend_backward(*values: Any) -> tuple[Tensor, ...]:
    *tensors, attended, logsumexp, gradient, by_positions, adds = values
    arguments = _AttendArguments(*tensors, adds=adds)
    by_queries = torch.zeros_like(arguments.tensors["queries"])
    by_weights = one_for_each_thread(arguments.groups, arguments.tensors["weight"], arguments.tensors["bias"])
    outputs = [[attended], [logsumexp], [gradient.contiguous()], [by_positions], [by_queries], *by_weights]
    run_kernel("embed_and_attend_backward", arguments, arguments.groups, outputs)
    return *add_up(by_weights), by_queries


# -------------------------------------------------------------------------------------------------------- read tokens


def read(positions: Tensor, *absorbed: Tensor, slots: Tensor | None = None) -> Tensor:
    """Let each position attend to its group's latents, feed forward, and apply the head.

    With r a normalised position, and n(x) = x normalised over its channels,
        x = attention_bias + softmax(keys r + constants) values,
        result = head_weight x + head_mlp_weight squared_relu(mlp_weight n(x) + mlp_bias) + out_bias.

    Args:
        positions: (1 or B, g, P, E).
        absorbed: keys (B, g, N, E), constants (B, g, N), values (B, g, N, E), attention_bias (E,), mlp_weight (E, E),
            mlp_bias (E,), head_weight (R, E), head_mlp_weight (R, E), out_bias (R,).
        slots: as in `read_tokens`, whose shape the result has.
    """
    tensors = (positions, *absorbed, slots)
    return _Kernel.apply("read_tokens", _shared_gradient(positions), *tensors)  # type: ignore[return-value]


_READ_TENSORS = (
    "positions keys constants values attention_bias mlp_weight mlp_bias head_weight head_mlp_weight out_bias"
)
_READ = ", ".join(f"Tensor {name}" for name in _READ_TENSORS.split()) + ", Tensor? slots"


class _ReadArguments(_Arguments):
    _fields_ = _fields(
        "batch groups slots num_read channels latents out shares_positions shares_read_slots adds",
        f"read_slots {_READ_TENSORS}",
    )

    def __init__(self, *tensors: Any, adds: bool = False):
        named = dict(zip([*_READ_TENSORS.split(), "read_slots"], tensors, strict=True))
        positions, keys, slots = tensors[0], tensors[1], tensors[-1]
        super().__init__(
            named,
            batch=keys.shape[0],
            groups=keys.shape[1],
            slots=positions.shape[2],
            num_read=positions.shape[2] if slots is None else slots.shape[2],
            channels=keys.shape[3],
            latents=keys.shape[2],
            out=named["head_weight"].shape[0],
            shares_positions=positions.shape[0] == 1,
            shares_read_slots=slots is not None and slots.shape[1] == 1,
            adds=adds,
        )


@_operator("hiperceiver::read_tokens", mutates_args=(), schema=f"({_READ}) -> Tensor")
def _read(*tensors: Any) -> Tensor:
    arguments = _ReadArguments(*tensors)
    shape = (arguments.batch, arguments.groups, arguments.num_read, arguments.out)
    result = arguments.tensors["keys"].new_empty(shape)
    run_kernel("read_tokens", arguments, arguments.groups, [[result]])
    return result


@_operator(
    "hiperceiver::read_tokens_backward",
    mutates_args=("by_positions",),
    schema=f"({_READ}, {_GRADIENT}) -> ({', '.join(['Tensor'] * 9)})",
)
def _read_backward(*values: Any) -> tuple[Tensor, ...]:
    *tensors, gradient, by_positions, adds = values
    arguments = _ReadArguments(*tensors, adds=adds)
    by_latents = [torch.zeros_like(arguments.tensors[name]) for name in ("keys", "constants", "values")]
    by_weights = one_for_each_thread(arguments.groups, *(arguments.tensors[n] for n in _READ_TENSORS.split()[4:]))
    outputs = [[gradient.contiguous()], [by_positions], *[[each] for each in by_latents], *by_weights]
    run_kernel("read_tokens_backward", arguments, arguments.groups, outputs)
    return *by_latents, *add_up(by_weights)


# ------------------------------------------------------------------------------------------- floating-point operations


def _attend_flops(*shapes: Any, embedding: int, attention: int, **_: Any) -> int:
    queries, (batch, groups, slots, raw), _, visible = shapes[3:7]
    num_tokens = batch * groups * (slots if visible is None else visible[2])
    return 2 * num_tokens * queries[3] * (embedding * raw + attention * queries[2])


def _read_flops(*shapes: Any, attention: int, hidden: int, out: int, **_: Any) -> int:
    positions, (batch, groups, latents, channels), head_weight, read_slots = shapes[0], shapes[1], shapes[7], shapes[10]
    num_tokens = batch * groups * (positions if read_slots is None else read_slots)[2]
    return 2 * num_tokens * channels * (attention * latents + hidden * channels + out * head_weight[0])


for operator, flops in {
    "embed_and_attend": partial(_attend_flops, embedding=1, attention=2),
    "embed_and_attend_backward": partial(_attend_flops, embedding=2, attention=5),
    "read_tokens": partial(_read_flops, attention=2, hidden=1, out=2),
    "read_tokens_backward": partial(_read_flops, attention=6, hidden=3, out=4),
}.items():
    register_flop_formula(getattr(torch.ops.hiperceiver, operator))(flops)
