"""From arguments to settings: spelling, order, files, help, and one line for every mistake."""

from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import yaml

from hiperceiver.cli.arguments import dump, parse
from hiperceiver.cli.errors import UserError
from hiperceiver.cli.options import options_of
from hiperceiver.settings.base import Count, PartOf, Settings


class Sound(Settings):
    """A sound."""

    kind: ClassVar[str] = "sound"

    rate: Count = 16000
    """Samples a second."""
    channels: Count = 1
    """Channels."""


class Picture(Settings):
    """A picture."""

    kind: ClassVar[str] = "picture"

    size: Count = 8
    """Pixels along a side."""
    channels: Literal[1, 3] = 3
    """Colours."""


KINDS = {"sound": Sound, "picture": Picture}


class Speed(Settings):
    """How fast. And nothing else."""

    max_time: str | None = None
    """Longest time; None: none."""
    rate: float = 0.5
    """Share from 0% to 100%."""


class Example(Speed):
    """A command of its own."""

    model: str = field(metadata={"is_positional": True})
    """Which model."""
    files: tuple[str, ...] = field(default=(), metadata={"is_positional": True})
    """Which files."""
    data: str
    """Where from."""
    start: str | None = field(default=None, metadata={"name": "from", "value": "FOLDER"})
    """What to start from."""
    steps: int | None = 10
    """How many."""
    mode: Literal["whole", "in-parts"] = "whole"
    """Which way."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Anything."""
    read: Mapping[str, Annotated[Mapping[str, Any], PartOf(KINDS)]] = field(default_factory=dict)
    """How to read each."""
    learned: Annotated[Mapping[str, Any], PartOf(KINDS)] = field(default_factory=dict)
    """What is learned."""
    turn: bool | Sound = False
    """Whether to turn it."""
    tag: tuple[str, ...] = ()
    """Any number of them."""
    resume: bool = False
    """Whether to go on."""


class One(Settings):
    """One."""

    model: str = field(metadata={"is_positional": True})
    """Which."""


def run(*arguments: str) -> Example | None:
    return parse(Example, arguments, program="hip test", summary="test the arguments")


def read(*arguments: str) -> Example:
    settings = run("m", "--data", "d", *arguments)
    assert settings is not None
    return settings


def test_nothing_but_what_is_required() -> None:
    assert read() == Example(model="m", data="d")


def test_texts_are_taken_as_they_stand() -> None:
    """To YAML " #" would begin a comment; quotes say that something is a text."""
    assert read("--from", "run #1").start == "run #1"
    assert read("--from", " a ").start == " a "
    assert read("--tag", "a #b", "--tag", "c: d #e").tag == ("a #b", "c: d #e")
    assert read("--from", "null").start is None
    assert read("--from", '"null"').start == "null"


@pytest.mark.parametrize("spelled", ["--max-time", "--max_time"])
@pytest.mark.parametrize("joined", [True, False])
def test_dashes_and_underscores_are_the_same(spelled: str, joined: bool) -> None:
    assert read(*([f"{spelled}=4m"] if joined else [spelled, "4m"])).max_time == "4m"


def test_values_keep_their_dashes_and_signs() -> None:
    settings = read("--from", "-3", "--mode", "in-parts", "--rate=-1e-3", "--tag", "a_b-c")
    assert (settings.start, settings.mode, settings.rate, settings.tag) == ("-3", "in-parts", -1e-3, ("a_b-c",))


def test_places_may_stand_anywhere() -> None:
    settings = run("--data=d", "m", "1.jpg", "--steps", "3", "2.jpg", "--resume", "3.jpg", "--", "--4.jpg")
    assert settings == Example(model="m", data="d", steps=3, resume=True, files=("1.jpg", "2.jpg", "3.jpg", "--4.jpg"))


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
    settings = run("--steps", "4", "--more.b", "2", "--config", str(file))
    assert settings == Example(model="m", data="d", steps=4, start="x", more={"a": 1, "b": 2}, tag=("t",))


def test_what_is_dumped_is_read_again(tmp_path: Path) -> None:
    settings = read("a.jpg", "--from", "x", "--more.a", "1", "--resume", "--rate", "1e-4", "--max-time", "00:04:00")
    settings = replace(settings, tag=("1e3", "12:30", "010", "0x1f", "2020-01-01", "no", "1_000", "1.", "~"))
    (tmp_path / "s.yaml").write_text(dump(settings))
    assert run("--config", str(tmp_path / "s.yaml")) == settings
    assert "from: x" in dump(settings)
    assert "from" not in yaml.safe_load(dump(settings, without=["from"]))


