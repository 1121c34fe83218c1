import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from closeness import assert_within
from PIL import Image

from hiperceiver.data.augment.images import Crop, Flip, Rotate90, Translate
from hiperceiver.data.encoders import ImageEncoder, VideoEncoder
from hiperceiver.data.encoders.image import Mask

from ..pictures import encoded
from .examples import numbered

KINDS = {"photo": "image", "small": "image", "clip": "video", "scan": "volume", "segmentation": "mask"}


def scene(height: int = 8, width: int = 8) -> dict[str, np.ndarray]:
    """The same picture as photo, clip, volume and mask, and at half its size: each pixel is its own place."""
    photo = numbered(height, width)
    return {
        "photo": photo,
        "small": photo[::2, ::2],
        "clip": np.stack([photo, photo + 100]),
        "scan": photo[None].astype(np.float32),
        "segmentation": photo[..., 0].astype(np.int64) * 100 + photo[..., 1],
    }


def assert_alike(changed: dict[str, np.ndarray]) -> None:
    """All the pictures of a scene moved as the photo did."""
    photo = changed["photo"].astype(np.int64)
    np.testing.assert_array_equal(changed["segmentation"], photo[..., 0] * 100 + photo[..., 1])
    np.testing.assert_array_equal(changed["clip"], np.stack([photo, photo + 100]))
    np.testing.assert_array_equal(changed["scan"][0], photo)


def test_all_pictures_and_the_mask_turn_and_flip_alike() -> None:
    for seed in range(24):
        rng = np.random.default_rng(seed)
        changed = Rotate90()(Flip()(scene(), KINDS, rng), KINDS, rng)
        assert_alike(changed)
        corners = {(0, 0): (0, 0), (0, 6): (0, 7), (6, 0): (7, 0), (6, 6): (7, 7)}
        assert tuple(changed["photo"][0, 0, :2]) == corners[tuple(int(x) for x in changed["small"][0, 0, :2])]


def test_flip_swaps_left_and_right_as_often_as_it_says() -> None:
    expected = scene()["photo"][:, ::-1]
    for probability in (0.0, 0.25, 1.0):
        flipped = [
            np.array_equal(
                Flip(probability=probability)(scene(), KINDS, np.random.default_rng(seed))["photo"], expected
            )
            for seed in range(400)
        ]
        assert abs(np.mean(flipped) - probability) < 0.07


def test_turn_takes_all_four_ways_equally_and_two_where_one_is_not_square() -> None:
    corners = [tuple(Rotate90()(scene(), KINDS, np.random.default_rng(seed))["photo"][0, 0, :2]) for seed in range(400)]
    assert all(abs(corners.count(corner) / 400 - 0.25) < 0.07 for corner in [(0, 0), (0, 7), (7, 0), (7, 7)])
    values = {**scene(), "photo": numbered(2, 8)}
    turned = [Rotate90()(values, KINDS, np.random.default_rng(seed)) for seed in range(400)]
    corners = [tuple(each["photo"][0, 0, :2]) for each in turned]
    assert all(each["photo"].shape == (2, 8, 3) for each in turned)
    assert all(abs(corners.count(corner) / 400 - 0.5) < 0.07 for corner in [(0, 0), (1, 7)])
    for corner, each in zip(corners, turned, strict=True):  # what is square turns with it
        assert np.array_equal(each["segmentation"], np.rot90(values["segmentation"], 2 * (corner != (0, 0))))


# ------------------------------------------------------------------------------------------------------------ translate


def test_all_pictures_and_the_mask_move_alike_and_as_far_as_it_says() -> None:
    moves = set()
    for seed in range(400):
        changed = Translate(share=0.25)(scene(), KINDS, np.random.default_rng(seed))
        assert_alike(changed)
        photo = scene()["photo"]
        seen = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(changed["photo"], moved(photo, down, right))
        ]
        assert len(seen) == 1
        moves.add(seen[0])
    assert len(moves) == 25


def moved(photo: np.ndarray, down: int, right: int) -> np.ndarray:
    """With NumPy's own mirrored edges."""
    height, width = photo.shape[:2]
    padded = np.pad(photo, [(height - 1, height - 1), (width - 1, width - 1), (0, 0)], mode="reflect")
    top, left = height - 1 - down, width - 1 - right
    return padded[top : top + height, left : left + width]


