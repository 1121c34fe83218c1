"""Every kind of signal from raw files to results, through the commands alone."""

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import yaml
from closeness import assert_close, terms_of
from torch import equal

from hiperceiver.data.streamed import StreamedExamples
from hiperceiver.model import VARIANTS, read_model
from hiperceiver.tasks import load_task

from ..data.media import clip, sine, write_media
from ..data.pictures import jpeg, write
from ..data.signals import npy, off, tar, wav
from .conftest import Hip, Outcome

SHORT = ("--steps", 2, "--batch-size", 4, "--validate-every", 2)


def done(outcome: Outcome) -> Outcome:
    """A command that succeeded and said nothing odd."""
    assert (outcome.code, "Traceback" in outcome.err) == (0, False), outcome.err
    return outcome


def trained(hip: Hip, data: Path, *options: object, task: tuple[object, ...] = ()) -> dict[str, Any]:
    """Pretrain, fine-tune from it into the folder `run`, and give what `hip evaluate` writes."""
    done(hip("pretrain", "--data", data, "--model", "hip-nano", *SHORT, *options, "--out", "pretrained"))
    outcome = done(hip("finetune", "--data", data, "--from", "pretrained", *SHORT, *options, *task, "--out", "run"))
    assert ", 0 resized" in outcome.out
    done(hip("evaluate", "run", "--json", "metrics.json"))
    return json.loads(Path("metrics.json").read_text())


def predicted(hip: Hip, *files: Path, name: str = "said.json") -> list[dict[str, Any]]:
    done(hip("predict", "run", *files, "--json", name))
    return json.loads(Path(name).read_text())


def evaluated(hip: Hip, data: Path, *options: object) -> dict[str, Any]:
    """What the run reaches on all of some data."""
    Path("evaluated.json").unlink(missing_ok=True)
    done(hip("evaluate", "run", "--data", data, "--split", "all", *options, "--json", "evaluated.json"))
    return json.loads(Path("evaluated.json").read_text())["metrics"]


def by_class(root: Path, ending: str, contents: list[bytes]) -> Path:
    """Files of the classes `one` and `two`, in turn."""
    for number, content in enumerate(contents):
        write(root / ("one", "two")[number % 2] / f"{number}.{ending}", content)
    return root


def listed(root: Path, ending: str, contents: list[bytes], **columns: list[object]) -> Path:
    """Files beside a list of their labels."""
    rows: list[list[object]] = [["file", *columns]]
    for number, content in enumerate(contents):
        write(root / f"{number}.{ending}", content)
        rows.append([f"{number}.{ending}", *(values[number] for values in columns.values())])
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


def series(count: int = 16, length: int = 32) -> list[bytes]:
    """Two channels: a slow wave, and the same in other units."""
    waves = [np.sin(np.arange(length) / (3 + number % 2) + number) for number in range(count)]
    return [npy(np.stack([wave, 100 + 7 * wave], axis=1)) for wave in waves]


# --------------------------------------------------------------------------------------------------------------- sounds


def test_sounds_by_class(tmp_path: Path, hip: Hip) -> None:
    sounds = by_class(tmp_path / "sounds", "wav", [wav(200 + 300 * (n % 2) + n) for n in range(16)])
    write(sounds / "one" / "silent.wav", wav(0.0))
    measured = trained(hip, sounds, "--encoders.audio.rate", 4000, "--augment.gain", "true", "--max-bad-share", 0.5)
    assert measured["task"] == "classification"
    assert 0 <= measured["metrics"]["accuracy"] <= 1
    encoder = read_model("run/model").encoders["audio"]
    assert (encoder["rate"], encoder["seconds"]) == (4000, 0.1)
    # A sound of another rate, in a folder, beside one that is none.
    files = [write(tmp_path / "new" / "a.wav", wav(480.0, rate=8000)), write(tmp_path / "new" / "b.wav", b"RIFF")]
    outcome = hip("predict", "run", tmp_path / "new", "--json", "said.json")
    assert (outcome.code, outcome.err.splitlines()[-1]) == (1, "hip: 1 of 2 files could not be read")
    good, bad = json.loads(Path("said.json").read_text())
    assert [good["file"], bad["file"]] == [str(path) for path in files]
    assert sum(each["probability"] for each in good["labels"]) == pytest.approx(1, abs=1e-5)
    assert "\n" not in bad["error"]
    done(hip("plot", "run", "--num-examples", 1))
    done(hip("plot", "pretrained", "--num-examples", 1))
    assert {"curves.png", "reconstructions-audio.png"} <= {path.name for path in Path("pretrained/pictures").iterdir()}


