"""The built-in set `instruments`: rendered notes, what is kept of them, the split by programmes, and its baseline.

The real notes are rendered once and kept in the user's cache folder, as they are for any user."""

import io
import wave
from pathlib import Path

import midirenderer
import numpy as np
import pytest

from hiperceiver.data.augment import augmentations_from_settings
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.example import Example
from hiperceiver.data.record import Record
from hiperceiver.data.sources import instruments
from hiperceiver.data.sources.instruments import FAMILIES, NOTES, cache_folder, read_clips
from hiperceiver.data.sources.source import Source

from .reading import built_in

open_instruments = built_in("instruments")


def records(source: Source, split: str) -> list[Record]:
    dataset = source.splits[split]
    assert isinstance(dataset, EncodedRecords)
    return [dataset.records[index] for index in range(len(dataset))]


def programmes(source: Source, split: str) -> set[int]:
    return {int(record.name.split()[1]) - 1 for record in records(source, split)}


def test_clips_are_notes_of_the_right_pitch() -> None:
    clips = read_clips()
    assert clips.shape == (128, 13, 16000)
    assert clips.dtype == np.int16
    is_silent = np.abs(clips.astype(np.int32)).max(-1) < 4
    assert {(int(p) + 1, NOTES[n]) for p, n in np.argwhere(is_silent)} == {(68, 84), (79, 80), (79, 84)}
    for programme in (0, 19, 73, 80):  # piano, organ, flute, a synthesiser's square wave
        for index in (6, 9, 12):
            spectrum = np.abs(np.fft.rfft(clips[programme, index] * np.hanning(16000)))  # 1 Hz a step
            pitch = 440 * 2 ** ((NOTES[index] - 69) / 12)
            strongest = np.argmax(spectrum)
            harmonic = strongest / pitch
            # The organ's pipes also sound octaves below and above.
            assert min(abs(harmonic - n) for n in (0.5, 1, 2, 3, 4)) < 0.03


def test_each_clip_stops_before_the_next_note() -> None:
    loudness = np.sqrt((read_clips().astype(np.float64) ** 2).reshape(128, 13, 20, 800).mean(-1))
    assert (loudness[:, 6, :3].max(-1) > loudness[:, 6, -1]).mean() > 0.9  # struck at the start, let go at 0.7 s


def test_programmes_are_in_one_split_and_families_in_each() -> None:
    source = open_instruments(task="classification")
    assert source.classes == FAMILIES
    parts = {name: programmes(source, name) for name in source.splits}
    assert {name: len(part) for name, part in parts.items()} == {"train": 80, "validation": 16, "test": 32}
    assert len(set.union(*parts.values())) == 128
    for name, each in (("train", 5), ("validation", 1), ("test", 2)):
        assert np.bincount([number // 8 for number in parts[name]]).tolist() == [each] * 16
    assert {name: len(part) for name, part in source.splits.items()} == {"train": 1039, "validation": 208, "test": 414}
    assert programmes(open_instruments(), "test") == parts["test"]
    assert programmes(open_instruments(split_seed=1), "test") != parts["test"]


def test_targets() -> None:
    for task in ("classification", "regression", "joint"):
        source = open_instruments(task=task)
        for index in (0, 200, 413):
            example, record = source.splits["test"][index], records(source, "test")[index]
            assert isinstance(example, Example)
            programme, note = int(record.name.split()[1]) - 1, int(record.name.split()[-1])
            family, pitch = programme // 8, (note - 60) / 12
            found = {name: value.tolist() for name, value in example.targets.items()}
            assert (
                found
                == {
                    "classification": {"label": family},
                    "regression": {"values": [pytest.approx(pitch)]},
                    "joint": {"family": family, "pitch": pytest.approx(pitch)},
                }[task]
            )
    assert open_instruments(task="regression").classes == ("pitch",)
    assert open_instruments(task="joint").labels == {"family": FAMILIES, "pitch": ()}
    for task in ("regression", "joint"):
        with pytest.raises(ValueError, match="^speed: makes notes higher or lower, which the pitch would not follow"):
            open_instruments(task=task, augmentations=augmentations_from_settings({"speed": True}))


def test_programmes_as_classes_are_split_by_notes() -> None:
    source = open_instruments(task="classification", target="programme")
    assert len(source.classes) == 128
    notes = {name: {record.name.split()[-1] for record in records(source, name)} for name in source.splits}
    assert {name: len(part) for name, part in notes.items()} == {"train": 8, "validation": 2, "test": 3}
    assert len(set.union(*notes.values())) == 13
    assert programmes(source, "test") == programmes(source, "train")
    labels = [record.targets["label"] for record in records(source, "test")]
    assert labels == [int(record.name.split()[1]) - 1 for record in records(source, "test")]


def test_the_baseline_is_that_of_the_docstring() -> None:
    expected = {
        "classification": {"accuracy": 0.244, "balanced_accuracy": 0.247},
        "joint": {"score": 0.485, "family_accuracy": 0.244, "pitch_mae": 0.298, "pitch_r2": 0.726},
        "regression": {"mae": 0.298, "rmse": 0.651, "r2": 0.726},
    }
    for task, metrics in expected.items():
        baseline = open_instruments(task=task).baseline  # type: ignore[arg-type]
        assert baseline is not None
        assert baseline().metrics == pytest.approx(metrics, abs=0.005)
    assert open_instruments().baseline is None


def test_what_was_rendered_is_kept_and_damage_to_it_is_harmless(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = []

    def render(soundfont: bytes, midi: bytes) -> bytes:
        calls.append(len(soundfont))
        content = io.BytesIO()
        with wave.open(content, "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(np.full((40000, 2), 1000 + len(calls), dtype="<i2").tobytes())
        return content.getvalue()

    monkeypatch.setattr(midirenderer, "render_wave_from", render)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache" / "hiperceiver"
    fresh = read_clips.__wrapped__
    first = fresh()
    assert len(calls) == 128
    assert not first.flags.writeable
    kept = list(cache_folder().iterdir())
    assert len(kept) == 1  # no part of a file is left
    np.testing.assert_array_equal(fresh(), first)
    assert len(calls) == 128

    content = kept[0].read_bytes()
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    for count, damage in enumerate([b"", b"text", content[:-1000], bytes(changed)], 2):
        kept[0].write_bytes(damage)
        assert fresh().shape == first.shape
        assert len(calls) == 128 * count
    np.savez(kept[0], clips=np.zeros((2, 2), dtype=np.int16))
    assert fresh().shape == first.shape

    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert fresh().shape == first.shape
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_the_cache_lies_where_the_platform_wants_it(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("LOCALAPPDATA", "local")
    monkeypatch.setattr(instruments.sys, "platform", platform)
    folder = {"linux": ".cache", "darwin": "Library/Caches", "win32": "local"}[platform]
    assert cache_folder().as_posix().endswith(f"{folder}/hiperceiver")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "programme", "task": "joint"}, "target: 'programme' is for the task classification, .* joint"),
        ({"target": "note"}, "target: expected one of family, programme, got 'note'"),
        ({"task": "segmentation"}, "task: the source 'instruments' has targets for .*; got 'segmentation'"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        open_instruments(**settings)
