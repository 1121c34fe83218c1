"""Feature vectors are cut into tokens that groups can share, and come back whole."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_digits_close, assert_equal, assert_within
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from hiperceiver.data.encoders import ENCODERS, VectorEncoder, encoder_from_dict
from hiperceiver.modality import Modality


def test_features_lie_in_order_and_the_last_token_is_filled_up() -> None:
    encoder = VectorEncoder(features=7, split=3, mean=tuple(range(7)), std=tuple(range(1, 8)))
    assert encoder.modality == Modality(grid=(3,), channels=3)
    tokens, is_padding = encoder.encode(np.arange(7) * 10)
    assert is_padding is None
    assert tokens.dtype == torch.float32
    expected = [*((np.arange(7) * 10 - np.arange(7)) / np.arange(1, 8)), 0, 0]
    assert_close(tokens.flatten(), expected, terms=2)


def test_each_position_is_cut_alike() -> None:
    encoder = VectorEncoder(features=4, split=2, positions=3)
    assert encoder.modality == Modality(grid=(3, 2), channels=2)
    tokens, is_padding = encoder.encode([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert tokens.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [0, 0], [0, 0]]
    assert is_padding is not None
    assert is_padding.tolist() == [False] * 4 + [True] * 2
    assert encoder.encode(np.ones((3, 4)))[1] is None


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.data())
def test_decode_is_the_inverse(positions: int, features: int, split: int, data: st.DataObject) -> None:
    channels = math.ceil(features / split)
    assume(math.ceil(features / channels) == split)
    encoder = VectorEncoder(
        features=features,
        split=split,
        positions=positions,
        mean=data.draw(st.tuples(*[st.floats(-100, 100)] * features)),
        std=data.draw(st.tuples(*[st.floats(2.5, 100)] * features)),
    )
    assert encoder_from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder
    shape = (data.draw(st.integers(1, positions)), features)
    vectors = data.draw(arrays_of.arrays(np.float32, shape, elements=st.floats(-1e3, 1e3, width=32)))
    tokens, is_padding = encoder.encode(vectors)
    assert tokens.shape == (positions * split, channels)
    scale = max(1e-30, float(np.abs(vectors).max()) + max(map(abs, encoder.mean)))  # next to nothing underflows
    assert_close(encoder.to_value(tokens, is_padding), vectors, terms=4, scale=scale)
    assert encoder.to_value(tokens).shape == (positions, features)


def test_every_way_in_gives_the_same_tokens(tmp_path: Path) -> None:
    encoder = VectorEncoder(features=4, split=2)
    np.save(tmp_path / "a.npy", np.arange(4))
    np.savez(tmp_path / "a.npz", x=np.arange(4), y=np.arange(4) + 1)
    (tmp_path / "row.csv").write_text("a,b,c,d\n0,1,2,3\n", encoding="utf-8")
    (tmp_path / "column.txt").write_text("0\n1\n2\n3\n", encoding="utf-8")
    expected = encoder.encode(range_list := [0, 1, 2, 3])[0]
    for raw in (torch.tensor(range_list), *(tmp_path / name for name in ("a.npy", "row.csv", "column.txt"))):
        assert_equal(encoder.encode(raw)[0], expected)
    named = VectorEncoder(features=4, split=2, array_name="y")
    assert_equal(named.encode(tmp_path / "a.npz")[0], expected + 1)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ([1, 2], r"expected at most 2 vectors of 3 features, got shape \(2,\)"),
        (np.zeros((3, 3)), r"expected at most 2 vectors of 3 features, got shape \(3, 3\)"),
        (np.zeros((2, 4)), r"got shape \(2, 4\)"),
        (np.zeros((1, 1, 3)), r"got shape \(1, 1, 3\)"),
        (5.0, "expected an array, .* got float"),
        ([1, 2, np.nan], r"expected finite numbers, got nan at \(0, 2\)"),
        ([1, 2, "3"], "expected real numbers"),
        ("gone.npy", "gone.npy: no such file or directory"),
    ],
)
def test_a_bad_vector_is_one_line(raw: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        VectorEncoder(features=3, split=1, positions=2).encode(raw)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^expected one vector of 3 features, got shape \(2, 3\)$"):
        VectorEncoder(features=3, split=1).encode(np.zeros((2, 3)))


def test_each_feature_has_a_normalisation_of_its_own() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal((0, 1e6, 1e-7), (1, 1e5, 1e-8), (200, 3))
    fitted = VectorEncoder(features=3, split=3).fitted([*vectors, None, [1, 2]])
    assert_digits_close(fitted.mean, vectors.mean(0))
    assert_digits_close(fitted.std, vectors.std(0))
    tokens = torch.stack([fitted.encode(vector)[0] for vector in vectors])
    assert_digits_close(tokens.double().std(0, correction=0), 1.0)
    several = VectorEncoder(features=3, split=3, positions=5).fitted(vectors.reshape(40, 5, 3))
    assert_digits_close(several.mean, fitted.mean)


def test_decode_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"tokens: expected shape \(2, 2\), got \(1, 4\)"):
        VectorEncoder(features=4, split=2).to_value(torch.zeros(1, 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": 4}, "split: required by VectorEncoder, got nothing"),
        ({"features": 0, "split": 1}, "features: expected a whole number >= 1, got 0"),
        ({"features": 4, "split": 0}, "split: expected a whole number >= 1, got 0"),
        ({"features": 4, "split": 2, "positions": 0.5}, "positions: expected a whole number >= 1, got 0.5"),
        (
            {"features": 5, "split": 4},
            r"split: expected a number that leaves no token empty \(3, for 5 features in tokens of 2\), got 4",
        ),
        ({"features": 2, "split": 3}, r"split: expected a number .* \(2, for 2 features in tokens of 1\), got 3"),
        ({"features": 2, "split": 1, "mean": [1]}, "mean: expected 2 numbers"),
        ({"features": 2, "split": 1, "std": [1, 0]}, r"std\[.\]: expected a number above 0"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, object], message: str) -> None:
    assert ENCODERS["vector"] is VectorEncoder
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        encoder_from_dict({"kind": "vector", **settings})
    assert "\n" not in str(caught.value)


def test_features_of_tables_are_matched_by_name() -> None:
    raws = [b"a,b,c\n1,2,3\n", b"c,a,b\n3,1,2\n", b",b,other,c,a\n0,2,9,3,1\n"]
    chosen = VectorEncoder.chosen_settings(raws, {})
    encoder = VectorEncoder(**chosen)
    assert encoder.feature_names == ("a", "b", "c")
    for raw in raws:
        assert encoder.decode(raw).tolist() == [[1, 2, 3]]
    with pytest.raises(ValueError, match="expected the columns a, b, c, got a, b; no 'c'"):
        encoder.decode(b"a,b\n1,2\n")
    assert VectorEncoder.chosen_settings(raws, {"feature_names": ("c", "a")})["features"] == 2
    assert VectorEncoder.chosen_settings([b"x\n1\n2\n3\n"], {})["feature_names"] == ()  # a vector in a column
    with pytest.raises(ValueError, match=r"^feature_names: expected 3, one for each feature, got 1"):
        VectorEncoder(features=3, split=3, feature_names=("a",))


def test_features_far_from_zero_keep_how_they_vary(tmp_path: Path) -> None:
    """float32 holds only every 64th whole number near 1e9."""
    values = 1e9 + np.random.default_rng(0).integers(-9, 10, (40, 3))
    for number, row in enumerate(values):
        np.savetxt(tmp_path / f"{number}.csv", row[None], delimiter=",", fmt="%d")
    paths = [tmp_path / f"{number}.csv" for number in range(40)]
    encoder = VectorEncoder(features=3, split=3).fitted(paths)
    expected = (values - values.mean(0)) / values.std(0)
    found = np.concatenate([encoder.encode(path)[0].T.numpy() for path in paths])
    assert_within(found, expected, 1e-4)  # mean and std have six digits
