"""A list of labels beside a folder's files: `labels.csv`, with a column `file` and what is known of each file.

| column | what it gives |
| --- | --- |
| `file` | path relative to the folder |
| `label` | the class, for classification |
| `labels` | classes parted by `;`, for multi-label classification; an empty cell is an example of no class |
| any other | a number, for regression; an empty cell is a number that is missing |
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hiperceiver.data.sources.classes import number_classes

LABEL_LIST = "labels.csv"
_NOT_NUMBERS = ("file", "label", "labels")


@dataclass(frozen=True, kw_only=True)
class LabelList:
    """What is known of files."""

    rows: Mapping[str, Mapping[str, str]]
    """File -> column -> cell."""
    columns: tuple[str, ...]
    """Names of the columns, without `file`."""

    @property
    def value_names(self) -> tuple[str, ...]:
        """Columns of numbers."""
        return tuple(name for name in self.columns if name not in _NOT_NUMBERS)

    def targets(
        self, label_classes: Sequence[str] | None, labels_classes: Sequence[str] | None, *, source: str
    ) -> tuple[dict[str, dict[str, Any]], tuple[str, ...], tuple[str, ...]]:
        """File -> targets; names of the classes of `label`; and of `labels`.

        Args:
            label_classes: the names of the classes of `label`, if they are given.
            labels_classes: those of `labels`.
            source: for messages.

        Raises:
            ValueError: a class is not among the given ones.
        """
        targets: dict[str, dict[str, Any]] = {file: {} for file in self.rows}
        single, several = (), ()
        if "label" in self.columns:
            words = {file: row["label"].strip() or None for file, row in self.rows.items()}
            single, number = number_classes(words.values(), label_classes, source=source)
            for file, word in words.items():
                targets[file]["label"] = -1 if word is None else number[word]
        if "labels" in self.columns:
            lists = {
                file: [word.strip() for word in row["labels"].split(";") if word.strip()]
                for file, row in self.rows.items()
            }
            several, number = number_classes(
                (word for words in lists.values() for word in words), labels_classes, source=source
            )
            for file, words in lists.items():
                targets[file]["labels"] = [number[word] for word in words]
        if self.value_names:
            for file, row in self.rows.items():
                targets[file]["values"] = [
                    float(row[name]) if row[name].strip() else math.nan for name in self.value_names
                ]
        return targets, single, several


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
