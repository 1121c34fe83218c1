"""Tables that `datasets` reads: Parquet, Arrow, CSV and JSON lines in a folder, what it saved, and the hub.

The splits of a folder's tables follow from the words of their paths (`data/train-00000.parquet`). `metadata.csv` and
`metadata.jsonl` have a column `file_name` of files beside them. Media are decoded by our encoders when they are read,
so that a bad file is one bad example; an empty cell is a missing modality.
"""

import glob
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from hiperceiver import limits
from hiperceiver.data.faults import Fault, faults_of, open_file
from hiperceiver.data.packages import import_extra
from hiperceiver.data.record import SPLITS
from hiperceiver.data.sources.classes import (
    CLASSES_FILE,
    mask_classes,
    named_mask_classes,
    read_class_names,
    renumbered_masks,
    taken_by_number,
    value_order,
)
from hiperceiver.data.sources.columns import Columns, find_columns, is_value, media_kind, media_types, undecoded
from hiperceiver.data.sources.kinds import kind_of
from hiperceiver.data.sources.rows import (
    ClassCells,
    StreamedRows,
    class_strata,
    make_reader,
    make_table,
    paths_of,
    reading,
    row_keys,
)
from hiperceiver.data.sources.source import Source, SourceOptions, make_source, make_streamed
from hiperceiver.data.sources.tree import SPLIT_NAMES, Tree, by_split, joined, named_as_splits, split_of
from hiperceiver.data.text import composed, encoding_of
from hiperceiver.settings.data import TableSettings

TASKS = ("classification", "multilabel", "segmentation", "regression", "joint")
READERS = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "csv",
}
"""Ending of a table -> what `datasets` calls its reader."""
_MISSING_NUMBERS = ("", "NA", "N/A", "n/a", "<NA>", "#N/A", "#NA", "NULL", "null", "None", "NaN", "nan", "-NaN", "-nan")
_SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold")  # what a column is called that names splits
_SAVED = ("dataset_dict.json", "state.json")
_FEW_ROWS, _MOST_ROWS = 10_000_000, 8  # rows that any file may have, and more of them for each of its bytes
_MOST_UNPACKED = 100  # times the size of a Parquet file: of more the limit of a file holds


def matches(tree: Tree) -> bool:
    """Whether a folder holds tables, or `datasets` saved it; other CSV files are series unless columns are named."""
    return any(map(tree.has_file, _SAVED)) or bool(table_files(tree, are_columns_named=False))


def open_table(tree: Tree, own: TableSettings, options: SourceOptions) -> Source:
    """The tables in a local folder."""
    options.check_task(tree.name, TASKS)
    warnings = tree.warnings()
    return _open(tree.name, tree.root, read_tables(tree, own, warnings), own, options, warnings)


def open_hub(name: str, own: TableSettings, options: SourceOptions) -> Source:
    """A data set of the hub, by its id `owner/name`. `datasets` runs no code that comes with it."""
    options.check_task(name, TASKS)
    if len(name.split("/")) != 2 or name.startswith((".", "/", "~")) or not all(name.split("/")):
        raise ValueError(f"{name}: no such folder")
    with reading(f"{name}: no such folder, and cannot be read from the hub") as datasets:
        found = dict(datasets.load_dataset(name, name=own.subset, streaming=own.stream))
    return _open(name, None, found, own, options, [])


