"""One block: what its config refuses, what its groups share, and the subset of latents while training."""

from typing import Any

import pytest
import torch
from closeness import assert_close, is_close, terms_of
from small_models import block, refusal
from torch import nn

from hiperceiver.model.layers import PerceiverBlock, sample_latents


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_groups": 0}, "num_groups: expected a whole number >= 1, got 0"),
        ({"num_latents": 0}, "num_latents: expected a whole number >= 1, got 0"),
        ({"num_channels": True}, "num_channels: expected a whole number >= 1, got True"),
        ({"num_channels": 8.0}, "num_channels: expected a whole number >= 1, got 8.0"),
        ({"num_self_attention_layers": -1}, "num_self_attention_layers: expected a whole number >= 0, got -1"),
        ({"num_self_attention_heads": 0}, "num_self_attention_heads: expected a whole number >= 1, got 0"),
        ({"num_self_attention_heads": 3}, "num_self_attention_heads: expected a divisor of num_channels=8, got 3"),
        ({"num_cross_attention_heads": "1"}, "num_cross_attention_heads: expected a whole number >= 1, got '1'"),
        ({"self_attention_widening": 0}, "self_attention_widening: expected a whole number >= 1, got 0"),
        ({"cross_attention_widening": 0}, "cross_attention_widening: expected a whole number >= 1, got 0"),
        ({"num_train_latents": 0}, "num_train_latents: expected a whole number >= 1, got 0"),
        ({"num_train_latents": 1.5}, "num_train_latents: expected a whole number >= 1, got 1.5"),
        ({"num_train_latents": 4}, "num_train_latents: expected 1 to num_latents=3, got 4"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, Any], message: str) -> None:
    with refusal(message):
        block(**settings)


def test_groups_share_weights_but_not_latents() -> None:
    layer = PerceiverBlock(block(), 6)
    one_group = torch.randn(2, 1, 5, 6)
    out = layer(one_group.expand(2, 4, 5, 6))
    assert not is_close(out[:, 0], out[:, 1], terms=terms_of(layer)).all()
    nn.init.zeros_(layer.latents)
    out = layer(one_group.expand(2, 4, 5, 6))
    assert_close(out[:, :1].expand(2, 4, 3, 8), out, terms=terms_of(layer))


def test_the_skip_is_projected_only_where_widths_differ() -> None:
    assert isinstance(PerceiverBlock(block(), 6).skip, nn.Identity)
    assert isinstance(PerceiverBlock(block(), 6, skip_channels=8).skip, nn.Identity)
    assert PerceiverBlock(block(), 6, skip_channels=5).skip.weight.shape == (8, 5)


def test_the_skip_adds_to_the_latents_themselves() -> None:
    layer = PerceiverBlock(block(num_self_attention_layers=0), 6, skip_channels=8)
    tokens, skip = torch.randn(2, 4, 5, 6), torch.randn(1, 4, 3, 8)
    with_skip = layer(tokens, skip=skip)
    layer.latents.data += skip.flatten(0, 2)
    assert_close(layer(tokens), with_skip, terms=terms_of(layer))


def test_a_random_subset_of_latents_while_training() -> None:
    layer = PerceiverBlock(block(num_latents=6, num_train_latents=4), 6)
    tokens = torch.randn(3, 4, 5, 6)
    assert layer.train()(tokens).shape == (3, 4, 4, 8)
    assert layer.eval()(tokens).shape == (3, 4, 6, 8)


def test_sampled_latents_keep_their_order_and_differ_by_example_and_group() -> None:
    latents = torch.arange(2 * 10).view(1, 2, 10, 1)
    sampled = sample_latents(latents, 4, batch_size=500).squeeze(-1)
    assert sampled.shape == (500, 2, 4)
    assert (sampled.diff(dim=-1) > 0).all()  # ascending: none twice
    assert (sampled[:, 0] < 10).all()
    assert (sampled[:, 1] >= 10).all()
    assert len({tuple(row) for row in sampled[:, 0].tolist()}) > 150  # of 210 there are
    assert not torch.equal(sampled[:, 0], sampled[:, 1] - 10)
    counts = torch.bincount(sampled.flatten(), minlength=20).float()
    assert counts.tolist() == pytest.approx([200] * 20, abs=45)  # four standard deviations


def test_all_latents_learn_from_a_subset() -> None:
    layer = PerceiverBlock(block(num_latents=6, num_train_latents=3), 6).train()
    layer(torch.randn(40, 4, 5, 6)).square().sum().backward()
    assert layer.latents.grad is not None
    assert (layer.latents.grad != 0).any(dim=1).all()
