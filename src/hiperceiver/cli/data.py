"""From the options that name data to a source that is ready for the loaders."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from hiperceiver.cli.errors import UserError, renamed
from hiperceiver.cli.models import run_settings
from hiperceiver.cli.settings import ColumnSettings, DataSettings, EvaluateSettings, PlotSettings
from hiperceiver.data.encoders import encoder_from_dict
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.example import AugmentedDataset, BadExample, Example, ExampleDataset
from hiperceiver.data.sources import open_source
from hiperceiver.data.sources.source import Source, SourceTask
from hiperceiver.tasks import Task

OUR_NAMES = {
    "source": "data",
    "mode": "colours",
    "config_name": "subset",
    "columns": "columns",
    "image_column": "columns",
    "label_column": "label-column",
    "mask_column": "mask-column",
    "size": "size",
    "fit": "fit",
    "min_land": "min-land",
}
"""What `open_source` calls an option -> what the user does."""


def open_data(settings: DataSettings, **options: Any) -> Source:
    """The source that settings name.

    Args:
        settings: where and how.
        options: for `open_source`, beside and instead of what the settings say.
    """
    given: dict[str, Any] = {
        "size": settings.size,
        "mode": settings.colours,
        "fit": settings.fit,
        "flip": settings.flip,
        "min_land": settings.min_land or None,
        "split_seed": settings.split_seed,
    }
    return open_named(settings.data, **{**given, **column_options(settings), **options})


def open_named(name: str, **options: Any) -> Source:
    """The source of this name; options as for `open_source`.

    Given encoders bring their size with them.
    """
    encoders = options.get("encoders") or {}
    grids = {encoder.modality.grid for encoder in encoders.values()}
    if options.get("size") is None and len(grids) == 1:
        options["size"] = grids.pop()
    with renamed(OUR_NAMES):
        return open_source(name, **options)


def open_source_for(task: Task, settings: EvaluateSettings | PlotSettings) -> Source:
    """The data that a model is measured or shown on: its run's own, if no other is named, read as the model reads.

    Raises:
        ValueError: nobody says what data, its classes are others than the model's, or the model does not take it.
    """
    name = settings.checkpoint
    recorded = run_settings(name)
    options = column_options(settings)
    if settings.data is None:
        if "data" not in recorded:
            raise UserError(f"--data is missing, and {name} does not say what it was trained on")
        # A settings.yaml holds our names for the columns' options.
        were = {
            "columns": "columns",
            "image_column": "columns",
            "label_column": "label_column",
            "mask_column": "mask_column",
            "config_name": "subset",
        }
        options = {ours: given or recorded.get(were[ours]) or None for ours, given in options.items()}
    split_seed = recorded.get("split_seed") if settings.split_seed is None else settings.split_seed
    encoders = own_encoders(task.encoders)
    if encoders is None:
        raise UserError(f"{name}: was saved without how its input is read, normalisation included")
    source = open_named(
        settings.data or recorded["data"],
        task=task.kind if task.kind in get_args(SourceTask) else "none",
        encoders=encoders,
        classes=task.classes or None if task.kind in get_args(SourceTask) else None,
        split_seed=split_seed,
        **options,
    )
    for each, modality in source.modalities.items():
        if task.model.modalities.get(each) != modality:
            shape = " x ".join(str(n) for n in (*modality.grid, modality.channels))
            raise UserError(f"--data: {source.name} gives {each!r} as {shape}, which {name} does not take")
    return source


def say_oddities(source: Source) -> None:
    """Say what was odd about the data; only once it is sure that nothing is wrong."""
    for warning in source.warnings:
        print(f"hip: note: {warning}", file=sys.stderr)


def column_options(settings: ColumnSettings) -> dict[str, Any]:
    """What settings say of columns, as `open_source` takes it."""
    return {
        "columns": settings.columns or None,
        "label_column": settings.label_column,
        "mask_column": settings.mask_column,
        "config_name": settings.subset,
    }


def own_encoders(encoders: Mapping[str, Mapping[str, Any]]) -> dict[str, Encoder] | None:
    """A saved model's encoders, with its normalisation; None if it was saved without any."""
    return {name: encoder_from_dict(values) for name, values in encoders.items()} or None


def choose_split(source: Source, name: str) -> ExampleDataset:
    """One part of a source, or `all` of them.

    Raises:
        UserError: it has no such part.
    """
    if name == "all":
        return Joined(list(source.splits.values()))
    if name not in source.splits or len(source.splits[name]) == 0:
        raise UserError(f"--split: expected one of {', '.join(source.splits)}, all for {source.name}, got {name}")
    return source.splits[name]


def with_train_share(source: Source, share: float, *, seed: int) -> Source:
    """The same source with a share of its training examples, at least one; a smaller share is part of a larger one."""
    if share == 1:
        return source
    whole = source.splits["train"]
    count = math.ceil(share * len(whole))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(whole))[:count])
    part = AugmentedPart(whole, chosen) if isinstance(whole, AugmentedDataset) else Part(whole, chosen)
    return dataclasses.replace(source, splits={**source.splits, "train": part})


class Part:
    """Some of a dataset's examples."""

    def __init__(self, dataset: Any, indices: np.ndarray):
        self.dataset = dataset
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Example | BadExample:
        return self.dataset[int(self.indices[index])]


class AugmentedPart(Part):
    """Some of the examples of a dataset that changes them at random for training."""

    def augmented(self, index: int, rng: np.random.Generator) -> Example | BadExample:
        """As the dataset does it."""
        return self.dataset.augmented(int(self.indices[index]), rng)


class Joined:
    """Several datasets, one after the other."""

    def __init__(self, datasets: Sequence[ExampleDataset]):
        self.places = [(dataset, index) for dataset in datasets for index in range(len(dataset))]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Example | BadExample:
        dataset, place = self.places[index]
        return dataset[place]
