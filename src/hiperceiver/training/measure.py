"""Metrics of a task over a set: the one way, for validation while training and for evaluation after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from hiperceiver.modality import Batch
from hiperceiver.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a task achieves on a set."""

    metrics: dict[str, float]
    """By name."""
    num_examples: int
    """Examples that were counted."""
    skipped: tuple[str, ...]
    """Unreadable examples that were left out, each as `name: reason`."""


def measure(
    task: Task,
    batches: Iterable[Batch],
    *,
    precision: str = "32",
    is_stopped: Callable[[], bool] = lambda: False,
    after_batch: Callable[[int], None] = lambda num_examples: None,
) -> Measurement | None:
    """Metrics of a task where it is, on one pass over batches. Turn the task into evaluation mode first.

    Args:
        task: in evaluation mode, on its device.
        batches: on any device.
        precision: "32" or "bf16".
        is_stopped: asked after each batch; the measurement is given up at the first True.
        after_batch: told the number of examples after each batch.

    Returns:
        None if it was stopped.

    Raises:
        ValueError: there is no example to measure on.
    """
    device = task.device
    metrics = task.make_metrics()
    num_examples, skipped = 0, []
    mixed = torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    with torch.inference_mode(), mixed:
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
