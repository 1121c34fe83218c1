"""From a folder of pictures to metrics, predictions and pictures, through the commands alone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch import equal

from hiperceiver.cli import data as cli_data
from hiperceiver.modality import Batch
from hiperceiver.model import read_model
from hiperceiver.plots.segmentation import palette
from hiperceiver.tasks import MaskedAutoencoding
from hiperceiver.tasks.losses import LossTerm
from hiperceiver.tasks.masked_autoencoding import Mask

from .conftest import TINY, Hip, picture

CHECKPOINT = "run/checkpoints/last.ckpt"


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def weights_of(run: Path) -> dict:
    return load_file(run / "model" / "model.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    a, b = weights_of(one), weights_of(other)
    return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)


@contextmanager
def hip_process(*arguments: object, folder: Path, until: str) -> Iterator[subprocess.Popen[str]]:
    """`hip` as a process, the first of a group, that has come so far that the file `until` is there."""
    command = [sys.executable, "-m", "hiperceiver.cli", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, start_new_session=True, **pipes) as process:
        try:
            end = time.monotonic() + 280
            while not (folder / until).exists() and time.monotonic() < end:
                assert process.poll() is None, process.communicate()
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


# ------------------------------------------------------------------------------------------------------------- pretrain


def test_a_pretraining_run_leaves_its_files(pretrained: Path) -> None:
    there = {path.name for path in pretrained.iterdir()}
    assert {"settings.yaml", "metrics.csv", "checkpoints", "model", "tensorboard"} <= there
    saved = read_model(pretrained / "model")
    assert saved.task is not None
    assert (saved.task["kind"], saved.task["mask_ratio"]) == ("masked-autoencoding", 0.85)
    assert saved.encoders["image"]["size"] == [16, 16]


def test_a_run_is_repeated_from_its_settings(pretrained: Path, pictures: Path, hip: Hip) -> None:
    recorded = yaml.safe_load((pretrained / "settings.yaml").read_text())
    assert recorded["data"] == str(pictures)
    assert not {"out", "resume"} & set(recorded)
    outcome = hip("pretrain", "--config", pretrained / "settings.yaml", "--out", "again")
    assert outcome.code == 0
    assert same_weights(pretrained, Path("again"))
    other = hip("pretrain", "--seed", "1", "--config", pretrained / "settings.yaml", "--out", "other")
    assert other.code == 0
    assert not same_weights(pretrained, Path("other"))


def test_options_reach_the_model_and_the_task(pictures: Path, hip: Hip) -> None:
    outcome = hip(
        *("pretrain", "--data", pictures, *TINY, "--steps", 1, "--out", "run", "--mask_ratio", "0.5"),
        *("--mask-strategy", "uniform", "--loss-on", "all", "--target-normalisation", "channel"),
        *("--model-settings.positions", "fourier", "--model-settings", '{"fourier_bands": 4}', "--fit", "squash"),
        *("--colours", "L", "--ema", "0.5"),
    )
    assert outcome.code == 0
    saved = read_model("run/model")
    assert saved.task == {
        "kind": "masked-autoencoding",
        "mask_ratio": 0.5,
        "mask_strategy": "uniform",
        "mask_block": 1,
        "loss_on": "all",
        "compared_share": 1.0,
        "target_normalisation": "channel",
        "modality_weights": None,
    }
    assert (saved.config.positions, saved.config.fourier_bands) == ("fourier", 4)
    assert (saved.encoders["image"]["fit"], saved.encoders["image"]["colours"]) == ("squash", "L")


def test_what_is_said_on_the_way(pictures: Path, hip: Hip) -> None:
    outcome = hip("pretrain", "--data", pictures, *TINY, "--steps", 8, "--split-seed", 0)
    run = Path("runs/pretrain-pictures-hip-nano-1")
    assert outcome.code == 0
    assert f"run folder: {run}\n" in outcome.out
    assert f"pretrain hip-nano on {pictures}, masked-autoencoding: 8 steps in " in outcome.out
    assert f"model: {run}/model\n" in outcome.out
    assert "explained" in outcome.out
    assert f"1 unreadable example was left out; it is named in {run}/skipped.log\n" in outcome.out
    assert "truncated.jpg" in (run / "skipped.log").read_text()
    assert "Traceback" not in outcome.err


def test_a_probe_reads_labels_at_each_validation_and_trains_on_none(pictures: Path, pretrained: Path, hip: Hip) -> None:
    told = hip("pretrain", "--config", pretrained / "settings.yaml", "--probe", "--probe-train", 8, "--out", "run")
    assert told.code == 0
    header, *rows = Path("run/metrics.csv").read_text().splitlines()
    cells = [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]
    (last,) = (row for row in cells if row["validation/loss"])
    for name in ("knn_accuracy", "linear_accuracy", "linear_accuracy_by_majority", "effective_rank"):
        assert float(last[f"latents/{name}"]) >= 0
    assert {"explained_by_nearest", "explained_by_interpolation"} <= {
        name.rpartition("/")[2] for name in header.split(",")
    }
    assert [path.name for path in Path("run/positions").iterdir()] == ["step-000003-image.png"]
    for words in ("nearest", "interpolation", "majority", "latents/linear_accuracy", "positions/neighbour_share"):
        assert words in told.out
    assert same_weights(pretrained, Path("run"))


def test_a_probe_needs_labels(pictures: Path, masks: Path, hip: Hip, tmp_path: Path) -> None:
    Path("plain").mkdir()
    for seed in range(6):
        picture("checks", seed).save(f"plain/{seed}.png")
    for data in ("plain", masks):
        outcome = hip("pretrain", "--data", data, *TINY, "--steps", 1, "--probe", "--out", "run")
        assert outcome.code == 2
        assert outcome.err.count("\n") == 1
        assert "Traceback" not in outcome.err
        assert not Path("run").exists()


def test_the_folders_of_runs_are_numbered(pictures: Path, hip: Hip) -> None:
    Path("runs/pretrain-pictures-hip-nano-1").mkdir(parents=True)
    assert hip("pretrain", "--data", pictures, *TINY, "--steps", 1).code == 0
    assert Path("runs/pretrain-pictures-hip-nano-2/model").is_dir()
    assert not any(Path("runs/pretrain-pictures-hip-nano-1").iterdir())


def test_nothing_is_overwritten(pretrained: Path, pictures: Path, hip: Hip) -> None:
    before = files_of(pretrained)
    outcome = hip("pretrain", "--data", pictures, *TINY, "--steps", 1, "--out", pretrained)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"hip: --out: {pretrained} is not empty")
    assert files_of(pretrained) == before


def test_a_mistake_leaves_no_folder(pictures: Path, hip: Hip) -> None:
    outcome = hip("pretrain", "--data", pictures, *TINY, "--model-settings.positions", "sinus", "--out", "run")
    assert outcome.code == 2
    outcome = hip("pretrain", "--data", pictures, *TINY, "--accelerator", "mps")
    assert (outcome.code, outcome.err.splitlines()[-1]) == (2, "hip: --accelerator: this machine has no mps")
    assert not Path("run").exists()
    assert not [*Path().glob("runs/*")]


# ---------------------------------------------------------------------------------------------------------- interrupted


def test_a_run_that_was_never_validated_has_no_model(pretrained: Path, hip: Hip) -> None:
    shutil.copytree(pretrained, "run", ignore=shutil.ignore_patterns("model"))
    outcome = hip("plot", "run", "--kind", "positions")
    assert outcome.err == "hip: run: this run has no model yet; go on with its training, or wait for a validation\n"


def test_interrupted_saves_and_says_how_to_go_on(pictures: Path, hip: Hip, tmp_path: Path) -> None:
    options = ["--data", pictures, *TINY, "--steps", 100000, "--checkpoint-every", 1]
    with hip_process("pretrain", *options, "--out", "run", folder=tmp_path, until=CHECKPOINT) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=280)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "hip: interrupted; go on with: hip pretrain --out run --resume"
    assert "Traceback" not in err
    outcome = hip("pretrain", "--resume", "--out", "run", "--max-time", "1s")
    assert outcome.code == 0


def test_a_signal_to_the_whole_group_leaves_the_workers_at_work(pictures: Path, hip: Hip, tmp_path: Path) -> None:
    """As `timeout`, SLURM and systemd send it."""
    options = ["--data", pictures, *TINY, "--steps", 100000, "--checkpoint-every", 1, "--num-workers", 2]
    with hip_process("pretrain", *options, "--out", "run", folder=tmp_path, until=CHECKPOINT) as process:
        os.killpg(process.pid, signal.SIGTERM)
        _, err = process.communicate(timeout=280)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "hip: interrupted; go on with: hip pretrain --out run --resume"
    assert "--num-workers" not in err
    assert hip("pretrain", "--resume", "--out", "run", "--max-time", "1s").code == 0


def test_steps_that_are_left_out_are_told(pictures: Path, hip: Hip, monkeypatch: pytest.MonkeyPatch) -> None:
    terms, calls = MaskedAutoencoding.terms, []

    def diverging(task: MaskedAutoencoding, batch: Batch, drawn: Mask | None = None) -> dict[str, LossTerm]:
        calls.append(1)
        found = terms(task, batch, drawn)
        return {
            name: each._replace(value=each.value * (nan if len(calls) == 2 else 1.0)) for name, each in found.items()
        }

    monkeypatch.setattr(MaskedAutoencoding, "terms", diverging)
    outcome = hip("pretrain", "--data", pictures, *TINY, "--steps", 3, "--non-finite", "skip", "--out", "run")
    assert outcome.code == 0
    assert "1 step was left out, not finite; the examples are named in run/not_finite.log\n" in outcome.out
    (line,) = Path("run/not_finite.log").read_text().splitlines()
    assert line.startswith("step 2: the loss is nan: ") and line.count(".jpg") == 4


def test_nothing_to_resume(pictures: Path, hip: Hip) -> None:
    message = "--resume: expected --out too, the folder of the run to go on with"
    assert hip("pretrain", "--data", pictures, "--resume") == (2, "", f"hip: {message}\n")
    message = "--out: nowhere holds no run to go on with, it has no settings.yaml"
    assert hip("pretrain", "--out", "nowhere", "--resume") == (2, "", f"hip: {message}\n")
    assert not Path("nowhere").exists()
    message = "--out: . has no checkpoints/last.ckpt to resume from, but other files"
    Path("thesis.txt").touch()
    assert hip("pretrain", "--data", pictures, "--out", ".", "--resume") == (2, "", f"hip: {message}\n")


def test_a_command_that_resumes_begins_goes_on_and_remembers_its_length(pictures: Path, hip: Hip) -> None:
    """So a batch script can be run again as it is."""
    options = ("pretrain", "--data", pictures, *TINY, "--steps", 1, "--out", "run", "--resume")
    begun = hip(*options)
    assert (begun.code, "hip: note: run has no checkpoint yet: the run begins\n" in begun.err) == (0, True)
    again = hip(*options)
    assert (again.code, "begins" in again.err, "1 steps in" in again.out) == (0, False, True)
    refused = hip("pretrain", "--out", "run", "--resume", "--steps", 3, "--learning-rate", 0.5)
    assert (refused.code, yaml.safe_load(Path("run/settings.yaml").read_text())["steps"]) == (2, 1)
    for option, value, found in (
        ("--augment.flip", "true", "--augment.flip: expected None, got {'probability': 0.5}"),
        ("--missing", "absent", "--missing: expected 'skip', got 'absent'"),
    ):
        assert found in hip("pretrain", "--out", "run", "--resume", "--steps", 3, option, value).err
    longer = hip("pretrain", "--out", "run", "--resume", "--steps", 2)
    assert "step 1: the run has another length now, and its learning rate goes from " in longer.err
    assert "2 steps in" in hip("pretrain", "--out", "run", "--resume").out


def test_data_that_changed_before_a_run_goes_on_are_said(hip: Hip) -> None:
    def write(labels: str, first: int = 0) -> None:
        rows = [{"id": n, "x": [n + first * (not n), 1, n % 3, n % 4], "label": labels[n % 2]} for n in range(30)]
        Path("data").mkdir(exist_ok=True)
        Path("data/train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    write("ab")
    options = ("--data", "data", "--columns.x", "x:vector", "--model", "hip-nano", "--batch-size", 4, "--out", "run")
    begun = hip("finetune", *options, "--steps", 1)
    assert begun.code == 0, begun.err
    write("ba")
    outcome = hip("finetune", "--out", "run", "--resume", "--steps", 2)
    note = "hip: note: the data have changed since the run began: 0 examples added, 0 removed, 0 in another split; "
    assert (outcome.code, f"{note}30 with other labels\n" in outcome.err) == (0, True), outcome.err
    write("ab", first=900)
    outcome = hip("finetune", "--out", "run", "--resume", "--steps", 3)
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1].startswith("hip: --encoders.x.mean"), outcome.err


def test_another_model_is_not_resumed(pretrained: Path, hip: Hip) -> None:
    outcome = hip("pretrain", "--resume", "--out", pretrained, "--model-settings.embedding_channels", 16)
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1].startswith("hip: model.embedding_channels: expected 32, got 16")


def test_a_checkpoint_that_would_execute_code_is_refused(pretrained: Path, hip: Hip) -> None:
    """A pickle that would make a file if it were loaded."""
    run = Path("run")
    shutil.copytree(pretrained, run)
    (run / "checkpoints/last.ckpt").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    outcome = hip("pretrain", "--out", run, "--resume")
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1].startswith("hip: run/checkpoints/last.ckpt: ")
    for command in (["evaluate"], ["predict", "x.jpg"], ["plot"], ["info"]):
        outcome = hip(command[0], run / "checkpoints/last.ckpt", *command[1:])
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert not Path("owned").exists()


# ------------------------------------------------------------------------------------------------------------- finetune


def test_finetuning_says_what_was_loaded_and_learns(pictures: Path, pretrained: Path, hip: Hip) -> None:
    options = ["--batch-size", 4, "--steps", 2, "--size", 24, "--out", "run", "--train-share", "0.5"]
    options += ["--max-bad-share", 0.5]
    outcome = hip("finetune", "--data", pictures, "--from", pretrained, *options)
    assert outcome.code == 0
    assert (
        f"from {pretrained}/model: 119 weights loaded, 1 resized (positions.image.table), 21 newly made" in outcome.out
    )
    assert " of 2 classes\n" in outcome.out
    assert outcome.err.splitlines()[0] == "hip: note: class folder empty holds no image and is left out"
    ours, theirs = read_model("run/model"), read_model(pretrained / "model")
    assert ours.encoders["image"]["mean"] == theirs.encoders["image"]["mean"]
    assert (ours.encoders["image"]["size"], ours.classes) == ([24, 24], ("checks", "stripes"))


@pytest.mark.parametrize(
    ("mode", "is_kept"),
    [
        ("all", lambda name: False),
        ("positions", lambda name: False),
        ("frozen-positions", lambda name: name.startswith("positions.")),
        ("frozen-backbone", lambda name: not name.startswith("head.")),
    ],
)
def test_modes_train_what_they_say(mode: str, is_kept, pictures: Path, pretrained: Path, hip: Hip) -> None:
    options = ["--batch-size", 4, "--steps", 3, "--validate-every", 9, "--out", "run", "--mode", mode]
    assert hip("finetune", "--data", pictures, "--from", pretrained, *options).code == 0
    before, after = weights_of(pretrained), weights_of(Path("run"))
    for name, weight in before.items():
        if is_kept(name):
            assert equal(weight, after[name])
    assert equal(before["positions.image.table"], after["positions.image.table"]) == mode.startswith("frozen")


def test_a_label_at_the_bottleneck(pictures: Path, hip: Hip) -> None:
    options = [*TINY, "--steps", 1, "--out", "run", "--task-settings.readout", "label"]
    assert hip("finetune", "--data", pictures, *options).code == 0
    assert read_model("run/model").modalities["label"].channels == 2


# ------------------------------------------------------------------------------------------------------------- evaluate


def test_evaluation_prints_and_writes_the_same(finetuned: Path, pictures: Path, hip: Hip) -> None:
    outcome = hip("evaluate", finetuned, "--json", "metrics.json")
    assert outcome.code == 0
    written = json.loads(Path("metrics.json").read_text())
    assert (written["data"], written["split"], written["task"]) == (str(pictures), "test", "classification")
    metrics = written["metrics"]
    assert f"{finetuned} on {pictures}, test: {metrics['num_examples']:.0f} examples" in outcome.out
    assert f"{100 * metrics['accuracy']:.1f}%" in outcome.out
    assert metrics["accuracy"] > 0.8  # red stripes and blue checks
    assert written["floor"] is None

    options = ("--data", pictures, "--split", "all", "--batch-size", 5, "--json", "all.json")
    outcome = hip("evaluate", finetuned / "model", *options)
    assert outcome.code == 0
    assert "all: 22 examples" in outcome.out
    (named,) = json.loads(Path("all.json").read_text())["skipped"]
    assert named.startswith("checks/truncated.jpg: ")
    assert f"1 more could not be read and were left out: {named}" in outcome.out


def test_a_written_file_is_not_overwritten(finetuned: Path, hip: Hip) -> None:
    Path("metrics.json").write_text("mine")
    outcome = hip("evaluate", finetuned, "--json", "metrics.json")
    assert (outcome.code, outcome.err) == (2, "hip: --json: metrics.json exists already\n")
    assert Path("metrics.json").read_text() == "mine"


def test_a_pretrained_model_is_measured_too(pretrained: Path, hip: Hip) -> None:
    outcome = hip("evaluate", pretrained, "--split", "validation")
    assert outcome.code == 0
    assert "explained" in outcome.out


# -------------------------------------------------------------------------------------------------------------- predict


def test_labels_of_files_and_folders(finetuned: Path, pictures: Path, hip: Hip) -> None:
    odd = [pictures / "stripes/grey.jpg", pictures / "checks/cmyk.jpg"]
    outcome = hip("predict", finetuned, *odd, pictures / "stripes/1.jpg", "--top", 1, "--json", "labels.json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[2].startswith(f"{pictures}/stripes/1.jpg: stripes ")
    listed = json.loads(Path("labels.json").read_text())
    assert [each["file"] for each in listed] == [str(path) for path in (*odd, pictures / "stripes/1.jpg")]
    assert all(len(each["labels"]) == 1 for each in listed)
    assert 0.5 <= listed[2]["labels"][0]["probability"] <= 1

    outcome = hip("predict", finetuned, pictures / "stripes", "--batch-size", 3)
    assert (outcome.code, len(outcome.out.splitlines())) == (0, 11)
    shares = [part.rpartition(" ")[2] for part in outcome.out.splitlines()[0].partition(": ")[2].split(", ")]
    assert sum(float(share.rstrip("%")) for share in shares) == pytest.approx(100, abs=0.2)


def test_bad_files_are_named_and_the_rest_is_done(finetuned: Path, pictures: Path, hip: Hip) -> None:
    Path("notes.txt").write_text("no picture")
    Path("empty.jpg").touch()
    good = pictures / "checks/1.jpg"
    bad = ["nowhere.jpg", pictures / "checks/truncated.jpg", "notes.txt", "empty.jpg"]
    outcome = hip("predict", finetuned, bad[0], bad[1], good, *bad[2:], "--json", "labels.json")
    assert outcome.code == 1
    assert outcome.out.startswith(f"{good}: ")
    assert outcome.out.count("\n") == 1
    lines = outcome.err.splitlines()
    assert len(lines) == 5
    for line, path in zip(lines, bad, strict=False):
        assert line.startswith(f"hip: {path}: ")
    assert lines[-1] == "hip: 4 of 5 files could not be read"
    listed = json.loads(Path("labels.json").read_text())
    assert ["error" in each for each in listed] == [True, True, False, True, True]


def test_segmentations_are_pictures_with_a_palette(segmenter: Path, hip: Hip) -> None:
    Path("a").mkdir()
    picture("stripes", 20).save("a/x.png")
    picture("stripes", 21).resize((60, 40)).save("x.png")
    outcome = hip("predict", segmenter, "a/x.png", "x.png", "--out", "labels")
    assert outcome.code == 0
    assert outcome.out.startswith("a/x.png: labels/x.png: ")
    for name, size in (("labels/x.png", picture("stripes", 20).size), ("labels/x-2.png", (60, 40))):
        with Image.open(name) as written:
            assert (written.mode, written.size) == ("P", size)
            labels = np.asarray(written)
            colours = written.getpalette()
        width, height = size
        margin = (width - height) // 2  # the model sees the square in the middle
        assert set(np.unique(labels[:, margin : width - margin])) <= {0, 1}
        assert (labels[:, :margin] == 255).all() and (labels[:, width - margin :] == 255).all()
        assert colours is not None
        assert colours[:6] == palette(["dark", "bright"]).ravel().tolist()
    outcome = hip("predict", segmenter, "x.png", "--out", "labels")
    assert outcome.err == "hip: --out: labels/x.png exists already; name another folder\n"


def test_a_pretrained_model_reconstructs(pretrained: Path, pictures: Path, hip: Hip) -> None:
    outcome = hip("predict", pretrained, pictures / "checks/1.jpg")
    shown = f"{pictures}/checks/1.jpg: predictions/1.png: reconstructed with 88% hidden\n"
    assert outcome == (0, shown, "")
    assert Path("predictions/1.png").is_file()


# ----------------------------------------------------------------------------------------------------------------- plot


def test_all_that_a_run_has_is_drawn(pretrained: Path, hip: Hip) -> None:
    outcome = hip("plot", pretrained, "--num-examples", 1)
    names = ["reconstructions-image", "curves", "positions-image-similarity", "positions-image-components"]
    data, image, *drawn = outcome.out.splitlines()
    assert drawn == [f"{pretrained}/pictures/{name}.png" for name in names]
    assert data.startswith("data: ") and image.startswith("image: image, tokens 16 x 16 x 3")
    assert (outcome.code, outcome.err) == (0, "hip: note: class folder empty holds no image and is left out\n")
    outcome = hip("plot", pretrained, "--kind", "curves")
    assert outcome.out == f"{pretrained}/pictures/curves.png (replaced)\n"


def test_a_segmentation_is_drawn(segmenter: Path, hip: Hip) -> None:
    outcome = hip("plot", segmenter, "--kind", "segmentation", "--num-examples", 2)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("data: ")
    assert outcome.out.endswith(f"\n{segmenter}/pictures/segmentations.png\n")


def test_a_model_without_a_run_is_drawn_too(pretrained: Path, pictures: Path, hip: Hip) -> None:
    shutil.copytree(pretrained / "model", "mine")
    outcome = hip("plot", "mine", "--kind", "reconstruction", "--data", pictures, "--out", "drawn", "--num-examples", 1)
    assert outcome.out.splitlines()[-1] == "drawn/reconstructions-image.png"
    for kind, message in [
        ("curves", "mine is no run with a metrics.csv to draw curves of"),
        ("segmentation", "mine was trained for masked-autoencoding, it has no segmentation to draw"),
        ("reconstruction", "--data is missing, and mine does not say what it was trained on"),
    ]:
        assert hip("plot", "mine", "--kind", kind) == (2, "", f"hip: {message}\n")


def test_what_can_be_drawn_is_drawn_though_the_data_is_gone(pretrained: Path, hip: Hip) -> None:
    shutil.copytree(pretrained, "run", ignore=shutil.ignore_patterns("checkpoints", "pictures"))
    settings = Path("run/settings.yaml")
    settings.write_text(settings.read_text().replace("data: ", "data: /gone"))
    outcome = hip("plot", "run")
    assert outcome.code == 1
    assert outcome.out.splitlines()[0] == "run/pictures/curves.png"
    assert outcome.err.startswith("hip: no picture of kind reconstruction: ")
    assert outcome.err.count("\n") == 1


# ---------------------------------------------------------------------------------------------------------------- earth


def test_earth(hip: Hip, monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in set from pretraining to metrics beside the baseline; few tiles are measured, to be quick."""
    whole = cli_data.open_source

    def shortened(data, **options):
        source = whole(data, **options)
        for split in ("validation", "test"):
            part = source.splits[split]
            source.splits[split] = replace(part, records=part.records.take(range(40)))
        return source

    monkeypatch.setattr(cli_data, "open_source", shortened)
    options = ["--data", "earth", "--model", "hip-nano", "--batch-size", 4, "--steps", 2]
    masked = ["--size", 32, "--mask-ratio", "0.75", "--augment.flip", "true"]
    outcome = hip("pretrain", *options, *masked, "--out", "pretrained")
    assert outcome.code == 0
    options = ["--data", "earth", "--from", "pretrained", "--batch-size", 4, "--steps", 2]
    assert hip("finetune", *options, "--task", "classification", "--size", 24, "--out", "classes").code == 0
    outcome = hip("finetune", *options, "--data-settings.min-land", "0.1", "--balance", "0.5", "--out", "segments")
    assert outcome.code == 0
    assert "120 weights loaded, 0 resized" in outcome.out
    assert "of 17 classes" in outcome.out

    outcome = hip("evaluate", "segments", "--json", "metrics.json")
    assert outcome.code == 0
    assert "baseline: colour lookup" in outcome.out
    assert "satellite product" in outcome.out
    written = json.loads(Path("metrics.json").read_text())
    assert set(written["floor"]["metrics"]) == {"miou", "accuracy", "foreground_accuracy"}
    assert 0 < written["metrics"]["miou"] < 1
    outcome = hip("evaluate", "classes")
    assert "baseline: nearest neighbour" in outcome.out
    assert hip("plot", "segments", "--kind", "segmentation", "--num-examples", 2).code == 0


def test_a_copy_of_the_data_in_another_split_is_told(pictures: Path, tmp_path: Path, hip: Hip) -> None:
    """The split of a run goes along to its own data; to a copy elsewhere by the option that the line names."""
    copy = shutil.copytree(pictures, tmp_path / "copy")
    assert hip("pretrain", "--data", pictures, *TINY, "--steps", 1, "--split-seed", 5, "--out", "run").code == 0
    options = ("finetune", "--data", copy, "--from", "run", "--batch-size", 4, "--steps", 1)
    outcome = hip(*options, "--out", "other")
    assert outcome.code == 0
    (told,) = [line for line in outcome.err.splitlines() if "the splits are not those of run: 0 examples added" in line]
    assert told.endswith("of test were trained on; if these are the same data, --split-seed 5 takes its splits")
    outcome = hip(*options, "--split-seed", 5, "--out", "same")
    assert (outcome.code, "splits" in outcome.err) == (0, False)
    # Evaluation on a copy that is split in another way; and on the same one.
    told = hip("evaluate", "same", "--data", copy, "--split-seed", 0).err
    assert f"if {copy} is a copy of what same was trained on, it has other splits: 0 examples added" in told
    assert "trained on" not in hip("evaluate", "same", "--data", copy).err
