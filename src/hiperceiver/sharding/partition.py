"""Which groups and tokens each rank holds of a HiP."""

from dataclasses import dataclass

from torch import Tensor

from hiperceiver.model.grouping import GroupPlan, Span
from hiperceiver.model.hip import HiP


@dataclass(frozen=True)
class LocalSpan(Span):
    """The groups of a modality on one rank; `num_tokens` and `num_groups` count the local ones.

    Some of a modality's tokens lie in the order of its groups, into which they go as they are; all of them, on a rank
    that has all, lie in row-major order as ever, and `order` is the whole's.
    """

    whole: Span  # all groups of the modality
    first_group: int  # the first local one among them

    @property
    def tokens_per_group(self) -> int:
        """As in the whole modality."""
        return self.whole.tokens_per_group

    @property
    def tokens(self) -> slice | Tensor:
        """The local tokens among all of the modality: a slice in row-major order, or else their places, int64."""
        first = self.first_group * self.tokens_per_group
        local = slice(first, first + self.num_tokens)
        order = self.whole.order if self.order is None else None
        return local if order is None else order.places[local]

    @property
    def groups(self) -> slice:
        """The local groups among all of the modality."""
        return slice(self.first_group, self.first_group + self.num_groups)


def local_spans(plan: GroupPlan, rank: int, num_ranks: int) -> dict[str, LocalSpan]:
    """The groups on one rank: an equal part of all, of one or several modalities."""
    share = sum(span.num_groups for span in plan.spans.values()) // num_ranks
    start, stop = rank * share, (rank + 1) * share
    local, before = {}, 0
    for name, span in plan.spans.items():
        first, last = (min(max(edge - before, 0), span.num_groups) for edge in (start, stop))
        before += span.num_groups
        if first < last:
            count = min(last * span.tokens_per_group, span.num_tokens) - first * span.tokens_per_group
            order = span.order if count == span.num_tokens else None
            local[name] = LocalSpan(max(count, 0), last - first, span.num_slots, span, first, order=order)
    return local


def partition_groups(model: HiP, num_ranks: int) -> list[dict[str, LocalSpan]]:
    """The local spans of each rank, with all input modalities of the model."""
    if (regrouping := model.config.regrouping) != "reshape":
        raise ValueError(f"regrouping: expected 'reshape', in which neighbouring groups merge, got {regrouping!r}")
    num_groups = model.config.blocks[0].num_groups
    if num_groups % num_ranks:
        expected = f"a number of processes that divides the {num_groups} groups of the first block"
        raise ValueError(f"group: expected {expected}, got {num_ranks}")
    plan = model.plan({name: model.modalities[name].num_tokens for name in model.input_names})
    shares = [local_spans(plan, rank, num_ranks) for rank in range(num_ranks)]
    for local in shares:
        for name, span in local.items():
            if span.num_tokens == 0:
                lacks = f"one of which would have none of the {span.whole.num_tokens} tokens of {name!r}"
                raise ValueError(f"group: expected processes whose groups hold tokens, got {num_ranks}, {lacks}")
    return shares
