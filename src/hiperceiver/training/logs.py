"""What a run writes: rows of numbers, and the names of examples that could not be read."""

import csv
import io
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from hiperceiver.data.members import hash_names
from hiperceiver.modality import Batch
from hiperceiver.settings.base import one_line
from hiperceiver.training.errors import TrainingError, write_errors
from hiperceiver.writing import write_text

VALIDATION = "validation/"  # how the columns of validation metrics begin

ENOUGH_TO_JUDGE = 100
"""Examples of a stream that must have been read before their unreadable share can end a run."""


class CsvLog:
    """Rows in one CSV file, written at once, and continued by a resumed run.

    Rows up to `last_step` are kept, later ones are of a part of the run that was lost; None begins a new file. With
    `redo_validation` the validation at `last_step` is left out too: it will be done again.
    """

    def __init__(self, path: Path, *, last_step: int | None = None, redo_validation: bool = False):
        self.path = path
        self.columns = ["step"]
        if last_step is None or not path.exists():
            path.unlink(missing_ok=True)
            return

        def is_kept(row: Mapping[str, str]) -> bool:
            is_validation = any(value and name.startswith(VALIDATION) for name, value in row.items())
            step = int(row["step"])
            return step < last_step or (step == last_step and not (redo_validation and is_validation))

        rows = [row for row in self._read() if is_kept(row)]
        self.columns = list(rows[0]) if rows else ["step"]
        self._write(rows, is_new=True)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row; raises `TrainingError` if it cannot be written."""
        row = {"step": step, **values}
        new = [name for name in row if name not in self.columns]
        is_there = self.path.exists()
        rows = self._read() if new and is_there else []
        self.columns += new
        self._write([*rows, row], is_new=bool(new) or not is_there)

    def close(self) -> None:
        """Nothing: every row is on the disk."""

    def _read(self) -> list[dict[str, str]]:
        """The complete rows."""
        text = self.path.read_text(encoding="utf-8", errors="replace")
        complete = text[: text.rfind("\n") + 1]  # the last line may have been cut off
        rows = csv.DictReader(io.StringIO(complete, newline=""))
        return [row for row in rows if None not in row and None not in row.values() and row.get("step", "").isdigit()]

    def _write(self, rows: list[dict[str, Any]], *, is_new: bool) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(rows)
        with write_errors(f"{self.path}: the metrics could not be written"):
            if is_new:
                write_text(self.path, text.getvalue())
            else:
                with self.path.open("a", newline="", encoding="utf-8") as file:
                    file.write(text.getvalue())


class BoardLog:
    """The same rows for TensorBoard; steps after `last_step`, of a part of the run that was lost, are hidden there."""

    def __init__(self, folder: Path, *, last_step: int | None = None):
        self.folder = folder
        self._purge_step = None if last_step is None else last_step + 1
        self._writer: Any = None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add a row; raises `TrainingError` if it, or one before it, cannot be written."""
        from torch.utils.tensorboard import SummaryWriter

        with write_errors(f"{self.folder}/: the log for TensorBoard could not be written"):
            if self._writer is None:
                self._writer = SummaryWriter(str(self.folder), purge_step=self._purge_step)
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the file, if possible: the same numbers are in the CSV file."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()


