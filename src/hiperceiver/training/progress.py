"""How a run shows itself: a bar on a terminal, a line now and then elsewhere, or nothing."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hiperceiver.settings.run import format_duration
from hiperceiver.training.schedule import RunClock

_SECONDS_BETWEEN_FRAMES = 0.5
_SECONDS_BETWEEN_LINES = 15.0


class Display:
    """A bar that is redrawn twice a second on a terminal; elsewhere a line now and then, seldom enough to be read.

    `step` counts the optimizer steps before this part of the run; the default `stream` is standard error.
    """

    def __init__(self, clock: RunClock, *, step: int = 0, is_shown: bool = True, stream: TextIO | None = None):
        self.clock = clock
        self.is_shown = is_shown
        self.console = Console(file=stream or sys.stderr)
        self.bar: Progress | None = None
        if is_shown and self.console.is_interactive:
            percentage, text = TextColumn("{task.percentage:>3.0f}%"), TextColumn("{task.description}")
            # Drawn from the training loop: a drawing thread would take its time from training on a small machine.
            self.bar = Progress(BarColumn(bar_width=24), percentage, text, console=self.console, auto_refresh=False)
            self._row = self.bar.add_task("starting", total=1.0)
        self._first_step, self._text, self._shown_at = step, "starting", 0.0

    def start(self) -> None:
        """Begin, after the clock."""
        self._first_elapsed = self.clock.elapsed
        self._first_progress = self.clock.progress(self._first_step)
        self._shown_at = time.monotonic()
        if self.bar is not None:
            self.bar.start()

    def update(self, step: int, loss: float | None, *, is_last: bool = False) -> None:
        """Show that an optimizer step is done; `loss` is the mean of the last row of the log."""
        if not is_last and not self._is_due():
            return
        progress, self._text = self.clock.progress(step), self._describe(step, loss)
        self._draw(self._text, progress)
        if self.bar is None:
            self.say(f"{100 * progress:3.0f}%  {self._text}")

    def validating(self, num_examples: int) -> None:
        """Show on a bar how many examples have been validated."""
        if self.bar is not None and self._is_due():
            self._draw(f"{self._text}, validating: {num_examples} examples")

    def say(self, text: str) -> None:
        """Show a line that stays."""
        if self.bar is not None:
            self.bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
        elif self.is_shown:
            print(text, file=self.console.file, flush=True)

    def stop(self) -> None:
        """The run is over, one way or another."""
        if self.bar is not None:
            self.bar.stop()

    def _is_due(self) -> bool:
        wait = _SECONDS_BETWEEN_LINES if self.bar is None else _SECONDS_BETWEEN_FRAMES
        return self.is_shown and time.monotonic() - self._shown_at >= wait

    def _draw(self, text: str, progress: float | None = None) -> None:
        self._shown_at = time.monotonic()
        if self.bar is not None:
            self.bar.update(self._row, completed=progress, description=text, refresh=True)

    def _describe(self, step: int, loss: float | None) -> str:
        """Step, loss, steps per second and time left, from what this part of the run did so far."""
        clock, elapsed = self.clock, self.clock.elapsed
        progress, seconds = clock.progress(step), elapsed - self._first_elapsed
        parts = [f"step {step}" if clock.steps is None else f"step {step}/{clock.steps}"]
        if loss is not None:
            parts.append(f"loss {loss:.4g}")
        if seconds > 0 and step > self._first_step:
            parts.append(f"{(step - self._first_step) / seconds:.3g} steps/s")
        time_text = format_duration(elapsed)
        if clock.max_seconds is not None:
            time_text += f" of {format_duration(clock.max_seconds)}"
        if progress > self._first_progress:
            left = seconds * (1 - progress) / (progress - self._first_progress)
            if clock.max_seconds is not None:
                left = min(left, max(clock.max_seconds - elapsed, 0.0))
            time_text += f", {format_duration(left)} left"
        return ", ".join([*parts, time_text])


@contextmanager
def counting(what: str, total: int, *, is_shown: bool, stream: TextIO | None = None) -> Iterator[Callable[[int], None]]:
    """A bar for work that is counted, on a terminal only; gives a function that takes the number done."""
    console = Console(file=stream or sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
    is_hidden = not (is_shown and console.is_interactive)
    with Progress(*columns, console=console, transient=True, refresh_per_second=2, disable=is_hidden) as progress:
        row = progress.add_task(what, total=total)
        yield lambda done: progress.update(row, completed=done)
