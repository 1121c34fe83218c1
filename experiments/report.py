"""The tables of `docs/results.md`, and their pictures."""

from __future__ import annotations

import fcntl
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from experiments.cells import Cell, Table
from experiments.results import Results, each_once, value_at
from hiperceiver.settings.run import format_duration
from hiperceiver.writing import write_text

_HEAD = """# Results

Real data, our own command line, a process of one thread a run (records: two). How to rerun a table or a cell and how
to add one stands in `CONTRIBUTING.md` under "Experiments". ± is the standard deviation over the seeds,
`–` what has not been done or has no such number; core time is that of all runs behind one seed of a row. Each seed of
a row is a file of `experiments/results/`, with its commands, versions and all its numbers.
"""
_SHARES = ("miou", "map", "score", "nearest")  # and every accuracy, and what is explained: shown in %

Rows = Sequence[tuple[Cell, list[dict[str, Any]]]]
"""The first cell of each row, and what the row's seeds came to."""


def write_report(results: Results) -> str:
    """Bring a table's section of `docs/results.md` and its picture up to date; says in a line what it wrote."""
    table, rows = results.table, list(results.rows())
    path = results.places.docs / "results.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    begin, end = f"<!-- {table.name}: generated -->", f"<!-- {table.name}: end -->"
    with _locked(path.parent):  # other tables may be finished at the same time
        text = path.read_text(encoding="utf-8") if path.exists() else _HEAD
        section = f"{begin}\n{_section(results, rows)}{end}\n"
        if begin in text:
            text = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}\n", lambda _: section, text, flags=re.S)
        else:
            text = f"{text.rstrip()}\n\n{section}"
        write_text(path, text)
    if table.finish is not None:
        table.finish(results)
    return f"{path}: {sum(bool(found) for _, found in rows)} of {len(rows)} rows"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _section(results: Results, rows: Rows) -> str:
    table = results.table
    parts: dict[str, list[tuple[Cell, list[dict[str, Any]]]]] = {}
    for cell, found in rows:
        parts.setdefault(cell.labels.get(table.parts or "", ""), []).append((cell, found))
    command = f"python -m experiments.{table.name} --root FOLDER"
    lines = [f"## {table.title}", "", table.about.strip(), "", "```", command, "```", ""]
    for part, members in parts.items():
        lines += [f"### {part}", ""] if part else []
        lines += [*_table(results, members), ""]
    lines += [_provenance(table, [result for _, found in rows for result in found]), ""]
    if drawn := {part: column for part, members in parts.items() if (column := drawn_column(table, members))}:
        picture = _draw(results, parts, drawn)
        lines += [f"![{table.title}](pictures/{picture.name})", ""]
    for cell, found in rows:
        if found and (picture := results.picture(cell.name)).exists():
            lines += [f"`{cell.name}`:", "", f"![{cell.name}](pictures/{picture.name})", ""]
    return "\n".join(lines)


def _provenance(table: Table, done: Sequence[dict[str, Any]]) -> str:
    """How much is done, what it cost, and with which machine and code it was done, and when."""
    count = f"Done: {len(done)} of {len(table.cells)} cells."
    if not done:
        return count
    costs = {run: cost for result in done for run, cost in result["costs"].items()}
    machines = sorted({_named(machine) for result in done for machine in result["machines"]})
    days = sorted({result["finished"] for result in done})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    code = each_once(sorted(result["revision"] for result in done))
    cost = f"{sum(costs.values()) / 3600:.1f} core-hours on {' and '.join(machines)}"
    shares = [result["share_of_core"] for result in done]
    had = f"cells had a core to themselves for {min(shares):.0%} to {max(shares):.0%} of their time"
    return f"{count} Cost: {cost}; {had}; {when}; code of {code}."


def _named(machine: Mapping[str, Any]) -> str:
    parts = (machine["processor"], machine.get("gpu"), f"torch {machine['versions']['torch']}")
    return ", ".join(filter(None, parts))


