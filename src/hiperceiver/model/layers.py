"""The layers that HiP is made of: attention, cross-attention, self-attention, feed-forward, and the block of them.

Source: "HiP", section 3, and the published JAX reference (normalisation, residuals).
Shapes: B batch, G groups, M tokens, C token channels, N latents or queries, D their channels, H heads.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiperceiver import fast
from hiperceiver.model.initialisation import Linear, learned_table
from hiperceiver.settings.model import Activation, BlockConfig


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)^2."""
    if fast.is_on():
        return fast.squared_relu(x)
    return F.relu(x).square()


ACTIVATIONS = {"squared_relu": squared_relu, "gelu": F.gelu, "relu": F.relu, "silu": F.silu}


class FeedForward(nn.Module):
    """Two linear layers with an activation between: (..., D) to (..., D)."""

    def __init__(self, num_channels: int, *, widening: int, activation: Activation, dropout: float = 0.0):
        super().__init__()
        self.hidden = Linear(num_channels, widening * num_channels)
        self.output = Linear(widening * num_channels, num_channels)
        self.activation_name = activation
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to each vector alone."""
        return self.dropout(self.output(ACTIVATIONS[self.activation_name](self.hidden(x))))


def attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    num_heads: int,
    key_mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Multi-head attention within each group: softmax(scale queries . keys) values; groups are folded into the batch.

    Args:
        queries: (1 or B, G, N, C).
        keys: (B, G, M, C).
        values: (B, G, M, C).
        num_heads: heads H, of C / H channels each.
        key_mask: bool (B, G, M), True = no query attends to this key. A query without any key gets zero.
        scale: factor of the scores; None: 1 / sqrt(C / H).

    Returns:
        (B, G, N, C), heads joined.
    """
    batch, groups = keys.shape[:2]

    def heads(x: Tensor) -> Tensor:
        x = x.expand(batch, *x.shape[1:]).flatten(0, 1)  # (B G, N, C)
        return x.unflatten(2, (num_heads, -1)).transpose(1, 2)  # (B G, H, N, C / H)

    queries, keys, values = heads(queries), heads(keys), heads(values)
    bias = None
    if key_mask is not None:
        # A large finite number, not infinity: a group without any key must give zeros, not NaN, in every backend.
        key_mask = key_mask.flatten(0, 1)[:, None, None]  # (B G, 1, 1, M)
        lowest = torch.finfo(queries.dtype).min / 2
        bias = torch.zeros_like(key_mask, dtype=queries.dtype).masked_fill(key_mask, lowest)
    attend = fast.float32_attention if fast.prefers_float32(queries) else F.scaled_dot_product_attention
    out = attend(queries, keys, values, attn_mask=bias, scale=scale)
    if key_mask is not None:
        out = out.masked_fill(key_mask.all(-1, keepdim=True), 0.0)
    return out.transpose(1, 2).flatten(2).unflatten(0, (batch, groups))


