"""`hip predict` for every kind of signal and every task."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from hiperceiver.data.encoders import AudioEncoder, BytesEncoder, SeriesEncoder
from hiperceiver.data.encoders.audio import write_wav
from hiperceiver.tasks import label_modalities

from .conftest import Hip, picture
from .saved_models import ENCODERS, save

MASKED: dict[str, Any] = {"kind": "masked-autoencoding", "mask_ratio": 0.5}


def series(steps: int) -> np.ndarray:
    return np.stack([np.sin(np.arange(steps) / 8), 100 + 10 * np.cos(np.arange(steps) / 20)], 1)


def write_clip(path: Path, *, has_sound: bool) -> None:
    """Two seconds of video, with or without a tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=4)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=8000, layout="mono") if has_sound else None
        for number in range(8):
            pixels = np.full((32, 32, 3), 25 * number, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode(None))
        if sound is not None:
            tone = np.sin(np.arange(16000) / 5, dtype=np.float32)[None] / 2
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate = 8000
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file of each kind and a few odd ones."""
    folder = tmp_path_factory.mktemp("files")
    picture("stripes", 0).save(folder / "image.png")
    write_clip(folder / "video.mp4", has_sound=True)
    write_clip(folder / "silent.mp4", has_sound=False)
    write_wav(folder / "audio.wav", np.sin(np.arange(2000) / 5) / 2, 8000)
    np.save(folder / "series.npy", series(80))
    np.savetxt(folder / "short.csv", series(20), delimiter=",", header="a,b", comments="")
    rng = np.random.default_rng(0)
    np.savetxt(folder / "points.xyz", rng.normal(size=(100, 3)))
    np.save(folder / "volume.npy", rng.normal(size=(6, 9, 9)))
    np.save(folder / "vector.npy", rng.normal(size=60))
    (folder / "bytes.txt").write_text("To be, or not to be: süß\n")
    return folder


def file_of(files: Path, kind: str) -> Path:
    return next(files.glob(f"{kind}.*"))


# --------------------------------------------------------------------------------------------------------- every signal


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_kind_is_reconstructed(kind: str, files: Path, tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", MASKED, kind)
    outcome = hip("predict", model, file_of(files, kind), "--json", "said.json")
    assert (outcome.code, outcome.err) == (0, "")
    (said,) = json.loads(Path("said.json").read_text())
    more = {"audio": ["predictions/audio.wav"], "bytes": ["predictions/bytes.txt"]}.get(kind, [])
    assert said["written"] == [f"predictions/{kind}.png", *more]
    assert 0.3 < said["hidden_share"] < 0.8
    for path in said["written"]:
        assert Path(path).stat().st_size > 0
    with Image.open(f"predictions/{kind}.png") as drawn:
        assert max(drawn.size) < 2500
    assert outcome.out.startswith(f"{file_of(files, kind)}: {', '.join(said['written'])}: reconstructed with ")


def test_the_sound_is_the_input_where_it_was_seen(files: Path, tmp_path: Path, hip: Hip) -> None:
    assert hip("predict", save(tmp_path / "model", MASKED, "audio"), files / "audio.wav").code == 0
    encoder = AudioEncoder(rate=8000, seconds=0.25)
    before, after = (encoder.read(path) for path in (files / "audio.wav", Path("predictions/audio.wav")))
    assert before.shape == after.shape
    assert 0.2 < (np.abs(before - after) < 1e-4).mean() < 0.8


def test_the_text_says_what_was_hidden(files: Path, tmp_path: Path, hip: Hip) -> None:
    assert hip("predict", save(tmp_path / "model", MASKED, "bytes"), files / "bytes.txt").code == 0
    text = Path("predictions/bytes.txt").read_text(encoding="utf-8")
    assert text.startswith("--- input ---\nTo be, or not to be: süß\n\n\n--- hidden bytes are blocks ---\n")
    assert "█" in text.partition("blocks")[2]
    assert "--- output ---" in text


def test_the_masks_do_not_depend_on_the_batch(files: Path, tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", MASKED, "audio")
    copy = tmp_path / "copy.wav"
    copy.write_bytes((files / "audio.wav").read_bytes())
    for size in (1, 2):
        assert hip("predict", model, files / "audio.wav", copy, "--batch-size", size, "--out", f"{size}").code == 0
    assert Path("1/copy.wav").read_bytes() == Path("2/copy.wav").read_bytes()
    assert Path("1/copy.wav").read_bytes() != Path("1/audio.wav").read_bytes()


# ----------------------------------------------------------------------------------------------------------- every task


def test_classes_and_sets_of_labels(files: Path, tmp_path: Path, hip: Hip) -> None:
    settings = {"num_classes": 3}
    for kind in ("classification", "multilabel"):
        model = save(tmp_path / kind, {"kind": kind, **settings}, "series", classes=("dog", "cat", "rain"))
        outcome = hip("predict", model, files / "series.npy", "--top", 2, "--json", f"{kind}.json")
        (said,) = json.loads(Path(f"{kind}.json").read_text())
        assert len(said["labels"]) == 2
        assert {each["name"] for each in said["labels"]} <= {"dog", "cat", "rain"}
        assert outcome.out.startswith(f"{files}/series.npy: {said['labels'][0]['name']} ")


def test_numbers_have_names_and_units(files: Path, tmp_path: Path, hip: Hip) -> None:
    settings = {"kind": "regression", "num_values": 2, "target_mean": (20.0, 1013.0)}
    named = save(tmp_path / "named", settings, "series", classes=("warmth", "pressure"))
    outcome = hip("predict", named, files / "series.npy", "--json", "said.json")
    (said,) = json.loads(Path("said.json").read_text())
    assert [each["name"] for each in said["values"]] == ["warmth", "pressure"]
    assert said["values"][1]["value"] == pytest.approx(1013, abs=20)
    assert f"pressure {said['values'][1]['value']:.5g}" in outcome.out
    unnamed = save(tmp_path / "unnamed", settings, "series")
    assert "value 0 " in hip("predict", unnamed, files / "series.npy").out


def test_joint_labels_are_told_each(files: Path, tmp_path: Path, hip: Hip) -> None:
    labels = {"pitch": 3, "loudness": 0, "colour": 2}
    settings = {"kind": "joint", "labels": labels, "class_names": {"pitch": ["low", "middle", "high"]}}
    model = save(tmp_path / "model", settings, "audio", labels=label_modalities(labels))
    outcome = hip("predict", model, files / "audio.wav", "--json", "said.json")
    said = json.loads(Path("said.json").read_text())[0]["joint"]
    assert {each["name"] for each in said["pitch"]} == {"low", "middle", "high"}
    assert {each["name"] for each in said["colour"]} == {"0", "1"}
    assert isinstance(said["loudness"], float)
    assert f"pitch {said['pitch'][0]['name']} " in outcome.out
    assert f"loudness {said['loudness']:.5g}" in outcome.out


def test_segments_are_as_large_as_their_picture(files: Path, tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", {"kind": "segmentation", "num_classes": 3}, "image", classes=("a", "b", "c"))
    assert hip("predict", model, files / "image.png", "--json", "said.json").code == 0
    (said,) = json.loads(Path("said.json").read_text())
    assert said["written"] == ["predictions/image.png"]
    assert sum(each["probability"] for each in said["shares"]) == pytest.approx(1.0, abs=1e-5)
    with Image.open("predictions/image.png") as segments, Image.open(files / "image.png") as picture:
        pixels = np.asarray(segments)
        assert segments.size == picture.size
    assert (pixels < 3).all()  # what fills the square around the picture is left out


@pytest.mark.parametrize("normalise", ["dataset", "example"])
def test_forecasts_go_on_behind_the_end_of_a_file(normalise: str, files: Path, tmp_path: Path, hip: Hip) -> None:
    encoder = (
        ENCODERS["series"] if normalise == "dataset" else SeriesEncoder(length=64, channels=2, normalise="example")
    )
    model = save(tmp_path / "model", {"kind": "forecasting", "horizon": 16}, encoders={"series": encoder})
    np.save("tail.npy", series(80)[-48:])
    outcome = hip("predict", model, files / "series.npy", "tail.npy", files / "short.csv", "--json", "said.json")
    assert (outcome.code, outcome.err) == (0, "")
    assert "predictions/short.csv, predictions/short.png: 16 steps forecast from 20 before" in outcome.out
    said = json.loads(Path("said.json").read_text())
    assert [each["seen_steps"] for each in said] == [48, 48, 20]
    read = SeriesEncoder(length=16, channels=2).read
    whole, tail, short = (read(Path(each["written"][0])) for each in said)
    assert whole.shape == short.shape == (16, 2)
    np.testing.assert_array_equal(whole, tail)  # of a longer file only the end is seen
    assert np.abs(whole[:, 1] - 100).max() < 60  # in the file's units
    assert np.abs(whole - short).max() > 1e-3


def test_columns_of_forecasts_are_named_and_found_by_name(files: Path, tmp_path: Path, hip: Hip) -> None:
    encoder = SeriesEncoder(length=64, channels=2, channel_names=("b, in kW", "a"), mean=(100.0, 0.0), std=(10.0, 1.0))
    model = save(tmp_path / "model", {"kind": "forecasting", "horizon": 16}, encoders={"series": encoder})
    for name, order in (("own.csv", (1, 0)), ("turned.csv", (0, 1))):
        header = ",".join(("a", '"b, in kW"')[column] for column in order)
        np.savetxt(name, series(40)[:, order], delimiter=",", header=header, comments="")
    assert hip("predict", model, "own.csv", "turned.csv").code == 0
    own, turned = (Path("predictions", name).read_text() for name in ("own.csv", "turned.csv"))
    assert own == turned
    assert own.splitlines()[0] == '"b, in kW",a'
    assert np.abs(np.loadtxt("predictions/own.csv", delimiter=",", skiprows=1)[:, 0] - 100).max() < 60


def test_forecasts_of_sound_are_samples_and_of_video_pictures(files: Path, tmp_path: Path, hip: Hip) -> None:
    sound = save(tmp_path / "sound", {"kind": "forecasting", "horizon": 100}, "audio")
    outcome = hip("predict", sound, files / "audio.wav")
    assert "400 steps forecast from 1600 before, 8000 a second" in outcome.out
    assert len(Path("predictions/audio.csv").read_text().splitlines()) == 401
    video = save(tmp_path / "video", {"kind": "forecasting", "horizon": 1}, "video")
    outcome = hip("predict", video, files / "video.mp4")
    assert outcome.out == f"{files}/video.mp4: predictions/video.png: 1 step forecast\n"


# -------------------------------------------------------------------------------------------------- several modalities


def test_each_modality_is_read_from_the_one_file(files: Path, tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", {"kind": "classification", "num_classes": 2}, "audio", "video")
    names = ("video.mp4", "silent.mp4", "audio.wav", "bytes.txt")
    outcome = hip("predict", model, *(files / name for name in names), "--json", "said.json")
    assert outcome.code == 1
    both, silent, sound, neither = json.loads(Path("said.json").read_text())
    assert [each.get("absent") for each in (both, silent, sound)] == [None, ["audio"], ["video"]]
    assert outcome.out.splitlines()[1].endswith("(without audio)")
    assert neither["error"].startswith(f"{files}/bytes.txt: as audio: ")
    assert "; as video: " in neither["error"]
    assert outcome.err.splitlines()[-1] == "hip: 1 of 4 files could not be read"


def test_each_modality_has_its_picture(files: Path, tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", MASKED, "audio", "video")
    assert hip("predict", model, files / "video.mp4", files / "silent.mp4", "--json", "said.json").code == 0
    both, silent = json.loads(Path("said.json").read_text())
    names = ["video-audio.png", "video-audio.wav", "video-video.png"]
    assert both["written"] == [f"predictions/{name}" for name in names]
    assert silent["written"] == ["predictions/silent-video.png"]
    assert sorted(path.name for path in Path("predictions").iterdir()) == ["silent-video.png", *names]


# --------------------------------------------------------------------------------------------------- files and mistakes


def test_clips_may_be_folders_of_pictures(tmp_path: Path, hip: Hip) -> None:
    for word, step in (("rise", 20), ("fall", -20)):
        for clip in range(6):
            for number in range(6):
                file = tmp_path / "data" / word / f"take{clip}" / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (16, 16), (128 + step * (number - 3) + clip,) * 3).save(file)
    run, data = tmp_path / "run", tmp_path / "data"
    small = ("--encoders.video.size", 8, "--encoders.video.frames", 4, "--batch-size", 4, "--steps", 2)
    made = hip("finetune", "--data", data, "--data-settings.kind", "video", "--model", "hip-nano", *small, "--out", run)
    assert made.code == 0 and "clips are folders of pictures" in made.err, made.err
    whole = hip("predict", run, data, "--json", tmp_path / "all.json")
    found = [each["file"] for each in json.loads((tmp_path / "all.json").read_text())]
    assert sorted(found) == sorted(str(path) for path in data.glob("*/*")) and whole.code == 0
    alone = hip("predict", run, data / "rise" / "take0")
    assert alone.out.startswith(f"{data / 'rise' / 'take0'}: ") and alone.out in whole.out
    evaluated = hip("evaluate", run)
    assert evaluated.code == 0, evaluated.err


def test_folders_are_searched_for_what_the_model_takes(files: Path, tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", {"kind": "regression", "num_values": 1}, "points")
    Path("in/deep").mkdir(parents=True)
    for name in ("b.xyz", "deep/a.XYZ", ".hidden.xyz", "c.png"):
        (Path("in") / name).write_bytes((files / "points.xyz").read_bytes())
    outcome = hip("predict", model, "in")
    assert [line.partition(": ")[0] for line in outcome.out.splitlines()] == ["in/b.xyz", "in/deep/a.XYZ"]
    assert outcome.code == 0
    Path("empty").mkdir()
    outcome = hip("predict", model, "empty")
    assert outcome.code == 2
    assert outcome.err.startswith("hip: empty: this folder holds no files of points (off, ply, obj")
    assert outcome.err.count("\n") == 1


def test_predictions_do_not_become_data(files: Path, tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", MASKED, "image")
    Path("in/deep").mkdir(parents=True)
    (Path("in") / "a.png").write_bytes((files / "image.png").read_bytes())
    for out in ("in", "in/out", "in/deep/out", "other/../in/out"):
        outcome = hip("predict", model, "in", "--out", out)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)
        assert outcome.err.startswith(f"hip: --out: {out} lies in in, where pictures would be taken for data")
    assert hip("predict", model, "in", "--out", "in-beside").code == 0
    texts = save(tmp_path / "texts", MASKED, "bytes")
    (Path("in") / "a.txt").write_bytes(b"a text")
    outcome = hip("predict", texts, "in", "--out", "texts-beside", "--json", "in/said.json")
    said = "hip: --json: in/said.json lies in in, where it would be taken for data; name another folder\n"
    assert (outcome.code, outcome.err) == (2, said)
    assert hip("predict", model, "in", "--out", "again", "--json", "in/said.json").code == 0  # a picture is none


def test_exports_do_not_become_data(finetuned: Path, pictures: Path, hip: Hip) -> None:
    outcome = hip("export", finetuned, "--out", pictures / "exported", "--format", "torch-export")
    assert outcome.code == 2
    assert outcome.err.endswith("where its files would be taken for data; name another folder\n")
    assert not (pictures / "exported").exists()


def test_a_text_file_is_read_not_its_name(tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", MASKED, encoders={"bytes": BytesEncoder(length=64)})
    Path("a.txt").write_text("what is inside")
    assert hip("predict", model, "a.txt").code == 0
    assert "what is inside" in Path("predictions/a.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ENCODERS)
def test_bad_files_of_every_kind_are_named_in_one_line(kind: str, files: Path, tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", {"kind": "regression", "num_values": 1}, kind)
    good = file_of(files, kind)
    empty = Path(f"empty{good.suffix}")
    empty.touch()
    outcome = hip("predict", model, empty, good, f"nowhere{good.suffix}")
    assert outcome.code == 1
    assert outcome.out.count("\n") == 1
    first, second, last = outcome.err.splitlines()
    assert first.startswith(f"hip: {empty}: ")
    assert second.startswith(f"hip: nowhere{good.suffix}: ")
    assert last == "hip: 2 of 3 files could not be read"


def test_faults_that_show_late_name_the_file_too(tmp_path: Path, hip: Hip) -> None:
    """A number that normalisation makes too large, and a sound that is shorter than a token."""
    encoder = SeriesEncoder(length=8, std=(1e-30,))
    model = save(tmp_path / "model", {"kind": "regression", "num_values": 1}, encoders={"series": encoder})
    np.save("large.npy", np.full(8, 1e30))
    assert hip("predict", model, "large.npy").err.startswith("hip: large.npy: holds 1e+30, which is 1e+60 standard ")
    write_wav("short.wav", np.array([0.5, -0.5, 0.25]), 8000)
    model = save(tmp_path / "forecaster", {"kind": "forecasting", "horizon": 100}, "audio")
    outcome = hip("predict", model, "short.wav")
    assert outcome.err.startswith("hip: short.wav: is too short: expected at least 4 samples, got 3\n")


def test_nothing_is_written_over(files: Path, tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", {"kind": "forecasting", "horizon": 16}, "series")
    Path("predictions").mkdir()
    Path("predictions/series.csv").write_text("mine")
    outcome = hip("predict", model, files / "series.npy")
    assert outcome == (2, "", "hip: --out: predictions/series.csv exists already; name another folder\n")
    assert Path("predictions/series.csv").read_text() == "mine"
    outcome = hip("predict", save(tmp_path / "r", {"kind": "regression", "num_values": 1}, "series"), "x", "--out", "y")
    assert outcome.code == 2
    assert outcome.err.endswith("only says what it finds, it makes no pictures\n")


def test_labels_need_no_matplotlib() -> None:
    code = "import sys, hiperceiver.cli.predict; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
