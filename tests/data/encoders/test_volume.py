"""Volumes of any size come in; tokens of one grid go out; what cannot be read says so in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_digits_close, assert_equal
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from hiperceiver.data.encoders import ENCODERS, VolumeEncoder, encoder_from_dict
from hiperceiver.modality import Modality

SMALL = np.arange(2 * 3 * 4 * 2, dtype=np.float32).reshape(2, 3, 4, 2)


def test_tokens_are_cells_in_reading_order() -> None:
    encoder = VolumeEncoder(size=(2, 3, 4), channels=2, mean=(1, 2), std=(2, 4))
    assert encoder.modality == Modality(grid=(2, 3, 4), channels=2)
    tokens, is_padding = encoder.encode(SMALL)
    assert is_padding is None
    assert tokens.dtype == torch.float32
    assert_close(tokens.view(2, 3, 4, 2)[1, 2, 0], (SMALL[1, 2, 0] - [1, 2]) / [2, 4], terms=2)
    assert VolumeEncoder(size=5).size == (5, 5, 5)


@given(
    arrays_of.arrays(
        np.float32, st.tuples(*[st.integers(1, 4)] * 3, st.just(2)), elements=st.floats(-1e3, 1e3, width=32)
    ),
    st.tuples(*[st.integers(1, 4)] * 3),
)
def test_decode_is_the_inverse_of_what_is_kept(volume: np.ndarray, size: tuple[int, int, int]) -> None:
    encoder = VolumeEncoder(size=size, channels=2, fit="crop", mean=(3, -9), std=(2, 70))
    assert encoder_from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder
    tokens, is_padding = encoder.encode(volume)
    kept = volume[
        tuple(
            slice((length - n) // 2, (length - n) // 2 + n) if length > n else slice(None)
            for length, n in zip(volume.shape, size, strict=False)
        )
    ]
    scale = float(np.abs(volume).max()) + 9
    assert_close(encoder.to_value(tokens, is_padding), kept, terms=4, scale=scale)
    if is_padding is None:
        assert kept.shape[:3] == size
    else:
        assert (tokens[is_padding] == 0).all()
        assert (~is_padding).sum() == kept[..., 0].size
    fits = VolumeEncoder(size=volume.shape[:3], channels=2, mean=(3, -9), std=(2, 70))
    assert_close(fits.to_value(fits.encode(volume)[0]), volume, terms=4, scale=scale)


def test_decode_cuts_only_what_is_wholly_absent_at_an_end() -> None:
    encoder = VolumeEncoder(size=(2, 3, 4))
    is_padding = torch.ones(2, 3, 4, dtype=torch.bool)
    is_padding[1, 0, 2] = False
    assert encoder.to_value(torch.zeros(24, 1), is_padding.flatten()).shape == (2, 1, 3, 1)
    with pytest.raises(ValueError, match=r"tokens: expected shape \(24, 1\), got \(23, 1\)"):
        encoder.to_value(torch.zeros(23, 1))


def test_resizing_averages_where_it_shrinks() -> None:
    stripes = np.zeros((8, 6, 4), dtype=bool)
    stripes[::2] = True
    tokens = VolumeEncoder(size=(2, 3, 2)).encode(stripes)[0]
    assert_close(tokens, torch.full((12, 1), 0.5), terms=4 * 2 * 2)
    blocks = np.arange(8.0).reshape(2, 2, 2)
    large = blocks.repeat(3, 0).repeat(5, 1).repeat(2, 2)
    assert_close(VolumeEncoder(size=2).read(large)[..., 0], blocks, terms=3 * 5 * 2)


def test_resizing_interpolates_where_it_grows() -> None:
    ramp = np.broadcast_to(np.arange(4.0)[:, None, None], (4, 2, 6))
    read = VolumeEncoder(size=(8, 4, 3)).read(ramp)
    assert read.shape == (8, 4, 3, 1)
    expected = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3)
    assert_close(read[..., 0], np.broadcast_to(expected[:, None, None], (8, 4, 3)), terms=8)


@pytest.mark.parametrize("fit", ["resize", "crop"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 50, 3), (40, 1, 2)])
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 8, 2)])
def test_any_shape_fits(fit: str, shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    tokens, is_padding = VolumeEncoder(size=size, fit=fit).encode(np.full(shape, 7, dtype=np.uint8))
    seen = tokens if is_padding is None else tokens[~is_padding]
    assert len(seen) >= 1
    assert_close(seen, torch.full_like(seen, 7), terms=50)
    assert fit == "crop" or is_padding is None


def test_every_way_in_gives_the_same_tokens(tmp_path: Path) -> None:
    encoder = VolumeEncoder(size=(2, 3, 4), channels=2)
    np.save(tmp_path / "a.npy", np.asfortranarray(SMALL.astype(">i2")))
    np.savez(tmp_path / "a.npz", scan=SMALL, mask=SMALL + 1)
    expected = encoder.encode(SMALL)[0]
    for raw in (SMALL.tolist(), torch.tensor(SMALL), tmp_path / "a.npy", (tmp_path / "a.npy").read_bytes()):
        assert_equal(encoder.encode(raw)[0], expected)
    named = VolumeEncoder(size=(2, 3, 4), channels=2, array_name="mask")
    assert_equal(named.encode(tmp_path / "a.npz")[0], expected + 1)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (SMALL[0], r"expected a volume of shape \(D, H, W, 2\), got \(3, 4, 2\)"),
        (SMALL[..., :1], r"expected a volume of shape \(D, H, W, 2\), got \(2, 3, 4, 1\)"),
        (SMALL[:0], "is empty"),
        (SMALL * np.nan, r"expected finite numbers, got nan at \(0, 0, 0, 0\)"),
        (SMALL * 1j, "expected real numbers, got complex"),
        ("no.npy", "no.npy: no such file or directory"),
        (b"1,2\n3,4\n", r"got \(2, 2\)"),
    ],
)
def test_a_bad_volume_is_one_line(raw: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"{reason}$|{reason}") as caught:
        VolumeEncoder(size=2, channels=2).encode(raw)
    assert "\n" not in str(caught.value)


def test_fitted_is_the_mean_and_deviation_of_the_volumes() -> None:
    rng = np.random.default_rng(0)
    raws = [rng.normal((1e-8, 400), (2e-8, 30), (4, 4, 4, 2)) for _ in range(3)]
    for fit in ("resize", "crop"):
        fitted = VolumeEncoder(size=4, channels=2, fit=fit).fitted([*raws, None])
        assert_digits_close(fitted.mean, np.stack(raws).mean((0, 1, 2, 3)))
        assert_digits_close(fitted.std, np.stack(raws).std((0, 1, 2, 3)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "size: required by VolumeEncoder, got nothing"),
        ({"size": [2, 2]}, "size: expected a list of 3 .*, got"),
        ({"size": [2, 2, 0]}, r"size\[2\]: expected a whole number >= 1, got 0"),
        ({"size": "large"}, "size: expected a list of 3"),
        ({"size": None}, "size: expected a list of 3"),
        ({"size": 2, "channels": 0}, "channels: expected a whole number >= 1, got 0"),
        ({"size": 2, "fit": "pad"}, "fit: expected one of resize, crop, got 'pad'"),
        ({"size": 2, "mean": [1, 2]}, "mean: expected 1 numbers"),
        ({"size": 2, "std": [0]}, r"std\[.\]: expected a number above 0"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, object], message: str) -> None:
    assert ENCODERS["volume"] is VolumeEncoder
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        encoder_from_dict({"kind": "volume", **settings})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "shape", [(1, 12, 12, 12), (3, 16, 8, 8), (4, 5, 6, 7), (8, 12, 12, 12), (1, 1, 64, 64), (1, 16, 16, 3)]
)
def test_channels_that_come_first_are_refused_until_they_are_said(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"^channels: expected \(D, H, W, channels\), got \({shape[0]}, "):
        VolumeEncoder.chosen_settings([np.zeros(shape)], {})
    assert VolumeEncoder.chosen_settings([np.zeros(shape)], {"channels": shape[3]})["size"] == shape[:3]
    turned = np.zeros((*shape[1:], shape[0]))
    assert VolumeEncoder.chosen_settings([turned], {}) == {"size": shape[1:], "channels": shape[0]}


def test_frames_with_channels_before_rows_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"got \(6, 3, 16, 16\), which looks as if channels came first; transpose them"
    ):
        VolumeEncoder.chosen_settings([np.zeros((6, 3, 16, 16))], {})
    assert VolumeEncoder.chosen_settings([np.zeros((6, 16, 16, 3))], {}) == {"size": (6, 16, 16), "channels": 3}
