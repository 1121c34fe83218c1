"""The rows of tables, listed or streamed, and how they become raw values, targets and names."""

import contextlib
import errno
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hiperceiver.data.example import BadExample
from hiperceiver.data.members import hash_content, hash_names
from hiperceiver.data.packages import import_extra
from hiperceiver.data.record import SPLITS, TEST, TRAIN, Column, Computed, Record, Table
from hiperceiver.data.sources.classes import Labels, number_classes, numbers_within
from hiperceiver.data.sources.columns import Columns, is_list, is_of_classes, is_value, media_kind
from hiperceiver.data.sources.source import SourceOptions, left_out
from hiperceiver.data.text import composed
from hiperceiver.settings.base import one_line

_NUMBERS = ("int", "uint", "float", "double")  # types that class numbers may have


class Row(NamedTuple):
    """A row of a table whose media are not decoded."""

    split: str
    number: int  # in its split
    cells: Mapping[str, Any]


@contextlib.contextmanager
def reading(fault: str) -> Iterator[Any]:
    """`datasets` without progress bars and chatter; its many kinds of errors become a `ValueError` of one line."""
    datasets = import_extra("datasets", extra="data")
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    are_bars_off = datasets.utils.are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    datasets.utils.disable_progress_bars()
    try:
        yield datasets
    except Exception as error:
        reason = error
        while type(reason).__name__.startswith("DatasetGeneration") and isinstance(reason.__cause__, Exception):
            reason = reason.__cause__  # which says what went wrong
        text = one_line(reason)[:300] or type(reason).__name__
        if isinstance(reason, OSError) and reason.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            kept = f"what it keeps lies in {datasets.config.HF_DATASETS_CACHE}; HF_DATASETS_CACHE names another folder"
            text = f"{text} ({kept})"
        raise ValueError(f"{fault}: {text}") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not are_bars_off:
            datasets.utils.enable_progress_bars()


class ListedRows:
    """The rows of several tables, one after the other; the last one that was read is kept."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self.tables = list(tables.items())
        self.starts = np.cumsum([0, *(len(table) for table in tables.values())])
        self.last: tuple[int, Row] = (-1, Row("", 0, {}))

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, row: int) -> Row:
        if self.last[0] != row:
            part = int(np.searchsorted(self.starts, row, side="right")) - 1
            split, table = self.tables[part]
            number = row - int(self.starts[part])
            try:
                self.last = (row, Row(split, number, table[number]))
            except Exception as error:  # damaged files: many kinds
                reason = one_line(error)[:300] or type(error).__name__
                raise ValueError(f"{split} row {number}: cannot be read: {reason}") from error
        return self.last[1]

    def column(self, read: Callable[[Row], Any]) -> Column:
        """What is read of each row."""
        return Computed(len(self), partial(self._read, read))

    def _read(self, read: Callable[[Row], Any], row: int) -> Any:
        return read(self[row])


@dataclass(frozen=True, kw_only=True)
class ClassCells:
    """The column of a class, or of lists of classes.

    >>> ClassCells(column="kind", numbers={"cat": 0, "dog": 1}).number("dog")
    1
    """

    column: str
    names: tuple[str, ...] | None = None  # of the numbers in it, if `datasets` knows them
    is_list: bool = False  # a cell holds several classes
    numbers: Mapping[str, int] = field(default_factory=dict)  # of each name

    def words(self, cell: Any) -> list[str | None]:
        """The names in a cell; None for none."""
        cells = cell if self.is_list else (cell,)
        return [self._word(value) for value in cells or ()]

    def _word(self, value: Any) -> str | None:
        if isinstance(value, str):
            return composed(value.strip()) or None
        if value is None or value != value:  # NaN: pandas makes numbers of classes of which some are missing floats
            return None
        if not isinstance(value, int | float | np.number) or not float(value).is_integer():
            raise ValueError(f"label_column: expected class names or numbers in {self.column!r}, got {value!r:.40}")
        if self.names is None:
            return None if value == -1 else str(int(value))
        if value >= len(self.names):
            expected = f"label_column: expected numbers of {len(self.names)} classes in {self.column!r}, from 0"
            raise ValueError(f"{expected}, got {value!r:.40}")
        return self.names[int(value)] if value >= 0 else None

    def number(self, cell: Any) -> Any:
        """The number of a cell's class, -1 = none; a list of them if the column holds lists, None if it is missing."""
        if self.is_list and cell is None:
            return None
        words = self.words(cell)
        if unknown := [word for word in words if word is not None and word not in self.numbers]:
            raise ValueError(f"its class is {unknown[0]!r}, expected one of {', '.join(self.numbers)}")
        found = [-1 if word is None else self.numbers[word] for word in words]
        return [number for number in found if number >= 0] if self.is_list else found[0]

    def __call__(self, row: Row) -> Any:
        """The target of a row."""
        return self.number(row.cells[self.column])


