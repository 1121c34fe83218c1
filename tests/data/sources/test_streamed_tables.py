"""Tables that are read as streams."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from hiperceiver.data.loading import train_loader
from hiperceiver.data.streamed import StreamedExamples

from ..pictures import encoded, gradient, jpeg, write
from .picture_data import SMALL, assert_one_line, leaves_files_open, open_huggingface, picture_table
from .reading import examples


@pytest.fixture(autouse=True)
def _closed_files() -> Iterator[None]:
    """Files that a test leaves open are closed while it may leave them so."""
    yield
    gc.collect()


def stream_folder(root: Path, count: int = 60, **parts: int) -> Path:
    for split, size in {"train": count, **parts}.items():
        picture_table(size).to_parquet(root / f"{split}.parquet")
    return root


def seen(dataset: Any, **settings: Any) -> list[list[float]]:
    """The pictures of some batches, as numbers that tell them apart."""
    return [
        [float(x) for x in batch.inputs["image"].double().sum((1, 2))]
        for batch in train_loader(dataset, **{"batch_size": 4, "seed": 1, "num_batches": 6, **settings})
    ]


def test_a_streamed_table(tmp_path: Path) -> None:
    folder = stream_folder(tmp_path / "pets")
    source = open_huggingface(
        folder, task="classification", stream=True, validation_examples=10, buffer_size=8, **SMALL
    )
    train = source.splits["train"]
    assert isinstance(train, StreamedExamples)
    assert source.classes == ("dog", "cat")
    assert list(source.splits) == ["train", "validation"]
    assert [example.name for example in examples(source, "validation")] == [f"train row {n}" for n in range(10)]
    order = [number for _, number, _ in train.shuffled(seed=1, epoch=0)]
    assert sorted(order) == list(range(10, 60)) != order
    assert order != [number for _, number, _ in train.shuffled(seed=1, epoch=1)]
    batch = next(iter(train_loader(train, batch_size=6, seed=0)))
    pixels = batch.inputs["image"].mean(1)
    assert ((pixels[:, 1] > pixels[:, 0]) == (batch.targets["label"] == 0)).all()
    first = seen(train)
    assert first == seen(train, num_workers=2)
    assert [*seen(train, num_batches=2), *seen(train, start_batch=2, num_batches=4)] == first


def test_streams_of_validation_and_test(tmp_path: Path) -> None:
    folder = stream_folder(tmp_path / "pets", 30, validation=9, test=7)
    source = open_huggingface(folder, task="classification", stream=True, validation_examples=8, **SMALL)
    assert {split: len(source.splits[split]) for split in ("validation", "test")} == {"validation": 8, "test": 7}
    numbers = [number for _, number, _ in source.splits["train"].shuffled(seed=0, epoch=0)]
    assert sorted(numbers) == list(range(30))
    few = open_huggingface(folder, stream=True, max_train_examples=5, **SMALL).splits["train"]
    assert sorted(number for _, number, _ in few.shuffled(seed=0, epoch=0)) == list(range(5))


def test_classes_of_streamed_masks_are_matched_by_name(tmp_path: Path) -> None:
    pairs = {"image": [], "mask": []}
    for number in range(12):
        mask = np.full((8, 8), number % 2, dtype=np.uint8)
        mask[0] = 2
        pairs["image"].append({"bytes": encoded(Image.fromarray(gradient(8, 8))), "path": None})
        pairs["mask"].append({"bytes": encoded(Image.fromarray(mask)), "path": None})
    features = datasets.Features(dict.fromkeys(pairs, datasets.Image()))
    (tmp_path / "data").mkdir()
    datasets.Dataset.from_dict(pairs, features=features).to_parquet(tmp_path / "data" / "train.parquet")
    how: dict[str, Any] = {"task": "segmentation", "stream": True, "split_rule": "rows", "validation_examples": 4}

    def labels(*names: str, given: tuple[str, ...] = ()) -> list[list[int]]:
        if names:
            write(tmp_path / "data" / "classes.txt", "\n".join(names).encode())
        source = open_huggingface(tmp_path / "data", **how, classes=given, **SMALL)
        return [sorted(set(each.targets["segmentation"].tolist())) for each in examples(source, "validation")]

    with pytest.raises(ValueError, match=r"^classes: expected their names, as a stream .*; write them to classes.txt"):
        labels()
    assert labels(given=("a", "b", "c")) == [[0, 2], [1, 2]] * 2
    assert labels("a", "b", "c") == labels("a", "b", "c", given=("a", "b", "c")) == [[0, 2], [1, 2]] * 2
    assert labels("b", "c", "a", given=("a", "b", "c")) == [[0, 1], [0, 2]] * 2
    with pytest.raises(ValueError, match=r"^classes: expected only a, b, c, found bus in "):
        labels("a", "b", "bus", given=("a", "b", "c"))


@leaves_files_open
def test_streams_of_saved_tables_and_of_csv(tmp_path: Path) -> None:
    picture_table(30).save_to_disk(tmp_path / "saved")
    source = open_huggingface(tmp_path / "saved", stream=True, validation_examples=4, **SMALL)
    assert len(next(iter(train_loader(source.splits["train"], batch_size=5, seed=0)))) == 5
    lines = [f"a text {n},{n % 3}" for n in range(40)]
    write(tmp_path / "csv" / "train.csv", "\n".join(["text,label", *lines]).encode())
    settings: dict[str, Any] = {"stream": True, "task": "classification", "validation_examples": 4}
    source = open_huggingface(tmp_path / "csv", classes=["x", "y", "z"], **settings)
    assert "classes are taken by number: 0 is x, 1 is y, 2 is z" in source.warnings
    batch = next(iter(train_loader(source.splits["train"], batch_size=30, seed=0)))
    assert set(batch.targets["label"].tolist()) == {0, 1, 2}
    assert_one_line("classes: expected the names of the classes in 'label'", tmp_path / "csv", **settings)
    few = open_huggingface(tmp_path / "csv", classes=["x", "y"], **settings).splits["train"]
    skipped = next(iter(train_loader(few, batch_size=36, seed=0))).skipped
    assert len(skipped) == 12
    assert skipped[0].endswith("its class is '2', expected one of 0, 1")


@leaves_files_open
def test_bad_rows_of_a_stream_are_skipped_and_a_broken_stream_ends(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image()})
    cells = [{"bytes": jpeg()[: None if n % 4 else 30], "path": None} for n in range(24)]
    datasets.Dataset.from_dict({"image": [*cells, None]}, features=features).save_to_disk(tmp_path / "saved")
    source = open_huggingface(tmp_path / "saved", stream=True, validation_examples=1, **SMALL)
    batch = next(iter(train_loader(source.splits["train"], batch_size=24, seed=0)))
    assert (len(batch), len(batch.skipped)) == (18, 6)
    assert "train row 24: has no image" in batch.skipped
    with pytest.raises(ValueError, match=r"^train row \d+: "):
        next(iter(train_loader(source.splits["train"], batch_size=24, seed=0, strict=True)))
    folder = stream_folder(tmp_path / "cut", 300)
    (folder / "train.parquet").rename(folder / "train-0.parquet")
    content = (folder / "train-0.parquet").read_bytes()
    write(folder / "train-1.parquet", content[: len(content) // 2])
    settings: dict[str, Any] = {"stream": True, "validation_examples": 1}
    broken = open_huggingface(folder, max_train_examples=5, **settings, **SMALL).splits["train"]
    assert isinstance(broken, StreamedExamples)
    for num_workers in (0, 1):
        loader = train_loader(replace(broken, max_examples=None), batch_size=50, seed=0, num_workers=num_workers)
        with pytest.raises(ValueError, match=r"^train: the stream breaks off at row 300: ") as caught:
            list(loader)
        assert "\n" not in str(caught.value)
    write(tmp_path / "none" / "train.csv", b"text,label\n")
    assert_one_line("none: ", tmp_path / "none", stream=True)
    short = stream_folder(tmp_path / "short", 8)
    assert_one_line("beside those that validate, found none", short, stream=True)
    assert_one_line("buffer_size: expected a whole number >= 1", short, buffer_size=0, **settings)
    assert_one_line("validation_examples: expected", short, **{**settings, "validation_examples": 0})
