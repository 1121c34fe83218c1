"""The work at every token as one pass over the memory: kernels in C for float32 on the CPU, beside the plain path.

PyTorch's own operations on a few channels pass over the memory about thirty times at each token. `fused.c` does the
same in tiles that stay in the cache, and keeps nothing for the backward pass but its arguments. It is compiled when
first needed, in about two seconds, by the C compiler that is found ($CC, cc, gcc or clang), and kept in the user's
cache folder. Where there is no compiler, or HIPERCEIVER_FUSED=0 is set, PyTorch computes the same, more slowly.

Shapes: B batch, g groups of a modality, P places in a group, K visible places in a group, C raw channels, E embedding
channels, N latents, R channels of a result.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

_SOURCE = Path(__file__).with_name("fused.c")
_FLAGS = ("-O3", "-std=c11", "-fPIC", "-shared", "-fno-math-errno", "-ffp-contract=fast")
_MOST_CHANNELS = 128
_MOST_QUERIES = 1024
_FEWEST_VALUES = {"look": 2**18, "read": 2**17}
"""Values of an activation, B g P E, below which PyTorch's own operations are about as quick, by kernel."""


@cache
def kernels() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be had."""
    if os.environ.get("HIPERCEIVER_FUSED", "1") == "0":
        return None
    for compiler in filter(None, map(shutil.which, [os.environ.get("CC", "cc"), "gcc", "clang"])):
        for native in ("-march=native", "-mcpu=native"):
            try:
                return ctypes.CDLL(str(_compiled(compiler, native)))
            except (OSError, subprocess.SubprocessError):
                continue
    return None


def _compiled(compiler: str, native: str) -> Path:
    """The shared library, made unless it is there already."""
    key = hashlib.sha256(_SOURCE.read_bytes())
    key.update(" ".join([compiler, *_FLAGS, native, platform.machine(), _cpu_features()]).encode())
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hiperceiver"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:  # read-only or full
        folder = Path(tempfile.mkdtemp(prefix="hiperceiver-"))
    library = folder / f"fused-{key.hexdigest()[:16]}.so"
    if not library.exists():
        part = library.with_suffix(f".{os.getpid()}.part")
        command = [compiler, *_FLAGS, native, str(_SOURCE), "-o", str(part), "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        part.replace(library)  # another process may do the same at the same time
    return library


def _cpu_features() -> str:
    """What tells processors apart that share a home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


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


# --------------------------------------------------------------------------------------------------------------- look


class _Look(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("batch", "groups", "places", "seen", "raw", "channels", "queries")],
        *[(name, ctypes.c_int64) for name in ("shares_positions", "shares_absent")],
        *[(name, ctypes.c_void_p) for name in ("x", "positions", "weight", "bias", "asked", "absent", "visible")],
    ]


