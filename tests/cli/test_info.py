"""`hip info`: the list of the models, and the block table of one."""

import json
from pathlib import Path

from hiperceiver.modality import Modality
from hiperceiver.model import VARIANTS, variant_config
from hiperceiver.model.summary import summarise

from .conftest import Hip


def test_all_models_are_listed(hip: Hip) -> None:
    outcome = hip("info", "--modality", "image=32x32x3")
    assert (outcome.code, outcome.err) == (0, "")
    for name, config in VARIANTS.items():
        groups = " ".join(str(block.num_groups) for block in config.all_blocks)
        assert any(line.startswith(name) and groups in line for line in outcome.out.splitlines())
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "Parameters with image 32 x 32 x 3." in outcome.out


def test_a_table_of_blocks(hip: Hip) -> None:
    arguments = ["--modality", "image=64x64x3", "--modality=audio=6000x16", "--modality", "class=1x10:label"]
    outcome = hip("info", "hip-micro", *arguments, "--batch_size", 8, "--mask_ratio", ".85", "--json", "table.json")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "hip-micro with image 64 x 64 x 3, audio 6000 x 16, class label 1 x 10"
    assert max(map(len, lines)) <= 80
    assert "Batch of 8, 85% of each group hidden." in outcome.out
    modalities = {
        "image": Modality(grid=(64, 64), channels=3),
        "audio": Modality(grid=(6000,), channels=16),
        "class": Modality(grid=(1,), channels=10, role="label"),
    }
    summary = summarise(variant_config("hip-micro"), modalities, batch_size=8, mask_ratio=0.85)
    names = [stage.name for stage in summary.stages]
    assert [name for line in lines for name in names if line.startswith(f"{name} ")] == names
    written = json.loads(Path("table.json").read_text())
    assert written["num_parameters"] == summary.num_parameters
    assert [stage["flops"] for stage in written["stages"]] == [stage.flops for stage in summary.stages]
    assert hip("info", "hip-micro", "--json", "table.json").err == "hip: --json: table.json exists already\n"


def test_settings_change_the_table(hip: Hip) -> None:
    plain, fourier = (hip("info", "hip-nano", "--model-settings.positions", each).out for each in ("none", "fourier"))
    assert plain != fourier


def test_a_run_and_a_saved_model(finetuned: Path, hip: Hip) -> None:
    for name in (finetuned, finetuned / "model"):
        outcome = hip("info", name)
        assert outcome.out.startswith(f"{name} with image 16 x 16 x 3\n")
