"""What each part of a model costs: parameters, operations and memory, measured without computing anything.

The model is built and run on PyTorch's meta device, where tensors have shapes but no values.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from hiperceiver.modality import Modality
from hiperceiver.model.hip import HiP
from hiperceiver.model.layers import PerceiverBlock
from hiperceiver.model.variants import build_model
from hiperceiver.settings.model import PerceiverConfig


@dataclass(frozen=True, kw_only=True)
class StageSummary:
    """One stage of a model in one training step."""

    name: str  # `embedding`, `encoder 1`, ..., `processor`, `decoder 1`, ..., `readout`, `label readout`.
    num_groups: int  # groups, G; the group that labels make at the bottleneck is not counted
    tokens_per_group: int
    """Tokens (for later blocks: latents of the block before) in each group, padding included. In a readout: queries."""
    num_latents: int | None  # latents of each group, N; None outside the blocks
    num_channels: int  # channels of its latents, D; outside the blocks of its tokens
    num_parameters: int
    """Parameters that belong to it. The embedding owns the positions; a readout owns the unembeddings after it."""
    flops: int
    """Floating-point operations of its forward pass, for the whole batch. A multiply-add is two; only matrix products
    and attention count. A backward pass takes about twice as many."""
    activation_bytes: int  # memory that it keeps for the backward pass, for the whole batch, in bytes


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """What a model costs in one training step, stage by stage."""

    stages: tuple[StageSummary, ...]  # from the embedding to the readout
    batch_size: int  # examples in the step, B
    mask_ratio: float  # share of the slots of each group that the encoder does not see

    @property
    def num_parameters(self) -> int:
        """All parameters of the model."""
        return sum(stage.num_parameters for stage in self.stages)

    @property
    def flops(self) -> int:
        """Floating-point operations of one forward pass of the whole batch."""
        return sum(stage.flops for stage in self.stages)

    @property
    def activation_bytes(self) -> int:
        """Memory kept for the backward pass of the whole batch, in bytes, float32."""
        return sum(stage.activation_bytes for stage in self.stages)


def summarise(
    model: HiP | PerceiverConfig,
    modalities: Mapping[str, Modality] | None = None,
    *,
    batch_size: int = 1,
    mask_ratio: float = 0.0,
) -> ModelSummary:
    """Measure what each stage of a model, or of a config and its modalities, costs in one training step in float32.

    All modalities are given. Attention is counted as fused kernels do it, which keep no attention matrix. The batch is
    part of the activation memory; parameters, their gradients and the optimizer's state are not.

    Args:
        model: a model, or the config of one.
        modalities: by name; not needed with a model.
        batch_size: examples in the step, B.
        mask_ratio: share of the slots of each group that the encoder does not see, from 0 to below 1.

    >>> from hiperceiver import Modality
    >>> from hiperceiver.model import variant_config
    >>> summary = summarise(variant_config("hip-256"), {"image": Modality(grid=(2048, 2048), channels=3)})
    >>> [stage.name for stage in summary.stages][:3]
    ['embedding', 'encoder 1', 'encoder 2']
    >>> summary.stages[0].tokens_per_group
    16384
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: expected a whole number >= 1, got {batch_size}")
    if not 0 <= mask_ratio < 1:
        raise ValueError(f"mask_ratio: expected a number from 0 to below 1, got {mask_ratio}")
    if isinstance(model, HiP):
        model, modalities = model.config, model.modalities if modalities is None else modalities
    if modalities is None:
        raise ValueError("modalities: expected the input modalities of a config, got None")
    with torch.device("meta"):
        measured = build_model(model, modalities).train()
        inputs = {name: torch.zeros(batch_size, m.num_tokens, m.channels) for name, m in modalities.items()}
        plan = measured.plan({name: modalities[name].num_tokens for name in measured.input_names})
        num_visible = {name: max(1, round(span.num_slots * (1 - mask_ratio))) for name, span in plan.spans.items()}
        visible = {name: torch.zeros(batch_size, 1, k, dtype=torch.int64) for name, k in num_visible.items()}
        meter = _Meter(measured)
        with meter.measuring():
            measured(inputs, visible=visible if mask_ratio else None)

    groups = 1 if plan.is_pooled else sum(span.num_groups for span in plan.spans.values())
    tokens_of = sum if plan.is_pooled else max
    num_slots = tokens_of(span.num_slots for span in plan.spans.values())
    width = measured.config.embedding_channels
    shapes: dict[str, tuple[Any, ...]] = {"embedding": (groups, tokens_of(num_visible.values()), None, width)}
    for name, (before, after) in meter.block_shapes.items():
        shapes[name] = (*(shapes["embedding"][:2] if before is None else before[1:3]), *after[2:])
    shapes["readout"] = (groups, num_slots, None, width)
    if measured.label_readout is not None:
        label_width = measured.label_readout.query_norm.weight.shape[0]
        num_tokens = sum(modalities[name].num_tokens for name in measured.label_names)
        shapes["label readout"] = (1, num_tokens, None, label_width)
    columns = ("num_groups", "tokens_per_group", "num_latents", "num_channels")
    sizes = {name: dict(zip(columns, shape, strict=True)) for name, shape in shapes.items()}
    stages = tuple(StageSummary(name=name, **size, **meter.costs[name]) for name, size in sizes.items())
    return ModelSummary(stages=stages, batch_size=batch_size, mask_ratio=mask_ratio)