def _open(
    name: str,
    folder: Path | None,
    found: dict[str, Any],
    own: TableSettings,
    options: SourceOptions,
    warnings: list[str],
) -> Source:
    named = named_splits(name, found, warnings)
    first = next(iter(named.values()))
    features = _features(name, first)
    chosen = find_columns(features, own, options.task)
    if [*named] == ["train"] and not own.stream:
        named = _divided(first, features, chosen, folder, warnings)
        first = named["train"]
    root = None if folder is None else str(folder)
    listed, class_names = None if own.stream else named, () if folder is None else read_class_names(folder)
    if options.task == "regression":
        order = value_order(name, chosen.values, options.classes, warnings)
        chosen = chosen if order is None else replace(chosen, values=[chosen.values[place] for place in order])
    reader, names, label_names = make_reader(chosen, features, listed, options, root, own.files_outside, class_names)
    if options.task == "regression":
        names = options.classes or names
    used = reader.columns.used
    if own.stream and reader.id_column is not None:
        used.add(reader.id_column)
    whole = {split: undecoded(table, features) for split, table in named.items()}
    tables = {}
    for split, table in whole.items():
        if missing := sorted(used - set(table.column_names or used)):
            raise ValueError(f"{name}: expected the columns of train in {split} too, found no {missing[0]!r}")
        tables[split] = table.select_columns([each for each in features if each in used])
    if own.stream:
        if options.task == "segmentation":
            names = named_mask_classes(options.classes, folder, warnings)
            if not names:
                remedy = f"write them to {CLASSES_FILE}, one a line" if folder else "read it without stream"
                raise ValueError(f"classes: expected their names, as a stream is not read to find them; {remedy}")
            read = reader.targets["segmentation"]
            names, read = renumbered_masks(name, names, read, options.classes, warnings)
            reader = replace(reader, targets={**reader.targets, "segmentation": read})
        for target, label in reader.targets.items():
            if isinstance(label, ClassCells):
                warnings += taken_by_number(label.numbers, label_names.get(target, names), label.numbers)
        streams = {split: StreamedRows(table, reader, split) for split, table in tables.items()}
        return make_streamed(name, streams, chosen.kinds, own, options, names, label_names, warnings)
    keys = row_keys([*whole.values()], features, reader.id_column)
    strata = 0 if "validation" in tables else class_strata(chosen.strata, features, first)
    table = make_table(tables, reader, keys, strata, warnings)
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


def _divided(
    table: Any, features: Mapping[str, Any], chosen: Columns, folder: Path | None, warnings: list[str]
) -> dict[str, Any]:
    """Split -> its rows of the only table, by its column of splits, or the folders of its files; else all train."""
    found = [(f"the column {name!r}", table[name][:]) for name in features if _is_of_splits(name, features, chosen)]
    for name in chosen.modalities.values() if folder is not None else ():
        folders = [PurePosixPath(path).parts[:-1] for path in _paths_in(table, name, features[name])]
        words = [next(filter(split_of, parts), None) for parts in folders]
        if words and None not in words:
            found.append((f"the folders of {name!r}", words))
    for where, words in found:
        by_split = {split: {*names} for split, names in named_as_splits({str(word) for word in words}).items()}
        if len(by_split) > 1 and "train" in by_split:
            of_split = {split: by_split[split] for split in SPLITS if split in by_split}
            rows = {split: [n for n, word in enumerate(words) if str(word) in of_split[split]] for split in of_split}
            left = len(words) - sum(map(len, rows.values()))
            counts = ", ".join(f"{split} {len(each)}" for split, each in rows.items())
            warnings.append(f"splits by {where}: {counts}{f'; {left} of none are left out' if left else ''}")
            return {split: table.select(rows[split]) for split in rows}
    return {"train": table}


def _is_of_splits(name: str, features: Mapping[str, Any], chosen: Columns) -> bool:
    return name.lower() in _SPLIT_COLUMNS and name not in chosen.used and is_value(features[name], "string", "large_s")


def _paths_in(table: Any, column: str, feature: Any) -> list[str]:
    """The paths in a column of files; none if it holds something else."""
    if media_kind(feature):
        return [path or "" for path in paths_of(table, column)]
    return [cell or "" for cell in table[column][:]] if is_value(feature, "string", "large_string") else []


def _features(name: str, table: Any) -> dict[str, Any]:
    """Column -> type. Streams of text tables do not know it: it follows from their first rows."""
    if table.features is not None:
        return dict(table.features)
    with reading(f"{name}: cannot be read") as datasets:
        rows = list(table.take(16))
    if not rows:
        raise ValueError(f"{name}: expected examples for training, found none")
    return dict(datasets.Dataset.from_list(rows).features)


def table_files(tree: Tree, *, are_columns_named: bool) -> list[str]:
    """The tables in a folder and in those in it: of one kind, the most frequent."""
    near = tree.near(tuple(READERS))
    found = [path for path in near if _is_table(path) or (are_columns_named and "/" not in path)]
    if metadata := [path for path in found if PurePosixPath(path).stem.lower() == "metadata"]:
        found = metadata
    counts = Counter(PurePosixPath(path).suffix for path in found)
    return [path for path in found if path.endswith(counts.most_common(1)[0][0])]


