"""Recipes on the built-in sets, and what a user would pick in the same time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from experiments.cells import Cell, Run, Table, TimeOf, by_seed
from experiments.harness import main
from experiments.peers import FASTTEXT_RATES, RATES
from hiperceiver.recipes import read_recipe, recipe_commands

SETS: dict[str, tuple[str, dict[str, float]]] = {
    "earth": ("Land cover of every pixel: target mIoU 0.35, baseline 0.286", {"pretrain": 3, "finetune": 8}),
    "earth-classes": ("Land cover of tiles: target 66%, baseline 59.4%", {"pretrain": 2, "finetune": 2}),
    "watch": ("Exercises by a watch: target 91%, baseline 87.3%", {"finetune": 5}),
    "instruments": ("Families of instruments: target 30%, baseline 24.4%", {"pretrain": 2, "finetune": 3}),
    "languages": ("Languages of short texts: target 76%, baseline 72.9%", {"finetune": 2}),
}
"""Recipe -> what is shown, and the minutes that each of its commands takes, as it says."""
PEERS = {
    **dict.fromkeys(SETS, ("cnn", "CNN", RATES)),
    "earth": ("cnn", "U-Net", RATES),
    "languages": ("fasttext", "fastText", FASTTEXT_RATES),
}
"""Recipe -> the peer, in words, and its learning rates."""
_SEEDS = 3
_SEEDS_OF_PEERS = {"earth": 1, "instruments": 1}
"""Of peers whose first seed is farther from HiP's three than seeds differ; others have as many as HiP."""
_FINER = {
    "instruments": {"encoders": {"sound": {"samples_per_token": 1}}},
    "watch": {"encoders": {"motion": {"steps_per_token": 1, "context": 0}}},
}
"""What peers read otherwise, as they have strides of their own."""
_READING = ("data", "data_settings", "task", "size", "modalities", "encoders")
_TRAINING = ("augment", "batch_size", "balance", "task_settings")
"""What a peer takes over as well."""


def _hip(name: str, seed: int) -> tuple[Run, ...]:
    """The recipe's commands with all their settings, so that results are outdated when it is changed."""
    runs: tuple[Run, ...] = ()
    for command in recipe_commands(name):
        settings = {**read_recipe(name, command), **({"from": runs[-1]} if runs else {}), "seed": seed}
        settings = {option: value for option, value in settings.items() if option not in ("recipe", "out")}
        runs += (Run(command=command, settings=settings, minutes=SETS[name][1][command]),)
    return runs


def _settings(name: str, options: tuple[str, ...]) -> dict[str, Any]:
    """Some of the recipe's settings of training with labels, with what a pretrained model brings to that."""
    before = read_recipe(name, "pretrain") if "pretrain" in recipe_commands(name) else {}
    brought = {option: before[option] for option in ("size", "encoders") if option in before}
    settings = {**brought, **read_recipe(name, "finetune")}
    return {option: settings[option] for option in options if option in settings}


def _peer(name: str, seed: int, rate: float) -> Run:
    settings = {"peer": PEERS[name][0], **_settings(name, (*_READING, *_TRAINING)), **_FINER.get(name, {})}
    if "validate_every" in read_recipe(name, "finetune"):  # the recipe keeps the last weights
        settings["validate_every"] = 10**9
    settings |= {"learning_rate": rate, "seed": seed, "max_time": TimeOf(_hip(name, seed))}
    return Run(command="experiments.peer", settings=settings, minutes=sum(SETS[name][1].values()))


def cells() -> Iterator[Cell]:
    for name, (title, _) in SETS.items():
        peer, model, rates = PEERS[name]
        baseline = Run(command="experiments.baseline", settings=_settings(name, _READING), minutes=1.0)
        yield Cell(name=f"{name}-baseline", labels={"set": title, "model": "baseline"}, runs=(baseline,))
        for seed in range(_SEEDS):
            labels = {"set": title, "model": "HiP, the recipe"}
            yield Cell(name=f"{name}-hip", seed=seed, labels=labels, runs=_hip(name, seed))
        for seed in range(_SEEDS_OF_PEERS.get(name, _SEEDS)):
            runs = tuple(_peer(name, seed, rate) for rate in rates)
            labels = {"set": title, "model": model}
            yield Cell(name=f"{name}-{peer}", seed=seed, labels=labels, runs=runs, is_best_of=True)


TABLE = Table(
    name="recipes",
    title="Recipes, and what a user would pick in the same time",
    about=f"""
Each recipe as it stands: its pretraining, if it has any, and its training with labels, both with the seed. Its peer is
monai's U-Net or ResNet-10, or fastText's model (`experiments/peer_models.py`), trained by AdamW for as long as both
take with that seed on the same machine. Of two runs, with learning rates of {RATES[0]:g} and {RATES[1]:g} (fastText:
0.01 and 0.03), the one that is better in validation is tested. Splits, random changes, batches, class weights, label
smoothing and left-out tokens are the recipe's, not its moving average of weights and its drop path; bytes are read as
by the recipe, sound by single samples. The recipes came out of many runs; of their peers only the rate is chosen.
`earth` reads a picture and a relief map, its baseline the picture alone (HiP from that: 34.4% and 34.1%).
""",
    cells=by_seed(cells()),
    columns={
        "mIoU": "test.miou",  # first: of a part that has it, it is drawn
        "test accuracy": "test.accuracy",
        "steps": "steps",
        "pretraining, s": "pretraining.seconds",
        "with labels, s": "train_seconds",
        "parameters": "parameters",
    },
    parts="set",
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
