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

import json
import math
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hiperceiver.data.record import Column, Table
from hiperceiver.data.sources.classes import Labels, number_classes, read_class_names
from hiperceiver.data.sources.kinds import ENDINGS, KINDS, OTHER_ENDINGS, ending_of
from hiperceiver.data.sources.source import Source, SourceOptions, make_source
from hiperceiver.data.sources.tree import Tree, by_split, is_leftover, joined
from hiperceiver.settings.data import SourceTask, WebDatasetSettings

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


def matches(tree: Tree) -> bool:
    """Whether a folder holds shards, in itself or one folder deeper."""
    return bool(_shard_paths(tree))


def open_webdataset(tree: Tree, own: WebDatasetSettings, options: SourceOptions) -> Source:
    """Shards in a local folder; see the module. Tasks: `none`, `classification`, `multilabel`, `regression`.

    Raises:
        ValueError: there are no shards that can be read, or they have not what the task needs.
    """
    root = tree.root
    options.check_task(tree.name, ("classification", "multilabel", "regression"))
    warnings = tree.warnings()
    samples: list[Sample] = []
    splits: list[int] = []
    for split, shards in _shards(tree, warnings).items():
        samples += _samples(root, shards, warnings)
        splits += [split] * (len(samples) - len(splits))
    if not samples:
        why = f" ({warnings[-1]})" if warnings else ""
        raise ValueError(f"{root}: expected examples for training, found none{why}")
    train = [sample for sample, split in zip(samples, splits, strict=True) if split == min(splits)]
    signals = _signals(root, train, own.columns)
    targets, names = _targets(root, samples, own, options.task)
    return make_source(
        name=tree.name,
        table=Table(
            names=[f"{sample.shard}/{sample.key}" for sample in samples],
            raws={modality: _Members(root, samples, signal.endings) for modality, signal in signals.items()},
            targets=targets,
            splits=np.array(splits, dtype=np.int8),
        ),
        encoders={modality: signal.kind for modality, signal in signals.items()},
        options=options,
        classes=names,
        class_names=read_class_names(root) or (),
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


class _Members:
    """Files in shards as a column, read where they lie."""

    def __init__(self, root: Path, samples: Sequence[Sample], endings: Sequence[str]) -> None:
        """Args: the shards' folder; the examples; endings of the files, of which an example's first is taken."""
        self.root = root
        self.samples = samples
        self.endings = endings

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, row: int) -> bytes | None:
        sample = self.samples[row]
        ending = next((ending for ending in self.endings if ending in sample.files), None)
        return None if ending is None else _read(self.root, sample, ending)


def _shard_paths(tree: Tree) -> list[str]:
    folders = ("", *tree.folders[""])
    found = [joined(folder, name) for folder in folders for name in tree.inside(folder, (".tar",))]
    return sorted(found, key=lambda path: path.split("/"))


def _shards(tree: Tree, warnings: list[str]) -> dict[int, list[str]]:
    """Number of each split -> its tar files."""
    found = _shard_paths(tree)
    if not found:
        packed = [path for path in tree.inside() if path.endswith(".tgz") or ".tar." in path]
        hint = f", only {packed[0]}, which must be unpacked to a .tar first" if packed else ""
        raise ValueError(f"{tree.root}: expected shards (.tar), found none{hint}")
    splits, others = by_split(found)
    if others:
        warnings.append(f"{len(others)} shards of no split are left out, for example {others[0]}")
    return splits


def _samples(root: Path, shards: Sequence[str], warnings: list[str]) -> list[Sample]:
    """The examples of some shards; one that is damaged gives those before the damage and a warning."""
    samples: list[Sample] = []
    for shard in shards:
        try:
            found, fault = read_shard(root / shard)
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
    if not dot or not stem or is_leftover(file):
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
        kind: tuple(ending for ending, _ in counts.most_common() if ending in ENDINGS.get(kind, ())) for kind in KINDS
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
    if kind and kind not in KINDS:
        raise ValueError(f"columns: expected a kind among {', '.join(KINDS)}, got {kind!r}")
    tables = [*ENDINGS.items(), *OTHER_ENDINGS.items()]
    told = modality if modality in KINDS else next((k for k, known in tables if ending_of(f"x.{ending}") in known), "")
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


def _targets(
    root: Path, samples: Sequence[Sample], own: WebDatasetSettings, task: SourceTask
) -> tuple[dict[str, Column], Sequence[str]]:
    """All targets that are known; and the names of the task's classes."""
    known = [_read_labels(root, sample, own.label_field, own.value_fields) for sample in samples]
    faults = {row: each.fault for row, each in enumerate(known) if each.fault}
    are_single = any(each.label is not None for each in known)
    are_several = any(each.labels is not None for each in known)
    for wanted, is_there, what in [
        ("classification", are_single, "a class (cls, or label in json)"),
        ("multilabel", are_several, "a list of classes (labels in json)"),
        ("regression", bool(own.value_fields), "value_fields"),
    ]:
        if task == wanted and not is_there:
            fault = f" ({next(iter(faults.values()))})" if faults else ""
            raise ValueError(f"{root}: for {task} expected {what}, found none{fault}")
    single, number = number_classes(each.label for each in known)
    several, numbers = number_classes(word for each in known for word in each.labels or ())
    targets: dict[str, Column] = {}
    if are_single:
        # An example whose label is broken is not left out in silence: it counts as one of the first class, and is bad.
        numbered = [0 if each.fault else -1 if each.label is None else number[each.label] for each in known]
        targets["label"] = Labels(numbered, faults)
    if are_several:
        lists = [None if each.labels is None else [numbers[word] for word in each.labels] for each in known]
        targets["labels"] = lists
    if own.value_fields:
        targets["values"] = [each.values for each in known]
    return targets, {"classification": single, "multilabel": several, "regression": own.value_fields}.get(task, ())
