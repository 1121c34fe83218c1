import numpy as np
import pytest
import torch
from closeness import assert_close

from hiperceiver.plots.positions import (
    cosine_similarity,
    draw_components,
    draw_similarity,
    draw_snapshot,
    principal_components,
    spread_positions,
)


def smooth_table(grid: tuple[int, ...], channels: int = 16) -> np.ndarray:
    """Neighbours have like rows: random waves over the grid."""
    places = np.stack(np.meshgrid(*[np.linspace(0, 1, n) for n in grid], indexing="ij"), -1).reshape(-1, len(grid))
    waves = places @ np.random.default_rng(0).normal(scale=5, size=(len(grid), channels))
    return np.concatenate([np.cos(waves), np.sin(waves)], axis=1)


def test_similarity_with_itself_is_one_and_the_rest_is_the_cosine() -> None:
    table = np.random.default_rng(0).normal(size=(20, 5))
    similarity = cosine_similarity(table, [3, 19])
    assert_close(similarity[0, 3], 1.0, terms=5)
    assert_close(similarity[1, 19], 1.0, terms=5)
    expected = table[3] @ table[7] / np.linalg.norm(table[3]) / np.linalg.norm(table[7])
    assert_close(similarity[0, 7], np.float32(expected), terms=5, scale=1)
    assert np.abs(similarity).max() <= 1.0


def test_a_row_of_zeros_is_like_nothing() -> None:
    assert cosine_similarity(np.zeros((3, 2)), [0]).tolist() == [[0.0, 0.0, 0.0]]


def test_components_are_those_of_the_singular_values() -> None:
    table = np.random.default_rng(0).normal(size=(50, 6)) * [5, 3, 2, 1, 1, 1]
    coordinates, shares = principal_components(table)
    values = np.linalg.svd(table - table.mean(axis=0), compute_uv=False) ** 2
    assert_close(shares, values[:3] / values.sum(), terms=50, dtype=torch.float32)
    assert_close((coordinates**2).sum(axis=0), values[:3], terms=50, dtype=torch.float32)
    assert_close(coordinates.T @ coordinates, np.diag(values[:3]), terms=50, dtype=torch.float32)
    assert all(column[np.abs(column).argmax()] > 0 for column in coordinates.T)


def test_components_that_a_narrow_or_constant_table_lacks_are_zero() -> None:
    coordinates, shares = principal_components(np.arange(4.0)[:, None])
    assert shares.tolist() == [1.0, 0.0, 0.0]
    assert (coordinates[:, 1:] == 0).all()
    assert principal_components(np.ones((4, 5)))[1].tolist() == [0.0, 0.0, 0.0]


def test_spread_positions_lie_on_the_grid() -> None:
    assert len(spread_positions((64, 64))) == 15
    assert spread_positions((64, 64))[7] == 32 * 64 + 32
    assert spread_positions((2, 2)) == [0, 1, 2, 3]
    assert spread_positions((9, 8, 8)) == [k * 64 + 4 * 8 + 4 for k in (1, 4, 7)]


def test_maps_lie_like_their_positions_and_ring_the_place() -> None:
    figure = draw_similarity(torch.tensor(smooth_table((30, 50))), (30, 50))
    maps = [ax for ax in figure.axes if ax.images]
    assert len(maps) == 15
    assert maps[0].get_xlabel() == "row 5, column 5"
    assert maps[14].get_xlabel() == "row 25, column 45"
    for ax in maps:
        values = np.asarray(ax.images[0].get_array())
        ring = ax.lines[0]
        row, column = int(ring.get_ydata()[0]), int(ring.get_xdata()[0])
        assert ax.get_xlabel() == f"row {row}, column {column}"
        assert values.shape == (30, 50)
        assert np.unravel_index(values.argmax(), values.shape) == (row, column)
        assert_close(values[row, column], 1.0, terms=16, dtype=torch.float32)
        assert ax.images[0].get_clim() == (-1.0, 1.0)


