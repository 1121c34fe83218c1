"""Peers take what our models take, learn, are kept at their best, and go on where they were."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import baseline, peer
from experiments.peer_models import make_peer


@pytest.mark.parametrize("name", ["cnn", "vit"])
@pytest.mark.parametrize(
    ("grid", "channels", "is_dense"),
    [((32, 32), 3, False), ((128,), 6, False), ((8000,), 1, False), ((29,), 12, False), ((90, 120), 3, True)],
)
def test_shapes(name: str, grid: tuple[int, ...], channels: int, is_dense: bool) -> None:
    model = make_peer(name, grid, channels, 5, is_dense=is_dense).eval()
    with torch.no_grad():
        assert model(torch.randn(2, channels, *grid)).shape == (2, 5, *(grid if is_dense else ()))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Bright and dark ones."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("validation", 10), ("test", 10)):
        for label, level in (("bright", 180), ("dark", 60)):
            (folder := tmp_path / "pictures" / split / label).mkdir(parents=True)
            for number in range(count):
                values = rng.integers(level - 40, level + 40, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(values).save(folder / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_a_peer_learns_and_is_tested(name: str, pictures: Path, tmp_path: Path) -> None:
    options = ["--peer", name, "--data", str(pictures), "--size", "8", "--augment.flip", "true", "--batch-size", "16"]
    assert peer.main([*options, "--steps", "40", "--out", str(tmp_path / "run")]) == 0
    test = json.loads((tmp_path / "run" / "test.json").read_text())
    assert test["metrics"]["accuracy"] > 0.9 and test["validation"]["accuracy"] > 0.9
    assert test["steps"] == 40 and test["seconds"] > 0 and test["parameters"] > 1000


def test_a_peer_that_was_stopped_goes_on(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--peer", "cnn", "--data", str(pictures), "--size", "8", "--steps", "6", "--out", str(tmp_path / "run")]
    scores = peer.PeerRun.scores

    def interrupted(run: peer.PeerRun, batch: object) -> object:
        if run.state["step"] == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return scores(run, batch)  # pyright: ignore

    monkeypatch.setattr(peer.PeerRun, "scores", interrupted)
    with pytest.raises(SystemExit) as stopped:
        peer.main(options)
    assert stopped.value.code == 130
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["state"]["step"] == 3
    monkeypatch.setattr(peer.PeerRun, "scores", scores)
    assert peer.main(options) == 0
    assert json.loads((tmp_path / "run" / "test.json").read_text())["steps"] == 6


def test_the_baseline_of_pictures(pictures: Path, tmp_path: Path) -> None:
    assert baseline.main(["--data", str(pictures), "--size", "8", "--out", str(tmp_path / "run")]) == 0
    test = json.loads((tmp_path / "run" / "test.json").read_text())
    assert test["floor"]["name"] == "nearest neighbour" and test["metrics"]["accuracy"] > 0.9
