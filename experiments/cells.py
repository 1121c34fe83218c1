"""What a table is made of: cells, each a chain of runs, each a process of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hiperceiver.settings.run import parse_duration


@dataclass(frozen=True)
class Data:
    """The path of a set of `experiments.datasets`."""

    name: str


@dataclass(frozen=True)
class TimeOf:
    """The time that other runs took to train, all together: for cells of equal total time."""

    runs: tuple[Run, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One process; with the setting `devices`, several.

    Runs that are equal are done once, whichever cells or tables they belong to. In its settings `Data`, `TimeOf` and
    other runs (their folders) may stand for values.
    """

    command: str
    """`pretrain`, `finetune` or `evaluate` of `hip`, or a module of ours with the option --out FOLDER."""
    settings: Mapping[str, Any]
    """By option name, as in a recipe; what has no option is named ``."""
    minutes: float
    """What it takes, roughly, with as many cores as it has."""

    @cached_property
    def key(self) -> str:
        """The same for equal runs, whatever the machine's folders."""
        text = json.dumps([self.command, _plain(self.settings)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def cores(self) -> int:
        """How many it has, each with a process of one thread."""
        return self.settings.get("devices", 1)

    @property
    def core_minutes(self) -> float:
        """What it takes of all its cores, roughly."""
        return self.minutes * self.cores

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.command.rpartition('.')[2]}-{self.key}"

    def before(self, *, is_timed: bool = True) -> Iterator[Run]:
        """The runs that must be done first: those that it goes on from, and those whose time it takes (`is_timed`)."""
        for value in self.settings.values():
            if isinstance(value, Run):
                yield value
            elif isinstance(value, TimeOf) and is_timed:
                yield from value.runs

    def data(self) -> Iterator[str]:
        """Names of the sets that it reads."""
        return (value.name for value in self.settings.values() if isinstance(value, Data))

    def arguments(self, resolve: Callable[[Any], Any], scale: float = 1.0) -> list[str]:
        """As words of a command line; `resolve` gives the value of `Data`, `TimeOf` or a run. Without --out."""
        values = {name: resolve(value) for name, value in self.settings.items()}
        if scale != 1 and "steps" in values:
            values["steps"] = max(2, round(values["steps"] * scale))
        if scale != 1 and isinstance(self.settings.get("max_time"), str):  # that of other runs is theirs as it is
            values["max_time"] = scaled_time(values["max_time"], scale)
        words = []
        for name, value in values.items():
            option = f"--{name.replace('_', '-')}"
            if not name:
                words.append(str(value))
            elif isinstance(value, bool):
                words += [option] * value
            elif isinstance(value, (list, tuple)):
                words += [word for each in value for word in (option, _word(each))]
            else:
                words += [option, _word(value)]
        return words


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One row of a table with one seed."""

    name: str
    """Of the row; a word."""
    runs: tuple[Run, ...]
    """In their order."""
    seed: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    """What stands in the row's first columns, by their headings."""
    is_best_of: bool = False
    """Its result is that of the run which is best in validation. False: that of the last run with a test."""

    @property
    def file(self) -> str:
        """Of its result, without the ending."""
        return f"{self.name}-seed{self.seed}"

    @property
    def key(self) -> str:
        """Changes when any of its settings does."""
        return hashlib.sha256(" ".join(run.key for run in self.all_runs()).encode()).hexdigest()[:10]

    def all_runs(self, *, is_timed: bool = True) -> list[Run]:
        """Its runs, each after those that it needs; without `is_timed` not those whose time alone is taken."""
        ordered: dict[Run, None] = {}

        def add(run: Run) -> None:
            for each in run.before(is_timed=is_timed):
                add(each)
            ordered.setdefault(run)

        for run in self.runs:
            add(run)
        return list(ordered)


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of `docs/results.md`."""

    name: str
    """Of its module, its results and its picture."""
    title: str
    about: str
    """What it asks and how; stands above it."""
    cells: tuple[Cell, ...]
    """In the order in which they are done and shown."""
    columns: Mapping[str, str]
    """Heading -> where its number is in a result, as `test.accuracy`; the first one is drawn."""
    parts: str | None = None
    """The label that divides it into tables of their own. None: one table."""
    finish: Callable[[Any], None] | None = None
    """What else a report writes, from the `results.Results`."""


def by_seed(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Cells in their order, all of seed 0 first: after a night that ends early every row has a number."""
    return tuple(sorted(cells, key=lambda cell: cell.seed))


def scaled_time(text: str, scale: float) -> str:
    """A share of a length of time.

    >>> scaled_time("10m", 0.5)
    '300s'
    """
    return f"{parse_duration(text) * scale:.4g}s"


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (Mapping, list, tuple)) else str(value)


def _plain(value: Any) -> Any:
    """Values for the key: what stands for a value is named."""
    if isinstance(value, Run):
        return f"run {value.key}"
    if isinstance(value, TimeOf):
        return f"time of {' '.join(run.key for run in value.runs)}"
    if isinstance(value, Data):
        return f"data {value.name}"
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
