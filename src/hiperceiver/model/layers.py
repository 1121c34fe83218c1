"""The layers that the blocks and the readout are made of: linear, feed-forward, cross- and self-attention.

Source: "HiP", section 3, and the published JAX reference (initialisation, normalisation, residuals).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["squared_relu", "gelu", "relu", "silu"]


class _SquaredReLU(torch.autograd.Function):
    """The derivative 2 max(x, 0) needs the input alone; derived step by step it would cost twice the passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.relu(x).square_()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return (F.relu(x) * gradients[0]).mul_(2)


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)^2."""
    if torch.compiler.is_compiling():  # the compiler fuses the steps itself
        return F.relu(x).square()
    squared = _SquaredReLU.apply(x)
    assert isinstance(squared, Tensor)
    return squared


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "squared_relu": squared_relu,
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
}


def init_scaled(weight: Tensor, fan_in: int) -> Tensor:
    """Fill with a normal of std 1/sqrt(fan_in), cut at two standard deviations and widened to keep that std."""
    std = 1 / math.sqrt(fan_in) / 0.87962566103423978
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


class Linear(nn.Linear):
    """A linear layer with the reference's initialisation: truncated normal by fan-in, bias zero."""

    def reset_parameters(self) -> None:
        """Draw new weights."""
        init_scaled(self.weight, self.in_features)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def learned_table(num_rows: int, num_channels: int) -> nn.Parameter:
    """A table of learned vectors (rows, channels), drawn with std 1/sqrt(rows) as the reference draws them."""
    return nn.Parameter(init_scaled(torch.empty(num_rows, num_channels), num_rows))


class FeedForward(nn.Module):
    """Two linear layers with an activation between: (..., D) to (..., D)."""

    def __init__(self, num_channels: int, *, widening: int, activation: Activation, dropout: float = 0.0):
        super().__init__()
        self.hidden = Linear(num_channels, widening * num_channels)
        self.output = Linear(widening * num_channels, num_channels)
        self.activation = ACTIVATIONS[activation]
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the channels of each vector alone: (..., D) to (..., D)."""
        return self.dropout(self.output(self.activation(self.hidden(x))))


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    num_heads: int,
    is_hidden: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Multi-head attention within each group; groups are folded into the batch.

    Args:
        queries: (B, G, N, C); B may be 1 where all examples ask the same.
        keys: (B, G, M, C).
        values: (B, G, M, C).
        num_heads: heads H, of C / H channels each.
        is_hidden: bool (B, G, M), True = no query sees this key. A query that sees no key gets zero.
        scale: what scores are multiplied with; None: 1 / sqrt(C / H).

    Returns:
        (B, G, N, C), heads joined.
    """
    batch, groups = keys.shape[:2]

    def heads(x: Tensor) -> Tensor:
        x = x.expand(batch, *x.shape[1:]).flatten(0, 1)  # (B G, N, C)
        return x.unflatten(2, (num_heads, -1)).transpose(1, 2)  # (B G, H, N, C / H)

    queries, keys, values = heads(queries), heads(keys), heads(values)
    bias = None
    if is_hidden is not None:
        # A large finite number, not infinity: a group without any key must give zeros, not NaN, in every backend.
        is_hidden = is_hidden.flatten(0, 1)[:, None, None]  # (B G, 1, 1, M)
        lowest = torch.finfo(queries.dtype).min / 2
        bias = torch.zeros_like(is_hidden, dtype=queries.dtype).masked_fill(is_hidden, lowest)
    if _wants_float32(queries):
        bias = None if bias is None else bias.float()
        with torch.autocast("cpu", enabled=False):
            parts = (queries.float(), keys.float(), values.float())
            out = F.scaled_dot_product_attention(*parts, attn_mask=bias, scale=scale).to(queries.dtype)
    else:
        out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias, scale=scale)
    if is_hidden is not None:
        out = out.masked_fill(is_hidden.all(-1, keepdim=True), 0.0)
    return out.transpose(1, 2).flatten(2).unflatten(0, (batch, groups))


def _wants_float32(x: Tensor) -> bool:
    """Whether attention to x (..., C / H) is in half precision, but should not be.

    On the CPU, PyTorch's backward pass takes two to four times as long in bfloat16 as in float32, conversions included,
    unless heads are wide (measured with 32 and 256 channels). Evaluation computes as training does.
    """
    if x.device.type != "cpu" or x.shape[-1] > 128:
        return False
    return x.dtype.itemsize == 2 or (x.dtype == torch.float32 and torch.is_autocast_enabled("cpu"))


