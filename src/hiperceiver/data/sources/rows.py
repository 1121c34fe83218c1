"""One row of a table as a record."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hiperceiver.data.record import Record
from hiperceiver.data.sources.classes import number_classes
from hiperceiver.data.sources.columns import Columns, is_list, is_of_classes, is_value


@dataclass(frozen=True, kw_only=True)
class ClassCells:
    """How a column says classes.

    >>> ClassCells(column="kind", numbers={"cat": 0, "dog": 1}).number("dog")
    1
    """

    column: str
    """Its name."""
    names: tuple[str, ...] | None = None
    """Of the numbers in it, if `datasets` knows them."""
    is_list: bool = False
    """Whether a cell holds several classes."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """Name -> number."""

    def word(self, value: Any) -> str | None:
        """The name of a class as the column says it; None if it says that there is none.

        Raises:
            ValueError: it is no class.
        """
        if value is None:
            return None
        if not isinstance(value, str | int | np.integer):
            kind = type(value).__name__
            raise ValueError(f"label_column: expected class names or numbers in {self.column!r}, got {kind}")
        if self.names is not None and not isinstance(value, str):
            return self.names[value] if 0 <= value < len(self.names) else None
        if isinstance(value, bool):
            value = int(value)
        return None if value == -1 else str(value)

    def words(self, cell: Any) -> list[str | None]:
        """The names in a cell."""
        if self.is_list:
            return [] if cell is None else [self.word(value) for value in cell]
        return [self.word(cell)]

    def number(self, cell: Any) -> Any:
        """The number of a cell's class, -1 = none; a list of them, if the column holds lists.

        Raises:
            ValueError: it holds another class.
        """
        found = []
        for word in self.words(cell):
            if word is not None and word not in self.numbers:
                raise ValueError(f"its class is {word!r}, expected one of {', '.join(self.numbers)}")
            found.append(-1 if word is None else self.numbers[word])
        return [number for number in found if number >= 0] if self.is_list else found[0]


def class_cells(
    feature: Any,
    column: str,
    cells: Callable[[], Iterable[Any]] | None,
    classes: Sequence[str] | None,
    *,
    source: str,
) -> tuple[ClassCells, tuple[str, ...]]:
    """How to read a column of classes, and the names of these.

    Args:
        feature: its type.
        column: its name.
        cells: all of them, of every split; None if they cannot all be read.
        classes: names in their order; by default those that the type knows, or those in the cells.
        source: for messages.

    Raises:
        ValueError: it holds something else, a class that is not in `classes`, or the names cannot be known.
    """
    leaf = feature.feature if is_list(feature) else feature
    names = tuple(leaf.names) if is_of_classes(leaf) else None
    reader = ClassCells(column=column, names=names, is_list=is_list(feature))
    if cells is not None:
        words = (word for cell in cells() for word in reader.words(cell))
    elif classes is None and names is None:
        raise ValueError(f"classes: expected the names of the classes in {column!r}, for a stream is not read for them")
    elif names is None and is_value(leaf, "int", "uint") and not any(name.isdecimal() for name in classes or ()):
        words = (str(number) for number in range(len(classes or ())))
    else:
        words = iter(classes or names or ())
    found, numbers = number_classes(words, classes or names, source=source)
    return ClassCells(column=column, names=names, is_list=reader.is_list, numbers=numbers), found


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """How a row becomes a record."""

    columns: Columns
    """What is read."""
    root: str | None = None
    """The folder that paths in cells are relative to."""
    label: ClassCells | None = None
    """The column of a class, or of lists of classes."""
    labels: Mapping[str, ClassCells | None] = field(default_factory=dict)
    """For joint labels: name -> how its column says classes; None for numbers."""

    def record(self, cells: Mapping[str, Any], split: str, row: int) -> Record:
        """The record; a cell without a value is a missing modality.

        Raises:
            ValueError: a cell holds something else.
        """
        raws = {}
        for modality, column in self.columns.modalities.items():
            raw = raw_of(cells[column], self.columns.kinds[modality], self.root)
            if raw is not None:
                raws[modality] = raw
        return Record(name=self._name(cells, split, row), raws=raws, targets=self._targets(cells))

    def _targets(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        targets: dict[str, Any] = {}
        if self.label is not None:
            cell = cells[self.label.column]
            if not self.label.is_list:
                targets["label"] = self.label.number(cell)
            elif cell is not None:
                targets["labels"] = self.label.number(cell)
        if self.columns.values:
            targets["values"] = [_number(cells[column], column) for column in self.columns.values]
        for name, reader in self.labels.items():
            column = self.columns.labels[name]
            targets[name] = _number(cells[column], column) if reader is None else reader.number(cells[column])
        if self.columns.mask is not None:
            mask = raw_of(cells[self.columns.mask], "image", self.root)
            if mask is not None:
                targets["segmentation"] = mask
        return targets

    def _name(self, cells: Mapping[str, Any], split: str, row: int) -> str:
        for modality, column in self.columns.modalities.items():
            cell = cells[column]
            path = cell.get("path") if isinstance(cell, Mapping) else cell
            is_path = isinstance(cell, Mapping) or self.columns.kinds[modality] != "bytes"
            if not is_path or not isinstance(path, str) or not path:
                continue
            if self.root is None:
                return f"{split} row {row} ({Path(path).name})"
            return str(Path(path).relative_to(self.root)) if Path(path).is_relative_to(self.root) else path
        return f"{split} row {row}"


def raw_of(cell: Any, kind: str, root: str | None) -> Any:
    """What a cell holds, as an encoder of this kind reads it: a path, bytes, a text, an array; None if it is empty.

    Raises:
        ValueError: pixels are not in 0..255.
    """
    if isinstance(cell, Mapping):
        if cell.get("array") is not None:
            return np.asarray(cell["array"]), int(cell["sampling_rate"])
        cell = cell["bytes"] if cell.get("bytes") is not None else cell.get("path")
        if isinstance(cell, str):
            return Path(root or "", cell)
    if isinstance(cell, str) and kind != "bytes":
        return os.path.join(root or "", cell)
    if kind == "image" and isinstance(cell, list | np.ndarray):
        try:
            pixels = np.asarray(cell)
        except ValueError:
            raise ValueError("expected rows of pixels of one length") from None
        if pixels.dtype.kind not in "iu" or pixels.size == 0 or pixels.min() < 0 or pixels.max() > 255:
            raise ValueError(f"expected pixels in 0..255, got {pixels.dtype} of shape {pixels.shape}")
        return pixels.astype(np.uint8)
    if kind == "points" and isinstance(cell, list):
        return np.asarray(cell, dtype=np.float64)
    return cell


def _number(cell: Any, column: str) -> float:
    """A cell as a number, NaN = none."""
    if cell is None:
        return math.nan
    if not isinstance(cell, int | float | np.number) or math.isinf(cell):
        raise ValueError(f"expected a finite number in {column!r}, got {cell!r:.40}")
    return float(cell)
