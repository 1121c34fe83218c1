"""Which column of a table is which modality and which target."""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hiperceiver.data.packages import import_extra
from hiperceiver.data.sources.kinds import KINDS
from hiperceiver.data.text import composed
from hiperceiver.settings.data import SourceTask, TableSettings

LABEL_NAMES = ("label", "labels", "class", "target")
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

    modalities: Mapping[str, str]  # modality -> column
    kinds: Mapping[str, str]  # modality -> the kind of its encoder
    label: str | None  # of a class, or of a list of classes
    labels: Mapping[str, str]  # joint label -> column
    values: Sequence[str]  # of numbers
    mask: str | None  # of masks, if they are needed
    strata: str | None  # of the classes by which splits are drawn: found by type and name, the same for every task

    @property
    def used(self) -> set[str]:
        """All that are read of a row."""
        columns = {*self.modalities.values(), *self.values, *self.labels.values(), self.label, self.mask}
        return {column for column in columns if column is not None}


def find_columns(features: Mapping[str, Any], own: TableSettings, task: SourceTask) -> Columns:
    """Columns as the user named them, or by their types and usual names; the targets of the task must be there."""

    def named(argument: str, column: str | None) -> str | None:
        return None if column is None else check_column(features, column, argument=argument)

    own_label, mask = named("label_column", own.label_column), named("mask_column", own.mask_column)
    labels = dict(own.label_columns) if isinstance(own.label_columns, Mapping) else _same(own.label_columns)
    labels = {name: check_column(features, column, argument="label_columns") for name, column in labels.items()}
    values = (own.value_columns,) if isinstance(own.value_columns, str) else own.value_columns
    values = [check_column(features, column, argument="value_columns") for column in values]
    targets = {*labels.values(), *values, own_label, mask}
    if own.columns is None:
        modalities = _found_modalities(features, targets)
        kinds = _same(modalities)
    elif own.columns:
        parsed = {modality: _parsed(features, modality, text) for modality, text in own.columns.items()}
        modalities = {modality: column for modality, (column, _) in parsed.items()}
        kinds = {modality: kind for modality, (_, kind) in parsed.items()}
    else:
        raise ValueError("columns: expected at least one modality, got none")
    others = {name: feature for name, feature in features.items() if name not in modalities.values()}
    label = own_label or _find_label(others)
    if task in ("classification", "multilabel"):
        label = label or next((name for name in LABEL_NAMES if name in others), None)
        if label is None:
            raise _missing("label_column", "classes", features)
        if is_list(features[label]) != (task == "multilabel"):
            expected, got = ("a class", "lists") if task == "classification" else ("a list of classes", "single ones")
            raise ValueError(f"label_column: for {task} expected {expected} in each row of {label!r}, got {got}")
    if task == "joint" and not labels:
        raise ValueError("label_columns: expected columns of labels for the task joint, got none")
    if same := [name for name in labels if name in modalities]:
        raise ValueError(f"label_columns: expected names that no modality has, got {same[0]!r}")
    if not values and own_label is None:
        values = [name for name in (*LABEL_NAMES, "value", "y") if is_value(others.get(name), "float")][:1]
    if task == "regression" and not values:
        raise _missing("value_columns", "numbers", features)
    mask = mask or _find_signal(others, "image", _MASK_NAMES) if task == "segmentation" else None
    if task == "segmentation" and mask is None:
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


def _same(names: str | Iterable[str]) -> dict[str, str]:
    return {name: name for name in ((names,) if isinstance(names, str) else names)}


