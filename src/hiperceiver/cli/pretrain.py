"""`hip pretrain`: masked auto-encoding on any data, without labels."""

from collections.abc import Sequence
from typing import Any

import torch

from hiperceiver.cli.data import find_data, open_data
from hiperceiver.cli.errors import UserError, renamed
from hiperceiver.cli.models import with_settings
from hiperceiver.cli.runs import train_and_report
from hiperceiver.cli.tables import shape
from hiperceiver.data.sources import Found
from hiperceiver.data.sources.source import Source
from hiperceiver.modality import Batch
from hiperceiver.model import build_model, variant_config
from hiperceiver.settings.commands import PretrainSettings
from hiperceiver.settings.run import ProbeSettings
from hiperceiver.tasks import MaskedAutoencoding, MaskedAutoencodingConfig
from hiperceiver.training import seed_everything
from hiperceiver.training.evaluation import find_device
from hiperceiver.training.launch import find_launch
from hiperceiver.training.observers import LatentProbe, Observer, PositionProbe
from hiperceiver.training.run import choose_num_workers


def run(settings: PretrainSettings) -> int:
    """Pretrain a new model, or go on with a run."""
    config = with_settings(variant_config(settings.model), settings.model_settings)
    found = find_data(settings)
    source = open_data(settings, found, task="none")
    observers = _observers(settings, found, source)
    parts = ", ".join(f"{name} {shape(each)}" for name, each in source.modalities.items())
    print(f"an example: {' and '.join(parts.rsplit(', ', 1))}", flush=True)
    seed_everything(settings.seed)
    task = MaskedAutoencoding(build_model(config, source.modalities), settings.part(MaskedAutoencodingConfig))
    tokens = {name: torch.zeros(1, each.num_tokens, each.channels) for name, each in source.modalities.items()}
    task.draw_mask(Batch(inputs=tokens))  # what would fail in the first step fails before there is a run
    how = {"command": "pretrain", "model": settings.model}
    return train_and_report(task, source, settings, observers=observers, **how)[0]


def _observers(settings: PretrainSettings, found: Found, source: Source) -> Sequence[Observer]:
    """What looks at the model on the way; with `--probe` also at the data's labels, which training does not read."""
    how: dict[str, Any] = {"settings": settings.part(ProbeSettings), "batch_size": settings.batch_size}
    how |= {"precision": settings.precision, "num_workers": settings.num_workers}
    if settings.num_workers is None:
        launch = find_launch(settings.devices, settings.num_nodes)
        how["num_workers"] = choose_num_workers(find_device(settings.accelerator), launch)
    validation = source.splits.get("validation")
    if settings.probe:
        task = "classification" if found.task == "segmentation" else found.task
        if task == "none":
            raise UserError(f"--probe: expected data with labels, {settings.data} has none")
        with renamed({"probe": "--probe", "task": "--probe"}):
            labelled = open_data(settings, found, task=task, encoders=source.encoders)
            return LatentProbe.of(labelled, **how), PositionProbe()
    return (LatentProbe(validation=validation, **how), PositionProbe()) if validation is not None else ()
