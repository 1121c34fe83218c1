"""Tables and folders of `datasets` as strangers have them: every layout, and every fault a line."""

import errno
import gc
import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch

from hiperceiver.data.example import BadExample, Example
from hiperceiver.data.loading import train_loader
from hiperceiver.data.members import drawn_by_rows
from hiperceiver.data.record import SPLITS, TEST, VALIDATION
from hiperceiver.data.sources import open_source
from hiperceiver.modality import Modality

from ..pictures import gradient, jpeg, write
from ..signals import wav
from .picture_data import (
    SMALL,
    assert_one_line,
    class_folder,
    label_counts,
    leaves_files_open,
    names,
    open_huggingface,
    picture_table,
    segmentation_folder,
    table,
)
from .reading import examples


def test_a_folder_saved_by_datasets(tmp_path: Path) -> None:
    picture_table().save_to_disk(tmp_path / "saved")
    source = open_huggingface(tmp_path / "saved", task="classification", **SMALL)
    assert source.classes == ("dog", "cat")
    assert label_counts(source, "train") == {"dog": 7, "cat": 7}
    for example in examples(source, "test"):
        colour = source.encoders["image"].to_value(example.inputs["image"]).mean((0, 1))
        assert (colour[1] > colour[0]) == (int(example.targets["label"]) == 0)


def test_a_dictionary_of_splits_saved_by_datasets(tmp_path: Path) -> None:
    parts = {"train": picture_table(12), "valid": picture_table(4), "test": picture_table(6), "extra": picture_table(2)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    source = open_huggingface(tmp_path / "saved", task="classification", **SMALL)
    assert {split: len(dataset) for split, dataset in source.splits.items()} == {
        "train": 12,
        "validation": 4,
        "test": 6,
    }
    assert source.warnings == ("splits that are not used: extra",)
    assert examples(source, "test")[2].name == "test row 2"


def test_a_truncated_picture_in_a_table_is_a_bad_example(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image()})
    cells = [{"bytes": jpeg(size=(50, 50))[: None if n else -200], "path": "photo.jpg"} for n in range(10)]
    datasets.Dataset.from_dict({"image": [*cells, None]}, features=features).save_to_disk(tmp_path / "saved")
    source = open_huggingface(tmp_path / "saved", **SMALL)
    found = [source.splits[split][index] for split in source.splits for index in range(len(source.splits[split]))]
    bad = {example.name: example.reason for example in found if isinstance(example, BadExample)}
    assert len(bad) == 2
    assert any("truncated" in reason for reason in bad.values())
    assert "has no image" in bad.values()


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    (tmp_path / "pets" / "data").mkdir(parents=True)
    picture_table(12).to_parquet(tmp_path / "pets" / "data" / "train-00000-of-00001.parquet")
    picture_table(6).to_parquet(tmp_path / "pets" / "data" / "test-00000-of-00001.parquet")
    source = open_huggingface(tmp_path / "pets", task="classification", **SMALL)
    assert source.classes == ("dog", "cat")
    assert len(source.splits["test"]) == 6
    assert len(source.splits["train"]) + len(source.splits["validation"]) == 12


def test_a_folder_with_metadata(tmp_path: Path) -> None:
    lines = []
    for number in range(10):
        write(tmp_path / "pets" / f"{number}.jpg", jpeg())
        lines.append(json.dumps({"file_name": f"{number}.jpg", "mood": ["calm", "wild"][number % 2]}))
    write(tmp_path / "pets" / "metadata.jsonl", "\n".join(lines).encode())
    source = open_huggingface(tmp_path / "pets", task="classification", label_column="mood", **SMALL)
    assert source.classes == ("calm", "wild")
    assert sum(label_counts(source, "test").values()) == 2
    assert {Path(name).suffix for name in names(source, "test")} == {".jpg"}


