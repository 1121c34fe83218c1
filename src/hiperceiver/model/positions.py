"""Position encodings of a modality's tokens: a learned table, Fourier features of the grid or of coordinates, or none.

Source: "HiP", section 3.3 (learned tables); "Perceiver", section 3.2 (Fourier features).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hiperceiver.modality import Modality
from hiperceiver.model.initialisation import Linear, learned_table
from hiperceiver.settings.model import PerceiverConfig

_COORDINATE_RESOLUTION = 64
"""Default resolution along each coordinate: about what 2,048 points on a surface of that extent tell apart."""


class Positions(nn.Module):
    """Base of the position encodings: a vector per token of the grid."""

    def __init__(self, grid: tuple[int, ...]):
        super().__init__()
        self.grid = grid

    def forward(self, tokens: Tensor | None = None) -> Tensor:
        """Encodings of all tokens of the grid, in row-major order: (M, E), or (B, M, E) if they depend on `tokens`."""
        raise NotImplementedError(f"{type(self).__name__} must define forward()")

    def resize(self, grid: tuple[int, ...]) -> None:
        """Move to another grid of as many axes."""
        if len(grid) != len(self.grid):
            raise ValueError(f"grid: expected {len(self.grid)} axes as in {self.grid}, got {grid}")
        self.grid = grid


class LearnedPositions(Positions):
    """A learned table with a row per token; projected to the embedding if its width differs.

    `std` is the table's at the start; None: 1/sqrt(tokens), the reference's.
    """

    def __init__(
        self, grid: tuple[int, ...], num_channels: int, table_channels: int | None = None, std: float | None = None
    ):
        super().__init__(grid)
        table_channels = table_channels or num_channels
        self.table = learned_table(math.prod(grid), table_channels, std)
        is_projected = table_channels != num_channels
        self.projection = Linear(table_channels, num_channels, bias=False) if is_projected else nn.Identity()

    def forward(self, tokens: Tensor | None = None) -> Tensor:
        """The table, projected: (M, E)."""
        return self.projection(self.table)

    def resize(self, grid: tuple[int, ...]) -> None:
        """Interpolate the table to another grid of as many axes."""
        table = resize_table(self.table.detach(), self.grid, grid)
        self.table, self.grid = nn.Parameter(table, self.table.requires_grad), grid


class FourierPositions(Positions):
    """Sines and cosines of each axis at evenly spaced frequencies, and the coordinate itself, projected linearly.

    Coordinates run from -1 to 1 along each axis and frequencies from 1 to half the maximum resolution. Features never
    exist per token: the projection of each axis is computed alone and summed over the grid, which is the same number.
    """

    def __init__(
        self, grid: tuple[int, ...], num_channels: int, *, num_bands: int, max_resolution: tuple[int, ...] | None = None
    ):
        super().__init__(grid)
        _check_resolution(max_resolution, len(grid), f"axes of grid {grid}")
        self.num_bands = num_bands
        # Saved beside the weights and kept when the grid changes: a frequency must mean the same at another resolution.
        self.max_resolution = nn.Buffer(torch.tensor(max_resolution or grid))
        self.projection = Linear(len(grid) * (2 * num_bands + 1), num_channels, bias=False)

    def axis_features(self, axis: int) -> Tensor:
        """Features along one axis: (extent of the axis, 2 bands + 1)."""
        like = self.projection.weight
        coordinate = torch.linspace(-1, 1, self.grid[axis], device=like.device)[:, None]
        top = (self.max_resolution[axis] / 2).clamp(min=1)
        return fourier_features(coordinate, self.num_bands, top).to(like.dtype)

    def forward(self, tokens: Tensor | None = None) -> Tensor:
        """Projected features of all tokens: (M, E)."""
        total = self.projection.weight.new_zeros(())
        for axis, along in enumerate(self.along_axes()):
            shape = [1] * len(self.grid)
            shape[axis] = self.grid[axis]
            total = total + along.view(*shape, -1)
        return total.flatten(0, -2)

    def along_axes(self) -> list[Tensor]:
        """Projected features along each axis alone: (extent, E)."""
        weights = self.projection.weight.chunk(len(self.grid), dim=1)
        return [self.axis_features(axis) @ weight.mT for axis, weight in enumerate(weights)]


class CoordinatePositions(Positions):
    """Fourier features of the tokens' own coordinates, projected linearly.

    A token's first channels are its coordinates, about -1 to 1, and have the same features as `FourierPositions` gives
    to a grid. The encoding belongs to the point, wherever it stands in the list.
    """

    def __init__(
        self,
        grid: tuple[int, ...],
        num_channels: int,
        *,
        num_coordinates: int,
        num_bands: int,
        max_resolution: tuple[int, ...] | None = None,
    ):
        super().__init__(grid)
        _check_resolution(max_resolution, num_coordinates, "coordinates")
        self.num_coordinates = num_coordinates
        self.num_bands = num_bands
        self.max_resolution = nn.Buffer(torch.tensor(max_resolution or (_COORDINATE_RESOLUTION,) * num_coordinates))
        self.projection = Linear(num_coordinates * (2 * num_bands + 1), num_channels, bias=False)

    def forward(self, tokens: Tensor | None = None) -> Tensor:
        """Projected features of the tokens' coordinates: (B, M, C) to (B, M, E)."""
        if tokens is None:
            raise ValueError("tokens: expected them, for their coordinates are their positions, got None")
        # Not in half precision, where the phases of the high frequencies would be noise.
        coordinates = tokens[..., : self.num_coordinates].float()
        top = (self.max_resolution / 2).clamp(min=1)[:, None]
        features = fourier_features(coordinates[..., None], self.num_bands, top)  # (B, M, n, 2 bands + 1)
        return self.projection(features.flatten(-2).to(self.projection.weight.dtype))


