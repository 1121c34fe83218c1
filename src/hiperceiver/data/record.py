"""Records before they are encoded: a table of raw values, paths and targets, and the one reader of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from hiperceiver.data.members import hash_names

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One example as it is stored: paths, bytes, arrays. Nothing is opened before it is read."""

    name: str  # for people: a path relative to the data's folder, or `train row 7`
    raws: Mapping[str, Any]  # modality -> what its encoder reads. A modality may be missing.
    targets: Mapping[str, Any] = field(default_factory=dict)
    """`label`: a class number, -1 = none. `labels`: class numbers, several or none. `values`: numbers, NaN = none.
    `segmentation`: a mask as `ImageEncoder.decode_mask` takes it. `weight`: of the example in the loss. For joint
    labels: name -> class number (-1 = none) or a number (NaN = none)."""
    key: int = 0  # of a stream's record: what stands for it in draws, see `members`


class Records(Protocol):
    """Records in an order that never changes, as a list or a `Table`; looking one up may raise a `ValueError`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Record: ...


class Column(Protocol):
    """The cells of a column, None where it is empty; looking one up may read it, and raise a `ValueError`."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Any: ...


@dataclass(frozen=True)
class Computed:
    """A column whose cells are computed when they are looked up."""

    length: int
    read: Callable[[int], Any]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, row: int) -> Any:
        return self.read(row)


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Records as columns: what every source gives.

    >>> table = Table(names=["a", "b", "c"], raws={"image": ["a.jpg", "b.jpg", None]}, targets={"label": [0, 1, 0]})
    >>> len(table), table[1].name, dict(table[1].raws), dict(table[2].raws), table.take([2])[0].targets["label"]
    (3, 'b', {'image': 'b.jpg'}, {}, 0)
    """

    names: Column  # name of each example: a string, or bytes in UTF-8
    raws: Mapping[str, Column]  # modality -> raw values
    targets: Mapping[str, Column] = field(default_factory=dict)  # as in `Record.targets`; an empty cell has no target.
    splits: np.ndarray = None  # pyright: ignore[reportAssignmentType] - all of them train
    """Number of each row's split in `SPLITS`, int8 (columns' rows,)."""
    strata: np.ndarray | None = None
    """Class of each row, by which splits are drawn whatever the task, int64 (columns' rows,). None: the target `label`,
    if there is one."""
    only_trains: np.ndarray | None = None
    """Rows without a target beside others that have one: they only train, without a task, bool (columns' rows,)."""
    groups: np.ndarray | None = None
    """Rows with the same key stay in one split, uint64 (columns' rows,). None: each is on its own."""
    keys: np.ndarray = None  # pyright: ignore[reportAssignmentType] - of the names
    """Of each example in draws and orders, uint64 (columns' rows,), see `hash_names`."""
    rows: np.ndarray = None  # pyright: ignore[reportAssignmentType] - all of them
    """Which rows of the columns the table has, and in which order: int64 (len(table),)."""

    def __post_init__(self) -> None:
        if self.splits is None:
            object.__setattr__(self, "splits", np.zeros(len(self.names), dtype=np.int8))
        if self.keys is None:
            object.__setattr__(self, "keys", hash_names(self.names))
        if self.rows is None:
            object.__setattr__(self, "rows", np.arange(len(self.names)))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Record:
        row = int(self.rows[index])
        name = self.names[row]
        return Record(
            name=name.decode("utf-8", errors="replace") if isinstance(name, bytes) else name,
            raws=_Cells(self.raws, row),
            targets=_Cells(self.targets, row),
        )

    def take(self, chosen: Any) -> Table:
        """Some of its rows: their numbers, or a mask."""
        return replace(self, rows=self.rows[np.asarray(chosen)])

    @property
    def row_keys(self) -> np.ndarray:
        """The key of each of its rows."""
        return self.keys[self.rows]

    def cells(self, target: str) -> np.ndarray:
        """A target of all rows."""
        return np.asarray(self.targets[target])[self.rows]

    def split(self, number: int) -> Table:
        """The rows of a split."""
        return self.take(self.splits[self.rows] == number)


@dataclass(frozen=True, eq=False)
class _Cells(Mapping[str, Any]):
    """The cells of a row that are not empty; each is read when it is looked up."""

    columns: Mapping[str, Column]
    row: int

    def __getitem__(self, name: str) -> Any:
        cell = self.columns[name][self.row]
        if cell is None:
            raise KeyError(name)
        return cell

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.columns if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
