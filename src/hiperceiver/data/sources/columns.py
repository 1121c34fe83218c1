"""Which column of a table is which modality and which target."""

import difflib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from hiperceiver.data.packages import import_extra
from hiperceiver.data.sources.kinds import KINDS
from hiperceiver.settings.data import SourceTask, TableSettings

_LABEL_NAMES = ("label", "labels", "class", "target")
_USUAL_NAMES = {
    "image": ("image", "img", "picture", "pixels"),
    "audio": ("audio", "sound"),
    "video": ("video", "clip"),
    "bytes": ("text", "sentence", "content", "document", "bytes"),
}
_MASK_NAMES = ("mask", "annotation", "segmentation")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns are read."""

    modalities: Mapping[str, str]
    """Modality -> column."""
    kinds: Mapping[str, str]
    """Modality -> the kind of its encoder."""
    label: str | None
    """Column of a class, or of a list of classes; None if there is none."""
    labels: Mapping[str, str]
    """For joint labels: name -> column."""
    values: Sequence[str]
    """Columns of numbers."""
    mask: str | None
    """Column of masks, if masks are needed."""
    strata: str | None
    """Column of the classes by which splits are drawn: found, never told, so that it is the same for every task."""


def find_columns(features: Mapping[str, Any], own: TableSettings, task: SourceTask) -> Columns:
    """Columns as they are named, or by their types and usual names.

    A column of classes is found whatever the task, so that the splits are the same for each.

    Args:
        features: column -> its type, of `datasets`.
        own: which columns the user named.
        task: what must be there.

    Raises:
        ValueError: a column is missing; the message gives the columns that there are.
    """
    given = (own.label_columns,) if isinstance(own.label_columns, str) else own.label_columns
    labels = dict(given) if isinstance(given, Mapping) else {column: column for column in given}
    values = (own.value_columns,) if isinstance(own.value_columns, str) else own.value_columns
    for argument, columns in {
        "label_column": [own.label_column] if own.label_column is not None else [],
        "label_columns": list(labels.values()),
        "value_columns": list(values),
        "mask_column": [own.mask_column] if own.mask_column is not None else [],
    }.items():
        for column in columns:
            check_column(features, column, argument=argument)
    named = {*labels.values(), *values, own.label_column, own.mask_column}
    modalities, kinds = _find_modalities(features, own.columns, named)
    others = {name: feature for name, feature in features.items() if name not in modalities.values()}
    label = own.label_column if own.label_column is not None else _find_label(others)
    if task in ("classification", "multilabel"):
        label = label or next((name for name in _LABEL_NAMES if name in others), None)
        if label is None:
            raise _missing("label_column", "classes", features)
        if is_list(features[label]) != (task == "multilabel"):
            expected, got = ("a class", "lists") if task == "classification" else ("a list of classes", "single ones")
            raise ValueError(f"label_column: for {task} expected {expected} in each row of {label!r}, got {got}")
    if task == "joint" and not labels:
        raise ValueError("label_columns: expected columns of labels for the task joint, got none")
    for name in labels:
        if name in modalities:
            raise ValueError(f"label_columns: expected names that no modality has, got {name!r}")
    if not values and own.label_column is None:
        values = tuple(name for name in (*_LABEL_NAMES, "value", "y") if is_value(others.get(name), "float"))[:1]
    if task == "regression" and not values:
        raise _missing("value_columns", "numbers", features)
    mask = None
    if task == "segmentation":
        mask = own.mask_column if own.mask_column is not None else _find_mask(others)
        if mask is None:
            raise _missing("mask_column", "masks", features)
    return Columns(
        modalities=modalities,
        kinds=kinds,
        label=label,
        labels=labels,
        values=values,
        mask=mask,
        strata=_find_label(features),
    )


def check_column(features: Mapping[str, Any], column: str, *, argument: str) -> str:
    """The column's name, if the table has it.

    Raises:
        ValueError: it has not; the message gives the columns that it has.

    >>> check_column({"a": None, "b": None}, "c", argument="label_column")
    Traceback (most recent call last):
    ValueError: label_column: expected one of the columns a, b, got 'c'
    """
    if column not in features:
        close = difflib.get_close_matches(column, features, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{argument}: expected one of the columns {', '.join(features)}, got {column!r}{hint}")
    return column


def is_value(feature: Any, *beginnings: str) -> bool:
    """Whether a column holds single values of a type whose name begins so, such as `int` or `float`."""
    datasets = import_extra("datasets", extra="data")
    return type(feature) is datasets.Value and feature.dtype.startswith(beginnings)


def is_list(feature: Any) -> bool:
    """Whether a column holds lists."""
    datasets = import_extra("datasets", extra="data")
    return isinstance(feature, datasets.List | datasets.LargeList)


def is_of_classes(feature: Any) -> bool:
    """Whether a column holds numbers of classes whose names are known."""
    return isinstance(feature, import_extra("datasets", extra="data").ClassLabel)


def undecoded(table: Any, features: Mapping[str, Any]) -> Any:
    """The table with pictures, sounds and clips as stored bytes or paths."""
    datasets = import_extra("datasets", extra="data")
    for name, feature in features.items():
        for media in (datasets.Image, datasets.Audio, datasets.Video):
            if isinstance(feature, media):
                table = table.cast_column(name, media(decode=False))
    return table


def _find_modalities(
    features: Mapping[str, Any], given: Mapping[str, str] | None, targets: Set[str | None]
) -> tuple[dict[str, str], dict[str, str]]:
    """Modality -> column, and -> kind."""
    if given is not None:
        if not given:
            raise ValueError("columns: expected at least one modality, got none")
        found = {modality: _parsed(features, modality, text) for modality, text in given.items()}
        return {each: column for each, (column, _) in found.items()}, {each: kind for each, (_, kind) in found.items()}
    free = {name: feature for name, feature in features.items() if name not in targets}
    columns: dict[str, str] = {}
    for kind in ("image", "audio", "video"):
        names = [name for name, feature in free.items() if _kind_of(feature) == kind and not is_list(feature)]
        if name := next(iter([*names, *(name for name in _USUAL_NAMES[kind] if name in free)]), None):
            columns.setdefault(kind, name)
    if not columns:
        arrays = [(name, _kind_of(feature)) for name, feature in free.items() if _is_array(feature)]
        columns = {kind: name for name, kind in arrays[:1] if kind is not None}
    texts = [name for name in _USUAL_NAMES["bytes"] if _kind_of(free.get(name)) == "bytes"]
    if not columns and texts:
        columns = {"bytes": texts[0]}
    if not columns:
        raise ValueError(
            f"columns: expected {{modality: column}}, for example {{'image': 'photo'}}, because no column's type says "
            f"what it is; columns: {', '.join(features)}"
        )
    return columns, {kind: kind for kind in columns}


def _parsed(features: Mapping[str, Any], modality: str, text: str) -> tuple[str, str]:
    """Column and kind of what the user wrote for a modality: `column` or `column:kind`."""
    column, _, kind = text.rpartition(":")
    if column and kind in KINDS and text not in features:
        return check_column(features, column, argument="columns"), kind
    check_column(features, text, argument="columns")
    # A modality that is named like a kind is of this kind.
    found = modality if modality in KINDS else _kind_of(features[text])
    if found is None:
        expected = f"its kind, for example '{text}:series' (one of {', '.join(KINDS)})"
        raise ValueError(f"columns: expected {expected}, got {text!r} of type {features[text]}")
    return text, found


def _kind_of(feature: Any) -> str | None:
    """The kind of signal that a column's type tells."""
    datasets = import_extra("datasets", extra="data")
    for kind, media in (("image", datasets.Image), ("audio", datasets.Audio), ("video", datasets.Video)):
        if isinstance(feature, media):
            return kind
    if isinstance(feature, Mapping) and {"array", "sampling_rate"} <= set(feature):
        return "audio"
    if is_value(feature, "string", "large_string", "binary", "large_binary"):
        return "bytes"
    depth, leaf = _depth(feature)
    if leaf is None or not is_value(leaf, "int", "uint", "float", "bool", "double"):
        return None
    if depth == 3:
        return "image" if is_value(leaf, "int", "uint") else "volume"
    return {1: "series", 2: "series", 4: "volume"}.get(depth)


