"""Tokens to groups and back, and latents to other groups: by hand, by property, and against a literal version."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from literal_hip import assign_groups
from small_models import refusal

from hiperceiver.model.grouping import GroupPlan, Span, regroup

NAMES = "abcdef"
sizes = st.lists(st.integers(1, 200), min_size=1, max_size=6).map(lambda counts: dict(zip(NAMES, counts, strict=False)))


def spans(plan: GroupPlan) -> dict[str, tuple[int, int]]:
    """Groups and slots of each modality."""
    return {name: (span.num_groups, span.num_slots) for name, span in plan.spans.items()}


def test_a_plan_by_hand() -> None:
    # tokens per group with 2, 3, 4, 5 groups assigned: 150, 101 - 75, 101 - 75, 50.5 - 50, 50.5
    plan = GroupPlan.assign({"video": 150, "sound": 101}, num_groups=5)
    assert spans(plan) == {"video": (3, 51), "sound": (2, 51)}
    assert plan.spans["video"].tokens_per_group == 50
    assert plan.spans["sound"].tokens_per_group == 51
    assert plan.has_padding
    assert not plan.is_pooled


def test_a_tie_goes_to_the_first() -> None:
    assert spans(GroupPlan.assign({"a": 12, "b": 12}, num_groups=3)) == {"a": (2, 12), "b": (1, 12)}
    assert spans(GroupPlan.assign({"b": 12, "a": 12}, num_groups=3)) == {"b": (2, 12), "a": (1, 12)}


def test_the_order_is_the_mappings() -> None:
    assert list(GroupPlan.assign({"z": 4, "a": 9}, num_groups=4).spans) == ["z", "a"]


def test_no_padding_where_everything_divides() -> None:
    plan = GroupPlan.assign({"image": 64}, num_groups=4)
    assert not plan.has_padding
    assert not plan.spans["image"].is_padding().any()


def test_more_modalities_than_groups() -> None:
    with refusal("modalities: expected at most 2, the groups of the first block, ") as error:
        GroupPlan.assign({"a": 1, "b": 2, "c": 3}, num_groups=2)
    assert "got 3 (a, b, c)" in str(error.value)


def test_pooling_by_hand() -> None:
    plan = GroupPlan.pool({"image": 3, "sound": 2})
    assert spans(plan) == {"image": (1, 3), "sound": (1, 2)}
    assert plan.is_pooled
    assert not plan.has_padding
    image, sound = torch.arange(3.0).view(1, 3, 1), torch.arange(2.0).view(1, 2, 1) + 10
    merged = plan.concat({"sound": plan.spans["sound"].to_groups(sound), "image": plan.spans["image"].to_groups(image)})
    assert merged.flatten().tolist() == [0, 1, 2, 10, 11]
    assert merged.shape == (1, 1, 5, 1)
    assert {name: plan.spans[name].to_tokens(x).flatten().tolist() for name, x in plan.split(merged).items()} == {
        "image": [0, 1, 2],
        "sound": [10, 11],
    }


def test_padding_stands_at_the_end_of_each_group() -> None:
    span = Span(num_tokens=7, num_groups=3, num_slots=4)
    x = torch.arange(1.0, 8).view(1, 7, 1)
    assert span.to_groups(x).squeeze().tolist() == [[1, 2, 3, 0], [4, 5, 6, 0], [7, 0, 0, 0]]
    assert span.is_padding().tolist() == [
        [False, False, False, True],
        [False, False, False, True],
        [False, True, True, True],
    ]
    assert span.to_groups(torch.ones(1, 7, dtype=torch.bool)).squeeze().tolist() == (~span.is_padding()).tolist()


@given(sizes, st.integers(6, 40))
def test_assignment_agrees_with_a_literal_one(num_tokens: dict[str, int], num_groups: int) -> None:
    plan = GroupPlan.assign(num_tokens, num_groups)
    groups = assign_groups(num_tokens, num_groups)
    assert {name: span.num_groups for name, span in plan.spans.items()} == groups
    slots = {span.num_slots for span in plan.spans.values()}
    assert slots == {max(-(-num_tokens[name] // groups[name]) for name in groups)}


@given(sizes, st.integers(6, 40))
def test_every_group_is_assigned_and_no_move_shortens_the_longest(num_tokens: dict[str, int], num_groups: int) -> None:
    plan = GroupPlan.assign(num_tokens, num_groups)
    assert sum(span.num_groups for span in plan.spans.values()) == num_groups
    assert min(span.num_groups for span in plan.spans.values()) >= 1
    longest = max(num_tokens, key=lambda name: num_tokens[name] / plan.spans[name].num_groups)
    crowd = num_tokens[longest] / plan.spans[longest].num_groups
    for name, span in plan.spans.items():
        if name != longest and span.num_groups > 1:
            assert num_tokens[name] / (span.num_groups - 1) >= crowd


@given(sizes, st.integers(6, 40), st.booleans())
def test_there_and_back_loses_nothing(num_tokens: dict[str, int], num_groups: int, is_pooled: bool) -> None:
    plan = GroupPlan.pool(num_tokens) if is_pooled else GroupPlan.assign(num_tokens, num_groups)
    tokens = {name: torch.randn(2, count, 3) for name, count in num_tokens.items()}
    parts = {name: plan.spans[name].to_groups(x) for name, x in tokens.items()}
    for name, part in parts.items():
        span = plan.spans[name]
        assert part.shape == (2, span.num_groups, span.num_slots, 3)
        assert (part[:, span.is_padding()] == 0).all()
        assert (~span.is_padding()).sum() == num_tokens[name]
        assert torch.equal(part[:, ~span.is_padding()], tokens[name])  # in order
    merged = plan.concat(parts)
    assert merged.shape[1] == (1 if is_pooled else num_groups)
    for name, part in plan.split(merged).items():
        assert torch.equal(part, parts[name])
        assert torch.equal(plan.spans[name].to_tokens(part), tokens[name])


def test_assignment_compiles_where_sizes_vary() -> None:
    def num_groups(video: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
        plan = GroupPlan.assign({"video": video.shape[0], "sound": sound.shape[0]}, num_groups=5)
        return video.new_tensor([span.num_groups * span.tokens_per_group for span in plan.spans.values()])

    compiled = torch.compile(num_groups, backend="eager", fullgraph=True, dynamic=True)
    for sizes_of_both in [(150, 101), (90, 210), (40, 41)]:
        tensors = [torch.zeros(size) for size in sizes_of_both]
        assert torch.equal(compiled(*tensors), num_groups(*tensors))


def test_regrouping_by_hand() -> None:
    latents = torch.arange(8).view(1, 4, 2, 1)  # 4 groups of 2
    assert regroup(latents, 2).flatten(2).tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7]]]
    assert regroup(latents, 2, transpose=True).flatten(2).tolist() == [[[0, 2, 4, 6], [1, 3, 5, 7]]]


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_regrouping_keeps_every_latent(old: int, new: int, latents: int, batch: int) -> None:
    x = torch.randn(batch, old, new * latents, 2)
    for transpose in (False, True):
        y = regroup(x, new, transpose=transpose)
        assert y.shape == (batch, new, old * latents, 2)
        assert sorted(y[0].flatten(0, 1)[:, 0].tolist()) == sorted(x[0].flatten(0, 1)[:, 0].tolist())
    assert torch.equal(regroup(regroup(x, new), old), x)
    back = regroup(regroup(x, new, transpose=True).flatten(1, 2).unsqueeze(1), new * latents)  # N groups of G
    assert torch.equal(back.transpose(1, 2), x)


def test_transposed_regrouping_reaches_every_new_group() -> None:
    x = torch.arange(4).view(1, 4, 1, 1).expand(1, 4, 6, 1)  # each latent says which group it was in
    for group in regroup(x, 3, transpose=True)[0]:
        assert set(group.flatten().tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("num_tokens", [{"a": 1}, {"a": 1, "b": 3}])
def test_more_groups_than_tokens(num_tokens: dict[str, int]) -> None:
    plan = GroupPlan.assign(num_tokens, num_groups=8)
    assert sum(span.num_groups for span in plan.spans.values()) == 8
    for name, span in plan.spans.items():
        x = torch.randn(1, num_tokens[name], 2)
        assert torch.equal(span.to_tokens(span.to_groups(x)), x)
        assert (~span.is_padding()).sum() == num_tokens[name]
