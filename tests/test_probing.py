"""What is read off vectors, on vectors of which it is known."""

import math

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_within

from hiperceiver.probing import effective_rank, linear_scores, nearest_scores, table_locality


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def waves(grid: tuple[int, ...], channels: int = 16) -> torch.Tensor:
    """A smooth table: sines of random directions over the grid, of wavelengths of about ten places or more."""
    places = np.stack(np.meshgrid(*[np.linspace(0, 1, n) for n in grid], indexing="ij"), -1).reshape(-1, len(grid))
    rng = np.random.default_rng(0)
    phase = (
        2
        * np.pi
        * (places @ rng.normal(scale=min(1.5, min(grid) / 16), size=(len(grid), channels)) + rng.random(channels))
    )
    return torch.from_numpy(np.sin(phase)).float()


# ------------------------------------------------------------------------------------------------------- effective rank


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_as_many_equal_directions_are_as_large_a_rank(rank: int) -> None:
    left, _ = torch.linalg.qr(numbers(40, rank).double() - numbers(40, rank).double().mean(dim=0))
    right, _ = torch.linalg.qr(numbers(8, rank, seed=1).double())
    assert_close(effective_rank(3 * left @ right.T + 5), rank, terms=40, dtype=torch.float32)


def test_unequal_directions_count_by_the_entropy_of_their_sizes() -> None:
    x = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # singular values in the ratio 3 : 1
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert_close(effective_rank(x), expected, terms=4, dtype=torch.float32)
    assert_close(effective_rank(x + 100), expected, terms=100, dtype=torch.float32)


def test_vectors_that_are_all_the_same_have_rank_zero_and_broken_ones_none() -> None:
    assert effective_rank(torch.full((5, 3), 0.7)) == 0.0
    assert math.isnan(effective_rank(torch.tensor([[1.0, torch.nan], [0.0, 1.0]])))
    with pytest.raises(ValueError, match=r"x: expected shape \(N, D\) with no empty axis, got \(0, 3\)"):
        effective_rank(torch.empty(0, 3))


# ---------------------------------------------------------------------------------------------------- lines, neighbours


def test_neighbours_vote_by_the_cosine_from_the_mean() -> None:
    x = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-2.0, 0.0], [0.0, -1.0]]) + 10
    targets = torch.eye(4)
    scores = nearest_scores(x, targets, torch.tensor([[11.0, 10.5]]), count=2, temperature=0.5)
    cosines = np.array([1.0, 0.5]) / math.hypot(1, 0.5)
    votes = np.exp(cosines / 0.5)
    assert_close(scores[0], np.float32([*votes / votes.sum(), 0, 0]), terms=4)


def test_a_line_is_read_whatever_the_units_and_noise_is_not() -> None:
    x = numbers(200, 6) * torch.tensor([1.0, 100.0, 0.01, 1.0, 1.0, 0.0]) + 7
    targets = torch.stack([3 * x[:, 0] - x[:, 2] * 50 + 4, numbers(200, seed=1)], dim=1)
    made = linear_scores(x[:150], targets[:150], x[150:])
    assert_within(made[:, 0], targets[150:, 0], 0.01)  # the weakest ridge is left: 1e-5
    assert (
        made[:, 1] - targets[:150, 1].mean()
    ).abs().max() < 0.5  # near the mean: the strength is chosen by the error


def test_ridge_is_that_of_the_normal_equations() -> None:
    x, targets = numbers(30, 4), numbers(30, 1, seed=1)
    standard = (x - x.mean(dim=0)) / x.std(dim=0, correction=0)
    made = linear_scores(x, targets, x)
    candidates = []
    for power in range(-5, 3):

        def fit(rows: list[int], power: int = power) -> torch.Tensor:
            part = standard.double()
            gram = part.T @ part + 30 * 10.0**power * torch.eye(4, dtype=torch.float64)
            return part[rows] @ torch.linalg.solve(gram, part.T @ (targets - targets.mean()).double()) + targets.mean()

        candidates.append(fit(list(range(30))).float())
    assert any((made - each).abs().max() < 1e-5 for each in candidates)


# --------------------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("grid", [(200,), (24, 20), (8, 10, 9)])
def test_a_smooth_table_is_a_map(grid: tuple[int, ...]) -> None:
    locality = table_locality(waves(grid), grid, far=4.0, num_features=256)
    assert locality.near_cosine > 0.7 > 0.3 > locality.far_cosine
    assert locality.neighbour_share > 0.9 > 0.2 > locality.chance
    assert len(locality.coordinate_r2) == len(grid)
    assert min(locality.coordinate_r2) > 0.8


def test_a_table_of_noise_is_none() -> None:
    locality = table_locality(numbers(32 * 32, 32), (32, 32), num_features=512)
    assert abs(locality.near_cosine) < 0.01
    assert abs(locality.far_cosine) < 0.01
    assert locality.neighbour_share < 0.03
    assert locality.chance == pytest.approx((30 * 30 * 8 + 4 * 30 * 5 + 4 * 3) / 1024 / 1023)
    assert max(locality.coordinate_r2) < 0.05


def test_neighbours_and_far_places_are_those_of_the_grid() -> None:
    # A 2 x 3 grid; cosines by hand. Row 0 is most like row 3 below it, row 1 like row 5 aslant, row 2 like row 3.
    angle = torch.tensor([0.0, 2.0, 0.6, 0.1, 4.0, 2.05])
    table = torch.stack([angle.cos(), angle.sin()], dim=1)
    locality = table_locality(table, (2, 3), far=1.9)
    near = [
        (a, b) for a in range(6) for b in range(6) if a != b and abs(a // 3 - b // 3) <= 1 and abs(a % 3 - b % 3) <= 1
    ]
    far = [(0, 2), (2, 0), (3, 5), (5, 3), (0, 5), (5, 0), (2, 3), (3, 2)]
    for found, pairs in ((locality.near_cosine, near), (locality.far_cosine, far)):
        assert_close(found, np.mean([math.cos(angle[a] - angle[b]) for a, b in pairs]), terms=30, dtype=torch.float32)
    nearest = [max((b for b in range(6) if b != a), key=lambda b: math.cos(angle[a] - angle[b])) for a in range(6)]
    assert locality.neighbour_share == pytest.approx(sum((a, b) in near for a, b in enumerate(nearest)) / 6)
    assert locality.chance == pytest.approx(len(near) / 30)


def test_a_sample_of_a_large_table_says_the_same() -> None:
    grid = (80, 60)
    locality = table_locality(waves(grid), grid, far=12.0)
    table = waves(grid).double()
    table /= table.norm(dim=1, keepdim=True)
    cosine = (table @ table.T).view(80, 60, 80, 60)
    near = torch.cat(
        [cosine.diagonal(0, 0, 2).diagonal(1, 0, 1).flatten(), cosine.diagonal(1, 0, 2).diagonal(0, 0, 1).flatten()]
    )
    assert_within(locality.near_cosine, near.mean(), 0.02)  # over steps along the axes alone, and all rows
    again = table_locality(waves(grid), grid, far=12.0)
    assert again == locality


def test_no_places_are_far_apart_on_a_small_grid_and_axes_of_one_place_have_no_coordinate() -> None:
    locality = table_locality(waves((1, 30)), (1, 30), far=40, num_features=64)
    assert math.isnan(locality.far_cosine)
    assert math.isnan(locality.coordinate_r2[0])
    assert locality.coordinate_r2[1] > 0.8


def test_a_table_of_another_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"table: expected 12 rows for grid \(3, 4\), got 10"):
        table_locality(numbers(10, 4), (3, 4))
