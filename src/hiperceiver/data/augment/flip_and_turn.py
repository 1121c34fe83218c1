"""Random changes of an example for training that keep its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hiperceiver.data.example import Example


def flip_and_turn(
    example: Example, grids: Mapping[str, tuple[int, ...]], rng: np.random.Generator, *, is_turned: bool = False
) -> Example:
    """The example mirrored left to right or not, each with probability 1/2; all its modalities and its labels alike.

    Args:
        example: with modalities on 2-D grids; `segmentation` targets lie on the grid that has as many positions.
        grids: (H, W) per modality.
        rng: the only source of chance.
        is_turned: turn by 0, 90, 180 or 270 degrees as well, all equally likely, where up and down have no meaning.
            The grids must be square.

    Raises:
        ValueError: a grid is not 2-D, or not square and `is_turned`.
    """
    for name, grid in grids.items():
        if len(grid) != 2 or (is_turned and grid[0] != grid[1]):
            kind = "square" if is_turned else "2-D"
            raise ValueError(f"{name}: expected a {kind} grid to flip or turn, got {'x'.join(map(str, grid))}")
    is_flipped, num_turns = bool(rng.integers(2)), int(rng.integers(4)) if is_turned else 0

    def changed(tokens: Tensor, grid: tuple[int, ...]) -> Tensor:
        on_grid = tokens.unflatten(0, grid)
        on_grid = on_grid.flip(1) if is_flipped else on_grid
        return torch.rot90(on_grid, num_turns, (0, 1)).flatten(0, 1)

    targets = dict(example.targets)
    if (labels := targets.get("segmentation")) is not None:
        grid = next(grid for grid in grids.values() if grid[0] * grid[1] == len(labels))
        targets["segmentation"] = changed(labels, grid)
    return replace(
        example,
        inputs={name: changed(x, grids[name]) for name, x in example.inputs.items()},
        is_padding={name: changed(x, grids[name]) for name, x in example.is_padding.items()},
        targets=targets,
    )