# --------------------------------------------------------------------------------------------------- sound and pictures


def test_sound_and_pictures_of_clips(tmp_path: Path, hip: Hip) -> None:
    films = tmp_path / "films"
    for number in range(12):
        path = films / ("one", "two")[number % 2] / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_media(path, video=clip(6) + np.uint8(number), audio=sine(0.6, 8000, hertz=200 + 300 * (number % 2)))
    options = (
        *("--data-settings.kind", "audio+video", "--encoders.video.size", 8, "--encoders.video.frames", 4),
        *("--encoders.audio.rate", 4000, "--augment.modality-dropout.probability", 0.5),
    )
    measured = trained(hip, films, *options)
    done(hip("evaluate", "run", "--each-modality", "--json", "each.json"))
    each = json.loads(Path("each.json").read_text())
    terms = terms_of(load_task("run/model").model)
    assert_close(each["metrics"], measured["metrics"], terms=terms, dtype=torch.float32)
    assert list(each["alone"]) == ["audio", "video"]
    for name in ("audio", "video"):
        done(hip("evaluate", "run", "--modalities", name, "--json", f"{name}.json"))
        alone = json.loads(Path(f"{name}.json").read_text())
        assert_close(alone["metrics"], each["alone"][name], terms=terms, dtype=torch.float32)
    assert len({values["loss"] for values in (each["metrics"], *each["alone"].values())}) == 3
    # A file with one of them alone is taken too.
    silent = write_media(tmp_path / "silent.mp4", video=clip(6))
    heard = write(tmp_path / "heard.wav", wav(480.0))
    assert isinstance(silent, Path)
    assert [said["absent"] for said in predicted(hip, silent, heard)] == [["audio"], ["video"]]


def test_clips_beside_sounds_alone(tmp_path: Path, hip: Hip) -> None:
    """Examples that lack a modality are bad, or are used without it."""
    both = tmp_path / "both"
    for number in range(12):
        write(both / ("one", "two")[number % 2] / f"{number}.wav", wav(200 + 20 * number))
        if number % 3:
            write(both / ("one", "two")[number % 2] / f"{number}.png", jpeg((20 * number, 90, 90)))
    options = ("--data", both, "--model", "hip-nano", *SHORT, "--data-settings.kind", "image+audio")
    small = ("--size", 8, "--encoders.audio.rate", 4000)
    outcome = hip("finetune", *options, *small, "--strict", "--out", "strict")
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1].startswith("hip: ")
    assert "has no image" in outcome.err.splitlines()[-1]
    done(hip("finetune", *options, *small, "--missing", "absent", "--out", "run"))
    outcome = done(hip("evaluate", "run", "--split", "all", "--each-modality", "--json", "metrics.json"))
    measured = json.loads(Path("metrics.json").read_text())
    assert measured["metrics"]["num_examples"] == 12
    assert {name: each["num_examples"] for name, each in measured["alone"].items()} == {"image": 8, "audio": 12}
    assert "image alone, 8 of 12 have it" in outcome.out and "audio alone," not in outcome.out


# --------------------------------------------------------------------------------------------------------------- points


def test_meshes_and_clouds_in_any_order(tmp_path: Path, hip: Hip) -> None:
    rng = np.random.default_rng(0)
    shapes = [rng.normal(size=(20, 3)) * (1, 1, 1 + 4 * (n % 2)) for n in range(14)]
    meshes = by_class(tmp_path / "meshes", "off", [off(points) for points in shapes])
    measured = trained(hip, meshes, "--encoders.points.num-points", 64, "--augment.rotate", "true")
    assert measured["metrics"]["num_examples"] == 3  # of 14, by the hash of their names
    cloud = rng.normal(size=(64, 3))
    for name, points in {"cloud": cloud, "shuffled": rng.permutation(cloud)}.items():
        (tmp_path / name).mkdir()
        np.savetxt(tmp_path / name / "cloud.xyz", points, fmt="%.9f")
    (first,) = predicted(hip, tmp_path / "cloud" / "cloud.xyz", name="first.json")
    (second,) = predicted(hip, tmp_path / "shuffled" / "cloud.xyz", name="second.json")
    assert first["labels"] == second["labels"]
    (other,) = predicted(hip, meshes / "one" / "0.off", name="other.json")
    assert other["labels"] != first["labels"]


# --------------------------------------------------------------------------------------------------------------- series


def test_series_by_class(tmp_path: Path, hip: Hip) -> None:
    measured = trained(hip, by_class(tmp_path / "series", "npy", series()), "--augment.noise.snr", 20)
    assert measured["task"] == "classification"
    assert read_model("run/model").encoders["series"]["mean"][1] == pytest.approx(100, abs=3)


