"""How a source is put together: modalities, splits, normalisation, and what every source may be told."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from closeness import assert_digits_close

from hiperceiver.data.augment import augmentations_from_settings
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders import ImageEncoder, SeriesEncoder
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.members import drawn_by_rows
from hiperceiver.data.record import Record
from hiperceiver.data.sources.source import Baseline, Source, SourceOptions, configured, make_source
from hiperceiver.modality import Modality

from .reading import bad, counts, examples, table_of

CLASSES = ("cat", "dog")
TASKS = ("none", "classification", "multilabel", "segmentation", "regression", "joint")
LABELS: dict[str, Sequence[str]] = {"mood": ("calm", "wild"), "age": ()}


def record(number: int, part: str = "train", *, label: int | None = None) -> Record:
    """Two modalities, and targets for every task."""
    rng = np.random.default_rng(number)
    return Record(
        name=f"{part} {number}",
        raws={
            "photo": rng.integers(0, 256, (4, 4, 3), dtype=np.uint8),
            "motion": 100 + 10 * rng.normal(size=(8, 1)),
        },
        targets={
            "label": number % 2 if label is None else label,
            "labels": [number % 2],
            "values": [float(number)],
            "segmentation": np.full((4, 4), number % 2, dtype=np.uint8),
            "mood": number % 2,
            "age": float(number),
        },
    )


def records(count: int, part: str = "train") -> list[Record]:
    return [record(number, part) for number in range(count)]


def offered() -> dict[str, Encoder]:
    return {"photo": ImageEncoder(size=4), "motion": SeriesEncoder(length=8)}


def made(
    task: str = "none", parts: dict[str, Any] | None = None, *, classes: Sequence[str] = CLASSES, **options: Any
) -> Source:
    return make_source(
        name="pets",
        table=table_of(parts or {"train": records(40)}),
        encoders=offered(),
        options=SourceOptions(task=task, **{"split_rule": "rows", **options}),  # type: ignore[arg-type]
        classes=classes,
        labels=LABELS,
    )


def names(source: Source) -> dict[str, list[str]]:
    return {split: [example.name for example in examples(source, split)] for split in source.splits}


def refused(message: str, *arguments: Any, **options: Any) -> None:
    with pytest.raises(ValueError, match=f"^{message}$") as caught:
        made(*arguments, **options)
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------------------------------- splits


@pytest.mark.parametrize("rule", ["names", "rows"])
@pytest.mark.parametrize("given", [{}, {"test": 6}, {"validation": 5}, {"validation": 5, "test": 6}])
def test_every_task_gets_the_same_splits(given: dict[str, int], rule: str) -> None:
    parts = {"train": records(40), **{part: records(count, part) for part, count in given.items()}}
    found = [names(made(task, parts, split_rule=rule)) for task in TASKS]
    assert all(each == found[0] for each in found)
    everything = [name for split in found[0].values() for name in split]
    assert len(everything) == len(set(everything)) == 40 + sum(given.values())
    for part, count in given.items():
        assert found[0][part] == [f"{part} {number}" for number in range(count)]


@pytest.mark.parametrize(
    ("given", "expected", "warnings"),
    [
        ({}, {"train": 28, "validation": 4, "test": 8}, ()),
        ({"test": 6}, {"train": 36, "validation": 4, "test": 6}, ()),
        ({"validation": 5}, {"train": 40, "validation": 5}, ("there is no split for test",)),
        ({"validation": 5, "test": 0}, {"train": 40, "validation": 5}, ("there is no split for test",)),
    ],
)
def test_what_is_missing_is_taken_out_of_training(
    given: dict[str, int], expected: dict[str, int], warnings: tuple[str, ...]
) -> None:
    parts = {"train": records(40), **{part: records(count, part) for part, count in given.items()}}
    source = made("classification", parts)
    assert list(source.splits) == list(expected)
    assert counts(source) == expected
    assert source.warnings == warnings


def test_splits_are_drawn_class_by_class_by_their_seed() -> None:
    rare = [record(number, label=int(number >= 36)) for number in range(40)]
    source = made("classification", {"train": rare})
    for split, each in {"train": 2, "validation": 1, "test": 1}.items():
        assert sum(int(example.targets["label"]) for example in examples(source, split)) == each
    again, other = made(split_seed=0), made(split_seed=1)
    assert names(again) == names(made()) != names(other)
    own = make_source(
        name="pets",
        table=table_of({"train": records(40)}),
        encoders=offered(),
        options=SourceOptions(split_rule="rows"),
        split_seed=1,
    )
    assert names(own) == names(other)


def test_dealing_without_a_test_share() -> None:
    splits = drawn_by_rows(np.repeat([0, 1, 2], [1, 2, 30]), 0, test_share=0.0)
    assert np.bincount(splits, minlength=3).tolist() == [29, 4, 0]


# ---------------------------------------------------------------------------------------------------------------- tasks


@pytest.mark.parametrize("task", TASKS)
def test_only_the_targets_of_the_task_are_given(task: str) -> None:
    source = made(task)
    wanted = {
        "none": set(),
        "classification": {"label"},
        "multilabel": {"labels"},
        "segmentation": {"segmentation"},
        "regression": {"values"},
        "joint": {"mood", "age"},
    }
    assert set(examples(source, "test")[0].targets) == wanted[task]
    assert source.classes == (() if task in ("none", "joint") else CLASSES)
    assert source.labels == (LABELS if task == "joint" else {})


def test_examples_without_a_label_are_left_out_of_classification_alone() -> None:
    parts = {"train": [record(n, label=-1 if n % 5 == 4 else n % 2) for n in range(40)], "test": [record(9, label=-1)]}
    plain, labelled = made("none", parts), made("classification", parts)
    assert sum(counts(plain).values()) == 41
    assert sum(counts(labelled).values()) == 32
    assert "test" not in labelled.splits
    assert any(warning.endswith("have no label and are left out") for warning in labelled.warnings)
    assert set(names(labelled)["validation"]) <= set(names(plain)["validation"])


def test_too_few_classes_or_examples() -> None:
    refused("pets: expected examples, found none that can be used", parts={"train": []})
    tested = made("classification", {"test": records(3)}, encoders=made().encoders)
    assert (counts(tested), tested.warnings) == ({"test": 3}, ("there is no split for train and validation",))
    start = "pets: expected at least two classes with training examples, found"
    alone = {"train": [record(number, label=1) for number in range(9)]}
    refused(f"{start} only 'dog'", "classification", alone)
    unknown = {"train": [record(number, label=-1) for number in range(9)]}
    refused(f"{start} none", "classification", unknown)
    assert counts(made("none", alone)) == counts(made("regression", alone))
    seven = made("classification", {"train": records(20)}, classes=[*CLASSES, *"abcdefg"])
    assert seven.warnings == ("classes without training examples: a, b, c, d, e and 2 more",)


# ----------------------------------------------------------------------------------------------------------- modalities


def test_modalities_are_chosen_in_their_order() -> None:
    assert list(made().encoders) == ["photo", "motion"]
    source = made(modalities=["motion", "photo"])
    assert list(source.encoders) == list(examples(source, "train")[0].inputs) == ["motion", "photo"]
    alone = made(modalities=["motion"])
    assert alone.modalities == {"motion": Modality(grid=(8,), channels=1)}
    refused("modalities: the source 'pets' has photo, motion; got 'sound'", modalities=["sound"])


def test_missing_modalities_are_bad_or_absent() -> None:
    alone = [Record(name=str(n), raws={"motion": np.ones(8) * n}) for n in range(10)]
    parts = {"train": records(9), "validation": alone, "test": alone}
    options = SourceOptions(missing="absent")
    source = make_source(name="pets", table=table_of(parts), encoders=offered(), options=options)
    assert all(example.is_padding["photo"].all() for example in examples(source, "test"))
    strict = make_source(name="pets", table=table_of(parts), encoders=offered(), options=SourceOptions())
    assert bad(strict, "test") == [f"{n}: has no photo" for n in range(10)]
    with pytest.raises(ValueError, match="nothing to take mean and std from: there is no training example"):
        make_source(name="pets", table=table_of({"train": alone}), encoders=offered(), options=options)


def test_encoders_are_fitted_to_training_examples_alone() -> None:
    far = [Record(name="far", raws={"photo": record(0).raws["photo"], "motion": np.full((8, 1), 1e6)})]
    source = made(parts={"train": records(40), "test": far, "validation": far})
    motion = source.encoders["motion"]
    assert isinstance(motion, SeriesEncoder)
    values = np.concatenate([each.raws["motion"] for each in records(40)])
    assert_digits_close(motion.mean, [values.mean()])
    assert_digits_close(motion.std, [values.std()])
    seen = torch.stack([example.inputs["motion"] for example in examples(source, "train")])
    assert_digits_close(seen.double().mean(), 0.0, scale=motion.mean[0] / motion.std[0])


def test_encoders_are_given_or_told() -> None:
    told = made(encoder_settings={"motion": {"mean": [5.0], "std": [2.0]}, "*": {"length": 4, "size": 2}})
    assert told.encoders["motion"] == SeriesEncoder(length=4, mean=(5.0,), std=(2.0,))
    assert told.modalities["photo"].grid == (2, 2)
    given = {"photo": ImageEncoder(size=4, mean=(0.1, 0.2, 0.3)), "motion": SeriesEncoder(length=8, mean=(7.0,))}
    assert made(encoders=given).encoders == given
    shorter = made(encoders=given, encoder_settings={"motion": {"length": 4}})
    assert shorter.encoders["motion"] == SeriesEncoder(length=4, mean=(7.0,))
    refused("encoders: expected one of kind series for 'motion', got none", encoders={"photo": given["photo"]})
    swapped = {"photo": given["motion"], "motion": given["photo"]}
    refused("encoders: expected one of kind image for 'photo', got one of kind series", encoders=swapped)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sound": {"rate": 1}}, "encoders: the source 'pets' has photo, motion; got 'sound'"),
        (
            {"motion": {"lenth": 4}},
            "lenth: the series encoder of 'motion' has no such setting; known: array_name, channel_names, channels, .*",
        ),
        (
            {"*": {"rate": 1}},
            r"rate: no modality of the source 'pets' has .*; it has photo \(image\), motion \(series\)",
        ),
        ({"motion": {"length": 0}}, "length: .*got 0"),
        ({"motion": {"length": "long"}}, ".*got 'long'.*|motion: .*"),
        ({"motion": {"length": None}}, ".*got None.*|motion: .*"),
    ],
)
def test_wrong_settings_of_encoders_are_one_line(settings: dict[str, Any], message: str) -> None:
    refused(message, encoder_settings=settings)


def test_a_setting_leaves_the_normalisation_of_fitted_encoders_alone() -> None:
    encoder = SeriesEncoder(length=8, mean=(7.0,), std=(2.0,))
    assert configured(encoder, {"length": 4}, modality="x") == SeriesEncoder(length=4)
    assert configured(encoder, {"length": 4}, modality="x", is_fitted=True).to_dict()["mean"] == [7.0]


# ------------------------------------------------------------------------------------------------------- random changes


def test_changes_are_those_of_training_alone() -> None:
    flip = augmentations_from_settings({"flip": {"probability": 1.0}})
    plain, flipped = made("segmentation"), made("segmentation", augmentations=flip)
    for split in plain.splits:
        pairs = zip(examples(plain, split), examples(flipped, split), strict=True)
        assert all(torch.equal(a.inputs["photo"], b.inputs["photo"]) for a, b in pairs)
        part = flipped.splits[split]
        assert isinstance(part, EncodedRecords)
        assert part.augmentations == (flip if split == "train" else ())
        changed = part.augmented(0, np.random.default_rng(0))
        assert torch.equal(changed.inputs["photo"], examples(plain, split)[0].inputs["photo"]) == (split != "train")
    refused("flip: expected a modality of kind .*, got motion .series.", augmentations=flip, modalities=["motion"])


# -------------------------------------------------------------------------------------------------------------- options


def test_fewer_training_examples() -> None:
    whole, few = made(), made(max_train_examples=5)
    assert counts(few) == {**counts(whole), "train": 5}
    assert set(names(few)["train"]) < set(names(whole)["train"])
    assert names(few)["train"] == names(made("regression", max_train_examples=5))["train"]
    assert names(few)["test"] == names(whole)["test"]
    assert counts(made(max_train_examples=1000)) == counts(whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "detection"}, "task: expected one of none, classification, .*, got 'detection'"),
        ({"max_train_examples": 0}, "max_train_examples: expected a whole number >= 1, got 0"),
        ({"missing": "ignore"}, "missing: expected one of skip, absent, got 'ignore'"),
    ],
)
def test_wrong_options_are_one_line(options: dict[str, Any], message: str) -> None:
    refused(message, **options)


def test_a_task_is_refused_where_there_are_no_targets_for_it() -> None:
    SourceOptions(task="none").check_task("pets", ("classification",))
    SourceOptions(task="classification").check_task("pets", ("classification",))
    with pytest.raises(ValueError, match="^task: the source 'pets' has targets for classification; got 'joint'$"):
        SourceOptions(task="joint").check_task("pets", ("classification",))


def test_baselines_are_measured_when_they_are_asked_for() -> None:
    asked = []

    def baseline(source: Source) -> Baseline:
        asked.append(source)
        return Baseline(name="nothing", metrics={"accuracy": len(source.splits["test"]) / 8})

    source = make_source(
        name="pets",
        table=table_of({"train": records(40)}),
        encoders=offered(),
        options=SourceOptions(task="classification", split_rule="rows"),
        classes=CLASSES,
        baseline=baseline,
        note="a note",
        warnings=["odd"],
    )
    assert not asked
    assert source.baseline is not None
    assert source.baseline().metrics == {"accuracy": 1.0}
    assert (asked[0].note, source.warnings) == ("a note", ("odd",))
    assert made().baseline is None


def test_some_rows_of_some() -> None:
    some = table_of({"train": records(10)}).take([1, 3, 5, 7]).take([0, 3])
    assert [some[index].name for index in range(len(some))] == ["train 1", "train 7"]
