import numpy as np
import pytest

from hiperceiver.data.augment.images import Crop, Flip, Turn

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
        changed = Turn()(Flip()(scene(), KINDS, rng), KINDS, rng)
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


def test_turn_takes_all_four_ways_equally_and_needs_a_square() -> None:
    corners = [tuple(Turn()(scene(), KINDS, np.random.default_rng(seed))["photo"][0, 0, :2]) for seed in range(400)]
    assert all(abs(corners.count(corner) / 400 - 0.25) < 0.07 for corner in [(0, 0), (0, 7), (7, 0), (7, 7)])
    with pytest.raises(ValueError, match="photo: expected a square picture to turn, got 2x8"):
        Turn()({"photo": numbered(2, 8)}, KINDS, np.random.default_rng(0))


def literal_crop(picture: np.ndarray, top: float, left: float, height: float, width: float) -> np.ndarray:
    """Each pixel on its own: the four nearest ones, weighted."""
    rows, columns = picture.shape[:2]
    result = np.zeros(picture.shape)
    for i in range(rows):
        for j in range(columns):
            y = min(max((top + (i + 0.5) / rows * height) * rows - 0.5, 0), rows - 1)
            x = min(max((left + (j + 0.5) / columns * width) * columns - 0.5, 0), columns - 1)
            for r in (int(y), min(int(y) + 1, rows - 1)):
                for c in (int(x), min(int(x) + 1, columns - 1)):
                    result[i, j] += picture[r, c] * max(0, 1 - abs(y - r)) * max(0, 1 - abs(x - c))
    return result


def test_crop_against_a_literal_version() -> None:
    rng = np.random.default_rng(0)
    photo = rng.random((9, 12, 2), dtype=np.float32)
    crop = Crop(scale=(0.3, 0.3), ratio=(1, 1))
    side = 0.3**0.5
    draws = np.random.default_rng(5)
    draws.random(2)  # of area and shape
    top, left = draws.uniform(0, 1 - side), draws.uniform(0, 1 - side)
    changed = crop({"photo": photo}, KINDS, np.random.default_rng(5))["photo"]
    np.testing.assert_allclose(changed, literal_crop(photo, top, left, side, side), atol=1e-5)


def test_crop_takes_the_same_part_of_all_pictures_and_the_mask() -> None:
    for seed in range(24):
        changed = Crop()(scene(64, 96), KINDS, np.random.default_rng(seed))
        photo = changed["photo"].astype(int)
        assert changed["photo"].shape == (64, 96, 3)
        np.testing.assert_array_equal(changed["clip"], np.stack([photo, photo + 100]))
        # The mask's numbers are the nearest pixel's place, never a mixture.
        rows, columns = np.divmod(changed["segmentation"], 100)
        assert np.abs(rows - photo[..., 0]).max() <= 1
        assert np.abs(columns - photo[..., 1]).max() <= 1
        # The picture of half the size holds the numbers of the whole one's pixels.
        assert np.abs(changed["small"][..., :2] - photo[::2, ::2, :2]).max() <= 2


def test_crop_keeps_the_share_and_shape_that_it_says() -> None:
    values = {"photo": np.stack(np.mgrid[:100, :100], -1).astype(np.float32)}
    areas, shapes = [], []
    for seed in range(300):
        changed = Crop(scale=(0.25, 0.81), ratio=(0.5, 2))(values, KINDS, np.random.default_rng(seed))["photo"]
        height, width = ((changed[-1, -1] - changed[0, 0]) + 1) / 100
        areas.append(height * width)
        shapes.append(width / height)
    assert min(areas) == pytest.approx(0.25, abs=0.03)
    assert max(areas) == pytest.approx(0.81, abs=0.03)
    assert min(shapes) == pytest.approx(0.5, abs=0.06)
    assert max(shapes) == pytest.approx(2, abs=0.25)
    assert np.median(shapes) == pytest.approx(1, abs=0.1)


def test_crop_of_everything_changes_nothing() -> None:
    changed = Crop(scale=(1, 1), ratio=(0.1, 10))(scene(), KINDS, np.random.default_rng(0))
    assert_alike(changed)
    np.testing.assert_array_equal(changed["photo"], scene()["photo"])


def test_smallest_pictures() -> None:
    for augmentation in (Crop(), Flip(probability=1), Turn()):
        one = {"photo": np.full((1, 1, 3), 7, np.uint8), "segmentation": np.full((1, 1), -100)}
        changed = augmentation(one, KINDS, np.random.default_rng(0))
        assert changed["photo"].tolist() == [[[7, 7, 7]]]
        assert changed["segmentation"].tolist() == [[-100]]
