"""WebDataset shards: tar files in which the files of one example lie side by side.

    FOLDER/train-000000.tar      0001.jpg 0001.cls 0002.jpg 0002.cls ...
    FOLDER/validation-000000.tar ...

Files whose names are the same up to the first dot are one example. The rest of the name says what a file is: `jpg`,
`png`, `flac`, `wav`, `mp4`, `npy`, `ply`, ... are signals of a kind (see `kinds`), and give the modality its name;
`txt` is one if there is no other. `cls` is a class, by number or name. `json` may hold a field `label` (a class),
`labels` (a list of classes) and numbers.

Shards are plain local files. Their headers are read once, when the folder is opened; examples are then read where they
lie, in any order. Splits are told by a word in a shard's name or by its folder: `train-0000.tar`, `imagenet-val-0.tar`,
`test/0000.tar`; without any, all shards are `train` and the other splits are taken out of it.
"""

from __future__ import annotations

import json
import math
import re
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack, get_args

import numpy as np

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.record import Record
from hiperceiver.data.sources.classes import number_classes, read_class_names
from hiperceiver.data.sources.folder import SPLIT_NAMES, is_hidden
from hiperceiver.data.sources.kinds import ENDINGS, LOOKED_AT, OTHER_ENDINGS, Kind, ending_of, offered_encoders
from hiperceiver.data.sources.source import SPLITS, Common, CommonOptions, Source, make_source

_LABEL_ENDINGS = ("cls", "json")


@dataclass(frozen=True, slots=True)
class Sample:
    """Where the files of one example lie."""

    shard: str
    """The tar file's path, relative to the folder."""
    key: str
    """What their names have in common."""
    files: dict[str, tuple[int, int]]
    """Ending of the name, in small letters -> offset and length in bytes."""


def matches(folder: Path) -> bool:
    """Whether a folder holds shards, in itself or one folder deeper."""
    return any(path.is_file() for pattern in ("*.tar", "*/*.tar") for path in folder.glob(pattern))


def open_webdataset(
    folder: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    label_field: str | None = None,
    value_fields: Sequence[str] = (),
    classes: Sequence[str] | None = None,
    **common: Unpack[Common],
) -> Source:
    """Shards in a local folder; see the module.

    Args:
        folder: where they lie.
        columns: modality -> ending of the names of its files, or `ending:kind`, such as `{"left": "left.png"}`. A
            modality that is named like a kind is of this kind. By default one modality for each kind of signal.
        label_field: of `json`: a class or a list of classes. By default `cls`; without such files `label`, or `labels`.
        value_fields: of `json`: numbers, for regression.
        classes: names of the classes in their order, for example a trained model's. By default those of the file
            `classes.txt`, or of the data.
        **common: see `CommonOptions`.

    Raises:
        ValueError: there are no shards that can be read, or they have not what the task needs.
    """
    options = CommonOptions(**common)
    name, root = str(folder), Path(folder).expanduser()
    options.check_task(name, ("classification", "multilabel", "regression"))
    if not root.is_dir():
        raise ValueError(f"{root}: {'expected a folder, got a file' if root.exists() else 'no such folder'}")
    warnings: list[str] = []
    splits = {split: _samples(root, shards, warnings) for split, shards in _shards(root, warnings).items()}
    splits = {split: samples for split, samples in splits.items() if samples}
    if "train" not in splits:
        raise ValueError(
            f"{root}: expected examples for training, found none{f' ({warnings[-1]})' if warnings else ''}"
        )
    signals = _signals(root, splits["train"], columns)
    labels = {
        split: [_read_labels(root, each, label_field, value_fields) for each in splits[split]] for split in splits
    }
    records, names = _records(root, splits, signals, labels, options, classes, value_fields)
    train = EncodedRecords(records=records["train"], encoders={})
    return make_source(
        name=name,
        records=records,
        encoders=offered_encoders(
            name,
            {modality: signal.kind for modality, signal in signals.items()},
            lambda modality: train.raws(modality, LOOKED_AT),
            options,
        ),
        options=options,
        classes=names,
        warnings=warnings,
    )


