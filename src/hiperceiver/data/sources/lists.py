"""What the readers of published layouts share: lists, and files in folders of which only the names are read."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hiperceiver.data.encoders.arrays import faults_of, read_file
from hiperceiver.data.media import Media, MediaInfo, RawFile, media_info
from hiperceiver.data.record import Record
from hiperceiver.data.sources.kinds import ENDINGS

AUDIO_SUFFIXES = tuple(f".{ending}" for ending in ENDINGS["audio"])
"""Endings of files of sound alone."""
VIDEO_SUFFIXES = tuple(f".{ending}" for ending in ENDINGS["video"])
"""Endings of files of video, with or without sound."""


@contextlib.contextmanager
def _listing(folder: Path) -> Iterator[None]:
    """A folder that cannot be listed is a `ValueError` of one line."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{error.filename or folder}: {(error.strerror or 'cannot be read').lower()}") from error


def existing_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder.

    Raises:
        ValueError: there is none.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ValueError(f"{path}: {'is no folder' if path.exists() else 'no such folder'}")
    return path


def read_lines(path: Path) -> list[str]:
    """The lines of a list, without blanks around them and without empty ones.

    Raises:
        ValueError: it cannot be read, holds none, or is no text.
    """
    with faults_of(path):
        lines = read_file(path).decode("utf-8-sig").splitlines()
        found = [stripped for line in lines if (stripped := line.strip())]
        if not found:
            raise ValueError("has no line")
        return found


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with names in its first line; all of its columns.

    Args:
        path: of the file.
        columns: names that it must have.

    Raises:
        ValueError: it cannot be read, has no row or not these columns, or a row has another number of cells.
    """
    text = read_lines(path)
    with faults_of(path):
        lines = csv.reader(text, skipinitialspace=True)
        names = [name.strip() for name in next(lines)]
        if lacking := [column for column in columns if column not in names]:
            raise ValueError(f"expected the columns {', '.join(columns)}, got {', '.join(names)}; no {lacking[0]!r}")
        rows = []
        for cells in lines:
            if len(cells) != len(names):
                raise ValueError(f"line {lines.line_num}: expected {len(names)} cells, got {len(cells)}")
            rows.append(dict(zip(names, (cell.strip() for cell in cells), strict=True)))
        if not rows:
            raise ValueError("has no row")
        return rows


def folder_names(folder: Path) -> list[str]:
    """Names of the folders in a folder, in order, without hidden ones.

    Raises:
        ValueError: it cannot be listed.
    """
    with _listing(folder), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def file_names(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Names in a folder with one of these endings (small letters), in order, without hidden ones. No file is touched.

    Raises:
        ValueError: it cannot be listed.
    """
    with _listing(folder):
        return sorted(
            name for name in os.listdir(folder) if name.lower().endswith(suffixes) and not name.startswith(".")
        )


def files_below(folder: Path, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Paths relative to a folder of all files below it with one of these endings, in order.

    Links to folders are followed, each once.

    Raises:
        ValueError: a folder cannot be listed.
    """

    def fail(error: OSError) -> None:
        raise error

    seen = set()
    with _listing(folder):
        for place, inside, names in os.walk(folder, followlinks=True, onerror=fail):
            real = os.path.realpath(place)
            if real in seen:
                inside.clear()
                continue
            seen.add(real)
            inside[:] = sorted(name for name in inside if not name.startswith("."))
            relative = os.path.relpath(place, folder)
            for name in sorted(names):
                if name.lower().endswith(suffixes) and not name.startswith("."):
                    yield name if relative == "." else os.path.join(relative, name)


@dataclass(frozen=True, kw_only=True, eq=False)
class Files:
    """Files and a class number for each, as records. Millions of them take little memory.

    >>> files = Files(folder=Path("data"), paths=as_paths(["cat/1.jpg"]), labels=np.array([0]), modalities=("image",))
    >>> files[0].name, files[0].raws["image"], files[0].targets
    ('cat/1.jpg', 'data/cat/1.jpg', {'label': 0})
    """

    folder: Path
    """Where they lie."""
    paths: np.ndarray
    """Relative to the folder, of `as_paths`."""
    labels: np.ndarray
    """Class numbers int64 (files,), -1 = none."""
    modalities: tuple[str, ...]
    """What each of them holds. Several: the streams of a clip."""

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Record:
        path = self.paths[index]
        full = os.path.join(self.folder, os.fsdecode(path))
        raws = {self.modalities[0]: full}
        is_clip = not {"audio", "video"}.isdisjoint(self.modalities)
        return Record(
            name=path.decode("utf-8", errors="replace"),
            raws=Streams(dict.fromkeys(self.modalities, Media(full))) if is_clip else raws,
            targets={"label": int(self.labels[index])},
        )


class Streams(Mapping[str, Media]):
    """Modality (`audio` or `video`) -> the part of a media file that holds it.

    Of several, a file is asked whether it has sound or video when the first is looked up, and lacks the modality if
    not. One alone, or a file that cannot even be asked, is given as it is: the encoder says what is wrong with it.
    """

    def __init__(self, parts: Mapping[str, Media]) -> None:
        self.parts = parts
        self.infos: dict[RawFile, MediaInfo | None] = {}

    def __getitem__(self, modality: str) -> Media:
        part = self.parts[modality]
        if len(self.parts) == 1:
            return part
        if part.source not in self.infos:
            try:
                self.infos[part.source] = media_info(part.source)
            except ValueError:
                self.infos[part.source] = None
        info = self.infos[part.source]
        if info is not None and not (info.has_audio if modality == "audio" else info.has_video):
            raise KeyError(modality)
        return part

    def __iter__(self) -> Iterator[str]:
        return (modality for modality in self.parts if modality in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def file_stem(path: str) -> str:
    """The file's name without its ending.

    >>> file_stem("clips/-a_30.000.mp4")
    '-a_30.000'
    """
    return os.path.splitext(os.path.basename(path))[0]


def as_paths(paths: Sequence[str]) -> np.ndarray:
    """Paths as an array of bytes, (paths,): one block of memory, which processes that read share.

    >>> as_paths(["a", "bc"])
    array([b'a', b'bc'], dtype='|S2')
    """
    return np.array([os.fsencode(path) for path in paths], dtype=bytes)


def example_list(items: Sequence[str], most: int = 3) -> str:
    """The first few of many, for a message.

    >>> example_list(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
