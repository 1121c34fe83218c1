"""Space-filling curves: what defines them, and a slow literal version."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiperceiver.curves import along_curve, hilbert_code, morton_code

GRIDS = [(1, 5), (2, 1), (2, 4), (3, 1), (3, 3), (4, 2), (5, 2)]


def whole_grid(axes: int, bits: int) -> np.ndarray:
    return np.array(list(itertools.product(range(2**bits), repeat=axes)))


def literal_hilbert(cell: list[int], bits: int) -> int:
    """One cell, bit by bit, with Python's own numbers."""
    x = list(cell)
    for level in reversed(range(1, bits)):
        low = 2**level - 1
        for axis in range(len(x)):
            if x[axis] >> level & 1:
                x[0] = x[0] ^ low
            else:
                first, other = x[0] & low, x[axis] & low
                x[0], x[axis] = x[0] - first + other, x[axis] - (x[axis] & low) + first
    for axis in range(1, len(x)):
        x[axis] ^= x[axis - 1]
    turns = 0
    for level in range(1, bits):
        turns ^= (2**level - 1) * (x[-1] >> level & 1)
    digits = "".join(str((value ^ turns) >> level & 1) for level in reversed(range(bits)) for value in x)
    return int(digits, 2)


@pytest.mark.parametrize("code", [hilbert_code, morton_code])
@pytest.mark.parametrize(("axes", "bits"), GRIDS)
def test_every_cell_has_a_number_of_its_own(code, axes: int, bits: int) -> None:
    codes = code(whole_grid(axes, bits), bits)
    assert codes.dtype == np.uint64
    assert sorted(codes.tolist()) == list(range(2 ** (axes * bits)))


@pytest.mark.parametrize(("axes", "bits"), GRIDS)
def test_the_next_number_of_hilbert_is_a_neighbouring_cell(axes: int, bits: int) -> None:
    cells = whole_grid(axes, bits)
    path = cells[np.argsort(hilbert_code(cells, bits))]
    assert not path[0].any()
    assert (np.abs(np.diff(path, axis=0)).sum(1) == 1).all()


def test_hilbert_goes_around_the_square() -> None:
    """The curve of two bits, as it is always drawn."""
    path = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (0, 3), (1, 3), (1, 2)]
    path += [(2, 2), (2, 3), (3, 3), (3, 2), (3, 1), (2, 1), (2, 0), (3, 0)]
    assert hilbert_code(np.array(path), 2).tolist() == list(range(16))


@pytest.mark.parametrize(("axes", "bits"), [(2, 32), (3, 21), (3, 16), (4, 16), (1, 64)])
def test_as_literal_at_full_width(axes: int, bits: int) -> None:
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 2**bits - 1, size=(40, axes), endpoint=True, dtype=np.uint64)
    cells[0], cells[1] = 0, 2**bits - 1
    before = cells.copy()
    assert hilbert_code(cells, bits).tolist() == [literal_hilbert(cell, bits) for cell in cells.tolist()]
    assert np.array_equal(cells, before)
    for cell, code in zip(cells.tolist(), morton_code(cells, bits).tolist(), strict=True):
        digits = "".join(str(value >> level & 1) for level in reversed(range(bits)) for value in cell)
        assert code == int(digits, 2)


@pytest.mark.parametrize("code", [hilbert_code, morton_code])
def test_finer_cells_lie_inside_coarser_ones(code) -> None:
    """So a run of numbers is a place, at every scale."""
    cells = np.random.default_rng(1).integers(0, 2**9, size=(500, 3))
    assert np.array_equal(code(cells, 9) >> np.uint64(3), code(cells >> 1, 8))


grids = st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple)


def path_through(grid: tuple[int, ...], code) -> np.ndarray:
    """The cells of a grid, first to last along a curve: (M, D)."""
    return np.stack(np.unravel_index(along_curve(grid, code), grid), axis=1)


@given(grids, st.sampled_from([hilbert_code, morton_code]))
def test_every_cell_of_a_grid_is_passed_once(grid: tuple[int, ...], code) -> None:
    assert sorted(along_curve(grid, code).tolist()) == [*range(np.prod(grid))]


@pytest.mark.parametrize("code", [hilbert_code, morton_code])
@pytest.mark.parametrize(("axes", "bits"), GRIDS)
def test_a_cube_is_passed_as_the_curve_goes(code, axes: int, bits: int) -> None:
    cells = whole_grid(axes, bits)
    path = path_through((2**bits,) * axes, code)
    assert np.array_equal(path, cells[np.argsort(code(cells, bits))])
    if code is hilbert_code:
        assert (np.abs(np.diff(path, axis=0)).sum(1) == 1).all()


@given(grids)
def test_axes_of_one_cell_do_not_matter_and_lines_keep_their_order(grid: tuple[int, ...]) -> None:
    for code in (hilbert_code, morton_code):
        assert np.array_equal(along_curve((1, *grid, 1), code), along_curve(grid, code))
        assert np.array_equal(along_curve(grid[:1], code), np.arange(grid[0]))


def test_any_grid_literally() -> None:
    """Shorter axes first, each stretched to a power of two."""
    rows, columns, bits = 3, 5, 3
    literal = {(r, c): literal_hilbert([r * 4 // 3, c * 8 // 5], bits) for r in range(rows) for c in range(columns)}
    expected = sorted(literal, key=lambda cell: literal[cell])
    assert path_through((rows, columns), hilbert_code).tolist() == [list(cell) for cell in expected]
    turned = path_through((columns, rows), hilbert_code)
    assert turned[:, ::-1].tolist() == [list(cell) for cell in expected]


@pytest.mark.parametrize("code", [hilbert_code, morton_code])
@pytest.mark.parametrize(
    ("grid", "runs", "block"),
    [((224, 224), 16, (56, 56)), ((224, 224), 256, (14, 14)), ((96, 48), 32, (12, 12)), ((8, 56, 56), 16, (8, 14, 14))],
    ids=str,
)
def test_equal_runs_are_blocks_where_halves_are_whole(code, grid: tuple[int, ...], runs: int, block: tuple) -> None:
    for run in path_through(grid, code).reshape(runs, -1, len(grid)):
        assert tuple(np.ptp(run, axis=0) + 1) == block


def test_mistakes() -> None:
    for cells, bits, message in [
        ([1, 2], 3, "cells: expected whole numbers of shape (N, D), got int64 of shape (2,)"),
        ([[0.5]], 3, "cells: expected whole numbers of shape (N, D), got float64 of shape (1, 1)"),
        ([[0, 8]], 3, "cells: expected 0 to 7 with 3 bits, got 0 to 8"),
        ([[0, -1]], 3, "cells: expected 0 to 7 with 3 bits, got -1 to 0"),
        ([[0, 1, 2]], 22, "bits: expected a whole number from 1 to 21 for 3 axes, got 22"),
        ([[0, 1, 2]], 0, "bits: expected a whole number from 1 to 21 for 3 axes, got 0"),
    ]:
        for code in (hilbert_code, morton_code):
            with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
                code(np.array(cells), bits)  # type: ignore[arg-type]
            assert str(error.value) == message
    assert hilbert_code(np.zeros((0, 3), dtype=np.int64), 4).shape == (0,)


def test_a_cloud_takes_milliseconds() -> None:
    cells = np.random.default_rng(0).integers(0, 2**16, size=(2048, 3))
    hilbert_code(cells, 16)
    start = time.process_time()
    for _ in range(5):
        hilbert_code(cells, 16)
    assert (time.process_time() - start) / 5 < 0.05
