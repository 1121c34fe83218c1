"""Loaders: an endless training order that can be resumed at any batch, and one pass for evaluation.

The training order is a function of seed, epoch and the examples' names: orders of the whole dataset, one an epoch,
written one after the other and cut into batches. Where an example is listed, the number of workers and where a run was
stopped change nothing: a run resumed after k batches sees what an uninterrupted one would have seen. The same holds for
a stream, whose epochs are shuffled by a buffer; what was seen is then read once more and thrown away.
"""

import atexit
import contextlib
import errno
import itertools
import pickle
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from hiperceiver.data.collate import collate
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.example import AugmentedDataset, BadExample, Example, ExampleDataset, with_seed
from hiperceiver.data.members import mixed
from hiperceiver.data.record import Record, Table
from hiperceiver.data.streamed import StreamedExamples
from hiperceiver.modality import Batch
from hiperceiver.settings.base import one_line

_OPEN_FILES = 65_536  # that are enough
_FEWEST_FILES, _FEWEST_OF_A_WORKER = 48, 4
"""With fewer a worker may not even be able to say so: it would wait for ever."""

_SIGNALS = [getattr(signal, each) for each in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, each)]
"""What may be sent to workers too, and is for the main process."""

Key = tuple[int, int]  # (epoch, index in the dataset)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """How an endless order of records is cut into batches; fields as the arguments of `train_loader`."""

    batch_size: int
    seed: int
    start_batch: int = 0
    num_batches: int | None = None
    rank: int = 0
    num_ranks: int = 1

    def __post_init__(self) -> None:
        for name, least in [("batch_size", 1), ("seed", 0), ("start_batch", 0), ("num_batches", 0), ("num_ranks", 1)]:
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}: expected a whole number >= {least}, got {value}")
        if not 0 <= self.rank < self.num_ranks:
            raise ValueError(f"rank: expected 0 to {self.num_ranks - 1}, got {self.rank}")

    def batches(self) -> Iterator[range]:
        """The positions of each batch's records in the order. All ranks' batches of one step lie side by side."""
        for number in itertools.islice(itertools.count(self.start_batch), self.num_batches):
            first = (number * self.num_ranks + self.rank) * self.batch_size
            yield range(first, first + self.batch_size)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingOrder(Cut):
    """Which records stand in which batch: an iterable of lists of (epoch, index).

    >>> keys = np.arange(3, dtype=np.uint64)
    >>> order = TrainingOrder(keys=keys, batch_size=2, seed=0, num_batches=3)
    >>> [[epoch for epoch, _ in batch] for batch in order]
    [[0, 0], [0, 1], [1, 1]]
    >>> list(TrainingOrder(keys=keys, batch_size=2, seed=0, num_batches=1, start_batch=2)) == list(order)[2:]
    True
    """

    keys: np.ndarray  # the key of each record, uint64 (records,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not len(self.keys):
            raise ValueError("keys: expected one or more records, got none")

    def __len__(self) -> int:
        if self.num_batches is None:
            raise TypeError("the training order has no end")
        return self.num_batches

    def __iter__(self) -> Iterator[list[Key]]:
        permutation, its_epoch = np.empty(0, dtype=np.int64), -1
        for positions in self.batches():
            batch: list[Key] = []
            for position in positions:
                epoch, offset = divmod(position, len(self.keys))
                if epoch != its_epoch:
                    permutation = np.argsort(mixed(self.keys, self.seed, epoch), kind="stable")
                    its_epoch = epoch
                batch.append((epoch, int(permutation[offset])))
            yield batch


class _AugmentedByKey(Dataset[Example | BadExample]):
    """A dataset read by (epoch, index): what is random depends on the seed, the epoch and the name alone."""

    def __init__(self, dataset: ExampleDataset, keys: np.ndarray, seed: int) -> None:
        self.dataset = dataset
        self.keys = keys
        self.seed = seed
        self.is_augmented = isinstance(dataset, AugmentedDataset)  # once: it takes its time with a protocol

    def __getitem__(self, key: Key) -> Example | BadExample:
        epoch, index = key
        try:
            if self.is_augmented:
                rng = np.random.default_rng([self.seed, epoch, int(self.keys[index])])
                example = self.dataset.augmented(index, rng)  # pyright: ignore[reportAttributeAccessIssue]
            else:
                example = self.dataset[index]
            return with_seed(example, self.keys[index], self.seed, epoch)
        except Exception as error:
            error.add_note(f"while reading example {index} of epoch {epoch}")
            raise


