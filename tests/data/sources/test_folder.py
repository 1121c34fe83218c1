"""Folders of files of every kind: what they hold is told by their names, and every fault is a line."""

import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hiperceiver.data.example import BadExample, Example
from hiperceiver.data.loading import eval_loader
from hiperceiver.data.sources.kinds import ENDINGS, kind_of
from hiperceiver.data.sources.source import Source
from hiperceiver.modality import Modality

from ..media import clip, sine, write_media
from ..pictures import encoded, gradient, jpeg, write
from ..signals import npy, off, wav
from .reading import layout

open_folder, matches = layout("folder")

SMALL: dict[str, Any] = {"encoder_settings": {"*": {"size": 8}}}


def read(source: Source) -> list[Example | BadExample]:
    return [dataset[n] for dataset in source.splits.values() for n in range(len(dataset))]


def bad(source: Source) -> dict[str, str]:
    return {example.name: example.reason for example in read(source) if isinstance(example, BadExample)}


def good(source: Source) -> list[Example]:
    found = [example for example in read(source) if isinstance(example, Example)]
    assert len(found) == len(read(source))
    return found


def refused(message: str, folder: Path, **settings: Any) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        open_folder(folder, **settings)
    assert "\n" not in str(caught.value)


def gif(seed: int = 0) -> bytes:
    frames = [Image.fromarray(np.roll(gradient(12, 16), 2 * n + seed, axis=1)) for n in range(4)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)


def cloud(seed: int, count: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3))


CONTENT = {
    "image": ("jpg", lambda n: jpeg()),
    "audio": ("wav", lambda n: wav(100 + 20 * n)),
    "video": ("gif", gif),
    "points": ("off", lambda n: off(cloud(n))),
    "series": ("npy", lambda n: npy(cloud(n, 20 + n))),
    "bytes": ("txt", lambda n: f"text number {n}".encode()),
}


def class_folder(root: Path, kind: str, count: int = 10) -> Path:
    ending, content = CONTENT[kind]
    for n in range(count):
        write(root / ("one", "two")[n % 2] / f"{n}.{ending}", content(n))
    return root


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("image", Modality(grid=(8, 8), channels=3)),
        ("audio", Modality(grid=(1600,), channels=1)),
        ("video", Modality(grid=(8, 8, 8), channels=3)),
        ("points", Modality(grid=(2048,), channels=3, num_coordinates=3)),
        ("series", Modality(grid=(29,), channels=9, is_overlapping=True)),
        ("bytes", Modality(grid=(13,), channels=5, num_categories=256 + 131_072)),
    ],
)
def test_the_kind_follows_from_the_endings(tmp_path: Path, kind: str, expected: Modality) -> None:
    class_folder(tmp_path, kind)
    write(tmp_path / "one" / "readme.xyzzy", b"of no kind")
    settings = SMALL if kind in ("image", "video") else {}
    source = open_folder(tmp_path, task="classification", **settings)
    assert source.modalities == {kind: expected}
    assert source.classes == ("one", "two")
    assert source.warnings == (f"1 files are passed over, because {kind} is read; for example one/readme.xyzzy",)
    for example in good(source):
        number = int(Path(example.name).stem)
        assert example.targets["label"].item() == number % 2
    batches = list(eval_loader(source.splits["train"], batch_size=4, num_workers=1))
    assert sum(len(batch) for batch in batches) == len(source.splits["train"])
    (tmp_path / "one" / "readme.xyzzy").unlink()  # asked for, it would be bytes as well
    plain = open_folder(tmp_path, kind=kind, **settings)
    assert [len(part) for part in plain.splits.values()] == [len(part) for part in source.splits.values()]
    assert [each.name for each in good(plain)] == [each.name for each in good(source)]


@pytest.mark.parametrize(
    ("kind", "shape", "grid"),
    [
        ("volume", (2, 3, 4), (2, 3, 4)),
        ("vector", (40,), (40,)),
        ("vector", (2, 300), (2, 100)),
        ("points", (50, 4), (2048,)),
        ("series", (50, 4), (50,)),
    ],
)
def test_what_arrays_hold_can_be_said(tmp_path: Path, kind: str, shape: tuple[int, ...], grid: tuple[int, ...]) -> None:
    for n in range(6):
        write(tmp_path / f"{n}.npy", npy(np.random.default_rng(n).normal(size=shape)))
    source = open_folder(tmp_path, kind=kind)
    assert source.encoders[kind].kind == kind
    assert source.modalities[kind].grid == grid
    assert good(source)[0].inputs[kind].isfinite().all()


def test_settings_that_were_told_are_not_chosen(tmp_path: Path) -> None:
    class_folder(tmp_path, "series")
    source = open_folder(tmp_path, encoder_settings={"series": {"length": 5}})
    assert source.modalities["series"] == Modality(grid=(5,), channels=3)
    again = open_folder(tmp_path, encoders=source.encoders)
    assert again.encoders == source.encoders
    for n in range(10):
        write(tmp_path / "named" / f"{n}.npz", b"")
        np.savez(tmp_path / "named" / f"{n}.npz", x=cloud(n), y=np.zeros(3))
    refused("series: nothing to choose its grid by: .*array_name", tmp_path / "named")
    named = open_folder(tmp_path / "named", encoder_settings={"series": {"array_name": "x"}})
    assert named.modalities["series"] == Modality(grid=(30,), channels=3)


def test_series_show_their_neighbours_where_labels_are_learned(tmp_path: Path) -> None:
    class_folder(tmp_path, "series")
    told: dict[str, Any] = {"series": {"length": 32}}
    assert open_folder(tmp_path, task="classification", encoder_settings=told).modalities["series"] == Modality(
        grid=(32,), channels=15, is_overlapping=True
    )
    assert not open_folder(tmp_path, encoder_settings=told).modalities["series"].is_overlapping
    told["series"]["context"] = 0
    assert not open_folder(tmp_path, task="classification", encoder_settings=told).modalities["series"].is_overlapping


