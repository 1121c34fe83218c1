"""The targets of a batch, checked."""

import torch
from torch import Tensor

from hiperceiver.modality import Batch

IGNORE = -100  # the class of an example or token without a label


def find_classes(batch: Batch, name: str, shape: tuple[int, ...], num_classes: int) -> Tensor:
    """A target of class indices: int64 of the given shape, 0 to K - 1 or -100 = no label."""
    target = _find(batch, name)
    if target.dtype != torch.int64 or tuple(target.shape) != shape:
        raise ValueError(f"targets: expected int64 {shape} for {name!r}, got {target.dtype} {tuple(target.shape)}")
    if _can_check_values(target):
        wrong = target[(target != IGNORE) & ((target < 0) | (target >= num_classes))]
        if len(wrong):
            raise ValueError(f"targets: expected {name!r} from 0 to {num_classes - 1} or {IGNORE}, got {int(wrong[0])}")
    return target


def find_numbers(batch: Batch, name: str, shape: tuple[int, ...]) -> Tensor:
    """A target of numbers: float32 of the given shape, finite or NaN = unknown."""
    target = _find(batch, name)
    if not target.is_floating_point() or tuple(target.shape) != shape:
        raise ValueError(f"targets: expected float32 {shape} for {name!r}, got {target.dtype} {tuple(target.shape)}")
    target = target.float()  # half precision converts whole batches
    if _can_check_values(target) and target.isinf().any():
        raise ValueError(f"targets: expected finite numbers or NaN for {name!r}, got infinity")
    return target


def find_label_set(batch: Batch, name: str, shape: tuple[int, ...]) -> Tensor:
    """A target of yes or no: float32 of the given shape, 0, 1 or NaN = unknown."""
    target = find_numbers(batch, name, shape)
    if _can_check_values(target):
        wrong = target[(target != 0) & (target != 1) & ~target.isnan()]
        if len(wrong):
            raise ValueError(f"targets: expected 0, 1 or NaN for {name!r}, got {wrong[0].item():g}")
    return target


def find_weights(batch: Batch) -> Tensor | None:
    """The weight of each example in the loss, float32 (B,), at least 0; None: all count the same."""
    if "weight" not in batch.targets:
        return None
    weight = find_numbers(batch, "weight", (len(batch),))
    if _can_check_values(weight) and not (weight >= 0).all():
        raise ValueError(f"targets: expected numbers >= 0 for 'weight', got {weight.min():g}")
    return weight


def is_known(target: Tensor) -> Tensor:
    """Which targets are there, of a `find_*` function's: bool of the same shape."""
    return ~target.isnan() if target.is_floating_point() else target != IGNORE


def _find(batch: Batch, name: str) -> Tensor:
    if name not in batch.targets:
        raise ValueError(f"targets: expected {name!r} in the batch, got {', '.join(batch.targets) or 'none'}")
    return batch.targets[name]


def _can_check_values(target: Tensor) -> bool:
    """Not on a GPU, which would have to wait; there the loss kernel stops on a wrong class."""
    return target.device.type == "cpu" and not torch.compiler.is_compiling()
