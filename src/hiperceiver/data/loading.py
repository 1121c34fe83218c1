"""Loaders: an endless training order that can be taken up at any batch, and one pass for evaluation.

The training order is a function of seed, epoch and the examples' names: epoch after epoch, each an order of the whole
dataset, written one after the other and cut into batches. Nothing of it depends on where an example is listed, on the
number of workers or on where a run was stopped,
so a run that is taken up again after k batches sees exactly what an uninterrupted one would have seen. The same holds
for a stream, whose epochs are shuffled by a buffer; what was seen is then read once more and thrown away.
"""

import itertools
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from hiperceiver.data.collate import collate
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.example import AugmentedDataset, BadExample, Example, ExampleDataset
from hiperceiver.data.members import mixed
from hiperceiver.data.record import Record, Table
from hiperceiver.data.streamed import StreamedExamples
from hiperceiver.modality import Batch

Key = tuple[int, int]
"""(epoch, index in the dataset)."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How an endless order of records is cut into batches."""

    batch_size: int
    """Records a batch, B."""
    seed: int
    """Of the order and of random changes."""
    start_batch: int = 0
    """Batches that were seen already."""
    num_batches: int | None = None
    """How many to give; None never ends."""
    rank: int = 0
    """Which of the processes that train together this is."""
    num_ranks: int = 1
    """How many train together. All ranks' batches of one step lie side by side in the order."""

    def __post_init__(self) -> None:
        for name, least in [("batch_size", 1), ("seed", 0), ("start_batch", 0), ("num_batches", 0), ("num_ranks", 1)]:
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}: expected a whole number >= {least}, got {value}")
        if not 0 <= self.rank < self.num_ranks:
            raise ValueError(f"rank: expected 0 to {self.num_ranks - 1}, got {self.rank}")

    def numbers(self) -> Iterator[int]:
        """The batches' numbers, from 0 at the beginning of the order."""
        for number in itertools.count(self.start_batch):
            if self.num_batches is not None and number >= self.start_batch + self.num_batches:
                return
            yield number

    def first(self, number: int) -> int:
        """The place in the order of the first record of a batch."""
        return (number * self.num_ranks + self.rank) * self.batch_size


class TrainingOrder:
    """Which records stand in which batch: an iterable of lists of (epoch, index).

    >>> keys = np.arange(3, dtype=np.uint64)
    >>> order = TrainingOrder(keys=keys, batch_size=2, seed=0, num_batches=3)
    >>> [[epoch for epoch, _ in batch] for batch in order]
    [[0, 0], [0, 1], [1, 1]]
    >>> list(TrainingOrder(keys=keys, batch_size=2, seed=0, num_batches=1, start_batch=2)) == list(order)[2:]
    True
    """

    def __init__(self, *, keys: np.ndarray, **cut: Any) -> None:
        """Args: the key of each record, uint64 (records,); and fields of `Cut`."""
        if not len(keys):
            raise ValueError("keys: expected one or more records, got none")
        self.keys = keys
        self.cut = Cut(**cut)

    def __len__(self) -> int:
        if self.cut.num_batches is None:
            raise TypeError("the training order has no end")
        return self.cut.num_batches

    def __iter__(self) -> Iterator[list[Key]]:
        permutation, its_epoch = np.empty(0, dtype=np.int64), -1
        for number in self.cut.numbers():
            batch: list[Key] = []
            first = self.cut.first(number)
            for place in range(first, first + self.cut.batch_size):
                epoch, offset = divmod(place, len(self.keys))
                if epoch != its_epoch:
                    permutation = np.argsort(mixed(self.keys, self.cut.seed, epoch), kind="stable")
                    its_epoch = epoch
                batch.append((epoch, int(permutation[offset])))
            yield batch


class _AugmentedByKey(Dataset[Example | BadExample]):
    """A dataset read by (epoch, index), with random changes that depend on the seed, the epoch and the name alone."""

    def __init__(self, dataset: ExampleDataset, keys: np.ndarray, seed: int) -> None:
        self.dataset = dataset
        self.keys = keys
        # Asked once: a protocol takes its time to answer.
        self.augmented_dataset = dataset if isinstance(dataset, AugmentedDataset) else None
        self.seed = seed

    def __getitem__(self, key: Key) -> Example | BadExample:
        epoch, index = key
        try:
            if self.augmented_dataset is not None:
                return self.augmented_dataset.augmented(
                    index, np.random.default_rng([self.seed, epoch, int(self.keys[index])])
                )
            return self.dataset[index]
        except Exception as error:
            error.add_note(f"while reading example {index} of epoch {epoch}")
            raise


class _StreamedBatches(IterableDataset[Any]):
    """The batches of a stream, as lists of examples; a fault of the stream itself is the last thing that it gives."""

    def __init__(self, stream: StreamedExamples, cut: Cut) -> None:
        self.stream = stream
        self.cut = cut

    def __iter__(self) -> Iterator[list[Example | BadExample] | ValueError]:
        places = enumerate(self._order())
        try:
            for number in self.cut.numbers():
                first = self.cut.first(number)
                its_places = itertools.dropwhile(lambda each, first=first: each[0] < first, places)
                taken = itertools.islice(its_places, self.cut.batch_size)
                yield [self.stream.example(*record, seed=self.cut.seed) for _, record in taken]
        except ValueError as error:
            yield error  # raised in the main process: what a worker raises arrives as many lines

    def _order(self) -> Iterator[tuple[int, int, Record | BadExample]]:
        for epoch in itertools.count():
            record = None
            for record in self.stream.shuffled(seed=self.cut.seed, epoch=epoch):
                yield record
            if record is None:
                raise ValueError("dataset: expected at least one example to train on, got none")


