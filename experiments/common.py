"""What several tables share: the model, how it is trained, and how sets are read. Names of settings stand here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.cells import Data, Run
from experiments.datasets import SERIES
from hiperceiver.recipes import read_recipe

MODEL = "hip-nano"
"""The model of all tables that are not about its shape."""
OPTIMIZER: dict[str, Any] = {"optimizer": "muon", "learning_rate": 2e-3}
"""Of pretraining and fine-tuning."""
PRETRAIN_STEPS = 5000
FINETUNE_STEPS = 2500
BATCH = 32
MINUTES = {"pretrain": 0.30 / 60, "finetune": 0.21 / 60}
"""Of a step of a batch, roughly, with one thread."""

_LOUDNESS = {"gain": True, "shift": True}
SETS: dict[str, dict[str, Any]] = {
    "cifar-10": {"size": 32, "augment": {"flip": True}},
    "spoken-digits": {
        "encoders": {"audio": {"rate": 8000, "seconds": 1.0, "samples_per_token": 8}},
        "augment": _LOUDNESS,
    },
    "esc-10": {
        "encoders": {"audio": {"rate": 8000, "seconds": 5.0, "samples_per_token": 16}},
        "augment": _LOUDNESS,
    },
    "watch": {"augment": {"speed": True, "shift": {"share": 0.25}, "tilt": {"degrees": 20}, "gain": True}},
    "imdb": {"encoders": {"bytes": {"length": 1024}}, "leave_out_classes": ["unsup"], "augment": {"crop_time": True}},
    "camvid": {"task": "segmentation", "encoders": {"image": {"size": [90, 120]}}, "augment": {"flip": True}},
    "earth": {"task": "segmentation", "size": 64, "augment": {"flip": True, "turn": True}},
    **{name: {"augment": _LOUDNESS} for name in SERIES},
}
"""How each set is read, in pretraining and in fine-tuning."""
SETS = {name: {"data": Data(name), **settings} for name, settings in SETS.items()}
_LANGUAGES = read_recipe("languages", "finetune")
GROUPS_OF_BYTES: dict[str, Any] = {
    **{name: _LANGUAGES[name] for name in ("model", "task_settings", "position_rate")},
    "encoders": {"bytes": {**_LANGUAGES["encoders"]["text"], "length": SETS["imdb"]["encoders"]["bytes"]["length"]}},
}
"""What IMDB takes from the recipe `languages`."""
_OF_THE_MODEL = ("model", "encoders", "size")  # what a run takes from the model that it starts from


def pretrain(data: str, seed: int, *, steps: int | None = PRETRAIN_STEPS, minutes: float = 0.0, **settings: Any) -> Run:
    """Masked auto-encoding on a set, for so many steps; or for `max_time`, which is about so many minutes."""
    reading = {name: value for name, value in SETS[data].items() if name != "task"}
    values = {**reading, "model": MODEL, "mask_ratio": 0.75, "batch_size": BATCH, **OPTIMIZER, **settings}
    return _run("pretrain", {**values, "seed": seed}, steps, minutes)


def finetune(
    data: str,
    seed: int,
    *,
    start: Run | None = None,
    steps: int | None = FINETUNE_STEPS,
    minutes: float = 0.0,
    **settings: Any,
) -> Run:
    """A task with labels, from scratch or from a pretrained model, measured on the test split; its length as above."""
    values = {**SETS[data], "model": MODEL, "batch_size": BATCH, **OPTIMIZER, **settings}
    if start is not None:  # which brings its model
        values = {name: value for name, value in values.items() if name not in _OF_THE_MODEL} | {"from": start}
    return _run("finetune", {**values, "seed": seed, "test": True}, steps, minutes)


def _run(command: str, settings: Mapping[str, Any], steps: int | None, minutes: float) -> Run:
    if steps is None:
        return Run(command=command, settings=settings, minutes=minutes)
    return Run(command=command, settings={**settings, "steps": steps}, minutes=steps * MINUTES[command])


def baseline(data: str, **reading: Any) -> Run:
    """The cheapest baseline of a set, on the same splits; `reading` replaces how it is read elsewhere."""
    usual = {name: value for name, value in SETS[data].items() if name != "augment"}
    return Run(command="experiments.baseline", settings={**usual, **reading}, minutes=2.0)
