"""What may come in a call: refusals of one line that name the argument, what was expected and what came."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hiperceiver.modality import Modality
from hiperceiver.model.grouping import GroupPlan


def check_inputs(
    inputs: Mapping[str, Tensor], is_padding: Mapping[str, Tensor], modalities: Mapping[str, Modality]
) -> None:
    """Refuse what the declared modalities do not allow: names, shapes, types, or no input at all."""
    if not isinstance(inputs, Mapping):
        raise ValueError(f"inputs: expected a tensor for each modality by name, got {type(inputs).__name__}")
    signals = [name for name, modality in modalities.items() if modality.role == "input"]
    if not any(name in signals for name in inputs):
        raise ValueError(f"inputs: expected at least one of {', '.join(signals)}, got {list(inputs)}")
    batch_size = None
    for name, x in inputs.items():
        if name not in modalities:
            raise ValueError(f"inputs: expected modalities among {', '.join(modalities)}, got {name!r}")
        modality = modalities[name]
        if not isinstance(x, Tensor):
            raise ValueError(f"inputs: expected a tensor for {name!r}, got {type(x).__name__}")
        if x.ndim != 3 or x.shape[1:] != (modality.num_tokens, modality.channels):
            raise ValueError(
                f"inputs: expected (batch, {modality.num_tokens}, {modality.channels}) for {name!r} with grid "
                f"{modality.grid}, got {tuple(x.shape)}"
            )
        if not x.is_floating_point():
            raise ValueError(f"inputs: expected floating-point values for {name!r}, got {x.dtype}")
        batch_size = x.shape[0] if batch_size is None else batch_size
        if x.shape[0] != batch_size:
            raise ValueError(f"inputs: expected batch size {batch_size} for {name!r}, got {x.shape[0]}")
    for name, mask in is_padding.items():
        if name not in inputs:
            raise ValueError(f"is_padding: expected names among the inputs {', '.join(inputs)}, got {name!r}")
        if mask.dtype != torch.bool or mask.shape != inputs[name].shape[:2]:
            raise ValueError(
                f"is_padding: expected bool {tuple(inputs[name].shape[:2])} for {name!r}, got {mask.dtype} "
                f"{tuple(mask.shape)}"
            )


def check_visible(visible: Mapping[str, Tensor], plan: GroupPlan, *, batch_size: int) -> None:
    """Refuse places that do not fit the plan's groups."""
    if not visible:
        return
    if set(visible) != set(plan.spans):
        raise ValueError(f"visible: expected places for {', '.join(plan.spans)}, got {', '.join(visible)}")
    for name, span in plan.spans.items():
        shape = tuple(visible[name].shape)
        is_fitting = len(shape) == 3 and shape[0] == batch_size and shape[1] in (1, span.num_groups)
        if not is_fitting or visible[name].dtype != torch.int64:
            raise ValueError(
                f"visible: expected int64 ({batch_size}, {span.num_groups} or 1, places) for {name!r}, got "
                f"{visible[name].dtype} {shape}"
            )
    if not plan.is_pooled and len({visible[name].shape[2] for name in plan.spans}) > 1:
        counts = {name: visible[name].shape[2] for name in plan.spans}
        raise ValueError(f"visible: expected as many places in every group, got {counts}")
