"""From arguments, YAML files and recipes to a command's settings.

The settings class is the only source: `cli.options` has its fields as options, and its checks give the messages.
Options may be spelled with `-` or `_`, and stand before or after positional arguments.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml

from hiperceiver.cli.errors import UserError, one_line, with_option_names
from hiperceiver.cli.options import OWN, help_text, hints_at, option_names, options_of, parts_of, spelled
from hiperceiver.settings.base import Settings, checked, default_of, did_you_mean, in_words, is_required
from hiperceiver.settings.old_names import FORMAT, settings_of_format_1

Command = TypeVar("Command", bound=Settings)

_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def parse(
    settings: type[Command],
    arguments: Sequence[str],
    *,
    program: str,
    summary: str = "",
    read_recipe: Callable[[str], Mapping[str, Any]] | None = None,
) -> Command | None:
    """A command's settings: options win over YAML files, these over the recipe, and that over the defaults.

    Args:
        settings: the command's class.
        arguments: as on the command line.
        program: such as `hip pretrain`.
        summary: what the command does, for its help.
        read_recipe: gives the settings that `--recipe NAME` stands for.

    Returns:
        None if only the help or the settings were wanted, which are printed.

    Raises:
        UserError: an argument or a file that the command does not understand.
    """
    options = options_of(settings)
    given, own = _sort(settings, list(arguments), program)
    if "help" in own:
        print(help_text(settings, own["help"][0], program=program, summary=summary))
        return None
    values: dict[str, Any] = {}
    out = given.get("out", "")
    is_resumed = given.get("resume") is True and "out" in given
    run, configs = Path(out, "settings.yaml"), [Path(path) for path in own.get("config", ())]
    if is_resumed and run.is_file():
        if _read_yaml(run)[1] != FORMAT:
            raise UserError(f"--resume: an earlier version began {out}; go on in a new run, with --from {out}")
        configs.insert(0, run)
    elif read_recipe is not None and given.get("recipe") is not None:
        values = {name: value for name, value in read_recipe(given["recipe"]).items() if name in options}
    for path in configs:
        values.update(read_config(path))
        for name in values:
            if name not in options:
                hint = did_you_mean(name, options)
                raise UserError(f"--config: {path}: {name!r} is not a setting of {program}{hint}")
    for name in sorted(given, key=lambda name: name.count(".")):
        values = _with_value(values, name.split("."), given[name])
    top = [option for option in options.values() if "." not in option.name]
    if "print_config" in own:
        defaults = {option.name: default_of(option.field) for option in top}
        changed = {name: value for name, value in values.items() if value != defaults[name]}
        print(_to_yaml(changed if own["print_config"] == ["skip_default"] else defaults | changed), end="")
        return None
    for option in top:
        if is_required(option.field) and option.name not in values:
            if is_resumed:
                raise UserError(f"--out: {out} holds no run to go on with, it has no settings.yaml")
            raise UserError(f"{program}: {option.spelled} is missing; see {program} --help")
    try:
        return settings.from_dict(values)
    except ValueError as error:
        raise UserError(with_option_names(str(error), option_names(settings))) from None


def dump(settings: Settings, *, without: Sequence[str] = ()) -> str:
    """YAML from which `--config` makes the same settings again, but for the names to leave out."""
    return _to_yaml({name: value for name, value in settings.to_dict().items() if name not in without})


def read_config(path: Path) -> dict[str, Any]:
    """The settings in a YAML file; a run's, which say which version wrote them, as the present version has them.

    Raises:
        UserError: it cannot be read, is no mapping, or a later version wrote it.
    """
    values, written_as = _read_yaml(path)
    return settings_of_format_1(values) if written_as == 1 else values


def _read_yaml(path: Path) -> tuple[dict[str, Any], int]:
    """A file's settings, and their format."""
    try:
        text = path.read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    except OSError as error:
        raise UserError(f"--config: {path}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"--config: {path}: is not valid YAML: {one_line(error)[:200]}") from None
    if not isinstance(values, dict):
        raise UserError(f"--config: {path}: expected lines of `name: value`, got {one_line(values)[:60]!r}")
    written_as = values.pop("format", 1 if text.startswith("# hip ") else FORMAT)
    if written_as not in (1, FORMAT):
        newer = "a newer hiperceiver may read it"
        raise UserError(f"--config: {path}: expected format {FORMAT}, got {written_as!r}; {newer}")
    return values, written_as


def _sort(settings: type[Settings], rest: list[str], program: str) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The plain values of arguments by the names of settings, and those of the options that are no settings."""
    options = options_of(settings)
    values: dict[str, Any] = {}
    own: dict[str, list[str]] = {}
    positional: list[str] = []
    while rest:
        token = rest.pop(0)
        if token == "--":
            positional += rest
            break
        if not token.startswith("-") or len(token) == 1 or isinstance(_plain(token), int | float):
            positional.append(token)
            continue
        token, equals, text = token.partition("=")
        name = token.removeprefix("--").replace("-", "_")
        if token == "-h" or name in ("help", "help_all"):
            word = rest.pop(0) if rest and name == "help" and not rest[0].startswith("-") else "common"
            own["help"] = ["all" if name == "help_all" else word.replace("-", "_")]
        elif name == "print_config":
            own[name] = [text]
        elif name == "config":
            own.setdefault(name, []).append(text if equals else _next(name, "a file", rest))
        else:
            hints = hints_at(settings, name.split("."))
            if not hints and name.startswith("no_") and hints_at(settings, [name[3:]]) == [bool]:
                name, equals, text, hints = name[3:], "=", "false", [bool]
            option = options.get(name)
            if not hints or not token.startswith("--") or (option is not None and option.is_positional):
                known = [each.spelled for each in options.values()] + [f"--{each.split()[0]}" for each in OWN]
                inside = [each.spelled for full, each in options.items() if full.endswith(f".{name}")]
                hint = did_you_mean(spelled(name.lstrip("_")), known)
                if inside:
                    hint = f"; did you mean {inside[0]}?"
                raise UserError(f"{token} is not an option of {program}{hint}")
            if not equals and hints == [bool]:
                text = rest.pop(0) if rest and rest[0].lower() in _BOOLEANS else "true"
            elif not equals:
                text = _next(name, in_words(hints[0]), rest)
            if option is not None and option.is_list:
                values.setdefault(name, []).append(_value(name, text, get_args(option.hint)[:1]))
            else:
                values[name] = _value(name, text, hints)
    wanted = [option for option in options.values() if option.is_positional]
    for option in wanted:
        if positional:
            values[option.name] = positional if option.is_list else positional[0]
            positional = [] if option.is_list else positional[1:]
    if positional:
        usage = " ".join(option.spelled for option in wanted) or "options alone"
        raise UserError(f"{program}: expected {usage}, got {positional[0]!r} as well")
    return values, own


def _next(name: str, expected: str, rest: list[str]) -> str:
    if not rest or (rest[0].startswith("--") and len(rest[0]) > 2):
        raise UserError(f"{spelled(name)}: expected {expected}, got nothing")
    return rest.pop(0)


def _plain(text: str) -> Any:
    """A number, text, list or mapping, as JSON or YAML has it; 1e-3 is a number too."""
    for read in (json.loads, yaml.safe_load):
        try:
            return read(text)
        except (ValueError, yaml.YAMLError):
            continue
    return text


def _value(name: str, text: str, hints: Sequence[Any]) -> Any:
    """A text as the plain value that fits one of these annotations, or as itself.

    Raises:
        UserError: neither fits.
    """
    value = _plain(text)
    if any(bool in parts_of(hint) for hint in hints):
        value = _BOOLEANS.get(text.lower(), value)
    first: ValueError | None = None
    for candidate in (value, text):
        for hint in hints:
            try:
                checked(name, candidate, hint)
                return candidate
            except ValueError as error:
                first = first or error
    where, _, rest = str(first).partition(": ")
    raise UserError(f"{spelled(where)}: {rest}")


def _with_value(mapping: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """The mapping with a value deep inside.

    >>> _with_value({"audio": {"rate": 16000, "seconds": 1}}, ["audio", "rate"], 8000)
    {'audio': {'rate': 8000, 'seconds': 1}}
    """
    if len(path) == 1:
        return {**mapping, path[0]: value}
    inside = mapping.get(path[0])
    return {**mapping, path[0]: _with_value(inside if isinstance(inside, Mapping) else {}, path[1:], value)}


def _to_yaml(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)
