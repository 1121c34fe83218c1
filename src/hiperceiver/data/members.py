"""Which example is in which split, by names and a seed alone: what happens to other examples moves none.

Each example has a key, the hash of its name. A draw mixes the keys with a seed into numbers in [0, 1) and compares them
with fixed thresholds; an order sorts by them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hiperceiver.limits import open_file
from hiperceiver.settings.data import SplitRule
from hiperceiver.writing import replacing

if TYPE_CHECKING:
    from hiperceiver.data.record import Column, Table

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
"""Shares of what is drawn: numbers below 0.2 are for test, below 0.3 for validation."""
_END = 4096
_MOST_LABELS, _MOST_CONTENTS = 4096, 1024  # that are kept; which, follows from the names


def hash_names(names: Any) -> np.ndarray:
    """The key of each name: the first 8 bytes of its BLAKE2b, uint64 (names,).

    >>> hash_names(["cat/1.jpg", b"cat/1.jpg"]).tolist()
    [15132351748868210994, 15132351748868210994]
    """
    digests = b"".join(
        hashlib.blake2b(name if isinstance(name, bytes) else os.fsencode(name), digest_size=8).digest()
        for name in (names[row] for row in range(len(names)))
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def hash_content(cells: Iterable[Any]) -> bytes:
    """The name of an example that has none: the hash of its values, of long bytes their ends.

    >>> hash_content([b"JPEG", [1, 2]]) == hash_content([b"JPEG", [1, 2]]) != hash_content([b"JPEG", [2, 1]])
    True
    """
    content = b"".join(part for cell in cells for part in _content(cell))
    return hashlib.blake2b(content, digest_size=8).digest()


def _content(cell: Any) -> Iterator[bytes]:
    if isinstance(cell, str):
        cell = cell.encode("utf-8", errors="surrogatepass")
    if isinstance(cell, bytes):
        yield b"%d:" % len(cell)
        yield cell if len(cell) <= 2 * _END else cell[:_END] + cell[-_END:]
    elif isinstance(cell, Mapping):
        for name in sorted(cell):
            yield from _content(cell[name])
    elif isinstance(cell, list) and cell and not isinstance(cell[0], int | float):
        yield b"[%d]" % len(cell)
        for each in cell:
            yield from _content(each)
    else:
        yield repr(cell).encode()


def mixed(keys: np.ndarray, *salt: int | str) -> np.ndarray:
    """Keys mixed with a salt, uint64: other salts give independent numbers (the finaliser of SplitMix64)."""
    start = hashlib.blake2b(repr(salt).encode(), digest_size=8).digest()
    x = keys ^ np.frombuffer(start, dtype="<u8")
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def drawn(keys: np.ndarray, *salt: int | str) -> np.ndarray:
    """A number in [0, 1) for each key, float64.

    >>> bool((drawn(hash_names(["a", "b"]), 0) == drawn(hash_names(["b", "a"]), 0)[::-1]).all())
    True
    """
    return (mixed(keys, *salt) >> np.uint64(11)) * 2.0**-53


def validates(keys: np.ndarray, seed: int) -> np.ndarray:
    """Which examples a draw takes for validation, bool."""
    numbers = drawn(keys, seed, "split")
    return (numbers >= TEST_SHARE) & (numbers < TEST_SHARE + VALIDATION_SHARE)


def choose(keys: np.ndarray, seed: int, *, share: float = 1.0, count: int | None = None) -> np.ndarray:
    """Which examples are taken, bool: a share of them, one at least; or so many. Fewer are always part of more."""
    numbers = drawn(keys, seed, "choice")
    if count is not None:
        return np.isin(np.arange(len(keys)), np.argsort(numbers, kind="stable")[:count])
    return (numbers < share) | (numbers == numbers.min(initial=1.0))


def draw_splits(table: Table, seed: int, *, is_test_drawn: bool, rule: SplitRule = "names") -> Table:
    """The table with validation, and test if it is drawn too, taken out of its training rows.

    Only where there are very few, the last of a class trains whatever its number, and a split that would be empty gets
    the one with the smallest number, if its class has another. Rule `rows` deals as releases up to 0.1 did.
    """
    rows = table.rows[table.splits[table.rows] == 0]
    if table.only_trains is not None:
        rows = rows[~table.only_trains[rows]]
    strata = table.strata
    if strata is None:
        strata = np.asarray(table.targets["label"]) if "label" in table.targets else np.zeros(len(table.splits), int)
    groups = np.arange(len(table.splits), dtype=np.uint64) if table.groups is None else table.groups
    _, first, member = np.unique(groups[rows], return_index=True, return_inverse=True)
    order = np.argsort(first)  # of their first rows
    firsts = rows[first[order]]
    if rule == "rows":
        dealt = drawn_by_rows(strata[firsts], seed, TEST_SHARE if is_test_drawn else 0.0)
    else:
        keys = table.keys if table.groups is None else groups
        dealt = _drawn_by_names(keys[firsts], strata[firsts], seed, is_test_drawn)
    splits = table.splits.copy()
    splits[rows] = dealt[np.argsort(order)][member]
    return replace(table, splits=splits)


def _drawn_by_names(keys: np.ndarray, strata: np.ndarray, seed: int, is_test_drawn: bool) -> np.ndarray:
    """The split of each example, int8."""
    numbers = drawn(keys, seed, "split")
    splits = np.where(validates(keys, seed), 1, np.where(is_test_drawn & (numbers < TEST_SHARE), 2, 0)).astype(np.int8)
    _, class_of, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    splits[np.lexsort((numbers, class_of))[np.cumsum(sizes) - 1]] = 0
    for split in (2, 1) if is_test_drawn else (1,):
        if not (splits == split).any():
            can_move = (splits == 0) & (np.bincount(class_of, splits == 0)[class_of] >= 2)
            if not can_move.any() and is_test_drawn and (splits == 3 - split).sum() >= 2:
                can_move = splits == 3 - split
            splits[np.flatnonzero(can_move)[np.argsort(numbers[can_move])[:1]]] = split
    return splits


def drawn_by_rows(strata: np.ndarray, seed: int, test_share: float = TEST_SHARE) -> np.ndarray:
    """The split of each row, int8 (rows,), dealt class by class in a random order of the rows, as up to release 0.1.

    A class of two or more gives at least one to test, and one of three or more at least one to validation. Without a
    test share, a class of two or more gives one to validation.

    >>> np.bincount(drawn_by_rows(np.repeat([0, 1], [50, 3]), seed=0)).tolist()
    [36, 6, 11]
    """
    rng = np.random.default_rng(seed)
    splits = np.zeros(len(strata), dtype=np.int8)
    for number in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == number))
        num_test = max(round(test_share * len(rows)), int(len(rows) >= 2)) if test_share else 0
        least = 3 if test_share else 2
        num_validation = max(round(VALIDATION_SHARE * len(rows)), 1) if len(rows) >= least else 0
        splits[rows[:num_test]] = 2
        splits[rows[num_test : num_test + num_validation]] = 1
    return splits


_KEPT = ("labels", "contents")  # of `Members`, beside its splits


@dataclass(frozen=True, kw_only=True, eq=False)
class Members:
    """Which examples are in which split: what a run keeps of its data, 8 bytes an example."""

    splits: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Split -> the keys of its examples, sorted, uint64; nothing for a stream."""
    rule: SplitRule = "names"  # what drawn splits followed from
    labels: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.uint64))
    """Of some examples the key and the hash of the label, sorted by key, uint64 (examples, 2)."""
    contents: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.uint64))
    """Of some examples in files the key and the hash of these, sorted by key, uint64 (examples, 2)."""

    def save(self, path: Path) -> None:
        """Write them to a file."""
        arrays: dict[str, Any] = {"rule": np.array(self.rule), **{name: getattr(self, name) for name in _KEPT}}
        arrays |= self.splits
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)


