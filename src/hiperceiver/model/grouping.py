"""How tokens are assigned to groups, and how latents move from one block's groups to the next one's.

Source: "HiP", section 3.1, and the published JAX reference, whose assignment this reproduces.
Shapes: B batch, M tokens, C raw channels, E embedding channels, G groups, g groups of one modality, P slots in a group (a
slot holds a token or padding), K visible slots in a group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hiperceiver import fast


@dataclass(frozen=True)
class Span:
    """The groups of one modality inside a plan."""

    num_tokens: int
    """Tokens of the modality, M."""
    num_groups: int
    """Groups assigned to it."""
    num_slots: int
    """Slots in each of its groups, P: its tokens, then padding."""

    @property
    def tokens_per_group(self) -> int:
        """Tokens in each group but the last, which may hold fewer."""
        return -(-self.num_tokens // self.num_groups)

    @property
    def has_padding(self) -> bool:
        """Whether any slot of any group holds no token."""
        return self.num_groups * self.num_slots != self.num_tokens

    def is_padding(self, device: torch.device | None = None) -> Tensor:
        """Which slots hold no token: bool (groups, P), True = padding."""
        slot = torch.arange(self.num_slots, device=device)
        group = torch.arange(self.num_groups, device=device)[:, None]
        token = group * self.tokens_per_group + slot
        return (slot >= self.tokens_per_group) | (token >= self.num_tokens)

    def to_groups(self, x: Tensor) -> Tensor:
        """Tokens (B, M, ...) to groups (B, g, P, ...); padding is zero (False)."""
        x = _pad(x, 1, self.num_groups * self.tokens_per_group)
        x = x.unflatten(1, (self.num_groups, self.tokens_per_group))
        return _pad(x, 2, self.num_slots)

    def to_tokens(self, x: Tensor) -> Tensor:
        """The inverse of `to_groups`: groups (B, g, P, ...) to tokens (B, M, ...), padding dropped."""
        if not self.has_padding:
            return x.flatten(1, 2)
        return x[:, :, : self.tokens_per_group].flatten(1, 2)[:, : self.num_tokens]


@dataclass(frozen=True)
class GroupPlan:
    """Which modality owns which groups: a value, computed from the sizes of what came in.

    `assign` is HiP's plan: modalities never share a group, and lie one after the other along the groups.
    `pool` is Perceiver IO's: all modalities share one group, and lie one after the other along its slots.

    >>> plan = GroupPlan.assign({"image": 50176, "audio": 6000}, num_groups=16)
    >>> {name: span.num_groups for name, span in plan.spans.items()}
    {'image': 14, 'audio': 2}
    """

    spans: Mapping[str, Span]
    """The groups of each modality, in the order of the input mapping."""
    is_pooled: bool
    """Whether all modalities share one group."""

    @classmethod
    def assign(cls, num_tokens: Mapping[str, int], num_groups: int) -> GroupPlan:
        """Assign `num_groups` groups to modalities with `num_tokens` tokens each.

        Each modality starts with one group; each further group goes to the modality with the most tokens per group (the
        first on a tie), so that the longest group is as short as possible.
        """
        if len(num_tokens) > num_groups:
            raise ValueError(
                f"modalities: expected at most {num_groups}, the groups of the first block, which modalities never share, "
                f"got {len(num_tokens)} ({', '.join(num_tokens)}); use a model with more groups"
            )
        groups = dict.fromkeys(num_tokens, 1)
        for _ in range(num_groups - len(groups)):
            crowded, *others = groups
            for name in others:  # in whole numbers, and without a key: the compiler must follow where sizes vary
                if num_tokens[name] * groups[crowded] > num_tokens[crowded] * groups[name]:
                    crowded = name
            groups[crowded] += 1
        num_slots = max(-(-num_tokens[name] // groups[name]) for name in groups)
        return cls({name: Span(num_tokens[name], groups[name], num_slots) for name in groups}, is_pooled=False)

    @classmethod
    def pool(cls, num_tokens: Mapping[str, int]) -> GroupPlan:
        """Put all modalities in one group, without padding."""
        return cls({name: Span(count, 1, count) for name, count in num_tokens.items()}, is_pooled=True)

    @property
    def has_padding(self) -> bool:
        """Whether any slot of any group holds no token."""
        return any(span.has_padding for span in self.spans.values())

    def concat(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The groups (B, g, P, ...) of all modalities together: (B, G, P, ...)."""
        ordered = [parts[name] for name in self.spans]
        return ordered[0] if len(ordered) == 1 else torch.cat(ordered, dim=2 if self.is_pooled else 1)

    def split(self, x: Tensor) -> dict[str, Tensor]:
        """The inverse of `concat`: (B, G, P, ...) to the groups (B, g, P, ...) of each modality."""
        if len(self.spans) == 1:
            return dict.fromkeys(self.spans, x)
        if self.is_pooled:
            sizes, dim = [span.num_slots for span in self.spans.values()], 2
        else:
            sizes, dim = [span.num_groups for span in self.spans.values()], 1
        return dict(zip(self.spans, x.split(sizes, dim=dim), strict=True))


