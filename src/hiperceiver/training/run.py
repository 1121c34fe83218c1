"""Train a task on data, and measure it: one call each."""

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hiperceiver.data.augment import names_of
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.example import ExampleDataset
from hiperceiver.data.loading import train_loader
from hiperceiver.data.sources.source import Source
from hiperceiver.data.streamed import StreamedExamples
from hiperceiver.modality import Batch
from hiperceiver.model import read_model
from hiperceiver.settings.base import shown
from hiperceiver.settings.run import TrainingSettings
from hiperceiver.tasks.task import Task
from hiperceiver.training.checkpoints import RUN_KEY, faults_of_checkpoint, read_checkpoint
from hiperceiver.training.compute import Compute
from hiperceiver.training.errors import write_errors
from hiperceiver.training.evaluation import find_device
from hiperceiver.training.folder import RunFolder, check_run_folder
from hiperceiver.training.launch import Launch, find_launch
from hiperceiver.training.logs import ENOUGH_TO_JUDGE
from hiperceiver.training.loop import train_steps
from hiperceiver.training.memory import keep_freed_memory
from hiperceiver.training.observers import Observer, usual_observers
from hiperceiver.training.processes import Processes
from hiperceiver.training.progress import Display
from hiperceiver.training.run_state import Run
from hiperceiver.training.schedule import RunClock
from hiperceiver.training.signals import stop_signals
from hiperceiver.training.strategies import FullySharded, Replicated, make_fabric, quiet_fabric

_MAY_CHANGE = (
    *("steps", "max_time", "validate_every", "log_every", "checkpoint_every", "checkpoint_every_seconds", "compile"),
    *("num_workers", "max_bad_share", "strict", "non_finite", "accelerator", "devices", "num_nodes", "strategy"),
)
"""Settings that a resumed run may have otherwise: they do not alter what a training step computes. (The learning rate
follows the new length of the run, if that is changed.)"""


