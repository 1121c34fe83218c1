"""Group parallelism: a HiP whose groups are dealt to processes, for inputs that are too large for one device.

The outer blocks' groups do not know each other. Each process owns as many of them, neighbours all, with what belongs to
them: tokens, rows of the position tables, latents, activations, reconstruction. Where merging groups would reach over
processes, latents are gathered; from there to the mirrored place of the decoder every process computes the same.

Shapes: B batch, M tokens, C raw channels, E embedding channels, G groups, N latents, D latent channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from hiperceiver.model.collectives import Exchange
from hiperceiver.model.grouping import GroupPlan, regroup
from hiperceiver.model.hip import HiP
from hiperceiver.model.inputs import check_inputs, check_visible
from hiperceiver.model.perceiver import Encoded
from hiperceiver.model.positions import FourierPositions, LearnedPositions, NoPositions
from hiperceiver.model.shares import deal_to_processes


class GroupParallel(HiP):
    """One process's share of a HiP. All processes together are the whole model: same outputs, same gradients.

    Every process calls it in the same way, with the same seed (masks, dropout and `num_train_latents` are drawn alike
    everywhere) and the same frozen weights. It is given all tokens or its own alone, `own_tokens`, and gives the
    reconstruction of its own tokens and the latents of its own groups; the processor's latents and labels are the same
    everywhere. Groups are dealt once: every input modality comes in every call, in the model's order.

    The loss is the sum over processes of what each makes of its own tokens, as `MaskedAutoencoding` gives it, plus,
    counted once, what each makes of the processor's latents and labels. Its gradients are there after `backward()`:
    whole for weights that all have, each process's own for tables that are cut. `state_dict` is this process's share;
    `whole_model` puts all together.

    Args:
        model: a whole model, the same in every process. It is used up: its tables are cut.
        group: the processes, or a device mesh of one dimension. None: all. Their number divides the groups of the
            first block.

    Raises:
        ValueError: not a HiP, `regrouping="transpose"`, groups that cannot be dealt evenly, or not a token for each.

    >>> import torch, torch.distributed as dist
    >>> from hiperceiver import Modality, create_model
    >>> dist.init_process_group(
    ...     "gloo", store=dist.HashStore(), rank=0, world_size=1
    ... )  # one process: torchrun starts more
    >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    >>> share = GroupParallel(model)
    >>> share({"image": torch.randn(2, 32 * 32, 3)[:, share.own_tokens["image"]]}).reconstruction["image"].shape
    torch.Size([2, 1024, 3])
    >>> dist.destroy_process_group()
    """

    own_tokens: dict[str, slice]
    """Per input modality: this process's tokens among all M; an empty slice where it owns none."""

    def __init__(self, model: HiP, group: dist.ProcessGroup | DeviceMesh | None = None):
        if not isinstance(model, HiP) or isinstance(model, GroupParallel):
            raise ValueError(f"model: expected a whole HiP, whose groups can be dealt, got {type(model).__name__}")
        if isinstance(group, DeviceMesh):
            if group.ndim != 1:
                raise ValueError(f"group: expected a device mesh of 1 dimension, got one of {group.ndim}")
            group = group.get_group()
        group = group or dist.group.WORLD
        if group is None:
            raise ValueError("group: expected torch.distributed.init_process_group to be called first")
        rank, num_ranks = dist.get_rank(group), dist.get_world_size(group)
        spans = deal_to_processes(model, num_ranks)

        with torch.device("meta"):  # the shape alone; the parts come from the model
            super().__init__(model.config, model.modalities)
        for name, part in model.named_children():
            setattr(self, name, part)
        self.metadata = model.metadata
        self.train(model.training)

        self._own_spans = spans[rank]
        rows = [{n: own[n].tokens if n in own else slice(0, 0) for n in self.input_names} for own in spans]
        self.own_tokens = rows[rank]
        self._own_modalities = {name: self.modalities[name] for name in self.label_names} | {
            name: dataclasses.replace(self.modalities[name], grid=(span.num_tokens,))
            for name, span in self._own_spans.items()
        }
        blocks, middle = self.config.blocks, self.processor_index
        self._num_dealt = next((i for i in range(middle) if blocks[i].num_groups % num_ranks), middle)
        self._cut: dict[str, list[slice]] = {}  # name of a table: rows of each process
        for name in self.input_names:
            if isinstance(self.positions[name], LearnedPositions):
                self._cut[f"positions.{name}.table"] = [each[name] for each in rows]
        for index in [i for i in range(len(blocks)) if self._is_dealt(i)]:
            step = blocks[index].num_groups * blocks[index].num_latents // num_ranks
            self._cut[f"blocks.{index}.latents"] = [slice(i * step, (i + 1) * step) for i in range(num_ranks)]
        for name, cut in self._cut.items():
            owner, _, attribute = name.rpartition(".")
            table = self.get_parameter(name)
            own = nn.Parameter(table.detach()[cut[rank]].clone(), table.requires_grad)
            setattr(self.get_submodule(owner), attribute, own)
        self._exchange = Exchange(group, [p for name, p in self.named_parameters() if self._works_on_own(name)])

    def _is_dealt(self, index: int) -> bool:
        """Whether a block's groups are dealt to the processes, rather than computed by all of them."""
        return min(index, len(self.blocks) - 1 - index) < self._num_dealt

    def _works_on_own(self, name: str) -> bool:
        """Whether each process uses this weight on its own tokens or groups, so that it has a part of its gradient."""
        module, which = name.split(".")[:2]
        if name in self._cut:
            return False
        if module == "blocks":
            return self._is_dealt(int(which))
        return module == "readout" or (module != "label_readout" and which in self.input_names)

    @property
    def process_group(self) -> dist.ProcessGroup:
        """The processes among which the groups are dealt."""
        return self._exchange.group

    def own(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This process's tokens of each modality (B, own M, ...), if it has any; labels are everyone's.

        Args:
            tensors: per modality all tokens, or this process's own alone.
        """
        own = {}
        for name, x in tensors.items():
            tokens = self.own_tokens.get(name)
            if tokens is None:
                own[name] = x
            elif name in self._own_spans:
                is_whole = isinstance(x, Tensor) and x.shape[1:2] == (self.modalities[name].num_tokens,)
                own[name] = x[:, tokens] if is_whole else x
        return own

    # ------------------------------------------------------------------------------------------------------- forward

    def encode(
        self,
        inputs: Mapping[str, Tensor],
        *,
        is_padding: Mapping[str, Tensor] | None = None,
        visible: Mapping[str, Tensor] | None = None,
    ) -> Encoded:
        """Everything up to the processor, included. Arguments as for `forward`, of all tokens or of its own."""
        spans = self._own_spans
        own, own_padding = self.own(inputs), self.own(is_padding or {})
        check_inputs(own, own_padding, self._own_modalities)
        if any(name not in own for name in spans):
            raise ValueError(
                f"inputs: expected {', '.join(self.input_names)} in every call, as their groups are dealt once, got "
                f"{', '.join(inputs)}"
            )
        own_visible = {name: x for name, x in (visible or {}).items() if name in spans or name not in self.modalities}
        for name, span in spans.items():
            places = own_visible.get(name)
            if places is not None and places.shape[1:2] == (span.whole.num_groups,):
                own_visible[name] = places[:, span.groups]
        plan = GroupPlan(spans, is_pooled=False)
        check_visible(own_visible, plan, batch_size=next(iter(own.values())).shape[0])
        return self._encode(plan, own, own_padding, own_visible)

    def reconstruct(self, encoded: Encoded, latents: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Read the named modalities out of the latents: per modality (B, own M, C), all M of a label."""
        names = tuple(names)
        elsewhere = [name for name in self.input_names if name not in encoded.plan.spans]
        found = super().reconstruct(encoded, latents, [name for name in names if name not in elsewhere])
        # Nothing, but made of the latents: a backward pass must begin in every process.
        nothing = latents[:, :0, 0, :1].expand(-1, -1, self.config.embedding_channels)  # (B, 0, E)
        return {name: self.unembedding[name](nothing) if name in elsewhere else found[name] for name in names}

    def _encode_positions(self, name: str, x: Tensor) -> Tensor:
        positions, own = self.positions[name], self.own_tokens.get(name)
        if own is not None and isinstance(positions, NoPositions):
            return positions()[None, own]
        if own is not None and isinstance(positions, FourierPositions):
            return positions.of_tokens(own)[None]
        return super()._encode_positions(name, x)

    def _regroup(self, x: Tensor, index: int) -> Tensor:
        num_groups = self.config.blocks[index].num_groups
        if self._is_dealt(index):
            if not self._is_dealt(index - 1):
                return self._exchange.scatter(regroup(x, num_groups))
            return regroup(x, num_groups // self._exchange.num_ranks)
        return regroup(self._exchange.gather(x) if self._is_dealt(index - 1) else x, num_groups)

    def resize_positions(self, grids: Mapping[str, tuple[int, ...]]) -> None:
        """Refused: other grids have other groups."""
        raise ValueError(f"grids: expected to be changed before the groups are dealt to processes, got {dict(grids)}")

    # ------------------------------------------------------------------------------------------- training and saving

    def clip_gradients(self, max_norm: float) -> Tensor:
        """Scale the gradients so that the norm of all together is at most `max_norm`.

        Called by all processes. `torch.nn.utils.clip_grad_norm_` would see this process's share of the tables alone,
        and scale differently everywhere.

        Returns:
            The norm before, of the whole model.
        """
        own, alike = [], []
        for name, parameter in self.named_parameters():
            if parameter.grad is not None:
                (own if name in self._cut else alike).append(parameter.grad)
        squares = torch.nn.utils.get_total_norm(own).to(next(self.parameters())).square()
        dist.all_reduce(squares, group=self._exchange.group)
        norm = (squares + torch.nn.utils.get_total_norm(alike).to(squares).square()).sqrt()
        torch.nn.utils.clip_grads_with_norm_(self.parameters(), max_norm, norm)
        return norm

    def whole_model(self) -> HiP | None:
        """The equal model of one process, on the CPU of the first process; None in the others. Called by all."""
        exchange = self._exchange
        state = self.state_dict()
        for name, cut in self._cut.items():
            own = state[name]
            if exchange.rank > 0:
                if own.numel():
                    dist.send(own.contiguous(), group=exchange.group, group_dst=0)
                continue
            whole = torch.empty(max(rows.stop for rows in cut), *own.shape[1:], dtype=own.dtype)
            for rank, rows in enumerate(cut):
                part = own if rank == 0 else torch.empty_like(whole[rows], device=own.device)
                if rank > 0 and part.numel():
                    dist.recv(part, group=exchange.group, group_src=rank)
                whole[rows] = part.cpu()
            state[name] = whole
        if exchange.rank > 0:
            return None
        model = HiP(self.config, self.modalities).to(next(self.parameters()).dtype)
        model.load_state_dict(state)
        model.metadata = self.metadata
        return model.train(self.training)

    def save_pretrained(self, save_directory: str | Path, **settings: Any) -> str | None:  # type: ignore[override]
        """Write `whole_model` as `HiP.save_pretrained` does, from the first process. Called by all."""
        model = self.whole_model()
        return None if model is None else model.save_pretrained(save_directory, **settings)
