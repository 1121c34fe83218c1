"""From the options that name data to a source that is ready for the loaders."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hiperceiver.cli.errors import UserError, renamed
from hiperceiver.cli.models import run_folder, run_settings
from hiperceiver.data.augment import augmentations_from_settings
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders import encoder_from_dict
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.example import ExampleDataset
from hiperceiver.data.members import Changes, choose, read_members, what_changed
from hiperceiver.data.record import Table
from hiperceiver.data.sources import open_source
from hiperceiver.data.sources.source import Source
from hiperceiver.data.streamed import StreamedExamples
from hiperceiver.data.subsets import Joined, WithAbsent
from hiperceiver.settings.commands import DataSettings, EvaluateSettings, PlotSettings, SourceSettings
from hiperceiver.settings.data import SplitRule
from hiperceiver.tasks import Task
from hiperceiver.training.folder import RunFolder

OUR_NAMES = {
    "source": "data",
    "colours": "colours",
    "columns": "columns",
    "label_column": "label-column",
    "mask_column": "mask-column",
    "size": "size",
    "fit": "fit",
    "layout": "layout",
    "modalities": "modalities",
    "encoders": "encoders",
    "missing": "missing",
    "augment": "augment",
    "task": "task",
}
"""What `open_source` calls an option -> what the user does."""


def open_data(
    settings: DataSettings, *, task: str, encoders: Mapping[str, Encoder] | None = None, rule: SplitRule = "names"
) -> Source:
    """The source that settings name.

    Args:
        settings: where and how.
        task: what the examples' targets are.
        encoders: a trained model's own, to read as it does.
        rule: what drawn splits follow from.
    """
    with renamed(OUR_NAMES):
        augmentations = augmentations_from_settings(settings.augment)
    with renamed(_names_within(settings)):
        return open_named(
            settings.data,
            task=task,
            encoders=encoders,
            size=settings.size,
            colours=settings.colours,
            fit=settings.fit,
            augmentations=augmentations or None,
            split_rule=rule,
            **source_options(settings),
        )


def _names_within(settings: SourceSettings) -> dict[str, str]:
    """Settings of the data and modalities as messages begin with them -> as the user writes them."""
    encoders = {modality: f"encoders.{modality}" for modality in settings.encoders}
    encoders |= {f"encoder_settings.{modality}": name for modality, name in encoders.items()}
    return {**encoders, **{name: f"data-settings.{name}" for name in settings.data_settings}}


def open_named(name: str, **options: Any) -> Source:
    """The source of this name; options as for `open_source`, None where nothing is said."""
    with renamed(OUR_NAMES):
        return open_source(name, **options)


def open_source_for(task: Task, settings: EvaluateSettings | PlotSettings) -> Source:
    """The data that a model is measured or shown on: its run's own, if no other is named, read as the model reads.

    Modalities of the model that are not asked for, or that the data has not, are absent from every example.

    Raises:
        ValueError: nobody says what data, its classes are others than the model's, or the model does not take it.
    """
    name = settings.checkpoint
    recorded = run_settings(name)
    folder = run_folder(name)
    if settings.data is None:
        if "data" not in recorded:
            raise UserError(f"--data is missing, and {name} does not say what it was trained on")
        were = {each.name: recorded.get(each.name) for each in dataclasses.fields(SourceSettings)}
        options = {**source_options(SourceSettings(**{k: v for k, v in were.items() if v})), **said(settings)}
    else:
        options = source_options(settings)
        if settings.split_seed is None:
            options["split_seed"] = recorded.get("split_seed")
    options["split_rule"] = split_rule(folder)
    encoders = own_encoders(task.encoders)
    if encoders is None:
        raise UserError(f"{name}: was saved without how its input is read, normalisation included")
    for modality in settings.modalities:
        if modality not in encoders:
            raise UserError(f"--modalities: {name} takes {', '.join(encoders)}; got {modality!r}")
    options["modalities"] = settings.modalities or options.get("modalities") or tuple(encoders)
    source = open_named(
        settings.data or recorded["data"],
        task=task.target_kind,
        encoders=encoders,
        classes=(task.classes or None) if task.has_classes else None,
        **{**options, "encoder_settings": settings.encoders or None},  # those of the run are in its encoders
    )
    if folder is not None and settings.data is None and (changes := changes_since(folder, source)):
        print(f"hip: note: the data have changed since {name} was trained: {changes}", file=sys.stderr)
    for each, modality in source.modalities.items():
        if task.model.modalities.get(each) != modality:
            shape = " x ".join(str(n) for n in (*modality.grid, modality.channels))
            raise UserError(f"--data: {source.name} gives {each!r} as {shape}, which {name} does not take")
    return with_absent(source, task)


def split_rule(folder: Path | None) -> SplitRule:
    """What the splits of a run follow from; for data of no run the names of examples."""
    members = None if folder is None else read_members(RunFolder(folder).members)
    return "names" if members is None else members.rule


def changes_since(folder: Path, source: Source) -> Changes:
    """How the data differ from what a run kept of them."""
    members = read_members(RunFolder(folder).members)
    return Changes() if members is None else what_changed(members, source.members)


def with_absent(source: Source, task: Task) -> Source:
    """The source with all input modalities of a task's model; those that it has not are absent."""
    absent = {each: task.model.modalities[each] for each in task.model.input_names if each not in source.encoders}
    if not absent:
        return source
    splits = {
        split: WithAbsent(dataset=dataset, modalities=absent)
        for split, dataset in source.splits.items()
        if not isinstance(dataset, StreamedExamples)
    }
    return dataclasses.replace(source, splits=splits)