class _StreamedBatches(IterableDataset[Any]):
    """The batches of a stream, as lists of examples; a fault of the stream itself is the last thing that it gives."""

    def __init__(self, stream: StreamedExamples, cut: Cut) -> None:
        self.stream = stream
        self.cut = cut

    def __iter__(self) -> Iterator[list[Example | BadExample] | ValueError]:
        records = enumerate(self._order())
        try:
            for positions in self.cut.batches():
                # Those of earlier batches and of other ranks are read and thrown away.
                remaining = itertools.dropwhile(lambda each, first=positions.start: each[0] < first, records)
                taken = itertools.islice(remaining, len(positions))
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


@dataclass(frozen=True)
class _Sent:
    """A batch on its way from a worker, made ready there.

    The thread that sends batches would only print a fault, and the main process would wait for ever.
    """

    content: bytes

    def received(self) -> Batch:
        """The batch, in the memory that the worker shares."""
        return pickle.loads(self.content)  # noqa: S301 - our own worker wrote it

    def pin_memory(self) -> Batch:
        """The batch in pinned memory."""
        return self.received().pin_memory()


def _collated(examples: Sequence[Example | BadExample] | ValueError) -> Batch | _Sent | ValueError:
    if isinstance(examples, ValueError):
        return examples
    batch = collate(examples)
    if get_worker_info() is None:
        return batch
    try:
        return _Sent(bytes(ForkingPickler.dumps(batch)))
    except (RuntimeError, OSError) as error:
        return _no_way_for_batches(error)


def _allow_open_files(num_workers: int) -> None:
    """Raise the limit of open files, which each tensor from a worker is, as far as a process may; refuse very few."""
    hard = -1
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    least = _FEWEST_FILES + _FEWEST_OF_A_WORKER * num_workers
    if 0 <= hard < least:  # RLIM_INFINITY is negative, or very large
        raise _no_way_for_batches(OSError(errno.EMFILE, f"expected {least} at least, got {hard}"))


def _has_too_many_files(error: Exception) -> bool:
    is_limit = isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)
    return is_limit or re.search("open files|ancdata", str(error)) is not None  # PyTorch's words


def _no_way_for_batches(error: Exception) -> ValueError:
    """What is said where a limit of the machine keeps workers from giving their batches."""
    reason = one_line(error)[:150]
    if _has_too_many_files(error):
        return ValueError(f"num_workers: too many open files ({reason}); raise ulimit -n, or set num_workers to 0")
    remedy = "make /dev/shm larger, or writable (docker: --shm-size), the batches smaller, or set num_workers to 0"
    return ValueError(f"num_workers: no shared memory for a batch ({reason}); {remedy}")


class _Workers(_MultiProcessingDataLoaderIter):
    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it could not begin, and has nothing to end
            super().__del__()


