"""Training: Lightning around a task, with optimizer, schedule, checkpoints, resuming and fine-tuning."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hiperceiver.training.run import TrainingResult, check_run_folder, evaluate, train
    from hiperceiver.training.settings import TrainingSettings, format_duration, parse_duration

_HOMES = {
    "TrainingResult": "hiperceiver.training.run",
    "TrainingSettings": "hiperceiver.training.settings",
    "check_run_folder": "hiperceiver.training.run",
    "evaluate": "hiperceiver.training.run",
    "format_duration": "hiperceiver.training.settings",
    "parse_duration": "hiperceiver.training.settings",
    "train": "hiperceiver.training.run",
}
"""Public name -> the module that it lives in. The settings must be had without loading PyTorch."""

__all__ = [
    "TrainingResult",
    "TrainingSettings",
    "check_run_folder",
    "evaluate",
    "format_duration",
    "parse_duration",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
