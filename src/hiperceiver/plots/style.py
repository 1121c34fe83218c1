"""The common style of all pictures: colours, type sizes, axes, captions; and writing to disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure

INK = "#1f2430"
"""Titles and values."""
SOFT = "#667085"
"""Captions, tick labels."""
FAINT = "#e4e7ec"
"""Grid lines, frames."""
ACCENT = "#0b6e99"
"""The most important line or bar."""
NEUTRAL = "#b8c0cc"
"""What it is compared with: baselines, frames."""
LINES = ("#0b6e99", "#d1662b", "#4f8f4b", "#8a5aa8", "#b3923a", "#c14b6b", "#4a9aa6", "#6b7280")
"""Colours of runs, channels and components, distinct also for the colour-blind."""
HIDDEN_GREY = 0.5
"""Brightness of hidden pixels."""

TITLE_SIZE = 11
LABEL_SIZE = 9
CAPTION_SIZE = 8


def new_figure(width: float, height: float, *, layout: Literal["constrained", "compressed"] = "constrained") -> Figure:
    """An empty white figure of the given size in inches, drawn by Agg: no window, no pyplot.

    The `compressed` layout is for rows and columns of pictures, whose shape is fixed.
    """
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def add_title(figure: Figure, title: str, note: str = "") -> None:
    """A title above everything, and a note in small type below everything."""
    if title:
        figure.suptitle(title, fontsize=TITLE_SIZE, fontweight="bold", color=INK)
    if note:
        figure.supxlabel(note, fontsize=CAPTION_SIZE, color=SOFT)


def as_picture_axes(axes: Axes, *, column: str = "", row: str = "", caption: str = "") -> None:
    """Axes that hold a picture: no ticks, a faint frame, names of its column and row, a caption below."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(FAINT)
        spine.set_linewidth(0.6)
    if caption:
        axes.set_xlabel(caption, fontsize=CAPTION_SIZE, color=SOFT, labelpad=3)
    if column:
        axes.set_title(column, fontsize=CAPTION_SIZE, color=INK, pad=4)
    if row:
        axes.set_ylabel(row, fontsize=LABEL_SIZE, color=INK, labelpad=5)


def as_chart_axes(axes: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    """Axes that hold lines or bars: two spines, a faint grid, small labels."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(NEUTRAL)
    axes.grid(True, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, labelsize=CAPTION_SIZE, length=3, width=0.6)
    axes.set_title(title, fontsize=LABEL_SIZE, fontweight="bold", color=INK, loc="left")
    axes.set_xlabel(x, fontsize=LABEL_SIZE, color=SOFT)
    axes.set_ylabel(y, fontsize=LABEL_SIZE, color=SOFT)


def grid_of_axes(figure: Figure, rows: int, columns: int) -> np.ndarray:
    """Axes (rows, columns), always two-dimensional."""
    return np.asarray(figure.subplots(rows, columns, squeeze=False))


def add_legend(
    figure: Figure, handles: Sequence[Artist], labels: Sequence[str], *, columns: int = 0, note: str = ""
) -> None:
    """A legend below all axes, in at most `columns` columns (0: as many as entries), with a note in small type."""
    legend = figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns or max(len(labels), 1),
        fontsize=CAPTION_SIZE,
        labelcolor=INK,
        frameon=False,
        handlelength=1.4,
        columnspacing=1.6,
        title=note or None,
        title_fontsize=CAPTION_SIZE,
    )
    legend.get_title().set_color(SOFT)


def without_outline(bar: Colorbar) -> None:
    """A colour bar without its black frame."""
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue] - matplotlib declares a Spines, it is a Spine


def panel_size(num_columns: int, height: float, width: float) -> tuple[float, float]:
    """Inches (width, height) of a panel for a picture of the given shape; the fewer columns, the larger."""
    inches = {1: 4.2, 2: 2.6, 3: 2.0}.get(num_columns, 1.35)
    return inches, min(max(inches * height / width, 0.5), 2.0 * inches)


def columns_for(count: int, *, most: int) -> int:
    """Number of columns for `count` equal panels: as square as can be, at most `most`."""
    return min(most, count, max(1, int(np.ceil(np.sqrt(count)))))


def legend_texts(names: Sequence[str], *, longest: int = 34) -> list[str]:
    """Names short enough for a legend; the middle of a long one is left out."""
    half = (longest - 1) // 2
    return [name if len(name) <= longest else f"{name[:half]}…{name[-half:]}" for name in names]


def save_picture(figure: Figure, path: str | Path) -> Path:
    """Writes the figure, in the format of the file's ending, and makes missing folders.

    Returns:
        The path that was written.

    Raises:
        ValueError: The ending is no picture format.
        OSError: The folder or the file cannot be written; the message names it.
    """
    path = Path(path)
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise ValueError(f"path: expected a file ending in one of {', '.join(sorted(formats))}, got {str(path)!r}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, bbox_inches="tight", pad_inches=0.12)
    except OSError as error:
        raise OSError(error.errno, f"cannot write the picture: {error.strerror or error}", str(path)) from error
    return path
