"""What every source gives: encoders, class names, and the examples of each split; and how one is put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, get_args

import numpy as np

from hiperceiver.data.augment import Augmentation, check_augmentations
from hiperceiver.data.encoded import EncodedRecords, Missing
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.normalisation import FITTED_TO
from hiperceiver.data.example import ExampleDataset
from hiperceiver.data.record import Record, Records
from hiperceiver.modality import Modality

SourceTask = Literal["none", "classification", "multilabel", "segmentation", "regression", "joint"]
"""What the examples' targets are: nothing, `label`, `labels`, `segmentation`, `values`, or one by each label's name."""

TARGETS: dict[str, tuple[str, ...]] = {
    "none": (),
    "classification": ("label",),
    "multilabel": ("labels",),
    "segmentation": ("segmentation",),
    "regression": ("values",),
}
"""Which of a record's targets a task wants; for `joint` the source's labels."""
SPLITS = ("train", "validation", "test")
VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What is reached without any network; a table that shows a model shows its floor beside it."""

    name: str
    """How it works, in a few words."""
    metrics: dict[str, float]
    """On the test split, by the names that the task gives them."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset that is ready for the loaders."""

    name: str
    """As it was asked for."""
    task: SourceTask
    """What the examples' targets are."""
    encoders: dict[str, Encoder]
    """Per modality; normalisation is that of the training data, or was given."""
    splits: dict[str, Any]
    """Examples by split, each an `ExampleDataset`, of which `train` may be a `StreamedExamples`; the keys are among
    `train`, `validation` and `test`, in this order."""
    classes: tuple[str, ...] = ()
    """Names of the labels, in the order of their numbers; empty if the task has none. For `regression`, the names of
    the values."""
    background_class: int | None = None
    """For `segmentation`: the class of what is no object, if there is one."""
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """For `joint`: name of each label -> its classes; none for a number."""
    floor: Callable[[], Floor] | None = None
    """Measures the floor on the test split, if there is one for this task."""
    note: str = ""
    """What must be said where results on this source are shown."""
    warnings: tuple[str, ...] = field(default=())
    """What was odd about the data and did not stop us, each in one line."""

    @property
    def modalities(self) -> dict[str, Modality]:
        """Grid and channels per modality, for the model."""
        return {name: encoder.modality for name, encoder in self.encoders.items()}


class Common(TypedDict, total=False):
    """Arguments that every source takes; see `CommonOptions`."""

    task: SourceTask
    encoders: Mapping[str, Encoder] | None
    encoder_settings: Mapping[str, Mapping[str, Any]]
    modalities: Sequence[str] | None
    missing: Missing
    augmentations: Sequence[Augmentation]
    split_seed: int | None
    max_train_examples: int | None


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """What every source may be told."""

    task: SourceTask = "none"
    """What the examples' targets are."""
    encoders: Mapping[str, Encoder] | None = None
    """To use instead of fitting normalisation to the training data, for example a pretrained model's."""
    encoder_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Modality -> fields of its encoder to replace. `*`: for each encoder that has such a field."""
    modalities: Sequence[str] | None = None
    """Which of the source's modalities are read, in this order. None: all."""
    missing: Missing = "skip"
    """What is done with an example without one of the modalities: `skip` or `absent`."""
    augmentations: Sequence[Augmentation] = ()
    """Random changes of training examples."""
    split_seed: int | None = None
    """Draws the splits where the data has none. Not the seed of a training run: keep it the same for pretraining,
    fine-tuning and evaluation. None: the source's own."""
    max_train_examples: int | None = None
    """Take only so many training examples, drawn by `split_seed`."""

    def __post_init__(self) -> None:
        if self.task not in get_args(SourceTask):
            raise ValueError(f"task: expected one of {', '.join(get_args(SourceTask))}, got {self.task!r}")
        for modality, settings in self.encoder_settings.items():
            if not isinstance(settings, Mapping):
                raise ValueError(f"encoders: expected fields of the encoder of {modality!r}, got {settings!r}")
        count = self.max_train_examples
        if count is not None and count < 1:
            raise ValueError(f"max_train_examples: expected a whole number >= 1, got {count}")

    def check_task(self, source: str, offered: Sequence[SourceTask]) -> None:
        """Refuse a task for which the source has no targets; `none` is always there."""
        if self.task != "none" and self.task not in offered:
            raise ValueError(f"task: the source {source!r} has targets for {', '.join(offered)}; got {self.task!r}")