class TokenGroups(NamedTuple):
    """The tokens of one modality in its groups, not embedded yet."""

    x: Tensor
    """Raw tokens: (B, g, P, C)."""
    positions: Tensor
    """Position encodings, zero on padding: (1, g, P, E); (B, g, P, E) where they are computed from coordinates."""
    key_mask: Tensor | None = None
    """Slots that no latent attends to: bool (1 or B, g, P)."""
    zero_mask: Tensor | None = None
    """Slots that latents attend to as zeros, as the reference sees padding: bool (1, g, P)."""
    visible: Tensor | None = None
    """Slots that the encoder sees at all: int64 (B, g, K), -1 = none. None: all."""

    @classmethod
    def of(
        cls,
        span: Span,
        x: Tensor,
        positions: Tensor,
        is_padding: Tensor | None = None,
        visible: Tensor | None = None,
        masks_padding: bool = True,
    ) -> TokenGroups:
        """Put tokens into their groups.

        Args:
            span: the groups.
            x: raw tokens (B, M, C).
            positions: (1 or B, M, E).
            is_padding: absent tokens, bool (B, M); None: none.
            visible: int64 (B, g or 1, K), -1 = none; None: all slots.
            masks_padding: whether the padding that fills groups is masked; else it counts as zeros.
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
        positions = fast.share_gradient(span.to_groups(positions))
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


def take_slots(x: Tensor, slots: Tensor) -> Tensor:
    """Some slots of each group: x (B or 1, g, P) or (B or 1, g, P, C) at slots (B, g, K), -1 read as 0: (B, g, K, ...)."""
    rows = torch.arange(x.shape[0] * x.shape[1], device=x.device).view(x.shape[0], x.shape[1], 1) * x.shape[2]
    rows = rows + slots.clamp(min=0)
    flat = x.flatten(0, 2)
    return flat[rows] if x.dtype == torch.bool else F.embedding(rows, flat)


def concat_tokens(parts: Sequence[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    """Tokens (B, G, M, D) with their key masks (B, G, M), one after the other within each group."""
    if len(parts) == 1:
        return parts[0]
    x = torch.cat([tokens for tokens, _ in parts], dim=2)
    if all(key_mask is None for _, key_mask in parts):
        return x, None
    masks = [x.new_zeros(tokens.shape[:3], dtype=torch.bool) if mask is None else mask for tokens, mask in parts]
    return x, torch.cat(masks, dim=2)


def _pad(x: Tensor, dim: int, length: int) -> Tensor:
    """Fill up one dimension with zeros (False); no copy where it is long enough already."""
    missing = length - x.shape[dim]
    return F.pad(x, (*(0, 0) * (x.ndim - 1 - dim), 0, missing)) if missing else x


def regroup(latents: Tensor, num_groups: int, *, transpose: bool = False) -> Tensor:
    """Assign latents (B, G, N, D) to another number of groups: (B, G', G N / G', D).

    Neighbouring groups merge; with `transpose` every new group takes latents from all old ones.
    """
    if transpose:
        latents = latents.transpose(1, 2)
    return latents.flatten(1, 2).unflatten(1, (num_groups, -1))
