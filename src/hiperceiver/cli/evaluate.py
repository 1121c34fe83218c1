"""`hip evaluate`: metrics of a trained model on a part of some data, with the floor beside them where there is one."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from hiperceiver.cli.data import choose_split, open_source_for, say_oddities
from hiperceiver.cli.models import locate, read_task
from hiperceiver.cli.results import check_new, write_json
from hiperceiver.cli.settings import EvaluateSettings
from hiperceiver.cli.tables import metric, print_table
from hiperceiver.data.baselines import colour_lookup_baseline, nearest_neighbour_baseline
from hiperceiver.data.sources.source import Source
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
    check_new(settings.json, "--json")
    task = read_task(settings.checkpoint)
    source = open_source_for(task, settings)
    dataset = choose_split(source, settings.split)
    say_oddities(source)
    metrics = evaluate(
        task,
        dataset,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        precision=settings.precision,
        accelerator=settings.accelerator,
        show_progress=True,
    )
    floor = floor_of(source) if settings.split == "test" else None
    _print(settings, source, metrics, floor)
    values = {
        "checkpoint": locate(settings.checkpoint),
        "data": source.name,
        "split": settings.split,
        "task": task.kind,
        "metrics": metrics,
        "floor": None if floor is None else asdict(floor),
        "note": source.note,
    }
    write_json(settings.json, values)
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


def _print(settings: EvaluateSettings, source: Source, metrics: dict[str, float], floor: Floor | None) -> None:
    counts = {name: int(metrics[name]) for name in ("num_examples", "num_skipped") if name in metrics}
    title = f"{settings.checkpoint} on {source.name}, {settings.split}: {counts['num_examples']} examples"
    measured = sorted(each for each in metrics.items() if each[0] not in counts)
    measured.sort(key=lambda each: each[0] != "loss")
    if floor is None:
        print_table(("metric", "value"), [(name, metric(name, value)) for name, value in measured], title=title)
    else:
        rows = [
            (name, metric(name, value), metric(name, floor.metrics[name]) if name in floor.metrics else "")
            for name, value in measured
        ]
        print_table(("metric", "model", f"floor: {floor.name}"), rows, title=title)
    if counts.get("num_skipped"):
        print(f"{counts['num_skipped']} more could not be read and were left out.")
    if source.note:
        print(source.note)
