"""Series of any length come in; tokens of one length go out; what cannot be read says so in one line."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_digits_close, assert_equal
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from hiperceiver.data.encoders import ENCODERS, SeriesEncoder, encoder_from_dict
from hiperceiver.modality import Modality

RAMP = np.arange(20, dtype=np.float32).reshape(10, 2)
NUMBERS = st.floats(-1e3, 1e3, width=32)


def test_tokens_are_steps() -> None:
    encoder = SeriesEncoder(length=10, channels=2, mean=(1, 2), std=(2, 4))
    assert encoder.modality == Modality(grid=(10,), channels=2)
    tokens, is_padding = encoder.encode(RAMP)
    assert is_padding is None
    assert tokens.dtype == torch.float32
    assert_close(tokens[3], (RAMP[3] - [1, 2]) / [2, 4], terms=2)


@pytest.mark.parametrize("steps", [1, 2, 4, 12])
def test_a_token_may_be_several_steps(steps: int) -> None:
    encoder = SeriesEncoder(length=12, channels=2, steps_per_token=steps, mean=(1, 2), std=(2, 4))
    assert encoder.modality == Modality(grid=(12 // steps,), channels=2 * steps)
    tokens, is_padding = encoder.encode(RAMP)
    filled = np.concatenate([(RAMP - [1, 2]) / [2, 4], np.zeros((2, 2))])
    assert_close(tokens, filled.reshape(-1, 2 * steps), terms=2)
    num_present = -(-len(RAMP) // steps)
    expected = [k >= num_present for k in range(12 // steps)]
    assert is_padding is None if num_present == 12 // steps else is_padding.tolist() == expected  # pyright: ignore
    value = encoder.to_value(tokens, is_padding)
    assert_close(value[:10], RAMP, terms=4)
    assert_equal(value[10:], np.full((num_present * steps - 10, 2), [1, 2]))
    marks = encoder.to_value_mask(np.arange(12 // steps) == 0, value, np.array(expected))
    assert marks.tolist() == [k < steps for k in range(len(value))]


@pytest.mark.parametrize(("steps", "context"), [(1, 1), (2, 3), (4, 2), (4, 12)])
def test_a_token_may_show_its_neighbours(steps: int, context: int) -> None:
    encoder = SeriesEncoder(length=12, channels=2, steps_per_token=steps, context=context, mean=(1, 2), std=(2, 4))
    width = steps + 2 * context
    assert encoder.modality == Modality(grid=(12 // steps,), channels=2 * width, is_overlapping=True)
    tokens, is_padding = encoder.encode(RAMP)
    present = tokens if is_padding is None else tokens[~is_padding]
    for token, shown in enumerate(present.reshape(len(present), width, 2)):
        for place, reading in enumerate(shown):
            step = token * steps - context + place
            assert_close(reading, (RAMP[step] - [1, 2]) / [2, 4] if 0 <= step < 10 else [0, 0], terms=2)
    assert_close(encoder.to_value(tokens, is_padding)[:10], RAMP, terms=4)


@pytest.mark.parametrize("context", [0, 2])
def test_of_absent_tokens_no_step_is_left(context: int) -> None:
    encoder = SeriesEncoder(length=8, channels=2, steps_per_token=2, context=context)
    tokens = torch.zeros(4, 4 + 4 * context)
    assert encoder.to_value(tokens, torch.ones(4, dtype=torch.bool)).shape == (0, 2)


def test_context_beyond_the_length_is_refused() -> None:
    with pytest.raises(ValueError, match="^context: expected at most the length, 8, got 9$"):
        SeriesEncoder(length=8, context=9)


def test_tokens_share_no_memory() -> None:
    tokens, _ = SeriesEncoder(length=10, channels=2, steps_per_token=2, context=1).encode(RAMP)
    tokens[0] = -1
    assert_equal(tokens[1], RAMP[1:5].ravel())


def test_the_length_is_whole_tokens() -> None:
    assert SeriesEncoder.chosen_settings([RAMP], {"steps_per_token": 4})["length"] == 12
    with pytest.raises(ValueError, match="^steps_per_token: expected a divisor of the length 10, got 4$"):
        SeriesEncoder(length=10, steps_per_token=4)


def test_the_middle_of_a_longer_series_is_kept() -> None:
    tokens, is_padding = SeriesEncoder(length=4, channels=2).encode(RAMP)
    assert is_padding is None
    np.testing.assert_array_equal(tokens, RAMP[3:7])


def test_a_shorter_series_has_absent_tokens_at_its_end() -> None:
    encoder = SeriesEncoder(length=12, channels=2, mean=(9, 9))
    tokens, is_padding = encoder.encode(RAMP)
    assert is_padding is not None
    assert is_padding.tolist() == [False] * 10 + [True] * 2
    assert (tokens[10:] == 0).all()
    assert_close(encoder.to_value(tokens, is_padding), RAMP, terms=4)
    assert encoder.to_value(tokens).shape == (12, 2)


@given(arrays_of.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 3)), elements=NUMBERS), st.data())
def test_decode_is_the_inverse(series: np.ndarray, data: st.DataObject) -> None:
    channels = series.shape[1]
    encoder = SeriesEncoder(
        length=data.draw(st.integers(len(series), 12)) * 2,
        channels=channels,
        steps_per_token=data.draw(st.sampled_from([1, 2])),
        context=data.draw(st.integers(0, 3)),
        mean=data.draw(st.tuples(*[st.floats(-100, 100)] * channels)),
        std=data.draw(st.tuples(*[st.floats(2.5, 100)] * channels)),
    )
    assert encoder_from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder
    scale = max(1e-30, float(np.abs(series).max()) + max(map(abs, encoder.mean)))  # next to nothing underflows
    assert_close(encoder.to_value(*encoder.encode(series))[: len(series)], series, terms=4, scale=scale)


def test_every_way_in_gives_the_same_tokens(tmp_path: Path) -> None:
    encoder = SeriesEncoder(length=10, channels=2, array_name="")
    np.save(tmp_path / "a.npy", RAMP.astype(int))
    np.savez(tmp_path / "a.npz", RAMP, RAMP + 1)
    np.savetxt(tmp_path / "a.csv", RAMP, delimiter=",", header="left,right", comments="")
    expected = encoder.encode(RAMP)[0]
    for raw in (RAMP.tolist(), torch.tensor(RAMP), tmp_path / "a.npy", str(tmp_path / "a.csv")):
        assert_equal(encoder.encode(raw)[0], expected)
    named = SeriesEncoder(length=10, channels=2, array_name="arr_1").encode(tmp_path / "a.npz")[0]
    assert_equal(named, expected + 1)
    assert SeriesEncoder(length=3).encode([1, 2, 3])[0].tolist() == [[1], [2], [3]]
    assert SeriesEncoder(length=3).encode([[1], [2], [3]])[0].tolist() == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (RAMP.T, r"expected a series of shape \(steps, 2\), got \(2, 10\)"),
        (RAMP[:, 0], r"expected a series of shape \(steps, 2\), got \(10,\)"),
        (RAMP[None], r"got \(1, 10, 2\)"),
        (np.float32(1), r"got \(\)"),
        (RAMP[:0], r"is empty \(shape \(0, 2\)\)"),
        ([[1.0, None]], r"got nan at \(0, 1\)"),
        ([[1.0, np.inf]], r"got inf at \(0, 1\)"),
        (RAMP + 1j, "expected real numbers, got complex"),
        (None, "expected an array, .* got NoneType"),
    ],
)
def test_a_bad_series_is_one_line(raw: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        SeriesEncoder(length=4, channels=2).encode(raw)
    assert "\n" not in str(caught.value)


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "three columns.csv"
    path.write_text("1,2,3\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"three columns\.csv: expected a series of shape \(steps, 2\), got \(1, 3\)"):
        SeriesEncoder(length=4, channels=2).encode(path)


def test_missing_readings_become_the_mean() -> None:
    holes = RAMP.copy()
    holes[2, 0] = holes[5] = np.nan
    encoder = SeriesEncoder(length=10, channels=2, missing="mean", mean=(7, 8), std=(2, 3))
    tokens = encoder.encode(holes)[0]
    assert tokens[2, 0] == 0
    assert (tokens[5] == 0).all()
    assert np.isfinite(encoder.decode(holes)).all()
    is_there = ~torch.from_numpy(np.isnan(holes))
    assert_equal(tokens[is_there], encoder.encode(RAMP)[0][is_there])
    of_itself = SeriesEncoder(length=10, channels=2, missing="mean", normalise="example").encode(holes)[0]
    assert_close(of_itself[~is_there], 0.0, scale=of_itself.abs().max().item())
    lone = SeriesEncoder(length=2, channels=2, missing="mean", normalise="example").encode([[1, None], [3, None]])[0]
    assert lone.tolist() == [[-1, 0], [1, 0]]
    with pytest.raises(ValueError, match="^holds no number, only NaN$"):
        encoder.encode(holes * np.nan)
    with pytest.raises(ValueError, match=r"got nan at \(2, 0\)"):
        SeriesEncoder(length=10, channels=2).encode(holes)


def test_missing_readings_say_nothing_of_the_normalisation() -> None:
    holes = RAMP.copy()
    holes[::2, 0] = np.nan
    fitted = SeriesEncoder(length=10, channels=2, missing="mean").fitted([holes, holes[:1]])
    seen = np.concatenate([holes, holes[:1]])
    assert_digits_close(fitted.mean, np.nanmean(seen, 0))
    assert_digits_close(fitted.std, np.nanstd(seen, 0))


def test_normalised_by_the_example() -> None:
    encoder = SeriesEncoder(length=6, channels=2, normalise="example")
    assert encoder.fitted([RAMP]) == encoder
    series = np.stack([RAMP[:, 0] ** 2, np.full(10, 5e3)], 1)
    for scale in (1e-6, 1, 1e6):
        tokens = encoder.encode(series * scale)[0]
        largest = tokens.abs().max().item()
        assert_close(tokens[:, 0].mean(), 0.0, terms=6, scale=largest)
        assert_close(tokens[:, 0].std(correction=0), 1.0, terms=6, scale=largest)
        assert (tokens[:, 1].abs() < 1e-3).all()  # a constant channel is not blown up
    short, is_padding = encoder.encode(series[:3])
    assert_close(encoder.to_value(short, is_padding).mean(0), 0.0, terms=3, scale=largest)
    assert encoder.to_value(short, is_padding).shape == (3, 2)


def test_fitted_is_the_mean_and_deviation_of_the_series() -> None:
    rng = np.random.default_rng(0)
    raws = [rng.normal((3, -50), (2, 9), (steps, 2)) for steps in (5, 40, 300)]
    fitted = SeriesEncoder(length=8, channels=2).fitted([None, *raws, RAMP * np.nan])
    every = np.concatenate(raws)
    assert_digits_close(fitted.mean, every.mean(0))
    assert_digits_close(fitted.std, every.std(0))
    with pytest.raises(ValueError, match="nothing to take mean and std from: expected an array"):
        SeriesEncoder(length=8).fitted([None])


def test_decode_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"tokens: expected shape \(4, 2\), got \(2, 4\)"):
        SeriesEncoder(length=4, channels=2).to_value(torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "length: required by SeriesEncoder, got nothing"),
        ({"length": 0}, "length: expected a whole number >= 1, got 0"),
        ({"length": 4.0}, "length: expected a whole number >= 1, got 4.0"),
        ({"length": 4, "channels": True}, "channels: expected a whole number >= 1, got True"),
        ({"length": 4, "normalise": "both"}, "normalise: expected one of dataset, example, got 'both'"),
        ({"length": 4, "missing": "zero"}, "missing: expected one of refuse, mean, got 'zero'"),
        ({"length": 4, "mean": [1, 2]}, "mean: expected 1 numbers"),
        ({"length": 4, "std": [0]}, r"std\[.\]: expected a number above 0"),
        ({"length": 4, "normalise": "example", "std": [2]}, "std: expected none with normalise='example', got"),
        ({"length": 4, "rate": 2}, "rate: not a setting of SeriesEncoder"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, object], message: str) -> None:
    assert ENCODERS["series"] is SeriesEncoder
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        encoder_from_dict({"kind": "series", **settings})
    assert "\n" not in str(caught.value)


def test_encoding_leaves_the_raw_array_alone() -> None:
    raw = RAMP.copy()
    for settings in ({}, {"normalise": "example"}):
        SeriesEncoder(length=10, channels=2, **settings).encode(raw)[0].zero_()
        np.testing.assert_array_equal(raw, RAMP)


@pytest.mark.parametrize("shape", [(6, 128), (1, 4), (32, 128)])
def test_channels_that_come_first_are_refused_until_they_are_said(shape: tuple[int, int]) -> None:
    with pytest.raises(
        ValueError, match=rf"^channels: expected \(steps, channels\), got \({shape[0]}, {shape[1]}\), wh"
    ):
        SeriesEncoder.chosen_settings([np.zeros(shape)], {})
    assert SeriesEncoder.chosen_settings([np.zeros(shape)], {"channels": shape[1]})["length"] == shape[0]
    assert SeriesEncoder.chosen_settings([np.zeros(shape[::-1])], {})["channels"] == shape[0]


@pytest.mark.parametrize(("shape", "is_said"), [((24, 51), True), ((51, 24), False), ((24, 24), False)])
def test_more_channels_than_steps_are_said(shape: tuple[int, int], is_said: bool) -> None:
    arrays = [np.random.default_rng(n).normal(size=shape) for n in range(3)]
    notes: list[str] = []
    SeriesEncoder(length=shape[0], channels=shape[1]).fitted(arrays, notes)
    found = "24 steps of 51 channels: is it the other way round? Steps come first, and not as with sktime and aeon"
    assert notes == [found] * is_said


def test_times_that_repeat_or_go_back_are_said(tmp_path: Path) -> None:
    def table(times: Sequence[float]) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"
        path.write_text("Time (s),level\n" + "".join(f"{time},{number % 3}\n" for number, time in enumerate(times)))
        return path

    def notes(*paths: Path) -> list[str]:
        encoder = SeriesEncoder(**SeriesEncoder.chosen_settings(paths, {}))
        encoder.fitted(paths, found := [])
        return found

    good, back, twice = table([0, 0.5, 1.5]), table([0, 2, 1]), table([0, 0, 1])
    assert notes(good, good) == []
    expected = "'Time (s)' does not grow from step to step in 2 of 3 files, for example"
    assert notes(good, back, twice) == [f"{expected} {back}: steps are read as they stand in the file"]


def test_a_column_that_is_too_fine_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("level,timestamp\n" + "".join(f"{number % 3},{1_700_000_000 + number}\n" for number in range(9)))
    encoder = SeriesEncoder(**SeriesEncoder.chosen_settings([path], {}))
    with pytest.raises(ValueError, match="numbers from 1700000000 to 1700000008 in channel 1, timestamp; subtract"):
        encoder.encode(path)


def test_columns_that_are_named_may_lie_beside_dates(tmp_path: Path) -> None:
    """The grid is chosen, and all is read, without the columns that hold texts."""
    rows = "".join(f"2026-01-01 00:00:{number:02},{number % 3},on,{number}\n" for number in range(20))
    (path := tmp_path / "a.csv").write_text(f"time,level,state,count\n{rows}")
    given = {"channel_names": ("count", "level")}
    encoder = SeriesEncoder(**SeriesEncoder.chosen_settings([path], given), **given)
    assert (encoder.length, encoder.channels) == (20, 2)
    assert encoder.decode(path).tolist() == [[number, number % 3] for number in range(20)]
    for names, reason in (
        (("level", "state"), "line 2, cell 3: expected a number, got 'on'"),
        (("level", "other"), "line 2, cell 1: expected a number, got '2026-01-01 00:00:00'"),
    ):
        with pytest.raises(ValueError, match=reason):
            SeriesEncoder(length=20, channels=2, channel_names=names).decode(path)
    path.write_text(f"time,level,state,count\n{rows}2026-01-02,1,on\n")
    with pytest.raises(ValueError, match="line 22: expected 4 cells, as in line 2, got 3"):
        encoder.decode(path)


@pytest.mark.parametrize(
    ("chosen", "context"),
    [
        ({"length": 128, "channels": 6}, 8),
        ({"length": 4096, "channels": 1}, 24),
        ({"length": 4096, "channels": 12}, 10),
        ({"length": 15, "channels": 1}, 0),
        ({"length": 4096, "channels": 300}, 0),
    ],
)
def test_what_is_chosen_for_labels(chosen: dict[str, int], context: int) -> None:
    assert SeriesEncoder.for_labels(chosen) == {"context": context}
    assert SeriesEncoder(**chosen, context=context).modality.channels <= max(256, chosen["channels"])
    for own in ({"context": 3}, {"steps_per_token": 2}):
        assert SeriesEncoder.for_labels({**chosen, **own}) == {}
