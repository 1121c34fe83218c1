"""How tokens are assigned to groups, and how latents move from one block's groups to the next one's.

Source: "HiP", section 3.1, and the published JAX reference, whose assignment this reproduces.
Shapes: B batch, M tokens, G groups, g groups of one modality, P slots in a group (a slot holds a token or padding), N
latents, D latent channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from hiperceiver.model.token_order import TokenOrder


@dataclass(frozen=True)
class Span:
    """The groups of one modality inside a plan."""

    num_tokens: int  # tokens of the modality, M
    num_groups: int  # groups assigned to it
    num_slots: int  # slots in each of its groups, P: its tokens, then padding
    order: TokenOrder | None = field(default=None, kw_only=True)
    """In which its tokens go into groups, one after the other; None: row-major order."""

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
        x = x if self.order is None else self.order.arrange(x)
        x = _pad(x, 1, self.num_groups * self.tokens_per_group)
        x = x.unflatten(1, (self.num_groups, self.tokens_per_group))
        return _pad(x, 2, self.num_slots)

    def to_tokens(self, x: Tensor) -> Tensor:
        """The inverse of `to_groups`: groups (B, g, P, ...) to tokens (B, M, ...), padding dropped."""
        if not self.has_padding:
            x = x.flatten(1, 2)
        else:
            x = x[:, :, : self.tokens_per_group].flatten(1, 2)[:, : self.num_tokens]
        return x if self.order is None else self.order.restore(x)


@dataclass(frozen=True)
class GroupPlan:
    """Which modality owns which groups: a value, computed from the sizes of what came in.

    `assign` is HiP's plan: modalities never share a group, and lie one after the other along the groups.
    `pool` is Perceiver IO's: all modalities share one group, and lie one after the other along its slots.

    >>> plan = GroupPlan.assign({"image": 50176, "audio": 6000}, num_groups=16)
    >>> {name: span.num_groups for name, span in plan.spans.items()}
    {'image': 14, 'audio': 2}
    """

    spans: Mapping[str, Span]  # the groups of each modality, in the order of the input mapping
    is_pooled: bool  # whether all modalities share one group

    @classmethod
    def assign(
        cls, num_tokens: Mapping[str, int], num_groups: int, *, orders: Mapping[str, TokenOrder] | None = None
    ) -> GroupPlan:
        """Assign `num_groups` groups to modalities with `num_tokens` tokens each, in `orders` other than row-major.

        Each modality starts with one group; each further group goes to the modality with the most tokens per group (the
        first on a tie), so that the longest group is as short as possible.
        """
        if len(num_tokens) > num_groups:
            raise ValueError(
                f"modalities: expected at most {num_groups}, the groups of the first block, which are not shared, got "
                f"{len(num_tokens)} ({', '.join(num_tokens)}); use a model with more groups"
            )
        groups = dict.fromkeys(num_tokens, 1)
        for _ in range(num_groups - len(groups)):
            crowded, *others = groups
            for name in others:  # in whole numbers, and without a key: the compiler must follow where sizes vary
                if num_tokens[name] * groups[crowded] > num_tokens[crowded] * groups[name]:
                    crowded = name
            groups[crowded] += 1
        num_slots = max(-(-num_tokens[name] // groups[name]) for name in groups)
        orders = orders or {}
        spans = {n: Span(num_tokens[n], groups[n], num_slots, order=orders.get(n)) for n in groups}
        return cls(spans, is_pooled=False)

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
        sizes = [span.num_slots if self.is_pooled else span.num_groups for span in self.spans.values()]
        return dict(zip(self.spans, x.split(sizes, dim=2 if self.is_pooled else 1), strict=True))


def _pad(x: Tensor, dim: int, length: int) -> Tensor:
    """Fill up a dimension with zeros (False), without a copy where it is long enough."""
    missing = length - x.shape[dim]
    return F.pad(x, (*(0, 0) * (x.ndim - 1 - dim), 0, missing)) if missing else x


def regroup(latents: Tensor, num_groups: int, *, transpose: bool = False) -> Tensor:
    """Assign latents (B, G, N, D) to another number of groups: (B, G', G N / G', D).

    Neighbouring groups merge; with `transpose` every new group takes latents from all old ones.
    """
    if transpose:
        latents = latents.transpose(1, 2)
    return latents.flatten(1, 2).unflatten(1, (num_groups, -1))