def test_csv_files_are_series(tmp_path: Path) -> None:
    for n in range(6):
        write(tmp_path / ("up", "down")[n % 2] / f"{n}.csv", f"x,y\n1,{n}\n2,3\n".encode())
    source = open_folder(tmp_path, task="classification")
    assert source.modalities["series"] == Modality(grid=(2,), channels=2)
    assert source.classes == ("down", "up")


def test_files_of_one_name_are_one_example(tmp_path: Path) -> None:
    for n in range(10):
        write(tmp_path / "cat" / f"{n}.jpg", jpeg())
        if n != 3:
            write(tmp_path / "cat" / f"{n}.wav", wav())
    write(tmp_path / "cat" / "10.wav", wav())
    write(tmp_path / "dog" / "0.jpg", jpeg())
    write(tmp_path / "dog" / "0.wav", wav())
    source = open_folder(tmp_path, kind="image+audio", task="classification", **SMALL)
    assert list(source.modalities) == ["image", "audio"]
    assert len(read(source)) == 12
    assert bad(source) == {"cat/3.jpg": "has no audio", "cat/10.wav": "has no image"}
    absent = open_folder(tmp_path, kind="image+audio", missing="absent", **SMALL)
    found = {example.name: example for example in good(absent)}
    assert found["cat/3.jpg"].is_padding["audio"].all()
    assert found["cat/10.wav"].is_padding["image"].all()
    alone = open_folder(tmp_path, kind="image+audio", modalities=["audio"])
    assert list(alone.modalities) == ["audio"]
    refused(
        "modalities: the source .* has image, audio; got 'video'", tmp_path, kind="image+audio", modalities=["video"]
    )


def test_sound_and_pictures_of_one_clip(tmp_path: Path) -> None:
    for n in range(4):
        write_media(tmp_path / f"{n}.mp4", video=clip(), audio=sine(2.0))
    source = open_folder(tmp_path, kind="audio+video", **SMALL)
    assert list(source.modalities) == ["audio", "video"]
    assert not bad(source)
    assert list(open_folder(tmp_path, **SMALL).modalities) == ["video"]
    assert list(open_folder(tmp_path, kind="audio").modalities) == ["audio"]


def test_a_clip_without_sound_may_lack_it(tmp_path: Path) -> None:
    for n in range(10):
        write_media(tmp_path / f"{n}.mp4", video=clip(), audio=None if n == 3 else sine(2.0))
    assert bad(open_folder(tmp_path, kind="audio+video", **SMALL)) == {"3.mp4": "has no audio"}
    source = open_folder(tmp_path, kind="audio+video", missing="absent", **SMALL)
    assert not bad(source)
    absent = {each.name for each in good(source) if "audio" in each.is_padding and each.is_padding["audio"].all()}
    assert absent == {"3.mp4"}


def test_clips_of_which_none_has_sound(tmp_path: Path) -> None:
    for n in range(4):
        write_media(tmp_path / f"{n}.mp4", video=clip(), audio=None)
    found = "^audio: nothing to choose its grid by: no training example"
    refused(f"{found} has any$", tmp_path, kind="audio+video")
    refused(f"{found} can be read, the first: .*mp4: has no sound$", tmp_path, kind="audio")


def test_given_encoders_say_what_files_hold(tmp_path: Path) -> None:
    class_folder(tmp_path / "arrays", "series")
    encoders = open_folder(tmp_path / "arrays", kind="vector").encoders
    assert list(open_folder(tmp_path / "arrays", encoders=encoders).encoders) == ["vector"]
    class_folder(tmp_path / "sounds", "audio")
    refused("expected vector .npy, npz, csv, tsv, txt., found none", tmp_path / "sounds", encoders=encoders)
    refused("expected files of image .*, found only others", tmp_path / "sounds", kind="image+audio")


def test_a_modality_is_called_as_a_trained_model_calls_it(tmp_path: Path) -> None:
    for number in range(8):
        write(tmp_path / "ab"[number % 2] / f"{number}.npy", npy(np.ones((6, 2)) * number))
    encoder = open_folder(tmp_path).encoders["series"]
    source = open_folder(tmp_path, encoders={"motion": encoder})
    assert list(source.encoders) == ["motion"]
    assert all(list(example.inputs) == ["motion"] for example in good(source))
    two = {"left": encoder, "right": encoder}  # which of them is meant?
    refused("expected one of kind series for 'series', got none", tmp_path, encoders=two)


def test_settings_of_encoders_are_fields(tmp_path: Path) -> None:
    class_folder(tmp_path, "audio")
    refused("encoder_settings.audio: expected a mapping .*, got 7", tmp_path, encoder_settings={"audio": 7})


def test_a_list_of_labels(tmp_path: Path) -> None:
    rows = ["file,label,labels,age,size"]
    for n in range(20):
        write(tmp_path / "data" / f"{n}.wav", wav())
        label, labels = ("cat", "dog", "")[n % 3], ("", "old", "old;red")[n % 3]
        rows.append(f"data/{n}.wav,{label},{labels},{n},{'' if n % 5 == 0 else n / 2}")
    write(tmp_path / "data" / "unknown.wav", wav())
    write(tmp_path / "labels.csv", "\n".join([*rows, "gone.wav,cat,,1,1"]).encode())
    by_class = open_folder(tmp_path, task="classification")
    assert by_class.classes == ("cat", "dog")
    assert "labels.csv: 1 files are not there, for example gone.wav" in by_class.warnings
    assert any("for example data/unknown.wav" in warning for warning in by_class.warnings)
    assert len(good(by_class)) == 14
    several = open_folder(tmp_path, task="multilabel")
    assert several.classes == ("old", "red")
    numbers = open_folder(tmp_path, task="regression")
    assert numbers.classes == ("age", "size")
    for example in good(several):
        n = int(Path(example.name).stem)
        assert example.targets["labels"].tolist() == [[0, 0], [1, 0], [1, 1]][n % 3]
    for example in good(numbers):
        n = int(Path(example.name).stem)
        age, size = example.targets["values"].tolist()
        assert age == n
        assert np.isnan(size) if n % 5 == 0 else size == n / 2
    # Each list of names has numbers of its own: what is left out of one is looked for in that alone.
    assert len(good(open_folder(tmp_path, task="classification", leave_out_classes=("cat",), classes=("dog",)))) == 7
    dogs_first = open_folder(tmp_path, task="classification", classes=("dog", "cat"))
    assert {int(Path(each.name).stem) % 3: int(each.targets["label"]) for each in good(dogs_first)} == {0: 1, 1: 0}
    no_red = open_folder(tmp_path, task="multilabel", leave_out_classes=("red",))
    assert (no_red.classes, len(good(no_red))) == (("old",), len(good(several)))
    plain = open_folder(tmp_path)
    assert len(read(plain)) == 21
    for split in ("validation", "test"):
        tested = [[example.name for example in _all(source, split)] for source in (plain, several, numbers)]
        assert tested[0] == tested[1] == tested[2]
    assert "data/unknown.wav" in {example.name for example in _all(plain, "train")}