def read_members(path: Path) -> Members | None:
    """What `Members.save` wrote; None if the file is damaged. Runs up to release 0.1 have none: they drew by rows."""
    if not path.exists():
        return Members(rule="rows")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            rule = "rows" if str(arrays["rule"]) == "rows" else "names"
            splits = {split: arrays[split] for split in arrays.files if split not in ("rule", *_KEPT)}
            kept = {name: arrays[name] for name in _KEPT if name in arrays.files}  # earlier versions kept fewer
            pairs, keys = ([(each.dtype, each.shape[1:]) for each in group.values()] for group in (kept, splits))
            if all(each == ("uint64", (2,)) for each in pairs) and all(each == ("uint64", ()) for each in keys):
                return Members(splits=splits, rule=rule, **kept)
    except Exception:  # a damaged file makes the reader fail in many ways
        pass
    return None


def kept_contents(table: Table, columns: Sequence[tuple[Column, Callable[[Any], bool]]]) -> np.ndarray:
    """Of some of a table's examples that lie in files, the key and the hash of their sizes and ends.

    Args:
        table: says which.
        columns: those that may hold paths, each with what tells whether its cells are such.
    """
    keys = table.row_keys
    chosen = np.flatnonzero(choose(keys, 0, count=_MOST_CONTENTS))
    rows = [int(table.rows[index]) for index in chosen]
    of_files = [column for column, is_path in columns if _holds_paths(column, is_path, rows)]
    found = {int(keys[index]): _files(of_files, row) for index, row in zip(chosen, rows, strict=True)}
    pairs = [(key, int.from_bytes(hash_content(files), "little")) for key, files in sorted(found.items()) if files]
    return np.array(pairs, dtype=np.uint64).reshape(-1, 2)


