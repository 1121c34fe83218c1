"""Which example is in which split, by names and a seed alone: what happens to other examples moves none.

Each example has a key, the hash of its name. A draw mixes the keys with a seed into numbers in [0, 1) and compares them
with fixed thresholds; an order sorts by such numbers. So neither depends on how many examples there are, where they are
listed, or what was added and removed.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hiperceiver.data.record import Table

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
"""Shares of what is drawn: numbers below 0.2 are for test, below 0.3 for validation."""


def hash_names(names: Any) -> np.ndarray:
    """The key of each name: the first 8 bytes of its BLAKE2b, uint64 (names,).

    >>> hash_names(["cat/1.jpg", b"cat/1.jpg"]).tolist()
    [14210403138127412106, 14210403138127412106]
    """
    digests = b"".join(
        hashlib.blake2b(name if isinstance(name, bytes) else os.fsencode(name), digest_size=8).digest()
        for name in (names[row] for row in range(len(names)))
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


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


def draw_splits(table: Table, seed: int, *, is_test_drawn: bool) -> Table:
    """The table with validation, and test if it is drawn too, taken out of its training rows."""
    rows = np.flatnonzero(table.splits[table.rows] == 0)
    if table.only_trains is not None:
        rows = rows[~table.only_trains[table.rows[rows]]]
    rows = table.rows[rows]
    strata = table.strata
    if strata is None:
        strata = np.asarray(table.targets["label"]) if "label" in table.targets else np.zeros(len(table.splits), int)
    groups = rows if table.groups is None else table.groups[rows]
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    splits = table.splits.copy()
    splits[rows] = drawn_by_rows(strata[rows][first], seed, TEST_SHARE if is_test_drawn else 0.0)[member]
    return replace(table, splits=splits)


def drawn_by_rows(strata: np.ndarray, seed: int, test_share: float = TEST_SHARE) -> np.ndarray:
    """The split of each row, int8 (rows,), dealt class by class in a random order of the rows.

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
