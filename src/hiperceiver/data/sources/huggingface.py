"""Any dataset of pictures that `datasets` reads: a hub id, a local folder of pictures, a folder saved by `datasets`.

Columns become modalities (`columns={"image": "img"}`), a column of class names or numbers becomes the label, a column
of pictures whose pixels are class numbers becomes the segmentation. Pictures are decoded when they are read, by our
encoder, so that a bad file is one bad example and nothing more.

Splits that exist are used (`train`, `validation`, `test` and their usual abbreviations). If there is only one, 20% of
it become `test` and 10% `validation`; if only `validation` is missing, 10% of `train` become it. Both are drawn by
`split_seed`, class by class.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hiperceiver.data.augment import flip_and_turn
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.image import Fit, ImageEncoder, Mode, picture_size, read_labels
from hiperceiver.data.example import BadExample, Example, ExampleDataset
from hiperceiver.data.sources.columns import (
    Columns,
    check_column,
    find_images,
    find_label,
    find_mask,
    read_labels_of,
    undecoded,
)
from hiperceiver.data.sources.source import Source, SourceTask, check_task
from hiperceiver.data.sources.tables import carved, folder_tables, is_table_folder, named_splits, read_hub, read_tables

DEFAULT_SIZE = 224
"""Rows and columns, as in the paper's ImageNet experiments."""
NO_LABEL = 255
"""The number in a mask that by custom means 'no class'."""
MAX_MASKS_LOOKED_AT = 1000
"""To find the number of classes when it is not given."""
CLASSES_FILE = "classes.txt"
"""In a folder of pictures and masks: the names of the classes, one a line, in the order of their numbers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureRows:
    """Some rows of a table as examples."""

    table: Any
    """A `datasets.Dataset` with the columns below; pictures are not decoded by it."""
    rows: np.ndarray
    """Which rows: (examples,)."""
    columns: dict[str, str]
    """Modality -> column."""
    encoders: dict[str, ImageEncoder]
    """Per modality, in the order of `columns`."""
    name: str
    """Of the split, for rows that have no file name."""
    root: str | None = None
    """The folder that file names are relative to."""
    labels: np.ndarray | None = None
    """For classification: the class number of each example, int64 (examples,)."""
    mask_column: str | None = None
    """For segmentation."""
    num_classes: int = 0
    """For segmentation: numbers from here on are an error, except 255."""
    is_flipped: bool = False
    """Mirror left to right at random when training."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example | BadExample:
        row = int(self.rows[index])
        cells = self.table[row]
        name = self._name(row, cells)
        try:
            return self._example(index, cells, name)
        except ValueError as error:
            return BadExample(name, str(error))

    def augmented(self, index: int, rng: np.random.Generator) -> Example | BadExample:
        """The row, mirrored at random if `is_flipped`."""
        example = self[index]
        if not self.is_flipped or isinstance(example, BadExample):
            return example
        return flip_and_turn(example, {name: encoder.size for name, encoder in self.encoders.items()}, rng)

    def stored(self, index: int, column: str) -> bytes | np.ndarray:
        """One picture or mask as it is stored.

        Raises:
            ValueError: there is none.
        """
        return _raw(self.table[int(self.rows[index])][column], self.root)

    def _name(self, row: int, cells: Mapping[str, Any]) -> str:
        cell = cells[next(iter(self.columns.values()))]
        path = cell.get("path") if isinstance(cell, Mapping) else cell
        if not isinstance(path, str) or not path:
            return f"{self.name} row {row}"
        if self.root is not None and Path(path).is_relative_to(self.root):
            return str(Path(path).relative_to(self.root))
        return path if self.root is not None else f"{self.name} row {row} ({Path(path).name})"

    def _example(self, index: int, cells: Mapping[str, Any], name: str) -> Example:
        inputs: dict[str, Tensor] = {}
        is_padding: dict[str, Tensor] = {}
        first = None
        for modality, column in self.columns.items():
            raw = _raw(cells[column], self.root)
            first = raw if first is None else first
            inputs[modality], absent = self.encoders[modality].encode_with_padding(raw)
            if absent is not None:
                is_padding[modality] = absent
        targets = {}
        if self.labels is not None:
            targets["label"] = torch.tensor(int(self.labels[index]))
        elif self.mask_column is not None and first is not None:
            targets["segmentation"] = self._segmentation(first, _raw(cells[self.mask_column], self.root))
        return Example(inputs=inputs, is_padding=is_padding, targets=targets, name=name)

    def _segmentation(self, picture: bytes | np.ndarray, mask: bytes | np.ndarray) -> Tensor:
        try:
            labels = read_labels(mask)
        except ValueError as error:
            raise ValueError(f"its mask: {error}") from error
        if labels.shape != (size := picture_size(picture)):
            raise ValueError(f"its mask has {_times(labels.shape)} pixels (height x width), the picture {_times(size)}")
        numbers = labels[labels != NO_LABEL]
        for number in (numbers.max(initial=0), numbers.min(initial=0)):
            if not 0 <= number < self.num_classes:
                raise ValueError(f"its mask holds the class {number}, expected 0 to {self.num_classes - 1}")
        return next(iter(self.encoders.values())).encode_labels(labels, ignore=NO_LABEL)


