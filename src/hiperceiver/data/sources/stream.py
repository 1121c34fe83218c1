"""Sources whose training examples are streamed: tables of the hub or of a folder that are too large to be kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders.normalisation import FITTED_TO
from hiperceiver.data.example import BadExample
from hiperceiver.data.packages import import_extra
from hiperceiver.data.record import Record
from hiperceiver.data.sources.kinds import LOOKED_AT, offered_encoders
from hiperceiver.data.sources.rows import RowReader
from hiperceiver.data.sources.source import TARGETS, CommonOptions, Source, make_source
from hiperceiver.data.sources.tables import one_line, quiet
from hiperceiver.data.streamed import Head, StreamedExamples


class StreamedRows:
    """The rows of a streamed table as records; each pass begins anew."""

    def __init__(self, table: Any, reader: RowReader, split: str) -> None:
        """Args: a `datasets.IterableDataset` that decodes nothing; how its rows are read; our name of its split."""
        self.table = table
        self.reader = reader
        self.split = split

    def __iter__(self) -> Iterator[Record | BadExample]:
        """The records, or what is wrong with a row.

        Raises:
            ValueError: the stream breaks off, which is more than one bad example.
        """
        datasets = import_extra("datasets", extra="data")
        rows = iter(self.table)
        number = 0
        while True:
            try:
                with quiet(datasets):
                    cells = next(rows)
            except StopIteration:
                return
            except Exception as error:  # network, damaged files: many kinds
                raise ValueError(f"{self.split}: the stream breaks off at row {number}: {one_line(error)}") from error
            try:
                yield self.reader.record(cells, self.split, number)
            except ValueError as error:
                yield BadExample(f"{self.split} row {number}", str(error))
            number += 1


def open_stream(
    name: str,
    streams: Mapping[str, StreamedRows],
    kinds: Mapping[str, str],
    options: CommonOptions,
    *,
    classes: Sequence[str] = (),
    labels: Mapping[str, Sequence[str]] | None = None,
    validation_examples: int = 512,
    buffer_size: int = 1024,
    warnings: Sequence[str] = (),
) -> Source:
    """A source whose training examples are streamed.

    Its split `train` is a `StreamedExamples`, which only `train_loader` reads. `validation` and `test` are the first
    records of these streams, kept in memory once they are needed. Without a stream for validation, the first training
    records validate, and training leaves them out; if it is sorted by class, these are not like the rest. Encoders are
    fitted to the first 256 training records.

    Args:
        name: as the user asked for it.
        streams: by split.
        kinds: modality -> kind.
        options: what the user asked for.
        classes: names of the labels.
        labels: for joint labels, name -> names of its classes, none for a number.
        validation_examples: records that validate and test, at most.
        buffer_size: records that are shuffled at a time.
        warnings: what was odd.

    Raises:
        ValueError: there is nothing to train on, or an option does not fit the data.
    """
    if validation_examples < 1:
        raise ValueError(f"validation_examples: expected a whole number >= 1, got {validation_examples}")
    num_left_out = 0 if "validation" in streams else validation_examples
    heads = {
        "train": Head(streams["train"], FITTED_TO, start=num_left_out),
        "validation": Head(streams.get("validation", streams["train"]), validation_examples),
    }
    if "test" in streams:
        heads["test"] = Head(streams["test"], validation_examples)
    if not len(heads["train"]):
        least = f" beside the {num_left_out} that validate (validation_examples)" if num_left_out else ""
        raise ValueError(f"{name}: expected examples for training{least}, found none")
    train = EncodedRecords(records=heads["train"], encoders={})
    # The task's targets come afterwards: the head of a stream need not hold every class.
    fitted = make_source(
        name=name,
        records=heads,
        encoders=offered_encoders(name, kinds, lambda modality: train.raws(modality, LOOKED_AT), options),
        options=replace(options, task="none", max_train_examples=None),
        warnings=warnings,
    )
    targets = tuple(labels or ()) if options.task == "joint" else TARGETS[options.task]
    splits: dict[str, Any] = {
        split: replace(part, targets=targets, num_classes=len(classes))
        for split, part in fitted.splits.items()
        if isinstance(part, EncodedRecords)
    }
    splits["train"] = StreamedExamples(
        records=streams["train"],
        encoded=replace(splits["train"], records=[]),
        buffer_size=buffer_size,
        num_left_out=num_left_out,
        max_examples=options.max_train_examples,
    )
    return replace(
        fitted,
        task=options.task,
        splits=splits,
        classes=() if options.task in ("none", "joint") else tuple(classes),
        labels={each: tuple(names) for each, names in (labels or {}).items()} if options.task == "joint" else {},
    )
