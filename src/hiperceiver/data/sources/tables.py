"""Tables of `datasets`: reading them from folders or the hub, finding our splits in them, and their rows as records."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hiperceiver.data.packages import import_extra
from hiperceiver.data.record import Record
from hiperceiver.data.sources.folder import SPLIT_NAMES
from hiperceiver.data.sources.rows import RowReader

_TABLES = (".csv", ".jsonl", ".parquet", ".arrow")
_LOOKED_AT = 100


class TableRecords:
    """The rows of a table as records."""

    def __init__(self, table: Any, reader: RowReader, split: str, strata: np.ndarray | None = None) -> None:
        """Args: a `datasets.Dataset` that decodes nothing; how its rows are read; our name of its split; `strata`."""
        self.table = table
        self.reader = reader
        self.split = split
        self.strata = np.zeros(len(table), dtype=np.int64) if strata is None else strata
        """What splits are drawn by: the same whatever columns the user names."""
        label = reader.label
        self.labels = (
            None
            if label is None or label.is_list
            else np.array([label.number(cell) for cell in table[label.column][:]], dtype=np.int64)
        )
        """The class number of each row, -1 = none: int64 (rows,). None if there are none."""

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Record:
        try:
            cells = self.table[index]
        except Exception as error:  # damaged files: many kinds
            raise ValueError(f"{self.split} row {index}: cannot be read: {one_line(error)}") from error
        try:
            return self.reader.record(cells, self.split, index)
        except ValueError as error:
            raise ValueError(f"{self.split} row {index}: {error}") from error


def is_table_folder(folder: Path, *, is_asked: bool = False) -> bool:
    """Whether `datasets` should read the folder: it saved it, or it holds tables rather than a file for each example.

    CSV and JSON files are tables if they are called `metadata` or by the name of a split, as `train.csv`; other CSV
    files are series, unless columns were asked for (`is_asked`). Of a folder inside, a few files are looked at.
    """
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return True
    try:
        with os.scandir(folder) as entries:
            inside = [
                entry.path
                for entry in entries
                if entry.is_dir() or _is_table(entry.name) or (is_asked and entry.name.endswith(_TABLES))
            ]
    except OSError:  # found again, and named, when it is listed
        return False
    for path in map(Path, inside):
        if path.is_file():
            return True
        if any((path / f"metadata{ending}").is_file() for ending in _TABLES):
            return True
        with contextlib.suppress(OSError), os.scandir(path) as entries:
            if any(_is_table(entry.name) and entry.is_file() for entry in itertools.islice(entries, _LOOKED_AT)):
                return True
    return False


def _is_table(name: str) -> bool:
    path = Path(name)
    start = re.split("[-.]", path.stem.lower(), maxsplit=1)[0]
    is_named = start == "metadata" or start in SPLIT_NAMES
    return path.suffix in _TABLES and (is_named or path.suffix in (".parquet", ".arrow"))


def read_tables(folder: Path, config_name: str | None, *, is_streamed: bool = False) -> dict[str, Any]:
    """Split -> table, of a folder that `datasets` saved or that holds tables.

    Raises:
        ValueError: it cannot be read.
    """
    datasets = import_extra("datasets", extra="data")
    try:
        with quiet(datasets):
            if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
                saved = datasets.load_from_disk(str(folder))
                saved = dict(saved) if isinstance(saved, datasets.DatasetDict) else {"train": saved}
                return {split: table.to_iterable_dataset() if is_streamed else table for split, table in saved.items()}
            # The whole path: `parquet` or `csv` alone would be a reader of `datasets` for the files that lie here.
            found = datasets.load_dataset(str(folder.absolute()), name=config_name, streaming=is_streamed)
    except Exception as error:  # strangers' files: many kinds
        raise ValueError(f"{folder}: cannot be read by datasets: {one_line(error)}") from error
    return dict(found)


def read_hub(name: str, config_name: str | None, *, is_streamed: bool = False) -> dict[str, Any]:
    """Split -> table, of a dataset of the hub. `datasets` runs no code that comes with it.

    Raises:
        ValueError: the name is no `owner/name`, or it cannot be read.
    """
    if len(name.split("/")) != 2 or name.startswith((".", "/", "~")) or not all(name.split("/")):
        raise ValueError(f"{name}: no such folder")
    datasets = import_extra("datasets", extra="data")
    try:
        with quiet(datasets):
            found = datasets.load_dataset(name, name=config_name, streaming=is_streamed)
    except Exception as error:  # network, names, formats: many kinds
        raise ValueError(f"{name}: no such folder, and cannot be read from the hub: {one_line(error)}") from error
    return dict(found)


@contextlib.contextmanager
def quiet(datasets: Any) -> Iterator[None]:
    """No progress bars and no chatter while `datasets` reads; errors still come as exceptions."""
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    are_bars_off = datasets.utils.are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    datasets.utils.disable_progress_bars()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not are_bars_off:
            datasets.utils.enable_progress_bars()


def one_line(error: Exception) -> str:
    """What an exception says, in one line.

    >>> one_line(OSError("no   such file"))
    'no such file'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}..."


def named_splits(source: str, tables: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Tables by our names of splits; the only split of a dataset is `train`.

    Raises:
        ValueError: there are several, and none is for training.
    """
    named: dict[str, Any] = {}
    for name, table in tables.items():
        ours = SPLIT_NAMES.get(str(name).lower())
        if ours is None or ours in named:
            continue
        named[ours] = table
    if "train" not in named:
        if len(tables) != 1:
            raise ValueError(f"{source}: expected a split named train, got {', '.join(map(str, tables))}")
        return {"train": next(iter(tables.values()))}
    if left := [str(name) for name, table in tables.items() if all(table is not used for used in named.values())]:
        warnings.append(f"splits that are not used: {', '.join(left)}")
    return named
