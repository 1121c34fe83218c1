"""Position tables: which positions are alike, and along which directions they vary."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hiperceiver.plots import style
from hiperceiver.plots.arrays import as_array, envelope, spread_indices

_COLOURS: dict[str, Any] = {"cmap": "RdBu_r", "norm": Normalize(-1.0, 1.0)}
_PANELS = {1: (5,), 2: (3, 5), 3: (3, 1, 1)}  # number of grid axes -> how many positions are compared along each
_MOST_SLICES = 8
_MOST_SNAPSHOT_PLACES = 256  # of a line


def cosine_similarity(table: Any, positions: Sequence[int]) -> np.ndarray:
    """Cosine of a few rows of a table (M, E) with all, float32 (K, M), from -1 to 1.

    A row of zeros has no direction: its similarity with everything is 0.

    >>> cosine_similarity([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]], [0]).tolist()
    [[1.0, 0.0, -1.0]]
    """
    table = as_array(table, "table", ndim=2, legend="(M, E)").astype(np.float32)
    if outside := [k for k in positions if not 0 <= k < len(table)]:
        raise ValueError(f"positions: expected rows from 0 to {len(table) - 1}, got {outside[0]}")
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    directions = np.divide(table, lengths, out=np.zeros_like(table), where=lengths > 0)
    return np.clip(directions[list(positions)] @ directions.T, -1.0, 1.0)


def principal_components(table: Any, num_components: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (M, num_components) of a table (M, E) along the directions in which it varies most, and their shares.

    The shares of the variance are (num_components,); zero for directions that the table does not have. The largest
    coordinate of each component is positive.
    """
    table = as_array(table, "table", ndim=2, legend="(M, E)").astype(np.float32)
    centred = table - table.mean(axis=0)
    # E is small and M may be millions, hence the (E, E) covariance and not a decomposition of the table.
    variances, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    order = np.argsort(variances)[::-1][:num_components]
    coordinates = np.zeros((len(table), num_components))
    shares = np.zeros(num_components)
    coordinates[:, : len(order)] = centred @ directions[:, order]
    if variances.sum() > 0:
        shares[: len(order)] = np.clip(variances[order], 0.0, None) / variances.sum()
    largest = np.take_along_axis(coordinates, np.abs(coordinates).argmax(axis=0)[None], axis=0)
    return coordinates * np.where(largest < 0, -1.0, 1.0), shares


def spread_positions(grid: Sequence[int]) -> list[int]:
    """A few positions, evenly spread over the grid, as rows of its table: 5 of a line, 3 x 5 of a plane, 3 of a volume.

    >>> spread_positions((10,))
    [1, 3, 5, 7, 9]
    """
    along = [spread_indices(length, count) for length, count in zip(grid, _PANELS[len(grid)], strict=True)]
    return np.ravel_multi_index(np.meshgrid(*along, indexing="ij"), grid).ravel().tolist()


def draw_similarity(table: Any, grid: Sequence[int], *, title: str = "") -> Figure:
    """Cosine of a few positions with all others, on the grid; a ring or a line marks the position itself.

    Along a line it is drawn as curves; in a plane as maps, laid out like the positions on the grid; of a volume (time,
    rows, columns) one row of slices through time for each position.

    The table (M, E) has a row for each position in row-major order, of a grid of 1 to 3 axes.

    >>> import numpy as np
    >>> figure = draw_similarity(np.random.default_rng(0).normal(size=(64, 32)), (8, 8))
    """
    table, grid = _checked_table(table, grid)
    positions = spread_positions(grid)
    similarity = cosine_similarity(table, positions).reshape(len(positions), *grid)
    if len(grid) == 1:
        return _draw_lines(similarity, positions, title)
    homes = [tuple(int(k) for k in np.unravel_index(position, grid)) for position in positions]
    note = "cosine of the ringed position with every other"
    if len(grid) == 2:
        columns = min(5, grid[1])
        maps = [(x, "row {}, column {}".format(*home), home) for x, home in zip(similarity, homes, strict=True)]
        return _draw_maps([maps[k : k + columns] for k in range(0, len(maps), columns)], grid, title, note)
    rows = []
    for values, home in zip(similarity, homes, strict=True):
        slices = sorted({*spread_indices(grid[0], _MOST_SLICES), home[0]})
        rows.append([(values[k], f"slice {k}", home[1:] if k == home[0] else None) for k in slices])
    return _draw_maps(rows, grid, title, f"{note}, slice by slice", labels=[f"with {home}" for home in homes])


