"""Training examples mixed in pairs, with their labels.

Sources: "mixup: Beyond Empirical Risk Minimization", arXiv 1710.09412; "CutMix: Regularization Strategy to Train Strong
Classifiers with Localizable Features", arXiv 1905.04899.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hiperceiver.modality import Batch, Modality
from hiperceiver.torch_internals import without_compiler


class Mixed(NamedTuple):
    """Mixed examples with the targets that they had before, the partner of each (B,), and its own share in it (B,)."""

    batch: Batch
    partner: Tensor
    share: Tensor


def mix(
    batch: Batch,
    modalities: Mapping[str, Modality],
    is_labelled: Tensor,
    *,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    generators: Sequence[torch.Generator] | None = None,
) -> Mixed:
    """Mix labelled examples with their neighbours in the batch: the first with the second, the third with the fourth.

    Mixup adds all tokens of two examples, a share of one and the rest of the other; a point's coordinates too, so that
    clouds are better cut. An absent token adds nothing, and a token is absent only where it is absent in both.

    Cutmix replaces a box by the partner's tokens, present or absent: in the last two axes of a grid, so in all frames
    the same, or a stretch of a grid of one axis. How much an example is still itself is then counted: the share of its
    present tokens that are its own, averaged over the modalities that have any.

    A pair's share is drawn from Beta(mixup, mixup) or Beta(cutmix, cutmix), 0: never; with both, either is done to half
    of the pairs. Modalities of role `label` and pairs of which one has no label, by `is_labelled` (B,), are left alone.
    What is drawn for a pair hangs on the seed of its first example's generator alone (None: those of the batch). A box
    lies at one place in all modalities.

    >>> examples = Batch(inputs={"image": torch.arange(4.0).repeat_interleave(64).view(4, 64, 1)})
    >>> grid = {"image": Modality(grid=(8, 8), channels=1)}
    >>> mixed = mix(examples, grid, torch.ones(4, dtype=torch.bool), mixup=1.0)
    >>> mixed.partner
    tensor([1, 0, 3, 2])
    >>> own, other = torch.arange(4.0), mixed.partner.float()
    >>> torch.allclose(mixed.batch.inputs["image"][:, 0, 0], mixed.share * own + (1 - mixed.share) * other)
    True
    """
    partner, first = _pair(batch, is_labelled)
    seeds = [each.initial_seed() for each in generators or batch.generators()]
    draws = _draw(seeds, first, mixup, cutmix).to(partner.device)
    is_mixed = partner != torch.arange(len(partner), device=partner.device)
    is_cut, share = draws.is_cut & is_mixed, draws.share.where(is_mixed, 1.0)
    inputs, is_padding = dict(batch.inputs), dict(batch.is_padding)
    own = num_present = torch.zeros_like(share)
    for name in batch.inputs:
        if modalities[name].role == "label":
            continue
        x, is_present = batch.present_tokens(name), batch.is_present(name)
        weight = share[:, None]  # of an example's own tokens, (B, M or 1)
        if cutmix:
            is_outside = ~_is_inside(modalities[name].grid, draws)
            weight = torch.where(is_cut[:, None], is_outside.to(weight.dtype), weight)
        inputs[name] = torch.lerp(x[partner], x, weight[..., None].to(x.dtype))
        is_own = is_present & (weight > 0)
        is_present = is_own | (is_present[partner] & (weight < 1))
        if name in is_padding:
            is_padding[name] = ~is_present
        count = is_present.sum(dim=1)
        own = own + is_own.sum(dim=1) / count.clamp(min=1)
        num_present = num_present + (count > 0)
    left = torch.where(num_present > 0, own / num_present.clamp(min=1), 1.0)
    return Mixed(dataclasses.replace(batch, inputs=inputs, is_padding=is_padding), partner, left.where(is_cut, share))


class _Draws(NamedTuple):
    """What is drawn for the pair of each example, (B,)."""

    is_cut: Tensor
    share: Tensor  # that an example keeps
    place: Tensor  # where a box begins in what is free along the last two axes, 0 to 1: (B, 2)

    def to(self, device: torch.device) -> "_Draws":
        return _Draws(*(x.to(device) for x in self))


@without_compiler
def _draw(seeds: Sequence[int], first: Tensor, mixup: float, cutmix: float) -> _Draws:
    draws = []
    for rng in (np.random.default_rng(seeds[index]) for index in first.tolist()):
        is_cut = rng.random() < 0.5 if mixup and cutmix else not mixup
        alpha = cutmix if is_cut else mixup
        draws.append((is_cut, rng.beta(alpha, alpha), rng.random(2)))
    is_cut, share, place = zip(*draws, strict=True) if draws else ((), (), np.empty((0, 2)))
    return _Draws(torch.tensor(is_cut, dtype=torch.bool), torch.tensor(share), torch.tensor(np.array(place)).float())


def _pair(batch: Batch, is_labelled: Tensor) -> tuple[Tensor, Tensor]:
    """Each example's partner, or itself if that could not be read; and the first of the two, on the CPU. int64 (B,)."""
    own = torch.arange(len(is_labelled))
    places = own if batch.places is None else batch.places
    other = torch.searchsorted(places, places ^ 1).clamp(max=max(len(own) - 1, 0))
    other = other.where(places[other] == places ^ 1, own)
    first = torch.minimum(own, other)
    own, other = (x.to(is_labelled.device) for x in (own, other))
    return other.where(is_labelled & is_labelled[other], own), first


def _is_inside(grid: tuple[int, ...], draws: _Draws) -> Tensor:
    """The boxes, each of which leaves a pair's share of the grid outside: bool (B, M), True = in the box."""
    num_axes = min(2, len(grid))
    is_inside = torch.ones(len(draws.share), *grid, dtype=torch.bool, device=draws.share.device)
    for axis in range(len(grid) - num_axes, len(grid)):
        extent = grid[axis]
        size = (extent * (1 - draws.share) ** (1 / num_axes)).round()
        start = (draws.place[:, axis - len(grid)] * (extent - size + 1)).floor()
        index = torch.arange(extent, device=size.device)
        along = (index >= start[:, None]) & (index < (start + size)[:, None])
        is_inside = is_inside & along.view(-1, *[1] * axis, extent, *[1] * (len(grid) - 1 - axis))
    return is_inside.flatten(1)