def _holds_paths(column: Column, is_path: Callable[[Any], bool], rows: Sequence[int]) -> bool:
    """Whether a column's first cell that is there is a path; others may be large."""
    for row in rows:
        with contextlib.suppress(ValueError, OSError):
            if (raw := column[row]) is not None:
                return is_path(raw)
    return False


def _files(columns: Sequence[Column], row: int) -> list[Any]:
    """Size and ends of each file of an example; nothing of one that cannot be read."""
    contents: list[Any] = []
    for column in columns:
        with contextlib.suppress(ValueError, OSError):
            if (path := column[row]) is not None:
                with open_file(path) as file:
                    size = file.seek(0, os.SEEK_END)
                    ends = [file.read(_END) for at in (0, max(0, size - _END)) if file.seek(at) == at]
                contents += [size, *ends]
    return contents


def kept_labels(table: Table, targets: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Of some of a table's examples the key and the hash of these targets, for `Members.labels`.

    Numbers of classes change as others come: a target that is one or several has their names.
    """
    keys = table.row_keys
    chosen = np.flatnonzero(choose(keys, 0, count=_MOST_LABELS))
    chosen = chosen[np.argsort(keys[chosen])]
    hashes = [hash_content(_labels(table, int(row), targets)) for row in table.rows[chosen]]
    return np.stack([keys[chosen], np.frombuffer(b"".join(hashes), dtype="<u8").astype(np.uint64)], axis=1)


def _labels(table: Table, row: int, targets: Mapping[str, Sequence[str]]) -> Iterator[Any]:
    for name, classes in sorted(targets.items()):
        with contextlib.suppress(ValueError):  # named when it is read as an example
            value = np.asarray(table.targets[name][row]).tolist()
            if classes and value is not None:
                value = sorted(classes[int(each)] for each in np.atleast_1d(value) if each >= 0)
            yield from (name, value)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How the members of data differ from those that a run kept. False if they do not."""

    added: int = 0
    removed: int = 0
    moved: int = 0  # examples that are in another split
    relabelled: int = 0  # examples whose label is another one, of those whose labels were kept
    rewritten: int = 0  # examples whose files have other content, of those whose content was kept
    leaked: Mapping[str, int] = field(default_factory=dict)
    """Split -> examples of it that were trained on; of these splits that have some."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.moved or self.relabelled or self.rewritten)

    def __str__(self) -> str:
        examples = "example" if self.added == 1 else "examples"
        parts = [f"{self.added} {examples} added, {self.removed} removed, {self.moved} in another split"]
        if self.relabelled:
            parts.append(f"{self.relabelled} with {'another label' if self.relabelled == 1 else 'other labels'}")
        if self.rewritten:
            parts.append(f"{self.rewritten} with other content")
        parts += [f"{n} of {split} {'was' if n == 1 else 'were'} trained on" for split, n in self.leaked.items()]
        return "; ".join(parts)


def _is_in(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which keys are among others. By sorting: the table that NumPy 2.0 takes else cannot count up to 2**64."""
    return np.isin(keys, others, kind="sort")


def what_changed(before: Members, now: Members) -> Changes:
    """How the examples of now differ from those before; nothing where one of the two is not known.

    >>> a, b, c = (hash_names([name]) for name in "abc")
    >>> before, now = {"train": np.concatenate([a, b])}, {"train": a, "test": np.concatenate([b, c])}
    >>> print(what_changed(Members(splits=before), Members(splits=now)))
    1 example added, 0 removed, 1 in another split; 1 of test was trained on
    """
    if not before.splits or not now.splits:
        return Changes()

    def in_both(keys: np.ndarray, split: str) -> int:
        return int(_is_in(keys, before.splits.get(split, np.empty(0, np.uint64))).sum())

    old, new = (np.concatenate([*each.splits.values()]) for each in (before, now))
    added = int((~_is_in(new, old)).sum())
    stayed = sum(in_both(keys, split) for split, keys in now.splits.items())

    def differ(a: np.ndarray, b: np.ndarray) -> int:
        _, then, today = np.intersect1d(a[:, 0], b[:, 0], return_indices=True)
        return int((a[then, 1] != b[today, 1]).sum())

    leaked = {split: in_both(keys, "train") for split, keys in now.splits.items() if split != "train"}
    return Changes(
        added=added,
        removed=int((~_is_in(old, new)).sum()),
        moved=len(new) - added - stayed,
        relabelled=differ(before.labels, now.labels),
        rewritten=differ(before.contents, now.contents),
        leaked={split: count for split, count in leaked.items() if count},
    )
