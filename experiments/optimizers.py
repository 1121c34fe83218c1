"""Optimizers, rates and schedules: what the labels of CIFAR-10 give in as many steps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from experiments import common
from experiments.cells import Cell, Table
from experiments.harness import main

_STEPS = 1000
_FLAT = {"flat": 0.7}
_COSINE = "warm-up, cosine"
_FREE = "schedule-free"
_ROWS: tuple[tuple[str, str, float, dict[str, Any]], ...] = (
    ("muon", _COSINE, 1e-3, {}),
    ("muon", _COSINE, 2e-3, {}),
    ("muon", _COSINE, 4e-3, {}),
    ("muon", "warm-up, flat for 0.7, cosine", 2e-3, _FLAT),
    ("muon", "warm-up, cosine; moving average 0.99", 2e-3, {"ema": 0.99}),
    ("muon", _FREE, 2e-3, {}),
    ("muon", _FREE, 4e-3, {}),
    ("adamw", _COSINE, 3e-4, {}),
    ("adamw", _COSINE, 7e-4, {}),
    ("adamw", _COSINE, 2e-3, {}),
    ("adamw", _FREE, 2e-3, {}),
    ("adamw", _FREE, 5e-3, {}),
    ("lamb", _COSINE, 1e-3, {}),
    ("lamb", _COSINE, 4e-3, {}),
    ("lamb", _COSINE, 1e-2, {}),
    ("lamb", "warm-up, flat for 0.7, cosine", 1e-2, _FLAT),
)
"""Optimizer, schedule, highest learning rate, and what else is set."""
_WORDS = {"muon": "Muon, AdamW", "adamw": "AdamW", "lamb": "LAMB"}


def cells() -> Iterator[Cell]:
    labels = {"optimizer": "baseline: nearest neighbour", "schedule": "–", "rate": "–"}
    yield Cell(name="baseline", labels=labels, runs=(common.baseline("cifar-10"),))
    for optimizer, schedule, rate, more in _ROWS:
        run = common.finetune("cifar-10", 0, steps=_STEPS, **{"optimizer": optimizer, "learning_rate": rate, **more})
        if schedule == _FREE:
            run = replace(run, command="experiments.schedule_free")
        kind = "free" if schedule == _FREE else next(iter(more), "cosine")
        labels = {"optimizer": _WORDS[optimizer], "schedule": schedule, "rate": f"{rate:g}"}
        yield Cell(name=f"{optimizer}-{kind}-{rate:g}", labels=labels, runs=(run,))


TABLE = Table(
    name="optimizers",
    title="Optimizers and schedules",
    about=f"""
CIFAR-10 with labels, `hip-nano`, {_STEPS:,} steps of 32, one seed, so that a point or two are noise. Muon moves the
matrices of linear layers and AdamW all else. Schedule-free optimizers are those of arXiv 2405.15682
(`experiments/schedule_free.py`): they need no end, at which the rate would have fallen.

**What came out**: Muon is more than ten points above the best of AdamW here, for a tenth more time. At 0.002 cosine,
flat + cosine and a moving average are alike (47.1%, 47.2% and 47.1%); schedule-free at twice the rate reaches 48.1%, at
the same rate 44.6%: a point, with one seed, for a second set of weights and a class of its own to wrap each optimizer,
and `--max-time` has its cosine follow the clock; so it stays outside of the package. AdamW gives 35.2% at 0.0003 and
0.0007 alike. LAMB moves a weight in proportion to its length, so that what starts at 0 hardly leaves it in so few
steps: the head's output is 0.002, 0.03 and 0.01 long after LAMB at 0.001, 0.004 and 0.01, 0.7 after AdamW at 0.0007 and
1.1 after Muon at 0.002 (read off the saved heads). It is made for long runs of large batches.
""",
    cells=tuple(cells()),
    columns={"test accuracy": "test.accuracy", "core-seconds": "labels_core_seconds"},
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
