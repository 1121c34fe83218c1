"""From the options that name data to a source that is ready for the loaders."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.data import ConcatDataset

from hiperceiver.cli.errors import UserError, renamed
from hiperceiver.cli.models import run_folder, run_settings
from hiperceiver.cli.tables import shape
from hiperceiver.data.augment import augmentations_from_settings
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders import encoder_from_dict
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.example import ExampleDataset, WithAbsent
from hiperceiver.data.members import Changes, choose, read_members, what_changed
from hiperceiver.data.record import Table
from hiperceiver.data.sources import Found, find_source, open_source
from hiperceiver.data.sources.source import Source
from hiperceiver.data.streamed import StreamedExamples
from hiperceiver.settings.base import one_line, printable
from hiperceiver.settings.commands import DataSettings, EvaluateSettings, PlotSettings, SourceSettings
from hiperceiver.settings.data import TableSettings
from hiperceiver.tasks import Task
from hiperceiver.training.folder import RunFolder

SPLIT = ("split_seed", "split_rule")  # settings of a run that go along with its model
COLUMNS, OWN_COLUMNS = ("columns", "label_column", "mask_column"), ("label_columns", "value_columns")
"""Settings that name columns of tables; those of tables themselves."""


def find_data(settings: DataSettings) -> Found:
    """What `--data` names, before it is opened."""
    with renamed({"source": "--data"}):
        return find_source(settings.data, settings.layout, are_columns_named=settings.are_columns_named)


def open_data(
    settings: DataSettings, found: Found, *, task: str, encoders: Mapping[str, Encoder] | None = None
) -> Source:
    """The source that was found, with a task's targets; read as a trained model reads, if its encoders are given."""
    augmentations = augmentations_from_settings(settings.augment)
    pictures = {"size": settings.size, "colours": settings.colours, "fit": settings.fit}
    source = _open(settings, found, task=task, encoders=encoders, augmentations=augmentations, **pictures)
    if "train" not in source.splits:
        raise UserError(f"--data: {settings.data} has no examples for training, only {', '.join(source.splits)}")
    return source


def open_data_for(task: Task, settings: EvaluateSettings | PlotSettings, *, with_labels: bool = False) -> Source:
    """The data that a model is measured or shown on, read as the model reads: its run's, if no other is named.

    Examples have the task's targets; `with_labels`, where these are no labels of whole examples, those that the data
    have, if any. Modalities of the model that are left out, or that the data does not have, are absent from every
    example.
    """
    name = settings.checkpoint
    run = run_settings(name)
    data = settings.data or run.get("data")
    if data is None:
        raise UserError(f"--data is missing, and {name} does not say what it was trained on")
    taken = SPLIT if settings.data else tuple(each.name for each in dataclasses.fields(SourceSettings))
    reading = settings.with_run(run, *(each for each in taken if each != "encoders"))  # its encoders are the model's
    encoders = own_encoders(task.encoders, name)
    if encoders is None:
        raise UserError(f"{name}: was saved without how its input is read, normalisation included")
    for modality in settings.modalities:
        if modality not in encoders:
            raise UserError(f"--modalities: {name} takes {', '.join(encoders)}; got {modality!r}")
    if not reading.modalities:
        reading = dataclasses.replace(reading, modalities=tuple(encoders))
    if with_labels and task.target_kind in ("none", "segmentation"):
        source = _open_with_labels(reading, data, encoders)
    else:
        names = {"classes": task.classes, "label_classes": task.label_classes} if task.target_kind != "none" else {}
        own = run if settings.data else {}
        source = _open_with_columns(reading, own, data, task=task.target_kind, encoders=encoders, **names)
    folder = run_folder(name)
    changes = Changes() if folder is None else changes_since(folder, source)
    if changes and settings.data is None:
        print(f"hip: note: the data have changed since {name} was trained: {changes}", file=sys.stderr)
    elif changes.leaked:  # examples of other data may have the same names by chance
        copy = f"if {source.name} is a copy of what {name} was trained on"
        print(f"hip: note: {copy}, it has other splits: {changes}", file=sys.stderr)
    for each, modality in source.modalities.items():
        if task.model.modalities.get(each) != modality:
            raise UserError(f"--data: {source.name} gives {each!r} as {shape(modality)}, which {name} does not take")
    return _with_absent(source, task)


