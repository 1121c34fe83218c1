"""Each recipe: its settings are understood, and its two commands lead from raw files to a result, in few steps."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from closeness import assert_close, terms_of

from hiperceiver.cli import data as cli_data
from hiperceiver.cli.entry import read_command
from hiperceiver.data.augment import augmentations_from_settings
from hiperceiver.data.sources import LAYOUTS, SOURCES, open_source
from hiperceiver.model import build_model, read_model, variant_config
from hiperceiver.recipes import RECIPES, read_recipe, recipe_commands, recipe_module
from hiperceiver.settings.augment import AugmentSettings
from hiperceiver.settings.commands import FinetuneSettings, PretrainSettings
from hiperceiver.tasks import TASKS, load_task

from ..cli.conftest import Hip
from ..data.sources.test_audioset import audioset
from ..data.sources.test_audioset import media as audioset_media  # noqa: F401 - a fixture
from ..data.sources.test_imagenet import class_folders
from ..data.sources.test_kinetics import kinetics
from ..data.sources.test_kinetics import media as kinetics_media  # noqa: F401 - a fixture
from ..data.sources.test_modelnet40 import hdf5, meshes
from ..data.sources.test_voc import voc
from . import golden

COMMANDS = {"pretrain": PretrainSettings, "finetune": FinetuneSettings}
OF_PAPER = tuple(name for name in RECIPES if name in LAYOUTS)
BOTH = [(name, command) for name in RECIPES for command in COMMANDS if command in recipe_commands(name)]


def settings_of(name: str, command: str, *more: str) -> Any:
    """What the command is told where the user names the recipe, and its data if it must."""
    data = ["--data", "folder"] if name in OF_PAPER else []
    return read_command(command, ["--recipe", name, *data, *more])


# ------------------------------------------------------------------------------------------------------------- settings


def test_there_is_a_recipe_for_every_built_in_set_and_every_data_set_of_the_paper() -> None:
    assert set(RECIPES) == {*SOURCES, *LAYOUTS, "earth-classes"} - {"folder", "table", "tinyimagenet", "webdataset"}


@pytest.mark.parametrize(("name", "command"), BOTH)
def test_settings_are_understood(name: str, command: str) -> None:
    settings, recipe = settings_of(name, command), read_recipe(name, command)
    assert isinstance(settings, COMMANDS[command])
    for option, value in recipe.items():
        field = "pretrained" if option == "from" else option
        expected = AugmentSettings.from_dict(value) if option == "augment" else value
        assert getattr(settings, field) == expected
    assert settings.data == ("folder" if name in OF_PAPER else name.removesuffix("-classes"))
    assert settings.steps is not None or settings.max_time is not None
    asked = sum(each is not False for each in recipe.get("augment", {}).values())
    assert len(augmentations_from_settings(settings.augment)) == asked
    overridden = settings_of(name, command, "--batch-size", "3", "--out", "elsewhere")
    assert overridden == replace(settings, batch_size=3, out="elsewhere")


@pytest.mark.parametrize(("name", "command"), BOTH)
def test_docstrings_name_their_commands(name: str, command: str) -> None:
    text = recipe_module(name).__doc__ or ""
    named = [words.split()[:4] for words in re.findall(r"hip \w+ --recipe [\w-]+", text)]
    assert ["hip", command, "--recipe", name] in named


@pytest.mark.parametrize("name", [name for name in RECIPES if len(recipe_commands(name)) == 2])
def test_the_second_command_starts_from_the_first(name: str) -> None:
    first, second = settings_of(name, "pretrain"), settings_of(name, "finetune")
    assert second.pretrained == first.out != second.out
    assert second.test
    assert second.task in TASKS


def test_what_recipes_do_not_say_is_asked_for(hip: Hip) -> None:
    message = "hip pretrain: --data is missing; see hip pretrain --help"
    assert hip("pretrain", "--recipe", "voc") == (2, "", f"hip: {message}\n")
    outcome = hip("finetune", "--recipe", "clip")
    assert outcome == (2, "", "hip: --recipe: 'clip' has nothing for this command, it is for hip pretrain\n")
    outcome = hip("pretrain", "--recipe", "languages")
    assert outcome == (2, "", "hip: --recipe: 'languages' has nothing for this command, it is for hip finetune\n")
    assert "from" not in read_recipe("languages", "finetune")
    outcome = hip("pretrain", "--recipe", "audiost")
    assert (outcome.code, outcome.err.endswith("got 'audiost'; did you mean audioset?\n")) == (2, True)


# ------------------------------------------------------------------------------------------- the data sets of the paper

Folder = Callable[[str], Path]


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Folder:
    """Writes a small folder in the layout of a published set."""

    def write(name: str) -> Path:
        root = tmp_path / "data" / name
        if name == "imagenet":
            class_folders(root / "train")
            class_folders(root / "val", count=2)
        elif name == "voc":
            voc(root)
        elif name == "modelnet40":
            meshes(root)
        elif name == "kinetics":
            kinetics(root, request.getfixturevalue("kinetics_media")["both"])
        else:
            media = request.getfixturevalue("audioset_media")
            audioset(root, media["both.mp4"])
            # Some have sound alone and some are gone, as in every copy of the set.
            files = sorted(root.rglob("*.mp4"))
            files[0].write_bytes(media["audio.mp4"])
        return root

    return write


SMALL = ("--steps", 2, "--batch-size", 2, "--accumulate", 1, "--precision", 32, "--validate-every", 2)
SMALLER: dict[str, tuple[object, ...]] = {
    "imagenet": ("--size", 32),
    "voc": ("--size", 32),
    "modelnet40": ("--encoders.points.num-points", 64),
    "kinetics": ("--encoders.video.size", 16, "--encoders.video.frames", 4),
    "audioset": (
        *("--encoders.video.size", 16, "--encoders.video.frames", 4),
        *("--encoders.audio.rate", 8000, "--encoders.audio.samples-per-token", 16),
    ),
}
METRIC = {"voc": "miou", "audioset": "map"}


@pytest.mark.parametrize("name", OF_PAPER)
def test_recipes_of_the_paper(name: str, folder: Folder, hip: Hip) -> None:
    data = folder(name)
    outcome = hip("pretrain", "--recipe", name, "--data", data, "--model", "hip-nano", *SMALLER[name], *SMALL)
    assert (outcome.code, "Traceback" in outcome.err) == (0, False), outcome.err
    size = ("--size", 32) if name == "voc" else ()
    outcome = hip("finetune", "--recipe", name, "--data", data, *size, *SMALL)
    assert (outcome.code, "Traceback" in outcome.err) == (0, False), outcome.err
    assert f"from runs/{name}/pretrain" in outcome.out
    measured = json.loads(Path(f"runs/{name}/finetune/test.json").read_text())
    assert 0 <= measured["metrics"][METRIC.get(name, "accuracy")] <= 1
    saved = read_model(f"runs/{name}/finetune/model")
    assert saved.task is not None
    assert saved.task["kind"] == settings_of(name, "finetune").task
    if name == "audioset":
        _answers_for_each_modality(hip)


def _answers_for_each_modality(hip: Hip) -> None:
    """The table that AudioSet shows, from one model."""
    run = "runs/audioset/finetune"
    outcome = hip("evaluate", run, "--each-modality", "--json", "each.json")
    assert outcome.code == 0, outcome.err
    assert all(column in outcome.out for column in ("all of 2", "audio alone", "video alone"))
    both = json.loads(Path("each.json").read_text())
    outcome = hip("evaluate", run, "--modalities", "audio", "--json", "audio.json")
    assert outcome.code == 0, outcome.err
    alone = json.loads(Path("audio.json").read_text())
    terms = terms_of(load_task(f"{run}/model").model)
    assert_close(alone["metrics"], both["alone"]["audio"], terms=terms, dtype=torch.float32)
    losses = [each["loss"] for each in (both["metrics"], *both["alone"].values())]
    assert len(set(losses)) == 3


def test_modelnet40_of_its_other_release(tmp_path: Path, hip: Hip) -> None:
    options = ("--recipe", "modelnet40", "--data", hdf5(tmp_path / "data"), *SMALL)
    pretrain = ("--model", "hip-nano", "--encoders.points", '{"num_points": 64, "order": "index"}')
    assert hip("pretrain", *options, *pretrain).code == 0
    assert hip("finetune", *options).code == 0
    saved = read_model("runs/modelnet40/finetune/model")
    assert (saved.encoders["points"]["order"], saved.classes) == ("index", ("airplane", "bathtub"))


FULL = {
    "imagenet": {"image": (224, 224, 3)},
    "voc": {"image": (512, 512, 3)},
    "modelnet40": {"points": (2048, 3)},
    "kinetics": {"video": (16, 224, 224, 3)},
    "audioset": {"audio": (122_880, 1), "video": (8, 224, 224, 3)},
}


@pytest.mark.parametrize("name", OF_PAPER)
def test_their_full_size_is_the_papers_and_the_model_takes_it(name: str, folder: Folder) -> None:
    settings = settings_of(name, "pretrain")
    source = open_source(folder(name), size=settings.size, missing=settings.missing)
    shapes = {each: (*modality.grid, modality.channels) for each, modality in source.modalities.items()}
    assert shapes == FULL[name]
    with torch.device("meta"):
        model = build_model(variant_config(settings.model), source.modalities)
    assert set(model.input_names) == set(shapes)


# ---------------------------------------------------------------------------------------------------- the built-in sets


@pytest.fixture
def _few_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty examples for validation and for test, evenly spread, to be quick."""
    whole = cli_data.open_source

    def shortened(data: Any, **options: Any) -> Any:
        source = whole(data, **options)
        for split in ("validation", "test"):
            part = source.splits[split]
            if len(part) > 40:
                rows = np.linspace(0, len(part) - 1, 40).astype(np.int64)
                source.splits[split] = replace(part, records=part.records.take(rows))
        return source

    monkeypatch.setattr(cli_data, "open_source", shortened)


