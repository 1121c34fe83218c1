"""A training step of masked auto-encoding."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.jobs import Job
from benchmarks.memory import resident
from benchmarks.steps import measured
from benchmarks.timing import Step
from benchmarks.torch_steps import num_parameters, training
from hiperceiver import Batch, Modality, create_model
from hiperceiver.tasks import MaskedAutoencoding, MaskedAutoencodingConfig


def measure(job: Job) -> dict[str, Any]:
    """Numbers as of any step. Where nothing is hidden the loss is that of all pixels, as it must be."""
    import_bytes = resident()
    model = create_model(job.variant, modalities={"image": Modality(grid=(job.side, job.side), channels=3)})
    loss_on = "hidden" if job.ratio else "all"
    config = MaskedAutoencodingConfig(mask_ratio=job.ratio, loss_on=loss_on, compared_share=job.compared)
    task = MaskedAutoencoding(model, config).to(job.device)
    batch = Batch(inputs={"image": torch.randn(job.batch, job.side**2, 3)}).to(job.device)
    run = training(job, task, lambda: task.loss(batch)[0])
    return measured(Step(run=run, num_parameters=num_parameters(task)), import_bytes=import_bytes, job=job)