def _open_with_columns(settings: SourceSettings, run: Mapping[str, Any], data: str, **options: Any) -> Source:
    """Data that are read by the columns that a run named, if they are tables with these and the user names none."""
    own = {name: value for name, value in (run.get("data_settings") or {}).items() if name in OWN_COLUMNS}
    named = {name: run[name] for name in COLUMNS if run.get(name)}
    if (own or named) and not settings.are_columns_named:
        with renamed({"source": "--data"}):
            found = find_source(data, settings.layout, are_columns_named=True)
        if found.settings is TableSettings:
            other = {"layout": None, **named, "data_settings": {**own, **settings.data_settings}}
            try:
                return _open(type(settings).from_dict({**settings.to_dict(), **other}), found, **options)
            except ValueError as error:
                if "expected one of the columns" not in str(error):
                    raise
    return _open(settings, data, **options)


def _open_with_labels(settings: SourceSettings, data: str, encoders: Mapping[str, Encoder]) -> Source:
    """Data with labels of whole examples, or with none if it has no such."""
    with renamed({"source": "--data"}):
        found = find_source(data, settings.layout, are_columns_named=settings.are_columns_named)
    settings = dataclasses.replace(settings, layout=None)
    labels = "classification" if found.task == "segmentation" else found.task
    try:
        return _open(settings, found, task=labels, encoders=encoders)
    except ValueError:  # its labels are of pixels, or it only looked as if it had some
        return _open(settings, found, task="none", encoders=encoders)


def _open(settings: SourceSettings, data: str | Found, **options: Any) -> Source:
    """Open data; messages that begin with a modality or a setting of the data name the option."""
    own = settings.data_settings
    for name in own:
        if name in {each.name for each in dataclasses.fields(DataSettings)} - {"data_settings"}:
            raise UserError(f"--data-settings: {name} has an option of its own; see --help-all")
    names = {"source": "--data", "encoder_settings.": "--encoders."}
    names |= {name: f"--data-settings.{name}" for name in own}
    names |= {name: f"--encoders.{name}" for name in settings.encoders}
    reading = {each.name: getattr(settings, each.name) for each in dataclasses.fields(SourceSettings)}
    del reading["data_settings"]
    reading["encoder_settings"] = reading.pop("encoders")
    if isinstance(data, Found):
        del reading["layout"]
    given = {name: value for name, value in {**reading, **options}.items() if value not in (None, (), {})}
    with renamed(names):
        return open_source(data, **given, **own)


def _with_absent(source: Source, task: Task) -> Source:
    """The source with all input modalities of a task's model; those that it has not are absent."""
    absent = {each: task.model.modalities[each] for each in task.model.input_names if each not in source.encoders}
    splits = {
        split: WithAbsent(dataset=dataset, modalities=absent)
        for split, dataset in source.splits.items()
        if not isinstance(dataset, StreamedExamples)
    }
    return dataclasses.replace(source, splits=splits) if absent else source


def changes_since(folder: Path, source: Source) -> Changes:
    """How the data differ from what a run kept of them."""
    members = read_members(RunFolder(folder).members)
    return Changes() if members is None else what_changed(members, source.members)


def print_data(source: Source) -> None:
    """Print what was found, and what is odd about it; only once nothing is wrong."""
    print("\n".join(source.describe()), flush=True)
    for warning in source.warnings:
        print(f"hip: note: {printable(warning)}", file=sys.stderr)


def own_encoders(encoders: Mapping[str, Mapping[str, Any]], source: str = "a model") -> dict[str, Encoder] | None:
    """The encoders of a saved model of this name, with its normalisation; None if it was saved without any."""
    found: dict[str, Encoder] = {}
    for name, values in encoders.items():
        try:
            found[name] = encoder_from_dict(values)
        except ValueError as error:
            raise UserError(f"{source}: encoders.{name}: {one_line(error)}") from None
    return found or None


def choose_split(source: Source, name: str) -> ExampleDataset:
    """One part of a source, or `all` of them."""
    if name in ("all", "train") and isinstance(source.splits.get("train"), StreamedExamples):
        expected = "expected test or validation"
        raise UserError(f"--split: a stream has no end that could be waited for, {expected}, got {name}")
    if name == "all":
        return ConcatDataset(source.splits.values())  # pyright: ignore[reportArgumentType, reportReturnType]
    if name not in source.splits or len(source.splits[name]) == 0:
        raise UserError(f"--split: expected one of {', '.join(source.splits)}, all for {source.name}, got {name}")
    return source.splits[name]


def with_train_share(source: Source, share: float, *, seed: int) -> Source:
    """The same source with a share of its training examples, one at least; a smaller share is part of a larger one."""
    if share == 1:
        return source
    whole = source.splits["train"]
    if not isinstance(whole, EncodedRecords) or not isinstance(whole.records, Table):
        raise UserError(f"--train-share: not for a stream, whose examples are not counted, got {share}")
    part = dataclasses.replace(whole, records=whole.records.take(choose(whole.records.row_keys, seed, share=share)))
    return dataclasses.replace(source, splits={**source.splits, "train": part})
