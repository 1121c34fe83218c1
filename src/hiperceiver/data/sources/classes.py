"""Names of classes and their numbers, however a data set says them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiperceiver.data.encoded import NO_LABEL
from hiperceiver.data.encoders.picture_files import read_labels
from hiperceiver.data.record import Records
from hiperceiver.data.sources.source import CommonOptions, SourceTask, dealt

CLASSES_FILE = "classes.txt"
"""In a folder: the names of the classes, one a line, in the order of their numbers."""
MAX_MASKS_LOOKED_AT = 1000
"""To find the number of classes of masks when it is not given."""


def number_classes(
    words: Iterable[str | None], classes: Sequence[str] | None, *, source: str
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names of the classes, and word -> number of the class that it means.

    Args:
        words: names or numbers of classes as the data has them; None where there is none.
        classes: the names in their order. Numbers in data whose classes are names count these, from 0. By default the
            names are the words, sorted, and numbers in their own order.
        source: for messages.

    Raises:
        ValueError: a word is not among `classes`.

    >>> number_classes(["10", "2", None, "2"], None, source="data")
    (('2', '10'), {'2': 0, '10': 1})
    >>> number_classes(["1", "0"], ["cat", "dog"], source="data")
    (('cat', 'dog'), {'0': 0, '1': 1})
    """
    present = {word for word in words if word is not None}
    if classes is None:
        names = sorted(present, key=lambda word: (0, int(word), word) if word.isdecimal() else (1, 0, word))
        return tuple(names), {name: number for number, name in enumerate(names)}
    names = tuple(classes)
    are_counted = all(word.isdecimal() for word in present) and not any(name.isdecimal() for name in names)
    numbers = {str(number) if are_counted else name: number for number, name in enumerate(names)}
    if unknown := sorted(present - set(numbers)):
        known = f"{', '.join(names)}{' or their numbers' if are_counted else ''}"
        raise ValueError(f"classes: expected only {known}, found {', '.join(unknown[:5])} in {source}")
    return names, numbers


def read_class_names(folder: Path) -> tuple[str, ...] | None:
    """What a folder's `classes.txt` says; None without such a file.

    Raises:
        ValueError: it names fewer than two classes, one twice, or cannot be read.
    """
    file = folder / CLASSES_FILE
    if not file.is_file():
        return None
    try:
        names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise ValueError(f"{file}: {(error.strerror or 'cannot be read').lower()}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: expected text in UTF-8") from error
    if len(names) < 2:
        raise ValueError(f"{file}: expected the name of a class on each of two or more lines, got {len(names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"{file}: expected a name for each class, got one twice")
    return tuple(names)


def mask_classes(
    train: Records, classes: Sequence[str] | None, folder: Path | None, warnings: list[str]
) -> tuple[str, ...]:
    """Names of the classes of masks: as given, of the folder's file `classes.txt`, or the numbers that masks hold.

    Args:
        train: training records with a target `segmentation`.
        classes: the names, if they are given.
        folder: where `classes.txt` may lie.
        warnings: gets a line if the names are numbers.

    Raises:
        ValueError: masks hold fewer than two classes.
    """
    if names := classes or (folder and read_class_names(folder)):
        return tuple(names)
    count = min(MAX_MASKS_LOOKED_AT, len(train))
    seen: set[int] = set()
    for index in np.linspace(0, len(train) - 1, count).astype(np.int64):
        with contextlib.suppress(ValueError, KeyError):  # found again, and named, when it is read as an example
            seen.update(np.unique(read_labels(train[int(index)].targets["segmentation"])).tolist())
    if seen == {0, NO_LABEL}:
        raise ValueError("masks: expected class numbers, got only 0 and 255 (255 means 'no class'); write 1 for 255")
    seen.discard(NO_LABEL)
    if not seen or max(seen) < 1:
        raise ValueError(f"masks: expected at least two classes, found {sorted(seen) or 'none that can be read'}")
    warnings.append(
        f"class names are not given: numbers 0 to {max(seen)}, as in {count} training masks (see {CLASSES_FILE})"
    )
    return tuple(str(number) for number in range(int(max(seen)) + 1))


def with_unlabelled(
    records: Mapping[str, Sequence[Any]], unlabelled: Mapping[str, Sequence[Any]], options: CommonOptions
) -> dict[str, Sequence[Any]]:
    """Records that have the task's target; without a task also those that have none, which are only trained on.

    So what is tested on is the same for every task.

    Args:
        records: by split, with targets.
        unlabelled: by split, without.
        options: of the source.
    """
    extra = unlabelled.get("train", ())
    if options.task != "none" or not extra:
        return dict(records)
    splits = dict(records)
    if "validation" not in splits:
        numbers = np.array([record.targets.get("label", 0) for record in splits["train"]], dtype=np.int64)
        shares = {"test_share": 0.0} if "test" in splits else {}
        for split, rows in dealt(numbers, options.split_seed or 0, **shares).items():
            if len(rows):
                splits[split] = [records["train"][row] for row in rows]
    splits["train"] = [*splits["train"], *extra]
    return splits


TARGET_OF_TASK: dict[SourceTask, str] = {"multilabel": "labels", "regression": "values", "segmentation": "segmentation"}
"""The target without which a record is no example of a task. (`classification` leaves such records out itself.)"""