def _all(source: Source, split: str) -> list[Any]:
    return [source.splits[split][n] for n in range(len(source.splits[split]))]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"name,label\na,b\n", "expected the columns file and .*, found name, label"),
        (b"file,label\n1.wav,a,b\n", "line 2: expected 2 cells"),
        (b"file,age\n1.wav,old\n", "line 2: expected a number in column 'age', got 'old'"),
        (b"file,age\n1.wav,inf\n", "line 2: expected a number in column 'age', got 'inf'"),
        (b"file,label\n1.wav,a\n1.wav,b\n", "line 3: expected each file once"),
        (b"file,label\n\xff,a\n", "expected text in UTF-8, got the byte 0xff at 11; save it as UTF-8"),
        (b"file,size\n1.wav,2\n", "expected a column label, found size"),
    ],
)
def test_a_list_that_is_wrong_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    write(tmp_path / "1.wav", wav())
    write(tmp_path / "labels.csv", content)
    refused(rf"labels\.csv: {message}", tmp_path, task="classification")


def test_unlabelled_pictures_are_only_trained_on_without_a_task(tmp_path: Path) -> None:
    for n in range(20):
        write(tmp_path / "images" / f"{n}.jpg", jpeg())
        if n < 10:
            write(tmp_path / "masks" / f"{n}.png", encoded(Image.fromarray(np.eye(16, 20, dtype=np.uint8))))
    plain, masked = open_folder(tmp_path, **SMALL), open_folder(tmp_path, task="segmentation", **SMALL)
    for split in ("validation", "test"):
        assert [x.name for x in _all(plain, split)] == [x.name for x in _all(masked, split)]
    assert len(plain.splits["train"]) == len(masked.splits["train"]) + 10


