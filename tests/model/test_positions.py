"""Position encodings: against direct computations, PyTorch's own interpolation, and properties that any must have."""

import math

import pytest
import torch
import torch.nn.functional as F
from closeness import assert_close, terms_of, tolerance
from hypothesis import given
from hypothesis import strategies as st
from small_models import IMAGE, LABEL, hip, hip_config, random_inputs, refusal
from torch import Tensor

from hiperceiver.modality import Modality
from hiperceiver.model.positions import FourierPositions, LearnedPositions, NoPositions, make_positions, resize_table

grids = st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), min_size=1, max_size=4).map(
    lambda axes: (tuple(old for old, _ in axes), tuple(new for _, new in axes))
)


def make(kind: str, grid: tuple[int, ...], width: int = 6, **settings: object):
    if kind == "fourier":
        settings = {"fourier_bands": 4} | settings
    return make_positions(hip_config(positions=kind, **settings), Modality(grid=grid, channels=3), width)


# ------------------------------------------------------------------------------------------------- learned


def test_a_learned_table_is_given_as_it_is() -> None:
    positions = LearnedPositions((3, 4), 6)
    assert positions() is positions.table
    assert positions.table.shape == (12, 6)


@pytest.mark.parametrize("width", [1, 5, 17])
def test_a_table_of_another_width_is_projected(width: int) -> None:
    positions = LearnedPositions((3, 4), 6, width)
    weights = dict(positions.named_parameters())
    assert {name: tuple(w.shape) for name, w in weights.items()} == {
        "table": (12, width),
        "projection.weight": (6, width),
    }
    assert_close(positions(), weights["table"] @ weights["projection.weight"].T, terms=width)


def test_a_table_is_drawn_by_its_number_of_rows() -> None:
    table = LearnedPositions((4000,), 32).table
    assert table.std().item() == pytest.approx(4000**-0.5, rel=0.02)
    assert table.abs().max() <= 2 / 0.87962566103423978 * 4000**-0.5


def test_labels_have_tables_as_wide_as_the_processors_input() -> None:
    model = hip(position_channels=3)
    assert model.positions["image"].table.shape == (35, 3)
    assert model.positions["label"].table.shape == (2, 8)


# ------------------------------------------------------------------------------------------------- Fourier


def direct_fourier_features(grid: tuple[int, ...], bands: int, resolution: tuple[int, ...]) -> Tensor:
    """("Perceiver", section 3.2) one token at a time."""
    rows = []
    for place in torch.cartesian_prod(*(torch.arange(n) for n in grid)).view(-1, len(grid)).tolist():
        features = []
        for axis, index in enumerate(place):
            x = -1 + 2 * index / (grid[axis] - 1) if grid[axis] > 1 else -1.0
            top = max(resolution[axis] / 2, 1)
            frequencies = [1 + (top - 1) * band / (bands - 1) if bands > 1 else 1.0 for band in range(bands)]
            features += [x, *(math.sin(math.pi * f * x) for f in frequencies)]
            features += [math.cos(math.pi * f * x) for f in frequencies]
        rows.append(features)
    return torch.tensor(rows)


def largest_phase(resolution: tuple[int, ...]) -> float:
    """A sine is off by as much as its argument is rounded."""
    return math.pi * max(1, *resolution) / 2


@pytest.mark.parametrize("grid", [(11,), (5, 7), (1, 6), (3, 4, 5), (2, 3, 2, 4)])
@pytest.mark.parametrize("bands", [1, 4])
@pytest.mark.parametrize("has_resolution", [False, True])
def test_fourier_features_are_the_direct_ones(grid: tuple[int, ...], bands: int, has_resolution: bool) -> None:
    resolution = tuple(2 * n + 3 for n in grid) if has_resolution else None
    positions = FourierPositions(grid, 6, num_bands=bands, max_resolution=resolution)
    features = direct_fourier_features(grid, bands, resolution or grid)
    assert features.shape == (math.prod(grid), len(grid) * (2 * bands + 1))
    weight = positions.projection.weight
    scale = largest_phase(resolution or grid) * weight.abs().max().item()
    assert_close(positions(), features @ weight.T, terms=weight.shape[1], scale=scale)


