"""`hip evaluate`: metrics of a trained model on a part of some data, with the floor beside them where there is one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from hiperceiver.cli.data import choose_split, open_data, own_encoders
from hiperceiver.cli.errors import UserError
from hiperceiver.cli.models import locate, read_task, run_settings
from hiperceiver.cli.settings import EvaluateSettings
from hiperceiver.cli.tables import metric, print_table
from hiperceiver.data.baselines import colour_lookup_baseline, nearest_neighbour_baseline
from hiperceiver.data.sources.source import Source
from hiperceiver.tasks import Task
from hiperceiver.training import evaluate


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What a cheap baseline reaches; a trained model must beat it."""

    name: str
    """How it works, in two words."""
    metrics: dict[str, float]
    """Its metrics, by the names that the task gives them."""


def run(settings: EvaluateSettings) -> int:
    """Measure, print a table, and write the numbers to a file if asked."""
    if settings.json is not None and Path(settings.json).exists():
        raise UserError(f"--json: {settings.json} exists already")
    task = read_task(settings.checkpoint)
    source = open_source_for(task, settings.checkpoint, data=settings.data, split_seed=settings.split_seed)
    dataset = choose_split(source, settings.split)
    metrics = evaluate(
        task,
        dataset,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        precision=settings.precision,
        accelerator=settings.accelerator,
    )
    floor = floor_of(source) if settings.split == "test" else None
    _print(settings, source, metrics, floor)
    if settings.json is not None:
        values = {
            "checkpoint": locate(settings.checkpoint),
            "data": source.name,
            "split": settings.split,
            "task": task.kind,
            "metrics": metrics,
            "floor": None if floor is None else asdict(floor),
            "note": source.note,
        }
        Path(settings.json).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    return 0


def floor_of(source: Source) -> Floor | None:
    """The floor on a source's test split; None for data of the user's and where there are no labels."""
    if source.name != "earth" or source.task == "none":
        return None
    if source.task == "classification":
        return Floor(name="nearest neighbour", metrics={"accuracy": nearest_neighbour_baseline(source).accuracy})
    scores = colour_lookup_baseline(source).scores
    metrics = {"miou": scores.mean_iou, "accuracy": scores.accuracy, "foreground_accuracy": scores.land_accuracy}
    return Floor(name="colour lookup", metrics=metrics)


def open_source_for(task: Task, checkpoint: str, *, data: str | None, split_seed: int | None) -> Source:
    """The data that a model is measured or shown on: its run's own, if no other is named, read as the model reads.

    Raises:
        UserError: nobody says what data, or its classes are others than the model's.
    """
    recorded = run_settings(checkpoint)
    data = data or recorded.get("data")
    if data is None:
        raise UserError(f"--data is missing, and {checkpoint} does not say what it was trained on")
    if split_seed is None:
        split_seed = recorded.get("split_seed", 0)
    kind = task.kind if task.kind in ("classification", "segmentation") else "none"
    encoders = own_encoders(task.encoders)
    grid = next(task.model.modalities[name].grid for name in task.model.input_names)
    size = (grid[0], grid[1]) if len(grid) == 2 else None
    source = open_data(data, task=kind, size=size, split_seed=split_seed, encoders=encoders)
    if source.classes and task.classes and source.classes != task.classes:
        missing = [name for name in source.classes if name not in task.classes] or ["in another order"]
        raise UserError(
            f"--data: expected the {len(task.classes)} classes of {checkpoint} ({', '.join(task.classes[:3])}, ...), "
            f"got {len(source.classes)} in {source.name} ({', '.join(missing[:3])})"
        )
    for name, modality in source.modalities.items():
        if task.model.modalities.get(name) != modality:
            raise UserError(
                f"--data: {source.name} gives {name!r} as {modality.grid} x {modality.channels}, which {checkpoint} "
                f"does not take"
            )
    return source


def _print(settings: EvaluateSettings, source: Source, metrics: dict[str, float], floor: Floor | None) -> None:
    counts = {name: int(metrics[name]) for name in ("num_examples", "num_skipped") if name in metrics}
    title = f"{settings.checkpoint} on {source.name}, {settings.split}: {counts['num_examples']} examples"
    measured = [(name, value) for name, value in metrics.items() if name not in counts]
    if floor is None:
        print_table(("metric", "value"), [(name, metric(name, value)) for name, value in measured], title=title)
    else:
        rows = [
            (name, metric(name, value), metric(name, floor.metrics[name]) if name in floor.metrics else "")
            for name, value in measured
        ]
        print_table(("metric", "model", f"floor: {floor.name}"), rows, title=title)
    if counts.get("num_skipped"):
        print(f"{counts['num_skipped']} unreadable examples were skipped.")
    if source.note:
        print(source.note)
