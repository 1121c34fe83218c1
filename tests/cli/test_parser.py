"""From arguments to settings: spelling, places, files, and one line for every mistake."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from hiperceiver.cli.errors import UserError
from hiperceiver.cli.parser import Schema, dump, parse


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast. And nothing else."""

    max_time: str | None = None
    """Longest time; None: none."""
    rate: float = 0.5
    """Share from 0% to 100%."""


@dataclass(frozen=True, kw_only=True)
class Settings(Speed):
    """A command of its own."""

    model: str = field(metadata={"positional": True})
    """Which model."""
    files: tuple[str, ...] = field(default=(), metadata={"positional": True})
    """Which files."""
    data: str
    """Where from."""
    start: str | None = field(default=None, metadata={"option": "from", "value": "FOLDER"})
    """What to start from."""
    steps: int | None = 10
    """How many."""
    mode: Literal["whole", "in-parts"] = "whole"
    """Which way."""
    more: dict[str, Any] = field(default_factory=dict)
    """Anything."""
    tag: tuple[str, ...] = ()
    """Any number of them."""
    resume: bool = False
    """Whether to go on."""


SCHEMA = Schema.of(Settings, program="hip test", summary="test the parser")


def read(*arguments: str) -> Settings:
    settings = parse(SCHEMA, ["m", "--data", "d", *arguments])
    assert isinstance(settings, Settings)
    return settings


def test_nothing_but_what_is_required() -> None:
    assert read() == Settings(model="m", data="d")


@pytest.mark.parametrize("spelled", ["--max-time", "--max_time"])
@pytest.mark.parametrize("joined", [True, False])
def test_dashes_and_underscores_are_the_same(spelled: str, joined: bool) -> None:
    assert read(*([f"{spelled}=4m"] if joined else [spelled, "4m"])).max_time == "4m"


def test_values_keep_their_dashes_and_signs() -> None:
    settings = read("--from", "-3", "--mode", "in-parts", "--rate=-1e-3", "--tag", "a_b-c")
    assert (settings.start, settings.mode, settings.rate, settings.tag) == ("-3", "in-parts", -1e-3, ("a_b-c",))


def test_places_may_stand_anywhere() -> None:
    settings = parse(SCHEMA, ["--data=d", "m", "1.jpg", "--steps", "3", "2.jpg", "--resume", "3.jpg", "--", "--4.jpg"])
    assert settings == Settings(model="m", data="d", steps=3, resume=True, files=("1.jpg", "2.jpg", "3.jpg", "--4.jpg"))


def test_flags_need_no_value() -> None:
    assert read("--resume").resume
    assert read("--resume", "true").resume
    assert not read("--resume", "--resume=false").resume
    assert not read("--resume", "--no-resume").resume


def test_null_is_no_value() -> None:
    assert read("--steps", "null").steps is None


def test_lists_are_gathered() -> None:
    assert read("--tag", "a", "--tag=b, c").tag == ("a", "b, c")


def test_mappings_whole_and_by_parts() -> None:
    for arguments in (["--more", '{"a": [1, 2]}', "--more.b-c", "0.5"], ["--more.b_c=0.5", '--more={"a": [1, 2]}']):
        assert read(*arguments).more == {"a": [1, 2], "b_c": 0.5}