def split_compared(metrics: Mapping[str, float]) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Metrics apart from what is reached otherwise, `NAME_by_OTHER`; that by name of the metric and of the other.

    >>> split_compared({"loss": 0.5, "explained": 0.8, "explained_by_nearest": 0.7})
    ({'loss': 0.5, 'explained': 0.8}, {'explained': {'nearest': 0.7}})
    """
    own: dict[str, float] = {}
    compared: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        base, by, other = name.rpartition("_by_")
        if by and base in metrics:
            compared.setdefault(base, {})[other] = value
        else:
            own[name] = value
    return own, compared


def in_words(metrics: Mapping[str, float]) -> str:
    """Metrics in a line, each with what is reached otherwise behind it; `-` where one is not defined.

    >>> in_words({"loss": 0.5, "explained": 0.8, "explained_by_most_frequent": 0.7})
    'loss 0.5, explained 0.8 (most frequent 0.7)'
    >>> in_words({"explained": math.nan})
    'explained -'
    """
    own, compared = split_compared(metrics)
    parts = []
    for name, value in own.items():
        others = compared.get(name, {}).items()
        behind = ", ".join(f"{other.replace('_', ' ')} {in_digits(each)}" for other, each in others)
        parts.append(f"{name} {in_digits(value)}{f' ({behind})' if behind else ''}")
    return ", ".join(parts)


def in_digits(value: float, digits: str = ".4g") -> str:
    """A number as text; `-` where it is not defined."""
    return "-" if math.isnan(value) else format(value, digits)


class LossWindow:
    """Means over the steps since the last row of the log. Sums stay on the device, so that nothing waits for it."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.num_steps = 0  # counted by the caller: `add` takes parts of steps
        self.num_examples = 0
        self.num_tokens = 0

    def add(self, batch: Batch, loss: Tensor, logs: Mapping[str, Tensor]) -> None:
        """Add a part of a step, with what it adds to the step's loss."""
        self._add_sums({name: value.detach() for name, value in {"loss": loss, **logs}.items()})
        self.num_examples += len(batch)
        self.num_tokens += sum(x.shape[0] * x.shape[1] for x in batch.inputs.values())

    def means(self) -> dict[str, float]:
        """By name; waits for the device."""
        return {name: float(value) / self.num_steps for name, value in self.sums.items()}

    def state(self) -> dict[str, Any]:
        """For a checkpoint, and for other processes."""
        sums = {name: value.cpu() for name, value in self.sums.items()}
        return {"sums": sums, "counts": [self.num_steps, self.num_examples, self.num_tokens]}

    @classmethod
    def restored(cls, *states: Mapping[str, Any], device: torch.device | str = "cpu") -> Self:
        """The inverse of `state`; of several, the sum over processes, which have parts of the same steps."""
        window = cls()
        for state in states:
            window._add_sums({name: value.to(device) for name, value in state["sums"].items()})
            window.num_steps, num_examples, num_tokens = state["counts"]
            window.num_examples += num_examples
            window.num_tokens += num_tokens
        return window

    def _add_sums(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value


@dataclass
class SkippedExamples:
    """Counts unreadable examples, each once, names them in a file, and ends the run if they are too many."""

    path: Path
    max_share: float
    strict: bool
    num_files: int | None  # examples of the training set, of which the share is one; None: of a stream, not known
    num_met: int = 0  # examples that were read, each time anew
    keys: set[int] = field(default_factory=set)  # of the unreadable ones: the hashes of their names
    is_written: bool = True  # False: another process writes the file

    def __post_init__(self) -> None:
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        complete = text[: text.rfind("\n") + 1]
        if self.is_written and complete != text:  # whoever wrote the last line was killed while doing so
            write_text(self.path, complete)
        self._named = set(complete.splitlines())

    @property
    def num_skipped(self) -> int:
        """Training examples that could not be read."""
        return len(self.keys)

    def count(self, num_read: int, skipped: tuple[str, ...]) -> None:
        """Count training examples, name the unreadable ones; `TrainingError`: too many, or one if `strict` is set.

        They are too many as soon as `max_share` of the set cannot hold them; of a stream, of what has been read.
        """
        self.num_met += num_read + len(skipped)
        if not skipped:
            return
        self.keys.update(hash_names([each.partition(": ")[0] for each in skipped]).tolist())
        self.name(skipped)
        count = self.num_met if self.num_files is None else self.num_files
        is_enough = self.num_files is not None or self.num_met >= ENOUGH_TO_JUDGE
        if is_enough and self.num_skipped > self.max_share * count:
            share = f"{self.num_skipped} of {count} examples"
            where = f"{self.path} names them, the last: {skipped[-1]}"
            raise TrainingError(f"data: {share} could not be read, more than max_bad_share={self.max_share:g}; {where}")

    def name(self, skipped: tuple[str, ...]) -> None:
        """Write the names that are not in the file yet; raises `TrainingError` at the first if `strict` is set."""
        new = [each for each in dict.fromkeys(one_line(each) for each in skipped) if each not in self._named]
        self._named.update(new)
        if new and self.is_written:
            with write_errors(f"{self.path}: could not be written"), self.path.open("a", encoding="utf-8") as file:
                file.writelines(f"{each}\n" for each in new)
        if skipped and self.strict:
            raise TrainingError(f"data: {skipped[0]} (unreadable, and strict is set)")
