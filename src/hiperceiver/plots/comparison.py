"""Results side by side: a bar for each, with the spread over its runs, and the baselines to beat."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from hiperceiver.plots import style

_PALE = "#8fbdd3"


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one method.

    >>> Result(name="pretrained", values=(0.26, 0.28)).mean
    0.27
    """

    name: str
    values: tuple[float, ...]  # one for each run (seed)
    is_baseline: bool = False  # whether it is a cheap baseline that the others must beat

    def __post_init__(self) -> None:
        if not self.values or not all(math.isfinite(value) for value in self.values):
            raise ValueError(f"values of {self.name!r}: expected at least one, all finite, got {self.values}")

    @property
    def mean(self) -> float:
        """Mean over the runs."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Standard deviation over the runs; None for a single run."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def draw_comparison(results: Sequence[Result], *, metric: str, title: str = "", best: str = "highest") -> Figure:
    """A horizontal bar for each result, from top to bottom and from zero; dots are runs, whiskers a standard deviation.

    The best result that is no baseline is accented; `best` says whether that is the `highest` or the `lowest`.
    Baselines are grey, with a dashed line to compare the others with.

    >>> results = [
    ...     Result(name="colour lookup", values=(0.239,), is_baseline=True),
    ...     Result(name="pretrained", values=(0.262, 0.270)),
    ... ]
    >>> figure = draw_comparison(results, metric="mIoU")
    """
    if not results:
        raise ValueError("results: expected at least one, got none")
    if best not in {"highest", "lowest"}:
        raise ValueError(f"best: expected highest or lowest, got {best!r}")
    contenders = [result for result in results if not result.is_baseline]
    winner = (max if best == "highest" else min)(contenders, key=lambda result: result.mean) if contenders else None

    figure, axes = style.new_figure(6.5, 0.48 * len(results) + 0.9, title=title)
    ax = axes[0, 0]
    style.as_chart_axes(ax, x=metric)
    ax.grid(False, axis="y")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0, labelsize=style.LABEL_SIZE, labelcolor=style.INK)
    ax.set_yticks(range(len(results)), style.legend_texts([result.name for result in results], longest=44))
    ax.set_ylim(len(results) - 0.4, -0.6)
    for row, result in enumerate(results):
        colour = style.ACCENT if result is winner else style.NEUTRAL if result.is_baseline else _PALE
        ax.barh(row, result.mean, height=0.62, color=colour)
        reach = max(0.0, result.mean, *result.values)
        text = f"{result.mean:.3f}"
        if result.spread is not None:
            ax.errorbar(result.mean, row, xerr=result.spread, color=style.INK, linewidth=1.0, capsize=2.5)
            ax.plot(result.values, [row + 0.2] * len(result.values), "o", color=style.INK, markersize=2)
            reach = max(reach, result.mean + result.spread)
            text += f" ± {result.spread:.3f}"
        weight = "bold" if result is winner else "normal"
        beside = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(text, (reach, row), weight=weight, **beside, **style.LABEL)
        if result.is_baseline and contenders:
            ax.axvline(result.mean, color=style.SOFT, linewidth=0.9, linestyle=style.DASHED, zorder=3)
    ax.margins(x=0.02)
    return figure
