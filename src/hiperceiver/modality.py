"""The words that every floor shares: what a modality is, and what a batch of examples is.

Shape legend for the whole package: B batch, M tokens, C channels, G groups, P places in a group (its tokens and its
padding), N latents, D latent channels, E embedding channels, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

Role = Literal["input", "label"]


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One kind of signal: how many tokens an example has, on which grid they lie, and the raw channels of each.

    >>> Modality(grid=(224, 224), channels=3).num_tokens
    50176
    """

    grid: tuple[int, ...]
    """Extent along each axis; the product is the number of tokens M, in row-major order."""
    channels: int
    """Raw values per token, C."""
    role: Role = "input"
    """`input` passes the encoder and the decoder; `label` joins at the bottleneck (the processor)."""
    num_coordinates: int = 0
    """The first channels of a token that say where it lies, such as 3 for a point's x, y and z; about -1 to 1. Only
    `positions="coordinate"` reads them as a place; to everything else they are channels as any."""

    def __post_init__(self) -> None:
        grid = (self.grid,) if isinstance(self.grid, int) else tuple(self.grid)
        if not grid or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in grid):
            raise ValueError(
                f"grid: expected one or more whole numbers >= 1, for example (224, 224), got {self.grid!r}"
            )
        if not isinstance(self.channels, int) or isinstance(self.channels, bool) or self.channels < 1:
            raise ValueError(f"channels: expected a whole number >= 1, got {self.channels!r}")
        if self.role not in get_args(Role):
            raise ValueError(f"role: expected one of {', '.join(get_args(Role))}, got {self.role!r}")
        count = self.num_coordinates
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= self.channels:
            raise ValueError(f"num_coordinates: expected 0 to channels={self.channels}, got {count!r}")
        if count and self.role == "label":
            raise ValueError(f"num_coordinates: expected 0 for a label, whose tokens lie nowhere, got {count}")
        object.__setattr__(self, "grid", grid)

    @property
    def num_tokens(self) -> int:
        """Tokens of one example, M: the product of the grid."""
        return math.prod(self.grid)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `config.json`."""
        return {
            "grid": list(self.grid),
            "channels": self.channels,
            "role": self.role,
            "num_coordinates": self.num_coordinates,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(
            grid=tuple(values["grid"]),
            channels=values["channels"],
            role=values.get("role", "input"),
            num_coordinates=values.get("num_coordinates", 0),
        )


@dataclass(kw_only=True)
class Batch:
    """Examples stacked for the model. Every mapping is keyed by name; B is the same in all of them."""

    inputs: dict[str, Tensor]
    """Per modality: float (B, M, C)."""
    is_padding: dict[str, Tensor] = field(default_factory=dict)
    """Per modality with absent tokens: bool (B, M), True = absent."""
    targets: dict[str, Tensor] = field(default_factory=dict)
    """Per task: `label` int64 (B,), -100 = none; `labels` float32 (B, K), 1 where the class holds, NaN = unknown;
    `values` float32 (B, R), NaN = none; `segmentation` int64 (B, M), -100 = ignore. Joint labels by name: int64 (B,),
    -100 = none, or float32 (B,), NaN = none."""
    skipped: tuple[str, ...] = ()
    """Bad examples left out of this batch, each as `name: reason`."""

    def __len__(self) -> int:
        """Number of examples, B."""
        return next((len(x) for x in self.inputs.values()), 0)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""

        def move(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: x.to(device, non_blocking=non_blocking) for name, x in tensors.items()}

        return Batch(
            inputs=move(self.inputs),
            is_padding=move(self.is_padding),
            targets=move(self.targets),
            skipped=self.skipped,
        )

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, for an asynchronous copy to a GPU."""

        def pin(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: x.pin_memory() for name, x in tensors.items()}

        return Batch(
            inputs=pin(self.inputs),
            is_padding=pin(self.is_padding),
            targets=pin(self.targets),
            skipped=self.skipped,
        )
