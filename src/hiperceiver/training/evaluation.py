"""Metrics of a task over a set, for validation while training and for evaluation after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from hiperceiver.data.example import ExampleDataset
from hiperceiver.data.loading import eval_loader
from hiperceiver.modality import Batch
from hiperceiver.settings.run import Accelerator, Precision
from hiperceiver.tasks.task import Task
from hiperceiver.training.progress import counting

if TYPE_CHECKING:
    from hiperceiver.tasks.trivial import TrivialAnswers


class Measurement(NamedTuple):
    """The metrics of a task on a set, the number of examples, and the unreadable ones as `name: reason`."""

    metrics: dict[str, float]
    num_examples: int
    skipped: tuple[str, ...]


def measure(
    task: Task,
    batches: Iterable[Batch],
    *,
    precision: Precision,
    after_batch: Callable[[int], object],
    trivial: TrivialAnswers | None = None,
) -> Measurement | None:
    """Metrics of a task in evaluation mode, on its device; `ValueError` without any example.

    After each batch `after_batch` gets the number of examples so far; a true answer stops the measurement: None. What
    `trivial` answers reach on the same examples joins the metrics.
    """
    device = task.device
    metrics = task.make_metrics()
    num_examples, skipped = 0, []
    with torch.inference_mode(), autocast(device, precision):
        for batch in batches:
            skipped.extend(batch.skipped)
            if len(batch) > 0:
                if trivial is not None:
                    trivial.add(batch)
                task.update(metrics, batch.to(device, non_blocking=True))
                num_examples += len(batch)
            if after_batch(num_examples):
                return None
        if num_examples == 0:
            first = f", the first: {skipped[0]}" if skipped else ""
            raise ValueError(f"dataset: expected examples to measure on, got none ({len(skipped)} unreadable{first})")
        values = metrics.compute()
    metrics = {name: float(value) for name, value in values.items()} | ({} if trivial is None else trivial.metrics())
    return Measurement(metrics, num_examples, tuple(skipped))


def evaluate(
    task: Task,
    dataset: ExampleDataset,
    *,
    batch_size: int = 32,
    num_workers: int = 0,
    precision: Precision = "32",
    accelerator: Accelerator = "auto",
    max_bad_share: float = 1.0,
    strict: bool = False,
    show_progress: bool = False,
    skipped: list[str] | None = None,
) -> dict[str, float]:
    """Metrics of a task on one split of a source, with the settings of the same names in `TrainingSettings`.

    They come with `num_examples` that were counted and `num_skipped` that could not be read; `ValueError` if these are
    too many; `skipped` gets the name and reason of each. The task is in evaluation mode afterwards, on the device where
    it was. The metrics do not depend on `batch_size`. `show_progress` shows a bar if standard error is a terminal.
    """
    before = task.device
    task.eval().to(find_device(accelerator))
    try:
        loader = eval_loader(dataset, batch_size=batch_size, num_workers=num_workers, strict=strict)
        with counting("evaluating", len(dataset), is_shown=show_progress) as count:
            trivial = task.trivial_answers(len(dataset))
            measured = measure(task, loader, precision=precision, after_batch=count, trivial=trivial)
    finally:
        task.to(before)
    assert measured is not None
    num_bad, num_good = len(measured.skipped), measured.num_examples
    if skipped is not None:
        skipped += measured.skipped
    if num_bad > max_bad_share * (num_good + num_bad):
        expected = f"expected at most {max_bad_share:.0%}; the first: {measured.skipped[0]}"
        raise ValueError(f"max_bad_share: {num_bad} of {num_good + num_bad} examples could not be read, {expected}")
    return {**measured.metrics, "num_examples": float(num_good), "num_skipped": float(num_bad)}


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The context in which a task computes. Fabric's own precision would round inputs and targets, too."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def find_device(accelerator: Accelerator) -> torch.device:
    """The device of that kind; `ValueError` if this machine has none."""
    if accelerator == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return torch.device("cpu") if found is None else found
    device = torch.device({"gpu": "cuda"}.get(accelerator, accelerator))
    if not torch.get_device_module(device).is_available():
        raise ValueError(f"accelerator: this machine has no {accelerator}")
    return device
