"""Exchange between the processes that train together, beside gradients."""

import contextlib
import datetime
import os
import re
import sys
import threading
import time
import traceback
from typing import Any

import torch.distributed as dist
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage] - documented

from hiperceiver.training.errors import TrainingError
from hiperceiver.training.launch import Launch

_TIMEOUT = datetime.timedelta(minutes=30)
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_END = 10.0
_SECONDS_TO_BE_READ = 30.0
_FAILURE, _IS_READ = "failure", "is read"


class Processes:
    """The processes that train together. With one, every method returns its own value.

    Values travel between CPUs, whatever the devices do. `gather`, `broadcast` and `close` are called by all processes
    in the same order.

    Args:
        launch: how many there are, and the rank of this one.

    >>> Processes(Launch()).gather("alone")
    ['alone']
    """

    def __init__(self, launch: Launch):
        self.launch = launch
        self.rank = launch.rank
        self.num_ranks = launch.num_ranks
        self.is_first = launch.rank == 0
        self.is_alone = launch.num_ranks == 1
        self._group: Any = None
        self._store: Any = None  # of rank 0; carries news of a failure past collectives that hang
        self._is_over = threading.Event()

    def connect(self, address: str) -> None:
        """Begin the exchange, once PyTorch's default group of processes exists.

        Args:
            address: of the first process's machine.
        """
        if self.is_alone:
            return
        assert (dist.get_rank(), dist.get_world_size()) == (self.rank, self.num_ranks)
        self._group = dist.new_group(backend="gloo", timeout=_TIMEOUT)
        if self.is_first:
            self._store = TCPStore(address, 0, is_master=True, wait_for_workers=False)
        port = self.broadcast(self._store.port if self.is_first else None)
        if not self.is_first:
            self._store = TCPStore(address, port, is_master=False)
        threading.Thread(target=self._watch, daemon=True, name="watch over other processes").start()

    def close(self) -> None:
        """Wait for the others, and end the exchange."""
        if not self.is_alone:
            dist.barrier(self._group)
        self._is_over.set()

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank."""
        if self.is_alone:
            return [value]
        values: list[Any] = [None] * self.num_ranks
        dist.all_gather_object(values, value, group=self._group)
        return values

    def broadcast(self, value: Any) -> Any:
        """The first process's value."""
        if self.is_alone:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._group)
        return values[0]

    # ------------------------------------------------------------------------------------------------------- failures

    def failed(self, error: BaseException) -> BaseException:
        """The exception to raise: this process's own, or the one of another process that caused it.

        The first process raises it for the user. Others send it their error, wait until it was read, and exit quietly.
        """
        self._is_over.set()
        if self._store is None:
            return error
        if self.is_first:
            failure = self._read(_FAILURE)
            self._write(_IS_READ, "")
            if failure is not None and not isinstance(error, TrainingError):
                return TrainingError(failure)
            if _is_lost_connection(error):
                return TrainingError(
                    f"devices: another of the {self.num_ranks} processes ended by itself; if there is a "
                    "checkpoint, the run can be resumed"
                )
            self._write(_FAILURE, _one_line(error))
            return error
        if not _is_lost_connection(error) and self._read(_FAILURE) is None:
            if not isinstance(error, ValueError | OSError | KeyboardInterrupt | SystemExit):
                traceback.print_exception(error)
            self._write(_FAILURE, _one_line(error))
            deadline = time.monotonic() + _SECONDS_TO_BE_READ
            while self._read(_IS_READ) is None and time.monotonic() < deadline:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        return SystemExit(self._status)

    @property
    def _status(self) -> int:
        """Exit status of a process that is not the first. At any but 0 Lightning would kill the first."""
        return 0 if self.launch.launcher == "lightning" else 2

    def _watch(self) -> None:
        """End this process when another has failed, though it hangs in a collective that the other never enters."""
        while not self._is_over.wait(_SECONDS_BETWEEN_LOOKS):
            failure = self._read(_FAILURE)
            if failure is None:
                continue
            if self.is_first:
                self._write(_IS_READ, "")
            if not self._is_over.wait(_SECONDS_TO_END):
                if self.is_first:
                    print(failure, file=sys.stderr, flush=True)
                os._exit(2 if self.is_first else self._status)

    def _write(self, key: str, text: str) -> None:
        with contextlib.suppress(RuntimeError):  # the first process, which has the store, may be gone
            self._store.set(key, text)

    def _read(self, key: str) -> str | None:
        """The text; None if there is none; the empty text if the process with the store is gone."""
        try:
            return self._store.get(key).decode() if self._store.check([key]) else None
        except RuntimeError:
            return ""


def _is_lost_connection(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and bool(
        isinstance(error, dist.DistError) or re.search(r"gloo|[Cc]onnection (closed|reset)|Broken pipe", str(error))
    )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {text}"[:300]
