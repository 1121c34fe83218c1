"""Where a model looks, against a literal softmax and where it is known."""

import math

import numpy as np
import pytest
import small_models
import torch
from closeness import assert_close, assert_equal

from hiperceiver import Modality, create_model
from hiperceiver.model.attended import attended_tokens, group_and_slot, on_tokens, read_latents

SHAPES = {name: small_models.MODALITIES[name] for name in ("image", "sound")}
ORDERS = ("raster", "hilbert", "morton", "shuffled")


def literal_softmax(layer, query: torch.Tensor, keys: torch.Tensor, head: int) -> list[float]:
    """The weights of one query (D,) among keys (M, C), by the names of the weights alone."""
    weights = {name: value.detach().double().numpy() for name, value in layer.named_parameters()}

    def projected(x: np.ndarray, norm: str, linear: str) -> np.ndarray:
        x = (x - x.mean()) / math.sqrt(x.var() + 1e-5) * weights[f"{norm}.weight"] + weights[f"{norm}.bias"]
        return weights[f"{linear}.weight"] @ x + weights[f"{linear}.bias"]

    size = keys.shape[1] // layer.num_heads
    part = slice(head * size, (head + 1) * size)
    asked = projected(query.double().numpy(), "query_norm", "query")[part]
    scores = [asked @ projected(key.double().numpy(), "token_norm", "key_value")[part] for key in keys]
    exponentials = [math.exp((score - max(scores)) / math.sqrt(size)) for score in scores]
    return [each / sum(exponentials) for each in exponentials]


def test_latents_attend_by_a_softmax_over_the_tokens_of_their_group() -> None:
    """The image has groups of 12, 12 and 11 tokens in 16 slots: what holds no token gets nothing."""
    model = small_models.hip(
        SHAPES, blocks=(small_models.block(num_cross_attention_heads=2), *small_models.hip_config().blocks[1:])
    )
    inputs = small_models.random_inputs(SHAPES)
    found = attended_tokens(model, inputs)
    span = model.plan({name: x.shape[1] for name, x in inputs.items()}).spans["image"]
    assert found["image"].shape == (2, 3, 2, 3, 16) and found["sound"].shape == (2, 1, 2, 3, 16)
    tokens = model.embedding["image"](inputs["image"]) + model.positions["image"]()
    block = model.blocks[0]
    with torch.no_grad():
        for group, count in enumerate((12, 12, 11)):
            latent = block.latents[group * 3 + 1]
            mine = tokens[1, 12 * group : 12 * group + count]
            expected = literal_softmax(block.cross_attention, latent, mine, head=1)
            weights = found["image"][1, group, 1, 1]
            assert_close(weights[:count], torch.tensor(expected), terms=6)
            assert not weights[count:].any()
    for weights in found.values():
        assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]), terms=16)
    some = attended_tokens(model, inputs, latents=[2, 0])["image"]
    assert_equal(some, found["image"][:, :, :, [2, 0]])
    assert span.num_slots == 16


def test_the_modalities_of_a_perceiver_io_share_the_attention_of_a_latent() -> None:
    model = small_models.perceiver_io(SHAPES)
    found = attended_tokens(model, small_models.random_inputs(SHAPES))
    assert {name: tuple(x.shape) for name, x in found.items()} == {"image": (2, 1, 1, 8, 35), "sound": (2, 1, 1, 8, 16)}
    assert_close(sum(x.sum(-1) for x in found.values()), torch.ones(2, 1, 1, 8), terms=51)


def test_absent_tokens_and_a_modality_without_any_get_nothing() -> None:
    model, inputs = small_models.hip(SHAPES), small_models.random_inputs(SHAPES)
    is_padding = {"image": torch.arange(35).expand(2, -1) >= 20, "sound": torch.ones(2, 16, dtype=torch.bool)}
    found = attended_tokens(model, inputs, is_padding=is_padding)
    assert not found["sound"].any() and not found["image"][:, 2].any()
    assert not on_tokens(model.plan({"image": 35, "sound": 16}).spans["image"], 1, found["image"][:, 1, 0, 0])[
        :, 20:
    ].nansum()


@pytest.mark.parametrize("order", ORDERS)
def test_attention_is_drawn_where_the_token_lies(order: str) -> None:
    """One token is unlike all others, and a latent that asks for it finds it at its place, in any order of tokens."""
    model = create_model("hip-nano", {"image": Modality(grid=(8, 8), channels=1)}, token_order=order, positions="none")
    layer = model.eval().blocks[0].cross_attention
    with torch.no_grad():
        for weight in (layer.query.weight, layer.query.bias):
            weight.mul_(0.0).add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(3)) * 30)
    span = model.plan({"image": 64}).spans["image"]
    for token in (0, 13, 42, 63):
        x = torch.zeros(1, 64, 1)
        x[0, token] = 5.0
        group, slot = group_and_slot(span, token)
        weights = attended_tokens(model, {"image": x})["image"][0, group, 0]  # (N, P)
        shown = on_tokens(span, group, weights)
        assert shown.shape == (16, 64) and int(shown[0].isfinite().sum()) == 4
        latent = int((weights[:, slot] - 0.25).abs().argmax())  # the one that minds it most
        others = shown[latent].clone()
        others[token] = torch.nan
        finite = others[others.isfinite()]
        assert_close(finite, finite[:1].expand(3), terms=64)
        assert abs(float(shown[latent, token]) - float(finite[0])) > 0.1


@pytest.mark.parametrize("order", ORDERS)
def test_a_group_and_its_slots_are_found_in_any_order(order: str) -> None:
    model = create_model("hip-nano", {"image": Modality(grid=(6, 7), channels=1)}, token_order=order)
    span = model.plan({"image": 42}).spans["image"]
    found = [group_and_slot(span, token) for token in range(42)]
    assert len(set(found)) == 42
    groups = span.to_groups(torch.arange(42)[None])[0]
    assert [int(groups[place]) for place in found] == list(range(42))


@pytest.mark.parametrize("make", [small_models.hip, small_models.perceiver_io])
def test_a_position_reads_by_a_softmax_over_the_latents_of_its_group(make) -> None:
    model, inputs = make(SHAPES), small_models.random_inputs(SHAPES)
    span = model.plan({name: x.shape[1] for name, x in inputs.items()}).spans["image"]
    group, slot = group_and_slot(span, 20)
    weights = read_latents(model, lambda: model(inputs, reconstruct=["image"]), group)
    latents = model(inputs).latents
    with torch.no_grad():
        query = model.positions["image"]()[20]
        expected = literal_softmax(model.readout, query, latents[1, group], head=0)
    assert_close(weights[1, slot], torch.tensor(expected), terms=latents.shape[-1])
    assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]), terms=weights.shape[-1])


def test_looking_changes_nothing() -> None:
    model, inputs = small_models.hip(SHAPES), small_models.random_inputs(SHAPES)
    before = model(inputs).latents
    attended_tokens(model, inputs)
    read_latents(model, lambda: model(inputs, reconstruct=["sound"]), 0)
    assert_equal(model(inputs).latents, before)
    assert not model.readout._forward_pre_hooks
