"""Bad command lines: what people type, paste and mistype, drawn from the real commands, their options and the kinds of
their values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Literal, get_args, get_origin

from hiperceiver.cli.entry import COMMANDS, settings_class
from hiperceiver.cli.options import Option, options_of, parts_of

Line = list[str]

TRAINING = ("--model", "hip-nano", "--size", "8", "--steps", "1", "--batch-size", "2")
BASES: dict[str, list[Line]] = {
    # Training is refused late, so that none of the 500 lines trains unless another mistake undoes this one.
    "pretrain": [["--data", "pictures", *TRAINING, "--mask-ratio", "0.001"]],
    "finetune": [
        ["--data", "pictures", *TRAINING, "--task-settings.num_classes", "2"],
        ["--data", "masks", "--task", "segmentation", *TRAINING, "--task-settings.num_classes", "2"],
        ["--data", "pictures", "--from", "model", "--steps", "1", "--task-settings.num_classes", "2"],
        ["--data", "waves", "--task", "forecasting", "--model", "hip-nano", "--steps", "1"],
    ],
    "evaluate": [["model", "--data", "pictures", "--split", "train"]],
    "predict": [["model", "pictures/cat/0.png"], ["model", "pictures", "--json", "out.json"]],
    "export": [["model", "--out", "exported", "--what", "decoder"]],
    "plot": [["model", "--kind", "positions", "--out", "drawn"]],
    "models": [[], ["watch"], ["wacht"]],
    "info": [["hip-nano"], ["model"], ["hip-nano", "--modality", "image=8x8x3"]],
    "runs": [["."], ["model", "--json", "out.json"]],
}
"""Lines that are right, or nearly so, in the folder that `make_folder` makes."""

ODD = (
    *("", " ", "-", "--", "=", ".", "..", "?", "*", "nan", "inf", "-inf", "1e400", "-1", "0", "1.5", "-0.0", "0x10"),
    *("99999999999999999999", "-99999999999999999999", "9" * 5000, "true", "no", "null", "~", "[]", "{}", "[1", "{a"),
    *("{a: 1}", "[1, 2, 3]", "[[1]]", "{1: 2}", "{image: {}}", "[" * 3000, "{a: " * 1000, "- a", "a: b: c", "&a [*a]"),
    *("!!python/object/apply:os.getcwd []", "2001-01-01", "12:30", "é", "٣", "\u202egpj", "\x1b[31mred", "\udcff"),
    *("a\nb", "a\tb", "x" * 3000, "%s", "{0}", "$HOME", "'", '"', "\\", "None", "True", "1_000", "1,5", "5%", "1e3"),
)
PATHS = (
    *("", " ", ".", "nowhere", "./nowhere", "no/where", "no/whe re", "a/b/c", "~nobody/x", "\udcff", "x" * 300),
    *("pictures", "pictures/cat", "pictures/cat/0.png", "empty", "broken.yaml", "list.yaml", "good.yaml", "noise.bin"),
    *("model", "model/config.json", "masks", "/dev/null", "/dev/zero", "table.csv", "loop", "gone", "..//pictures"),
    *("owner/name", "Owner/na\nme", "-rf", "--data", "file:///etc/passwd", "http://localhost/x", "pictures\x1b[2J"),
)
_PATH_OPTIONS = ("data", "from", "out", "json", "config", "checkpoint", "files", "model", "recipe")
_STARTS_WORK = (
    "steps",
    "max_time",
    "num_workers",
    "devices",
    "num_nodes",
    "accumulate",
    "compile",
    "resume",
    "strategy",
)
"""Options of which right values may begin long work, or processes."""
_NEVER = ("0", "-1", "1.5", "x", "", "nan", "[]", "{}")  # right for none of these

Mistake = Callable[[Line, str, Random], Line]


def command_line(seed: int) -> Line:
    """A bad command line; the same for the same seed."""
    rng = Random(f"command line {seed}")
    command = rng.choices(list(BASES), weights=(6, 6, 3, 4, 1, 1, 1, 3, 1))[0]
    line = list(rng.choice(BASES[command]))
    for _ in range(rng.choice((1, 1, 2, 3))):
        line = rng.choice(_MISTAKES)(line, command, rng)
    return [_misnamed(command, rng) if rng.random() < 0.02 else command, *line]


def _misnamed(command: str, rng: Random) -> str:
    return rng.choice((command.upper(), command[1:], "", f"--{command}", "train", command + " ", "\x1b[31m"))


def _options(command: str) -> list[Option]:
    return [option for option in options_of(settings_class(command)).values() if not option.is_positional]


def _kind(option: Option) -> Any:
    return next(iter(parts_of(option.hint)), str)


def _value(option: Option, rng: Random) -> str:
    """A value that may be right."""
    last = option.name.rpartition(".")[2]
    if option.name in _STARTS_WORK:
        return rng.choice(_NEVER)
    if option.name in _PATH_OPTIONS:
        return rng.choice(PATHS)
    kind = _kind(option)
    if get_origin(kind) is Literal:
        return str(rng.choice(get_args(kind)))
    if kind is bool:
        return rng.choice(("true", "false"))
    if kind in (int, float):
        return rng.choice(("1", "2", "3", "7", "8", "16", "0.5", "0.9", "100000" if last == "size" else "64"))
    return rng.choice(
        ("image", "audio", "a", "label", "cat", "dog", "[image]", "3", "[8, 8]", "[0.5, 0.5, 0.5]", "earth")
    )


def _written(name: str, value: str, rng: Random) -> Line:
    return [f"{name}={value}"] if rng.random() < 0.3 else [name, value]


def _an_option(line: Line, command: str, rng: Random) -> Line:
    """An option more, with a value that may fit."""
    option = rng.choice(_options(command))
    return [*line, *_written(option.spelled, _value(option, rng), rng)]


def _an_odd_value(line: Line, command: str, rng: Random) -> Line:
    option = rng.choice(_options(command))
    odd = rng.choice(_NEVER if option.name in _STARTS_WORK else ODD)
    return [*line, *_written(option.spelled, odd, rng)]


def _an_odd_value_in_place(line: Line, command: str, rng: Random) -> Line:
    places = [n for n, word in enumerate(line) if n and line[n - 1].startswith("--") and line[n - 1] != "--steps"]
    if places:
        line = list(line)
        line[rng.choice(places)] = rng.choice(ODD)
    return line


def _misspelled(line: Line, command: str, rng: Random) -> Line:
    name = rng.choice(_options(command)).spelled
    at = rng.randrange(2, len(name))
    wrong = rng.choice(
        (
            *(name[:at] + name[at + 1 :], name[:at] + "x" + name[at:], name[1:], "-" + name, name.upper(), name + "."),
            *(name + ".more", name.replace(".", ".."), name.replace("-", "_"), f"--no-{name[2:]}", f"{name}é"),
        )
    )
    return [*line, *_written(wrong, rng.choice(ODD), rng)]


def _an_odd_word(line: Line, command: str, rng: Random) -> Line:
    at = rng.randrange(len(line) + 1)
    words = (
        "--",
        "---",
        "--=",
        "--=1",
        "--.",
        "--encoders.",
        "--encoders..rate=1",
        "--columns.=a",
        "-x",
        "-",
        "--help",
    )
    more = ("--print-config", "--print-config=skip_default", "--help-all", "--help=zzz", "--config", *ODD, *PATHS)
    return [*line[:at], rng.choice(words + more), *line[at:]]


def _a_missing_value(line: Line, command: str, rng: Random) -> Line:
    return [*line, rng.choice(_options(command)).spelled]


def _something_lost(line: Line, command: str, rng: Random) -> Line:
    if not line:
        return line
    at = rng.randrange(len(line))
    return line if line[at] == "1" else [*line[:at], *line[at + 1 :]]  # `--steps 1` keeps its number


def _twice(line: Line, command: str, rng: Random) -> Line:
    names = [word for word in line if word.startswith("--") and "=" not in word and word != "--steps"]
    return [*line, *_written(rng.choice(names), rng.choice((*ODD, *PATHS)), rng)] if names else line


def _another_order(line: Line, command: str, rng: Random) -> Line:
    if rng.random() < 0.5:
        return rng.sample(line, len(line))
    return line[::-1]


def _another_path(line: Line, command: str, rng: Random) -> Line:
    named = [option for option in _options(command) if option.name in _PATH_OPTIONS]
    if named and rng.random() < 0.6:
        return [*line, *_written(rng.choice(named).spelled, rng.choice(PATHS), rng)]
    places = [n for n, word in enumerate(line) if word in ("pictures", "masks", "model", "waves", "pictures/cat/0.png")]
    line = list(line)
    if places:
        line[rng.choice(places)] = rng.choice(PATHS)
    return line


def _a_file_of_settings(line: Line, command: str, rng: Random) -> Line:
    return [
        *line,
        *_written("--config", rng.choice(("broken.yaml", "list.yaml", "good.yaml", "noise.bin", "run.yaml")), rng),
    ]


_CONFLICTS: Sequence[Line] = (
    *(
        ["--from", "model"],
        ["--mode", "positions"],
        ["--resume"],
        ["--resume", "--out", "empty"],
        ["--out", "pictures"],
    ),
    *(["--task", "regression"], ["--task", "forecasting"], ["--task", "joint"], ["--layout", "voc"], ["--fit", "pad"]),
    *(["--only-classes", "cat", "--leave-out-classes", "cat"], ["--modalities", "audio"], ["--columns.image", "x"]),
    *(["--data-settings.kind", "audio"], ["--data-settings.stream"], ["--split", "test"], ["--each-modality"]),
    *(["--encoders.image.mean", "[1]"], ["--augment.crop.scale", "[1, 0]"], ["--top", "7"], ["--balance", "1"]),
    *(["--task-settings.mixup", "0.5"], ["--model-settings.blocks", "[]"], ["--modality", "image=8x8x3"], ["--strict"]),
    *(["--warmup", "0.6", "--flat", "0.6"], ["--probe-train", "5"], ["--mask-block", "7"], ["--compared-share", "1"]),
)


def _a_conflict(line: Line, command: str, rng: Random) -> Line:
    return [*line, *rng.choice(_CONFLICTS)]


_MISTAKES: tuple[Mistake, ...] = (
    *(
        _an_option,
        _an_option,
        _an_option,
        _an_odd_value,
        _an_odd_value,
        _an_odd_value_in_place,
        _misspelled,
        _misspelled,
    ),
    *(_an_odd_word, _a_missing_value, _something_lost, _twice, _another_order, _another_path, _another_path),
    *(_a_file_of_settings, _a_conflict, _a_conflict),
)

assert BASES.keys() == COMMANDS.keys() - {"serve"}  # which would not end where a line is right
