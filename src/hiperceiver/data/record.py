"""Records before they are encoded: what a source lists, one for each example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One example as it is stored: paths, bytes, arrays. Nothing is opened before it is read."""

    name: str
    """Where it came from, for people: a path relative to the data's folder, or `train row 7`."""
    raws: Mapping[str, Any]
    """Modality -> what its encoder reads. A modality may be missing."""
    targets: Mapping[str, Any] = field(default_factory=dict)
    """`label`: a class number, -1 = none. `labels`: class numbers, several or none. `values`: numbers, NaN = none.
    `segmentation`: a mask as `ImageEncoder.decode_mask` takes it. For joint labels: name -> class number (-1 = none) or
    a number (NaN = none)."""


class Records(Protocol):
    """A list of records or anything that is read like one. Its order never changes.

    `records[index]` may raise a `ValueError` of one line for a record that cannot be read.
    """

    def __len__(self) -> int:
        """Number of records."""
        ...

    def __getitem__(self, index: int, /) -> Record:
        """One record, always the same."""
        ...
