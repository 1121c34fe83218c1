"""Which tokens a masked auto-encoder hides.

A mask has two forms. As *slots* it says what the encoder gathers: int64 (B, g, K), the slots that are seen in each of
a modality's g groups, ascending, -1 = none; g = 1 means the same in each group. As `is_masked` it says what is hidden:
bool, True = hidden. Source: "HiP", the section on masked auto-encoding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Device = torch.device | str | None
Generators = torch.Generator | Sequence[torch.Generator] | None
"""Of random numbers: one generator for a batch, or one for each of its examples. None: PyTorch's global one."""


def num_visible(count: int, ratio: float) -> int:
    """How many of `count` tokens or slots stay visible where the share `ratio` is hidden; at least one.

    >>> num_visible(20, 0.85)
    3
    """
    if count < 1:
        raise ValueError(f"count: expected a whole number >= 1, got {count}")
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio: expected a share from 0 to below 1, got {ratio!r}")
    return max(1, round(count * (1 - ratio)))


def sample_visible_slots(
    batch_size: int,
    num_slots: int,
    ratio: float,
    *,
    block: int = 1,
    generator: Generators = None,
    device: Device = None,
) -> Tensor:
    """Draw the slots that are seen, the same in each group of an example: int64 (B, 1, K), ascending.

    Each example has its own pattern, drawn over all P slots of a group, padding included; K = `num_visible(P, ratio)`.
    Every group then keeps as many tokens, so that nothing is padded and the cost falls with the ratio. `block` slots in
    a row are drawn together; to keep exactly K, one block may be seen in part.

    >>> sample_visible_slots(2, 16, 0.75).shape
    torch.Size([2, 1, 4])
    """
    return _sample(batch_size, num_slots, ratio, block, generator, device)[:, None].sort(dim=2).values


def sample_masked_slots(visible: Tensor, num_slots: int, share: float, *, generator: Generators = None) -> Tensor:
    """Draw some of the slots that are not `visible` (B, g, K): int64 (B, g, R), ascending; R = `share` of them, or one.

    >>> sample_masked_slots(torch.tensor([[[0, 2]]]), 4, 1.0)
    tensor([[[1, 3]]])
    """
    batch, groups, seen = visible.shape
    if share == 1:  # nothing to draw
        is_seen = ~slots_to_mask(visible, num_slots)
        return is_seen.byte().argsort(dim=2, stable=True)[..., : num_slots - seen]
    noise = _noise((batch, groups, num_slots), generator, visible.device).scatter(2, visible, 2.0)  # seen ones last
    count = max(1, round((num_slots - seen) * share))
    return noise.argsort(dim=2)[..., :count].sort(dim=2).values


def uniform_is_masked(
    batch_size: int,
    num_tokens: int,
    ratio: float,
    *,
    block: int = 1,
    generator: Generators = None,
    device: Device = None,
) -> Tensor:
    """Draw hidden tokens from a whole example, whatever their groups: bool (B, M), True = hidden.

    Exactly `num_visible(M, ratio)` of an example's M tokens, of all modalities together, are seen; groups keep
    different numbers of them. `block` tokens in a row are drawn together; one block may be seen in part.

    >>> uniform_is_masked(2, 16, 0.75).sum(dim=1)
    tensor([12, 12])
    """
    visible = _sample(batch_size, num_tokens, ratio, block, generator, device)
    hidden = torch.ones(batch_size, num_tokens, dtype=torch.bool, device=visible.device)
    return hidden.scatter(1, visible, False)


def mask_to_slots(is_masked: Tensor) -> Tensor:
    """The slots that are seen: bool (B, g, P), True = hidden, to int64 (B, g, K).

    K is the largest number of slots that any group sees, and at least 1; groups that see fewer are filled with -1. K
    depends on the values, so that a GPU waits here and a compiled graph breaks.

    >>> mask_to_slots(torch.tensor([[[True, False, False], [True, True, False]]]))
    tensor([[[ 1,  2],
             [ 2, -1]]])
    """
    num_slots = is_masked.shape[-1]
    slot = torch.arange(num_slots, device=is_masked.device).masked_fill(is_masked, num_slots)
    count = max(1, num_slots - int(is_masked.sum(dim=-1).min()))
    slots = slot.sort(dim=-1).values[..., :count]
    return slots.masked_fill(slots == num_slots, -1)


def slots_to_mask(slots: Tensor, num_slots: int) -> Tensor:
    """The inverse of `mask_to_slots`: int64 (B, g, K) to bool (B, g, P), True = hidden.

    >>> slots_to_mask(torch.tensor([[[1, 2], [2, -1]]]), 3)
    tensor([[[ True, False, False],
             [ True,  True, False]]])
    """
    hidden = torch.ones(*slots.shape[:-1], num_slots + 1, dtype=torch.bool, device=slots.device)
    slots = torch.where(slots < 0, num_slots, slots)  # "none" falls on one slot more, which is then cut off
    return hidden.scatter(-1, slots, False)[..., :num_slots]


def _sample(batch_size: int, size: int, ratio: float, block: int, generator: Generators, device: Device) -> Tensor:
    """`num_visible(size, ratio)` different indices below `size` for each example, block by block: int64 (B, K)."""
    count = num_visible(size, ratio)
    if not 1 <= block <= size:
        raise ValueError(f"block: expected a whole number from 1 to the {size} tokens or slots, got {block}")
    num_blocks = -(-size // block)
    order = _noise((batch_size, num_blocks), generator, device).argsort(dim=1)
    if block > 1:  # the last block may be shorter
        order = (order[..., None] * block + torch.arange(block, device=order.device)).flatten(1)
        order = order[order < size].view(batch_size, size)
    return order[:, :count]


def _noise(shape: tuple[int, ...], generator: Generators, device: Device) -> Tensor:
    """Numbers in [0, 1) for a batch: float32 (B, ...).

    They are drawn where the generators live, so that every device gets the same from the same seed.
    """
    if generator is None or isinstance(generator, torch.Generator):
        source = device if generator is None else generator.device
        return torch.rand(shape, generator=generator, device=source).to(device)
    if len(generator) != shape[0]:
        raise ValueError(f"generator: expected one, or one for each of {shape[0]} examples, got {len(generator)}")
    drawn = [torch.rand(shape[1:], generator=each, device=each.device) for each in generator]
    return (torch.stack(drawn) if drawn else torch.empty(shape)).to(device)
