"""Sources whose training examples are streamed: tables of the hub or of a folder that are too large to be kept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders.normalisation import FITTED_TO
from hiperceiver.data.example import BadExample
from hiperceiver.data.members import Members
from hiperceiver.data.record import SPLITS, Record
from hiperceiver.data.sources.reading import reading
from hiperceiver.data.sources.rows import Row, RowReader
from hiperceiver.data.sources.source import Source, SourceOptions, choose_encoders, encoded_source, fit_encoders
from hiperceiver.data.streamed import Head, HeldOut, StreamedExamples
from hiperceiver.settings.data import TableSettings


@dataclass(frozen=True)
class StreamedRows:
    """The rows of a split of a streamed table as records, or what is wrong with a row; a broken stream is an error."""

    table: Any  # a `datasets.IterableDataset` that decodes nothing
    reader: RowReader
    split: str

    def __iter__(self) -> Iterator[Record | BadExample]:
        rows = iter(self.table)
        for number in count():
            with reading(f"{self.split}: the stream breaks off at row {number}"):
                cells = next(rows, None)
            if cells is None:
                return
            try:
                yield self.reader.record(Row(self.split, number, cells))
            except ValueError as error:
                yield BadExample(f"{self.split} row {number}", str(error))


def open_stream(
    name: str,
    streams: Mapping[str, StreamedRows],
    kinds: Mapping[str, str],
    own: TableSettings,
    options: SourceOptions,
    classes: Sequence[str],
    labels: Mapping[str, Sequence[str]],
    warnings: Sequence[str],
) -> Source:
    """A source whose training examples are streamed; validation and test are the first records of their streams.

    Without a stream for validation, a tenth of the training records is left out of training, by their names or content
    and the seed, and the first of these validate: ten times as many records are read to find them.
    """
    if "train" not in streams:
        raise ValueError(f"{name}: expected examples for training, found only {', '.join(streams)}")
    held_out, size = HeldOut(rule="rows"), own.validation_examples
    heads = {split: Head(stream, size, held_out, is_held=False) for split, stream in streams.items()}
    if "validation" not in streams:
        held_out = HeldOut(rule=options.split_rule, seed=options.split_seed or 0, count=size)
        heads["validation"] = Head(streams["train"], size, held_out, is_held=True)
    heads["train"] = Head(streams["train"], FITTED_TO, held_out, is_held=False)
    if not len(heads["train"]):
        least = " beside those that validate" if "validation" not in streams else ""
        raise ValueError(f"{name}: expected examples for training{least}, found none")
    heads = {split: heads[split] for split in SPLITS if len(heads.get(split, ()))}
    found = list(warnings)
    encoders = choose_encoders(name, kinds, heads["train"], options)
    encoders = fit_encoders(encoders, heads["train"], options, found)
    if missing := [split for split in SPLITS if split not in heads]:
        found.append(f"there is no split for {' and '.join(missing)}")
    source = encoded_source(
        name=name,
        records=heads,
        encoders=encoders,
        options=options,
        classes=classes,
        labels=labels,
        members=Members(rule=options.split_rule),
        warnings=tuple(found),
    )
    encoded = source.splits["train"]
    assert isinstance(encoded, EncodedRecords)
    train = StreamedExamples(
        records=streams["train"],
        encoded=replace(encoded, records=[]),
        buffer_size=own.buffer_size,
        held_out=held_out,
        max_examples=options.max_train_examples,
    )
    return replace(source, splits={**source.splits, "train": train})