def test_two_axes_with_64_bands_give_258_features() -> None:
    assert FourierPositions((224, 224), 32, num_bands=64).projection.in_features == 258


def test_fourier_frequencies_mean_the_same_on_another_grid() -> None:
    positions = FourierPositions((5, 9), 6, num_bands=4)
    small = positions().unflatten(0, (5, 9))
    positions.resize((9, 17))
    assert positions.grid == (9, 17)
    large = positions().unflatten(0, (9, 17))
    weight = positions.projection.weight
    scale = largest_phase((5, 9)) * weight.abs().max()
    assert_close(large[::2, ::2], small, terms=weight.shape[1], scale=scale)  # the old places lie among the new ones
    assert positions.max_resolution.tolist() == [5, 9]


def test_fourier_resolution_must_match_the_axes() -> None:
    with refusal("fourier_max_resolution: expected one number for each of the 2 axes of grid (5, 7), got (8,)"):
        hip({"image": IMAGE}, positions="fourier", fourier_max_resolution=(8,))
    # Labels have a grid of their own, which one setting for all modalities cannot mean.
    hip({"image": IMAGE, "label": LABEL}, positions="fourier", fourier_max_resolution=(8, 8))


# ---------------------------------------------------------------------------------------------------- none


def test_without_positions_tokens_of_a_group_are_a_set() -> None:
    positions = NoPositions((3, 4), 6)
    assert torch.equal(positions(), torch.zeros(12, 6))
    assert not list(positions.parameters())
    assert not positions.state_dict()
    positions.resize((4, 4))
    assert positions().shape == (16, 6)
    model = hip({"image": IMAGE}, positions="none")
    x = random_inputs({"image": IMAGE})["image"]
    swapped = x.clone()
    swapped[:, [0, 1]] = x[:, [1, 0]]
    a, b = model({"image": x}), model({"image": swapped})
    assert_close(a.latents, b.latents, terms=terms_of(model))
    assert_close(a.reconstruction["image"][:, 0], a.reconstruction["image"][:, 1], terms=terms_of(model))


# ------------------------------------------------------------------------------------------------ resizing