def test_series_forecast(tmp_path: Path, hip: Hip) -> None:
    folder = tmp_path / "series"
    for number, content in enumerate(series()):
        write(folder / f"{number}.npy", content)
    task = ("--task", "forecasting", "--task-settings.horizon", 8)
    measured = trained(hip, folder, task=task)
    assert measured["task"] == "forecasting"
    (said,) = predicted(hip, folder / "3.npy")
    assert (said["steps"], said["seen_steps"]) == (8, 24)
    table = np.loadtxt(said["written"][0], delimiter=",", skiprows=1)
    assert table.shape == (8, 2)
    done(hip("plot", "run", "--kind", "forecast", "--num-examples", 1))


def test_series_and_numbers(tmp_path: Path, hip: Hip) -> None:
    speeds: list[object] = [3.0 + number % 2 for number in range(16)]
    heights: list[object] = [1000.0 + number if number != 5 else "" for number in range(16)]
    folder = listed(tmp_path / "series", "npy", series(), speed=speeds, height=heights)
    measured = trained(hip, folder, task=("--task", "regression"))
    assert measured["task"] == "regression"
    (said,) = predicted(hip, folder / "0.npy")
    values = {each["name"]: each["value"] for each in said["values"]}
    # In the units of the list, whatever the model has learned.
    assert 2 < values["speed"] < 5
    assert 980 < values["height"] < 1040
    listed(tmp_path / "turned", "npy", series(), height=heights, speed=speeds)
    metrics = [evaluated(hip, data) for data in (tmp_path / "turned", folder)]
    assert metrics[0] == pytest.approx(metrics[1])


# ----------------------------------------------------------------------------------------------------- texts and arrays


def test_texts_by_class(tmp_path: Path, hip: Hip) -> None:
    words = [f"{('a short text', 'ein anderer Text: für dich')[n % 2]} {n}".encode() for n in range(16)]
    measured = trained(hip, by_class(tmp_path / "texts", "txt", words), "--encoders.bytes.length", 24)
    assert measured["task"] == "classification"
    inside = tmp_path / "texts" / "measured.json"
    outcome = hip("evaluate", "run", "--json", inside)
    assert (outcome.code, inside.exists()) == (2, False)
    assert f"--json: {inside} lies in {tmp_path / 'texts'}, where it would be taken for data" in outcome.err
    done(hip("predict", "pretrained", tmp_path / "texts" / "one" / "0.txt", "--out", "said"))
    assert "a short text 0" in Path("said/0.txt").read_text(encoding="utf-8")


def test_labels_of_texts_are_learned_from_groups_of_bytes(tmp_path: Path, hip: Hip) -> None:
    words = [f"{('a short text', 'ein anderer Text')[n % 2]} {n}".encode() for n in range(16)]
    texts = by_class(tmp_path / "texts", "txt", words)
    outcome = done(hip("finetune", "--data", texts, *SHORT, "--out", "run"))
    assert "finetune hip-text on" in outcome.out
    saved = read_model("run/model")
    assert (saved.config, saved.modalities["bytes"].channels) == (VARIANTS["hip-text"], 5)
    assert {each["labels"][0]["name"] for each in predicted(hip, texts)} <= {"one", "two"}
    done(hip("finetune", "--data", texts, *SHORT, "--encoders.bytes.coding", "onehot", "--out", "bare"))
    saved = read_model("bare/model")
    assert (saved.config, saved.modalities["bytes"].channels) == (VARIANTS["hip-micro"], 256)


@pytest.mark.parametrize(
    ("kind", "shape", "options"), [("volume", (4, 6, 6), ()), ("vector", (120,), ("--encoders.vector.split", 60))]
)
def test_arrays_by_class(
    kind: str, shape: tuple[int, ...], options: tuple[object, ...], tmp_path: Path, hip: Hip
) -> None:
    arrays = [npy(np.random.default_rng(n).normal(n % 2, 1, shape).astype(np.float32)) for n in range(16)]
    folder = by_class(tmp_path / "arrays", "npy", arrays)
    measured = trained(hip, folder, "--data-settings.kind", kind, *options)
    assert measured["metrics"]["num_examples"] >= 2
    grid = {"volume": shape, "vector": (60,)}[kind]
    assert read_model("run/model").modalities[kind].grid == grid
    said = predicted(hip, folder / "one")
    assert len(said) == 8
    assert {each["name"] for result in said for each in result["labels"]} == {"one", "two"}


# --------------------------------------------------------------------------------------------------------------- labels


