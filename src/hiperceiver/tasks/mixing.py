"""Training examples mixed in pairs, with their labels.

Sources: "mixup: Beyond Empirical Risk Minimization", arXiv 1710.09412; "CutMix: Regularization Strategy to Train Strong
Classifiers with Localizable Features", arXiv 1905.04899.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

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
    batch: Batch, modalities: Mapping[str, Modality], is_labelled: Tensor, *, mixup: float = 0.0, cutmix: float = 0.0
) -> Mixed:
    """Mix labelled examples in pairs. Random numbers come from PyTorch's global generator.

    Mixup adds all tokens of two examples, a share of one and the rest of the other; a point's coordinates too, so that
    clouds are better cut. An absent token adds nothing, and a token is absent only where it is absent in both.

    Cutmix replaces a box by the partner's tokens, present or absent: in the last two axes of a grid, so in all frames
    the same, or a stretch of a grid of one axis. How much an example is still itself is then counted: the share of its
    present tokens that are its own, averaged over the modalities that have any.

    The share is drawn from Beta(mixup, mixup) or Beta(cutmix, cutmix), once for the batch; 0: never; with both, one is
    drawn for the batch. Modalities of role `label` and examples without labels, by `is_labelled` (B,), are left alone.

    >>> examples = Batch(inputs={"image": torch.arange(4.0).repeat_interleave(64).view(4, 64, 1)})
    >>> grid = {"image": Modality(grid=(8, 8), channels=1)}
    >>> mixed = mix(examples, grid, torch.ones(4, dtype=torch.bool), mixup=1.0)
    >>> own, other = torch.arange(4.0), mixed.partner.float()
    >>> torch.allclose(mixed.batch.inputs["image"][:, 0, 0], mixed.share * own + (1 - mixed.share) * other)
    True
    """
    partner = _draw_partners(is_labelled)
    is_cut = bool(torch.rand(()) < 0.5) if mixup and cutmix else not mixup
    share = _draw_share(cutmix if is_cut else mixup)
    inputs, is_padding = dict(batch.inputs), dict(batch.is_padding)
    own = num_present = torch.zeros(len(partner), device=partner.device)
    for name in batch.inputs:
        if modalities[name].role == "label":
            continue
        x, is_present = batch.present_tokens(name), batch.is_present(name)
        if is_cut:
            is_inside = _draw_box(modalities[name].grid, share).to(x.device)
            inputs[name] = torch.where(is_inside[:, None], x[partner], x)
            is_present = torch.where(is_inside, is_present[partner], is_present)
            count = is_present.sum(dim=1)
            own = own + (is_present & ~is_inside).sum(dim=1) / count.clamp(min=1)
            num_present = num_present + (count > 0)
        else:
            inputs[name] = (share * x + (1 - share) * x[partner]).to(x.dtype)
            is_present = is_present | is_present[partner]
        if name in is_padding:
            is_padding[name] = ~is_present
    shares = share.to(partner.device).expand(len(partner))
    if is_cut:
        shares = torch.where(num_present > 0, own / num_present.clamp(min=1), 1.0)
    return Mixed(dataclasses.replace(batch, inputs=inputs, is_padding=is_padding), partner, shares)


# The compiler cannot look into distributions, and would say so in warnings.
@without_compiler
def _draw_share(alpha: float) -> Tensor:
    """A number from Beta(alpha, alpha), on the CPU."""
    parameter = torch.tensor(float(alpha))
    return torch.distributions.Beta(parameter, parameter).sample()


def _draw_partners(is_labelled: Tensor) -> Tensor:
    """Each labelled example's partner, drawn without repetition; others are their own: int64 (B,)."""
    noise = torch.rand(len(is_labelled), device=is_labelled.device) + 2 * ~is_labelled
    order = noise.argsort()  # labelled ones first
    rank = (is_labelled.cumsum(dim=0) - 1).clamp(min=0)
    own = torch.arange(len(is_labelled), device=is_labelled.device)
    return torch.where(is_labelled, order[rank], own)


def _draw_box(grid: tuple[int, ...], share: Tensor) -> Tensor:
    """A box that leaves a share of the grid outside, anywhere inside it: bool (M,), True = in the box."""
    num_axes = min(2, len(grid))
    is_inside = torch.ones(grid, dtype=torch.bool)
    for axis in range(len(grid) - num_axes, len(grid)):
        extent = grid[axis]
        size = (extent * (1 - share) ** (1 / num_axes)).round()
        start = (torch.rand(()) * (extent - size + 1)).floor()
        index = torch.arange(extent)
        along = (index >= start) & (index < start + size)
        is_inside = is_inside & along.view(-1, *[1] * (len(grid) - 1 - axis))
    return is_inside.flatten()