class ExampleLoader(DataLoader[Any]):
    """A PyTorch data loader of `Batch`. A stream that breaks off, or a bad example if `strict`, is a `ValueError`."""

    def __init__(self, dataset: Any, *, num_workers: int, strict: bool, seed: int = 0, **settings: Any) -> None:
        if num_workers < 0:
            raise ValueError(f"num_workers: expected a whole number >= 0, got {num_workers}")
        if num_workers:
            _allow_open_files(num_workers)
        super().__init__(
            dataset,
            num_workers=num_workers,
            collate_fn=_collated,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_leave_signals_to_the_main_process,
            # Its own generator, so that making an iterator draws nothing from the global one.
            generator=torch.Generator().manual_seed(seed),
            **settings,
        )
        self.strict = strict

    def check_worker_number_rationality(self) -> None:
        """No warning of more workers than cores: one that waits for a disk needs none of its own."""

    def _get_iterator(self) -> Any:
        return _Workers(self) if self.num_workers else super()._get_iterator()

    def __iter__(self) -> Iterator[Batch]:  # pyright: ignore[reportIncompatibleMethodOverride]
        try:
            with _signals_wait():
                batches = super().__iter__()
        except OSError as error:  # no lock can be made in shared memory, or no pipe
            raise _no_way_for_batches(error) from error
        if isinstance(batches, _Workers):
            # Should nobody take them all: Python sends each worker a SIGTERM, which it outlives, and waits for ever.
            atexit.register(batches._shutdown_workers)
        try:
            while (batch := self._next(batches)) is not None:
                if self.strict and batch.skipped:
                    raise ValueError(batch.skipped[0])
                yield batch
        finally:
            if isinstance(batches, _Workers):
                batches._shutdown_workers()  # an error keeps it alive
                atexit.unregister(batches._shutdown_workers)

    def _next(self, batches: Iterator[Batch | _Sent | ValueError]) -> Batch | None:
        """The next batch; None: there is none."""
        try:
            batch = next(batches, None)
            batch = batch.received() if isinstance(batch, _Sent) else batch
        except (ConnectionError, EOFError, FileNotFoundError) as error:
            raise RuntimeError(f"DataLoader worker ended before its batch was there ({one_line(error)})") from error
        except (OSError, RuntimeError) as error:
            if not _has_too_many_files(error):
                raise
            raise _no_way_for_batches(error) from error
        if isinstance(batch, ValueError):
            raise batch
        return batch


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """What comes while workers start waits, here until they are there and in them until they are ready for it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_signals_to_the_main_process(worker: int) -> None:
    """The main process stops its workers; without this each of them prints a traceback on Ctrl-C.

    SIGTERM may be sent to the whole group (by `timeout`, SLURM, systemd): the first one is for the main process, which
    still needs batches for the step that it is doing. What stops a worker that does not end by itself is another. By
    SIGUSR1 SLURM tells every process of a step, by SIGHUP a terminal all that it started.
    """

    def outlive_one(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    for each in _SIGNALS:
        signal.signal(each, outlive_one if each == signal.SIGTERM else signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


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
        dataset: the records, with random changes if it is an `AugmentedDataset`; the loader of a stream has no length.
        batch_size: records a batch, B.
        seed: of the order and of random changes.
        num_workers: processes that read, at most one of a stream; 0 reads in this one. The batches are the same.
        start_batch: batches that were seen already; the first one given is the next.
        num_batches: how many to give; None never ends.
        strict: raise `ValueError` at the first bad example instead of leaving it out.
        rank: which of the `num_ranks` processes that train together this is.
        num_ranks: each gets its own part of every `batch_size * num_ranks` records.

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
    how: dict[str, Any] = {"seed": seed, "strict": strict}
    if isinstance(dataset, StreamedExamples):
        batches = _StreamedBatches(dataset, Cut(**cut))
        return ExampleLoader(batches, batch_size=None, num_workers=min(num_workers, 1), **how)
    if len(dataset) == 0:
        raise ValueError("dataset: expected at least one example to train on, got none")
    keys = np.arange(len(dataset), dtype=np.uint64)
    if isinstance(dataset, EncodedRecords) and isinstance(dataset.records, Table):
        keys = dataset.records.row_keys
    order = TrainingOrder(keys=keys, **cut)
    return ExampleLoader(_AugmentedByKey(dataset, keys, seed), batch_sampler=order, num_workers=num_workers, **how)


def eval_loader(
    dataset: ExampleDataset, *, batch_size: int, num_workers: int = 0, strict: bool = False
) -> ExampleLoader:
    """One pass over a dataset in its own order, without random changes; the last batch may be smaller.

    Arguments as those of `train_loader`, but for streams; an empty dataset gives no batch.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: expected a whole number >= 1, got {batch_size}")
    return ExampleLoader(dataset, batch_size=batch_size, num_workers=num_workers, strict=strict)
