"""One block of the hierarchy: every group's latents look at its tokens, then at each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hiperceiver.model.layers import Activation, CrossAttention, Linear, SelfAttention, learned_table
from hiperceiver.model.tokens import Tokens


def check_whole(name: str, value: object, lowest: int = 1) -> None:
    """Refuse whatever is not a whole number of at least `lowest`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise ValueError(f"{name}: expected a whole number >= {lowest}, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """The shape of one block ("HiP", table 1)."""

    num_groups: int
    """Groups, G. Each attends only to its own tokens."""
    num_latents: int
    """Latents of each group, N."""
    num_channels: int
    """Channels of each latent, D."""
    num_self_attention_layers: int
    """Self-attention layers after the cross-attention."""
    num_self_attention_heads: int
    """Heads of each self-attention layer; must divide `num_channels`."""
    num_cross_attention_heads: int = 1
    """Heads of the cross-attention; must divide the channels of the block's input."""
    self_attention_widening: int = 4
    """Hidden width of the self-attention layers' feed-forward, as a multiple of `num_channels`."""
    cross_attention_widening: int = 1
    """Hidden width of the cross-attention's feed-forward, as a multiple of `num_channels`."""
    num_train_latents: int | None = None
    """Latents of each group used in a training step: a random subset, new for each example and group. Evaluation uses
    all `num_latents`. None: always all. Only the processor may set it."""

    def __post_init__(self) -> None:
        for name, lowest in [
            ("num_groups", 1),
            ("num_latents", 1),
            ("num_channels", 1),
            ("num_self_attention_layers", 0),
            ("num_self_attention_heads", 1),
            ("num_cross_attention_heads", 1),
            ("self_attention_widening", 1),
            ("cross_attention_widening", 1),
        ]:
            check_whole(name, getattr(self, name), lowest)
        if self.num_channels % self.num_self_attention_heads:
            raise ValueError(
                f"num_self_attention_heads: expected a divisor of num_channels={self.num_channels}, "
                f"got {self.num_self_attention_heads}"
            )
        if self.num_train_latents is not None:
            check_whole("num_train_latents", self.num_train_latents)
            if self.num_train_latents > self.num_latents:
                raise ValueError(
                    f"num_train_latents: expected 1 to num_latents={self.num_latents}, got {self.num_train_latents}"
                )


class PerceiverBlock(nn.Module):
    """Tokens (B, G, M, C) to latents (B, G, N, D). Weights are shared by the groups; latents are not."""

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
        self.latents = learned_table(config.num_groups * config.num_latents, config.num_channels)
        self.skip = nn.Identity()
        if skip_channels is not None and skip_channels != config.num_channels:
            self.skip = Linear(skip_channels, config.num_channels)
        self.cross_attention = CrossAttention(
            config.num_channels,
            token_channels,
            num_heads=config.num_cross_attention_heads,
            widening=config.cross_attention_widening,
            activation=activation,
            residual=True,
        )
        self.self_attention = nn.ModuleList(
            SelfAttention(
                config.num_channels,
                num_heads=config.num_self_attention_heads,
                widening=config.self_attention_widening,
                activation=activation,
                dropout=dropout,
                drop_path=drop_path,
            )
            for _ in range(config.num_self_attention_layers)
        )

    def forward(
        self, tokens: Tensor | Tokens, *, skip: Tensor | None = None, is_hidden: Tensor | None = None
    ) -> Tensor:
        """Summarise each group's tokens.

        Args:
            tokens: (B, G, M, C), or tokens that are embedded as they are looked at.
            skip: latents of the matching encoder block (B, G, N, D'), added to this block's queries.
            is_hidden: bool (B, G, M), True = a token that no latent sees; `Tokens` know theirs.
        """
        queries = self.latents.unflatten(0, (1, -1, self.config.num_latents))  # (1, G, N, D)
        count = self.config.num_train_latents
        if self.training and count is not None and count < self.config.num_latents:
            queries = sample_latents(queries, count, batch_size=tokens.shape[0])
        if skip is not None:
            queries = queries + self.skip(skip)
        if isinstance(tokens, Tokens):
            x = tokens.attended_by(self.cross_attention, queries)
        else:
            x = self.cross_attention(queries, tokens, is_hidden)
        for layer in self.self_attention:
            x = layer(x)
        return x


def sample_latents(latents: Tensor, count: int, *, batch_size: int) -> Tensor:
    """A random `count` of each group's latents, in their order: (1, G, N, D) to (B, G, count, D)."""
    groups, total = latents.shape[1:3]
    order = torch.rand(batch_size, groups, total, device=latents.device).argsort(dim=-1)
    chosen = order[..., :count].sort(dim=-1).values
    return torch.take_along_dim(latents, chosen[..., None], dim=2)