def count_parameters(config: PerceiverConfig, modalities: Mapping[str, Modality]) -> int:
    """Parameters of the model that a config makes, without making them.

    >>> from hiperceiver import Modality
    >>> from hiperceiver.model import variant_config
    >>> count_parameters(variant_config("hip-16"), {"image": Modality(grid=(224, 224), channels=3)})
    100787939
    """
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_model(config, modalities).parameters())


class _Meter:
    """Books parameters, operations and kept memory to the stage of the innermost module that runs, or ran last."""

    def __init__(self, model: HiP):
        stages: dict[str, list[nn.Module]] = {"embedding": [*model.embedding.values(), *model.positions.values()]}
        stages |= {name: [block] for name, block in zip(model.block_names, model.blocks, strict=True)}
        stages["readout"] = [model.readout, *(model.unembedding[name] for name in model.input_names)]
        if model.label_readout is not None:
            unembeddings = (model.unembedding[name] for name in model.label_names)
            stages["label readout"] = [model.label_readout, *unembeddings]
        self.costs: dict[str, dict[str, int]] = {}
        for name, modules in stages.items():
            count = sum(p.numel() for module in modules for p in module.parameters())
            self.costs[name] = {"num_parameters": count, "flops": 0, "activation_bytes": 0}
        # Of its input and its output; the first block of a HiP embeds its tokens itself.
        self.block_shapes: dict[str, tuple[tuple[int, ...] | None, tuple[int, ...]]] = {}
        self._stage_of = {module: name for name, modules in stages.items() for module in modules}
        self._stage = "embedding"
        self._running: list[str] = []
        self._counter = FlopCounterMode(display=False)
        self._flops_before = 0
        # Storages, held so that none is freed and its address given to another.
        self._kept = {p.untyped_storage()._cdata: p.untyped_storage() for p in model.parameters()}

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure what runs inside."""
        with ExitStack() as stack:
            for module in self._stage_of:
                stack.enter_context(module.register_forward_pre_hook(self._begin))
                stack.enter_context(module.register_forward_hook(self._end))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(self._keep, lambda x: x))
            stack.enter_context(_FusedAttention())
            stack.enter_context(self._counter)
            yield
            self._book()

    def _begin(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        self._book()
        self._stage = self._stage_of[module]
        self._running.append(self._stage)

    def _end(self, module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        self._book()
        name = self._running.pop()
        self._stage = self._running[-1] if self._running else name
        if isinstance(module, PerceiverBlock):
            tokens = arguments[0]
            self.block_shapes[name] = None if tokens is None else tuple(tokens.shape), tuple(output.shape)

    def _book(self) -> None:
        total = self._counter.get_total_flops()
        self.costs[self._stage]["flops"] += total - self._flops_before
        self._flops_before = total

    def _keep(self, x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage._cdata not in self._kept:
            self._kept[storage._cdata] = storage
            self.costs[self._stage]["activation_bytes"] += storage.nbytes()
        return x


class _FusedAttention(TorchFunctionMode):
    """On the meta device attention falls apart into products and a softmax; this keeps it whole, as on a CPU or GPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        queries, keys, values = args
        bias = kwargs.get("attn_mask")
        if bias is not None:
            bias = bias.expand(*queries.shape[:3], keys.shape[2])
        scale = kwargs.get("scale")
        return torch.ops.aten._scaled_dot_product_efficient_attention(queries, keys, values, bias, True, scale=scale)[0]
