"""Which part of a picture lies on the grid, and how large."""

from dataclasses import dataclass

from hiperceiver.settings.encoders import Fit


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of a picture of any size. Shares are of what the grid shows of the whole picture (see `fit_to_grid`)."""

    height: float
    width: float
    top: float  # where in the picture: 0 at its upper edge, 1 at its lower edge
    left: float  # 0 at its left edge, 1 at its right edge


@dataclass(frozen=True)
class GridFit:
    """Which part of a picture is shown, and on how many cells of the grid. Pixels; y down, x right."""

    box: tuple[float, float, float, float]  # left, top, right, bottom in the picture
    height: int  # rows of the grid that it covers; if these are not all, it lies in the middle
    width: int  # columns, likewise


def fit_to_grid(height: int, width: int, size: tuple[int, int], fit: Fit, region: Region | None = None) -> GridFit:
    """How a picture of `height` x `width` pixels lies on a grid of `size` (rows, columns).

    A region covers as many cells as the whole picture would. With `crop` it may lie anywhere in the picture, also
    outside of the middle that is shown of the whole.

    >>> fit_to_grid(100, 200, (10, 10), "crop").box
    (50.0, 0.0, 150.0, 100.0)
    """
    rows, columns = size
    box_height, box_width = float(height), float(width)
    if fit == "crop":
        scale = max(rows / height, columns / width)
        # The larger quotient gives the full side; min() keeps rounding from leaving the picture.
        box_height, box_width = min(height, rows / scale), min(width, columns / scale)
    elif fit == "pad":
        scale = min(rows / height, columns / width)
        rows, columns = (min(n, max(1, round(side * scale))) for n, side in ((rows, height), (columns, width)))
    top, left = 0.5, 0.5
    if region is not None:
        box_height, box_width = box_height * region.height, box_width * region.width
        top, left = region.top, region.left
    y, x = (height - box_height) * top, (width - box_width) * left
    return GridFit((x, y, x + box_width, y + box_height), rows, columns)
