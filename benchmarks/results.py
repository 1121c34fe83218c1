"""From answers to what is said of them: medians, ratios, shares of the limit, exponents."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.jobs import Answer, Job, Status
from benchmarks.peers import counted_as, ours_for

Answers = Mapping[Job, Sequence[Answer]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is said of a step."""

    job: Job
    """Which."""
    status: Status = "measured"
    """Or why there are no numbers."""
    problem: str = ""
    """The same in a line, if there are none."""
    seconds: float = math.nan
    """Median over rounds of the median over calls."""
    fastest: float = math.nan
    """Of the rounds' medians."""
    slowest: float = math.nan
    """Of the rounds' medians."""
    peak_bytes: float = math.nan
    """Median over rounds; largest resident memory of its process, or what was allocated on the GPU."""
    import_bytes: float = math.nan
    """Of it: what the process held before the model was made."""
    num_parameters: int = 0
    """Of the model."""
    compile_seconds: float = 0.0
    """What compiling took; in none of the times."""
    time_ratio: float = math.nan
    """Its time in units of ours."""
    memory_ratio: float = math.nan
    """Its memory in units of ours."""
    flops: float = math.nan
    """Operations of the matrix products that run."""
    limit_share: float = math.nan
    """Time that the operations would take at the machine's rate of large matrix products, as it was right after the
    steps, over the time taken: the median over rounds."""
    utilisation: float = math.nan
    """The same for operations that the model must do: three forward passes for a training step, recomputation not
    counted."""


def row(job: Job, answers: Answers) -> Row:
    """What is said of a step, masked or not, that was tried at least once."""
    measured = [answer.numbers for answer in answers[job] if answer.status == "measured"]
    if not measured:
        last = answers[job][-1]
        return Row(job=job, status=last.status, problem=last.note or last.status)
    times = median_seconds(answers[job])
    seconds, peak = median(times), median(numbers["peak_bytes"] for numbers in measured)
    ours = _first(answers.get(replace(job, name=ours_for(job.name)), ()), ("seconds", "peak_bytes"))
    count = replace(job, kind="count", precision="32", name=counted_as(job.name))
    counted = _first(answers.get(count, ()), ("flops", "forward_flops"))
    flops, forward = counted or (math.nan, math.nan)
    rates = [numbers.get("matmul_rate", math.nan) for numbers in measured]
    share = median(1 / rate / time for rate, time in zip(rates, times, strict=True))  # of the limit, for an operation
    needed = forward if job.mode == "inference" else 3 * forward
    return Row(
        job=job,
        seconds=seconds,
        fastest=min(times),
        slowest=max(times),
        peak_bytes=peak,
        import_bytes=median(numbers["import_bytes"] for numbers in measured),
        num_parameters=measured[0]["num_parameters"],
        compile_seconds=median(numbers["compile_seconds"] for numbers in measured),
        time_ratio=seconds / ours[0] if ours else math.nan,
        memory_ratio=peak / ours[1] if ours else math.nan,
        flops=flops,
        limit_share=flops * share,
        utilisation=needed * share,
    )


def median_seconds(answers: Sequence[Answer]) -> list[float]:
    """Of each round that was measured, the median of its calls."""
    return [median(answer.numbers["seconds"]) for answer in answers if answer.status == "measured"]


def _first(answers: Sequence[Answer], names: tuple[str, str]) -> tuple[float, float] | None:
    """Medians of two numbers over the answers that have them."""
    measured = [answer.numbers for answer in answers if answer.status == "measured"]
    if not measured:
        return None
    first, second = (median(map(_one, (numbers[name] for numbers in measured))) for name in names)
    return first, second


def _one(value: float | list[float]) -> float:
    return median(value) if isinstance(value, list) else value


def machine_rates(answers: Answers, name: str) -> list[float]:
    """Every measurement of one of the machine's rates in this run, in their order."""
    return [
        answer.numbers[name]
        for job, each in answers.items()
        if job.kind == "machine"
        for answer in each
        if answer.status == "measured"
    ]


def exponent(points: Iterable[tuple[float, float]]) -> float:
    """The slope of a line through the logarithms of (x, y), by least squares; NaN for fewer than two x.

    >>> round(exponent([(1, 3), (2, 12), (4, 48)]), 6)
    2.0
    """
    logs = [(math.log(x), math.log(y)) for x, y in points]
    if len({x for x, _ in logs}) < 2:
        return math.nan
    mean_x, mean_y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)
