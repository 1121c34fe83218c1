"""Tables of what was measured, for people: on the terminal by rich, and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.jobs import Job
from benchmarks.results import Answers, Row, exponent, machine_rates, row

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, kw_only=True)
class Table:
    """Words and numbers, ready to be shown."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    """Below the table."""

    def markdown(self) -> str:
        """As Markdown, first column to the left, the others to the right."""
        cells = [[cell.replace("|", "\\|") for cell in each] for each in (self.columns, *self.rows)]
        head, *body = [f"| {' | '.join(each)} |" for each in cells]
        rule = "| --- |" + " ---: |" * (len(self.columns) - 1)
        return "\n".join([f"## {self.title}", "", head, rule, *body, *(["", self.note] if self.note else []), ""])

    def print(self, console: Console) -> None:
        """On a terminal, or whole where there is none."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as RichTable

        table = RichTable(box=SIMPLE_HEAD, title=self.title, title_justify="left", caption=self.note or None)
        for index, name in enumerate(self.columns):
            table.add_column(name, justify="right" if 0 < index < len(self.columns) - 1 else "left", overflow="fold")
        for each in self.rows:
            table.add_row(*each)
        console.print(table)


def tables(what: str, jobs: Sequence[Job], answers: Answers) -> list[Table]:
    """The tables of one suite, of those of its jobs that were done.

    Args:
        what: a name of `benchmarks.suites.SUITES`.
        jobs: the suite's.
        answers: of the whole run.
    """
    done = [job for job in dict.fromkeys(jobs) if job in answers]
    if what == "loading":
        return _loading(done, answers)
    if what == "startup":
        return _startup(done, answers)
    if what == "optimizers":
        return _optimizers(done, answers)
    if what == "values":
        return _values(done, answers)
    steps = [row(job, answers) for job in done if job.kind in ("step", "masked")]
    make = {"peers": _peers, "masking": _masking, "tokens": _tokens}[what]
    groups: dict[tuple[str, int], list[Row]] = {}
    for each in steps:
        groups.setdefault((each.job.mode, each.job.batch), []).append(each)
    return [make(f"{mode}, batch {batch}", group) for (mode, batch), group in groups.items()]


def _peers(title: str, group: Sequence[Row]) -> Table:
    return Table(
        title=f"Peers: {title}",
        columns=(
            "model", "side", "time", "spread", "memory", "pictures / s", "time / ours", "memory / ours", "GFLOP",
            "of the limit", "needed", "parameters", "note",
        ),
        rows=tuple(
            (
                each.job.name,
                str(each.job.side),
                *_measured(each),
                number(each.job.batch / each.seconds),
                _times(each.time_ratio),
                _times(each.memory_ratio),
                number(each.flops / 1e9),
                _percent(each.limit_share),
                _percent(each.utilisation),
                f"{each.num_parameters / 1e6:.1f} M" if each.num_parameters else "",
                _note(each),
            )
            for each in group
        ),
    )  # fmt: skip


def _masking(title: str, group: Sequence[Row]) -> Table:
    whole = {(each.job.name, each.job.side): each for each in group if not each.job.ratio}

    def shares(each: Row) -> tuple[str, str]:
        unmasked = whole.get((each.job.name, each.job.side), Row(job=each.job))
        return _percent(each.seconds / unmasked.seconds), _percent(each.peak_bytes / unmasked.peak_bytes)

    return Table(
        title=f"Masking: {title}",
        columns=(
            "model", "side", "hidden", "compared", "time", "spread", "memory", "of its time", "of its memory", "note",
        ),
        rows=tuple(
            (
                each.job.name,
                str(each.job.side),
                f"{each.job.ratio:.0%}",
                f"{each.job.compared:.0%}",
                *_measured(each),
                *shares(each),
                _note(each),
            )
            for each in group
        ),
        note="of its time, of its memory: of the same step with nothing hidden",
    )  # fmt: skip


def _tokens(title: str, group: Sequence[Row]) -> Table:
    fits = []
    for name in dict.fromkeys(each.job.name for each in group):
        good = [each for each in group if each.job.name == name and not each.problem]
        if len(good) > 1:
            time = exponent((each.job.side**2, each.seconds) for each in good)
            memory = exponent((each.job.side**2, each.peak_bytes - each.import_bytes) for each in good)
            fits.append(f"{name}: time ~ tokens^{time:.2f}, memory beyond the imports ~ tokens^{memory:.2f}")
    return Table(
        title=f"Tokens: {title}",
        columns=(
            "model",
            "tokens",
            "time",
            "spread",
            "memory",
            "time / token",
            "memory / token",
            "of the limit",
            "note",
        ),
        rows=tuple(
            (
                each.job.name,
                f"{each.job.side**2:,}",
                *_measured(each),
                f"{number(each.seconds / each.job.side**2 * 1e6)} us" if not each.problem else "",
                f"{number((each.peak_bytes - each.import_bytes) / each.job.side**2)} B" if not each.problem else "",
                _percent(each.limit_share),
                _note(each),
            )
            for each in group
        ),
        note="; ".join(fits),
    )


