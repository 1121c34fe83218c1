"""AudioSet: lists of segments, classes, and media under the names that downloaders give."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from closeness import assert_equal, assert_within

from hiperceiver.data.encoders.audio import AudioEncoder
from hiperceiver.data.encoders.video import VideoEncoder
from hiperceiver.data.sources.audioset import window_start

from ..media import clip, sine, write_media
from ..pictures import write
from .reading import bad, counts, examples, layout

open_audioset, matches = layout("audioset")

SPEECH, MUSIC, DOG = "/m/09x0r", "/m/04rlf", "/m/0bt9lr"
NAMES = {SPEECH: "Speech", MUSIC: "Music", DOG: 'Dog, "barking"'}
SMALL: dict[str, Any] = {"audio": {"rate": 8000, "samples_per_token": 8}, "video": {"size": [8, 8], "frames": 2}}
SOUND = {"audio": SMALL["audio"]}
START = 30


def ids(split: str, count: int) -> list[str]:
    """Ids of 11 characters, which may begin with a minus or a Y and hold underscores."""
    return [f"{'-Y_'[number % 3]}{split[:3]}_{number:06}" for number in range(count)]


def write_list(path: Path, names: list[str], labels: list[list[str]] | None = None) -> None:
    lines = [
        "# Segments csv created Sun Mar  5 10:54:31 2017",
        f"# num_ytids={len(names)}, num_segs={len(names)}, num_unique_labels=3, num_positive_labels={len(names)}",
        "# YTID, start_seconds, end_seconds, positive_labels",
    ]
    labels = labels or [[SPEECH, DOG] if number % 2 else [MUSIC] for number in range(len(names))]
    for name, mids in zip(names, labels, strict=True):
        lines.append(f'{name}, {START}.000, {START + 10}.000, "{",".join(mids)}"')
    write(path, "\n".join([*lines, ""]).encode())


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of ten seconds: both streams, each alone, and sound alone as it is stored without video.

    The sound becomes louder with time, the picture brighter.
    """
    folder = tmp_path_factory.mktemp("media")
    louder = sine(10, 8000) * np.linspace(0.1, 1, 80000, dtype=np.float32)[:, None]
    brighter = np.broadcast_to(np.arange(0, 200, 2, dtype=np.uint8)[:, None, None, None], (100, 32, 32, 3)).copy()
    files = {
        "both.mp4": {"video": brighter, "audio": louder, "rate": 8000},
        "video.mp4": {"video": brighter},
        "audio.mp4": {"audio": louder, "rate": 8000},
        "audio.wav": {"audio": louder, "rate": 8000, "codecs": ("", "pcm_s16le")},
        "short.mp4": {"video": clip(10), "audio": sine(1, 8000), "rate": 8000},
    }
    found = {}
    for name, streams in files.items():
        path = write_media(folder / name, **streams)
        assert isinstance(path, Path)
        found[name] = path.read_bytes()
    return found


def audioset(root: Path, content: bytes, form: str = "{id}.mp4", *, has_eval: bool = True) -> Path:
    """8 balanced and 4 unbalanced training segments, and 3 for evaluation."""
    parts = {"balanced_train": 8, "unbalanced_train": 4, **({"eval": 3} if has_eval else {})}
    for split, count in parts.items():
        names = ids(split, count)
        write_list(root / f"{split}_segments.csv", names)
        for name in names:
            write(root / form.format(id=name, split=split), content)
    rows = [
        f'{index},{mid},"{label.replace(chr(34), chr(34) * 2)}"' for index, (mid, label) in enumerate(NAMES.items())
    ]
    write(root / "class_labels_indices.csv", "\n".join(["index,mid,display_name", *rows]).encode())
    return root


@pytest.mark.parametrize(
    "form",
    [
        "{id}.mp4",
        "{split}/{id}_30.mp4",
        "media/{split}/{id}_30_40.mkv",
        "{split}/{id}_30000_40000.mp4",
        "{split}/{id}_000030.mp4",
        "{split}/{id}_30.000_40.000.mp4",
        "clips/Y{id}.mp4",
        "clips/{id}_30-40.webm",
    ],
)
def test_names_of_files(tmp_path: Path, media: dict[str, bytes], form: str) -> None:
    audioset(tmp_path, media["both.mp4"], form)
    assert matches(tmp_path)
    source = open_audioset(tmp_path, task="multilabel", encoder_settings=SMALL)
    assert source.warnings == ()
    assert source.classes == tuple(NAMES.values())
    assert counts(source) == {"train": 11, "validation": 1, "test": 3}
    found = examples(source, "test")
    assert [example.name for example in found] == [form.format(id=name, split="eval") for name in ids("eval", 3)]
    assert [example.targets["labels"].tolist() for example in found] == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_lists_one_folder_deeper(tmp_path: Path, media: dict[str, bytes]) -> None:
    audioset(tmp_path, media["both.mp4"], "clips/{id}.mp4")
    (tmp_path / "metadata").mkdir()
    for path in tmp_path.glob("*.csv"):
        path.rename(tmp_path / "metadata" / path.name)
    assert matches(tmp_path)
    assert open_audioset(tmp_path, task="multilabel", encoder_settings=SMALL).classes == tuple(NAMES.values())


