"""The words that every floor shares: what a modality is, and what a batch of examples is.

Shape legend for the whole package: B batch, M tokens, C channels, G groups, P places in a group (its tokens and its
padding), N latents, D latent channels, E embedding channels, H heads.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from hiperceiver.settings.base import Count, CountOrZero, Settings

Role = Literal["input", "label"]
_MOST_AXES = 32
_MOST_CATEGORIES = 2**24


class Modality(Settings):
    """One kind of signal: how many tokens an example has, on which grid they lie, and the raw channels of each.

    >>> Modality(grid=(224, 224), channels=3).num_tokens
    50176
    """

    grid: tuple[Count, ...]
    """Extent along each axis; the product is the number of tokens M, in row-major order."""
    channels: Count
    """Raw values per token, C."""
    num_categories: CountOrZero = 0
    """0: the values are amounts, embedded linearly. Else each is the number of a category, a whole number from 1 to
    this, or 0 for none: a token is embedded as the sum of its categories' vectors, of which there may be many, and
    reconstructed as a score for each category."""
    role: Role = "input"
    """`input` passes the encoder and the decoder; `label` joins at the bottleneck (the processor)."""
    num_coordinates: CountOrZero = 0
    """The first channels of a token that are its coordinates, such as 3 for a point's x, y and z; about -1 to 1. Only
    `positions="coordinate"` reads them as such; to everything else they are channels as any."""
    is_overlapping: bool = False
    """Whether a token shows some of its neighbours' values, too. By these hidden tokens would be seen, so that no task
    hides some to reconstruct them."""

    def __post_init__(self) -> None:
        if isinstance(self.grid, int):
            object.__setattr__(self, "grid", (self.grid,))
        if isinstance(self.grid, list | tuple) and len(self.grid) > _MOST_AXES:
            raise ValueError(f"grid: expected at most {_MOST_AXES} axes, got {len(self.grid)}")
        super().__post_init__()
        if not self.grid:
            raise ValueError("grid: expected one or more whole numbers >= 1, for example (224, 224), got ()")
        count = self.num_coordinates
        if count > self.channels:
            raise ValueError(f"num_coordinates: expected 0 to channels={self.channels}, got {count}")
        if self.num_categories > _MOST_CATEGORIES:
            expected = f"at most {_MOST_CATEGORIES}, which float32 still counts one by one"
            raise ValueError(f"num_categories: expected {expected}, got {self.num_categories}")
        if self.num_categories and (count or self.role == "label"):
            reason = "with num_coordinates, which are amounts" if count else "for a label"
            raise ValueError(f"num_categories: expected 0 {reason}, got {self.num_categories}")
        if count and self.role == "label":
            raise ValueError(f"num_coordinates: expected 0 for a label, which has no position, got {count}")

    @property
    def num_tokens(self) -> int:
        """Tokens of one example, M: the product of the grid."""
        return math.prod(self.grid)

    @property
    def num_outputs(self) -> int:
        """Values of a reconstructed token: its channels, or a score for each category."""
        return self.num_categories or self.channels

    def as_outputs(self, tokens: Tensor) -> Tensor:
        """Tokens (..., C) as what a reconstruction is compared with, (..., `num_outputs`).

        Categories are 1 in the channel of each, times the factor that makes the mean square 1 where all C are present.

        >>> Modality(grid=(2,), channels=2, num_categories=8).as_outputs(torch.tensor([[3.0, 1.0], [8.0, 0.0]]))
        tensor([[2., 0., 2., 0., 0., 0., 0., 0.],
                [0., 0., 0., 0., 0., 0., 0., 2.]])
        """
        if not self.num_categories:
            return tokens
        height = math.sqrt(self.num_categories / self.channels)
        outputs = tokens.new_zeros(*tokens.shape[:-1], 1 + self.num_categories)
        return outputs.scatter_(-1, tokens.long(), height)[..., 1:]


@dataclass(kw_only=True)
class Batch:
    """Examples stacked for the model. Every mapping is keyed by name; B is the same in all of them."""

    inputs: dict[str, Tensor]
    """Per modality: float (B, M, C)."""
    is_padding: dict[str, Tensor] = field(default_factory=dict)
    """Per modality with absent tokens: bool (B, M), True = absent."""
    targets: dict[str, Tensor] = field(default_factory=dict)
    """Per task: `label` int64 (B,), -100 = none; `labels` float32 (B, K), 1 where the class holds, NaN = unknown;
    `values` float32 (B, R), NaN = none; `segmentation` int64 (B, M), -100 = ignore. With the first three a `weight`
    float32 (B,) may be, of each example in the loss. Joint labels by name: int64 (B,),
    -100 = none, or float32 (B,), NaN = none."""
    skipped: tuple[str, ...] = ()
    """Bad examples left out of this batch, each as `name: reason`."""
    seeds: Tensor | None = None
    """Of each example's random choices in training (what is hidden, how it is mixed): int64 (B,), on the CPU. With them
    the choices are the same in whichever process and batch an example comes. None: drawn from PyTorch's generator."""
    names: tuple[str, ...] = ()
    """Where each example came from, for people; empty if nobody said so."""
    places: Tensor | None = None
    """Where each example stood before bad ones were left out, ascending: int64 (B,), on the CPU. None: 0 to B - 1."""

    def __len__(self) -> int:
        """Number of examples, B."""
        return next((len(x) for x in self.inputs.values()), 0)

    def is_present(self, name: str) -> Tensor:
        """Which tokens of a modality are present: bool (B, M)."""
        if name in self.is_padding:
            return ~self.is_padding[name]
        return torch.ones_like(self.inputs[name][..., 0], dtype=torch.bool)

    def present_tokens(self, name: str) -> Tensor:
        """A modality's tokens (B, M, C), 0 where they are absent: there even NaN must not matter."""
        x, is_absent = self.inputs[name], self.is_padding.get(name)
        return x if is_absent is None else x.masked_fill(is_absent[..., None], 0.0)

    def generators(self) -> list[torch.Generator]:
        """A generator for each example, by its seed: the same ones at each call, unless the batch has no seeds."""
        seeds = torch.randint(2**62, (len(self),)) if self.seeds is None else self.seeds
        return [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]

    def take(self, rows: Sequence[int]) -> Batch:
        """Some of the examples, in that order."""
        index = list(rows)
        seeds, places = (None if x is None else x[index] for x in (self.seeds, self.places))
        names = tuple(self.names[row] for row in index) if self.names else ()
        return dataclasses.replace(self._with_tensors(lambda x: x[index]), seeds=seeds, names=names, places=places)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""
        return self._with_tensors(lambda x: x.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, for an asynchronous copy to a GPU."""
        return self._with_tensors(Tensor.pin_memory)

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> Batch:
        tensors = {
            name: {key: change(x) for key, x in getattr(self, name).items()}
            for name in ("inputs", "is_padding", "targets")
        }
        return dataclasses.replace(self, **tensors)
