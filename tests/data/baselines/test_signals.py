"""Baselines of series, sound and texts, against slow literal versions on made records."""

from collections import Counter
from math import log

import numpy as np
import pytest
from closeness import assert_within

from hiperceiver.data.baselines.answers import judged
from hiperceiver.data.baselines.signals import (
    motion_features,
    naive_bayes_baseline,
    nearest_sound_baseline,
    ridge_baseline,
    sound_features,
)
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders.audio import AudioEncoder
from hiperceiver.data.encoders.bytes import BytesEncoder
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.series import SeriesEncoder
from hiperceiver.data.record import Record
from hiperceiver.data.sources.source import Source


def source_of(task: str, encoder: Encoder, parts: dict[str, list[Record]], **settings: object) -> Source:
    splits = {
        name: EncodedRecords(records=part, encoders={"signal": encoder}, targets=(), num_classes=3)
        for name, part in parts.items()
    }
    return Source(name="made", task=task, encoders={"signal": encoder}, splits=splits, **settings)  # type: ignore


def record(raw: object, **targets: object) -> Record:
    return Record(name="made", raws={"signal": raw}, targets=targets)


def series(seed: int, count: int) -> list[Record]:
    rng = np.random.default_rng(seed)
    made = [record(np.full((40, 2), np.inf), label=0, values=[0.0], which=0, size=0.0), record(rng.random((40, 2)))]
    for _ in range(count):
        label, size = int(rng.integers(3)), float(rng.normal())
        wave = np.sin(np.arange(40) * (label + 1) / 3)[:, None] * np.array([1, 0.5]) + size
        noisy = wave + rng.normal(0, 0.8, (40, 2))
        made.append(record(noisy, label=label, values=[size], which=label, size=size))
    return [*made, record(rng.random((40, 2)), label=-1, values=[np.nan], which=-1, size=np.nan)]


CLASSES, LABELS = ("a", "b", "c"), {"which": ("a", "b", "c"), "size": ()}


def test_ridge_is_least_squares_with_a_penalty() -> None:
    parts = {"train": series(0, 60), "test": series(1, 30)}
    encoder = SeriesEncoder(length=40, channels=2)
    found = ridge_baseline(source_of("classification", encoder, parts, classes=CLASSES), modality="signal", strength=3)

    def features(part: str) -> np.ndarray:
        return np.array([motion_features(np.float32(each.raws["signal"])) for each in parts[part][2:-1]])

    mean, std = features("train").mean(0), features("train").std(0)
    std[std < 1e-9] = 1
    known, asked = (features("train") - mean) / std, (features("test") - mean) / std
    labels = np.array([each.targets["label"] for each in parts["train"][2:-1]])
    right = np.array([each.targets["label"] for each in parts["test"][2:-1]])
    answers = []
    for number in range(3):
        wanted = (labels == number) - (labels == number).mean()
        padded = np.vstack([known, np.sqrt(3) * np.eye(known.shape[1])])  # the penalty as rows that ask for zeros
        weights = np.linalg.lstsq(padded, np.concatenate([wanted, np.zeros(known.shape[1])]), rcond=None)[0]
        answers.append(asked @ weights + (labels == number).mean())
    assert found["accuracy"] == pytest.approx((np.argmax(answers, 0) == right).mean())
    assert found["accuracy"] > 0.6


def test_ridge_of_numbers_and_of_several_labels() -> None:
    parts = {"train": series(0, 60), "test": series(1, 30)}
    encoder = SeriesEncoder(length=40, channels=2)
    numbers = ridge_baseline(source_of("regression", encoder, parts), modality="signal")
    assert numbers["r2"] > 0.9
    assert 0 < numbers["mae"] < numbers["rmse"] < 0.3
    joint = ridge_baseline(source_of("joint", encoder, parts, labels=LABELS), modality="signal")
    assert joint["size_r2"] == pytest.approx(numbers["r2"])
    assert joint["size_mae"] == pytest.approx(numbers["mae"])
    assert joint["score"] == pytest.approx((joint["which_accuracy"] + joint["size_r2"]) / 2)


def sounds(seed: int, count: int) -> list[Record]:
    rng = np.random.default_rng(seed)
    made = [record((np.zeros(4000, dtype=np.float32), 8000), label=0)]
    for _ in range(count):
        label = int(rng.integers(3))
        wave = np.sin(np.arange(4000) * 0.1 * (label + 1 + rng.normal(0, 0.3))) * rng.random()
        made.append(record((np.float32(wave + rng.normal(0, 0.1, 4000)), 8000), label=label))
    return made