def test_a_file_of_another_segment_of_the_video_is_not_taken(tmp_path: Path, media: dict[str, bytes]) -> None:
    audioset(tmp_path, media["both.mp4"], "{id}_30.mp4")
    name = ids("eval", 1)[0]
    (tmp_path / f"{name}_30.mp4").rename(tmp_path / f"{name}_90.mp4")
    source = open_audioset(tmp_path, encoder_settings=SMALL)
    assert source.warnings == ("1 of 3 segments of eval_segments.csv have no file",)
    assert counts(source)["test"] == 2


@pytest.mark.parametrize(("choice", "count"), [("all", 12), ("balanced", 8), ("unbalanced", 4)])
def test_training_lists(tmp_path: Path, media: dict[str, bytes], choice: Any, count: int) -> None:
    audioset(tmp_path, media["both.mp4"])
    found = counts(open_audioset(tmp_path, train_segments=choice, encoder_settings=SMALL))
    assert found["train"] + found["validation"] == count


def test_without_an_evaluation_list(tmp_path: Path, media: dict[str, bytes]) -> None:
    audioset(tmp_path, media["both.mp4"], has_eval=False)
    assert counts(open_audioset(tmp_path, encoder_settings=SMALL)) == {"train": 9, "validation": 1, "test": 2}


def test_a_single_training_clip(tmp_path: Path, media: dict[str, bytes]) -> None:
    audioset(tmp_path, media["both.mp4"])
    write_list(tmp_path / "balanced_train_segments.csv", ids("balanced_train", 1), [[SPEECH, MUSIC, DOG]])
    source = open_audioset(tmp_path, task="multilabel", train_segments="balanced", encoder_settings=SMALL)
    assert counts(source) == {"train": 1, "test": 3}
    assert source.warnings == ("there is no split for validation",)
    assert examples(source, "train")[0].targets["labels"].tolist() == [1, 1, 1]


def test_the_defaults_are_the_papers(tmp_path: Path, media: dict[str, bytes]) -> None:
    told = {"video": {"mean": [0.5] * 3, "std": [0.5] * 3}, "audio": {"mean": [0], "std": [1]}}
    source = open_audioset(audioset(tmp_path, media["both.mp4"]), encoder_settings=told)
    assert source.encoders == {
        "audio": AudioEncoder(rate=48000, seconds=2.56),
        "video": VideoEncoder(size=(224, 224), frames=8),
    }
    shapes = {name: tuple(tokens.shape) for name, tokens in examples(source, "test")[0].inputs.items()}
    assert shapes == {"audio": (122880, 1), "video": (8 * 224 * 224, 3)}


def test_windows(tmp_path: Path, media: dict[str, bytes]) -> None:
    """The middle by default; several are spread evenly, and those of a clip are in one split."""
    audioset(tmp_path, media["both.mp4"])
    untouched = {"audio": {"mean": [0], "std": [1]}, "video": {"mean": [0] * 3, "std": [1] * 3}}
    settings = {name: {**SMALL[name], **untouched[name]} for name in SMALL}

    def seen(**options: Any) -> tuple[list[str], np.ndarray, np.ndarray]:
        found = examples(open_audioset(tmp_path, encoder_settings=settings, **options), "test")
        loudness = [example.inputs["audio"].abs().max().item() for example in found]
        brightness = [255 * example.inputs["video"].mean().item() for example in found]
        return [example.name for example in found], np.array(loudness), np.array(brightness)

    names, loudness, brightness = seen()
    assert len(names) == 3
    # A frame is 2 brighter than the one before, and H.264 and its range of 16 to 235 lose 1 or 2 more.
    assert_within(brightness, 100, 6)  # the middle of 0 to 200
    assert_within(loudness, 0.5 * (0.1 + 0.9 * 0.628), 0.03)  # but for AAC, and the peak that lies between two samples

    names, loudness, brightness = seen(windows_per_clip=3)
    assert names[:3] == [f"{ids('eval', 1)[0]}.mp4 from {start} s" for start in ("0.39", "3.72", "7.05")]
    assert_within(brightness, [33, 100, 167] * 3, 6)
    assert (np.diff(loudness[:3]) > 0.1).all()

    names, loudness, brightness = seen(windows_per_clip=2, window=1.0)
    assert_within(brightness, [50, 150] * 3, 6)

    source = open_audioset(tmp_path, windows_per_clip=3, encoder_settings=SMALL)
    assert counts(source) == {"train": 33, "validation": 3, "test": 9}
    clips = {split: {example.name.split(" from ")[0] for example in examples(source, split)} for split in source.splits}
    assert [len(part) for part in clips.values()] == [11, 1, 3]
    assert clips["train"].isdisjoint(clips["validation"])
    assert window_start(0, 1, length=1.0, window=2.56) == 0


