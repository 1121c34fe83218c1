"""Losses and metrics over training steps, of one run or of several beside each other."""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hiperceiver import limits
from hiperceiver.plots import style
from hiperceiver.plots.arrays import envelope

Curve = tuple[np.ndarray, np.ndarray]  # steps (K,) and values (K,), without gaps, in the order of the steps

_SPLITS = {"train": "train", "training": "train", "test": "test"}
_SPLITS |= dict.fromkeys(("val", "valid", "validation"), "validation")
_NAME = re.compile(rf"^(?:({'|'.join(_SPLITS)})[/_.])?(.+?)(_step|_epoch)?$")
_SPLIT_COLOURS = {"validation": style.LINES[0], "train": style.LINES[1], "test": style.LINES[2], "": style.SOFT}
"""In the order of the legend; the last is for columns without a split."""
_FEW = 25  # a curve of at most so many points has a dot at each
_NOISY = 60  # a curve of more points than this is also drawn smoothed
_LOG_FACTOR = 30  # positive values that span more than this factor get a logarithmic axis
_LINEAR = ("cosine", "share", "accuracy", "explained")  # ... but not what lies between fixed ends


def read_metrics(path: str | Path) -> dict[str, Curve]:
    """Curves of a run by column, from its `metrics.csv` or the folder that holds it.

    Left out are gaps, cells that are not numbers, columns without any value, and a last line that was cut off while it
    was written. Without a `step` column the line numbers are the steps. A file without metrics is a ValueError.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "metrics.csv"
    limits.FILE.check(path.stat().st_size, f"path: {str(path)!r} has")
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = text.splitlines()
    if lines and not text.endswith(("\n", "\r")):
        lines.pop()  # its last number may have lost digits
    header, *rows = list(csv.reader(line for line in lines if "\0" not in line)) or [[]]
    points: dict[str, dict[float, float]] = {name: {} for name in header if name not in ("", "step", "epoch")}
    for number, row in enumerate(rows):
        if len(row) != len(header):
            continue
        cells = dict(zip(header, map(_number, row), strict=True))
        step = cells.get("step", float(number))
        for name in points:
            if not math.isnan(step) and not math.isnan(cells[name]):
                points[name][step] = cells[name]  # a resumed run writes a step again; the last counts
    if not any(points.values()):
        raise ValueError(f"path: expected metrics in {str(path)!r}, but it has no column with a value")
    curves = {name: np.array(sorted(values.items())).T for name, values in points.items() if values}
    return {name: (steps, values) for name, (steps, values) in curves.items()}


def draw_curves(
    runs: Mapping[str, str | Path | Mapping[str, Curve]] | str | Path, *, metrics: Sequence[str] = (), title: str = ""
) -> Figure:
    """One chart for each metric, with training and validation in the same axes, and all runs that have it.

    `runs` are run folders, `metrics.csv` files, or curves as `read_metrics` gives them, by name; or one file or folder
    alone. `metrics` are names without the split (`loss`); by default all, losses first and learning rates last.

    A column's split is read off its beginning (`train/loss`, `val_loss`). Of a column that is logged by step and
    by epoch, the steps are drawn. Long curves are drawn faintly, with a smoothed line on top. Positive values that span
    more than a factor of 30 get a logarithmic axis, but for shares and cosines. Values that are not finite leave a gap.
    What is reached otherwise (`explained_by_nearest`) is a dashed line in the chart of what it is compared with.

    >>> import numpy as np
    >>> steps = np.arange(5)
    >>> curves = {"train/loss": (steps, 1 / (1 + steps)), "val/loss": (steps, 1.2 / (1 + steps))}
    >>> [ax.get_title(loc="left") for ax in draw_curves({"a run": curves}).axes]
    ['loss']
    """
    if isinstance(runs, str | Path):
        runs = {Path(runs).stem if Path(runs).suffix else Path(runs).name: runs}
    if not runs:
        raise ValueError("runs: expected at least one, got none")
    panels = _panels({name: read_metrics(run) if isinstance(run, str | Path) else run for name, run in runs.items()})
    levels = _take_levels(panels)
    chosen = list(metrics) or sorted(panels, key=_rank)
    if missing := [name for name in chosen if name not in panels]:
        raise ValueError(f"metrics: expected some of {', '.join(sorted(panels))}, got {missing[0]!r}")

    columns = min(3, math.ceil(math.sqrt(len(chosen))))
    rows = math.ceil(len(chosen) / columns)
    width, height = max(3.9 * columns, 5.5), 2.5 * rows + 0.7
    figure, axes = style.new_figure(width, height, rows=rows, columns=columns, count=len(chosen), title=title)
    shown = {split for metric in chosen for _, split in panels[metric]}
    lines = _Lines(list(runs), [split for split in _SPLIT_COLOURS if split in shown])
    for k, (ax, metric) in enumerate(zip(axes.flat, chosen, strict=False)):
        is_lowest = k + columns >= len(chosen)
        style.as_chart_axes(ax, title=metric, x="step" if is_lowest else "")
        is_measured = not _is_bookkeeping(metric)
        can_be_log = is_measured and not any(word in metric for word in _LINEAR)
        _draw_panel(ax, panels[metric], lines, is_measured=is_measured, can_be_log=can_be_log)
        for name, level in levels.get(metric, {}).items():
            if ax.get_yscale() == "log" and level <= 0:
                continue
            ax.axhline(level, color=style.SOFT, linewidth=0.9, linestyle=style.DASHED)
            where: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "bottom"}
            ax.text(0.99, level, name, **where, **style.CAPTION)
    if entries := lines.legend():
        style.add_legend(figure, entries, columns=min(len(entries), 2 * columns))
    return figure


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _panels(curves: Mapping[str, Mapping[str, Curve]]) -> dict[str, dict[tuple[str, str], Curve]]:
    """Metric -> (run, split) -> curve."""
    panels: dict[str, dict[tuple[str, str], Curve]] = {}
    for run, columns in curves.items():
        for column, curve in columns.items():
            split, metric, grain = re.findall(_NAME, column)[0]
            if grain != "_epoch" or f"{column.removesuffix(grain)}_step" not in columns:
                panels.setdefault(metric, {})[run, _SPLITS.get(split, "")] = curve
    return panels


def _take_levels(panels: dict[str, dict[tuple[str, str], Curve]]) -> dict[str, dict[str, float]]:
    """Take reference values, `NAME_by_OTHER`, out of the panels: metric -> other -> last value, if one for all runs."""
    levels: dict[str, dict[str, float]] = {}
    for metric in [*panels]:
        base, by, other = metric.rpartition("_by_")
        if by and base in panels:
            last = {float(values[-1]) for _, values in panels.pop(metric).values()}
            if len(last) == 1 and math.isfinite(level := last.pop()):
                levels.setdefault(base, {})[other.replace("_", " ")] = level
    return levels


def _is_bookkeeping(metric: str) -> bool:
    return metric.startswith("lr") or any(word in metric for word in ("learning_rate", "second", "time", "norm"))


def _rank(metric: str) -> tuple[int, str]:
    """Losses first, then metrics, then learning rates and the like."""
    return (0 if "loss" in metric else 2 if _is_bookkeeping(metric) else 1), metric


class _Lines:
    """The look of every curve: with one run colours tell splits apart, with several they tell runs apart."""

    def __init__(self, runs: Sequence[str], splits: Sequence[str]) -> None:
        self.runs, self.splits = runs, splits
        self.has_runs, self.has_splits = len(runs) > 1, len(splits) > 1

    def of(self, run: str, split: str) -> dict[str, Any]:
        if not self.has_runs:
            return {"color": _SPLIT_COLOURS[split] if self.has_splits else style.ACCENT, "linewidth": 1.5}
        colour = style.LINES[self.runs.index(run) % len(style.LINES)]
        if split == "train" and self.has_splits:
            return {"color": colour, "linewidth": 1.0, "linestyle": "--"}
        return {"color": colour, "linewidth": 1.5}

    def legend(self) -> dict[str, Line2D]:
        looks: dict[str, dict[str, Any]] = {}
        if self.has_runs:
            for run, name in zip(self.runs, style.legend_texts(self.runs), strict=True):
                looks[name] = {"color": self.of(run, "")["color"], "linewidth": 1.6}
        named = [split for split in self.splits if split]
        if len(named) > 1 or not self.has_runs:
            grey = {"color": style.SOFT} if self.has_runs else {}
            looks |= {split: self.of(self.runs[0], split) | grey | {"linewidth": 1.4} for split in named}
        return {name: Line2D([], [], **look) for name, look in looks.items()}


def _draw_panel(
    ax: Axes, panel: Mapping[tuple[str, str], Curve], lines: _Lines, *, is_measured: bool, can_be_log: bool
) -> None:
    for (run, split), (steps, values) in panel.items():
        values = np.where(np.isfinite(values), values, np.nan)
        look = lines.of(run, split)
        if is_measured and len(values) > _NOISY:
            index, outline = envelope(values)
            index = np.interp(index, np.arange(len(steps)), steps)
            ax.plot(index, outline, color=look["color"], linewidth=0.6, alpha=0.25)
            values = _smoothed(values)
        ax.plot(steps, values, marker="o" if len(values) <= _FEW else "", markersize=2.6, **look)
    finite = np.concatenate([values[np.isfinite(values)] for _, values in panel.values()])
    if can_be_log and len(finite) and 0 < _LOG_FACTOR * finite.min() < finite.max():
        ax.set_yscale("log")
    else:
        ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if not lines.has_runs:
        (_, split), (_, values) = min(panel.items(), key=lambda entry: lines.splits.index(entry[0][1]))
        ax.set_title(" ".join(f"last {split} {values[-1]:.4g}".split()), loc="right", **style.CAPTION)


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Mean over a window of a thirtieth of the curve around each point, gaps left out."""
    window = 2 * (len(values) // 60) + 1
    is_there = np.isfinite(values)
    ones = np.ones(window)
    total = np.convolve(np.where(is_there, values, 0.0), ones, mode="same")
    count = np.convolve(is_there, ones, mode="same").round()
    return np.divide(total, count, out=np.full(len(values), np.nan), where=(count > 0) & is_there)
