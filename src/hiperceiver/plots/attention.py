"""Where latents attend to in pictures, frames, signals and clouds, and which latents a position reads."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure

from hiperceiver.plots import style
from hiperceiver.plots.arrays import as_array, check_names, envelope
from hiperceiver.plots.points import (
    DOT,
    MOST_CLOUDS,
    check_cloud,
    cloud_axes,
    cube_around,
    frame_cloud,
    point_colours,
    show_points,
    thinned,
)
from hiperceiver.plots.reconstructions import MOST_COLUMNS, shown_colours

_CMAP = "inferno"
_LOWEST, _HIGHEST = 1 / 4, 4.0
"""Multiples of equal attention that the colours reach at least: attention that is nearly equal looks so."""
_OUTSIDE = 0.3  # how strongly the picture shows where a latent cannot attend to
_SCALE = "attention, as a multiple of equal attention to all tokens of the group"
_MOST_CURVES = len(style.LINES)


def draw_attention(inputs: Any, attention: Mapping[str, Any], *, names: Sequence[str] = (), title: str = "") -> Figure:
    """Where latents attend to, over the pictures: a row for each latent, a column for each picture or frame.

    Colours are on a scale of powers, on which 1 is equal attention to all tokens of the latent's group; where the group
    has no token the picture is pale.

    `inputs` are (K, h, w, C), decoded to raw values, uint8 or float. `attention` has, by the names of the latents,
    float (K, h, w), NaN where the latent cannot attend to. At most `MOST_COLUMNS` columns are drawn.

    >>> rng = np.random.default_rng(0)
    >>> figure = draw_attention(rng.random((3, 8, 8, 3)), {"latent 0": rng.random((3, 8, 8))})
    """
    inputs = as_array(inputs, "inputs", ndim=4, legend="(K, h, w, C)")
    maps = {name: _checked_map(values, name, inputs.shape[:3]) for name, values in attention.items()}
    check_names(names, len(inputs))
    names = style.legend_texts(names[:MOST_COLUMNS], longest=22)
    pictures = shown_colours(inputs[:MOST_COLUMNS])
    norm = _norm(maps.values())
    rows = {"input": pictures}
    rows |= {name: _over(pictures, values[:MOST_COLUMNS], norm) for name, values in maps.items()}
    return _draw_rows(rows, norm, names, title, _SCALE)


def draw_attention_along(
    inputs: Sequence[Any],
    attention: Sequence[Mapping[str, Any]],
    *,
    scale: float = 1.0,
    unit: str = "step",
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Where latents attend to along signals: for each example the signal, and below it a curve for each latent.

    A curve is there where the latent's group has tokens, and 1 is equal attention to all of these. Of several channels,
    each is drawn between its least and its greatest value.

    Of each example, `inputs` are (T, C), and `attention` has, by the names of the latents, float (M,) of tokens that
    divide the same line evenly, NaN where the latent cannot attend to. A step is so many `unit`s long as `scale` says.

    >>> signal = np.sin(np.arange(100) / 5)[:, None]
    >>> figure = draw_attention_along([signal], [{"latent 0": np.ones(50)}])
    """
    signals = [as_array(x, f"inputs, example {k}", ndim=2, legend="(T, C)") for k, x in enumerate(inputs)]
    check_names(names, len(signals))
    shape = {"rows": 2 * len(signals), "gridspec_kw": {"height_ratios": [1.0, 1.2] * len(signals)}, "sharex": True}
    height = 2.2 * len(signals) + 1.0
    figure, axes = style.new_figure(9.0, height, title=title, **shape)
    for number, (signal, curves) in enumerate(zip(signals, attention, strict=True)):
        above, below = axes[2 * number : 2 * number + 2, 0]
        style.as_chart_axes(above)
        draw_signal(above, signal, scale)
        if names:
            above.set_title(style.legend_texts([names[number]], longest=60)[0], loc="left", pad=3, **style.CAPTION)
        style.as_chart_axes(below, x=unit if number == len(signals) - 1 else "", y="attention")
        below.axhline(1.0, color=style.NEUTRAL, linewidth=0.8, linestyle=style.DASHED)
        for colour, (name, values) in zip(style.LINES, curves.items(), strict=False):
            values = as_array(values, name, ndim=1, legend="(M,)")
            at, shown = envelope(values)
            width = len(signal) / len(values) * scale
            below.plot((at + 0.5) * width, shown, color=colour, linewidth=1.0, label=name)
        below.set_ylim(bottom=0.0)
    style.add_legend(figure, style.labelled_lines(axes[1, 0]), columns=4, note=_SCALE)
    return figure


