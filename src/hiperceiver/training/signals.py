"""SIGINT and SIGTERM end a run after the step that is being done."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from hiperceiver.training.progress import Display


@contextmanager
def stop_signals(display: Display) -> Iterator[Callable[[], bool]]:
    """Take the signals while the context lasts; gives a function: has there been one? The second one stops at once."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        display.say("stopping after this step, with a checkpoint; once more to stop at once")

    before = {}
    if threading.current_thread() is threading.main_thread():  # only there can signals be taken
        before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler if handler is not None else signal.SIG_DFL)