class CrossAttention(nn.Module):
    """Queries attend to tokens, then a feed-forward layer: (B, G, N, D) and (B, G, M, C) to (B, G, N, D).

    The attention is as wide as the tokens, C; its output is projected to the queries' width D. Latents keep themselves
    (`residual=True`); readout queries do not.
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
        self.query: nn.Linear = Linear(query_channels, token_channels)
        self.key_value: nn.Linear = Linear(token_channels, 2 * token_channels)
        self.output: nn.Linear = Linear(token_channels, query_channels)
        self.feed_forward_norm = nn.LayerNorm(query_channels)
        self.feed_forward = FeedForward(query_channels, widening=widening, activation=activation)

    def forward(self, queries: Tensor, tokens: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Queries (1 or B, G, N, D) attend to tokens (B, G, M, C), but to none where `key_mask` (B, G, M) is True."""
        attended = fast.cross_attend(self, attention, queries, tokens, key_mask)
        if attended is None:
            q = self.query(self.query_norm(queries))  # (B, G, N, C)
            k, v = self.key_value(self.token_norm(tokens)).chunk(2, -1)  # (B, G, M, C) each
            attended = self.output(attention(q, k, v, self.num_heads, key_mask))  # (B, G, N, D)
        return self.finish(queries, attended)

    def weights(self, queries: Tensor, tokens: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """How much each query attends to each token: (B, G, H, N, M). Arguments as for `forward`.

        The weights of a query sum to 1, or are 0 where `key_mask` leaves it nothing.
        """
        q = self.query(self.query_norm(queries)).unflatten(-1, (self.num_heads, -1))  # (B, G, N, H, C / H)
        k = self.key_value(self.token_norm(tokens)).chunk(2, -1)[0].unflatten(-1, (self.num_heads, -1))
        scores = torch.einsum("bgnhc,bgmhc->bghnm", q.expand(len(k), -1, -1, -1, -1), k) * self.scale
        if key_mask is None:
            return scores.softmax(-1)
        key_mask = key_mask[:, :, None, None]
        return scores.masked_fill(key_mask, -torch.inf).softmax(-1).masked_fill(key_mask, 0.0)  # NaN where all are

    def finish(self, queries: Tensor, attended: Tensor) -> Tensor:
        """The residual, if there is one, and the feed-forward."""
        x = attended + queries if self.residual else attended
        return x + self.feed_forward(self.feed_forward_norm(x))


def drop_path(x: Tensor, probability: float) -> Tensor:
    """Zero a residual branch x (B, ...) for some whole examples, without rescaling (as the reference does)."""
    if not probability:
        return x
    return x * (torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= probability)


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
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        """Let the latents (B, G, N, D) of each group attend to each other."""
        q, k, v = self.query_key_value(self.attention_norm(x)).chunk(3, -1)
        p = self.drop_path if self.training else 0.0
        x = x + drop_path(self.dropout(self.output(attention(q, k, v, self.num_heads))), p)
        return x + drop_path(self.feed_forward(self.feed_forward_norm(x)), p)


def sample_latents(latents: Tensor, count: int, *, batch_size: int) -> Tensor:
    """A random `count` of each group's latents, in their order: (1, G, N, D) to (B, G, count, D)."""
    groups, total = latents.shape[1:3]
    order = torch.rand(batch_size, groups, total, device=latents.device).argsort(dim=-1)
    chosen = order[..., :count].sort(dim=-1).values
    return torch.take_along_dim(latents, chosen[..., None], dim=2)


class PerceiverBlock(nn.Module):
    """Latents of each group attend to its tokens, then to each other: (B, G, M, C) to (B, G, N, D).

    Weights are shared by the groups; latents are not.
    """

    def __init__(
        self,
        config: BlockConfig,
        token_channels: int,
        *,
        skip_channels: int | None = None,
        activation: Activation = "squared_relu",
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ):
        super().__init__()
        self.config = config
        width = config.num_channels
        self.latents = learned_table(config.num_groups * config.num_latents, width)
        self.skip = nn.Identity() if skip_channels in (None, width) else Linear(skip_channels, width)
        heads, widening = config.num_cross_attention_heads, config.cross_attention_widening
        self.cross_attention = CrossAttention(
            width, token_channels, num_heads=heads, widening=widening, activation=activation, residual=True
        )
        heads, widening = config.num_self_attention_heads, config.self_attention_widening
        self.self_attention = nn.ModuleList(
            SelfAttention(
                width, num_heads=heads, widening=widening, activation=activation, dropout=dropout, drop_path=drop_path
            )
            for _ in range(config.num_self_attention_layers)
        )

    def forward(
        self,
        tokens: Tensor | None,
        *,
        skip: Tensor | None = None,
        key_mask: Tensor | None = None,
        attend: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Summarise each group's tokens.

        Args:
            tokens: (B, G, M, C); None with `attend`.
            skip: latents of the matching encoder block (B, G, N, D'), added to this block's queries as in a U-Net.
            key_mask: bool (B, G, M), True = no latent attends to this token.
            attend: in place of the cross-attention to `tokens`: queries (1, G, N, D) to (B, G, N, D).
        """
        x = self.latents.unflatten(0, (1, -1, self.config.num_latents))  # (1, G, N, D)
        count = self.config.num_train_latents
        if self.training and tokens is not None and count is not None and count < self.config.num_latents:
            x = sample_latents(x, count, batch_size=tokens.shape[0])
        if skip is not None:
            x = x + self.skip(skip)
        x = self.cross_attention(x, tokens, key_mask) if attend is None else attend(x)
        for layer in self.self_attention:
            x = layer(x)
        return x