def draw_attention_on_points(
    inputs: Sequence[Any], attention: Sequence[Mapping[str, Any]], *, names: Sequence[str] = (), title: str = ""
) -> Figure:
    """Where latents attend to in clouds: a row for each latent, a column for each cloud, in the colours of pictures.

    Points of other groups, which the latent cannot attend to, are pale.

    Of each example, `inputs` are (N, 3 + features), and `attention` has, by the names of the latents, float (N,), NaN
    where the latent cannot attend to. At most `MOST_CLOUDS` examples are drawn.

    >>> rng = np.random.default_rng(0)
    >>> figure = draw_attention_on_points([rng.normal(size=(50, 3))], [{"latent 0": rng.random(50)}])
    """
    check_names(names, len(inputs))
    clouds = [check_cloud(x, f"inputs, example {k}") for k, x in enumerate(inputs[:MOST_CLOUDS])]
    maps = [
        {name: _checked_values(values, name, cloud) for name, values in each.items()}
        for cloud, each in zip(clouds, attention, strict=False)
    ]
    names = style.legend_texts(names[:MOST_CLOUDS], longest=30)
    norm = _norm(values for each in maps for values in each.values())
    is_alone = len(clouds) == 1
    figure, axes = cloud_axes(1 + len(maps[0]), len(clouds), title=title, note=_SCALE)
    for column, (cloud, each) in enumerate(zip(clouds, maps, strict=True)):
        for row, (label, values) in enumerate({"input": None, **each}.items()):
            above, beside = style.headings(row, column, label, names, is_turned=is_alone)
            _show_attended(axes[row, column], cloud, values, norm)
            frame_cloud(axes[row, column], cube_around(cloud), above=above, beside=beside)
    shape = {"aspect": 14, "shrink": 0.8} if is_alone else {"aspect": 30, "shrink": 0.4}
    style.add_colour_bar(figure, axes, _ticks(norm), norm=norm, cmap=_CMAP, **shape)
    return figure