_ADDED = ("augment", "missing")
"""Of what must be the same: what earlier checkpoints of this format do not have."""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a run came to."""

    metrics: dict[str, float]  # validation metrics of the weights in `model_folder`; empty without a validation
    last_metrics: dict[str, float]
    """Metrics of the last validation: of the last weights, unless the run was interrupted."""
    observed: dict[str, float]  # what observers saw of the weights in `model_folder`; empty without a validation
    last_observed: dict[str, float]  # and at the last validation
    best_step: int | None  # optimizer step of the weights in `model_folder`; None without a validation
    steps: int
    seconds: float  # length of the whole run, its earlier parts included: optimizer steps, and time
    loss: float | None  # mean training loss of the last row of the log
    run_folder: Path
    model_folder: Path  # saved model: the best weights by the task's metric, or the last ones without a validation
    is_interrupted: bool  # whether a signal stopped it before its end; it can be resumed
    num_skipped: int  # training examples that could not be read; `skipped.log` names them.
    num_left_out: int  # steps that were not finite and left out (`non_finite`); `not_finite.log` names their examples
    compute: Compute | None = None  # None: too short to say, or several processes


def train(
    task: Task,
    source: Source,
    settings: TrainingSettings,
    run_folder: str | Path,
    *,
    resume: bool = False,
    show_progress: bool = True,
    observers: Sequence[Observer] | None = None,
) -> TrainingResult:
    """Train a task on the split `train`; `validation`, if there is one, selects the weights that are saved.

    They go into the run folder, made if missing, as `model/`, with the source's encoders and class names, beside
    `metrics.csv`, `tensorboard/`, `checkpoints/last.ckpt` and `best.ckpt` and, if there is need, `skipped.log`; the
    task then has them, in evaluation mode, on the CPU. SIGINT, SIGTERM, SIGUSR1 or SIGHUP ends the run after the step
    that is being done, with a checkpoint. `resume` goes on from the last one, exactly, or begins a run that has none;
    only length, speed and logging may be set otherwise. Progress is a bar on a terminal, a line now and then elsewhere,
    on standard error.

    `observers` look at the model before the first step and at each validation, and their numbers stand beside the
    metrics; None: those of `usual_observers`, for a task that learns without labels.

    With several devices (`devices`, `num_nodes`, torchrun or SLURM) every process calls this with the same arguments
    and a run folder that all can read; Lightning starts them by the command of this one if nobody else did. Weights and
    metrics are those of one process with the same batches: order, augmentation, masks and mixing of the data hang on
    seed, epoch and example alone. Dropout is drawn by each process for itself. A run may be resumed with another number
    of processes.

    Raises:
        ValueError: a user's mistake, or training that cannot go on (`TrainingError`); one line.
    """
    launch = find_launch(settings.devices, settings.num_nodes)
    processes = Processes(launch)
    folder = RunFolder(run_folder)
    if processes.is_first:
        resume = check_run_folder(run_folder, resume=resume)
    else:
        resume = resume and folder.last_checkpoint.is_file()
    device = find_device(settings.accelerator)
    _check_together(task, settings, launch, device)
    if settings.num_workers is None:
        settings = dataclasses.replace(settings, num_workers=choose_num_workers(device, launch))
    training_set, validation_set = _splits(source)
    if observers is None and validation_set is not None:
        how = {"batch_size": settings.batch_size, "precision": settings.precision, "num_workers": settings.num_workers}
        observers = usual_observers(task, validation_set, **how)
    _fit_to_source(task, source)
    identity = _identity(task, settings, training_set, launch)
    checkpoint, step, seconds = None, 0, 0.0
    if resume:
        checkpoint = read_checkpoint(folder.last_checkpoint)
        with faults_of_checkpoint(folder.last_checkpoint):
            before = {name: str(value) for name, value in checkpoint[RUN_KEY]["identity"].items()}
            step, seconds = int(checkpoint[RUN_KEY]["step"]), float(checkpoint[RUN_KEY]["elapsed"])
            weights = checkpoint["weights"]
            bad = next((each for each in weights if not weights[each].isfinite().all()), None)
        if bad is not None:
            reason = "its training diverged, or the file is damaged; it cannot go on"
            raise ValueError(f"{folder.last_checkpoint}: {bad} holds numbers that are not finite; {reason}")
        _check_same(folder.last_checkpoint, before, identity)
    if processes.is_first:
        with write_errors(f"run folder: {folder.path} cannot be written to"):
            folder.path.mkdir(parents=True, exist_ok=True)
            if not resume:
                folder.clear()
                folder.skipped.unlink(missing_ok=True)
                folder.not_finite.unlink(missing_ok=True)
    clock = RunClock(steps=settings.steps, max_seconds=settings.max_seconds, earlier_seconds=seconds)
    display = Display(clock, step=step, is_shown=show_progress and processes.is_first)
    keep_freed_memory()
    with quiet_fabric(), stop_signals(display) as is_stop_requested, ExitStack() as stack:
        stack.callback(display.stop)
        try:
            fabric = make_fabric(settings, launch)
            fabric.launch()
            processes.connect(os.environ.get("MASTER_ADDR", "127.0.0.1"))
            folder = RunFolder(processes.broadcast(folder.path))
            stand_in = None
            if not processes.is_alone:
                stand_in = _find_stand_in(training_set, settings.seed)
                task.load_state_dict(processes.broadcast(task.state_dict() if processes.is_first else None))
            strategy = (FullySharded if settings.strategy == "fsdp" else Replicated)(fabric, task, settings, stand_in)
            stack.callback(strategy.close)
            run = Run(
                settings,
                folder,
                identity,
                strategy=strategy,
                processes=processes,
                display=display,
                is_stop_requested=is_stop_requested,
                training_set=training_set,
                validation_set=validation_set,
                observers=observers or (),
                checkpoint=checkpoint,
            )
            stack.callback(run.close)
            del checkpoint  # the run holds its content now
            if not resume:
                run.observe_start()
            train_steps(run)
            run.finish()
            compute = None if run.is_interrupted else run.measure_compute()
            processes.close()
        except BaseException as error:
            raised = processes.failed(error)
            if processes.is_first and not folder.last_checkpoint.exists():  # it can be started again
                folder.clear()
            if raised is error and not isinstance(error, KeyboardInterrupt):
                raise
            raise raised from None
    saved = read_model(folder.model)
    task.model.load_state_dict(saved.weights)
    task.head.load_state_dict(saved.head)
    task.eval()
    return TrainingResult(
        metrics=run.best_metrics,
        last_metrics=run.last_metrics,
        observed=run.best_observed,
        last_observed=run.last_observed,
        best_step=run.best_step,
        steps=run.step,
        seconds=clock.elapsed,
        loss=run.loss,
        run_folder=folder.path,
        model_folder=folder.model,
        is_interrupted=run.is_interrupted,
        num_skipped=run.skipped.num_skipped,
        num_left_out=run.finite.num_left_out,
        compute=compute,
    )


def _check_together(task: Task, settings: TrainingSettings, launch: Launch, device: torch.device) -> None:
    """Refuse what processes, or batches of one step, cannot do together."""
    count = launch.num_ranks
    if count == 1 and settings.strategy == "fsdp":
        raise ValueError("devices: expected several for the strategy fsdp, got 1")
    if settings.batch_size % count:
        raise ValueError(f"batch_size: expected a multiple of {count}, the processes, got {settings.batch_size}")
    if settings.strategy == "fsdp" and settings.ema:
        raise ValueError(f"ema: expected 0 with the strategy fsdp, got {settings.ema}")
    if settings.strategy == "fsdp" and settings.optimizer == "lamb":
        raise ValueError("optimizer: expected muon or adamw with the strategy fsdp, got lamb")
    if settings.strategy == "fsdp" and settings.compile:
        raise ValueError("compile: expected false with the strategy fsdp, got true")
    part = settings.batch_size // count
    if _mixes(task) and part % 2 and (part == 1 or count * settings.accumulate > 1):
        each = f"{part} in each of {count} processes" if count > 1 else f"{part}"
        raise ValueError(
            f"batch_size: expected an even number, as mixup and cutmix take neighbours in pairs, got {each}"
        )
    if device.type == "mps" and count > 1:
        raise ValueError(f"devices: expected 1 of the kind mps, got {count}")
    if device.type == "cuda" and launch.devices > torch.cuda.device_count():
        raise ValueError(f"devices: expected at most {torch.cuda.device_count()}, got {launch.devices}")


def _mixes(task: Task) -> bool:
    return any(getattr(task.config, name, 0) for name in ("mixup", "cutmix"))


def _splits(source: Source) -> tuple[ExampleDataset | StreamedExamples, ExampleDataset | None]:
    train = source.splits.get("train")
    if train is None or (not isinstance(train, StreamedExamples) and len(train) == 0):
        raise ValueError(f"source: expected examples in a split 'train', got {', '.join(source.splits) or 'no split'}")
    validation = source.splits.get("validation")
    return train, validation if validation is not None and len(validation) > 0 else None


def _find_stand_in(training_set: ExampleDataset | StreamedExamples, seed: int) -> Batch:
    """A batch of one readable example, the same in all processes."""
    for batch in train_loader(training_set, batch_size=1, seed=seed, num_batches=ENOUGH_TO_JUDGE):
        if len(batch) > 0:
            return batch
    raise ValueError("source: expected a readable example among the first of split 'train', got none")


def _fit_to_source(task: Task, source: Source) -> None:
    """Refuse a source that the task's model was not made for; give the task what is saved with it."""
    for name, modality in source.modalities.items():
        known = task.model.modalities.get(name)
        if known is None:
            raise ValueError(f"source: expected modalities among {', '.join(task.model.modalities)}, got {name!r}")
        if (known.grid, known.channels) != (modality.grid, modality.channels):
            expected = f"{name!r} with grid {known.grid} and {known.channels} channels, as the model has it"
            raise ValueError(f"source: expected {expected}, got {modality.grid} and {modality.channels}")
        if known.num_categories != modality.num_categories:
            expected = f"{name!r} with {known.num_categories} categories, as the model has it"
            raise ValueError(f"source: expected {expected}, got {modality.num_categories}")
    classes = tuple(source.classes)
    num_classes = getattr(task.config, "num_classes", len(classes))
    if classes and len(classes) != num_classes:
        raise ValueError(f"source: expected {num_classes} classes, as the task has, got {len(classes)}")
    task.encoders = {name: encoder.to_dict() for name, encoder in source.encoders.items()}
    task.classes = classes


