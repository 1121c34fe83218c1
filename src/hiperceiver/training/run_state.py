"""A run between its steps: its counts and metrics, and how they are agreed on, logged, validated and saved."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch.distributed as dist
from torch import Tensor

from hiperceiver.data.example import ExampleDataset
from hiperceiver.data.loading import eval_loader, train_loader
from hiperceiver.data.streamed import StreamedExamples
from hiperceiver.modality import Batch
from hiperceiver.model.files import WEIGHTS_FILE
from hiperceiver.settings.run import TrainingSettings
from hiperceiver.tasks import save_task
from hiperceiver.tasks.task import Task
from hiperceiver.training.checkpoints import FORMAT, RUN_KEY, copy_checkpoint, faults_of_checkpoint, write_checkpoint
from hiperceiver.training.compute import Compute, count_step, matmul_rate
from hiperceiver.training.errors import TrainingError, write_errors
from hiperceiver.training.evaluation import Measurement, measure
from hiperceiver.training.finite import Diverged, FiniteSteps, Loss, are_finite
from hiperceiver.training.folder import RunFolder
from hiperceiver.training.logs import (
    VALIDATION,
    BoardLog,
    CsvLog,
    LossWindow,
    SkippedExamples,
    in_words,
)
from hiperceiver.training.observers import Observer, observe
from hiperceiver.training.processes import Processes
from hiperceiver.training.progress import Display
from hiperceiver.training.randomness import random_state, restore_random_state, seed_everything
from hiperceiver.training.schedule import CheckpointPlan, ValidationPlan, warmup_cosine
from hiperceiver.training.strategies import Replicated

_KEPT = (
    *("step", "loss", "is_validated", "last_metrics", "best_metrics", "best_step", "last_observed", "best_observed"),
    "trivial",
)
"""Attributes of a run that its checkpoints hold as they are."""

_LEAST_SECONDS = 10.0
"""Of training, about which its speed says anything."""


class Part(NamedTuple):
    """One process's part of a step: a batch on the device, and its random choices (`Task.draw`)."""

    batch: Batch
    drawn: Any
    weight: float
    """Of its gradient: the number of processes, over which gradients are averaged; 0 for a batch that stands in."""