def _is_table(name: str) -> bool:
    path = PurePosixPath(name)
    words = re.split(r"[-._\s]+", path.stem.lower())
    looked_at = words[:1] if READERS.get(path.suffix) == "csv" else words  # which may be a series
    is_named = words[0] == "metadata" or any(word in SPLIT_NAMES for word in looked_at) or bool(split_of(path.stem))
    return path.suffix in READERS and (is_named or path.suffix in (".parquet", ".arrow"))


def read_tables(tree: Tree, own: TableSettings, warnings: list[str]) -> dict[str, Any]:
    """Split -> table, of a folder that `datasets` saved or that holds tables."""
    folder, stream = tree.root, own.stream
    with reading(f"{folder}: cannot be read by datasets") as datasets:
        if any(map(tree.has_file, _SAVED)):
            _check_saved(tree)
            saved = datasets.load_from_disk(str(folder))
            saved = dict(saved) if isinstance(saved, datasets.DatasetDict) else {"train": saved}
            return {split: table.to_iterable_dataset() if stream else table for split, table in saved.items()}
        if own.subset is not None:  # its README says which files
            return dict(datasets.load_dataset(str(folder.absolute()), name=own.subset, streaming=stream))
        files = by_split(table_files(tree, are_columns_named=True), "tables", warnings)
        if not files:
            raise ValueError(f"expected tables ({', '.join(READERS)}), found none")
        suffix = PurePosixPath(next(iter(files.values()))[0]).suffix
        warnings += [] if READERS[suffix] == "csv" else tree.too_deep((suffix,))  # others may be series that it lists
        for path in chain.from_iterable(files.values()):
            if path.endswith(".parquet"):
                _check_parquet(tree.root / path)
        first = next(iter(files.values()))[0]
        parts = {SPLITS[n]: [_path(tree, path) for path in paths] for n, paths in files.items()}
        reader = READERS[suffix]
        # A stream may be longer than anybody would wait for.
        how = {"encoding": _encoding(tree, files, is_whole_read=not stream)} if reader in ("csv", "json") else {}
        load = partial(datasets.load_dataset, reader, **how)
        if reader == "csv":
            how |= {"sep": "\t"} if suffix == ".tsv" else {}
            load = partial(_load_csv, partial(datasets.load_dataset, reader, **how))
        if PurePosixPath(first).stem.lower() == "metadata":
            return _with_files(datasets, tree, files, load, stream, warnings)
        return dict(load(data_files=parts, streaming=stream))


def _path(tree: Tree, path: str) -> str:
    """The path of a table as `datasets` takes it, to which brackets and stars in names are patterns."""
    return glob.escape(str(tree.root.absolute() / path))


def _load_csv(load: Callable[..., Any], data_files: Mapping[str, list[str]], streaming: bool) -> Any:
    """Split -> table, in whose texts NA, null and such are words: `datasets` takes them for missing everywhere."""
    tables = load(data_files=data_files, streaming=streaming)
    features = _features(next(chain.from_iterable(data_files.values())), next(iter(tables.values())))
    texts = [name for name in features if is_value(features[name], "string", "large_string")]
    lacking = [name for name in texts if streaming or any(table.data[name].null_count for table in tables.values())]
    if not lacking:
        return tables
    missing = {name: [""] if name in texts else list(_MISSING_NUMBERS) for name in features}
    return load(data_files=data_files, streaming=streaming, keep_default_na=False, na_values=missing)


def _check_saved(tree: Tree) -> None:
    """Refuse what says that it was saved by `datasets` and names files or folders that are not in its folder."""
    folders = [""]
    if tree.has_file(_SAVED[0]):
        folders = [str(split) for split in _json(tree, _SAVED[0])["splits"]]
        if lacking := [split for split in folders if not tree.has_folder(split)]:
            raise ValueError(f"{_SAVED[0]} names {lacking[0]!r:.200}, which is no folder in it")
    for folder in folders:
        path = joined(folder, _SAVED[1])
        with faults_of(tree.root / path):
            names = [str(each["filename"]) for each in _json(tree, path)["_data_files"]]
            if lacking := [name for name in names if not tree.has_file(joined(folder, name))]:
                raise Fault(f"names {lacking[0]!r:.200}, which is no file in its folder")


