"""Baselines of pictures: colours for segmentation, the nearest neighbour for classification.

Both have one setting, how finely they look, chosen on the validation split as a model's would be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hiperceiver.data.encoders.image import IGNORE, ImageEncoder
from hiperceiver.data.example import Example, ExampleDataset

if TYPE_CHECKING:
    from hiperceiver.data.sources.source import Source

MAX_NEIGHBOUR_VALUES = 50_000_000  # of training pictures that are compared with (200 MB); more are thinned out
MOST_BITS = 6


@dataclass(frozen=True, kw_only=True)
class SegmentationScores:
    """Scores of predicted positions. Land are the positions whose label is not class 0 (in `earth`: water)."""

    mean_iou: float  # over the classes that have one
    accuracy: float  # share of all labelled positions that are right
    land_accuracy: float  # share of land that is right
    majority_share: float  # share of the most frequent class of land: what naming it would reach
    iou: tuple[float, ...]  # intersection / union of each class; NaN where it is neither present nor predicted


@dataclass(frozen=True, kw_only=True)
class ColourLookup:
    """The baseline of segmentation."""

    bits: int  # per colour channel that were used
    scores: SegmentationScores  # on the test split


@dataclass(frozen=True, kw_only=True)
class NearestNeighbour:
    """The baseline of classification."""

    grid: int  # pictures were averaged to at most so many rows and columns before they were compared
    accuracy: float  # share of the test pictures that are right
    majority_share: float  # share of those of the most frequent training class: what naming it would reach


def segmentation_scores(confusion: np.ndarray) -> SegmentationScores:
    """Scores from counts of positions by [label, prediction]: (classes, classes).

    Raises:
        ValueError: there is no labelled position.

    >>> segmentation_scores(np.array([[6, 0, 0], [1, 1, 0], [0, 0, 0]])).iou
    (0.857..., 0.5, nan)
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    if confusion.sum() == 0:
        raise ValueError("confusion: expected counts of labelled positions, got none")
    right = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - right
    iou = np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)
    land = confusion[1:].sum(1)
    return SegmentationScores(
        mean_iou=float(np.nanmean(iou)),
        accuracy=float(right.sum() / confusion.sum()),
        land_accuracy=float(right[1:].sum() / land.sum()) if land.sum() else float("nan"),
        majority_share=float(land.max() / land.sum()) if land.sum() else float("nan"),
        iou=tuple(iou.tolist()),
    )


def colour_lookup_baseline(source: Source, *, bits: int | None = None, modality: str = "image") -> ColourLookup:
    """Each pixel gets the class that its colour had most often in training, whatever its neighbours and position.

    Colours are cut to `bits` per channel. A colour that was not seen in training is looked up with one bit less, and so
    on, down to the most frequent class of all. `bits=4` is usually quoted; the best is the honest baseline.

    Args:
        source: of the task `segmentation`.
        bits: 1 to 6; None takes the best of 4, 5 and 6 on the validation split (6 if there is none).
        modality: whose pictures are used.

    Raises:
        ValueError: the source has another task, no pictures or no test split, or a number is out of its range.
    """
    if bits is not None and not 1 <= bits <= MOST_BITS:
        raise ValueError(f"bits: expected 1 to {MOST_BITS}, got {bits}")
    encoder = _image_encoder(source, "segmentation", modality)
    num_classes, channels = len(source.classes), encoder.modality.channels

    # counts[colour, class], at the finest step; the coarser ones are its sums.
    counts = np.zeros(((1 << MOST_BITS) ** channels, num_classes), dtype=np.int64)
    for colours, labels in _labelled_pixels(_split(source, "train"), encoder, modality):
        np.add.at(counts, (_colour_number(colours, MOST_BITS), labels), 1)
    answers: dict[int, np.ndarray] = {0: np.array([counts.sum(0).argmax()])}
    for step in range(1, MOST_BITS + 1):
        summed = counts.reshape(*((1 << step, 1 << (MOST_BITS - step)) * channels), num_classes)
        summed = summed.sum(axis=tuple(range(1, 2 * channels, 2))).reshape(-1, num_classes)
        colours = np.stack(np.unravel_index(np.arange(len(summed)), (1 << step,) * channels), axis=-1)
        coarser = answers[step - 1][_colour_number(colours << (8 - step), step - 1)]
        answers[step] = np.where(summed.sum(1) > 0, summed.argmax(1), coarser)

    def scores(split: str, step: int) -> SegmentationScores:
        confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
        for colours, labels in _labelled_pixels(_split(source, split), encoder, modality):
            np.add.at(confusion, (labels, answers[step][_colour_number(colours, step)]), 1)
        return segmentation_scores(confusion)

    if bits is None:
        has_validation = "validation" in source.splits
        bits = max((4, 5, 6), key=lambda step: scores("validation", step).mean_iou) if has_validation else MOST_BITS
    return ColourLookup(bits=bits, scores=scores("test", bits))