def read_shard(path: Path) -> tuple[list[Sample], str]:
    """The examples of a tar file by its headers alone, and what is wrong with it; an empty string if nothing is.

    Those before a damage are given; the one at the damage may lack files and is left out.
    """
    size = path.stat().st_size
    if size == 0:
        return [], "is empty (0 bytes)"
    samples: list[Sample] = []
    fault = ""
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # pyright: ignore[reportAttributeAccessIssue] - it would remember each
                if member.offset_data + member.size > size:
                    fault = "is truncated"
                    break
                if member.isfile() and not member.issparse():
                    _add(samples, path.name, member)
            else:
                fault = _fault_at_the_end(path, tar.offset)
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, UnicodeError) as error:
        fault = "is truncated or damaged" if samples else f"is no tar file ({' '.join(str(error).split())})"
    if fault and samples:
        samples.pop()
    return samples, fault


@dataclass(frozen=True, kw_only=True)
class _Signal:
    """What a modality is read from."""

    kind: str
    """Of its encoder."""
    endings: tuple[str, ...]
    """Of its files; the first that an example has is taken."""


@dataclass(frozen=True, kw_only=True)
class _Labels:
    """What an example's `cls` and `json` say."""

    label: str | None = None
    """Its class."""
    labels: tuple[str, ...] | None = None
    """Its classes."""
    values: tuple[float, ...] | None = None
    """Its numbers; NaN where one is missing."""
    fault: str = ""
    """Why they cannot be read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardRecords:
    """Examples in shards, read where they lie."""

    root: Path
    """The folder of the shards."""
    samples: Sequence[Sample]
    """Where they lie."""
    signals: Mapping[str, _Signal]
    """Modality -> what it is read from."""
    targets: Sequence[Mapping[str, Any] | str]
    """What is known of each; or why it cannot be used, in one line."""
    labels: np.ndarray | None = field(default=None)
    """The class number of each, -1 = none; None if there are none."""

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Record:
        sample, targets = self.samples[index], self.targets[index]
        name = f"{sample.shard}/{sample.key}"
        if isinstance(targets, str):
            raise ValueError(f"{name}: {targets}")
        raws: dict[str, Any] = {}
        for modality, signal in self.signals.items():
            ending = next((ending for ending in signal.endings if ending in sample.files), None)
            if ending is not None:
                raws[modality] = _read(self.root, sample, ending)
        return Record(name=name, raws=raws, targets=targets)


def _shards(root: Path, warnings: list[str]) -> dict[str, list[Path]]:
    """Our name of each split -> its tar files."""
    found = sorted(path for pattern in ("*.tar", "*/*.tar") for path in root.glob(pattern))
    found = [path for path in found if not is_hidden(path.name) and path.is_file()]
    if not found:
        packed = [path.name for pattern in ("*.tar.*", "*.tgz") for path in root.glob(pattern)]
        hint = f", only {packed[0]}, which must be unpacked to a .tar first" if packed else ""
        raise ValueError(f"{root}: expected shards (.tar), found none{hint}")
    splits: dict[str, list[Path]] = {}
    others: list[Path] = []
    for path in found:
        words = re.split(r"[^a-z]+", path.relative_to(root).as_posix().lower())
        split = next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)
        (others if split is None else splits.setdefault(split, [])).append(path)
    if not splits:
        return {"train": others}
    if "train" not in splits:
        splits["train"] = others
    elif others:
        warnings.append(f"{len(others)} shards of no split are left out, for example {others[0].name}")
    return {split: splits[split] for split in SPLITS if split in splits}


def _samples(root: Path, shards: Sequence[Path], warnings: list[str]) -> list[Sample]:
    """The examples of some shards; one that is damaged gives those before the damage and a warning."""
    samples: list[Sample] = []
    for path in shards:
        shard = path.relative_to(root).as_posix()
        try:
            found, fault = read_shard(path)
        except OSError as error:
            found, fault = [], (error.strerror or "cannot be read").lower()
        samples += [Sample(shard, sample.key, sample.files) for sample in found]
        if fault:
            warnings.append(f"{shard}: {fault}; {len(found)} examples of it are used")
    return samples


def _add(samples: list[Sample], shard: str, member: tarfile.TarInfo) -> None:
    """Put a file to the example that it belongs to, which is the last one or a new one."""
    place, _, file = member.name.encode(errors="replace").decode().rpartition("/")
    stem, dot, ending = file.partition(".")
    if not dot or not stem or is_hidden(file):
        return
    key = f"{place}/{stem}".removeprefix("./").removeprefix("/")
    if not samples or samples[-1].key != key:
        samples.append(Sample(shard, key, {}))
    samples[-1].files.setdefault(ending.lower(), (member.offset_data, member.size))


def _fault_at_the_end(path: Path, offset: int) -> str:
    """An archive ends with blocks of zeros or with its file; tarfile takes a damaged header for an end, too."""
    with path.open("rb") as file:
        file.seek(offset)
        return "is damaged" if file.read(tarfile.BLOCKSIZE).strip(b"\0") else ""


def _signals(root: Path, samples: Sequence[Sample], columns: Mapping[str, str] | None) -> dict[str, _Signal]:
    """Modality -> what it is read from."""
    counts = Counter(ending for sample in samples for ending in sample.files)
    if columns is not None:
        if not columns:
            raise ValueError("columns: expected at least one modality, got none")
        return {modality: _asked(modality, text, counts) for modality, text in columns.items()}
    by_kind = {
        kind: tuple(ending for ending, _ in counts.most_common() if ending in ENDINGS.get(kind, ()))
        for kind in get_args(Kind)
    }
    by_kind["image"] = tuple(ending for ending in by_kind["image"] if ending != "gif")
    by_kind["bytes"] = tuple(ending for ending in by_kind["bytes"] if ending not in _LABEL_ENDINGS)
    if any(endings for kind, endings in by_kind.items() if kind != "bytes"):
        by_kind["bytes"] = ()
    signals = {kind: _Signal(kind=kind, endings=endings) for kind, endings in by_kind.items() if endings}
    if not signals:
        raise ValueError(f"{root}: expected files of a known kind in the shards, found {', '.join(counts) or 'none'}")
    return signals


def _asked(modality: str, text: str, counts: Mapping[str, int]) -> _Signal:
    """What the user wrote for a modality: `ending` or `ending:kind`."""
    ending, _, kind = text.partition(":")
    ending = ending.lower().lstrip(".")
    if ending not in counts:
        raise ValueError(f"columns: expected one of the endings {', '.join(counts)}, got {ending!r}")
    if kind and kind not in get_args(Kind):
        raise ValueError(f"columns: expected a kind among {', '.join(get_args(Kind))}, got {kind!r}")
    tables = [*ENDINGS.items(), *OTHER_ENDINGS.items()]
    told = (
        modality
        if modality in get_args(Kind)
        else next((k for k, known in tables if ending_of(f"x.{ending}") in known), "")
    )
    if not (kind or told):
        raise ValueError(f"columns: expected its kind, for example '{ending}:series', got {text!r}")
    return _Signal(kind=kind or told, endings=(ending,))


def _read(root: Path, sample: Sample, ending: str) -> bytes:
    """A file's bytes. The shard is opened for each, so that processes never share a place in it."""
    offset, length = sample.files[ending]
    name = f"{sample.shard}/{sample.key}"
    try:
        with (root / sample.shard).open("rb") as file:
            file.seek(offset)
            content = file.read(length)
    except OSError as error:
        raise ValueError(f"{name}: {(error.strerror or 'cannot be read').lower()}") from error
    if len(content) < length:
        raise ValueError(f"{name}: the shard is shorter than when it was opened")
    return content


