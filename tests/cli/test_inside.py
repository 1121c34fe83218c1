"""`hip plot --kind attention` and `--kind features`, of models that were not trained."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from closeness import assert_close
from PIL import Image

from hiperceiver.cli import inside
from hiperceiver.cli.errors import UserError
from hiperceiver.data.example import Example
from hiperceiver.tasks import load_task

from .conftest import Hip, picture
from .saved_models import ENCODERS, save
from .test_plot import MASKED, assert_drawn, data

FRAMES = [f"attention-{{}}-{number}" for number in (1, 2)]
SEGMENTER = {"kind": "segmentation", "num_classes": 2}
ORDERS = ("raster", "hilbert", "morton", "shuffled")


@pytest.mark.parametrize("kind", ENCODERS)
def test_attention_of_every_kind_is_drawn(kind: str, tmp_path: Path, hip: Hip) -> None:
    model = save(tmp_path / "model", MASKED, kind)
    options = ["--data-settings.kind", kind, "--num-examples", 2, "--out", "drawn", "--kind", "attention"]
    outcome = hip("plot", model, "--data", data(kind), *options)
    first = FRAMES if kind in ("video", "volume") else ["attention-{}"]
    assert_drawn(outcome, kind, [name.format(kind) for name in (*first, "reads-{}")])
    for path in Path("drawn").iterdir():
        with Image.open(path) as drawn:
            assert max(drawn.size) < 2500


def drawn_of_clouds(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    position: str | None,
    task_settings: dict[str, Any] = MASKED,
    **model: Any,
) -> list[Any]:
    """A task on clouds and two of these, of 128 and 68 points; then what was drawn of each picture."""
    task, encoder = load_task(save(folder, task_settings, "points", **model)).eval(), ENCODERS["points"]
    examples = []
    for number, count in enumerate((200, 68)):
        tokens, is_padding = encoder.encode(np.random.default_rng(number).normal(size=(count, 3)))
        known = {} if is_padding is None else {"points": is_padding}
        examples.append(Example(inputs={"points": tokens}, is_padding=known, name=str(number)))
    drawn: list[Any] = [task, examples]
    for name in ("draw_attention_on_points", "draw_reading_of_point"):
        monkeypatch.setattr(inside, name, lambda *arguments, **words: drawn.append(arguments))
    list(inside.attention_pictures(task, {"points": encoder}, examples, title="", position=position))
    return drawn


def test_the_attention_of_clouds_is_a_softmax_over_the_points_of_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 groups of 8 tokens each: of 68 points the group 8 has four, those after it have none."""
    task, examples, (clouds, maps), _ = drawn_of_clouds(tmp_path / "model", monkeypatch, None)
    model = task.model
    block = model.blocks[0]
    layer = block.cross_attention
    assert [len(cloud) for cloud in clouds] == [128, 68]
    for example, attention in zip(examples, maps, strict=True):
        count = len(next(iter(attention.values())))
        with torch.no_grad():
            tokens = model.embedding["points"](example.inputs["points"]) + model.positions["points"]()
            for label, found in attention.items():
                group, latent = map(int, re.findall(r"\d+", label))
                mine = slice(8 * group, max(min(8 * group + 8, count), 8 * group))
                asked = layer.query(layer.query_norm(block.latents[16 * group + latent]))
                keys = layer.key_value(layer.token_norm(tokens[mine]))[:, : len(asked)]
                scores = (keys * asked).unflatten(1, (layer.num_heads, -1)).sum(-1)
                scores /= (len(asked) / layer.num_heads) ** 0.5
                expected = torch.full((count,), torch.nan)
                expected[mine] = scores.softmax(0).mean(-1) * len(scores)
                assert np.isnan(found).tolist() == expected.isnan().tolist()
                assert_close(np.nan_to_num(found), expected.nan_to_num(), terms=64)


@pytest.mark.parametrize(("task", "order"), [*((MASKED, order) for order in ORDERS), (SEGMENTER, "raster")])
def test_a_point_reads_and_the_readers_of_its_first_latent_lie_in_its_group(
    task: dict[str, Any], order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = drawn_of_clouds(tmp_path / "model", monkeypatch, "41", task, token_order=order)
    clouds, weights, readers, point = drawn[-1]
    assert point == 41
    for cloud, own, shares in zip(clouds, weights, readers, strict=True):
        assert len(shares) == len(cloud)
        assert_close(own.sum(), 1.0, terms=16)
        assert shares[41] == own.max()
        if order == "raster":
            assert np.flatnonzero(np.isfinite(shares)).tolist() == list(range(40, 48))


@pytest.mark.parametrize("position", ["68", "1,2", "0,0,1", "x", "-1"])
def test_a_point_that_not_every_cloud_has_is_refused(
    position: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = f"--position: expected the number of a point of 'points', from 0 to 67, got '{position}'"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        drawn_of_clouds(tmp_path / "model", monkeypatch, position)


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
    model = save(tmp_path / "model", SEGMENTER, "image", classes=("dark", "bright"), token_order="hilbert")
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
