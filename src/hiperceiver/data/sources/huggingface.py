"""Any data set that `datasets` reads: a hub id, a folder that it saved, a folder with tables.

It is also the door to folders of files, which are read without it (`folder`).

Columns become modalities (`columns={"image": "photo", "accel": "x:series"}`): of the kind that is written behind the
column's name, or that the modality is named like, or that the column's type tells. Other columns become targets: a
class or a list of classes (`label_column`), several labels (`label_columns`), numbers (`value_columns`), or a picture
whose pixels are class numbers (`mask_column`).

Pictures, sounds and clips are decoded when they are read, by our encoders, so that a bad file is one bad example and
nothing more. A cell without a value is a missing modality.

Splits that exist are used (`train`, `validation`, `test` and their usual abbreviations); missing ones are taken out of
`train`. With `stream=True` nothing is downloaded or read before it is needed: see `stream`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.packages import import_extra
from hiperceiver.data.sources.classes import mask_classes
from hiperceiver.data.sources.columns import AskedColumns, Columns, find_columns, is_list, is_value, undecoded
from hiperceiver.data.sources.folder import open_folder
from hiperceiver.data.sources.kinds import LOOKED_AT, offered_encoders
from hiperceiver.data.sources.rows import ClassCells, RowReader, class_cells
from hiperceiver.data.sources.source import Common, CommonOptions, Source, make_source
from hiperceiver.data.sources.stream import StreamedRows, open_stream
from hiperceiver.data.sources.tables import (
    TableRecords,
    is_table_folder,
    named_splits,
    one_line,
    quiet,
    read_hub,
    read_tables,
)

TASKS = ("classification", "multilabel", "segmentation", "regression", "joint")


def open_huggingface(
    name_or_path: str | Path,
    *,
    kind: str | None = None,
    columns: Mapping[str, str] | None = None,
    label_column: str | None = None,
    label_columns: Mapping[str, str] | Sequence[str] | str | None = None,
    value_columns: Sequence[str] | str | None = None,
    mask_column: str | None = None,
    classes: Sequence[str] | None = None,
    config_name: str | None = None,
    stream: bool = False,
    validation_examples: int = 512,
    buffer_size: int = 1024,
    **common: Unpack[Common],
) -> Source:
    """A data set of the hub, or a local folder.

    Args:
        name_or_path: a folder, or a hub id such as `owner/name`.
        kind: what the files of a folder without tables hold, see `open_folder`; the following are for tables.
        columns: modality -> column, or `column:kind`. By default the first column of pictures, of sounds and of clips;
            else the first of arrays; else a column of text.
        label_column: of a class or of lists of classes; by default the only column of class labels, or one of a usual
            name.
        label_columns: for joint labels: name -> column, or columns that name them; classes, or numbers if they are
            fractions.
        value_columns: of numbers, for regression.
        mask_column: for segmentation; by default the second column of pictures.
        classes: names of the classes in their order, for example a trained model's. By default those of the data; for
            masks, of the file `classes.txt`, or their numbers.
        config_name: of a hub data set that has several.
        stream: read it as a stream.
        validation_examples: of a stream: how many records of it validate, and test, at most.
        buffer_size: of a stream: records that are shuffled at a time.
        **common: see `CommonOptions`.

    Raises:
        ValueError: the data cannot be found or has not what the task needs.
    """
    options = CommonOptions(**common)
    name, folder = str(name_or_path), Path(name_or_path).expanduser()
    is_folder = folder.exists()
    settings = {
        "columns": columns,
        "label_column": label_column,
        "label_columns": label_columns,
        "value_columns": value_columns,
        "mask_column": mask_column,
        "config_name": config_name,
        "stream": stream or None,
    }
    asked_for = {argument: value for argument, value in settings.items() if value is not None}
    if is_folder and not (folder.is_dir() and is_table_folder(folder, is_asked=bool(asked_for))):
        if asked_for:
            argument, value = next(iter(asked_for.items()))
            raise ValueError(f"{argument}: expected nothing for a folder of files without tables, got {value!r}")
        return open_folder(folder if isinstance(name_or_path, Path) else name, kind=kind, classes=classes, **common)
    if kind is not None:
        raise ValueError(f"kind: expected nothing for a table (its columns say it), got {kind!r}")
    options.check_task(name, TASKS)
    found = (
        read_tables(folder, config_name, is_streamed=stream)
        if is_folder
        else read_hub(name, config_name, is_streamed=stream)
    )
    warnings: list[str] = []
    tables = named_splits(name, found, warnings)
    features = _features(name, tables["train"])
    if isinstance(label_columns, str | Sequence):
        label_columns = {column: column for column in _several(label_columns)}
    asked = AskedColumns(
        modalities=columns,
        label=label_column,
        labels=label_columns or {},
        values=_several(value_columns),
        mask=mask_column,
    )
    chosen = find_columns(features, asked, options.task)
    reader, names, label_names = _reader(
        name, chosen, features, None if stream else tables, classes, options, str(folder) if is_folder else None
    )
    strata = None if stream or "validation" in tables else _strata(name, chosen.strata, features, tables["train"])
    used = {
        *chosen.modalities.values(),
        *chosen.values,
        *chosen.labels.values(),
        *([reader.label.column] if reader.label else []),
        *([chosen.mask] if chosen.mask else []),
    }
    for split, table in tables.items():
        missing = sorted(used - set(table.column_names or used))
        if missing:
            raise ValueError(f"{name}: expected the columns of train in {split} too, found no {missing[0]!r}")
        tables[split] = undecoded(table.select_columns([each for each in features if each in used]), features)
    if stream:
        if options.task == "segmentation" and classes is None:
            raise ValueError("classes: expected the names of the classes, for a stream is not read to find them")
        names = tuple(classes or ()) if options.task == "segmentation" else names
        return open_stream(
            name,
            {split: StreamedRows(table, reader, split) for split, table in tables.items()},
            chosen.kinds,
            options,
            classes=names,
            labels=label_names,
            validation_examples=validation_examples,
            buffer_size=buffer_size,
            warnings=warnings,
        )
    records = {
        split: TableRecords(table, reader, split, strata if split == "train" else None)
        for split, table in tables.items()
        if len(table)
    }
    if "train" not in records:
        raise ValueError(f"{name}: expected examples for training, found none that can be used")
    for split in [each for each, part in records.items() if part.labels is not None and (part.labels < 0).all()]:
        if split != "train":  # labels of some published data sets are kept back
            warnings.append(
                f"{len(records[split])} of {len(records[split])} examples of {split} have no label and are left out"
            )
            del records[split]
    if options.task == "segmentation":
        names = mask_classes(records["train"], classes, folder if is_folder else None, warnings)
    train = EncodedRecords(records=records["train"], encoders={})
    return make_source(
        name=name,
        records=records,
        encoders=offered_encoders(name, chosen.kinds, lambda modality: train.raws(modality, LOOKED_AT), options),
        options=options,
        classes=names,
        labels=label_names,
        warnings=warnings,
    )


def _several(columns: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names of columns; one alone may be given as it is."""
    return (columns,) if isinstance(columns, str) else tuple(columns or ())


