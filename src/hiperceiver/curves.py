"""Space-filling curves: numbers for the cells of a grid, such that cells with near numbers lie near each other.

Source: Skilling, "Programming the Hilbert curve", AIP Conference Proceedings 707 (2004).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np


def hilbert_code(cells: np.ndarray, bits: int) -> np.ndarray:
    """Where each cell lies along the Hilbert curve; the next number is always a neighbouring cell.

    Args:
        cells: whole numbers (N, D), each from 0 to below 2 ** bits.
        bits: of each axis; D x bits is at most 64.

    Returns:
        uint64 (N,), from 0 to below 2 ** (D x bits).

    Raises:
        ValueError: cells or bits are out of range.

    >>> hilbert_code(np.array([[0, 0], [0, 1], [1, 1], [1, 0]]), bits=1)
    array([0, 1, 2, 3], dtype=uint64)
    """
    axes = _axes(cells, bits)
    # From the coarsest bit to the finest: undo the turn or the swap of axes of the cube that the cell lies in.
    for shift in range(bits - 1, 0, -1):
        bit, below = np.uint64(1 << shift), np.uint64((1 << shift) - 1)
        for axis in axes:
            is_set = (axis & bit) != 0
            swapped = np.where(is_set, 0, (axes[0] ^ axis) & below).astype(np.uint64)
            axes[0] ^= np.where(is_set, below, swapped).astype(np.uint64)
            axis ^= swapped
    # The way through a cube's halves is a Gray code.
    for before, axis in pairwise(axes):
        axis ^= before
    turned = np.zeros_like(axes[0])
    for shift in range(bits - 1, 0, -1):
        is_set = (axes[-1] & np.uint64(1 << shift)) != 0
        turned ^= np.where(is_set, (1 << shift) - 1, 0).astype(np.uint64)
    axes ^= turned
    return _interleaved(axes, bits)


def morton_code(cells: np.ndarray, bits: int) -> np.ndarray:
    """Where each cell lies along the Morton curve (Z-order): its bits, taken from the axes in turn.

    Cheaper than `hilbert_code`, but the curve leaps. Arguments, result and errors as there.

    >>> morton_code(np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 3]]), bits=2)
    array([ 0,  1,  2,  3, 13], dtype=uint64)
    """
    return _interleaved(_axes(cells, bits), bits)


def along_curve(grid: Sequence[int], code: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    """The cells of a grid of any extents in the order of a curve: their numbers in row-major order, int64 (M,).

    Each axis is stretched to the next power of two, so that halves of the curve are halves of the grid, and cut into
    equal runs at these the curve passes through blocks: 16 of 56 x 56 cells for a grid of 224 x 224. A grid whose
    extents are one power of two is passed as the curve defines it. A line keeps its order.

    Args:
        grid: extents >= 1.
        code: `hilbert_code` or `morton_code`.

    >>> along_curve((2, 2), hilbert_code)
    array([0, 1, 3, 2])
    """
    axes = sorted((axis for axis, extent in enumerate(grid) if extent > 1), key=lambda axis: grid[axis])
    if not axes:
        return np.zeros(1, dtype=np.int64)
    bits = [(grid[axis] - 1).bit_length() for axis in axes]
    cells = np.indices(grid)[axes].reshape(len(axes), -1)
    stretched = [(along << n) // grid[axis] for along, n, axis in zip(cells, bits, axes, strict=True)]
    return np.argsort(code(np.stack(stretched, axis=1), max(bits)))


def _axes(cells: np.ndarray, bits: int) -> np.ndarray:
    """The cells, checked, axis by axis: uint64 (D, N), a copy."""
    cells = np.asarray(cells)
    if cells.ndim != 2 or cells.shape[1] < 1 or not np.issubdtype(cells.dtype, np.integer):
        raise ValueError(f"cells: expected whole numbers of shape (N, D), got {cells.dtype} of shape {cells.shape}")
    most = 64 // cells.shape[1]
    if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= most:
        raise ValueError(f"bits: expected a whole number from 1 to {most} for {cells.shape[1]} axes, got {bits!r}")
    if cells.size and (cells.min() < 0 or int(cells.max()) >> bits):
        raise ValueError(f"cells: expected 0 to {2**bits - 1} with {bits} bits, got {cells.min()} to {cells.max()}")
    return np.array(cells.T, dtype=np.uint64, order="C")


def _interleaved(axes: np.ndarray, bits: int) -> np.ndarray:
    """The axes' bits in turn, the first axis's highest bit first: uint64 (D, N) to (N,)."""
    code = np.zeros_like(axes[0])
    for shift in range(bits - 1, -1, -1):
        for axis in axes:
            code = code << np.uint64(1) | (axis >> np.uint64(shift) & np.uint64(1))
    return code
