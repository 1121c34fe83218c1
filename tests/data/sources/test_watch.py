"""The built-in set `watch`: facts about the data, the split by people, and its baseline."""

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_within

from hiperceiver.data.augment import augmentations_from_settings
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.example import Example
from hiperceiver.data.sources import watch
from hiperceiver.data.sources.source import Source
from hiperceiver.data.sources.watch import read_recordings

from .reading import built_in

open_watch = built_in("watch")


def people(source: Source, split: str) -> set[str]:
    return {record.name.split(",")[0] for record in records(source, split)}


def records(source: Source, split: str) -> list:
    dataset = source.splits[split]
    assert isinstance(dataset, EncodedRecords)
    return [dataset.records[index] for index in range(len(dataset))]


def test_the_recordings_are_what_they_should_be() -> None:
    recordings = read_recordings()
    assert len(recordings.readings) == 140
    assert {each.shape[1] for each in recordings.readings} == {6}
    assert all(np.isfinite(each).all() for each in recordings.readings)
    assert np.bincount(recordings.exercise).tolist() == [20] * 7
    assert np.unique(recordings.person).tolist() == list(range(1, 11))
    assert np.unique(recordings.side).tolist() == [0, 1]


def test_windows_and_their_labels() -> None:
    source = open_watch(task="classification")
    assert {name: len(part) for name, part in source.splits.items()} == {"train": 2489, "validation": 367, "test": 749}
    assert source.classes == ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
    assert source.modalities["motion"].grid == (128,)
    assert source.modalities["motion"].channels == 6
    recordings = read_recordings()
    example = source.splits["test"][50]
    assert isinstance(example, Example)
    number, start = (int(example.name.replace(",", "").split()[place]) for place in (3, 5))
    assert example.targets["label"].item() == recordings.exercise[number]
    shown = source.encoders["motion"].to_value(example.inputs["motion"])
    readings = recordings.readings[number][start : start + 128]
    assert_close(shown, readings, terms=4, dtype=torch.float32)


def test_nobody_is_in_two_splits() -> None:
    source = open_watch()
    assert people(source, "test") == {"person 5", "person 8"}
    assert people(source, "validation") == {"person 6"}
    assert len(people(source, "train")) == 7
    other = open_watch(test_people=(6,))
    assert people(other, "test") == {"person 6"}
    assert people(other, "validation") == {"person 7"}
    assert people(open_watch(test_people=tuple(range(6, 11))), "validation") == {"person 1"}
    assert people(open_watch(validation_people=(1, 2)), "validation") == {"person 1", "person 2"}


def test_the_default_people_hold_each_exercise_in_its_share() -> None:
    source = open_watch()
    count = {
        name: np.bincount([record.targets["label"] for record in records(source, name)], minlength=7)
        for name in source.splits
    }
    total = sum(count.values())
    assert np.abs(count["test"] / total - 0.2).max() < 0.02
    assert np.abs(count["validation"] / total - 0.1).max() < 0.02


def test_joint_labels() -> None:
    source = open_watch(task="joint")
    assert source.labels == {"exercise": read_recordings().exercises, "side": ("left", "right")}
    for record, example in zip(records(source, "train")[::500], list(range(0, 2489, 500)), strict=True):
        found = source.splits["train"][example]
        assert isinstance(found, Example)
        assert {name: value.item() for name, value in found.targets.items()} == {
            "exercise": record.targets["exercise"],
            "side": record.targets["side"],
        }


def test_the_baseline_is_that_of_the_docstring() -> None:
    baseline = open_watch(task="classification").baseline
    joint = open_watch(task="joint").baseline
    assert baseline is not None and joint is not None
    assert baseline().metrics == pytest.approx({"accuracy": 0.873, "balanced_accuracy": 0.885}, abs=0.005)
    assert joint().metrics == pytest.approx(
        {"score": 0.9005, "exercise_accuracy": 0.873, "side_accuracy": 0.928}, abs=0.005
    )
    assert open_watch().baseline is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_people": ()}, r"test_people: expected one or more of 1 to 10, got \[\]"),
        ({"test_people": (11,)}, r"test_people: expected one or more of 1 to 10, got \[11\]"),
        ({"validation_people": (5,)}, "validation_people: expected others than those for test, got 5"),
        (
            {"test_people": tuple(range(1, 10)), "validation_people": (10,)},
            "test_people: .* left for training, got all",
        ),
        (
            {"task": "joint", "augmentations": augmentations_from_settings({"mirror": True})},
            "mirror: puts the watch on the other arm, and the label 'side' would not follow; leave it out",
        ),
        ({"task": "regression"}, "task: the source 'watch' has targets for classification, joint; got 'regression'"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        open_watch(**settings)


def test_a_damaged_file_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    path = tmp_path / "watch_dataset.npy"
    path.write_bytes(packaged := b"\x93NUMPY\x01\x00v\x00{")
    assert packaged
    monkeypatch.setattr(watch, "packaged_files", lambda *_, **__: [path])
    read_recordings.cache_clear()
    try:
        with pytest.raises(ValueError, match=f"^{path}: .*$"):
            open_watch()
    finally:
        read_recordings.cache_clear()


def test_training_sees_normalised_readings() -> None:
    source = open_watch()
    seen = torch.stack([source.splits["train"][index].inputs["motion"] for index in range(0, 2489, 25)])
    assert_within(seen.mean((0, 1)), 0, 0.2)  # of every 25th example
    assert_within(seen.std((0, 1)), 1, 0.25)
