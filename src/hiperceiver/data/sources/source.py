"""What every source gives: encoders, class names, and the examples of each split; and how one is put together."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hiperceiver.data.augment import Augmentation, check_augmentations
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders import ENCODERS
from hiperceiver.data.encoders.audio import AudioEncoder
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.image import ImageEncoder
from hiperceiver.data.encoders.normalisation import FITTED_TO, values_apart
from hiperceiver.data.encoders.picture_files import Picture
from hiperceiver.data.encoders.text_tables import columns_in_words
from hiperceiver.data.example import BadExample, ExampleDataset, WithAbsent
from hiperceiver.data.faults import read_file
from hiperceiver.data.media import read_audio
from hiperceiver.data.members import Members, choose, draw_splits, kept_contents, kept_labels
from hiperceiver.data.record import SPLITS, TEST, TRAIN, VALIDATION, Column, Computed, Record, Records, Table
from hiperceiver.data.sources.classes import (
    choose_classes,
    choose_label_classes,
    choose_mask_classes,
    choose_values,
)
from hiperceiver.data.sources.lists import example_list, look_alike
from hiperceiver.data.sources.tree import Streams
from hiperceiver.data.streamed import Head, HeldOut, StreamedExamples
from hiperceiver.data.text import text_of
from hiperceiver.modality import Modality
from hiperceiver.settings.base import Count, checked, field_types, printable
from hiperceiver.settings.data import ReadSettings, SourceTask, SplitRule, TableSettings

_MOST_TARGETS = 10_000  # numbers to regress that are looked at for markers of missing ones
LOOKED_AT = 64  # how many signals an encoder's settings are chosen by, at most
TARGETS: dict[str, tuple[str, ...]] = {
    "none": (),
    "classification": ("label",),
    "multilabel": ("labels",),
    "segmentation": ("segmentation",),
    "regression": ("values",),
}
"""Which of a record's targets a task wants; for `joint` the source's labels."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What is reached without any network; a table that shows a model shows its baseline beside it."""

    name: str  # how it works, in a few words
    metrics: dict[str, float]  # on the test split, by the names that the task gives them


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset that is ready for the loaders."""

    name: str  # as the user gave it
    task: SourceTask  # what the examples' targets are
    encoders: dict[str, Encoder]  # per modality; normalisation is that of the training data, or was given
    splits: dict[str, ExampleDataset]
    """Examples by split, in the order of `SPLITS`. Of a stream `train` is for `train_loader` alone."""
    classes: tuple[str, ...] = ()
    """Names of the labels by number, for `regression` of the values; empty if the task has none."""
    background_class: int | None = None  # for `segmentation`: the class of what is no object, if there is one
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """For `joint`: name of each label -> its classes; none for a number."""
    baseline: Callable[[], Baseline] | None = None
    """Measures the baseline on the test split, if there is one for this task."""
    note: str = ""  # what must be said where results on this source are shown
    warnings: tuple[str, ...] = ()  # what was odd about the data and did not stop us, each in one line
    layout: str = ""  # how its files lie, one of `LAYOUTS`; empty for a built-in set and the hub
    num_leftovers: int = 0  # hidden files and leftovers of systems that were passed over
    members: Members = field(default_factory=Members)
    """Which examples each split has, before any are left out for the task; empty for a stream."""

    @property
    def modalities(self) -> dict[str, Modality]:
        """Grid and channels per modality, for the model."""
        return {name: encoder.modality for name, encoder in self.encoders.items()}

    @property
    def masked_modality(self) -> str | None:
        """For `segmentation`: the modality whose tokens masks label, the first picture."""
        pictures = (name for name, encoder in self.encoders.items() if isinstance(encoder, ImageEncoder))
        return next(pictures, None) if self.task == "segmentation" else None

    def describe(self) -> list[str]:
        """What was found, for people; one example of each modality is read."""
        sizes = [
            f"{split} {'a stream' if isinstance(part, StreamedExamples) else len(part)}"
            for split, part in self.splits.items()
        ]
        lines = [f"data: {self.name}{f', layout {self.layout}' if self.layout else ''}; {', '.join(sizes)}"]
        parts = {split: part.dataset if isinstance(part, WithAbsent) else part for split, part in self.splits.items()}
        counts = {
            split: np.bincount(part.records.cells("label"), minlength=len(self.classes))
            for split, part in parts.items()
            if self.task == "classification" and isinstance(part, EncodedRecords) and isinstance(part.records, Table)
        }
        if counts:
            total = zip(self.classes, np.sum([*counts.values()], axis=0), strict=True)
            lines.append(f"classes: {len(self.classes)}; {example_list([f'{name} {n}' for name, n in total], 8)}")
            for split, each in counts.items():
                if lacking := [name for name, n in zip(self.classes, each, strict=True) if not n]:
                    lines.append(f"{split} has no example of {example_list(lacking, 5)}")
        elif self.classes:
            lines.append(f"{'values' if self.task == 'regression' else 'classes'}: {example_list(self.classes, 8)}")
        first = next(iter(parts.values()))
        for modality, encoder in self.encoders.items():
            grid = _product((*encoder.modality.grid, encoder.modality.channels))
            rate = f" at {encoder.rate} Hz" if isinstance(encoder, AudioEncoder) else ""
            raws = first.raws(modality, 16) if isinstance(first, EncodedRecords) else ()
            shown = ""
            with contextlib.suppress(ValueError):  # none can be looked up: each is named when it is read
                shown = _first_value(encoder, raws)
            lines.append(f"{modality}: {encoder.kind}, tokens {grid}{rate}{shown}")
        if self.num_leftovers:
            lines.append(f"passed over: {self.num_leftovers} hidden files and folders or leftovers of systems")
        return [printable(line) for line in lines]


_AXES = {
    "image": "rows x columns x channels",
    "video": "frames x rows x columns x channels",
    "audio": "samples x channels",
    "series": "steps x channels",
    "points": "points x (x, y, z, features)",
    "volume": "depth x rows x columns x channels",
    "vector": "positions x features",
    "bytes": "bytes",
}


def _first_value(encoder: Encoder, raws: Iterable[Any]) -> str:
    """Shape, axes and range of the first value that can be read, and how it is stored if it has another shape there."""
    for raw in raws:
        with contextlib.suppress(ValueError):
            stored, rate = encoder.decode(raw), ""
            value = encoder.fit_to_grid(stored)
            if isinstance(encoder, AudioEncoder):
                stored, stored_rate = raw if isinstance(raw, tuple) else read_audio(raw)
                rate = "" if stored_rate == encoder.rate else f" at {stored_rate} Hz"
            shape = stored.size if isinstance(stored, Picture) else np.shape(stored)
            is_other = rate or shape != value.shape[: len(shape)]
            low, high = (f"{float(bound):.4g}" for bound in (np.nanmin(value), np.nanmax(value)))
            found = f"{_product(value.shape)} ({_AXES.get(encoder.kind, 'values')}), {low} to {high}"
            as_stored = f", stored as {_product(shape)}{rate}" if is_other else ""
            return f"; the first is {found}{as_stored}{_columns(encoder, raw)}"
    return ""


def _columns(encoder: Encoder, raw: Any) -> str:
    """What the columns of a table as text were taken for."""
    is_path = isinstance(raw, str | os.PathLike) and encoder.kind in ("series", "points", "vector")
    if not is_path or Path(raw).suffix.lower() not in (".csv", ".tsv", ".txt"):
        return ""
    with contextlib.suppress(ValueError):  # it begins with the number of its points
        return f", {columns_in_words(text_of(read_file(raw)))}"
    return ""


def _product(lengths: Iterable[int]) -> str:
    return " x ".join(map(str, lengths))


class SourceOptions(ReadSettings):
    """What every source takes."""

    task: SourceTask = "none"
    """What the examples' targets are."""
    encoders: Mapping[str, Encoder] | None = None
    """To use instead of fitting normalisation to the training data, for example a pretrained model's."""
    encoder_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Modality -> fields of its encoder to replace. `*`: for each encoder that has such a field."""
    is_weighted: bool = False
    """Whether a `weight` of each example in the loss is among its targets."""
    augmentations: tuple[Augmentation, ...] = ()
    """Random changes of training examples."""
    max_train_examples: Count | None = None
    """Take only so many training examples, chosen by split_seed and their names."""
    classes: tuple[str, ...] = ()
    """Names that the classes, or the numbers of a regression, must have, in their order, for example a trained model's;
    none given: the data's own. Numbers in data without names of classes count them, from 0."""
    label_classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For `joint`: label -> names that its classes must have, as `classes`."""
    split_rule: SplitRule = "names"
    """What drawn splits follow from. `rows`: as in runs of releases up to 0.1."""

    def check_task(self, source: str, offered: Sequence[SourceTask]) -> None:
        """Refuse a task for which the source has no targets; `none` is always there."""
        if self.task != "none" and self.task not in offered:
            has = f"targets for {', '.join(offered)}" if offered else "no targets"
            raise ValueError(f"task: the source {source!r} has {has}; got {self.task!r}")


def make_source(
    *,
    name: str,
    table: Table,
    encoders: Mapping[str, Encoder | str],
    options: SourceOptions,
    split_seed: int = 0,
    classes: Sequence[str] = (),
    class_names: Sequence[str] = (),
    background_class: int | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    baseline: Callable[[Source], Baseline] | None = None,
    note: str = "",
    warnings: Sequence[str] = (),
) -> Source:
    """Put a source together: choose modalities, draw missing splits, fit encoders, wrap records.

    Args, beside the fields of `Source`:
        table: with all targets that are known, whatever the task: so every task gets the same splits. Splits that it
            has not are drawn from `train`, see `draw_splits`.
        encoders: for each modality that the source offers, its encoder with its defaults, or the kind of one whose
            grid follows from the signals; normalisation is fitted here.
        split_seed: used where the options name none.
        class_names: the data's own names of classes that are numbers elsewhere in it, as in `SourceOptions.classes`.
        baseline: measures the baseline on the source's test split.

    Raises:
        ValueError: there is nothing to train on, or an option does not fit the data.
    """
    found = list(warnings)
    seed = split_seed if options.split_seed is None else options.split_seed
    if not len(table):
        raise ValueError(f"{name}: expected examples, found none that can be used")
    with _telling(found):
        first = int(table.splits[table.rows].min())  # training, if there is some
        chosen = choose_encoders(name, encoders, table.split(first), options)
        table = _with_targets(name, table, options, found)
        present = np.unique(table.splits[table.rows])
        if TRAIN in present and VALIDATION not in present:
            table = draw_splits(table, seed, is_test_drawn=TEST not in present, rule=options.split_rule)
            present = np.unique(table.splits[table.rows])
        if missing := [split for number, split in enumerate(SPLITS) if number not in present]:
            found.append(f"there is no split for {' and '.join(missing)}")
        keys = {SPLITS[number]: np.sort(table.split(number).row_keys) for number in present}
        classes, table = _choose_classes(name, classes, table, class_names, options, found)
        if options.task == "joint":
            labels, table = choose_label_classes(name, labels or {}, table, options.label_classes, found)
        found += [f"classes {pair} look alike: are they one?" for pair in look_alike(classes)]
        if options.task == "classification":
            table = _labelled(name, table, classes, found, may_be_one=bool(options.classes))
        if options.task == "regression":
            table = _without_markers(table, classes, found)
        splits = {split: part for number, split in enumerate(SPLITS) if len(part := table.split(number))}
        if not splits:
            raise ValueError(
                f"{name}: expected examples of the chosen classes, found none (only_classes, leave_out_classes)"
            )
        if options.max_train_examples is not None and "train" in splits:
            train = splits["train"]
            splits["train"] = train.take(choose(train.row_keys, seed, count=options.max_train_examples))
        in_files = [
            (column.paths if isinstance(column, Streams) else column, chosen[modality].is_path)
            for modality, column in sorted(table.raws.items())
            if modality in chosen and not isinstance(column, Computed)
        ]
        members = Members(splits=keys, rule=options.split_rule, contents=kept_contents(table, in_files))
        if options.task == "joint":
            members = dataclasses.replace(members, labels=kept_labels(table, labels or {}))
        elif options.task not in ("none", "segmentation"):  # masks would have to be read
            names = () if options.task == "regression" else classes
            members = dataclasses.replace(members, labels=kept_labels(table, {TARGETS[options.task][0]: names}))
        source = encoded_source(
            name=name,
            records=splits,
            encoders=chosen,
            options=options,
            classes=classes,
            labels=labels or {},
            warnings=found,
            background_class=background_class if options.task == "segmentation" else None,
            note=note if options.task != "none" else "",
            members=members,
        )
    if baseline is None or options.task == "none":
        return source
    return dataclasses.replace(source, baseline=lambda: baseline(source))


@contextlib.contextmanager
def _telling(notes: Sequence[str]) -> Iterator[None]:
    """A mistake inside also says what was noticed before, which may be its cause."""
    try:
        yield
    except ValueError as error:
        if not notes:
            raise
        raise ValueError(f"{error} (noticed before: {'; '.join(notes[:3])})") from error


def make_streamed(
    name: str,
    streams: Mapping[str, Iterable[Record | BadExample]],
    kinds: Mapping[str, str],
    own: TableSettings,
    options: SourceOptions,
    classes: Sequence[str],
    labels: Mapping[str, Sequence[str]],
    warnings: Sequence[str],
) -> Source:
    """A source whose training examples are streamed; validation and test are the first records of their streams.

    Without a stream for validation, a tenth of the training records is left out of training, by their names or content
    and the seed, and the first of these validate: ten times as many records are read to find them.
    """
    if "train" not in streams:
        raise ValueError(f"{name}: expected examples for training, found only {', '.join(streams)}")
    held_out, size = HeldOut(rule="rows"), own.validation_examples
    heads = {split: Head(stream, size, held_out, is_held=False) for split, stream in streams.items()}
    if "validation" not in streams:
        held_out = HeldOut(rule=options.split_rule, seed=options.split_seed or 0, count=size)
        heads["validation"] = Head(streams["train"], size, held_out, is_held=True)
    heads["train"] = Head(streams["train"], FITTED_TO, held_out, is_held=False)
    if not len(heads["train"]):
        least = " beside those that validate" if "validation" not in streams else ""
        raise ValueError(f"{name}: expected examples for training{least}, found none")
    heads = {split: heads[split] for split in SPLITS if len(heads.get(split, ()))}
    missing = " and ".join(split for split in SPLITS if split not in heads)
    source = encoded_source(
        name=name,
        records=heads,
        encoders=choose_encoders(name, kinds, heads["train"], options),
        options=options,
        classes=classes,
        labels=labels,
        warnings=[*warnings, *([f"there is no split for {missing}"] if missing else [])],
        members=Members(rule=options.split_rule),
    )
    encoded = source.splits["train"]
    assert isinstance(encoded, EncodedRecords)
    train = StreamedExamples(
        records=streams["train"],
        encoded=dataclasses.replace(encoded, records=[]),
        buffer_size=own.buffer_size,
        held_out=held_out,
        max_examples=options.max_train_examples,
    )
    return dataclasses.replace(source, splits={**source.splits, "train": train})


def encoded_source(
    *,
    name: str,
    records: Mapping[str, Records],
    encoders: dict[str, Encoder],
    options: SourceOptions,
    classes: Sequence[str],
    labels: Mapping[str, Sequence[str]],
    warnings: list[str],
    **more: Any,
) -> Source:
    """A source of records by split, to whose first one the encoders are fitted; `more` are other fields of it."""
    check_augmentations(options.augmentations, encoders)
    signals = EncodedRecords(records=next(iter(records.values())), encoders={})
    fitted = dict(encoders)
    for modality, encoder in encoders.items():
        if options.encoders is None and "mean" not in options.encoder_settings.get(modality, {}):
            notes: list[str] = []
            fitted[modality] = encoder.fitted(signals.raws(modality, FITTED_TO), notes)
            warnings += [f"{modality}: {note}" for note in notes]
    targets = tuple(labels) if options.task == "joint" else TARGETS[options.task]
    targets += ("weight",) * options.is_weighted
    splits: dict[str, ExampleDataset] = {
        split: EncodedRecords(
            records=part,
            encoders=fitted,
            targets=targets,
            num_classes=len(classes),
            missing=options.missing,
            augmentations=options.augmentations if split == "train" else (),
        )
        for split, part in records.items()
    }
    return Source(
        name=name,
        task=options.task,
        encoders=fitted,
        splits=splits,
        classes=() if options.task in ("none", "joint") else tuple(classes),
        labels={label: tuple(names) for label, names in labels.items()} if options.task == "joint" else {},
        warnings=tuple(warnings),
        **more,
    )


def configured(encoder: Encoder, settings: Mapping[str, Any], *, modality: str, is_fitted: bool = False) -> Encoder:
    """A modality's encoder with other values of some of its fields; its mean and std are kept if it `is_fitted`."""
    fields = _fields(encoder)
    if unknown := [name for name in settings if name not in fields]:
        has = f"the {encoder.kind} encoder of {modality!r} has no such setting"
        raise ValueError(f"{unknown[0]}: {has}; known: {', '.join(sorted(fields))}")
    kept = {name: value for name, value in encoder.to_dict().items() if is_fitted or name not in ("mean", "std")}
    try:
        return type(encoder).from_dict({**kept, **settings})
    except TypeError as error:  # a value of another type than the field's
        raise ValueError(f"{modality}: {error}") from error