QUICK: dict[str, tuple[object, ...]] = {
    "earth": ("--size", 32),
    "instruments": ("--model", "hip-nano", "--encoders.sound.rate", 4000),
    "clip": ("--size", 16, "--encoders.audio.rate", 4000),
}
TWENTY_STEPS = ("--steps", 20, "--batch-size", 4, "--log-every", 1, "--validate-every", 20)


@pytest.mark.usefixtures("_few_are_measured")
@pytest.mark.parametrize("name", [name for name in RECIPES if name not in OF_PAPER])
def test_recipes_of_built_in_sets_and_their_golden_losses(name: str, hip: Hip) -> None:
    for command in recipe_commands(name):
        options = [*TWENTY_STEPS, *(QUICK.get(name, ()) if command == "pretrain" else ("--train-share", 0.2))]
        if "max_time" in read_recipe(name, command):
            options += ["--max-time", "1000h"]  # for the schedule to follow the steps
        outcome = hip(command, "--recipe", name, *options)
        assert (outcome.code, "Traceback" in outcome.err) == (0, False), outcome.err
        assert ("explained" if command == "pretrain" else "baseline: ") in outcome.out
        run = golden.read_run(Path("runs", name, command))
        golden.check_run(f"{name} {command}", [str(each) for each in options], run)
    if "finetune" not in recipe_commands(name):
        return
    measured = json.loads(Path(f"runs/{name}/finetune/test.json").read_text())
    metrics, baseline = measured["metrics"], measured["floor"]["metrics"]
    assert baseline and set(baseline) <= set(metrics)
    # Twenty steps teach little; a baseline that they reach would be none.
    assert all(metrics[each] < baseline[each] for each in ("miou", "balanced_accuracy") if each in baseline)


def test_golden_defaults() -> None:
    golden.check_defaults()