def test_pictures_of_other_sizes_move_by_the_same_share() -> None:
    """A picture of half the size moves by half as many pixels."""
    for seed in range(24):
        changed = Translate(share=0.5)(
            {"photo": numbered(16, 16), "small": numbered(8, 8)}, KINDS, np.random.default_rng(seed)
        )
        large, small = (changed[name][0, 0].astype(int) for name in ("photo", "small"))
        assert abs(large - 2 * small).max() <= 2


# ----------------------------------------------------------------------------------------------------------------- crop

BOARD = ((np.indices((3000, 4500)) // 6).sum(0) % 2 * 255).astype(np.uint8)
"""A fine checkerboard: fields of 6 x 6 pixels."""


def cropped(values: dict[str, Any], seed: int, **settings: Any) -> dict[str, Any]:
    return Crop(**settings)(values, KINDS, np.random.default_rng(seed))


def literal_box(
    picture: tuple[int, int], size: tuple[int, int], fit: str, seed: int, scale: tuple[float, float]
) -> tuple[float, float, float, float]:
    """The region of a square shape, step by step: top, left, height and width in pixels."""
    draws = np.random.default_rng(seed)
    side = math.sqrt(scale[0] + (scale[1] - scale[0]) * draws.random())
    draws.random()
    height, width = picture
    whole_height, whole_width = picture
    if fit == "crop":
        whole_height, whole_width = min(height, width * size[0] / size[1]), min(width, height * size[1] / size[0])
    top, left = draws.random(), draws.random()
    return (
        top * (height - side * whole_height),
        left * (width - side * whole_width),
        side * whole_height,
        side * whole_width,
    )


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(16, 16), (8, 24)])
def test_crop_takes_the_box_of_a_literal_version(fit: str, size: tuple[int, int]) -> None:
    encoder = ImageEncoder(size=size, fit=fit)
    rows, columns = np.mgrid[:240, :180].astype(np.uint8)
    picture = np.stack([rows, columns, 0 * rows], -1)
    for seed in range(12):
        values = cropped({"photo": encoder.decode(picture)}, seed, scale=(0.1, 0.9), ratio=(1, 1))
        found = encoder.fit_to_grid(values["photo"]).astype(float)
        top, left, height, width = literal_box((240, 180), size, fit, seed, (0.1, 0.9))
        assert found.shape == encoder.read(picture).shape
        y = top + (np.arange(len(found)) + 0.5) * height / len(found) - 0.5
        x = left + (np.arange(found.shape[1]) + 0.5) * width / found.shape[1] - 0.5
        # A ramp keeps its middle under any symmetric filter but for rounding to whole numbers; at the picture's edge,
        # where half of the filter is missing, one more may be lost.
        assert_within(found[1:-1, 1:-1, 0], np.broadcast_to(y[1:-1, None], found[1:-1, 1:-1, 0].shape), 2)
        assert_within(found[1:-1, 1:-1, 1], np.broadcast_to(x[None, 1:-1], found[1:-1, 1:-1, 0].shape), 2)


@pytest.mark.parametrize("form", ["array", "png", "jpeg", "clip", "folder"])
def test_crop_is_taken_from_the_full_picture(form: str, tmp_path: Path) -> None:
    """A small region of a large fine checkerboard is as black and white on the grid as in the file."""
    size = 400
    raw: Any = BOARD
    encoder: Any = ImageEncoder(size=size, colours="L")
    if form in ("png", "jpeg"):
        raw = encoded(Image.fromarray(BOARD), form, **({"quality": 95} if form == "jpeg" else {"compress_level": 1}))
    elif form != "array":
        encoder = VideoEncoder(size=size, frames=2, colours="L")
        raw = BOARD[None].repeat(2, 0)
        if form == "folder":
            for index, frame in enumerate(raw):
                Image.fromarray(frame).save(tmp_path / f"{index}.png", compress_level=1)
            raw = tmp_path
    name = "clip" if form in ("clip", "folder") else "photo"
    whole = encoder.read(raw)
    assert 80 < whole.min() <= whole.max() < 175  # nothing is left of the board
    value = cropped({name: encoder.decode(raw)}, 1, scale=(0.02, 0.02), ratio=(1, 1))[name]
    found = encoder.fit_to_grid(value)
    assert found.shape == whole.shape
    assert (np.minimum(found, 255 - found.astype(int)) < 40).mean() > 0.75


