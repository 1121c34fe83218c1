"""Names of classes and their numbers, however a data set has them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hiperceiver.data.encoded import NO_LABEL
from hiperceiver.data.encoders.picture_files import RenumberedMask, read_labels
from hiperceiver.data.record import Column, Computed, Table
from hiperceiver.data.sources.lists import example_list, read_lines
from hiperceiver.data.sources.tree import SPLIT_NAMES
from hiperceiver.data.text import composed
from hiperceiver.settings.data import ReadSettings

CLASSES_FILE = "classes.txt"  # in a folder: the names of the classes, one a line, in the order of their numbers
_OTHER_LISTS = ("class_names.txt", "labels.txt", "labelmap.txt", "label_colors.txt", "codes.txt")
"""Names that other programs give to lists of the classes of masks."""
_MOST_GAPS = 8  # as many times as many numbers as occur: masks without names of classes that hold shades instead
_MAX_MASKS, _FEW_MASKS = 1000, 64  # that are read for the number of their classes; where these are named


class Labels:
    """A column of class numbers, -1 = none, of which a few may be faulty.

    >>> labels = Labels([0, 1], {1: "its label cannot be read"})
    >>> labels[0], np.asarray(labels).tolist()
    (0, [0, 1])
    """

    def __init__(self, numbers: Any, faults: Mapping[int, str] | None = None) -> None:
        """Args: the numbers; row -> what is wrong with it."""
        self.numbers = np.asarray(numbers, dtype=np.int64)
        self.faults = dict(faults or {})

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, row: int) -> int:
        if row in self.faults:
            raise ValueError(self.faults[row])
        return int(self.numbers[row])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.numbers if dtype is None else self.numbers.astype(dtype)


class Lists:
    """Lists of class numbers as a column, without an object for each. Several rows may share one.

    >>> Lists([np.array([4, 2]), np.array([], int)], rows=[0, 0, 1])[1]
    [4, 2]
    """

    def __init__(self, lists: Sequence[np.ndarray], rows: Any) -> None:
        """Args: class numbers; which of the lists each row has."""
        self.numbers = np.concatenate([np.zeros(0, dtype=np.int64), *lists])
        self.ends = np.cumsum([0, *map(len, lists)])
        self.rows = np.asarray(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> list[int]:
        number = self.rows[row]
        return self.numbers[self.ends[number] : self.ends[number + 1]].tolist()


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What is known of an example beside its signals, by the names of classes."""

    label: str | None = None
    labels: Sequence[str] | None = None
    values: Sequence[float] | None = None  # NaN where one is missing
    fault: str = ""  # why this cannot be read


def target_columns(
    known: Sequence[Known], listed: Collection[Known] | None = None
) -> tuple[dict[str, Column], dict[str, tuple[str, ...]]]:
    """The columns of targets of some examples; and the names of the classes in each, those of all that are listed."""
    listed = known if listed is None else listed
    targets: dict[str, Column] = {}
    names: dict[str, tuple[str, ...]] = {}
    if any(each.label is not None for each in listed):
        names["label"], number = number_classes(each.label for each in listed)
        # An example whose label is broken is not left out in silence: it counts as one of the first class, and is bad.
        numbers = [0 if each.fault else -1 if each.label is None else number[each.label] for each in known]
        targets["label"] = Labels(numbers, {row: each.fault for row, each in enumerate(known) if each.fault})
    if any(each.labels is not None for each in listed):
        names["labels"], number = number_classes(word for each in listed for word in each.labels or ())
        targets["labels"] = [None if each.labels is None else [number[word] for word in each.labels] for each in known]
    if any(each.values is not None for each in listed):
        targets["values"] = [each.values for each in known]
    return targets, names


