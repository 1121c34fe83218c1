"""Two checkouts of this package on one machine: `python -m benchmarks compare --with PATH`.

In each round the other checkout is measured twice and this one between, each in a fresh process; the order turns round
from round to round. The other checkout against itself says what a difference of no meaning is.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.arguments import Parser
from benchmarks.guard import ROOT, Limits, run_process
from benchmarks.jobs import Answer
from benchmarks.report import Table, number, seconds

TOLERANCE = 0.03
"""A difference that is always allowed."""
SERIES = ("other", "this", "again")
"""What a round measures: the other checkout, this one, and the other once more."""
_SCRIPT = Path(__file__).with_name("plain_step.py")
_UNITS = {"seconds": seconds, "peak_bytes": lambda value: f"{number(value / 1e9)} GB"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One step that both checkouts do."""

    model: str
    """A name of `hiperceiver.create_model`."""
    side: int
    """Pixels along each side of the picture."""
    batch: int
    """Pictures in a step."""
    mode: str
    """`training` or `inference`."""

    @property
    def name(self) -> str:
        """In one word, for the option `--cells` and the file."""
        return f"{self.model}-{self.side}-{self.batch}-{self.mode}"


_SIZES = [("hip-16", 224, 1), ("hip-256", 2048, 1), ("hip-256", 4096, 1)]
_SIZES += [("hip-nano", side, batch) for side in (32, 64) for batch in (8, 64)]
CELLS = {
    cell.name: cell
    for model, side, batch in _SIZES
    for mode in ("training", "inference")
    for cell in [Cell(model=model, side=side, batch=batch, mode=mode)]
}

Rounds = list[dict[str, dict[str, float]]]
"""Of each round, the numbers of each of `SERIES` that is measured."""


def measure(cell: Cell, checkout: Path, limits: Limits) -> Answer:
    """The cell's step in a fresh process, with a checkout's package."""
    source = checkout / "src"
    command = [sys.executable, "-P", str(_SCRIPT), json.dumps(dataclasses.asdict(cell))]
    answer = run_process(command, limits, path=[source])
    if answer.status == "measured" and Path(answer.numbers["source"]) != (source / "hiperceiver").resolve():
        return Answer(status="failed", note=f"measured {answer.numbers['source']}, not {source}")
    return answer


def difference(rounds: Rounds, name: str) -> tuple[float, float]:
    """How much more this checkout needs, and the other's spread against itself, as shares of the other's median."""
    of = {series: median(each[series][name] for each in rounds) for series in SERIES}
    other = median(each[series][name] for each in rounds for series in ("other", "again"))
    return of["this"] / other - 1, abs(of["again"] - of["other"]) / other


def is_within(rounds: Rounds, name: str) -> bool:
    """Whether this checkout needs at most 3%, or twice the spread, more than the other."""
    more, spread = difference(rounds, name)
    return more <= max(TOLERANCE, 2 * spread)


def table(results: dict[str, Rounds]) -> Table:
    """A row a cell, of its complete rounds."""
    rows = []
    for name, rounds in results.items():
        words = [name, str(len(rounds))]
        for what, unit in _UNITS.items():
            more, spread = difference(rounds, what)
            other = median(each[series][what] for each in rounds for series in ("other", "again"))
            words += [unit(other), unit(other * (1 + more)), f"{more:+.1%}", f"{spread:.1%}"]
        worse = [
            word for what, word in {"seconds": "slower", "peak_bytes": "larger"}.items() if not is_within(rounds, what)
        ]
        rows.append((*words, ", ".join(worse) or "within"))
    return Table(
        title="This checkout beside the other",
        columns=(
            *("cell", "rounds", "time, other", "this", "more", "spread"),
            *("memory, other", "this", "more", "spread", "verdict"),
        ),
        rows=tuple(rows),
        note=f"within: at most {TOLERANCE:.0%} more, or twice the spread of the other against itself",
    )


def main(arguments: Sequence[str] | None = None, run: Callable[[Cell, Path, Limits], Answer] = measure) -> int:
    """Measure what is not measured yet, and report. 0, 1 if a cell is slower, larger or not measured, or 2."""
    parser = Parser(prog="python -m benchmarks compare", description=__doc__)
    parser.add_argument("--with", dest="other", type=Path, required=True, metavar="PATH", help="the other checkout")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of a cell (5)")
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS), metavar="CELL", help=", ".join(CELLS))
    parser.add_argument(
        "--limit", type=float, default=600.0, metavar="SECONDS", help="the most for a measurement (600)"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/compare"), metavar="FOLDER",
                        help="a file a cell; what is there is not measured again")  # fmt: skip
    given = parser.parse_args(arguments)
    other = given.other.resolve()
    if not (other / "src" / "hiperceiver").is_dir():
        parser.error(f"--with: expected a checkout with src/hiperceiver, got {str(given.other)!r}")
    if given.rounds < 1:
        parser.error(f"--rounds: expected a whole number >= 1, got {given.rounds}")
    import psutil
    from rich.console import Console

    limits = Limits(seconds=given.limit, num_bytes=0.9 * psutil.virtual_memory().available)
    given.out.mkdir(parents=True, exist_ok=True)
    checkouts = {"other": other, "this": ROOT, "again": other}
    results: dict[str, Rounds] = {}
    failed = False
    for index, name in enumerate(given.cells):
        path = given.out / f"{name}.json"
        kept: dict[str, Any] = {"other": str(other), "this": str(ROOT), "rounds": []}
        if path.exists():
            found = json.loads(path.read_text())
            if (found["other"], found["this"]) != (kept["other"], kept["this"]):
                parser.error(f"--out: {path} compares {found['this']} with {found['other']}; choose another folder")
            kept = found
        rounds: Rounds = kept["rounds"]
        problem = ""
        for turn in range(given.rounds):
            if turn == len(rounds):
                rounds.append({})
            for series in SERIES if turn % 2 == 0 else SERIES[::-1]:
                if problem or series in rounds[turn]:
                    continue
                started = time.monotonic()
                answer = run(CELLS[name], checkouts[series], limits)
                if answer.status != "measured":
                    problem = f"{answer.status}: {answer.note}"
                else:
                    rounds[turn][series] = {each: answer.numbers[each] for each in _UNITS}
                    path.write_text(json.dumps(kept, indent=1) + "\n")
                words = problem or seconds(answer.numbers["seconds"])
                print(
                    f"[cell {index + 1}/{len(given.cells)}, round {turn + 1}/{given.rounds}] {name}, {series}: {words} "
                    f"({time.monotonic() - started:.0f} s)",
                    file=sys.stderr,
                )
        complete = [each for each in rounds if len(each) == len(SERIES)]
        if complete:
            results[name] = complete
        failed |= bool(problem)
    report = table(results)
    report.print(Console(width=None if sys.stdout.isatty() else 200, highlight=False))
    (given.out / "results.md").write_text(report.markdown(), encoding="utf-8")
    return int(failed or not all(is_within(rounds, what) for rounds in results.values() for what in _UNITS))