def test_print_config_is_a_file_that_can_be_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("m", "--data", "d", "--max-time", "5m", "--print_config") is None
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["max_time"] == "5m"
    (tmp_path / "s.yaml").write_text(printed)
    assert run("--config", str(tmp_path / "s.yaml")) == Example(model="m", data="d", max_time="5m")
    assert run("--print-config") is None  # a template, before anything else is known


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is printed, on one line."""
    assert run(*arguments) is None
    return " ".join(capsys.readouterr().out.split())


def test_the_whole_help_has_every_option_its_default_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--help-all")
    for part in [
        "usage: hip test MODEL FILES ... --data TEXT [options] Test the arguments.",
        "MODEL Which model. (required) FILES ... Which files. (default: [])",
        "--data TEXT Where from. (required)",
        "--max-time TEXT Longest time; null: none. (default: null)",
        "--rate X Share from 0% to 100%. (default: 0.5)",
        "--from FOLDER What to start from. (default: null)",
        "--steps N How many. (default: 10)",
        "--mode {whole,in-parts} Which way. (default: whole)",
        "--more MAPPING Anything. (default: {})",
        "--tag VALUE Any number of them. (default: [])",
        "--resume Whether to go on. (default: false)",
        "read of sound: --read.sound.rate N Samples a second. (default: 16000)",
        "read of picture: --read.picture.size N Pixels along a side. (default: 8)",
        "learned of sound: --learned.rate N Samples a second. (default: 16000)",
        "learned of picture: --learned.size N Pixels along a side. (default: 8)",
        "turn: --turn.rate N Samples a second. (default: 16000)",
        "A command of its own: MODEL",
        "How fast: --max-time",
    ]:
        assert part in text
    for option in options_of(Example).values():
        assert option.text.replace("None", "null") in text


def test_the_short_help_has_common_options_in_short(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--help")
    assert "MODEL Which model. FILES ... Which files. --from FOLDER What to start from." in text
    assert "--data TEXT Where from. --steps N How many. --max-time TEXT Longest time." in text
    assert "--rate" not in text
    assert "--help-all" in text


def test_the_help_of_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--help", "picture")
    assert "--read.picture.size" in text
    assert "--learned.size" in text
    assert "--read.sound.rate" not in text
    with pytest.raises(UserError, match="--help: no option has 'ste_ps' in its name; did you mean steps"):
        run("--help", "ste-ps")


def test_fields_of_one_of_several_classes() -> None:
    settings = read("--read.left.rate", "8000", "--read.picture.channels", "1", "--learned", '{"size": 3}')
    assert settings.read == {"left": {"rate": 8000}, "picture": {"channels": 1}}
    assert settings.learned == {"size": 3}


def test_settings_or_a_flag() -> None:
    assert read("--turn", "true").turn is True
    assert read("--turn.rate", "3").turn == Sound(rate=3)
    assert read("--turn", "true", "--turn.rate", "3").turn == read("--turn", '{"rate": 3}').turn == Sound(rate=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--step", "3"], "--step is not an option of hip test; did you mean --steps?"),
        (["--zzz"], "--zzz is not an option of hip test"),
        (["-x"], "-x is not an option of hip test"),
        (["--no-steps"], "--no-steps is not an option of hip test; did you mean --steps?"),
        (["--steps.a", "3"], "--steps.a is not an option of hip test; did you mean --steps?"),
        (["--model", "m"], "--model is not an option of hip test; did you mean --mode?"),
        (["--steps"], "--steps: expected a whole number, got nothing"),
        (["--steps", "--resume"], "--steps: expected a whole number, got nothing"),
        (["--steps", "many"], "--steps: expected a whole number, got 'many'"),
        (["--steps", "12:30"], "--steps: expected a whole number, got '12:30'"),
        (["--steps", "010"], "--steps: expected a whole number, got '010'"),
        (["--steps", "1.5"], "--steps: expected a whole number, got 1.5"),
        (["--rate", "fast"], "--rate: expected a number, got 'fast'"),
        (["--resume=maybe"], "--resume: expected true or false, got 'maybe'"),
        (["--mode", "half"], "--mode: expected one of whole, in-parts, got 'half'"),
        (["--more", "3"], '--more: expected a mapping such as {"name": value}, got 3'),
        (["--read.left.size", "0"], "--read.left.size: expected a whole number >= 1, got 0"),
        (["--read.left.rates", "1"], "--read.left.rates is not an option of hip test; did you mean --read.sound.rate?"),
        (["--sizes", "1"], "--sizes is not an option of hip test; did you mean --steps?"),
        (["--size", "1"], "--size is not an option of hip test; did you mean --read.picture.size?"),
        (["--read.sound.size", "3"], "--read.sound.size: not a setting of sound; picture has it"),
        (["--learned", '{"sizes": 3}'], "--learned.sizes: not a setting of sound, picture; did you mean size?"),
        (["--learned", '{"size": "big"}'], "--learned.size: expected a whole number >= 1, got 'big'"),
        (["--turn.rate", "0"], "--turn.rate: expected a whole number >= 1, got 0"),
        (["--turn", "left"], "--turn: expected true or false or a mapping such as {\"name\": value}, got 'left'"),
        (["--turn", '{"rat": 1}'], "--turn.rat: not a setting of Sound; did you mean rate?"),
        (["--config", "nowhere.yaml"], "--config: nowhere.yaml: no such file or directory"),
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
        ("steps: many\n", "--steps: expected a whole number, got 'many'"),
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
        run(*arguments)
    assert str(caught.value) == message


def test_too_much() -> None:
    with pytest.raises(UserError, match="hip one: expected MODEL, got 'b' as well"):
        parse(One, ["a", "b"], program="hip one")


class Crew(Settings):
    """A crew."""

    people: tuple[Count, ...] = ()
    """Their numbers."""


class Voyage(Settings):
    """A voyage."""

    ports: tuple[str, ...] = ()
    """Where it calls."""
    crew: Crew = Crew()
    """Who is aboard."""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--ports", "Ur"], Voyage(ports=("Ur",))),
        (["--ports", "Ur", "--ports", "Tyre"], Voyage(ports=("Ur", "Tyre"))),
        (["--ports", "[Ur, Tyre]"], Voyage(ports=("Ur", "Tyre"))),
        (["--ports", '["Ur", "Tyre"]'], Voyage(ports=("Ur", "Tyre"))),
        (["--crew.people", "2", "--crew.people", "4"], Voyage(crew=Crew(people=(2, 4)))),
        (["--crew.people", "[2, 4]"], Voyage(crew=Crew(people=(2, 4)))),
    ],
)
def test_a_list_is_given_item_by_item_or_as_a_whole(words: list[str], expected: Voyage) -> None:
    assert parse(Voyage, words, program="hip sail") == expected