def _strata(name: str, column: str | None, features: Mapping[str, Any], table: Any) -> np.ndarray | None:
    """The class of each row by which splits are drawn: int64 (rows,); None if no column says classes."""
    if column is None or is_list(features[column]):
        return None
    cells = table[column][:]
    try:
        reader, names = class_cells(features[column], column, lambda: cells, None, source=name)
    except ValueError:  # said where it is needed as a label
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
    name: str,
    columns: Columns,
    features: Mapping[str, Any],
    tables: Mapping[str, Any] | None,
    classes: Sequence[str] | None,
    options: CommonOptions,
    root: str | None,
) -> tuple[RowReader, tuple[str, ...], dict[str, tuple[str, ...]]]:
    """How rows are read; the names of the task's classes; and those of joint labels."""

    def read_column(column: str) -> Callable[[], Iterator[Any]] | None:
        if tables is None:
            return None
        parts = [table for table in tables.values() if column in table.column_names]
        return lambda: (cell for table in parts for cell in table[column][:])

    is_labelled = options.task in ("classification", "multilabel")
    label: ClassCells | None = None
    names: tuple[str, ...] = ()
    if columns.label is not None:
        try:
            label, names = class_cells(
                features[columns.label],
                columns.label,
                read_column(columns.label),
                classes if is_labelled else None,
                source=name,
            )
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
            joint[each], joint_names[each] = class_cells(
                features[column], column, read_column(column), None, source=name
            )
    if options.task == "regression":
        names = tuple(columns.values)
    return RowReader(columns=columns, root=root, label=label, labels=joint), names, joint_names
