"""What HiP and Perceiver IO share: embed, encode block by block, decode block by block, read out every token.

Source: "HiP", section 3, and the published JAX reference. Shapes: B batch, M tokens, C raw channels, E embedding
channels, G groups, P places in a group, K visible places in a group, N latents, D latent channels.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, get_args

import torch
import torch.distributed as dist
from huggingface_hub import ModelHubMixin
from torch import Tensor, nn

from hiperceiver.modality import Modality
from hiperceiver.model import fused
from hiperceiver.model.block import BlockConfig, PerceiverBlock, check_whole
from hiperceiver.model.grouping import GroupPlan, regroup
from hiperceiver.model.inputs import check_inputs, check_visible
from hiperceiver.model.layers import Activation, CrossAttention, Linear
from hiperceiver.model.positions import CoordinatePositions, PositionKind, make_positions
from hiperceiver.model.tokens import ModalityTokens, Tokens

_WITH_FEATURES = ("fourier", "coordinate")
"""Kinds of position that are made of Fourier features."""
_DEFAULT_BANDS = 64


@dataclass(frozen=True, kw_only=True)
class PerceiverConfig:
    """What every model is told beside its blocks."""

    embedding_channels: int
    """Channels that raw tokens are embedded to, E."""
    positions: PositionKind = "learned"
    """Position encoding of the tokens: a learned table, Fourier features of the grid, Fourier features of each token's
    own `coordinate` channels (modalities without any have learned tables), or none."""
    position_channels: int | None = None
    """Width of input modalities' learned tables; projected to the embedding if it differs. None: the embedding's."""
    fourier_bands: int | None = None
    """Frequencies per axis or coordinate, for `positions="fourier"` or `"coordinate"`. None: 64."""
    fourier_max_resolution: tuple[int, ...] | None = None
    """Resolution per axis or coordinate whose half is the highest frequency, for `positions="fourier"` or
    `"coordinate"`. None: the modality's grid; 64 for a coordinate."""
    activation: Activation = "squared_relu"
    """Activation of every feed-forward layer."""
    dropout: float = 0.0
    """Probability of zeroing a value after self-attention and after its feed-forward, while training."""
    drop_path: float = 0.0
    """Probability of leaving out a self-attention branch for an example, while training."""

    @property
    @abstractmethod
    def all_blocks(self) -> tuple[BlockConfig, ...]:
        """The blocks from encoder to decoder; the middle one is the processor."""

    def __post_init__(self) -> None:
        check_whole("embedding_channels", self.embedding_channels)
        if self.position_channels is not None:
            check_whole("position_channels", self.position_channels)
        for name, choices in [("positions", get_args(PositionKind)), ("activation", get_args(Activation))]:
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.positions != "learned" and self.position_channels is not None:
            raise ValueError(
                f"position_channels: only learned positions have a width of their own, got "
                f"{self.position_channels} with positions={self.positions!r}"
            )
        has_features = self.positions in _WITH_FEATURES
        for name in ("fourier_bands", "fourier_max_resolution"):
            if getattr(self, name) is not None and not has_features:
                raise ValueError(
                    f"{name}: only for positions='fourier' or 'coordinate', got {getattr(self, name)} with "
                    f"positions={self.positions!r}"
                )
        if has_features:
            bands = _DEFAULT_BANDS if self.fourier_bands is None else self.fourier_bands
            check_whole("fourier_bands", bands)
            object.__setattr__(self, "fourier_bands", bands)
        if self.fourier_max_resolution is not None:
            for resolution in self.fourier_max_resolution:
                check_whole("fourier_max_resolution", resolution)
            object.__setattr__(self, "fourier_max_resolution", tuple(self.fourier_max_resolution))
        for name in ("dropout", "drop_path"):
            if not isinstance(getattr(self, name), (int, float)) or not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a probability from 0 to below 1, got {getattr(self, name)!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `config.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; unknown names are refused."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(
                f"config: unknown field {unknown[0]!r} for {cls.__name__}; known: {', '.join(sorted(known))}"
            )
        if values.get("positions", "learned") not in _WITH_FEATURES and values.get("fourier_bands") == _DEFAULT_BANDS:
            values = {**values, "fourier_bands": None}  # was once written down for every kind of position
        return cls(**values)


class HiPOutput(NamedTuple):
    """What a model computes from a batch."""

    reconstruction: dict[str, Tensor]
    """Per modality: (B, M, C), for every token, visible or not."""
    latents: Tensor
    """Latents of the last block: (B, G, N, D)."""
    processor_latents: Tensor
    """Latents of the processor: (B, N, D)."""


class Encoded(NamedTuple):
    """What the encoder and the processor leave for the decoder and for tasks' own readouts."""

    tokens: Tokens
    """The tokens in their groups, not embedded yet."""
    skips: list[Tensor]
    """Latents of each encoder block, first to last: (B, G, N, D)."""
    processor_latents: Tensor
    """Latents of the processor: (B, 1, N, D)."""

    @property
    def plan(self) -> GroupPlan:
        """Which modality owns which groups."""
        return self.tokens.plan


_MODEL_CARD = """---
{{ card_data }}
---

A model of hiperceiver: raw signals in, without tokenizer, patches or hand-made positions. `config.json` says its
shape, its modalities, how raw values become tokens, and the task whose head is in `model.safetensors`, if any.

```python
from hiperceiver import HiP  # PerceiverIO, if config.json says so

model = HiP.from_pretrained("this repository or folder")
```

Architecture: {{ paper_url }}
"""
"""What a saved model's README.md says at first; nothing in it is measured."""


class Perceiver(
    nn.Module,
    ModelHubMixin,
    library_name="hiperceiver",
    license="apache-2.0",
    tags=["perceiver"],
    paper_url="https://arxiv.org/abs/2202.10890",
    model_card_template=_MODEL_CARD,
):
    """Base of `HiP` and `PerceiverIO`: everything but how tokens are put into groups.

    Args:
        config: the blocks and what they share.
        modalities: every modality that may come in a call, by name.
    """

    config_class: type[PerceiverConfig]

    def __init__(self, config: PerceiverConfig, modalities: Mapping[str, Modality]):
        super().__init__()
        if not isinstance(config, self.config_class):
            raise ValueError(
                f"config: expected {self.config_class.__name__} for {type(self).__name__}, got {type(config).__name__}"
            )
        self.config = config
        self.modalities = dict(modalities)
        self.metadata: dict[str, Any] = {}  # plain values saved with the model: encoders (normalisation), classes
        self._check_modalities()
        blocks = config.all_blocks
        self.processor_index = len(blocks) // 2

        self.embedding = nn.ModuleDict()
        self.unembedding = nn.ModuleDict()
        self.positions = nn.ModuleDict()
        processor_channels = blocks[self.processor_index - 1].num_channels if self.processor_index else None
        for name, modality in self.modalities.items():
            is_label = modality.role == "label"
            width = processor_channels or config.embedding_channels if is_label else config.embedding_channels
            self.embedding[name] = Linear(modality.channels, width)
            self.unembedding[name] = unembedding = Linear(width, modality.channels)
            nn.init.zeros_(unembedding.weight)  # the first reconstruction is exactly zero
            self.positions[name] = make_positions(
                config.positions,
                modality.grid,
                width,
                num_coordinates=modality.num_coordinates,
                table_channels=None if is_label else config.position_channels,
                fourier_bands=config.fourier_bands,
                fourier_max_resolution=None if is_label else config.fourier_max_resolution,
            )

        self.blocks = nn.ModuleList()
        token_channels = config.embedding_channels
        for index, block in enumerate(blocks):
            mirrored = blocks[len(blocks) - 1 - index]
            self.blocks.append(
                PerceiverBlock(
                    block,
                    token_channels,
                    skip_channels=mirrored.num_channels if index > self.processor_index else None,
                    activation=config.activation,
                    dropout=config.dropout,
                    drop_path=config.drop_path,
                )
            )
            token_channels = block.num_channels
        self.readout = self._make_readout(config.embedding_channels, blocks[-1].num_channels)
        self.label_readout = None
        if self.label_names:
            processor_width = blocks[self.processor_index].num_channels
            self.label_readout = self._make_readout(processor_channels or config.embedding_channels, processor_width)

    def _make_readout(self, query_channels: int, latent_channels: int) -> CrossAttention:
        return CrossAttention(
            query_channels,
            latent_channels,
            num_heads=1,
            widening=1,
            activation=self.config.activation,
            residual=False,
        )

    def _check_modalities(self) -> None:
        for name, modality in self.modalities.items():
            if not isinstance(modality, Modality):
                raise ValueError(f"modalities: expected a Modality for {name!r}, got {type(modality).__name__}")
            if not isinstance(name, str) or not name or "." in name or hasattr(nn.ModuleDict(), name):
                raise ValueError(f"modalities: {name!r} cannot be a name; use another word, without dots")
        if not self.input_names:
            raise ValueError("modalities: expected at least one of role 'input', got none")
        if self.config.positions == "coordinate" and not any(m.num_coordinates for m in self.modalities.values()):
            raise ValueError("modalities: expected one with num_coordinates > 0 for positions='coordinate', got none")
        self.plan({name: self.modalities[name].num_tokens for name in self.input_names[:1]})

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
        block = self.blocks[self.processor_index]
        assert isinstance(block, PerceiverBlock)
        return block

    @property
    def process_group(self) -> dist.ProcessGroup | None:
        """The processes among which the groups are dealt. None: all are here."""
        return None

    def own(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of per-modality tensors (B, M, ...), the tokens that are computed in this process: all of them."""
        return dict(tensors)

    @abstractmethod
    def plan(self, num_tokens: Mapping[str, int]) -> GroupPlan:
        """Put modalities with these numbers of tokens into groups."""

    # ------------------------------------------------------------------------------------------------------- forward

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        *,
        is_padding: Mapping[str, Tensor] | None = None,
        visible: Mapping[str, Tensor] | None = None,
        reconstruct: Iterable[str] | None = None,
    ) -> HiPOutput:
        """Encode, process, decode and reconstruct.

        Args:
            inputs: per modality, float (B, M, C). Any subset of the declared modalities that has an input; groups are
                dealt among those that came, in their order.
            is_padding: per modality, bool (B, M), True = absent. Absent tokens influence nothing.
            visible: per modality, int64 (B, groups of the modality or 1, K): the places in each group that the encoder
                sees, -1 = none. Other tokens are dropped before the embedding. See `hiperceiver.masking`.
            reconstruct: modalities to reconstruct: any that came, and any label. None: those that came.

        Raises:
            ValueError: unknown modality, wrong shape or type, or more modalities than groups.
        """
        encoded = self.encode(inputs, is_padding=is_padding, visible=visible)
        latents = self.decode(encoded)
        names = tuple(inputs) if reconstruct is None else tuple(reconstruct)
        return HiPOutput(
            reconstruction=self.reconstruct(encoded, latents, names),
            latents=latents,
            processor_latents=encoded.processor_latents.squeeze(1),
        )

    def encode(
        self,
        inputs: Mapping[str, Tensor],
        *,
        is_padding: Mapping[str, Tensor] | None = None,
        visible: Mapping[str, Tensor] | None = None,
    ) -> Encoded:
        """Everything up to the processor, included. Arguments as for `forward`."""
        is_padding, visible = is_padding or {}, visible or {}
        check_inputs(inputs, is_padding, self.modalities)
        present = [name for name in inputs if self.modalities[name].role == "input"]
        plan = self.plan({name: self.modalities[name].num_tokens for name in present})
        check_visible(visible, plan, batch_size=inputs[present[0]].shape[0])
        return self._encode(plan, inputs, is_padding, visible)

    def _encode(
        self,
        plan: GroupPlan,
        inputs: Mapping[str, Tensor],
        is_padding: Mapping[str, Tensor],
        visible: Mapping[str, Tensor],
    ) -> Encoded:
        """Encode what was checked, its tokens in the groups of the plan."""
        tokens = Tokens(
            plan=plan,
            of={n: self._tokens(n, inputs[n], plan, is_padding.get(n), visible.get(n)) for n in plan.spans},
        )
        skips = []
        for index in range(self.processor_index):
            skips.append(self.blocks[index](self._regroup(skips[-1], index) if skips else tokens))  # (B, G, N, D)
        # (B, 1, M, D), and which of them no latent may see
        x, is_hidden = (self._regroup(skips[-1], self.processor_index), None) if skips else tokens.embed()
        x, is_hidden = self._join_labels(x, is_hidden, inputs, is_padding)
        x = self.processor(x, is_hidden=is_hidden)  # (B, 1, N, D)
        return Encoded(tokens, skips, x)

    def decode(self, encoded: Encoded) -> Tensor:
        """From the processor back to the groups of the first block: latents (B, G, N, D)."""
        x = encoded.processor_latents
        for index, skip in zip(range(self.processor_index + 1, len(self.blocks)), reversed(encoded.skips), strict=True):
            x = self._regroup(x, index)
            x = self.blocks[index](x, skip=skip)
        return x

    def reconstruct(self, encoded: Encoded, latents: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Read the named modalities out of the latents: per modality (B, M, C)."""
        names = tuple(names)
        for name in names:
            if name not in encoded.plan.spans and name not in self.label_names:
                readable = (*encoded.plan.spans, *self.label_names)
                raise ValueError(f"reconstruct: expected names among {', '.join(readable)}, got {name!r}")
        return {name: self.read_out(encoded, latents, name, self.unembedding[name]) for name in names}

    def read_out(
        self,
        encoded: Encoded,
        latents: Tensor,
        name: str,
        head: nn.Module,
        *,
        own_embedding: bool = False,
        places: Tensor | None = None,
    ) -> Tensor:
        """Read a modality out of the latents at each of its tokens, and apply a head: (B, M, K).

        Args:
            encoded: what `encode` gave.
            latents: what `decode` gave, (B, G, N, D). A label is read from the processor's, whatever they are.
            name: an input modality that came, or a label.
            head: embedding channels to K, applied to each token alone.
            own_embedding: whether a token's own embedding joins its position in the query, and what is read (as
                Perceiver IO does for optical flow). For input modalities only.
            places: the places in each group that are read, int64 (B, groups of the modality or 1, R). The result is
                then (B, groups, R, K). None: all tokens. For input modalities, and not with `own_embedding`.
        """
        if name in self.label_names:
            assert self.label_readout is not None and not own_embedding and places is None
            queries = self.positions[name]()[None, None]  # (1, 1, M, D)
            return head(self.label_readout(queries, encoded.processor_latents)).squeeze(1)
        plan = encoded.plan
        # In a pooled plan all modalities read the one group's latents.
        latents = latents if plan.is_pooled else plan.separate(latents)[name]
        tokens, span = encoded.tokens.of[name], plan.spans[name]
        read = tokens.read_by(self.readout, latents, head, own_embedding=own_embedding, places=places)
        return span.join(read) if places is None else read

    def resize_positions(self, grids: Mapping[str, tuple[int, ...]]) -> None:
        """Move modalities to other grids, in place: learned tables are interpolated, Fourier features recomputed.

        Positions from coordinates do not depend on the grid.

        >>> from hiperceiver import Modality, create_model
        >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
        >>> model.resize_positions({"image": (48, 48)})
        >>> model.modalities["image"].num_tokens
        2304
        """
        for name, grid in grids.items():
            if name not in self.modalities:
                raise ValueError(f"grids: expected names among {', '.join(self.modalities)}, got {name!r}")
            modality = dataclasses.replace(self.modalities[name], grid=tuple(grid))
            self.positions[name].resize(modality.grid)  # type: ignore[operator]
            self.modalities[name] = modality

    # --------------------------------------------------------------------------------------------------------- parts

    def _has_coordinates(self, name: str) -> bool:
        return isinstance(self.positions[name], CoordinatePositions)

    def _encode_positions(self, name: str, x: Tensor) -> Tensor:
        """Position encodings of one modality's tokens x (B, M, C): (1, M, E), or (B, M, E) from their coordinates."""
        return self.positions[name](x) if self._has_coordinates(name) else self.positions[name]()[None]

    def _tokens(
        self, name: str, x: Tensor, plan: GroupPlan, is_padding: Tensor | None, visible: Tensor | None
    ) -> ModalityTokens:
        """One modality's tokens x (B, M, C) in its groups."""
        span = plan.spans[name]
        is_absent = is_zero = None
        if is_padding is not None:
            x = x.masked_fill(is_padding[..., None], 0.0)  # whatever stands there, even NaN, must not matter
            is_absent = span.split(is_padding)
        if span.has_padding:
            filler = span.is_padding(x.device)[None]  # (1, g, P)
            if not self._masks_padding:
                is_zero = filler
            else:
                is_absent = filler if is_absent is None else is_absent | filler
        positions, gradient = fused.share_gradient(span.split(self._encode_positions(name, x)))
        return ModalityTokens(
            embedding=self.embedding[name],
            x=span.split(x),
            positions=positions,
            gradient=gradient,
            is_absent=is_absent,
            is_zero=is_zero,
            visible=None if visible is None else visible.expand(-1, span.num_groups, -1),
        )

    def _regroup(self, x: Tensor, index: int) -> Tensor:
        return regroup(x, self.config.all_blocks[index].num_groups, transpose=self._transposes)

    @property
    def _transposes(self) -> bool:
        return False

    @property
    def _masks_padding(self) -> bool:
        return True

    def _join_labels(
        self, x: Tensor, is_hidden: Tensor | None, inputs: Mapping[str, Tensor], is_padding: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Append label tokens to the processor's keys and values (B, 1, M, D)."""
        if not any(name in self.label_names for name in inputs):
            return x, is_hidden
        parts, hidden = [x], [is_hidden]
        for name in inputs:
            if name in self.label_names:
                absent = is_padding.get(name)
                label = inputs[name] if absent is None else inputs[name].masked_fill(absent[..., None], 0.0)
                parts.append((self.embedding[name](label) + self.positions[name]()).unsqueeze(1))
                hidden.append(None if absent is None else absent.unsqueeze(1))
        if all(h is None for h in hidden):
            return torch.cat(parts, dim=2), None
        shown = [x.new_zeros(part.shape[:3], dtype=torch.bool) for part in parts]
        return torch.cat(parts, dim=2), torch.cat(
            [s if h is None else h.expand_as(s) for s, h in zip(shown, hidden, strict=True)], dim=2
        )

    # -------------------------------------------------------------------------------------------------------- saving

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | Path,
        *,
        config: None = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        model_card_kwargs: Mapping[str, Any] | None = None,
        **push: Any,
    ) -> str | None:
        """Write a folder that `from_pretrained` reads, with a model card unless one is there.

        Unlike the mixin's own, this keeps the old files until the new ones are written.

        Args:
            save_directory: the folder, made if missing.
            config: nothing; the model knows its own. `push_to_hub` passes it.
            repo_id: with `push_to_hub`, where to. None: the folder's name.
            push_to_hub: whether to upload the folder to the Hugging Face hub as well.
            model_card_kwargs: passed on to `generate_model_card`.
            push: passed on to `push_to_hub`.

        Returns:
            The address of the commit on the hub, or None.
        """
        from hiperceiver.model.saving import save_model

        if config is not None:
            raise ValueError(f"config: expected None, as the model knows its own, got {type(config).__name__}")
        folder = save_model(save_directory, self)
        card = folder / "README.md"
        if not card.exists():
            self.generate_model_card(**(model_card_kwargs or {})).save(card)
        if not push_to_hub:
            return None
        return self.push_to_hub(repo_id or folder.name, model_card_kwargs=dict(model_card_kwargs or {}), **push)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **download: Any) -> Self:  # type: ignore[override]
        """Load a model from a folder that `save_pretrained` wrote, or from the Hugging Face hub, in evaluation mode.

        Only `config.json` and `model.safetensors` are read; neither can execute code. A task's head in the same file is
        left out.

        Args:
            pretrained_model_name_or_path: a folder, or a hub id such as "user/model".
            download: for a hub id, passed on to `huggingface_hub.snapshot_download` (revision, token, cache_dir, ...).

        Raises:
            ValueError: not a saved model, another class of model, or weights that do not fit its config.
        """
        from hiperceiver.model.saving import read_model

        model = read_model(pretrained_model_name_or_path, **download).build()
        if not isinstance(model, cls):
            raise ValueError(
                f"{pretrained_model_name_or_path}: expected a {cls.__name__}, got a {type(model).__name__}; "
                f"load it with {type(model).__name__}.from_pretrained"
            )
        return model
