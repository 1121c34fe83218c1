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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from hiperceiver.data.sources.classes import Known

LABEL_LIST = "labels.csv"


@dataclass(frozen=True, kw_only=True)
class LabelList:
    """What is known of files."""

    columns: tuple[str, ...]  # without `file`
    values: tuple[str, ...]  # those of numbers
    known: dict[str, Known] = field(default_factory=dict)  # file -> what its row says


def read_label_list(folder: Path) -> LabelList | None:
    """The folder's `labels.csv`; None without such a file."""
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
    listed = LabelList(
        columns=tuple(name for name in columns if name != "file"),
        values=tuple(name for name in columns if name not in ("file", "label", "labels")),
    )
    for number, row in lines:
        if None in row or None in row.values():
            raise ValueError(f"{path}: line {number}: expected {len(columns)} cells")
        name = PurePosixPath(row["file"]).as_posix()
        if name in listed.known:
            raise ValueError(f"{path}: line {number}: expected each file once, got {name!r} again")
        try:
            listed.known[name] = _known(row, listed.values)
        except ValueError as error:
            raise ValueError(f"{path}: line {number}: {error}") from error
    return listed


def _known(row: Mapping[str, str], values: tuple[str, ...]) -> Known:
    return Known(
        label=row.get("label", "").strip() or None,
        labels=[word.strip() for word in row["labels"].split(";") if word.strip()] if "labels" in row else None,
        values=[_number(row[name], name) for name in values] or None,
    )


def _number(cell: str, column: str) -> float:
    try:
        number = float(cell) if cell.strip() else math.nan
    except ValueError:
        number = math.inf
    if math.isinf(number) or (math.isnan(number) and cell.strip()):
        raise ValueError(f"expected a number in column {column!r}, got {cell[:40]!r}")
    return number
