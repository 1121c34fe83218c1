"""Small data sets, and the commands that made the runs in this folder with the revisions that name them.

Made with a checkout of a revision, its `hiperceiver` on the path, from this checkout's root:

    python -m tests.formats.old_runs /tmp/old f0b641a

It makes the data in /tmp/old/data and the runs in /tmp/old/runs, and copies what is kept of each run: `settings.yaml`,
`metrics.csv`, `members.npz`, `model/`, and what `hip evaluate --json` and `hip predict --json` wrote (`evaluate.json`,
`predict.json`, tables of a forecaster), with `DATA` and `RUNS` in the place of the two folders.
"""

import csv
import json
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

KEPT = Path(__file__).parent
"""The runs, as they are kept, in folders by revision."""

_OUTER = {
    "num_groups": 4,
    "num_latents": 4,
    "num_channels": 16,
    "num_self_attention_layers": 1,
    "num_self_attention_heads": 2,
}
_MODEL = {"embedding_channels": 8, "blocks": [_OUTER, {**_OUTER, "num_groups": 1}, _OUTER]}
TINY = ("--model", "hip-nano", "--model-settings", json.dumps(_MODEL))
SHORT = ("--batch-size", "4", "--steps", "12", "--validate-every", "6", "--learning-rate", "3e-3")

RUNS: dict[str, list[str]] = {
    "pretrained-pictures": [
        *("pretrain", "--data", "DATA/pictures", *TINY, *SHORT, "--size", "16", "--split-seed", "3"),
        *("--mask-ratio", "0.75", "--compared-share", "0.5", "--augment.flip", "true"),
    ],
    "classified-pictures": [
        *("finetune", "--data", "DATA/pictures", "--from", "RUNS/pretrained-pictures", *SHORT, "--split-seed", "3"),
        *("--train-share", "0.8", "--balance", "0.5", "--ema", "0.9", "--model-settings.drop-path", "0.1"),
        *("--task-settings", '{"label_smoothing": 0.1, "mixup": 0.2}'),
        *("--augment", '{"flip": true, "randaugment": {"operations": 2}, "colour": true}'),
    ],
    "segmented-masks": [
        *("finetune", "--data", "DATA/masks", *TINY, *SHORT, "--size", "16", "--task", "segmentation"),
        *("--augment", '{"turn": true, "crop": {"scale": [0.5, 1.0]}}', "--colours", "L", "--fit", "squash"),
    ],
    "multilabel-clips": [
        *("finetune", "--data", "DATA/clips", *TINY, *SHORT, "--size", "8", "--task", "multilabel"),
        *("--data-settings.kind", "image+audio", "--encoders.audio.rate", "2000", "--encoders.audio.seconds", "0.1"),
        *("--augment.modality-dropout.probability", "0.25", "--missing", "absent"),
        *("--task-settings.readout", "label"),
    ],
    "joint-table": [
        *("finetune", "--data", "DATA/table", *TINY, *SHORT, "--task", "joint", "--columns.motion", "motion:series"),
        *("--data-settings.label_columns", '["shape", "height"]'),
    ],
    "forecast-series": [
        *("finetune", "--data", "DATA/series", *TINY, *SHORT, "--task", "forecasting", "--task-settings.horizon", "8"),
        *("--augment", '{"noise": {"snr": 20}, "shift": true}', "--split-seed", "1"),
    ],
    "regressed-vectors": [
        *("finetune", "--data", "DATA/vectors", *TINY, *SHORT, "--task", "regression"),
        *("--data-settings.kind", "vector", "--encoders.vector.split", "8", "--precision", "bf16"),
    ],
}
"""A run's name -> the command that made it."""

REVISIONS = {"f0b641a": tuple(RUNS), "f315386": ("pretrained-pictures", "segmented-masks")}
"""A revision -> the runs that are kept of it: the last of format 1, and one of format 2."""

PREDICTED = {
    "pretrained-pictures": "pictures/checks/3.png",
    "classified-pictures": "pictures/checks/3.png",
    "segmented-masks": "masks/images/3.png",
    "multilabel-clips": "clips/3.png",
    "forecast-series": "series/3.npy",
    "regressed-vectors": "vectors/3.npy",
}
"""What is predicted by which run."""