def _is_array(feature: Any) -> bool:
    """Whether a column holds arrays that are a signal; a single list of whole numbers may as well be labels."""
    depth, leaf = _depth(feature)
    return _kind_of(feature) not in (None, "bytes") and (depth > 1 or is_value(leaf, "float"))


def _depth(feature: Any) -> tuple[int, Any]:
    """How many dimensions a column's arrays have, and the type of their numbers."""
    datasets = import_extra("datasets", extra="data")
    arrays = {1 + n: getattr(datasets, f"Array{1 + n}D") for n in range(1, 5)}
    for depth, array in arrays.items():
        if isinstance(feature, array):
            return depth, datasets.Value(feature.dtype)
    if is_list(feature):
        depth, leaf = _depth(feature.feature)
        return depth + 1, leaf
    return 0, feature


def _find_label(features: Mapping[str, Any]) -> str | None:
    """The only column of the kind `ClassLabel`, or one of a usual name that holds classes."""
    found = [name for name, feature in features.items() if is_of_classes(feature)]
    if len(found) != 1:
        found = [name for name in _LABEL_NAMES if name in features and _may_be_label(features[name])]
    return found[0] if found else None


def _may_be_label(feature: Any) -> bool:
    leaf = feature.feature if is_list(feature) else feature
    return is_of_classes(leaf) or is_value(leaf, "int", "uint", "string", "large_string", "bool")


def _find_mask(features: Mapping[str, Any]) -> str | None:
    """The first other column of pictures, or one of a usual name."""
    found = [name for name, feature in features.items() if _kind_of(feature) == "image" and not is_list(feature)]
    found += [name for name in _MASK_NAMES if name in features]
    return found[0] if found else None


def _missing(argument: str, what: str, features: Mapping[str, Any]) -> ValueError:
    return ValueError(f"{argument}: expected the name of a column of {what} among {', '.join(features)}")
