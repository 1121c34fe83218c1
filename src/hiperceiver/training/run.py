"""Train a task on data, and measure it: one call each."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.pytorch import Trainer

from hiperceiver.data.example import ExampleDataset
from hiperceiver.data.loading import eval_loader, train_loader
from hiperceiver.model import read_model
from hiperceiver.tasks.task import Task
from hiperceiver.training.checkpoints import RUN_KEY, CheckpointFiles, read_checkpoint
from hiperceiver.training.control import RunControl, RunFolder, save_model_folder
from hiperceiver.training.ema import AverageWeights
from hiperceiver.training.logs import BoardLogger, CsvLogger, SkippedExamples
from hiperceiver.training.measure import measure
from hiperceiver.training.module import TrainingModule
from hiperceiver.training.progress import make_display
from hiperceiver.training.quiet import quiet_lightning
from hiperceiver.training.schedule import RunClock
from hiperceiver.training.settings import Accelerator, Precision, TrainingSettings

_MAY_CHANGE = {
    "steps",
    "max_time",
    "compile",
    "validate_every",
    "log_every",
    "checkpoint_every",
    "checkpoint_every_seconds",
    "num_workers",
    "max_bad_share",
    "strict",
    "accelerator",
}
"""Settings that a resumed run may have otherwise: they do not alter what a training step computes. (The learning rate
follows the new length of the run, if that is changed.)"""

_MOST_WORKERS = 8


class Source(Protocol):
    """What training asks of data; the sources in `hiperceiver.data.sources` have it."""

    @property
    def splits(self) -> Mapping[str, ExampleDataset]:
        """Datasets by name: `train`, and `validation` if there is one."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a run came to."""

    metrics: dict[str, float]
    """Validation metrics of the weights in `model_folder`, the best; empty without a validation."""
    last_metrics: dict[str, float]
    """Metrics of the last validation: of the last weights, unless the run was interrupted."""
    best_step: int | None
    """Optimizer step of the weights in `model_folder`; None without a validation: they are the last."""
    steps: int
    """Optimizer steps of the whole run, its earlier parts included."""
    seconds: float
    """Time of the whole run, its earlier parts included."""
    loss: float | None
    """Mean training loss of the last row of the log."""
    run_folder: Path
    """Where everything of the run lies."""
    model_folder: Path
    """Saved model: the best weights by the task's metric, or the last ones without a validation."""
    is_interrupted: bool
    """Whether it was told to stop before its end; it can be resumed."""
    num_skipped: int
    """Unreadable examples met while training; `skipped.log` in the run folder names them."""


def check_run_folder(run_folder: str | Path, *, resume: bool) -> None:
    """Refuse a run folder that a new run would overwrite, or that holds nothing to resume.

    A new run may find `settings.yaml` there, which a command line writes before it starts the run.

    Raises:
        ValueError: one line saying which.
    """
    folder = RunFolder(Path(run_folder))
    if folder.path.exists() and not folder.path.is_dir():
        raise ValueError(f"run folder: expected a folder, got the file {folder.path}")
    if resume:
        if not folder.last_checkpoint.is_file():
            raise ValueError(f"run folder: {folder.path} has no checkpoints/last.ckpt to resume from")
    elif folder.path.exists() and any(each != folder.settings for each in folder.path.iterdir()):
        raise ValueError(
            f"run folder: {folder.path} is not empty; resume the run that it holds, or name another folder"
        )


