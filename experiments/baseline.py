"""The cheapest baseline of a set, its own or that of its kind of signal.

`python -m experiments.baseline --data FOLDER --out FOLDER` writes `test.json` as `hip finetune`, whose options it has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.results import write_json
from hiperceiver.cli.data import find_data, open_data
from hiperceiver.cli.entry import read_command
from hiperceiver.data.baselines.pictures import colour_lookup_baseline, nearest_neighbour_baseline
from hiperceiver.data.baselines.signals import naive_bayes_baseline, nearest_sound_baseline, ridge_baseline
from hiperceiver.tasks import TASKS

BASELINES: dict[str, tuple[str, Callable[..., dict[str, float]]]] = {
    "audio": ("nearest spectrum", nearest_sound_baseline),
    "series": ("ridge on spectra", ridge_baseline),
    "bytes": ("naive Bayes on 3 bytes", naive_bayes_baseline),
}
"""By the kind of the only modality."""


def _of_pictures(source: Any, task: str, modality: str) -> tuple[str, dict[str, float]]:
    if task == "segmentation":
        return "colour lookup", {"miou": colour_lookup_baseline(source, modality=modality).scores.mean_iou}
    return "nearest neighbour", {"accuracy": nearest_neighbour_baseline(source, modality=modality).accuracy}


def main(arguments: list[str]) -> int:
    settings: Any = read_command("finetune", arguments)
    found = find_data(settings)
    task = settings.task or found.task
    source = open_data(settings, found, task=TASKS[task].target_kind)
    modality, encoder = next(iter(source.encoders.items()))
    if source.baseline is not None:
        own = source.baseline()
        name, metrics = own.name, own.metrics
    elif encoder.kind == "image":
        name, metrics = _of_pictures(source, task, modality)
    else:
        name, baseline = BASELINES[encoder.kind]
        metrics = baseline(source, modality=modality)
    write_json(Path(settings.out) / "test.json", {"metrics": metrics, "floor": {"name": name, "metrics": metrics}})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
