"""Peers take what our models take, learn, are kept at their best, and go on where they were."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_equal
from PIL import Image

from experiments import baseline, peer
from experiments.peer_models import make_peer
from hiperceiver.cli.data import find_data, open_data
from hiperceiver.cli.entry import read_command
from hiperceiver.data.loading import eval_loader
from hiperceiver.modality import Modality


@pytest.mark.parametrize("name", ["cnn", "vit"])
@pytest.mark.parametrize(
    ("grid", "channels", "is_dense"),
    [((32, 32), 3, False), ((128,), 6, False), ((8000,), 1, False), ((29,), 12, False), ((90, 120), 3, True)],
)
def test_shapes(name: str, grid: tuple[int, ...], channels: int, is_dense: bool) -> None:
    model = make_peer(name, Modality(grid=grid, channels=channels), 5, is_dense=is_dense).eval()
    with torch.no_grad():
        assert model(torch.randn(2, channels, *grid)).shape == (2, 5, *(grid if is_dense else ()))


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_segments_lie_where_the_values_do(name: str) -> None:
    """A changed corner changes the scores there more than those of the corner opposite."""
    torch.manual_seed(0)
    model = make_peer(name, Modality(grid=(21, 34), channels=1), 2, is_dense=True).eval()
    x = torch.zeros(2, 1, 21, 34)
    x[1, :, -3:, -3:] = 10.0
    with torch.no_grad():
        before, after = model(x)
    change = (after - before).abs()
    assert change[:, -3:, -3:].mean() > 2 * change[:, :3, :3].mean()


def test_a_text_is_the_mean_of_its_bytes_and_groups() -> None:
    model = make_peer("fasttext", Modality(grid=(4,), channels=2, num_categories=9), 3, is_dense=False).eval()
    x = torch.tensor([[[1, 2, 3, 0], [5, 6, 0, 0]]]).float()
    vectors = model.vectors.weight[[1, 2, 3, 5, 6]].mean(0)  # pyright: ignore
    assert_close(model(x)[0], model.head(vectors), terms=64)  # pyright: ignore


def test_a_missing_library_is_named(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(SystemExit, match=r"monai.* is missing: pip install 'hiperceiver\[bench\]'"):
        peer.main(["--peer", "cnn", "--data", str(pictures), "--size", "8", "--out", str(tmp_path / "run")])


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


def test_a_peer_learns_from_numbers_of_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("validation", 10), ("test", 10)):
        for label, letters in (("early", "abcdefgh"), ("late", "stuvwxyz")):
            (folder := tmp_path / "texts" / split / label).mkdir(parents=True)
            for number in range(count if label == "early" else count // 2):
                (folder / f"{number}.txt").write_text("".join(rng.choice(list(letters), size=rng.integers(8, 30))))
    encoder = json.dumps({"length": 24, "coding": "numbers", "ngrams": [2], "buckets": 64})
    options = ["--data", str(tmp_path / "texts"), "--encoders.bytes", encoder, "--out", str(tmp_path / "run")]
    options += ["--balance", "1", "--task-settings", '{"token_dropout": 0.5}', "--steps", "40", "--batch-size", "16"]
    with pytest.raises(SystemExit, match="expected fasttext for numbers of categories, got cnn"):
        peer.main(["--peer", "cnn", *options])
    assert peer.main(["--peer", "fasttext", "--learning-rate", "0.03", *options]) == 0
    assert json.loads((tmp_path / "run" / "test.json").read_text())["metrics"]["accuracy"] > 0.9


def test_rare_classes_and_left_out_tokens_reach_the_training(pictures: Path, tmp_path: Path) -> None:
    def run(*options: str) -> peer.PeerRun:
        settings = read_command("finetune", ["--data", str(pictures), "--size", "8", "--out", str(tmp_path), *options])
        assert settings is not None
        found = find_data(settings)
        return peer.PeerRun("cnn", settings, open_data(settings, found, task="classification"), "classification")

    (pictures / "train" / "dark" / "0.png").unlink()
    assert run().class_weights is None
    bright, dark = run("--balance", "1").class_weights  # pyright: ignore
    assert dark > bright
    of = run("--task-settings", '{"token_dropout": 0.5}')
    seen: list[torch.Tensor] = []
    of.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = next(iter(eval_loader(of.source.splits["test"], batch_size=4)))
    for is_training in (True, False):
        of.model.train(is_training)
        of.scores(batch)
    left_out = [float((x == 0).all(1).float().mean()) for x in seen]
    assert 0.3 < left_out[0] < 0.7 and left_out[1] < 0.1


def test_a_peer_that_was_stopped_goes_on(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that was never stopped, left-out tokens and all."""
    options = ["--peer", "cnn", "--data", str(pictures), "--size", "8", "--steps", "6", "--out", str(tmp_path / "run")]
    options += ["--task-settings.token-dropout", "0.5"]
    scores, measure, weights = peer.PeerRun.scores, peer.PeerRun.measure, []

    def measured(run: peer.PeerRun, split: str) -> dict[str, float]:
        if split == "test":
            weights.append(run.model.state_dict())
        return measure(run, split)

    monkeypatch.setattr(peer.PeerRun, "measure", measured)

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
    assert peer.main([*options, "--out", str(tmp_path / "straight")]) == 0
    for one, other in zip(*(each.values() for each in weights), strict=True):
        assert_equal(one, other)


def test_the_baseline_of_pictures(pictures: Path, tmp_path: Path) -> None:
    assert baseline.main(["--data", str(pictures), "--size", "8", "--out", str(tmp_path / "run")]) == 0
    test = json.loads((tmp_path / "run" / "test.json").read_text())
    assert test["floor"]["name"] == "nearest neighbour" and test["metrics"]["accuracy"] > 0.9
