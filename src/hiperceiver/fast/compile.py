"""The C kernels: compiled where they run, and called in threads.

They are compiled when first needed, in about two seconds, by the C compiler that is found ($CC, cc, gcc or clang), and
kept in the user's cache folder.
"""

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

import torch
from torch import Tensor

_SOURCE = Path(__file__).with_name("kernels.c")
_FLAGS = ("-O3", "-std=c11", "-fPIC", "-shared", "-fno-math-errno", "-ffp-contract=fast")


@cache
def kernels() -> ctypes.CDLL | None:
    """The compiled kernels, or None if they cannot be compiled or HIPERCEIVER_FUSED=0 is set."""
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
    library = folder / f"kernels-{key.hexdigest()[:16]}.so"
    if not library.exists():
        part = library.with_suffix(f".{os.getpid()}.part")
        command = [compiler, *_FLAGS, native, str(_SOURCE), "-o", str(part), "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        part.replace(library)  # another process may do the same at the same time
    return library


def _cpu_features() -> str:
    """The processor's instruction sets, which differ between machines that share a home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = [line for line in lines if line.startswith(("flags", "Features"))]
    return features[0] if features else platform.processor()


def _num_threads(num_groups: int) -> int:
    return min(torch.get_num_threads(), num_groups)


@cache
def _pool(num_threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process: a fork has none of its parent's."""
    return ThreadPoolExecutor(num_threads, thread_name_prefix="hiperceiver")


def run_kernel(
    name: str, arguments: ctypes.Structure, num_groups: int, outputs: Sequence[Sequence[Tensor | None]]
) -> None:
    """Call a kernel, with (arguments, first group, last group, *pointers), for some groups in each thread.

    `outputs` are, for each pointer, one tensor or one for each thread; None is a null pointer.
    """
    library = kernels()
    assert library is not None
    kernel: Callable[..., int] = library[name]
    threads = _num_threads(num_groups)
    bounds = [num_groups * i // threads for i in range(threads + 1)]

    def run(i: int) -> int:
        tensors = [each[i if len(each) > 1 else 0] for each in outputs]
        pointers = [ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in tensors]
        return kernel(ctypes.byref(arguments), ctypes.c_int64(bounds[i]), ctypes.c_int64(bounds[i + 1]), *pointers)

    failures = [run(0)] if threads == 1 else list(_pool(threads, os.getpid()).map(run, range(threads)))
    if any(failures):
        raise MemoryError(f"hiperceiver.fast: no memory for the tiles of {name}")


def one_for_each_thread(num_groups: int, *weights: Tensor) -> list[list[Tensor]]:
    """Zeros like each weight, for each thread to add its groups' gradients to."""
    return [[torch.zeros_like(weight) for _ in range(_num_threads(num_groups))] for weight in weights]


def add_up(shares: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The sum over threads, for each weight."""
    return [torch.stack(list(each)).sum(0) for each in shares]