def source_options(settings: SourceSettings) -> dict[str, Any]:
    """What settings say of reading, as `open_source` takes it; None where they say nothing.

    Raises:
        UserError: `--data-settings` says what has an option of its own.
    """
    options = {
        "layout": settings.layout,
        "modalities": settings.modalities or None,
        "encoder_settings": settings.encoders or None,
        "missing": settings.missing,
        "columns": settings.columns or None,
        "label_column": settings.label_column,
        "mask_column": settings.mask_column,
        "subset": settings.subset,
        "split_seed": settings.split_seed,
    }
    for name in settings.data_settings:
        if name in options or name in ("task", "encoders", "augmentations", "size", "colours", "fit", "classes"):
            raise UserError(f"--data-settings: {name} has an option of its own; see --help")
    return {**options, **settings.data_settings}


def said(settings: SourceSettings) -> dict[str, Any]:
    """The options of `source_options` that differ from what is said where nothing is said."""
    plain = source_options(SourceSettings())
    return {name: value for name, value in source_options(settings).items() if value != plain.get(name)}


def say_oddities(source: Source) -> None:
    """Say what was odd about the data; only once it is sure that nothing is wrong."""
    for warning in source.warnings:
        print(f"hip: note: {warning}", file=sys.stderr)


def own_encoders(encoders: Mapping[str, Mapping[str, Any]]) -> dict[str, Encoder] | None:
    """A saved model's encoders, with its normalisation; None if it was saved without any."""
    return {name: encoder_from_dict(values) for name, values in encoders.items()} or None


def choose_split(source: Source, name: str) -> ExampleDataset:
    """One part of a source, or `all` of them.

    Raises:
        UserError: it has no such part.
    """
    if name in ("all", "train") and isinstance(source.splits["train"], StreamedExamples):
        raise UserError(
            f"--split: a stream has no end that could be waited for, expected test or validation, got {name}"
        )
    if name == "all":
        return Joined(list(source.splits.values()))
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
    chosen = choose(whole.records.row_keys, seed, share=share)
    part = dataclasses.replace(whole, records=whole.records.take(chosen))
    return dataclasses.replace(source, splits={**source.splits, "train": part})


def describe_modalities(source: Source) -> str:
    """What an example holds, for people: `audio 16000 x 1 and image 64 x 64 x 3`."""
    parts = [
        f"{name} {' x '.join(str(n) for n in (*each.grid, each.channels))}" for name, each in source.modalities.items()
    ]
    return _listed(parts)


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
