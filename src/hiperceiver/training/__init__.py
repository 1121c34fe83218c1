"""Training a task: the loop, optimizer and schedule, checkpoints, resuming and fine-tuning."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hiperceiver.settings.run import TrainingSettings, format_duration, parse_duration
    from hiperceiver.training.evaluation import evaluate
    from hiperceiver.training.finetune import start_from
    from hiperceiver.training.folder import check_run_folder
    from hiperceiver.training.randomness import seed_everything
    from hiperceiver.training.run import TrainingResult, train

_HOMES = {
    **dict.fromkeys(("TrainingResult", "train"), "hiperceiver.training.run"),
    **dict.fromkeys(("TrainingSettings", "format_duration", "parse_duration"), "hiperceiver.settings.run"),
    "check_run_folder": "hiperceiver.training.folder",
    "evaluate": "hiperceiver.training.evaluation",
    "seed_everything": "hiperceiver.training.randomness",
    "start_from": "hiperceiver.training.finetune",
}
"""Public name -> its module. The settings and the check of a folder must be there without loading PyTorch."""

__all__ = [
    "TrainingResult",
    "TrainingSettings",
    "check_run_folder",
    "evaluate",
    "format_duration",
    "parse_duration",
    "seed_everything",
    "start_from",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
