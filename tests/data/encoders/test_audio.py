"""Sound of any file comes in, waves of one rate go out and back; what cannot be heard says so in one line."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from closeness import assert_close, assert_digits_close, assert_equal, assert_within

from hiperceiver.data.encoders import ENCODERS, AudioEncoder, encoder_from_dict
from hiperceiver.data.encoders.audio import write_wav
from hiperceiver.data.media import Media
from hiperceiver.modality import Modality

from ..media import clip, sine, write_media

ENCODER = AudioEncoder(rate=8000, seconds=0.5)
TONE = sine(1, 8000)


def refused(raw: object, encoder: AudioEncoder = ENCODER) -> str:
    with pytest.raises(ValueError, match=r"^.+$") as caught:
        encoder.encode(raw)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("samples_per_token", [1, 4, 4000])
@pytest.mark.parametrize("channels", [1, 2])
def test_tokens_are_samples_in_a_row(samples_per_token: int, channels: int) -> None:
    encoder = AudioEncoder(
        rate=8000,
        seconds=0.5,
        channels=channels,
        samples_per_token=samples_per_token,
        mean=(0.1, 0.2)[:channels],
        std=(0.5, 0.25)[:channels],
    )
    assert encoder.modality == Modality(grid=(4000 // samples_per_token,), channels=samples_per_token * channels)
    samples = sine(0.5, 8000, channels=channels)
    tokens, is_padding = encoder.encode((samples, 8000))
    assert is_padding is None
    assert tokens.dtype == torch.float32
    expected = (samples - np.array([0.1, 0.2])[:channels]) / np.array([0.5, 0.25])[:channels]
    assert_close(tokens.numpy().ravel(), expected.ravel(), terms=2)
    assert_close(encoder.to_value(tokens), samples, terms=4, scale=1)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_token_may_show_samples_of_its_neighbours(channels: int) -> None:
    encoder = AudioEncoder(rate=8000, seconds=0.5, channels=channels, samples_per_token=8, context=3)
    assert encoder.modality == Modality(grid=(500,), channels=14 * channels, is_overlapping=True)
    samples = sine(0.5, 8000, channels=channels)[:3001]
    tokens, is_padding = encoder.encode((samples, 8000))
    shown = tokens.numpy().reshape(500, 14, channels)
    assert_equal(shown[1], samples[5:19])
    assert_equal(shown[0], np.concatenate([np.zeros((3, channels), dtype=np.float32), samples[:11]]))
    assert_equal(shown[375], np.concatenate([samples[2997:3001], np.zeros((10, channels), dtype=np.float32)]))
    assert_equal(encoder.to_value(tokens, is_padding)[:3001], samples)


def test_the_window_of_the_paper() -> None:
    assert AudioEncoder(rate=48000, seconds=2.56).modality == Modality(grid=(122880,), channels=1)


def test_of_a_longer_recording_the_middle() -> None:
    ramp = np.arange(1, 10001, dtype=np.float32) / 10000
    value = ENCODER.decode((ramp, 8000))
    assert value.shape == (10000, 1)
    tokens, is_padding = ENCODER.to_tokens(ENCODER.fit_to_grid(value))
    np.testing.assert_array_equal(tokens[:, 0], ramp[3000:7000])
    assert is_padding is None


def test_a_shorter_recording_ends_in_absent_tokens() -> None:
    encoder = AudioEncoder(rate=8000, seconds=0.5, samples_per_token=8, mean=(0.5,), std=(2.0,))
    samples = TONE[:1001]  # the last sample shares its token with seven that are not there
    tokens, is_padding = encoder.encode((samples, 8000))
    assert is_padding is not None
    assert is_padding.tolist() == [False] * 126 + [True] * 374
    assert (tokens[126:] == 0).all()
    assert (tokens[125, 1:] == 0).all()
    decoded = encoder.to_value(tokens, is_padding)
    assert decoded.shape == (1008, 1)
    assert_close(decoded[:1001], samples, terms=4, scale=1)
    assert encoder.to_value(tokens).shape == (4000, 1)
    is_padding[3] = True  # inside
    assert (encoder.to_value(tokens, is_padding)[24:32] == 0).all()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_a_file_at_the_rate_is_not_altered(tmp_path: Path, subtype: str) -> None:
    exact = (np.rint(TONE * 64) / 64).astype(np.float32)  # 7 bits: every format holds it
    soundfile.write(tmp_path / "a.wav", exact, 8000, subtype=subtype)
    for raw in (tmp_path / "a.wav", str(tmp_path / "a.wav"), (tmp_path / "a.wav").read_bytes()):
        np.testing.assert_array_equal(ENCODER.decode(raw), exact)
    np.testing.assert_array_equal(ENCODER.decode(Media(tmp_path / "a.wav", 0.25, 0.5)), exact[2000:6000])


def test_a_file_of_the_standard_library(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes((np.array([[100, 300], [0, 100]] * 2000) * 100).astype("<i2").tobytes())
    expected = np.array([[20000 / 32768], [5000 / 32768]] * 2000, dtype=np.float32)
    np.testing.assert_array_equal(ENCODER.decode(tmp_path / "a.wav"), expected)


@pytest.mark.parametrize(
    "samples",
    [
        TONE,
        TONE[:, 0],
        TONE.astype(np.float64),
        (TONE * 32768).astype(np.int16),
        (TONE.astype(np.float64) * 2**31).astype(np.int32),
        np.rint(TONE * 128 + 128).astype(np.uint8),
        TONE[:, 0].tolist(),
    ],
    ids=["float32", "flat", "float64", "int16", "int32", "uint8", "list"],
)
def test_arrays_of_any_type(samples: object) -> None:
    value = ENCODER.decode((samples, 8000))
    assert value.dtype == np.float32
    assert_within(value, TONE, 1 / 128)  # a step of 8 bits


@pytest.mark.parametrize("rate", [4000, 11025, 16000, 44100, 48000])
def test_any_rate_is_brought_to_ours(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.flac", sine(1, rate), rate)
    for raw in (tmp_path / "a.flac", (sine(1, rate), rate), (sine(1, rate), float(rate))):
        value = ENCODER.decode(raw)
        assert value.shape == (8000, 1)
        assert_within(value[500:-500], TONE[500:-500], 0.005)  # the filter of the resampling


def test_channels_are_averaged_repeated_or_refused(tmp_path: Path) -> None:
    stereo, surround = sine(1, 8000, channels=2), sine(1, 8000, channels=6)
    soundfile.write(tmp_path / "a.wav", surround, 8000, subtype="FLOAT")
    two, six = (AudioEncoder(rate=8000, channels=channels) for channels in (2, 6))
    assert_close(ENCODER.decode((stereo, 8000)), stereo.mean(1, keepdims=True), terms=2, scale=1)
    assert_close(ENCODER.decode(tmp_path / "a.wav"), surround.mean(1, keepdims=True), terms=6, scale=1)
    np.testing.assert_array_equal(two.decode((TONE, 8000)), np.repeat(TONE, 2, axis=1))
    np.testing.assert_array_equal(six.decode(tmp_path / "a.wav"), surround)
    assert refused(tmp_path / "a.wav", two) == f"{tmp_path / 'a.wav'}: channels: expected 1 or 2, got 6"
    assert refused((stereo, 8000), six) == "channels: expected 1 or 6, got 2"


def test_the_sound_of_a_film(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", video=clip(), audio=sine(2))
    value = ENCODER.decode(Media(path, 0.5, 1.0))
    assert value.shape == (8000, 1)
    assert np.argmax(np.abs(np.fft.rfft(value[:, 0]))) == 440


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ((np.zeros((0, 1)), 8000), r"samples: expected the shape \(n,\) or \(n, channels\), got \(0, 1\)"),
        ((np.zeros((2, 3, 4)), 8000), r"samples: expected the shape .* got \(2, 3, 4\)"),
        ((np.float32(3), 8000), r"samples: expected the shape .* got \(\)"),
        ((np.array([0.5, np.nan]), 8000), "has samples that are NaN or infinite"),
        ((np.array([0.5, -np.inf]), 16000), "has samples that are NaN or infinite"),
        ((np.array([0.5, 1e300]), 8000), "has samples that are NaN or infinite"),
        ((np.full(100, 5e-5), 8000), "is silent: its loudest sample is 5e-05 of 1"),
        ((np.array(["a"]), 8000), "samples: expected uint8, int16, int32 or floats, got <U1"),
        ((np.zeros(4, dtype=np.int64), 8000), "samples: expected uint8, int16, int32 or floats, got int64"),
        ((np.zeros(4, dtype=complex), 8000), "samples: expected uint8, int16, int32 or floats, got complex128"),
        (([[1.0], [1.0, 2.0]], 8000), "expected an array of samples and their rate, a number"),
        ((TONE, 0), "rate: expected a whole number of samples per second, got 0"),
        ((TONE, 22050.5), "rate: expected a whole number of samples per second, got 22050.5"),
        ((TONE, float("nan")), "expected an array of samples and their rate, a number"),
        ((TONE, None), "expected an array of samples and their rate, a number"),
        ((TONE, 8000, 1), "expected samples and their rate, got 3 values"),
        (TONE, "expected a path, bytes or Media, got ndarray"),
        (None, "expected a path, bytes or Media, got NoneType"),
        (b"", r"is empty \(0 bytes\)"),
    ],
)
def test_what_is_no_sound_is_one_line(raw: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        ENCODER.encode(raw)


def test_channels_that_cancel_each_other_are_said() -> None:
    stereo = np.stack([TONE.ravel(), -TONE.ravel()], 1)
    remedy = r"--encoders\.audio\.channels 2 keeps them"
    with pytest.raises(
        ValueError, match=rf"^is silent: its 2 channels cancel each other when they are mixed; {remedy}$"
    ):
        ENCODER.encode((stereo, 8000))
    assert AudioEncoder(rate=8000, seconds=1.0, channels=2).read((stereo, 8000)).shape == (len(TONE), 2)


def test_one_recording_of_another_rate_does_not_decide() -> None:
    raws = [(np.ones(1000 * rate // 1000), rate) for rate in (1000, 8000, 8000, 48000, 8000)]
    assert AudioEncoder.chosen_settings(raws, {}) == {"rate": 8000, "seconds": 1.0}
    assert AudioEncoder.chosen_settings([(np.ones(96000), 96000)], {}) == {"rate": 16000, "seconds": 1.0}


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "some sound.wav"
    for samples, reason in [
        (np.zeros(800), "is silent: its loudest sample is 0 of 1"),
        (np.full(800, np.nan), "has samples that are NaN or infinite"),
    ]:
        soundfile.write(path, samples, 8000, subtype="FLOAT")
        assert refused(path) == refused(Media(path)) == f"{path}: {reason}"
        assert refused(path.read_bytes()) == reason
    soundfile.write(path, np.zeros(0), 8000)
    assert refused(path).startswith(f"{path}: ")
    soundfile.write(path, TONE, 8000)
    path.write_bytes(path.read_bytes()[:-100])
    assert refused(path) == f"{path}: is truncated: it has 15944 of 16044 bytes"


def test_silence_may_be_wanted() -> None:
    quiet = AudioEncoder(rate=8000, seconds=0.1, is_silence_bad=False)
    assert not quiet.encode((np.zeros(800), 8000))[0].any()


def test_fitted_is_the_mean_and_deviation_of_the_recordings() -> None:
    rng = np.random.default_rng(0)
    raws = [(rng.normal([0.1, -0.2], [0.2, 0.05], (4000, 2)), 8000) for _ in range(3)]
    fitted = AudioEncoder(rate=8000, seconds=0.5, channels=2).fitted([b"", *raws])
    assert fitted.mean == pytest.approx((0.1, -0.2), abs=0.01)
    assert fitted.std == pytest.approx((0.2, 0.05), abs=0.01)
    tokens = torch.cat([fitted.encode(raw)[0] for raw in raws])
    assert_digits_close(tokens.double().std(0, correction=0), 1.0)
    with pytest.raises(ValueError, match="is empty"):
        ENCODER.fitted([b""])


def test_what_is_decoded_can_be_heard(tmp_path: Path) -> None:
    decoded = ENCODER.to_value(ENCODER.encode((TONE, 8000))[0])
    write_wav(tmp_path / "a.wav", decoded, 8000)
    assert_within(ENCODER.decode(tmp_path / "a.wav"), decoded, 1 / 32768)  # a step of 16 bits
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_16"
    write_wav(tmp_path / "b.wav", np.array([2.0, -2.0, np.nan, 0.5]), 8000)  # a model may say anything
    assert_within(ENCODER.decode(tmp_path / "b.wav")[:, 0], [1, -1, 0, 0.5], 1 / 32768)


def test_reading_leaves_a_given_array_alone() -> None:
    samples = TONE.copy()
    value = ENCODER.decode((samples, 8000))
    ENCODER.to_tokens(ENCODER.fit_to_grid(value))[0].zero_()
    np.testing.assert_array_equal(samples, TONE)
    np.testing.assert_array_equal(value, TONE)


def test_saved_form_is_plain_and_comes_back() -> None:
    encoder = AudioEncoder(
        rate=8000, seconds=0.25, channels=2, samples_per_token=5, is_silence_bad=False, mean=(0.1, 0.2), std=(0.5, 1)
    )
    values = json.loads(json.dumps(encoder.to_dict()))
    assert values["kind"] in ENCODERS
    assert encoder_from_dict(values) == encoder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 0}, "rate: expected a whole number >= 1, got 0"),
        ({"rate": 16000.0}, "rate: expected a whole number >= 1, got 16000.0"),
        ({"channels": True}, "channels: expected a whole number >= 1, got True"),
        ({"seconds": 0}, "seconds: expected a number above 0, got 0"),
        ({"seconds": float("inf")}, "seconds: expected a number above 0, got inf"),
        ({"seconds": 1e-9}, "seconds: expected the length of at least one sample, got 1e-09"),
        ({"seconds": "1"}, "seconds: expected a number above 0, got '1'"),
        ({"samples_per_token": 3}, "samples_per_token: expected a divisor of the window's 16000 samples, got 3"),
        ({"mean": (0.0, 0.0)}, "mean: expected 1 numbers"),
        ({"std": (0.0,)}, r"std\[.\]: expected a number above 0"),
        ({"volume": 3}, "volume: not a setting of AudioEncoder"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        encoder_from_dict({"kind": "audio", **settings})
    assert "\n" not in str(caught.value)


def test_loudness_of_each_example_may_be_left_out() -> None:
    encoder = AudioEncoder(rate=1000, seconds=0.5, normalise="example")
    wave = np.sin(np.arange(500) / 7).astype(np.float32)[:, None]
    soft, loud = encoder.encode((wave * 0.01, 1000))[0], encoder.encode((wave * 0.9, 1000))[0]
    assert_close(soft, loud, terms=500)
    assert_close(loud.std(correction=0), 1.0, terms=500)
    assert encoder.to_value(loud).std() == pytest.approx(0.1, abs=1e-3)
    assert encoder.fitted([(wave, 1000)]) == encoder
    assert AudioEncoder.from_dict(encoder.to_dict()) == encoder
    with pytest.raises(ValueError, match="^std: expected none with normalise='example'"):
        AudioEncoder(normalise="example", std=(2.0,))
    with pytest.raises(ValueError, match="^normalise: expected one of dataset, example, got 'loud'"):
        AudioEncoder(normalise="loud")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told_as_the_system_does() -> None:
    with pytest.raises(OSError, match="No space left on device"):
        write_wav("/dev/full", np.zeros(8), 8000)