def choose_encoders(
    name: str, offered: Mapping[str, Encoder | str], train: Records, options: SourceOptions
) -> dict[str, Encoder]:
    """The encoders of the modalities that are read, without normalisation; arguments as in `make_source`."""
    wanted = options.modalities or tuple(offered)
    if absent := [modality for modality in wanted if modality not in offered]:
        raise ValueError(f"modalities: the source {name!r} has {', '.join(offered)}; got {absent[0]!r}")
    if absent := [modality for modality in options.encoder_settings if modality not in ("*", *wanted)]:
        raise ValueError(f"encoders: the source {name!r} has {', '.join(wanted)}; got {absent[0]!r}")
    signals = EncodedRecords(records=train, encoders={})
    for_all = options.encoder_settings.get("*", {})
    chosen: dict[str, Encoder] = {}
    for modality in wanted:
        encoder, own = offered[modality], options.encoder_settings.get(modality, {})
        kind = encoder if isinstance(encoder, str) else encoder.kind
        fields = _fields(ENCODERS[kind] if isinstance(encoder, str) else encoder)  # or one of the user's own
        settings = {**{key: value for key, value in for_all.items() if key in fields}, **own}
        if options.encoders is not None:
            given = options.encoders.get(modality)
            if given is None or given.kind != kind:
                found = "none" if given is None else f"one of kind {given.kind}"
                raise ValueError(f"encoders: expected one of kind {kind} for {modality!r}, got {found}")
            encoder = given
        elif isinstance(encoder, str):
            types, named = field_types(ENCODERS[kind]), settings.keys() & fields - {"mean", "std"}
            try:
                of_grid = {key: checked(key, settings[key], types[key]) for key in settings if key in named}
                found = {**ENCODERS[kind].chosen_settings(signals.raws(modality, LOOKED_AT), of_grid), **of_grid}
                usual = {} if options.task == "none" else ENCODERS[kind].for_labels(found)
                encoder = ENCODERS[kind].from_dict({**usual, **found})
            except ValueError as error:
                raise ValueError(f"{modality}: {error}") from error
        if settings:
            encoder = configured(encoder, settings, modality=modality, is_fitted=options.encoders is not None)
        chosen[modality] = encoder
    for setting in for_all:
        if not any(setting in _fields(encoder) for encoder in chosen.values()):
            kinds = ", ".join(f"{modality} ({encoder.kind})" for modality, encoder in chosen.items())
            raise ValueError(f"{setting}: no modality of the source {name!r} has such a setting; it has {kinds}")
    return chosen


