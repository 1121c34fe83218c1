"""Exchange between the processes that train together, beside gradients."""

import datetime
import os
import re
import sys
import threading
import traceback
from typing import Any

import torch.distributed as dist
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage] - documented

from hiperceiver.settings.base import one_line
from hiperceiver.training.errors import TrainingError
from hiperceiver.training.launch import Launch

_TIMEOUT = datetime.timedelta(minutes=30)
_SECONDS_BETWEEN_CHECKS = 0.5
_SECONDS_TO_END = 10.0
_LOST_CONNECTION = re.compile(r"gloo|[Cc]onnection (closed|reset)|Broken pipe")


class Processes:
    """The processes that train together. With one, every method returns its own value.

    Values travel between CPUs, whatever the devices do. `gather`, `broadcast` and `close` are called by all processes
    in the same order.

    >>> Processes(Launch()).gather("alone")
    ['alone']
    """

    def __init__(self, launch: Launch):
        self.rank = launch.rank
        self.num_ranks = launch.num_ranks
        self.is_first = launch.rank == 0
        self.is_alone = launch.num_ranks == 1
        # Lightning would kill the first process if another, which it started, ended with any status but 0.
        self._failed_status = 0 if launch.launcher == "lightning" and not self.is_first else 2
        self._group: Any = None
        self._store: Any = None  # of rank 0; carries news of a failure past collectives that hang
        self._is_over = threading.Event()

    def connect(self, address: str) -> None:
        """Begin the exchange, once PyTorch's default group exists; `address` is that of the first process's machine."""
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
        """The exception to raise: of the first process the failure that came first, of the others a quiet exit."""
        self._is_over.set()
        if self._store is None:
            return error
        is_lost = isinstance(error, RuntimeError) and _LOST_CONNECTION.search(str(error)) is not None
        if is_echo := is_lost or isinstance(error, dist.DistError):
            ended = f"another of the {self.num_ranks} processes ended by itself"
            own = f"devices: {ended}; if there is a checkpoint, the run can be resumed"
        else:
            text = one_line(error) or type(error).__name__
            own = text if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {text}"[:300]
        failure = self._first_failure(own)
        is_cause = failure == own and not is_echo
        if self.is_first:
            return error if is_cause else TrainingError(failure)
        if is_cause and not isinstance(error, ValueError | OSError | KeyboardInterrupt | SystemExit):
            traceback.print_exception(error)
        return SystemExit(self._failed_status)

    def _watch(self) -> None:
        """End this process when another has failed, though it hangs in a collective that the other never enters."""
        while not self._is_over.wait(_SECONDS_BETWEEN_CHECKS):
            failure = self._first_failure()
            if failure and not self._is_over.wait(_SECONDS_TO_END):
                if self.is_first:
                    print(failure, file=sys.stderr, flush=True)
                os._exit(self._failed_status)

    def _first_failure(self, own: str = "") -> str:
        """The failure of all processes that was recorded first: `own`, if there was none before it."""
        try:
            return self._store.compare_set("failure", "", own).decode()
        except RuntimeError:
            return "devices: the first process, which keeps the record, has ended"
