"""One measurement: `python -m benchmarks.worker JOB [REFERENCE]`, a job in JSON in, an answer in JSON out.

The interpreter of the JAX reference runs this too, so that PyTorch is not imported here.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from benchmarks.jobs import Job
from benchmarks.peers import PEERS

MEASURES = {
    "step": "benchmarks.steps",
    "count": "benchmarks.counting",
    "masked": "benchmarks.masking",
    "values": "benchmarks.values",
    "loading": "benchmarks.loading",
    "machine": "benchmarks.machine",
    "command": "benchmarks.commands",
    "optimizer": "benchmarks.optimizers",
}
"""Kind of job -> where its `measure(job)` lives, which gives numbers by name."""


def answer(job: Job) -> dict[str, Any]:
    """Do a job, if what it needs is installed."""
    peer = PEERS.get(job.implementation)
    missing = [package for package in peer.needs if find_spec(package) is None] if peer else []
    if peer is not None and missing:
        return {"status": "not installed", "note": f"not installed: pip install {peer.install}"}
    if peer is not None and peer.framework == "jax" and (job.device, job.precision) != ("cpu", "32"):
        return {"status": "failed", "note": "the reference is measured on the CPU and in float32 alone"}
    return {"status": "measured", "numbers": import_module(MEASURES[job.kind]).measure(job)}


def main(arguments: list[str]) -> None:
    """Print the answer as the last line."""
    if len(arguments) > 1:
        os.environ["BENCHMARKS_REFERENCE"] = arguments[1]
    print(json.dumps(answer(Job.from_json(arguments[0]))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
