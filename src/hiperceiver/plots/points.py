"""Clouds of points with hidden parts, and their reconstruction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hiperceiver.plots import style
from hiperceiver.plots.arrays import caption, checked_examples, hidden_error

MOST_CLOUDS, MOST_POINTS = 6, 4000
"""Examples, and points of each, that are drawn; of more points, some are left out evenly."""
_VISIBLE, _MADE = style.LINES[0], style.LINES[1]
_MARGIN = 1.1  # the cube is so many times as large as the input


def draw_points(
    inputs: Sequence[Any],
    reconstructions: Sequence[Any],
    is_masked: Sequence[Any],
    *,
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Input, its visible points, and these with the reconstruction of the others, for each example.

    All three from the same side, at the same scale along each axis, z up. Points without features are blue where they
    were visible and orange where they are reconstructed. With features they have their colours: three are taken for
    red, green and blue, of any other number the mean is shown; each from the least to the greatest of the inputs.
    Reconstructed points far from the input are not drawn; the caption gives their share.

    Of each example, `inputs` and `reconstructions` are (N, 3 + features), and `is_masked` is bool (N,), True = hidden;
    N may differ. At most `MOST_CLOUDS` examples are drawn.

    >>> import numpy as np
    >>> cloud = np.random.default_rng(0).normal(size=(200, 3))
    >>> figure = draw_points([cloud], [cloud * 0.9], [np.arange(200) > 50], names=["a ball"])
    """
    examples = checked_examples(inputs, reconstructions, is_masked, names, ndim=2, legend="(N, 3 + features)")
    for number, (cloud, _, _) in enumerate(examples):
        if cloud.shape[1] < 3:
            raise ValueError(f"inputs, example {number}: expected x, y and z of each point, got shape {cloud.shape}")
    clouds = [(cloud.astype(float), made.astype(float), hidden) for cloud, made, hidden in examples[:MOST_CLOUDS]]
    names = style.legend_texts(names[:MOST_CLOUDS], longest=30)

    is_alone = len(clouds) == 1  # then its clouds stand beside, not below each other
    across, down = (3, 1) if is_alone else (len(clouds), 3)
    size = 3.0 if across < 4 else 2.5
    note = "error: root mean square over hidden values"
    has_features = any(cloud.shape[1] > 3 for cloud, _, _ in clouds)
    below = f"{note}; colours: features" if has_features else ""
    shape = {"rows": down, "columns": across, "subplot_kw": {"projection": "3d"}}
    figure, axes = style.new_figure(size * across, size * down + 1.0, title=title, note=below, **shape)
    axes = axes.T if is_alone else axes
    for column, (cloud, made, hidden) in enumerate(clouds):
        some = np.arange(0, len(cloud), -(-len(cloud) // MOST_POINTS))
        text = caption(float(hidden.mean()), hidden_error(cloud, made, hidden), " · ")
        middle, half = _cube(cloud)
        pasted = np.where(hidden[:, None], made, cloud)
        colours = _colours(cloud, cloud), _colours(pasted, cloud)
        is_inside = np.all(np.abs(pasted[:, :3] - middle) <= half, axis=1)  # never where it is not finite
        if (outside := 1 - float(np.mean(is_inside))) >= 0.005:
            text += f"\n{outside:.0%} of the points lie outside"
        visible, lost = some[~hidden[some]], some[hidden[some] & is_inside[some]]
        layers = {
            "input": [(cloud, some, colours[0], _VISIBLE)],
            "visible": [(cloud, visible, colours[0], _VISIBLE)],
            "output": [(cloud, visible, colours[0], _VISIBLE), (pasted, lost, colours[1], _MADE)],
        }
        for row, (label, parts) in enumerate(layers.items()):
            ax: Any = axes[row, column]
            for points, indices, colour, plain in parts:
                if len(indices):
                    shades = plain if colour is None else colour[indices]
                    how = {"s": 3.0, "linewidths": 0, "alpha": 0.75, "depthshade": False}
                    ax.scatter(*points[indices, :3].T, c=shades, **how)
            _draw_cube(ax, middle, half)
            above, beside = style.headings(row, column, label, names, is_turned=is_alone)
            ax.set_title(above, pad=0, **style.HEADING)
            centred = {"transform": ax.transAxes, "ha": "center"}
            ax.text2D(-0.02, 0.5, beside, rotation=90, va="center", **centred, **style.LABEL)
            if row == 2:
                ax.text2D(0.5, -0.04, text, va="top", **centred, **style.CAPTION)
    if not has_features:
        colours = {"input": _VISIBLE, "reconstruction of hidden points": _MADE}
        dot = {"marker": "o", "markersize": 4, "linestyle": ""}
        style.add_legend(figure, {name: Line2D([], [], color=x, **dot) for name, x in colours.items()}, note=note)
    return figure


def _colours(cloud: np.ndarray, scale: np.ndarray) -> np.ndarray | None:
    """RGB of each point by its features; None without any."""
    features, scale = cloud[:, 3:], scale[:, 3:]
    if not features.shape[1]:
        return None
    if features.shape[1] != 3:
        features, scale = features.mean(axis=1, keepdims=True), scale.mean(axis=1, keepdims=True)
    low, high = scale.min(axis=0), scale.max(axis=0)
    shares = np.nan_to_num(np.clip((features - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0))
    return shares if shares.shape[1] == 3 else colormaps["viridis"](shares[:, 0])[:, :3]


def _cube(cloud: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle and half the side of a cube around a cloud."""
    low, high = cloud[:, :3].min(axis=0), cloud[:, :3].max(axis=0)
    return (low + high) / 2, _MARGIN * max(float((high - low).max()) / 2, 1e-9)


def _draw_cube(ax: Any, middle: np.ndarray, half: float) -> None:
    """Only edges of the cube, which show depth."""
    for axis, centre in zip("xyz", middle, strict=True):
        getattr(ax, f"set_{axis}lim")(centre - half, centre + half)
        getattr(ax, f"set_{axis}label")(axis, labelpad=-14, **style.CAPTION)
        own = getattr(ax, f"{axis}axis")
        own.set_ticks([centre - half, centre, centre + half], labels=["", "", ""])
        own.pane.set_facecolor("white")
        own.pane.set_edgecolor(style.FAINT)
        own.line.set_color(style.NEUTRAL)
        own.set_tick_params(length=0)
    ax.grid(False)
    ax.set_box_aspect((1, 1, 1), zoom=1.1)
    ax.view_init(elev=22, azim=-55)
