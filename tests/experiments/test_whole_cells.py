"""Cells of the tables as they are, from pictures to a result, in two steps each on a few pictures."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from closeness import assert_within
from PIL import Image

from experiments import peers, positions, recipes
from experiments.harness import main


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A little CIFAR-10, as published."""
    root = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 4)):
        for label in ("cat", "ship"):
            (folder := root / "CIFAR-10-images" / split / label).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)).save(folder / f"{number}.jpg")
    return root


def test_positions(root: Path, tmp_path: Path) -> None:
    """Pretraining that three cells share, labels with all and with a part of it, labels alone for longer, measures."""
    only = ["learned-ours-mae", "learned-ours-mae-all-but-table", "learned-ours-long", "learned-ours-mae-25pc"]
    options = ["--root", str(root), "--scale", "0.0004", "--seeds", "0", "--only", *only]
    assert main(positions.TABLE, options, tmp_path) == 0
    places = tmp_path / "runs" / "experiments" / "scale-0.0004"
    found = {name: json.loads((places / f"results/positions/{name}-seed0.json").read_text()) for name in only}
    assert len(list(places.glob("pretrain-*.json"))) == 1
    one = found["learned-ours-mae"]
    assert one["steps"] == one["pretraining"]["steps"] == 2
    assert 0 <= one["test"]["accuracy"] <= 1 and one["test"]["num_examples"] == 8
    assert one["parameters"] > 100_000 and one["validation"]["step"] == 2
    assert abs(one["measures"]["near"]) < 0.2 and 0 < one["measures"]["attended_distance"] < 32
    assert "--mode all-but-positions" in found["learned-ours-mae-all-but-table"]["commands"][-1]
    text = (places / "docs" / "results.md").read_text()
    assert "pictures/results-positions-learned-ours-mae.png" in text
    assert (places / "docs" / "pictures" / "results-positions-learned-ours-mae.png").exists()


def test_peers(root: Path, tmp_path: Path) -> None:
    only = ["cifar-10-baseline", "cifar-10-cnn"]
    options = ["--root", str(root), "--scale", "0.004", "--only", *only]
    assert main(peers.TABLE, options, tmp_path) == 0
    places = tmp_path / "runs" / "experiments" / "scale-0.004" / "results" / "peers"
    found = {name: json.loads((places / f"{name}-seed0.json").read_text()) for name in only}
    assert found["cifar-10-baseline"]["floor"]["name"] == "nearest neighbour"
    assert len(found["cifar-10-cnn"]["commands"]) == 2  # a rate each; the better one counts
    assert found["cifar-10-cnn"]["test"]["accuracy"] >= 0


def test_recipes(tmp_path: Path) -> None:
    """A recipe's two commands, and a peer for as long as both took."""
    only = ["earth-classes-hip", "earth-classes-cnn"]
    options = ["--root", str(tmp_path), "--scale", "0.004", "--seeds", "0", "--only", *only]
    assert main(recipes.TABLE, options, tmp_path) == 0
    places = tmp_path / "runs" / "experiments" / "scale-0.004" / "results" / "recipes"
    hip, cnn = (json.loads((places / f"{name}-seed0.json").read_text()) for name in only)
    assert (hip["pretraining"]["steps"], hip["steps"]) == (2, 4)
    assert 0 <= hip["test"]["accuracy"] <= 1 and hip["floor"]["name"] == "nearest neighbour"
    both = hip["pretraining"]["seconds"] + hip["train_seconds"]
    times = [float(re.findall(r"--max-time (\S+)s", command)[0]) for command in cnn["commands"][-2:]]
    assert_within(times, both, 0.11)  # each has one decimal
    assert cnn["steps"] >= 1 and 0 <= cnn["test"]["accuracy"] <= 1
