import dataclasses
import subprocess
import sys

import pytest

from hiperceiver.settings.base import field_docs
from hiperceiver.settings.run import TrainingSettings, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:04:00", 240), ("1:02:03", 3723), ("90s", 90), ("4m", 240), ("1.5h", 5400), ("1h30m", 5400), (" 2m5s ", 125)],
)
def test_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "4", "m", "4 m", "1.2.3s", "-4m", "0s", "00:00:00", "1:2", "00:61:00", "4d", None, 5]
)
def test_wrong_duration(text: object) -> None:
    with pytest.raises(ValueError, match="expected a length of time") as error:
        parse_duration(text)  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3600, "1:00:00"), (86461, "24:01:01")])
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", 1.5),
        ("max_time", "soon"),
        ("batch_size", 0),
        ("batch_size", None),
        ("accumulate", True),
        ("optimizer", "sgd"),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("final_learning_rate", 1.1),
        ("warmup", 1),
        ("flat", 1),
        ("weight_decay", -1),
        ("position_rate", 0),
        ("position_decay", -1),
        ("embedding_rate", 0),
        ("gradient_clip", 0),
        ("non_finite", "ignore"),
        ("ema", 1.0),
        ("precision", "16"),
        ("compile", 1),
        ("seed", -1),
        ("validate_every", 0),
        ("log_every", None),
        ("checkpoint_every", 0),
        ("checkpoint_every_seconds", 0),
        ("num_workers", -1),
        ("max_bad_share", -0.1),
        ("strict", "yes"),
        ("accelerator", "tpu"),
        ("devices", 0),
        ("num_nodes", 0),
        ("strategy", "deepspeed"),
    ],
)
def test_wrong_setting(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected .*got ") as error:
        TrainingSettings(**{name: value})
    assert "\n" not in str(error.value)


def test_every_setting_is_checked() -> None:
    checked = {name for name, _ in test_wrong_setting.pytestmark[0].args[1]}
    assert checked == {field.name for field in dataclasses.fields(TrainingSettings)}


def test_every_setting_is_documented() -> None:
    assert all(field_docs(TrainingSettings).values())


def test_a_run_always_ends() -> None:
    assert TrainingSettings().steps == 10_000
    assert TrainingSettings(max_time="4m").steps is None
    assert TrainingSettings(max_time="4m").max_seconds == 240
    assert TrainingSettings(steps=5).max_seconds is None


def test_settings_and_folder_do_not_load_torch() -> None:
    program = (
        "import sys; from hiperceiver.training import TrainingSettings, check_run_folder; "
        "assert not {'torch', 'lightning', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.needs_extras
def test_evaluation_does_not_load_lightning() -> None:
    program = "import sys; from hiperceiver.training import evaluate; assert 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
