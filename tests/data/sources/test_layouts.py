"""Folders as people have them: what is taken for what, what is passed over, and what is refused."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hiperceiver.data.sources import find_source, open_source
from hiperceiver.data.sources.tree import Tree

from ..pictures import encoded, jpeg, write
from ..signals import npy, tar, wav
from .reading import counts, labels

RED, GREEN = (220, 30, 30), (30, 200, 30)
FISH, SALAMANDER = "n01443537", "n01629819"


def class_folders(root: Path, count: int = 6, names: tuple[str, ...] = ("a", "b")) -> Path:
    for name in names:
        for number in range(count):
            write(root / name / f"{number}.jpg", jpeg(RED if name == names[0] else GREEN))
    return root


def opened(folder: Path, **settings: Any) -> Any:
    return open_source(folder, **{"task": "classification", "size": 8, **settings})


def refused(message: str, folder: Path, **settings: Any) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        opened(folder, **settings)
    assert "\n" not in str(caught.value)


def tiny(root: Path) -> Path:
    for name in (FISH, SALAMANDER):
        for number in range(10):
            write(root / "train" / name / "images" / f"{name}_{number}.JPEG", jpeg())
        write(root / "train" / name / f"{name}_boxes.txt", b"boxes")
    for number in range(4):
        write(root / "val" / "images" / f"val_{number}.JPEG", jpeg())
        write(root / "test" / "images" / f"test_{number}.JPEG", jpeg())
    lines = [f"val_{number}.JPEG\t{(FISH, SALAMANDER)[number % 2]}\t0\t0\t9\t9" for number in range(4)]
    write(root / "val" / "val_annotations.txt", "\n".join(lines).encode())
    write(root / "wnids.txt", f"{SALAMANDER}\n{FISH}\n".encode())
    write(root / "words.txt", f"{FISH}\tgoldfish, Carassius auratus\n{SALAMANDER}\tsalamander\n".encode())
    return root


@pytest.mark.parametrize("inside", [".", "tiny-imagenet-200"])
def test_tiny_imagenet(tmp_path: Path, inside: str) -> None:
    tiny(tmp_path / inside)
    assert find_source(tmp_path).layout == "tinyimagenet"
    source = opened(tmp_path)
    assert source.classes == ("goldfish", "salamander")
    found = counts(source)
    assert (found["train"] + found["validation"], found["test"]) == (20, 4)
    assert list(labels(source, "test").values()) == ["goldfish", "salamander"] * 2
    assert source.warnings == ("4 pictures of test have no labels and are passed over",)
    assert open_source(tmp_path).modalities["image"].grid == (64, 64)
    (tmp_path / inside / "val" / "images" / "val_2.JPEG").unlink()
    assert "1 listed pictures of val are not there: val_2.JPEG" in opened(tmp_path).warnings
    write(tmp_path / inside / "val" / "val_annotations.txt", b"val_0.JPEG\n")
    refused("val_annotations.txt: expected a picture and its class in each line, got 'val_0.JPEG'", tmp_path)


def test_a_class_that_test_does_not_have(tmp_path: Path) -> None:
    """As in the folder of IMDB."""
    for split, names in {"train": ("neg", "pos", "unsup"), "test": ("neg", "pos")}.items():
        for name in names:
            for number in range(12):
                write(tmp_path / split / name / f"{number}_1.txt", f"a text of {name} {number}".encode())
    source = open_source(tmp_path, task="classification")
    assert source.classes == ("neg", "pos", "unsup")
    assert "test has no example of unsup" in source.describe()
    for settings in ({"leave_out_classes": ["unsup"]}, {"only_classes": ["neg", "pos"]}):
        chosen = open_source(tmp_path, task="classification", **settings)
        assert chosen.classes == ("neg", "pos")
        assert sum(counts(chosen).values()) == 48
        plain = open_source(tmp_path, **settings)
        assert counts(plain) == counts(chosen)
    model = open_source(tmp_path, task="classification", classes=["pos", "neg"], leave_out_classes=["unsup"])
    assert model.classes == ("pos", "neg")
    with pytest.raises(ValueError, match="classes: expected only pos, neg, found unsup in .*leave_out_classes"):
        open_source(tmp_path, task="classification", classes=["pos", "neg"])
    with pytest.raises(ValueError, match="only_classes: expected some of neg, pos, unsup, got 'good'"):
        open_source(tmp_path, task="classification", only_classes=["good"])


def test_splits_beside_a_stranger(tmp_path: Path) -> None:
    for part in ("train", "test", "unlabeled"):
        class_folders(tmp_path / "stranger" / part)
    source = opened(tmp_path / "stranger")
    assert source.classes == ("a", "b")
    assert counts(source)["test"] == 12
    assert "folders beside those of the splits are passed over: unlabeled" in source.warnings
    assert opened(tmp_path / "stranger", split_folders=False).classes == ("test", "train", "unlabeled")


def test_only_a_test_split(tmp_path: Path) -> None:
    class_folders(tmp_path / "alone" / "test")
    encoders = opened(class_folders(tmp_path / "train")).encoders
    source = open_source(tmp_path / "alone", task="classification", encoders=encoders, classes=["b", "a"])
    assert (counts(source), source.classes) == ({"test": 12}, ("b", "a"))


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("Train", "eval"), "test"),
        (("train_set", "test_set"), "test"),
        (("train2017", "val2017"), "validation"),
        (("TRAINING", "Dev"), "validation"),
        (("train ", "evaluation"), "test"),
        (("trainset", "valid"), "validation"),
        (("trn", "tst"), "test"),
    ],
)
def test_other_words_for_splits_are_said(tmp_path: Path, names: tuple[str, str], splits: str) -> None:
    for name in names:
        class_folders(tmp_path / name)
    source = opened(tmp_path)
    assert (source.classes, counts(source)[splits]) == (("a", "b"), 12)
    said = [f"{name} is {split}" for name, split in zip(names, ("train", splits), strict=True) if name.lower() != split]
    assert f"splits by the names of folders: {', '.join(said)}" in source.warnings


def test_what_lies_beside_or_inside_splits_is_said_or_refused(tmp_path: Path) -> None:
    for part in ("train", "test", "eval"):
        class_folders(tmp_path / "beside" / part)
    write(tmp_path / "beside" / "stray.jpg", jpeg())
    warnings = opened(tmp_path / "beside").warnings
    assert "folders beside those of the splits are passed over: eval" in warnings
    assert "files beside those of the splits are passed over: stray.jpg" in warnings
    for part in ("fit", "check"):
        class_folders(tmp_path / "unknown" / part)
    said = "each of check, fit holds folders named a, b: classes are the outer ones"
    assert any(each.startswith(said) for each in opened(tmp_path / "unknown").warnings)
    class_folders(tmp_path / "wrapped" / "data" / "train")
    class_folders(tmp_path / "wrapped" / "data" / "val")
    refused(
        "split_folders: found train, val in the class folder data; .* or name .*wrapped/data if", tmp_path / "wrapped"
    )
    for name in ("cat", "dog"):
        class_folders(tmp_path / "turned" / name, names=("train", "test"))
    refused("split_folders: found test, train in the class folder cat; put them around", tmp_path / "turned")
    assert opened(tmp_path / "turned", split_folders=False).classes == ("cat", "dog")
    class_folders(tmp_path / "named", names=("train", "test"))
    refused("train: expected a folder of files per class, .*; split_folders false if it is a class", tmp_path / "named")
    class_folders(tmp_path / "twice" / "val")
    class_folders(tmp_path / "twice" / "validation")
    refused("expected one folder per split, got val, validation; or split_folders false", tmp_path / "twice")


def test_what_lies_beside_splits_of_pictures_and_masks_is_said(tmp_path: Path) -> None:
    mask = encoded(Image.fromarray(np.eye(16, 20, dtype=np.uint8)))
    for split in ("train2017", "val2017"):
        for number in range(3):
            for folder, content in (("images", jpeg()), ("masks", mask)):
                name = f"{number}.{'jpg' if folder == 'images' else 'png'}"
                write(tmp_path / "inside" / folder / split / name, content)
                write(tmp_path / "around" / split / folder / name, content)
    for folder in ("inside/images/unlabeled2017", "around/unlabeled2017"):
        write(tmp_path / folder / "0.jpg", jpeg())
    for folder, beside in (("inside", "images/unlabeled2017"), ("around", "unlabeled2017")):
        source = opened(tmp_path / folder, task="segmentation")
        assert counts(source) == {"train": 3, "validation": 3}
        assert f"folders beside those of the splits are passed over: {beside}" in source.warnings
    write(tmp_path / "inside" / "masks" / "unlabeled2017" / "0.png", mask)
    reason = "split_folders: expected true if train2017, val2017 are splits, false if they are classes"
    refused(reason, tmp_path / "inside", task="segmentation")
    assert counts(opened(tmp_path / "inside", task="segmentation", split_folders=True))["validation"] == 3


def test_two_readings_are_refused_with_the_option_that_decides(tmp_path: Path) -> None:
    for part in ("train", "test", "bus"):
        for number in range(4):
            write(tmp_path / "flat" / part / f"{number}.jpg", jpeg())
    refused(
        "split_folders: expected true if test, train are splits, false if they are classes like bus", tmp_path / "flat"
    )
    assert opened(tmp_path / "flat", split_folders=False).classes == ("bus", "test", "train")
    assert counts(open_source(tmp_path / "flat", size=8, split_folders=True))["test"] == 4
    class_folders(tmp_path / "both")
    tar(tmp_path / "both" / "old.tar", {"1.jpg": jpeg()})
    refused("layout: .* fits webdataset, folder, expected one of them to be chosen", tmp_path / "both")
    assert opened(tmp_path / "both", layout="folder").classes == ("a", "b")
    tar(tmp_path / "listed" / "a.tar", {"1.jpg": jpeg()})
    write(tmp_path / "listed" / "metadata.csv", b"file_name,label\n1.jpg,a\n")
    refused("layout: .* fits webdataset, table, folder, expected one of them to be chosen", tmp_path / "listed")
    write(tmp_path / "published" / "JPEGImages" / "1.jpg", jpeg())
    write(tmp_path / "published" / "Annotations" / "1.xml", b"<a/>")
    write(tmp_path / "published" / "chair" / "train" / "1.off", b"OFF")
    refused("layout: .* fits .*voc.*, expected one of them to be chosen", tmp_path / "published")


def test_of_equally_many_files_the_pictures_are_read_and_gifs_as_clips(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(3):
            write(tmp_path / "captions" / name / f"{number}.jpg", jpeg())
            write(tmp_path / "captions" / name / f"{number}.txt", b"a cat")
    assert opened(tmp_path / "captions").encoders.keys() == {"image"}


def test_leftovers_of_systems_are_passed_over(tmp_path: Path) -> None:
    class_folders(tmp_path)
    paths = (
        *("@eaDir/bar/x.jpg", "a/@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg", "$RECYCLE.BIN/x.jpg", "a/.DS_Store"),
        *(
            "RECYCLER/x.jpg",
            "#recycle/x.jpg",
            "@tmp/x.jpg",
            "__MACOSX/a/._0.jpg",
            "lost+found/x.jpg",
            "FOUND.000/x.jpg",
        ),
        *(".ipynb_checkpoints/x-checkpoint.jpg", "a/.ipynb_checkpoints/0-checkpoint.jpg", ".Trash-1000/files/x.jpg"),
        *("System Volume Information/x.jpg", "Network Trash Folder/x.jpg", "b/~$0.jpg", "b/Thumbs.db", "b/desktop.ini"),
    )
    for path in paths:
        write(tmp_path / path, jpeg())
    source = opened(tmp_path)
    assert (source.classes, sum(counts(source).values())) == (("a", "b"), 12)
    assert source.warnings == ()
    assert f"passed over: {len(paths)} hidden files and folders or leftovers of systems" in source.describe()


def test_what_was_found_is_described(tmp_path: Path) -> None:
    source = opened(class_folders(tmp_path, names=("cat", "dog")), split_rule="rows")
    assert source.describe() == [
        f"data: {tmp_path}, layout folder; train 8, validation 2, test 2",
        "classes: 2; cat 6, dog 6",
        "image: image, tokens 8 x 8 x 3; "
        "the first is 8 x 8 x 3 (rows x columns x channels), 24 to 226, stored as 16 x 20",
    ]


def test_the_stored_shape_and_rate_are_described(tmp_path: Path) -> None:
    for number in range(6):
        write(tmp_path / "sounds" / f"{number}.wav", wav(rate=32000, seconds=0.5))
        write(tmp_path / "series" / f"{number}.npy", npy(np.arange(30.0).reshape(10, 3)))
    sounds, series = open_source(tmp_path / "sounds"), open_source(tmp_path / "series")
    assert sounds.describe()[-1].startswith("audio: audio, tokens 8000 x 1 at 16000 Hz; the first is 8000 x 1 (samples")
    assert sounds.describe()[-1].endswith(", stored as 16000 x 1 at 32000 Hz")
    assert series.describe()[-1].endswith("the first is 10 x 3 (steps x channels), 0 to 29")
    shorter = open_source(tmp_path / "series", encoder_settings={"series": {"length": 4}})
    assert shorter.describe()[-1].endswith("the first is 4 x 3 (steps x channels), 9 to 20, stored as 10 x 3")


def test_a_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(tmp_path)
    scanned: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scanned.append(str(path)) or scandir(path))
    open_source(tmp_path, size=8, encoder_settings={"image": {"mean": [0, 0, 0], "std": [1, 1, 1]}})
    assert sorted(scanned) == sorted(map(str, (tmp_path, tmp_path / "a", tmp_path / "b")))


def test_listing_takes_time_linear_in_the_files(tmp_path: Path) -> None:
    for folder in range(20):
        (tmp_path / str(folder)).mkdir()
        for number in range(500):
            (tmp_path / str(folder) / f"{number}.jpg").touch()
    start = time.perf_counter()
    assert len(list(Tree(tmp_path).below())) == 10_000
    assert time.perf_counter() - start < 2
