"""What a run writes down: rows of numbers, and the names of examples that could not be read."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from hiperceiver.modality import Batch
from hiperceiver.training.errors import TrainingError
from hiperceiver.training.processes import Processes

VALIDATION = "validation/"
"""How the columns of validation metrics begin."""

ENOUGH_TO_JUDGE = 100
"""Examples that must have been met before their unreadable share can end a run; fewer where the data has no more."""


class CsvLogger(Logger):
    """Rows in one CSV file, as Lightning's `CSVLogger` writes them, but at once, and taken up again by a resumed run.

    Args:
        path: the file.
        last_step: rows up to this step are kept, later ones are of a part of the run that was lost. None: a new file.
        redo_validation: leave out the validation at `last_step`, which will be done again.
    """

    def __init__(self, path: str | Path, *, last_step: int | None = None, redo_validation: bool = False):
        super().__init__()
        self.path = Path(path)
        self.columns: list[str] = ["step"]
        if last_step is not None and self.path.exists():
            rows = []
            for row in self._read():
                step = int(row["step"])
                is_validation = any(value and name.startswith(VALIDATION) for name, value in row.items())
                if step < last_step or (step == last_step and not (redo_validation and is_validation)):
                    rows.append(row)
            self.columns = list(rows[0]) if rows else ["step"]
            self._replace(rows)
        else:
            self.path.unlink(missing_ok=True)

    @property
    def name(self) -> str:
        """What Lightning calls it."""
        return "csv"

    @property
    def version(self) -> str:
        """None: there is one file for a run."""
        return ""

    @property
    def save_dir(self) -> str:
        """The file's folder."""
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run's settings lie beside the file."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a row.

        Raises:
            TrainingError: it cannot be written.
        """
        row = {"step": step or 0, **metrics}
        new = [name for name in row if name not in self.columns]
        if new:
            rows = self._read() if self.path.exists() else []
            self.columns += new
            self._replace([*rows, row])
            return
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                file.write(self._text([row]))
        except OSError as error:
            raise self._failed(error) from None

    def _read(self) -> list[dict[str, str]]:
        """The complete rows."""
        text = self.path.read_text(encoding="utf-8", errors="replace")
        complete = text[: text.rfind("\n") + 1]  # the last line may have been cut off
        rows = csv.DictReader(io.StringIO(complete, newline=""))
        return [row for row in rows if None not in row and None not in row.values() and row.get("step", "").isdigit()]

    def _replace(self, rows: list[dict[str, Any]]) -> None:
        header = io.StringIO(newline="")
        csv.writer(header, lineterminator="\n").writerow(self.columns)
        partial = self.path.with_name(self.path.name + ".partial")
        try:
            partial.write_text(header.getvalue() + self._text(rows), encoding="utf-8")
            os.replace(partial, self.path)
        except OSError as error:
            raise self._failed(error) from None
        finally:
            partial.unlink(missing_ok=True)

    def _text(self, rows: list[dict[str, Any]]) -> str:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self.columns, lineterminator="\n").writerows(rows)
        return text.getvalue()

    def _failed(self, error: OSError) -> TrainingError:
        return TrainingError(f"{self.path}: the metrics could not be written ({error.strerror})")


class BoardLogger(TensorBoardLogger):
    """Lightning's `TensorBoardLogger` in one folder, without its empty file of hyper-parameters.

    Args:
        folder: where the events go.
        last_step: what later steps left there is hidden, for it is of a part of the run that was lost.
    """

    def __init__(self, folder: Path, *, last_step: int | None = None):
        purge_step = None if last_step is None else last_step + 1
        super().__init__(folder.parent, name=folder.name, version="", default_hp_metric=False, purge_step=purge_step)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a row.

        Raises:
            TrainingError: it, or one before it, cannot be written.
        """
        try:
            super().log_metrics(metrics, step)
        except (OSError, ValueError) as error:  # Lightning's ValueError has several lines
            cause = error.__cause__ or error
            reason = getattr(cause, "strerror", None) or cause
            raise TrainingError(f"{self.log_dir}: the log for TensorBoard could not be written ({reason})") from None

    def save(self) -> None:
        """Bring what was logged onto the disk, if possible: the same numbers are in the CSV file."""
        with contextlib.suppress(OSError):
            self.experiment.flush()

    def finalize(self, status: str) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            super().finalize(status)