def class_cells(
    feature: Any, column: str, cells: Iterable[Any] | None, classes: Sequence[str] = (), own: Sequence[str] = ()
) -> tuple[ClassCells, tuple[str, ...]]:
    """How to read a column of classes, and their names: of its type, of its cells if all can be read, or as given.

    `own` are the names of numbers whose type does not know them.
    """
    leaf = feature.feature if is_list(feature) else feature
    names = tuple(leaf.names) if is_of_classes(leaf) else None
    if names is None and own and is_value(leaf, *_NUMBERS):
        names = tuple(own)
    reader = ClassCells(column=column, names=names, is_list=is_list(feature))
    if names is not None and not (classes and cells is None):
        found, numbers = names, {name: number for number, name in enumerate(names)}
    elif cells is not None:
        found, numbers = number_classes(word for cell in cells for word in reader.words(cell))
    elif classes:
        words = [str(n) for n in range(len(classes))] if names is None and is_value(leaf, *_NUMBERS) else classes
        found, numbers = tuple(classes), numbers_within(words, classes)
    else:
        raise ValueError(f"classes: expected the names of the classes in {column!r}, for a stream is not read for them")
    return replace(reader, numbers=numbers), found


@dataclass(frozen=True)
class RowReader:
    """How a row becomes a record."""

    columns: Columns
    targets: Mapping[str, Callable[[Row], Any]]  # target -> what reads it
    root: str | None  # the folder that paths in cells are relative to
    id_column: str | None  # of names
    are_files_outside: bool = False  # whether these paths may lead out of it

    @property
    def raws(self) -> dict[str, Callable[[Row], Any]]:
        """Modality -> what reads its raw value."""
        kinds = self.columns.kinds
        return {
            modality: partial(
                _raw, column=column, kind=kinds[modality], root=self.root, may_leave=self.are_files_outside
            )
            for modality, column in self.columns.modalities.items()
        }

    def record(self, row: Row) -> Record:
        """The record of a row of a stream."""
        name = None if self.id_column is None else row.cells[self.id_column]
        content = [row.cells[column] for column in self.columns.modalities.values()]
        return Record(
            name=self.name(row),
            raws={modality: raw for modality, read in self.raws.items() if (raw := read(row)) is not None},
            targets={target: value for target, read in self.targets.items() if (value := read(row)) is not None},
            key=int(hash_names([hash_content(content) if name is None else str(name)])[0]),
        )

    def name(self, row: Row) -> str:
        """The name of a row, for people: the path of a signal, if one is known."""
        for modality, column in self.columns.modalities.items():
            cell = row.cells[column]
            path = cell.get("path") if isinstance(cell, Mapping) else cell
            is_path = isinstance(cell, Mapping) or self.columns.kinds[modality] != "bytes"
            if is_path and isinstance(path, str) and path:
                if self.root is None:
                    return f"{row.split} row {row.number} ({Path(path).name})"
                return str(Path(path).relative_to(self.root)) if Path(path).is_relative_to(self.root) else path
        return f"{row.split} row {row.number}"


