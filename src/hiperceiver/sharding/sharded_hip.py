"""Group parallelism: a HiP whose groups are divided among ranks, for inputs that are too large for one device.

The outer blocks' groups do not depend on each other: each rank holds as many neighbours of them, with all that is
theirs. Where merging groups would reach over ranks, latents are gathered; from there to the mirrored block of the
decoder every rank computes the same.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from hiperceiver.model.grouping import GroupPlan, regroup
from hiperceiver.model.hip import HiP
from hiperceiver.model.perceiver_io import PerceiverIO
from hiperceiver.model.positions import FourierPositions, LearnedPositions, NoPositions
from hiperceiver.model.tokens import Encoded
from hiperceiver.sharding.collectives import Collectives
from hiperceiver.sharding.partition import partition_groups


class ShardedHiP(HiP):
    """One rank's part of a HiP. All ranks together are the whole model: same outputs, same gradients.

    Every rank calls it in the same way, with the same seed (masks, dropout and `num_train_latents` are drawn alike
    everywhere) and the same frozen weights. It takes all tokens or the local ones alone, `local_tokens`, and gives the
    reconstruction of the local tokens and the latents of the local groups; the processor's latents and labels are the
    same everywhere. Every input modality is in every call, in the model's order; `modalities` has the local part of it.

    The loss is the sum over ranks of the part of each rank's own tokens, plus, counted once, that of the processor's
    latents and labels (`hiperceiver.training.groups` has it for masked auto-encoding). Its gradients are there after
    `backward()`: whole for weights that all ranks have, local for tables that are divided. `state_dict` is the local
    part; `whole_model` puts all together.

    Args:
        model: a whole model of `regrouping="reshape"`, the same on every rank. It is used up: its tables are divided.
        group: the ranks, or a device mesh of one dimension. None: all. Their number divides the groups of the first
            block.

    >>> import torch, torch.distributed as dist
    >>> from hiperceiver import Modality, create_model
    >>> store = dist.HashStore()  # one rank: torchrun starts more
    >>> dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    >>> share = ShardedHiP(model)
    >>> share({"image": torch.randn(2, 32 * 32, 3)[:, share.local_tokens["image"]]}).reconstruction["image"].shape
    torch.Size([2, 1024, 3])
    >>> dist.destroy_process_group()
    """

    local_tokens: dict[str, slice | Tensor]
    """Per input modality of the whole model: the local tokens among all M, `x[:, local_tokens[name]]`. A slice, empty
    where there are none; of some tokens in another `token_order` than raster their places in that order, int64."""

    def __init__(self, model: HiP, group: dist.ProcessGroup | DeviceMesh | None = None):
        if not isinstance(model, HiP) or isinstance(model, ShardedHiP | PerceiverIO):
            found = type(model).__name__
            raise ValueError(f"model: expected a whole HiP, whose groups can be divided among ranks, got {found}")
        if isinstance(group, DeviceMesh):
            if group.ndim != 1:
                raise ValueError(f"group: expected a device mesh of 1 dimension, got one of {group.ndim}")
            group = group.get_group()
        group = group or dist.group.WORLD
        if group is None:
            raise ValueError("group: expected torch.distributed.init_process_group to be called first")
        rank, num_ranks = dist.get_rank(group), dist.get_world_size(group)
        spans = partition_groups(model, num_ranks)

        with torch.device("meta"):  # the shape alone; the parts come from the model
            super().__init__(model.config, model.modalities)
        for name, part in model.named_children():
            setattr(self, name, part)
        self.metadata = model.metadata
        self.train(model.training)

        self._spans = spans[rank]
        self.whole_modalities = model.modalities
        rows: list[dict[str, slice | Tensor]] = [
            {n: local[n].tokens if n in local else slice(0, 0) for n in model.input_names} for local in spans
        ]
        self.local_tokens = rows[rank]
        self.modalities = {name: self.modalities[name] for name in self.label_names} | {
            name: dataclasses.replace(self.modalities[name], grid=(span.num_tokens,))
            for name, span in self._spans.items()
        }
        blocks, middle = self.config.blocks, self.processor_index
        self._num_divided = next((i for i in range(middle) if blocks[i].num_groups % num_ranks), middle)
        self._rows: dict[str, Sequence[slice | Tensor]] = {}  # name of a divided table: rows of each rank
        for name in model.input_names:
            positions = self.positions[name]
            if isinstance(positions, LearnedPositions):
                self._rows[f"positions.{name}.table"] = [each[name] for each in rows]
            elif isinstance(positions, FourierPositions):
                self.positions[name] = LocalFourierPositions(positions, self.local_tokens[name])
            elif isinstance(positions, NoPositions):
                count = self._spans[name].num_tokens if name in self._spans else 0
                self.positions[name] = NoPositions((count,), positions.zero.shape[1]).to(positions.zero)
        for index in filter(self._is_divided, range(len(blocks))):
            step = blocks[index].num_groups * blocks[index].num_latents // num_ranks
            self._rows[f"blocks.{index}.latents"] = [slice(i * step, (i + 1) * step) for i in range(num_ranks)]
        for name, rows_of in self._rows.items():
            owner, _, attribute = name.rpartition(".")
            table = self.get_parameter(name)
            local = nn.Parameter(table.detach()[rows_of[rank]].clone(), table.requires_grad)
            setattr(self.get_submodule(owner), attribute, local)
        self._collectives = Collectives(group, [p for name, p in self.named_parameters() if self._is_shared(name)])

    def _is_divided(self, index: int) -> bool:
        """Whether a block's groups are divided among the ranks, rather than computed by all of them."""
        return min(index, len(self.blocks) - 1 - index) < self._num_divided

    def _is_shared(self, name: str) -> bool:
        """Whether each rank uses this weight on its own tokens or groups, so that it has a part of its gradient."""
        module, which = name.split(".")[:2]
        if name in self._rows:
            return False
        if module == "blocks":
            return self._is_divided(int(which))
        return module == "readout" or (module != "label_readout" and which in self.local_tokens)

    @property
    def process_group(self) -> dist.ProcessGroup:
        """The ranks among which the groups are divided."""
        return self._collectives.group

    def local(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The local tokens (B, local M, ...) among all or the local ones of each modality; labels as they are."""
        local = {}
        for name, x in tensors.items():
            if name not in self.local_tokens:
                local[name] = x
            elif (span := self._spans.get(name)) is not None:
                is_whole = isinstance(x, Tensor) and x.shape[1:2] == (self.whole_modalities[name].num_tokens,)
                local[name] = x[:, span.tokens] if is_whole else x
        return local

    def local_slots(self, slots: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Slots of the local groups: per modality, int64 (B, groups of the modality or 1, K) to local groups or 1."""
        local = {}
        for name, x in slots.items():
            if (span := self._spans.get(name)) is not None:
                local[name] = x[:, span.groups] if x.shape[1:2] == (span.whole.num_groups,) else x
            elif name not in self.whole_modalities:
                local[name] = x  # refused by name in `encode`
        return local

    def plan(self, num_tokens: Mapping[str, int]) -> GroupPlan:
        """The local groups, which do not depend on the call."""
        return GroupPlan(self._spans, is_pooled=False)

    def encode(
        self,
        inputs: Mapping[str, Tensor],
        *,
        is_padding: Mapping[str, Tensor] | None = None,
        visible: Mapping[str, Tensor] | None = None,
    ) -> Encoded:
        """Everything up to the processor, included. Arguments as for `forward`, of all tokens or the local ones."""
        local = self.local(inputs)
        if any(name not in local for name in self._spans):
            expected = f"{', '.join(self.local_tokens)} in every call, as groups are assigned once"
            raise ValueError(f"inputs: expected {expected}, got {', '.join(inputs)}")
        return super().encode(local, is_padding=self.local(is_padding or {}), visible=self.local_slots(visible or {}))

    def reconstruct(self, encoded: Encoded, latents: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Read the named modalities out of the latents: per modality (B, local M, C), all M of a label."""
        names = tuple(names)
        elsewhere = [name for name in self.local_tokens if name not in encoded.plan.spans]
        local = super().reconstruct(encoded, latents, [name for name in names if name not in elsewhere])
        # Empty, but connected to the latents so that backward runs on every rank.
        empty = latents[:, :0, 0, :1].expand(-1, -1, self.config.embedding_channels)  # (B, 0, E)
        return {name: self.unembedding[name](empty) if name in elsewhere else local[name] for name in names}

    def _regroup(self, x: Tensor, index: int) -> Tensor:
        num_groups = self.config.blocks[index].num_groups
        if self._is_divided(index):
            if not self._is_divided(index - 1):
                return self._collectives.scatter(regroup(x, num_groups))
            return regroup(x, num_groups // self._collectives.num_ranks)
        return regroup(self._collectives.gather(x) if self._is_divided(index - 1) else x, num_groups)

    def resize_positions(self, grids: Mapping[str, tuple[int, ...]]) -> None:
        """Refused: other grids have other groups."""
        raise ValueError(f"grids: expected to be changed before the groups are divided among ranks, got {dict(grids)}")

    def clip_gradients(self, max_norm: float) -> Tensor:
        """As `torch.nn.utils.clip_grad_norm_`, which would see local rows of the tables alone. Called by all ranks."""
        local, alike = [], []
        for name, parameter in self.named_parameters():
            if parameter.grad is not None:
                (local if name in self._rows else alike).append(parameter.grad)
        squares = torch.nn.utils.get_total_norm(local).to(next(self.parameters())).square()
        dist.all_reduce(squares, group=self._collectives.group)
        norm = (squares + torch.nn.utils.get_total_norm(alike).to(squares).square()).sqrt()
        torch.nn.utils.clip_grads_with_norm_(self.parameters(), max_norm, norm)
        return norm

    def whole_model(self) -> HiP | None:
        """The model of one process, on the CPU of the first rank; None on the others. Called by all."""
        collectives = self._collectives
        state = self.state_dict()
        for name, rows_of in self._rows.items():
            local = state[name]
            if collectives.rank > 0:
                if local.numel():
                    dist.send(local.contiguous(), group=collectives.group, group_dst=0)
                continue
            counts = [_count(rows) for rows in rows_of]
            whole = torch.empty(sum(counts), *local.shape[1:], dtype=local.dtype)
            for rank, (rows, count) in enumerate(zip(rows_of, counts, strict=True)):
                part = local if rank == 0 else local.new_empty(count, *local.shape[1:])
                if rank > 0 and part.numel():
                    dist.recv(part, group=collectives.group, group_src=rank)
                whole[rows if isinstance(rows, slice) else rows.cpu()] = part.cpu()
            state[name] = whole
        if collectives.rank > 0:
            return None
        model = HiP(self.config, self.whole_modalities).to(next(self.parameters()).dtype)
        model.load_state_dict(state)
        model.metadata = self.metadata
        return model.train(self.training)

    def save_pretrained(self, save_directory: str | Path, **settings: Any) -> str | None:
        """Write `whole_model` as `HiP.save_pretrained` does, from the first rank. Called by all."""
        model = self.whole_model()
        return None if model is None else model.save_pretrained(save_directory, **settings)


def _count(rows: slice | Tensor) -> int:
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


class LocalFourierPositions(FourierPositions):
    """Fourier positions of some tokens, without computing the others."""

    def __init__(self, whole: FourierPositions, tokens: slice | Tensor):
        nn.Module.__init__(self)
        self.grid, self.num_bands = whole.grid, whole.num_bands
        self.max_resolution, self.projection = whole.max_resolution, whole.projection
        self.tokens = tokens if isinstance(tokens, slice) else nn.Buffer(tokens, persistent=False)

    def forward(self, tokens: Tensor | None = None) -> Tensor:
        """Projected features of the local tokens: (local M, E)."""
        number = self.tokens
        if isinstance(number, slice):
            number = torch.arange(number.start, number.stop, device=self.projection.weight.device)
        total = self.projection.weight.new_zeros(())
        for index, along in zip(torch.unravel_index(number, self.grid), self.along_axes(), strict=True):
            total = total + F.embedding(index, along)
        return total
