"""How far a run is, by steps or by the clock, and what follows: learning rate, validations, checkpoints."""

import math
import time
from dataclasses import dataclass

_VALIDATIONS = 10  # validations in a run whose settings do not say how many
_LARGEST_SHARE_FOR_VALIDATION = 0.1
_LARGEST_SHARE_FOR_SAVING = 0.05
_SHORT_SECONDS = 5.0


def warmup_cosine(progress: float, *, warmup: float, final: float, flat: float = 0.0) -> float:
    """Learning rate as a share of the highest, at a progress from 0 to 1: straight up, then flat, then half a cosine.

    `warmup` and `flat` are shares of the run, `final` is the share of the highest rate at its end.

    >>> [round(warmup_cosine(progress, warmup=0.1, final=0.01), 3) for progress in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.0, 0.5, 1.0, 0.505, 0.01]
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return progress / warmup
    after = max(progress - warmup - flat, 0.0) / (1 - warmup - flat)
    return final + (1 - final) * (1 + math.cos(math.pi * after)) / 2


@dataclass(kw_only=True)
class RunClock:
    """How far a run is from 0 to 1: by steps or by time since `start()`, whichever limits it and is further."""

    steps: int | None
    max_seconds: float | None
    earlier_seconds: float = 0.0
    _started: float | None = None
    _agreed: float | None = None

    def start(self) -> None:
        """Begin to count time."""
        self._started = time.monotonic()

    def agree(self, elapsed: float) -> None:
        """Stop at a time, in seconds of the whole run, until the next call: the same in all processes."""
        self._agreed = elapsed

    @property
    def elapsed(self) -> float:
        """Seconds of the run until now."""
        return self.running if self._agreed is None else self._agreed

    @property
    def running(self) -> float:
        """The same by this process's own clock."""
        return self.earlier_seconds + (0.0 if self._started is None else time.monotonic() - self._started)

    def progress(self, step: float) -> float:
        """How far the run is after `step` optimizer steps, from 0 to 1."""
        by_steps = step / self.steps if self.steps is not None else 0.0
        by_time = self.elapsed / self.max_seconds if self.max_seconds is not None else 0.0
        return min(max(by_steps, by_time), 1.0)


class ValidationPlan:
    """When to validate: every so many steps, or evenly ten times, fewer where that takes more than a tenth of the run.

    In a run limited by steps a validation is taken to cost as much as training on as many examples, so that the plan is
    the same on every machine; where it turns out to be slower, and in a run limited by time, its measured time counts.
    The end of the run is always validated: if that alone takes more than a tenth, it is the only one.

    `num_examples` are in the validation set; a resumed run begins after `step`.
    """

    def __init__(self, *, every: int | None, num_examples: int, examples_per_step: int, clock: RunClock, step: int = 0):
        self.every, self.clock = every, clock
        self.num_examples, self.examples_per_step = num_examples, examples_per_step
        self.seconds = 0.0  # of the validations of this part of the run
        self._seconds_once = 0.0  # of these
        self._num_measured = 0
        self._last = clock.progress(step)

    def is_due(self, step: int) -> bool:
        """Whether to validate after a step; called once for each."""
        progress = self.clock.progress(step)
        if self.every is not None:
            return step % self.every == 0 or progress == 1
        count = self._affordable(step, progress)
        is_due = int(count * progress) > int(count * self._last)
        if is_due:
            self._last = progress
        return is_due

    def add(self, seconds: float, *, once: float = 0.0) -> None:
        """Count a validation, of whose seconds some, `once`, are not spent in the next one again."""
        self.add_once(once)
        self.seconds += seconds - once
        self._num_measured += 1

    def add_once(self, seconds: float) -> None:
        """Count what is done once in a run."""
        self.seconds += seconds
        self._seconds_once += seconds

    def _affordable(self, step: int, progress: float) -> int:
        """Validations that the whole run can afford."""
        share = self.num_examples / max(round(step * self.examples_per_step / progress), 1)
        measured = 0.0
        if self._num_measured:
            training = max(self.clock.elapsed - self.seconds, 1e-9) / progress
            measured = (self.seconds - self._seconds_once) / self._num_measured / training
        if self.clock.max_seconds is not None:
            share = measured or share / 3  # there is no backward pass in it
        elif self.seconds > _SHORT_SECONDS:
            share = max(share, measured)
        return min(max(int(_LARGEST_SHARE_FOR_VALIDATION / share), 1), _VALIDATIONS)


class CheckpointPlan:
    """When to save: every so many steps, and every so many seconds, more where saving takes more than a twentieth.

    The first step is saved unless there is a checkpoint of where the run starts (`is_saved`).
    """

    def __init__(self, *, every: int | None, seconds: float, is_saved: bool):
        self.every = every
        self.seconds = seconds
        self._saved_at = time.monotonic() if is_saved else -math.inf
        self._seconds_saving = 0.0

    def is_due(self, step: int) -> bool:
        """Whether to save after a step."""
        if self.every is not None and step % self.every == 0:
            return True
        least = max(self.seconds, self._seconds_saving / _LARGEST_SHARE_FOR_SAVING)
        return time.monotonic() - self._saved_at >= least

    def add(self, seconds: float) -> None:
        """Count a checkpoint."""
        self._saved_at, self._seconds_saving = time.monotonic(), seconds
