"""`hip plot --kind attention` and `--kind features`, of models that were not trained."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import Hip, picture
from .saved_models import ENCODERS, save
from .test_plot import MASKED, assert_drawn, data

FRAMES = [f"attention-{{}}-{number}" for number in (1, 2)]
ORDERS = ("raster", "hilbert", "morton", "shuffled")


@pytest.mark.parametrize("kind", [kind for kind in ENCODERS if kind != "points"])
def test_attention_of_every_kind_is_drawn(kind: str, tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", MASKED, kind)
    options = ["--data-settings.kind", kind, "--num-examples", 2, "--out", "drawn", "--kind", "attention"]
    outcome = hip("plot", model, "--data", data(kind), *options)
    first = FRAMES if kind in ("video", "volume") else ["attention-{}"]
    assert_drawn(outcome, kind, [name.format(kind) for name in (*first, "reads-{}")])
    for path in Path("drawn").iterdir():
        with Image.open(path) as drawn:
            assert max(drawn.size) < 2500


def test_clouds_have_no_grid_to_draw_attention_on(tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", MASKED, "points")
    outcome = hip("plot", model, "--data", data("points"), "--data-settings.kind", "points", "--kind", "attention")
    assert outcome.code == 2
    assert outcome.err.endswith(
        "attention is drawn of pictures, frames, signals and texts, of which there are none here\n"
    )


@pytest.mark.parametrize("position", ["16,3", "3", "3,4,5", "a,b", "-1,3"])
def test_a_place_that_is_not_there_is_refused(position: str, tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", MASKED, "image")
    where = ["--data", data("image"), "--kind", "attention", f"--position={position}"]
    outcome = hip("plot", model, *where)
    assert outcome.code == 2
    expected = f"expected a place on the grid (16, 16) of 'image', as 3,4 for row 3, column 4, got {position!r}"
    assert outcome.err.splitlines()[-1] == f"hip: --position: {expected}"


def test_a_position_is_only_for_attention_and_what_is_read(tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", {"kind": "classification", "num_classes": 2}, "image", classes=("a", "b"))
    outcome = hip("plot", model, "--data", "data", "--position", "1,2")
    assert (outcome.code, outcome.err) == (2, "hip: --position: only with --kind attention, got 1,2\n")
    for kind in ("a", "b"):
        Path("labelled", kind).mkdir(parents=True)
        for number in range(6):
            picture("stripes", number).save(f"labelled/{kind}/{number}.png")
    outcome = hip("plot", model, "--data", "labelled", "--kind", "attention", "--position", "1,2")
    assert outcome.code == 2
    assert outcome.err.endswith("hip: --position: classification reads no positions, got '1,2'\n")
    outcome = hip("plot", model, "--data", "labelled", "--kind", "attention", "--out", "drawn")
    assert [path.name for path in Path("drawn").iterdir()] == ["attention-image.png"]


def test_a_segmenter_is_looked_into(masks: Path, tmp_path: Path, hip: Hip) -> None:
    """Its queries are positions and what lies there, so what its readout attends to depends on the picture."""
    task = {"kind": "segmentation", "num_classes": 2}
    model = save(tmp_path / "model", task, "image", classes=("dark", "bright"), token_order="hilbert")
    how = ["--data", masks, "--num-examples", 2, "--out", "drawn"]
    assert hip("plot", model, *how, "--kind", "attention", "--position", "3,15").code == 0
    assert hip("plot", model, *how, "--kind", "features").code == 0
    drawn = {"attention-image.png", "reads-image.png", "features.png", "features-image.png"}
    assert {path.name for path in Path("drawn").iterdir()} == drawn


def test_features_are_drawn_with_the_labels_that_the_data_have(tmp_path: Path, hip: Hip, pictures: Path) -> None:
    """Also by a model that has never seen a label; without labels, and with numbers."""
    model = save(tmp_path / "model", MASKED, "image")
    outcome = hip("plot", model, "--data", pictures, "--kind", "features", "--num-examples", 2, "--out", "drawn")
    assert outcome.code == 0 and "classes: 2; checks 12, stripes 11" in outcome.out
    assert outcome.out.splitlines()[-2:] == ["drawn/features.png", "drawn/features-image.png"]
    outcome = hip("plot", model, "--data", data("image"), "--kind", "features", "--out", "other")
    assert (outcome.code, outcome.err) == (0, "")
    series = save(tmp_path / "series", {"kind": "regression", "num_values": 1}, "series")
    Path("numbers").mkdir()
    rows = ["file,value"]
    for number in range(12):
        np.save(f"numbers/{number}.npy", np.random.default_rng(number).normal(size=(50, 2)))
        rows.append(f"{number}.npy,{number / 2}")
    Path("numbers/labels.csv").write_text("\n".join(rows) + "\n")
    outcome = hip("plot", series, "--data", "numbers", "--kind", "features", "--out", "third")
    assert outcome.code == 0, outcome.err
    assert [path.name for path in Path("third").iterdir()] == ["features.png"]
