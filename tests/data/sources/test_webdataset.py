"""Shards as strangers write them: examples are found by headers alone, and damage costs no more than what it hit."""

import io
import json
import pickle
import re
import tarfile
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hiperceiver.data.example import BadExample, Example
from hiperceiver.data.loading import train_loader
from hiperceiver.data.sources.source import Source
from hiperceiver.data.sources.webdataset import read_shard

from ..pictures import jpeg, write
from ..signals import npy, off, tar, wav
from .reading import layout

open_webdataset, matches = layout("webdataset")

SMALL: dict[str, Any] = {"encoder_settings": {"*": {"size": 8}}}
RED, GREEN = (220, 30, 30), (30, 200, 30)


def shard(path: Path, count: int = 10, *, start: int = 0, names: bool = False) -> Path:
    """Pictures with classes: even ones are red and of class 0 (`cat`)."""
    files: dict[str, bytes] = {}
    for n in range(start, start + count):
        files[f"{n:04}.jpg"] = jpeg(RED if n % 2 == 0 else GREEN)
        files[f"{n:04}.cls"] = (("cat", "dog")[n % 2] if names else str(n % 2)).encode()
    return tar(path, files)


def read(source: Source) -> list[Example | BadExample]:
    return [dataset[n] for dataset in source.splits.values() for n in range(len(dataset))]


def bad(source: Source) -> dict[str, str]:
    return {example.name: example.reason for example in read(source) if isinstance(example, BadExample)}


def refused(message: str, folder: Path, **settings: Any) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        open_webdataset(folder, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [False, True])
def test_pictures_with_classes(tmp_path: Path, names: bool) -> None:
    shard(tmp_path / "train-000000.tar", names=names)
    shard(tmp_path / "train-000001.tar", start=10, names=names)
    shard(tmp_path / "validation-000000.tar", 4, names=names)
    shard(tmp_path / "test" / "000000.tar", 6, names=names)
    assert matches(tmp_path)
    source = open_webdataset(tmp_path, task="classification", **SMALL)
    assert {split: len(part) for split, part in source.splits.items()} == {"train": 20, "validation": 4, "test": 6}
    assert source.classes == (("cat", "dog") if names else ("0", "1"))
    assert source.warnings == ()
    for example in read(source):
        assert isinstance(example, Example)
        colour = example.inputs["image"].mean(0)
        assert (colour[0] > colour[1]) == (example.targets["label"] == 0)
    assert read(source)[12].name == "train-000001.tar/0012"
    assert open_webdataset(tmp_path, task="classification", classes=["cat", "dog"], **SMALL).classes == ("cat", "dog")
    write(tmp_path / "classes.txt", b"cat\ndog\n")
    assert open_webdataset(tmp_path, task="classification", **SMALL).classes == ("cat", "dog")
    plain = open_webdataset(tmp_path, **SMALL)
    assert [x.name for x in read(plain)] == [x.name for x in read(source)]


