"""The training order can be taken up anywhere, does not depend on the workers, and one bad record ends nothing."""

import errno
import gc
import multiprocessing.context
import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from hiperceiver.data import loading
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders.series import SeriesEncoder
from hiperceiver.data.example import BadExample, Example
from hiperceiver.data.loading import TrainingOrder, eval_loader, train_loader
from hiperceiver.data.members import hash_names
from hiperceiver.data.record import Record
from hiperceiver.data.streamed import Head, HeldOut, StreamedExamples


class Numbers:
    """Record i holds i and, when augmented, a random number; multiples of `bad_every` are bad."""

    def __init__(self, count: int, *, bad_every: int | None = None) -> None:
        self.count = count
        self.bad_every = bad_every

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example | BadExample:
        return self.read(index, 0.0)

    def augmented(self, index: int, rng: np.random.Generator) -> Example | BadExample:
        return self.read(index, float(rng.random()))

    def read(self, index: int, change: float) -> Example | BadExample:
        if self.bad_every and index % self.bad_every == 0:
            return BadExample(f"number {index}", "is bad")
        return Example(inputs={"x": torch.tensor([[float(index), change]])}, name=f"number {index}")


class Deadly(Numbers):
    """The process that reads record 3 dies at once, as if the system had killed it."""

    def read(self, index: int, change: float) -> Example | BadExample:
        if index == 3:
            os._exit(9)
        return super().read(index, change)


class Faulty(Numbers):
    """A mistake of ours in reading, which is not a bad record."""

    def read(self, index: int, change: float) -> Example | BadExample:
        raise RuntimeError("our own mistake")


def taken(dataset: Numbers, count: int, **settings: object) -> list[list[list[float]]]:
    """The first `count` batches, as [index, random change] of each record."""
    loader = train_loader(dataset, **{"batch_size": 4, "seed": 3, **settings})
    return [batch.inputs["x"][:, 0].tolist() for batch in islice(loader, count)]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_run_taken_up_again_sees_the_same_batches(num_workers: int) -> None:
    uninterrupted = taken(Numbers(11), 9)
    # 11 records in fours: batch 3 is the first that holds records of two epochs.
    for start in (0, 1, 2, 3, 5, 8):
        again = taken(Numbers(11), 9 - start, start_batch=start, num_workers=num_workers)
        assert again == uninterrupted[start:]


def test_more_workers_than_cores_are_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert taken(Numbers(11), 3, num_workers=2) == taken(Numbers(11), 3)


