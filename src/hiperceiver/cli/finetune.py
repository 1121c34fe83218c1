"""`hip finetune`: classification or segmentation, from a pretrained model or from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hiperceiver.cli.data import open_data, own_encoders, with_train_share
from hiperceiver.cli.errors import UserError
from hiperceiver.cli.models import read_saved, with_settings
from hiperceiver.cli.runs import train_and_report
from hiperceiver.cli.settings import FinetuneSettings
from hiperceiver.cli.tables import quantity
from hiperceiver.data.sources.source import Source
from hiperceiver.modality import Modality
from hiperceiver.model import PerceiverConfig, SavedModel, build_model, variant_config
from hiperceiver.tasks import Task, task_from_settings
from hiperceiver.training import seed_everything, start_from

DEFAULT_MODEL = "hip-micro"
DEFAULT_TASKS = {"earth": "segmentation"}
"""What is learned on a source with labels for several tasks, where the user does not say."""


def run(settings: FinetuneSettings) -> int:
    """Train a task, or go on with a run."""
    kind = settings.task or DEFAULT_TASKS.get(settings.data, "classification")
    saved = None if settings.pretrained is None else read_saved(settings.pretrained)
    encoders = None if saved is None else own_encoders(saved.encoders)
    for name, encoder in (encoders or {}).items():
        if settings.colours not in (None, getattr(encoder, "mode", None)):
            raise UserError(f"--colours: {settings.pretrained} takes {name!r} otherwise, got {settings.colours}")
    source = open_data(settings, task=kind, encoders=encoders)
    source = with_train_share(source, settings.train_share, seed=settings.split_seed or 0)
    seed_everything(settings.seed)
    task = _make_task(kind, settings, source, _config(settings, saved))
    if saved is not None:
        report = start_from(task, saved, mode=settings.mode)
        print(f"from {saved.source}: {report.summary()}")
        if encoders is None:
            print(f"{saved.source} was saved without its normalisation; it was taken from the training data instead")
    trained = sum(weight.numel() for weight in task.parameters() if weight.requires_grad)
    everything = sum(weight.numel() for weight in task.parameters())
    print(
        f"training {quantity(trained)} of {quantity(everything)} parameters on {len(source.splits['train'])} examples "
        f"of {len(source.classes)} classes",
        flush=True,
    )
    name = settings.model or (DEFAULT_MODEL if settings.pretrained is None else _short(settings.pretrained))
    return train_and_report(task, source, settings, command="finetune", model=name)


def _config(settings: FinetuneSettings, saved: SavedModel | None) -> PerceiverConfig:
    config = variant_config(settings.model or DEFAULT_MODEL) if saved is None else saved.config
    return with_settings(config, settings.model_settings)


def _make_task(kind: str, settings: FinetuneSettings, source: Source, config: PerceiverConfig) -> Task:
    if len(source.classes) < 2:
        raise UserError(f"--data: expected at least 2 classes in {source.name}, got {len(source.classes)}")
    values: dict[str, Any] = {"kind": kind, "num_classes": len(source.classes)}
    if kind == "segmentation" and source.name == "earth":
        values["background_class"] = source.classes.index("water")
    for name in values.keys() & settings.task_settings.keys() - {"background_class"}:
        raise UserError(f"--task-settings: {name} is not to be set, the data and --task say it")
    values |= settings.task_settings
    modalities = dict(source.modalities)
    if values.get("readout") == "label":
        modalities["label"] = Modality(grid=(1,), channels=len(source.classes), role="label")
    return task_from_settings(values, build_model(config, modalities))


def _short(name: str) -> str:
    path = Path(name)
    return path.parent.name if path.name == "model" and path.is_dir() else path.name or name
