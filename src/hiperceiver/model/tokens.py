"""The tokens of a call in their groups, embedded when they are asked for: whole, or a few groups at a time.

Shapes: B batch, G groups, g groups of one modality, P places in a group, K visible places in a group, C raw channels,
E embedding channels, N latents, D latent channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiperceiver.model import fused
from hiperceiver.model.grouping import GroupPlan
from hiperceiver.model.layers import CrossAttention, squared_relu
from hiperceiver.model.streaming import pieces_of, stream


@dataclass(frozen=True, kw_only=True)
class ModalityTokens:
    """One modality's tokens in its groups, not embedded yet."""

    embedding: nn.Module
    """Raw channels to embedding channels."""
    x: Tensor
    """Raw tokens: (B, g, P, C)."""
    positions: Tensor
    """Position encodings of all places, zero on padding: (1, g, P, E); (B, g, P, E) where they are computed from the
    tokens' coordinates."""
    gradient: fused.SharedGradient | None = None
    """Where fused kernels add up the gradient of the positions, if it is shared."""
    is_absent: Tensor | None = None
    """Places that no latent may see: bool (1 or B, g, P)."""
    is_zero: Tensor | None = None
    """Places that are seen as zeros, as the reference sees padding: bool (1, g, P)."""
    visible: Tensor | None = None
    """Places that are seen at all: int64 (B, g, K), -1 = none. None: all."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the visible tokens, embedded: (B, g, K, E)."""
        num_seen = self.x.shape[2] if self.visible is None else self.visible.shape[2]
        return self.x.shape[0], self.x.shape[1], num_seen, self.positions.shape[3]

    def embed(self) -> tuple[Tensor, Tensor | None]:
        """The visible tokens with their positions (B, g, K, E), and which of them no latent may see (B, g, K)."""
        return self._embed(*self._parts)

    def attended_by(self, attention: CrossAttention, queries: Tensor) -> Tensor:
        """What queries (1 or B, g, N, D) make of the tokens of their group: (B, g, N, D)."""
        batch, groups, seen, channels = self.shape
        num_values = batch * groups * seen * channels
        if (
            isinstance(self.embedding, nn.Linear)
            and self.is_zero is None
            and not self.x.requires_grad
            and fused.suits(
                "look",
                *(self.x, self.positions, queries),
                num_values=num_values,
                num_channels=max(channels, self.x.shape[3]),
                num_queries=attention.num_heads * queries.shape[2],
            )
        ):
            attended = attention.attend_to_raw_tokens(queries, lambda asked: self._look(asked * attention.scale))
            return attention.finish(queries, attended)

        def attend(queries: Tensor, x: Tensor, positions: Tensor, *rest: Tensor | None) -> Tensor:
            return attention(queries, *self._embed(x, positions, *rest))

        num_pieces = self._num_pieces(num_values, queries.shape[2])
        weights = [*self.embedding.parameters(), *attention.parameters()]
        return stream(attend, [queries, *self._parts], num_pieces=num_pieces, weights=weights)

    def read_by(
        self,
        readout: CrossAttention,
        latents: Tensor,
        head: nn.Module,
        *,
        own_embedding: bool = False,
        places: Tensor | None = None,
    ) -> Tensor:
        """What a head says of every place, visible or not: (B, g, P, K).

        Args:
            readout: the cross-attention in which each place looks at the latents of its group.
            latents: (B, g, N, D).
            head: (..., E) to (..., K).
            own_embedding: whether a place asks with its token's embedding beside its position, and adds them to what
                it reads, as Perceiver IO does for optical flow.
            places: the places that are read instead of all P, each once: int64 (B, g or 1, R); then the result is
                (B, g, R, K). Not with `own_embedding`.
        """
        assert places is None or not own_embedding
        positions = self.positions
        batch, groups = self.x.shape[:2]
        num_places = positions.shape[2] if places is None else places.shape[2]
        num_values = batch * groups * num_places * positions.shape[3]
        if (
            not own_embedding
            and isinstance(head, nn.Linear)
            and readout.feed_forward.activation is squared_relu
            and fused.suits(
                "read",
                *(positions, latents),
                num_values=num_values,
                num_channels=max(positions.shape[3], head.out_features),
                num_queries=latents.shape[2],
            )
        ):
            absorbed = _absorbed(readout, latents, head)
            return fused.read(positions, *absorbed, wanted=places, gradient=self.gradient)

        if places is not None:
            positions = _take(positions, places.expand(-1, groups, -1))

        def read(latents: Tensor, positions: Tensor, x: Tensor | None = None) -> Tensor:
            if x is None:
                return head(readout(positions, latents))
            tokens = self.embedding(x) + positions
            return head(readout(tokens, latents) + tokens)

        num_pieces = self._num_pieces(num_values, latents.shape[2])
        # Places do not see each other: a group larger than a piece is split into several that read the same latents.
        splits = _divisor(num_places, -(-num_pieces // groups))
        if splits > 1:
            latents = latents.repeat_interleave(splits, dim=1)
        cut = [
            latents,
            *(each.unflatten(2, (splits, -1)).flatten(1, 2) for each in (positions, self.x)[: 1 + own_embedding]),
        ]
        weights = [*self.embedding.parameters(), *readout.parameters(), *head.parameters()]
        result = stream(read, cut, num_pieces=num_pieces, weights=weights)
        return result.unflatten(1, (groups, splits)).flatten(2, 3)

    @property
    def _parts(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
        return self.x, self.positions, self.is_absent, self.is_zero, self.visible

    def _look(self, asked: Tensor) -> tuple[Tensor, Tensor | None]:
        assert isinstance(self.embedding, nn.Linear)
        seen, logs = fused.look(
            self.x,
            self.positions,
            self.embedding.weight,
            self.embedding.bias,
            asked.expand(self.x.shape[0], -1, -1, -1),
            self.is_absent,
            self.visible,
            self.gradient,
        )
        return seen, logs.isinf()

    def _num_pieces(self, num_values: int, num_latents: int) -> int:
        return pieces_of(num_values * self.positions.element_size(), num_latents, self.x.device)

    def _embed(
        self,
        x: Tensor,
        positions: Tensor,
        is_absent: Tensor | None,
        is_zero: Tensor | None,
        visible: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        if visible is not None:
            nothing = visible < 0
            # What stands at a hidden place must not matter even where no place is read, be it NaN.
            x = _take(x, visible).masked_fill(nothing[..., None], 0.0)
            positions = _take(positions, visible)
            is_zero = None if is_zero is None else _take(is_zero[..., None], visible).squeeze(-1)
            is_absent = nothing if is_absent is None else _take(is_absent[..., None], visible).squeeze(-1) | nothing
        x = self.embedding(x) + positions
        if is_zero is not None:
            x = x.masked_fill(is_zero[..., None], 0.0)
        return x, None if is_absent is None else is_absent.expand(x.shape[:3])


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The tokens of a call: those of each modality in the groups that a plan dealt to it."""

    plan: GroupPlan
    """Which modality owns which groups."""
    of: Mapping[str, ModalityTokens]
    """By modality, in the plan's order."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the visible tokens, embedded: (B, G, K, E)."""
        shapes = [tokens.shape for tokens in self.of.values()]
        batch, groups, seen, channels = shapes[0]
        if self.plan.is_pooled:
            return batch, groups, sum(shape[2] for shape in shapes), channels
        return batch, sum(shape[1] for shape in shapes), seen, channels

    def embed(self) -> tuple[Tensor, Tensor | None]:
        """The visible tokens with their positions: (B, G, K, E), and which of them no latent may see.

        The latter is bool (B, G, K), or None where all may be seen.
        """
        embedded, hidden = {}, {}
        for name, tokens in self.of.items():
            embedded[name], hidden[name] = tokens.embed()
        x = self.plan.merge(embedded)
        if all(each is None for each in hidden.values()):
            return x, None
        shown = {name: each.new_zeros(each.shape[:3], dtype=torch.bool) for name, each in embedded.items()}
        return x, self.plan.merge({name: shown[name] if each is None else each for name, each in hidden.items()})

    def attended_by(self, attention: CrossAttention, queries: Tensor) -> Tensor:
        """What queries (1 or B, G, N, D) make of the tokens of their group: (B, G, N, D)."""
        if self.plan.is_pooled:
            return attention(queries, *self.embed())
        asked = self.plan.separate(queries)
        return self.plan.merge({name: tokens.attended_by(attention, asked[name]) for name, tokens in self.of.items()})


def _take(x: Tensor, places: Tensor) -> Tensor:
    """Rows of each group: x (B or 1, g, P, C) at places (B, g, K), -1 read as 0, gives (B, g, K, C)."""
    rows = torch.arange(x.shape[0] * x.shape[1], device=x.device).view(x.shape[0], x.shape[1], 1) * x.shape[2]
    rows = rows + places.clamp(min=0)
    flat = x.flatten(0, 2)
    return flat[rows] if x.dtype == torch.bool else F.embedding(rows, flat)


def _absorbed(readout: CrossAttention, latents: Tensor, head: nn.Linear) -> tuple[Tensor, ...]:
    """What the fused readout needs beside the positions: norms and projections absorbed where they are small.

    The last layers are linear in what was read, x, and in the feed-forward's hidden layer h:
        head (x + W h + b) = (head x) + (head W) h + head b.
    """
    keys, constants, values = readout.absorb_queries(latents)
    norm, hidden, output = readout.feed_forward_norm, readout.feed_forward.hidden, readout.feed_forward.output
    return (
        keys * readout.scale,
        constants * readout.scale,
        values,
        readout.output.bias,
        hidden.weight * norm.weight,
        hidden(norm.bias),
        head.weight,
        head.weight @ output.weight,
        head(output.bias),
    )


def _divisor(number: int, at_least: int) -> int:
    """The smallest divisor from `at_least` to four times that, or 1 where there is none."""
    return next((d for d in range(at_least, 4 * at_least + 1) if number % d == 0), 1)