def nearest_neighbour_baseline(source: Source, *, grid: int | None = None, modality: str = "image") -> NearestNeighbour:
    """Each picture gets the class of the training picture that is nearest to it, pixel by pixel (Euclidean).

    They are averaged to at most `grid` rows and columns first; None takes the best of 1, 4, 8 and 24 on the validation
    split (24 if there is none). The task is `classification`; the rest is as for `colour_lookup_baseline`.
    """
    if grid is not None and grid < 1:
        raise ValueError(f"grid: expected a whole number >= 1, got {grid}")
    encoder = _image_encoder(source, "classification", modality)
    tried = (grid,) if grid is not None else (1, 4, 8, 24)
    test, train = (_pooled(_split(source, split), encoder, modality, tried) for split in ("test", "train"))

    def accuracy(step: int, seen: tuple[dict[int, np.ndarray], np.ndarray]) -> float:
        return float((train[1][_nearest(train[0][step], seen[0][step])] == seen[1]).mean())

    best = tried[-1]
    if "validation" in source.splits and len(tried) > 1:
        validation = _pooled(_split(source, "validation"), encoder, modality, tried)
        best = max(tried, key=lambda step: accuracy(step, validation))
    majority = np.bincount(train[1]).argmax()
    share = float((test[1] == majority).mean())
    return NearestNeighbour(grid=best, accuracy=accuracy(best, test), majority_share=share)


def _split(source: Source, name: str) -> ExampleDataset:
    if name not in source.splits:
        raise ValueError(f"source: expected a split {name!r}, got {', '.join(source.splits)}")
    return source.splits[name]


def _image_encoder(source: Source, task: str, modality: str) -> ImageEncoder:
    """The encoder of pictures of a source that has this task and a test split."""
    if source.task != task:
        raise ValueError(f"source: expected the task {task}, got {source.task}")
    _split(source, "test")
    encoder = source.encoders.get(modality)
    if not isinstance(encoder, ImageEncoder):
        raise ValueError(f"modality: expected pictures, among {', '.join(source.encoders)}, got {modality!r}")
    return encoder


def _labelled_pixels(
    dataset: ExampleDataset, encoder: ImageEncoder, modality: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Per example: colours uint8 (pixels, C) and labels int64 (pixels,) where there is a label."""
    for index in range(len(dataset)):
        if isinstance(example := dataset[index], Example):
            labels = example.targets["segmentation"].numpy()
            colours = encoder.to_value(example.inputs[modality]).reshape(len(labels), -1)
            is_labelled = labels != IGNORE
            yield colours[is_labelled], labels[is_labelled]


def _colour_number(colours: np.ndarray, bits: int) -> np.ndarray:
    """Colours (pixels, C) in 0..255, cut to `bits` a channel, as one number each (pixels,)."""
    number = np.zeros(len(colours), dtype=np.int64)
    for channel in range(colours.shape[1]):
        number = (number << bits) | (colours[:, channel].astype(np.int64) >> (8 - bits))
    return number


def _pooled(
    dataset: ExampleDataset, encoder: ImageEncoder, modality: str, grids: Sequence[int]
) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """Per grid: averaged pictures (examples, values); and the labels (examples,)."""
    values: dict[int, list[np.ndarray]] = {grid: [] for grid in grids}
    labels = []
    height, width = encoder.size
    step = max(1, -(-len(dataset) * min(max(grids), height) * min(max(grids), width) * 3 // MAX_NEIGHBOUR_VALUES))
    for index in range(0, len(dataset), step):
        if isinstance(example := dataset[index], Example):
            picture = example.inputs[modality].numpy().reshape(height, width, -1)
            for grid in grids:
                values[grid].append(_averaged(picture, min(grid, height), min(grid, width)).ravel())
            labels.append(int(example.targets["label"]))
    if not labels:
        raise ValueError("source: expected examples that can be read, got none")
    return {grid: np.stack(rows) for grid, rows in values.items()}, np.array(labels)


def _averaged(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A picture (H, W, C) averaged to (rows, columns, C), in areas as equal as whole pixels allow."""
    height, width, _ = picture.shape
    tops, lefts = np.arange(rows) * height // rows, np.arange(columns) * width // columns
    sums = np.add.reduceat(np.add.reduceat(picture, tops, axis=0), lefts, axis=1)
    areas = np.diff(tops, append=height)[:, None] * np.diff(lefts, append=width)[None]
    return (sums / areas[..., None]).astype(np.float32)


def _nearest(known: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The nearest known row of each query."""
    squares = (known**2).sum(1)
    parts = (queries[first : first + 512] for first in range(0, len(queries), 512))
    return np.concatenate([(squares[None] - 2 * part @ known.T).argmin(1) for part in parts])