@given(grids)
def test_a_constant_table_stays_constant(change: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    old, new = change
    table = torch.tensor([[1.5, -2.0]]).expand(math.prod(old), -1)
    resized = resize_table(table, old, new)
    assert resized.shape == (math.prod(new), 2)
    assert_close(resized, torch.tensor([[1.5, -2.0]]).expand(math.prod(new), -1), terms=sum(old))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_the_same_grid_changes_nothing(grid: list[int]) -> None:
    table = torch.randn(math.prod(grid), 3)
    assert torch.equal(resize_table(table, grid, grid), table)


@given(grids)
def test_values_stay_within_the_old_ones(change: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    table = torch.randn(math.prod(change[0]), 1)
    resized = resize_table(table, *change)
    margin = tolerance(torch.float32, terms=sum(change[0]), scale=table.abs().max().item())
    assert resized.min() >= table.min() - margin
    assert resized.max() <= table.max() + margin


@given(grids)
def test_axes_are_independent(change: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """A table that varies along one axis only is resized as that axis alone."""
    old, new = change
    along = torch.randn(old[0], 2)
    table = along.view(old[0], *[1] * (len(old) - 1), 2).expand(*old, 2).reshape(-1, 2)
    expected = resize_table(along, old[:1], new[:1])
    resized = resize_table(table, old, new).view(*new, 2)
    expected = expected.view(new[0], *[1] * (len(new) - 1), 2).expand_as(resized)
    assert_close(resized, expected, terms=sum(old))


@pytest.mark.parametrize(("old", "new"), [((8,), (20,)), ((8, 6), (20, 9)), ((4, 6, 5), (9, 6, 12))])
def test_a_linear_ramp_stays_linear_inside(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    def ramp(grid: tuple[int, ...]) -> Tensor:
        axes = [(torch.arange(n) + 0.5) / n for n in grid]  # cell centres
        return torch.cartesian_prod(*axes).view(-1, len(grid))

    resized = resize_table(ramp(old), old, new)
    centres = ramp(new)
    margin = torch.tensor([0.5 / n for n in old])
    inside = ((centres >= margin) & (centres <= 1 - margin)).all(dim=1)
    assert inside.float().mean() > 0.3
    assert_close(resized[inside], centres[inside], terms=sum(old))


def test_shrinking_averages_what_merges() -> None:
    checkerboard = torch.tensor([1.0, -1.0]).repeat(32)[:, None]  # the finest signal there is
    assert_close(resize_table(checkerboard, (64,), (16,))[2:-2], 0, terms=64, scale=1 / 4)  # weights are up to 1 / 4
    impulse = torch.zeros(64, 1)
    impulse[30] = 1
    assert_close(resize_table(impulse, (64,), (16,)).sum(), 16 / 64, terms=16)  # no token is lost


@pytest.mark.parametrize(("old", "new"), [((8, 8), (12, 20)), ((16, 12), (5, 7)), ((9, 4), (3, 11))])
def test_agrees_with_antialiased_bilinear_interpolation(old: tuple[int, int], new: tuple[int, int]) -> None:
    table = torch.randn(math.prod(old), 5)
    image = table.T.view(1, 5, *old)
    expected = F.interpolate(image, new, mode="bilinear", align_corners=False, antialias=True)
    # PyTorch computes in single precision where in the old grid a new place lies: off by the rounding of its number.
    scale = max(old) * table.abs().max().item()
    assert_close(resize_table(table, old, new), expected.view(5, -1).T, terms=sum(old), scale=scale)


def test_growing_agrees_with_trilinear_interpolation() -> None:
    table = torch.randn(3 * 4 * 5, 2)
    expected = F.interpolate(table.T.view(1, 2, 3, 4, 5), (6, 9, 7), mode="trilinear", align_corners=False)
    scale = 5 * table.abs().max().item()
    assert_close(resize_table(table, (3, 4, 5), (6, 9, 7)), expected.view(2, -1).T, terms=3 + 4 + 5, scale=scale)


def test_a_model_moves_to_another_grid() -> None:
    for settings in ({}, {"position_channels": 3}, {"positions": "fourier"}, {"positions": "none"}):
        model = hip({"image": IMAGE}, **settings)
        model.resize_positions({"image": [8, 10]})
        assert model.modalities["image"].grid == (8, 10)
        output = model({"image": torch.randn(1, 80, 3)})
        assert output.reconstruction["image"].shape == (1, 80, 3)
        output.reconstruction["image"].sum().backward()
        with refusal("inputs: expected (batch, 80, 3) for 'image' with grid (8, 10), got (1, 35, 3)"):
            model({"image": torch.randn(1, 35, 3)})


def test_a_frozen_table_stays_frozen_when_resized() -> None:
    positions = LearnedPositions((4,), 6)
    positions.table.requires_grad_(False)
    positions.resize((8,))
    assert not positions.table.requires_grad
    assert positions.table.is_contiguous()


def test_mistakes_in_resizing() -> None:
    model = hip({"image": IMAGE})
    with refusal("grids: expected names among image, got 'sound'"):
        model.resize_positions({"sound": (4,)})
    with refusal("grid: expected 2 axes as in (5, 7), got (35,)"):
        model.resize_positions({"image": (35,)})
    with refusal("grid[1]: expected a whole number >= 1, got 0"):
        model.resize_positions({"image": (5, 0)})
    assert model.modalities["image"].grid == (5, 7)
    with refusal("grid: expected 2 axes as in (2, 2), got (4,)"):
        resize_table(torch.zeros(4, 1), (2, 2), (4,))


@pytest.mark.parametrize("kind", ["learned", "fourier", "none"])
def test_every_kind_gives_a_vector_for_every_token(kind: str) -> None:
    for grid in [(4,), (4, 3), (2, 3, 4), (2, 1, 2, 3)]:
        assert make(kind, grid)().shape == (math.prod(grid), 6)