def _fields(encoder: Encoder | type[Encoder]) -> set[str]:
    return {each.name for each in dataclasses.fields(encoder)}


def _with_targets(name: str, table: Table, options: SourceOptions, warnings: list[str]) -> Table:
    """The rows that have the task's target; without a task, those of training that have none come last."""
    if table.only_trains is None:
        return table
    is_without, splits = table.only_trains[table.rows], table.splits[table.rows]
    if options.task == "none":
        kept = np.flatnonzero(~is_without | (splits == TRAIN))
        return table.take(kept[np.argsort(is_without[kept], kind="stable")])
    target = TARGETS[options.task][0]
    if is_without.all():
        raise ValueError(f"{name}: expected examples with {target}, found none")
    return left_out(table, is_without, target, warnings, is_named=True)


def left_out(table: Table, is_out: np.ndarray, target: str, warnings: list[str], *, is_named: bool = False) -> Table:
    """The other rows, with a warning for each split that loses some because they have no target."""
    splits = table.splits[table.rows]
    for number, split in enumerate(SPLITS):
        if len(rows := np.flatnonzero(is_out & (splits == number))):
            what, example = ("files", f", for example {table[int(rows[0])].name}") if is_named else ("examples", "")
            count = f"{len(rows)} of {int((splits == number).sum())} {what} of {split}"
            warnings.append(f"{count} have no {target} and are left out{example}")
    return table.take(~is_out)


