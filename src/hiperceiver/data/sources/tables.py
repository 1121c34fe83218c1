"""Tables that `datasets` reads: Parquet, Arrow, CSV and JSON lines in a folder, what it saved, and the hub.

Columns become modalities (`columns={"image": "photo", "accel": "x:series"}`): of the kind that is written behind the
column's name, or that the modality is named like, or that the column's type has. Other columns become targets: a class
or a list of classes (`label_column`), several labels (`label_columns`), numbers (`value_columns`), or a picture whose
pixels are class numbers (`mask_column`).

Pictures, sounds and clips are decoded when they are read, by our encoders, so that a bad file is one bad example and
nothing more. A cell without a value is a missing modality.

In a folder, the files of a split are those with its name among the words of their paths (`data/train-00000.parquet`,
`test/0.parquet`). A table `metadata.csv` or `metadata.jsonl` has a column `file_name` of files beside it. Splits that
exist are used (`train`, `validation`, `test` and their usual abbreviations); missing ones are taken out of `train`.
With `stream` nothing is downloaded or read before it is needed: see `stream`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hiperceiver.data.packages import import_extra
from hiperceiver.data.record import SPLITS, TRAIN, Table
from hiperceiver.data.sources.classes import Labels, mask_classes
from hiperceiver.data.sources.columns import Columns, find_columns, is_list, is_value, undecoded
from hiperceiver.data.sources.hub import one_line, quiet, read_hub
from hiperceiver.data.sources.kinds import kind_of
from hiperceiver.data.sources.rows import ClassCells, RowReader, class_cells, find_id_column, row_keys
from hiperceiver.data.sources.source import Source, SourceOptions, make_source
from hiperceiver.data.sources.stream import StreamedRows, open_stream
from hiperceiver.data.sources.tree import SPLIT_NAMES, Tree, by_split, joined
from hiperceiver.settings.data import TableSettings

TASKS = ("classification", "multilabel", "segmentation", "regression", "joint")
READERS = {".parquet": "parquet", ".arrow": "arrow", ".jsonl": "json", ".csv": "csv"}
"""Ending of a table -> what `datasets` calls its reader."""
_SAVED = ("dataset_dict.json", "state.json")
_MEDIA = {"image": "Image", "audio": "Audio", "video": "Video"}


def matches(tree: Tree) -> bool:
    """Whether a folder holds tables rather than a file for each example, or `datasets` saved it.

    CSV and JSON files are tables if they are called `metadata` or by the name of a split, as `train.csv`; other CSV
    files are series, unless columns are named.
    """
    return any(map(tree.has_file, _SAVED)) or bool(table_files(tree, are_columns_named=False))


def open_table(tree: Tree, own: TableSettings, options: SourceOptions) -> Source:
    """The tables in a local folder.

    Raises:
        ValueError: they cannot be read or have not what the task needs.
    """
    options.check_task(tree.name, TASKS)
    warnings = tree.warnings()
    return _open(tree.name, tree.root, read_tables(tree, own, warnings), own, options, warnings)


def open_hub(name: str, own: TableSettings, options: SourceOptions) -> Source:
    """A data set of the hub, by its id `owner/name`.

    Raises:
        ValueError: it cannot be found or has not what the task needs.
    """
    options.check_task(name, TASKS)
    return _open(name, None, read_hub(name, own.subset, is_streamed=own.stream), own, options, [])


def _open(
    name: str,
    folder: Path | None,
    found: dict[str, Any],
    own: TableSettings,
    options: SourceOptions,
    warnings: list[str],
) -> Source:
    tables = named_splits(name, found, warnings)
    first = tables.get("train", next(iter(tables.values())))
    features = _features(name, first)
    chosen = find_columns(features, own, options.task)
    reader, names, label_names = _reader(
        chosen, features, None if own.stream else tables, options, None if folder is None else str(folder)
    )
    used = {*chosen.modalities.values(), *chosen.values, *chosen.labels.values()}
    used |= {column for column in (reader.label and reader.label.column, chosen.mask) if column}
    strata = None if own.stream or "validation" in tables else _strata(chosen.strata, features, first)
    id_column = find_id_column(features)
    whole = [undecoded(tables[split], features) for split in SPLITS if split in tables]
    keys = None if own.stream else row_keys(whole, features, id_column)
    if own.stream and id_column is not None:
        reader = replace(reader, id_column=id_column)
        used.add(id_column)
    for split, table in tables.items():
        missing = sorted(used - set(table.column_names or used))
        if missing:
            raise ValueError(f"{name}: expected the columns of train in {split} too, found no {missing[0]!r}")
        tables[split] = undecoded(table.select_columns([each for each in features if each in used]), features)
    if own.stream:
        if options.task == "segmentation":
            names = options.classes
            if not names:
                raise ValueError("classes: expected the names of the classes, for a stream is not read to find them")
        streams = {split: StreamedRows(table, reader, split) for split, table in tables.items()}
        return open_stream(name, streams, chosen.kinds, own, options, names, label_names, warnings)
    assert keys is not None
    table = _as_table({split: tables[split] for split in SPLITS if split in tables}, reader, keys, strata, warnings)
    if options.task == "segmentation" and len(table):
        names = mask_classes(table.split(int(table.splits.min())), options.classes, folder, warnings)
    return make_source(
        name=name,
        table=table,
        encoders=chosen.kinds,
        options=options,
        classes=names,
        labels=label_names,
        warnings=warnings,
    )


class _Rows:
    """The rows of several tables, one after the other; the last one that was read is kept."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        """Args: split -> a `datasets.Dataset` that decodes nothing."""
        self.tables = list(tables.items())
        self.starts = np.cumsum([0, *(len(table) for table in tables.values())])
        self.last: tuple[int, Mapping[str, Any]] = (-1, {})

    def __len__(self) -> int:
        return int(self.starts[-1])

    def place(self, row: int) -> tuple[str, int]:
        """The split, and the number of the row in it."""
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.tables[part][0], row - int(self.starts[part])

    def __getitem__(self, row: int) -> Mapping[str, Any]:
        last, cells = self.last
        if last != row:
            part = int(np.searchsorted(self.starts, row, side="right")) - 1
            split, number = self.place(row)
            try:
                cells = self.tables[part][1][number]
            except Exception as error:  # damaged files: many kinds
                raise ValueError(f"{split} row {number}: cannot be read: {one_line(error)}") from error
            self.last = (row, cells)
        return cells


class _Cells:
    """A column of raw values, of targets or of names, read from the cells of a row."""

    def __init__(self, rows: _Rows, reader: RowReader, what: str, name: str = "") -> None:
        """Args: the rows; how they are read; `raw`, `target` or `name`; which modality or target."""
        self.rows = rows
        self.reader = reader
        self.what = what
        self.name = name

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Any:
        cells = self.rows[row]
        if self.what == "name":
            return self.reader.name(cells, *self.rows.place(row))
        return getattr(self.reader, self.what)(cells, self.name)


def _as_table(
    tables: Mapping[str, Any],
    reader: RowReader,
    keys: np.ndarray,
    strata: np.ndarray | None,
    warnings: list[str],
) -> Table:
    """The tables of all splits as one. A split whose labels are all kept back is left out."""
    rows = _Rows(tables)
    splits = np.repeat(np.array([SPLITS.index(split) for split in tables], dtype=np.int8), np.diff(rows.starts))
    targets: dict[str, Any] = {target: _Cells(rows, reader, "target", target) for target in reader.targets}
    is_used = np.ones(len(rows), dtype=bool)
    if reader.label is not None and not reader.label.is_list:
        column = reader.label.column
        labels = np.array([reader.label.number(cell) for table in tables.values() for cell in table[column][:]], int)
        targets["label"] = Labels(labels)
        for number in set(splits.tolist()) - {TRAIN}:
            if (labels[splits == number] < 0).all():
                count = int((splits == number).sum())
                warnings.append(f"{count} of {count} examples of {SPLITS[number]} have no label and are left out")
                is_used &= splits != number
    known = np.zeros(len(rows), dtype=np.int64)
    if strata is not None:
        known[splits == splits.min()] = strata
    table = Table(
        names=_Cells(rows, reader, "name"),
        raws={modality: _Cells(rows, reader, "raw", modality) for modality in reader.columns.modalities},
        targets=targets,
        splits=splits,
        strata=known,
        keys=keys,
    )
    return table.take(is_used)


def _strata(column: str | None, features: Mapping[str, Any], table: Any) -> np.ndarray | None:
    """The class of each row by which splits are drawn: int64 (rows,); None if no column has classes."""
    if column is None or is_list(features[column]):
        return None
    cells = table[column][:]
    try:
        reader, names = class_cells(features[column], column, cells)
    except ValueError:  # refused where it is needed as a label
        return None
    if 2 * len(names) > len(cells):
        return None  # texts rather than classes: dealt class by class, all of them would be training examples
    return np.array([reader.number(cell) for cell in cells], dtype=np.int64)


def _features(name: str, table: Any) -> dict[str, Any]:
    """Column -> type. Streams of text tables do not say it: their first rows tell."""
    datasets = import_extra("datasets", extra="data")
    if table.features is not None:
        return dict(table.features)
    try:
        with quiet(datasets):
            rows = list(table.take(16))
    except Exception as error:  # network, damaged files: many kinds
        raise ValueError(f"{name}: cannot be read: {one_line(error)}") from error
    if not rows:
        raise ValueError(f"{name}: expected examples for training, found none")
    return dict(datasets.Dataset.from_list(rows).features)


def _reader(
    columns: Columns,
    features: Mapping[str, Any],
    tables: Mapping[str, Any] | None,
    options: SourceOptions,
    root: str | None,
) -> tuple[RowReader, tuple[str, ...], dict[str, tuple[str, ...]]]:
    """How rows are read; the names of the task's classes; and those of joint labels."""

    def cells_of(column: str) -> Iterator[Any] | None:
        if tables is None:
            return None
        return (cell for table in tables.values() if column in table.column_names for cell in table[column][:])

    is_labelled = options.task in ("classification", "multilabel")
    label: ClassCells | None = None
    names: tuple[str, ...] = ()
    if (column := columns.label) is not None:
        given = options.classes if is_labelled else ()
        try:
            label, names = class_cells(features[column], column, cells_of(column), given)
        except ValueError:
            if is_labelled:
                raise
    joint: dict[str, ClassCells | None] = {}
    joint_names: dict[str, tuple[str, ...]] = {}
    for each, column in columns.labels.items():
        if is_value(features[column], "float", "double"):
            joint[each], joint_names[each] = None, ()
        elif is_list(features[column]):
            raise ValueError(f"label_columns: expected one class in each row of {column!r}, got lists")
        else:
            joint[each], joint_names[each] = class_cells(features[column], column, cells_of(column))
    if options.task == "regression":
        names = tuple(columns.values)
    return RowReader(columns=columns, root=root, label=label, labels=joint), names, joint_names


