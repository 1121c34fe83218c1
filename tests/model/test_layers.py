"""Linear, feed-forward and attention layers: against literal versions, and the random ones by their statistics."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_gradients_close, is_close, terms_of
from hypothesis import given
from hypothesis import strategies as st
from literal_hip import attention as literal_attention
from literal_hip import cross_attention as literal_cross_attention
from literal_hip import self_attention as literal_self_attention
from torch import Tensor, nn

from hiperceiver.fast import absorbed, switch
from hiperceiver.model.initialisation import Linear
from hiperceiver.model.layers import ACTIVATIONS, CrossAttention, FeedForward, SelfAttention, attention, drop_path


def shaken(module: nn.Module) -> nn.Module:
    """Double precision, with no bias or norm as it starts."""
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


def weights_of(module: nn.Module) -> dict[str, np.ndarray]:
    return {f"it.{name}": tensor.detach().numpy() for name, tensor in module.state_dict().items()}


# -------------------------------------------------------------------------------------------------- linear


def test_weights_are_drawn_by_fan_in_and_biases_are_zero() -> None:
    layer = Linear(400, 300)
    std = 400**-0.5
    assert layer.weight.std().item() == pytest.approx(std, rel=0.02)
    assert layer.weight.mean().item() == pytest.approx(0, abs=5 * std / 120_000**0.5)
    assert layer.weight.abs().max().item() <= 2 * std / 0.87962566103423978 + 1e-6  # cut at two standard deviations
    assert layer.weight.abs().max().item() > 1.9 * std / 0.87962566103423978
    assert not layer.bias.any()


def test_activations() -> None:
    x = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])
    assert ACTIVATIONS["squared_relu"](x).tolist() == [0, 0, 0, 0.25, 4]
    assert ACTIVATIONS["relu"](x).tolist() == [0, 0, 0, 0.5, 2]
    assert_close(ACTIVATIONS["silu"](x), x * torch.sigmoid(x))
    normal = torch.tensor([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()])
    assert_close(ACTIVATIONS["gelu"](x), x * normal)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_feed_forward(activation: str) -> None:
    layer = FeedForward(5, widening=3, activation=activation)  # type: ignore[arg-type]
    assert layer.hidden.weight.shape == (15, 5)
    x = torch.randn(2, 3, 4, 5)
    expected = ACTIVATIONS[activation](x @ layer.hidden.weight.T + layer.hidden.bias) @ layer.output.weight.T
    assert_close(layer(x), expected + layer.output.bias, terms=terms_of(layer))


# ----------------------------------------------------------------------------------------------- attention


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from([1, 2, 3]),
    st.booleans(),
)
def test_attention_agrees_with_loops(batch: int, groups: int, n: int, m: int, heads: int, is_shared: bool) -> None:
    queries = torch.randn(1 if is_shared else batch, groups, n, 6).double()
    keys, values = torch.randn(2, batch, groups, m, 6).double()
    key_mask = torch.rand(batch, groups, m) < 0.4
    result = attention(queries, keys, values, heads, key_mask)
    for b, g, i in product(range(batch), range(groups), range(n)):
        seen = (~key_mask[b, g]).nonzero().flatten().tolist()
        query = queries[0 if is_shared else b, g, i].numpy()
        expected = literal_attention(
            query, [keys[b, g, k].numpy() for k in seen], [values[b, g, k].numpy() for k in seen], heads
        )
        assert_close(result[b, g, i], expected, terms=6 + m, scale=values.abs().max().item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_query_that_sees_no_key_gets_zero(dtype: torch.dtype) -> None:
    queries, keys, values = torch.randn(3, 1, 2, 4, 6).to(dtype).requires_grad_().unbind()
    key_mask = torch.tensor([[[True] * 4, [True, False, True, True]]])
    out = attention(queries, keys, values, 2, key_mask)
    assert not out[:, 0].any()
    assert_close(out[:, 1], values[:, 1, [1]].expand(-1, 4, -1))
    out.float().square().sum().backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels", [12, 512], ids=["narrow heads", "wide heads"])
def test_half_precision_differentiates_as_single_does(dtype: torch.dtype, channels: int) -> None:
    parts = [torch.randn(2, 3, 7, channels, requires_grad=True) for _ in range(3)]
    key_mask = torch.rand(2, 3, 7) < 0.4
    weights = torch.randn(2, 3, 7, channels)

    def gradients(out: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad((out.float() * weights).sum(), parts))

    exact = gradients(attention(parts[0], parts[1], parts[2], 2, key_mask))
    halves = [x.to(dtype) for x in parts]
    out = attention(halves[0], halves[1], halves[2], 2, key_mask)
    assert out.dtype == dtype
    with torch.autocast("cpu", dtype=dtype):
        mixed = attention(parts[0], parts[1], parts[2], 2, key_mask)
    for close in (gradients(out), gradients(mixed)):
        for a, b in zip(close, exact, strict=True):
            assert (a - b).abs().max() < 0.03 * b.abs().max()


def test_scores_of_any_size_stay_finite() -> None:
    queries, keys, values = torch.randn(3, 1, 1, 4, 6).unbind()
    key_mask = torch.tensor([[[True, False, False, True]]])
    out = attention(1e4 * queries, 1e4 * keys, values, 1, key_mask)
    assert out.isfinite().all()
    only_seen = attention(1e4 * queries, 1e4 * keys[:, :, 1:3], values[:, :, 1:3], 1)
    assert_close(out, only_seen)


# ------------------------------------------------------------------------------------------ cross-attention

ORDERS = {
    "as written": None,
    "raw tokens": absorbed.attend_to_raw_tokens,
    "raw queries": absorbed.attend_with_raw_queries,
}


def choose(order: str, patch: pytest.MonkeyPatch) -> None:
    """Make every cross-attention compute in this order."""
    patch.setattr(switch, "_is_on", True)
    patch.setattr(absorbed, "cheapest_order", lambda layer, queries, tokens: ORDERS[order])


def cross_attention(heads: int, *, residual: bool = True) -> CrossAttention:
    layer = shaken(CrossAttention(4, 6, num_heads=heads, widening=2, activation="squared_relu", residual=residual))
    assert isinstance(layer, CrossAttention)
    return layer


@pytest.mark.parametrize("residual", [True, False], ids=["latents", "readout"])
@pytest.mark.parametrize("is_shared", [True, False], ids=["shared queries", "own queries"])
@pytest.mark.parametrize(
    ("order", "heads"), [(order, 1) for order in ORDERS] + [("as written", 3), ("raw tokens", 3)], ids=str
)
def test_every_order_of_computation_agrees_with_loops(
    order: str, heads: int, is_shared: bool, residual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = cross_attention(heads, residual=residual)
    choose(order, monkeypatch)
    queries = torch.randn(1 if is_shared else 2, 3, 5, 4).double()
    tokens = torch.randn(2, 3, 4, 6).double()
    key_mask = torch.rand(2, 3, 4) < 0.4
    key_mask[1, 2] = True
    result = layer(queries, tokens, key_mask).detach()
    without = layer(queries, tokens).detach()
    for b, g in product(range(2), range(3)):
        own = list(queries[0 if is_shared else b, g].numpy())
        seen = [tokens[b, g, m].numpy() for m in range(4) if not key_mask[b, g, m]]
        expected = literal_cross_attention(weights_of(layer), "it", own, seen, heads, residual=residual)
        # Norms of 4 channels divide by deviations down to a tenth.
        terms, scale = terms_of(layer) + 4, 10 * result[b, g].abs().max().item()
        assert_close(result[b, g], np.array(expected), terms=terms, scale=scale)
        every = literal_cross_attention(
            weights_of(layer), "it", own, list(tokens[b, g].numpy()), heads, residual=residual
        )
        assert_close(without[b, g], np.array(every), terms=terms, scale=scale)


@pytest.mark.parametrize("heads", [1, 2])
def test_every_order_of_computation_has_the_same_gradients(heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = cross_attention(heads)
    queries = torch.randn(1, 3, 5, 4).double().requires_grad_()
    tokens = torch.randn(2, 3, 7, 6).double().requires_grad_()
    key_mask = torch.rand(2, 3, 7) < 0.4
    key_mask[0, 1] = True
    of = {"queries": queries, "tokens": tokens} | dict(layer.named_parameters())

    def gradients(order: str) -> dict[str, Tensor]:
        choose(order, monkeypatch)
        found = torch.autograd.grad(layer(queries, tokens, key_mask).sin().sum(), list(of.values()))
        return dict(zip(of, found, strict=True))

    expected = gradients("as written")
    for order in ("raw tokens", "raw queries") if heads == 1 else ("raw tokens",):
        rows = 2 * 3 * (5 + 7)
        assert_gradients_close(gradients(order), expected, terms=3 * terms_of(layer) + rows)


def test_the_order_follows_the_shapes_and_not_the_batch() -> None:
    def order(queries: tuple[int, ...], tokens: tuple[int, ...], heads: int = 1) -> object:
        layer = CrossAttention(queries[-1], tokens[-1], num_heads=heads, widening=1, activation="relu", residual=True)
        return absorbed.cheapest_order(layer, torch.zeros(queries), torch.zeros(tokens))

    for batch in (1, 2, 64):
        assert order((1, 4, 8, 32), (batch, 4, 3000, 32)) is ORDERS["raw tokens"]
        assert order((1, 4, 3000, 16), (batch, 4, 8, 64)) is ORDERS["raw queries"]
        assert order((1, 1, 64, 64), (batch, 1, 64, 32), heads=32) is ORDERS["as written"]


def test_a_large_input_needs_no_matrix_of_scores_in_memory() -> None:
    """The groups are a part of the batch: 4-D, so that PyTorch's fused kernels take it."""
    shapes = []
    original = nn.functional.scaled_dot_product_attention

    def spy(queries: Tensor, keys: Tensor, values: Tensor, **settings: object) -> Tensor:
        shapes.append((queries.ndim, keys.ndim, values.ndim))
        return original(queries, keys, values, **settings)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.functional, "scaled_dot_product_attention", spy)
        layer = cross_attention(1)
        for order in ORDERS:
            choose(order, patch)
            layer(torch.randn(1, 3, 5, 4).double(), torch.randn(2, 3, 7, 6).double())
    assert shapes == [(4, 4, 4)] * 3


