"""Metrics of a task over a set, for validation while training and for evaluation after it."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from hiperceiver.data.example import ExampleDataset
from hiperceiver.data.loading import eval_loader
from hiperceiver.modality import Batch
from hiperceiver.settings.run import Accelerator, Precision
from hiperceiver.tasks.task import Task
from hiperceiver.training.progress import counting


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The metrics of a task on a set."""

    metrics: dict[str, float]
    """By name."""
    num_examples: int
    """Examples that could be read."""
    skipped: tuple[str, ...]
    """Unreadable examples that were left out, each as `name: reason`."""


def measure(
    task: Task,
    batches: Iterable[Batch],
    *,
    precision: Precision = "32",
    is_stopped: Callable[[], bool] = lambda: False,
    after_batch: Callable[[int], None] = lambda num_examples: None,
) -> Measurement | None:
    """Metrics of a task where it is, on one pass over batches. Turn the task into evaluation mode first.

    Args:
        task: in evaluation mode, on its device.
        batches: on any device.
        precision: "32" or "bf16".
        is_stopped: called after each batch; the measurement ends at the first True.
        after_batch: called with the number of examples after each batch.

    Returns:
        None if it was stopped.

    Raises:
        ValueError: there is no example to measure on.
    """
    device = task.device
    metrics = task.make_metrics()
    for metric in metrics.values():
        metric.distributed_available_fn = lambda: False  # one of the processes measures
    num_examples, skipped = 0, []
    with torch.inference_mode(), autocast(device, precision):
        for batch in batches:
            skipped.extend(batch.skipped)
            if len(batch) > 0:
                task.update(metrics, batch.to(device, non_blocking=True))
                num_examples += len(batch)
            after_batch(num_examples)
            if is_stopped():
                return None
        if num_examples == 0:
            first = f", the first: {skipped[0]}" if skipped else ""
            raise ValueError(f"dataset: expected examples to measure on, got none ({len(skipped)} unreadable{first})")
        values = metrics.compute()
    return Measurement(
        metrics={name: float(value) for name, value in values.items()},
        num_examples=num_examples,
        skipped=tuple(skipped),
    )


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
) -> dict[str, float]:
    """Metrics of a task on one split of a source.

    Args:
        task: in evaluation mode afterwards, where it was before.
        dataset: the examples.
        batch_size: examples in a batch; the metrics do not depend on it.
        num_workers: processes that load data; 0: none.
        precision: "32" or "bf16".
        accelerator: kind of device; "auto": a GPU if there is one.
        max_bad_share: largest share of examples that may be unreadable.
        strict: fail at the first unreadable example.
        show_progress: a bar, if standard error is a terminal.

    Returns:
        The task's metrics by name, `num_examples` that were counted, and `num_skipped` that could not be read.

    Raises:
        ValueError: there is no readable example, or too many are unreadable.
    """
    before = task.device
    task.eval().to(find_device(accelerator))
    try:
        loader = eval_loader(dataset, batch_size=batch_size, num_workers=num_workers, strict=strict)
        with counting("evaluating", len(dataset), is_shown=show_progress) as count:
            measured = measure(task, loader, precision=precision, after_batch=count)
    finally:
        task.to(before)
    assert measured is not None
    num_bad, num_met = len(measured.skipped), len(measured.skipped) + measured.num_examples
    if num_bad > max_bad_share * num_met:
        raise ValueError(
            f"max_bad_share: {num_bad} of {num_met} examples could not be read, expected at most {max_bad_share:.0%}; "
            f"the first: {measured.skipped[0]}"
        )
    counts = {"num_examples": float(measured.num_examples), "num_skipped": float(len(measured.skipped))}
    return {**measured.metrics, **counts}


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The context in which a task computes. Fabric's own precision would round inputs and targets, too."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def find_device(accelerator: Accelerator) -> torch.device:
    """The device of that kind.

    Raises:
        ValueError: this machine has none.
    """
    if accelerator == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return torch.device("cpu") if found is None else found
    name = {"gpu": "cuda"}.get(accelerator, accelerator)
    is_there = {"cpu": lambda: True, "cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}[name]
    if not is_there():
        raise ValueError(f"accelerator: this machine has no {accelerator}")
    return torch.device(name)
