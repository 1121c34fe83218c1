"""How far a run is, by steps or by the clock, and what that makes of the learning rate."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Learning rate over a run as a share of the highest: a straight warm-up, then half a cosine.

    >>> schedule = Schedule(warmup=0.1, final=0.01)
    >>> [round(schedule(progress), 3) for progress in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.0, 0.5, 1.0, 0.505, 0.01]
    """

    warmup: float
    """Share of the run that the warm-up takes."""
    final: float
    """Share of the highest learning rate that is left at the end."""

    def __call__(self, progress: float) -> float:
        """The share at a progress from 0 (start) to 1 (end)."""
        progress = min(max(progress, 0.0), 1.0)
        if progress < self.warmup:
            return progress / self.warmup
        after = (progress - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * after)) / 2


class RunClock:
    """How far a run is from 0 (start) to 1 (end): by steps or by time, whichever is further.

    Time counts from `start()`, on top of what earlier parts of the run took.

    Args:
        steps: optimizer steps of the run, if they limit it.
        max_seconds: time of the run, if that limits it.
        earlier_seconds: what the parts of the run before this one took.
    """

    def __init__(self, *, steps: int | None, max_seconds: float | None, earlier_seconds: float = 0.0):
        self.steps = steps
        self.max_seconds = max_seconds
        self.earlier_seconds = earlier_seconds
        self._started: float | None = None
        self._agreed: float | None = None

    def start(self) -> None:
        """Begin to count."""
        self._started = time.monotonic()

    def agree(self, elapsed: float) -> None:
        """Stand at a time, in seconds of the whole run, until the next call: processes must not differ in it."""
        self._agreed = elapsed

    @property
    def elapsed(self) -> float:
        """Seconds that the run took until now."""
        return self.running if self._agreed is None else self._agreed

    @property
    def running(self) -> float:
        """The same by this process's own clock, whatever was agreed on."""
        return self.earlier_seconds + (0.0 if self._started is None else time.monotonic() - self._started)

    def progress(self, step: float) -> float:
        """How far the run is after `step` optimizer steps, from 0 to 1."""
        shares = [0.0]
        if self.steps is not None:
            shares.append(step / self.steps)
        if self.max_seconds is not None:
            shares.append(self.elapsed / self.max_seconds)
        return min(max(shares), 1.0)
