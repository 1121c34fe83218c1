"""Records as examples: what is missing, what is wrong, and what is changed at random."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from closeness import assert_equal

from hiperceiver.data.augment import augmentations_from_settings
from hiperceiver.data.augment.signals import CropTime
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders import AudioEncoder, ImageEncoder, SeriesEncoder
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.example import AugmentedDataset, BadExample, Example
from hiperceiver.data.record import Record

from .pictures import write

SERIES = SeriesEncoder(length=4)
PICTURE = ImageEncoder(size=4)
BOTH: dict[str, Encoder] = {"image": PICTURE, "motion": SERIES}


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)


def record(name: str = "1", *, raws: dict[str, Any] | None = None, **targets: Any) -> Record:
    return Record(name=name, raws={"motion": np.arange(4.0)} if raws is None else raws, targets=targets)


def read(each: Record, *targets: str, encoders: dict[str, Encoder] | None = None, **settings: Any) -> Example:
    encoders = encoders or {"motion": SERIES}
    return EncodedRecords(records=[], encoders=encoders, targets=targets, **settings).encode(each)


def refused(message: str, each: Record, *targets: str, **settings: Any) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        read(each, *targets, **settings)


# -------------------------------------------------------------------------------------------------------------- targets


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("label", 2, torch.tensor(2)),
        ("label", np.int64(0), torch.tensor(0)),
        ("label", -1, torch.tensor(-100)),
        ("labels", [2, 0], torch.tensor([1.0, 0.0, 1.0])),
        ("labels", [], torch.zeros(3)),
        ("values", [1.5, float("nan")], torch.tensor([1.5, float("nan")])),
        ("values", np.array([1, 2]), torch.tensor([1.0, 2.0])),
        ("mood", 1, torch.tensor(1)),
        ("mood", -1, torch.tensor(-100)),
        ("age", 2.5, torch.tensor(2.5)),
        ("age", np.float64("nan"), torch.tensor(float("nan"))),
    ],
)
def test_targets_are_tensors_of_the_kind_that_batches_hold(name: str, given: Any, expected: torch.Tensor) -> None:
    found = read(record(**{name: given}), name, num_classes=3).targets
    assert list(found) == [name]
    assert found[name].dtype == expected.dtype
    assert_equal(found[name], expected, equal_nan=True)


def test_targets_that_are_not_asked_for_are_not_looked_at() -> None:
    assert read(record(label=1, labels=["nonsense"])).targets == {}
    refused("has no values", record(label=1), "values")
    for labels in ([3], [0, -1]):
        refused(r"its labels are .*, expected 0 to 2", record(labels=labels), "labels", num_classes=3)


# --------------------------------------------------------------------------------------------------- missing modalities


def test_what_is_missing_is_bad_or_absent() -> None:
    alone = record(raws={"motion": np.arange(4.0), "image": None})
    refused("has no image", alone, encoders=BOTH)
    found = read(alone, encoders=BOTH, missing="absent")
    assert found.inputs["image"].shape == (16, 3)
    assert not found.inputs["image"].any()
    assert found.is_padding["image"].all()
    assert "motion" not in found.is_padding
    assert torch.equal(found.inputs["motion"], read(alone).inputs["motion"])
    refused("has none of the modalities image, motion", record(raws={}), encoders=BOTH, missing="absent")
    with pytest.raises(ValueError, match="^missing: expected one of skip, absent, got 'ignore'$"):
        EncodedRecords(records=[], encoders=BOTH, missing="ignore")  # type: ignore[arg-type]


def test_a_damaged_modality_is_bad_even_where_it_may_be_missing() -> None:
    refused(
        r"its motion: expected a series of shape .*, got \(2, 2, 2\)",
        record(raws={"motion": np.zeros((2, 2, 2)), "image": picture()}),
        encoders=BOTH,
    )
    with pytest.raises(ValueError, match="NaN|finite"):
        read(record(raws={"motion": np.full(4, np.nan), "image": picture()}), encoders=BOTH, missing="absent")


# --------------------------------------------------------------------------------------------------------- bad examples


class Damaged:
    """Records of which one cannot even be listed."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Record:
        if index == 1:
            raise ValueError(self.reason)
        return record(str(index), label=index % 2)