def _json(tree: Tree, path: str) -> Any:
    with faults_of(tree.root / path):
        return json.loads(limits.read_text(tree.root / path))


def _encoding(tree: Tree, files: Mapping[int, Sequence[str]], *, is_whole_read: bool) -> str:
    """The encoding of tables as text, which must be the same for all."""
    found: dict[str, str] = {}
    for path in chain.from_iterable(files.values()):
        with faults_of(tree.root / path):
            found.setdefault(encoding_of(tree.root / path, is_whole_read=is_whole_read), path)
    if len(found) > 1:
        kinds = ", ".join(f"{path} is {encoding.removesuffix('-sig')}" for encoding, path in found.items())
        raise ValueError(f"expected tables in one encoding, got several: {kinds}; save all as UTF-8")
    return next(iter(found))


def _check_parquet(path: Path) -> None:
    """Refuse a Parquet file that says it becomes very much more than it is."""
    with faults_of(path), open_file(path) as file:
        try:
            found = import_extra("pyarrow.parquet", extra="data").read_metadata(file)
        except Exception:  # damaged in one of many ways: named where it is read
            return
        size = file.seek(0, os.SEEK_END)
        if found.num_rows > _FEW_ROWS + _MOST_ROWS * size:
            raise Fault(f"is damaged: it states {found.num_rows} rows in {size} bytes")
        unpacked = sum(found.row_group(number).total_byte_size for number in range(found.num_row_groups))
        if unpacked > _MOST_UNPACKED * size:
            limits.FILE.check(unpacked, "unpacks to")


def _with_files(
    datasets: Any,
    tree: Tree,
    metadata: Mapping[int, Sequence[str]],
    load: Callable[..., Any],
    stream: bool,
    warnings: list[str],
) -> dict[str, Any]:
    """Split -> table of what `metadata` has of the files beside it; their column is named after their kind."""
    found: dict[str, Any] = {}
    there = {composed(path): path for path in tree.below()}  # accents may be written otherwise in the table
    kind, listed, media = None, set(), media_types()
    for number, paths in metadata.items():
        parts = []
        for path in paths:
            table = load(data_files={"train": [_path(tree, path)]}, streaming=False)["train"]
            if "file_name" in table.column_names:
                files = [joined(path.rpartition("/")[0], str(name)) for name in table["file_name"][:]]
                files = [there.get(composed(name), name) for name in files]
                listed.update(files)
                kind = kind_of(files[0]) if files else None
                name = kind if kind in media else "file_name"
                order = [name if each == "file_name" else each for each in table.column_names]
                table = table.remove_columns("file_name").add_column(name, files).select_columns(order)
                if kind in media:
                    table = table.cast_column(kind, media[kind](decode=False))
            parts.append(table)
        table = datasets.concatenate_datasets(parts)
        found[SPLITS[number]] = table.to_iterable_dataset() if stream else table
    others = [path for path in tree.below() if kind and kind_of(path) == kind and path not in listed]
    if others:
        warnings.append(f"{len(others)} files that metadata does not list are left out, for example {others[0]}")
    return found


def named_splits(source: str, tables: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Tables by our names of splits, in their order; the only split of a dataset is `train`."""
    named: dict[str, Any] = {}
    by_name = {str(name): table for name, table in tables.items()}
    for ours, names in named_as_splits(by_name).items():
        named[ours] = by_name[min(names, key=lambda name: name.lower() not in SPLIT_NAMES)]
    if not named:
        if len(tables) != 1:
            raise ValueError(f"{source}: expected a split named train, got {', '.join(map(str, tables))}")
        return {"train": next(iter(tables.values()))}
    if left := [str(name) for name, table in tables.items() if all(table is not used for used in named.values())]:
        warnings.append(f"splits that are not used: {', '.join(left)}")
    return {split: named[split] for split in SPLITS if split in named}
