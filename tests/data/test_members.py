"""Members, not numbers: what happens to one example moves no other."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
from closeness import assert_within

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.members import (
    Members,
    choose,
    draw_splits,
    drawn,
    hash_content,
    hash_names,
    read_members,
    what_changed,
)
from hiperceiver.data.record import SPLITS, Table
from hiperceiver.data.sources import Source, open_source
from hiperceiver.data.streamed import StreamedExamples

from .media import sine
from .pictures import jpeg, write
from .signals import tar

SMALL: dict[str, Any] = {"size": 8}


@pytest.fixture(autouse=True)
def _cache_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def table(labels: list[int], first: int = 0) -> Table:
    names = [f"{label}/{first + n}.jpg" for n, label in enumerate(labels)]
    return Table(names=names, raws={}, targets={"label": np.array(labels)})


def parts(drawn_from: Table) -> dict[str, str]:
    """Name -> split."""
    return {drawn_from.names[row]: SPLITS[split] for row, split in enumerate(drawn_from.splits)}


def names(source: Source) -> dict[str, set[str]]:
    found = {}
    for split, dataset in source.splits.items():
        assert isinstance(dataset, EncodedRecords)
        found[split] = {dataset.records[index].name for index in range(len(dataset))}
    return found


def test_shares_are_right_on_average() -> None:
    # A share of 0.7 of 20,000 draws strays by 0.0032, the others by less.
    splits = draw_splits(table([n % 5 for n in range(20_000)]), 0, is_test_drawn=True).splits
    assert_within(np.bincount(splits) / len(splits), [0.7, 0.1, 0.2], 0.01)
    without_test = draw_splits(table([0] * 20_000), 0, is_test_drawn=False).splits
    assert_within(np.bincount(without_test) / len(without_test), [0.9, 0.1], 0.01)


@pytest.mark.parametrize("is_test_drawn", [True, False])
def test_an_example_added_or_removed_moves_no_other(is_test_drawn: bool) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60).tolist()
    before = parts(draw_splits(table(labels), 5, is_test_drawn=is_test_drawn))
    for extra in range(3):
        after = parts(draw_splits(table([*labels, extra]), 5, is_test_drawn=is_test_drawn))
        assert before.items() <= after.items()
    order = rng.permutation(60)
    shuffled = draw_splits(table(labels).take(order), 5, is_test_drawn=is_test_drawn)
    assert parts(shuffled) == before
    assert parts(draw_splits(table(labels), 6, is_test_drawn=is_test_drawn)) != before


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 20])
@pytest.mark.parametrize("seed", range(20))
def test_few_examples_give_every_split_what_they_can(count: int, seed: int) -> None:
    labels = [n % 2 for n in range(count)]
    splits = draw_splits(table(labels), seed, is_test_drawn=True).splits
    assert {label for label, split in zip(labels, splits, strict=True) if split == 0} == set(labels)
    assert (splits != 0).any() == (count > 2)
    if count >= 4:
        assert {0, 1, 2} == set(splits.tolist())


def test_rows_of_a_group_stay_together() -> None:
    groups = hash_names([f"clip {n // 4}" for n in range(400)])
    whole = Table(names=[f"window {n}" for n in range(400)], raws={}, groups=groups)
    for rule in ("names", "rows"):
        splits = draw_splits(whole, 0, is_test_drawn=True, rule=rule).splits.reshape(100, 4)
        assert (splits == splits[:, :1]).all()
        assert set(splits[:, 0]) == {0, 1, 2}


def test_smaller_shares_are_part_of_larger_ones() -> None:
    keys = hash_names([str(n) for n in range(1000)])
    shares = [choose(keys, 0, share=share) for share in (1e-9, 0.1, 0.5, 1.0)]
    assert [int(share.sum()) for share in shares] == [1, pytest.approx(100, abs=30), pytest.approx(500, abs=50), 1000]
    assert all((small <= large).all() for small, large in pairwise(shares))
    assert (choose(keys[1:], 0, share=0.5) == shares[2][1:]).all()
    assert int(choose(keys, 0, count=17).sum()) == 17
    # What is drawn for test says nothing of what a share takes.
    assert abs(np.corrcoef(drawn(keys, 0, "split"), drawn(keys, 0, "choice"))[0, 1]) < 0.1


def test_content_stands_for_names() -> None:
    long = bytes(10_000) + b"a" + bytes(10_000)
    cells = [None, "a", b"a", long, 1, 1.5, [1, 2], [[1], [2]], {"bytes": b"a", "path": None}, ["a"], []]
    assert len({hash_content([cell]) for cell in cells}) == len(cells) - 1  # a text is its bytes
    assert hash_content([long]) == hash_content([long])


# ---- every source


def folder(root: Path, numbers: list[int]) -> None:
    for n in numbers:
        write(root / "ab"[n % 2] / f"{n:02}.jpg", jpeg())


def shards(root: Path, numbers: list[int]) -> None:
    tar(root / "0.tar", {f"{n:02}.{end}": each for n in numbers for end, each in _files(n)})


def _files(n: int) -> list[tuple[str, bytes]]:
    return [("jpg", jpeg()), ("cls", str(n % 2).encode())]


def csv(root: Path, numbers: list[int]) -> None:
    lines = ["text,label", *(f"text {n},{n % 2}" for n in numbers)]
    write(root / "train.csv", "\n".join(lines).encode())


def csv_with_ids(root: Path, numbers: list[int]) -> None:
    lines = ["id,text,label", *(f"{n},same,{n % 2}" for n in numbers)]
    write(root / "train.csv", "\n".join(lines).encode())


def metadata(root: Path, numbers: list[int]) -> None:
    for n in numbers:
        write(root / f"{n:02}.jpg", jpeg())
    lines = [json.dumps({"file_name": f"{n:02}.jpg", "label": str(n % 2)}) for n in numbers]
    write(root / "metadata.jsonl", "\n".join(lines).encode())


def parquet(root: Path, numbers: list[int]) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    photos = [{"bytes": jpeg((2 * n, 90, 90)), "path": None} for n in numbers]
    root.mkdir(parents=True, exist_ok=True)
    values = {"image": photos, "label": [n % 2 for n in numbers]}
    datasets.Dataset.from_dict(values, features=features).to_parquet(root / "train.parquet")


@pytest.mark.parametrize("make", [folder, shards, csv, csv_with_ids, metadata, parquet])
def test_no_source_moves_an_example(tmp_path: Path, make: Callable[[Path, list[int]], None]) -> None:
    numbers = list(range(1, 41))
    found = []
    for name, chosen in {"whole": numbers, "less": numbers[1:], "other order": numbers[::-1]}.items():
        make(tmp_path / name, chosen)
        found.append(open_source(tmp_path / name, task="classification", split_seed=1))
    whole, less, turned = (source.members for source in found)
    assert all(np.array_equal(whole.splits[split], turned.splits[split]) for split in SPLITS)
    assert str(what_changed(whole, less)) == "0 examples added, 1 removed, 0 in another split"
    assert sum(map(len, whole.splits.values())) == 40
    assert len(np.unique(np.concatenate(list(whole.splits.values())))) == 40


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("classification", {"label_column": "class"}),
        ("regression", {"value_columns": ["size", "age"]}),
        ("joint", {"label_columns": ["class", "size"]}),
    ],
)
def test_other_labels_are_seen(tmp_path: Path, task: str, settings: dict[str, Any]) -> None:
    """The order of rows is no change, nor is another number of the same class."""

    def members(rows: list[str]) -> Members:
        write(tmp_path / "train.csv", "\n".join(["id,text,class,size,age", *rows]).encode())
        return open_source(tmp_path, task=task, columns={"text": "text"}, **settings).members

    rows = [f"{n},text {n},{'bc'[n % 2]},{n / 7},{n}" for n in range(40)]
    before = members(rows)
    assert len(before.labels) == 40
    assert not what_changed(before, members(rows[::-1]))
    others = [f"{n},text {n},{'cb'[n % 2]},{n / 3 + 1},{n}" for n in range(3)]
    assert what_changed(before, members([*rows[3:], *others])).relabelled == 3
    more = [f"{n},text {n},a,{n},{n}" for n in range(40, 60)]  # of a new class, the first by name
    changes = what_changed(before, members([*more, *rows]))
    assert (changes.added, changes.relabelled) == (20, 0)


def test_a_stream_moves_no_record(tmp_path: Path) -> None:
    held = []
    for name, numbers in {"whole": range(100), "less": range(1, 100)}.items():
        parquet(tmp_path / name, list(numbers))
        source = open_source(tmp_path / name, stream=True, **SMALL)
        train, validation = source.splits["train"], source.splits["validation"]
        assert isinstance(train, StreamedExamples) and isinstance(validation, EncodedRecords)
        trained = {record.raws["image"] for _, _, record in train.shuffled(seed=0, epoch=0)}
        held.append({validation.records[n].raws["image"] for n in range(len(validation))})
        assert held[-1].isdisjoint(trained)
        assert len(held[-1]) + len(trained) == len(numbers)
    assert len(held[0] - held[1]) <= 1 and held[1] <= held[0]


def test_the_folder_may_be_copied_and_named_in_any_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "data", list(range(40)))
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    found = [open_source(name, **SMALL) for name in (tmp_path / "data", "data", "copy/")]
    assert names(found[0]) == names(found[1]) == names(found[2])


# ---- what a run keeps


@pytest.mark.parametrize("ending", ["txt", "png", "wav"])
def test_files_that_were_rewritten_are_seen(tmp_path: Path, ending: str) -> None:
    """Under the same name, and of the same size."""

    def content(number: int) -> bytes:
        if ending == "wav":
            soundfile.write(file := BytesIO(), sine(0.1, 8000) / (number + 1), 8000, format="WAV")
            return file.getvalue()
        return jpeg((number, 0, 0)) if ending == "png" else b"a" * 9000 + b"%2d" % number

    for n in range(20):
        write(tmp_path / "x" / f"{n}.{ending}", content(n))
    size = {"size": 8} if ending == "png" else {}
    before = open_source(tmp_path / "x", **size).members
    before.save(tmp_path / "members.npz")
    kept = read_members(tmp_path / "members.npz")
    assert kept is not None and len(kept.contents) == 20
    assert not what_changed(kept, before)
    write(tmp_path / "x" / f"3.{ending}", content(4))
    write(tmp_path / "x" / f"4.{ending}", content(3))
    (tmp_path / "x" / f"5.{ending}").unlink()
    now = open_source(tmp_path / "x", **size).members
    assert str(what_changed(kept, now)) == "0 examples added, 1 removed, 0 in another split; 2 with other content"


def test_members_are_kept_and_compared(tmp_path: Path) -> None:
    keys = hash_names([str(n) for n in range(6)])
    before = Members(splits={"train": np.sort(keys[:4]), "test": np.sort(keys[4:])})
    earlier = read_members(tmp_path / "none.npz")
    assert earlier is not None and earlier.rule == "rows" and not what_changed(earlier, before)
    before.save(tmp_path / "members.npz")
    kept = read_members(tmp_path / "members.npz")
    assert kept is not None and kept.rule == "names"
    assert not what_changed(kept, before)
    moved = Members(splits={"train": np.sort(keys[1:4]), "test": np.sort(np.append(keys[4:], keys[0]))})
    assert str(what_changed(kept, moved)) == (
        "0 examples added, 0 removed, 1 in another split; 1 of test was trained on"
    )
    labels = np.stack([np.sort(keys), np.arange(6, dtype=np.uint64)], axis=1)
    before, now = (
        dataclasses.replace(before, labels=each) for each in (labels, labels[2:] // np.array([1, 4], np.uint64))
    )
    before.save(tmp_path / "members.npz")
    kept = read_members(tmp_path / "members.npz")
    assert kept is not None and not what_changed(kept, before)
    # 2, 3, 4 and 5 have become 0, 0, 1 and 1
    assert str(what_changed(kept, now)) == "0 examples added, 0 removed, 0 in another split; 4 with other labels"
    whole = (tmp_path / "members.npz").read_bytes()
    header = whole.replace(b"'shape': (4,), }", b"'shape': (4,), (")
    for damaged in (b"damaged", whole[:-30], header, whole.replace(b"\x93NUMPY", b"\x93NUMPX")):
        write(tmp_path / "members.npz", damaged)
        assert read_members(tmp_path / "members.npz") is None
