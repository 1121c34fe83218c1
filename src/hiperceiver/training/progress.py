"""How a run shows itself: a bar on a terminal, a line now and then elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hiperceiver.settings.run import format_duration
from hiperceiver.training.schedule import RunClock

_SECONDS_BETWEEN_FRAMES = 0.5
_SECONDS_BETWEEN_LINES = 15.0


class Display:
    """Shows nothing; the base of what shows something.

    Args:
        clock: knows how long the run is.
        step: optimizer steps done before this part of the run.
    """

    def __init__(self, clock: RunClock, *, step: int = 0):
        self.clock = clock
        self.first_step = step

    def start(self) -> None:
        """The run begins."""

    def update(self, step: int, loss: float | None, *, is_last: bool = False) -> None:
        """An optimizer step is done; `loss` is the mean of the last row of the log."""

    def validating(self, num_examples: int) -> None:
        """So many examples have been validated."""

    def say(self, text: str) -> None:
        """A line that stays."""

    def stop(self) -> None:
        """The run is over, one way or another."""


class _Pace:
    """Steps per second and time left, from what this part of the run did so far."""

    def __init__(self, clock: RunClock, step: int):
        self.clock = clock
        self.first_step = step
        self.first_elapsed = clock.elapsed
        self.first_progress = clock.progress(step)

    def describe(self, step: int, loss: float | None) -> str:
        clock, elapsed = self.clock, self.clock.elapsed
        progress, seconds = clock.progress(step), elapsed - self.first_elapsed
        parts = [f"step {step}" if clock.steps is None else f"step {step}/{clock.steps}"]
        if loss is not None:
            parts.append(f"loss {loss:.4g}")
        if seconds > 0 and step > self.first_step:
            parts.append(f"{(step - self.first_step) / seconds:.3g} steps/s")
        time_text = format_duration(elapsed)
        if clock.max_seconds is not None:
            time_text += f" of {format_duration(clock.max_seconds)}"
        if progress > self.first_progress:
            left = seconds * (1 - progress) / (progress - self.first_progress)
            if clock.max_seconds is not None:
                left = min(left, max(clock.max_seconds - elapsed, 0.0))
            time_text += f", {format_duration(left)} left"
        return ", ".join([*parts, time_text])


class BarDisplay(Display):
    """A bar that is drawn over and over, twice a second at most."""

    def __init__(self, clock: RunClock, console: Console, *, step: int = 0):
        super().__init__(clock, step=step)
        self.console = console
        # Drawn from the training loop: a drawing thread would take its time from training on a small machine.
        self.progress = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.description}"),
            console=console,
            auto_refresh=False,
        )
        self.task = self.progress.add_task("starting", total=1.0)
        self._pace: _Pace | None = None
        self._drawn = 0.0
        self._text = "starting"

    def start(self) -> None:
        """The bar appears."""
        self._pace = _Pace(self.clock, self.first_step)
        self.progress.start()
        self.progress.refresh()

    def update(self, step: int, loss: float | None, *, is_last: bool = False) -> None:
        """The bar grows."""
        assert self._pace is not None
        if self._is_due() or is_last:
            self._text = self._pace.describe(step, loss)
            self.progress.update(self.task, completed=self.clock.progress(step), description=self._text)
            self._draw()

    def validating(self, num_examples: int) -> None:
        """The bar tells."""
        if self._is_due():
            self.progress.update(self.task, description=f"{self._text}, validating: {num_examples} examples")
            self._draw()

    def say(self, text: str) -> None:
        """Above the bar."""
        self.progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def stop(self) -> None:
        """The bar stands still."""
        self.progress.stop()

    def _is_due(self) -> bool:
        return time.monotonic() - self._drawn >= _SECONDS_BETWEEN_FRAMES

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self.progress.refresh()


class LineDisplay(Display):
    """Plain lines, for logs and pipes: seldom enough to be read."""

    def __init__(self, clock: RunClock, console: Console, *, step: int = 0):
        super().__init__(clock, step=step)
        self.console = console
        self._pace: _Pace | None = None
        self._written = 0.0

    def start(self) -> None:
        """Nothing to write yet."""
        self._pace = _Pace(self.clock, self.first_step)
        self._written = time.monotonic()

    def update(self, step: int, loss: float | None, *, is_last: bool = False) -> None:
        """A line, if the last is long ago."""
        assert self._pace is not None
        if is_last or time.monotonic() - self._written >= _SECONDS_BETWEEN_LINES:
            self._written = time.monotonic()
            self.say(f"{100 * self.clock.progress(step):3.0f}%  {self._pace.describe(step, loss)}")

    def say(self, text: str) -> None:
        """A line."""
        print(text, file=self.console.file, flush=True)


def make_display(clock: RunClock, *, step: int = 0, is_shown: bool = True, stream: TextIO | None = None) -> Display:
    """The display that fits where it is shown.

    Args:
        clock: knows how long the run is.
        step: optimizer steps done before this part of the run.
        is_shown: False: nothing at all.
        stream: where to. None: standard error.
    """
    if not is_shown:
        return Display(clock, step=step)
    console = Console(file=stream or sys.stderr)
    if console.is_terminal and not console.is_dumb_terminal:
        return BarDisplay(clock, console, step=step)
    return LineDisplay(clock, console, step=step)


def describe_metrics(metrics: Mapping[str, float]) -> str:
    """Metrics in one line.

    >>> describe_metrics({"loss": 0.51234, "accuracy": 0.75})
    'loss 0.5123, accuracy 0.75'
    """
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


@contextmanager
def counting(what: str, total: int, *, is_shown: bool, stream: TextIO | None = None) -> Iterator[Callable[[int], None]]:
    """A bar for work that is counted; what it gives is told how many are done. Only on a terminal.

    Args:
        what: the work, in a word.
        total: how many there are.
        is_shown: False: no bar.
        stream: where to. None: standard error.
    """
    console = Console(file=stream or sys.stderr)
    if not is_shown or not console.is_terminal or console.is_dumb_terminal:
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, refresh_per_second=2) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)
