"""A small folder of pictures as people have them, and runs on it that several tests look at."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from hiperceiver.cli import main

TINY = ("--model", "hip-nano", "--size", "16", "--batch-size", "4", "--validate-every", "1000")
"""Options that make a run short."""


class Outcome(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


Hip = Callable[..., Outcome]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Here and in processes that tests start: models this small gain nothing from two, and both compute the same."""
    before, own = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    torch.set_num_threads(before)
    if own is None:
        del os.environ["OMP_NUM_THREADS"]
    else:
        os.environ["OMP_NUM_THREADS"] = own


@pytest.fixture
def hip(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hip:
    """Runs `hip` in this process, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(each) for each in arguments])
        return Outcome(code, *capsys.readouterr())

    return run


def picture(kind: str, seed: int) -> Image.Image:
    """Red stripes or blue checks, with noise; 48 x 40."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :48]
    pixels = rng.integers(0, 30, (40, 48, 3))
    if kind == "stripes":
        pixels[..., 0] += (x // 4 + seed) % 2 * 200
    else:
        pixels[..., 2] += (x // 4 + y // 4 + seed) % 2 * 200
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of ten JPEGs, with a truncated one, a grey one, a CMYK one, and an empty class folder."""
    folder = tmp_path_factory.mktemp("data") / "pictures"
    for kind in ("checks", "stripes"):
        (folder / kind).mkdir(parents=True)
        for seed in range(10):
            picture(kind, seed).save(folder / kind / f"{seed}.jpg")
    picture("stripes", 10).convert("L").save(folder / "stripes" / "grey.jpg")
    picture("checks", 10).convert("CMYK").save(folder / "checks" / "cmyk.jpg")
    whole = (folder / "checks" / "0.jpg").read_bytes()
    (folder / "checks" / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(scope="session")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with masks: what is bright is class 1."""
    folder = tmp_path_factory.mktemp("data") / "masks"
    for split, seeds in {"train": range(6), "validation": range(6, 8), "test": range(8, 10)}.items():
        for part in ("images", "masks"):
            (folder / split / part).mkdir(parents=True)
        for seed in seeds:
            shown = picture("stripes", seed)
            shown.save(folder / split / "images" / f"{seed}.png")
            mask = (np.asarray(shown)[..., 0] > 100).astype(np.uint8)
            Image.fromarray(mask).save(folder / split / "masks" / f"{seed}.png")
    (folder / "classes.txt").write_text("dark\nbright\n")
    return folder


@pytest.fixture(scope="session")
def pretrained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `hip pretrain`."""
    run = tmp_path_factory.mktemp("runs") / "pretrained"
    assert main(["pretrain", "--data", str(pictures), *TINY, "--steps", "3", "--out", str(run)]) == 0
    return run


@pytest.fixture(scope="session")
def finetuned(pictures: Path, pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `hip finetune` from it, for classification."""
    run = tmp_path_factory.mktemp("runs") / "finetuned"
    options = ["--batch-size", "4", "--steps", "12", "--validate-every", "6", "--out", str(run)]
    assert main(["finetune", "--data", str(pictures), "--from", str(pretrained), *options]) == 0
    return run


@pytest.fixture(scope="session")
def segmenter(masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `hip finetune` for segmentation, from scratch."""
    run = tmp_path_factory.mktemp("runs") / "segmenter"
    options = ["--task", "segmentation", "--steps", "8", *TINY, "--out", str(run)]
    assert main(["finetune", "--data", str(masks), *options]) == 0
    return run
