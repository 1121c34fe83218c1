"""Pictures of position tables in a run's folder: which there are, what they cost, and that they never end a run."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiperceiver import HiP, Modality, create_model
from hiperceiver.cli import position_maps
from hiperceiver.cli.position_maps import MOST_STEPS, PositionMaps
from hiperceiver.tasks import MaskedAutoencoding

from .conftest import TINY, Hip


def task_with(**modalities: Modality) -> MaskedAutoencoding:
    model = create_model("hip-nano", modalities=modalities)
    assert isinstance(model, HiP)
    return MaskedAutoencoding(model).eval()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_modality_is_drawn_and_pictures_are_small(tmp_path: Path) -> None:
    grids = {"image": (16, 16), "sound": (64,), "video": (4, 8, 8), "field": (2, 2, 2, 2)}
    maps = PositionMaps(tmp_path / "positions")
    assert maps(task_with(**{name: Modality(grid=grid, channels=1) for name, grid in grids.items()}), 0) == {}
    assert names(maps.folder) == [f"step-000000-{name}.png" for name in ("image", "sound", "video")]
    for path in maps.folder.iterdir():
        assert path.stat().st_size < 150_000
        with Image.open(path) as picture:
            assert np.asarray(picture).std() > 5


def test_of_many_steps_some_are_kept_spread_over_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(task: object, step: int) -> None:
        maps.folder.mkdir(exist_ok=True)
        for name in ("image", "sound"):
            (maps.folder / f"step-{step:06}-{name}.png").touch()
        maps._thin_out()

    maps = PositionMaps(tmp_path / "positions")
    monkeypatch.setattr(maps, "_draw", draw)
    monkeypatch.setattr(position_maps, "_LARGEST_SHARE", float("inf"))
    for step in range(0, 5001, 100):
        maps(task_with(image=Modality(grid=(4, 4), channels=1)), step)
    steps = sorted({int(name.split("-")[1]) for name in names(maps.folder)})
    assert len(names(maps.folder)) == 2 * len(steps) == 2 * MOST_STEPS
    assert (steps[0], steps[-1]) == (0, 5000)
    assert max(np.diff(steps)) <= 1300


def test_drawing_takes_little_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def draw(task: object, step: int) -> None:
        drawn.append(step)
        now[0] += 10.0

    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    maps = PositionMaps(tmp_path)
    monkeypatch.setattr(maps, "_draw", draw)
    task = task_with(image=Modality(grid=(4, 4), channels=1))
    for step in range(0, 1200, 100):
        maps(task, step)
        now[0] += 90.0
    assert drawn == [0, 100, 600, 1100]  # 10 seconds each, the first one free, of about 100 for each of the validations


def test_without_matplotlib_or_room_a_run_goes_on(
    pictures: Path, hip: Hip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [each for each in sys.modules if each.startswith("hiperceiver.plots")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outcome = hip("pretrain", "--data", pictures, *TINY, "--steps", 2, "--out", "run")
    assert outcome.code == 0
    assert outcome.err.count("hip: note: no pictures of positions: ") == 1
    assert "matplotlib" in outcome.err
    assert not Path("run/positions").exists()


def test_a_model_without_learned_tables_has_no_pictures(tmp_path: Path) -> None:
    model = create_model("hip-nano", modalities={"image": Modality(grid=(8, 8), channels=1)}, positions="fourier")
    assert isinstance(model, HiP)
    maps = PositionMaps(tmp_path / "positions")
    maps(MaskedAutoencoding(model), 0)
    assert not maps.folder.exists()
