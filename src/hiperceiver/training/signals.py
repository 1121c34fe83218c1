"""SIGINT, SIGTERM, SIGUSR1 and SIGHUP end a run after the step that is being done. Without torch."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hiperceiver.training.progress import Display

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
STOP_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
"""Ctrl-C; `kill`, `timeout`, systemd and preemption; SLURM ahead of a time limit (`--signal=USR1@120`); a terminal or
connection that is closed."""
_SECONDS_OF_ONE = 1.0
"""`timeout`, torchrun and terminals send the same signal to a process and to its group: they count as one."""


@contextmanager
def taking_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Take the signals that stop while the context lasts; only the main thread can. SIGHUP stays ignored by nohup."""
    is_main = threading.current_thread() is threading.main_thread()
    hang_up = getattr(signal, "SIGHUP", None)
    taken = [each for each in STOP_SIGNALS if each != hang_up or signal.getsignal(each) != signal.SIG_IGN]
    before = {each: signal.signal(each, handler) for each in taken} if is_main else {}
    try:
        yield
    finally:
        for each, earlier in before.items():
            signal.signal(each, earlier if earlier is not None else signal.SIG_DFL)


@contextmanager
def stop_signals(display: Display) -> Iterator[Callable[[], bool]]:
    """Take the signals while the context lasts; gives a function: has there been one? A later one stops at once."""
    received: list[float] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if not received:
            received.append(time.monotonic())
            with suppress(OSError):  # the terminal may be gone
                display.say("stopping after this step, with a checkpoint; once more to stop at once")
        elif time.monotonic() - received[0] > _SECONDS_OF_ONE:
            raise KeyboardInterrupt

    with taking_signals(stop):
        yield lambda: bool(received)