class LossWindow:
    """Means over the batches since the last row of the log. Sums stay on the device, so that nothing waits for it."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin again."""
        self.sums: dict[str, Tensor] = {}
        self.num_batches = 0
        self.num_examples = 0
        self.num_tokens = 0

    def add(self, batch: Batch, loss: Tensor, logs: Mapping[str, Tensor]) -> None:
        """Count a batch in, or the part of one that this process has, with what that adds to the batch's loss."""
        for name, value in {"loss": loss, **logs}.items():
            value = value.detach()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.num_batches += 1
        self.num_examples += len(batch)
        self.num_tokens += sum(x.shape[0] * x.shape[1] for x in batch.inputs.values())

    def means(self) -> dict[str, float]:
        """By name; waits for the device."""
        return {name: float(value) / self.num_batches for name, value in self.sums.items()}

    def joined(self, processes: Processes) -> LossWindow:
        """The same over all processes, which have counted parts of the same batches; each of them must ask."""
        whole = LossWindow()
        for state in processes.gather(self.state()):
            for name, value in state["sums"].items():
                whole.sums[name] = whole.sums[name] + value if name in whole.sums else value
            whole.num_batches, num_examples, num_tokens = state["counts"]
            whole.num_examples += num_examples
            whole.num_tokens += num_tokens
        return whole

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "sums": {name: value.cpu() for name, value in self.sums.items()},
            "counts": [self.num_batches, self.num_examples, self.num_tokens],
        }

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        """The inverse of `state`."""
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}
        self.num_batches, self.num_examples, self.num_tokens = state["counts"]


class SkippedExamples:
    """Counts unreadable examples, names each of them once in a file, and ends the run if they are too many.

    Args:
        path: the file; made with the first name.
        max_share: largest share that is borne.
        strict: bear none.
        enough: examples that must have been met before their share is judged.
        counts: examples met and unreadable ones, of the parts of the run before this one.
        is_written: False: another process writes the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_share: float,
        strict: bool,
        enough: int = ENOUGH_TO_JUDGE,
        counts: tuple[int, int] = (0, 0),
        is_written: bool = True,
    ):
        self.enough = enough
        self.path = path
        self.max_share = max_share
        self.strict = strict
        self.is_written = is_written
        self.num_met, self.num_skipped = counts
        self._named = set(path.read_text(encoding="utf-8").splitlines()) if path.exists() else set()

    def count(self, num_read: int, skipped: tuple[str, ...]) -> None:
        """Count a training batch in: its examples that could be read, and the names of the others.

        Raises:
            TrainingError: too many are unreadable, or one is and `strict` is set.
        """
        self.num_met += num_read + len(skipped)
        if not skipped:
            return
        self.num_skipped += len(skipped)
        self.name(skipped)
        if self.num_met >= self.enough and self.num_skipped > self.max_share * self.num_met:
            raise TrainingError(
                f"data: {self.num_skipped} of {self.num_met} examples could not be read, more than "
                f"max_bad_share={self.max_share:g}; {self.path} names them, the last: {skipped[-1]}"
            )

    def name(self, skipped: tuple[str, ...]) -> None:
        """Write names down that are not there yet.

        Raises:
            TrainingError: there is one, and `strict` is set.
        """
        new = [" ".join(each.split()) for each in skipped]
        new = [each for each in dict.fromkeys(new) if each not in self._named]
        if new:
            self._named.update(new)
        if new and self.is_written:
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write("".join(f"{each}\n" for each in new))
            except OSError as error:
                raise TrainingError(f"{self.path}: could not be written ({error.strerror})") from None
        if skipped and self.strict:
            raise TrainingError(f"data: {skipped[0]} (strict bears no unreadable example)")