def draw_reading(
    inputs: Any,
    weights: Any,
    maps: Any,
    place: Sequence[int],
    *,
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """What a position is read from: its place in the pictures, the latents that it reads, and who else reads the first.

    Bars are the attention to each latent of the position's group; they sum to 1, and the line is equal attention. Below
    is how much each position of the group attends to the latent of the highest bar.

    `inputs` are (K, h, w, C) as for `draw_attention`, `weights` float (K, N), `maps` float (K, h, w), NaN where there
    is no position of the group; `place` is the row and the column.

    >>> rng = np.random.default_rng(0)
    >>> figure = draw_reading(rng.random((2, 8, 8, 3)), np.full((2, 16), 1 / 16), rng.random((2, 8, 8)), (3, 4))
    """
    inputs = as_array(inputs, "inputs", ndim=4, legend="(K, h, w, C)")[:MOST_COLUMNS]
    weights = as_array(weights, "weights", ndim=2, legend="(K, N)")[:MOST_COLUMNS]
    pictures = shown_colours(inputs)
    many = weights.shape[1]
    maps = _checked_map(maps, "maps", (len(maps), *inputs.shape[1:3]))[: len(inputs)] * many
    norm = _norm([maps])
    names = style.legend_texts(names[:MOST_COLUMNS], longest=22)
    width, height = style.panel_size(min(len(inputs), 3), *inputs.shape[1:3])
    figure, axes = style.new_figure(
        max(width * len(inputs) + 1.2, 5.0),
        2 * height + 2.6,
        rows=3,
        columns=len(inputs),
        title=title,
        note=f"in colours: {_SCALE.replace('tokens', 'latents')}",
        gridspec_kw={"height_ratios": [height, 1.2, height]},
    )
    for column, (picture, values) in enumerate(zip(pictures, weights, strict=True)):
        first = int(values.argmax())
        style.show_picture(
            axes[0, column], picture, column=names[column] if names else "", row="" if column else "read at"
        )
        _ring(axes[0, column], *place[::-1])
        _bars(axes[1, column], values, "" if column else "attention")
        shown = _over(pictures[column : column + 1], maps[column : column + 1], norm)[0]
        beside = "" if column else "latent's\nreaders"
        style.show_picture(axes[2, column], shown, row=beside, caption=f"of latent {first}")
        _ring(axes[2, column], *place[::-1])
    style.add_colour_bar(figure, axes[2], _ticks(norm), norm=norm, cmap=_CMAP, aspect=14)
    return figure


def draw_reading_along(
    inputs: Sequence[Any],
    weights: Any,
    place: float,
    *,
    scale: float = 1.0,
    unit: str = "step",
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """What a position along signals is read from: its place, and beside it the latents that it reads.

    Of each example, `inputs` are (T, C); `weights` are float (K, N); `place` is in steps, `scale` and `unit` as for
    `draw_attention_along`.

    >>> figure = draw_reading_along([np.zeros((50, 1))], np.full((1, 16), 1 / 16), 20)
    """
    signals = [as_array(x, f"inputs, example {k}", ndim=2, legend="(T, C)") for k, x in enumerate(inputs)]
    weights = as_array(weights, "weights", ndim=2, legend="(K, N)")
    check_names(names, len(signals))
    shape = {"rows": len(signals), "columns": 2, "gridspec_kw": {"width_ratios": [1.6, 1.0]}}
    figure, axes = style.new_figure(9.0, 1.5 * len(signals) + 0.9, title=title, **shape)
    for number, (signal, values, (left, right)) in enumerate(zip(signals, weights, axes, strict=True)):
        style.as_chart_axes(left, x=unit if number == len(signals) - 1 else "")
        draw_signal(left, signal, scale)
        left.axvline(place * scale, color=style.LINES[1], linewidth=1.2)
        if names:
            left.set_title(style.legend_texts([names[number]], longest=40)[0], loc="left", pad=3, **style.CAPTION)
        _bars(right, values, "attention", is_last=number == len(signals) - 1)
    return figure


def draw_reading_of_point(
    inputs: Sequence[Any],
    weights: Any,
    maps: Sequence[Any],
    point: int,
    *,
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """What a point of clouds is read from, as `draw_reading` has it of pictures.

    Of each example, `inputs` are (N, 3 + features) and `maps` float (N,), NaN where a point is of another group;
    `weights` are float (K, latents), and `point` is the number of the point. At most `MOST_CLOUDS` are drawn.

    >>> rng = np.random.default_rng(0)
    >>> figure = draw_reading_of_point([rng.normal(size=(50, 3))], np.full((1, 16), 1 / 16), [rng.random(50)], 7)
    """
    check_names(names, len(inputs))
    clouds = [check_cloud(x, f"inputs, example {k}") for k, x in enumerate(inputs[:MOST_CLOUDS])]
    weights = as_array(weights, "weights", ndim=2, legend="(K, latents)")
    shares = [_checked_values(x, f"maps, example {k}", clouds[k]) for k, x in enumerate(maps[: len(clouds)])]
    readers = [x * weights.shape[1] for x in shares]
    names = style.legend_texts(names[:MOST_CLOUDS], longest=30)
    norm = _norm(readers)
    figure, axes = style.new_figure(
        max(3.0 * len(clouds) + 1.2, 5.0),
        8.2,
        rows=3,
        columns=len(clouds),
        title=title,
        note=f"in colours: {_SCALE.replace('tokens', 'latents')}",
        gridspec_kw={"height_ratios": [3.0, 1.2, 3.0]},
    )
    for column, (cloud, values, multiples) in enumerate(zip(clouds, weights, readers, strict=False)):
        place, first = cloud[point, :3], int(values.argmax())
        at = ", ".join(f"{axis} {x:.2g}" for axis, x in zip("xyz", place, strict=True))
        above, below = axes[[0, 2], column] = [_in_space(figure, ax) for ax in axes[[0, 2], column]]
        _show_attended(above, cloud)
        _show_attended(below, cloud, multiples, norm)
        heading, beside = style.headings(0, column, "read at", names)
        frame_cloud(above, cube_around(cloud), above=heading, beside=beside, below=at)
        beside = "" if column else "latent's\nreaders"
        frame_cloud(below, cube_around(cloud), beside=beside, below=f"of latent {first}")
        for ax in (above, below):
            _ring(ax, *place)
        _bars(axes[1, column], values, "" if column else "attention")
    style.add_colour_bar(figure, axes[2], _ticks(norm), norm=norm, cmap=_CMAP, aspect=14)
    return figure


def draw_signal(ax: Axes, signal: np.ndarray, scale: float) -> None:
    """The channels of a signal (T, C), at most as many as there are colours; several from 0 to 1 each."""
    signal = signal[:, :_MOST_CURVES].astype(np.float64)
    if signal.shape[1] > 1:
        low, high = np.nanmin(signal, axis=0), np.nanmax(signal, axis=0)
        signal = (signal - low) / np.where(high > low, high - low, 1.0)
    for values in signal.T:
        at, shown = envelope(values)
        ax.plot((at + 0.5) * scale, shown, color=style.SOFT, linewidth=0.6, alpha=1.0 if signal.shape[1] == 1 else 0.6)
    ax.set_xlim(0.0, len(signal) * scale)
    ax.locator_params(axis="y", nbins=3)


def _draw_rows(rows: Mapping[str, np.ndarray], norm: LogNorm, names: Sequence[str], title: str, note: str) -> Figure:
    """Rows of pictures with one colour bar; those of a single example stand beside each other."""
    count, rows_of, columns_of = next(iter(rows.values())).shape[:3]
    is_alone = count == 1
    width, height = style.panel_size(3 if is_alone else max(count, 3), rows_of, columns_of)
    across, down = (len(rows), 1) if is_alone else (count, len(rows))
    size = max(width * across + 1.2, 5.5), (height + 0.08) * down + 0.8
    figure, axes = style.new_figure(*size, rows=down, columns=across, title=title, note=note, layout="compressed")
    axes = axes.T if is_alone else axes
    style.show_rows(axes, rows, names=names, captions=[""] * count, is_turned=is_alone)
    shape = {"aspect": 14} if is_alone else {"aspect": 30, "shrink": 0.8}
    style.add_colour_bar(figure, axes, _ticks(norm), norm=norm, cmap=_CMAP, **shape)
    return figure


def _checked_map(values: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    array = as_array(values, name, ndim=3, legend="(K, h, w)").astype(np.float64)
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    return array


def _checked_values(values: Any, name: str, cloud: np.ndarray) -> np.ndarray:
    array = as_array(values, name, ndim=1, legend="(N,)").astype(np.float64)
    if len(array) != len(cloud):
        raise ValueError(f"{name}: expected one for each of {len(cloud)} points, got {len(array)}")
    return array


def _norm(maps: Any) -> LogNorm:
    """From a quarter of equal attention, or less, to four times, or the very most but for outliers."""
    values = np.concatenate([x[np.isfinite(x)] for x in maps] or [np.ones(1)])
    most = float(np.quantile(values, 0.999)) if len(values) else 1.0
    return LogNorm(_LOWEST, max(most, _HIGHEST), clip=True)


def _ticks(norm: LogNorm) -> dict[float, str]:
    assert norm.vmax is not None
    return {_LOWEST: "≤ 1/4", 1.0: "1, equal", float(norm.vmax): f"{norm.vmax:.3g}"}


def _over(pictures: np.ndarray, maps: np.ndarray, norm: LogNorm) -> np.ndarray:
    """Colours of attention (K, h, w), where it is, in pictures (K, h, w, 3) that are pale elsewhere."""
    grey = pictures.mean(axis=-1, keepdims=True)
    low, high = grey.min(axis=(1, 2), keepdims=True), grey.max(axis=(1, 2), keepdims=True)
    grey = (grey - low) / np.maximum(high - low, 0.05)  # of a dark picture, too, one sees what it shows
    pale = 1.0 - _OUTSIDE * (1.0 - grey)
    return np.where(np.isfinite(maps)[..., None], 0.85 * _shades(maps, norm) + 0.15 * grey, pale)


def _shades(maps: np.ndarray, norm: LogNorm) -> np.ndarray:
    """RGB (..., 3) of attention (...), any where it is NaN."""
    values = np.nan_to_num(np.maximum(maps, _LOWEST), nan=1.0)
    return colormaps[_CMAP](norm(values.ravel())).reshape(*maps.shape, -1)[..., :3]


def _show_attended(ax: Any, cloud: np.ndarray, values: np.ndarray | None = None, norm: LogNorm | None = None) -> None:
    """The points of a cloud, with attention (N,) to them: large where it is, pale elsewhere."""
    some = thinned(cloud)
    if values is None or norm is None:
        show_points(ax, cloud[some], point_colours(cloud, cloud)[some])
        return
    is_there = np.isfinite(values)[some]
    colours = np.where(is_there[:, None], _shades(values, norm)[some], to_rgb(style.FAINT))
    edges = {"linewidths": np.where(is_there, 0.3, 0.0), "edgecolors": style.INK}  # the brightest are nearly white
    show_points(ax, cloud[some], colours, s=np.where(is_there, 4 * DOT, DOT), alpha=1.0, **edges)


def _in_space(figure: Figure, ax: Axes) -> Any:
    """Axes with x, y and z in the place of others."""
    place = ax.get_subplotspec()
    assert place is not None
    ax.remove()
    return figure.add_subplot(place, projection="3d")


def _ring(ax: Any, *place: float) -> None:
    for colour, thickness in (("white", 2.4), (style.LINES[1], 1.2)):
        ring = {"markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": thickness}
        ax.plot(*([x] for x in place), "o", markersize=8, zorder=99, **ring)  # in space, else behind the points


def _bars(ax: Axes, values: np.ndarray, label: str, *, is_last: bool = True) -> None:
    style.as_chart_axes(ax, x="latent of the group" if is_last else "", y=label)
    ax.grid(False, axis="x")
    colours = [style.ACCENT if number == values.argmax() else style.NEUTRAL for number in range(len(values))]
    ax.bar(np.arange(len(values)), values, width=0.85, color=colours)
    ax.axhline(1 / len(values), color=style.SOFT, linewidth=0.8, linestyle=style.DASHED)
    ax.locator_params(axis="y", nbins=3)
    ax.locator_params(axis="x", nbins=4, integer=True)