def _read_labels(root: Path, sample: Sample, label_field: str | None, value_fields: Sequence[str]) -> _Labels:
    """What an example's `cls` and `json` say."""
    label: Any = None
    values = None
    try:
        if "cls" in sample.files and label_field is None:
            label = _read(root, sample, "cls").decode().strip() or None
        if "json" in sample.files:
            fields = json.loads(_read(root, sample, "json"))
            if not isinstance(fields, dict):
                raise ValueError("expected an object {...} in its json")
            if label_field is not None:
                label = fields.get(label_field)
            elif label is None:
                label = fields.get("label", fields.get("labels"))
            if value_fields:
                values = tuple(_value(fields.get(name), name) for name in value_fields)
        if isinstance(label, list):
            return _Labels(labels=tuple(_word(each) for each in label), values=values)
        return _Labels(label=None if label is None or label == -1 else _word(label), values=values)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()).removeprefix(f"{sample.shard}/{sample.key}: ")
        return _Labels(fault=f"its label cannot be read: {reason}")


def _word(value: Any) -> str:
    if not isinstance(value, str | int):
        raise ValueError(f"expected the name or number of a class, got {value!r:.40}")
    return str(int(value)) if isinstance(value, bool) else str(value)


def _value(value: Any, name: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a number in {name!r}, got {value!r:.40}")
    return float(value)


def _records(
    root: Path,
    splits: Mapping[str, list[Sample]],
    signals: Mapping[str, _Signal],
    found: Mapping[str, list[_Labels]],
    options: CommonOptions,
    classes: Sequence[str] | None,
    value_fields: Sequence[str],
) -> tuple[dict[str, ShardRecords], tuple[str, ...]]:
    """Records with all targets that are known, by split; and the names of the task's classes."""
    task, everything = options.task, [each for labels in found.values() for each in labels]
    are_single = any(each.label is not None for each in everything)
    are_several = any(each.labels is not None for each in everything)
    for wanted, is_there, what in [
        ("classification", are_single, "a class (cls, or label in json)"),
        ("multilabel", are_several, "a list of classes (labels in json)"),
        ("regression", bool(value_fields), "value_fields"),
    ]:
        if task == wanted and not is_there:
            fault = next((f" ({each.fault})" for each in everything if each.fault), "")
            raise ValueError(f"{root}: for {task} expected {what}, found none{fault}")
    given = (classes or read_class_names(root)) if task in ("classification", "multilabel") else None
    single, number = number_classes(
        (each.label for each in everything), given if task == "classification" else None, source=str(root)
    )
    several, numbers = number_classes(
        (word for each in everything for word in each.labels or ()),
        given if task == "multilabel" else None,
        source=str(root),
    )

    def targets(labels: _Labels) -> dict[str, Any] | str:
        if labels.fault:
            return labels.fault
        known: dict[str, Any] = {}
        if are_single:
            known["label"] = -1 if labels.label is None else number[labels.label]
        if labels.labels is not None:
            known["labels"] = [numbers[word] for word in labels.labels]
        if labels.values is not None:
            known["values"] = labels.values
        return known

    records: dict[str, ShardRecords] = {}
    for split, samples in splits.items():
        known = [targets(labels) for labels in found[split]]
        # An example whose label is broken is not left out in silence: it counts as one of the first class, and is bad.
        label_numbers = [0 if isinstance(each, str) else each.get("label", 0) for each in known]
        records[split] = ShardRecords(
            root=root,
            samples=samples,
            signals=signals,
            targets=known,
            labels=np.array(label_numbers, dtype=np.int64) if are_single else None,
        )
    names = {"classification": single, "multilabel": several, "regression": tuple(value_fields)}.get(task, ())
    return records, names
