"""Checkpoint files: replaced whole or not at all, and never a way for code to get in."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from hiperceiver.training.errors import TrainingError

FORMAT = 1
RUN_KEY = "hiperceiver"
"""Where a checkpoint holds what belongs to the run beside weights and optimizer."""


class CheckpointFiles(CheckpointIO):
    """How Lightning writes and reads checkpoints here."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint; an older one of that name is replaced only by a complete one.

        Raises:
            TrainingError: it cannot be written, for example because the disk is full.
        """
        path = Path(path)
        partial = path.with_name(path.name + ".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except (OSError, RuntimeError) as error:  # PyTorch's writer turns a failed write into a RuntimeError
            raise TrainingError(_not_saved(path, error)) from None
        finally:
            partial.unlink(missing_ok=True)

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """As `read_checkpoint`, whatever is asked for."""
        return read_checkpoint(path)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: str | Path, *, is_mapped: bool = False) -> dict[str, Any]:
    """Read a run's checkpoint onto the CPU. Nothing in it is executed: tensors and plain values only.

    Args:
        path: the file.
        is_mapped: leave tensors on the disk until they are looked at.

    Raises:
        ValueError: there is none, it is damaged, it is no checkpoint of a run, or it holds anything but data.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the file's make; whatever matters comes as an error
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=is_mapped)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        named = f", it calls for {found[1]}" if found else ""
        raise ValueError(
            f"{path}: refused{named}: a checkpoint may hold only tensors and plain values, which cannot execute code"
        ) from None
    except Exception as error:  # a damaged file makes the reader fail in many ways
        raise ValueError(f"{path}: cannot be read, it may be damaged: {_one_line(error)}") from None
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(RUN_KEY), dict):
        raise ValueError(f"{path}: not a checkpoint of a hiperceiver run")
    if (came := checkpoint[RUN_KEY].get("format")) != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT}, got {came!r}; a newer hiperceiver may read it")
    return checkpoint


def copy_checkpoint(path: Path, target: Path) -> None:
    """Give a checkpoint a second name, at no cost where the file system knows hard links.

    Raises:
        TrainingError: it cannot be written.
    """
    partial = target.with_name(target.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        try:
            os.link(path, partial)
        except OSError:
            shutil.copyfile(path, partial)
        os.replace(partial, target)
    except OSError as error:
        raise TrainingError(_not_saved(target, error)) from None
    finally:
        partial.unlink(missing_ok=True)


def _not_saved(path: Path, error: Exception) -> str:
    kept = "the one saved before is kept" if path.exists() else "nothing was saved before"
    return f"{path}: the checkpoint could not be saved ({_one_line(error)}); {kept}"


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200]
