"""Sources whose training examples are streamed: tables of the hub or of a folder that are too large to be kept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders.normalisation import FITTED_TO
from hiperceiver.data.example import BadExample
from hiperceiver.data.members import Members
from hiperceiver.data.packages import import_extra
from hiperceiver.data.record import Record
from hiperceiver.data.sources.hub import one_line, quiet
from hiperceiver.data.sources.rows import RowReader
from hiperceiver.data.sources.source import TARGETS, Source, SourceOptions, choose_encoders, fit_encoders
from hiperceiver.data.streamed import Head, HeldOut, StreamedExamples
from hiperceiver.settings.data import TableSettings


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
    own: TableSettings,
    options: SourceOptions,
    classes: Sequence[str],
    labels: Mapping[str, Sequence[str]],
    warnings: Sequence[str],
) -> Source:
    """A source whose training examples are streamed.

    Its split `train` is a `StreamedExamples`, which only `train_loader` reads. `validation` and `test` are the first
    records of these streams, kept in memory once they are needed. Without a stream for validation, a tenth of the
    training records is left out of training, by their names or content and the seed, and the first of these validate:
    ten times as many records are read to find them. Encoders are fitted to the first 256 training records.

    Args:
        name: as the user gave it.
        streams: by split.
        kinds: modality -> kind.
        own: how much of the streams validates and is shuffled.
        options: what the user chose.
        classes: names of the labels.
        labels: for joint labels, name -> names of its classes, none for a number.
        warnings: what was odd.

    Raises:
        ValueError: there is nothing to train on, or an option does not fit the data.
    """
    whole, count = HeldOut(rule="rows"), own.validation_examples
    held_out = whole
    if "validation" not in streams:
        held_out = HeldOut(rule=options.split_rule, seed=options.split_seed or 0, count=count)
    heads = {
        "train": Head(streams["train"], FITTED_TO, held_out, is_held=False),
        "validation": Head(streams["train"], count, held_out, is_held=True),
        **{
            split: Head(streams[split], count, whole, is_held=False)
            for split in ("validation", "test")
            if split in streams
        },
    }
    if not len(heads["train"]):
        least = " beside those that validate" if "validation" not in streams else ""
        raise ValueError(f"{name}: expected examples for training{least}, found none")
    heads = {split: head for split, head in heads.items() if len(head)}
    encoders = choose_encoders(name, kinds, heads["train"], options)
    found = list(warnings)
    encoders = fit_encoders(encoders, heads["train"], options, found)
    targets = tuple(labels) if options.task == "joint" else TARGETS[options.task]
    encoded = {
        split: EncodedRecords(
            records=head, encoders=encoders, targets=targets, num_classes=len(classes), missing=options.missing
        )
        for split, head in heads.items()
    }
    splits: dict[str, Any] = {**encoded}
    splits["train"] = StreamedExamples(
        records=streams["train"],
        encoded=replace(encoded["train"], records=[], augmentations=options.augmentations),
        buffer_size=own.buffer_size,
        held_out=held_out,
        max_examples=options.max_train_examples,
    )
    missing = " and ".join(split for split in ("validation", "test") if split not in heads)
    return Source(
        name=name,
        task=options.task,
        encoders=encoders,
        splits=splits,
        classes=() if options.task in ("none", "joint") else tuple(classes),
        labels={each: tuple(names) for each, names in labels.items()} if options.task == "joint" else {},
        members=Members(rule=options.split_rule),
        warnings=(*found, *([f"there is no split for {missing}"] if missing else [])),
    )