def open_huggingface(
    name_or_path: str | Path,
    *,
    task: SourceTask = "none",
    size: int | tuple[int, int] | None = None,
    mode: Mode | None = None,
    fit: Fit | None = None,
    columns: Mapping[str, str] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    mask_column: str | None = None,
    classes: Sequence[str] | None = None,
    config_name: str | None = None,
    encoders: Mapping[str, Encoder] | None = None,
    split_seed: int = 0,
    max_train_examples: int | None = None,
    flip: bool = False,
) -> Source:
    """Pictures of a hub dataset or a local folder.

    Args:
        name_or_path: a folder (see `hiperceiver.data.sources.folder`, or one with tables or saved by `datasets`), or a
            hub id such as `owner/name`.
        task: `none`, `classification` or `segmentation`.
        size: rows and columns; 224 by default, or those of `encoders`.
        mode: `L`, `RGB` (default) or `RGBA`.
        fit: `crop` (default), `squash` or `pad`.
        columns: modality -> column of pictures. By default the modality `image` is the first column of pictures.
        image_column: short for `columns={"image": image_column}`.
        label_column: for classification; by default the only column of class labels, or one of a usual name.
        mask_column: for segmentation; by default the second column of pictures.
        classes: names of the classes in their order, for example a trained model's. By default those of the data; for
            masks, of the file `classes.txt`, or their numbers.
        config_name: of a hub dataset that has several.
        encoders: to use instead of fitting them to the training data, for example a pretrained model's; `size`, `mode`
            and `fit` replace theirs if given.
        split_seed: draws the splits that do not exist. Not the seed of a training run.
        max_train_examples: take only so many training examples, chosen by `split_seed`.
        flip: mirror training pictures left to right at random.

    Raises:
        ValueError: the data cannot be found or has not what the task needs.
    """
    check_task(task)
    if max_train_examples is not None and max_train_examples < 1:
        raise ValueError(f"max_train_examples: expected a whole number >= 1, got {max_train_examples}")
    if columns is not None and image_column is not None:
        raise ValueError(f"image_column: expected only one of columns and image_column, got both ({image_column!r})")
    images = {"image": image_column} if image_column is not None else None if columns is None else dict(columns)
    asked = Columns(images=images, label=label_column, mask=mask_column)
    name, folder = str(name_or_path), Path(name_or_path).expanduser()
    root = str(folder) if folder.exists() else None
    tables, asked, warnings = _tables(name, folder, task, asked, config_name)
    tables = named_splits(name, tables, warnings)
    images = find_images(tables["train"], asked.images)
    rows = {split: np.arange(len(table)) for split, table in tables.items()}
    names: tuple[str, ...] = ()
    labels: dict[str, np.ndarray] | None = None
    mask = None
    if task == "classification":
        names, labels = read_labels_of(tables, find_label(tables["train"], asked.label), classes, source=name)
        rows = _labelled(labels, warnings)
    elif task == "segmentation":
        mask = find_mask(tables["train"], asked.mask, images)
    if "train" not in rows or not len(rows["train"]):
        raise ValueError(f"{name}: expected examples for training, found none that can be used")
    tables = {split: _only(table, images, mask) for split, table in tables.items()}

    parts = carved(rows, labels, split_seed, warnings)
    if max_train_examples is not None:
        split, chosen = parts["train"]
        parts["train"] = split, np.sort(np.random.default_rng(split_seed).permutation(chosen)[:max_train_examples])
    sets = {
        part: PictureRows(
            table=tables[split],
            rows=chosen,
            columns=images,
            encoders={},
            name=part,
            root=root,
            labels=None if labels is None else labels[split][chosen],
            mask_column=mask,
            is_flipped=flip and part == "train",
        )
        for part, (split, chosen) in parts.items()
    }
    if task == "classification":
        _warn_of_absent_classes(names, sets["train"], warnings)
    elif task == "segmentation":
        names = _mask_classes(sets["train"], classes, folder, warnings)
    fitted = _encoders(encoders, sets["train"], size, mode, fit)
    splits: dict[str, ExampleDataset] = {
        part: replace(rows, encoders=fitted, num_classes=len(names)) for part, rows in sets.items()
    }
    return Source(name=name, task=task, encoders=dict(fitted), splits=splits, classes=names, warnings=tuple(warnings))


def _tables(
    name: str, folder: Path, task: SourceTask, asked: Columns, config_name: str | None
) -> tuple[dict[str, Any], Columns, list[str]]:
    """Split -> table, which columns to read of them, and what was odd."""
    if not folder.exists():
        return read_hub(name, config_name), asked, []
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of pictures, got a file")
    if is_table_folder(folder):
        return read_tables(folder, config_name), asked, []
    settings = {"image_column": asked.images, "label_column": asked.label, "mask_column": asked.mask}
    for argument, value in {**settings, "config_name": config_name}.items():
        if value is not None:
            raise ValueError(f"{argument}: expected nothing for a folder of pictures without tables, got {value!r}")
    tables, warnings = folder_tables(folder, task)
    return tables, Columns(images={"image": "image"}, label="label", mask="mask"), warnings