def make_source(
    *,
    name: str,
    records: Mapping[str, Records],
    encoders: Mapping[str, Encoder],
    options: CommonOptions,
    split_seed: int = 0,
    classes: Sequence[str] = (),
    background_class: int | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    floor: Callable[[Source], Floor] | None = None,
    note: str = "",
    warnings: Sequence[str] = (),
) -> Source:
    """Put a source together: choose modalities, draw missing splits, fit encoders, wrap records.

    Args:
        name: as the user asked for it.
        records: by split, among `train`, `validation` and `test`, with all targets that are known, whatever the task:
            so every task gets the same splits. What is missing beside `train` is taken out of it, class by class (by
            the target `label`): 20% for test if there is none, 10% for validation.
        encoders: one for each modality that the source offers, with its defaults; normalisation is fitted here.
        options: what the user asked for.
        split_seed: used where the options name none.
        classes: names of the labels.
        background_class: of masks, the class of what is no object.
        labels: for joint labels, name -> names of its classes, none for a number.
        floor: measures the floor on the source's test split.
        note: what must be said where results are shown.
        warnings: what was odd about the data.

    Raises:
        ValueError: there is nothing to train on, or an option does not fit the data.
    """
    found = list(warnings)
    seed = split_seed if options.split_seed is None else options.split_seed
    chosen = _choose_encoders(name, encoders, options)
    splits = _complete_splits(name, records, seed, found)
    if options.task == "classification":
        splits = _labelled(name, splits, classes, found)
    if options.max_train_examples is not None:
        order = np.random.default_rng(seed).permutation(len(splits["train"]))
        splits["train"] = Chosen(splits["train"], np.sort(order[: options.max_train_examples]))
    targets = tuple(labels or ()) if options.task == "joint" else TARGETS[options.task]
    sets = {
        split: EncodedRecords(
            records=part, encoders=chosen, targets=targets, num_classes=len(classes), missing=options.missing
        )
        for split, part in splits.items()
    }
    chosen = _fit(chosen, sets["train"], options)
    check_augmentations(options.augmentations, {modality: each.kind for modality, each in chosen.items()})
    datasets: dict[str, ExampleDataset] = {
        split: dataclasses.replace(
            part, encoders=chosen, augmentations=tuple(options.augmentations) if split == "train" else ()
        )
        for split, part in sets.items()
    }
    source = Source(
        name=name,
        task=options.task,
        encoders=chosen,
        splits=datasets,
        classes=() if options.task in ("none", "joint") else tuple(classes),
        background_class=background_class if options.task == "segmentation" else None,
        labels={label: tuple(names) for label, names in (labels or {}).items()} if options.task == "joint" else {},
        note=note,
        warnings=tuple(found),
    )
    if floor is None:
        return source
    return dataclasses.replace(source, floor=lambda: floor(source))


class Chosen:
    """Some of a list of records."""

    def __init__(self, records: Records, indices: np.ndarray):
        self.records = records
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Record:
        return self.records[int(self.indices[index])]


def configured(encoder: Encoder, settings: Mapping[str, Any], *, modality: str, is_fitted: bool = False) -> Encoder:
    """An encoder with other values of some of its fields, given as plain values.

    Args:
        encoder: what the other fields are taken from.
        settings: fields to replace.
        modality: whose encoder it is, for messages.
        is_fitted: whether its mean and std mean anything; else they are left to be fitted.

    Raises:
        ValueError: it has no such field, or the value does not fit.
    """
    fields = {each.name for each in dataclasses.fields(encoder)}
    for field_name in settings:
        if field_name not in fields:
            raise ValueError(
                f"{field_name}: the {encoder.kind} encoder of {modality!r} has no such setting; "
                f"known: {', '.join(sorted(fields))}"
            )
    try:
        kept = {name: value for name, value in encoder.to_dict().items() if is_fitted or name not in ("mean", "std")}
        return type(encoder).from_dict({**kept, **settings})
    except TypeError as error:  # a value of another type than the field's
        raise ValueError(f"{modality}: {error}") from error


def _choose_encoders(name: str, offered: Mapping[str, Encoder], options: CommonOptions) -> dict[str, Encoder]:
    """The encoders of the modalities that are read, given ones instead of the source's."""
    wanted = tuple(options.modalities or offered)
    for modality in wanted:
        if modality not in offered:
            raise ValueError(f"modalities: the source {name!r} has {', '.join(offered)}; got {modality!r}")
    for modality in options.encoder_settings:
        if modality not in ("*", *wanted):
            raise ValueError(f"encoders: the source {name!r} has {', '.join(wanted)}; got {modality!r}")
    chosen: dict[str, Encoder] = {}
    for modality in wanted:
        encoder = offered[modality]
        if options.encoders is not None:
            given = options.encoders.get(modality)
            if given is None or given.kind != encoder.kind:
                came = "none" if given is None else f"one of kind {given.kind}"
                raise ValueError(f"encoders: expected one of kind {encoder.kind} for {modality!r}, got {came}")
            encoder = given
        fields = {each.name for each in dataclasses.fields(encoder)}
        for_all = {key: value for key, value in options.encoder_settings.get("*", {}).items() if key in fields}
        settings = {**for_all, **options.encoder_settings.get(modality, {})}
        is_fitted = options.encoders is not None
        if settings:
            encoder = configured(encoder, settings, modality=modality, is_fitted=is_fitted)
        chosen[modality] = encoder
    for setting in options.encoder_settings.get("*", {}):
        if not any(setting in {each.name for each in dataclasses.fields(encoder)} for encoder in chosen.values()):
            kinds = ", ".join(f"{modality} ({encoder.kind})" for modality, encoder in chosen.items())
            raise ValueError(f"{setting}: no modality of the source {name!r} has such a setting; it has {kinds}")
    return chosen


