import numpy as np
import pytest
import torch
from closeness import assert_close, assert_within

from hiperceiver.data.augment.points import DropPoints, Jitter, Rotate, Scale

KINDS = {"cloud": "points", "other": "points"}


def clouds() -> dict[str, np.ndarray]:
    cloud = np.random.default_rng(1).standard_normal((500, 6), dtype=np.float32) * 4 + 100
    return {"cloud": cloud, "other": cloud.copy()}


@pytest.mark.parametrize("augmentation", [Rotate(axis="any"), Scale(), Jitter()])
def test_features_stay_and_places_keep_their_middle(augmentation: Rotate | Scale | Jitter) -> None:
    before, after = clouds()["cloud"], augmentation(clouds(), KINDS, np.random.default_rng(0))["cloud"]
    np.testing.assert_array_equal(after[:, 3:], before[:, 3:])
    assert_within(after[:, :3].mean(0), before[:, :3].mean(0), 0.05)  # jitter of 500 points
    assert (after[:, :3] != before[:, :3]).any()


@pytest.mark.parametrize(("axis", "column"), [("x", 0), ("y", 1), ("z", 2), ("any", None)])
def test_rotate_is_a_turn_about_its_axis(axis: str, column: int | None) -> None:
    cloud = clouds()["cloud"][:, :3].astype(np.float64)
    scale = np.abs(cloud).max() / cloud.std()  # what rounding of coordinates far from zero does to a turn
    angles = []
    for seed in range(200):
        changed = Rotate(axis=axis, degrees=90)(clouds(), KINDS, np.random.default_rng(seed))
        np.testing.assert_array_equal(changed["cloud"], changed["other"])
        rotation = np.linalg.lstsq(
            cloud - cloud.mean(0), changed["cloud"][:, :3] - cloud.mean(0).astype(np.float64), rcond=None
        )[0].T
        assert_close(rotation @ rotation.T, np.eye(3), terms=3, scale=scale, dtype=torch.float32)
        assert_close(np.linalg.det(rotation), 1.0, terms=3, scale=scale, dtype=torch.float32)
        if column is not None:
            assert_close(rotation[column], np.eye(3)[column], terms=3, scale=scale, dtype=torch.float32)
            x, y = (column + 1) % 3, (column + 2) % 3
            angles.append(np.degrees(np.arctan2(rotation[y, x], rotation[x, x])))
        else:
            angles.append(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
    assert max(angles) == pytest.approx(90, abs=4)
    assert min(angles) == pytest.approx(-90 if column is not None else 0, abs=4)


def test_scale_draws_a_factor_for_each_axis() -> None:
    cloud = clouds()["cloud"][:, :3]
    factors = []
    for seed in range(200):
        changed = Scale(factors=(0.5, 2))(clouds(), KINDS, np.random.default_rng(seed))
        np.testing.assert_array_equal(changed["cloud"], changed["other"])
        factors.append(changed["cloud"][:, :3].std(0) / cloud.std(0))
    # The outermost of 200 even draws from a range of 1.5 is 0.05 away from an end once in 800 times.
    assert_within(np.min(factors, 0), 0.5, 0.05)
    assert_within(np.max(factors, 0), 2, 0.05)
    assert np.abs(np.corrcoef(np.transpose(factors)) - np.eye(3)).max() < 0.25


def test_jitter_is_a_share_of_the_radius_and_limited() -> None:
    cloud = clouds()["cloud"][:, :3]
    radius = np.linalg.norm(cloud - cloud.mean(0), axis=1).max()
    steps = (Jitter(sigma=0.02, limit=0.03)(clouds(), KINDS, np.random.default_rng(0))["cloud"][:, :3] - cloud) / radius
    assert np.abs(steps).max() == pytest.approx(0.03, abs=1e-4)
    assert np.std(steps) == pytest.approx(0.02, abs=0.004)
    assert np.median(steps) == pytest.approx(0, abs=0.002)


def test_drop_points_keeps_order_and_at_least_one() -> None:
    numbered = {"cloud": np.arange(600, dtype=np.float32).reshape(200, 3)}
    shares = []
    for seed in range(200):
        kept = DropPoints(share=0.6)(numbered, KINDS, np.random.default_rng(seed))["cloud"]
        rows = kept[:, 0] / 3
        assert (np.diff(rows) > 0).all()
        np.testing.assert_array_equal(kept, numbered["cloud"][rows.astype(int)])
        shares.append(1 - len(kept) / 200)
    assert min(shares) == pytest.approx(0, abs=0.02)
    assert max(shares) == pytest.approx(0.6, abs=0.02)
    one = {"cloud": np.ones((1, 3), np.float32)}
    for seed in range(20):
        assert DropPoints(share=1)(one, KINDS, np.random.default_rng(seed))["cloud"].shape == (1, 3)