def _table(results: Results, rows: Rows) -> list[str]:
    table = results.table
    seeds = Counter(cell.name for cell in table.cells)
    headings = [name for name in dict.fromkeys(name for cell, _ in rows for name in cell.labels) if name != table.parts]
    columns = {
        name: path for name, path in table.columns.items() if any(_values(found, path) for _, found in rows)
    } or dict(list(table.columns.items())[:1])
    lines = [
        f"| {' | '.join([*headings, *columns, 'seeds', 'core time', 'cell'])} |",
        "| " + "--- | " * len(headings) + "---: | " * (len(columns) + 2) + "--- |",
    ]
    for cell, found in rows:
        cells = [cell.labels.get(name, "") for name in headings]
        cells += [shown(_values(found, path), path) for path in columns.values()]
        time = mean(result["core_seconds"] for result in found) if found else 0.0
        count = f"{len(found)}" if len(found) == seeds[cell.name] else f"{len(found)} of {seeds[cell.name]}"
        cells += [count, format_duration(time) if found else "–", f"`{cell.name}`"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _values(found: Sequence[dict[str, Any]], path: str) -> list[float]:
    values = (value_at(result, path) for result in found)
    return [value for value in values if value is not None]


def _unit(path: str) -> tuple[float, int, str]:
    """In what a number is shown: a factor, digits and a unit."""
    name = path.rpartition(".")[2]
    if name in _SHARES or name.endswith("accuracy") or name.startswith("explained"):
        return 100.0, 1, "%"
    units = {"parameters": (1e-6, 2, " M"), "peak_bytes": (1e-9, 2, " GB"), "steps": (1.0, 0, "")}
    return units.get(name, (1.0, 0 if name.endswith("core_seconds") else 2, ""))


def shown(values: Sequence[float], path: str) -> str:
    """Mean and spread, in the unit of the number."""
    if not values:
        return "–"
    factor, digits, unit = _unit(path)
    spread = f" ± {factor * stdev(values):.{digits}f}" if len(set(values)) > 1 else ""
    return f"{factor * mean(values):.{digits}f}{spread}{unit}"


def drawn_column(table: Table, rows: Rows) -> tuple[str, str] | None:
    """The column of shares that is drawn of a part: the one that most rows have, the first of several."""
    counts = {
        column: sum(bool(_values(found, column[1])) for _, found in rows)
        for column in table.columns.items()
        if _unit(column[1])[2] == "%"
    }
    best = max(counts, key=lambda each: counts[each], default=None)
    return best if best is not None and counts[best] else None


def _draw(results: Results, parts: Mapping[str, Rows], drawn: Mapping[str, tuple[str, str]]) -> Path:
    """A column of each part: a dot a seed, a bar at the mean of several, the baseline dashed, numbers of the table."""
    from hiperceiver.plots import style

    each_part = {
        part: [(cell, values) for cell, found in parts[part] if (values := _values(found, where))]
        for part, (_, where) in drawn.items()
    }
    figure, axes = style.new_figure(
        7.5,
        sum(0.24 * len(rows) + 0.75 for rows in each_part.values()) + 0.6,
        rows=len(each_part),
        title=results.table.title,
        note="a dot a seed, a bar at the mean, ± the standard deviation; dashed: baseline",
        gridspec_kw={"height_ratios": [len(rows) for rows in each_part.values()]},
    )
    for ax, (part, rows) in zip(axes[:, 0], each_part.items(), strict=True):
        name, where = drawn[part]
        factor, _, unit = _unit(where)
        style.as_chart_axes(ax, title=part.replace("`", ""), x=f"{name}, {unit.strip()}" if unit else name)
        for number, (_, values) in enumerate(rows):
            ax.plot(
                [factor * value for value in values],
                [number] * len(values),
                "o",
                color=style.ACCENT,
                alpha=0.5,
                markersize=4,
            )
            if len(values) > 1:
                ax.plot(factor * mean(values), number, "|", color=style.ACCENT, markersize=9, markeredgewidth=2)
            ax.text(
                1.01, number, shown(values, where), transform=ax.get_yaxis_transform(), va="center", **style.CAPTION
            )
        ax.set_yticks(range(len(rows)), [cell.name for cell, _ in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        if baseline := next((values for cell, values in rows if cell.name.endswith("baseline")), None):
            ax.axvline(factor * mean(baseline), color=style.SOFT, linestyle=style.DASHED, linewidth=0.8)
    return style.save_picture(figure, results.picture())
