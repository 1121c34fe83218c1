"""Training a task: the loop, optimizer and schedule, checkpoints, resuming and fine-tuning."""

from typing import TYPE_CHECKING, Any

from hiperceiver.extras import import_part
from hiperceiver.settings.run import TrainingSettings, format_duration, parse_duration
from hiperceiver.training.folder import check_run_folder

if TYPE_CHECKING:
    from hiperceiver.training.evaluation import evaluate
    from hiperceiver.training.finetune import start_from
    from hiperceiver.training.randomness import seed_everything
    from hiperceiver.training.run import TrainingResult, train

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
    """What needs PyTorch is loaded when it is first used."""
    homes = {"evaluate": "evaluation", "seed_everything": "randomness", "start_from": "finetune"}
    homes |= dict.fromkeys(("TrainingResult", "train"), "run")
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_part(f"hiperceiver.training.{homes[name]}"), name)
    return value
