"""A list of labels beside a folder's files: `labels.csv`, with a column `file` and what is known of each file.

| column | what it gives |
| --- | --- |
| `file` | path relative to the folder |
| `label` | the class, for classification |
| `labels` | classes parted by `;`, for multi-label classification; an empty cell is an example of no class |
| any other | a number, for regression; an empty cell is a number that is missing |
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hiperceiver.data.record import Column
from hiperceiver.data.sources.classes import Labels, number_classes

LABEL_LIST = "labels.csv"
_NOT_NUMBERS = ("file", "label", "labels")


@dataclass(frozen=True, kw_only=True)
class LabelList:
    """What is known of files."""

    rows: Mapping[str, Mapping[str, str]]
    """File -> column -> cell."""
    columns: tuple[str, ...]
    """Names of the columns, without `file`."""

    def targets(self, files: Sequence[str | None]) -> tuple[dict[str, Column], dict[str, tuple[str, ...]]]:
        """The columns of targets of some files, and the names in each.

        Args:
            files: names that the list has; None for an example that it has not.
        """
        rows = [self.rows.get(file) if file is not None else None for file in files]
        columns: dict[str, Column] = {}
        names: dict[str, tuple[str, ...]] = {}
        if "label" in self.columns:
            words = [None if row is None else row["label"].strip() or None for row in rows]
            names["label"], number = number_classes(row["label"].strip() or None for row in self.rows.values())
            columns["label"] = Labels([-1 if word is None else number[word] for word in words])
        if "labels" in self.columns:
            lists = [None if row is None else _parted(row["labels"]) for row in rows]
            names["labels"], number = number_classes(
                word for row in self.rows.values() for word in _parted(row["labels"])
            )
            columns["labels"] = [None if words is None else [number[word] for word in words] for words in lists]
        if names_of_values := tuple(name for name in self.columns if name not in _NOT_NUMBERS):
            names["values"] = names_of_values
            columns["values"] = [
                None
                if row is None
                else [float(row[name]) if row[name].strip() else math.nan for name in names_of_values]
                for row in rows
            ]
        return columns, names


def read_label_list(folder: Path) -> LabelList | None:
    """The folder's `labels.csv`; None without such a file.

    Raises:
        ValueError: it is no such table.
    """
    path = folder / LABEL_LIST
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, strict=True)
            columns = [name or "" for name in table.fieldnames or ()]
            lines = [(table.line_num, row) for row in table]
    except OSError as error:
        raise ValueError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected a table with commas as text in UTF-8 ({error})") from error
    if "file" not in columns or len(columns) < 2:
        found = ", ".join(columns) or "none"
        raise ValueError(f"{path}: expected the columns file and label, labels or numbers, found {found}")
    rows: dict[str, Mapping[str, str]] = {}
    for number, row in lines:
        if None in row or None in row.values():
            raise ValueError(f"{path}: line {number}: expected {len(columns)} cells")
        for name in columns:
            if name not in _NOT_NUMBERS and row[name].strip() and not _is_number(row[name]):
                raise ValueError(f"{path}: line {number}: expected a number in column {name!r}, got {row[name][:40]!r}")
        name = PurePosixPath(row["file"]).as_posix()
        if name in rows:
            raise ValueError(f"{path}: line {number}: expected each file once, got {name!r} again")
        rows[name] = row
    return LabelList(rows=rows, columns=tuple(name for name in columns if name != "file"))


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _parted(cell: str) -> list[str]:
    return [word.strip() for word in cell.split(";") if word.strip()]
