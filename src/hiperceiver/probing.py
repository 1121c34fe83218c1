"""What vectors hold: what is read off them by a line or by their neighbours, and how much a table knows of its grid.

Functions of tensors alone. N examples or rows, D channels of a vector, Q queries, K numbers that are read.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_STRENGTHS = tuple(10.0**power for power in range(-5, 3))  # of ridge regression, per example
_LEAST_DEVIATION = 1e-6  # of a channel, as a share of the largest: one that varies less is constant
_MOST_ROWS, _FEWEST_ROWS = 1024, 64  # of a large table that are compared with all others, within ...
_MOST_PAIRS = 2**26  # ... so many pairs
_PAIRS_AT_ONCE = 2**22
_MOST_PLACES = 4096  # of a grid are learned from where coordinates are read off its table, and as many asked about


@torch.no_grad()
def effective_rank(x: Tensor) -> float:
    """In how many directions vectors (N, D) vary: 0 if they are all the same, at most min(N - 1, D).

    It is exp of the entropy of the singular values' shares, after their mean is subtracted: what all vectors share
    tells none apart. Source: Roy and Vetterli, "The effective rank", 2007; as a measure of representations "RankMe",
    arXiv 2210.02885, which does not subtract the mean. NaN if a vector is not finite.

    >>> round(effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])), 6)
    2.0
    """
    x = _checked(x, "x").double()
    if not bool(x.isfinite().all()):
        return math.nan
    sizes = torch.linalg.svdvals(x - x.mean(dim=0))
    total = sizes.sum()
    if total <= 1e-12 * x.abs().sum():
        return 0.0
    return float(torch.special.entr(sizes / total).sum().exp())


@torch.no_grad()
def nearest_scores(
    x: Tensor, targets: Tensor, queries: Tensor, *, count: int = 20, temperature: float = 0.07
) -> Tensor:
    """What the nearest vectors say: the weighted mean of their targets, float32 (Q, K).

    Nearest by cosine, after the mean of `x` is subtracted from all; each counts exp(cosine / temperature). Source: Wu
    et al., arXiv 1805.01978, with the numbers of DINO, arXiv 2104.14294; neither subtracts the mean.

    Args:
        x: vectors whose targets are known, (N, D).
        targets: numbers of each, (N, K): of classes 1 for its own, 0 for the others.
        queries: vectors that are asked about, (Q, D).
        count: how many nearest ones are asked; all if there are fewer.
        temperature: the lower, the more the very nearest count.
    """
    x, targets, queries = _checked(x, "x").float(), _checked(targets, "targets").float(), queries.float()
    mean = x.mean(dim=0)
    cosine = F.normalize(queries - mean, dim=1) @ F.normalize(x - mean, dim=1).T
    near, index = cosine.topk(min(count, len(x)), dim=1)
    return torch.einsum("qn,qnk->qk", (near / temperature).softmax(dim=1), targets[index])


@torch.no_grad()
def linear_scores(x: Tensor, targets: Tensor, queries: Tensor) -> Tensor:
    """What a line reads: ridge regression of targets on vectors with deviation 1, and an intercept, float32 (Q, K).

    Its strength is the one, of a few powers of ten, whose squared error is least where each vector is predicted from
    all others (in closed form). Arguments as of `nearest_scores`.
    """
    x, targets = _checked(x, "x").double(), _checked(targets, "targets").double()
    mean, deviation, level = x.mean(dim=0), x.std(dim=0, correction=0), targets.mean(dim=0)
    deviation = torch.where(deviation > _LEAST_DEVIATION * deviation.max(), deviation, torch.inf)
    left, sizes, right = torch.linalg.svd((x - mean) / deviation, full_matrices=False)
    turned = left.T @ (targets - level)  # (directions, K)
    best_error, best = torch.inf, sizes
    for strength in _STRENGTHS:
        kept = sizes.square() / (sizes.square() + strength * len(x))
        residual = targets - level - left @ (kept[:, None] * turned)
        leverage = 1 / len(x) + left.square() @ kept
        error = float((residual / (1 - leverage).clamp(min=1e-9)[:, None]).square().sum())
        if error < best_error:
            best_error, best = error, sizes / (sizes.square() + strength * len(x))
    weights = right.T @ (best[:, None] * turned)
    return (((queries.double() - mean) / deviation) @ weights + level).float()


class TableLocality(NamedTuple):
    """How much a table of positions is a map: of rows on a grid, from their cosines."""

    near_cosine: float  # mean of the cosines of a row and its neighbours on the grid
    far_cosine: float  # mean over pairs farther apart than `far`; NaN where there are none
    neighbour_share: float  # share of the rows whose most similar row is one of their neighbours
    chance: float  # the same share of a table without order
    coordinate_r2: tuple[float, ...] = ()
    """Per axis of the grid, the share of the coordinate's variance that is read off rows of places that were not
    learned from; 0 is what the mean gives, below it is worse. Empty if not asked for."""


@torch.no_grad()
def table_locality(
    table: Tensor, grid: Sequence[int], *, far: float = 8.0, num_features: int = 0, seed: int = 0
) -> TableLocality:
    """Whether rows of a table (M, E) are alike where their places lie near each other on a grid.

    A place's neighbours are those closer than 2: 2 along a line, 8 in a plane, 26 in a volume, fewer at the edge. Of a
    large table some rows, at most 1,024 and drawn by the seed, are compared with all.

    Args:
        table: rows in row-major order of the grid.
        grid: extent along each axis.
        far: Euclidean distance on the grid from which on places are far apart.
        num_features: random Fourier features (Rahimi and Recht, 2007) of the rows from which the coordinates are read
            by ridge regression: learned on half of the places, at most 4,096, and measured on others; 512 is usual.
            Their width is the median distance of two rows. 0: coordinates are not read.
        seed: of what is drawn.

    Raises:
        ValueError: the table does not fit the grid.

    >>> angle = torch.arange(64) / 64 * torch.pi
    >>> arc = torch.stack([angle.cos(), angle.sin()], dim=1)
    >>> locality = table_locality(arc, (64,))
    >>> round(locality.near_cosine, 3), locality.neighbour_share, round(locality.chance, 3)
    (0.999, 1.0, 0.031)
    """
    grid = tuple(int(extent) for extent in grid)
    table = _checked(table, "table").detach().float()
    num_rows = len(table)
    if num_rows != math.prod(grid):
        raise ValueError(f"table: expected {math.prod(grid)} rows for grid {grid}, got {num_rows}")
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(num_rows)
    if num_rows > (most := min(_MOST_ROWS, max(_FEWEST_ROWS, _MOST_PAIRS // num_rows))):
        rows = torch.randperm(num_rows, generator=generator)[:most].sort().values
    rows, places = rows.to(table.device), grid_places(grid).to(table.device)
    directions, square = F.normalize(table, dim=1), places.square().sum(dim=1)
    sums: dict[str, float] = dict.fromkeys(("near", "num_near", "far", "num_far", "found"), 0.0)
    for part in rows.split(max(1, _PAIRS_AT_ONCE // num_rows)):
        cosine = directions[part] @ directions.T  # (part, M)
        distance = square[part, None] + square - 2 * places[part] @ places.T  # squared, in whole numbers
        is_near, is_far = (distance > 0) & (distance < 4), distance > far**2
        nearest = cosine.masked_fill(distance == 0, -torch.inf).argmax(dim=1, keepdim=True)
        for name, mask in (("near", is_near), ("far", is_far)):
            sums[name] += float(cosine.masked_fill(~mask, 0.0).sum(dtype=torch.float64))
            sums[f"num_{name}"] += int(mask.sum())
        sums["found"] += int(is_near.gather(1, nearest).sum())
    near, far_cosine = (sums[name] / (sums[f"num_{name}"] or math.nan) for name in ("near", "far"))
    chance = sums["num_near"] / len(rows) / max(num_rows - 1, 1)
    r2 = _coordinate_r2(table, places, num_features, generator) if num_features else ()
    return TableLocality(near, far_cosine, sums["found"] / len(rows), chance, r2)


def _coordinate_r2(table: Tensor, places: Tensor, num_features: int, generator: torch.Generator) -> tuple[float, ...]:
    order = torch.randperm(len(table), generator=generator)[: 2 * _MOST_PLACES].to(table.device)
    known, asked = order[: len(order) // 2], order[len(order) // 2 :]
    if not len(known):
        return (math.nan,) * places.shape[1]
    sample = table[order[:512]]
    width = torch.pdist(sample).median() if len(sample) > 1 else table.new_ones(())
    frequency = torch.randn(table.shape[1], num_features, generator=generator).to(table) / width.clamp(min=1e-12)
    phase = 2 * math.pi * torch.rand(num_features, generator=generator).to(table)
    features = (table @ frequency + phase).cos()
    error = (linear_scores(features[known], places[known], features[asked]) - places[asked]).square().sum(dim=0)
    spread = (places[asked] - places[asked].mean(dim=0)).square().sum(dim=0)
    return tuple((1 - error / torch.where(spread > 0, spread, torch.nan)).tolist())


def grid_places(grid: Sequence[int]) -> Tensor:
    """Coordinates of all places of a grid in row-major order, whole numbers that are exact: float64 (M, axes)."""
    return torch.cartesian_prod(*(torch.arange(extent, dtype=torch.float64) for extent in grid)).view(-1, len(grid))


def _checked(x: Tensor, name: str) -> Tensor:
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"{name}: expected shape (N, D) with no empty axis, got {tuple(x.shape)}")
    return x
