"""Crafted tables: Parquet, Arrow, CSV, JSON lines, what `datasets` saved."""

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from hiperceiver.data.sources import open_source

from .harness import assert_refused, run_apart


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def _rows(**more: list[Any]) -> dict[str, list[Any]]:
    return {"image": [{"bytes": _png(), "path": None}] * 6, "label": [0, 1] * 3, **more}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module", autouse=True)
def _readers_are_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("good")
    before, datasets.config.HF_DATASETS_CACHE = datasets.config.HF_DATASETS_CACHE, folder / "cache"
    try:
        _parquet(folder / "data", _rows())
        assert len(_read(folder / "data")) == 6
    finally:
        datasets.config.HF_DATASETS_CACHE = before


def _parquet(folder: Path, rows: dict[str, list[Any]], **options: Any) -> Path:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(rows), folder / "train.parquet", **options)
    return folder / "train.parquet"


def _read(folder: Path, **own: Any) -> list[str]:
    source = open_source(folder, task="classification", columns={"image": "image"}, **{"size": 8, **own})
    return [str(getattr(each, "reason", each.name)) for part in source.splits.values() for each in part]


def test_a_parquet_file_of_few_bytes_and_many_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data" / "train.parquet"
    path.parent.mkdir()
    image = pa.DictionaryArray.from_arrays(pa.array([0] * 10**6, pa.int8()), pa.array([_png()]))
    batch = pa.table({"image": image, "label": pa.array([0] * 10**6, pa.int8())})
    with pq.ParquetWriter(path, batch.schema, compression="zstd") as writer:
        for _ in range(12):
            writer.write_table(batch)
    assert path.stat().st_size < 10**6
    assert_refused(lambda: _read(path.parent), path, "rows")


def test_a_parquet_file_that_unpacks_to_very_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPERCEIVER_MAX_FILE_MB", "64")  # so that the bomb in a test can be small
    rows = {"image": [bytes(2**24) + bytes([n]) for n in range(6)], "label": [0, 1] * 3}
    path = _parquet(tmp_path / "data", rows, compression="zstd", use_dictionary=False)
    assert_refused(lambda: _read(path.parent), path, "HIPERCEIVER_MAX_FILE_MB")


@pytest.mark.parametrize("ending", ["parquet", "arrow", "csv", "jsonl"])
@pytest.mark.parametrize("content", [b"PAR1" + b"\xff" * 64 + b"PAR1", b"ARROW1\0\0" + b"\xff" * 64, b"[" * 100_000])
def test_a_table_that_is_none_is_refused(ending: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data" / f"train.{ending}"
    path.parent.mkdir()
    path.write_bytes(content)
    assert_refused(lambda: _read(path.parent), path.parent, seconds=3)  # the library makes a cache first


def _outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside.png"
    path.write_bytes(_png())
    return path


@pytest.mark.parametrize("how", ["above", "absolute", "hidden"])
@pytest.mark.parametrize("is_text", [True, False])
def test_cells_name_files_in_their_folder_only(how: str, is_text: bool, tmp_path: Path) -> None:
    outside = _outside(tmp_path)
    path = {"above": "../outside.png", "absolute": str(outside), "hidden": "a/b/../../../outside.png"}[how]
    if how == "hidden":
        (tmp_path / "data" / "a" / "b").mkdir(parents=True)
    cell = path if is_text else {"bytes": None, "path": path}
    _parquet(tmp_path / "data", {"image": [cell] * 6, "label": [0, 1] * 3})
    assert_refused(lambda: _read(tmp_path / "data"), outside, "files_outside", seconds=3)
    allowed = run_apart(lambda: _read(tmp_path / "data", files_outside=True), seconds=3).result
    assert len(allowed) == 6 and all("outside.png" in each for each in allowed), allowed


def test_the_names_in_metadata_are_of_files_in_their_folder_only(tmp_path: Path) -> None:
    outside = _outside(tmp_path)
    (tmp_path / "data").mkdir()
    lines = ["file_name,label", *(f"../outside.png,{n % 2}" for n in range(6))]
    (tmp_path / "data" / "metadata.csv").write_text("\n".join([*lines, ""]))
    assert_refused(
        lambda: open_source(tmp_path / "data", task="classification", size=8), outside, "files_outside", seconds=3
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """What `datasets` saved."""
    folder = tmp_path / "saved"
    datasets.Dataset.from_dict(_rows()).save_to_disk(folder)
    return folder


@pytest.mark.parametrize("name", ["../other/data-00000-of-00001.arrow", "/etc/passwd", "nowhere.arrow"])
def test_a_saved_table_lies_in_its_folder(name: str, saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "other")
    state = json.loads((saved / "state.json").read_text())
    state["_data_files"] = [{"filename": name}]
    (saved / "state.json").write_text(json.dumps(state))
    assert_refused(lambda: _read(saved), saved, "state.json")


@pytest.mark.parametrize("name", ["../saved", "/etc", "nowhere"])
def test_the_splits_of_a_saved_table_lie_in_its_folder(name: str, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "splits"
    folder.mkdir()
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": [name]}))
    assert_refused(lambda: _read(folder), folder, "dataset_dict.json")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"_data_files": ' + "9" * 5000 + "}", "[]", '{"_data_files": [1]}'])
def test_a_saved_table_that_is_damaged_is_refused(text: str, saved: Path) -> None:
    (saved / "state.json").write_text(text)
    assert_refused(lambda: _read(saved), saved, "state.json")


def test_a_loading_script_is_not_run(tmp_path: Path) -> None:
    path = _parquet(tmp_path / "data", _rows())
    (path.parent / "data.py").write_text("open('canary', 'w').close()\n")
    assert len(run_apart(lambda: _read(path.parent), seconds=3).result) == 6
    assert not (tmp_path / "canary").exists()
    assert_refused(lambda: _read(path.parent, subset="data"), path.parent, seconds=3)


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    os.mkfifo(folder / "train.parquet")
    assert_refused(lambda: _read(folder), folder)