def _loading(jobs: Sequence[Job], answers: Answers) -> list[Table]:
    rows = []
    for job in jobs:
        good = [answer.numbers for answer in answers[job] if answer.status == "measured"]
        if not good:
            rows.append((job.name, "", "", "", "", answers[job][-1].note))
            continue
        loading, step, workers = (
            median(numbers[name] for numbers in good) for name in ("loading_rate", "step_rate", "num_workers")
        )
        rows.append((job.name, number(loading), number(step), _times(loading / step), f"{workers:.0f}", ""))
    columns = ("recipe", "loaded / s", "trained / s", "loaded / trained", "workers", "note")
    return [Table(title="Loading: examples a second", columns=columns, rows=tuple(rows))] if rows else []


def _values(jobs: Sequence[Job], answers: Answers) -> list[Table]:
    rows = []
    for job in jobs:
        numbers, note = answers[job][-1].numbers, answers[job][-1].note
        found = [f"{numbers[name]:.1e}" if numbers else "" for name in ("outputs", "loss", "gradients", "worst")]
        where = numbers.get("device_name", job.device)
        rows.append((job.name, str(job.side), where, job.precision, *found, numbers.get("worst_name", note)))
    columns = ("model", "side", "device", "precision", "outputs", "loss", "gradients", "worst weight", "which")
    note = "||found - expected|| / ||expected||; expected: the plain formulas in float64 on the CPU"
    return [Table(title="Values", columns=columns, rows=tuple(rows), note=note)] if rows else []


def _startup(jobs: Sequence[Job], answers: Answers) -> list[Table]:
    rows = []
    for job in jobs:
        times = [each for answer in answers[job] for each in answer.numbers.get("seconds", ())]
        problem = "" if times else answers[job][-1].note
        rows.append((job.name, *((seconds(median(times)), _range(times)) if times else ("", "")), problem))
    columns = ("command", "time", "spread", "note")
    return [Table(title="Start-up", columns=columns, rows=tuple(rows))] if rows else []


def _optimizers(jobs: Sequence[Job], answers: Answers) -> list[Table]:
    rows = []
    for job in jobs:
        name, _, variant = job.name.partition(":")
        good = [answer.numbers for answer in answers[job] if answer.status == "measured"]
        if not good:
            rows.append((variant, name, "", "", "", "", answers[job][-1].note))
            continue
        times = [each for numbers in good for each in numbers["seconds"]]
        step = median(numbers["step_seconds"] for numbers in good)
        size = f"{good[0]['num_parameters'] / 1e6:.1f} M"
        rows.append((variant, name, size, seconds(median(times)), _range(times), _percent(median(times) / step), ""))
    columns = ("model", "optimizer", "parameters", "time", "spread", "of forward and backward", "note")
    note = "forward and backward: of 32 pictures of 32 x 32"
    return (
        [Table(title="Optimizers: a move of all weights", columns=columns, rows=tuple(rows), note=note)] if rows else []
    )


def machine_table(answers: Answers) -> list[Table]:
    """What the machine could do, from the first to the last measurement of it in this run."""
    rates = {
        "large matrix products, GFLOP/s": "matmul_rate",
        "products with 32 x 128, GFLOP/s": "narrow_rate",
        "copies, GB/s read and written": "copy_rate",
    }
    rows = []
    for words, name in rates.items():
        values = [rate / 1e9 for rate in machine_rates(answers, name)]
        if values:
            rows.append(
                (words, *map(number, (median(values), min(values), max(values))), " ".join(map(number, values)))
            )
    columns = ("machine", "median", "least", "most", "in their order")
    return [Table(title="The machine", columns=columns, rows=tuple(rows))] if rows else []


def number(value: float) -> str:
    """Three digits; nothing for what is not known.

    >>> number(1234.6), number(0.01234), number(float("nan"))
    ('1,235', '0.0123', '')
    """
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def seconds(value: float) -> str:
    """
    >>> seconds(0.0123), seconds(2.5), seconds(float("nan"))
    ('12.3 ms', '2.50 s', '')
    """
    if math.isnan(value):
        return ""
    return f"{number(value * 1e3)} ms" if value < 1 else f"{number(value)} s"


def _measured(each: Row) -> tuple[str, str, str]:
    """Time, spread over rounds, memory."""
    if each.problem:
        return each.status, "", ""
    return seconds(each.seconds), _range([each.fastest, each.slowest]), f"{number(each.peak_bytes / 1e9)} GB"


def _range(values: Sequence[float]) -> str:
    return f"{seconds(min(values))} to {seconds(max(values))}"


def _times(ratio: float) -> str:
    return f"{number(ratio)} x" if not math.isnan(ratio) else ""


def _percent(share: float) -> str:
    return f"{share:.0%}" if not math.isnan(share) else ""


def _note(each: Row) -> str:
    if each.problem:
        return each.problem
    return f"compiled in {each.compile_seconds:.0f} s" if each.compile_seconds else ""