def test_several_classes_at_once(tmp_path: Path, hip: Hip) -> None:
    labels: list[object] = [("", "old", "old;red")[n % 3] for n in range(18)]
    folder = listed(tmp_path / "sounds", "wav", [wav(100 + 40 * n) for n in range(18)], labels=labels)
    measured = trained(hip, folder, "--encoders.audio.rate", 4000, task=("--task", "multilabel"))
    assert measured["task"] == "multilabel"
    assert 0 <= measured["metrics"]["map"] <= 1
    assert read_model("run/model").classes == ("old", "red")


def test_a_table_with_several_labels(tmp_path: Path, hip: Hip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [f"a text of number {n},{('calm', 'wild')[n % 2]},{'abc'[n % 3]},{n / 2}" for n in range(24)]
    table = write(tmp_path / "table" / "train.csv", "\n".join(["text,mood,letter,size", *rows, ""]).encode())
    labels = ("--data-settings.label-columns", '["mood", "letter", "size"]', "--encoders.bytes.length", 32)
    measured = trained(hip, table.parent, *labels, task=("--task", "joint"))
    assert measured["task"] == "joint"
    said = predicted(hip, write(tmp_path / "new.txt", b"a text of number 99"))[0]["joint"]
    assert list(said) == ["mood", "letter", "size"]
    assert {each["name"] for each in said["letter"]} == {"a", "b", "c"}
    assert 0 < said["size"] < 12
    # Of one letter alone the number is another: it is found by its name.
    write(tmp_path / "few" / "train.csv", "\n".join(["text,mood,letter,size", *rows[1::3], ""]).encode())
    texts = [write(tmp_path / f"{n}.txt", rows[n].partition(",")[0].encode()) for n in range(1, 24, 3)]
    answers = [each["joint"]["letter"] for each in predicted(hip, *texts, name="few.json")]
    surprise = [-np.log(next(each["probability"] for each in answer if each["name"] == "b")) for answer in answers]
    measured = evaluated(hip, tmp_path / "few")  # its columns are those of the run
    assert measured["loss_letter"] == pytest.approx(np.mean(surprise), rel=1e-3)


# -------------------------------------------------------------------------------------------------- shards and streams


def test_shards(tmp_path: Path, hip: Hip) -> None:
    for number, split in enumerate(("train-0", "train-1", "test-0")):
        files: dict[str, bytes] = {}
        for n in range(6):
            colour = ((220, 30, 30), (30, 200, 30))[n % 2]
            files |= {f"{number}{n}.jpg": jpeg(colour), f"{number}{n}.cls": str(n % 2).encode()}
        tar(tmp_path / "shards" / f"{split}.tar", files)
    measured = trained(hip, tmp_path / "shards", "--size", 8)
    assert (measured["split"], measured["metrics"]["num_examples"]) == ("test", 6)
    assert read_model("run/model").classes == ("0", "1")


def test_a_stream_goes_on_where_it_was_left(tmp_path: Path, hip: Hip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["red", "green"])})
    colours = [(220 - n, 30, 30) if n % 2 == 0 else (30, 200 - n, 30) for n in range(80)]  # no two alike
    cells = [{"bytes": jpeg(colour), "path": None} for colour in colours]
    table = datasets.Dataset.from_dict({"image": cells, "label": [n % 2 for n in range(80)]}, features=features)
    (tmp_path / "table").mkdir()
    table.to_parquet(tmp_path / "table" / "train.parquet")
    options = (
        *("--data", tmp_path / "table", "--model", "hip-nano", "--size", 8, "--batch-size", 4, "--steps", 12),
        *("--data-settings", '{"stream": true, "validation_examples": 4, "buffer_size": 8}', "--num-workers", 0),
    )
    done(hip("finetune", *options, "--out", "whole"))
    read = StreamedExamples.example
    count = 0

    def interrupting(*arguments: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        if count == 18:
            os.kill(os.getpid(), signal.SIGINT)
        return read(*arguments, **more)

    with monkeypatch.context() as patched:
        patched.setattr(StreamedExamples, "example", interrupting)
        outcome = hip("finetune", *options, "--out", "parts")
    assert outcome.code == 130
    assert outcome.err.splitlines()[-1] == "hip: interrupted; go on with: hip finetune --out parts --resume"
    assert yaml.safe_load(Path("parts/settings.yaml").read_text())["data_settings"]["stream"] is True
    done(hip("finetune", "--out", "parts", "--resume"))
    whole, parts = (read_model(f"{run}/model").weights for run in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(equal(whole[name], parts[name]) for name in whole)
    done(hip("evaluate", "parts", "--split", "validation", "--json", "metrics.json"))
    assert json.loads(Path("metrics.json").read_text())["metrics"]["num_examples"] == 4