def test_a_file_and_what_overrides_it(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("model: m\ndata: d\nsteps: 3\nfrom: x\nmore: {a: 1}\ntag: [t]\n")
    settings = parse(SCHEMA, ["--steps", "4", "--more.b", "2", "--config", str(file)])
    assert settings == Settings(model="m", data="d", steps=4, start="x", more={"a": 1, "b": 2}, tag=("t",))


def test_what_is_dumped_is_read_again(tmp_path: Path) -> None:
    settings = read("a.jpg", "--from", "x", "--more.a", "1", "--resume", "--rate", "1e-4", "--max-time", "00:04:00")
    (tmp_path / "s.yaml").write_text(dump(settings))
    assert parse(SCHEMA, ["--config", str(tmp_path / "s.yaml")]) == settings
    assert "from: x" in dump(settings)
    assert "from" not in yaml.safe_load(dump(settings, without=["start"]))


def test_print_config_is_a_file_that_can_be_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert parse(SCHEMA, ["m", "--data", "d", "--max-time", "5m", "--print_config"]) is None
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["max_time"] == "5m"
    (tmp_path / "s.yaml").write_text(printed)
    assert parse(SCHEMA, ["--config", str(tmp_path / "s.yaml")]) == Settings(model="m", data="d", max_time="5m")
    assert parse(SCHEMA, ["--print-config"]) is None  # a template, before anything else is known


def test_help_names_every_option_its_default_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(SCHEMA, ["--help"]) is None
    text = " ".join(capsys.readouterr().out.split())
    assert "usage: hip test MODEL FILES ... --data DATA [options]" in text
    for part in [
        "MODEL Which model. FILES ... Which files.",
        "--data DATA Where from. (required)",
        "--max-time MAX-TIME Longest time; null: none. (default: null)",
        "--rate X Share from 0% to 100%. (default: 0.5)",
        "--from FOLDER What to start from. (default: null)",
        "--steps N How many. (default: 10)",
        "--mode {whole,in-parts} Which way. (default: whole)",
        "--more MAPPING Anything. (default: {})",
        "--tag TAG Any number of them. (default: none)",
        "--resume Whether to go on. (default: false)",
        "A command of its own:",
        "How fast: And nothing else.",
    ]:
        assert part in text
    for option in SCHEMA.options.values():
        assert option.text in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--step", "3"], "--step is not an option of hip test; did you mean --steps?"),
        (["--zzz"], "--zzz is not an option of hip test"),
        (["-x"], "-x is not an option of hip test"),
        (["--no-steps"], "--no-steps is not an option of hip test; did you mean --steps?"),
        (["--steps.a", "3"], "--steps.a is not an option of hip test; did you mean --steps?"),
        (["--model", "m"], "--model is not an option of hip test; did you mean --mode?"),
        (["--steps"], "--steps: expected a whole number or null, got nothing"),
        (["--steps", "--resume"], "--steps: expected a whole number or null, got nothing"),
        (["--steps", "many"], "--steps: expected a whole number or null, got many"),
        (["--steps", "1.5"], "--steps: expected a whole number or null, got 1.5"),
        (["--rate", "fast"], "--rate: expected a number, got fast"),
        (["--resume=maybe"], "--resume: expected true or false, got maybe"),
        (["--mode", "half"], "--mode: expected one of whole, in-parts, got half"),
        (["--more", "3"], "--more: expected a mapping such as '{\"dropout\": 0.1}', got 3"),
        (["--config", "nowhere.yaml"], "--config: nowhere.yaml: No such file or directory"),
        (["--config"], "--config: expected a file, got nothing"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: many\n", "--steps: expected a whole number or null, got many"),
        ("stepps: 3\n", "'stepps' is not a setting of hip test; did you mean steps?"),
        ("- 3\n", "expected lines of `name: value`, got '[3]'"),
        ("", "expected lines of `name: value`, got 'None'"),
        ("a: [\n", "is not valid YAML: while parsing a flow node"),
    ],
)
def test_mistakes_in_files(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        read("--config", str(tmp_path / "s.yaml"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "hip test: MODEL is missing; see hip test --help"),
        (["m"], "hip test: --data is missing; see hip test --help"),
    ],
)
def test_what_is_missing(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(SCHEMA, arguments)
    assert str(caught.value) == message


def test_too_much() -> None:
    @dataclass(frozen=True, kw_only=True)
    class One:
        """One."""

        model: str = field(metadata={"positional": True})
        """Which."""

    schema = Schema.of(One, program="hip one", summary="take one")
    with pytest.raises(UserError, match="hip one: expected MODEL, got 'b' as well"):
        parse(schema, ["a", "b"])
