"""Time and memory against the number of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

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
    figure, axes = style.new_figure(9.0, 4.4, columns=2, title=title)
    time_axes, memory_axes = axes[0]
    good = [row for row in rows if not row.problem]
    names = list(dict.fromkeys(row.job.name for row in good))
    _lines(time_axes, names, good, lambda row: row.seconds)
    handles = _lines(memory_axes, names, good, lambda row: row.peak_bytes / 1e9)
    style.as_chart_axes(time_axes, title="time of a step", x="tokens", y="seconds")
    style.as_chart_axes(memory_axes, title="peak memory", x="tokens", y="GB")
    style.add_legend(figure, dict(zip(names, handles, strict=True)), columns=3)
    return style.save_picture(figure, path)


def _lines(axes: Axes, names: Sequence[str], rows: Sequence[Row], value: Callable[[Row], float]) -> list[Line2D]:
    """A line for each model."""
    lines = []
    for index, name in enumerate(names):
        points = sorted((row.job.side, value(row)) for row in rows if row.job.name == name)
        lines += axes.loglog(
            [side**2 for side, _ in points],
            [y for _, y in points],
            color=style.LINES[index % len(style.LINES)],
            linestyle="-" if name.startswith(f"{OURS}:") else "--",
            marker="o",
            markersize=4,
            linewidth=1.6,
        )
    sides = sorted({row.job.side for row in rows})
    axes.set_xticks([side**2 for side in sides], [f"{side}²" for side in sides], minor=False)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    lowest, highest = axes.get_ylim()
    axes.set_ylim(lowest / 1.5, highest * 1.5)  # at least one tick, and a flat line looks flat
    return lines
