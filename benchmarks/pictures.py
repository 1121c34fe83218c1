"""Time and memory against the number of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.peers import OURS
from benchmarks.results import Row
from hiperceiver.plots import style


def draw(title: str, rows: Sequence[Row], path: Path) -> Path:
    """Two charts on logarithmic axes, a line for each model; ours whole, peers dashed.

    Args:
        title: what the rows have in common.
        rows: steps of one mode and batch; those that were not measured are left out.
        path: where the picture goes.
    """
    figure = style.new_figure(9.0, 4.4)
    style.add_title(figure, title)
    time_axes, memory_axes = style.grid_of_axes(figure, 1, 2)[0]
    style.as_chart_axes(time_axes, title="time of a step", x="tokens", y="seconds")
    style.as_chart_axes(memory_axes, title="peak memory", x="tokens", y="GB")
    names = list(dict.fromkeys(row.job.name for row in rows if not row.problem))
    handles = []
    for index, name in enumerate(names):
        points = sorted((row for row in rows if row.job.name == name and not row.problem), key=lambda row: row.job.side)
        values: dict[str, Callable[[Row], float]] = {
            "time": lambda row: row.seconds,
            "memory": lambda row: row.peak_bytes / 1e9,
        }
        for axes, value in zip((time_axes, memory_axes), values.values(), strict=True):
            (line,) = axes.loglog(
                [row.job.side**2 for row in points],
                list(map(value, points)),
                color=style.LINES[index % len(style.LINES)],
                linestyle="-" if name.startswith(f"{OURS}:") else "--",
                marker="o",
                markersize=4,
                linewidth=1.6,
            )
        handles.append(line)
    style.add_legend(figure, handles, names, columns=3)
    return style.save_picture(figure, path)