def _choose_classes(
    name: str,
    classes: Sequence[str],
    table: Table,
    own: Sequence[str],
    options: SourceOptions,
    warnings: list[str],
) -> tuple[tuple[str, ...], Table]:
    """The classes of the task, and the table with their numbers; `own`: the data's names of classes."""
    given = options.classes
    target = "label" if "label" in table.targets and options.task != "multilabel" else "labels"
    if options.task in ("classification", "multilabel"):
        if own and given:  # first the data's numbers become its names
            classes, table = choose_classes(name, classes, table, own, options, warnings, target=target)
            return choose_classes(name, classes, table, given, ReadSettings(), warnings, target=target)
        return choose_classes(name, classes, table, given or own, options, warnings, target=target)
    if options.only_classes or options.leave_out_classes:
        if options.task != "none" or not classes:
            raise ValueError(f"only_classes, leave_out_classes: the source {name!r} has no classes for {options.task}")
        return (), choose_classes(name, classes, table, (), options, warnings, target=target)[1]
    if options.task == "segmentation":
        return choose_mask_classes(name, classes, table, given, warnings)
    if options.task == "regression" and classes:
        return choose_values(name, classes, table, given, warnings)
    if given:
        raise ValueError(f"classes: the source {name!r} has none; got {', '.join(given)}")
    return tuple(classes), table


