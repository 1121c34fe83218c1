"""What happens around the steps of a run: logs, validation, checkpoints, and the end."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from hiperceiver.modality import Batch
from hiperceiver.tasks import save_task
from hiperceiver.tasks.task import Task
from hiperceiver.training.checkpoints import FORMAT, RUN_KEY, copy_checkpoint
from hiperceiver.training.errors import TrainingError
from hiperceiver.training.evaluation import Measurement, measure
from hiperceiver.training.folder import RunFolder
from hiperceiver.training.logs import VALIDATION, SkippedExamples
from hiperceiver.training.module import TrainingModule
from hiperceiver.training.processes import Processes
from hiperceiver.training.progress import Display, describe_metrics
from hiperceiver.training.randomness import random_state, restore_random_state, seed_everything
from hiperceiver.training.strategies import WholeTask

_VALIDATIONS = 10
"""Validations in a run that does not say how many."""
_LONGEST_SHARE_FOR_VALIDATION = 0.1
_LONGEST_SHARE_FOR_SAVING = 0.05
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class RunControl(Callback):
    """Follows a run step by step: writes the logs, validates, saves, and ends it.

    Where processes train together all follow it, and what the clock or a signal decides is agreed on. Only the first
    one writes, shows and validates.

    Args:
        folder: the run's; that of the first process holds for all.
        module: what is trained.
        processes: those that train together.
        whole: gives the task that is validated and saved, for as long as a context lasts, to the first process.
        identity: what must be the same when the run is resumed; written into each checkpoint.
        validation: gives the batches to validate on, anew at each call; None: no validation.
        skipped: counts unreadable examples.
        display: shows the run.
        resumed: what an earlier part of the run left in its checkpoint.
    """

    def __init__(
        self,
        folder: RunFolder,
        module: TrainingModule,
        *,
        processes: Processes,
        whole: WholeTask,
        identity: Mapping[str, str],
        validation: Iterable[Batch] | None,
        skipped: SkippedExamples,
        display: Display,
        resumed: Mapping[str, Any] | None = None,
    ):
        self.folder = folder
        self.module = module
        self.settings = module.settings
        self.clock = module.clock
        self.processes = processes
        self.whole = whole
        self.identity = dict(identity)
        self.validation = validation
        self.skipped = skipped
        self.display = display
        self.resumed = resumed

        self.step = 0
        self.loss: float | None = None
        self.last_metrics: dict[str, float] = {}
        self.best_metrics: dict[str, float] = {}
        self.best_step: int | None = None
        self.is_validated = False  # the weights of this very step
        self.is_interrupted = False
        self._is_told_to_stop = False  # this process alone
        self._is_validation_owed = resumed is not None and resumed["is_validation_due"] and validation is not None
        self._tenths_validated = 0
        if resumed is not None:
            self.step = resumed["step"]
            self.loss = resumed["loss"]
            self.last_metrics = dict(resumed["last_metrics"])
            self.best_metrics = dict(resumed["best_metrics"])
            self.best_step = resumed["best_step"]
            self.is_validated = resumed["is_validated"]
            self._tenths_validated = int(_VALIDATIONS * self.clock.progress(self.step))

        self._seconds_validating = 0.0
        self._saved_at = -math.inf
        self._seconds_saving = 0.0
        self._row_at = 0.0
        self._seconds_validating_at_row = 0.0

    # ------------------------------------------------------------------------------------------- Lightning calls these

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """The processes have been joined, but share nothing yet."""
        self.processes.connect()
        self.folder = RunFolder(self.processes.broadcast(self.folder.path))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The clock runs."""
        self.clock.start()
        self.display.start()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The random numbers begin, or go on."""
        self._take_signals()  # Lightning has taken SIGTERM for itself
        self._make_up_validation(trainer)
        if self.resumed is None:
            seed_everything(self.settings.seed, rank=self.processes.rank)
        else:
            mine = [
                {"random": self.resumed["random"], "window": self.resumed["window"]},
                *self.resumed.get("others", []),
            ]
            restore_random_state(mine[self.processes.rank]["random"])
            self.module.window.restore(mine[self.processes.rank]["window"], self.module.device)
        self._saved_at = time.monotonic() if self.resumed is not None else -math.inf
        self._row_at, self._seconds_validating_at_row = time.monotonic(), self._seconds_validating
        self._agree()
        if self.is_interrupted or self.clock.progress(self.step) >= 1:
            trainer.should_stop = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """The processes tell each other what they have read."""
        counts = self._agree(len(batch), len(batch.skipped))
        num_read = sum(read for read, _ in counts)
        if num_read > 0 and len(batch) == 0:
            self.module.window.num_batches += 1  # of which this process has no part
        skipped = batch.skipped
        if any(bad for _, bad in counts):
            skipped = tuple(name for names in self.processes.gather(skipped) for name in names)
        self._batch_read, self._batch_skipped = int(num_read), skipped

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """After each batch; everything but counting waits for the optimizer step."""
        self.skipped.count(self._batch_read, self._batch_skipped)
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        self.is_validated = False
        self._agree()
        progress = self.clock.progress(self.step)
        is_last = progress >= 1
        if self.step % self.settings.log_every == 0 or is_last:
            self._write_row(trainer)
        self.display.update(self.step, self.loss, is_last=is_last)

        is_validation_due = self.validation is not None and (is_last or self._is_validation_due(progress))
        is_validation_due, is_save_due = self.processes.broadcast((is_validation_due, self._is_save_due()))
        if is_last or self.is_interrupted or is_save_due:
            # Before the validation too: a run that is killed in a long one shall not lose what came before.
            self._save(trainer, is_validation_due=is_validation_due)
        if is_validation_due and not self.is_interrupted:
            is_best = self._validate(trainer)
            if is_best:
                self._save(trainer, path=self.folder.best_checkpoint)
                self._copy_checkpoint(self.folder.best_checkpoint, self.folder.last_checkpoint)
            elif is_last or self.is_interrupted:
                self._save(trainer, is_validation_due=not self.is_validated)
        if is_last or self.is_interrupted:
            trainer.should_stop = True

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """The display must not stay on the terminal."""
        self.display.stop()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What is left to do while the weights still lie where they were trained."""
        self._make_up_validation(trainer)  # of a run that had no step left
        if self.best_step is None:
            with self.whole() as task:
                if task is not None:
                    save_model_folder(self.folder.model, task)
        self.display.stop()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """What a resumed run needs beside what Lightning writes; tensors and plain values only."""
        states = self.processes.gather({"window": self.module.window.state(), "random": random_state()})
        checkpoint[RUN_KEY] = {
            "format": FORMAT,
            "identity": self.identity,
            "step": self.step,
            "elapsed": self.clock.elapsed,
            "loss": self.loss,
            "last_metrics": self.last_metrics,
            "best_metrics": self.best_metrics,
            "best_step": self.best_step,
            "is_validated": self.is_validated,
            "is_validation_due": self._is_saved_before_validation,
            "skipped": [self.skipped.num_met, self.skipped.num_skipped],
            **states[0],
        }
        if not self.processes.is_alone:
            checkpoint[RUN_KEY]["others"] = states[1:]

    # --------------------------------------------------------------------------------------------------------- the end

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as a wish to end well; at the second, the process ends at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only there can signals be taken
            return
        before = {each: signal.getsignal(each) for each in _SIGNALS}
        try:
            self._take_signals()
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler if handler is not None else signal.SIG_DFL)

    def _take_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for each in _SIGNALS:
                signal.signal(each, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._is_told_to_stop:
            raise KeyboardInterrupt
        self._is_told_to_stop = True
        self.display.say("stopping after this step, with a checkpoint; once more to stop at once")

    def _agree(self, *numbers: float) -> list[list[float]]:
        """Agree on the time and on whether the run was told to stop; gives the numbers of each process."""
        rows = self.processes.gather_numbers([self._is_told_to_stop, self.clock.running, *numbers])
        self.is_interrupted = any(row[0] for row in rows)
        if not self.processes.is_alone:
            self.clock.agree(rows[0][1])
        return [row[2:] for row in rows]

    # ------------------------------------------------------------------------------------------------------------ logs

    def _write_row(self, trainer: Trainer) -> None:
        window = self.module.window.joined(self.processes)
        means = window.means()
        now = time.monotonic()
        seconds = now - self._row_at - (self._seconds_validating - self._seconds_validating_at_row)
        row = {f"train/{name}": value for name, value in means.items()}
        row["learning_rate"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        if self.module.gradient_norm is not None:
            row["gradient_norm"] = float(self.module.gradient_norm)
        row["examples_per_second"] = window.num_examples / seconds
        row["tokens_per_second"] = window.num_tokens / seconds
        row["seconds"] = self.clock.elapsed
        self._log(trainer, row)
        self._check_finite()
        self.loss = means.get("loss", self.loss)
        self.module.window.clear()
        self._row_at, self._seconds_validating_at_row = now, self._seconds_validating

    def _log(self, trainer: Trainer, row: Mapping[str, float]) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(dict(row), step=self.step)

    def _check_finite(self) -> None:
        last, norm = (x if x is None else float(x) for x in (self.module.last_loss, self.module.gradient_norm))
        losses = [each for each in self.processes.gather(last) if each is not None]
        for name, value in [("loss", sum(losses) if losses else None), ("gradient", norm)]:
            if value is not None and not math.isfinite(value):
                kept = f"; {self.folder.last_checkpoint} is from before" if self.folder.last_checkpoint.exists() else ""
                raise TrainingError(
                    f"training diverged: the {name} at step {self.step} is {value}; a lower learning_rate or a "
                    f"longer warmup may help{kept}"
                )

    # ------------------------------------------------------------------------------------------------------ validation

    def _is_validation_due(self, progress: float) -> bool:
        every = self.settings.validate_every
        if every is not None:
            return self.step % every == 0
        tenths = int(_VALIDATIONS * progress)
        if tenths <= self._tenths_validated:
            return False
        self._tenths_validated = tenths
        longest = _LONGEST_SHARE_FOR_VALIDATION * self.clock.elapsed
        return self.settings.max_time is None or self._seconds_validating <= longest

    def _make_up_validation(self, trainer: Trainer) -> None:
        """Do the validation that the run was stopped in, or before."""
        if self._is_validation_owed and self._validate(trainer):
            self._copy_checkpoint(self.folder.last_checkpoint, self.folder.best_checkpoint)
        self._is_validation_owed = False

    def _validate(self, trainer: Trainer) -> bool:
        """Validate the weights of this step; if they are the best so far (True), save them as the run's model."""
        started = time.monotonic()
        is_best = False
        with self.whole() as task:
            measured = self.processes.broadcast(self._measure(task))
            if measured is None:
                return False
            self.skipped.name(measured.skipped)
            self.is_validated = True
            self.last_metrics = measured.metrics
            name, better = self.module.task.monitor
            is_best = _is_better(measured.metrics[name], self.best_metrics.get(name), better)
            if is_best:
                self.best_metrics, self.best_step = measured.metrics, self.step
                if task is not None:
                    save_model_folder(self.folder.model, task)
        self._seconds_validating += time.monotonic() - started
        self._log(trainer, {f"{VALIDATION}{name}": value for name, value in measured.metrics.items()})
        self.display.say(f"step {self.step}, validation: {describe_metrics(measured.metrics)}")
        return is_best

    def _measure(self, task: Task | None) -> Measurement | None:
        """The first process measures the task; the others hear after each batch that it still does."""
        if task is None:
            while not any(is_done for (is_done,) in self._agree(False)):
                pass
            return None
        assert self.validation is not None

        def is_stopped() -> bool:
            self._agree(False)
            return self.is_interrupted

        task.eval()
        measured = measure(
            task,
            self.validation,
            precision=self.settings.precision,
            is_stopped=is_stopped,
            after_batch=self.display.validating,
        )
        self.module.train()
        self._agree(True)
        return measured

    # ---------------------------------------------------------------------------------------------------------- saving

    _is_saved_before_validation = False

    def _is_save_due(self) -> bool:
        every = self.settings.checkpoint_every
        if every is not None and self.step % every == 0:
            return True
        longest = self._seconds_saving / _LONGEST_SHARE_FOR_SAVING
        return time.monotonic() - self._saved_at >= max(self.settings.checkpoint_every_seconds, longest)

    def _save(self, trainer: Trainer, *, path: Path | None = None, is_validation_due: bool = False) -> None:
        self._check_finite()
        self._is_saved_before_validation = is_validation_due
        started = time.monotonic()
        trainer.save_checkpoint(path or self.folder.last_checkpoint)
        self._saved_at = time.monotonic()
        self._seconds_saving = self._saved_at - started

    def _copy_checkpoint(self, path: Path, target: Path) -> None:
        if self.processes.is_first:
            copy_checkpoint(path, target)


def _is_better(value: float, best: float | None, better: str) -> bool:
    if best is None or math.isnan(value):
        return not math.isnan(value)
    return value < best if better == "min" else value > best


def save_model_folder(folder: Path, task: Task) -> None:
    """Write the task's model as it is.

    Raises:
        TrainingError: it cannot be written, for example because the disk is full.
    """
    try:
        save_task(folder, task)
    except OSError as error:
        raise TrainingError(
            f"{folder}: the model could not be saved ({error.strerror}); what was there is kept"
        ) from None