def number_classes(words: Iterable[str | None]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names of the classes, sorted, numbers in their own order; and word -> number.

    >>> number_classes(["10", "2", None, "2"])
    (('2', '10'), {'2': 0, '10': 1})
    """
    present = {word for word in words if word is not None}
    names = sorted(present, key=lambda word: (0, int(word), word) if word.isdecimal() else (1, 0, word))
    return tuple(names), {name: number for number, name in enumerate(names)}


def numbers_within(names: Sequence[str], given: Sequence[str]) -> dict[str, int]:
    """Word -> number among given classes; numbers in data without names count these, from 0.

    >>> numbers_within(["0", "1"], ["cat", "dog"])
    {'0': 0, '1': 1}
    """
    are_counted = all(name.isdecimal() for name in names) and not any(name.isdecimal() for name in given)
    return {str(number) if are_counted else name: number for number, name in enumerate(given)}


def taken_by_number(numbers: Mapping[str, int], given: Sequence[str], names: Iterable[str]) -> list[str]:
    """What is said of names in data that stand for numbers of given classes; nothing if none does.

    >>> taken_by_number({"0": 0, "1": 1}, ["cat", "dog"], ["1"])
    ['classes are taken by number: 1 is dog']
    """
    taken = [f"{name} is {given[numbers[name]]}" for name in names if name in numbers and name not in given]
    return [f"classes are taken by number: {example_list(taken, 8)}"] if taken else []


def choose_classes(
    source: str,
    names: Sequence[str],
    table: Table,
    given: Sequence[str],
    options: ReadSettings,
    warnings: list[str],
    *,
    target: str,
) -> tuple[tuple[str, ...], Table]:
    """The classes: as `given`, or else the data's `names`; and the table with their numbers, without those left out.

    `names` are those of the column `target`, `label` or `labels`; another one has a numbering of its own, and stays.
    """
    spelled = {composed(name): name for name in names}  # accents may be written otherwise
    listed = {
        option: [name if name in names else spelled.get(composed(name), name) for name in getattr(options, option)]
        for option in ("only_classes", "leave_out_classes")
    }
    for option, chosen in listed.items():
        if unknown := [name for name in chosen if name not in names]:
            raise ValueError(f"{option}: expected some of {example_list(names, 9)}, got {unknown[0]!r}")
    wanted = listed["only_classes"] or names
    left_out = [name for name in names if name not in wanted or name in listed["leave_out_classes"]]
    if left_out and target == "label":
        is_out = np.isin(table.cells("label"), [number for number, name in enumerate(names) if name in left_out])
        table = table.take(~is_out)
    given = given or (left_out and [name for name in names if name not in left_out])
    if not given or tuple(given) == tuple(names):
        return tuple(names), table
    numbers = numbers_within(names, given)
    warnings += taken_by_number(numbers, given, names)
    numbers = {**{composed(name): number for name, number in numbers.items()}, **numbers}
    lookup = np.array([*(numbers.get(name, numbers.get(composed(name), -1)) for name in names), -1], dtype=np.int64)
    targets = dict(table.targets)
    present: set[int] = set()
    if target == "label":
        present.update(np.unique(table.cells("label")).tolist())
        column = targets["label"]
        targets["label"] = Labels(lookup[np.asarray(column)], getattr(column, "faults", None))
    if target == "labels":
        present.update(number for row in table.rows for number in targets["labels"][int(row)] or ())
        lists = targets["labels"]
        targets["labels"] = Computed(len(lists), partial(_renumbered, lists, lookup))
    unknown = sorted(names[number] for number in present if number >= 0 and lookup[number] < 0)
    if unknown := [name for name in unknown if name not in left_out]:
        known = f"{', '.join(given)}{' or their numbers' if '0' in numbers and '0' not in given else ''}"
        found = f"{', '.join(unknown[:5])} in {source}"
        raise ValueError(f"classes: expected only {known}, found {found}; leave_out_classes leaves classes out")
    return tuple(given), replace(table, targets=targets)


def choose_label_classes(
    source: str,
    labels: Mapping[str, Sequence[str]],
    table: Table,
    given: Mapping[str, Sequence[str]],
    warnings: list[str],
) -> tuple[dict[str, Sequence[str]], Table]:
    """Of several labels the classes: as `given`, or else the data's; and the table with their numbers."""
    chosen, targets = dict(labels), dict(table.targets)
    for label, names in labels.items():
        wanted = given.get(label, ())
        if not names or not wanted or tuple(wanted) == tuple(names):
            continue
        numbers = numbers_within(names, wanted)
        known = {composed(name): number for name, number in numbers.items()}
        if unknown := [name for name in names if composed(name) not in known]:
            expected = f"{label}: expected only {', '.join(wanted)}"
            raise ValueError(f"{expected}, found {example_list(unknown, 5)} in {source}")
        lookup = {number: known[composed(name)] for number, name in enumerate(names)}
        warnings += [f"{label}: {note}" for note in taken_by_number(numbers, wanted, names)]
        column, chosen[label] = targets[label], tuple(wanted)
        targets[label] = Computed(len(column), partial(_renumbered_label, column, lookup))
    return chosen, replace(table, targets=targets)


def _renumbered_label(column: Column, lookup: Mapping[int, int], row: int) -> int | None:
    number = column[row]
    return None if number is None else lookup.get(int(number), -1)


def choose_values(
    source: str, names: Sequence[str], table: Table, given: Sequence[str], warnings: list[str]
) -> tuple[tuple[str, ...], Table]:
    """The names of numbers to regress: as `given`, or else the data's `names`; and the table in their order."""
    order = value_order(source, names, given, warnings)
    if order is None:
        return tuple(names), table
    values = table.targets["values"]
    ordered = Computed(len(values), partial(_ordered, values, order))
    return tuple(given), replace(table, targets={**table.targets, "values": ordered})


def value_order(source: str, names: Sequence[str], given: Sequence[str], warnings: list[str]) -> list[int] | None:
    """The place of each number of a regression among those of the data; None: all, as they are."""
    if not given or tuple(given) == tuple(names):
        return None
    places = {composed(name): place for place, name in enumerate(names)}
    if len(names) == len(given) == 1:
        warnings.append(f"{names[0]} is taken for {given[0]}")
        return [0]
    if lacking := [name for name in given if composed(name) not in places]:
        found = f"found {example_list(names, 9)} in {source}; no {lacking[0]!r}"
        raise ValueError(f"values: expected the numbers {', '.join(given)}, {found}")
    return [places[composed(name)] for name in given]


def _ordered(column: Column, order: Sequence[int], row: int) -> list[float] | None:
    values = column[row]
    return None if values is None else [values[place] for place in order]


def _renumbered(lists: Column, lookup: np.ndarray, row: int) -> list[int] | None:
    """A cell of class numbers as other numbers, -1 = left out."""
    cell = lists[row]
    return None if cell is None else [int(n) for n in lookup[np.asarray(cell, dtype=np.int64)] if n >= 0]


def read_class_names(folder: Path) -> tuple[str, ...]:
    """The names in a folder's `classes.txt`, but for lines that begin with "# "; none without such a file.

    Where the folder has none, folders of splits in it may, which must be equal.
    """
    files = [file] if (file := folder / CLASSES_FILE).is_file() else _class_files_of_splits(folder)
    found = {_read_class_names(file): file for file in files}
    if len(found) > 1:
        raise ValueError(f"expected the same names in {' and '.join(map(str, found.values()))}, got others")
    return next(iter(found), ())


def _class_files_of_splits(folder: Path) -> list[Path]:
    return [file for name in sorted(SPLIT_NAMES) if (file := folder / name / CLASSES_FILE).is_file()]


def _read_class_names(file: Path) -> tuple[str, ...]:
    names = [composed(name) for name in read_lines(file) if not name.startswith("# ")]
    if len(names) < 2:
        raise ValueError(f"{file}: expected the name of a class on each of two or more lines, got {len(names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"{file}: expected a name for each class, got one twice")
    return tuple(names)


def choose_mask_classes(
    source: str, names: Sequence[str], table: Table, given: Sequence[str], warnings: list[str]
) -> tuple[tuple[str, ...], Table]:
    """The classes of masks: as `given`, or else the data's `names`; and the table with their numbers."""
    masks = table.targets["segmentation"]
    classes, read = renumbered_masks(source, names, masks.__getitem__, given, warnings)
    if classes == tuple(names):
        return classes, table
    return classes, replace(table, targets={**table.targets, "segmentation": Computed(len(masks), read)})


def renumbered_masks(
    source: str, names: Sequence[str], read: Callable[[Any], Any], given: Sequence[str], warnings: list[str]
) -> tuple[tuple[str, ...], Callable[[Any], Any]]:
    """The classes of masks, as in `choose_mask_classes`; and what `read` gives, with their numbers."""
    if not given or tuple(given) == tuple(names):
        return tuple(names), read
    numbers = numbers_within(names, given)
    if unknown := [name for name in names if name not in numbers]:
        raise ValueError(f"classes: expected only {', '.join(given)}, found {example_list(unknown, 5)} in {source}")
    warnings += taken_by_number(numbers, given, names)
    lookup = np.full(max(len(names), NO_LABEL + 1), -1, dtype=np.int64)
    lookup[NO_LABEL] = NO_LABEL
    lookup[: len(names)] = [numbers[name] for name in names]
    return tuple(given), partial(_renumbered_mask, read, lookup)


def _renumbered_mask(read: Callable[[Any], Any], lookup: np.ndarray, row: Any) -> RenumberedMask | None:
    mask = read(row)
    return None if mask is None else RenumberedMask(mask, lookup)


def named_mask_classes(given: Sequence[str], folder: Path | None, warnings: list[str]) -> tuple[str, ...]:
    """Names of the classes of masks: of the folder's `classes.txt`, or as given; none if there are none."""
    if names := folder and read_class_names(folder):
        return names
    if folder and (other := next((name for name in _OTHER_LISTS if (folder / name).is_file()), None)):
        warnings.append(f"{other} is not read: names of classes stand in {CLASSES_FILE}, one a line")
    if given:
        taken = [f"{number} is {name}" for number, name in enumerate(given)]
        warnings.append(f"classes of masks are taken by number: {example_list(taken, 8)} (see {CLASSES_FILE})")
    return tuple(given)


def mask_classes(train: Table, given: Sequence[str], folder: Path | None, warnings: list[str]) -> tuple[str, ...]:
    """As `named_mask_classes`, or else the numbers in training masks; masks of nothing but 0 and 255 are refused."""
    if names := named_mask_classes(given, folder, warnings):
        mask_numbers(train, _FEW_MASKS)
        return names
    count = min(_MAX_MASKS, len(train))
    seen, fault = mask_numbers(train, count)
    if not seen:
        raise ValueError(f"masks: expected class numbers, found none that can be read; the first: {fault or 'no mask'}")
    seen.discard(NO_LABEL)
    if not seen or max(seen) < 1:
        raise ValueError(f"masks: expected at least two classes, found {sorted(seen) or 'no number but 255'}")
    if len(seen) * _MOST_GAPS <= max(seen):
        found = f"{len(seen)} numbers up to {max(seen)} ({example_list([str(number) for number in sorted(seen)], 5)})"
        remedy = f"write 0, 1, 2, ..., or name all classes in {CLASSES_FILE}"
        raise ValueError(f"masks: expected class numbers, got {found}, which look like shades of grey; {remedy}")
    warnings.append(
        f"class names are not given: numbers 0 to {max(seen)}, as in {count} training masks (see {CLASSES_FILE})"
    )
    return tuple(str(number) for number in range(int(max(seen)) + 1))


def mask_numbers(train: Table, most: int = _FEW_MASKS) -> tuple[set[int], str]:
    """The numbers in at most so many masks, evenly spread, and the first fault; refused if they are 0 and 255 alone."""
    seen: set[int] = set()
    fault = ""
    for index in np.linspace(0, len(train) - 1, min(most, len(train))).astype(np.int64):
        record, mask = train[int(index)], None
        try:  # a fault is found again, and named, when it is read as an example
            mask = record.targets["segmentation"]
            seen.update(np.unique(read_labels(mask)).tolist())
        except (ValueError, KeyError) as error:
            is_named = isinstance(mask, str)  # a path, which the error names
            fault = fault or (str(error) if is_named else f"{record.name}: {error}")
    if seen == {0, NO_LABEL}:
        raise ValueError("masks: expected class numbers, got only 0 and 255 (255 means 'no class'); write 1 for 255")
    return seen, fault
