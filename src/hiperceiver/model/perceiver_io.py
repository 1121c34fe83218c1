"""Perceiver IO, the flat model that HiP is compared with, from the same parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from hiperceiver.model.block import BlockConfig
from hiperceiver.model.grouping import GroupPlan
from hiperceiver.model.perceiver import Perceiver, PerceiverConfig


@dataclass(frozen=True, kw_only=True)
class PerceiverIOConfig(PerceiverConfig):
    """The shape of a Perceiver IO: one block with one group."""

    block: BlockConfig
    """The only block; it must have one group."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.block, BlockConfig):
            raise ValueError(f"block: expected BlockConfig, got {type(self.block).__name__}")
        if self.block.num_groups != 1:
            raise ValueError(f"block: expected 1 group, got {self.block.num_groups}")

    @property
    def all_blocks(self) -> tuple[BlockConfig, ...]:
        """The only block, which is the processor."""
        return (self.block,)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; unknown names are refused."""
        return super().from_dict({**values, "block": BlockConfig(**values["block"])})


class PerceiverIO(Perceiver):
    """Perceiver IO (arXiv 2107.14795): all tokens of all modalities meet one set of latents.

    Args:
        config: its block and what goes around it; `hiperceiver.create_model` knows the published ones.
        modalities: every modality that may come in a call, by name.

    >>> import torch
    >>> from hiperceiver import Modality, create_model
    >>> model = create_model("perceiver-io-mini", modalities={"sound": Modality(grid=(500,), channels=1)})
    >>> model({"sound": torch.randn(2, 500, 1)}).latents.shape
    torch.Size([2, 1, 128, 128])
    """

    config: PerceiverIOConfig
    config_class = PerceiverIOConfig

    def plan(self, num_tokens: Mapping[str, int]) -> GroupPlan:
        """Put all modalities into one group."""
        return GroupPlan.pool(num_tokens)