def test_a_program_ends_though_it_has_not_taken_all_batches() -> None:
    """Its own error is the last that it says."""
    program = """
import numpy as np
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders import VectorEncoder
from hiperceiver.data.loading import train_loader
from hiperceiver.data.record import Table
table = Table(names=["a", "b", "c"], raws={"x": [np.ones(4)] * 3})
dataset = EncodedRecords(records=table, encoders={"x": VectorEncoder(features=4, split=1)}, targets=(), num_classes=0)
batches = iter(train_loader(dataset, batch_size=2, seed=0, num_workers=2))
print(len(next(batches)))
raise ValueError("the last word")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=250, check=False)
    assert (result.stdout, result.stderr.splitlines()[-1]) == ("2\n", "ValueError: the last word")


def test_every_epoch_holds_every_record_once() -> None:
    indices = [int(index) for batch in taken(Numbers(11), 11) for index, _ in batch]
    for epoch in range(4):
        assert sorted(indices[11 * epoch : 11 * (epoch + 1)]) == list(range(11))
    assert indices[:11] != indices[11:22]
    assert all(len(batch) == 4 for batch in taken(Numbers(11), 11))


def test_a_batch_may_be_larger_than_the_dataset() -> None:
    counts = Counter(int(index) for index, _ in taken(Numbers(3), 1, batch_size=9)[0])
    assert counts == {0: 3, 1: 3, 2: 3}


def test_order_and_changes_depend_on_the_seed() -> None:
    first, second = taken(Numbers(50), 5), taken(Numbers(50), 5, seed=4)
    assert [[i for i, _ in batch] for batch in first] != [[i for i, _ in batch] for batch in second]
    changes = [change for batch in taken(Numbers(50), 25) for _, change in batch]
    assert len(set(changes)) == len(changes)  # every record of every epoch has its own


def test_making_a_loader_draws_nothing_from_the_global_generators() -> None:
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    taken(Numbers(11), 3)
    list(eval_loader(Numbers(3), batch_size=2))
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_ranks_share_the_order_of_one_large_batch() -> None:
    together = taken(Numbers(11), 5, batch_size=4)
    parts = [taken(Numbers(11), 5, batch_size=2, rank=rank, num_ranks=2) for rank in (0, 1)]
    assert [first + second for first, second in zip(*parts, strict=True)] == together


def test_number_of_batches() -> None:
    loader = train_loader(Numbers(5), batch_size=2, seed=0, start_batch=4, num_batches=3)
    assert len(loader) == len(list(loader)) == 3
    endless = train_loader(Numbers(5), batch_size=2, seed=0)
    with pytest.raises(TypeError, match="no end"):
        len(endless)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_records_are_skipped_counted_and_named(num_workers: int) -> None:
    batches = list(eval_loader(Numbers(10, bad_every=3), batch_size=4, num_workers=num_workers))
    assert [len(batch) for batch in batches] == [2, 3, 1]
    assert [name for batch in batches for name in batch.skipped] == [f"number {i}: is bad" for i in (0, 3, 6, 9)]
    training = train_loader(Numbers(10, bad_every=3), batch_size=5, seed=0, num_workers=num_workers, num_batches=4)
    assert sum(len(batch) for batch in training) == 12
    assert sum(len(batch.skipped) for batch in training) == 8


def test_a_dataset_of_bad_records_gives_empty_batches() -> None:
    batches = list(train_loader(Numbers(4, bad_every=1), batch_size=2, seed=0, num_batches=3))
    assert [len(batch) for batch in batches] == [0, 0, 0]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_strict_raises_one_line_at_the_first_bad_record(num_workers: int) -> None:
    with pytest.raises(ValueError, match=r"^number 0: is bad$"):
        list(eval_loader(Numbers(4, bad_every=2), batch_size=4, num_workers=num_workers, strict=True))
    with pytest.raises(ValueError, match=r"^number \d: is bad$"):
        list(train_loader(Numbers(4, bad_every=2), batch_size=4, seed=0, num_workers=num_workers, strict=True))


def test_a_worker_does_not_die_in_silence() -> None:
    with pytest.raises(RuntimeError, match="worker"):
        list(eval_loader(Deadly(8), batch_size=2, num_workers=1))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    "reason", ["No space left on device (28)", "Read-only file system (30)", "Cannot allocate memory"]
)
def test_workers_without_shared_memory_end_with_a_line(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    def share(*arguments: object) -> None:
        raise RuntimeError(f"unable to open shared memory object </torch_1> in read-write mode: {reason}")

    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", share)
    with pytest.raises(ValueError, match=r"^num_workers: no shared memory for a batch .*/dev/shm larger.*--shm-size"):
        list(eval_loader(Numbers(8), batch_size=2, num_workers=1))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("where", ["in the worker", "in the main process", "in PyTorch"])
def test_workers_without_open_files_end_with_a_line(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Each tensor on its way is an open file."""

    def fail(*arguments: object) -> None:
        if where == "in PyTorch":
            raise RuntimeError("received 0 items of ancdata")
        raise OSError(errno.EMFILE, "Too many open files")

    if where == "in the worker":
        monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", fail)
    else:
        monkeypatch.setattr(loading._Sent, "received", fail)
    with pytest.raises(
        ValueError, match=r"^num_workers: too many open files .*; raise ulimit -n, or set num_workers to"
    ):
        list(eval_loader(Numbers(8), batch_size=2, num_workers=1))