def test_examples_are_read_by_any_process_in_any_order(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", 40)
    train = open_webdataset(tmp_path, task="classification", **SMALL).splits["train"]
    here = [batch.inputs["image"] for batch in train_loader(train, batch_size=5, seed=0, num_batches=8)]
    there = [b.inputs["image"] for b in train_loader(train, batch_size=5, seed=0, num_batches=8, num_workers=2)]
    assert all(torch.equal(x, y) for x, y in zip(here, there, strict=True))
    again = [b.inputs["image"] for b in train_loader(train, batch_size=5, seed=0, num_batches=3, start_batch=5)]
    assert all(torch.equal(x, y) for x, y in zip(here[5:], again, strict=True))
    first, copied = train[3], pickle.loads(pickle.dumps(train))[3]  # noqa: S301 - our own
    assert isinstance(first, Example)
    assert torch.equal(copied.inputs["image"], first.inputs["image"])


def test_files_of_every_kind(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for n in range(12):
        rng = np.random.default_rng(n)
        fields = {"label": ["cat", "dog"][n % 2], "tags": ["old", "red"][: n % 3], "age": n, "size": None}
        files |= {
            f"./deep/{n}.JPG" if n % 2 else f"./deep/{n}.png": jpeg(),
            f"./deep/{n}.wav": wav(100 + 20 * n),
            f"./deep/{n}.accel.npy": npy(rng.normal(size=(9, 2))),
            f"./deep/{n}.off": off(rng.normal(size=(20, 3))),
            f"./deep/{n}.txt": b"a text",
            f"./deep/{n}.json": json.dumps(fields).encode(),
        }
    tar(tmp_path / "0.tar", files)
    source = open_webdataset(tmp_path, task="classification", **SMALL)
    assert list(source.modalities) == ["image", "audio", "points"]
    assert source.classes == ("cat", "dog")
    assert not bad(source)
    columns = {"x": "accel.npy", "bytes": "txt", "image": "png"}
    asked = open_webdataset(tmp_path, columns=columns, missing="absent", **SMALL)
    kinds = {name: encoder.kind for name, encoder in asked.encoders.items()}
    assert kinds == {"x": "series", "bytes": "bytes", "image": "image"}
    assert asked.modalities["x"].grid == (9,)
    found = [example for example in read(asked) if isinstance(example, Example)]
    assert sum(bool(x.is_padding["image"].all()) for x in found if "image" in x.is_padding) == 6
    several = open_webdataset(tmp_path, task="multilabel", label_field="tags", columns={"audio": "wav"})
    assert several.classes == ("old", "red")
    for example in read(several):
        assert isinstance(example, Example)
        n = int(example.name.rpartition("/")[2])
        assert example.targets["labels"].tolist() == [[0, 0], [1, 0], [1, 1]][n % 3]
    values = open_webdataset(tmp_path, task="regression", value_fields=["age", "size"], columns={"audio": "wav"})
    assert values.classes == ("age", "size")
    for example in read(values):
        assert isinstance(example, Example)
        assert example.targets["values"][0] == int(example.name.rpartition("/")[2])
        assert example.targets["values"][1].isnan()
    refused("columns: expected one of the endings .*, got 'gif'", tmp_path, columns={"image": "gif"})
    refused("columns: expected a kind among .*, got 'noise'", tmp_path, columns={"x": "wav:noise"})
    refused("for regression expected value_fields, found none", tmp_path, task="regression")
    tar(tmp_path / "odd" / "0.tar", {"1.xyzzy": b"", "1.wav": wav()})
    refused("columns: expected its kind, for example 'xyzzy:series'", tmp_path / "odd", columns={"x": "xyzzy"})


@pytest.mark.parametrize("share", [0.3, 0.5, 0.77, 0.98])
def test_examples_before_a_damage_are_used(tmp_path: Path, share: float) -> None:
    content = shard(tmp_path / "whole" / "train-0.tar", 20).read_bytes()
    end = content.index(b"0019.cls")
    write(tmp_path / "cut" / "train-0.tar", content[: round(share * end)])
    samples, fault, _ = read_shard(tmp_path / "cut", "train-0.tar")
    assert fault in ("is truncated", "is truncated or damaged", "is damaged")
    assert round(share * 20) - 2 <= len(samples) <= round(share * 20)
    source = open_webdataset(tmp_path / "cut", task="classification", **SMALL)
    assert source.warnings[0] == f"train-0.tar: {fault}; {len(samples)} examples of it are used"
    assert len(read(source)) == len(samples)
    assert not bad(source)


def test_a_damaged_header_is_no_end(tmp_path: Path) -> None:
    path = shard(tmp_path / "train-0.tar", 20)
    content = bytearray(path.read_bytes())
    place = content.index(b"0010.jpg")
    content[place : place + 300] = b"x" * 300
    path.write_bytes(content)
    samples, fault, _ = read_shard(tmp_path, path.name)
    assert fault == "is damaged"
    assert len(samples) == 9


def test_shards_that_are_none(tmp_path: Path) -> None:
    shard(tmp_path / "train-0.tar")
    write(tmp_path / "train-1.tar", b"")
    write(tmp_path / "train-2.tar", b"not a tar file at all" * 100)
    tar(tmp_path / "train-3.tar", {})
    (tmp_path / "train-4.tar").mkdir()
    tar(tmp_path / "more.tar", {"1.jpg": jpeg()})
    source = open_webdataset(tmp_path, task="classification", **SMALL)
    assert len(read(source)) == 10
    assert len(source.warnings) == 3
    assert source.warnings[0] == "1 shards of no split are left out, for example more.tar"
    assert source.warnings[1] == "train-1.tar: is empty (0 bytes); 0 examples of it are used"
    assert source.warnings[2].startswith("train-2.tar: is no tar file (")


def test_bad_examples_are_skipped(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for n in range(12):
        files |= {f"{n}.wav": wav(100.0 + n), f"{n}.cls": str(n % 2).encode()}
    files |= {
        "empty.wav": b"",
        "empty.cls": b"0",
        "silent.wav": wav(0.0),
        "silent.cls": b"0",
        "cut.wav": wav()[:30],
        "cut.cls": b"1",
        "words.wav": b"words",
        "words.cls": b"1",
        "mute.cls": b"1",
        "binary.wav": wav(),
        "binary.cls": b"\xff\xd8",
        "list.wav": wav(),
        "list.json": b"[1, 2]",
        "broken.wav": wav(),
        "broken.json": b"{",
        "unlabelled.wav": wav(),
    }
    tar(tmp_path / "0.tar", files)
    source = open_webdataset(tmp_path, task="classification")
    # A record that cannot even be made is named by the fault.
    lines = [f"{name}: {reason}".partition("0.tar/")[2] for name, reason in bad(source).items()]
    found = dict(line.split(": ", 1) for line in lines)
    assert found.keys() == {"empty", "silent", "cut", "words", "mute", "binary", "list", "broken"}
    assert found["mute"] == "has no audio"
    assert found["list"] == "its label cannot be read: expected an object {...} in its json"
    assert any("have no label and are left out" in warning for warning in source.warnings)
    (tmp_path / "0.tar").write_bytes(b"")
    assert sum(reason.endswith("the shard is shorter than when it was opened") for reason in bad(source).values()) > 10


def test_links_in_shards_are_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        link = tarfile.TarInfo("1.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    refused("expected examples for training, found none", tmp_path)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    classify: dict[str, Any] = {"task": "classification", **SMALL}
    refused("gone: no such folder", tmp_path / "gone")
    refused("expected shards .*, found none$", write(tmp_path / "none" / "1.jpg", jpeg()).parent)
    assert not matches(tmp_path / "none")
    write(tmp_path / "packed" / "train.tar.gz", b"")
    refused("found none, only train.tar.gz, which must be unpacked", tmp_path / "packed")
    write(tmp_path / "empty" / "train.tar", b"")
    refused(r"found none \(train.tar: is empty \(0 bytes\)", tmp_path / "empty")
    tar(tmp_path / "odd" / "0.tar", {"1.xyz1": b"?", "1.cls": b"0"})
    refused("expected files of a known kind in the shards, found \\*.xyz1, cls", tmp_path / "odd")
    tar(tmp_path / "plain" / "0.tar", {f"{n}.jpg": jpeg() for n in range(10)})
    refused(
        r"for classification expected a class \(cls, or label in json\), found none", tmp_path / "plain", **classify
    )
    refused("for multilabel expected a list of classes", tmp_path / "plain", task="multilabel")
    refused("task: the source .* has targets for .*; got 'joint'", tmp_path / "plain", task="joint")
    tar(tmp_path / "one" / "0.tar", {f"{n}.{x}": c for n in range(10) for x, c in [("jpg", jpeg()), ("cls", b"0")]})
    refused("expected at least two classes with .*, found only '0'", tmp_path / "one", **classify)
    shard(tmp_path / "more" / "0.tar")
    refused("classes: expected only cat .*found 1", tmp_path / "more", classes=["cat"], **classify)
    refused("columns: expected at least one modality", tmp_path / "more", columns={})


def test_files_that_nobody_reads_are_counted(tmp_path: Path) -> None:
    """Of names with dots before their ending the key is another one than meant."""
    files: dict[str, bytes] = {}
    for n in range(12):
        key = f"22.{n:04}" if n % 2 else f"{n:04}"
        files |= {f"{key}.jpg": jpeg(), f"{key}.cls": str(n % 3).encode()}
    tar(tmp_path / "0.tar", files)
    source = open_webdataset(tmp_path, task="classification", **SMALL)
    (warning,) = [each for each in source.warnings if "passed over" in each]
    assert warning.startswith("12 files in shards are passed over, for example *.00")
    assert warning.endswith(": a key ends at the first dot of a name, and no signal ends so")


def test_files_without_an_ending_are_counted(tmp_path: Path) -> None:
    files: dict[str, bytes] = {"README": b"x", "a/LICENSE": b"x", ".hidden": b"x"}
    for n in range(8):
        files |= {f"{n}.jpg": jpeg(), f"{n}.cls": str(n % 2).encode()}
    tar(tmp_path / "0.tar", files)
    source = open_webdataset(tmp_path, task="classification", **SMALL)
    (warning,) = [each for each in source.warnings if "passed over" in each]
    why = "because their names have no ending or they are no plain files"
    assert warning == f"2 files in shards are passed over, {why}"


@pytest.mark.parametrize(
    ("names", "is_said"), [(("tr-0", "tr-1", "te-0"), True), (("a-0", "a-1"), False), (("0", "1"), False)]
)
def test_shards_that_are_named_by_parts_that_nobody_knows_are_said(
    tmp_path: Path, names: tuple[str, ...], is_said: bool
) -> None:
    for name in names:
        shard(tmp_path / f"{name}.tar")
    warning = (
        "shards of several names all train, te-0.tar, tr-0.tar: splits are found by train, validation or test in their"
        " names"
    )
    assert (warning in open_webdataset(tmp_path, task="classification", **SMALL).warnings) == is_said


def labelled(source: Source) -> dict[str, list[str]]:
    """Name of each example -> the classes under which it stands."""
    found: dict[str, list[str]] = {}
    for example in read(source):
        assert isinstance(example, Example), example
        found.setdefault(example.name, []).append(source.classes[int(example.targets["label"])])
    return found


@pytest.mark.parametrize("order", ["kinds apart", "shuffled", "labels first"])
def test_files_of_one_example_may_stand_anywhere_in_a_shard(tmp_path: Path, order: str) -> None:
    names = [f"{n:04}.{ending}" for ending in ("jpg", "cls") for n in range(12)]
    if order == "shuffled":
        names = list(np.random.default_rng(0).permutation(names))
    content = {name: jpeg() if name.endswith("jpg") else f"{int(name[:4]) % 3}".encode() for name in names}
    tar(tmp_path / "0.tar", content if order != "labels first" else dict(reversed(content.items())))
    source = open_webdataset(tmp_path, task="classification", **SMALL)
    assert labelled(source) == {f"0.tar/{n:04}": [str(n % 3)] for n in range(12)}
    assert source.warnings == ()


def test_a_key_that_comes_again_is_another_example_and_is_said(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for n in range(12):
            for ending, content in (("jpg", jpeg()), ("cls", str(n % 2).encode())):
                member = tarfile.TarInfo(f"{n // 2}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    source = open_webdataset(tmp_path, task="classification", **SMALL)
    found = {name: sorted(classes) for name, classes in labelled(source).items()}
    assert found == {f"0.tar/{n}": ["0", "1"] for n in range(6)}
    assert any(each.startswith("6 keys stand again in their shard") for each in source.warnings)


def test_leftovers_capitals_and_marks_in_shards(tmp_path: Path) -> None:
    """Of one rule with folders; every text is read with one rule."""
    files: dict[str, bytes] = {}
    for n in range(12):
        word = "k\u00e4se" if n % 2 else "brot"
        label = unicodedata.normalize("NFD", word) if n < 6 else word
        encoding = ("utf-8", "utf-8-sig", "utf-16")[n % 3]
        files |= {f"{n}.JPG": jpeg(), f"{n}.CLS" if n % 4 else f"{n}.cls": f" {label}\n".encode(encoding)}
        files |= {f"@eaDir/{n}.jpg": jpeg(), f"__MACOSX/{n}.jpg": jpeg(), f"a/.thumbnails/{n}.jpg": jpeg()}
    tar(tmp_path / "0.tar", files)
    source = open_webdataset(tmp_path, task="classification", **SMALL)
    assert source.classes == ("brot", "k\u00e4se")
    assert labelled(source) == {f"0.tar/{n}": [source.classes[n % 2]] for n in range(12)}


def test_lists_in_messages_are_short_and_say_where_keys_end(tmp_path: Path) -> None:
    tar(tmp_path / "0.tar", {f"22.{n:04}.jpg": jpeg() for n in range(40)})
    expected = "found *.0000.jpg, 0001.jpg, 0002.jpg, 0003.jpg, 0004.jpg and 35 more; a key ends at the first dot"
    refused(re.escape(expected), tmp_path)


def test_shards_of_other_words_and_of_none(tmp_path: Path) -> None:
    for name in ("train", "eval", "extra"):
        shard(tmp_path / "a" / f"{name}-0.tar")
    source = open_webdataset(tmp_path / "a", task="classification", **SMALL)
    assert len(source.splits["test"]) == 10
    assert "1 shards of no split are left out, for example extra-0.tar" in source.warnings
    for name in ("val", "extra"):
        shard(tmp_path / "b" / f"{name}-0.tar")
    source = open_webdataset(tmp_path / "b", task="classification", **SMALL)
    assert {split: len(part) for split, part in source.splits.items()} == {"train": 10, "validation": 10}
    assert "1 shards that name no split are taken for training, for example extra-0.tar" in source.warnings


def test_keys_are_the_same_however_their_accents_are_written(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for n in range(10):
        files[unicodedata.normalize("NFC", f"ö{n}.jpg")] = jpeg((RED, GREEN)[n % 2])
        files[unicodedata.normalize("NFD", f"ö{n}.cls")] = unicodedata.normalize(
            ("NFC", "NFD")[n % 2], "äb"[n % 2]
        ).encode()
    tar(tmp_path / "0.tar", files)
    tar(tmp_path / "a" / "b" / "deep.tar", files)
    source = open_webdataset(tmp_path, task="classification", **SMALL)
    assert (len(read(source)), bad(source), source.classes) == (10, {}, ("b", "ä"))
    assert source.warnings == ("1 files lie too deep and are left out, for example a/b/deep.tar",)


def test_several_signals_of_one_kind_are_said(tmp_path: Path) -> None:
    files = {f"{n}.{ending}": jpeg() for n in range(10) for ending in ("jpg", "png")}
    tar(tmp_path / "0.tar", {**files, **{f"{n}.cls": str(n % 2).encode() for n in range(10)}})
    source = open_webdataset(tmp_path, task="classification", **SMALL)
    assert (len(read(source)), bad(source)) == (10, {})
    assert source.warnings == ("10 files are passed over, because image has several (*.jpg and *.png of 0.tar/0)",)


def test_class_numbers_may_be_whole_floats_and_blank_is_none(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for n in range(20):
        files[f"{n}.jpg"] = jpeg()
        files[f"{n}.json"] = json.dumps({"label": (1.0, 0.0, None, "", " ")[n % 5]}).encode()
    tar(tmp_path / "a.tar", files)
    source = open_webdataset(tmp_path, task="classification", **SMALL)
    assert source.describe()[1] == "classes: 2; 0 4, 1 4"
    assert not bad(source)


def test_packed_shards_and_links_are_said(tmp_path: Path) -> None:
    shard(tmp_path / "train-0.tar")
    write(tmp_path / "train-1.tgz", b"packed")
    with tarfile.open(tmp_path / "train-0.tar", "a") as archive:
        link = tarfile.TarInfo("0100.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "0001.jpg"
        archive.addfile(link)
    warnings = open_webdataset(tmp_path, **SMALL).warnings
    assert "1 packed shards are passed over, unpack them to .tar: train-1.tgz" in warnings
    why = "because their names have no ending or they are no plain files"
    assert f"1 files in shards are passed over, {why}" in warnings
