"""The commands' settings against what they stand for: the same names, choices and defaults as further down."""

import dataclasses
from typing import get_args, get_type_hints

import pytest

from hiperceiver.cli import plot, settings
from hiperceiver.cli.entry import COMMANDS
from hiperceiver.cli.parser import Schema, dump, parse
from hiperceiver.cli.settings import FinetuneSettings, MaskSettings, PlotSettings, PretrainSettings
from hiperceiver.data.encoders.image import Fit, Mode
from hiperceiver.settings.run import Accelerator, Precision, TrainingSettings
from hiperceiver.tasks import TASKS, MaskedAutoencodingConfig
from hiperceiver.training.finetune import Start


def choices(owner: type, name: str) -> set[object]:
    """Values of a Literal, perhaps with None."""
    hint = get_type_hints(owner)[name]
    parts = get_args(hint)
    return {value for part in parts for value in (get_args(part) or (part,)) if part is not type(None)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_means(name: str) -> None:
    schema = Schema.of(getattr(settings, COMMANDS[name].settings), program=name, summary="")
    for option in schema.options.values():
        assert option.text.endswith("."), option.name
        assert option.group


def test_masks_are_as_the_task_has_them() -> None:
    ours, theirs = MaskSettings(), MaskedAutoencodingConfig()
    assert (ours.mask_ratio, ours.mask_strategy) == (theirs.mask_ratio, theirs.mask_strategy)
    assert (ours.loss_on, ours.target_normalisation) == (theirs.loss_on, theirs.target_normalisation)
    assert ours.compared_share == theirs.compared_share
    for name in ("mask_strategy", "loss_on", "target_normalisation"):
        assert choices(MaskSettings, name) == choices(MaskedAutoencodingConfig, name)


def test_choices_are_as_further_down() -> None:
    assert choices(FinetuneSettings, "mode") == set(get_args(Start))
    text = Schema.of(FinetuneSettings, program="", summary="").options["task"].text
    assert all(kind in text for kind in set(TASKS) - {"masked-autoencoding"})
    assert choices(settings.DataSettings, "colours") == set(get_args(Mode))
    assert choices(settings.DataSettings, "fit") == set(get_args(Fit))
    assert choices(settings.EvaluateSettings, "accelerator") == set(get_args(Accelerator))
    assert choices(settings.EvaluateSettings, "precision") == set(get_args(Precision))
    assert choices(PlotSettings, "kind") == {*plot.KINDS, "all"}


def test_training_gets_its_part() -> None:
    whole = PretrainSettings(data="earth", steps=3, learning_rate=0.5)
    assert whole.training() == TrainingSettings(steps=3, learning_rate=0.5)
    assert {field.name for field in dataclasses.fields(TrainingSettings)} <= {
        field.name for field in dataclasses.fields(PretrainSettings)
    }


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_the_file_of_a_run_makes_the_same_settings(name: str, tmp_path) -> None:
    schema = Schema.of(getattr(settings, COMMANDS[name].settings), program=name, summary="")
    arguments = ["--data", "earth", "--max-time", "4m", "--model-settings.drop_path", "0.1", "--columns.image", "img"]
    arguments += ["--from", "p", "--mode", "positions"] if name == "finetune" else ["--mask-ratio", "0.75"]
    parsed = parse(schema, arguments)
    (tmp_path / "settings.yaml").write_text(dump(parsed.whole(), without=("out", "resume")))
    assert parse(schema, ["--config", str(tmp_path / "settings.yaml")]) == parsed
