"""Golden numbers: twenty losses of each recipe on its own data, and every default, as they are checked in.

A change of numbers that nobody meant is seen. Where it is meant, one process writes them anew:

    HIPERCEIVER_RENEW_GOLDEN=1 make test PYTEST_FLAGS="tests/recipes -k golden"

The runs are short, and small where a recipe's own sizes would cost more; their options stand beside the numbers.
"""

import csv
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import torch
from closeness import assert_within, tolerance

from hiperceiver.model.variants import VARIANTS
from hiperceiver.settings.augment import AugmentSettings
from hiperceiver.settings.base import Settings, default_of, field_types, is_required, is_settings
from hiperceiver.settings.encoders import ENCODER_SETTINGS
from hiperceiver.settings.model import BlockConfig, HiPConfig, PerceiverIOConfig
from hiperceiver.settings.run import TrainingSettings
from hiperceiver.settings.tasks import TASK_CONFIGS

FILE = Path(__file__).with_name("golden.json")
IS_RENEWED = "HIPERCEIVER_RENEW_GOLDEN" in os.environ
IS_COMPARED = os.environ.get("HIPERCEIVER_GOLDEN") != "off"
"""Other versions of Pillow and PyAV decode pictures and films to other values: the losses are those of
`constraints.txt`."""
TERMS = 20_000
"""Terms that are summed on the way to a loss: tokens, channels and layers of the largest of these models."""
STRAY = 2 * torch.finfo(torch.bfloat16).eps
"""How far losses may stray by the end, as a share. Muon makes its steps in bfloat16, each with a rounding of its own
that depends on the order of sums: with ATEN_CPU_CAPABILITY=default and avx2, and with two threads, losses strayed by a
quarter of this. Other random changes of a picture move the first losses a hundred times as much. What moves a loss by
less than this in twenty steps, such as another weight decay, is seen in the defaults."""


def read_run(folder: Path) -> dict[str, list[float]]:
    """Loss and learning rate of each step."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss"]]
    return {
        "loss": [float(f"{float(row['train/loss']):.9g}") for row in rows],
        "learning_rate": [float(row["learning_rate"]) for row in rows],
    }


def check_run(name: str, options: list[str], found: dict[str, list[float]]) -> None:
    """Compare a run with that of the same name, or write it down."""
    golden = json.loads(FILE.read_text())
    if IS_RENEWED:
        golden["runs"][name] = {"options": options, **found}
        FILE.write_text(dumped(golden))
        return
    if not IS_COMPARED:
        return
    wanted = golden["runs"][name]
    assert options == wanted["options"]
    rates, losses = wanted["learning_rate"], wanted["loss"]
    assert_within(found["learning_rate"], rates, [1e-9 * rate for rate in rates])
    rounding = tolerance(torch.float32, terms=TERMS, scale=1)
    way = [sum(rates[:step]) / sum(rates) for step in range(len(rates))]  # how much was learned before each step
    allowed = [loss * (rounding + STRAY * share) for loss, share in zip(losses, way, strict=True)]
    assert_within(found["loss"], losses, allowed)


def defaults() -> dict[str, dict[str, Any]]:
    """The defaults of all that numbers depend on, by settings class and field; and the blocks of each variant."""
    classes: list[type[Settings]] = [TrainingSettings, BlockConfig, HiPConfig, PerceiverIOConfig]
    classes += [*ENCODER_SETTINGS.values(), *TASK_CONFIGS.values(), AugmentSettings]
    for hint in field_types(AugmentSettings).values():
        classes += [each for each in hint.__args__ if is_settings(each)]
    values: dict[str, dict[str, Any]] = {
        cls.__name__: {each.name: default_of(each) for each in dataclasses.fields(cls) if not is_required(each)}
        for cls in classes
    }
    return json.loads(json.dumps({**values, **{name: config.to_dict() for name, config in VARIANTS.items()}}))


def check_defaults() -> None:
    """Compare defaults with those that are written down, or write them down; new ones may come."""
    golden, now = json.loads(FILE.read_text()), defaults()
    if IS_RENEWED:
        golden["defaults"] = now
        FILE.write_text(dumped(golden))
        return
    changed = {
        f"{name}.{field}": (value, now.get(name, {}).get(field, "no such field"))
        for name, fields in golden["defaults"].items()
        for field, value in fields.items()
        if now.get(name, {}).get(field, "no such field") != value
    }
    assert not changed, f"was, is: {changed}"


def dumped(golden: dict[str, Any]) -> str:
    """JSON with a line for each class and for each list of numbers."""
    lines = ["{", '"defaults": {']
    lines.append(",\n".join(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in golden["defaults"].items()))
    lines += ["},", '"runs": {']
    runs = []
    for name, run in golden["runs"].items():
        parts = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in run.items())
        runs.append(f"{json.dumps(name)}: {{\n{parts}\n}}")
    lines += [",\n".join(runs), "}", "}", ""]
    return "\n".join(lines)
