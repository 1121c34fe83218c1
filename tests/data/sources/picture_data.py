"""Folders and tables of pictures, as strangers have them, and what is in the splits of a source."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.sources import open_source
from hiperceiver.data.sources.source import Source

from ..pictures import encoded, jpeg, write
from .reading import examples

open_huggingface = partial(open_source, split_rule="rows")  # drawn splits have exact shares
SMALL: dict[str, Any] = {"encoder_settings": {"*": {"size": 8}}}
RED, GREEN = (220, 30, 30), (30, 200, 30)

leaves_files_open = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""`datasets` leaves a CSV file open when a stream of it is not read to its end."""


def class_folder(root: Path, counts: dict[str, int] | None = None) -> Path:
    """A folder per class; pictures of one class have one colour."""
    for name, count in (counts or {"cat": 10, "dog": 20}).items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            write(root / name / f"{number:02}.jpg", jpeg(RED if name == "cat" else GREEN, (16 + number, 20)))
    return root


def rows(source: Source, split: str) -> EncodedRecords:
    dataset = source.splits[split]
    assert isinstance(dataset, EncodedRecords)
    return dataset


def names(source: Source, split: str) -> set[str]:
    return {example.name for example in examples(source, split)}


def label_counts(source: Source, split: str) -> dict[str, int]:
    return dict(Counter(source.classes[int(example.targets["label"])] for example in examples(source, split)))


def segmentation_folder(root: Path, count: int = 10, *, masks: str = "masks") -> Path:
    for number in range(count):
        classes = np.zeros((20, 30), dtype=np.uint8)
        classes[:, 10 + number :] = 1 + number % 2
        classes[0] = 255
        colours = np.array([[0, 0, 90], [200, 0, 0], [0, 200, 0]], dtype=np.uint8)[np.where(classes == 255, 0, classes)]
        write(root / "images" / f"{number}.jpg", encoded(Image.fromarray(colours), "JPEG", quality=95, subsampling=0))
        write(root / masks / f"{number}.png", encoded(Image.fromarray(classes)))
    return root


def table(**columns: object) -> datasets.Dataset:
    return datasets.Dataset.from_dict(columns)


def picture_table(count: int = 20) -> datasets.Dataset:
    features = datasets.Features(
        {"id": datasets.Value("int64"), "photo": datasets.Image(), "kind": datasets.ClassLabel(names=["dog", "cat"])}
    )
    photos = [{"bytes": jpeg(GREEN if n % 2 == 0 else RED), "path": None} for n in range(count)]
    values = {"id": list(range(count)), "photo": photos, "kind": [n % 2 for n in range(count)]}
    return datasets.Dataset.from_dict(values, features=features)


def assert_one_line(message: str, name: Any, **settings: Any) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        open_huggingface(name, **settings)
    assert "\n" not in str(caught.value)
