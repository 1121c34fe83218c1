"""Tables of `datasets`: reading them from folders or the hub, and finding our splits in them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hiperceiver.data.packages import import_extra
from hiperceiver.data.sources.folder import SPLIT_NAMES, list_folder
from hiperceiver.data.sources.source import SourceTask

VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2


def is_table_folder(folder: Path) -> bool:
    """Whether `datasets` should read the folder: it saved it, or it holds tables rather than only pictures."""
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return True
    patterns = ("metadata.*", "*/metadata.*", "*.parquet", "*/*.parquet", "*.arrow")
    tables = {".csv", ".jsonl", ".parquet", ".arrow"}
    return any(path.suffix in tables for pattern in patterns for path in folder.glob(pattern))


def read_tables(folder: Path, config_name: str | None) -> dict[str, Any]:
    """Split -> table, of a folder that `datasets` saved or that holds tables.

    Raises:
        ValueError: it cannot be read.
    """
    datasets = import_extra("datasets", extra="data")
    try:
        with _quiet(datasets):
            if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
                found = datasets.load_from_disk(str(folder))
            else:
                found = datasets.load_dataset(str(folder), name=config_name)
    except Exception as error:  # strangers' files: many kinds
        raise ValueError(f"{folder}: cannot be read by datasets: {_one_line(error)}") from error
    return dict(found) if isinstance(found, datasets.DatasetDict) else {"train": found}


def read_hub(name: str, config_name: str | None) -> dict[str, Any]:
    """Split -> table, of a dataset of the hub. `datasets` runs no code that comes with it.

    Raises:
        ValueError: the name is no `owner/name`, or it cannot be read.
    """
    if len(name.split("/")) != 2 or name.startswith((".", "/", "~")) or not all(name.split("/")):
        raise ValueError(f"{name}: no such folder")
    datasets = import_extra("datasets", extra="data")
    try:
        with _quiet(datasets):
            found = datasets.load_dataset(name, name=config_name)
    except Exception as error:  # network, names, formats: many kinds
        raise ValueError(f"{name}: no such folder, and cannot be read from the hub: {_one_line(error)}") from error
    return dict(found)


def folder_tables(folder: Path, task: SourceTask) -> tuple[dict[str, Any], list[str]]:
    """Split -> table of paths (columns `image`, and `label` or `mask`), of a folder of pictures; and what was odd.

    Raises:
        ValueError: the folder cannot be read, or has not what the task needs.
    """
    datasets = import_extra("datasets", extra="data")
    try:
        splits, warnings = list_folder(folder, task)
    except OSError as error:
        raise ValueError(f"{error.filename or folder}: {(error.strerror or 'cannot be read').lower()}") from error
    tables = {}
    for split, files in splits.items():
        values = {"image": files.pictures}
        if task == "classification":
            values["label"] = files.classes
        elif task == "segmentation":
            values["mask"] = files.masks
        features = datasets.Features({name: datasets.Value("string") for name in values})
        tables[split] = datasets.Dataset.from_dict(values, features=features)
    return tables, warnings


@contextlib.contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """No progress bars and no chatter while `datasets` reads; errors still come as exceptions."""
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    are_bars_off = datasets.utils.are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    datasets.utils.disable_progress_bars()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not are_bars_off:
            datasets.utils.enable_progress_bars()


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}..."


def named_splits(source: str, tables: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Tables by our names of splits; the only split of a dataset is `train`.

    Raises:
        ValueError: there are several, and none is for training.
    """
    named: dict[str, Any] = {}
    for name, table in tables.items():
        ours = SPLIT_NAMES.get(str(name).lower())
        if ours is None or ours in named:
            continue
        named[ours] = table
    if "train" not in named:
        if len(tables) != 1:
            raise ValueError(f"{source}: expected a split named train, got {', '.join(map(str, tables))}")
        return {"train": next(iter(tables.values()))}
    if left := [str(name) for name, table in tables.items() if all(table is not used for used in named.values())]:
        warnings.append(f"splits that are not used: {', '.join(left)}")
    return named


def carved(
    rows: dict[str, np.ndarray], labels: dict[str, np.ndarray] | None, seed: int, warnings: list[str]
) -> dict[str, tuple[str, np.ndarray]]:
    """Our split -> (the table that holds it, its rows). What is missing is taken out of `train`."""
    parts = {"train": ("train", rows["train"])}
    if "validation" not in rows:
        test_share = TEST_SHARE if "test" not in rows else 0.0
        numbers = labels["train"][rows["train"]] if labels else np.zeros(len(rows["train"]), dtype=np.int64)
        chosen = dealt(numbers, seed, test_share=test_share)
        parts = {name: ("train", rows["train"][indices]) for name, indices in chosen.items()}
    for split in ("validation", "test"):
        if split in rows:
            parts[split] = (split, rows[split])
    parts = {name: parts[name] for name in ("train", "validation", "test") if name in parts and len(parts[name][1])}
    if missing := [name for name in ("validation", "test") if name not in parts]:
        warnings.append(f"there is no split for {' and '.join(missing)}")
    return parts


def dealt(labels: np.ndarray, seed: int, *, test_share: float = TEST_SHARE) -> dict[str, np.ndarray]:
    """Examples dealt to train, validation and test, class by class, so that each split has every class if it can.

    A class of two or more gives at least one to test, and one of three or more at least one to validation. Without a
    test share, a class of two or more gives one to validation.

    Args:
        labels: class numbers (examples,).
        seed: of the draw.
        test_share: of test; that of validation is 10%.

    >>> {name: len(rows) for name, rows in dealt(np.repeat([0, 1], [50, 3]), seed=0).items()}
    {'train': 36, 'validation': 6, 'test': 11}
    """
    rng = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    for number in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == number))
        num_test = max(round(test_share * len(rows)), int(len(rows) >= 2)) if test_share else 0
        least = 3 if test_share else 2
        num_validation = max(round(VALIDATION_SHARE * len(rows)), 1) if len(rows) >= least else 0
        parts["test"].append(rows[:num_test])
        parts["validation"].append(rows[num_test : num_test + num_validation])
        parts["train"].append(rows[num_test + num_validation :])
    return {name: np.sort(np.concatenate(rows)) for name, rows in parts.items()}
