"""Examples of a stream: read one after the other, for a data set that is too large to be listed or kept.

An epoch is one pass over the stream, shuffled by a buffer: it is filled, and then each record that comes replaces one
drawn at random. The order is a function of (seed, epoch) alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.example import BadExample, Example, with_seed
from hiperceiver.data.members import validates
from hiperceiver.data.record import Record
from hiperceiver.settings.data import SplitRule


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Which records of a stream validate where it has no split for that."""

    rule: SplitRule = "names"  # names: a tenth, by their keys; rows: the first ones
    seed: int = 0  # of the draw by keys
    count: int = 0  # of the first ones

    def holds(self, number: int, record: Record | BadExample) -> bool:
        """Whether a record is held out. A bad one is only if its number says so."""
        if self.rule == "rows":
            return number < self.count
        return isinstance(record, Record) and bool(validates(np.array([record.key], dtype=np.uint64), self.seed)[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamedExamples:
    """Records of a stream as examples for training.

    >>> from hiperceiver.data.encoders.series import SeriesEncoder
    >>> records = [Record(name=str(n), raws={"x": np.full(4, float(n))}) for n in range(6)]
    >>> encoded = EncodedRecords(records=[], encoders={"x": SeriesEncoder(length=4)})
    >>> stream = StreamedExamples(records=records, encoded=encoded, buffer_size=3)
    >>> sorted(stream.example(*each, seed=0).name for each in stream.shuffled(seed=0, epoch=0))
    ['0', '1', '2', '3', '4', '5']
    """

    records: Iterable[Record | BadExample]
    """The stream: every iterator over it gives the same records in the same order."""
    encoded: EncodedRecords  # how a record becomes an example; its own records are not read
    buffer_size: int = 1024  # records of the buffer that shuffles; they are kept in memory as they are stored
    held_out: HeldOut | None = None  # records that are not trained on, because they validate; None: all are trained on
    max_examples: int | None = None  # take only so many, from the stream's beginning

    def __post_init__(self) -> None:
        for name, value in [("buffer_size", self.buffer_size), ("max_examples", self.max_examples)]:
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected a whole number >= 1, got {value}")

    def shuffled(self, *, seed: int, epoch: int) -> Iterator[tuple[int, int, Record | BadExample]]:
        """The records of an epoch in its order, as they are stored: (epoch, number in the stream, record)."""
        rng = np.random.default_rng([seed, epoch])
        held_out = self.held_out or HeldOut(rule="rows", count=0)
        trained = ((epoch, *pair) for pair in enumerate(self.records) if not held_out.holds(*pair))
        trained = islice(trained, self.max_examples)
        buffer = list(islice(trained, self.buffer_size))
        for each in trained:
            index = int(rng.integers(self.buffer_size))
            yield buffer[index]
            buffer[index] = each
        for index in rng.permutation(len(buffer)):
            yield buffer[index]

    def example(self, epoch: int, number: int, record: Record | BadExample, *, seed: int) -> Example | BadExample:
        """A record as an example, with random changes and choices that depend on (seed, epoch, number) alone."""
        if isinstance(record, BadExample):
            return record
        rng = np.random.default_rng([seed, epoch, number])
        return with_seed(replace(self.encoded, records=[record]).augmented(0, rng), number, seed, epoch)


@dataclass(frozen=True, eq=False)
class Head:
    """The first records of a stream that are, or are not, held out; read when they are wanted and then kept."""

    records: Iterable[Record | BadExample]
    count: int
    held_out: HeldOut
    _: KW_ONLY
    is_held: bool  # whether those that are held out are wanted, or the others

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Record:
        record = self._kept[index]
        if isinstance(record, BadExample):
            raise ValueError(str(record))
        return record

    @cached_property
    def _kept(self) -> list[Record | BadExample]:
        wanted = (each for n, each in enumerate(self.records) if self.held_out.holds(n, each) == self.is_held)
        return list(islice(wanted, self.count))
