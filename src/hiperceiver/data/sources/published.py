"""Files of published data sets as a table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hiperceiver.data.record import Table
from hiperceiver.data.sources.classes import Labels
from hiperceiver.data.sources.tree import Paths

NO_CLASS = -1

FileRow = tuple[str, int, int]
"""A file as an example: its path, the number of its class (-1 = none) and that of its split."""


def file_table(root: Path, rows: Sequence[FileRow], modality: str) -> Table:
    """Files, by their paths relative to `root`, as examples of one modality with one label."""
    paths = Paths(root, [path for path, _, _ in rows])
    return Table(
        names=paths.paths,
        raws={modality: paths},
        targets={"label": Labels([label for _, label, _ in rows])},
        splits=np.array([split for _, _, split in rows], dtype=np.int8),
    )
