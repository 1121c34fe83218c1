"""Does the data of a recipe come faster than its training steps take it?"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.jobs import Job
from benchmarks.torch_steps import training
from hiperceiver import Batch
from hiperceiver.cli.data import find_data, open_data
from hiperceiver.cli.entry import read_command
from hiperceiver.cli.models import with_settings
from hiperceiver.data.loading import train_loader
from hiperceiver.data.sources import SOURCES
from hiperceiver.model import build_model, variant_config
from hiperceiver.recipes import RECIPES, recipe_commands
from hiperceiver.settings.commands import PretrainSettings
from hiperceiver.tasks import MaskedAutoencoding, MaskedAutoencodingConfig
from hiperceiver.training.launch import find_launch
from hiperceiver.training.run import choose_num_workers

SECONDS = 5.0
"""How long each of the two is done, after a beginning that is not counted."""


def built_in_recipes() -> list[str]:
    """Recipes that pretrain, and whose data comes with the package."""
    return [name for name in RECIPES if name in SOURCES and "pretrain" in recipe_commands(name)]


def measure(job: Job, *, seconds: float = SECONDS) -> dict[str, Any]:
    """`loading_rate` and `step_rate` of a recipe's pretraining, each in examples a second and alone; and `num_workers`
    that load, as the trainer chooses."""
    settings = recipe_settings(job.name)
    source = open_data(settings, find_data(settings), task="none")
    launch = find_launch(devices=1, num_nodes=1)
    workers = (
        choose_num_workers(torch.device(job.device), launch) if settings.num_workers is None else settings.num_workers
    )
    batches = iter(
        train_loader(source.splits["train"], batch_size=settings.batch_size, seed=settings.seed, num_workers=workers)
    )
    kept = [next(batches)]  # workers have started, files are open
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        kept = [*kept, next(batches)][-4:]
        count += len(kept[-1])
    loading_rate = count / (time.perf_counter() - started)

    model = build_model(with_settings(variant_config(settings.model), settings.model_settings), source.modalities)
    config = MaskedAutoencodingConfig(
        mask_ratio=settings.mask_ratio, mask_strategy=settings.mask_strategy, loss_on=settings.loss_on
    )
    task = MaskedAutoencoding(model, config).to(job.device)
    given: Iterator[Batch] = itertools.cycle(batch.to(job.device) for batch in kept)
    current: list[Batch] = []
    step = training(job, task, lambda: task.loss(current[-1])[0])

    def taken() -> int:
        current[:] = [next(given)]
        step()
        return len(current[0])

    taken()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        count += taken()
    step_rate = count / (time.perf_counter() - started)
    return {"loading_rate": loading_rate, "step_rate": step_rate, "num_workers": workers}


def recipe_settings(name: str) -> PretrainSettings:
    """What `hip pretrain --recipe NAME` would do."""
    settings = read_command("pretrain", ["--recipe", name])
    assert isinstance(settings, PretrainSettings)
    return settings
