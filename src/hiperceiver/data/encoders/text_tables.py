"""Tables of numbers as text: what parts their cells, whether they have names, and which columns are no data."""

import contextlib
import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from hiperceiver.data.text import composed

_MISSING = {"", "na", "n/a", "null"}
UNNAMED = re.compile(r"(unnamed: [\d.]+)?", re.IGNORECASE)
"""Names of columns without a name: pandas names one so when it reads it again."""
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_WITH_POINTS = "write numbers with decimal points"
_LEAST_MORE = 2  # rows after the first by which it is told whether whole numbers above them are names
_DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas", None: "blanks"}


class TextTable(NamedTuple):
    """A table of numbers."""

    names: tuple[str, ...]  # of its columns; none without a line of names
    numbers: np.ndarray  # float64 (rows, columns)


def read_text_table(text: str, columns: Sequence[str] = ()) -> TextTable:
    r"""A table with or without a line of names; its cells are parted by tabs, semicolons, commas or blanks.

    It is the first of these that is in the first line. Empty cells and NA are NaN; lines that start with # are left
    out. Names may be whole numbers at equal distances, such as 0, 1 or 2020, 2021, over cells that all have decimal
    points. Left out are a first column without a name whose whole numbers are all different, which names the rows (as
    pandas and R write it), and an empty last one. Where there are texts in other columns, such as dates, `columns` that
    are there are read alone.

    >>> read_text_table("time;level\n0;1.5\n1;NA\n")
    TextTable(names=('time', 'level'), numbers=array([[0. , 1.5],
           [1. , nan]]))
    >>> read_text_table(",level\n7,1.5\n3,2.5\n")
    TextTable(names=('level',), numbers=array([[1.5],
           [2.5]]))
    """
    numbered = enumerate(text.splitlines(), 1)
    lines = {number: line for number, line in numbered if line.strip() and not line.lstrip().startswith("#")}
    first = next(iter(lines.values()), "")
    delimiter = next((each for each in "\t;," if each in first), None)
    rows = ([cell.strip() for cell in cells] for cells in _cells(lines.values(), delimiter))
    names, row = next(rows, []), next(rows, [])
    has_names = bool(first) and (None in map(_number, names) or _count_columns(names, row, rows))
    if len(lines) == has_names:
        raise ValueError("has no line of numbers")
    if has_names:
        is_quoted = [*lines.values()][1].lstrip().startswith('"')
        names = [composed(name) for name in _matched(names, row, delimiter, [*lines][:2], is_quoted=is_quoted)]
    try:
        numbers = _numbers_of(lines, delimiter, has_names=has_names)
    except ValueError:
        wanted = [composed(name) for name in columns]
        if not wanted or not has_names or any(names.count(name) != 1 for name in wanted):
            raise
        kept = [names.index(name) for name in wanted]
        return TextTable(tuple(wanted), _numbers_of(lines, delimiter, has_names=True, kept=kept))
    rests = [line.rstrip(" ") for line in lines.values()][has_names:]
    if delimiter and (not has_names or not names[-1]) and all(line.endswith(delimiter) for line in rests):
        numbers, names = numbers[:, :-1], names[:-1]
    if not has_names:
        if delimiter == ",":
            _check_decimal_points(lines, numbers)
        return TextTable((), numbers)
    while len(names) > 1 and UNNAMED.fullmatch(names[0]) and _names_rows(numbers[:, 0]):
        numbers, names = numbers[:, 1:], names[1:]
    return TextTable(tuple(names), numbers)