def draw_components(table: Any, grid: Sequence[int], *, title: str = "") -> Figure:
    """The first three principal components of a position table: lines along a line, colours in a plane or in slices.

    In colours, red is the first component, green the second and blue the third, each from its least to its greatest
    value. Neighbours of like colour have similar encodings. Table and grid are as for `draw_similarity`.

    >>> import numpy as np
    >>> figure = draw_components(np.random.default_rng(0).normal(size=(64, 32)), (8, 8))
    """
    table, grid = _checked_table(table, grid)
    coordinates, shares = principal_components(table)
    if len(grid) == 1:
        figure, ((ax,),) = style.new_figure(7.0, 3.0, title=title)
        style.as_chart_axes(ax, x="position", y="coordinate")
        for component, share in enumerate(shares):
            label = f"component {component + 1}: {share:.0%} of the variance"
            ax.plot(*envelope(coordinates[:, component]), color=style.LINES[component], linewidth=1.2, label=label)
        style.add_legend(figure, style.labelled_lines(ax))
        return figure

    colours = as_colours(coordinates).reshape(*grid, 3)
    slices = spread_indices(grid[0], _MOST_SLICES)
    pictures = {"": colours} if len(grid) == 2 else {f"slice {k}": colours[k] for k in slices}
    size = 4.0 if len(pictures) == 1 else 1.5
    width, height = size * len(pictures) + 0.6, _height(size, grid) + 0.8
    explained = ", ".join(f"{share:.0%}" for share in shares)
    note = f"red, green, blue: principal components 1, 2, 3, with {explained} of the variance"
    shape = {"columns": len(pictures), "layout": "compressed"}
    figure, axes = style.new_figure(width, height, title=title, note=note, **shape)
    for ax, (name, picture) in zip(axes[0], pictures.items(), strict=True):
        style.show_picture(ax, picture, caption=name)
    return figure


