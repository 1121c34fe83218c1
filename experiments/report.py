"""The tables of `docs/results.md`, and their pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from experiments.cells import Cell
from experiments.results import Results, value_at
from hiperceiver.settings.run import format_duration

_HEAD = """# Results

Real data, our own command line, one process of one thread a run. How to rerun a table or a cell and how to add one
stands in [CONTRIBUTING.md](../CONTRIBUTING.md#experiments). ± is the standard deviation over the seeds, `–` what has
not been done. Each seed of a row is a file of `experiments/results/`, with its commands, versions and all its numbers.
"""
_SHARES = ("miou", "map", "score", "nearest")  # and every accuracy, and what is explained: shown in %


def write_report(results: Results) -> str:
    """Bring a table's section of `docs/results.md` and its picture up to date; says in a line what it wrote."""
    table, docs = results.table, results.places.docs
    rows = list(results.rows())
    path = docs / "results.md"
    text = path.read_text(encoding="utf-8") if path.exists() else _HEAD
    begin, end = f"<!-- {table.name}: generated -->", f"<!-- {table.name}: end -->"
    section = f"{begin}\n{_section(results, rows)}{end}\n"
    if begin in text:
        text = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}\n", lambda _: section, text, flags=re.S)
    else:
        text = f"{text.rstrip()}\n\n{section}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    if table.finish is not None:
        table.finish(results)
    return f"{path}: {sum(bool(found) for _, found in rows)} of {len(rows)} rows"


def _section(results: Results, rows: Sequence[tuple[Cell, list[dict[str, Any]]]]) -> str:
    table = results.table
    parts: dict[str, list[tuple[Cell, list[dict[str, Any]]]]] = {}
    for cell, found in rows:
        parts.setdefault(cell.labels.get(table.parts or "", ""), []).append((cell, found))
    command = f"python -m experiments.{table.name} --root FOLDER"
    lines = [f"## {table.title}", "", table.about.strip(), "", "```", command, "```", ""]
    for part, members in parts.items():
        lines += [f"### {part}", ""] if part else []
        lines += [*_table(results, members), ""]
    costs = {run: cost for _, found in rows for result in found for run, cost in result["costs"].items()}
    revisions = sorted({result["revision"] for _, found in rows for result in found})
    if revisions:
        machine = next(result["machine"]["processor"] for _, found in rows for result in found)
        lines += [
            f"Cost: {sum(costs.values()) / 3600:.1f} core-hours on {machine}; code of {', '.join(revisions)}.",
            "",
        ]
    if any(_values(found, next(iter(table.columns.values()))) for _, found in rows):
        picture = _draw(results, parts, results.picture())
        lines += [f"![{table.title}](pictures/{picture.name})", ""]
    for cell, _ in rows:
        if (picture := results.picture(cell.name)).exists():
            lines += [f"`{cell.name}`:", "", f"![{cell.name}](pictures/{picture.name})", ""]
    return "\n".join(lines)


def _table(results: Results, rows: Sequence[tuple[Cell, list[dict[str, Any]]]]) -> list[str]:
    table = results.table
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
        cells += [_shown(_values(found, path), path) for path in columns.values()]
        time = mean(result["core_seconds"] for result in found) if found else 0.0
        cells += [str(len(found)), format_duration(time) if found else "–", f"`{cell.name}`"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _values(found: Sequence[dict[str, Any]], path: str) -> list[float]:
    values = (value_at(result, path) for result in found)
    return [value for value in values if value is not None]


def _shown(values: Sequence[float], path: str) -> str:
    """Mean and spread, in the unit of the number."""
    if not values:
        return "–"
    name = path.rpartition(".")[2]
    factor, digits, unit = 1.0, 2, ""
    if name in _SHARES or name.endswith("accuracy") or name.startswith("explained"):
        factor, digits, unit = 100.0, 1, "%"
    elif name == "parameters":
        factor, digits, unit = 1e-6, 2, " M"
    elif name == "steps":
        digits = 0
    elif name == "peak_bytes":
        factor, unit = 1e-9, " GB"
    spread = f" ± {factor * stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{factor * mean(values):.{digits}f}{spread}{unit}"


def _draw(results: Results, parts: dict[str, list[tuple[Cell, list[dict[str, Any]]]]], path: Path) -> Path:
    """The first column: a dot a seed, a bar at the mean, the baseline dashed."""
    from hiperceiver.plots import style

    name, where = next(iter(results.table.columns.items()))
    shown = {part: [(cell, _values(found, where)) for cell, found in rows] for part, rows in parts.items()}
    shown = {part: rows for part, each in shown.items() if (rows := [row for row in each if row[1]])}
    height = sum(0.26 * len(rows) + 0.9 for rows in shown.values()) + 0.4
    ratios = {"height_ratios": [len(rows) + 2 for rows in shown.values()]}
    figure, axes = style.new_figure(7.5, height, rows=len(shown), title=results.table.title, gridspec_kw=ratios)
    for ax, (part, rows) in zip(axes[:, 0], shown.items(), strict=True):
        style.as_chart_axes(ax, title=part, x=name)
        for number, (_, values) in enumerate(rows):
            ax.plot(values, [number] * len(values), "o", color=style.NEUTRAL, markersize=4)
            ax.plot([mean(values)], [number], "|", color=style.ACCENT, markersize=11, markeredgewidth=2.5)
        ax.set_yticks(range(len(rows)), [cell.name for cell, _ in rows])
        ax.invert_yaxis()
        baseline = next((values for cell, values in rows if cell.name.endswith("baseline")), None)
        if baseline:
            ax.axvline(mean(baseline), color=style.SOFT, linestyle=style.DASHED, linewidth=0.8)
    return style.save_picture(figure, path)
