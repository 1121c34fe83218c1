"""The two acts at the tokens: latents attend to them, and they are read out of latents.

Under each fast call stands the plain formula. Shapes: B batch, M tokens, C raw channels, E embedding channels, g groups
of a modality, P slots in a group, K visible slots in a group, N latents, D latent channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiperceiver import fast
from hiperceiver.model.grouping import GroupPlan, Span
from hiperceiver.model.layers import CrossAttention


class TokenGroups(NamedTuple):
    """The tokens of one modality in its groups, not embedded yet."""

    x: Tensor  # raw tokens: (B, g, P, C)
    positions: Tensor
    """Position encodings, zero on padding: (1, g, P, E); (B, g, P, E) where they are computed from coordinates."""
    key_mask: Tensor | None = None  # slots that no latent attends to: bool (1 or B, g, P)
    zero_mask: Tensor | None = None
    """Slots that latents attend to as zeros, as the reference sees padding: bool (1, g, P)."""
    visible: Tensor | None = None  # slots that the encoder sees at all: int64 (B, g, K), -1 = none. None: all.

    @classmethod
    def of(
        cls,
        span: Span,
        x: Tensor,
        encode_positions: Callable[[Tensor], Tensor],
        is_padding: Tensor | None = None,
        visible: Tensor | None = None,
        masks_padding: bool = True,
    ) -> TokenGroups:
        """Put raw tokens x (B, M, C) into the groups of a span.

        `encode_positions` gives (M, E), or (B, M, E) from the tokens' coordinates; `is_padding` is bool (B, M), and
        `visible` int64 (B, g or 1, K). Padding that fills groups is masked, or counts as zeros (not `masks_padding`).
        """
        key_mask = zero_mask = None
        if is_padding is not None:
            x = x.masked_fill(is_padding[..., None], 0.0)  # an absent value, even NaN, must not matter
            key_mask = span.to_groups(is_padding)
        if span.has_padding and masks_padding:
            filler = span.is_padding(x.device)[None]  # (1, g, P)
            key_mask = filler if key_mask is None else key_mask | filler
        elif span.has_padding:
            zero_mask = span.is_padding(x.device)[None]
        positions = encode_positions(x)
        positions = fast.share_gradient(span.to_groups(positions if positions.ndim == 3 else positions[None]))
        visible = None if visible is None else visible.expand(-1, span.num_groups, -1)
        return cls(span.to_groups(x), positions, key_mask, zero_mask, visible)

    def embed(self, embedding: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor | None]:
        """Embed the visible tokens and add their positions: (B, g, K, E), and their key mask (B, g, K) if any."""
        tokens = self.select_visible()
        x = embedding(tokens.x) + tokens.positions
        if tokens.zero_mask is not None:
            x = x.masked_fill(tokens.zero_mask[..., None], 0.0)
        return x, None if tokens.key_mask is None else tokens.key_mask.expand(x.shape[:3])

    def select_visible(self) -> TokenGroups:
        """The visible slots alone: P becomes K."""
        if self.visible is None:
            return self
        is_none = self.visible < 0
        # A hidden value, be it NaN, must not matter even where no slot is read.
        x = take_slots(self.x, self.visible).masked_fill(is_none[..., None], 0.0)
        key_mask = is_none if self.key_mask is None else take_slots(self.key_mask, self.visible) | is_none
        zero_mask = None if self.zero_mask is None else take_slots(self.zero_mask, self.visible)
        return TokenGroups(x, take_slots(self.positions, self.visible), key_mask, zero_mask)


class Encoded(NamedTuple):
    """What the encoder and the processor leave for the decoder and for tasks' own readouts."""

    plan: GroupPlan  # which modality owns which groups
    tokens: dict[str, TokenGroups]  # per modality: its tokens and positions in their groups
    skips: list[Tensor]  # latents of each encoder block, first to last: (B, G, N, D)
    processor_latents: Tensor  # latents of the processor: (B, 1, N, D)


def attend_to_tokens(
    embedding: nn.Module, cross_attention: CrossAttention, queries: Tensor, tokens: TokenGroups
) -> Tensor:
    """Embed tokens, add their positions, and let queries (1 or B, g, N, D) attend to their group's: (B, g, N, D)."""

    def attend(queries: Tensor, *parts: Any) -> Tensor:
        return cross_attention(queries, *TokenGroups(*parts).embed(embedding))

    attended = fast.embed_and_attend(embedding, cross_attention, queries, *tokens)
    if attended is None:
        attended = fast.attend_in_chunks(attend, queries, tokens, [embedding, cross_attention])
    return attended


def read_tokens(
    readout: CrossAttention,
    head: nn.Module,
    latents: Tensor,
    tokens: TokenGroups,
    *,
    embedding: nn.Module | None = None,
    slots: Tensor | None = None,
) -> Tensor:
    """Let each slot's position attend to its group's latents (B, g, N, D), and apply a head: (B, g, P or R, K).

    With `embedding` each token's own embedding is added to its query and to what is read. `slots` may say which are
    read, each once: int64 (B, g or 1, R).
    """

    def read(latents: Tensor, positions: Tensor, x: Tensor | None = None) -> Tensor:
        if embedding is None:
            return head(readout(positions, latents))
        queries = embedding(x) + positions
        return head(readout(queries, latents) + queries)

    if embedding is None:
        result = fast.read_tokens(readout, head, latents, tokens.positions, slots)
        if result is not None:
            return result
    parts, modules = [tokens.positions], [readout, head]
    if embedding is not None:
        parts, modules = [*parts, tokens.x], [embedding, *modules]
    if slots is not None:
        slots = slots.expand(-1, tokens.x.shape[1], -1)
        parts = [take_slots(each, slots) for each in parts]
    return fast.read_in_chunks(read, latents, parts, modules)


def take_slots(x: Tensor, slots: Tensor) -> Tensor:
    """Some slots of each group: x (B or 1, g, P, ...) at slots (B, g, K), -1 read as 0, gives (B, g, K, ...)."""
    rows = torch.arange(x.shape[0] * x.shape[1], device=x.device).view(x.shape[0], x.shape[1], 1) * x.shape[2]
    rows = rows + slots.clamp(min=0)
    flat = x.flatten(0, 2)
    return F.embedding(rows, flat) if flat.ndim == 2 else flat[rows]


def tokens_at(x: Tensor, span: Span, slots: Tensor) -> Tensor:
    """Tokens (B, M, ...) in slots of each group, int64 (B, g or 1, R): (B, g R, ...). Padding gives zero (False)."""
    return take_slots(span.to_groups(x), slots.expand(-1, span.num_groups, -1)).flatten(1, 2)


def concat_tokens(parts: Sequence[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    """Tokens (B, G, M, D) with their key masks (B, G, M), one after the other within each group."""
    if len(parts) == 1:
        return parts[0]
    x = torch.cat([tokens for tokens, _ in parts], dim=2)
    if all(key_mask is None for _, key_mask in parts):
        return x, None
    masks = [x.new_zeros(tokens.shape[:3], dtype=torch.bool) if mask is None else mask for tokens, mask in parts]
    return x, torch.cat(masks, dim=2)
