"""What baselines know and how their answers are scored: by the metrics of the task, under the names that it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hiperceiver.data.encoded import EncodedRecords

if TYPE_CHECKING:
    from hiperceiver.data.sources.source import Source

TARGETS: dict[str, tuple[str, ...]] = {"classification": ("label",), "regression": ("values",)}
"""The targets of a task; for `joint` the source's labels."""


class Known(NamedTuple):
    """A split, read whole."""

    features: list[np.ndarray]  # of each example
    targets: dict[str, np.ndarray]  # by name: class numbers int64 (examples,), or numbers float64 (examples, R)


def known(source: Source, split: str, modality: str, features: Callable[[np.ndarray], np.ndarray]) -> Known:
    """A split's targets, and features of its values as the modality's encoder decodes them.

    Examples that cannot be read or have no target are left out.
    """
    if source.task not in (*TARGETS, "joint"):
        raise ValueError(f"source: expected the task {', '.join(TARGETS)} or joint, got {source.task}")
    if modality not in source.encoders:
        raise ValueError(f"modality: expected one of {', '.join(source.encoders)}, got {modality!r}")
    dataset = source.splits.get(split)
    if not isinstance(dataset, EncodedRecords):
        raise ValueError(f"source: expected a split {split!r} of records, got {', '.join(source.splits)}")
    names = TARGETS.get(source.task, tuple(source.labels))
    seen: list[np.ndarray] = []
    rows: list[list[np.ndarray]] = []
    for index in range(len(dataset)):
        try:
            record = dataset.records[index]
            value = dataset.encoders[modality].decode(record.raws[modality])
            row = [_target(record.targets[name], is_number=_is_number(source, name)) for name in names]
        except (ValueError, KeyError):  # bad examples are named where they are read for the model
            continue
        if not any(np.isnan(each).any() if each.dtype.kind == "f" else each < 0 for each in row):
            seen.append(features(value))
            rows.append(row)
    if not seen:
        raise ValueError(f"source: expected examples for {split} that can be read, got none")
    columns = map(np.stack, zip(*rows, strict=True))
    return Known(features=seen, targets=dict(zip(names, columns, strict=True)))


def judged(source: Source, answers: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The metrics of answers, both by target as `Known.targets`, by the names of the task's own metrics.

    >>> from hiperceiver.data.sources.source import Source
    >>> source = Source(name="made", task="classification", encoders={}, splits={}, classes=("a", "b"))
    >>> judged(source, {"label": np.array([0, 0, 0, 1])}, {"label": np.array([0, 0, 1, 1])})
    {'accuracy': 0.75, 'balanced_accuracy': 0.75}
    """
    if source.task == "classification":
        right, label = answers["label"] == targets["label"], targets["label"]
        shares = [right[label == number].mean() for number in np.unique(label)]
        return {"accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(shares))}
    if source.task == "regression":
        return _errors(answers["values"], targets["values"])
    metrics: dict[str, float] = {}
    scores = []
    for name in source.labels:
        if _is_number(source, name):
            errors = _errors(answers[name], targets[name])
            metrics |= {f"{name}_mae": errors["mae"], f"{name}_r2": errors["r2"]}
            scores.append(max(0.0, errors["r2"]))
        else:
            scores.append(float((answers[name] == targets[name]).mean()))
            metrics[f"{name}_accuracy"] = scores[-1]
    return {"score": float(np.mean(scores)), **metrics}


def _errors(answers: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Means over the values (the last axis)."""
    error, spread = answers - targets, ((targets - targets.mean(0)) ** 2).sum(0)
    explained = 1 - np.divide((error**2).sum(0), spread, out=np.full(len(spread), np.nan), where=spread > 0)
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean(0)).mean()),
        "r2": float(np.nanmean(explained)) if (spread > 0).any() else float("nan"),
    }


def _is_number(source: Source, name: str) -> bool:
    return name == "values" if source.task == "regression" else source.task == "joint" and not source.labels[name]


def _target(value: object, *, is_number: bool) -> np.ndarray:
    return np.asarray(value, dtype=np.float64).reshape(-1) if is_number else np.asarray(value, dtype=np.int64)
