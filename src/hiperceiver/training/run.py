"""Train a task on data, and measure it: one call each."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.pytorch import Trainer

from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.example import ExampleDataset
from hiperceiver.data.loading import eval_loader, train_loader
from hiperceiver.data.streamed import StreamedExamples
from hiperceiver.modality import Modality
from hiperceiver.model import read_model
from hiperceiver.settings.run import TrainingSettings
from hiperceiver.tasks.task import Task
from hiperceiver.training.checkpoints import RUN_KEY, CheckpointFiles, read_checkpoint
from hiperceiver.training.control import RunControl
from hiperceiver.training.ema import AverageWeights
from hiperceiver.training.evaluation import evaluate, find_device
from hiperceiver.training.folder import RunFolder, check_run_folder
from hiperceiver.training.launch import Place, find_place
from hiperceiver.training.logs import ENOUGH_TO_JUDGE, BoardLogger, CsvLogger, SkippedExamples
from hiperceiver.training.memory import keep_freed_memory
from hiperceiver.training.module import TrainingModule
from hiperceiver.training.processes import Processes
from hiperceiver.training.progress import make_display
from hiperceiver.training.quiet import quiet_lightning
from hiperceiver.training.schedule import RunClock
from hiperceiver.training.strategies import (
    ShardedModule,
    ShareWeights,
    make_environment,
    make_strategy,
    whole_from_parts,
    whole_in_place,
)

__all__ = ["Source", "TrainingResult", "check_run_folder", "evaluate", "train"]

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
    "devices",
    "num_nodes",
    "strategy",
}
"""Settings that a resumed run may have otherwise: they do not alter what a training step computes. (The learning rate
follows the new length of the run, if that is changed.)"""

_MOST_WORKERS = 8


class Source(Protocol):
    """What training asks of data; the sources in `hiperceiver.data.sources` have it."""

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """What an example holds, by name."""
        ...

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """How raw values become tokens, by modality."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """Names of the labels; empty where there are none."""
        ...

    @property
    def splits(self) -> Mapping[str, Any]:
        """By name: `train`, an `ExampleDataset` or `StreamedExamples`, and `validation`, a dataset, if there is one."""
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

    With several devices (`devices`, `num_nodes`, torchrun or SLURM) every process calls this with the same arguments
    and a run folder that all can read; Lightning starts them by the command of this one if nobody else did. Weights and
    metrics are those of one process with the same batches, but for what is random: masks, dropout and mixing are drawn
    anew in each process, and order and augmentation of the data are not.

    Args:
        task: its model and head are trained in place. It gets the source's encoders and class names, saved with it.
        source: its split `train` is trained on, `validation` (if there is one) tells the best weights.
        settings: how.
        run_folder: where to; made if missing.
        resume: go on from the run folder's last checkpoint, exactly. Task, data and settings must be the same but for
            length, speed and logging.
        show_progress: a bar on a terminal, a line now and then elsewhere, on standard error.

    Raises:
        ValueError: a user's mistake, or training that cannot go on (`TrainingError`); one line.
    """
    place = find_place(settings.devices, settings.num_nodes)
    processes = Processes(place)
    if processes.is_first:
        check_run_folder(run_folder, resume=resume)
    folder = RunFolder(Path(run_folder))
    device = find_device(settings.accelerator)
    _check_sharing(settings, place, device)
    training_set, validation_set = _splits(source)
    _fit_to_source(task, source)
    identity = _identity(task, settings, training_set, place)
    resumed = None
    if resume:
        resumed = read_checkpoint(folder.last_checkpoint, is_mapped=True)[RUN_KEY]
        _check_same(folder.last_checkpoint, resumed["identity"], identity)
    if processes.is_first:
        _make_folder(folder, is_new=not resume)
    clock = RunClock(
        steps=settings.steps,
        max_seconds=settings.max_seconds,
        earlier_seconds=0.0 if resumed is None else resumed["elapsed"],
    )
    step = 0 if resumed is None else resumed["step"]
    workers = choose_num_workers(device, place) if settings.num_workers is None else settings.num_workers
    batch_size = settings.batch_size // place.num_ranks
    batches = train_loader(
        training_set,
        batch_size=batch_size,
        seed=settings.seed,
        num_workers=workers,
        start_batch=step * settings.accumulate,
        rank=place.rank,
        num_ranks=place.num_ranks,
    )
    average = AverageWeights(settings.ema) if settings.ema else None
    if place.num_ranks > 1 and settings.strategy == "fsdp":
        module = ShardedModule(copy.deepcopy(task), settings, clock, num_ranks=place.num_ranks)
        whole = whole_from_parts(task, module, processes)
    else:
        module = TrainingModule(task, settings, clock, num_ranks=place.num_ranks)
        whole = whole_in_place(module, average, processes)
    sharing = None
    if not processes.is_alone:
        few = train_loader(training_set, batch_size=1, seed=settings.seed, num_batches=ENOUGH_TO_JUDGE)
        sharing = ShareWeights(module, processes, few)
    control = RunControl(
        folder,
        module,
        processes=processes,
        whole=whole,
        identity=identity,
        validation=None
        if validation_set is None
        else eval_loader(validation_set, batch_size=batch_size, num_workers=workers),
        skipped=SkippedExamples(
            folder.skipped,
            max_share=settings.max_bad_share,
            strict=settings.strict,
            enough=ENOUGH_TO_JUDGE
            if isinstance(training_set, StreamedExamples)
            else min(ENOUGH_TO_JUDGE, len(training_set)),
            counts=(0, 0) if resumed is None else tuple(resumed["skipped"]),
            is_written=processes.is_first,
        ),
        display=make_display(clock, step=step, is_shown=show_progress and processes.is_first),
        resumed=resumed,
    )
    keep_freed_memory()
    with quiet_lightning(), control.interruptible():
        trainer = Trainer(
            accelerator=settings.accelerator,
            devices=place.devices,
            num_nodes=place.num_nodes,
            strategy=make_strategy(settings, place),
            precision="bf16-mixed" if settings.precision == "bf16" else "32-true",
            max_steps=-1 if settings.steps is None else settings.steps,
            max_epochs=-1,
            accumulate_grad_batches=settings.accumulate,
            callbacks=[each for each in (sharing, average, control) if each is not None],
            logger=[
                CsvLogger(
                    folder.metrics,
                    last_step=None if resumed is None else step,
                    redo_validation=resumed is not None and resumed["is_validation_due"],
                ),
                BoardLogger(folder.tensorboard, last_step=None if resumed is None else step),
            ]
            if processes.is_first
            else False,
            plugins=[CheckpointFiles(), make_environment(place)],
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
            processes.close()
        except BaseException as error:
            if isinstance(error, SystemExit):  # how Lightning passes a KeyboardInterrupt on
                error = KeyboardInterrupt()
            told = processes.failed(error)
            if processes.is_first and not folder.last_checkpoint.exists():
                _remove_traces(folder)
            if told is error and not isinstance(error, KeyboardInterrupt):
                raise
            raise told from None
        finally:
            if sharing is not None:
                sharing.thaw()
    _load_weights(task, control.folder.model)
    return TrainingResult(
        metrics=control.best_metrics,
        last_metrics=control.last_metrics,
        best_step=control.best_step,
        steps=control.step,
        seconds=clock.elapsed,
        loss=control.loss,
        run_folder=control.folder.path,
        model_folder=control.folder.model,
        is_interrupted=control.is_interrupted,
        num_skipped=control.skipped.num_skipped,
    )


def _check_sharing(settings: TrainingSettings, place: Place, device: torch.device) -> None:
    """Refuse what processes cannot do together."""
    count = place.num_ranks
    if count == 1 and settings.strategy != "auto":
        raise ValueError(f"devices: expected several for the strategy {settings.strategy}, got 1")
    if settings.batch_size % count:
        raise ValueError(f"batch_size: expected a multiple of {count}, the processes, got {settings.batch_size}")
    if settings.strategy == "fsdp" and settings.ema:
        raise ValueError(f"ema: expected 0 with the strategy fsdp, got {settings.ema}")
    if settings.strategy == "fsdp" and settings.compile:
        raise ValueError("compile: expected false with the strategy fsdp, got true")
    if device.type == "mps" and count > 1:
        raise ValueError(f"devices: expected 1 of the kind mps, got {count}")
    if device.type == "cuda" and place.devices > torch.cuda.device_count():
        raise ValueError(f"devices: expected at most {torch.cuda.device_count()}, got {place.devices}")


def _splits(source: Source) -> tuple[ExampleDataset | StreamedExamples, ExampleDataset | None]:
    train = source.splits.get("train")
    if train is None or (not isinstance(train, StreamedExamples) and len(train) == 0):
        raise ValueError(f"source: expected examples in a split 'train', got {', '.join(source.splits) or 'no split'}")
    validation = source.splits.get("validation")
    return train, validation if validation is not None and len(validation) > 0 else None


def _fit_to_source(task: Task, source: Source) -> None:
    """Refuse a source that the task's model was not made for; give the task what is saved with it."""
    for name, modality in source.modalities.items():
        known = task.model.modalities.get(name)
        if known is None:
            raise ValueError(f"source: expected modalities among {', '.join(task.model.modalities)}, got {name!r}")
        if (known.grid, known.channels) != (modality.grid, modality.channels):
            raise ValueError(
                f"source: expected {name!r} with grid {known.grid} and {known.channels} channels, as the model has it, "
                f"got {modality.grid} and {modality.channels}"
            )
    classes = tuple(source.classes)
    num_classes = getattr(task.config, "num_classes", len(classes))
    if classes and len(classes) != num_classes:
        raise ValueError(f"source: expected {num_classes} classes, as the task has, got {len(classes)}")
    task.encoders = {name: encoder.to_dict() for name, encoder in source.encoders.items()}
    task.classes = classes


def _identity(
    task: Task, settings: TrainingSettings, training_set: ExampleDataset | StreamedExamples, place: Place
) -> dict[str, str]:
    """What must be the same when a run is resumed: name -> JSON."""
    values: dict[str, Any] = {"task": task.settings(), "model": type(task.model).__name__}
    values |= {f"model.{name}": value for name, value in task.model.config.to_dict().items()}
    values |= {f"modality {name!r}": each.to_dict() for name, each in task.model.modalities.items()}
    values |= {"encoders": task.encoders, "classes": task.classes}
    if isinstance(training_set, StreamedExamples):
        numbers = (training_set.buffer_size, repr(training_set.held_out), training_set.max_examples)
        values["buffer_size, held_out and max_examples of the training stream"] = numbers
    else:
        values["number of training examples"] = len(training_set)
    values["trained weights"] = [name for name, weight in task.named_parameters() if weight.requires_grad]
    values |= {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.name not in _MAY_CHANGE
    }
    if place.num_ranks > 1:
        values["devices"] = place.num_ranks
    return {name: json.dumps(value, default=str) for name, value in values.items()}


def _check_same(checkpoint: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    alone = {"devices": "1"}  # of all machines; not written down by a process that trains alone
    before, now = {**alone, **before}, {**alone, **now}
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            was, came = (values.get(name, "none") for values in (before, now))
            shown = f"expected {was}, got {came}" if len(was) + len(came) < 200 else "it is another one now"
            raise ValueError(f"{name}: {shown}; a run is resumed as it was begun, see {checkpoint}")


def choose_num_workers(device: torch.device, place: Place) -> int:
    """Processes that load data for each one that trains, where the user does not say."""
    cores = (os.cpu_count() or 1) // place.devices
    return 0 if device.type == "cpu" else min(_MOST_WORKERS, max(0, cores - 1))


def _make_folder(folder: RunFolder, *, is_new: bool) -> None:
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        if is_new:
            folder.skipped.unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(f"run folder: {folder.path} cannot be written to ({error.strerror})") from None


def _remove_traces(folder: RunFolder) -> None:
    """Of a run that failed before its first checkpoint, so that it can be started again once its fault is mended."""
    folder.metrics.unlink(missing_ok=True)
    for path in (folder.tensorboard, folder.last_checkpoint.parent):
        shutil.rmtree(path, ignore_errors=True)


def _load_weights(task: Task, folder: Path) -> None:
    """What was saved, back into the task."""
    saved = read_model(folder)
    task.model.load_state_dict(saved.weights)
    task.head.load_state_dict(saved.head)
    task.eval()
