"""Position encodings of a modality's tokens: a learned table, Fourier features of the grid, or none.

Source: "HiP", section 3.3 (learned tables); "Perceiver", section 3.2 (Fourier features).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from hiperceiver.model.layers import Linear, learned_table

PositionKind = Literal["learned", "fourier", "none"]


class Positions(nn.Module):
    """What every kind of position encoding offers: `forward()` gives (M, E), one vector per token of the grid."""

    grid: tuple[int, ...]

    def forward(self) -> Tensor:
        """Encodings of all tokens of the grid, in row-major order: (M, E)."""
        raise NotImplementedError(f"{type(self).__name__} must define forward()")

    def resize(self, grid: tuple[int, ...]) -> None:
        """Move to another grid of as many axes."""
        if len(grid) != len(self.grid):
            raise ValueError(f"grid: expected {len(self.grid)} axes as in {self.grid}, got {grid}")
        self.grid = grid


class LearnedPositions(Positions):
    """A learned table with a row per token; projected to the embedding if its width differs."""

    def __init__(self, grid: tuple[int, ...], num_channels: int, table_channels: int | None = None):
        super().__init__()
        self.grid = grid
        table_channels = table_channels or num_channels
        self.table = learned_table(math.prod(grid), table_channels)
        self.projection = (
            nn.Identity() if table_channels == num_channels else Linear(table_channels, num_channels, bias=False)
        )

    def forward(self) -> Tensor:
        """The table, projected: (M, E)."""
        return self.projection(self.table)

    def resize(self, grid: tuple[int, ...]) -> None:
        """Interpolate the table to another grid of as many axes."""
        old_grid = self.grid
        super().resize(grid)
        self.table = nn.Parameter(resize_table(self.table.detach(), old_grid, grid), self.table.requires_grad)


class FourierPositions(Positions):
    """Sines and cosines of each axis at evenly spaced frequencies, and the coordinate itself, projected linearly.

    Coordinates run from -1 to 1 along each axis and frequencies from 1 to half the maximum resolution, so that 2 axes
    with 64 bands give 2 (2 x 64 + 1) = 258 features. Features never exist per token: the projection of each axis is
    computed alone and summed over the grid, which is the same number.
    """

    def __init__(
        self,
        grid: tuple[int, ...],
        num_channels: int,
        *,
        num_bands: int,
        max_resolution: tuple[int, ...] | None = None,
    ):
        super().__init__()
        if max_resolution is not None and len(max_resolution) != len(grid):
            raise ValueError(
                f"fourier_max_resolution: expected one number for each of the {len(grid)} axes of grid {grid}, "
                f"got {max_resolution}"
            )
        self.grid = grid
        self.num_bands = num_bands
        # Saved beside the weights and kept when the grid changes: a frequency must mean the same at another resolution.
        self.max_resolution = nn.Buffer(torch.tensor(max_resolution or grid))
        self.projection = Linear(len(grid) * (2 * num_bands + 1), num_channels, bias=False)

    def axis_features(self, axis: int) -> Tensor:
        """Features along one axis: (extent of the axis, 2 bands + 1)."""
        like = self.projection.weight
        coordinate = torch.linspace(-1, 1, self.grid[axis], device=like.device)[:, None]
        top = (self.max_resolution[axis] / 2).clamp(min=1)
        step = torch.arange(self.num_bands, device=like.device) / max(self.num_bands - 1, 1)
        phase = math.pi * coordinate * (1 + (top - 1) * step)
        return torch.cat([coordinate, phase.sin(), phase.cos()], dim=1).to(like.dtype)

    def forward(self) -> Tensor:
        """Projected features of all tokens: (M, E)."""
        weights = self.projection.weight.chunk(len(self.grid), dim=1)
        total = weights[0].new_zeros(())
        for axis, weight in enumerate(weights):
            along = self.axis_features(axis) @ weight.mT  # (extent, E)
            shape = [1] * len(self.grid)
            shape[axis] = self.grid[axis]
            total = total + along.view(*shape, -1)
        return total.flatten(0, -2)


class NoPositions(Positions):
    """Zeros: tokens of a group are a set, and all readout queries of a modality ask the same."""

    def __init__(self, grid: tuple[int, ...], num_channels: int):
        super().__init__()
        self.grid = grid
        self.zero = nn.Buffer(torch.zeros(1, num_channels), persistent=False)

    def forward(self) -> Tensor:
        """Zeros: (M, E)."""
        return self.zero.expand(math.prod(self.grid), -1)


def make_positions(
    kind: PositionKind,
    grid: tuple[int, ...],
    num_channels: int,
    *,
    table_channels: int | None,
    fourier_bands: int,
    fourier_max_resolution: tuple[int, ...] | None,
) -> Positions:
    """Build the position encoding named by `kind` for tokens on `grid`, as vectors of `num_channels`."""
    if kind == "learned":
        return LearnedPositions(grid, num_channels, table_channels)
    if kind == "fourier":
        return FourierPositions(grid, num_channels, num_bands=fourier_bands, max_resolution=fourier_max_resolution)
    return NoPositions(grid, num_channels)


def resize_table(table: Tensor, old_grid: Sequence[int], new_grid: Sequence[int]) -> Tensor:
    """Linear interpolation of a table (M, C) on an N-D grid to another grid: (M', C).

    Cell centres are aligned, edges are repeated, and shrinking averages over the cells that are merged (antialiasing).
    A constant table stays constant, and an unchanged grid changes nothing.
    """
    if len(old_grid) != len(new_grid):
        raise ValueError(f"grid: expected {len(old_grid)} axes as in {tuple(old_grid)}, got {tuple(new_grid)}")
    x = table.unflatten(0, tuple(old_grid))
    for axis, (old, new) in enumerate(zip(old_grid, new_grid, strict=True)):
        if old != new:
            weights = _interpolation_weights(old, new).to(table)
            x = (weights @ x.movedim(axis, 0).flatten(1)).unflatten(1, _without(x.shape, axis)).movedim(0, axis)
    return x.flatten(0, len(new_grid) - 1)


def _without(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def _interpolation_weights(old: int, new: int) -> Tensor:
    """Triangle-filter weights (new, old) whose rows sum to one."""
    scale = old / new
    support = max(scale, 1.0)
    centre = (torch.arange(new, dtype=torch.float64)[:, None] + 0.5) * scale - 0.5
    weights = (1 - (torch.arange(old, dtype=torch.float64) - centre.clamp(0, old - 1)).abs() / support).clamp(min=0)
    return weights / weights.sum(dim=1, keepdim=True)