class Run:
    """All processes have one and call its methods alike; the first one writes, shows and validates for all."""

    step: int = 0  # optimizer steps that are done
    loss: float | None = None  # mean training loss of the last row of the log
    best_step: int | None = None
    is_validated: bool = False  # whether the weights of this very step are
    is_over = is_interrupted = False
    gradient_norm: Tensor | None = None
    saved_step: int | None = None  # of the last checkpoint

    def __init__(
        self,
        settings: TrainingSettings,
        folder: RunFolder,
        identity: Mapping[str, str],  # what must be the same when the run is resumed
        *,
        strategy: Replicated,
        processes: Processes,
        display: Display,
        is_stop_requested: Callable[[], bool],
        training_set: ExampleDataset | StreamedExamples,
        validation_set: ExampleDataset | None,
        observers: Sequence[Observer] = (),
        checkpoint: dict[str, Any] | None,
    ):
        self.settings, self.folder, self.identity = settings, folder, identity
        self.strategy, self.fabric, self.processes = strategy, strategy.fabric, processes
        self.clock, self.display, self.is_stop_requested = display.clock, display, is_stop_requested
        self.observers = observers

        is_resumed = checkpoint is not None
        state = checkpoint[RUN_KEY] if is_resumed else {}
        self.last_metrics: dict[str, float] = {}
        self.best_metrics: dict[str, float] = {}
        self.last_observed: dict[str, float] = {}
        self.best_observed: dict[str, float] = {}
        self.trivial: dict[str, float] | None = None  # what trivial answers reach in each validation, once known
        self._last_part: Part | None = None
        self._trained = 0, 0.0  # examples and seconds of this part of the run, as the rows of the log have them
        self._seconds_once = 0.0  # that finding them took, in the first validation
        vars(self).update({name: state[name] for name in _KEPT if name in state})
        self._window = LossWindow()
        is_validation_due: bool = state.get("is_validation_due", False)  # the run was stopped in, or before, one

        loading: dict[str, Any] = {"num_workers": settings.num_workers or 0}
        loading["batch_size"] = settings.batch_size // processes.num_ranks
        ranks = {"rank": processes.rank, "num_ranks": processes.num_ranks}
        first = self.step * settings.accumulate
        self.batches = train_loader(training_set, seed=settings.seed, start_batch=first, **ranks, **loading)
        self.validation = None if validation_set is None else eval_loader(validation_set, **loading)
        self._num_validation = 0 if validation_set is None else len(validation_set)
        self.validation_plan = ValidationPlan(
            every=settings.validate_every,
            num_examples=self._num_validation + sum(each.num_examples for each in observers),
            examples_per_step=settings.batch_size * settings.accumulate,
            clock=self.clock,
            step=self.step,
        )
        every, seconds = settings.checkpoint_every, settings.checkpoint_every_seconds
        self.checkpoint_plan = CheckpointPlan(every=every, seconds=seconds, is_saved=is_resumed)
        with faults_of_checkpoint(folder.last_checkpoint):
            unreadable = state.get("unreadable", {})
            num_met, keys = int(unreadable.get("num_met", 0)), set(unreadable.get("keys", ()))
            left_out = [int(state.get("left_out", (0, 0))[place]) for place in (0, 1)]
        self.skipped = SkippedExamples(
            folder.skipped,
            max_share=settings.max_bad_share,
            strict=settings.strict,
            num_files=None if isinstance(training_set, StreamedExamples) else len(training_set),
            num_met=num_met,
            keys=keys,
            is_written=processes.is_first,
        )
        self._losses: list[Loss] = []  # of the step that is being done
        self.finite = FiniteSteps(
            path=folder.not_finite,
            non_finite=settings.non_finite,
            is_at_once=settings.non_finite == "skip" or self.fabric.device.type == "cpu",
            processes=processes,
            task=None if settings.strategy == "fsdp" else strategy.task,
            precision=settings.precision,
            last_step=self.step,
            num_left_out=left_out[0],
            num_in_a_row=left_out[1],
        )
        self.logs: list[CsvLog | BoardLog] = []
        if processes.is_first:
            last_step = self.step if is_resumed else None
            self.logs.append(CsvLog(folder.metrics, last_step=last_step, redo_validation=is_validation_due))
            self.logs.append(BoardLog(folder.tensorboard, last_step=last_step))

        if self.best_step is not None and not (folder.model / WEIGHTS_FILE).is_file():
            display.say(f"{folder.model} is gone, with the weights of step {self.best_step}: later ones are saved")
            self.best_step, self.best_metrics, self.best_observed = None, {}, {}
        if is_resumed:
            self.saved_step = self.step
            with faults_of_checkpoint(folder.last_checkpoint):
                strategy.restore(checkpoint)
        set_training_mode(strategy.task)
        self.clock.start()
        display.start()
        self._agree()
        self.is_over = self.clock.progress(self.step) >= 1
        is_best = is_validation_due and self.validation is not None and self.validate()
        if is_resumed:
            with faults_of_checkpoint(folder.last_checkpoint):
                self._restore_own(state["processes"])
            self._say_length(state.get("length"))
        else:
            seed_everything(settings.seed, rank=processes.rank)
        if self.is_validated and is_validation_due:
            self.save(is_best=is_best)
        self._row_at = time.monotonic() - self.validation_plan.seconds

    def _restore_own(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Go on with this process's random numbers and sums, however many processes wrote the checkpoint."""
        rank, num_ranks = self.processes.rank, self.processes.num_ranks
        if rank < len(states):
            restore_random_state(states[rank]["random"])
        else:
            seed_everything(self.settings.seed, rank=rank)
        windows = [each["window"] for each in states[rank::num_ranks]]
        self._window = LossWindow.restored(*windows, device=self.fabric.device)
        self._window.num_steps = states[0]["window"]["counts"][0]  # the same in all
        self._window.num_examples = self._window.num_tokens = 0  # speeds are those of this part of the run

    def _say_length(self, before: list[Any] | None) -> None:
        """Say what a new length does to the learning rate, which follows it at once."""
        if before in (None, [self.settings.steps, self.settings.max_time]) or self.is_over:
            return
        group = self.strategy.optimizer.param_groups[0]
        rates = f"{float(group['lr'] / group['rate']):.3g} to {self.learning_rate:.3g}"
        self.display.say(f"step {self.step}: the run has another length now, and its learning rate goes from {rates}")

    def finish(self) -> None:
        """Save the model of a run that was never validated; of one whose losses were never finite, none."""
        if self.best_step is None:
            if not math.isfinite(self.last_metrics.get("loss", 0.0)):
                raise Diverged("training diverged: no validation loss was finite; a lower learning_rate may help")
            with self.strategy.whole() as task:
                if task is not None:
                    self._save_model(task)

    def measure_compute(self) -> Compute | None:
        """What the run made of its machine; None for a few seconds of training, or several processes."""
        part, (num_examples, seconds) = self._last_part, self._trained
        if part is None or seconds < _LEAST_SECONDS or not self.processes.is_alone:
            return None
        precision = self.settings.precision
        try:
            count = count_step(self.strategy.task, part.batch, part.drawn, precision) / len(part.batch)
            limit = matmul_rate(self.fabric.device, precision)
        except (RuntimeError, MemoryError):  # out of memory: the run is done and saved, whatever is said of it
            return None
        return Compute(flops_per_example=count, flops_per_second=count * num_examples / seconds, limit=limit)

    def close(self) -> None:
        """Close the logs."""
        for log in self.logs:
            log.close()

    # ------------------------------------------------------------------------------------------------ parts of the loop

    @property
    def learning_rate(self) -> float:
        """Of the next step: of its middle, so that neither the first nor the last is wasted on zero."""
        settings, progress = self.settings, self.clock.progress(self.step + 0.5)
        shape = {"warmup": settings.warmup, "flat": settings.flat, "final": settings.final_learning_rate}
        return settings.learning_rate * warmup_cosine(progress, **shape)

    def count_examples(self, window: Sequence[Batch]) -> int:
        """The number of examples that all processes have read for a step; the unreadable ones are named."""
        own = sum(len(batch) for batch in window), [name for batch in window for name in batch.skipped]
        counts, skipped = zip(*self._agree(own), strict=True)
        self.skipped.count(sum(counts), tuple(name for names in skipped for name in names))
        return sum(counts)

    def draw_parts(self, window: Sequence[Batch]) -> list[Part]:
        """A step's batches on the device, with their random choices; for an empty one the stand-in, if there is one."""
        self._last_part = None  # the step before: no memory of the device is held for it
        parts = []
        for batch in window:
            weight = self.processes.num_ranks if len(batch) > 0 else 0
            shown = batch if weight else self.strategy.stand_in
            if shown is not None:
                shown = shown.to(self.fabric.device, non_blocking=True)
                parts.append(Part(shown, self.strategy.task.draw(shown), weight))
        return parts

    def count_terms(self, parts: Sequence[Part]) -> dict[str, Tensor]:
        """The count of each term of the loss in a step, over all parts and processes."""
        task = self.strategy.task
        counts = [task.counts(part.batch, part.drawn) for part in parts if part.weight]
        return task.count_together(counts, None if self.processes.is_alone else dist.group.WORLD)

    def add_loss(self, part: Part, loss: Tensor, logs: Mapping[str, Tensor]) -> None:
        """Add a part to the step."""
        if part.weight:
            self._last_part = part
            self._losses.append(Loss(part.batch, part.drawn, loss.detach(), dict(logs)))

    def accepts_step(self) -> bool:
        """Whether a step may be taken, and counts in the log: its loss and gradient are finite, or judged later."""
        losses, self._losses = self._losses, []
        assert self.gradient_norm is not None
        with self._telling_what_is_left():
            if not self.finite.accepts(self.step + 1, losses, self.gradient_norm):
                self.gradient_norm = None
                self.display.say(f"step {self.step + 1} is left out: not finite; {self.finite.path} names its examples")
                return False
        for each in losses:
            self._window.add(each.batch, each.value, each.logs)
        self._window.num_steps += 1
        return True

    def finish_step(self) -> None:
        """Count a step, and agree on time and signals."""
        self.step += 1
        self.is_validated = False
        self._agree()
        self.is_over = self.clock.progress(self.step) >= 1

    def decide(self) -> tuple[bool, bool]:
        """Whether a validation and a checkpoint are due: the first process's answer."""
        is_validation_due = False
        if self.validation is not None:  # time may be up between two looks at the clock
            is_validation_due = self.validation_plan.is_due(self.step) or self.is_over
        return self.processes.broadcast((is_validation_due, self.checkpoint_plan.is_due(self.step)))

    def _agree(self, value: Any = None) -> list[Any]:
        """Agree on the time and on whether to stop; gives the values of all processes."""
        rows = self.processes.gather((self.is_stop_requested(), self.clock.running, value))
        self.is_interrupted = any(is_requested for is_requested, _, _ in rows)
        if not self.processes.is_alone:
            self.clock.agree(rows[0][1])
        return [each for _, _, each in rows]

    # ------------------------------------------------------------------------------------------------------------ logs

    def log_losses(self) -> None:
        """Write a row: mean losses since the last one, learning rate, length of the gradient, speeds."""
        window = LossWindow.restored(*self.processes.gather(self._window.state()))
        means, now = window.means(), time.monotonic() - self.validation_plan.seconds
        seconds = now - self._row_at
        row = {f"train/{name}": value for name, value in means.items()}
        group = self.strategy.optimizer.param_groups[0]
        row["learning_rate"] = float(group["lr"] / group["rate"])
        if self.gradient_norm is not None:
            row["gradient_norm"] = float(self.gradient_norm)
        if self.finite.num_left_out:
            row["steps_left_out"] = self.finite.num_left_out
        self._trained = self._trained[0] + window.num_examples, self._trained[1] + seconds
        row["examples_per_second"] = window.num_examples / seconds
        row["tokens_per_second"] = window.num_tokens / seconds
        row["seconds"] = self.clock.elapsed
        self._write_row(row)
        self._check_finite()
        self.loss = means.get("loss", self.loss)
        self._window = LossWindow()
        self._row_at = now

    def _write_row(self, row: Mapping[str, float]) -> None:
        for log in self.logs:
            log.write(self.step, row)

    def _check_finite(self) -> None:
        """Refuse to go on, or to save, once a step was not finite."""
        with self._telling_what_is_left():
            self.finite.judge()

    @contextmanager
    def _telling_what_is_left(self) -> Iterator[None]:
        try:
            yield
        except Diverged as error:
            last, step = self.folder.last_checkpoint, self.saved_step
            left = "nothing was saved before" if step is None else f"{last} is from step {step}, before that"
            raise TrainingError(f"{error}; {left}") from None

    # ------------------------------------------------------------------------------------------------------ validation

    def validate(self) -> bool:
        """Validate the weights of this step; if they are the best so far (True), save them as the run's model."""
        self._check_finite()
        started, is_best = time.monotonic(), False
        with self.strategy.whole() as task:
            found = self.processes.broadcast(self._measure(task))
            if found is None:
                return False
            measured, self.last_observed = found
            self.skipped.name(measured.skipped)
            self.is_validated = True
            self.last_metrics = measured.metrics
            if self._is_best(measured.metrics):
                is_best, self.best_metrics, self.best_step = True, measured.metrics, self.step
                self.best_observed = self.last_observed
                if task is not None:
                    self._save_model(task)
        self.validation_plan.add(time.monotonic() - started, once=self._seconds_once)
        self._seconds_once = 0.0
        metrics = {f"{VALIDATION}{name}": value for name, value in measured.metrics.items()}
        self._show_row(metrics | self.last_observed)
        return is_best

    def _is_best(self, metrics: Mapping[str, float]) -> bool:
        """Whether they are better than the best so far, or as good with a smaller loss. Not where one is not finite."""
        name, better = self.strategy.task.monitor
        sign = 1 if better == "min" else -1
        rank = sign * metrics[name], metrics["loss"]
        if not all(map(math.isfinite, rank)):
            return False
        return not self.best_metrics or rank < (sign * self.best_metrics[name], self.best_metrics["loss"])

    def observe_start(self) -> None:
        """Show what the observers see before the first step, to compare with; not if the run is too short for that."""
        num_looked_at = sum(each.num_examples for each in self.observers)
        examples_per_step = self.settings.batch_size * self.settings.accumulate
        if not self.observers or 3 * num_looked_at > (self.settings.steps or math.inf) * examples_per_step:
            return
        started = time.monotonic()
        with self.strategy.whole() as task:
            observed = self.processes.broadcast(None if task is None else observe(self.observers, task.eval(), 0))
        set_training_mode(self.strategy.task)
        self.validation_plan.add_once(time.monotonic() - started)
        self._show_row(observed)

    def _show_row(self, row: Mapping[str, float]) -> None:
        """Write a row, and say it: a line for each part, by how the columns begin."""
        self._write_row(row)
        for part in dict.fromkeys(name.partition("/")[0] for name in row):
            values = {
                name.removeprefix(f"{part}/"): value for name, value in row.items() if name.startswith(f"{part}/")
            }
            self.display.say(f"step {self.step}, {part}: {in_words(values)}")

    def _measure(self, task: Task | None) -> tuple[Measurement, dict[str, float]] | None:
        """The first process measures; the others exchange with it after each batch until it is done."""
        if task is None:
            while not any(self._agree(False)):
                pass
            return None
        assert self.validation is not None

        def after_batch(num_examples: int) -> bool:
            self.display.validating(num_examples)
            self._agree(False)
            return self.is_interrupted

        trivial = task.trivial_answers(self._num_validation) if self.trivial is None else None
        how: dict[str, Any] = {"precision": self.settings.precision, "after_batch": after_batch, "trivial": trivial}
        measured, observed = measure(task.eval(), self.validation, **how), {}
        if measured is not None:
            observed = observe(self.observers, task, self.step, after_each=lambda: self._agree(False))
            if trivial is not None:
                self.trivial, self._seconds_once = trivial.metrics(), trivial.seconds
            measured = measured._replace(metrics=measured.metrics | (self.trivial or {}))
        set_training_mode(self.strategy.task)
        self._agree(True)
        return None if measured is None else (measured, observed)

    # ---------------------------------------------------------------------------------------------------------- saving

    def save(self, *, is_best: bool = False, is_validation_due: bool = False) -> None:
        """Write the last checkpoint, and the same as the best one if the weights are the best so far."""
        self._check_finite()
        started = time.monotonic()
        weights = self.strategy.state()
        states = self.processes.gather({"window": self._window.state(), "random": random_state()})
        if self.processes.is_first:
            with self._telling_what_is_left():
                if not are_finite([x for x in weights["weights"].values() if x.is_floating_point()]):
                    remedy = "a lower learning_rate or a longer warmup may help"
                    raise Diverged(f"training diverged: weights at step {self.step} are not finite; {remedy}")
            run = {
                "format": FORMAT,
                "identity": dict(self.identity),
                "elapsed": self.clock.elapsed,
                "length": [self.settings.steps, self.settings.max_time],
                **{name: getattr(self, name) for name in _KEPT},
                "is_validation_due": is_validation_due,
                "unreadable": {"num_met": self.skipped.num_met, "keys": sorted(self.skipped.keys)},
                "left_out": [self.finite.num_left_out, self.finite.num_in_a_row],
                "processes": states,
            }
            path = self.folder.best_checkpoint if is_best else self.folder.last_checkpoint
            write_checkpoint(path, {RUN_KEY: run, **weights})
            if is_best:
                copy_checkpoint(path, self.folder.last_checkpoint)
        self.saved_step = self.step
        self.checkpoint_plan.add(time.monotonic() - started)

    def _save_model(self, task: Task) -> None:
        with write_errors(f"{self.folder.model}: the model could not be saved", "; the one before is kept"):
            self.folder.model.mkdir(exist_ok=True)  # not the run folder, which somebody may have removed
            save_task(self.folder.model, task)


def set_training_mode(task: Task) -> None:
    """Training mode; parts whose weights are all frozen stay in evaluation mode, without dropout."""
    task.train()
    for part in task.modules():
        weights = list(part.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            part.eval()