@pytest.mark.parametrize(("ending", "stream"), [("csv", False), ("jsonl", False), ("jsonl", True)])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_text_are_read_with_the_rule_of_lists(
    tmp_path: Path, ending: str, encoding: str, stream: bool
) -> None:
    rows = [{"text": f"größe {n}", "maß": "äb"[n % 2]} for n in range(60)]
    lines = {
        "csv": ["text,maß", *(f"{row['text']},{row['maß']}" for row in rows)],
        "jsonl": [json.dumps(row, ensure_ascii=False) for row in rows],
    }
    write(tmp_path / f"train.{ending}", "\n".join(lines[ending]).encode(encoding))
    how = {
        "stream": stream,
        "validation_examples": 2,
        "label_column": unicodedata.normalize("NFD", "maß"),
        "columns": {"bytes": "text"},
    }
    source = open_huggingface(tmp_path, task="classification", classes=("b", "ä") if stream else (), **how)
    assert source.classes == ("b", "ä")
    numbers = [each.inputs["bytes"][:, 0].long().tolist() for each in examples(source, "validation")]
    texts = {bytes(number - 1 for number in each if number) for each in numbers}  # 0: absent
    assert texts <= {row["text"].encode() for row in rows}


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_tables_in_no_or_several_encodings_are_refused(tmp_path: Path, ending: str) -> None:
    line = {"csv": "text,label\nö,a\n", "jsonl": '{"text": "ö", "label": "a"}\n'}[ending]
    write(tmp_path / f"train.{ending}", line.encode("latin-1"))
    assert_one_line(f"train.{ending}: expected text in UTF-8, got the byte 0xf6", tmp_path, task="classification")
    write(tmp_path / f"train.{ending}", line.encode())
    write(tmp_path / f"test.{ending}", line.encode("utf-16"))
    expected = f"expected tables in one encoding, got several: train.{ending} is utf-8, test.{ending} is utf-16"
    assert_one_line(expected, tmp_path, task="classification")


