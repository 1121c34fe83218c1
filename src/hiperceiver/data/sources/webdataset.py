"""WebDataset shards: tar files in which the files of one example lie side by side.

    FOLDER/train-000000.tar      0001.jpg 0001.cls 0002.jpg 0002.cls ...
    FOLDER/validation-000000.tar ...

Files of a shard whose names are the same up to the first dot are one example, wherever they stand; a file whose ending
the example has already begins another. Signals go by their endings, a class is in `cls`, and in `json` a `label`, a
list `labels`, and numbers. Headers are read once, examples where they lie.
"""

import json
import math
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hiperceiver import limits
from hiperceiver.data.faults import faults_of, open_file
from hiperceiver.data.leftovers import is_leftover
from hiperceiver.data.record import Computed, Table
from hiperceiver.data.sources.classes import Known, read_class_names, target_columns
from hiperceiver.data.sources.kinds import ENDINGS, KINDS, kind_of
from hiperceiver.data.sources.lists import example_list
from hiperceiver.data.sources.source import TARGETS, Source, SourceOptions, make_source
from hiperceiver.data.sources.tree import Tree, by_split
from hiperceiver.data.text import composed, text_of
from hiperceiver.settings.base import one_line
from hiperceiver.settings.data import WebDatasetSettings


@dataclass(frozen=True, slots=True)
class Sample:
    """Where the files of one example lie."""

    shard: str  # the tar file's path, relative to the folder
    key: str  # what their names have in common
    files: dict[str, tuple[int, int]]  # ending, in small letters -> offset and length in bytes

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.shard}/{self.key}"

    def read(self, root: Path, ending: str) -> bytes:
        """A file's bytes. The shard is opened for each, so that processes never share a position in it."""
        offset, length = self.files[ending]
        with faults_of(self.name), open_file(root / self.shard) as file:
            limits.FILE.check(length, "has")
            file.seek(offset)
            if len(content := file.read(length)) < length:
                raise ValueError("the shard is shorter than when it was opened")
            return content


def matches(tree: Tree) -> bool:
    """Whether a folder holds shards, in itself or one folder deeper."""
    return bool(tree.near((".tar",)))


def open_webdataset(tree: Tree, own: WebDatasetSettings, options: SourceOptions) -> Source:
    """Shards in a local folder."""
    options.check_task(tree.name, ("classification", "multilabel", "regression"))
    root, warnings = tree.root, [*tree.warnings(), *tree.too_deep((".tar",))]
    shards = tree.near((".tar",))
    packed = [path for path in tree.near(("",)) if path.endswith(".tgz") or ".tar." in path]
    if packed and shards:
        warnings.append(f"{len(packed)} packed shards are passed over, unpack them to .tar: {example_list(packed)}")
    if not shards:
        hint = f", only {packed[0]}, which must be unpacked to a .tar first" if packed else ""
        raise ValueError(f"{root}: expected shards (.tar), found none{hint}")
    samples: list[Sample] = []
    splits: list[int] = []
    again = num_bare = 0
    for split, paths in by_split(sorted(shards, key=lambda path: path.split("/")), "shards", warnings).items():
        for path in paths:
            found, fault, bare = read_shard(root, path)
            num_bare += bare
            samples += found
            again += len(found) - len({sample.key for sample in found})
            if fault:
                warnings.append(f"{path}: {fault}; {len(found)} examples of it are used")
        splits += [split] * (len(samples) - len(splits))
    if again:
        warnings.append(f"{again} keys stand again in their shard, with an ending that they had: other examples")
    if num_bare:
        why = "because their names have no ending or they are no plain files"
        warnings.append(f"{num_bare} files in shards are passed over, {why}")
    if not samples:
        why = f" ({warnings[-1]})" if warnings else ""
        raise ValueError(f"{root}: expected examples for training, found none{why}")
    train = samples[: splits.count(min(splits))]
    signals = _signals(root, Counter(ending for sample in train for ending in sample.files), own.columns)

    if unread := _unread(samples, signals):
        ending, _ = unread.most_common(1)[0]
        passed = f"{unread.total()} files in shards are passed over, for example *.{ending}"
        warnings.append(f"{passed}: a key ends at the first dot of a name, and no signal ends so")

    for modality, (_, endings) in signals.items():
        counts = [sum(ending in sample.files for ending in endings) for sample in samples]
        if more := sum(count - 1 for count in counts if count > 1):
            first = next(sample for sample, count in zip(samples, counts, strict=True) if count > 1)
            which = " and ".join(f"*.{ending}" for ending in endings if ending in first.files)
            warnings.append(f"{more} files are passed over, because {modality} has several ({which} of {first.name})")

    known = [_known(root, sample, own) for sample in samples]
    targets, names = target_columns(known)
    names["values"] = own.value_fields
    wanted = next(iter(TARGETS[options.task]), "label")
    if options.task != "none" and not names.get(wanted):
        expected = {
            "label": "a class (cls, or label in json)",
            "labels": "a list of classes (labels in json)",
            "values": "value_fields",
        }[wanted]
        fault = next((f" ({each.fault})" for each in known if each.fault), "")
        raise ValueError(f"{root}: for {options.task} expected {expected}, found none{fault}")
    return make_source(
        name=tree.name,
        table=Table(
            names=[sample.name for sample in samples],
            raws={
                modality: Computed(len(samples), partial(_content, root, samples, endings))
                for modality, (_, endings) in signals.items()
            },
            targets=targets,
            splits=np.array(splits, dtype=np.int8),
        ),
        encoders={modality: kind for modality, (kind, _) in signals.items()},
        options=options,
        classes=names.get(wanted, ()),
        class_names=read_class_names(root),
        warnings=warnings,
    )