def test_whole_videos(tmp_path: Path, media: dict[str, bytes]) -> None:
    audioset(tmp_path, media["both.mp4"])
    for path in tmp_path.glob("*_segments.csv"):
        path.write_text(path.read_text().replace(" 30.000, 40.000", " 6.000, 10.000"))
    settings = {"video": {**SMALL["video"], "mean": [0] * 3, "std": [1] * 3}}
    found = {}
    for is_trimmed in (True, False):
        source = open_audioset(tmp_path, is_trimmed=is_trimmed, modalities=("video",), encoder_settings=settings)
        found[is_trimmed] = 255 * examples(source, "test")[0].inputs["video"].mean().item()
    assert found[True] == pytest.approx(40, abs=6)
    assert found[False] == pytest.approx(160, abs=6)


@pytest.mark.parametrize("lacking", ["video.mp4", "audio.mp4", "audio.wav"])
def test_a_stream_that_is_not_there(tmp_path: Path, media: dict[str, bytes], lacking: str) -> None:
    """Governed by the option `missing`; whether the file lacks it, or there is only one of sound."""
    audioset(tmp_path, media["both.mp4"])
    name = ids("eval", 1)[0]
    (tmp_path / f"{name}.mp4").unlink()
    write(tmp_path / f"{name}{Path(lacking).suffix}", media[lacking])
    absent = "audio" if lacking == "video.mp4" else "video"
    assert bad(open_audioset(tmp_path, encoder_settings=SMALL), "test") == [
        f"{name}{Path(lacking).suffix}: has no {absent}"
    ]
    first, second, _ = examples(open_audioset(tmp_path, missing="absent", encoder_settings=SMALL), "test")
    assert first.is_padding[absent].all()
    assert (first.inputs[absent] == 0).all()
    assert not first.is_padding.get(
        {"audio": "video", "video": "audio"}[absent], torch.zeros(1, dtype=torch.bool)
    ).any()
    assert absent not in second.is_padding or not second.is_padding[absent].all()


def test_sound_in_files_of_its_own(tmp_path: Path, media: dict[str, bytes]) -> None:
    audioset(tmp_path, media["audio.wav"], "wav/{split}/Y{id}.wav")
    source = open_audioset(tmp_path, encoder_settings=SOUND)
    assert list(source.encoders) == ["audio"]
    assert len(examples(source, "test")) == 3
    assert list(open_audioset(tmp_path, modalities=("audio",), encoder_settings=SOUND).encoders) == ["audio"]
    with pytest.raises(ValueError, match="^modalities: the source '.*' has audio; got 'video'$"):
        open_audioset(tmp_path, modalities=("video",))
    # Video beside it, and without sound of its own: each from its file.
    audioset(tmp_path, media["video.mp4"], "video/{split}/{id}.mp4")
    source = open_audioset(tmp_path, encoder_settings=SMALL)
    assert list(source.encoders) == ["audio", "video"]
    assert len(examples(source, "test")) == 3


def test_names_of_classes(tmp_path: Path, media: dict[str, bytes]) -> None:
    audioset(tmp_path, media["both.mp4"])
    (tmp_path / "class_labels_indices.csv").unlink()
    source = open_audioset(tmp_path, task="multilabel", encoder_settings=SMALL)
    assert source.classes == tuple(sorted(NAMES))
    ontology = [{"id": mid, "name": label, "child_ids": []} for mid, label in {"/m/unused": "Unused", **NAMES}.items()]
    (tmp_path / "ontology.json").write_text(json.dumps(ontology))
    source = open_audioset(tmp_path, task="multilabel", encoder_settings=SMALL)
    assert source.classes == tuple(NAMES.values())
    for content, reason in (
        ("", "is empty"),
        ("[{", "cannot be decoded: Expecting"),
        ("{}", None),  # names none
        ('[{"id": 1}]', "cannot"),
    ):
        (tmp_path / "ontology.json").write_text(content)
        expected = rf"^{tmp_path}: expected labels of 0 classes" if reason is None else rf"/ontology\.json: {reason}"
        with pytest.raises(ValueError, match=expected):
            open_audioset(tmp_path, task="multilabel", encoder_settings=SMALL)