def _only(table: Any, images: Mapping[str, str], mask: str | None) -> Any:
    """The table with nothing but its pictures, as they are stored."""
    wanted = [check_column(table, column, argument="image_column") for column in images.values()]
    wanted += [check_column(table, mask, argument="mask_column")] if mask is not None else []
    return undecoded(table.select_columns(wanted))


def _labelled(labels: Mapping[str, np.ndarray], warnings: list[str]) -> dict[str, np.ndarray]:
    """Rows that have a label, of the splits that have any."""
    rows = {split: np.flatnonzero(numbers >= 0) for split, numbers in labels.items()}
    for split, numbers in labels.items():
        if missing := len(numbers) - len(rows[split]):
            warnings.append(f"{missing} of {len(numbers)} examples of {split} have no label and are left out")
    return {split: chosen for split, chosen in rows.items() if len(chosen)}


def _warn_of_absent_classes(names: Sequence[str], train: PictureRows, warnings: list[str]) -> None:
    present = set() if train.labels is None else set(train.labels.tolist())
    if absent := [name for number, name in enumerate(names) if number not in present]:
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        warnings.append(f"classes without training pictures: {', '.join(absent[:5])}{more}")


def _raw(cell: Any, root: str | None) -> bytes | np.ndarray:
    """What a cell holds as a picture: a file's bytes, or pixels.

    Raises:
        ValueError: it holds none, or the file cannot be read.
    """
    if isinstance(cell, Mapping):
        cell = cell["bytes"] if cell.get("bytes") is not None else cell.get("path")
    if isinstance(cell, str):
        try:
            return Path(root or "", cell).read_bytes()
        except OSError as error:
            raise ValueError((error.strerror or "cannot be read").lower()) from error
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, list | np.ndarray):
        pixels = np.asarray(cell)
        if pixels.dtype.kind not in "iu" or pixels.size == 0 or pixels.min() < 0 or pixels.max() > 255:
            raise ValueError(f"expected pixels in 0..255, got {pixels.dtype} of shape {pixels.shape}")
        return pixels.astype(np.uint8)
    raise ValueError("there is no picture" if cell is None else f"expected a picture, got {type(cell).__name__}")


def _mask_classes(
    train: PictureRows, classes: Sequence[str] | None, folder: Path, warnings: list[str]
) -> tuple[str, ...]:
    """Names of the classes of masks: as given, of the file `classes.txt`, or the numbers that training masks hold."""
    if classes is not None:
        return tuple(classes)
    if (file := folder / CLASSES_FILE).is_file():
        names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        if len(names) < 2:
            raise ValueError(f"{file}: expected the name of a class on each of two or more lines, got {len(names)}")
        return tuple(names)
    assert train.mask_column is not None
    count = min(MAX_MASKS_LOOKED_AT, len(train))
    seen: set[int] = set()
    for index in np.linspace(0, len(train) - 1, count).astype(np.int64):
        with contextlib.suppress(ValueError):  # found again, and named, when it is read as an example
            seen.update(np.unique(read_labels(train.stored(int(index), train.mask_column))).tolist())
    if seen == {0, NO_LABEL}:
        raise ValueError("masks: expected class numbers, got only 0 and 255 (255 means 'no class'); write 1 for 255")
    seen.discard(NO_LABEL)
    if not seen or max(seen) < 1:
        raise ValueError(f"masks: expected at least two classes, found {sorted(seen) or 'none that can be read'}")
    warnings.append(
        f"class names are not given: numbers 0 to {max(seen)}, as in {count} training masks (see {CLASSES_FILE})"
    )
    return tuple(str(number) for number in range(int(max(seen)) + 1))


def _encoders(
    given: Mapping[str, Encoder] | None,
    train: PictureRows,
    size: int | tuple[int, int] | None,
    mode: Mode | None,
    fit: Fit | None,
) -> dict[str, ImageEncoder]:
    """One per modality: the given one, or one fitted to (at most 256, evenly spaced) training pictures."""
    chosen: dict[str, Any] = {"size": size, "mode": mode, "fit": fit}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    fitted: dict[str, ImageEncoder] = {}
    if given is not None:
        for name in train.columns:
            if not isinstance(encoder := given.get(name), ImageEncoder):
                raise ValueError(f"encoders: expected a picture encoder for {name!r}, got {', '.join(given) or 'none'}")
            fitted[name] = replace(encoder, **chosen)
        return fitted
    for name, column in train.columns.items():

        def pictures(column: str = column) -> Iterator[bytes | np.ndarray]:
            for index in np.linspace(0, len(train) - 1, min(256, len(train))).astype(np.int64):
                with contextlib.suppress(ValueError):
                    yield train.stored(int(index), column)

        fitted[name] = ImageEncoder(**{"size": DEFAULT_SIZE, **chosen}).fitted(pictures())
    return fitted


def _times(size: Sequence[int]) -> str:
    return " x ".join(str(n) for n in size)
