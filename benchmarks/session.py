"""One run of the benchmark: jobs in rounds, each answer kept on disk as soon as it is there."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.jobs import Answer, Job

_UNKNOWN_SECONDS = 20.0
"""What a measurement is thought to take before there is any like it."""
_PACKAGES = ("hiperceiver", "torch", "perceiver-pytorch", "transformers", "monai")


@dataclass(frozen=True, kw_only=True)
class Series:
    """Jobs that are done one after the other, again in each round, so that all of them see the same machine."""

    jobs: tuple[Job, ...] = ()
    """In their order within a round."""
    once: tuple[Job, ...] = ()
    """Done after the rounds, once."""


class Session:
    """Does series and keeps what came of them.

    Args:
        do: job -> answer.
        path: the JSON file, written after every measurement.
        rounds: how often a series is done.
        limit: seconds that a measurement may take; for the estimate of the time that is left.
        options: what the user asked for, kept in the file.
    """

    def __init__(
        self, do: Callable[[Job], Answer], path: Path, *, rounds: int, limit: float, options: Mapping[str, Any]
    ):
        self.do = do
        self.path = path
        self.rounds = rounds
        self.limit = limit
        self.options = dict(options)
        self.answers: dict[Job, list[Answer]] = {}

    def run(self, series: Sequence[Series]) -> None:
        """Do all series. What an earlier one has done already is not done again."""
        plan, known = [], set(self.answers)
        for each in series:
            plan += [job for job in each.jobs if job not in known] * self.rounds
            plan += [job for job in each.once if job not in known or job.kind == "machine"]
            known.update(each.jobs, each.once)
        started = time.monotonic()
        for number, job in enumerate(plan, start=1):
            answer = self._answer(job)
            self.answers.setdefault(job, []).append(answer)
            self._write()
            left = sum(map(self._expected, plan[number:]))
            print(
                f"[{number}/{len(plan)}] {job.described()}: {in_short(answer)}; "
                f"{(time.monotonic() - started) / 60:.0f} min so far, about {left / 60:.0f} min left",
                file=sys.stderr,
                flush=True,
            )

    def _answer(self, job: Job) -> Answer:
        """Do it, unless it is known that it will not do."""
        same = dataclasses.replace(job, kind="step") if job.kind == "count" else job
        for answer in self.answers.get(same, ())[-1:]:
            if answer.status != "measured" and job.kind != "machine":
                return dataclasses.replace(answer, wall=0.0)
        for other, answers in self.answers.items():
            is_smaller = 0 < other.side < job.side and dataclasses.replace(other, side=job.side) == job
            if is_smaller and answers[-1].status in ("does not fit", "too slow"):
                return Answer(status=answers[-1].status, note=f"not tried: {answers[-1].status} at {other.side}")
        return self.do(job)

    def _expected(self, job: Job) -> float:
        """Seconds that a job will probably take: as before, or as at another side, by the number of pixels."""
        if job in self.answers:
            answers = self.answers[job]
            return median(answer.wall for answer in answers) if answers[-1].status == "measured" else 0.0
        like = {
            other.side: median(answer.wall for answer in answers) if answers[-1].status == "measured" else 0.0
            for other, answers in self.answers.items()
            if dataclasses.replace(other, side=job.side) == job and other.side
        }
        if not like:
            return min(_UNKNOWN_SECONDS, self.limit)
        side = max(like)
        return min(like[side] * max(1.0, (job.side / side) ** 2), self.limit) if like[side] else 0.0

    def _write(self) -> None:
        measurements = [
            dataclasses.asdict(job) | dataclasses.asdict(answer)
            for job, answers in self.answers.items()
            for answer in answers
        ]
        text = json.dumps({"options": self.options, "machine": about_machine(), "measurements": measurements}, indent=1)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(text + "\n", encoding="utf-8")
        new.replace(self.path)  # an interruption leaves the old file or the new one


def in_short(answer: Answer) -> str:
    """An answer in a few words."""
    numbers = answer.numbers
    if answer.status != "measured":
        return answer.note if answer.note.startswith(answer.status) else f"{answer.status}: {answer.note}"
    if "peak_bytes" in numbers:
        return f"{median(numbers['seconds']):.3g} s, {numbers['peak_bytes'] / 1e9:.2f} GB"
    if "seconds" in numbers:
        return f"{median(numbers['seconds']):.3g} s"
    return ", ".join(f"{name} {value:.3g}" for name, value in numbers.items() if isinstance(value, (int, float)))


def about_machine() -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
