"""`hip evaluate`: metrics of a trained model on a split, and of the cheapest baseline if there is one."""

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from hiperceiver.cli.data import choose_split, open_data_for, print_data
from hiperceiver.cli.errors import UserError
from hiperceiver.cli.models import locate, read_task
from hiperceiver.cli.results import check_new, write_json
from hiperceiver.cli.tables import metric, print_table
from hiperceiver.data.example import ExampleDataset, WithAbsent
from hiperceiver.data.sources.source import Baseline, Source
from hiperceiver.settings.commands import EvaluateSettings
from hiperceiver.settings.run import Accelerator, Precision
from hiperceiver.tasks import Task
from hiperceiver.training import evaluate


class HowToMeasure(Protocol):
    """What measuring wants of a command's settings."""

    @property
    def precision(self) -> Precision:
        """`32` or `bf16`."""
        ...

    @property
    def accelerator(self) -> Accelerator:
        """Kind of device."""
        ...

    @property
    def max_bad_share(self) -> float:
        """Largest share of unreadable examples."""
        ...

    @property
    def strict(self) -> bool:
        """Whether one of them is too many."""
        ...


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is measured."""

    subject: str
    """The model, as the user named it."""
    split: str
    """The part of the data."""
    batch_size: int = 32
    """Examples in a batch."""
    num_workers: int = 0
    """Processes that load data."""
    each_modality: bool = False
    """Whether each modality is measured alone as well."""


def run(settings: EvaluateSettings) -> int:
    """Measure, print a table, and write the numbers to `--json`."""
    check_new(settings.json, "--json")
    task = read_task(settings.checkpoint)
    source = open_data_for(task, settings)
    if settings.each_modality and len(source.encoders) < 2:
        raise UserError(f"--each-modality: expected several modalities, got {', '.join(source.encoders)} alone")
    report = Report(
        subject=settings.checkpoint,
        split=settings.split,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        each_modality=settings.each_modality,
    )
    choose_split(source, settings.split)
    print_data(source)
    measured = measure_and_print(task, source, report, settings)
    write_json(settings.json, {"checkpoint": locate(settings.checkpoint), **measured})
    return 0


def measure_and_print(task: Task, source: Source, report: Report, how: HowToMeasure) -> dict[str, Any]:
    """Measure a task on a split, print a table with the baseline, and return the numbers."""
    dataset = choose_split(source, report.split)

    def measured(shown: ExampleDataset) -> dict[str, float]:
        return evaluate(
            task,
            shown,
            batch_size=report.batch_size,
            num_workers=report.num_workers,
            precision=how.precision,
            accelerator=how.accelerator,
            max_bad_share=how.max_bad_share,
            strict=how.strict,
            show_progress=True,
        )

    metrics = measured(dataset)
    alone: dict[str, dict[str, float]] = {}
    if report.each_modality:
        for name in source.encoders:
            others = {other: each for other, each in source.modalities.items() if other != name}
            alone[name] = measured(WithAbsent(dataset=dataset, modalities=others))
    baseline = source.baseline() if source.baseline is not None and report.split == "test" else None
    _print(source, report, metrics, alone, baseline)
    return {
        "data": source.name,
        "split": report.split,
        "task": task.kind,
        "metrics": metrics,
        **({"alone": alone} if alone else {}),
        "floor": None if baseline is None else asdict(baseline),
        "note": source.note,
    }


def _print(
    source: Source,
    report: Report,
    metrics: dict[str, float],
    alone: dict[str, dict[str, float]],
    baseline: Baseline | None,
) -> None:
    counts = {name: int(metrics[name]) for name in ("num_examples", "num_skipped") if name in metrics}
    title = f"{report.subject} on {source.name}, {report.split}: {counts['num_examples']} examples"
    names = sorted((name for name in metrics if name not in counts), key=lambda name: (name != "loss", name))
    columns = {"model" if baseline is not None else "value": metrics}
    if alone:
        columns = {f"all of {len(alone)}": metrics, **{f"{name} alone": values for name, values in alone.items()}}
    if baseline is not None:
        columns[f"baseline: {baseline.name}"] = baseline.metrics
    rows = [
        (name, *(metric(name, values[name]) if name in values else "" for values in columns.values())) for name in names
    ]
    print_table(("metric", *columns), rows, title=title)
    if counts.get("num_skipped"):
        print(f"{counts['num_skipped']} more could not be read and were left out.")
    if source.note:
        print(source.note)
