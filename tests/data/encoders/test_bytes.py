"""Bytes and texts of any length come in; tokens of one length go out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hiperceiver.data.encoders import ENCODERS, BytesEncoder, encoder_from_dict
from hiperceiver.modality import Modality

CODINGS = ["onehot", "bits", "numbers"]


@given(
    st.binary(min_size=1, max_size=40),
    st.sampled_from(CODINGS),
    st.integers(0, 3),
    st.sampled_from([(), (2, 3), (41,)]),
)
def test_decode_is_the_inverse(raw: bytes, coding: str, more: int, ngrams: tuple[int, ...]) -> None:
    encoder = BytesEncoder(length=len(raw) + more, coding=coding, ngrams=ngrams, buckets=50)
    assert encoder_from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder
    tokens, is_padding = encoder.encode(raw)
    assert (is_padding is None) == (more == 0)
    assert encoder.to_value(tokens, is_padding).tobytes() == raw
    assert (tokens[len(raw) :] == 0).all()


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_text_comes_back(text: str) -> None:
    encoder = BytesEncoder(length=len(text.encode()))
    assert BytesEncoder.text(encoder.to_value(encoder.encode(text)[0])) == text


def test_codings() -> None:
    onehot, bits, numbers = (BytesEncoder(length=2, coding=coding) for coding in CODINGS)
    assert onehot.modality == Modality(grid=(2,), channels=256)
    assert bits.modality == Modality(grid=(2,), channels=8)
    assert numbers.modality == Modality(grid=(2,), channels=1, num_categories=256)
    assert numbers.encode(b"\x00\xff")[0].tolist() == [[1], [256]]
    assert onehot.encode(b"\x00\x05")[0].nonzero().tolist() == [[0, 0], [1, 5]]
    assert onehot.encode(b"\x00\x05")[0].square().mean().item() == 1
    assert bits.encode(b"\x00\x85")[0].tolist() == [[-1] * 8, [1, -1, -1, -1, -1, 1, -1, 1]]


@pytest.mark.parametrize(("coding", "own"), [("onehot", 256), ("bits", 8)])
def test_groups_of_bytes(coding: str, own: int) -> None:
    plain = BytesEncoder(length=8, coding=coding)
    encoder = BytesEncoder(length=8, coding=coding, ngrams=(2, 4), buckets=1000)
    assert encoder.modality == Modality(grid=(8,), channels=own + 1000)
    tokens = encoder.encode(b"abcabc")[0]
    assert torch.equal(tokens[:, :own], plain.encode(b"abcabc")[0])
    groups = tokens[:, own:]
    assert groups.unique().tolist() == [0, 4]
    assert groups.count_nonzero(dim=1).tolist() == [0, 2, 2, 4, 4, 4, 0, 0]  # nothing before the start, nor in padding
    assert torch.equal(groups[1], groups[4] * (groups[1] > 0))  # "ab", wherever it stands
    assert not torch.equal(groups[3], groups[4])
    longer = BytesEncoder(length=4, coding=coding, ngrams=(2, 4), buckets=1000, keep="middle").encode(b"xabcax")[0]
    assert torch.equal(longer[:, own:], encoder.encode(b"abca")[0][:4, own:])  # what is not kept shows nowhere


def test_groups_are_the_same_on_every_machine() -> None:
    """Computed by hand, in whole numbers: a saved model depends on them."""
    key = 2
    for byte in b"hi":
        key = (key ^ byte) * 0x9E3779B97F4A7C15 % 2**64
        key ^= key >> 32
    tokens = BytesEncoder(length=2, ngrams=(2,), buckets=777).encode(b"hi")[0]
    channels = sorted(256 + half % 777 for half in (key >> 32, key % 2**32))
    assert tokens[1].nonzero().flatten().tolist() == [ord("i"), *channels]


def test_numbers_of_groups() -> None:
    encoder = BytesEncoder(length=8, coding="numbers", ngrams=(2, 3), buckets=1000)
    assert encoder.modality == Modality(grid=(8,), channels=3, num_categories=1256)
    tokens, is_padding = encoder.encode(b"abcabc")
    assert is_padding is not None
    assert is_padding.sum() == 2
    own, pairs, triples = tokens[:6].int().T.tolist()
    assert own == [byte + 1 for byte in b"abcabc"]
    assert all(256 < number <= 1256 for number in (*pairs, *triples))
    assert pairs[1:3] == pairs[4:6]  # "ab" and "bc", wherever they stand
    assert len(set(pairs)) == 4  # and "ca" and the beginning
    assert triples[1] == triples[4]  # "abc" around its middle
    assert len(set(triples)) == 5  # and "bca", "cab", the beginning and the end


def test_numbers_of_groups_are_the_same_on_every_machine() -> None:
    """Computed by hand, in whole numbers: a saved model depends on them."""
    tokens = BytesEncoder(length=2, coding="numbers", ngrams=(3,), buckets=777).encode(b"hi")[0]
    for token, group in zip(tokens, (b"\0hi", b"hi\0"), strict=True):
        key = 3
        for byte in group:
            key = (key ^ byte) * 0x9E3779B97F4A7C15 % 2**64
            key ^= key >> 32
        assert token[1] == 257 + (key >> 32) % 777


def test_groups_share_channels_by_chance_alone() -> None:
    text = "".join(chr(97 + first) + chr(97 + second) for first in range(26) for second in range(26)).encode()
    tokens = BytesEncoder(length=len(text), ngrams=(2,), buckets=64).encode(text)[0][1::2, 256:]  # each pair of letters
    count = (tokens > 0).sum(0)
    assert 10 < count.min() < count.max() < 34  # 21 expected, and four times their deviation at most
    shown = {tuple(row.nonzero().flatten().tolist()) for row in tokens}
    assert len(shown) > 500  # of 676, of which chance lets some 570 differ


def test_decode_takes_the_likeliest() -> None:
    tokens = torch.zeros(1, 256, dtype=torch.float64, requires_grad=True)
    tokens.data[0, 65] = 0.2
    assert BytesEncoder(length=1).to_value(tokens).tobytes() == b"A"
    near = torch.tensor([[-0.1, 0.2, -3, -1, -1, -1, -1, 0.9]])
    assert BytesEncoder(length=1, coding="bits").to_value(near).tobytes() == b"A"
    scores = torch.zeros(2, 256 + 9)
    scores[0, 65], scores[0, 256] = 0.2, 0.9  # a group of bytes is no byte
    numbers = BytesEncoder(length=2, coding="numbers", ngrams=(2,), buckets=9)
    assert numbers.to_value(scores, torch.tensor([False, True])).tobytes() == b"A"
    with pytest.raises(ValueError, match=r"tokens: expected shape \(1, 256\), got \(1, 8\)"):
        BytesEncoder(length=1).to_value(near)


def test_what_is_kept_of_a_longer_value(tmp_path: Path) -> None:
    path = tmp_path / "letters"
    path.write_bytes(b"abcdefgh")
    for keep, kept in [("start", b"abcd"), ("middle", b"cdef")]:
        encoder = BytesEncoder(length=4, keep=keep)
        for raw in (b"abcdefgh", path):
            tokens, is_padding = encoder.encode(raw)
            assert is_padding is None
            assert encoder.to_value(tokens).tobytes() == kept
    assert len(BytesEncoder(length=4).decode(path)) == 8
    path.write_bytes(bytes(2**24 + 9))
    assert len(BytesEncoder(length=4).decode(path)) == 2**24  # no more is read of a file


def test_only_path_objects_are_files(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"inside")
    encoder = BytesEncoder(length=300)
    assert encoder.decode(path).tobytes() == b"inside"
    assert encoder.decode(str(path)).tobytes() == str(path).encode()
    for raw in (bytearray(b"hi"), memoryview(b"hi"), np.frombuffer(b"hi", dtype=np.uint8), "hi"):
        assert encoder.decode(raw).tobytes() == b"hi"
    assert encoder.fitted([b"", None]) == encoder


def test_bad_values_are_one_line(tmp_path: Path) -> None:
    encoder = BytesEncoder(length=4)
    (tmp_path / "empty").touch()
    for raw, reason in [
        (b"", r"^is empty \(0 bytes\)$"),
        ("", r"^is empty \(0 bytes\)$"),
        ("\ud800", "^expected text that UTF-8 can hold, got half of a surrogate pair$"),
        (tmp_path / "empty", r"empty: is empty \(0 bytes\)$"),
        (tmp_path / "gone", "gone: no such file or directory$"),
        (tmp_path, ": is a directory$"),
        (None, r"^expected bytes, text, a path object or uint8 \(n,\), got NoneType$"),
        ([1, 2], "got list$"),
        (np.zeros(3), r"^array: expected uint8 of shape \(n,\), got float64 of shape \(3,\)$"),
        (np.zeros((3, 3), dtype=np.uint8), r"got uint8 of shape \(3, 3\)$"),
    ]:
        with pytest.raises(ValueError, match=reason) as caught:
            encoder.encode(raw)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "length: required by BytesEncoder, got nothing"),
        ({"length": -1}, "length: expected a whole number >= 1, got -1"),
        ({"length": 4, "coding": "words"}, "coding: expected one of onehot, bits, numbers, got 'words'"),
        ({"length": 4, "keep": "end"}, "keep: expected one of start, middle, got 'end'"),
        ({"length": 4, "ngrams": 3}, "ngrams: expected a list of .*, got 3"),
        ({"length": 4, "ngrams": [2, 1]}, r"ngrams\[.\]: expected a whole number >= 2, got 1"),
        ({"length": 4, "ngrams": [2, 2]}, r"ngrams: expected each length once, got \(2, 2\)"),
        ({"length": 4, "ngrams": [2], "buckets": 0}, "buckets: expected a whole number >= 1, got 0"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, object], message: str) -> None:
    assert ENCODERS["bytes"] is BytesEncoder
    with pytest.raises(ValueError, match=f"^{message}$"):
        encoder_from_dict({"kind": "bytes", **settings})
