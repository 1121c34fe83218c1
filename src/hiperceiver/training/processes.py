"""What the processes that train together tell each other, beside gradients."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

from hiperceiver.training.errors import TrainingError
from hiperceiver.training.launch import Place

_TIMEOUT = datetime.timedelta(minutes=30)
_FAILURE, _HEARD = "hiperceiver/failure", "hiperceiver/heard"
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_END = 10.0
_SECONDS_TO_BE_HEARD = 30.0


class Processes:
    """The processes that train together. One that is alone is its own answer to everything.

    What they say goes through the CPUs, beside whatever the devices do. Every method but those about failures must be
    called by all processes, in the same order.

    Args:
        place: this process among them.

    >>> Processes(Place()).gather("alone")
    ['alone']
    """

    def __init__(self, place: Place):
        self.place = place
        self.rank = place.rank
        self.num_ranks = place.num_ranks
        self._group: Any = None
        self._watch: threading.Thread | None = None
        self._is_over = threading.Event()

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and talks."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self.num_ranks == 1

    def connect(self) -> None:
        """Begin to talk, once Lightning has made PyTorch's default group of processes."""
        if self.is_alone or self._group is not None:
            return
        assert dist.get_rank() == self.rank
        assert dist.get_world_size() == self.num_ranks
        self._group = dist.new_group(backend="gloo", timeout=_TIMEOUT)
        self._watch = threading.Thread(target=self._look_for_failure, daemon=True, name="watch over other processes")
        self._watch.start()

    def close(self) -> None:
        """All is well, and nothing more is said."""
        if self._group is not None:
            dist.barrier(self._group)
        self._is_over.set()

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in their order."""
        if self.is_alone:
            return [value]
        values: list[Any] = [None] * self.num_ranks
        dist.all_gather_object(values, value, group=self._group)
        return values

    def gather_numbers(self, numbers: Sequence[float]) -> list[list[float]]:
        """The same for a few numbers, which is quicker."""
        if self.is_alone:
            return [list(numbers)]
        mine = torch.tensor(numbers, dtype=torch.float64)
        rows = [torch.empty_like(mine) for _ in range(self.num_ranks)]
        dist.all_gather(rows, mine, group=self._group)
        return [row.tolist() for row in rows]

    def broadcast(self, value: Any) -> Any:
        """The first process's value."""
        if self.is_alone:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._group)
        return values[0]

    def broadcast_tensors(self, tensors: Sequence[torch.Tensor]) -> None:
        """The first process's values, in place. The tensors lie on the CPU."""
        if not self.is_alone:
            for tensor in tensors:
                dist.broadcast(tensor, src=0, group=self._group)

    # ------------------------------------------------------------------------------------------------------- failures

    def failed(self, error: BaseException) -> BaseException:
        """What to raise for an error of this process, or for one that is only the echo of another's end.

        The first process tells the user. Others tell it what happened, wait until it has heard, and end quietly.
        """
        self._is_over.set()
        if self._group is None:
            return error
        if self.is_first:
            failure = self._told(_FAILURE)
            self._tell(_HEARD, "")
            if failure is not None and not isinstance(error, TrainingError):
                return TrainingError(failure)
            if _is_lost_connection(error):
                return TrainingError(
                    f"devices: another of the {self.num_ranks} processes ended by itself; if there is a "
                    "checkpoint, the run can be resumed"
                )
            self._tell(_FAILURE, _one_line(error))
            return error
        if not _is_lost_connection(error) and self._told(_FAILURE) is None:
            if not isinstance(error, ValueError | OSError | KeyboardInterrupt | SystemExit):
                traceback.print_exception(error)
            self._tell(_FAILURE, _one_line(error))
            for _ in range(int(_SECONDS_TO_BE_HEARD / _SECONDS_BETWEEN_LOOKS)):
                if self._told(_HEARD) is not None:
                    break
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        return SystemExit(self._status)

    @property
    def _status(self) -> int:
        """How a process that is not the first ends. Lightning would kill the first if this said that it failed."""
        return 0 if self.place.launcher == "lightning" else 2

    def _look_for_failure(self) -> None:
        """A process may be stuck in a collective that the failed one will never enter."""
        while not self._is_over.wait(_SECONDS_BETWEEN_LOOKS):
            failure = self._told(_FAILURE)
            if failure is None:
                continue
            if self.is_first:
                self._tell(_HEARD, "")
            if not self._is_over.wait(_SECONDS_TO_END):
                if self.is_first:
                    print(failure, file=sys.stderr, flush=True)
                os._exit(2 if self.is_first else self._status)

    def _tell(self, key: str, text: str) -> None:
        with contextlib.suppress(RuntimeError):  # the first process, which keeps what is told, may be gone
            _store().set(key, text)

    def _told(self, key: str) -> str | None:
        """What was told; the empty text if the process that keeps it is gone."""
        try:
            store = _store()
            return store.get(key).decode() if store.check([key]) else None
        except RuntimeError:
            return ""


def _store() -> Any:
    return dist.distributed_c10d._get_default_store()


def _is_lost_connection(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and bool(
        isinstance(error, dist.DistError) or re.search(r"gloo|[Cc]onnection (closed|reset)|Broken pipe", str(error))
    )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {text}"[:300]
