"""What tokens are worth that show their neighbours, of series and of sound."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from experiments import common
from experiments.cells import Cell, Table
from experiments.harness import main

_STEPS = 300
_SERIES = {
    "JapaneseVowels": (0, 1),
    "watch": (0, 8),
    "GunPoint": (0, 9),
    "ArrowHead": (0, 15),
    "PickupGestureWiimoteZ": (0, 22),
    "OSULeaf": (0, 8, 24, 56),
    "ACSF1": (0, 24),
}
"""Set -> steps of context on each side: none, what `hip finetune` chooses, and others."""
_SEEDS = {"JapaneseVowels": 3, "watch": 3}
"""Of sets on which a seed's result did not tell; one of others."""
_SOUND = {"esc-10": ((16, 0), (64, 224)), "spoken-digits": ((8, 0), (8, 28), (8, 124))}
"""Set -> samples of a token, and of context on each side."""


def _cells(data: str, kind: str, own: int, context: int) -> Iterator[Cell]:
    name = "steps_per_token" if kind == "series" else "samples_per_token"
    encoder = {**common.SETS[data].get("encoders", {}).get(kind, {}), name: own, "context": context}
    labels = {"set": data, "own": str(own), "context": str(context)}
    modality = "motion" if data == "watch" else kind
    for seed in range(_SEEDS.get(data, 1)):
        run = common.finetune(data, seed, steps=_STEPS, encoders={modality: encoder})
        yield Cell(name=f"{data}-{own}-{context}", seed=seed, labels=labels, runs=(run,))


def cells() -> Iterator[Cell]:
    for data in (*_SERIES, *_SOUND):
        labels = {"set": data, "own": "–", "context": "–"}
        yield Cell(name=f"{data}-baseline", labels=labels, runs=(common.baseline(data),))
        for context in _SERIES.get(data, ()):
            yield from _cells(data, "series", 1, context)
        for own, context in _SOUND.get(data, ()):
            yield from _cells(data, "audio", own, context)


TABLE = Table(
    name="context",
    title="Tokens that show their neighbours",
    about=f"""
`hip-nano` from scratch, {_STEPS} steps of 32 with labels, one seed or three. A token has steps or samples of its own,
and shows some on each side of them (`context`). Of a user's series `hip finetune` chooses a sixteenth of the length by
itself, 24 at most: the second row of each set (OSULeaf: the third). The built-in set `watch` has none unless asked. UCR
and UEA sets with their own splits; `watch`, people who are not in training; ESC-10, fold 1; digits of a speaker who is
not in training. Some of the sets have a handful of examples for validation.
""",
    cells=tuple(cells()),
    columns={"test accuracy": "test.accuracy", "parameters": "parameters"},
    parts="set",
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