def table_files(tree: Tree, *, are_columns_named: bool) -> list[str]:
    """The tables in a folder and in those in it: of one kind, the most frequent."""
    found = [
        joined(folder, name)
        for folder in ("", *tree.folders[""])
        for name in tree.inside(folder, tuple(READERS))
        if _is_table(name) or (are_columns_named and not folder)
    ]
    if metadata := [path for path in found if PurePosixPath(path).stem.lower() == "metadata"]:
        found = metadata
    counts = Counter(PurePosixPath(path).suffix for path in found)
    return [path for path in found if path.endswith(counts.most_common(1)[0][0])]


def _is_table(name: str) -> bool:
    path = PurePosixPath(name)
    start = re.split("[-.]", path.stem.lower(), maxsplit=1)[0]
    is_named = start == "metadata" or start in SPLIT_NAMES
    return path.suffix in READERS and (is_named or path.suffix in (".parquet", ".arrow"))


def read_tables(tree: Tree, own: TableSettings, warnings: list[str]) -> dict[str, Any]:
    """Split -> table, of a folder that `datasets` saved or that holds tables.

    Raises:
        ValueError: it cannot be read, or holds none.
    """
    datasets = import_extra("datasets", extra="data")
    folder, stream = tree.root, own.stream
    files, others = by_split(table_files(tree, are_columns_named=True))
    try:
        with quiet(datasets):
            if any(map(tree.has_file, _SAVED)):
                saved = datasets.load_from_disk(str(folder))
                saved = dict(saved) if isinstance(saved, datasets.DatasetDict) else {"train": saved}
                return {split: table.to_iterable_dataset() if stream else table for split, table in saved.items()}
            if own.subset is not None:  # its README says which files
                return dict(datasets.load_dataset(str(folder.absolute()), name=own.subset, streaming=stream))
            if not files:
                raise ValueError(f"expected tables ({', '.join(READERS)}), found none")
            if others:
                warnings.append(f"{len(others)} tables of no split are left out, for example {others[0]}")
            first = next(iter(files.values()))[0]
            parts = {SPLITS[n]: [str(folder.absolute() / path) for path in paths] for n, paths in files.items()}
            reader = READERS[PurePosixPath(first).suffix]
            if PurePosixPath(first).stem.lower() == "metadata":
                return _with_files(tree, files, reader, stream, warnings)
            return dict(datasets.load_dataset(reader, data_files=parts, streaming=stream))
    except Exception as error:  # strangers' files: many kinds
        raise ValueError(f"{folder}: cannot be read by datasets: {one_line(error)}") from error