def test_the_nearest_sound_is_that_of_a_loop() -> None:
    parts = {"train": sounds(0, 20), "test": sounds(1, 15)}
    encoder = AudioEncoder(rate=8000, seconds=0.5)
    found = nearest_sound_baseline(source_of("classification", encoder, parts, classes=CLASSES), modality="signal")
    right = 0
    for asked in parts["test"][1:]:
        seen = sound_features(asked.raws["signal"][0][:, None])
        nearest = min(
            parts["train"][1:], key=lambda known: ((sound_features(known.raws["signal"][0][:, None]) - seen) ** 2).sum()
        )
        right += nearest.targets["label"] == asked.targets["label"]
    assert found["accuracy"] == pytest.approx(right / 15)


def test_loudness_hardly_counts_and_short_sounds_have_features() -> None:
    rng = np.random.default_rng(0)
    wave = rng.normal(size=(8000, 1))
    assert_within(sound_features(wave), sound_features(wave * 0.1), 1e-3)  # but for the floor of the logarithm
    assert sound_features(wave[:7]).shape == sound_features(wave).shape
    assert motion_features(wave[:5]).shape == motion_features(wave).shape


def test_naive_bayes_is_that_of_dictionaries() -> None:
    rng = np.random.default_rng(0)

    def texts(count: int) -> list[Record]:
        made = [record(b"", label=0)]
        for _ in range(count):
            label = int(rng.integers(3))
            letters = rng.choice(list("abcd"), size=rng.integers(1, 12), p=np.roll([0.4, 0.3, 0.2, 0.1], label))
            made.append(record("".join(letters).encode(), label=label))
        return made

    parts = {"train": texts(60), "test": texts(40)}
    source = source_of("classification", BytesEncoder(length=8), parts, classes=CLASSES)
    found = naive_bayes_baseline(source, modality="signal", smoothing=0.5)

    def groups(text: bytes) -> list[bytes]:
        padded = b"\x00" + text[:8] + b"\x00"
        return [padded[n : n + 3] for n in range(len(padded) - 2)]

    counts = [
        Counter(g for r in parts["train"][1:] if r.targets["label"] == k for g in groups(r.raws["signal"]))
        for k in range(3)
    ]
    vocabulary = {group for each in counts for group in each}
    sizes = [sum(r.targets["label"] == k for r in parts["train"][1:]) for k in range(3)]
    right = 0
    for asked in parts["test"][1:]:
        scores = []
        for k in range(3):
            total = sum(counts[k].values()) + 0.5 * len(vocabulary)
            seen = [g for g in groups(asked.raws["signal"]) if g in vocabulary]
            scores.append(log(sizes[k] / 60) + sum(log((counts[k][g] + 0.5) / total) for g in seen))
        right += int(np.argmax(scores)) == asked.targets["label"]
    assert found["accuracy"] == pytest.approx(right / 40)


def test_scores_by_hand() -> None:
    made = source_of("joint", SeriesEncoder(length=4), {}, labels=LABELS)
    answers = {"which": np.array([0, 1, 1]), "size": np.array([[1.0], [2.0], [4.0]])}
    targets = {"which": np.array([0, 1, 2]), "size": np.array([[1.0], [2.0], [3.0]])}
    assert judged(made, answers, targets) == pytest.approx(
        {"score": (2 / 3 + 0.5) / 2, "which_accuracy": 2 / 3, "size_mae": 1 / 3, "size_r2": 0.5}
    )
    far = judged(made, {**answers, "size": answers["size"] + 100}, targets)
    assert far["score"] == pytest.approx(1 / 3)  # worse than saying the mean counts as that
    same = judged(
        source_of("regression", SeriesEncoder(length=4), {}), {"values": np.ones((2, 1))}, {"values": np.ones((2, 1))}
    )
    assert np.isnan(same["r2"]) and same["mae"] == 0


def test_wrong_sources_are_one_line() -> None:
    encoder = SeriesEncoder(length=40, channels=2)
    parts = {"train": series(0, 5), "test": series(1, 0)[:1]}
    with pytest.raises(ValueError, match="^source: expected the task classification, regression or joint, got none$"):
        ridge_baseline(source_of("none", encoder, parts), modality="signal")
    labelled = source_of("classification", encoder, parts, classes=CLASSES)
    with pytest.raises(ValueError, match="^modality: expected one of signal, got 'sound'$"):
        nearest_sound_baseline(labelled, modality="sound")
    with pytest.raises(ValueError, match="^source: expected examples for test that can be read, got none$"):
        ridge_baseline(labelled, modality="signal")
    with pytest.raises(ValueError, match="^source: expected a split 'test' of records, got train$"):
        ridge_baseline(
            source_of("classification", encoder, {"train": parts["train"]}, classes=CLASSES), modality="signal"
        )
    with pytest.raises(ValueError, match="^modality: expected bytes, among signal, got 'signal'$"):
        naive_bayes_baseline(labelled, modality="signal")
    with pytest.raises(ValueError, match="^source: expected the task classification, got joint$"):
        naive_bayes_baseline(source_of("joint", encoder, parts, labels=LABELS), modality="signal")
