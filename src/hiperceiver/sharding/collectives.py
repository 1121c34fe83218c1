"""Collective operations of group parallelism, within a forward and a backward pass."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hiperceiver.torch_internals import call_after_backward

Exchange = Callable[[Tensor], Tensor]


class Collectives:
    """Collective operations of one rank among those that share the groups; each calls everything in the same order.

    What follows `gather` and precedes `scatter` is computed by every process alike, with whole gradients. Outside of
    that each computes its own groups alone, with weights that all have, `shared`: the end of the backward pass sums the
    parts of their gradients, in one message, the same to the last bit everywhere, and adds them to `grad`.
    """

    def __init__(self, group: dist.ProcessGroup, shared: Sequence[nn.Parameter]):
        self.group = group
        self.rank = dist.get_rank(group)
        self.num_ranks = dist.get_world_size(group)
        self._shared = list(shared)
        self._parts: dict[int, Tensor] = {}
        self._is_due = False
        for index, weight in enumerate(self._shared):
            is_trained = weight.requires_grad
            weight.requires_grad_(True).register_hook(partial(self._take, index))  # frozen ones may be thawed later
            weight.requires_grad_(is_trained)

    def gather(self, x: Tensor) -> Tensor:
        """The groups of all ranks (B, G, ...) from the local ones of each (B, G / ranks, ...)."""
        return _Exchange.apply(x, None, self, self.all_gather, self.local)  # type: ignore[return-value]

    def scatter(self, x: Tensor) -> Tensor:
        """The local groups (B, G / ranks, ...) of a tensor that all ranks have alike (B, G, ...)."""
        # Backward must run on every rank, even where nothing before this point is trained.
        anchor = torch.zeros((), requires_grad=any(weight.requires_grad for weight in self._shared))
        return _Exchange.apply(x, anchor, self, self.local, self.all_gather)  # type: ignore[return-value]

    def all_gather(self, x: Tensor) -> Tensor:
        """`gather` without gradients."""
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(self.num_ranks)]
        dist.all_gather(parts, x.contiguous(), group=self.group)
        return torch.cat(parts, dim=1)

    def local(self, x: Tensor) -> Tensor:
        """`scatter` without gradients."""
        return x.chunk(self.num_ranks, dim=1)[self.rank].contiguous()

    def sum_when_done(self) -> None:
        """Sum the shared weights' gradients at the end of this backward pass."""
        if not self._is_due:
            self._is_due = True
            # Processes do not pass the same weights in the same order, for their groups may be of other modalities;
            # so nothing can be summed on the way.
            call_after_backward(self._sum)

    def _take(self, index: int, gradient: Tensor) -> Tensor:
        """Keep the local part, and leave `grad` as it was."""
        self._parts[index] = self._parts[index] + gradient if index in self._parts else gradient
        return torch.zeros_like(gradient)

    @torch.no_grad()
    def _sum(self) -> None:
        parts, self._parts, self._is_due = self._parts, {}, False
        trained = {index: weight for index, weight in enumerate(self._shared) if weight.requires_grad}
        if not trained:
            return
        # A weight that no rank used keeps no gradient, as with one process.
        is_used = torch.tensor([float(index in parts) for index in trained])
        flat = [parts[index] if index in parts else torch.zeros_like(weight) for index, weight in trained.items()]
        message = torch.cat([*(each.flatten() for each in flat), is_used.to(flat[0])])
        dist.all_reduce(message, group=self.group)
        sizes = [weight.numel() for weight in trained.values()]
        *sums, is_used = message.split([*sizes, len(sizes)])
        for weight, total, used in zip(trained.values(), sums, is_used.tolist(), strict=True):
            if used:
                total = total.view_as(weight)
                weight.grad = total.clone() if weight.grad is None else weight.grad.add_(total)


class _Exchange(torch.autograd.Function):
    """One exchange in the forward pass, and its opposite in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, anchor: Tensor | None, collectives: Collectives, exchange: Exchange, opposite: Exchange
    ) -> Tensor:
        ctx.collectives, ctx.opposite = collectives, opposite
        return exchange(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        ctx.collectives.sum_when_done()
        return ctx.opposite(gradients[0]), None, None, None, None
