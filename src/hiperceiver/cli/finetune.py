"""`hip finetune`: a task with labels (or a forecast), from a pretrained model or from scratch."""

import dataclasses
import sys
from functools import partial
from pathlib import Path
from typing import Any

from hiperceiver.cli.data import SPLIT, changes_since, find_data, open_data, own_encoders, with_train_share
from hiperceiver.cli.errors import UserError
from hiperceiver.cli.evaluate import measure_and_print
from hiperceiver.cli.models import locate, run_folder, run_settings, with_settings
from hiperceiver.cli.results import write_json
from hiperceiver.cli.runs import train_and_report
from hiperceiver.cli.tables import quantity
from hiperceiver.data.sources.source import Source
from hiperceiver.data.streamed import StreamedExamples
from hiperceiver.data.targets import class_counts, value_statistics
from hiperceiver.model import PerceiverConfig, build_model, read_model, usual_variant, variant_config
from hiperceiver.settings.base import is_required
from hiperceiver.settings.commands import FinetuneSettings
from hiperceiver.tasks import TASKS, TargetInfo, Task, task_config_from_settings, task_from_settings
from hiperceiver.tasks.losses import balanced_weights
from hiperceiver.training import seed_everything, start_from

DEFAULT_MODEL = "hip-micro"


def run(settings: FinetuneSettings) -> int:
    """Train a task, or go on with a run."""
    settings, pretraining, remedy = _with_its_split(settings)
    found = find_data(settings)
    kind = settings.task or found.task
    if kind == "none":
        raise UserError(f"--task is missing: {settings.data} has no labels to learn")
    saved = None if settings.pretrained is None else read_model(locate(settings.pretrained))
    encoders = None if saved is None else own_encoders(saved.encoders, saved.source)
    for name, encoder in (encoders or {}).items():
        if settings.colours not in (None, getattr(encoder, "colours", settings.colours)):
            raise UserError(f"--colours: {settings.pretrained} takes {name!r} otherwise, got {settings.colours}")
    source = open_data(settings, found, task=TASKS[kind].target_kind, encoders=encoders)
    if pretraining is not None and (changes := changes_since(pretraining, source)).moved:
        print(f"hip: note: the splits are not those of {settings.pretrained}: {changes}{remedy}", file=sys.stderr)
    if settings.test and "test" not in source.splits:
        found = ", ".join(source.splits)
        raise UserError(f"--test: {settings.data} has no test split, only {found}; --test false trains without it")
    source = with_train_share(source, settings.train_share, seed=settings.split_seed or 0)
    seed_everything(settings.seed)
    model = settings.model or usual_variant(source.modalities, DEFAULT_MODEL)
    config = variant_config(model) if saved is None else saved.config
    task = _make_task(kind, settings, source, with_settings(config, settings.model_settings))
    if saved is not None:
        report = start_from(task, saved, mode=settings.mode)
        print(f"from {saved.source}: {report.summary()}")
        if encoders is None:
            print(f"{saved.source} was saved without its normalisation; it was taken from the training data instead")
    trained = quantity(sum(weight.numel() for weight in task.parameters() if weight.requires_grad))
    everything = quantity(sum(weight.numel() for weight in task.parameters()))
    print(f"training {trained} of {everything} parameters on {_described(source, task)}", flush=True)
    name = model if settings.pretrained is None else settings.model or _short(settings.pretrained)
    code, folder = train_and_report(task, source, settings, command="finetune", model=name)
    if settings.test and code == 0:
        print()
        measured = measure_and_print(task, source, settings, subject=str(folder), split="test")
        write_json(str(folder / "test.json"), measured)
    return code


def _with_its_split(settings: FinetuneSettings) -> tuple[FinetuneSettings, Path | None, str]:
    """The settings, with the split of the run that is started from if that is of the same data; its folder; a remedy.

    The remedy, for a message about other data, says what gives them the split of the run: they may be a copy of its
    data, or have the same names by chance.
    """
    folder = None if settings.pretrained is None else run_folder(settings.pretrained)
    run = {} if folder is None else run_settings(str(folder))
    if run.get("data") != settings.with_absolute_paths().data:
        seed = run.get("split_seed") or 0
        is_taken = (settings.split_seed or 0) == seed
        remedy = "they were split in another way" if is_taken else f"--split-seed {seed} takes its splits"
        return settings, folder, f"; if these are the same data, {remedy}"
    if settings.split_seed is None and (seed := run.get("split_seed")) is not None:
        print(f"the splits are those of {settings.pretrained}: --split-seed {seed}")
    return settings.with_run(run, *SPLIT), folder, ""


def _make_task(kind: str, settings: FinetuneSettings, source: Source, config: PerceiverConfig) -> Task:
    task_class = TASKS[kind]
    from_data = _from_data(task_class, source)
    for name in from_data.keys() & settings.task_settings.keys() - {"background_class", "input_modality"}:
        raise UserError(f"--task-settings: {name} is taken from the data, it cannot be set")
    if settings.balance:
        from_data["class_weights"] = _class_weights(kind, settings, source)
    values = {"kind": kind, **from_data, **settings.task_settings}
    for each in dataclasses.fields(task_class.config_class):
        if is_required(each) and each.name not in values:
            raise UserError(f"--task-settings.{each.name} is missing: the task {kind} needs it")
    labels = task_class.label_modalities(task_config_from_settings(values))
    return task_from_settings(values, build_model(config, {**source.modalities, **labels}))


def _from_data(task_class: type[Task], source: Source) -> dict[str, Any]:
    """Fields of the task's config, from the targets of the training data."""
    info = TargetInfo(
        classes=source.classes,
        background_class=source.background_class,
        masked_modality=source.masked_modality,
        labels=source.labels,
        statistics=partial(value_statistics, source.splits["train"]),
    )
    try:
        return task_class.config_from_data(info)
    except ValueError as error:
        raise UserError(f"--data: {source.name}: {error}") from None


def _class_weights(kind: str, settings: FinetuneSettings, source: Source) -> tuple[float, ...]:
    if not TASKS[kind].can_balance:
        kinds = " and ".join(each for each, task in TASKS.items() if task.can_balance)
        raise UserError(f"--balance: only for {kinds}, got {settings.balance} for {kind}")
    if "class_weights" in settings.task_settings:
        raise UserError("--balance: not together with --task-settings.class_weights")
    counts = class_counts(source.splits["train"], len(source.classes))
    return balanced_weights(counts, power=settings.balance)


def _described(source: Source, task: Task) -> str:
    """How much data there is, for people."""
    train = source.splits["train"]
    count = "a stream of examples" if isinstance(train, StreamedExamples) else f"{len(train)} examples"
    if source.labels:
        return f"{count} with the labels {', '.join(source.labels)}"
    if not source.classes:
        return count
    named = f"of {len(source.classes)} classes" if task.has_classes else f"with the numbers {', '.join(source.classes)}"
    return f"{count} {named}"


def _short(name: str) -> str:
    path = Path(name)
    return path.parent.name if path.name == "model" and path.is_dir() else path.name or name