# ------------------------------------------------------------------------------- self-attention, dropping


def test_self_attention_agrees_with_loops() -> None:
    layer = shaken(SelfAttention(6, num_heads=3, widening=2, activation="squared_relu"))
    x = torch.randn(2, 3, 5, 6).double()
    result = layer(x).detach()
    for b, g in product(range(2), range(3)):
        expected = literal_self_attention(weights_of(layer), "it", list(x[b, g].numpy()), 3)
        assert_close(result[b, g], np.array(expected), terms=terms_of(layer) + 5)


def test_drop_path_leaves_examples_out_and_does_not_rescale() -> None:
    x = torch.randn(4000, 2, 3, 4)
    y = drop_path(x, 0.3)
    kept = (y != 0).flatten(1).any(dim=1)
    assert torch.equal(y[kept], x[kept])  # not divided by the probability of keeping
    assert not y[~kept].any()
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.03)
    assert torch.equal(drop_path(x, 0.0), x)


def test_no_branch_is_left_out_in_evaluation() -> None:
    layer = SelfAttention(8, num_heads=2, widening=2, activation="relu", drop_path=0.5)
    x = torch.randn(50, 2, 3, 8)
    assert not torch.equal(layer.train()(x), layer.train()(x))
    whole = layer.eval()(x)
    layer.drop_path = 0.0
    assert torch.equal(layer.train()(x), whole)