def test_what_keeps_datasets_from_reading_is_said(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", b'{"text": "a", "label": 0}\nno json\n')
    with pytest.raises(ValueError, match="cannot be read by datasets: (?!An error occurred)"):
        open_huggingface(tmp_path, task="classification")


def test_tables_and_splits_by_other_words(tmp_path: Path) -> None:
    line = '{"text": "a", "label": "a"}\n{"text": "b", "label": "b"}\n'
    for name in ("my-train.jsonl", "my-test.jsonl"):
        write(tmp_path / "lines" / name, (line * 6).encode())
    write(tmp_path / "lines" / "one" / "two" / "more.jsonl", line.encode())
    found = open_huggingface(tmp_path / "lines", task="classification")
    assert len(found.splits["test"]) == 12
    assert "1 files lie too deep and are left out, for example one/two/more.jsonl" in found.warnings
    for name in ("train_set.csv", "val2017.csv"):
        write(tmp_path / "tables" / name, ("text,label\n" + "a,a\nb,b\n" * 6).encode())
    assert len(open_huggingface(tmp_path / "tables", task="classification").splits["validation"]) == 12
    texts = table(text=["a", "b"] * 6, label=[0, 1] * 6)
    datasets.DatasetDict({"train_set": texts, "validation_set": texts}).save_to_disk(tmp_path / "saved")
    saved = open_huggingface(tmp_path / "saved", task="classification")
    assert {split: len(part) for split, part in saved.splits.items()} == {"train": 12, "validation": 12}


def test_columns_become_modalities(tmp_path: Path) -> None:
    left = [gradient(6, 6).tolist() for _ in range(10)]
    right = [np.full((4, 8), 10 * n).tolist() for n in range(10)]
    table(left=left, right=right).save_to_disk(tmp_path / "saved")
    pictures = {"encoder_settings": {"*": {"size": 4, "colours": "L", "fit": "squash"}}}
    columns = {"near": "right:image", "far": "left"}
    source = open_huggingface(tmp_path / "saved", columns=columns, **pictures)
    assert list(source.modalities) == ["near", "far"]
    example = examples(source, "train")[0]
    assert example.inputs["near"].shape == example.inputs["far"].shape == (16, 1)
    assert source.encoders["near"] != source.encoders["far"]
    assert list(open_huggingface(tmp_path / "saved", columns={"image": "left"}, **pictures).modalities) == ["image"]
    as_series = open_huggingface(tmp_path / "saved", columns={"x": "right"})
    assert (as_series.encoders["x"].kind, as_series.modalities["x"].grid) == ("series", (4,))
    assert_one_line("columns: expected at least one modality", tmp_path / "saved", columns={})


def test_paths_and_masks_in_columns(tmp_path: Path) -> None:
    segmentation_folder(tmp_path / "files")
    pictures = [str(tmp_path / "files" / "images" / f"{n}.jpg") for n in range(10)]
    masks = [str(tmp_path / "files" / "masks" / f"{n}.png") for n in range(10)]
    found = table(image=pictures, mask=masks)
    found.save_to_disk(tmp_path / "saved")
    source = open_huggingface(tmp_path / "saved", task="segmentation", files_outside=True, **SMALL)
    assert source.classes == ("0", "1", "2")
    typed = found.cast_column("image", datasets.Image()).cast_column("mask", datasets.Image())
    typed.rename_column("mask", "ground truth").save_to_disk(tmp_path / "typed")
    again = open_huggingface(tmp_path / "typed", task="segmentation", files_outside=True, **SMALL)
    for first, second in zip(examples(source, "test"), examples(again, "test"), strict=True):
        assert torch.equal(first.targets["segmentation"], second.targets["segmentation"])


def test_labels_of_every_kind(tmp_path: Path) -> None:
    pictures = [gradient(4, 4).tolist()] * 12
    numbers = [10, 2, None, -1, 10, 2, 10, 2, 10, 2, 10, 2]
    table(image=pictures, label=numbers).save_to_disk(tmp_path / "numbers")
    source = open_huggingface(tmp_path / "numbers", task="classification", encoder_settings={"*": {"size": 4}})
    assert source.classes == ("2", "10")
    assert sum("have no label and are left out" in warning for warning in source.warnings) == 2
    assert sum(map(len, source.splits.values())) == 10
    table(image=pictures, label=[0.5] * 12).save_to_disk(tmp_path / "floats")
    with pytest.raises(ValueError, match="label_column: expected class names or numbers in 'label', got 0.5"):
        open_huggingface(tmp_path / "floats", task="classification", encoder_settings={"*": {"size": 4}})
    unlabelled = picture_table(6).map(lambda row: {"kind": -1})
    datasets.DatasetDict({"train": picture_table(10), "test": unlabelled}).save_to_disk(tmp_path / "hidden")
    source = open_huggingface(tmp_path / "hidden", task="classification", encoder_settings={"*": {"size": 4}})
    assert "6 of 6 examples of test have no label and are left out" in source.warnings
    assert label_counts(source, "test") == {"dog": 1, "cat": 1}  # taken out of training instead


def test_reading_is_quiet_and_leaves_settings_as_they_were(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    picture_table(12).to_parquet(tmp_path / "train.parquet")
    capfd.readouterr()
    assert not datasets.utils.are_progress_bars_disabled()
    open_huggingface(tmp_path, task="classification", **SMALL)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    assert not caplog.records
    assert not datasets.utils.are_progress_bars_disabled()


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    classify: dict[str, Any] = {"task": "classification", **SMALL}
    assert_one_line("gone: no such folder$", tmp_path / "gone")
    assert_one_line("a.jpg: expected a folder, got a file", write(tmp_path / "a.jpg", jpeg()))
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    assert_one_line(r"empty: expected pictures, .*\(.*jpg.*\), found none", tmp_path / "empty")
    assert_one_line(r"empty: expected image \(jpg.*\), found none", tmp_path / "empty", kind="image", **classify)
    class_folder(tmp_path / "one", {"cat": 5})
    assert_one_line("one: expected at least two classes with .*, found only 'cat'", tmp_path / "one", **classify)
    flat = write(tmp_path / "flat" / "1.jpg", jpeg()).parent
    assert_one_line("flat: expected a folder of files per class, found 1 files in no folder", flat, **classify)
    assert_one_line(
        "flat: for segmentation expected the folders images and masks .*, found no folder", flat, task="segmentation"
    )
    class_folder(tmp_path / "unpaired" / "images", {"a": 2})
    class_folder(tmp_path / "unpaired" / "masks", {"b": 2})
    assert_one_line("expected masks with the names of the pictures", tmp_path / "unpaired", task="segmentation")
    write(tmp_path / "bad" / "1.jpg", b"")
    assert_one_line(r"nothing to take mean and std from: .*is empty \(0 bytes\)", tmp_path / "bad", **SMALL)
    for split in ("val", "validation", "train"):
        class_folder(tmp_path / "twice" / split)
    assert_one_line("twice: expected one folder per split, got train, val, validation", tmp_path / "twice", **classify)
    class_folder(tmp_path / "notrain" / "test")
    (tmp_path / "notrain" / "train").mkdir()
    alone = open_huggingface(tmp_path / "notrain", **classify)
    assert (list(alone.splits), alone.classes) == (["test"], ("cat", "dog"))
    assert "there is no split for train and validation" in alone.warnings


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    picture_table().save_to_disk(tmp_path / "saved")
    saved = tmp_path / "saved"
    there = "id, photo, kind"
    assert_one_line(f"columns: expected one of the columns {there}, got 'img'", saved, columns={"image": "img"})
    assert_one_line("got 'fhoto'; did you mean 'photo'", saved, columns={"image": "fhoto"})
    for argument, value, wanted in [
        ("label_column", "sort", "sort"),
        ("label_columns", ["sort"], "sort"),
        ("value_columns", ["id", "sort"], "sort"),
        ("mask_column", "mask", "mask"),
    ]:
        assert_one_line(f"{argument}: expected one of the columns {there}, got '{wanted}'", saved, **{argument: value})
    assert_one_line(f"mask_column: expected the name of a column of masks among {there}", saved, task="segmentation")
    assert_one_line(f"value_columns: expected the name of a column of numbers among {there}", saved, task="regression")
    assert_one_line("label_columns: expected columns of labels for the task joint, got none", saved, task="joint")
    assert_one_line("names that no modality has, got 'image'", saved, label_columns={"image": "kind"})
    table(x=[1, 2], y=["a", "b"]).save_to_disk(tmp_path / "numbers")
    assert_one_line("columns: expected {modality: column}, .*; columns: x, y", tmp_path / "numbers")
    assert_one_line(
        "columns: expected its kind, for example 'x:series' .*, got 'x'", tmp_path / "numbers", columns={"near": "x"}
    )
    assert_one_line(
        "label_column: expected the name of a column of classes among",
        tmp_path / "numbers",
        columns={"bytes": "y"},
        task="classification",
    )
    class_folder(tmp_path / "pets")
    for settings in ({"label_column": "a"}, {"columns": {"image": "a"}}, {"stream": True}):
        message = f"{next(iter(settings))}: the source .* has no such setting; it has kind"
        assert_one_line(message, tmp_path / "pets", **settings)
    assert_one_line("kind: the source .* has no such setting; it has .*columns", saved, kind="image")
    datasets.DatasetDict({"a": picture_table(), "b": picture_table()}).save_to_disk(tmp_path / "ab")
    assert_one_line("expected a split named train, got a, b", tmp_path / "ab")
    parts = {"train": picture_table(), "test": picture_table().remove_columns("kind")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "uneven")
    assert_one_line("expected the columns of train in test too, found no 'kind'", tmp_path / "uneven")
    write(tmp_path / "broken" / "dataset_dict.json", b"{")
    assert_one_line("broken: cannot be read by datasets: ", tmp_path / "broken")


def test_damaged_tables_are_one_line(tmp_path: Path) -> None:
    write(tmp_path / "empty" / "train.csv", b"")
    assert_one_line("empty: cannot be read by datasets: ", tmp_path / "empty")
    picture_table(12).to_parquet(tmp_path / "cut" / "train.parquet")
    content = (tmp_path / "cut" / "train.parquet").read_bytes()
    write(tmp_path / "cut" / "train.parquet", content[: len(content) // 2])
    assert_one_line("cut: cannot be read by datasets: ", tmp_path / "cut")
    write(tmp_path / "ragged" / "train.csv", b"text,label\na,1\nb,2,3,4\n")
    assert_one_line("ragged: cannot be read by datasets: ", tmp_path / "ragged")


def test_wrong_names_and_settings(tmp_path: Path) -> None:
    assert_one_line("nobody/nothing: no such folder, and cannot be read from the hub: ", "nobody/nothing")
    assert_one_line(r"\./nothing: no such folder$", "./nothing")
    assert_one_line("a/b/c: no such folder$", "a/b/c")
    pets = class_folder(tmp_path / "pets")
    assert_one_line("task: expected one of none, classification, .*, got 'guess'", pets, task="guess")
    assert_one_line("task: the source .* has targets for .*; got 'joint'", pets, task="joint")
    assert_one_line("max_train_examples: expected a whole number >= 1, got 0", pets, max_train_examples=0)
    assert_one_line(
        "fit: expected one of crop, squash, pad, got 'zoom'", pets, encoder_settings={"image": {"fit": "zoom"}}
    )


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table(text=["a"] * 4).save_to_disk(tmp_path / "saved")
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = r"the package 'datasets' is missing: pip install 'hiperceiver\[data\]'"
    assert_one_line(message, tmp_path / "saved")
    class_folder(tmp_path / "pets")
    assert len(open_huggingface(tmp_path / "pets", **SMALL).splits) == 3  # folders of files do without


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 37])
def test_dealing_gives_every_split_of_every_class_what_it_can(count: int) -> None:
    labels = np.repeat([0, 4], [count, 10])
    splits = drawn_by_rows(labels, seed=1)
    sizes = {split: int((labels[splits == number] == 0).sum()) for number, split in enumerate(SPLITS)}
    assert sizes["train"] >= 1
    assert (sizes["test"] > 0) == (count >= 2)
    assert (sizes["validation"] > 0) == (count >= 3)
    without_test = drawn_by_rows(labels, seed=1, test_share=0)
    assert not (without_test == TEST).any()
    assert (labels[without_test == VALIDATION] == 0).any() == (count >= 2)


def many_columns(count: int = 20) -> datasets.Dataset:
    sounds = [{"bytes": wav(100 + 50 * n), "path": f"{n}.wav"} for n in range(count)]
    rng = np.random.default_rng(0)
    series = [rng.normal(size=(12, 3)).tolist() for _ in range(count)]
    features = datasets.Features(
        {
            "sound": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
            "photo": datasets.Image(),
            "accel": datasets.Array2D((12, 3), "float32"),
            "flat": datasets.List(datasets.Value("float32")),
            "cube": datasets.Array4D((2, 3, 4, 1), "float32"),
            "cloud": datasets.List(datasets.List(datasets.Value("float32"))),
            "words": datasets.Value("string"),
            "kind": datasets.ClassLabel(names=["dog", "cat"]),
            "tags": datasets.List(datasets.Value("string")),
            "size": datasets.Value("float64"),
            "age": datasets.Value("int64"),
            "mood": datasets.Value("string"),
        }
    )
    values = {
        "sound": sounds,
        "photo": [{"bytes": jpeg(), "path": None}] * count,
        "accel": series,
        "flat": [rng.normal(size=7 + n % 3).tolist() for n in range(count)],
        "cube": [np.full((2, 3, 4, 1), n).tolist() for n in range(count)],
        "cloud": [rng.normal(size=(5 + n, 3)).tolist() for n in range(count)],
        "words": [f"text {n}" for n in range(count)],
        "kind": [n % 2 for n in range(count)],
        "tags": [["red", "old"][: n % 3] for n in range(count)],
        "size": [float(n) if n % 5 else None for n in range(count)],
        "age": list(range(count)),
        "mood": [["calm", "wild", None][n % 3] for n in range(count)],
    }
    table = datasets.Dataset.from_dict(values, features=features).data.table.replace_schema_metadata(None)
    # A column of sounds cannot be made of values without a codec; what is stored is the same.
    features = datasets.Features({**features, "sound": datasets.Audio()})
    return datasets.Dataset(table, info=datasets.DatasetInfo(features=features))


def test_columns_of_every_kind(tmp_path: Path) -> None:
    many_columns().save_to_disk(tmp_path / "saved")
    columns = {
        "audio": "sound",
        "image": "photo",
        "accel": "accel",
        "flat": "flat",
        "vector": "cloud:series",
        "cube": "cube",
        "points": "cloud",
        "words": "words",
    }
    source = open_huggingface(tmp_path / "saved", columns=columns, encoder_settings={"image": {"size": 8}})
    kinds = {modality: encoder.kind for modality, encoder in source.encoders.items()}
    assert kinds == {
        "audio": "audio",
        "image": "image",
        "accel": "series",
        "flat": "series",
        "vector": "series",
        "cube": "volume",
        "points": "points",
        "words": "bytes",
    }
    assert source.modalities["accel"] == Modality(grid=(12,), channels=3)
    assert source.modalities["flat"] == Modality(grid=(9,), channels=1)
    assert source.modalities["cube"] == Modality(grid=(2, 3, 4), channels=1)
    assert source.modalities["audio"].grid == (1600,)
    assert len(examples(source, "train")) == 14
    assert bytes(source.encoders["words"].to_value(examples(source, "test")[0].inputs["words"])).startswith(b"text ")


def test_columns_that_are_found(tmp_path: Path) -> None:
    whole = many_columns()
    whole.save_to_disk(tmp_path / "all")
    assert list(open_huggingface(tmp_path / "all", **SMALL).encoders) == ["image", "audio"]
    whole.select_columns(["accel", "words", "kind"]).save_to_disk(tmp_path / "arrays")
    assert list(open_huggingface(tmp_path / "arrays").encoders) == ["series"]
    whole.select_columns(["age", "kind"]).add_column("text", ["a"] * 20).save_to_disk(tmp_path / "texts")
    assert list(open_huggingface(tmp_path / "texts").encoders) == ["bytes"]


def test_targets_of_every_task_and_the_same_splits(tmp_path: Path) -> None:
    many_columns().save_to_disk(tmp_path / "saved")
    targets: dict[str, Any] = {
        "columns": {"image": "photo"},
        "value_columns": ["size", "age"],
        "label_columns": {"kind of": "kind", "how": "mood", "large": "size"},
        **SMALL,
    }
    plain = open_huggingface(tmp_path / "saved", **targets)
    by_class = open_huggingface(tmp_path / "saved", task="classification", **targets)
    assert by_class.classes == ("dog", "cat")
    values = open_huggingface(tmp_path / "saved", task="regression", **targets)
    assert values.classes == ("size", "age")
    joint = open_huggingface(tmp_path / "saved", task="joint", **targets)
    assert joint.labels == {"kind of": ("dog", "cat"), "how": ("calm", "wild"), "large": ()}
    for split in ("train", "validation", "test"):
        assert names(plain, split) == names(by_class, split) == names(values, split) == names(joint, split)
    for source, number in ((values, 0), (joint, 0)):
        for example in examples(source, "train"):
            row = int(example.name.rpartition(" ")[2])
            if source is values:
                size, age = example.targets["values"].tolist()
                assert age == row
            else:
                size = example.targets["large"].item()
                assert example.targets["kind of"].item() == row % 2
                assert example.targets["how"].item() == (0, 1, -100)[row % 3]
            assert np.isnan(size) if row % 5 == number else size == row


def test_splits_do_not_depend_on_the_columns_that_are_named(tmp_path: Path) -> None:
    # Who pretrains does not name the column of the labels.
    lines = [f"thing {n},{'good' if n % 3 else 'bad'},{n % 7},{n}" for n in range(40)]
    write(tmp_path / "table" / "train.csv", "\n".join(["text,mood,day,age", *lines]).encode())
    plain = open_huggingface(tmp_path / "table")
    for task, named in {
        "none": {"label_column": "mood"},
        "classification": {"label_column": "day"},
        "regression": {"value_columns": "age", "label_column": "mood"},
        "joint": {"label_columns": "mood"},
    }.items():
        source = open_huggingface(tmp_path / "table", task=task, **named)  # pyright: ignore[reportArgumentType]
        for split in ("train", "validation", "test"):
            assert names(plain, split) == names(source, split), task


def test_a_folder_may_be_called_like_a_reader_of_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parquet").mkdir()
    picture_table(12).to_parquet(tmp_path / "parquet" / "train.parquet")
    write(tmp_path / "other.txt", b"no table")
    monkeypatch.chdir(tmp_path)
    assert "image" in open_huggingface("parquet", **SMALL).encoders


def test_several_labels_in_a_list(tmp_path: Path) -> None:
    many_columns().save_to_disk(tmp_path / "saved")
    settings: dict[str, Any] = {"columns": {"image": "photo"}, "label_column": "tags", **SMALL}
    source = open_huggingface(tmp_path / "saved", task="multilabel", **settings)
    assert source.classes == ("old", "red")
    for example in examples(source, "train"):
        row = int(example.name.rpartition(" ")[2])
        assert example.targets["labels"].tolist() == [[0, 0], [0, 1], [1, 1]][row % 3]
    given = open_huggingface(tmp_path / "saved", task="multilabel", classes=["red", "new", "old"], **settings)
    assert max(example.targets["labels"][2].item() for example in examples(given, "train")) == 1
    assert_one_line(
        "label_column: for classification expected a class in each row of 'tags', got lists",
        tmp_path / "saved",
        task="classification",
        **settings,
    )
    settings["label_column"] = "kind"
    assert_one_line("for multilabel expected a list of classes", tmp_path / "saved", task="multilabel", **settings)


def test_empty_cells_are_missing_modalities(tmp_path: Path) -> None:
    whole = many_columns(10)
    changed = whole.map(lambda row, n: {"accel": None if n % 2 else row["accel"]}, with_indices=True)
    changed.save_to_disk(tmp_path / "saved")
    settings: dict[str, Any] = {"columns": {"image": "photo", "series": "accel"}, **SMALL}
    skipped = open_huggingface(tmp_path / "saved", **settings)
    found = [skipped.splits[split][n] for split in skipped.splits for n in range(len(skipped.splits[split]))]
    bad = sorted(str(x) for x in found if isinstance(x, BadExample))
    assert bad == [f"train row {n}: has no series" for n in (1, 3, 5, 7, 9)]
    kept = examples(open_huggingface(tmp_path / "saved", missing="absent", **settings), "train")
    assert {"series" in x.is_padding and bool(x.is_padding["series"].all()) for x in kept} == {True, False}


def test_a_folder_of_csv_tables(tmp_path: Path) -> None:
    lines = [f"{'good' if n % 2 else 'bad'} thing {n},{'yes' if n % 2 else 'no'}" for n in range(20)]
    write(tmp_path / "train.csv", "\n".join(["text,label", *lines]).encode())
    source = open_huggingface(tmp_path, task="classification")
    assert source.classes == ("no", "yes")
    assert source.encoders["bytes"].kind == "bytes"
    text = source.encoders["bytes"].to_value(*_tokens(examples(source, "test")[0], "bytes"))
    assert bytes(text).startswith((b"good", b"bad"))


def test_a_csv_file_of_any_name_is_a_table_if_its_columns_are_named(tmp_path: Path) -> None:
    lines = [f"thing {n},{'yes' if n % 2 else 'no'}" for n in range(20)]
    write(tmp_path / "data.csv", "\n".join(["text,answer", *lines]).encode())
    assert open_huggingface(tmp_path, task="classification", label_column="answer").classes == ("no", "yes")


def _tokens(example: Example, modality: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    return example.inputs[modality], example.is_padding.get(modality)


@leaves_files_open
def test_words_that_pandas_takes_for_missing_are_words_in_texts(tmp_path: Path) -> None:
    lines = [f"{('null', 'None', 'a text')[n % 3]},{('NA', 'US')[n % 2]},{('NA', '1.5')[n % 2]}" for n in range(12)]
    write(tmp_path / "train.csv", "\n".join(["text,label,value", *lines, ",US,1"]).encode())
    how: dict[str, Any] = {"encoder_settings": {"bytes": {"length": 8}}}
    source = open_huggingface(tmp_path, task="classification", **how)
    assert source.classes == ("NA", "US")
    assert source.describe()[1] == "classes: 2; NA 6, US 7"
    values = open_huggingface(tmp_path, task="regression", value_columns="value", **how)
    found = [part[n] for part in values.splits.values() for n in range(len(part))]
    numbers = [each.targets["values"].item() for each in found if isinstance(each, Example)]
    assert (np.isnan(numbers).sum(), numbers.count(1.5)) == (6, 6)
    how |= {"classes": ("US", "NA"), "stream": True, "validation_examples": 4}
    stream = open_huggingface(tmp_path, task="classification", **how)
    loader = train_loader(stream.splits["train"], batch_size=4, seed=0, num_batches=2)
    assert {int(label) for batch in loader for label in batch.targets["label"]} == {0, 1}
    del source, values, stream, loader
    gc.collect()


@pytest.mark.parametrize("name", ["photos [v2, small]", "a*b", "what?", "{x}"])
def test_names_of_folders_are_no_patterns(tmp_path: Path, name: str) -> None:
    for folder, label in {name: "cat", name.replace("*", "_"): "dog"}.items():
        (tmp_path / folder).mkdir(exist_ok=True)
        table(text=["a", "b"] * 5, label=[label, "bird"] * 5).to_parquet(tmp_path / folder / "train.parquet")
    source = open_huggingface(tmp_path / name, task="classification", encoder_settings={"bytes": {"length": 8}})
    assert source.classes == (("bird", "dog") if "*" not in name else ("bird", "cat"))


@pytest.mark.parametrize(("ending", "line"), [("tsv", "{}\t{}"), ("ndjson", '{{"text": "{}", "label": "{}"}}')])
def test_tables_with_tabs_and_lines_of_json(tmp_path: Path, ending: str, line: str) -> None:
    for split, count in {"train": 8, "test": 4}.items():
        rows = [line.format(f"{split}, {n}", "ab"[n % 2]) for n in range(count)]
        head = ["text\tlabel"] if ending == "tsv" else []
        write(tmp_path / f"{split}.{ending}", "\n".join([*head, *rows]).encode())
    source = open_huggingface(tmp_path, task="classification", encoder_settings={"bytes": {"length": 8}})
    assert (source.classes, len(source.splits["test"])) == (("a", "b"), 4)


def test_class_numbers_may_be_whole_floats_and_blank_is_none(tmp_path: Path) -> None:
    how: dict[str, Any] = {"task": "classification", "encoder_settings": {"bytes": {"length": 8}}}
    labels = [None, *(float(n % 2) for n in range(11))]
    (tmp_path / "a").mkdir()
    table(text=[str(n) for n in range(12)], label=labels).to_parquet(tmp_path / "a" / "train.parquet")
    source = open_huggingface(tmp_path / "a", **how)
    assert source.describe()[1] == "classes: 2; 0 6, 1 5"
    (tmp_path / "b").mkdir()
    table(text=[str(n) for n in range(12)], label=["x", "y", "", " "] * 3).to_parquet(tmp_path / "b" / "train.parquet")
    assert open_huggingface(tmp_path / "b", **how).classes == ("x", "y")
    (tmp_path / "c").mkdir()
    table(text=[str(n) for n in range(12)], label=[0.5, 1.0] * 6).to_parquet(tmp_path / "c" / "train.parquet")
    assert_one_line("label_column: expected class names or numbers in 'label', got 0.5", tmp_path / "c", **how)


@pytest.mark.parametrize("kind", [int, float])
def test_class_numbers_of_a_table_are_named_by_its_folder(tmp_path: Path, kind: type) -> None:
    how: dict[str, Any] = {"task": "classification", "encoder_settings": {"bytes": {"length": 8}}}
    table(text=[str(n) for n in range(12)], label=[kind(n % 2) for n in range(12)]).to_parquet(tmp_path / "t.parquet")
    write(tmp_path / "classes.txt", b"cat\ndog\n")
    assert open_huggingface(tmp_path, **how).classes == ("cat", "dog")
    given = open_huggingface(tmp_path, classes=("dog", "bird", "cat"), **how)
    stream = open_huggingface(tmp_path, classes=("dog", "bird", "cat"), stream=True, validation_examples=4, **how)
    for source, split in ((given, "train"), (stream, "validation")):
        for example in examples(source, split):
            assert example.targets["label"].item() == (2, 0)[int(example.name.rpartition(" ")[2]) % 2]
    table(text=["a", "b"] * 6, label=[kind(1), kind(2)] * 6).to_parquet(tmp_path / "t.parquet")
    found = f"label_column: expected numbers of 2 classes in 'label', from 0, got {kind(2)}"
    assert_one_line(found, tmp_path, **how)


def test_the_classes_of_joint_labels_are_matched_by_name(tmp_path: Path) -> None:
    table(text=["a", "b"] * 6, colour=["red", "green"] * 6, size=["big", "small"] * 6).to_parquet(
        tmp_path / "t.parquet"
    )
    how: dict[str, Any] = {"task": "joint", "label_columns": ("colour", "size")}
    how |= {"encoder_settings": {"bytes": {"length": 8}}}
    given = {"colour": ("blue", "green", "red"), "size": ("big", "small")}
    source = open_huggingface(tmp_path, label_classes=given, **how)
    assert source.labels == given
    found = {(int(each.inputs["bytes"][0, 0]) - 1, int(each.targets["colour"])) for each in examples(source, "train")}
    assert found == {(ord("a"), 2), (ord("b"), 1)}
    stream = open_huggingface(tmp_path, label_classes=given, stream=True, validation_examples=4, **how)
    assert {int(each.targets["colour"]) for each in examples(stream, "validation")} == {1, 2}
    expected = f"colour: expected only blue, green, found red in {tmp_path}"
    assert_one_line(expected, tmp_path, label_classes={"colour": ("blue", "green")}, **how)


def test_columns_and_folders_that_name_splits_are_splits(tmp_path: Path) -> None:
    words = ["train"] * 8 + ["test"] * 4 + ["extra"]
    (tmp_path / "a").mkdir()
    texts: dict[str, Any] = {"text": [str(n) for n in range(13)], "label": [n % 2 for n in range(13)]}
    table(**texts, Split=words).to_parquet(tmp_path / "a" / "data.parquet")
    source = open_source(tmp_path / "a", task="classification", encoder_settings={"bytes": {"length": 8}})
    assert len(source.splits["test"]) == 4
    assert "splits by the column 'Split': train 8, test 4; 1 of none are left out" in source.warnings
    for split, count in {"train": 8, "test": 4}.items():
        for n in range(count):
            write(tmp_path / "b" / split / f"{n}.jpg", jpeg())
    lines = [f"{split}/{n}.jpg,{n % 2}" for split, count in {"test": 4, "train": 8}.items() for n in range(count)]
    write(tmp_path / "b" / "metadata.csv", "\n".join(["file_name,label", *lines]).encode())
    source = open_source(tmp_path / "b", task="classification", **SMALL)
    assert {name.partition("/")[0] for name in names(source, "test")} == {"test"}
    assert "splits by the folders of 'image': train 8, test 4" in source.warnings


def test_eval_beside_test_is_no_test(tmp_path: Path) -> None:
    for n, split in enumerate(("train", "eval", "test")):
        table(text=[f"{split} {k}" for k in range(8 + n)], label=[0, 1] * 4 + [0] * n).to_parquet(
            tmp_path / f"{split}.parquet"
        )
    source = open_huggingface(tmp_path, task="classification", encoder_settings={"bytes": {"length": 8}})
    assert len(source.splits["test"]) == 10
    assert "1 tables of no split are left out, for example eval.parquet" in source.warnings


def test_zeros_before_the_numbers_of_classes_stay(tmp_path: Path) -> None:
    for split, count in {"train": 8, "test": 4}.items():
        lines = [f"a text {n},{('007', '042')[n % 2]},{('NA', '1.5')[n % 2]}" for n in range(count)]
        write(tmp_path / f"{split}.csv", "\n".join(["text,label,value", *lines]).encode())
    how: dict[str, Any] = {"encoder_settings": {"bytes": {"length": 8}}}
    source = open_huggingface(tmp_path, task="classification", **how)
    assert (source.classes, len(source.splits["test"])) == (("007", "042"), 4)
    values = open_huggingface(tmp_path, task="regression", value_columns="value", **how)
    assert [each.targets["values"].item() for each in examples(values, "test")][1::2] == [1.5, 1.5]


def test_a_full_cache_of_datasets_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: Any, **settings: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    table(text=["a", "b"] * 5, label=[0, 1] * 5).to_parquet(tmp_path / "train.parquet")
    monkeypatch.setattr(datasets, "load_dataset", load)
    where = f"what it keeps lies in {tmp_path / 'cache'}; HF_DATASETS_CACHE names another folder"
    assert_one_line(f"No space left on device .{where}.$", tmp_path)
