"""A step that can be timed, whatever it is written in. No package beyond Python's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MOST_CALLS = 10
ENOUGH_SECONDS = 6.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something to do again and again."""

    run: Callable[[], Any]
    """Does it once, and comes back when it is done."""
    num_parameters: int
    """Of its model."""
    compile_seconds: float = 0.0
    """What it took to compile it."""


def seconds_of(run: Callable[[], Any], *, most: int = MOST_CALLS, enough: float = ENOUGH_SECONDS) -> list[float]:
    """Seconds of each of up to `most` calls; no further one is begun after `enough` seconds."""
    times: list[float] = []
    while len(times) < most and sum(times) < enough:
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return times
