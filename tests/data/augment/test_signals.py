import numpy as np
import pytest
import torch
from closeness import assert_close, assert_within

from hiperceiver.data.augment.signals import CropTime, Gain, MirrorBody, Noise, RotateSensor, Speed, TimeShift

KINDS = {"sound": "audio", "watch": "series"}


def ramps() -> dict[str, np.ndarray]:
    """Two signals of the same time at different rates; values are times, from 1 to 2."""
    return {
        "sound": np.linspace(1, 2, 1000, dtype=np.float32)[:, None],
        "watch": np.linspace(1, 2, 100, dtype=np.float32)[:, None].repeat(3, 1),
    }


def test_crop_time_cuts_the_same_part_of_all_signals_anywhere() -> None:
    starts = []
    for seed in range(300):
        changed = CropTime(share=0.25)(ramps(), KINDS, np.random.default_rng(seed))
        assert changed["sound"].shape == (250, 1)
        assert changed["watch"].shape == (25, 3)
        assert_close(np.diff(changed["sound"][:, 0]), 1 / 999, scale=2)
        assert abs(changed["sound"][0, 0] - changed["watch"][0, 0]) < 0.02
        starts.append(changed["sound"][0, 0] - 1)
    assert min(starts) == pytest.approx(0, abs=0.02)
    assert max(starts) == pytest.approx(0.75, abs=0.02)
    assert np.mean(starts) == pytest.approx(0.375, abs=0.05)


def test_crop_time_keeps_everything_or_a_single_step() -> None:
    everything = CropTime(share=1)(ramps(), KINDS, np.random.default_rng(0))
    np.testing.assert_array_equal(everything["sound"], ramps()["sound"])
    assert CropTime(share=1e-9)(ramps(), KINDS, np.random.default_rng(0))["watch"].shape == (1, 3)


def test_speed_plays_all_signals_faster_or_slower_alike() -> None:
    lengths = []
    for seed in range(200):
        changed = Speed(factors=(0.5, 2))(ramps(), KINDS, np.random.default_rng(seed))
        sound, watch = changed["sound"][:, 0], changed["watch"][:, 0]
        assert abs(len(sound) / 10 - len(watch)) <= 1
        # A ramp played at another speed is a ramp of another slope, from the same beginning to (nearly) the same end.
        # Steps of 1 / 2000 and more, between numbers up to 2 that are rounded to 1.2e-7, as are the times: 0.1%.
        assert_within(np.diff(sound)[:-2], 1e3 / 999 / len(sound), 0.005 * 1e3 / 999 / len(sound))
        assert sound[0] == 1
        assert sound.dtype == np.float32
        lengths.append(len(sound))
    assert min(lengths) == pytest.approx(500, abs=20)
    assert max(lengths) == pytest.approx(2000, abs=60)
    assert np.median(lengths) == pytest.approx(1000, abs=120)


def test_speed_one_changes_nothing() -> None:
    same = Speed(factors=(1, 1))(ramps(), KINDS, np.random.default_rng(0))
    np.testing.assert_array_equal(same["sound"], ramps()["sound"])


def test_shift_moves_all_signals_alike_and_fills_each_kind_its_own_way() -> None:
    shifts = []
    for seed in range(200):
        changed = TimeShift(share=0.3)(ramps(), KINDS, np.random.default_rng(seed))
        sound, watch = changed["sound"][:, 0], changed["watch"][:, 0]
        num_silent = int((sound == 0).sum())
        is_later = sound[0] == 0 and num_silent > 0
        steps = num_silent if is_later else -num_silent
        kept = ramps()["sound"][:, 0]
        np.testing.assert_array_equal(sound[sound > 0], kept[: 1000 - steps] if is_later else kept[-steps:])
        num_held = int((watch == watch[0 if is_later else -1]).sum()) - 1
        assert abs(num_held - num_silent / 10) <= 1
        assert watch.min() >= 1  # a series is not filled with zeros
        shifts.append(steps / 1000)
    assert min(shifts) == pytest.approx(-0.3, abs=0.02)
    assert max(shifts) == pytest.approx(0.3, abs=0.02)
    assert np.mean(shifts) == pytest.approx(0, abs=0.05)


def test_gain_multiplies_by_decibels() -> None:
    decibels = {name: [] for name in KINDS}
    for seed in range(300):
        changed = Gain(decibels=6)(ramps(), KINDS, np.random.default_rng(seed))
        for name, value in changed.items():
            factors = value / ramps()[name]
            assert np.ptp(factors) < 1e-5
            decibels[name].append(20 * np.log10(factors.mean()))
    for each in decibels.values():
        assert min(each) == pytest.approx(-6, abs=0.2)
        assert max(each) == pytest.approx(6, abs=0.2)
        assert np.mean(each) == pytest.approx(0, abs=0.8)
    assert abs(np.corrcoef(*decibels.values())[0, 1]) < 0.2  # each signal has its own