def _collated(examples: Sequence[Example | BadExample] | ValueError) -> Batch | ValueError:
    return examples if isinstance(examples, ValueError) else collate(examples)


class ExampleLoader(DataLoader[Any]):
    """A PyTorch data loader of `Batch`, which in `strict` mode raises at the first bad example."""

    strict = False

    def __iter__(self) -> Iterator[Batch]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The batches in their order.

        Raises:
            ValueError: an example is bad, and the loader is strict; or a stream breaks off.
        """
        batches = super().__iter__()
        if self.strict or isinstance(self.dataset, _StreamedBatches):
            return _without_faults(batches, strict=self.strict)
        return batches


def train_loader(
    dataset: ExampleDataset | StreamedExamples,
    *,
    batch_size: int,
    seed: int,
    num_workers: int = 0,
    start_batch: int = 0,
    num_batches: int | None = None,
    strict: bool = False,
    rank: int = 0,
    num_ranks: int = 1,
) -> ExampleLoader:
    """Batches for training, without end, in an order that is a function of `seed`.

    Every batch takes `batch_size` records, across the border of an epoch too; it holds fewer if some were bad.

    Args:
        dataset: the records; one with a method `augmented(index, rng)` is read through it. Or a stream of them; its
            loader has no length.
        batch_size: records a batch, B.
        seed: of the order and of random changes.
        num_workers: processes that read; 0 reads in this one. The batches are the same. At most one reads a stream.
        start_batch: batches that were seen already; the first one given is the next.
        num_batches: how many to give; None never ends.
        strict: raise `ValueError` at the first bad example instead of leaving it out.
        rank: which of the processes that train together this is.
        num_ranks: how many train together; each gets its own part of every `batch_size * num_ranks` records.

    Raises:
        ValueError: the dataset is empty, or a number is out of its range.

    >>> x = [Example(inputs={"image": torch.full((1, 1), float(i))}) for i in range(4)]
    >>> batch = next(iter(train_loader(x, batch_size=4, seed=0)))
    >>> sorted(batch.inputs["image"].flatten().tolist())
    [0.0, 1.0, 2.0, 3.0]
    """
    cut = {
        "batch_size": batch_size,
        "seed": seed,
        "start_batch": start_batch,
        "num_batches": num_batches,
        "rank": rank,
        "num_ranks": num_ranks,
    }
    if isinstance(dataset, StreamedExamples):
        settings = {**_settings(min(num_workers, 1), seed), "collate_fn": _collated}
        loader = ExampleLoader(_StreamedBatches(dataset, Cut(**cut)), batch_size=None, **settings)
    elif len(dataset) == 0:
        raise ValueError("dataset: expected at least one example to train on, got none")
    else:
        keys = _keys(dataset)
        order = TrainingOrder(keys=keys, **cut)
        loader = ExampleLoader(
            _AugmentedByKey(dataset, keys, seed), batch_sampler=order, **_settings(num_workers, seed)
        )
    loader.strict = strict
    return loader


def _keys(dataset: ExampleDataset) -> np.ndarray:
    """The key of each example; its number, where examples have no names."""
    if isinstance(dataset, EncodedRecords) and isinstance(dataset.records, Table):
        return dataset.records.row_keys
    return np.arange(len(dataset), dtype=np.uint64)


def eval_loader(
    dataset: ExampleDataset, *, batch_size: int, num_workers: int = 0, strict: bool = False
) -> ExampleLoader:
    """One pass over a dataset in its own order, without random changes; the last batch may be smaller.

    Args:
        dataset: the records.
        batch_size: records a batch, B.
        num_workers: processes that read; 0 reads in this one.
        strict: raise `ValueError` at the first bad example instead of leaving it out.

    Raises:
        ValueError: `batch_size` or `num_workers` is out of its range.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: expected a whole number >= 1, got {batch_size}")
    loader = ExampleLoader(dataset, batch_size=batch_size, **_settings(num_workers, 0))  # pyright: ignore[reportArgumentType]
    loader.strict = strict
    return loader


def _settings(num_workers: int, seed: int) -> dict[str, Any]:
    if num_workers < 0:
        raise ValueError(f"num_workers: expected a whole number >= 0, got {num_workers}")
    return {
        "num_workers": num_workers,
        "collate_fn": collate,
        "pin_memory": torch.cuda.is_available(),
        "worker_init_fn": _leave_interrupts_to_the_main_process,
        # Its own generator, so that making an iterator draws nothing from the global one.
        "generator": torch.Generator().manual_seed(seed),
    }


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    """On Ctrl-C the main process stops its workers; without this each of them prints a traceback first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _without_faults(batches: Iterator[Batch | ValueError], *, strict: bool) -> Iterator[Batch]:
    for batch in batches:
        if isinstance(batch, ValueError):
            raise batch
        if strict and batch.skipped:
            raise ValueError(batch.skipped[0])
        yield batch
