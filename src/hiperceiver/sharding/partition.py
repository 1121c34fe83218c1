"""Which groups and tokens belong to each of several processes that share a HiP."""

from __future__ import annotations

from dataclasses import dataclass

from hiperceiver.model.grouping import GroupPlan, Span
from hiperceiver.model.hip import HiP


@dataclass(frozen=True)
class OwnSpan(Span):
    """Those groups of a modality that one process owns; `num_tokens` and `num_groups` count its own."""

    whole: Span
    """All groups of the modality."""
    first_group: int
    """The first of them that is its own."""

    @property
    def tokens_per_group(self) -> int:
        """Tokens in each group, as in all of the modality."""
        return self.whole.tokens_per_group

    @property
    def tokens(self) -> slice:
        """Its own tokens among all of the modality."""
        first = self.first_group * self.tokens_per_group
        return slice(first, first + self.num_tokens)

    @property
    def groups(self) -> slice:
        """Its own groups among all of the modality."""
        return slice(self.first_group, self.first_group + self.num_groups)


def own_spans(plan: GroupPlan, rank: int, num_ranks: int) -> dict[str, OwnSpan]:
    """The groups of one process of several: an equal share of all, that may be of several modalities.

    >>> plan = GroupPlan.deal({"image": 100, "sound": 30}, num_groups=4)
    >>> {name: (own.num_groups, own.tokens) for name, own in own_spans(plan, 1, 2).items()}
    {'image': (1, slice(68, 100, None)), 'sound': (1, slice(0, 30, None))}
    """
    share = sum(span.num_groups for span in plan.spans.values()) // num_ranks
    start, stop = rank * share, (rank + 1) * share
    own, before = {}, 0
    for name, span in plan.spans.items():
        first, last = (min(max(edge - before, 0), span.num_groups) for edge in (start, stop))
        before += span.num_groups
        if first < last:
            count = min(last * span.tokens_per_group, span.num_tokens) - first * span.tokens_per_group
            own[name] = OwnSpan(max(count, 0), last - first, span.num_places, span, first)
    return own


def deal_to_processes(model: HiP, num_ranks: int) -> list[dict[str, OwnSpan]]:
    """What `own_spans` says of each process, where all input modalities come.

    Raises:
        ValueError: groups that cannot be dealt evenly, that do not stay neighbours, or without a token.
    """
    num_groups = model.config.blocks[0].num_groups
    if model.config.regrouping != "reshape":
        raise ValueError(
            f"regrouping: expected 'reshape', in which neighbouring groups merge, got {model.config.regrouping!r}"
        )
    if num_groups % num_ranks:
        raise ValueError(
            f"group: expected a number of processes that divides the {num_groups} groups of the first block, got "
            f"{num_ranks}"
        )
    plan = model.plan({name: model.modalities[name].num_tokens for name in model.input_names})
    shares = [own_spans(plan, rank, num_ranks) for rank in range(num_ranks)]
    for name, span in [(name, span) for own in shares for name, span in own.items()]:
        if span.num_tokens == 0:
            raise ValueError(
                f"group: expected processes whose groups hold tokens, got {num_ranks}, one of which would have none of "
                f"the {span.whole.num_tokens} tokens of {name!r}"
            )
    return shares
