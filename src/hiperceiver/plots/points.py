"""Clouds of points with hidden parts, and their reconstruction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hiperceiver.plots import style
from hiperceiver.plots.arrays import as_array, caption, checked_examples, hidden_error

MOST_CLOUDS, MOST_POINTS = 6, 4000
"""Examples, and points of each, that are drawn; of more points, some are left out evenly."""
_VISIBLE, _MADE = style.LINES[0], style.LINES[1]
DOT = 3.0  # area of a point, in square points of type
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
    Reconstructed points far from the input are not drawn; the caption gives their share. Where nothing is hidden, the
    input is drawn alone.

    Of each example, `inputs` and `reconstructions` are (N, 3 + features), and `is_masked` is bool (N,), True = hidden;
    N may differ. At most `MOST_CLOUDS` examples are drawn.

    >>> import numpy as np
    >>> cloud = np.random.default_rng(0).normal(size=(200, 3))
    >>> figure = draw_points([cloud], [cloud * 0.9], [np.arange(200) > 50], names=["a ball"])
    """
    examples = checked_examples(inputs, reconstructions, is_masked, names, ndim=2, legend="(N, 3 + features)")
    for number, (cloud, _, _) in enumerate(examples):
        check_cloud(cloud, f"inputs, example {number}")
    clouds = [(cloud.astype(float), made.astype(float), hidden) for cloud, made, hidden in examples[:MOST_CLOUDS]]
    names = style.legend_texts(names[:MOST_CLOUDS], longest=30)

    is_alone, has_hidden = len(clouds) == 1, any(hidden.any() for _, _, hidden in clouds)
    note = "error: root mean square over hidden values" if has_hidden else ""
    has_features = any(cloud.shape[1] > 3 for cloud, _, _ in clouds)
    below = "; ".join(filter(None, (note, "colours: features"))) if has_features else ""
    figure, axes = cloud_axes(3 if has_hidden else 1, len(clouds), title=title, note=below)
    for column, (cloud, made, hidden) in enumerate(clouds):
        some = thinned(cloud)
        text = caption(float(hidden.mean()), hidden_error(cloud, made, hidden), " · ")
        middle, half = cube_around(cloud)
        pasted = np.where(hidden[:, None], made, cloud)
        colours, made_colours = point_colours(cloud, cloud), point_colours(pasted, cloud, _MADE)
        is_inside = np.all(np.abs(pasted[:, :3] - middle) <= half, axis=1)  # never where it is not finite
        if (outside := 1 - float(np.mean(is_inside))) >= 0.005:
            text += f"\n{outside:.0%} of the points lie outside"
        visible, lost = some[~hidden[some]], some[hidden[some] & is_inside[some]]
        layers = {
            "input": [(cloud[some], colours[some])],
            "visible": [(cloud[visible], colours[visible])],
            "output": [(cloud[visible], colours[visible]), (pasted[lost], made_colours[lost])],
        }
        for row, (label, parts) in enumerate(list(layers.items())[: len(axes)]):
            above, beside = style.headings(row, column, label, names, is_turned=is_alone)
            below = text if row == 2 else ""
            for points, shades in parts:
                show_points(axes[row, column], points, shades)
            frame_cloud(axes[row, column], (middle, half), above=above, beside=beside, below=below)
    if has_hidden and not has_features:
        colours = {"input": _VISIBLE, "reconstruction of hidden points": _MADE}
        dot = {"marker": "o", "markersize": 4, "linestyle": ""}
        style.add_legend(figure, {name: Line2D([], [], color=x, **dot) for name, x in colours.items()}, note=note)
    return figure


def check_cloud(values: Any, name: str) -> np.ndarray:
    """An array or tensor as a NumPy array (N, 3 + features)."""
    cloud = as_array(values, name, ndim=2, legend="(N, 3 + features)")
    if cloud.shape[1] < 3:
        raise ValueError(f"{name}: expected x, y and z of each point, got shape {cloud.shape}")
    return cloud


def cloud_axes(num_views: int, num_clouds: int, *, title: str, note: str = "") -> tuple[Figure, np.ndarray]:
    """A figure and its axes in space (views, clouds); those of a single cloud stand beside each other."""
    is_alone = num_clouds == 1
    across, down = (num_views, 1) if is_alone else (num_clouds, num_views)
    size = 3.0 if max(across, down) < 4 else 2.5
    shape = {"rows": down, "columns": across, "subplot_kw": {"projection": "3d"}}
    figure, axes = style.new_figure(size * across, size * down + 1.0, title=title, note=note, **shape)
    return figure, axes.T if is_alone else axes


def show_points(ax: Any, points: np.ndarray, colours: np.ndarray, **how: Any) -> None:
    """Points (n, 3 + features) with their RGB (n, 3); `how` is for `scatter`."""
    if len(points):
        how = {"s": DOT, "linewidths": 0, "alpha": 0.75, "depthshade": False, **how}
        ax.scatter(*points[:, :3].T, c=colours, **how)


def frame_cloud(ax: Any, cube: tuple[np.ndarray, float], *, above: str = "", beside: str = "", below: str = "") -> None:
    """A cube as of `cube_around`, and words around it."""
    _draw_cube(ax, *cube)
    ax.set_title(above, pad=0, **style.HEADING)
    centred = {"transform": ax.transAxes, "ha": "center"}
    ax.text2D(-0.02, 0.5, beside, rotation=90, va="center", **centred, **style.LABEL)
    ax.text2D(0.5, -0.04, below, va="top", **centred, **style.CAPTION)


def thinned(cloud: np.ndarray) -> np.ndarray:
    """Indices of at most `MOST_POINTS` points, evenly spread."""
    return np.arange(0, len(cloud), -(-len(cloud) // MOST_POINTS))


def point_colours(cloud: np.ndarray, scale: np.ndarray, plain: str = _VISIBLE) -> np.ndarray:
    """RGB (N, 3) of each point by its features, on the scale of those of another cloud; without any, `plain`."""
    features, scale = cloud[:, 3:], scale[:, 3:]
    if not features.shape[1]:
        return np.tile(to_rgb(plain), (len(cloud), 1))
    if features.shape[1] != 3:
        features, scale = features.mean(axis=1, keepdims=True), scale.mean(axis=1, keepdims=True)
    low, high = scale.min(axis=0), scale.max(axis=0)
    shares = np.nan_to_num(np.clip((features - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0))
    return shares if shares.shape[1] == 3 else colormaps["viridis"](shares[:, 0])[:, :3]


def cube_around(cloud: np.ndarray) -> tuple[np.ndarray, float]:
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