def columns_in_words(text: str) -> str:
    r"""What the columns of a table were taken for.

    >>> columns_in_words("t,x\n0,1\n"), columns_in_words("0,1\n2,3\n")
    ('columns t, x', "columns without names, the first line is '0,1'")
    """
    names = read_text_table(text).names
    if any(names):
        return f"columns {', '.join(name or 'without a name' for name in names)}"
    first = next(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return f"columns without names, the first line is {first.strip()[:40]!r}"


def _matched(
    names: list[str], row: Sequence[str], delimiter: str | None, numbers: Sequence[int], *, is_quoted: bool
) -> list[str]:
    """Names for each cell of a row, by whose line numbers a fault is told; `is_quoted`: the row begins with a quote."""
    if len(names) == len(row):
        return names
    if len(names) == len(row) - 1:
        if delimiter and not row[-1]:
            return [*names, ""]
        # As R writes names of rows; with commas alone these may be decimal ones.
        if row[0].isdecimal() and (delimiter != "," or is_quoted or any("." in cell for cell in row[1:])):
            return ["", *names]
    if delimiter is None:
        return [""] * len(row)  # they may have blanks in them
    found = f"got {len(names)}: are there decimal commas? {_WITH_POINTS}" if delimiter == "," else f"got {len(names)}"
    raise ValueError(f"line {numbers[0]}: expected {len(row)} names, one for each cell of line {numbers[1]}, {found}")


def _count_columns(names: Sequence[str], row: Sequence[str], more: Iterable[Sequence[str]]) -> bool:
    """Whether cells are 0, 1, ..., perhaps behind an empty one, over a row of numbers with decimal points.

    Or other whole numbers at equal distances over nothing but such rows, three at least.
    """
    first = 0 if names[0] else 1
    counted = names[first:]
    if len(row) != len(names) or not counted or not all(name.isdecimal() for name in counted):
        return False
    if not all("." in cell for cell in row[first:]):
        return False
    if counted == [str(number) for number in range(len(counted))]:
        return True
    steps = {int(b) - int(a) for a, b in pairwise(counted)}
    have_points = [all("." in cell for cell in cells[first:]) for cells in more]
    return len(steps) == 1 and min(steps) > 0 and len(have_points) >= _LEAST_MORE and all(have_points)


def _names_rows(column: np.ndarray) -> bool:
    """Whether these are whole numbers that are all different."""
    return bool((column == np.floor(column)).all()) and len(np.unique(column)) == len(column)


def _check_decimal_points(lines: dict[int, str], numbers: np.ndarray) -> None:
    """Refuse numbers with decimal commas, which were taken for two cells each."""
    if numbers.shape[1] % 2:
        return
    rows = [[cell.strip() for cell in cells] for cells in _cells(lines.values(), ",")]
    wholes, parts = ([cell for cells in rows for cell in cells[start::2]] for start in (0, 1))
    are_digits = all(cell.isdecimal() for cell in parts) and all(cell.lstrip("+-").isdecimal() for cell in wholes)
    if are_digits and (any(len(cell) > 1 and cell[0] == "0" for cell in parts) or "-0" in wholes):
        number, line = next(iter(lines.items()))
        reason = "which looks like numbers with decimal commas"
        raise ValueError(f"line {number}: got {line.strip()[:40]!r}, {reason}; {_WITH_POINTS}")


def _numbers_of(
    lines: dict[int, str], delimiter: str | None, *, has_names: bool, kept: Sequence[int] | None = None
) -> np.ndarray:
    if kept is None:
        with contextlib.suppress(ValueError):  # by far the fastest, if no cell is missing
            return np.loadtxt([*lines.values()][has_names:], delimiter=delimiter, comments=None, quotechar='"', ndmin=2)
    # A quoted cell over several lines leaves fewer rows than lines.
    rows = [*zip(lines, _cells(lines.values(), delimiter), strict=False)][has_names:]
    (first_number, first_row), table = rows[0], []
    kept = range(len(first_row)) if kept is None else kept
    for number, row in rows:
        if len(row) != len(first_row):
            expected = f"{len(first_row)} cells, as in line {first_number}"
            raise ValueError(f"line {number}: expected {expected}, got {len(row)}")
        values = [_number(row[column]) for column in kept]
        if None in values:
            cell = row[column := kept[values.index(None)]]
            remedy = f"; {_WITH_POINTS}" if _DECIMAL_COMMA.fullmatch(cell.strip()) else ""
            if _numbers_in(cell) > 1 and not remedy:
                remedy = f"; cells are parted by {_DELIMITERS[delimiter]}, as in line {next(iter(lines))}"
            raise ValueError(f"line {number}, cell {column + 1}: expected a number, got {cell[:40]!r}{remedy}")
        table.append(values)
    return np.array(table, dtype=np.float64)


def _numbers_in(cell: str) -> int:
    """How many numbers it would hold if something else parted the cells; 0 if it holds anything else."""
    parts = re.split(r"[\s;,|:]+", cell.strip())
    return 0 if None in map(_number, parts) else len(parts)


def _cells(lines: Iterable[str], delimiter: str | None) -> Iterator[list[str]]:
    if delimiter:
        return csv.reader(lines, delimiter=delimiter)
    return ([cell.strip('"') for cell in line.split()] for line in lines)


def _number(cell: str) -> float | None:
    """What a cell of a table holds: NaN where its number is missing, None where it is no number."""
    try:
        return float(cell)
    except ValueError:
        return math.nan if cell.strip().lower() in _MISSING else None
