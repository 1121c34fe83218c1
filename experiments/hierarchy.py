"""How many groups: from one, a Perceiver IO, to 64; with and without skip connections."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from experiments import common
from experiments.cells import Cell, Table, by_seed
from experiments.harness import main

_LATENTS = 256
"""Of the first and last block, in all groups together: those of hip-nano."""
_PROCESSOR = {"num_latents": 64, "num_channels": 128, "num_self_attention_layers": 2, "num_self_attention_heads": 4}
_STEPS = {"pretrain": 1500, "finetune": 1000}


def _outer(groups: int) -> dict[str, int]:
    shape = {"num_channels": 64, "num_self_attention_layers": 1, "num_self_attention_heads": 2}
    return {"num_groups": groups, "num_latents": _LATENTS // groups, **shape}


def _cell(name: str, groups: str, skips: str, **model: Any) -> Cell:
    before = common.pretrain("cifar-10", 0, steps=_STEPS["pretrain"], **model)
    after = common.finetune("cifar-10", 0, start=before, steps=_STEPS["finetune"])
    return Cell(name=name, labels={"groups": groups, "skips": skips}, runs=(before, after))


def cells() -> Iterator[Cell]:
    baseline = {"groups": "baseline: nearest neighbour", "skips": "–"}
    yield Cell(name="baseline", labels=baseline, runs=(common.baseline("cifar-10"),))
    # As many latents as all groups have together, of the processor's width, and as many layers as there are blocks.
    block = {**_PROCESSOR, "num_groups": 1, "num_latents": _LATENTS, "num_self_attention_layers": 4}
    flat = {"embedding_channels": 32, "block": block}
    yield _cell("perceiver-io", "1 (Perceiver IO)", "–", model="perceiver-io-mini", model_settings=flat)
    for groups in (1, 4, 16, 64):
        for skips in (True, False):
            blocks = [_outer(groups), {**_PROCESSOR, "num_groups": 1}, _outer(groups)]
            settings = {"blocks": blocks, **({} if skips else {"skips": False})}
            name = f"groups{groups}{'' if skips else '-no-skips'}"
            yield _cell(name, str(groups), "yes" if skips else "no", model_settings=settings)


TABLE = Table(
    name="hierarchy",
    title="How many groups",
    about="""
CIFAR-10 (1,024 tokens), 1,500 steps of masked auto-encoding (75% hidden) and 1,000 with labels, 32 examples each.
`hip-nano` with its 256 outer latents shared out among 1 to 64 groups, with and without skip connections, and a
Perceiver IO with as many latents and layers. Skips act in pretraining alone: a classifier has no decoder. Memory is the
most that a process of the row held, data and libraries included. One seed, so that a point or two are noise. Perceiver
IO was computed on another machine (AMD EPYC, of which it had a third of a core) than the others (Intel Xeon): there HiP
with 16 groups takes 687 core-seconds in all ([masking](#what-is-hidden)), Perceiver IO six times as many.
""",
    cells=by_seed(cells()),
    columns={
        "test accuracy": "test.accuracy",
        "explained": "pretraining.validation.explained",
        "core-seconds, pretraining": "pretraining.core_seconds",
        "core-seconds, labels": "labels_core_seconds",
        "memory": "peak_bytes",
        "parameters": "parameters",
    },
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
