"""What the tests of sources ask of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from hiperceiver.data.example import BadExample, Example
from hiperceiver.data.record import SPLITS, Record, Table
from hiperceiver.data.sources import LAYOUTS, open_source
from hiperceiver.data.sources.source import Source
from hiperceiver.data.sources.tree import Tree


def layout(name: str) -> tuple[Callable[..., Source], Callable[[Path], bool]]:
    """What opens a folder of a layout, with exact shares in drawn splits; and whether a folder looks like it."""
    return partial(open_source, layout=name, split_rule="rows"), lambda folder: LAYOUTS[name].matches(Tree(folder))


def built_in(name: str) -> Callable[..., Source]:
    """What opens a built-in set."""
    return partial(open_source, name)


def table_of(parts: Mapping[str, Sequence[Record]]) -> Table:
    """Records by split as a table."""
    records = [record for part in parts.values() for record in part]
    raws = dict.fromkeys(name for record in records for name in record.raws)
    targets = dict.fromkeys(name for record in records for name in record.targets)
    return Table(
        names=[record.name for record in records],
        raws={name: [record.raws.get(name) for record in records] for name in raws},
        targets={name: [record.targets.get(name) for record in records] for name in targets},
        splits=np.repeat([SPLITS.index(split) for split in parts], [len(part) for part in parts.values()]),
    )


def everything(source: Source, split: str) -> list[Example | BadExample]:
    """All examples of a split, good and bad."""
    return [source.splits[split][index] for index in range(len(source.splits[split]))]


def examples(source: Source, split: str) -> list[Example]:
    """All examples of a split, none of them bad."""
    found = everything(source, split)
    assert [str(example) for example in found if isinstance(example, BadExample)] == []
    return [example for example in found if isinstance(example, Example)]


def bad(source: Source, split: str) -> list[str]:
    """What is said of the bad examples of a split, each in one line."""
    found = [str(example) for example in everything(source, split) if isinstance(example, BadExample)]
    assert not any("\n" in line for line in found)
    return found


def counts(source: Source) -> dict[str, int]:
    """Examples by split."""
    return {split: len(part) for split, part in source.splits.items()}


def labels(source: Source, split: str) -> dict[str, str]:
    """Name of each example -> name of its class."""
    return {example.name: source.classes[int(example.targets["label"])] for example in examples(source, split)}