class NoPositions(Positions):
    """Zeros: tokens of a group are a set, and all readout queries of a modality are the same."""

    def __init__(self, grid: tuple[int, ...], num_channels: int):
        super().__init__(grid)
        self.zero = nn.Buffer(torch.zeros(1, num_channels), persistent=False)

    def forward(self, tokens: Tensor | None = None) -> Tensor:
        """Zeros: (M, E)."""
        return self.zero.expand(math.prod(self.grid), -1)


def _check_resolution(resolution: tuple[int, ...] | None, count: int, axes: str) -> None:
    if resolution is not None and len(resolution) != count:
        expected = f"one number for each of the {count} {axes}"
        raise ValueError(f"fourier_max_resolution: expected {expected}, got {resolution}")


def make_positions(config: PerceiverConfig, modality: Modality, num_channels: int) -> Positions:
    """The position encoding of a modality's tokens that a config asks for, as vectors of `num_channels`.

    Tokens without coordinates have learned tables where `config.positions` is `coordinate`. Labels have tables as wide
    as their embedding, and Fourier features up to the resolution of their own grid.
    """
    kind, grid, is_label = config.positions, modality.grid, modality.role == "label"
    if kind == "learned" or (kind == "coordinate" and not modality.num_coordinates):
        if is_label:
            return LearnedPositions(grid, num_channels)
        std = None if config.position_scale == "reference" else config.position_scale
        return LearnedPositions(grid, num_channels, config.position_channels, std)
    if kind == "none":
        return NoPositions(grid, num_channels)
    assert config.fourier_bands is not None, "a config with Fourier features says how many"
    bands, resolution = config.fourier_bands, None if is_label else config.fourier_max_resolution
    if kind == "fourier":
        return FourierPositions(grid, num_channels, num_bands=bands, max_resolution=resolution)
    count = modality.num_coordinates
    return CoordinatePositions(grid, num_channels, num_coordinates=count, num_bands=bands, max_resolution=resolution)


def fourier_features(coordinate: Tensor, num_bands: int, top: Tensor) -> Tensor:
    """A coordinate, and its sines and cosines at evenly spaced frequencies from 1 to `top`, in half turns per unit.

    From (..., 1), about -1 to 1, to (..., 2 bands + 1); `top` is a number, or broadcast against `coordinate`.
    """
    step = torch.arange(num_bands, device=coordinate.device) / max(num_bands - 1, 1)
    phase = math.pi * coordinate * (1 + (top - 1) * step)
    return torch.cat([coordinate, phase.sin(), phase.cos()], dim=-1)


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
            moved = x.movedim(axis, 0)
            resized = _interpolation_weights(old, new).to(table) @ moved.flatten(1)
            x = resized.unflatten(1, moved.shape[1:]).movedim(0, axis)
    return x.flatten(0, len(new_grid) - 1)


def _interpolation_weights(old: int, new: int) -> Tensor:
    """Triangle-filter weights (new, old) whose rows sum to one."""
    scale = old / new
    support = max(scale, 1.0)
    centre = (torch.arange(new, dtype=torch.float64)[:, None] + 0.5) * scale - 0.5
    weights = (1 - (torch.arange(old, dtype=torch.float64) - centre.clamp(0, old - 1)).abs() / support).clamp(min=0)
    return weights / weights.sum(dim=1, keepdim=True)