def test_labels_that_are_no_class_are_left_out(tmp_path: Path, media: dict[str, bytes]) -> None:
    audioset(tmp_path, media["both.mp4"])
    write_list(tmp_path / "eval_segments.csv", ids("eval", 3), [[SPEECH, "/m/strange"], ["/m/strange"], []])
    source = open_audioset(tmp_path, task="multilabel", encoder_settings=SMALL)
    assert source.warnings == ("labels that the list of classes has not are left out: /m/strange",)
    assert [example.targets["labels"].tolist() for example in examples(source, "test")] == [
        [1, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
    ]


def test_damaged_media_are_bad_examples(tmp_path: Path, media: dict[str, bytes]) -> None:
    audioset(tmp_path, media["both.mp4"])
    contents = (b"", media["both.mp4"][:900], media["short.mp4"])
    names = ids("eval", 3)
    for name, content in zip(names, contents, strict=True):
        write(tmp_path / f"{name}.mp4", content)
    lines = bad(open_audioset(tmp_path, encoder_settings=SMALL), "test")
    assert [line.split(": ")[0] for line in lines] == [f"{name}.mp4" for name in names]
    assert "start: expected a time before the end" in lines[2]
    silent = write_media(tmp_path / f"{names[0]}.mp4", audio=np.zeros((80000, 1), dtype=np.float32), rate=8000)
    assert silent
    source = open_audioset(tmp_path, modalities=("audio",), encoder_settings=SOUND)
    assert "silent" in bad(source, "test")[0]


def test_records_are_small_when_they_are_sent(tmp_path: Path, media: dict[str, bytes]) -> None:
    source = open_audioset(audioset(tmp_path, media["both.mp4"]), encoder_settings=SMALL)
    again = pickle.loads(pickle.dumps(source.splits["test"]))  # noqa: S301 - our own
    assert_equal(again[0].inputs, examples(source, "test")[0].inputs)


def test_bad_layouts_are_one_line(tmp_path: Path, media: dict[str, bytes]) -> None:
    def refused(pattern: str, folder: Path = tmp_path, **options: Any) -> None:
        with pytest.raises(ValueError, match=pattern) as caught:
            open_audioset(folder, encoder_settings=SMALL, **options)
        assert "\n" not in str(caught.value)

    refused(rf"^{tmp_path}/gone: no such folder$", tmp_path / "gone")
    refused(rf"^{tmp_path}: expected balanced_train_segments\.csv or unbalanced_train_segments\.csv, found none$")
    assert not matches(tmp_path)
    path = tmp_path / "balanced_train_segments.csv"
    write_list(path, ids("balanced_train", 8))
    refused(rf"^{tmp_path}: expected media files such as YTID\.mp4, found none of the training segments$")
    for content, reason in (
        ("", r"is empty \(0 bytes\)"),
        ("# YTID, start_seconds\n", "has no segment"),
        ("# YTID\nx, 1.0, 2.0", "expected YTID, start_seconds, end_seconds, \"labels\", got 'x, 1.0, 2.0'"),
        ("x, 1.0, two, /m/1", "expected YTID, .* got 'x, 1.0, two, /m/1'"),
        ("x, 2.0, 1.0, /m/1", r"x: expected a start before an end, got 2\.0 and 1\.0"),
        ("x, nan, 1.0, /m/1", "x: expected a start before an end"),
        ("x, 1.0, inf, /m/1", "x: expected a start before an end"),
    ):
        path.write_text(content)
        refused(rf"^{path}: {reason}")
    path.write_bytes(b"\xff\xfe\x00")
    refused(rf"^{path}: expected text in UTF-8, got the byte 0x00 at 2; save it as UTF-8$")

    audioset(tmp_path, media["both.mp4"])
    for content, reason in (
        ("index,mid\n0,/m/1", "expected the columns mid, display_name, got index, mid; no 'display_name'"),
        ("index,mid,display_name\n", "has no row"),
        ("index,mid,display_name\n0,/m/1\n", "line 2: expected 3 cells, got 2"),
    ):
        (tmp_path / "class_labels_indices.csv").write_text(content)
        refused(rf"class_labels_indices\.csv: {reason}")
    audioset(tmp_path, media["both.mp4"])
    refused("^train_segments: expected one of all, balanced, unbalanced, got 'some'", train_segments="some")
    refused("^window: expected a number above 0, got 0", window=0)
    refused("^window: expected a number above 0, got nan", window=float("nan"))
    refused("^windows_per_clip: expected a whole number >= 1, got 0", windows_per_clip=0)
    refused("^task: the source 'audioset' has targets for multilabel; got 'classification'", task="classification")
    for name in ("eval", "balanced_train"):
        (tmp_path / f"{name}_segments.csv").unlink()
    refused("expected balanced_train_segments.csv, found none$", train_segments="balanced")
