"""How the cells of a table become raw values and targets."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hiperceiver.data.members import hash_content, hash_names
from hiperceiver.data.packages import import_extra
from hiperceiver.data.record import Record
from hiperceiver.data.sources.classes import number_classes, numbers_within
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
    cells: Iterable[Any] | None,
    classes: Sequence[str] = (),
) -> tuple[ClassCells, tuple[str, ...]]:
    """How to read a column of classes, and the names of these: those that its type has, or those in the cells.

    Args:
        feature: its type.
        column: its name.
        cells: all of them, of every split; None if they cannot all be read.
        classes: names in their order, for cells that are not read.

    Raises:
        ValueError: it holds something else, or the names cannot be known.
    """
    leaf = feature.feature if is_list(feature) else feature
    names = tuple(leaf.names) if is_of_classes(leaf) else None
    reader = ClassCells(column=column, names=names, is_list=is_list(feature))
    if names is not None and not (classes and cells is None):
        found, numbers = names, {name: number for number, name in enumerate(names)}
    elif cells is not None:
        found, numbers = number_classes(word for cell in cells for word in reader.words(cell))
    elif classes:
        words = [str(n) for n in range(len(classes))] if names is None and is_value(leaf, "int", "uint") else classes
        found, numbers = tuple(classes), numbers_within(words, classes)
    else:
        raise ValueError(f"classes: expected the names of the classes in {column!r}, for a stream is not read for them")
    return replace(reader, numbers=numbers), found


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
    id_column: str | None = None
    """A column of names, if there is one."""

    def record(self, cells: Mapping[str, Any], split: str, row: int) -> Record:
        """The record of a row of a stream; a cell without a value is a missing modality.

        Raises:
            ValueError: a cell holds something else.
        """
        raws = {modality: self.raw(cells, modality) for modality in self.columns.modalities}
        targets = {target: self.target(cells, target) for target in self.targets}
        return Record(
            name=self.name(cells, split, row),
            raws={modality: raw for modality, raw in raws.items() if raw is not None},
            targets={target: value for target, value in targets.items() if value is not None},
            key=int(hash_names([self._stream_name(cells)])[0]),
        )

    def _stream_name(self, cells: Mapping[str, Any]) -> str | bytes:
        """What stands for a row of a stream in draws."""
        if self.id_column is not None and cells[self.id_column] is not None:
            return str(cells[self.id_column])
        return hash_content(cells[column] for column in self.columns.modalities.values())

    @property
    def targets(self) -> tuple[str, ...]:
        """Which targets there are."""
        label = () if self.label is None else ("labels",) if self.label.is_list else ("label",)
        values = ("values",) if self.columns.values else ()
        mask = () if self.columns.mask is None else ("segmentation",)
        return (*label, *values, *self.labels, *mask)

    def raw(self, cells: Mapping[str, Any], modality: str) -> Any:
        """The raw value of a modality; None if the cell is empty."""
        return raw_of(cells[self.columns.modalities[modality]], self.columns.kinds[modality], self.root)

    def target(self, cells: Mapping[str, Any], target: str) -> Any:
        """A target of a row; None if it has none."""
        if target in self.labels:
            column, reader = self.columns.labels[target], self.labels[target]
            return _number(cells[column], column) if reader is None else reader.number(cells[column])
        if target == "values":
            return [_number(cells[column], column) for column in self.columns.values]
        if target == "segmentation":
            return raw_of(cells[self.columns.mask or ""], "image", self.root)
        assert self.label is not None
        cell = cells[self.label.column]
        return None if target == "labels" and cell is None else self.label.number(cell)

    def name(self, cells: Mapping[str, Any], split: str, row: int) -> str:
        """The name of a row, for people."""
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


ID_COLUMNS = ("id", "file_name", "filename", "path", "file", "key", "__key__", "name", "url")
"""Columns that may hold the names of examples."""


def find_id_column(features: Mapping[str, Any]) -> str | None:
    """The first column of a usual name that may hold names."""
    kinds = ("int", "uint", "string", "large_string")
    return next((name for name in ID_COLUMNS if name in features and is_value(features[name], *kinds)), None)


def row_keys(tables: Sequence[Any], features: Mapping[str, Any], id_column: str | None) -> np.ndarray:
    """The key of each row, uint64, whatever columns the user names.

    The name of a row is its cell of `id_column` if these differ from each other; else the paths of its pictures,
    sounds and clips if they do; else its content: all columns but single numbers and class labels.

    Args:
        tables: whole, one after the other, with media as bytes and paths.
        features: column -> type.
        id_column: of `find_id_column`.
    """
    if id_column is not None:
        names = [str(cell) for table in tables for cell in table[id_column][:]]
        if len(set(names)) == len(names):
            return hash_names(names)
    media = [name for name, feature in features.items() if isinstance(feature, _media_types())]
    for name in media:
        arrow = [table.select_columns([name]).with_format("arrow")[:][name] for table in tables]
        paths = [path for column in arrow for chunk in column.chunks for path in chunk.field("path").to_pylist()]
        if all(paths) and len(set(paths)) == len(paths):
            return hash_names(paths)
    columns = [
        name for name, feature in features.items() if not is_value(feature, *_NUMBERS) and not is_of_classes(feature)
    ]
    names = []
    for table in tables:
        chosen = table.select_columns([name for name in columns or features if name in table.column_names])
        for first in range(0, len(chosen), 1000):
            names += map(hash_content, zip(*chosen[first : first + 1000].values(), strict=True))
    return hash_names(names)


_NUMBERS = ("int", "uint", "float", "double", "bool")


def _media_types() -> tuple[type, ...]:
    datasets = import_extra("datasets", extra="data")
    return datasets.Image, datasets.Audio, datasets.Video