def _fit(encoders: dict[str, Encoder], train: EncodedRecords, options: CommonOptions) -> dict[str, Encoder]:
    """Encoders with the normalisation of training data, unless they were given or told."""
    if options.encoders is not None:
        return encoders
    told = {modality for modality, settings in options.encoder_settings.items() if "mean" in settings}
    return {
        modality: encoder if modality in told else encoder.fitted(train.raws(modality, FITTED_TO))
        for modality, encoder in encoders.items()
    }


def _complete_splits(name: str, given: Mapping[str, Records], seed: int, warnings: list[str]) -> dict[str, Records]:
    """Records by split, in order; what is missing is taken out of `train`."""
    splits = {split: given[split] for split in SPLITS if split in given and len(given[split])}
    if "train" not in splits:
        raise ValueError(f"{name}: expected examples for training, found none that can be used")
    if "validation" not in splits:
        train = splits["train"]
        test_share = TEST_SHARE if "test" not in splits else 0.0
        for split, rows in dealt(_strata(train), seed, test_share=test_share).items():
            if split == "train" or len(rows):
                splits[split] = Chosen(train, rows)
    if missing := [split for split in ("validation", "test") if split not in splits]:
        warnings.append(f"there is no split for {' and '.join(missing)}")
    return {split: splits[split] for split in SPLITS if split in splits}


def _labelled(name: str, splits: dict[str, Records], classes: Sequence[str], warnings: list[str]) -> dict[str, Records]:
    """The records that have a label, and what is odd about the classes."""
    kept: dict[str, Records] = {}
    for split, part in splits.items():
        numbers = _label_numbers(part)
        rows = np.flatnonzero(numbers >= 0)
        if split == "train":
            present = np.unique(numbers[rows])
            if len(present) < 2:
                found = f"only {classes[present[0]]!r}" if len(present) else "none"
                raise ValueError(f"{name}: expected at least two classes with training examples, found {found}")
            if absent := [each for number, each in enumerate(classes) if number not in present]:
                more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
                warnings.append(f"classes without training examples: {', '.join(absent[:5])}{more}")
        if len(rows) < len(part):
            warnings.append(
                f"{len(part) - len(rows)} of {len(part)} examples of {split} have no label and are left out"
            )
        if len(rows):
            kept[split] = part if len(rows) == len(part) else Chosen(part, rows)
    return kept


def _label_numbers(records: Records) -> np.ndarray:
    """The class number of each record; 0 where none is known, -1 where one is known to have none: int64 (records,).

    Records that are costly to read say it in an attribute `labels`, or have none.
    """
    if isinstance(records, Chosen):
        return _label_numbers(records.records)[records.indices]
    if isinstance(records, Sequence):
        return np.array([int(record.targets.get("label", 0)) for record in records], dtype=np.int64)
    labels = getattr(records, "labels", None)
    return np.zeros(len(records), dtype=np.int64) if labels is None else np.asarray(labels, dtype=np.int64)


def _strata(records: Records) -> np.ndarray:
    """What splits are drawn by, whatever the task: classes, or what records say in an attribute `strata`."""
    strata = getattr(records, "strata", None)
    return _label_numbers(records) if strata is None else strata


def dealt(labels: np.ndarray, seed: int, *, test_share: float = TEST_SHARE) -> dict[str, np.ndarray]:
    """Examples dealt to train, validation and test, class by class, so that each split has every class if it can.

    A class of two or more gives at least one to test, and one of three or more at least one to validation. Without a
    test share, a class of two or more gives one to validation.

    Args:
        labels: class numbers (examples,).
        seed: of the draw.
        test_share: of test; that of validation is 10%.

    >>> {name: len(rows) for name, rows in dealt(np.repeat([0, 1], [50, 3]), seed=0).items()}
    {'train': 36, 'validation': 6, 'test': 11}
    """
    rng = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    for number in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == number))
        num_test = max(round(test_share * len(rows)), int(len(rows) >= 2)) if test_share else 0
        least = 3 if test_share else 2
        num_validation = max(round(VALIDATION_SHARE * len(rows)), 1) if len(rows) >= least else 0
        parts["test"].append(rows[:num_test])
        parts["validation"].append(rows[num_test : num_test + num_validation])
        parts["train"].append(rows[num_test + num_validation :])
    return {name: np.sort(np.concatenate(rows)) for name, rows in parts.items()}