@pytest.mark.parametrize("num_made", range(3))
def test_workers_that_cannot_begin_leave_nothing_behind(num_made: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No lock can be made in shared memory, the first or a later one: a line, and no error of what is thrown away."""
    left = iter(range(num_made))
    whole, failed = multiprocessing.context.BaseContext.Lock, []

    def lock(context: Any) -> Any:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(context)

    monkeypatch.setattr(multiprocessing.context.BaseContext, "Lock", lock)
    monkeypatch.setattr(sys, "unraisablehook", failed.append)
    with pytest.raises(ValueError, match=r"^num_workers: no shared memory for a batch .*/dev/shm"):
        list(eval_loader(Numbers(8), batch_size=2, num_workers=2))
    gc.collect()
    assert failed == []


@pytest.mark.parametrize(("hard", "num_workers"), [(32, 1), (32, 2), (64, 8)])
def test_very_few_open_files_are_refused_before_workers_start(
    hard: int, num_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that can open nothing cannot say so."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (hard, hard))
    message = rf"^num_workers: too many open files .*got {hard}.*; raise ulimit -n, or set num_workers to 0$"
    with pytest.raises(ValueError, match=message):
        eval_loader(Numbers(8), batch_size=2, num_workers=num_workers)
    assert len(list(eval_loader(Numbers(8), batch_size=2, num_workers=0))) == 4


def test_workers_may_open_as_many_files_as_the_machine_lets_them() -> None:
    """A usual limit, 1024, may be raised by any process up to the hard one."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 500), hard))
    try:
        eval_loader(Numbers(8), batch_size=2, num_workers=1)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(hard, 65536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_our_own_mistakes_are_not_skipped(num_workers: int) -> None:
    with pytest.raises(RuntimeError, match="our own mistake") as caught:
        next(iter(train_loader(Faulty(4), batch_size=2, seed=0, num_workers=num_workers)))
    told = "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "while reading example" in told


def test_evaluation_reads_every_record_once_without_changes() -> None:
    batches = list(eval_loader(Numbers(5), batch_size=2))
    assert [batch.inputs["x"][:, 0, 0].tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
    assert all((batch.inputs["x"][..., 1] == 0).all() for batch in batches)
    assert list(eval_loader(Numbers(0), batch_size=2)) == []


def test_loaders_can_be_sent_to_another_process() -> None:
    loader = train_loader(Numbers(5), batch_size=2, seed=0)
    copy = pickle.loads(pickle.dumps(loader.dataset))  # noqa: S301 - our own bytes
    assert copy[0, 1].name == "number 1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected a whole number >= 1, got 0"),
        ({"seed": -1}, "seed: expected a whole number >= 0, got -1"),
        ({"start_batch": -1}, "start_batch: expected a whole number >= 0, got -1"),
        ({"num_workers": -1}, "num_workers: expected a whole number >= 0, got -1"),
        ({"rank": 2, "num_ranks": 2}, "rank: expected 0 to 1, got 2"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        train_loader(Numbers(5), **{"batch_size": 2, "seed": 0, **settings})


def test_an_empty_dataset_cannot_be_trained_on() -> None:
    with pytest.raises(ValueError, match="dataset: expected at least one example"):
        train_loader(Numbers(0), batch_size=2, seed=0)
    with pytest.raises(ValueError, match="keys: expected one or more records, got none"):
        TrainingOrder(keys=np.zeros(0, dtype=np.uint64), batch_size=1, seed=0)


def test_the_order_follows_from_names_and_seed() -> None:
    """Wherever examples are listed, and whichever others there are."""
    keys = hash_names([f"{n}.jpg" for n in range(40)])

    def order(keys: np.ndarray, epoch: int = 0, seed: int = 0) -> list[int]:
        parts = TrainingOrder(keys=keys, batch_size=len(keys), seed=seed, start_batch=epoch, num_batches=1)
        return [int(keys[index]) for batch in parts for _, index in batch]

    assert order(keys) == order(keys[::-1]) == order(keys[np.argsort(keys)])
    assert len({tuple(order(keys, epoch, seed)) for epoch in range(3) for seed in range(3)}) == 9
    more = np.concatenate([hash_names(["new.jpg"]), keys])
    assert [key for key in order(more) if key in keys] == order(keys)


# ---- streams


class Stream:
    """Records 0, 1, 2, ...; the one of number `bad` cannot be read, and at `broken` the stream itself breaks off."""

    def __init__(self, count: int, *, bad: int | None = None, broken: int | None = None) -> None:
        self.count = count
        self.bad = bad
        self.broken = broken
        self.num_read = 0

    def __iter__(self) -> Iterator[Record | BadExample]:
        for number in range(self.count):
            if number == self.broken:
                raise ValueError("the stream breaks off")
            self.num_read += 1
            if number == self.bad:
                yield BadExample(f"number {number}", "is bad")
            else:
                key = int(hash_names([str(number)])[0])
                yield Record(name=f"number {number}", raws={"x": np.array([float(number)])}, key=key)


def streamed(stream: Stream, **settings: Any) -> StreamedExamples:
    encoded = EncodedRecords(records=[], encoders={"x": SeriesEncoder(length=1)})
    return StreamedExamples(records=stream, encoded=encoded, **{"buffer_size": 4, **settings})


def numbers_of(stream: StreamedExamples, count: int, **settings: Any) -> list[list[int]]:
    loader = train_loader(stream, **{"batch_size": 4, "seed": 3, **settings})
    return [batch.inputs["x"].flatten().int().tolist() for batch in islice(loader, count)]


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_a_streamed_run_taken_up_again_sees_the_same_batches(num_workers: int) -> None:
    uninterrupted = numbers_of(streamed(Stream(11)), 9)
    for start in (0, 1, 3, 8):
        again = numbers_of(streamed(Stream(11)), 9 - start, start_batch=start, num_workers=num_workers)
        assert again == uninterrupted[start:]
    assert numbers_of(streamed(Stream(11)), 99, num_batches=5, num_workers=num_workers) == uninterrupted[:5]


def test_an_epoch_of_a_stream_holds_every_record_once() -> None:
    numbers = [number for batch in numbers_of(streamed(Stream(11)), 11) for number in batch]
    for epoch in range(4):
        assert sorted(numbers[11 * epoch : 11 * (epoch + 1)]) == list(range(11))
    assert numbers[:11] != numbers[11:22]
    assert numbers[:11] != list(range(11))
    assert numbers_of(streamed(Stream(11), buffer_size=1), 2) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert numbers_of(streamed(Stream(50)), 5) != numbers_of(streamed(Stream(50)), 5, seed=4)


def test_a_stream_is_read_no_further_than_needed() -> None:
    stream = Stream(10**9)
    numbers_of(streamed(stream, held_out=HeldOut(rule="rows", count=5)), 2)
    assert stream.num_read <= 5 + 2 * 4 + 4 + 1


def test_parts_of_a_stream() -> None:
    few = [
        number
        for batch in numbers_of(streamed(Stream(20), held_out=HeldOut(rule="rows", count=3), max_examples=6), 3)
        for number in batch
    ]
    assert set(few) == set(range(3, 9))
    head = Head(Stream(20), 4, HeldOut(rule="rows", count=2), is_held=False)
    assert [head[n].name for n in range(len(head))] == [f"number {n}" for n in (2, 3, 4, 5)]
    with pytest.raises(ValueError, match="number 2: is bad"):
        Head(Stream(20, bad=2), 4, HeldOut(rule="rows", count=4), is_held=True)[2]
    for name in ("buffer_size", "max_examples"):
        with pytest.raises(ValueError, match=f"{name}: expected a whole number >= 1, got 0"):
            streamed(Stream(3), **{name: 0})
    by_name = HeldOut(seed=3)
    numbers = [number for number, record in enumerate(Stream(200)) if by_name.holds(number, record)]
    assert 5 <= len(numbers) <= 40
    trained = [number for batch in numbers_of(streamed(Stream(200), held_out=by_name), 60) for number in batch]
    assert set(trained) == set(range(200)) - set(numbers)
    assert not by_name.holds(numbers[0], BadExample("number", "is bad"))


def test_ranks_share_the_order_of_a_stream() -> None:
    together = numbers_of(streamed(Stream(11)), 5)
    parts = [numbers_of(streamed(Stream(11)), 5, batch_size=2, rank=rank, num_ranks=2) for rank in (0, 1)]
    assert [first + second for first, second in zip(*parts, strict=True)] == together


@pytest.mark.parametrize("num_workers", [0, 1])
def test_faults_of_streams(num_workers: int) -> None:
    settings: dict[str, Any] = {"batch_size": 5, "seed": 0, "num_workers": num_workers}
    batches = list(train_loader(streamed(Stream(10, bad=3)), num_batches=2, **settings))
    assert sum(len(batch) for batch in batches) == 9
    assert [name for batch in batches for name in batch.skipped] == ["number 3: is bad"]
    with pytest.raises(ValueError, match=r"^number 3: is bad$"):
        list(train_loader(streamed(Stream(10, bad=3)), num_batches=2, strict=True, **settings))
    with pytest.raises(ValueError, match=r"^the stream breaks off$"):
        list(train_loader(streamed(Stream(10, broken=7)), **settings))
    with pytest.raises(ValueError, match=r"^dataset: expected at least one example to train on, got none$"):
        list(train_loader(streamed(Stream(0)), **settings))
    with pytest.raises(TypeError):
        len(train_loader(streamed(Stream(9)), num_batches=2, **settings))
    with pytest.raises(ValueError, match="batch_size: expected a whole number >= 1, got 0"):
        train_loader(streamed(Stream(9)), batch_size=0, seed=0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_to_a_worker_that_is_only_starting_does_not_end_it(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When PyTorch has set its own handlers, and ours are not there yet."""
    handlers = torch.utils.data._utils.signal_handling
    their = handlers._set_worker_signal_handlers

    def set_and_be_told() -> None:
        their()
        os.kill(os.getpid(), number)

    monkeypatch.setattr(handlers, "_set_worker_signal_handlers", set_and_be_told)
    assert len(list(eval_loader(Numbers(8), batch_size=2, num_workers=2))) == 4