@pytest.mark.parametrize("kind", list(CONTENT))
def test_damaged_files_are_bad_examples(tmp_path: Path, kind: str) -> None:
    class_folder(tmp_path, kind)
    ending, content = CONTENT[kind]
    damaged = {
        "empty": b"",
        "words": b"these are words, and nothing else at all",
        "zeros": bytes(500),
        "truncated": content(0)[: len(content(0)) // 3],
    }
    if kind == "series":
        damaged |= {
            "nan": npy(np.full((20, 3), np.nan)),
            "wide": npy(cloud(0) @ np.ones((3, 5))),
            "flat": npy(np.float32(1)),
        }
    if kind == "points":
        damaged |= {"none": b"OFF\n0 0 0\n", "nan": off(np.full((30, 3), np.nan)), "same": off(np.ones((30, 3)))}
    if kind == "audio":
        damaged |= {"silent": wav(0.0), "nothing": wav(seconds=0.0)}
    for name, each in damaged.items():
        write(tmp_path / "one" / f"{name}.{ending}", each)
    if kind == "bytes":
        damaged = {"empty": b""}
    source = open_folder(tmp_path, task="classification", **(SMALL if kind in ("image", "video") else {}))
    found = bad(source)
    assert {Path(name).stem for name in found} == set(damaged)
    assert all("\n" not in reason and reason for reason in found.values())
    batches = [batch for part in source.splits.values() for batch in eval_loader(part, batch_size=3, num_workers=1)]
    assert sum(len(batch.skipped) for batch in batches) == len(damaged)


def test_links_pipes_and_closed_files_do_not_hang(tmp_path: Path) -> None:
    class_folder(tmp_path / "data", "audio")
    os.mkfifo(tmp_path / "data" / "one" / "pipe.wav")
    os.symlink("itself.wav", tmp_path / "data" / "one" / "itself.wav")
    os.symlink("gone.wav", tmp_path / "data" / "one" / "broken.wav")
    os.symlink(tmp_path / "data", tmp_path / "data" / "two" / "round")
    write(tmp_path / "data" / "one" / "closed.wav", wav()).chmod(0)
    write(tmp_path / "data" / "two" / "locked" / "1.wav", wav()).parent.chmod(0)
    source = open_folder(tmp_path / "data", task="classification")
    (tmp_path / "data" / "two" / "locked").chmod(0o700)
    odd = [warning for warning in source.warnings if "no files are left out" in warning]
    assert len(odd) == 1
    assert odd[0].startswith("3 broken links, pipes or other things")
    if os.geteuid() != 0:
        assert bad(source).keys() == {"one/closed.wav"}
        assert any("folders cannot be listed (permission denied)" in warning for warning in source.warnings)
    else:
        assert not bad(source)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    refused("gone: no such folder", tmp_path / "gone")
    class_folder(tmp_path / "sounds", "audio")
    refused("kind: expected one of image, video, .*, got 'noise'", tmp_path / "sounds", kind="noise")
    refused("kind: expected one of .*, got 'audio\\+audio'", tmp_path / "sounds", kind="audio+audio")
    refused(r"expected volume \(npy, npz\), found none", tmp_path / "sounds", kind="volume")
    refused("for multilabel expected the file labels.csv", tmp_path / "sounds", task="multilabel")
    refused("task: the source .* has targets for .*; got 'joint'", tmp_path / "sounds", task="joint")
    refused(
        "rates: the audio encoder of 'audio' has no such setting",
        tmp_path / "sounds",
        encoder_settings={"audio": {"rates": 1}},
    )
    write(tmp_path / "bad" / "1.wav", b"")
    refused(r"audio: nothing to choose its grid by: .*is empty \(0 bytes\)", tmp_path / "bad")
    write(tmp_path / "masks" / "images" / "1.jpg", jpeg())
    write(tmp_path / "masks" / "masks" / "1.png", encoded(Image.fromarray(np.eye(16, 20, dtype=np.uint8))))
    refused(
        "holds pictures and masks, for segmentation; got 'classification'", tmp_path / "masks", task="classification"
    )


def test_the_endings_of_kinds_are_told_apart() -> None:
    several = {ending for kind in ENDINGS for ending in ENDINGS[kind] if sum(ending in e for e in ENDINGS.values()) > 1}
    assert several == {"gif"}
    assert kind_of("a.gif") == "video"
    assert kind_of("a.gif", among=["image"]) == "image"
    assert kind_of(".npy") is None


def with_masks(folder: Path, names: tuple[str, ...], numbers: tuple[int, ...] = (0, 1, 2)) -> Path:
    """Pictures whose masks have bands of background, bar and pole, by these numbers."""
    bands = np.repeat(np.array([*numbers, 255], dtype=np.uint8), 4)[:, None].repeat(20, 1)
    for n in range(12):
        write(folder / "images" / f"{n}.jpg", jpeg())
        write(folder / "masks" / f"{n}.png", encoded(Image.fromarray(bands)))
    if names:
        (folder / "classes.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return folder


def masks_of(source: Source) -> list[list[int]]:
    return [sorted(set(example.targets["segmentation"].tolist())) for example in good(source)]


def test_classes_of_masks_are_matched_by_name(tmp_path: Path) -> None:
    names = ("background", "bar", "pole")
    how: dict[str, Any] = {"task": "segmentation", "encoder_settings": {"*": {"size": 16}}}
    own = open_folder(with_masks(tmp_path / "own", names), **how)
    swapped = with_masks(tmp_path / "swapped", ("pole", "background", "bar"), numbers=(1, 2, 0))
    other = open_folder(swapped, classes=names, **how)
    assert own.classes == other.classes == names
    for mine, its in zip(good(own), good(other), strict=True):
        assert torch.equal(mine.targets["segmentation"], its.targets["segmentation"])
    two = with_masks(tmp_path / "two", ("bar", "background"), numbers=(1, 0, 255))
    fewer = open_folder(two, classes=names, **how)
    assert masks_of(fewer) == [[-100, 0, 1]] * 12
    counted = open_folder(with_masks(tmp_path / "counted", ("0", "1", "2")), classes=names, **how)
    assert "classes are taken by number: 0 is background, 1 is bar, 2 is pole" in counted.warnings
    unnamed = open_folder(with_masks(tmp_path / "unnamed", ()), classes=names, **how)
    assert masks_of(unnamed) == [[-100, 0, 1, 2]] * 12  # by number, for there is nothing else


def test_classes_of_masks_that_a_model_does_not_know_are_refused(tmp_path: Path) -> None:
    folder = with_masks(tmp_path / "foreign", ("background", "bar", "tree"))
    with pytest.raises(ValueError, match=r"^classes: expected only background, bar, pole, found tree in "):
        open_folder(folder, task="segmentation", classes=("background", "bar", "pole"), **SMALL)
    unnamed = with_masks(tmp_path / "nameless", ("bar", "background"))  # the third number has no name
    found = bad(open_folder(unnamed, task="segmentation", classes=("background", "bar"), **SMALL))
    assert set(found.values()) == {"its mask: holds the class 2, which has no name"}


def test_masks_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    for n in range(12):
        write(tmp_path / "images" / f"{n}.png", encoded(Image.fromarray(gradient())))
        write(tmp_path / "masks" / f"{n}.jpg", jpeg())
    message = "found none that can be read; the first: .*masks/.*jpg: a mask needs exact class numbers, which JPEG"
    with pytest.raises(ValueError, match=message):
        open_folder(tmp_path, task="segmentation", **SMALL)


@pytest.mark.parametrize(
    ("numbers", "dtype", "found"),
    [
        ((0, 127, 254), np.uint8, r"3 numbers up to 254 \(0, 127, 254\)"),
        ((0, 1000, 2000), np.uint16, r"3 numbers up to 2000 \(0, 1000, 2000\)"),
        ((38, 75), np.uint8, r"2 numbers up to 75 \(38, 75\)"),
        ((0, 64), np.uint8, r"2 numbers up to 64 \(0, 64\)"),
    ],
)
def test_shades_are_no_class_numbers(tmp_path: Path, numbers: tuple[int, ...], dtype: Any, found: str) -> None:
    for n in range(12):
        write(tmp_path / "images" / f"{n}.jpg", jpeg())
        bands = np.resize(np.array(numbers, dtype=dtype), (16, 1)).repeat(20, 1)
        write(tmp_path / "masks" / f"{n}.png", encoded(Image.fromarray(bands)))
    with pytest.raises(ValueError, match=f"got {found}, which look like shades of grey; write 0, 1, 2"):
        open_folder(tmp_path, task="segmentation", **SMALL)
    (tmp_path / "classes.txt").write_text("".join(f"class {n}\n" for n in range(max(numbers) + 1)))
    assert len(open_folder(tmp_path, task="segmentation", **SMALL).classes) == max(numbers) + 1


@pytest.mark.parametrize("other", ["0_mask.png", "0.npy", "more/0.png"])
def test_masks_of_other_names_or_kinds_are_named(tmp_path: Path, other: str) -> None:
    write(tmp_path / "images" / "0.jpg", jpeg())
    write(tmp_path / "masks" / other, encoded(Image.fromarray(np.eye(16, dtype=np.uint8))))
    with pytest.raises(ValueError, match=rf"found no pair, for example images/0\.jpg and masks/{other}$"):
        open_folder(tmp_path, task="segmentation", **SMALL)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "F"])
