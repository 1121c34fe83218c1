"""Masks: how many, where, for whom, and back again."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hiperceiver.masking import (
    mask_to_slots,
    num_visible,
    sample_masked_slots,
    sample_visible_slots,
    slots_to_mask,
    uniform_is_masked,
)

ratios = st.floats(0, 0.99)
sizes = st.integers(1, 300)
batches = st.integers(1, 4)


@given(sizes, ratios)
def test_number_of_visible_tokens_meets_the_ratio(count: int, ratio: float) -> None:
    visible = num_visible(count, ratio)
    assert 1 <= visible <= count
    assert visible == 1 or abs(visible - count * (1 - ratio)) <= 0.5


@pytest.mark.parametrize(("count", "ratio", "visible"), [(100, 0.85, 15), (64, 0.75, 16), (64, 0, 64), (3, 0.99, 1)])
def test_number_of_visible_tokens(count: int, ratio: float, visible: int) -> None:
    assert num_visible(count, ratio) == visible


@given(batches, sizes, ratios)
def test_group_wise_places_are_so_many_distinct_ascending_places(batch: int, num_slots: int, ratio: float) -> None:
    places = sample_visible_slots(batch, num_slots, ratio)
    assert places.dtype == torch.int64
    assert places.shape == (batch, 1, num_visible(num_slots, ratio))
    assert places.min() >= 0
    assert places.max() < num_slots
    assert (places.diff(dim=2) > 0).all()


@given(batches, sizes, ratios)
def test_uniform_count_is_exact(batch: int, num_tokens: int, ratio: float) -> None:
    is_masked = uniform_is_masked(batch, num_tokens, ratio)
    assert is_masked.dtype == torch.bool
    assert (~is_masked).sum(dim=1).tolist() == [num_visible(num_tokens, ratio)] * batch


@given(batches, sizes, ratios, st.integers(1, 20))
def test_blocks_are_seen_together(batch: int, size: int, ratio: float, block: int) -> None:
    """As many places as without blocks, and at most one block of each example is seen in part."""
    block = min(block, size)
    visible = sample_visible_slots(batch, size, ratio, block=block)
    assert visible.shape == (batch, 1, num_visible(size, ratio))
    grouped = ~slots_to_mask(visible, size)[:, 0]
    uniform = ~uniform_is_masked(batch, size, ratio, block=block)
    for is_seen in (grouped, uniform):
        assert is_seen.sum(dim=1).tolist() == [num_visible(size, ratio)] * batch
        parts = [is_seen[:, first : first + block].float().mean(dim=1) for first in range(0, size, block)]
        assert (torch.stack([(part > 0) & (part < 1) for part in parts]).sum(dim=0) <= 1).all()


def test_blocks_larger_than_the_whole_are_refused() -> None:
    with pytest.raises(ValueError, match="block: expected a whole number from 1 to the 10 tokens or slots, got 11"):
        sample_visible_slots(1, 10, 0.5, block=11)


def test_each_example_draws_its_own() -> None:
    places = sample_visible_slots(8, 200, 0.5).squeeze(1)
    tokens = uniform_is_masked(8, 200, 0.5)
    for drawn in (places, tokens):
        assert len({tuple(row) for row in drawn.tolist()}) == 8


def test_every_place_is_as_likely() -> None:
    draws, num_slots, ratio = 4000, 8, 0.75
    expected = draws * (1 - ratio)
    margin = 5 * (draws * ratio * (1 - ratio)) ** 0.5  # five standard deviations of a binomial
    seen = sample_visible_slots(draws, num_slots, ratio).flatten().bincount(minlength=num_slots)
    assert ((seen - expected).abs() < margin).all()
    seen = (~uniform_is_masked(draws, num_slots, ratio)).sum(dim=0)
    assert ((seen - expected).abs() < margin).all()


@pytest.mark.parametrize("draw", [sample_visible_slots, uniform_is_masked])
def test_a_generator_decides_alone(draw) -> None:
    first = draw(3, 50, 0.5, generator=torch.Generator().manual_seed(7))
    torch.rand(10)
    state = torch.get_rng_state()
    again = draw(3, 50, 0.5, generator=torch.Generator().manual_seed(7))
    assert torch.equal(first, again)
    assert torch.equal(state, torch.get_rng_state())  # the global generator is left alone
    assert not torch.equal(first, draw(3, 50, 0.5, generator=torch.Generator().manual_seed(8)))
    assert not torch.equal(draw(3, 50, 0.5), draw(3, 50, 0.5))


@pytest.mark.parametrize("draw", [sample_visible_slots, uniform_is_masked])
def test_a_generator_for_each_example_makes_masks_independent_of_the_batch(draw) -> None:
    def generators(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    together = draw(4, 50, 0.5, generator=generators(0, 1, 2, 3))
    apart = torch.cat([draw(1, 50, 0.5, generator=generators(0)), draw(3, 50, 0.5, generator=generators(1, 2, 3))])
    assert torch.equal(together, apart)
    with pytest.raises(ValueError, match="one for each of 2 examples, got 3"):
        draw(2, 50, 0.5, generator=generators(0, 1, 2))


@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 4), st.integers(1, 12))
def test_places_and_masks_are_each_other_s_inverse(seed: int, batch: int, groups: int, num_slots: int) -> None:
    rng = np.random.default_rng(seed)
    is_masked = rng.random((batch, groups, num_slots)) < rng.random()
    places = mask_to_slots(torch.from_numpy(is_masked))
    largest = max(1, (~is_masked).sum(axis=2).max())
    assert places.shape == (batch, groups, largest)
    for b in range(batch):
        for g in range(groups):
            seen = [place for place in range(num_slots) if not is_masked[b, g, place]]
            assert places[b, g].tolist() == seen + [-1] * (largest - len(seen))
    assert np.array_equal(slots_to_mask(places, num_slots).numpy(), is_masked)


@pytest.mark.parametrize("ratio", [-0.1, 1.0, float("nan")])
def test_impossible_ratio_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="ratio: expected a share from 0 to below 1"):
        sample_visible_slots(1, 10, ratio)


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(ValueError, match="count: expected a whole number >= 1, got 0"):
        uniform_is_masked(1, 0, 0.5)


@given(batches, st.integers(2, 60), st.floats(0, 0.99), st.floats(0.01, 1))
def test_some_hidden_places_are_hidden_and_as_many_as_asked(batch: int, size: int, ratio: float, share: float) -> None:
    visible = sample_visible_slots(batch, size, ratio)
    if visible.shape[2] == size:
        visible = visible[..., 1:]
    some = sample_masked_slots(visible, size, share)
    num_hidden = size - visible.shape[2]
    assert some.shape == (batch, 1, max(1, round(num_hidden * share)))
    for b in range(batch):
        drawn = some[b, 0].tolist()
        assert drawn == sorted(set(drawn)) and set(drawn) <= set(range(size)) - set(visible[b, 0].tolist())


def test_every_hidden_place_is_drawn_as_often() -> None:
    visible = torch.tensor([[[1, 3]]]).expand(6000, 1, 2)
    some = sample_masked_slots(visible, 6, 0.5)
    counts = np.bincount(some.flatten().numpy(), minlength=6)
    assert counts[[1, 3]].tolist() == [0, 0]
    assert np.abs(counts[[0, 2, 4, 5]] / 3000 - 1).max() < 0.06
