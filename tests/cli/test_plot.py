"""`hip plot` for every kind of signal, and forecasts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hiperceiver.cli.plot import _target, spread_examples
from hiperceiver.data.encoders import PointsEncoder
from hiperceiver.data.encoders.audio import write_wav
from hiperceiver.data.example import BadExample, Example
from hiperceiver.data.sources.source import Source
from hiperceiver.settings.commands import PlotSettings

from .conftest import Hip, Outcome, picture
from .saved_models import ENCODERS, save

MASKED = {"kind": "masked-autoencoding", "mask_ratio": 0.5}


def write(kind: str, path: Path, number: int) -> None:
    """An example of a kind; each has another length where that is the kind's way."""
    rng = np.random.default_rng(number)
    if kind == "image":
        picture("stripes", number).save(path / f"{number}.png")
    elif kind == "video":
        frames = [Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)) for _ in range(6)]
        frames[0].save(path / f"{number}.gif", save_all=True, append_images=frames[1:], duration=500)
    elif kind == "audio":
        write_wav(path / f"{number}.wav", np.sin(np.arange(1000 + 500 * number) / 5) / 2, 8000)
    elif kind == "points":
        np.savetxt(path / f"{number}.xyz", rng.normal(size=(60 + 50 * number, 3)))
    elif kind == "bytes":
        (path / f"{number}.txt").write_text("text " * (5 + 5 * number))
    else:
        shape = {"series": (50 + 5 * number, 2), "volume": (4, 8, 8), "vector": (60,)}[kind]
        np.save(path / f"{number}.npy", rng.normal(size=shape))


def data(kind: str) -> Path:
    for split in ("train", "test"):
        folder = Path("data", split)
        folder.mkdir(parents=True)
        for number in range(3):
            write(kind, folder, number)
    return Path("data")


def assert_drawn(outcome: Outcome, modality: str, names: list[str], *, note: str = "") -> None:
    """Of the data it says what it found, then it draws just these pictures."""
    lines = outcome.out.splitlines()
    assert (outcome.code, outcome.err) == (0, note)
    assert [line.partition(":")[0] for line in lines[: -len(names)]] == ["data", modality]
    assert lines[-len(names) :] == [f"drawn/{name}.png" for name in names]


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_kind_is_drawn(kind: str, tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", MASKED, kind)
    options = ["--data-settings.kind", kind, "--num-examples", 2, "--out", "drawn", "--kind", "reconstruction"]
    outcome = hip("plot", model, "--data", data(kind), *options)
    numbers = ("-1", "-2") if kind in ("video", "volume") else ("",)
    names = [f"reconstructions-{kind}{number}" for number in numbers]
    assert_drawn(outcome, kind, names)
    with Image.open(f"drawn/{names[0]}.png") as drawn:
        assert max(drawn.size) < 2500


@pytest.mark.parametrize(("kind", "horizon", "count"), [("series", 8, 1), ("audio", 150, 2), ("video", 1, 3)])
def test_forecasts_are_drawn_beside_what_came(kind: str, horizon: int, count: int, tmp_path: Path, hip: Hip) -> None:
    """Of 3 examples, series of 50, 55 and 60 steps on a grid of 64 and sounds of 250, 375 and 500 of 500 tokens: only
    those that reach into the future can be compared with it."""
    model = save(tmp_path / "model", {"kind": "forecasting", "horizon": horizon}, kind)
    outcome = hip("plot", model, "--data", data(kind), "--num-examples", 3, "--out", "drawn", "--kind", "forecast")
    numbers = [""] if count == 1 else [f"-{number + 1}" for number in range(count)]
    assert_drawn(outcome, kind, [f"forecasts-{kind}{number}" for number in numbers])


def test_a_model_without_forecasts(tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", MASKED, "series")
    outcome = hip("plot", model, "--kind", "forecast")
    assert outcome.code == 2
    assert outcome.err.endswith("was trained for masked-autoencoding, it has no forecast to draw\n")


def test_a_series_that_never_reaches_into_the_future_is_told(tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", {"kind": "forecasting", "horizon": 4}, "series")
    outcome = hip("plot", model, "--data", data("series"), "--out", "drawn", "--kind", "forecast")
    assert (outcome.code, outcome.err) == (
        2,
        "hip: --data: data: no example is so long that it reaches into the future\n",
    )


def test_positions_of_every_kind_are_drawn(tmp_path: Path, hip: Hip) -> None:
    for kind in ("audio", "volume", "bytes"):
        outcome = hip("plot", save(tmp_path / kind, MASKED, kind), "--kind", "positions", "--out", "drawn")
        names = (f"positions-{kind}-similarity", f"positions-{kind}-components")
        assert outcome == (0, "".join(f"drawn/{name}.png\n" for name in names), "")


def test_points_whose_coordinates_are_their_positions(tmp_path: Path, hip: Hip) -> None:
    """There is no table to draw; of what is made up, the features."""
    encoder = PointsEncoder(num_points=128, num_features=3)
    model = save(tmp_path / "model", MASKED, encoders={"points": encoder}, positions="coordinate")
    outcome = hip("plot", model, "--kind", "positions")
    assert (outcome.code, outcome.err) == (2, f"hip: {model} has no table of positions that can be drawn\n")
    for split in ("train", "test"):
        Path("data", split).mkdir(parents=True)
        np.save(f"data/{split}/1.npy", np.random.default_rng(0).normal(size=(100, 6)))
    options = ["--data-settings.kind", "points", "--out", "drawn", "--kind", "reconstruction"]
    outcome = hip("plot", model, "--data", "data", *options)
    assert_drawn(outcome, "points", ["reconstructions-points"], note="hip: note: there is no split for validation\n")


def test_of_labelled_pixels_those_with_the_most_classes_are_drawn() -> None:
    class Striped:
        """Example n has as many classes as stand at n, and is named by n; 0 cannot be read."""

        counts = [1] * 5 + [4] + [1] * 30 + [0, 3, 2] + [1] * 25

        def __len__(self) -> int:
            return len(self.counts)

        def __getitem__(self, index: int) -> Example | BadExample:
            if not self.counts[index]:
                return BadExample(str(index), "broken")
            labels = torch.arange(8) % self.counts[index]
            return Example(inputs={"image": torch.zeros(8, 3)}, targets={"segmentation": labels}, name=str(index))

    source = Source(name="stripes", task="segmentation", encoders={}, splits={"test": Striped()})
    chosen = spread_examples(source.splits["test"], source, PlotSettings(checkpoint="a", num_examples=2))
    assert [example.name for example in chosen] == ["5", "37"]


def test_pictures_of_a_named_model_are_not_written_into_the_package(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _target(PlotSettings(checkpoint="watch"), None) == Path("pictures/watch")
    (tmp_path / "mine").mkdir()
    assert _target(PlotSettings(checkpoint="mine"), None) == Path("mine/pictures")