def test_bad_examples_are_named_once(tmp_path: Path) -> None:
    empty = write(tmp_path / "a.png", b"")
    dataset = EncodedRecords(
        records=[
            Record(name="cats/a.png", raws={"image": str(empty)}),
            Record(name="cats/a.png", raws={"image": empty}),
            Record(name=str(empty), raws={"image": empty}),
            Record(name="row 3", raws={"image": b""}),
            Record(name="row 4", raws={}),
        ],
        encoders={"image": PICTURE},
    )
    found = [str(dataset[index]) for index in range(len(dataset))]
    assert found[:2] == ["cats/a.png: is empty (0 bytes)"] * 2
    assert found[2] == f"{empty}: is empty (0 bytes)"
    assert found[3].startswith("row 3: ")
    assert found[4] == "row 4: has no image"
    assert all(isinstance(dataset[index], BadExample) for index in range(len(dataset)))
    assert str(dataset.augmented(4, np.random.default_rng(0))) == found[4]


@pytest.mark.parametrize(
    ("reason", "name", "rest"),
    [
        ("0.tar/17: breaks off", "0.tar/17", "breaks off"),
        ("0.tar/17: a: b", "0.tar/17", "a: b"),
        ("breaks off", "record 1", "breaks off"),
    ],
)
def test_records_that_cannot_be_made_are_bad_examples(reason: str, name: str, rest: str) -> None:
    dataset = EncodedRecords(records=Damaged(reason), encoders={"motion": SERIES}, targets=("label",), num_classes=2)
    assert dataset[1] == BadExample(name, rest)
    assert isinstance(dataset[0], Example)
    assert dataset.targets_of(1) is None
    assert dataset.targets_of(2) == {"label": torch.tensor(0)}
    assert [raw.tolist() for raw in dataset.raws("motion", 10)] == [[0, 1, 2, 3]] * 2


def test_raws_are_evenly_spread_and_as_they_are_stored() -> None:
    records = [record(str(n), raws={"motion": n} if n != 50 else {}) for n in range(101)]
    dataset = EncodedRecords(records=records, encoders={})
    assert list(dataset.raws("motion", 3)) == [0, 100]
    assert list(dataset.raws("motion", 5)) == [0, 25, 75, 100]
    assert len(list(dataset.raws("motion", 1000))) == 100
    assert list(dataset.raws("image", 5)) == []


# ------------------------------------------------------------------------------------------------------- random changes


def test_changes_are_made_only_where_they_are_asked_for() -> None:
    records = [Record(name=str(n), raws={"image": picture(n)}) for n in range(3)]
    flipping = augmentations_from_settings({"flip": {"probability": 1.0}})
    plain = EncodedRecords(records=records, encoders={"image": PICTURE})
    dataset = EncodedRecords(records=records, encoders={"image": PICTURE}, augmentations=flipping)
    assert isinstance(dataset, AugmentedDataset)
    for index, each in enumerate(records):
        pixels = each.raws["image"].copy()
        first, second = plain[index], dataset[index]
        changed = dataset.augmented(index, np.random.default_rng(0))
        same = plain.augmented(index, np.random.default_rng(0))
        assert all(isinstance(example, Example) for example in (first, second, changed, same))
        assert torch.equal(first.inputs["image"], second.inputs["image"])
        assert torch.equal(first.inputs["image"], same.inputs["image"])
        np.testing.assert_array_equal(PICTURE.to_value(changed.inputs["image"]), pixels[:, ::-1])
        np.testing.assert_array_equal(each.raws["image"], pixels)