def test_along_a_line_similarity_is_a_curve_that_peaks_at_the_mark() -> None:
    figure = draw_similarity(smooth_table((100,)), (100,))
    assert len(figure.axes) == 5
    for ax, place in zip(figure.axes, spread_positions((100,)), strict=True):
        mark, curve = ax.lines
        assert mark.get_xdata()[0] == place
        assert np.argmax(curve.get_ydata()) == place


def test_a_volume_is_drawn_in_slices_that_include_the_position() -> None:
    figure = draw_similarity(smooth_table((20, 4, 6)), (20, 4, 6))
    ringed = [ax for ax in figure.axes if ax.lines]
    assert [ax.get_xlabel() for ax in ringed] == ["slice 3", "slice 10", "slice 16"]
    assert [ax.get_ylabel() for ax in figure.axes if ax.get_ylabel()] == [f"with {(k, 2, 3)}" for k in (3, 10, 16)]


def test_components_become_colours() -> None:
    table = smooth_table((8, 10))
    (ax,) = draw_components(table, (8, 10)).axes
    colours = np.asarray(ax.images[0].get_array())
    assert colours.shape == (8, 10, 3)
    assert_close(colours.min(axis=(0, 1)), 0.0, scale=1)
    assert_close(colours.max(axis=(0, 1)), 1.0)
    red = colours[..., 0].reshape(-1)
    assert_close(np.corrcoef(red, principal_components(table)[0][:, 0])[0, 1], 1.0, terms=80)


def test_components_of_a_line_and_of_a_volume() -> None:
    (ax,) = draw_components(smooth_table((50,)), (50,)).axes
    assert len(ax.lines) == 3
    assert "of the variance" in ax.lines[0].get_label()
    figure = draw_components(smooth_table((4, 5, 6)), (4, 5, 6))
    assert [ax.get_xlabel() for ax in figure.axes] == ["slice 0", "slice 1", "slice 2", "slice 3"]


def test_a_table_that_does_not_vary_is_grey() -> None:
    (ax,) = draw_components(np.ones((6, 4)), (2, 3)).axes
    assert (np.asarray(ax.images[0].get_array()) == 0.5).all()


@pytest.mark.parametrize(
    ("table", "grid", "message"),
    [
        (np.ones((5, 4)), (2, 3), r"table: expected 6 rows for grid \(2, 3\), got 5"),
        (np.ones(6), (2, 3), r"table: expected shape \(M, E\)"),
        (np.ones((6, 4)), (), "grid: expected 1 to 3 extents"),
        (np.ones((6, 4)), (1, 1, 2, 3), "grid: expected 1 to 3 extents"),
        (np.full((6, 4), np.nan), (2, 3), "table: expected finite values"),
    ],
)
def test_wrong_arguments_are_named(table: np.ndarray, grid: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        draw_similarity(table, grid)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("grid", "num_panels"), [((12, 16), 5), ((40,), 1), ((6, 8, 8), 4), ((1, 8, 8), 2)])
def test_a_snapshot_shows_a_table_at_a_glance(grid: tuple[int, ...], num_panels: int) -> None:
    figure = draw_snapshot(smooth_table(grid), grid, title="positions", note="cosine of neighbours 0.9")
    *panels, bar = figure.axes
    assert len(panels) == num_panels
    shown = [np.asarray(ax.images[0].get_array()) for ax in panels]
    if len(grid) == 1:
        assert_close(np.diag(shown[0]), np.ones(40), terms=32, dtype=torch.float32)
    else:
        assert shown[0].shape == (*grid[-2:], 3)
        assert all(x.shape == grid[-2:] for x in shown[1:])
        ringed = [ax for ax in panels if ax.lines]
        assert len(ringed) == (4 if len(grid) == 2 else 1)
        for ax in ringed:
            column, row = (int(x[0]) for x in ax.lines[0].get_data())
            assert_close(np.asarray(ax.images[0].get_array())[row, column], 1.0, terms=32, dtype=torch.float32)
    assert bar.get_ylim() == (-1, 1)
    figure.canvas.draw()


def test_a_snapshot_of_a_long_line_is_small() -> None:
    figure = draw_snapshot(np.random.default_rng(0).normal(size=(5000, 8)), (5000,))
    assert np.asarray(figure.axes[0].images[0].get_array()).shape == (256, 256)
