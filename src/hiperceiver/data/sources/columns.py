"""Which column of a table is a picture, a label or a mask, and what its classes are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hiperceiver.data.packages import import_extra


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns to read; None where it is to be found out."""

    images: dict[str, str] | None = None
    """Modality -> column of pictures."""
    label: str | None = None
    """Column of classes."""
    mask: str | None = None
    """Column of masks."""


def check_column(table: Any, column: str, *, argument: str) -> str:
    """The column's name, if the table has it.

    Raises:
        ValueError: it has not; the message gives the columns that it has.
    """
    if column not in table.column_names:
        raise ValueError(f"{argument}: expected one of the columns {', '.join(table.column_names)}, got {column!r}")
    return column


def find_images(table: Any, asked: Mapping[str, str] | None) -> dict[str, str]:
    """Modality -> column; by default `image` is the first column of pictures, or one of a usual name.

    Raises:
        ValueError: the table has no such column.
    """
    if asked is not None:
        if not asked:
            raise ValueError("columns: expected at least one modality, got none")
        return {modality: check_column(table, column, argument="image_column") for modality, column in asked.items()}
    found = [name for name, feature in table.features.items() if _is_of_pictures(feature)]
    found += [name for name in ("image", "img", "picture", "pixels") if name in table.column_names]
    return {"image": _first(found, table, "image_column", "pictures")}


def find_label(table: Any, asked: str | None) -> str:
    """The column of classes; by default the only one of the kind `ClassLabel`, or one of a usual name.

    Raises:
        ValueError: the table has no such column.
    """
    if asked is not None:
        return check_column(table, asked, argument="label_column")
    found = [name for name, feature in table.features.items() if _is_of_classes(feature)]
    if len(found) != 1:
        found = [name for name in ("label", "labels", "class", "target") if name in table.column_names]
    return _first(found, table, "label_column", "classes")


def find_mask(table: Any, asked: str | None, images: Mapping[str, str]) -> str:
    """The column of masks; by default the first other column of pictures, or one of a usual name.

    Raises:
        ValueError: the table has no such column.
    """
    if asked is not None:
        return check_column(table, asked, argument="mask_column")
    others = {name: feature for name, feature in table.features.items() if name not in images.values()}
    found = [name for name, feature in others.items() if _is_of_pictures(feature)]
    found += [name for name in ("mask", "annotation", "segmentation") if name in others]
    return _first(found, table, "mask_column", "masks")


def _first(found: Sequence[str], table: Any, argument: str, what: str) -> str:
    if not found:
        raise ValueError(f"{argument}: expected the name of a column of {what} among {', '.join(table.column_names)}")
    return found[0]


def _is_of_pictures(feature: Any) -> bool:
    return isinstance(feature, import_extra("datasets", extra="data").Image)


def _is_of_classes(feature: Any) -> bool:
    return isinstance(feature, import_extra("datasets", extra="data").ClassLabel)


def undecoded(table: Any) -> Any:
    """The table with pictures as stored bytes or paths."""
    datasets = import_extra("datasets", extra="data")
    for name, feature in table.features.items():
        if _is_of_pictures(feature):
            table = table.cast_column(name, datasets.Image(decode=False))
    return table


def read_labels_of(
    tables: Mapping[str, Any], column: str, classes: Sequence[str] | None, *, source: str
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Names of the classes, and per split the class number of every row.

    Args:
        tables: split -> table.
        column: of class labels, names or numbers; -1 and None mean that a row has none.
        classes: the names in their order; by default those of the column, sorted.
        source: for messages.

    Returns:
        The names, and int64 (rows,) per split, -1 for none.

    Raises:
        ValueError: the column holds something else, fewer than two classes, or one that is not among `classes`.
    """
    words: dict[str, list[str | None]] = {}
    names: Sequence[str] | None = classes
    for split, table in tables.items():
        feature, values = table.features[check_column(table, column, argument="label_column")], table[column][:]
        if _is_of_classes(feature):
            names = names or feature.names
            words[split] = [None if value is None or value < 0 else feature.names[value] for value in values]
            continue
        for value in values:
            if value is not None and not isinstance(value, str | int):
                kind = type(value).__name__
                raise ValueError(f"label_column: expected class names or numbers in {column!r}, got {kind}")
        words[split] = [None if value is None or value == -1 else str(value) for value in values]
    present = {word for split_words in words.values() for word in split_words if word is not None}
    if names is None:
        # Numbers in their own order: 2 before 10.
        names = sorted(present, key=lambda word: (0, int(word), word) if word.isdecimal() else (1, 0, word))
    if classes is None and len(present) < 2:
        found = f"only {present.pop()!r}" if present else "none"
        raise ValueError(f"{source}: expected at least two classes with pictures, found {found}")
    if unknown := sorted(present - set(names)):
        raise ValueError(f"classes: expected only {', '.join(names)}, found {', '.join(unknown[:5])} in {source}")
    number = {name: index for index, name in enumerate(names)}
    return tuple(names), {
        split: np.array([-1 if word is None else number[word] for word in split_words], dtype=np.int64)
        for split, split_words in words.items()
    }