def train(
    task: Task,
    source: Source,
    settings: TrainingSettings,
    run_folder: str | Path,
    *,
    resume: bool = False,
    show_progress: bool = True,
) -> TrainingResult:
    """Train a task. Afterwards it holds the weights that are in `model_folder`, in evaluation mode, on the CPU.

    The run folder gets `metrics.csv`, `tensorboard/`, `checkpoints/last.ckpt` and `best.ckpt`, `model/` (a saved
    model's folder) and, if there is need, `skipped.log`. SIGINT or SIGTERM ends the run after the step that is being
    done, with a checkpoint.

    Args:
        task: its model and head are trained in place. Its `encoders` and `classes` are saved with it.
        source: its split `train` is trained on, `validation` (if there is one) tells the best weights.
        settings: how.
        run_folder: where to; made if missing.
        resume: go on from the run folder's last checkpoint, exactly. Task, data and settings must be the same but for
            length, speed and logging.
        show_progress: a bar on a terminal, a line now and then elsewhere, on standard error.

    Raises:
        ValueError: a user's mistake, or training that cannot go on (`TrainingError`); one line.
    """
    check_run_folder(run_folder, resume=resume)
    folder = RunFolder(Path(run_folder))
    training_set, validation_set = _splits(source)
    identity = _identity(task, settings, training_set)
    resumed = None
    if resume:
        resumed = read_checkpoint(folder.last_checkpoint, is_mapped=True)[RUN_KEY]
        _check_same(folder.last_checkpoint, resumed["identity"], identity)
    clock = RunClock(
        steps=settings.steps,
        max_seconds=settings.max_seconds,
        earlier_seconds=0.0 if resumed is None else resumed["elapsed"],
    )
    step = 0 if resumed is None else resumed["step"]
    module = TrainingModule(task, settings, clock)
    workers = _num_workers(settings)
    batches = train_loader(
        training_set,
        batch_size=settings.batch_size,
        seed=settings.seed,
        num_workers=workers,
        start_batch=step * settings.accumulate,
    )
    average = AverageWeights(settings.ema) if settings.ema else None
    control = RunControl(
        folder,
        module,
        identity=identity,
        validation=None
        if validation_set is None
        else eval_loader(validation_set, batch_size=settings.batch_size, num_workers=workers),
        average=average,
        skipped=SkippedExamples(
            folder.skipped,
            max_share=settings.max_bad_share,
            strict=settings.strict,
            counts=(0, 0) if resumed is None else tuple(resumed["skipped"]),
        ),
        display=make_display(clock, step=step, is_shown=show_progress),
        resumed=resumed,
    )
    _make_folder(folder.path)
    with quiet_lightning(), control.interruptible():
        trainer = Trainer(
            accelerator=settings.accelerator,
            devices=1,
            precision="bf16-mixed" if settings.precision == "bf16" else "32-true",
            max_steps=-1 if settings.steps is None else settings.steps,
            max_epochs=-1,
            accumulate_grad_batches=settings.accumulate,
            callbacks=[control] if average is None else [average, control],
            logger=[
                CsvLogger(
                    folder.metrics,
                    last_step=None if resumed is None else step,
                    redo_validation=resumed is not None and resumed["is_validation_due"],
                ),
                BoardLogger(folder.tensorboard, last_step=None if resumed is None else step),
            ],
            plugins=[CheckpointFiles()],
            default_root_dir=folder.path,
            # What Lightning would do around the steps is done by RunControl.
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        module.train()
        try:
            trainer.fit(module, train_dataloaders=batches, ckpt_path=folder.last_checkpoint if resume else None)
        except SystemExit:  # how Lightning passes a KeyboardInterrupt on
            raise KeyboardInterrupt from None
    if control.best_step is None:
        with control.averaged():
            save_model_folder(folder.model, module)
    _load_weights(task, folder.model)
    return TrainingResult(
        metrics=control.best_metrics,
        last_metrics=control.last_metrics,
        best_step=control.best_step,
        steps=control.step,
        seconds=clock.elapsed,
        loss=control.loss,
        run_folder=folder.path,
        model_folder=folder.model,
        is_interrupted=control.is_interrupted,
        num_skipped=control.skipped.num_skipped,
    )


def evaluate(
    task: Task,
    dataset: ExampleDataset,
    *,
    batch_size: int = 32,
    num_workers: int = 0,
    precision: Precision = "32",
    accelerator: Accelerator = "auto",
) -> dict[str, float]:
    """Metrics of a task on one split of a source.

    Args:
        task: in evaluation mode afterwards, where it was before.
        dataset: the examples.
        batch_size: examples in a batch; the metrics do not depend on it.
        num_workers: processes that load data; 0: none.
        precision: "32" or "bf16".
        accelerator: kind of device; "auto": a GPU if there is one.

    Returns:
        The task's metrics by name, `num_examples` that were counted, and `num_skipped` that could not be read.

    Raises:
        ValueError: there is no readable example.
    """
    before = task.device
    task.eval().to(_device(accelerator))
    try:
        loader = eval_loader(dataset, batch_size=batch_size, num_workers=num_workers)
        measured = measure(task, loader, precision=precision)
    finally:
        task.to(before)
    assert measured is not None
    counts = {"num_examples": float(measured.num_examples), "num_skipped": float(len(measured.skipped))}
    return {**measured.metrics, **counts}


def _splits(source: Source) -> tuple[ExampleDataset, ExampleDataset | None]:
    if "train" not in source.splits or len(source.splits["train"]) == 0:
        raise ValueError(f"source: expected examples in a split 'train', got {', '.join(source.splits) or 'no split'}")
    validation = source.splits.get("validation")
    return source.splits["train"], validation if validation is not None and len(validation) > 0 else None


def _identity(task: Task, settings: TrainingSettings, training_set: ExampleDataset) -> dict[str, str]:
    """What must be the same when a run is resumed: name -> JSON."""
    values: dict[str, Any] = {"task": task.settings(), "model": type(task.model).__name__}
    values |= {f"model.{name}": value for name, value in task.model.config.to_dict().items()}
    values |= {f"modality {name!r}": each.to_dict() for name, each in task.model.modalities.items()}
    values["number of training examples"] = len(training_set)
    values["trained weights"] = [name for name, weight in task.named_parameters() if weight.requires_grad]
    values |= {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.name not in _MAY_CHANGE
    }
    return {name: json.dumps(value, default=str) for name, value in values.items()}


def _check_same(checkpoint: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            was, came = (values.get(name, "none") for values in (before, now))
            shown = f"expected {was}, got {came}" if len(was) + len(came) < 200 else "it is another one now"
            raise ValueError(f"{name}: {shown}; a run is resumed as it was begun, see {checkpoint}")


def _num_workers(settings: TrainingSettings) -> int:
    if settings.num_workers is not None:
        return settings.num_workers
    if _device(settings.accelerator).type == "cpu":
        return 0
    return min(_MOST_WORKERS, max(0, (os.cpu_count() or 1) - 1))


def _device(accelerator: Accelerator) -> torch.device:
    if accelerator == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return torch.device("cpu") if found is None else found
    name = {"gpu": "cuda"}.get(accelerator, accelerator)
    is_there = {"cpu": lambda: True, "cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}[name]
    if not is_there():
        raise ValueError(f"accelerator: this machine has no {accelerator}")
    return torch.device(name)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"run folder: {path} cannot be made ({error.strerror})") from None


def _load_weights(task: Task, folder: Path) -> None:
    """What was saved, back into the task."""
    saved = read_model(folder)
    task.model.load_state_dict(saved.weights)
    task.head.load_state_dict(saved.head)
    task.eval()