def draw_snapshot(table: Any, grid: Sequence[int], *, title: str = "", note: str = "") -> Figure:
    """A table at a glance, small enough to be drawn often: its principal components, and how alike its places are.

    In a plane the components as colours beside the cosines of four places with all others; in a volume those of its
    middle place in four slices; along a line the cosines of all places with each other. A table that is a map has
    patches of like colours and a spot around each ring, or a band along the diagonal; one that has learned nothing is
    noise. Table and grid are as for `draw_similarity`.

    >>> import numpy as np
    >>> figure = draw_snapshot(np.random.default_rng(0).normal(size=(64, 32)), (8, 8))
    """
    table, grid = _checked_table(table, grid)
    how: dict[str, Any] = {"title": title, "note": note, "layout": "compressed"}
    if len(grid) == 1:
        shown = spread_indices(grid[0], _MOST_SNAPSHOT_PLACES)
        similarity = cosine_similarity(table[shown], range(len(shown)))
        figure, axes = style.new_figure(4.2, 3.8, **how)
        where = (0, grid[0] - 1, grid[0] - 1, 0)
        caption = "cosine of every position with every other"
        style.show_picture(axes[0, 0], similarity, caption=caption, extent=where, **_COLOURS)
        style.add_colour_bar(figure, axes, {-1.0: "−1", 0.0: "0", 1.0: "1"}, aspect=20, shrink=0.7, **_COLOURS)
        return figure
    colours = as_colours(principal_components(table)[0]).reshape(*grid, 3)
    if len(grid) == 2:
        rows, columns = (spread_indices(extent, 2) for extent in grid)
        homes = [(row, column) for row in rows for column in columns]
        maps = cosine_similarity(table, [int(np.ravel_multi_index(home, grid)) for home in homes]).reshape(-1, *grid)
        panels = [(x, "row {}, column {}".format(*home), home) for x, home in zip(maps, homes, strict=True)]
    else:
        home = tuple(extent // 2 for extent in grid)
        values = cosine_similarity(table, [int(np.ravel_multi_index(home, grid))]).reshape(grid)
        slices = sorted({home[0], *spread_indices(grid[0], 3)})
        panels = [(values[k], f"slice {k}", home[1:] if k == home[0] else None) for k in slices]
        colours = colours[home[0]]
    width, height = 1.5 * (1 + len(panels)) + 0.5, _height(1.5, grid) + 0.75
    figure, axes = style.new_figure(width, height, columns=1 + len(panels), **how)
    style.show_picture(axes[0, 0], colours, caption="components 1, 2, 3")
    for ax, panel in zip(axes[0, 1:], panels, strict=True):
        _show_map(ax, *panel)
    style.add_colour_bar(figure, axes[0, 1:], {-1.0: "−1", 0.0: "0", 1.0: "1"}, aspect=14, shrink=0.8, **_COLOURS)
    return figure


def as_colours(coordinates: np.ndarray) -> np.ndarray:
    """Coordinates (M, 3) as red, green and blue from 0 to 1; one that does not vary is mid-grey."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    varies = high - low > 1e-12
    return np.where(varies, (coordinates - low) / np.where(varies, high - low, 1.0), 0.5)


def _checked_table(table: Any, grid: Sequence[int]) -> tuple[np.ndarray, tuple[int, ...]]:
    grid = tuple(int(n) for n in grid)
    if len(grid) not in _PANELS or min(grid) < 1:
        raise ValueError(f"grid: expected 1 to 3 extents >= 1, got {grid}")
    table = as_array(table, "table", ndim=2, legend="(M, E)")
    if len(table) != math.prod(grid):
        raise ValueError(f"table: expected {math.prod(grid)} rows for grid {grid}, got {len(table)}")
    if not np.isfinite(table).all():
        raise ValueError("table: expected finite values, got some that are NaN or infinite")
    return table, grid


def _height(width: float, grid: tuple[int, ...]) -> float:
    """Inches of a panel's height, for the last two axes of the grid."""
    return min(max(width * grid[-2] / grid[-1], 0.4), 3 * width)


def _draw_lines(similarity: np.ndarray, positions: Sequence[int], title: str) -> Figure:
    count, note = len(positions), "cosine of the marked position with every other"
    figure, axes = style.new_figure(7.0, 1.15 * count + 0.7, rows=count, title=title, note=note)
    for ax, position, values in zip(axes[:, 0], positions, similarity, strict=True):
        style.as_chart_axes(ax, x="position", y=f"with {position}")
        ax.axvline(position, color=style.LINES[1], linewidth=1.0)
        ax.plot(*envelope(values), color=style.ACCENT, linewidth=1.0)
        ax.set_yticks([-1.0, -0.5, 0.0, 0.5, 1.0])
        ax.set_ylim(min(-0.25, float(values.min()) - 0.05), 1.08)
        ax.set_xlim(0, max(len(values) - 1, 1))
        ax.label_outer()
    return figure


def _draw_maps(
    rows: Sequence[Sequence[tuple[np.ndarray, str, tuple[int, ...] | None]]],
    grid: tuple[int, ...],
    title: str,
    note: str,
    labels: Sequence[str] = (),
) -> Figure:
    """Rows of similarities in a plane, each with what stands below it, and the position itself if it lies in there."""
    columns = max(map(len, rows))
    width, height = 1.6 * columns + 0.9, len(rows) * (_height(1.6, grid) + 0.25) + 0.8
    shape = {"rows": len(rows), "columns": columns, "count": 0, "layout": "compressed"}
    figure, axes = style.new_figure(width, height, title=title, note=note, **shape)
    for row, maps in enumerate(rows):
        for column, (values, below, home) in enumerate(maps):
            ax = axes[row, column]
            ax.set_axis_on()
            _show_map(ax, values, below, home, beside=labels[row] if labels and column == 0 else "")
    style.add_colour_bar(figure, axes, {-1.0: "−1", 0.0: "0", 1.0: "1"}, aspect=30, shrink=0.7, **_COLOURS)
    return figure


def _show_map(
    ax: Axes, values: np.ndarray, caption: str, home: Sequence[int] | None = None, *, beside: str = ""
) -> None:
    """Cosines in a plane, with what stands below and beside them, and a ring around the place that they are of."""
    style.show_picture(ax, values, row=beside, caption=caption, **_COLOURS)
    if home is not None:
        for colour, thickness in (("white", 2.2), (style.INK, 1.0)):
            ring = {"markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": thickness}
            ax.plot(home[1], home[0], "o", markersize=7, **ring)
