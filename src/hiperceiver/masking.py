"""Which tokens a masked auto-encoder hides.

A mask has two forms. As *places* it says what the encoder gathers: int64 (B, g, K), the places that are seen in each of
a modality's g groups, ascending, -1 = none; g = 1 means the same in each group. As `is_masked` it says what is hidden:
bool, True = hidden. Source: "HiP", the section on masked auto-encoding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Generators = torch.Generator | Sequence[torch.Generator]
"""Where random numbers come from: one generator for a batch, or one for each of its examples."""


def num_visible(count: int, ratio: float) -> int:
    """How many of `count` tokens or places stay visible where the share `ratio` is hidden; at least one.

    >>> num_visible(20, 0.85)
    3
    """
    if count < 1:
        raise ValueError(f"count: expected a whole number >= 1, got {count}")
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio: expected a share from 0 to below 1, got {ratio!r}")
    return max(1, round(count * (1 - ratio)))


def group_wise_places(
    batch_size: int,
    num_places: int,
    ratio: float,
    *,
    generator: Generators | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw the places that are seen, the same in each group of an example: int64 (B, 1, K), ascending.

    Every group then keeps as many tokens, so that nothing is padded and the cost falls with the ratio. Groups may hold
    padding beside their tokens: the pattern is drawn over all P places of the padded group.

    Args:
        batch_size: B. Each example draws its own pattern.
        num_places: P.
        ratio: share of the places that is hidden; K = `num_visible(P, ratio)`.
        generator: None: PyTorch's global one.
        device: where the result lies.

    >>> group_wise_places(2, 16, 0.75).shape
    torch.Size([2, 1, 4])
    """
    count = num_visible(num_places, ratio)
    order = _noise(batch_size, num_places, generator, device).argsort(dim=1)
    return order[:, None, :count].sort(dim=2).values


def some_hidden_places(visible: Tensor, num_places: int, share: float) -> Tensor:
    """Draw some of the places that are not seen: int64 (B, g, R), ascending; R = `share` of them, at least one.

    Args:
        visible: int64 (B, g, K), different places, at least one fewer than all.
        num_places: P.
        share: above 0, to 1.

    >>> some_hidden_places(torch.tensor([[[0, 2]]]), 4, 1.0)
    tensor([[[1, 3]]])
    """
    batch, groups, seen = visible.shape
    if share == 1:  # nothing to draw
        is_seen = ~is_masked_place(visible, num_places)
        return is_seen.byte().argsort(dim=2, stable=True)[..., : num_places - seen]
    noise = torch.rand(batch, groups, num_places, device=visible.device).scatter(2, visible, 2.0)  # seen ones last
    count = max(1, round((num_places - seen) * share))
    return noise.argsort(dim=2)[..., :count].sort(dim=2).values


def uniform_is_masked(
    batch_size: int,
    num_tokens: int,
    ratio: float,
    *,
    generator: Generators | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw hidden tokens from a whole example, whatever their groups: bool (B, M), True = hidden.

    Exactly `num_visible(M, ratio)` tokens of each example are seen; groups keep different numbers of them.

    Args:
        batch_size: B. Each example draws its own tokens.
        num_tokens: M, of all modalities together.
        ratio: share of the tokens that is hidden.
        generator: None: PyTorch's global one.
        device: where the result lies.

    >>> uniform_is_masked(2, 16, 0.75).sum(dim=1)
    tensor([12, 12])
    """
    count = num_visible(num_tokens, ratio)
    order = _noise(batch_size, num_tokens, generator, device).argsort(dim=1)
    hidden = torch.ones_like(order, dtype=torch.bool)
    return hidden.scatter(1, order[:, :count], False)


def visible_places(is_masked: Tensor) -> Tensor:
    """The places that are seen: bool (B, g, P), True = hidden, to int64 (B, g, K).

    K is the largest number of places that any group sees, and at least 1; groups that see fewer are filled with -1. K
    depends on the values, so that a GPU waits here and a compiled graph breaks.

    >>> visible_places(torch.tensor([[[True, False, False], [True, True, False]]]))
    tensor([[[ 1,  2],
             [ 2, -1]]])
    """
    num_places = is_masked.shape[-1]
    place = torch.arange(num_places, device=is_masked.device).masked_fill(is_masked, num_places)
    count = max(1, num_places - int(is_masked.sum(dim=-1).min()))
    places = place.sort(dim=-1).values[..., :count]
    return places.masked_fill(places == num_places, -1)


def is_masked_place(places: Tensor, num_places: int) -> Tensor:
    """The inverse of `visible_places`: int64 (B, g, K) to bool (B, g, P), True = hidden.

    >>> is_masked_place(torch.tensor([[[1, 2], [2, -1]]]), 3)
    tensor([[[ True, False, False],
             [ True,  True, False]]])
    """
    hidden = torch.ones(*places.shape[:-1], num_places + 1, dtype=torch.bool, device=places.device)
    places = torch.where(places < 0, num_places, places)  # "none" falls on one place more, which is then cut off
    return hidden.scatter(-1, places, False)[..., :num_places]


def future_is_masked(grid: tuple[int, ...], horizon: int, *, device: torch.device | str | None = None) -> Tensor:
    """Hide the last steps of a grid's first axis: bool (M,), True = hidden.

    Args:
        grid: extent along each axis; the first one is time.
        horizon: steps that are hidden; at least one is left.
        device: where the result lies.

    >>> future_is_masked((3, 2), 1)
    tensor([False, False, False, False,  True,  True])
    """
    if not 1 <= horizon < grid[0]:
        raise ValueError(f"horizon: expected 1 to {grid[0] - 1} of {grid[0]} steps, got {horizon}")
    step = torch.arange(grid[0], device=device)
    return (step >= grid[0] - horizon).repeat_interleave(math.prod(grid[1:]))


def _noise(batch_size: int, size: int, generator: Generators | None, device: torch.device | str | None) -> Tensor:
    """Random numbers (B, size), drawn where the generators live: every device gets the same from the same seed."""
    if generator is None:
        return torch.rand(batch_size, size, device=device)
    if isinstance(generator, torch.Generator):
        return torch.rand(batch_size, size, generator=generator, device=generator.device).to(device)
    if len(generator) != batch_size:
        raise ValueError(f"generator: expected one, or one for each of {batch_size} examples, got {len(generator)}")
    return torch.stack([torch.rand(size, generator=each, device=each.device) for each in generator]).to(device)