def test_tilt_turns_all_vectors_by_one_rotation_about_any_axis() -> None:
    angles, axes = [], []
    for seed in range(300):
        given = {"watch": np.eye(3, dtype=np.float32)[:2].reshape(1, 6).repeat(4, 0), "sound": ramps()["sound"]}
        given["other"] = np.eye(3, dtype=np.float32)[2:]
        changed = RotateSensor(degrees=60)(given, {**KINDS, "other": "series"}, np.random.default_rng(seed))
        assert changed["sound"] is given["sound"]
        assert (changed["watch"] == changed["watch"][0]).all()
        # What the three unit vectors became are the columns of the rotation.
        rotation = np.concatenate([changed["watch"][0], changed["other"][0]]).reshape(3, 3).T.astype(np.float64)
        assert_close(rotation @ rotation.T, np.eye(3), terms=3, dtype=torch.float32)
        assert_close(np.linalg.det(rotation), 1.0, terms=3, dtype=torch.float32)
        angles.append(np.degrees(np.arccos((np.trace(rotation) - 1) / 2)))
        skew = np.array([rotation[2, 1], rotation[0, 2], rotation[1, 0]]) - rotation.T[[2, 0, 1], [1, 2, 0]]
        axes.append(skew / np.linalg.norm(skew))
    assert max(angles) == pytest.approx(60, abs=1)
    assert np.mean(angles) == pytest.approx(30, abs=3)
    # Of 300 even directions: a coordinate's mean strays by 0.033, its square's (of variance 4 / 45) by 0.017.
    assert_within(np.mean(axes, 0), 0, 0.1)
    assert_within(np.cov(np.transpose(axes)), np.eye(3) / 3, 0.1)


def test_tilt_of_nothing_changes_nothing_and_other_channels_are_refused() -> None:
    same = RotateSensor(degrees=0)(ramps(), KINDS, np.random.default_rng(0))["watch"]
    assert_close(same, ramps()["watch"], terms=3)
    with pytest.raises(ValueError, match="^watch: expected channels in threes for tilt, got 4$"):
        RotateSensor()({"watch": np.zeros((5, 4), np.float32)}, KINDS, np.random.default_rng(0))


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_mirror_keeps_the_law_of_rotation(axis: str) -> None:
    """A point r that turns at the rate w moves with w x r: also in the mirror, where r is polar and w axial."""
    rng = np.random.default_rng(0)
    place, rate, field = rng.normal(size=(3, 50, 3)).astype(np.float32)
    mirror, given = MirrorBody(probability=1, axis=axis, turning=(2,)), np.concatenate([place, rate, field], axis=1)
    mirrored = mirror({"watch": given, "sound": place}, KINDS, rng)
    assert mirrored["sound"] is place
    new_place, new_rate, new_field = np.split(mirrored["watch"], 3, axis=1)
    signs = np.where(np.arange(3) == "xyz".index(axis), -1, 1)
    assert (new_place == place * signs).all() and (new_field == field * signs).all()
    assert_close(np.cross(new_rate, new_place), np.cross(rate, place) * signs, terms=2, dtype=torch.float32)


def test_mirror_is_as_frequent_as_it_says_and_refuses_other_channels() -> None:
    given = {"watch": np.ones((5, 3), np.float32)}
    changed = [MirrorBody(probability=0.3)(given, KINDS, np.random.default_rng(seed))["watch"] for seed in range(400)]
    assert_within(np.mean([(each != 1).any() for each in changed]), 0.3, 0.1)  # four standard deviations
    with pytest.raises(ValueError, match="^watch: expected channels in threes for mirror, got 4$"):
        MirrorBody()({"watch": np.zeros((5, 4), np.float32)}, KINDS, np.random.default_rng(0))


@pytest.mark.parametrize("snr", [0, 10, 30])
def test_noise_is_as_strong_as_it_says_in_each_channel(snr: float) -> None:
    times = np.arange(20000)[:, None]
    units = np.array([1.0, 0.001, 300.0])
    value = (np.sin(times * [0.1, 0.2, 0.3]) * units + 7 * units).astype(np.float32)
    noisy = Noise(snr=snr)({"watch": value}, KINDS, np.random.default_rng(0))["watch"]
    noise = noisy.astype(np.float64) - value
    # Of 20,000 draws: the deviation strays by 0.5%, which is 0.043 dB, the mean by 0.007 deviations.
    assert_within(20 * np.log10(value.std(0) / noise.std(0)), snr, 0.3)
    assert_within(noise.mean(0) / noise.std(0), 0, 0.03)


def test_silence_stays_silent() -> None:
    silence = {"sound": np.zeros((10, 1), np.float32)}
    for augmentation in (Noise(), Gain(), TimeShift(), CropTime(), Speed()):
        assert not augmentation(silence, KINDS, np.random.default_rng(0))["sound"].any()