def _without_markers(table: Table, names: Sequence[str], warnings: list[str]) -> Table:
    """The table without numbers to regress that stand for missing ones: absurdly far from all others in training."""
    column, rows = table.targets["values"], table.split(TRAIN).rows
    chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MOST_TARGETS)).astype(np.int64)]
    known = np.full((len(chosen), len(names)), np.nan)
    for place, row in enumerate(chosen):
        with contextlib.suppress(ValueError):  # found again, and named, when it is read as an example
            known[place] = np.nan if (values := column[int(row)]) is None else values
    apart = values_apart(known) if len(known) else set()
    for number, value in sorted(apart):
        first = chosen[int(np.argmax(known[:, number] == value))]
        example = replace(table, rows=np.array([first]))[0].name
        count = int((known[:, number] == value).sum())
        where = f"{example}{f' and {count - 1} more' if count > 1 else ''}"
        warnings.append(f"{names[number]}: {value:g} of {where} lies far from all others: taken for a missing one")
    if not apart:
        return table
    values = Computed(len(column), partial(_marked_missing, column, apart))
    return replace(table, targets={**table.targets, "values": values})


def _marked_missing(column: Column, apart: Collection[tuple[int, float]], row: int) -> list[float] | None:
    values = column[row]
    return None if values is None else [math.nan if (n, x) in apart else x for n, x in enumerate(values)]


def _labelled(name: str, table: Table, classes: Sequence[str], warnings: list[str], *, may_be_one: bool) -> Table:
    """The rows that have a label, and what is odd about the classes; `may_be_one`: of several that are known."""
    numbers, splits = table.cells("label"), table.splits[table.rows]
    present = np.unique(numbers[(splits == splits.min(initial=TEST)) & (numbers >= 0)])
    if len(present) < (1 if may_be_one else 2) and (splits == TRAIN).any():
        found = f"only {classes[present[0]]!r:.60}" if len(present) else "none"
        least = "examples with a label" if may_be_one else "at least two classes with training examples"
        raise ValueError(f"{name}: expected {least}, found {found}")
    if absent := [each for number, each in enumerate(classes) if number not in present]:
        warnings.append(f"classes without training examples: {example_list(absent, 5)}")
    return left_out(table, numbers < 0, "label", warnings)
