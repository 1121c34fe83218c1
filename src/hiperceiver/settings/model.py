"""The shapes of HiP and Perceiver IO.

Source: "HiP", section 3 and table 1; "Perceiver IO". Shapes: G groups, N latents, D latent channels, E embedding
channels.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

from hiperceiver.settings.base import Count, CountOrZero, Positive, Probability, Settings, shown

PositionKind = Literal["learned", "fourier", "coordinate", "none"]
Activation = Literal["squared_relu", "gelu", "relu", "silu"]
Regrouping = Literal["reshape", "transpose"]
TokenOrderKind = Literal["raster", "hilbert", "morton", "shuffled"]

FOURIER_POSITIONS = ("fourier", "coordinate")
"""The kinds of position that are made of Fourier features."""
_DEFAULT_BANDS = 64


class BlockConfig(Settings):
    """The shape of one block ("HiP", table 1)."""

    num_groups: Count
    """Groups, G. Each attends only to its own tokens."""
    num_latents: Count
    """Latents of each group, N."""
    num_channels: Count
    """Channels of each latent, D."""
    num_self_attention_layers: CountOrZero
    """Self-attention layers after the cross-attention."""
    num_self_attention_heads: Count
    """Heads of each self-attention layer; must divide `num_channels`."""
    num_cross_attention_heads: Count = 1
    """Heads of the cross-attention; must divide the channels of the block's input."""
    self_attention_widening: Count = 4
    """Hidden width of the self-attention layers' feed-forward, as a multiple of `num_channels`."""
    cross_attention_widening: Count = 1
    """Hidden width of the cross-attention's feed-forward, as a multiple of `num_channels`."""
    num_train_latents: Count | None = None
    """Latents of each group used in a training step: a random subset, new for each example and group. Evaluation uses
    all `num_latents`. None: always all. Only the processor may set it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        channels, heads = self.num_channels, self.num_self_attention_heads
        if channels % heads:
            raise ValueError(f"num_self_attention_heads: expected a divisor of num_channels={channels}, got {heads}")
        latents, drawn = self.num_latents, self.num_train_latents
        if drawn is not None and drawn > latents:
            raise ValueError(f"num_train_latents: expected 1 to num_latents={latents}, got {drawn}")


class PerceiverConfig(Settings):
    """What HiP and Perceiver IO have beside their blocks."""

    embedding_channels: Count
    """Channels that raw tokens are embedded to, E."""
    positions: PositionKind = "learned"
    """Position encoding of the tokens: a learned table, Fourier features of the grid, Fourier features of each token's
    own `coordinate` channels (modalities without any have learned tables), or none."""
    position_channels: Count | None = None
    """Width of input modalities' learned tables; projected to the embedding if it differs. None: the embedding's."""
    position_scale: Positive | Literal["reference"] = "reference"
    """Standard deviation with which input modalities' learned tables start; reference: 1 / sqrt(tokens)."""
    fourier_bands: Count | None = None
    """Frequencies per axis or coordinate, for `positions="fourier"` or `"coordinate"`. None: 64."""
    fourier_max_resolution: tuple[Count, ...] | None = None
    """Resolution per axis or coordinate whose half is the highest frequency, for `positions="fourier"` or
    `"coordinate"`. None: the modality's grid; 64 for a coordinate."""
    activation: Activation = "squared_relu"
    """Activation of every feed-forward layer."""
    dropout: Probability = 0.0
    """Probability of zeroing a value after self-attention and after its feed-forward, while training."""
    drop_path: Probability = 0.0
    """Probability of leaving out a self-attention branch for an example, while training."""

    @property
    def all_blocks(self) -> tuple[BlockConfig, ...]:
        """The blocks from encoder to decoder; the middle one is the processor."""
        raise NotImplementedError(f"{type(self).__name__} must define all_blocks")

    def __post_init__(self) -> None:
        super().__post_init__()
        but = f"with positions={self.positions!r}"
        if self.positions != "learned" and (width := self.position_channels) is not None:
            raise ValueError(f"position_channels: only learned positions have a width of their own, got {width} {but}")
        if self.positions in FOURIER_POSITIONS:
            object.__setattr__(self, "fourier_bands", self.fourier_bands or _DEFAULT_BANDS)
            return
        for name in ("fourier_bands", "fourier_max_resolution"):
            if (value := getattr(self, name)) is not None:
                raise ValueError(f"{name}: only for positions='fourier' or 'coordinate', got {shown(value)} {but}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; unknown names are refused."""
        if values.get("positions") not in FOURIER_POSITIONS and values.get("fourier_bands") == _DEFAULT_BANDS:
            values = {**values, "fourier_bands": None}  # early models saved it for every kind of position
        return super().from_dict(values)


class HiPConfig(PerceiverConfig):
    """The shape of a Hierarchical Perceiver ("HiP", table 1)."""

    blocks: tuple[BlockConfig, ...]
    """From encoder to decoder: an odd number, at least 3; the middle one is the processor and has one group."""
    regrouping: Regrouping = "reshape"
    """How a block's latents are assigned to the next block's groups: neighbouring groups merge (`reshape`), or every
    new group takes latents from all old ones (`transpose`)."""
    skips: bool = True
    """Add the latents of each encoder block to the queries of its decoder block, as in a U-Net."""
    mask_padding: bool = True
    """Hide the padding that fills groups. False: attend to it as zeros, as the published model does."""
    token_order: TokenOrderKind = "raster"
    """Which tokens share a group: neighbours in row-major order (`raster`: rows of a picture), along the `hilbert` or
    the `morton` curve (blocks of a picture or volume; a line stays as it is), or drawn once for all (`shuffled`)."""
    token_order_seed: CountOrZero | None = None
    """Seed of `token_order="shuffled"`. None: 0."""

    @property
    def all_blocks(self) -> tuple[BlockConfig, ...]:
        """The blocks from encoder to decoder; the middle one is the processor."""
        return self.blocks

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.token_order != "shuffled" and (seed := self.token_order_seed) is not None:
            but = f"with token_order={self.token_order!r}"
            raise ValueError(f"token_order_seed: only for token_order='shuffled', got {seed} {but}")
        blocks = self.blocks
        if len(blocks) < 3 or len(blocks) % 2 == 0:
            raise ValueError(f"blocks: expected an odd number of blocks, at least 3, got {len(blocks)}")
        middle = len(blocks) // 2
        if blocks[middle].num_groups != 1:
            raise ValueError(f"blocks: expected 1 group in the middle block, got {blocks[middle].num_groups}")
        for index, block in enumerate(blocks):
            if index != middle and block.num_train_latents is not None:
                raise ValueError(f"num_train_latents: expected on the middle block only, got it on block {index}")
        for index in range(middle + 1, len(blocks)):
            partner = len(blocks) - 1 - index
            groups, latents = blocks[partner].num_groups, blocks[partner].num_latents
            own = blocks[index].num_groups, blocks[index].num_latents
            if own != (groups, latents):
                why = "whose latents are added to its own" if self.skips else "which it mirrors"
                raise ValueError(
                    f"blocks: expected block {index} to have the {groups} groups and {latents} latents of block "
                    f"{partner}, {why}, got {own[0]} and {own[1]}"
                )
        for index, (before, block) in enumerate(pairwise(blocks)):
            for latents in {before.num_latents, before.num_train_latents or before.num_latents}:
                if before.num_groups * latents % block.num_groups:
                    raise ValueError(
                        f"blocks: expected the {before.num_groups} x {latents} latents of block {index} to divide into "
                        f"the {block.num_groups} groups of block {index + 1}"
                    )


class PerceiverIOConfig(PerceiverConfig):
    """The shape of a Perceiver IO: one block with one group."""

    block: BlockConfig
    """The only block; it must have one group."""
    regrouping: ClassVar[Regrouping] = "reshape"
    mask_padding: ClassVar[bool] = True
    skips: ClassVar[bool] = True  # it has no decoder blocks
    token_order: ClassVar[TokenOrderKind] = "raster"  # in one group any order is the same
    token_order_seed: ClassVar[int | None] = None

    @property
    def all_blocks(self) -> tuple[BlockConfig, ...]:
        """The only block, which is the processor."""
        return (self.block,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.block.num_groups != 1:
            raise ValueError(f"block: expected 1 group, got {self.block.num_groups}")


ARCHITECTURES: dict[str, type[PerceiverConfig]] = {"HiP": HiPConfig, "PerceiverIO": PerceiverIOConfig}
"""The config of each architecture, by its name in `config.json`."""
