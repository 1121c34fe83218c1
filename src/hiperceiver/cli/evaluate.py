"""`hip evaluate`: metrics of a trained model on a split, and of the cheapest baseline if there is one."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hiperceiver.cli.data import choose_split, open_data_for, own_encoders, print_data
from hiperceiver.cli.errors import UserError
from hiperceiver.cli.models import locate, run_settings
from hiperceiver.cli.predict import check_json_beside_data
from hiperceiver.cli.results import check_new, write_json
from hiperceiver.cli.tables import print_metrics
from hiperceiver.data.example import ExampleDataset, WithAbsent
from hiperceiver.data.sources.lists import example_list
from hiperceiver.data.sources.source import Baseline, Source
from hiperceiver.settings.commands import EvaluateSettings, FinetuneSettings
from hiperceiver.tasks import Task, load_task
from hiperceiver.training import evaluate

_MOST_NAMED = 5  # examples that could not be read; `--json` has all


def run(settings: EvaluateSettings) -> int:
    """Measure, print a table, and write the numbers to `--json`."""
    check_new(settings.json, "--json")
    task = load_task(locate(settings.checkpoint))
    encoders = own_encoders(task.encoders, settings.checkpoint) or {}
    check_json_beside_data(settings.json, encoders, settings.data or run_settings(settings.checkpoint).get("data"))
    source = open_data_for(task, settings)
    if settings.each_modality and len(source.encoders) < 2:
        raise UserError(f"--each-modality: expected several modalities, got {', '.join(source.encoders)} alone")
    choose_split(source, settings.split)
    print_data(source)
    how = {name: getattr(settings, name) for name in ("split", "each_modality", "batch_size", "num_workers")}
    measured = measure_and_print(task, source, settings, subject=settings.checkpoint, **how)
    write_json(settings.json, {"checkpoint": locate(settings.checkpoint), **measured})
    return 0


def measure_and_print(
    task: Task,
    source: Source,
    settings: EvaluateSettings | FinetuneSettings,
    *,
    subject: str,
    split: str,
    each_modality: bool = False,
    **loading: Any,
) -> dict[str, Any]:
    """Measure a task (and each modality alone) on a split, print a table with the baseline, and return the numbers."""
    dataset = choose_split(source, split)

    def measured(shown: ExampleDataset, **limits: Any) -> dict[str, float]:
        return evaluate(
            task,
            shown,
            precision=settings.precision,
            accelerator=settings.accelerator,
            show_progress=True,
            **{"max_bad_share": settings.max_bad_share, "strict": settings.strict, **limits},
            **loading,
        )

    skipped: list[str] = []
    metrics = measured(dataset, skipped=skipped)
    alone: dict[str, dict[str, float]] = {}
    for name in source.encoders if each_modality else ():
        others = {other: each for other, each in source.modalities.items() if other != name}
        # Examples that have nothing of it are counted, and no fault.
        alone[name] = measured(WithAbsent(dataset=dataset, modalities=others), max_bad_share=1.0, strict=False)
    baseline = source.baseline() if source.baseline is not None and split == "test" else None
    _print(f"{subject} on {source.name}, {split}", source.note, metrics, alone, baseline, skipped)
    return {
        "data": source.name,
        "split": split,
        "task": task.kind,
        "metrics": metrics,
        **({"alone": alone} if alone else {}),
        **({"skipped": skipped} if skipped else {}),
        "floor": None if baseline is None else asdict(baseline),
        "note": source.note,
    }


def _rank(name: str) -> tuple[bool, str]:
    """The loss first; what a metric is compared with stays in the order in which it came."""
    return name != "loss", name.partition("_by_")[0]


def _print(
    title: str,
    note: str,
    metrics: dict[str, float],
    alone: dict[str, dict[str, float]],
    baseline: Baseline | None,
    skipped: Sequence[str],
) -> None:
    counts = {name: int(metrics[name]) for name in ("num_examples", "num_skipped") if name in metrics}
    own = {name: metrics[name] for name in sorted((each for each in metrics if each not in counts), key=_rank)}
    columns = {"model" if baseline is not None else "value": own}
    if alone:
        columns = {f"all of {len(alone)}": own}
        for name, values in alone.items():
            has, of = int(values["num_examples"]), counts["num_examples"]
            columns[f"{name} alone{f', {has} of {of} have it' if has < of else ''}"] = values
    if baseline is not None:
        columns[f"baseline: {baseline.name}"] = baseline.metrics
    print_metrics(columns, title=f"{title}: {counts['num_examples']} examples")
    if skipped:
        print(f"{len(skipped)} more could not be read and were left out: {example_list(skipped, _MOST_NAMED)}")
    if note:
        print(note)
