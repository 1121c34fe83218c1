"""Kinetics (400, 600 or 700): clips of human actions with one label each.

    FOLDER/train.csv, val.csv, test.csv             lists; also in FOLDER/annotations, under any name that ends in .csv
    FOLDER/train/air drumming/-0-fa0zxdl0_000012_000022.mp4
    FOLDER/train/-0-fa0zxdl0_000012_000022.mp4      or without folders of classes

The lists have the columns `label`, `youtube_id`, `time_start`, `time_end` and `split`; of a test list `label` may be
empty or missing. The clips are found by their names, `ID_START_END` in seconds with six digits, in whatever folders
they lie. Where one lies in several, a folder named `replacement...` comes first, and then that of its split. Many clips
are no longer to be had: those that are not there are counted in one line for each split, and left out.

The list `test` is the test split where it has labels and clips; otherwise `validate` (`val`) is the test split, and
validation is taken out of training.

A clip is read as 16 frames of 224 x 224, evenly spread over it. `modalities=("video", "audio")` adds its sound: 10
seconds at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from hiperceiver.data.encoders.audio import AudioEncoder
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.video import VideoEncoder
from hiperceiver.data.sources.lists import (
    VIDEO_SUFFIXES,
    Files,
    as_paths,
    example_list,
    existing_folder,
    file_names,
    file_stem,
    files_below,
    read_table,
)
from hiperceiver.data.sources.source import Common, CommonOptions, Source, make_source

COLUMNS = ("youtube_id", "time_start", "time_end", "split")
"""What every list has; `label` beside them."""
SPLITS = {"train": "train", "validate": "validation", "val": "validation", "validation": "validation", "test": "test"}
"""Names of splits in the lists -> our names."""


def matches(folder: str | Path) -> bool:
    """Whether a folder looks like Kinetics.

    >>> matches("no/such/folder")
    False
    """
    try:
        return bool(_lists(Path(folder).expanduser()))
    except ValueError:
        return False


def open_kinetics(folder: str | Path, **common: Unpack[Common]) -> Source:
    """Kinetics. Tasks: `none`, `classification`.

    Args:
        folder: holds lists and clips; see above.
        **common: see `CommonOptions`.

    Raises:
        ValueError: the folder is not as described above, or an option does not fit; in one line.
    """
    options = CommonOptions(**common)
    options.check_task("kinetics", ("classification",))
    base = existing_folder(folder)
    lists = _lists(base)
    if not lists:
        raise ValueError(f"{base}: expected lists with the columns label, {', '.join(COLUMNS)}, found none")
    clips: dict[str, dict[str, str]] = {}
    for path in lists:
        for split, stem, label in _rows(path):
            clips.setdefault(split, {})[stem] = label
    classes = sorted({label for listed in clips.values() for label in listed.values() if label})
    number_of = {name: number for number, name in enumerate(classes)} | {"": -1}
    where = _places(base)
    warnings: list[str] = []
    found: dict[str, Files] = {}
    offered: dict[str, Encoder] = {"video": VideoEncoder(size=(224, 224), frames=16)}
    if options.modalities is not None and "audio" in options.modalities:
        offered["audio"] = AudioEncoder(rate=16000, seconds=10.0)
    for split, listed in clips.items():
        stems = [stem for stem in listed if stem in where]
        if lost := [stem for stem in listed if stem not in where]:
            warnings.append(f"{len(lost)} of {len(listed)} clips of {split} are not there: {example_list(lost)}")
        found[split] = Files(
            folder=base,
            paths=as_paths([_of_split(where[stem], split) for stem in stems]),
            labels=np.array([number_of[listed[stem]] for stem in stems], dtype=np.int64),
            modalities=tuple(options.modalities or offered),
        )
    if not any(len(files) for files in found.values()):
        raise ValueError(f"{base}: expected clips such as ID_000012_000022.mp4, found none of those in the lists")
    test = found.pop("test", None)
    if test is not None and (test.labels >= 0).any():
        found["test"] = test
    elif "validation" in found:
        found["test"] = found.pop("validation")
    return make_source(
        name=str(folder), records=found, encoders=offered, options=options, classes=classes, warnings=warnings
    )


def _lists(base: Path) -> list[Path]:
    """The CSV files whose first line has the names of our columns."""
    places = [place for place in (base, base / "annotations") if place.is_dir()]
    return [path for place in places for name in file_names(place, (".csv",)) if _is_list(path := place / name)]


def _is_list(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline(1000)
    except (OSError, UnicodeDecodeError):
        return False
    return {"youtube_id", "time_start"} <= {name.strip().strip('"') for name in first.split(",")}


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Split, name of the clip's file without ending, and label of each row of a list; the label may be empty."""
    for number, row in enumerate(read_table(path, COLUMNS), 2):
        split, label = SPLITS.get(row["split"].lower()), row.get("label", "")
        if split is None:
            raise ValueError(f"{path}: line {number}: expected a split among {', '.join(SPLITS)}, got {row['split']!r}")
        if not label and split != "test":
            raise ValueError(f"{path}: line {number}: expected a label, found none")
        try:
            start, end = (int(float(row[name])) for name in ("time_start", "time_end"))
        except (ValueError, OverflowError):
            times = f"{row['time_start']!r} and {row['time_end']!r}"
            raise ValueError(f"{path}: line {number}: expected seconds as times, got {times}") from None
        yield split, f"{row['youtube_id']}_{start:06}_{end:06}", label


def _places(base: Path) -> dict[str, list[str]]:
    """Name of each clip without ending -> its paths relative to the folder."""
    where: dict[str, list[str]] = {}
    for path in files_below(base, VIDEO_SUFFIXES):
        where.setdefault(file_stem(path), []).append(path)
    return where


def _of_split(paths: Sequence[str], split: str) -> str:
    """Which of several files of a clip is read: a replacement, then one in its split's folder, then the first."""

    def rank(path: str) -> tuple[bool, bool]:
        folders = Path(path).parts[:-1]
        is_replacement = any(name.startswith("replacement") for name in folders)
        return not is_replacement, not any(SPLITS.get(name) == split for name in folders)

    return min(paths, key=rank)