@torch.library.custom_op("hiperceiver::look", mutates_args=(), device_types="cpu")
def look(
    x: Tensor,
    positions: Tensor,
    weight: Tensor,
    bias: Tensor,
    asked: Tensor,
    absent: Tensor | None,
    visible: Tensor | None,
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

    Returns:
        Weighted means of the normalised tokens (B, g, N, E), and the logarithm of each softmax's sum (B, g, N), -inf
        where there was nothing to see (the mean is then zero).
    """
    arguments, kept = _look_arguments(x, positions, weight, bias, asked, absent, visible)
    seen, logs = torch.empty_like(kept["asked"]), asked.new_empty(asked.shape[:3])
    _in_threads("look", arguments, x.shape[1], [[seen], [logs]])
    return seen, logs


@torch.library.custom_op("hiperceiver::look_backward", mutates_args=(), device_types="cpu")
def _look_backward(
    x: Tensor,
    positions: Tensor,
    weight: Tensor,
    bias: Tensor,
    asked: Tensor,
    absent: Tensor | None,
    visible: Tensor | None,
    seen: Tensor,
    logs: Tensor,
    gradient: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    arguments, kept = _look_arguments(x, positions, weight, bias, asked, absent, visible)
    make = torch.empty_like if visible is None else torch.zeros_like
    by_positions, by_asked = make(kept["positions"]), torch.zeros_like(kept["asked"])
    by_weights = _shares(x.shape[1], weight, bias)
    outputs = [[seen], [logs], [gradient.contiguous()], [by_positions], [by_asked], *by_weights]
    _in_threads("look_backward", arguments, x.shape[1], outputs)
    by_weight, by_bias = _sums(by_weights)
    return by_positions, by_asked, by_weight, by_bias


def _look_arguments(
    x: Tensor,
    positions: Tensor,
    weight: Tensor,
    bias: Tensor,
    asked: Tensor,
    absent: Tensor | None,
    visible: Tensor | None,
) -> tuple[_Look, dict[str, Tensor]]:
    tensors = {"x": x, "positions": positions, "weight": weight, "bias": bias, "asked": asked}
    tensors |= {"absent": absent} if absent is not None else {}
    tensors |= {"visible": visible} if visible is not None else {}
    kept = {name: tensor.contiguous() for name, tensor in tensors.items()}
    batch, groups, places, raw = x.shape
    arguments = _Look(
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


def _keep_look(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, *output)
    ctx.mark_non_differentiable(output[1])


def _differentiate_look(ctx: Any, gradient: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    by_positions, by_asked, by_weight, by_bias = _look_backward(*ctx.saved_tensors, gradient)
    return None, by_positions, by_weight, by_bias, by_asked, None, None


look.register_autograd(_differentiate_look, setup_context=_keep_look)


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


class _Read(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("batch", "groups", "places", "channels", "latents", "out")],
        ("shares_positions", ctypes.c_int64),
        *[(name, ctypes.c_void_p) for name in _READ_TENSORS],
    ]


@torch.library.custom_op("hiperceiver::read", mutates_args=(), device_types="cpu")
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

    Returns:
        (B, g, P, R).
    """
    arguments, kept = _read_arguments(
        positions, keys, constants, values, offset, hidden, hidden_bias, direct, fed, out_bias
    )
    result = positions.new_empty(*keys.shape[:2], positions.shape[2], direct.shape[0])
    _in_threads("read_out", arguments, keys.shape[1], [[result]])
    del kept  # not before: the kernel has read it by its address
    return result


_TEN_TENSORS = ", ".join(["Tensor"] * len(_READ_TENSORS))


@torch.library.custom_op(
    "hiperceiver::read_backward",
    mutates_args=(),
    device_types="cpu",
    schema=f"({', '.join(f'Tensor {name}' for name in _READ_TENSORS)}, Tensor gradient) -> ({_TEN_TENSORS})",
)
def _read_backward(*tensors_and_gradient: Tensor) -> tuple[Tensor, ...]:
    *tensors, gradient = tensors_and_gradient
    keys = tensors[1]
    arguments, kept = _read_arguments(*tensors)
    own = [torch.empty_like(kept["positions"])]
    own += [torch.zeros_like(kept[name]) for name in ("keys", "constants", "values")]
    shared = _shares(keys.shape[1], *tensors[4:])
    outputs = [[gradient.contiguous()], *[[each] for each in own], *shared]
    _in_threads("read_out_backward", arguments, keys.shape[1], outputs)
    return *own, *_sums(shared)


def _read_arguments(*tensors: Tensor) -> tuple[_Read, dict[str, Tensor]]:
    kept = {name: tensor.contiguous() for name, tensor in zip(_READ_TENSORS, tensors, strict=True)}
    positions, keys = kept["positions"], kept["keys"]
    arguments = _Read(
        batch=keys.shape[0],
        groups=keys.shape[1],
        places=positions.shape[2],
        channels=keys.shape[3],
        latents=keys.shape[2],
        out=kept["direct"].shape[0],
        shares_positions=positions.shape[0] == 1,
        **{name: tensor.data_ptr() for name, tensor in kept.items()},
    )
    return arguments, kept


def _keep_read(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate_read(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
    return _read_backward(*ctx.saved_tensors, gradient)


read.register_autograd(_differentiate_read, setup_context=_keep_read)


# ------------------------------------------------------------------------------------------------------------ threads


def _num_threads(num_groups: int) -> int:
    return min(torch.get_num_threads(), num_groups)


@cache
def _pool(num_threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process: a fork has none of its parent's."""
    return ThreadPoolExecutor(num_threads, thread_name_prefix="hiperceiver")


def _in_threads(name: str, arguments: ctypes.Structure, num_groups: int, outputs: Sequence[Sequence[Tensor]]) -> None:
    """Call a kernel for all groups, some in each thread.

    Args:
        name: of the kernel, called with (arguments, first group, last group, *pointers).
        arguments: what it reads.
        num_groups: g.
        outputs: for each further pointer one tensor, or one for each thread.
    """
    library = kernels()
    assert library is not None
    kernel: Callable[..., int] = library[name]
    threads = _num_threads(num_groups)
    bounds = [num_groups * i // threads for i in range(threads + 1)]

    def run(i: int) -> int:
        pointers = [ctypes.c_void_p(each[i if len(each) > 1 else 0].data_ptr()) for each in outputs]
        return kernel(ctypes.byref(arguments), ctypes.c_int64(bounds[i]), ctypes.c_int64(bounds[i + 1]), *pointers)

    failures = [run(0)] if threads == 1 else list(_pool(threads, os.getpid()).map(run, range(threads)))
    if any(failures):
        raise MemoryError(f"hiperceiver.model.fused: no memory for the tiles of {name}")


def _shares(num_groups: int, *weights: Tensor) -> list[list[Tensor]]:
    """Zeros like each weight, for each thread to add its groups' gradients to."""
    return [[torch.zeros_like(weight) for _ in range(_num_threads(num_groups))] for weight in weights]


def _sums(shares: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    return [torch.stack(list(each)).sum(0) for each in shares]


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
def _read_flops(*shapes: torch.Size, out_shape: Any = None, **_: Any) -> int:
    return _read_products(shapes, attention=2, hidden=1, out=2)


@register_flop_formula(torch.ops.hiperceiver.read_backward)
def _read_backward_flops(*shapes: torch.Size, out_shape: Any = None, **_: Any) -> int:
    return _read_products(shapes, attention=6, hidden=3, out=4)


def _read_products(shapes: Sequence[torch.Size], *, attention: int, hidden: int, out: int) -> int:
    positions, (batch, groups, latents, channels), direct = shapes[0], shapes[1], shapes[7]
    num_tokens = batch * groups * positions[2]
    return 2 * num_tokens * channels * (attention * latents + hidden * channels + out * direct[0])