@dataclass(frozen=True)
class StreamedRows:
    """The rows of a split of a streamed table as records, or what is wrong with a row; a broken stream is an error."""

    table: Any  # a `datasets.IterableDataset` that decodes nothing
    reader: RowReader
    split: str

    def __iter__(self) -> Iterator[Record | BadExample]:
        rows = iter(self.table)
        for number in count():
            with reading(f"{self.split}: the stream breaks off at row {number}"):
                cells = next(rows, None)
            if cells is None:
                return
            try:
                yield self.reader.record(Row(self.split, number, cells))
            except ValueError as error:
                yield BadExample(f"{self.split} row {number}", str(error))


def make_table(
    tables: Mapping[str, Any], reader: RowReader, keys: np.ndarray, strata: np.ndarray | int, warnings: list[str]
) -> Table:
    """The tables of all splits as one. A split whose labels are all kept back is left out."""
    rows = ListedRows(tables)
    splits = np.repeat(np.array([SPLITS.index(split) for split in tables], dtype=np.int8), np.diff(rows.starts))
    targets: dict[str, Column] = {target: rows.column(read) for target, read in reader.targets.items()}
    is_out = np.zeros(len(rows), dtype=bool)
    if isinstance(label := reader.targets.get("label"), ClassCells):
        labels = np.array([label.number(cell) for table in tables.values() for cell in table[label.column][:]], int)
        targets["label"] = Labels(labels)
        for number in set(splits.tolist()) - {TRAIN}:
            is_out |= (splits == number) & (labels[splits == number] < 0).all()
    known = np.zeros(len(rows), dtype=np.int64)
    known[splits == splits.min(initial=TEST)] = strata
    raws = {modality: rows.column(read) for modality, read in reader.raws.items()}
    table = Table(names=rows.column(reader.name), raws=raws, targets=targets, splits=splits, strata=known, keys=keys)
    return left_out(table, is_out, "label", warnings)


def class_strata(column: str | None, features: Mapping[str, Any], table: Any) -> np.ndarray | int:
    """The class of each row by which splits are drawn: int64 (rows,); 0 if no column has classes."""
    if column is None or is_list(features[column]):
        return 0
    cells = table[column][:]
    try:
        reader, names = class_cells(features[column], column, cells)
    except ValueError:  # refused where it is needed as a label
        return 0
    if 2 * len(names) > len(cells):
        return 0  # texts rather than classes: dealt class by class, all of them would be training examples
    return np.array([reader.number(cell) for cell in cells], dtype=np.int64)


def make_reader(
    columns: Columns,
    features: Mapping[str, Any],
    tables: Mapping[str, Any] | None,
    options: SourceOptions,
    root: str | None,
    are_files_outside: bool = False,
    class_names: Sequence[str] = (),
) -> tuple[RowReader, tuple[str, ...], dict[str, tuple[str, ...]]]:
    """How rows are read; names of the task's classes, and of joint labels, as in the `tables` if all can be read.

    `class_names` are those of labels that are numbers.
    """

    def cells_of(column: str) -> Iterator[Any] | None:
        if tables is None:
            return None
        return (cell for table in tables.values() if column in table.column_names for cell in table[column][:])

    is_labelled = options.task in ("classification", "multilabel")
    names = tuple(columns.values) if options.task == "regression" else ()
    targets: dict[str, Callable[[Row], Any]] = {}
    if (column := columns.label) is not None:
        given = options.classes if is_labelled else ()
        try:
            own = class_names if is_labelled else ()
            label, words = class_cells(features[column], column, cells_of(column), given, own)
            targets["labels" if label.is_list else "label"] = label
            names = names or words
        except ValueError:
            if is_labelled:
                raise
            columns = replace(columns, label=None)
    if columns.values:
        targets["values"] = partial(_numbers, columns=tuple(columns.values))
    if columns.mask is not None:
        targets["segmentation"] = partial(
            _raw, column=columns.mask, kind="image", root=root, may_leave=are_files_outside
        )
    joint_names: dict[str, tuple[str, ...]] = {}
    for name, column in columns.labels.items():
        if is_value(features[column], "float", "double"):
            targets[name], joint_names[name] = partial(_number, column=column), ()
        elif is_list(features[column]):
            raise ValueError(f"label_columns: expected one class in each row of {column!r}, got lists")
        else:
            given = options.label_classes.get(name, ())
            targets[name], joint_names[name] = class_cells(features[column], column, cells_of(column), given)
    reader = RowReader(columns, targets, root, _find_id_column(features), are_files_outside)
    return reader, names, joint_names