class CrossAttention(nn.Module):
    """Queries look at tokens, then a feed-forward layer: (B, G, N, D) and (B, G, M, C) to (B, G, N, D).

    The attention is as wide as the tokens, C; its output is projected to the queries' width D. Latents keep themselves
    (`residual=True`); readout queries do not.

    The projections of whichever side is longer need never be computed: being linear, they can be applied to the shorter
    side instead, exactly. `forward` takes the order of computation that costs least for the shapes that came.
    """

    def __init__(
        self,
        query_channels: int,
        token_channels: int,
        *,
        num_heads: int,
        widening: int,
        activation: Activation,
        residual: bool,
    ):
        super().__init__()
        if token_channels % num_heads:
            raise ValueError(
                f"num_cross_attention_heads: expected a divisor of the {token_channels} channels of the tokens that "
                f"are attended to, got {num_heads}"
            )
        self.num_heads = num_heads
        self.scale = (token_channels / num_heads) ** -0.5
        self.residual = residual
        self.query_norm = nn.LayerNorm(query_channels)
        self.token_norm = nn.LayerNorm(token_channels)
        self.query = Linear(query_channels, token_channels)
        self.key_value = Linear(token_channels, 2 * token_channels)
        self.output = Linear(token_channels, query_channels)
        self.feed_forward_norm = nn.LayerNorm(query_channels)
        self.feed_forward = FeedForward(query_channels, widening=widening, activation=activation)

    def forward(self, queries: Tensor, tokens: Tensor, is_hidden: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            queries: (B, G, N, D); B may be 1 where all examples ask the same.
            tokens: (B, G, M, C).
            is_hidden: bool (B, G, M), True = a token that no query sees.
        """
        return self.finish(queries, self._cheapest_order(queries, tokens)(queries, tokens, is_hidden))

    def finish(self, queries: Tensor, attended: Tensor) -> Tensor:
        """What follows the attention: the residual, if there is one, and the feed-forward."""
        x = attended + queries if self.residual else attended
        return x + self.feed_forward(self.feed_forward_norm(x))

    def _cheapest_order(self, queries: Tensor, tokens: Tensor) -> Callable[..., Tensor]:
        """The order of computation with the fewest multiplications per group.

        It must not depend on the number of examples: an exported model serves any.
        """
        n, d = queries.shape[2:]
        m, c = tokens.shape[2:]
        projected = n if queries.shape[0] > 1 else 0  # queries that all examples share are projected once
        as_written = projected * d * c + 2 * m * c * c + 2 * n * m * c + n * c * d
        to_raw_tokens = projected * (d + c) * c + 2 * self.num_heads * n * m * c + n * c * (c + d)
        with_raw_queries = 2 * m * c * (c + d) + 2 * n * m * d
        if self.num_heads == 1 and with_raw_queries < min(as_written, to_raw_tokens):
            return self._attend_with_raw_queries
        return self._attend_to_raw_tokens if to_raw_tokens < as_written else self._attend_as_written

    def _attend_as_written(self, queries: Tensor, tokens: Tensor, is_hidden: Tensor | None) -> Tensor:
        """Project queries, keys and values, attend, project the output."""
        keys, values = self.key_value(self.token_norm(tokens)).chunk(2, -1)
        x = attend(self.query(self.query_norm(queries)), keys, values, self.num_heads, is_hidden)
        return self.output(x)

    def _attend_to_raw_tokens(self, queries: Tensor, tokens: Tensor, is_hidden: Tensor | None) -> Tensor:
        """For many tokens: keys and values are the normalised tokens themselves."""

        def look(asked: Tensor) -> tuple[Tensor, Tensor | None]:
            seen = F.layer_norm(tokens, tokens.shape[-1:], eps=self.token_norm.eps)
            is_blind = None if is_hidden is None else is_hidden.all(-1, keepdim=True)
            return attend(asked, seen, seen, 1, is_hidden, scale=self.scale), is_blind

        return self.attend_to_raw_tokens(queries, look)

    def attend_to_raw_tokens(self, queries: Tensor, look: Callable[[Tensor], tuple[Tensor, Tensor | None]]) -> Tensor:
        """Attend without keys or values of the tokens, which need not exist.

        With t a normalised token before the norm's own scale s and offset o, and W_k, b_k the key projection of a head,
            q . (W_k (s t + o) + b_k) = (s W_k^T q) . t + constant of the query, which the softmax does not see;
        and the value projection is applied to the weighted mean of the tokens instead of to each.

        Args:
            queries: (1 or B, G, N, D).
            look: gives, for what is asked (1 or B, G, H N, C), the means of the group's normalised tokens weighted by
                the softmax of `scale` asked . t (B, G, H N, C), and which queries saw nothing: bool that broadcasts to
                (B, G, H N), or None where all saw something.
        """
        heads = self.num_heads
        key_weight, value_weight = (w.unflatten(0, (heads, -1)) for w in self.key_value.weight.chunk(2))  # (H, C/H, C)
        asked = self.query(self.query_norm(queries)).unflatten(-1, (heads, -1))  # (B, G, N, H, C / H)
        asked = torch.einsum("bgnhk,hkc->bghnc", asked, key_weight) * self.token_norm.weight
        x, is_blind = look(asked.flatten(2, 3))  # (B, G, H N, C)
        x = x.unflatten(2, (heads, -1)) * self.token_norm.weight + self.token_norm.bias
        x = torch.einsum("bghnc,hkc->bgnhk", x, value_weight).flatten(-2) + self.key_value.bias.chunk(2)[1]
        if is_blind is not None:  # a query sees nothing with one head only if it does with all
            x = x.masked_fill(is_blind[..., : x.shape[2], None], 0.0)
        return self.output(x)

    def _attend_with_raw_queries(self, queries: Tensor, tokens: Tensor, is_hidden: Tensor | None) -> Tensor:
        """For many queries and one head: queries are the normalised queries themselves.

        The channels of a normalised query r sum to zero, so the mean of u is free to carry the constant a:
            (r + 1) . (u - mean(u) + a / D) = r . u + a.
        """
        channels = queries.shape[-1]
        u, a, values = self.absorb_queries(tokens)
        keys = u - u.mean(-1, keepdim=True) + a[..., None] / channels
        ones = torch.ones_like(self.query_norm.bias)
        raw = F.layer_norm(queries, (channels,), weight=ones, bias=ones, eps=self.query_norm.eps)  # r + 1
        return attend(raw, keys, values, 1, is_hidden, scale=self.scale) + self.output.bias

    def absorb_queries(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What normalised queries r need of the tokens (B, G, M, C), with one head: scores are `scale` (r . u + a).

        With r a normalised query before the norm's own scale s and offset o, and k a key,
            (W_q (s r + o) + b_q) . k = r . u + a,  where u = s W_q^T k and a = (W_q o + b_q) . k.
        The output projection, without its bias, is applied to the values.

        Returns:
            u (B, G, M, D), a (B, G, M), values (B, G, M, D).
        """
        keys, values = self.key_value(self.token_norm(tokens)).chunk(2, -1)
        u = keys @ (self.query.weight * self.query_norm.weight)
        a = keys @ F.linear(self.query_norm.bias, self.query.weight, self.query.bias)
        return u, a, F.linear(values, self.output.weight)


class DropPath(nn.Module):
    """Leave a residual branch out for whole examples while training, without rescaling (as the reference does)."""

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Zero the branch x (B, ...) for some examples."""
        if not self.training or not self.probability:
            return x
        keep = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= self.probability
        return x * keep


class SelfAttention(nn.Module):
    """One pre-normalised transformer layer over the latents of each group: (B, G, N, D) to (B, G, N, D)."""

    def __init__(
        self,
        num_channels: int,
        *,
        num_heads: int,
        widening: int,
        activation: Activation,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ):
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(num_channels)
        self.query_key_value = Linear(num_channels, 3 * num_channels)
        self.output = Linear(num_channels, num_channels)
        self.dropout = nn.Dropout(dropout)
        self.feed_forward_norm = nn.LayerNorm(num_channels)
        self.feed_forward = FeedForward(num_channels, widening=widening, activation=activation, dropout=dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Let the latents (B, G, N, D) of each group look at each other."""
        queries, keys, values = self.query_key_value(self.attention_norm(x)).chunk(3, -1)
        attended = self.output(attend(queries, keys, values, self.num_heads))
        x = x + self.drop_path(self.dropout(attended))
        return x + self.drop_path(self.feed_forward(self.feed_forward_norm(x)))