def test_masks_move_with_their_pictures() -> None:
    """A mask that names the brightness of its picture does so after every change."""
    pixels = np.repeat(np.random.default_rng(0).integers(0, 3, (4, 4, 1)), 3, axis=2).astype(np.uint8)
    mask = pixels[..., 0].copy()
    mask[0, 0] = 255
    dataset = EncodedRecords(
        records=[Record(name="1", raws={"image": pixels}, targets={"segmentation": mask})],
        encoders={"image": PICTURE},
        targets=("segmentation",),
        num_classes=3,
        augmentations=augmentations_from_settings({"flip": True, "turn": True}),
    )
    seen = set()
    for seed in range(12):
        example = dataset.augmented(0, np.random.default_rng(seed))
        assert isinstance(example, Example)
        shown = torch.from_numpy(PICTURE.to_value(example.inputs["image"])[..., 0].astype(np.int64)).flatten()
        target = example.targets["segmentation"]
        assert (target == -100).sum() == 1
        assert torch.equal(shown[target >= 0], target[target >= 0])
        seen.add(tuple(target.tolist()))
    assert len(seen) > 4
    counted = dataset.targets_of(0)
    assert counted is not None
    assert torch.equal(
        counted["segmentation"].view(4, 4),
        torch.from_numpy(mask.astype(np.int64)).where(torch.from_numpy(mask != 255), -100),
    )


def test_masks_that_do_not_fit_are_named() -> None:
    def masked(mask: Any, **raws: Any) -> Record:
        return record(raws={"image": picture()} | raws, segmentation=mask)

    settings: dict[str, Any] = {"encoders": BOTH, "num_classes": 3, "missing": "absent"}
    zeros = np.zeros((4, 4), dtype=np.uint8)
    refused(
        r"its mask has 3 x 4 pixels \(height x width\), the picture 4 x 4",
        masked(zeros[1:]),
        "segmentation",
        **settings,
    )
    refused("its mask holds the class 7, expected 0 to 2", masked(zeros + 7), "segmentation", **settings)
    refused("its mask: .*", masked(b"no picture"), "segmentation", **settings)
    alone = record(raws={"motion": np.arange(4.0)}, segmentation=zeros)
    refused("has a mask but no picture", alone, "segmentation", **settings)
    found = read(masked(zeros + 255), "segmentation", **settings)
    assert (found.targets["segmentation"] == -100).all()


def test_a_modality_that_is_dropped_is_absent_from_this_example() -> None:
    dropout = augmentations_from_settings({"modality_dropout": {"probability": 0.5}})
    raws = {"motion": np.arange(4.0), "image": picture()}
    dataset = EncodedRecords(records=[record(raws=raws)], encoders=BOTH, augmentations=dropout)
    absent = []
    for seed in range(30):
        example = dataset.augmented(0, np.random.default_rng(seed))
        assert isinstance(example, Example)
        absent.append(tuple(name for name, padding in example.is_padding.items() if padding.all()))
        assert all(not example.inputs[name].any() for name in absent[-1])
    assert set(absent) == {(), ("image",), ("motion",)}


def test_what_an_augmentation_cannot_change_is_named_and_no_other_change_is_lost_in_silence() -> None:
    """Seven channels are no vectors: the noise is not left out with the tilt."""
    changes = augmentations_from_settings({"noise": True, "tilt": True})
    records = [record(raws={"motion": np.zeros((4, 7), dtype=np.float32)})]
    dataset = EncodedRecords(
        records=records, encoders={"motion": SeriesEncoder(length=4, channels=7)}, augmentations=changes
    )
    assert isinstance(dataset[0], Example)
    found = dataset.augmented(0, np.random.default_rng(0))
    assert isinstance(found, BadExample)
    assert str(found).endswith("motion: expected channels in threes for tilt, got 7")


def test_a_change_that_leaves_nothing_of_a_good_example_is_not_made() -> None:
    """Half of the recording is silent: a random part of it may be."""
    wave = np.concatenate([np.zeros(8000), np.sin(np.arange(8000) / 9)]).astype(np.float32)
    records = [Record(name="half", raws={"audio": (wave, 8000)}), Record(name="none", raws={"audio": (0 * wave, 8000)})]
    encoder = AudioEncoder(rate=8000, seconds=0.5)
    dataset = EncodedRecords(records=records, encoders={"audio": encoder}, augmentations=[CropTime(share=0.3)])
    drawn = [dataset.augmented(0, np.random.default_rng(seed)) for seed in range(20)]
    assert all(isinstance(each, Example) for each in drawn)
    assert str(dataset.augmented(1, np.random.default_rng(0))).startswith("none: is silent")