def _raw(row: Row, column: str, kind: str, root: str | None, may_leave: bool) -> Any:
    """What a cell holds, as an encoder of this kind reads it: a path, bytes, a text, an array; None if it is empty."""
    cell = row.cells[column]
    if isinstance(cell, Mapping):
        if cell.get("array") is not None:
            return np.asarray(cell["array"]), cell.get("sampling_rate")
        cell = cell["bytes"] if cell.get("bytes") is not None else cell.get("path")
        if isinstance(cell, str):
            return Path(_whole_path(cell, root, may_leave))
    if isinstance(cell, str) and kind != "bytes":
        return _whole_path(cell, root, may_leave)
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


def _whole_path(path: str, root: str | None, may_leave: bool) -> str:
    """The path of a file that a cell names; of a data set of the hub it lies in what was downloaded."""
    whole = os.path.join(root or "", path)
    config = import_extra("datasets", extra="data").config
    roots = [config.HF_DATASETS_CACHE, config.HF_CACHE_HOME] if root is None else [root]
    if not may_leave and not any(Path(os.path.abspath(whole)).is_relative_to(os.path.abspath(each)) for each in roots):
        remedy = "if the table is your own, --data-settings.files-outside true (files_outside=True in Python) reads it"
        raise ValueError(f"names the file {path!r:.200}, which is outside of the table's folder; {remedy}")
    return whole


def _number(row: Row, column: str) -> float:
    """A cell as a number, NaN = none."""
    cell = row.cells[column]
    if cell is None:
        return math.nan
    if not isinstance(cell, int | float | np.number) or math.isinf(cell):
        raise ValueError(f"expected a finite number in {column!r}, got {cell!r:.40}")
    return float(cell)


def _numbers(row: Row, columns: Sequence[str]) -> list[float]:
    return [_number(row, column) for column in columns]


def paths_of(table: Any, column: str) -> list[str | None]:
    """The paths in a column of media; None where a cell has none."""
    arrow = table.select_columns([column]).with_format("arrow")[:][column]
    return [path for chunk in arrow.chunks for path in chunk.field("path").to_pylist()]


_ID_COLUMNS = ("id", "file_name", "filename", "path", "file", "key", "__key__", "name", "url")


def _find_id_column(features: Mapping[str, Any]) -> str | None:
    """The first column of a usual name that may hold the names of examples."""
    kinds = ("int", "uint", "string", "large_string")
    return next((name for name in _ID_COLUMNS if name in features and is_value(features[name], *kinds)), None)


def row_keys(tables: Sequence[Any], features: Mapping[str, Any], id_column: str | None) -> np.ndarray:
    """The key of each row of whole, undecoded tables, uint64, whatever columns the user names.

    Of its cell of `id_column` if these differ; else of its medium's path if these do; else of its content.
    """
    if id_column is not None:
        names = [str(cell) for table in tables for cell in table[id_column][:]]
        if len(set(names)) == len(names):
            return hash_names(names)
    for name in (name for name, feature in features.items() if media_kind(feature)):
        paths = [path for table in tables for path in paths_of(table, name)]
        if all(paths) and len(set(paths)) == len(paths):
            return hash_names(paths)
    numbers = ("int", "uint", "float", "double", "bool")
    columns = [name for name, each in features.items() if not is_value(each, *numbers) and not is_of_classes(each)]
    names = []
    for table in tables:
        chosen = table.select_columns([name for name in columns or features if name in table.column_names])
        for first in range(0, len(chosen), 1000):
            names += map(hash_content, zip(*chosen[first : first + 1000].values(), strict=True))
    return hash_names(names)
