"""Mean, std and full scale of training data: right for ordinary data, and not ruined by one file."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from closeness import assert_close, assert_digits_close, assert_within
from PIL import Image

from hiperceiver.data.encoders import (
    AudioEncoder,
    ImageEncoder,
    PointsEncoder,
    SeriesEncoder,
    VectorEncoder,
    VolumeEncoder,
    encoder_from_dict,
)
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.normalisation import channel_statistics
from hiperceiver.data.sources import open_source
from hiperceiver.settings.old_names import model_of_format_1

from ..pictures import encoded

RNG = np.random.default_rng(0)


def plain(raws: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    every = np.concatenate([raw.reshape(-1, raw.shape[-1]) for raw in raws])
    return every.mean(0), every.std(0)


def assert_fitted(encoder: Any, raws: list[np.ndarray]) -> None:
    mean, std = plain(raws)
    assert_digits_close(encoder.mean, mean, scale=np.abs(mean) + std)
    assert_digits_close(encoder.std, std, scale=np.abs(mean) + std)


# ------------------------------------------------------------------------------------------------------------- scale

SERIES = [RNG.normal((2, 300), (1, 30), (50, 2)) for _ in range(6)]
CASES: list[tuple[Encoder, list[np.ndarray]]] = [
    (SeriesEncoder(length=50, channels=2), SERIES),
    (VolumeEncoder(size=5, channels=1), [RNG.normal(5, 2, (5, 5, 5, 1)) for _ in range(6)]),
    (PointsEncoder(num_points=20, normalise="none"), [RNG.normal((0, 5, 1e5), 3, (20, 3)) for _ in range(6)]),
    (PointsEncoder(num_points=20, num_features=1, normalise="none"), [RNG.normal(0, 1, (20, 4)) for _ in range(6)]),
    (VectorEncoder(features=4, split=4), [RNG.normal(0, 1, (1, 4)) for _ in range(30)]),
]


@pytest.mark.parametrize(("encoder", "raws"), CASES, ids=lambda case: getattr(case, "kind", ""))
def test_one_file_of_absurd_values_is_named_and_left_out(encoder: Encoder, raws: list[np.ndarray]) -> None:
    absurd = raws[0].copy()
    absurd.flat[3] = 1e29
    for odd in (absurd, raws[1] * 1e6):
        notes: list[str] = []
        fitted = encoder.fitted([*raws, odd], notes)
        kept = raws if odd is not absurd or len(raws) == 30 else [*raws, raws[0]]
        mean, std = plain(kept)
        # One value that is left out here and stands there moves them by less; an absurd one would by 1e6 and more.
        assert_within(fitted.mean, mean, 0.05 * (np.abs(mean) + std.max()))  # type: ignore[attr-defined]
        assert_within(fitted.std, std, 0.05 * std)  # type: ignore[attr-defined]
        assert len(notes) == 1
        assert f"example {len(raws)}" in notes[0]
        assert "left out of mean and std" in notes[0]
        tokens, _ = fitted.encode(raws[0])
        assert 0.3 < tokens.std() < 3
        with pytest.raises(ValueError, match="which is .* standard deviations of the training data from their mean"):
            fitted.encode(odd)


@pytest.mark.parametrize("marker", [-9999.0, 9.96921e36, -32768.0, 1e20])
@pytest.mark.parametrize("share", [0.001, 0.3])
def test_markers_of_missing_values_are_named_and_left_out(marker: float, share: float) -> None:
    raws = [raw.copy() for raw in SERIES]
    for raw in raws:
        is_marked = RNG.random(50) < share
        is_marked[7] = True
        raw[is_marked] = marker
    notes: list[str] = []
    fitted = SeriesEncoder(length=50, channels=2).fitted(raws, notes)
    good = np.concatenate(raws)
    good = good[good[:, 0] != marker]
    assert_digits_close(fitted.mean, good.mean(0))
    assert_digits_close(fitted.std, good.std(0))
    assert notes == [
        f"{marker:g} in example 0 and 5 more lies far from all other values (a missing one?): left out of mean and std"
    ]


@pytest.mark.parametrize("markers", [(-9999.0, -8888.0), (-9999.0, 9999.0), (1e20, -777.0, -999.0, -888.0)])
@pytest.mark.parametrize("size", [50, 1])
def test_several_markers_of_missing_values_are_left_out(markers: tuple[float, ...], size: int) -> None:
    """On either side of what was measured; in long files, and in many of one value."""
    values = RNG.normal(size=(600 // size, size, 2))
    for number, marker in enumerate(markers):
        values.reshape(-1, 2)[number * 10 :: 53] = marker
    notes: list[str] = []
    mean, std = channel_statistics(lambda raw: raw, values[:250], notes=notes)
    measured = values[:250].reshape(-1, 2)
    measured = measured[np.abs(measured[:, 0]) < 100]
    assert_digits_close(mean, measured.mean(0))
    assert_digits_close(std, measured.std(0))
    assert len(notes) == 1


def test_zeros_that_may_be_missing_are_said_and_count() -> None:
    raws = [RNG.normal(290, 5, (60, 1)) for _ in range(5)]
    raws[2][::20] = 0
    notes: list[str] = []
    mean, _ = channel_statistics(lambda raw: raw, raws, notes=notes)
    assert_digits_close(mean, np.concatenate(raws).mean(0))
    assert notes == ["0 in example 2 lies far from all other values, and counts: is it a missing one?"]


@pytest.mark.parametrize("count", [3, 5, 9])
def test_a_few_vectors_of_many_features_all_count(count: int) -> None:
    """By chance two of three lie next to each other in one of a hundred features."""
    raws = [RNG.normal(size=(1, 300)) for _ in range(count)]
    notes: list[str] = []
    mean, std = channel_statistics(lambda raw: raw, raws, notes=notes)
    assert notes == []
    assert_digits_close(mean, np.concatenate(raws).mean(0))
    assert_digits_close(std, np.concatenate(raws).std(0))
    for odd in (raws[0] * 1e4, raws[0] + 1e9 * (np.arange(300) == 7)):
        channel_statistics(lambda raw: raw, [*raws, odd], notes=notes)
        assert "left out of mean and std" in notes.pop()


@pytest.mark.parametrize(
    "raws",
    [
        SERIES,
        [raw * 10.0**index for index, raw in enumerate(SERIES[:3])],  # 40 dB between the softest and the loudest
        [RNG.lognormal(0, 1.5, (100, 1)) for _ in range(40)],
        [RNG.standard_t(3, (200, 1)) for _ in range(40)],
        [(RNG.random((200, 1)) < 0.02) * 1.0 for _ in range(40)],
        [np.zeros((5, 1)), np.ones((5, 1)), np.full((5, 1), 7.0)],
        [np.zeros((9, 1))] * 30 + [RNG.normal(size=(9, 1)) for _ in range(9)],
        [RNG.normal(1e6, 10, (50, 1)) for _ in range(9)],
    ],
    ids=["normal", "loudness", "lognormal", "heavy tails", "sparse", "constants", "mostly empty", "large offset"],
)
def test_ordinary_data_are_all_counted(raws: list[np.ndarray]) -> None:
    notes: list[str] = []
    mean, std = channel_statistics(lambda raw: raw, raws, notes=notes)
    assert notes == []
    every = np.concatenate(raws)
    assert_digits_close(mean, every.mean(0))
    assert_digits_close(std, every.std(0))


def test_many_large_files_are_data() -> None:
    raws = [RNG.normal(0, 1e6 if index % 2 else 1, (20, 1)) for index in range(40)]
    notes: list[str] = []
    _, std = channel_statistics(lambda raw: raw, raws, notes=notes)
    (note,) = notes
    assert note.startswith(
        "the values of 20 of 40 files, for example example 1, are far larger than those of the others"
    )
    assert_digits_close(std, np.concatenate(raws).std(0))


@pytest.mark.parametrize("marker", [-9999.0, 1e20, 32767.0])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_markers_in_files_of_one_value_are_seen_beside_the_other_files(marker: float, share: float) -> None:
    """Feature vectors: a file alone does not tell what is usual."""
    values = RNG.normal(size=(100, 1, 3))
    values[: int(100 * share), 0, 1] = marker
    notes: list[str] = []
    mean, std = channel_statistics(lambda raw: raw, values, notes=notes)
    others = np.where(values == marker, np.nan, values)
    assert_digits_close(mean, np.nanmean(others, (0, 1)))
    assert_digits_close(std, np.nanstd(others, (0, 1)))
    assert f"{marker:g} in example 0 and {int(100 * share) - 1} more lies far" in notes[0]


def test_few_values_say_nothing_of_what_is_usual() -> None:
    notes: list[str] = []
    channel_statistics(lambda raw: raw, [np.array([[0.0], [0.001], [1.0]])], notes=notes)
    assert notes == []


def test_values_that_vary_little_far_from_zero_keep_how_they_vary() -> None:
    x = np.random.default_rng(0).normal(size=(50, 2))
    x[:, 0] = 1e9 + 3 * x[:, 0]
    x[7, 1] = -9999
    notes: list[str] = []
    (mean, other), (std, _) = channel_statistics(lambda raw: raw[None], list(x), notes=notes)
    assert mean == pytest.approx(x[:, 0].mean(), abs=1e-4)
    assert std == pytest.approx(x[:, 0].std(), rel=1e-5)
    assert abs(other) < 1
    assert notes == [
        "-9999 in example 7 lies far from all other values (a missing one?): left out of mean and std",
    ]
    x[7, 0] = 0.0
    channel_statistics(lambda raw: raw[None], list(x[:, :1]), notes=notes)
    assert notes[1].startswith("0 in example 7 lies far from all other values (a missing one?)")


def test_nothing_but_one_value_is_said() -> None:
    notes: list[str] = []
    channel_statistics(lambda raw: raw, [np.full((9, 2), 5.0)] * 3, notes=notes)
    assert notes == ["all training examples that were looked at hold the same values: there is nothing to learn"]
    channel_statistics(lambda raw: raw, [np.stack([np.full(9, 5.0), np.arange(9.0)], 1)] * 3, notes=notes)
    assert len(notes) == 1


def test_a_constant_channel_is_not_divided_by_its_rounding() -> None:
    assert channel_statistics(lambda raw: raw, [np.full((9, 1), 0.1) + 1e-9 * np.arange(9)[:, None]])[1] == (1.0,)
    quiet = AudioEncoder(rate=800, is_silence_bad=False)
    noise = 1e-9 * RNG.normal(size=800)
    assert quiet.fitted([(noise, 800)] * 4).std == (1.0,)


@pytest.mark.parametrize("name", ["spike", "other scale"])
def test_a_folder_with_one_absurd_recording(tmp_path: Path, name: str) -> None:
    waves = [0.4 * np.sin(np.arange(2000) / (5 + index)) for index in range(8)]
    for index, wave in enumerate(waves):
        soundfile.write(tmp_path / f"{index}.wav", wave, 4000)
    odd = np.where(np.arange(2000) == 9, 1e29, waves[0]) if name == "spike" else waves[0] * 1e8
    soundfile.write(tmp_path / "odd.wav", odd.astype("f4"), 4000, subtype="FLOAT")
    source = open_source(tmp_path, task="none")
    encoder = source.encoders["audio"]
    assert isinstance(encoder, AudioEncoder)
    assert encoder.std == pytest.approx((0.283,), abs=0.003)
    bad = [str(example) for split in source.splits.values() for example in split if not hasattr(example, "inputs")]
    assert len(bad) == 1
    assert bad[0].startswith("odd.wav: h")
    if name == "other scale" and any("odd" in record.name for record in source.splits["train"].records):
        assert any("odd.wav: values far larger than the others'" in warning for warning in source.warnings)


def test_a_cloud_with_one_far_point_is_named() -> None:
    cloud = RNG.normal(size=(100, 3))
    for far, is_bad in ((1e6, True), (100, False)):
        odd = cloud.copy()
        odd[7, 1] = far
        for normalise in ("sphere", "box"):
            encoder = PointsEncoder(num_points=100, normalise=normalise)
            if is_bad:
                with pytest.raises(ValueError, match="has a point .* times as far from the middle"):
                    encoder.encode(odd)
            else:
                encoder.encode(odd)


def test_a_series_normalised_by_itself_names_a_value_that_hides_the_others() -> None:
    encoder = SeriesEncoder(length=50, channels=2, normalise="example")
    odd = SERIES[0].copy()
    odd[9, 1] = -1e20
    with pytest.raises(ValueError, match="holds -1e[+]20, far from all other values of channel 1"):
        encoder.encode(odd)
    click = np.zeros((50, 2))
    click[9] = 5
    encoder.encode(click)
    wave = 0.4 * np.sin(np.arange(2000) / 5)
    wave[9] = 1e8
    with pytest.raises(ValueError, match=r"holds 1e\+08, far from all other values of channel 0"):
        AudioEncoder(rate=4000, seconds=0.5, normalise="example").encode((wave[:2000], 4000))


# ----------------------------------------------------------------------------------------------------------- silence


def anti_phase(length: int) -> np.ndarray:
    wave = 0.4 * np.sin(np.arange(length) / 9)
    return np.stack([wave, -wave], 1)


def high(length: int) -> np.ndarray:
    """3.9 kHz at 8 kHz: nothing is left of it at 1 kHz."""
    return 0.4 * np.sin(np.arange(length) * 2 * np.pi * 3900 / 8000)


@pytest.mark.parametrize(
    ("samples", "rate", "where"),
    [
        (anti_phase(8000), 8000, ""),
        (anti_phase(8000) + 1e-6, 8000, ""),
        (high(8000), 8000, "( in its middle)?"),
        (np.concatenate([high(999) + 0.5, np.zeros(9000), high(999)]), 1000, " in its middle"),
    ],
    ids=["stereo that cancels", "nearly", "after resampling", "after cutting"],
)
def test_silence_is_noticed_after_mixing_resampling_and_cutting(samples: np.ndarray, rate: int, where: str) -> None:
    encoder = AudioEncoder(rate=1000 if rate == 8000 and samples.ndim == 1 else rate, seconds=0.5)
    with pytest.raises(ValueError, match=f"^is silent{where}: (its loudest|of a loudness of|its 2 channels cancel)"):
        encoder.encode((samples, rate))
    AudioEncoder(rate=encoder.rate, seconds=0.5, is_silence_bad=False).encode((samples, rate))


@pytest.mark.parametrize(
    ("samples", "rate", "reason"),
    [
        (high(8000)[:6000], 8000, "of a loudness of 0.28 only .* is left at 1000 samples per second"),
        (anti_phase(8000) * (1, 0.998), 1000, "its 2 channels cancel each other when they are mixed; "),
        (np.full(8000, 0.3), 1000, "it stays at 0.3"),
        (np.full((8000, 2), (0.3, -0.1)), 8000, "it stays at 0.1"),
    ],
    ids=["above the new rate", "stereo that almost cancels", "a constant", "two constants"],
)
def test_what_is_next_to_silence_is_named(samples: np.ndarray, rate: int, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^is silent: {reason}"):
        AudioEncoder(rate=1000, seconds=6.0).encode((samples, rate))


def test_a_good_recording_beside_stereo_that_cancels(tmp_path: Path) -> None:
    for index in range(4):
        soundfile.write(tmp_path / f"anti{index}.wav", anti_phase(4000), 4000)
    for index in range(3):
        soundfile.write(tmp_path / f"mono{index}.wav", anti_phase(4000)[:, 0], 4000)
    source = open_source(tmp_path, task="none")
    bad = [str(example) for split in source.splits.values() for example in split if not hasattr(example, "inputs")]
    assert len(bad) == 4
    assert all("is silent" in each for each in bad)
    assert source.encoders["audio"].std == pytest.approx((0.283,), abs=0.003)  # type: ignore[attr-defined]


def test_an_offset_is_taken_away() -> None:
    raws = [(0.3 + 0.1 * np.sin(np.arange(4000) / (5 + index)), 4000) for index in range(5)]
    fitted = AudioEncoder(rate=4000).fitted(raws)
    assert fitted.mean == pytest.approx((0.3,), abs=1e-3)
    assert fitted.std == pytest.approx((0.0707,), abs=1e-3)


# -------------------------------------------------------------------------------------------------------- full scale

RAMP = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)


def levels(raw: Any, **settings: Any) -> np.ndarray:
    encoder = ImageEncoder(size=64, colours="L", mean=(0.0,), std=(1.0,), **settings)
    return encoder.encode(raw)[0].numpy().ravel()


@pytest.mark.parametrize(("bits", "kind"), [(10, "PNG"), (10, "TIFF"), (12, "PNG"), (12, "TIFF"), (16, "PNG")])
def test_files_of_many_bits_are_scaled_by_what_they_hold(bits: int, kind: str) -> None:
    values = (RAMP.astype(int) * (2**bits - 1) // 4095).astype(np.uint16)
    found = levels(encoded(Image.fromarray(values), kind))
    assert_close(found, values.ravel() / (2**bits - 1), dtype=torch.float32)
    assert len(np.unique(found)) == len(np.unique(values)) > 1000
    small = ImageEncoder(size=(32, 16), colours="RGBA").read(encoded(Image.fromarray(values), kind))
    assert (small.shape, small.dtype) == ((32, 16, 4), np.float32)
    assert (small[..., 3] == 1).all()
    assert 0.45 < small[..., :3].mean() < 0.55


def test_the_full_scale_is_measured_in_training_data_and_kept() -> None:
    pictures = [encoded(Image.fromarray((RAMP * share).astype(np.uint16))) for share in (0.02, 1.0, 0.2, 0.0)]
    notes: list[str] = []
    fitted = ImageEncoder(size=64, colours="L").fitted(pictures, notes)
    assert fitted.full_scale == 4095
    assert notes == ["full_scale: white is 4095, as measured in the pictures of more than 8 bits"]
    again = encoder_from_dict(fitted.to_dict())
    dark = again.to_value(again.encode(pictures[0])[0])
    assert dark.max() == round(0.02 * 255)
    assert fitted.mean == pytest.approx((0.5 * (0.02 + 1 + 0.2) / 4,), abs=1e-3)
    with pytest.raises(ValueError, match=r"expected values in 0..4095 .full_scale., got 0..8190"):
        again.encode(encoded(Image.fromarray(RAMP * 2)))
    assert ImageEncoder(size=64, full_scale=65535).fitted(pictures, notes).full_scale == 65535
    assert len(notes) == 1


def png_16(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits, of 3 or 4 channels; Pillow cannot write one."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colours_of_16_bits_keep_them_too() -> None:
    pixels = np.stack([RAMP, RAMP[::-1], RAMP.T], -1)
    encoder = ImageEncoder(size=64)
    assert_close(encoder.read(png_16(pixels)), pixels / 4095)
    grey = ImageEncoder(size=64, colours="L").read(png_16(pixels))
    assert_close(grey[..., 0], pixels @ [0.299, 0.587, 0.114] / 4095, terms=3)
    seen = np.concatenate([pixels, np.full((64, 64, 1), 65535)], -1)
    seen[:32, :, 3] = 0
    on_white = encoder.read(png_16(seen))
    assert (on_white[:32] == 1).all()
    assert_close(on_white[32:], pixels[32:] / 4095)
    with_alpha = ImageEncoder(size=64, colours="RGBA").read(png_16(seen))
    assert_close(with_alpha[..., 3], seen[..., 3] / 65535)
    assert ImageEncoder(size=64).fitted([png_16(pixels)]).full_scale == 4095
    with pytest.raises(ValueError, match="cannot be decoded"):
        encoder.read(png_16(pixels)[:300])


def test_a_setting_gives_the_full_scale() -> None:
    raw = encoded(Image.fromarray(RAMP))
    assert_close(levels(raw, full_scale=65535), levels(raw) * 4095 / 65535, scale=1, dtype=torch.float32)


def test_pictures_of_eight_bits_have_no_full_scale() -> None:
    pictures = [RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8), np.zeros((8, 8, 3), np.uint8)]
    notes: list[str] = []
    fitted = ImageEncoder(size=8).fitted(pictures, notes)
    assert (fitted.full_scale, notes) == (None, [])
    mean, std = plain([picture / 255 for picture in pictures])
    assert_digits_close(fitted.mean, mean)
    assert_digits_close(fitted.std, std)
    assert levels(encoded(Image.fromarray((RAMP // 16).astype(np.uint8)))).max() == 1


def test_floats_keep_their_precision() -> None:
    values = (RAMP / 4095).astype(np.float32)
    assert_close(levels(encoded(Image.fromarray(values), "TIFF")), values.ravel(), dtype=torch.float32)


def test_models_of_earlier_versions_keep_their_full_scale() -> None:
    saved = {"kind": "image", "size": [64, 64], "mode": "L", "fit": "crop", "mean": [0.5], "std": [0.5]}
    encoder = encoder_from_dict(model_of_format_1({"encoders": {"image": saved}})["encoders"]["image"])
    assert encoder.to_value(encoder.encode(encoded(Image.fromarray(RAMP)))[0]).max() == 16
