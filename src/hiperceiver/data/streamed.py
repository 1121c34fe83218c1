"""Examples of a stream: read one after the other, for a data set that is too large to be listed or kept.

An epoch is one pass over the stream. A buffer shuffles it: it is filled, and then each record that comes takes the
place of one drawn at random. The order is a function of (seed, epoch) alone; to go on after k batches, what these held
is read again and thrown away, but not decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.example import BadExample, Example
from hiperceiver.data.record import Record


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamedExamples:
    """Records of a stream as examples for training.

    >>> from hiperceiver.data.encoders.series import SeriesEncoder
    >>> records = [Record(name=str(n), raws={"x": np.full(4, float(n))}) for n in range(6)]
    >>> encoded = EncodedRecords(records=[], encoders={"x": SeriesEncoder(length=4)})
    >>> stream = StreamedExamples(records=records, encoded=encoded, buffer_size=3, num_left_out=1)
    >>> sorted(stream.example(*each, seed=0).name for each in stream.shuffled(seed=0, epoch=0))
    ['1', '2', '3', '4', '5']
    """

    records: Iterable[Record | BadExample]
    """The stream: every iterator over it begins anew and gives the same records in the same order."""
    encoded: EncodedRecords
    """How a record becomes an example; its own records are not looked at."""
    buffer_size: int = 1024
    """Records of the buffer that shuffles; they are kept in memory as they are stored."""
    num_left_out: int = 0
    """Records at the stream's beginning that are not trained on, because they validate."""
    max_examples: int | None = None
    """Take only so many, from the stream's beginning."""

    def __post_init__(self) -> None:
        for name, value, least in [
            ("buffer_size", self.buffer_size, 1),
            ("num_left_out", self.num_left_out, 0),
            ("max_examples", self.max_examples, 1),
        ]:
            if value is not None and value < least:
                raise ValueError(f"{name}: expected a whole number >= {least}, got {value}")

    def shuffled(self, *, seed: int, epoch: int) -> Iterator[tuple[int, int, Record | BadExample]]:
        """The records of an epoch in its order, as they are stored: (epoch, number in the stream, record)."""
        rng = np.random.default_rng([seed, epoch])
        last = None if self.max_examples is None else self.num_left_out + self.max_examples
        buffer: list[tuple[int, int, Record | BadExample]] = []
        for number, record in enumerate(islice(self.records, self.num_left_out, last), self.num_left_out):
            if len(buffer) < self.buffer_size:
                buffer.append((epoch, number, record))
                continue
            place = int(rng.integers(self.buffer_size))
            yield buffer[place]
            buffer[place] = (epoch, number, record)
        for place in rng.permutation(len(buffer)):
            yield buffer[place]

    def example(self, epoch: int, number: int, record: Record | BadExample, *, seed: int) -> Example | BadExample:
        """A record as an example, with random changes that depend on (seed, epoch, number) alone."""
        if isinstance(record, BadExample):
            return record
        return replace(self.encoded, records=[record]).augmented(0, np.random.default_rng([seed, epoch, number]))


class Head:
    """The first records of a stream, read when they are first asked for and then kept."""

    def __init__(self, records: Iterable[Record | BadExample], count: int, *, start: int = 0) -> None:
        self.records = records
        self.start = start
        self.count = count
        self._kept: list[Record | BadExample] | None = None

    def __len__(self) -> int:
        return len(self._read())

    def __getitem__(self, index: int) -> Record:
        record = self._read()[index]
        if isinstance(record, BadExample):
            raise ValueError(str(record))
        return record

    def _read(self) -> list[Record | BadExample]:
        if self._kept is None:
            self._kept = list(islice(self.records, self.start, self.start + self.count))
        return self._kept
