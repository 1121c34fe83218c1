"""Lists beside published sets, and names of files."""

import csv
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from hiperceiver.data.faults import faults_of, read_file
from hiperceiver.data.sources.kinds import ENDINGS
from hiperceiver.data.text import text_of

AUDIO_SUFFIXES = tuple(f".{ending}" for ending in ENDINGS["audio"])  # endings of files of sound alone
VIDEO_SUFFIXES = tuple(f".{ending}" for ending in ENDINGS["video"])  # endings of files of video, with or without sound


def read_lines(path: Path) -> list[str]:
    """The lines of a list, without blanks around them and without empty ones; at least one."""
    with faults_of(path):
        lines = map(str.strip, text_of(read_file(path)).splitlines())
        if found := [line for line in lines if line]:
            return found
        raise ValueError("has no line")


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with names in its first line; all of its columns, these among them."""
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


def file_stem(path: str) -> str:
    """The file's name without its ending.

    >>> file_stem("clips/-a_30.000.mp4")
    '-a_30.000'
    """
    return os.path.splitext(os.path.basename(path))[0]


def look_alike(names: Sequence[str]) -> list[str]:
    """Names that differ only in blanks, capitals, kinds of letters or zeros before a number, each pair in quotes.

    >>> look_alike(["b", "a", "b ", "01", "1", "10"])
    ["'b' and 'b '", "'01' and '1'"]
    """
    seen: dict[str, str] = {}
    pairs = []
    for name in names:
        key = "".join(unicodedata.normalize("NFKC", name).casefold().split())
        first = seen.setdefault(key.lstrip("0") or "0" if key.isdecimal() else key, name)
        if first != name:
            pairs.append(f"{first!r} and {name!r}")
    return pairs


def example_list(items: Sequence[str], most: int = 3) -> str:
    """The first few of many, for a message.

    >>> example_list(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