def test_drop_path_draws_for_each_branch_alone() -> None:
    layer = SelfAttention(8, num_heads=2, widening=2, activation="relu", drop_path=0.5).train()
    nn.init.normal_(layer.feed_forward.output.bias)
    nn.init.normal_(layer.output.bias)
    x = torch.randn(1, 1, 3, 8).expand(2000, -1, -1, -1)
    whole = layer.eval()(x[:1])
    attended = layer.output(
        attention(*layer.query_key_value(layer.attention_norm(x[:1])).chunk(3, dim=-1), layer.num_heads)
    )
    no_attention = x[:1] + layer.feed_forward(layer.feed_forward_norm(x[:1]))
    outcomes = [x[:1], x[:1] + attended, no_attention, whole]
    y = layer.train()(x)
    counts = [is_close(y, x.expand_as(y), terms=terms_of(layer)).flatten(1).all(1).sum().item() for x in outcomes]
    assert sum(counts) == 2000
    assert counts == pytest.approx([500] * 4, abs=80)


def test_dropout_stands_after_the_attention_and_after_the_feed_forward() -> None:
    layer = SelfAttention(8, num_heads=2, widening=2, activation="relu", dropout=0.4).train()
    dropped: list[tuple[Tensor, Tensor]] = []
    hooks = [
        module.register_forward_hook(lambda _, inputs, out: dropped.append((inputs[0], out)))
        for module in layer.modules()
        if isinstance(module, nn.Dropout)
    ]
    layer(torch.randn(50, 2, 5, 8))
    for hook in hooks:
        hook.remove()
    assert len(dropped) == 2
    for before, after in dropped:
        assert before.shape == after.shape == (50, 2, 5, 8)
        kept = after != 0
        assert kept.float().mean().item() == pytest.approx(0.6, abs=0.03)
        assert_close(after[kept], before[kept] / 0.6)  # rescaled, as dropout is
    layer.eval()
    x = torch.randn(2, 2, 5, 8)
    assert torch.equal(layer(x), layer(x))