def test_crop_takes_the_same_part_of_all_pictures_and_the_mask() -> None:
    photo = numbered(64, 96)
    encoder, clips = ImageEncoder(size=(64, 96)), VideoEncoder(size=(64, 96), frames=2)
    values = {
        "photo": encoder.decode(photo),
        "small": encoder.decode(photo[::2, ::2]),
        "clip": clips.decode(np.stack([photo, photo + 100])),
        "segmentation": Mask(labels=photo[..., 0].astype(np.int64) * 100 + photo[..., 1]),
    }
    for seed in range(24):
        changed = cropped(values, seed)
        shown = encoder.fit_to_grid(changed["photo"]).astype(int)
        assert shown.shape == (64, 96, 3)
        both = clips.fit_to_grid(changed["clip"]).astype(int)
        np.testing.assert_array_equal(both[0], shown)
        assert np.abs(both[1] - 100 - shown)[2:-2, 2:-2, :2].max() <= 1
        # The mask's numbers are the nearest pixel's place, never a mixture.
        rows, columns = np.divmod(encoder.fit_mask_to_grid(changed["segmentation"]), 100)
        assert np.abs(rows - shown[..., 0]).max() <= 1
        assert np.abs(columns - shown[..., 1]).max() <= 1
        # The picture of half the size holds the numbers of the whole one's pixels.
        small = encoder.fit_to_grid(changed["small"])
        assert np.abs(small[..., :2].astype(int) - shown[..., :2]).max() <= 4


def test_crop_keeps_the_share_and_shape_that_it_says() -> None:
    encoder = ImageEncoder(size=100)
    values = {"photo": encoder.decode(numbered(100, 100))}
    regions = [cropped(values, seed, scale=(0.25, 0.81), ratio=(0.5, 2))["photo"].region for seed in range(300)]
    areas = [region.height * region.width for region in regions]
    shapes = [region.width / region.height for region in regions]
    assert min(areas) == pytest.approx(0.25, abs=0.03)
    assert max(areas) == pytest.approx(0.81, abs=0.03)
    assert min(shapes) == pytest.approx(0.5, abs=0.06)
    assert max(shapes) == pytest.approx(2, abs=0.25)
    assert np.median(shapes) == pytest.approx(1, abs=0.1)
    assert {np.sign(region.top - 0.5) for region in regions} == {-1, 1}


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_crop_of_everything_changes_nothing(fit: str) -> None:
    encoder = ImageEncoder(size=12, fit=fit)
    picture = numbered(30, 40)
    changed = cropped({"photo": encoder.decode(picture)}, 0, scale=(1, 1), ratio=(0.1, 10))
    np.testing.assert_array_equal(encoder.fit_to_grid(changed["photo"]), encoder.read(picture))


def test_crop_reaches_the_edges_that_the_middle_does_not_show() -> None:
    encoder = ImageEncoder(size=8)
    picture = np.zeros((20, 100, 3), np.uint8)
    picture[:, :30] = 255
    assert not encoder.read(picture).any()
    seen = [encoder.fit_to_grid(cropped({"photo": encoder.decode(picture)}, seed)["photo"]).any() for seed in range(40)]
    assert 5 < sum(seen) < 35


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (7, 3)])
@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_any_shape_is_cropped(shape: tuple[int, int], fit: str) -> None:
    encoder = ImageEncoder(size=(5, 4), fit=fit)
    value, mask = encoder.decode(np.full((*shape, 3), 200, np.uint8)), Mask(labels=np.full(shape, 2))
    for seed in range(12):
        changed = cropped({"photo": value, "segmentation": mask}, seed, scale=(0.01, 0.1))
        found = encoder.fit_to_grid(changed["photo"])
        assert (found == 200).all()
        assert encoder.fit_mask_to_grid(changed["segmentation"]).shape == found.shape[:2]


def test_smallest_pictures() -> None:
    for augmentation in (Flip(probability=1), Rotate90(), Translate(share=1)):
        one = {"photo": np.full((1, 1, 3), 7, np.uint8), "segmentation": np.full((1, 1), -100)}
        changed = augmentation(one, KINDS, np.random.default_rng(0))
        assert changed["photo"].tolist() == [[[7, 7, 7]]]
        assert changed["segmentation"].tolist() == [[-100]]
