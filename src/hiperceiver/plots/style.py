"""The common frame of all pictures: figures, axes, colours, type sizes, captions, legends; and writing to disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.text import Text

INK = "#1f2430"  # titles and values
SOFT = "#667085"  # captions, tick labels
FAINT = "#e4e7ec"  # grid lines, frames
ACCENT = "#0b6e99"  # the most important line or bar
NEUTRAL = "#b8c0cc"  # what it is compared with: baselines, frames
LINES = ("#0b6e99", "#d1662b", "#4f8f4b", "#8a5aa8", "#b3923a", "#c14b6b", "#4a9aa6", "#6b7280")
"""Colours of runs, channels and components, distinct also for the colour-blind."""
HIDDEN_GREY = 0.5  # brightness of hidden pixels

TITLE_SIZE, LABEL_SIZE, CAPTION_SIZE = 11, 9, 8
LABEL: dict[str, Any] = {"fontsize": LABEL_SIZE, "color": INK}
HEADING: dict[str, Any] = {"fontsize": CAPTION_SIZE, "color": INK}
CAPTION: dict[str, Any] = {"fontsize": CAPTION_SIZE, "color": SOFT}
DASHED = (0, (4, 3))


def new_figure(
    width: float,
    height: float,
    *,
    rows: int = 1,
    columns: int = 1,
    count: int | None = None,
    title: str = "",
    note: str = "",
    layout: Literal["constrained", "compressed"] = "constrained",
    **subplots: Any,
) -> tuple[Figure, np.ndarray]:
    """A white figure of a size in inches, drawn by Agg (no window, no pyplot), and its axes (rows, columns).

    Of the axes the first `count` are used and the others blank. The title stands above everything, the note below, in
    small type. The `compressed` layout is for rows and columns of pictures, whose shape is fixed.
    """
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    axes = np.asarray(figure.subplots(rows, columns, squeeze=False, **subplots))
    for ax in axes.flat[count:] if count is not None else ():
        ax.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=TITLE_SIZE, fontweight="bold", color=INK)
    if note:
        figure.supxlabel(note, **CAPTION)
    return figure, axes


def show_picture(
    ax: Axes, picture: np.ndarray, *, column: str = "", row: str = "", caption: str = "", **colours: Any
) -> None:
    """A picture without ticks in a faint frame, with names of its column and row, and a caption below."""
    ax.imshow(picture, interpolation="nearest", **colours)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color(FAINT)
        spine.set_linewidth(0.6)
    if caption:
        ax.set_xlabel(caption, labelpad=3, **CAPTION)
    if column:
        ax.set_title(column, pad=4, **HEADING)
    if row:
        ax.set_ylabel(row, labelpad=5, **LABEL)


def headings(row: int, column: int, label: str, names: Sequence[str], *, is_turned: bool = False) -> tuple[str, str]:
    """What stands above and beside axes in a grid with a row for each view and a column for each example, or turned."""
    name = names[column] if names and row == 0 else ""
    return (label, name) if is_turned else (name, label if column == 0 else "")


def show_rows(
    axes: np.ndarray,
    rows: Mapping[str, np.ndarray],
    *,
    names: Sequence[str] = (),
    captions: Sequence[str],
    is_turned: bool = False,
    **colours: Any,
) -> None:
    """Rows of pictures, one for each example: `headings` around them, captions below the last row."""
    for row, (label, pictures) in enumerate(rows.items()):
        for column, picture in enumerate(pictures):
            above, beside = headings(row, column, label, names, is_turned=is_turned)
            below = captions[column] if row == len(rows) - 1 else ""
            show_picture(axes[row, column], picture, column=above, row=beside, caption=below, **colours)


def as_chart_axes(axes: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    """Axes that hold lines or bars: two spines, a faint grid, small labels."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(NEUTRAL)
    axes.grid(True, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, labelsize=CAPTION_SIZE, length=3, width=0.6)
    axes.set_title(title, fontweight="bold", loc="left", **LABEL)
    axes.set_xlabel(x, fontsize=LABEL_SIZE, color=SOFT)
    axes.set_ylabel(y, fontsize=LABEL_SIZE, color=SOFT)


def add_legend(figure: Figure, entries: Mapping[str, Artist], *, columns: int = 0, note: str = "") -> None:
    """A legend below all axes, in at most `columns` columns (0: as many as entries), with a note in small type."""
    legend = figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=columns or max(len(entries), 1),
        fontsize=CAPTION_SIZE,
        labelcolor=INK,
        frameon=False,
        handlelength=1.4,
        columnspacing=1.6,
        title=note or None,
        title_fontsize=CAPTION_SIZE,
    )
    legend.get_title().set_color(SOFT)


def labelled_lines(axes: Axes) -> dict[str, Artist]:
    """The lines in the axes by their labels, for a legend."""
    handles, labels = axes.get_legend_handles_labels()
    return dict(zip(labels, handles, strict=True))


def add_colour_bar(
    figure: Figure, axes: np.ndarray, ticks: Mapping[float, str], *, norm: Normalize, cmap: str, **shape: Any
) -> None:
    """A colour bar without a frame beside axes, with a few ticks."""
    bar = figure.colorbar(ScalarMappable(norm, cmap), ax=list(axes.flat), pad=0.02, **shape)
    bar.set_ticks(list(ticks), labels=list(ticks.values()))
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=CAPTION_SIZE, colors=SOFT, length=0)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue] - matplotlib declares a Spines, it is a Spine


def panel_size(num_columns: int, height: float, width: float) -> tuple[float, float]:
    """Inches (width, height) of a panel for a picture of the given shape; the fewer columns, the larger."""
    inches = {1: 4.2, 2: 2.6, 3: 2.0}.get(num_columns, 1.35)
    return inches, min(max(inches * height / width, 0.5), 2.0 * inches)


def legend_texts(names: Sequence[str], *, longest: int = 34) -> list[str]:
    """Names short enough for a legend; the middle of a long one is left out."""
    half = (longest - 1) // 2
    return [name if len(name) <= longest else f"{name[:half]}…{name[-half:]}" for name in names]


def write_figure(figure: Figure, to: Path | IO[bytes], **options: Any) -> None:
    """Write a figure without its margins; names of files and classes in it are no mathematics, whatever has a `$`."""
    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
    powers = {label for axis in axes if axis.get_scale() == "log" for label in axis.get_ticklabels(which="both")}
    for text in set(figure.findobj(Text)) - powers:
        cast(Text, text).set_parse_math(False)
    figure.savefig(to, bbox_inches="tight", pad_inches=0.12, **options)


def save_picture(figure: Figure, path: str | Path) -> Path:
    """Write the figure in the format of the path's ending (of another: ValueError), make folders, return the path."""
    path = Path(path)
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise ValueError(f"path: expected a file ending in one of {', '.join(sorted(formats))}, got {str(path)!r}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_figure(figure, path)
    except OSError as error:
        raise OSError(error.errno, f"cannot write the picture: {error.strerror or error}", str(path)) from error
    return path