def _with_files(
    tree: Tree, metadata: Mapping[int, Sequence[str]], reader: str, stream: bool, warnings: list[str]
) -> dict[str, Any]:
    """Split -> table of what `metadata` has of the files beside it; their column is named after their kind."""
    datasets = import_extra("datasets", extra="data")
    found: dict[str, Any] = {}
    kind, listed = None, set()
    for number, paths in metadata.items():
        parts = []
        for path in paths:
            table = datasets.load_dataset(reader, data_files=[str(tree.root.absolute() / path)], split="train")
            if "file_name" in table.column_names:
                files = [joined(path.rpartition("/")[0], str(name)) for name in table["file_name"][:]]
                kind, column = kind_of(files[0]) if files else None, table.column_names.index("file_name")
                listed.update(files)
                names = [kind if kind in _MEDIA and n == column else each for n, each in enumerate(table.column_names)]
                table = table.remove_columns("file_name").add_column(names[column], files).select_columns(names)
                if kind in _MEDIA:
                    table = table.cast_column(kind, getattr(datasets, _MEDIA[kind])(decode=False))
            parts.append(table)
        table = datasets.concatenate_datasets(parts)
        found[SPLITS[number]] = table.to_iterable_dataset() if stream else table
    others = [path for path in tree.below() if kind and kind_of(path) == kind and path not in listed]
    if others:
        warnings.append(f"{len(others)} files that metadata does not list are left out, for example {others[0]}")
    return found


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
    if not named:
        if len(tables) != 1:
            raise ValueError(f"{source}: expected a split named train, got {', '.join(map(str, tables))}")
        return {"train": next(iter(tables.values()))}
    if left := [str(name) for name, table in tables.items() if all(table is not used for used in named.values())]:
        warnings.append(f"splits that are not used: {', '.join(left)}")
    return named
