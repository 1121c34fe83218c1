"""The Hierarchical Perceiver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from hiperceiver.model.block import BlockConfig
from hiperceiver.model.grouping import GroupPlan
from hiperceiver.model.perceiver import Perceiver, PerceiverConfig

Regrouping = Literal["reshape", "transpose"]


@dataclass(frozen=True, kw_only=True)
class HiPConfig(PerceiverConfig):
    """The shape of a Hierarchical Perceiver ("HiP", table 1)."""

    blocks: tuple[BlockConfig, ...]
    """From encoder to decoder: an odd number, at least 3; the middle one is the processor and has one group."""
    regrouping: Regrouping = "reshape"
    """How a block's latents are dealt to the next block's groups: neighbouring groups merge (`reshape`), or every new
    group takes latents from all old ones (`transpose`)."""
    mask_padding: bool = True
    """Hide the padding that fills groups. False: attend to it as zeros, as the published model does."""

    def __post_init__(self) -> None:
        super().__post_init__()
        blocks = tuple(self.blocks)
        object.__setattr__(self, "blocks", blocks)
        for block in blocks:
            if not isinstance(block, BlockConfig):
                raise ValueError(f"blocks: expected BlockConfig for every block, got {type(block).__name__}")
        if not isinstance(self.mask_padding, bool):
            raise ValueError(f"mask_padding: expected True or False, got {self.mask_padding!r}")
        if self.regrouping not in get_args(Regrouping):
            raise ValueError(f"regrouping: expected one of {', '.join(get_args(Regrouping))}, got {self.regrouping!r}")
        if len(blocks) < 3 or len(blocks) % 2 == 0:
            raise ValueError(f"blocks: expected an odd number of blocks, at least 3, got {len(blocks)}")
        middle = len(blocks) // 2
        if blocks[middle].num_groups != 1:
            raise ValueError(f"blocks: expected 1 group in the middle block, got {blocks[middle].num_groups}")
        for index, block in enumerate(blocks):
            mirrored = blocks[len(blocks) - 1 - index]
            if index > middle and (block.num_groups, block.num_latents) != (mirrored.num_groups, mirrored.num_latents):
                raise ValueError(
                    f"blocks: expected block {index} to have the {mirrored.num_groups} groups and "
                    f"{mirrored.num_latents} latents of block {len(blocks) - 1 - index}, whose latents are added to "
                    f"its own, got {block.num_groups} and {block.num_latents}"
                )
            if index != middle and block.num_train_latents is not None:
                raise ValueError(f"num_train_latents: expected on the middle block only, got it on block {index}")
            if index > 0:
                before = blocks[index - 1]
                for latents in {before.num_latents, before.num_train_latents or before.num_latents}:
                    if before.num_groups * latents % block.num_groups:
                        raise ValueError(
                            f"blocks: expected the {before.num_groups} x {latents} latents of block {index - 1} to "
                            f"divide into the {block.num_groups} groups of block {index}"
                        )

    @property
    def all_blocks(self) -> tuple[BlockConfig, ...]:
        """The blocks from encoder to decoder; the middle one is the processor."""
        return self.blocks

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; unknown names are refused."""
        return super().from_dict({**values, "blocks": [BlockConfig(**block) for block in values.get("blocks", ())]})


class HiP(Perceiver):
    """Hierarchical Perceiver: one network for any raw signals ("HiP", arXiv 2202.10890).

    Tokens are split into groups; each group is summarised by latents of its own; block by block the groups merge, down
    to one, and open again. Every token is then read out at its position.

    Args:
        config: the blocks and what they share; `hiperceiver.create_model` knows the published ones.
        modalities: every modality that may come in a call, by name.

    >>> import torch
    >>> from hiperceiver import Modality, create_model
    >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    >>> output = model({"image": torch.randn(2, 32 * 32, 3)})
    >>> output.reconstruction["image"].shape
    torch.Size([2, 1024, 3])
    """

    config: HiPConfig
    config_class = HiPConfig

    def plan(self, num_tokens: Mapping[str, int]) -> GroupPlan:
        """Deal the first block's groups to modalities with these numbers of tokens."""
        return GroupPlan.deal(num_tokens, self.config.blocks[0].num_groups)

    @property
    def _transposes(self) -> bool:
        return self.config.regrouping == "transpose"

    @property
    def _masks_padding(self) -> bool:
        return self.config.mask_padding