def test_masks_in_other_modes_are_refused(tmp_path: Path, mode: str) -> None:
    for n in range(6):
        write(tmp_path / "images" / f"{n}.jpg", jpeg())
        mask = Image.fromarray(np.eye(16, 20, dtype=np.uint8)).convert(mode)
        write(
            tmp_path / "masks" / f"{n}.{'tif' if mode == 'F' else 'png'}",
            encoded(mask, "TIFF" if mode == "F" else "PNG"),
        )
    with pytest.raises(
        ValueError, match=rf"masks/0\.\w+: a mask needs one class number per pixel .*, its mode is {mode}$"
    ):
        open_folder(tmp_path, task="segmentation", **SMALL)


@pytest.mark.parametrize(("stored", "listed"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_with_accents_are_found_however_they_are_written(tmp_path: Path, stored: Any, listed: Any) -> None:
    """macOS takes accents apart; lists and masks often come from elsewhere."""

    def on_disk(name: str) -> str:
        return unicodedata.normalize(stored, name)

    def in_list(name: str) -> str:
        return unicodedata.normalize(listed, name)

    rows = ["file,label"]
    for n in range(12):
        write(tmp_path / "list" / "files" / on_disk(f"nö{n}.jpg"), jpeg())
        rows.append(in_list(f"files/nö{n}.jpg,{'äb'[n % 2]}"))
        write(tmp_path / "masks" / "images" / on_disk(f"é{n}.jpg"), jpeg())
        mask = encoded(Image.fromarray(np.eye(16, 20, dtype=np.uint8)))
        write(tmp_path / "masks" / "masks" / in_list(f"é{n}.png"), mask)
        write(tmp_path / "classes" / on_disk("aäö"[n % 3]) / f"{n}.jpg", jpeg())
    (tmp_path / "list" / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    found = open_folder(tmp_path / "list", task="classification", **SMALL)
    assert (len(good(found)), found.warnings, found.classes) == (12, (), ("b", "ä"))
    masked = open_folder(tmp_path / "masks", task="segmentation", **SMALL)
    assert len(good(masked)) == 12
    names = tuple(map(in_list, "öäa"))
    chosen = {"only_classes": names[:2], "leave_out_classes": (on_disk("ä"), "a")}
    assert open_folder(tmp_path / "classes", only_classes=names[1:], task="classification", **SMALL).classes == (
        "a",
        "ä",
    )
    refused("expected at least two classes", tmp_path / "classes", task="classification", **chosen)
    (tmp_path / "classes" / "classes.txt").write_text("\n".join(names), encoding="utf-8")
    assert open_folder(tmp_path / "classes", task="classification", **SMALL).classes == ("ö", "ä", "a")


def test_pairs_and_columns_are_found_however_their_accents_are_written(tmp_path: Path) -> None:
    forms = ("NFC", "NFD")
    for n in range(6):
        write(tmp_path / "pairs" / "ab"[n % 2] / unicodedata.normalize("NFC", f"é{n}.jpg"), jpeg())
        write(tmp_path / "pairs" / "ab"[n % 2] / unicodedata.normalize("NFD", f"é{n}.wav"), wav())
        names = unicodedata.normalize(forms[n % 2], "t,höhe")
        write(tmp_path / "tables" / f"{n}.csv", f"{names}\n0.5,{n}\n1.5,2\n".encode())
    assert len(good(open_folder(tmp_path / "pairs", kind="image+audio", task="classification"))) == 6
    assert len(good(open_folder(tmp_path / "tables"))) == 6


def test_folders_that_are_taken_by_number_are_said(tmp_path: Path) -> None:
    for n in range(12):
        write(tmp_path / str(n % 2 + 1) / f"{n}.jpg", jpeg())
    found = open_folder(tmp_path, task="classification", classes=("ant", "bee", "cat"), **SMALL)
    assert "classes are taken by number: 1 is bee, 2 is cat" in found.warnings


def test_data_for_a_trained_model_may_have_one_of_its_classes(tmp_path: Path) -> None:
    for n in range(12):
        write(tmp_path / "bee" / f"{n}.jpg", jpeg())
    found = open_folder(tmp_path, task="classification", classes=("ant", "bee", "cat"), **SMALL)
    assert len(good(found)) == 12
    assert "classes without training examples: ant, cat" in found.warnings
    refused("expected at least two classes with training examples, found only 'bee'", tmp_path, task="classification")


def test_two_masks_of_one_name_are_said(tmp_path: Path) -> None:
    mask = encoded(Image.fromarray(np.eye(16, 20, dtype=np.uint8)))
    for n in range(4):
        write(tmp_path / "images" / f"{n}.jpg", jpeg())
        for ending in ("png", "bmp"):
            write(tmp_path / "masks" / f"{n}.{ending}", mask)
    found = open_folder(tmp_path, task="segmentation", **SMALL)
    assert len(good(found)) == 4
    assert "4 masks have the name of another and are left out, for example masks/0.png" in found.warnings


def test_what_a_run_leaves_is_no_data(tmp_path: Path) -> None:
    class_folder(tmp_path, "image")
    before = open_folder(tmp_path, task="classification", **SMALL)
    for run in ("run", "one/run"):
        write(tmp_path / run / "settings.yaml", b"data: x\n")
        write(tmp_path / run / "members.npz", b"")
        write(tmp_path / run / "pictures" / "curves.png", encoded(Image.fromarray(gradient())))
    after = open_folder(tmp_path, task="classification", **SMALL)
    assert after.classes == before.classes
    assert [len(part) for part in after.splits.values()] == [len(part) for part in before.splits.values()]
    assert after.warnings == ("2 folders of runs are passed over, for example one/run",)


@pytest.mark.parametrize(
    ("names", "made"),
    [
        (("settings.yaml", "members.npz"), "a run"),
        (("config.json", "model.safetensors"), "a saved model"),
        (("preprocessing.json", "model.onnx", "README.md"), "an exported model"),
    ],
)
def test_what_was_made_of_data_is_none(tmp_path: Path, names: tuple[str, ...], made: str) -> None:
    class_folder(tmp_path, "bytes")
    before = open_folder(tmp_path, task="classification")
    for name in names:
        write(tmp_path / "one" / "made" / name, b"text")
        write(tmp_path / "made" / name, b"text")
    after = open_folder(tmp_path, task="classification")
    assert (after.classes, sorted(map(len, after.splits.values()))) == (
        before.classes,
        sorted(map(len, before.splits.values())),
    )
    assert f"2 folders of {made.split(' ', 1)[1]}s are passed over, for example made" in after.warnings
    with pytest.raises(ValueError, match=f"made: expected data, got the folder of {made}$"):
        open_folder(tmp_path / "made")


def test_a_folder_that_is_linked_to_beside_it_is_one_class(tmp_path: Path) -> None:
    class_folder(tmp_path, "image")
    before = open_folder(tmp_path, task="classification", **SMALL)
    (tmp_path / "link").symlink_to(tmp_path / "one")  # it stands before it
    after = open_folder(tmp_path, task="classification", **SMALL)
    assert (after.classes, after.warnings) == (
        before.classes,
        ("1 links to folders that are read already are not followed, for example link",),
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le with a mark"])
def test_every_list_is_read_with_one_rule(tmp_path: Path, encoding: str) -> None:
    def text(content: str) -> bytes:
        is_marked = encoding.endswith("mark")
        return b"\xff\xfe" + content.encode("utf-16-le") if is_marked else content.encode(encoding)

    rows = ["file, label ,"]
    for n in range(12):
        write(tmp_path / "list" / "files" / f"{n}.jpg", jpeg())
        rows.append(f"files/{n}.jpg {','} {'ab'[n % 2]}\u200b,{n}")
        write(tmp_path / "folders" / "ab"[n % 2] / f"{n}.jpg", jpeg())
        write(tmp_path / "masks" / "images" / f"{n}.jpg", jpeg())
        write(tmp_path / "masks" / "masks" / f"{n}.png", encoded(Image.fromarray(np.eye(16, 20, dtype=np.uint8))))
        write(tmp_path / "tables" / f"{n}.csv", text(f"x,y\n0.5,{n}\n1.5,2\n"))
    write(tmp_path / "list" / "labels.csv", text("\n".join(rows)))
    found = open_folder(tmp_path / "list", task="classification", **SMALL)
    assert (len(good(found)), found.warnings, found.classes) == (12, (), ("a", "b"))
    for folder in ("folders", "masks"):
        write(tmp_path / folder / "classes.txt", text("b\r\na \n"))
    assert open_folder(tmp_path / "folders", task="classification", **SMALL).classes == ("b", "a")
    assert open_folder(tmp_path / "masks", task="segmentation", **SMALL).classes == ("b", "a")
    series = open_folder(tmp_path / "tables")
    assert len(good(series)) == 12
    assert series.encoders["series"].to_dict()["channel_names"] == ["x", "y"]


def test_a_mistake_tells_what_was_noticed_before(tmp_path: Path) -> None:
    for n in range(4):
        write(tmp_path / "files" / f"{n}.jpg", jpeg())
    rows = "".join(f"C:\\files\\{n}.jpg,{'ab'[n % 2]}\n" for n in range(4))
    write(tmp_path / "labels.csv", f"file,label\n{rows}".encode())
    refused(r"\(noticed before: labels.csv: 4 files are not there, for example C:", tmp_path, task="classification")


@pytest.mark.parametrize("form", ["files/{0}.jpg", "./files/{0}.jpg", "files\\{0}.jpg", "{1}/files/{0}.jpg"])
def test_files_of_a_list_are_found_however_they_are_written(tmp_path: Path, form: str) -> None:
    rows = ["Unnamed: 0,file,age,"]  # as pandas and Excel write them
    for n in range(8):
        write(tmp_path / "files" / f"{n}.jpg", jpeg())
        rows.append(f"{n},{form.format(n, tmp_path)},{10 * n},")
    write(tmp_path / "labels.csv", "\n".join(rows).encode())
    source = open_folder(tmp_path, task="regression", **SMALL)
    assert (len(good(source)), source.classes) == (8, ("age",))
    assert not any("labels.csv" in line for line in source.warnings)


@pytest.mark.parametrize("pair", [("b", "b "), ("a", "A"), ("1", "01"), ("ff", "\ufb00"), ("b c", "b\u00a0c")])
def test_classes_that_look_alike_are_said(tmp_path: Path, pair: tuple[str, str]) -> None:
    for name in (*pair, "z"):
        for n in range(4):
            write(tmp_path / name / f"{n}.jpg", jpeg())
    said = f"classes {pair[0]!r} and {pair[1]!r} look alike: are they one?"
    other = f"classes {pair[1]!r} and {pair[0]!r} look alike: are they one?"
    assert {said, other} & {*open_folder(tmp_path, task="classification", **SMALL).warnings}


def test_columns_of_tables_are_matched_by_name(tmp_path: Path) -> None:
    """Never by number: some files have them in another order, some more of them, some not all."""
    rows = [(0.25 * n, 100 + n) for n in range(6)]
    forms = {"a,b": "{0},{1}", "b,a": "{1},{0}", "b,x,a": "{1},9,{0}", ",a,b": "{2},{0},{1}"}
    for n, (names, form) in enumerate((*forms.items(), *forms.items())):
        text = "".join(f"{form.format(*row, k)}\n" for k, row in enumerate(rows))
        write(tmp_path / "train" / f"{n}.csv", f"{names}\n{text}".encode())
    write(tmp_path / "test" / "bad.csv", b"a,c\n1,2\n")
    source = open_folder(tmp_path)
    first, *others = [example for example in read(source) if isinstance(example, Example)]
    assert len(others) == 7
    assert all(torch.equal(each.inputs["series"], first.inputs["series"]) for each in others)
    assert bad(source) == {"test/bad.csv": "expected the columns a, b, got a, c; no 'b'"}
    assert any(line.endswith(", columns a, b") for line in source.describe())
    chosen = open_folder(tmp_path, encoder_settings={"series": {"channel_names": ("b",)}})
    assert chosen.encoders["series"].to_dict()["channels"] == 1


@pytest.mark.parametrize("marker", [-9999.0, 1e30, 32767.0])
def test_markers_of_missing_numbers_to_regress_are_said_and_left_out(tmp_path: Path, marker: float) -> None:
    rows = ["file,age,size"]
    for n in range(24):
        write(tmp_path / "train" / f"{n}.jpg", jpeg())
        rows.append(f"train/{n}.jpg,{marker if n in (3, 5) else n / 10},{n}")
    write(tmp_path / "test" / "0.jpg", jpeg())
    write(tmp_path / "labels.csv", "\n".join([*rows, f"test/0.jpg,{marker},7"]).encode())
    source = open_folder(tmp_path, task="regression", **SMALL)
    found = {example.name: example.targets["values"].tolist() for example in good(source)}
    for n in range(24):
        age, size = found[f"train/{n}.jpg"]
        assert np.isnan(age) if n in (3, 5) else age == pytest.approx(n / 10)
        assert size == n
    assert np.isnan(found["test/0.jpg"][0])
    said = [each for each in source.warnings if "taken for a missing one" in each]
    assert len(said) == 1 and said[0].startswith(f"age: {marker:g} of train/")


@pytest.mark.parametrize("is_listed", [False, True])
def test_numbers_are_named_by_the_data_before_a_model_names_them(tmp_path: Path, is_listed: bool) -> None:
    colours = ((220, 30, 30), (30, 200, 30))
    for n in range(12):
        write(tmp_path / ("" if is_listed else str(n % 2)) / f"{n}.jpg", jpeg(colours[n % 2]))
    write(tmp_path / "classes.txt", b"red\ngreen\n")
    if is_listed:
        lines = [f"{n}.jpg,{n % 2}" for n in range(12)]
        write(tmp_path / "labels.csv", "\n".join(["file,label", *lines]).encode())
    source = open_folder(tmp_path, task="classification", classes=("blue", "green", "red"), **SMALL)
    assert source.warnings[0] == "classes are taken by number: 0 is red, 1 is green"
    assert {(int(Path(each.name).stem) % 2, int(each.targets["label"])) for each in good(source)} == {(0, 2), (1, 1)}


def test_numbers_to_regress_are_matched_by_name(tmp_path: Path) -> None:
    for n in range(12):
        write(tmp_path / f"{n}.npy", npy(np.full((4, 1), float(n))))
    lines = [f"{n}.npy,{n},{-n}" for n in range(12)]
    write(tmp_path / "labels.csv", "\n".join(["file,weight,height", *lines]).encode())
    source = open_folder(tmp_path, task="regression", classes=("height", "weight"))
    assert source.classes == ("height", "weight")
    assert all(each.targets["values"].tolist() == [-int(each.name[:-4]), int(each.name[:-4])] for each in good(source))
    assert open_folder(tmp_path, task="regression", classes=("height",)).classes == ("height",)
    expected = "values: expected the numbers height, mass, found weight, height in .*; no 'mass'"
    refused(expected, tmp_path, task="regression", classes=("height", "mass"))
    write(tmp_path / "labels.csv", "\n".join(["file,weight", *(f"{n}.npy,{n}" for n in range(12))]).encode())
    assert "weight is taken for mass" in open_folder(tmp_path, task="regression", classes=("mass",)).warnings


def test_splits_by_names_that_differ_in_one_word(tmp_path: Path) -> None:
    for split, count in {"seg_train": 6, "seg_test": 4}.items():
        class_folder(tmp_path / split / split, "image", count)  # as some archives unpack
    class_folder(tmp_path / "seg_pred", "image", 2)
    source = open_folder(tmp_path, task="classification", **SMALL)
    assert source.classes == ("one", "two")
    assert {name.partition("/")[0] for name in (each.name for each in _all(source, "test"))} == {"seg_test"}
    assert "splits by the names of folders: seg_train is train, seg_test is test" in source.warnings
    assert "folders beside those of the splits are passed over: seg_pred" in source.warnings
    assert open_folder(tmp_path, task="classification", split_folders=False, **SMALL).classes[0] == "seg_pred"


def test_the_only_class_folder_may_be_a_wrapper(tmp_path: Path) -> None:
    class_folder(tmp_path / "archive", "image")
    found = "the only class folder archive holds the folders one, two: name it as the data if these are meant"
    refused(f"found only 'archive' .*{found}", tmp_path, task="classification")


def test_each_split_may_have_its_list_of_labels(tmp_path: Path) -> None:
    for split, count in {"train": 8, "test": 4}.items():
        for n in range(count):
            write(tmp_path / split / f"{n}.npy", npy(np.full((4, 1), float(n))))
        lines = [f"{n}.npy,{'ab'[n % 2]}" for n in range(count)]
        write(tmp_path / split / "labels.csv", "\n".join(["file,label", *lines]).encode())
    source = open_folder(tmp_path, task="classification")
    assert [each.targets["label"].item() for each in _all(source, "test")] == [0, 1, 0, 1]
    write(tmp_path / "test" / "labels.csv", b"file,age\n0.npy,1\n")
    refused("test/labels.csv: expected the columns label, got age", tmp_path, task="classification")


def test_masks_of_0_and_255_are_refused_whatever_their_classes_are_called(tmp_path: Path) -> None:
    with_masks(tmp_path, ("background", "cell"), (0, 255))
    refused("masks: expected class numbers, got only 0 and 255 .*write 1 for 255", tmp_path, task="segmentation")


def test_a_bad_file_of_several_is_named_itself(tmp_path: Path) -> None:
    for n in range(10):
        write(tmp_path / f"{n}.jpg", jpeg())
        write(tmp_path / f"{n}.wav", wav(100 + 20 * n))
    write(tmp_path / "3.wav", b"RIFF....")
    write(tmp_path / "4.jpg", b"no picture")
    write(tmp_path / "5.wav", wav(100)[:60])
    faults = bad(open_folder(tmp_path, kind="image+audio", **SMALL))
    assert faults["3.jpg"].startswith("its audio 3.wav: is ")
    assert faults["4.jpg"] == "its image: is not a picture in a known format"
    assert faults["5.jpg"].startswith("its audio 5.wav: is truncated")


def test_what_is_there_instead_is_said(tmp_path: Path) -> None:
    for name in ("a.h5", "b/c.h5", "b/d.mat", "b/e"):
        write(tmp_path / name, b"x")
    refused(r"found none, only \*\.h5 \(2\), \*\.mat \(1\), files without an ending \(1\)$", tmp_path)


def test_names_of_classes_may_lie_in_each_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        with_masks(tmp_path / split, ("sky", "sea", "sand"))
        (tmp_path / split / "classes.txt").write_text("# by number\nsky\nsea\nsand\n", encoding="utf-8")
    assert open_folder(tmp_path, task="segmentation", **SMALL).classes == ("sky", "sea", "sand")
    (tmp_path / "test" / "classes.txt").write_text("sky\nsand\nsea\n", encoding="utf-8")
    refused("expected the same names in .*test/classes.txt and .*train/classes.txt", tmp_path, task="segmentation")


@pytest.mark.parametrize("splits", [(), ("train",), ("train", "test"), ("train", "validation"), ("test",)])
def test_frames_of_a_clip_that_are_drawn_one_by_one_are_said(tmp_path: Path, splits: tuple[str, ...]) -> None:
    for split in splits or ("",):
        for word in ("run", "walk"):
            for number in range(8):
                write(tmp_path / split / word / f"{word}{number // 4}" / f"{number % 4}.jpg", jpeg())
    found = [each for each in open_folder(tmp_path, **SMALL).warnings if "one by one" in each]
    if "validation" in splits or "train" not in (splits or ("train",)):
        assert found == []
    else:
        folder = "/".join([*splits[:1], "run", "run0"])
        assert found == [
            f"files of one folder, such as the 4 of {folder}, are drawn into splits one by one: "
            "if they are frames of a clip, kind video reads each as a clip; else make folders train and validation"
        ]


def test_one_folder_more_around_the_files_of_a_class_is_no_group(tmp_path: Path) -> None:
    for word in ("run", "walk"):
        for number in range(4):
            write(tmp_path / word / "images" / f"{number}.jpg", jpeg())
    assert not [each for each in open_folder(tmp_path, **SMALL).warnings if "one by one" in each]


def frames(folder: Path, count: int, shade: int) -> None:
    for number in range(count):
        write(folder / f"frame{number}.png", encoded(Image.new("L", (12, 10), shade + number), "PNG"))


@pytest.mark.parametrize("names", [("a", "b", "c"), ("a.avi", "b.avi", "c.avi"), ("1", "2", "10")])
def test_folders_of_pictures_are_clips_where_video_is_asked_for(tmp_path: Path, names: tuple[str, ...]) -> None:
    shades = {}
    for split in ("train", "test"):
        for number, word in enumerate(("run", "walk")):
            for index, name in enumerate(names):
                shades[f"{split}/{word}/{name}"] = shade = 40 * index + 20 * number
                frames(tmp_path / split / word / name, 12, shade)
    plain = {"size": 8, "frames": 4, "colours": "L", "mean": (0.0,), "std": (1.0,)}
    source = open_folder(tmp_path, task="classification", kind="video", encoder_settings={"video": plain})
    assert source.classes == ("run", "walk")
    assert f"clips are folders of pictures, such as {min(shades)}: 12" in source.warnings
    examples = good(source)
    assert {each.name for each in examples} == set(shades)
    for each in examples:
        shown = each.inputs["video"].reshape(4, -1).mean(1) * 255
        expected = shades[each.name] + np.array([1, 4, 7, 10])  # in the order of their numbers
        assert np.abs(shown.numpy() - expected).max() < 0.1
        assert int(each.targets["label"]) == ("/walk/" in each.name)
    assert not [each for each in source.warnings if "one by one" in each]


def test_folders_of_pictures_with_their_sound(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        frames(tmp_path / "run" / name, 4, 0)
        write(tmp_path / "run" / f"{name}.wav", wav())
    source = open_folder(tmp_path, kind="audio+video", **SMALL)
    assert sorted(source.encoders) == ["audio", "video"]
    assert all(set(each.inputs) == {"audio", "video"} for each in good(source))
    assert sum(map(len, source.splits.values())) == 3


def test_where_there_is_video_pictures_are_no_clips(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "run").mkdir(exist_ok=True)
        write_media(tmp_path / "run" / f"{name}.mp4", video=clip())
        frames(tmp_path / "run" / name, 4, 0)
    source = open_folder(tmp_path, kind="video", **SMALL)
    assert sorted(each.name for each in good(source)) == ["run/a.mp4", "run/b.mp4"]
    assert any("8 files are passed over" in each for each in source.warnings)
    refused(r"expected video .*, found none, only \*\.csv", layout_of_tables(tmp_path / "other"), kind="video")


def layout_of_tables(folder: Path) -> Path:
    write(folder / "run" / "a" / "1.csv", b"1,2")
    return folder