def _unread(samples: Sequence[Sample], signals: Mapping[str, tuple[str, tuple[str, ...]]]) -> Counter[str]:
    """Endings of files that are neither signals nor labels, and how many there are of each."""
    read = {"cls", "json", *(ending for _, endings in signals.values() for ending in endings)}
    return Counter(ending for sample in samples for ending in sample.files if ending not in read)


def _content(root: Path, samples: Sequence[Sample], endings: Sequence[str], row: int) -> bytes | None:
    """The file of an example with the first of some endings that it has."""
    ending = next((ending for ending in endings if ending in samples[row].files), None)
    return None if ending is None else samples[row].read(root, ending)


def read_shard(root: Path, shard: str) -> tuple[list[Sample], str, int]:
    """The examples of a tar file before any damage, by its headers alone; what is wrong with it, or nothing.

    And how many files it has that are not plain or have no ending.
    """
    path = root / shard
    samples: list[Sample] = []
    last: dict[str, Sample] = {}  # key -> its example
    fault, num_bare = "", 0
    try:
        size = path.stat().st_size
        if size == 0:
            return [], "is empty (0 bytes)", 0
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # pyright: ignore[reportAttributeAccessIssue] - it would remember each
                if member.offset_data + member.size > size:
                    fault = "is truncated"
                    break
                if member.isfile() and not member.issparse():
                    num_bare += not _add(samples, last, shard, member)
                elif not member.isdir():  # a link, a device
                    num_bare += 1
            else:  # tarfile takes a damaged header for an end, too, which is blocks of zeros or that of the file
                file.seek(tar.offset)
                fault = "is damaged" if file.read(tarfile.BLOCKSIZE).strip(b"\0") else ""
    except OSError as error:
        fault = (error.strerror or "cannot be read").lower()
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        fault = "is truncated or damaged" if samples else f"is no tar file ({one_line(error)})"
    return samples[:-1] if fault else samples, fault, num_bare  # the one at the damage may lack files


def _add(samples: list[Sample], last: dict[str, Sample], shard: str, member: tarfile.TarInfo) -> bool:
    """Add a file to the example of its key, unless that has such a file: then, or if there is none, to a new one.

    False: its name has no ending. Leftovers are left out.
    """
    *folders, file = member.name.encode(errors="replace").decode().removeprefix("./").removeprefix("/").split("/")
    stem, dot, ending = file.partition(".")
    ending = ending.lower()
    if not stem or any(map(is_leftover, (*folders, file))):
        return True
    if not dot:
        return False
    name = "/".join((*folders, stem))
    key = composed(name)
    if key not in last or ending in last[key].files:
        last[key] = Sample(shard, name, {})
        samples.append(last[key])
    last[key].files[ending] = (member.offset_data, member.size)
    return True


def _signals(
    root: Path, counts: Counter[str], columns: Mapping[str, str] | None
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Modality -> its kind, and the endings of its files; an example's first is read."""
    if columns is not None:
        if not columns:
            raise ValueError("columns: expected at least one modality, got none")
        return {modality: _chosen(modality, text, counts) for modality, text in columns.items()}
    signals: dict[str, tuple[str, tuple[str, ...]]] = {}
    for kind in KINDS:
        own = {*ENDINGS.get(kind, ())} - {"cls", "json", *(["gif"] if kind == "image" else [])}
        if endings := tuple(ending for ending, _ in counts.most_common() if ending in own):
            signals[kind] = kind, endings
    if len(signals) > 1:
        signals.pop("bytes", None)
    if not signals:
        found = f"found *.{example_list([*counts], 5)}; a key ends at the first dot of a name"
        raise ValueError(f"{root}: expected files of a known kind in the shards, {found}")
    return signals


def _chosen(modality: str, text: str, counts: Mapping[str, int]) -> tuple[str, tuple[str, ...]]:
    """Kind and ending that the user wrote for a modality: `ending` or `ending:kind`."""
    ending, _, kind = text.partition(":")
    ending = ending.lower().lstrip(".")
    if ending not in counts:
        raise ValueError(f"columns: expected one of the endings {example_list([*counts], 9)}, got {ending!r}")
    if kind and kind not in KINDS:
        raise ValueError(f"columns: expected a kind among {', '.join(KINDS)}, got {kind!r}")
    found = kind or (modality if modality in KINDS else kind_of(f"x.{ending}"))
    if found is None:
        raise ValueError(f"columns: expected its kind, for example '{ending}:series', got {text!r}")
    return found, (ending,)


def _known(root: Path, sample: Sample, own: WebDatasetSettings) -> Known:
    """What an example's `cls` and `json` say."""
    label: Any = None
    values = None
    try:
        if "cls" in sample.files and own.label_field is None:
            label = text_of(sample.read(root, "cls")).strip() or None
        if "json" in sample.files:
            fields = json.loads(text_of(sample.read(root, "json")))
            if not isinstance(fields, dict):
                raise ValueError("expected an object {...} in its json")
            if own.label_field is not None:
                label = fields.get(own.label_field)
            elif label is None:
                label = fields.get("label", fields.get("labels"))
            if own.value_fields:
                values = tuple(_value(fields.get(name), name) for name in own.value_fields)
        if isinstance(label, list):
            return Known(labels=tuple(word for each in label if (word := _word(each))), values=values)
        return Known(label=None if label is None or label == -1 else _word(label) or None, values=values)
    except (ValueError, RecursionError) as error:
        reason = one_line(error).removeprefix(f"{sample.name}: ")
        return Known(fault=f"its label cannot be read: {reason}")


def _word(value: Any) -> str:
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(f"expected the name or number of a class, got {value!r:.40}")
    return composed(value.strip()) if isinstance(value, str) else str(int(value))


def _value(value: Any, name: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a number in {name!r}, got {value!r:.40}")
    return float(value)
