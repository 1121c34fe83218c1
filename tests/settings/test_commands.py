"""The commands' settings: every option is explained, choices are those of the code they choose from."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from hiperceiver.cli import plot
from hiperceiver.cli.arguments import dump
from hiperceiver.cli.entry import COMMANDS, read_command, settings_class
from hiperceiver.cli.options import help_text, options_of, parts_of
from hiperceiver.data.augment import AUGMENTATIONS
from hiperceiver.data.encoders import ENCODERS
from hiperceiver.data.sources import LAYOUTS, SOURCES, find_source
from hiperceiver.settings import commands
from hiperceiver.settings.augment import AugmentSettings
from hiperceiver.settings.base import Settings, field_types
from hiperceiver.settings.commands import COMMON, FinetuneSettings, PretrainSettings
from hiperceiver.settings.data import DATA_SETTINGS, NoSettings
from hiperceiver.settings.encoders import ENCODER_SETTINGS
from hiperceiver.settings.model import ARCHITECTURES
from hiperceiver.settings.run import TrainingSettings
from hiperceiver.settings.tasks import TASK_CONFIGS, MaskedAutoencodingConfig
from hiperceiver.training.finetune import Start

SETTINGS: dict[str, type[Settings]] = {name: settings_class(name) for name in COMMANDS}


def choices(owner: type[Settings], name: str) -> set[Any]:
    """The values of a field's Literal."""
    parts = parts_of(field_types(owner)[name])
    return {value for part in parts if get_origin(part) is Literal for value in get_args(part)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    for option in options_of(SETTINGS[name]).values():
        assert option.text.endswith("."), option.name
        assert option.group


@pytest.mark.parametrize("name", COMMANDS)
def test_the_common_help_is_short_and_the_whole_one_is_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    settings = SETTINGS[name]
    common = help_text(settings, "common", program=f"hip {name}", summary="does something")
    assert len(common.splitlines()) <= 50
    everything = help_text(settings, "all", program=f"hip {name}", summary="does something")
    for option in options_of(settings).values():
        assert f"  {option.usage}" in everything


def test_common_options_exist() -> None:
    assert set(COMMON) <= {name for settings in SETTINGS.values() for name in options_of(settings)}


def test_every_field_of_every_task_is_an_option() -> None:
    options = options_of(FinetuneSettings)
    for config in TASK_CONFIGS.values():
        if config is not MaskedAutoencodingConfig:
            assert {f"task_settings.{name}" for name in field_types(config)} <= set(options)
    assert set(field_types(MaskedAutoencodingConfig)) <= set(options_of(PretrainSettings))


def test_every_field_of_every_encoder_augmentation_model_and_data_set_is_an_option() -> None:
    options = options_of(PretrainSettings)
    for kind, settings in ENCODER_SETTINGS.items():
        assert {f"encoders.{kind}.{name}" for name in field_types(settings)} <= set(options)
    for name in field_types(AugmentSettings):
        assert f"augment.{name}" in options
    for bag, classes in {"model_settings": ARCHITECTURES, "data_settings": DATA_SETTINGS}.items():
        assert {f"{bag}.{name}" for settings in classes.values() for name in field_types(settings)} <= set(options)


def test_tables_are_those_of_the_code() -> None:
    assert {
        name: encoder for name, encoder in ENCODERS.items() if not issubclass(encoder, ENCODER_SETTINGS[name])
    } == {}
    assert set(field_types(AugmentSettings)) == set(AUGMENTATIONS)
    assert DATA_SETTINGS.keys() < {*SOURCES, *LAYOUTS}
    assert all(find_source(name).settings is DATA_SETTINGS.get(name, NoSettings) for name in SOURCES)


def test_choices_are_those_of_the_code() -> None:
    assert choices(FinetuneSettings, "mode") == set(get_args(Start))
    assert choices(commands.DataSettings, "colours") == choices(ENCODER_SETTINGS["image"], "colours")
    assert choices(commands.DataSettings, "fit") == choices(ENCODER_SETTINGS["image"], "fit")
    assert choices(commands.PlotSettings, "pictures") == {*plot.KINDS, "all"}


def test_training_gets_its_part() -> None:
    whole = PretrainSettings(data="earth", steps=3, learning_rate=0.5, mask_ratio=0.5)
    assert whole.part(TrainingSettings) == TrainingSettings(steps=3, learning_rate=0.5)
    assert whole.part(MaskedAutoencodingConfig) == MaskedAutoencodingConfig(mask_ratio=0.5)
    assert {field.name for field in dataclasses.fields(TrainingSettings)} <= set(field_types(FinetuneSettings))


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_the_file_of_a_run_makes_the_same_settings(name: str, tmp_path: Path) -> None:
    arguments = ["--data", "earth", "--max-time", "4m", "--model-settings.drop_path", "0.1", "--columns.image", "img"]
    arguments += ["--from", "p", "--mode", "positions"] if name == "finetune" else ["--mask-ratio", "0.75"]
    parsed = read_command(name, arguments)
    assert isinstance(parsed, SETTINGS[name])
    (tmp_path / "settings.yaml").write_text(dump(parsed.with_absolute_paths(), without=("out", "resume")))
    assert read_command(name, ["--config", str(tmp_path / "settings.yaml")]) == parsed


def test_paths_hold_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    settings = FinetuneSettings(data="photos", pretrained="owner/model").with_absolute_paths()
    assert (settings.data, settings.pretrained) == (str(tmp_path / "photos"), "owner/model")


def test_the_whole_help_is_quick_and_loads_nothing_slow(tmp_path: Path) -> None:
    """In a quarter of what importing PyTorch takes beside it; the best of three, with compiled code kept."""
    program = (
        "import sys; from hiperceiver.cli import main; main(['finetune', '--help-all']); "
        "assert not {'torch', 'numpy', 'lightning_fabric'} & set(sys.modules)"
    )

    cached = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}

    def seconds(program: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL, env=cached)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    pairs = [(seconds(program), seconds("import torch")) for _ in range(3)]
    taken, with_torch = map(min, zip(*pairs, strict=True))
    assert taken < with_torch / 4
