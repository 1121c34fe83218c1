"""The Hierarchical Perceiver, top to bottom.

Source: "HiP", section 3, and the published JAX reference. Shapes: B batch, M tokens, C raw channels, G groups, g groups
of one modality, P slots in a group, K visible slots in a group, N latents, D latent channels.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from hiperceiver.modality import Modality
from hiperceiver.model.checks import check_inputs, check_model, check_names, check_visible
from hiperceiver.model.files import SavedInFolder
from hiperceiver.model.grouping import GroupPlan, regroup
from hiperceiver.model.initialisation import Linear, make_embedding
from hiperceiver.model.layers import CrossAttention, PerceiverBlock
from hiperceiver.model.positions import make_positions
from hiperceiver.model.token_order import make_orders
from hiperceiver.model.tokens import Encoded, TokenGroups, attend_to_tokens, concat_tokens, read_tokens
from hiperceiver.settings.model import HiPConfig, PerceiverConfig

Tensors = Mapping[str, Tensor]  # by modality


class HiPOutput(NamedTuple):
    """What a model computes from a batch."""

    reconstruction: dict[str, Tensor]
    """Per modality: (B, M, C), for every token, visible or not."""
    latents: Tensor
    """Latents of the last block: (B, G, N, D)."""
    processor_latents: Tensor
    """Latents of the processor: (B, N, D)."""


class HiP(SavedInFolder):
    """Hierarchical Perceiver: one network for any raw signals ("HiP", arXiv 2202.10890).

    Tokens are split into groups; each group is summarised by latents of its own; block by block the groups merge, down
    to one, and open again. Every token is then read out at its position.

    Args:
        config: the blocks and what they share; `hiperceiver.create_model` knows the published ones.
        modalities: every modality that a call may have, by name.

    >>> import torch
    >>> from hiperceiver import Modality, create_model
    >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    >>> output = model({"image": torch.randn(2, 32 * 32, 3)})
    >>> output.reconstruction["image"].shape
    torch.Size([2, 1024, 3])
    """

    config: HiPConfig
    config_class: type[PerceiverConfig] = HiPConfig

    def __init__(self, config: PerceiverConfig, modalities: Mapping[str, Modality]):
        super().__init__()
        check_model(config, self.config_class, modalities)
        self.config = config  # type: ignore[assignment]
        self.modalities = dict(modalities)
        self.metadata: dict[str, Any] = {}  # plain values saved with the model: encoders (normalisation), classes
        blocks, width = config.all_blocks, config.embedding_channels
        self.processor_index = middle = len(blocks) // 2
        label_width = blocks[middle - 1].num_channels if middle else width  # labels join the processor's input

        self.embedding, self.unembedding, self.positions = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.orders = make_orders(self.config, self.modalities)
        for name, modality in self.modalities.items():
            channels = label_width if modality.role == "label" else width
            self.embedding[name] = make_embedding(modality, channels)
            self.unembedding[name] = unembedding = Linear(channels, modality.num_outputs)
            nn.init.zeros_(unembedding.weight)  # the first reconstruction is exactly zero
            self.positions[name] = make_positions(config, modality, channels)

        widths = [width, *(block.num_channels for block in blocks)]
        self.blocks = nn.ModuleList(
            PerceiverBlock(
                block,
                widths[index],
                skip_channels=widths[len(blocks) - index] if index > middle and self.config.skips else None,
                activation=config.activation,
                dropout=config.dropout,
                drop_path=config.drop_path,
            )
            for index, block in enumerate(blocks)
        )

        readout: dict[str, Any] = {"num_heads": 1, "widening": 1, "activation": config.activation, "residual": False}
        self.readout = CrossAttention(width, widths[-1], **readout)
        self.label_readout = CrossAttention(label_width, widths[middle + 1], **readout) if self.label_names else None

    @property
    def input_names(self) -> tuple[str, ...]:
        """Modalities that pass the encoder and the decoder."""
        return tuple(name for name, modality in self.modalities.items() if modality.role == "input")

    @property
    def label_names(self) -> tuple[str, ...]:
        """Modalities that join at the bottleneck."""
        return tuple(name for name, modality in self.modalities.items() if modality.role == "label")

    @property
    def processor(self) -> PerceiverBlock:
        """The middle block, with one group."""
        return self.blocks[self.processor_index]  # type: ignore[return-value]

    @property
    def block_names(self) -> tuple[str, ...]:
        """What each block is called, first to last: `encoder 1`, ..., `processor`, `decoder 1`, ..."""
        numbers = range(1, self.processor_index + 1)
        return (*(f"encoder {k}" for k in numbers), "processor", *(f"decoder {k}" for k in numbers))

    def plan(self, num_tokens: Mapping[str, int]) -> GroupPlan:
        """Assign the first block's groups to modalities with these numbers of tokens."""
        orders: dict[str, Any] = dict(self.orders.items())
        return GroupPlan.assign(num_tokens, self.config.blocks[0].num_groups, orders=orders)

    def forward(
        self,
        inputs: Tensors,
        *,
        is_padding: Tensors | None = None,
        visible: Tensors | None = None,
        reconstruct: Iterable[str] | None = None,
    ) -> HiPOutput:
        """Encode, process, decode and reconstruct.

        Args:
            inputs: per modality, float (B, M, C). Any subset of the declared modalities that has an input; groups are
                assigned among these, in their order.
            is_padding: per modality, bool (B, M), True = absent. Absent tokens influence nothing.
            visible: per modality, int64 (B, groups of the modality or 1, K): the slots in each group that the encoder
                sees, -1 = none. Other tokens are dropped before the embedding. See `hiperceiver.masking`.
            reconstruct: modalities to reconstruct: any of the inputs, and any label. None: the inputs.

        Raises:
            ValueError: unknown modality, wrong shape or type, or more modalities than groups.
        """
        encoded = self.encode(inputs, is_padding=is_padding, visible=visible)
        latents = self.decode(encoded)
        reconstruction = self.reconstruct(encoded, latents, inputs if reconstruct is None else reconstruct)
        return HiPOutput(reconstruction, latents, encoded.processor_latents.squeeze(1))

    def forward_features(
        self, inputs: Tensors, *, is_padding: Tensors | None = None, visible: Tensors | None = None
    ) -> dict[str, Tensor]:
        """The latents of every block, as `forward` computes them, and nothing read out. Arguments as for `forward`.

        Returns:
            By `block_names`, first to last: (B, G, N, D), with the groups, latents and channels of each block. That of
            `processor` has one group, and `forward` gives it as `processor_latents`; the last one is its `latents`.

        >>> import torch
        >>> from hiperceiver import Modality, create_model
        >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
        >>> for name, latents in model.forward_features({"image": torch.randn(2, 1024, 3)}).items():
        ...     print(f"{name}: {tuple(latents.shape)}")
        encoder 1: (2, 16, 16, 64)
        processor: (2, 1, 64, 128)
        decoder 1: (2, 16, 16, 64)
        """
        encoded = self.encode(inputs, is_padding=is_padding, visible=visible)
        return dict(zip(self.block_names, [*encoded.skips, *self.decode_blocks(encoded)], strict=True))

    def encode(self, inputs: Tensors, *, is_padding: Tensors | None = None, visible: Tensors | None = None) -> Encoded:
        """Everything up to the processor, included. Arguments as for `forward`."""
        is_padding, visible = ({} if each is None else each for each in (is_padding, visible))
        check_inputs(inputs, is_padding, self.modalities, next(self.parameters()))
        names = [name for name in inputs if name not in self.label_names]
        plan = self.plan({name: self.modalities[name].num_tokens for name in names})
        check_visible(visible, plan, batch_size=inputs[names[0]].shape[0])

        # Put the tokens of each modality into its groups, and their positions beside them. (B, g, P, C), (1, g, P, E)
        tokens = {}
        for name, span in plan.spans.items():
            masks = is_padding.get(name), visible.get(name), self.config.mask_padding
            tokens[name] = TokenGroups.of(span, inputs[name], self.positions[name], *masks)

        # Encoder: the latents of each group attend to its tokens; block by block the groups merge. (B, G, N, D)
        skips: list[Tensor] = []
        for index, block in enumerate(self.blocks[: self.processor_index]):
            if index == 0:
                x = block(None, attend=lambda latents: self._attend_to_tokens(plan, tokens, latents))
            else:
                x = block(self._regroup(skips[-1], index))
            skips.append(x)

        # Processor: a Perceiver IO on one group, which labels join. (B, 1, M', D) to (B, 1, N, D)
        if skips:
            parts = [(self._regroup(skips[-1], self.processor_index), None)]
        else:
            parts = [tokens[name].embed(self.embedding[name]) for name in plan.spans]
        x, key_mask = concat_tokens([*parts, *self._embed_labels(inputs, is_padding)])
        return Encoded(plan, tokens, skips, self.processor(x, key_mask=key_mask))

    def decode(self, encoded: Encoded) -> Tensor:
        """From the processor back to the groups of the first block, with any skip connections: latents (B, G, N, D)."""
        return self.decode_blocks(encoded)[-1]

    def decode_blocks(self, encoded: Encoded) -> list[Tensor]:
        """The latents of the processor and of each decoder block after it: (B, G, N, D)."""
        latents = [encoded.processor_latents]
        for index, skip in zip(range(self.processor_index + 1, len(self.blocks)), reversed(encoded.skips), strict=True):
            x = self._regroup(latents[-1], index)
            latents.append(self.blocks[index](x, skip=skip if self.config.skips else None))
        return latents

    def reconstruct(self, encoded: Encoded, latents: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Read the named modalities out of the latents: per modality (B, M, C)."""
        names = tuple(names)
        check_names("reconstruct", names, (*encoded.plan.spans, *self.label_names))
        return {name: self.read_out(encoded, latents, name, self.unembedding[name]) for name in names}

    def read_out(
        self,
        encoded: Encoded,
        latents: Tensor,
        name: str,
        head: nn.Module,
        *,
        own_embedding: bool = False,
        slots: Tensor | None = None,
    ) -> Tensor:
        """Let every token's position attend to its group's latents, and apply a head: (B, M, K).

        Args:
            encoded: from `encode`.
            latents: from `decode`, (B, G, N, D). A label is read from the processor's latents instead.
            name: an input modality of the call, or a label, which takes neither `own_embedding` nor `slots`.
            head: embedding channels to K, applied to each token alone.
            own_embedding: add the token's own embedding to its query and to what is read (as Perceiver IO does for
                optical flow).
            slots: the slots of each group that are read, each once: int64 (B, groups of the modality or 1, R); gives
                (B, groups, R, K). None: all tokens.
        """
        if name in self.label_names:
            assert self.label_readout is not None and not own_embedding and slots is None
            queries = self.positions[name]()[None, None]  # (1, 1, M, D)
            return head(self.label_readout(queries, encoded.processor_latents)).squeeze(1)
        if not encoded.plan.is_pooled:  # where all modalities read the one group's latents
            latents = encoded.plan.split(latents)[name]  # (B, g, N, D)
        embedding = self.embedding[name] if own_embedding else None
        x = read_tokens(self.readout, head, latents, encoded.tokens[name], embedding=embedding, slots=slots)
        return encoded.plan.spans[name].to_tokens(x) if slots is None else x

    def _attend_to_tokens(self, plan: GroupPlan, tokens: Mapping[str, TokenGroups], latents: Tensor) -> Tensor:
        """Cross-attention of the first block, modality by modality: latents (1, G, N, D) to (B, G, N, D)."""
        layer, queries = self.blocks[0].cross_attention, plan.split(latents)
        assert isinstance(layer, CrossAttention)
        return plan.concat({n: attend_to_tokens(self.embedding[n], layer, queries[n], tokens[n]) for n in tokens})

    def _embed_labels(self, inputs: Tensors, is_padding: Tensors) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The label tokens of each modality: (B, 1, M, D), and their key mask."""
        plan = GroupPlan.pool({n: self.modalities[n].num_tokens for n in inputs if n in self.label_names})
        for name, span in plan.spans.items():
            tokens = TokenGroups.of(span, inputs[name], self.positions[name], is_padding.get(name))
            yield tokens.embed(self.embedding[name])

    def _regroup(self, x: Tensor, index: int) -> Tensor:
        """Latents (B, G, N, D) in the groups of a block."""
        transpose = self.config.regrouping == "transpose"
        return regroup(x, self.config.all_blocks[index].num_groups, transpose=transpose)

    def resize_positions(self, grids: Mapping[str, tuple[int, ...]]) -> None:
        """Move modalities to other grids, in place: tables are interpolated, Fourier features recomputed."""
        check_names("grids", grids, self.modalities)
        moved = {name: dataclasses.replace(self.modalities[name], grid=tuple(grid)) for name, grid in grids.items()}
        for name, modality in moved.items():  # nothing moves where one cannot
            if len(modality.grid) != len(old := self.modalities[name].grid):
                raise ValueError(f"grid: expected {len(old)} axes as in {old}, got {modality.grid}")
        orders = make_orders(self.config, {**self.modalities, **moved}).to(next(self.parameters()).device)
        for name, modality in moved.items():
            self.positions[name].resize(modality.grid)  # type: ignore[operator]
            self.modalities[name] = modality
        self.orders = orders
