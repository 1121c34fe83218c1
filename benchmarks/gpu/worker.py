"""A process that does measurements: one in JSON a line in; of each, lines of numbers and then its status out."""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import IO

import torch

from benchmarks.gpu.classifiers import MissingPackageError
from benchmarks.gpu.measures import measure, short
from benchmarks.gpu.plan import Measurement, Status


def main() -> None:
    """Until there is nothing more to read, or the GPU no longer answers."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        what = Measurement(**json.loads(line))
        status, note = _do(what, out)
        _clean(what)
        is_broken = not _answers(what)
        print(json.dumps({"status": status, "note": note, "is_broken": is_broken}), file=out, flush=True)
        if is_broken:
            os._exit(1)  # a fault inside a kernel stays with its process; the next one begins anew


def _do(what: Measurement, out: IO[str]) -> tuple[Status, str]:
    try:
        for numbers in measure(what):
            print(json.dumps({"numbers": numbers}), file=out, flush=True)
    except MissingPackageError as error:
        return "not installed", str(error)
    except (torch.OutOfMemoryError, MemoryError) as error:
        return "does not fit", short(error)
    except Exception as error:
        return "failed", short(error)
    return "measured", ""


def _clean(what: Measurement) -> None:
    """Give back what a measurement held: the next one begins with an empty card."""
    if what.part == "compiled":
        torch._dynamo.reset()
    gc.collect()
    if what.device == "cuda":
        try:
            torch.cuda.empty_cache()
        except Exception as error:
            print(short(error), file=sys.stderr)


def _answers(what: Measurement) -> bool:
    if what.device != "cuda":
        return True
    try:
        torch.cuda.synchronize()
    except Exception as error:
        print(short(error), file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    main()