def check_column(features: Mapping[str, Any], column: str, *, argument: str) -> str:
    """The column's name in the table, where accents may be written otherwise."""
    found = [name for name in features if composed(name) == composed(column)]
    if not found:
        close = difflib.get_close_matches(column, features, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{argument}: expected one of the columns {', '.join(features)}, got {column!r}{hint}")
    return column if column in found else found[0]


def _datasets() -> Any:
    return import_extra("datasets", extra="data")


def is_value(feature: Any, *beginnings: str) -> bool:
    """Whether a column holds single values of a type whose name begins so, such as `int` or `float`."""
    return type(feature) is _datasets().Value and feature.dtype.startswith(beginnings)


def is_list(feature: Any) -> bool:
    """Whether a column holds lists."""
    return isinstance(feature, _datasets().List | _datasets().LargeList)


def is_of_classes(feature: Any) -> bool:
    """Whether a column holds numbers of classes whose names are known."""
    return isinstance(feature, _datasets().ClassLabel)


def media_types() -> dict[str, type]:
    """Kind of signal -> the type of its columns."""
    datasets = _datasets()
    return {"image": datasets.Image, "audio": datasets.Audio, "video": datasets.Video}


def media_kind(feature: Any) -> str | None:
    """The kind of a column of pictures, sounds or clips."""
    return next((kind for kind, media in media_types().items() if isinstance(feature, media)), None)


def undecoded(table: Any, features: Mapping[str, Any]) -> Any:
    """The table with pictures, sounds and clips as stored bytes or paths."""
    for name, feature in features.items():
        if kind := media_kind(feature):
            table = table.cast_column(name, media_types()[kind](decode=False))
    return table


def _found_modalities(features: Mapping[str, Any], targets: Collection[str | None]) -> dict[str, str]:
    """Modality, called by its kind, -> column, of those that are no targets."""
    free = {name: feature for name, feature in features.items() if name not in targets}
    found = {kind: _find_signal(free, kind, _USUAL_NAMES[kind]) for kind in ("image", "audio", "video")}
    if columns := {kind: column for kind, column in found.items() if column is not None}:
        return columns
    for name, feature in free.items():
        kind, (depth, leaf) = _kind_of(feature), _depth(feature)
        # A single list of whole numbers may as well be labels.
        if kind not in (None, "bytes") and (depth > 1 or is_value(leaf, "float")):
            return {kind: name}
    for name in _USUAL_NAMES["bytes"]:
        if _kind_of(free.get(name)) == "bytes":
            return {"bytes": name}
    expected = "{modality: column}, for example {'image': 'photo'}, because no column's type says what it is"
    raise ValueError(f"columns: expected {expected}; columns: {', '.join(features)}")


def _parsed(features: Mapping[str, Any], modality: str, text: str) -> tuple[str, str]:
    """Column and kind of what the user wrote for a modality: `column` or `column:kind`."""
    column, _, kind = text.rpartition(":")
    if column and kind in KINDS and text not in features:
        return check_column(features, column, argument="columns"), kind
    text = check_column(features, text, argument="columns")
    # A modality that is named like a kind is of this kind.
    found = modality if modality in KINDS else _kind_of(features[text])
    if found is None:
        expected = f"its kind, for example '{text}:series' (one of {', '.join(KINDS)})"
        raise ValueError(f"columns: expected {expected}, got {text!r} of type {features[text]}")
    return text, found


def _kind_of(feature: Any) -> str | None:
    """The kind of signal in a column, by its type."""
    if kind := media_kind(feature):
        return kind
    if isinstance(feature, Mapping) and {"array", "sampling_rate"} <= set(feature):
        return "audio"
    if is_value(feature, "string", "large_string", "binary", "large_binary"):
        return "bytes"
    depth, leaf = _depth(feature)
    if not is_value(leaf, "int", "uint", "float", "bool", "double"):
        return None
    if depth == 3:
        return "image" if is_value(leaf, "int", "uint") else "volume"
    return {1: "series", 2: "series", 4: "volume"}.get(depth)


def _depth(feature: Any) -> tuple[int, Any]:
    """How many dimensions a column's arrays have, and the type of their numbers."""
    for depth in range(2, 6):
        if isinstance(feature, getattr(_datasets(), f"Array{depth}D")):
            return depth, _datasets().Value(feature.dtype)
    if is_list(feature):
        depth, leaf = _depth(feature.feature)
        return depth + 1, leaf
    return 0, feature


def _find_label(features: Mapping[str, Any]) -> str | None:
    """The only column of the kind `ClassLabel`, or one of a usual name that holds classes."""
    found = [name for name, feature in features.items() if is_of_classes(feature)]
    if len(found) != 1:
        found = [name for name in LABEL_NAMES if name in features and _may_be_label(features[name])]
    return found[0] if found else None


def _may_be_label(feature: Any) -> bool:
    leaf = feature.feature if is_list(feature) else feature
    return is_of_classes(leaf) or is_value(leaf, "int", "uint", "string", "large_string", "bool")


def _find_signal(features: Mapping[str, Any], kind: str, usual: Sequence[str]) -> str | None:
    """The first column of a kind, or one of a usual name."""
    found = [name for name, feature in features.items() if _kind_of(feature) == kind and not is_list(feature)]
    found += [name for name in usual if name in features]
    return found[0] if found else None


def _missing(argument: str, what: str, features: Mapping[str, Any]) -> ValueError:
    return ValueError(f"{argument}: expected the name of a column of {what} among {', '.join(features)}")
