"""Checkpoint files: replaced whole or not at all; reading one executes nothing."""

import io
import os
import pickle
import re
import shutil
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch

from hiperceiver.settings.base import one_line
from hiperceiver.training.errors import write_errors
from hiperceiver.writing import replacing

FORMAT = 2
RUN_KEY = "hiperceiver"  # the entry of a checkpoint with the state of the run, beside weights and optimizer
_KINDS: dict[str, Any] = {
    **dict.fromkeys(("step", "best_step"), int),
    **dict.fromkeys(("elapsed", "loss"), float | int),
    **dict.fromkeys(("is_validated", "is_validation_due"), bool),
    **dict.fromkeys(("left_out", "processes", "length"), list | tuple),
    **dict.fromkeys(
        ("identity", "unreadable", "last_metrics", "best_metrics", "last_observed", "best_observed", "trivial"), dict
    ),
}
"""Of what kind the entries of that state are, if they are there."""


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint; an older one of that name is replaced only by a complete one. `TrainingError`: disk full."""
    with _replacing_checkpoint(path) as partial, partial.open("wb") as file:
        torch.save(checkpoint, file)


def copy_checkpoint(path: Path, target: Path) -> None:
    """Give a checkpoint a second name, at no cost where the file system has hard links. `TrainingError`: disk full."""
    with _replacing_checkpoint(target) as partial:
        partial.unlink(missing_ok=True)
        try:
            os.link(path, partial)
        except OSError:
            shutil.copyfile(path, partial)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a run's checkpoint onto the CPU: tensors and plain values only. `ValueError`: it is anything else."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the file's format; a fault raises
            _check_archive(path)
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = f", it calls for {found[1]}" if (found := re.search(r"GLOBAL ([\w.]+)", str(error))) else ""
        raise ValueError(
            f"{path}: refused{named}: a checkpoint may hold only tensors and plain values, which cannot execute code"
        ) from None
    except Exception as error:  # a damaged file makes the reader fail in many ways
        raise ValueError(f"{path}: cannot be read, it may be damaged: {one_line(error)[:200]}") from None
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(RUN_KEY), dict):
        raise ValueError(f"{path}: not a checkpoint of a hiperceiver run")
    if (found := checkpoint[RUN_KEY].get("format")) != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT}, got {found!r:.60}; resume with the version that wrote it")
    for name, kind in _KINDS.items():
        if not isinstance(checkpoint[RUN_KEY].get(name), kind | None):
            raise ValueError(f"{path}: {name}: expected another kind of value; the file is damaged")
    return checkpoint


@contextmanager
def faults_of_checkpoint(path: Path) -> Iterator[None]:
    """What a checkpoint lacks, or holds otherwise than a run wrote it, becomes a `ValueError` of one line."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        reason = f"{type(error).__name__}: {one_line(error)[:200]}"
        raise ValueError(f"{path}: is damaged, or is no checkpoint of this run: {reason}") from error


def _check_archive(path: Path) -> None:
    """Refuse an archive that is not as PyTorch writes it: packed, or with storages of other sizes than its pickle says.

    PyTorch reads one that unpacks to any size, and 2.9 what lies in memory behind a storage.
    """
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if packed := [each.filename for each in parts if each.file_size != each.compress_size]:
            raise ValueError(f"expected parts as PyTorch stores them, got {packed[0]!r:.60}, which is compressed")
        sizes = {each.filename: each.file_size for each in parts}
        if len(sizes) != len(parts):
            raise ValueError("expected a part of each name, got several of one")
        folder = parts[0].filename.partition("/")[0] if parts else ""
        stored = {name.removeprefix(f"{folder}/data/"): size for name, size in sizes.items()}
        _Storages(io.BytesIO(archive.read(f"{folder}/data.pkl")), stored).load()


class _Inert:
    """What a pickle makes, where nothing is to be made of it."""

    def __new__(cls, *_: object) -> Self:
        return super().__new__(cls)

    def _ignore(self, *_: object) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = _ignore


class _Storages(pickle._Unpickler):  # not pickle.Unpickler, which allocates what a pickle promises
    """Compares the storages that a pickle speaks of with those that are there (bytes by key); calls nothing."""

    def __init__(self, file: io.BytesIO, stored: Mapping[str, int]):
        super().__init__(file)
        self.stored = stored

    def find_class(self, module: str, name: str) -> Any:
        if name == "_rebuild_qtensor":  # whose strides PyTorch does not check
            raise ValueError("expected no quantised tensors")
        if module != "torch" or not name.endswith("Storage"):
            return _Inert
        return 1 if name == "UntypedStorage" else getattr(torch, name).dtype.itemsize

    def persistent_load(self, pid: Any) -> _Inert:
        _, itemsize, key, _, count = pid
        if count * itemsize != self.stored[key]:
            raise ValueError(f"storage {key!r:.60}: expected {count * itemsize} bytes, got {self.stored[key]}")
        return _Inert()


@contextmanager
def _replacing_checkpoint(path: Path) -> Iterator[Path]:
    then = "; the one saved before is kept" if path.exists() else "; nothing was saved before"
    kinds = (OSError, RuntimeError)  # PyTorch's writer turns a failed write into a RuntimeError
    with write_errors(f"{path}: the checkpoint could not be saved", then, kinds):
        path.parent.mkdir(exist_ok=True)  # not the run folder, which somebody may have removed
        with replacing(path) as partial:
            yield partial
