"""Cross-attention with the projections of its longer side applied to the shorter one instead, exactly.

Projections are linear: keys and values of many tokens, or queries of many positions, need never be computed.
Shapes: B batch, G groups, N queries, D query channels, M tokens, C token channels, H heads.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiperceiver.fast.switch import is_on


class CrossAttentionLayer(Protocol):
    """The weights of `hiperceiver.model.layers.CrossAttention`."""

    num_heads: int
    scale: float
    query_norm: nn.LayerNorm
    token_norm: nn.LayerNorm
    query: nn.Linear
    key_value: nn.Linear
    output: nn.Linear
    feed_forward_norm: nn.LayerNorm
    feed_forward: Any

    def finish(self, queries: Tensor, attended: Tensor) -> Tensor:
        """The residual and the feed-forward after the attention."""
        ...


Attention = Callable[..., Tensor]
"""`hiperceiver.model.layers.attention`: (queries, keys, values, num_heads, key_mask, scale)."""


def cross_attend(
    layer: CrossAttentionLayer, attention: Attention, queries: Tensor, tokens: Tensor, key_mask: Tensor | None
) -> Tensor | None:
    """What queries (1 or B, G, N, D) attend to among tokens (B, G, M, C), output projected: (B, G, N, D).

    None where the formula as it is written costs least, or fast paths are off.
    """
    order = cheapest_order(layer, queries, tokens) if is_on() else None
    return None if order is None else order(layer, attention, queries, tokens, key_mask)


def cheapest_order(layer: CrossAttentionLayer, queries: Tensor, tokens: Tensor) -> Attention | None:
    """The order of computation with the fewest multiplications per group; None: as written.

    It does not depend on the number of examples: an exported model serves any.
    """
    n, d = queries.shape[2:]
    m, c = tokens.shape[2:]
    projected = n if queries.shape[0] > 1 else 0  # queries that all examples share are projected once
    as_written = projected * d * c + 2 * m * c * c + 2 * n * m * c + n * c * d
    with_raw_tokens = projected * (d + c) * c + 2 * layer.num_heads * n * m * c + n * c * (c + d)
    with_raw_queries = 2 * m * c * (c + d) + 2 * n * m * d
    if layer.num_heads == 1 and with_raw_queries < min(as_written, with_raw_tokens):
        return attend_with_raw_queries
    return attend_to_raw_tokens if with_raw_tokens < as_written else None


def attend_to_raw_tokens(
    layer: CrossAttentionLayer, attention: Attention, queries: Tensor, tokens: Tensor, key_mask: Tensor | None
) -> Tensor:
    """For many tokens: keys and values are the normalised tokens themselves."""
    normalised = F.layer_norm(tokens, tokens.shape[-1:], eps=layer.token_norm.eps)
    attended = attention(absorb_keys(layer, queries), normalised, normalised, 1, key_mask, layer.scale)
    return project_values(layer, attended, None if key_mask is None else key_mask.all(-1, keepdim=True))


def absorb_keys(layer: CrossAttentionLayer, queries: Tensor) -> Tensor:
    """The key projection applied to the queries (1 or B, G, N, D): (1 or B, G, H N, C).

    With t a normalised token before the norm's own scale s and offset o, and W_k, b_k the key projection of a head,
        q . (W_k (s t + o) + b_k) = (s W_k^T q) . t + a constant of the query, which the softmax does not see.
    """
    key_weight = layer.key_value.weight.chunk(2)[0].unflatten(0, (layer.num_heads, -1))  # (H, C / H, C)
    q = layer.query(layer.query_norm(queries)).unflatten(-1, (layer.num_heads, -1))  # (B, G, N, H, C / H)
    q = torch.einsum("bgnhk,hkc->bghnc", q, key_weight) * layer.token_norm.weight
    return q.flatten(2, 3)


def project_values(layer: CrossAttentionLayer, attended: Tensor, sees_nothing: Tensor | None) -> Tensor:
    """Value and output projection of the softmax's means of normalised tokens (B, G, H N, C): (B, G, N, D).

    `sees_nothing` says which queries have no key: bool that broadcasts to (B, G, H N); None: none.
    """
    value_weight = layer.key_value.weight.chunk(2)[1].unflatten(0, (layer.num_heads, -1))
    x = attended.unflatten(2, (layer.num_heads, -1)) * layer.token_norm.weight + layer.token_norm.bias
    x = torch.einsum("bghnc,hkc->bgnhk", x, value_weight).flatten(-2) + layer.key_value.bias.chunk(2)[1]
    if sees_nothing is not None:  # with one head if and only if with all
        x = x.masked_fill(sees_nothing[..., : x.shape[2], None], 0.0)
    return layer.output(x)


def attend_with_raw_queries(
    layer: CrossAttentionLayer, attention: Attention, queries: Tensor, tokens: Tensor, key_mask: Tensor | None
) -> Tensor:
    """For many queries and one head: queries are the normalised queries themselves.

    The channels of a normalised query r sum to zero, so the mean of u is free to carry the constant a:
        (r + 1) . (u - mean(u) + a / D) = r . u + a.
    """
    channels = queries.shape[-1]
    u, a, values = absorb_queries(layer, tokens)
    keys = u - u.mean(-1, keepdim=True) + a[..., None] / channels
    ones = torch.ones_like(layer.query_norm.bias)
    raw = F.layer_norm(queries, (channels,), weight=ones, bias=ones, eps=layer.query_norm.eps)  # r + 1
    return attention(raw, keys, values, 1, key_mask, layer.scale) + layer.output.bias


def absorb_queries(layer: CrossAttentionLayer, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The query projection applied to the tokens (B, G, M, C), with one head: scores are `scale` (r . u + a).

    With r a normalised query before the norm's own scale s and offset o, and k a key,
        (W_q (s r + o) + b_q) . k = r . u + a,  where u = s W_q^T k and a = (W_q o + b_q) . k.
    Gives u (B, G, M, D), a (B, G, M), and the values with the output projection, without its bias: (B, G, M, D).
    """
    keys, values = layer.key_value(layer.token_norm(tokens)).chunk(2, -1)
    u = keys @ (layer.query.weight * layer.query_norm.weight)
    a = keys @ F.linear(layer.query_norm.bias, layer.query.weight, layer.query.bias)
    return u, a, F.linear(values, layer.output.weight)