def _identity(
    task: Task, settings: TrainingSettings, training_set: ExampleDataset | StreamedExamples, launch: Launch
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
    encoded = training_set.encoded if isinstance(training_set, StreamedExamples) else training_set
    if isinstance(encoded, EncodedRecords):
        values |= {"augment": names_of(encoded.augmentations), "missing": encoded.missing}
    values["trained weights"] = [name for name, weight in task.named_parameters() if weight.requires_grad]
    values |= {name: value for name, value in dataclasses.asdict(settings).items() if name not in _MAY_CHANGE}
    return {name: json.dumps(value, default=str) for name, value in values.items()}


def _check_same(checkpoint: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    before = {name: value for name, value in before.items() if name != "devices"}  # earlier versions asked for as many
    settings = {each.name for each in dataclasses.fields(TrainingSettings)}
    for name in {**before, **now}:
        if name in settings and name not in before:
            older = "an earlier version, without this setting, began the run"
            raise ValueError(f"{name}: {older}; go on in a new run, with --from, see {checkpoint}")
        if before.get(name) != now.get(name) and not (name in _ADDED and name not in before):
            inner, was, came = _first_difference(*(_parsed(values.get(name, "null")) for values in (before, now)))
            differs = f"expected {shown(was)}, got {shown(came)}"
            if name == "encoders" and re.search(r"\.(mean|std)\b", inner):
                differs += " (measured on the training examples: some have changed or cannot be read any more)"
            raise ValueError(f"{name}{inner}: {differs}; a run is resumed as it was begun, see {checkpoint}")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # of a damaged checkpoint
        return text


def _first_difference(before: Any, now: Any) -> tuple[str, Any, Any]:
    """Where two values differ first, `.image.mean`, and what each has there."""
    if isinstance(before, list) and isinstance(now, list):
        before, now = ({f"[{place}]": each for place, each in enumerate(values)} for values in (before, now))
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            if before.get(name) != now.get(name):
                inner, was, came = _first_difference(before.get(name), now.get(name))
                return f"{'' if name.startswith('[') else '.'}{name}{inner}", was, came
    return "", before, now


def choose_num_workers(device: torch.device, launch: Launch) -> int:
    """Processes that load data for each one that trains, where the user does not say: at most 8."""
    cores = (os.cpu_count() or 1) // launch.devices
    return 0 if device.type == "cpu" else min(8, max(0, cores - 1))
