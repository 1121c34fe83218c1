"""Steps whose loss or gradient is not finite: they end the run, or are left out and counted.

A number in a computation that is not finite, in any precision, makes the loss or the gradient so, or does no harm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hiperceiver.modality import Batch
from hiperceiver.settings.base import one_line
from hiperceiver.settings.run import NonFinite, Precision
from hiperceiver.tasks.task import Task
from hiperceiver.training.errors import TrainingError, write_errors
from hiperceiver.training.evaluation import autocast
from hiperceiver.training.processes import Processes
from hiperceiver.writing import write_text

_MOST_IN_A_ROW = 10
_NAMES_SHOWN = 5


class Loss(NamedTuple):
    """What a batch, with its random choices, adds to the loss of a step, and the terms of that for the log."""

    batch: Batch
    drawn: Any
    value: Tensor
    logs: dict[str, Tensor]


class _Step(NamedTuple):
    number: int
    losses: Sequence[Loss]  # of this process
    gradient_norm: Tensor


@dataclass(kw_only=True)
class FiniteSteps:
    """Judges steps, alike in all processes, and names the examples of those that are not finite in a file.

    `is_at_once`: a step is judged before the weights move. Otherwise nothing waits for a GPU: its steps are judged when
    its numbers are read anyway, by `judge`, before a row of the log, a validation or a checkpoint.
    """

    path: Path
    non_finite: NonFinite
    is_at_once: bool
    processes: Processes
    task: Task | None  # to find where numbers stop being finite; None if its weights are not whole
    precision: Precision
    last_step: int = 0  # that is done: what the file says of later ones is of a part of the run that was lost
    num_left_out: int = 0
    num_in_a_row: int = 0
    _waiting: list[_Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.processes.is_first and self.path.exists():
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            kept = [each for each in lines if each.endswith("\n") and _step_of(each) <= self.last_step]
            write_text(self.path, "".join(kept))

    def accepts(self, number: int, losses: Sequence[Loss], gradient_norm: Tensor) -> bool:
        """Whether a step may be taken; `TrainingError`: it, or one before it, ends the run."""
        if not self.is_at_once:  # the examples' names are kept, not the examples
            losses = [each._replace(batch=Batch(inputs={}, names=each.batch.names), drawn=None) for each in losses]
        self._waiting.append(_Step(number, losses, gradient_norm))
        return self.judge() if self.is_at_once else True

    def judge(self) -> bool:
        """Whether all steps since the last call are finite."""
        steps, self._waiting = self._waiting, []
        if not steps:
            return True
        numbers = [number for step in steps for number in (step.gradient_norm, *(each.value for each in step.losses))]
        values = iter(torch.stack([each.detach().float() for each in numbers]).tolist())  # waits for the device once
        own = [(next(values), [next(values) for _ in step.losses]) for step in steps]
        for step, mine, each in zip(steps, own, zip(*self.processes.gather(own), strict=True), strict=True):
            loss = sum(value for _, losses in each for value in losses)
            gradient_norm = sum(norm for norm, _ in each) / len(each)
            if math.isfinite(loss) and math.isfinite(gradient_norm):
                self.num_in_a_row = 0
                continue
            what = ("gradient", gradient_norm) if math.isfinite(loss) else ("loss", loss)
            self._found(step, mine[1], *what)
            return False
        return True

    def _found(self, step: _Step, own: Sequence[float], what: str, value: float) -> None:
        """Write down a step whose loss or gradient is not finite, and count it or end the run.

        `own`: the values of this process's losses.
        """
        losses = [each for each, x in zip(step.losses, own, strict=True) if what == "gradient" or not math.isfinite(x)]
        self.num_left_out += 1
        self.num_in_a_row += 1
        is_over = self.non_finite == "stop" or self.num_in_a_row == _MOST_IN_A_ROW
        names = [one_line(name) for each in losses for name in each.batch.names]
        where = self._where(losses) if is_over else ""
        gathered = self.processes.gather((names, where))
        names = [name for each, _ in gathered for name in each]
        where = next((each for _, each in gathered if each), "")
        if self.processes.is_first:
            with (
                write_errors(f"{self.path}: could not be written"),
                self.path.open("a", encoding="utf-8", errors="backslashreplace") as file,
            ):
                file.write(f"step {step.number}: the {what} is {value}: {', '.join(names)}\n")
        if not is_over:
            return
        shown = ", ".join(names[:_NAMES_SHOWN])
        if len(names) > _NAMES_SHOWN:
            shown += f" and {len(names) - _NAMES_SHOWN} more, which {self.path} names"
        parts = [f"the {what} at step {step.number} is {value}"]
        if self.non_finite == "skip":
            parts.insert(0, f"{_MOST_IN_A_ROW} steps in a row are not finite")
        parts += [f"first in {where}"] if where else []
        parts += [f"of {shown}"] if shown else []
        remedies = ["a lower learning_rate", "a longer warmup"]
        remedies += ["precision 32"] if self.precision != "32" else []
        remedies += ["non_finite skip, which leaves such steps out,"] if self.non_finite == "stop" else []
        raise Diverged(f"training diverged: {', '.join(parts)}; {', '.join(remedies[:-1])} or {remedies[-1]} may help")

    def _where(self, losses: Sequence[Loss]) -> str:
        """The first part of the model whose output for these batches is not finite; nothing if all are, or unknown."""
        found: list[str] = []

        def look(name: str, output: Any) -> None:
            if not found and isinstance(output, Tensor) and not output.isfinite().all():
                found.append(name)

        if self.task is None:
            return ""
        hooks = [
            part.register_forward_hook(lambda _, __, output, name=name: look(name, output))
            for name, part in self.task.named_modules()
        ]
        try:
            for each in losses:
                if each.batch.inputs:
                    with torch.no_grad(), autocast(self.task.device, self.precision):
                        self.task.terms(each.batch, each.drawn)
        finally:
            for hook in hooks:
                hook.remove()
        return found[0] if found else ""


class Diverged(TrainingError):
    """A step was not finite. Its message lacks what is left, which the run adds."""


def are_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all numbers of tensors of one device are; waits for it once."""
    return bool(torch.stack([x.isfinite().all() for x in tensors]).all())


def _step_of(line: str) -> float:
    number = line.removeprefix("step ").partition(":")[0]
    return int(number) if number.isdigit() else math.inf
