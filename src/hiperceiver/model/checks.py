"""Refusals of what a model cannot take: the argument, what was expected, and what came."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from hiperceiver.modality import Modality
from hiperceiver.model.grouping import GroupPlan
from hiperceiver.settings.model import PerceiverConfig


def check_model(
    config: PerceiverConfig, config_class: type[PerceiverConfig], modalities: Mapping[str, Modality]
) -> None:
    """Refuse a config of another class, and modalities that the config cannot serve."""
    if not isinstance(config, config_class):
        raise ValueError(f"config: expected {config_class.__name__}, got {type(config).__name__}")
    for name, modality in modalities.items():
        if not isinstance(modality, Modality):
            raise ValueError(f"modalities: expected a Modality for {name!r}, got {type(modality).__name__}")
        if not isinstance(name, str) or not name or "." in name or hasattr(nn.ModuleDict(), name):
            raise ValueError(f"modalities: {name!r} cannot be a name; use another word, without dots")
    if not any(modality.role == "input" for modality in modalities.values()):
        raise ValueError("modalities: expected at least one of role 'input', got none")
    if config.positions == "coordinate" and not any(m.num_coordinates for m in modalities.values()):
        raise ValueError("modalities: expected one with num_coordinates > 0 for positions='coordinate', got none")


def check_names(argument: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a name that is not among the known ones."""
    for name in names:
        if name not in (known := tuple(known)):
            raise ValueError(f"{argument}: expected names among {', '.join(known)}, got {name!r}")


def check_inputs(
    inputs: Mapping[str, Tensor],
    is_padding: Mapping[str, Tensor],
    modalities: Mapping[str, Modality],
    weight: Tensor,
) -> None:
    """Refuse what the modalities do not allow: names, shapes, other types and devices than a weight's, no input."""
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
        if x.layout != torch.strided or x.device != weight.device:
            layout = "" if x.layout == torch.strided else f" of layout {x.layout}"
            raise ValueError(f"inputs: expected a dense tensor on {weight.device} for {name!r}, got {x.device}{layout}")
        # Categories are looked up, whatever their type.
        if x.dtype != weight.dtype and not modality.num_categories and not _is_cast(x):
            raise ValueError(f"inputs: expected {weight.dtype} for {name!r}, as the model's weights are, got {x.dtype}")
        if modality.num_categories and x.numel() and x.device.type == "cpu" and not torch.compiler.is_compiling():
            low, high = (float(each) for each in x.aminmax())  # a GPU would be waited for
            if not (low >= 0 and high <= modality.num_categories):
                raise ValueError(
                    f"inputs: expected categories 1 to {modality.num_categories}, or 0 for none, for {name!r}, "
                    f"got {low:g} to {high:g}"
                )
        batch_size = x.shape[0] if batch_size is None else batch_size
        if x.shape[0] != batch_size:
            raise ValueError(f"inputs: expected batch size {batch_size} for {name!r}, got {x.shape[0]}")
    if not isinstance(is_padding, Mapping):
        raise ValueError(f"is_padding: expected a mask for each modality by name, got {type(is_padding).__name__}")
    for name, mask in is_padding.items():
        if not isinstance(mask, Tensor):
            raise ValueError(f"is_padding: expected a tensor for {name!r}, got {type(mask).__name__}")
        if name not in inputs:
            raise ValueError(f"is_padding: expected names among the inputs {', '.join(inputs)}, got {name!r}")
        shape, expected = tuple(mask.shape), tuple(inputs[name].shape[:2])
        if mask.dtype != torch.bool or shape != expected:
            raise ValueError(f"is_padding: expected bool {expected} for {name!r}, got {mask.dtype} {shape}")


def _is_cast(x: Tensor) -> bool:
    """Whether autocast brings a tensor to its own type."""
    return x.dtype != torch.float64 and x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)


def check_visible(visible: Mapping[str, Tensor], plan: GroupPlan, *, batch_size: int) -> None:
    """Refuse visible slots that do not fit the plan's groups."""
    if not isinstance(visible, Mapping):
        raise ValueError(f"visible: expected slots for each modality by name, got {type(visible).__name__}")
    if not visible:
        return
    if set(visible) != set(plan.spans):
        raise ValueError(f"visible: expected slots for {', '.join(plan.spans)}, got {', '.join(visible)}")
    for name, span in plan.spans.items():
        if not isinstance(visible[name], Tensor):
            raise ValueError(f"visible: expected a tensor for {name!r}, got {type(visible[name]).__name__}")
        shape, dtype = tuple(visible[name].shape), visible[name].dtype
        is_fitting = len(shape) == 3 and shape[0] == batch_size and shape[1] in (1, span.num_groups)
        if not is_fitting or dtype != torch.int64:
            expected = f"int64 ({batch_size}, {span.num_groups} or 1, slots)"
            raise ValueError(f"visible: expected {expected} for {name!r}, got {dtype} {shape}")
    counts = {name: visible[name].shape[2] for name in plan.spans}
    if not plan.is_pooled and len(set(counts.values())) > 1:
        raise ValueError(f"visible: expected as many slots in every group, got {counts}")
