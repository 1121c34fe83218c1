"""PASCAL VOC 2012 in its own folders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hiperceiver.data.encoders import ImageEncoder
from hiperceiver.data.sources.voc import CLASSES

from ..pictures import encoded, jpeg, write
from .reading import bad, counts, examples, layout

open_voc, matches = layout("voc")

SMALL = {"image": {"size": [16, 16]}}


def mask(number: int, size: tuple[int, int] = (20, 16)) -> bytes:
    """A palette PNG as the real ones: background, an object in the middle, its outline 255."""
    labels = np.zeros(size[::-1], dtype=np.uint8)
    labels[4:12, 5:15] = 255
    labels[5:11, 6:14] = number
    picture = Image.fromarray(labels, "P")
    picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tolist())
    return encoded(picture)


def name(number: int) -> str:
    return f"2007_{number:06}"


def voc(base: Path, *, extended: bool = False) -> Path:
    """30 pictures: 0 to 19 for training, 20 to 25 for validation, 26 to 29 in no list; 0, 1, 20, 21 have no masks."""
    for number in range(30):
        write(base / "JPEGImages" / f"{name(number)}.jpg", jpeg((number * 8, 100, 100)))
        if 2 <= number < 20 or 22 <= number < 26:
            write(base / "SegmentationClass" / f"{name(number)}.png", mask(1 + number % 20))
    sets = base / "ImageSets"
    splits = {"train": range(20), "val": range(20, 26)}
    for split, numbers in splits.items():
        masked = [name(number) for number in numbers if number % 20 >= 2]
        write(sets / "Segmentation" / f"{split}.txt", ("\n".join(masked) + "\n").encode())
        write(sets / "Main" / f"{split}.txt", ("\n".join(map(name, numbers)) + "\n").encode())
        for index, each in enumerate(CLASSES):
            lines = [f"{name(n)} {(1 if n % 20 == index else 0 if (n + 1) % 20 == index else -1):2}" for n in numbers]
            write(sets / "Main" / f"{each}_{split}.txt", ("\n".join(lines) + "\n").encode())
    if extended:
        for number in (*range(20), 26, 27):
            write(base / "SegmentationClassAug" / f"{name(number)}.png", mask(1 + number % 20))
        lines = [f"/JPEGImages/{name(n)}.jpg /SegmentationClassAug/{name(n)}.png" for n in (*range(20), 26, 27)]
        write(sets / "Segmentation" / "train_aug.txt", "\n".join(lines).encode())
    return base


@pytest.mark.parametrize("inside", [".", "VOCdevkit/VOC2012", "VOC2012"])
def test_segmentation(tmp_path: Path, inside: str) -> None:
    voc(tmp_path / inside)
    assert matches(tmp_path)
    source = open_voc(tmp_path, task="segmentation", encoder_settings=SMALL)
    assert source.classes == ("background", *CLASSES)
    assert len(source.classes) == 21
    assert source.classes[15] == "person"
    found = {split: examples(source, split) for split in source.splits}
    assert len(found["train"]) + len(found["validation"]) == 18
    assert [example.name for example in found["test"]] == [f"JPEGImages/{name(n)}.jpg" for n in range(22, 26)]
    for example in found["test"]:
        # 16 rows of a 20 x 16 picture on a 16 x 16 grid: 13 rows of picture, the rest absent and ignored.
        absent = example.is_padding["image"].view(16, 16)
        targets = example.targets["segmentation"].view(16, 16)
        assert absent.any(1).sum() == 3
        assert (targets[absent] == -100).all()
        number = int(example.name[-6:-4])
        assert set(targets[~absent].tolist()) == {0, 1 + number % 20, -100}


@pytest.mark.parametrize("inside", [".", "VOC2012"])
def test_masks_with_other_classes_have_their_names(tmp_path: Path, inside: str) -> None:
    voc(tmp_path / inside)
    own = ("_background_", *(f"part {number}" for number in range(1, 21)))
    write(tmp_path / "class_names.txt", "\n".join(own).encode())
    source = open_voc(tmp_path, task="segmentation", encoder_settings=SMALL)
    assert source.classes == ("background", *CLASSES)
    assert "class_names.txt is not read: names of classes stand in classes.txt, one a line" in source.warnings
    write(tmp_path / "classes.txt", "\n".join(own).encode())
    source = open_voc(tmp_path, task="segmentation", encoder_settings=SMALL)
    assert (source.classes, source.background_class) == (own, 0)
    turned = own[::-1]
    again = open_voc(tmp_path, task="segmentation", encoder_settings=SMALL, classes=turned)
    for mine, its in zip(examples(source, "test"), examples(again, "test"), strict=True):
        its_own = its.targets["segmentation"]
        assert torch.equal(torch.where(its_own < 0, its_own, 20 - its_own), mine.targets["segmentation"])
    with pytest.raises(
        ValueError, match=r"^classes: expected only background, aeroplane, .*, found _background_, part"
    ):
        open_voc(tmp_path, task="segmentation", encoder_settings=SMALL, classes=("background", *CLASSES))


def test_the_default_is_the_papers(tmp_path: Path) -> None:
    encoder = open_voc(voc(tmp_path)).encoders["image"]
    assert isinstance(encoder, ImageEncoder)
    assert (encoder.size, encoder.colours, encoder.fit) == ((512, 512), "RGB", "pad")


def test_extended_lists(tmp_path: Path) -> None:
    voc(tmp_path, extended=True)

    def num_train(extended: bool | None) -> int:
        source = open_voc(tmp_path, task="segmentation", extended=extended, encoder_settings=SMALL)
        found = counts(source)
        examples(source, "train")
        assert found["test"] == 4
        return found["train"] + found["validation"]

    assert num_train(None) == num_train(True) == 22
    assert num_train(False) == 18
    (tmp_path / "ImageSets" / "Segmentation" / "train_aug.txt").unlink()
    assert num_train(None) == 18
    with pytest.raises(
        ValueError, match=r"^extended: expected ImageSets/Segmentation/trainaug.txt and .*found no list$"
    ):
        num_train(True)


def test_multilabel(tmp_path: Path) -> None:
    voc(tmp_path)
    source = open_voc(tmp_path, task="multilabel", encoder_settings=SMALL)
    assert source.classes == CLASSES
    found = {split: examples(source, split) for split in source.splits}
    assert len(found["train"]) + len(found["validation"]) == 20
    assert len(found["test"]) == 6
    for part in found.values():
        for example in part:
            present = example.targets["labels"].nonzero().flatten().tolist()
            assert present == [int(example.name[-6:-4]) % 20]  # the difficult one (0) is not there


def test_what_is_held_back_in_one_task_trains_in_none(tmp_path: Path) -> None:
    voc(tmp_path)
    names: dict[str, dict[str, set[str]]] = {}
    for task in ("none", "segmentation", "multilabel"):
        source = open_voc(tmp_path, task=task, encoder_settings=SMALL)
        names[task] = {split: {example.name for example in examples(source, split)} for split in source.splits}
    for one in names.values():
        for other in names.values():
            assert one["train"].isdisjoint(other["validation"] | other["test"])
    assert len(names["none"]["test"]) == 6
    assert sum(map(len, names["none"].values())) == 30
    other = open_voc(tmp_path, split_seed=3, encoder_settings=SMALL)
    assert {example.name for example in examples(other, "validation")} != names["none"]["validation"]


def test_pictures_without_lists(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path / "JPEGImages" / f"{name(number)}.jpg", jpeg())
    (tmp_path / "Annotations").mkdir()
    assert matches(tmp_path)
    assert counts(open_voc(tmp_path, encoder_settings=SMALL)) == {"train": 14, "validation": 2, "test": 4}
    with pytest.raises(ValueError, match=r"ImageSets/Segmentation/train\.txt: no such file or directory$"):
        open_voc(tmp_path, task="segmentation", encoder_settings=SMALL)
    with pytest.raises(ValueError, match=r"ImageSets/Main/aeroplane_train\.txt: no such file or directory$"):
        open_voc(tmp_path, task="multilabel", encoder_settings=SMALL)


def test_damaged_files_are_bad_examples(tmp_path: Path) -> None:
    voc(tmp_path)
    pictures, masks = tmp_path / "JPEGImages", tmp_path / "SegmentationClass"
    (pictures / f"{name(22)}.jpg").unlink()
    (masks / f"{name(23)}.png").unlink()
    write(masks / f"{name(24)}.png", mask(7)[:80])
    write(masks / f"{name(25)}.png", mask(21))
    lines = bad(open_voc(tmp_path, task="segmentation", encoder_settings=SMALL), "test")
    reasons = (
        "no such file",
        "its mask: .*no such file",
        "its mask: .*cannot be decoded",
        "its mask holds the class 21",
    )
    for line, number, reason in zip(lines, range(22, 26), reasons, strict=True):
        assert line.startswith(f"JPEGImages/{name(number)}.jpg: ")
        assert np.char.find(line, reason.split(".*")[-1]) > 0
    write(masks / f"{name(23)}.png", encoded(Image.new("RGB", (20, 16))))
    write(masks / f"{name(24)}.png", jpeg())
    write(masks / f"{name(25)}.png", mask(7, (30, 30)))
    lines = bad(open_voc(tmp_path, task="segmentation", encoder_settings=SMALL), "test")
    assert "its mode is RGB" in lines[1]
    assert "exact class numbers, which JPEG does not keep" in lines[2]
    assert "its mask has 30 x 30 pixels (height x width), the picture 16 x 20" in lines[3]


def test_bad_layouts_are_one_line(tmp_path: Path) -> None:
    def refused(pattern: str, folder: Path = tmp_path, **options: object) -> None:
        with pytest.raises(ValueError, match=pattern) as caught:
            open_voc(folder, encoder_settings=SMALL, **options)
        assert "\n" not in str(caught.value)

    refused(rf"^{tmp_path}/gone: no such folder$", tmp_path / "gone")
    refused(rf"^{tmp_path}: expected the folder JPEGImages, found none$")
    (tmp_path / "JPEGImages").mkdir()
    assert not matches(tmp_path)
    refused("expected examples, found none that can be used")
    voc(tmp_path)
    refused("task: the source 'voc' has targets for segmentation, multilabel; got 'joint'", task="joint")
    path = tmp_path / "ImageSets" / "Main" / "cow_val.txt"
    for content, reason in (
        (b"", "is empty"),
        (b"2007_000020 yes", "expected a picture and -1, 0 or 1"),
        (b"\xff\xfe", ""),
    ):
        path.write_bytes(content)
        refused(rf"^{path}: {reason}", task="multilabel")
    path.unlink()
    refused(rf"^{path}: no such file or directory", task="multilabel")
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").unlink()
    refused(r"Segmentation/val\.txt: no such file or directory", task="segmentation")
    voc(tmp_path)
    for picture in (tmp_path / "JPEGImages").iterdir():
        picture.unlink()
    refused("nothing to take mean and std from: .*no such file", task="segmentation", extended=False)
