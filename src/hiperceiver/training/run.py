"""Train a task on data, and measure it: one call each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hiperceiver.tasks.task import Task
from hiperceiver.training.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a run came to."""

    metrics: dict[str, float]
    """Validation metrics of the weights in `model_folder`, the best; empty without validation data."""
    last_metrics: dict[str, float]
    """Validation metrics of the last weights."""
    best_step: int | None
    """Optimizer step of the weights in `model_folder`; None without validation data."""
    steps: int
    """Optimizer steps of the whole run, earlier parts included."""
    seconds: float
    """Time of the whole run, earlier parts included."""
    run_folder: Path
    """Where everything of the run lies."""
    model_folder: Path
    """Saved model: the best weights by the task's metric, or the last ones without validation data."""
    is_interrupted: bool = False
    """Whether it was told to stop before its end; it can be resumed."""
    num_skipped: int = 0
    """Unreadable examples met while training; `skipped.log` in the run folder names them."""
    loss: float | None = None
    """Mean training loss of the last logged steps."""
    history: tuple[dict[str, Any], ...] = field(default=(), repr=False)


def check_run_folder(run_folder: str | Path, *, resume: bool) -> None:
    """Refuse a run folder that a new run would overwrite, or that holds nothing to resume.

    Raises:
        ValueError: without `resume`, the folder holds something other than settings.yaml; with it, no checkpoint.
    """
    raise NotImplementedError


def train(
    task: Task,
    source: Any,
    settings: TrainingSettings,
    run_folder: str | Path,
    *,
    resume: bool = False,
    show_progress: bool = True,
) -> TrainingResult:
    """Train a task. Afterwards it holds the weights in `model_folder`, in evaluation mode.

    Args:
        task: its model and head are trained in place.
        source: anything with `.splits` ("train", and "validation" if there is one), `.encoders` and `.classes`.
        settings: how.
        run_folder: where to; made if missing.
        resume: go on from the run folder's last checkpoint, exactly.
        show_progress: a bar on a terminal, a line now and then elsewhere.

    Raises:
        ValueError: a user's mistake, or training that cannot go on; one line.
    """
    raise NotImplementedError


def evaluate(
    task: Task,
    dataset: Any,
    *,
    batch_size: int = 32,
    num_workers: int = 0,
    precision: str = "32",
    accelerator: str = "auto",
    seed: int = 0,
    show_progress: bool = False,
) -> dict[str, float]:
    """Metrics of a task on a dataset (one split of a source), with `num_examples` and `num_skipped`."""
    raise NotImplementedError