def make_data(folder: Path) -> Path:
    """Every data set that `RUNS` names."""
    for number in range(20):
        for kind in ("checks", "stripes"):
            _save(_picture(kind, number), folder / "pictures" / kind / f"{number}.png")
    for number in range(16):
        picture = _picture("stripes", number)
        _save(picture, folder / "masks" / "images" / f"{number}.png")
        _save((picture[..., 0] > 100).astype(np.uint8), folder / "masks" / "masks" / f"{number}.png")
        _save(_picture(("checks", "stripes")[number % 2], number), folder / "clips" / f"{number}.png")
        if number:  # the first has no sound
            _save_sound(folder / "clips" / f"{number}.wav", 100 + 100 * (number // 2 % 2))
        time = np.arange(32)
        wave_ = np.sin(time / (3 + number % 2) + number)
        _save_array(np.stack([wave_, 100 + 7 * wave_], axis=1), folder / "series" / f"{number}.npy")
        _save_array(np.random.default_rng(number).normal(size=32) + number / 8, folder / "vectors" / f"{number}.npy")
    (folder / "masks" / "classes.txt").write_text("dark\nbright\n")
    several = [";".join([("checks", "stripes")[n % 2], *["high"][: n // 2 % 2]]) for n in range(16)]
    _list(folder / "clips", ("labels",), ([f"{n}.png", several[n]] for n in range(16)))
    _list(folder / "vectors", ("height", "width"), ([f"{n}.npy", n / 8, -n] for n in range(16)))
    rows = [
        {"motion": np.sin(np.arange(24) / (2 + n % 2) + n).round(4).tolist(), "shape": "ab"[n % 2], "height": n / 4}
        for n in range(24)
    ]
    (folder / "table").mkdir()
    (folder / "table" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def _picture(kind: str, seed: int) -> np.ndarray:
    """Red stripes or blue checks, with noise: uint8 (20, 24, 3)."""
    y, x = np.mgrid[:20, :24]
    pixels = np.random.default_rng(seed).integers(0, 30, (20, 24, 3))
    if kind == "stripes":
        pixels[..., 0] += (x // 4 + seed) % 2 * 200
    else:
        pixels[..., 2] += (x // 4 + y // 4 + seed) % 2 * 200
    return pixels.astype(np.uint8)


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _save_array(values: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)


def _save_sound(path: Path, hertz: float) -> None:
    samples = (8000 * np.sin(2 * np.pi * hertz * np.arange(400) / 2000)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(2000)
        file.writeframes(samples.tobytes())


def _list(folder: Path, columns: tuple[str, ...], rows: Iterable[list[object]]) -> None:
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", *columns], *rows])


def with_folders(text: str, folder: Path, runs: str = "runs") -> str:
    """A text with the folders of data and runs in their places."""
    return text.replace("DATA/", f"{folder}/data/").replace("RUNS/", f"{folder}/{runs}/")


def _without_folders(text: str, folder: Path) -> str:
    return text.replace(f"{folder}/data/", "DATA/").replace(f"{folder}/runs/", "RUNS/")


def main(folder: Path, revision: str) -> None:
    """Make the data and the runs of a revision, and keep what is needed of them."""
    make_data(folder / "data")
    for name in REVISIONS[revision]:
        command, run, kept = RUNS[name], folder / "runs" / name, KEPT / revision / name
        _hip(*(with_folders(each, folder) for each in command), "--out", str(run))
        _hip("evaluate", str(run), "--json", str(run / "evaluate.json"))
        if name in PREDICTED:
            _hip("predict", str(run), str(folder / "data" / PREDICTED[name]), "--json", "predict.json", cwd=run)
        kept.mkdir(parents=True)
        shutil.copytree(run / "model", kept / "model")
        for file in [*run.glob("predictions/*.csv"), *run.glob("members.npz")]:
            shutil.copy(file, kept)
        for file in [*run.glob("*.json"), run / "settings.yaml", run / "metrics.csv"]:
            (kept / file.name).write_text(_without_folders(file.read_text(), folder))


def _hip(*arguments: str, cwd: Path | None = None) -> None:
    subprocess.run([sys.executable, "-m", "hiperceiver.cli", *arguments], check=True, cwd=cwd)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2])
