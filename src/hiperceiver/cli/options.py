"""From a command's settings class to options and their help, and from arguments and YAML files to its settings.

The class is the only source: its fields, nested ones by dotted names, are the options; their docstrings are the help;
its checks give the messages. Options may be spelled with `-` or `_`, and stand before or after positional arguments.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from hiperceiver.cli.errors import UserError, one_line
from hiperceiver.settings.base import (
    In,
    PartOf,
    Settings,
    checked,
    did_you_mean,
    field_docs,
    field_types,
    in_words,
    is_required,
    plain_name,
)
from hiperceiver.settings.commands import COMMON
from hiperceiver.settings.old_names import read_settings

Command = TypeVar("Command", bound=Settings)

_OWN = {
    "config": "A YAML file of settings; options on the command line win.",
    "print_config": "Print all settings as YAML and exit; =skip_default leaves out what was not changed.",
    "help": "These options; --help WORD shows those with WORD in their names.",
    "help_all": "Every option, of every task, encoder and augmentation.",
}
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, kw_only=True)
class Option:
    """One field of a settings class, or of one inside it."""

    name: str
    """As in YAML files, dotted: `encoders.audio.rate`."""
    hint: Any
    """Its annotation."""
    field: dataclasses.Field[Any]
    """Its field."""
    text: str
    """What it means."""
    group: str
    """The options that it stands with in the help."""

    @property
    def is_positional(self) -> bool:
        """Whether it is given without its name."""
        return self.field.metadata.get("is_positional", False)

    @property
    def is_list(self) -> bool:
        """Whether it may be given several times."""
        return get_origin(self.hint) is tuple

    @property
    def metavar(self) -> str:
        """What stands for its value in the help."""
        if "value" in self.field.metadata:
            return self.field.metadata["value"]
        parts = _parts(self.hint)
        if choices := [str(value) for part in parts if get_origin(part) is Literal for value in get_args(part)]:
            return "{" + ",".join(choices) + "}"
        if Mapping in map(get_origin, parts) or self.is_positional or str in parts:
            return "MAPPING" if Mapping in map(get_origin, parts) else self.name.upper().replace("_", "-")
        return "true" if parts[0] is bool else "N" if parts[0] is int else "X" if parts[0] is float else "VALUE"

    @property
    def spelled(self) -> str:
        """As a user writes it."""
        return self.metavar if self.is_positional else spelled(self.name)


def spelled(name: str) -> str:
    """A setting's name as an option.

    >>> spelled("encoders.audio.samples_per_token")
    '--encoders.audio.samples-per-token'
    """
    return f"--{name.replace('_', '-')}"


@cache
def options_of(settings: type[Settings]) -> Mapping[str, Option]:
    """Every option of a command by its name, in the order of the help."""
    return {option.name: option for option in _walk(settings, "", "")}


def _walk(settings: type[Settings], prefix: str, group: str) -> Iterator[Option]:
    owners = {}
    for owner in settings.__mro__:
        owners.update({name: owner for name in vars(owner).get("__annotations__", ()) if name not in owners})
    hints, docs = field_types(settings), field_docs(settings)
    for field in dataclasses.fields(settings):
        name = prefix + plain_name(field)
        title = one_line((owners[field.name].__doc__ or "").partition("\n\n")[0]).partition(".")[0]
        yield Option(name=name, hint=hints[field.name], field=field, text=docs[field.name], group=group or title)
        yield from _walk_inside(hints[field.name], name)


def _walk_inside(hint: Any, name: str) -> Iterator[Option]:
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, PartOf):
            for kind, settings in part.classes.items():
                prefix = f"{name.replace('*', kind)}."
                yield from _walk(settings, prefix, f"{prefix}* ({kind})" if "*" not in name else f"{prefix}*")
    for part in _parts(hint):
        if isinstance(part, type) and issubclass(part, Settings):
            yield from _walk(part, f"{name}.", f"{name}.*")
        elif get_origin(part) is Mapping and get_origin(get_args(part)[1]) is Annotated:
            yield from _walk_inside(get_args(part)[1], f"{name}.*")


def _parts(hint: Any) -> tuple[Any, ...]:
    """The members of a union but None, without their bounds."""
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    plain = [get_args(part)[0] if get_origin(part) is Annotated else part for part in parts]
    return tuple(part for part in plain if part is not types.NoneType)


def _hints_at(hint: Any, path: Sequence[str]) -> list[Any]:
    """The annotations that a dotted name inside an annotation may have; none if there is no such name."""
    if not path:
        return [hint]
    inside = []
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, PartOf):
            return [found for each in part.classes.values() for found in _hints_at(each, path)]
    for part in _parts(hint):
        if isinstance(part, type) and issubclass(part, Settings):
            names = {plain_name(field): field_types(part)[field.name] for field in dataclasses.fields(part)}
            inside += _hints_at(names[path[0]], path[1:]) if path[0] in names else []
        elif get_origin(part) is Mapping:
            inside += _hints_at(get_args(part)[1], path[1:])
        elif part is Any:
            inside.append(Any)
    return inside


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
    given = _Arguments(settings, program)
    given.read(list(arguments))
    if given.help is not None:
        print(help_text(settings, given.help, program=program, summary=summary))
        return None
    out = given.values.get("out")
    is_resumed = bool(given.values.get("resume")) and isinstance(out, str)
    run = [Path(str(out), "settings.yaml")] if is_resumed and Path(str(out), "settings.yaml").is_file() else []
    values: dict[str, Any] = {}
    if read_recipe is not None and not run and given.values.get("recipe") is not None:
        values.update({k: v for k, v in read_recipe(given.values["recipe"]).items() if k in options})
    for path in [*run, *given.configs]:
        values.update(_read_checked(path, options, program))
    for name, value in sorted(given.values.items(), key=lambda each: each[0].count(".")):
        _set(values, name.split("."), value)
    if given.print_config is not None:
        _print_config(options, values, only_changed=given.print_config == "skip_default")
        return None
    for option in options.values():
        if "." not in option.name and is_required(option.field) and option.name not in values:
            if is_resumed:
                raise UserError(f"--out: {out} holds no run to go on with, it has no settings.yaml")
            raise UserError(f"{program}: {option.spelled} is missing; see {program} --help")
    return settings.from_dict(values)


class _Arguments:
    """Arguments, sorted by what they are."""

    def __init__(self, settings: type[Settings], program: str):
        self.options = options_of(settings)
        self.settings = settings
        self.program = program
        self.values: dict[str, Any] = {}
        self.configs: list[Path] = []
        self.help: str | None = None
        """Which options' help is wanted: `common`, `all`, or a part of their names."""
        self.print_config: str | None = None

    def read(self, tokens: list[str]) -> None:
        """Sort them."""
        positional: list[str] = []
        while tokens:
            token = tokens.pop(0)
            if token == "--":
                positional += tokens
                break
            if token.startswith("-") and len(token) > 1 and not isinstance(_plain(token), int | float):
                self._read_option(token, tokens)
            else:
                positional.append(token)
        wanted = [option for option in self.options.values() if option.is_positional]
        for option in wanted:
            if positional:
                self.values[option.name] = positional if option.is_list else positional[0]
                positional = [] if option.is_list else positional[1:]
        if positional:
            usage = " ".join(option.metavar for option in wanted) or "options alone"
            raise UserError(f"{self.program}: expected {usage}, got {positional[0]!r} as well")

    def _read_option(self, token: str, rest: list[str]) -> None:
        token, equals, text = token.partition("=")
        name = token.removeprefix("--").replace("-", "_")
        if token == "-h" or name in ("help", "help_all"):
            word = text or (rest[0] if rest and name == "help" and not rest[0].startswith("-") else "common")
            self.help = "all" if name == "help_all" else word.replace("-", "_")
            return
        if name == "print_config":
            self.print_config = text
            return
        hints = _hints_at(self.settings, name.split(".")) if token.startswith("--") else []
        if token.startswith("--no-") and not hints and _hints_at(self.settings, [name[3:]]) == [bool]:
            self.values[name[3:]] = False
            return
        is_known = name == "config" or (hints and not (name in self.options and self.options[name].is_positional))
        if not is_known:
            known = [spelled(each) for each, option in self.options.items() if not option.is_positional]
            hint = did_you_mean(f"--{token.lstrip('-').replace('_', '-')}", [*known, *map(spelled, _OWN)])
            raise UserError(f"{token} is not an option of {self.program}{hint}")
        if not equals and hints == [bool]:
            text = rest.pop(0) if rest and rest[0].lower() in _BOOLEANS else "true"
        elif not equals:
            if not rest or (rest[0].startswith("--") and len(rest[0]) > 2):
                raise UserError(f"{spelled(name)}: expected {in_words(hints[0]) if hints else 'a file'}, got nothing")
            text = rest.pop(0)
        if name == "config":
            self.configs.append(Path(text))
        elif name in self.options and self.options[name].is_list:
            each = get_args(self.options[name].hint)[0]
            self.values[name] = [*self.values.get(name, []), _value(name, text, [each])]
        else:
            self.values[name] = _value(name, text, hints)


def _plain(text: str) -> Any:
    """A number, text, list or mapping, as YAML has it; 1e-3 is a number too."""
    for read in (json.loads, yaml.safe_load):
        try:
            return read(text)
        except (ValueError, yaml.YAMLError):
            continue
    return text


def _value(name: str, text: str, hints: Sequence[Any]) -> Any:
    """A value as plain YAML or as a text, whichever fits one of the annotations.

    Raises:
        UserError: none fits.
    """
    plain = _BOOLEANS.get(text.lower(), _plain(text)) if bool in [p for h in hints for p in _parts(h)] else _plain(text)
    errors = []
    for value in (plain, text):
        for hint in hints:
            try:
                checked(name, value, hint)
                return value
            except ValueError as error:
                errors.append(error)
    where, _, rest = str(errors[0]).partition(": ")
    raise UserError(f"{spelled(where)}: {rest}")


def _set(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a value deep inside, without changing the mappings that were given."""
    for name in path[:-1]:
        inside = values.get(name)
        values[name] = copy.copy(inside) if isinstance(inside, dict) else {}
        values = values[name]
    values[path[-1]] = value


def read_config(path: Path) -> dict[str, Any]:
    """The settings in a YAML file, those of earlier versions by their present names.

    Raises:
        UserError: it cannot be read, or is no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config: {path}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"--config: {path}: is not valid YAML: {one_line(error)[:200]}") from None
    if not isinstance(values, dict):
        raise UserError(f"--config: {path}: expected lines of `name: value`, got {one_line(values)[:60]!r}")
    return read_settings(values)


def _read_checked(path: Path, options: Mapping[str, Option], program: str) -> dict[str, Any]:
    values = read_config(path)
    for name in values:
        if name not in options:
            raise UserError(f"--config: {path}: {name!r} is not a setting of {program}{did_you_mean(name, options)}")
    # A choice such as 32 needs no quotes in a file either.
    return {name: _value(name, str(v), [options[name].hint]) if isinstance(v, int) else v for name, v in values.items()}


def dump(settings: Settings, *, without: Sequence[str] = ()) -> str:
    """YAML from which `--config` makes the same settings again.

    Args:
        settings: of a command.
        without: names to leave out.
    """
    values = {name: value for name, value in settings.to_dict().items() if name not in without}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _print_config(options: Mapping[str, Option], given: Mapping[str, Any], *, only_changed: bool) -> None:
    defaults = {name: _default(option.field) for name, option in options.items() if "." not in name}
    changed = {name: value for name, value in given.items() if value != defaults[name]}
    print(yaml.safe_dump(changed if only_changed else defaults | changed, sort_keys=False, allow_unicode=True), end="")


def _default(field: dataclasses.Field[Any]) -> Any:
    if is_required(field):
        return None
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return value.to_dict() if isinstance(value, Settings) else list(value) if isinstance(value, tuple) else value


def help_text(settings: type[Settings], which: str, *, program: str, summary: str) -> str:
    """The help of a command: its `common` options, `all`, or those with a word in their names or group."""
    options = options_of(settings)
    if which == "common":
        shown = {name: each for name, each in options.items() if name in COMMON or each.is_positional}
    else:
        word = "" if which == "all" else which.lower()
        shown = {name: each for name, each in options.items() if word in name.lower() or word in each.group.lower()}
    if not shown:
        raise UserError(f"--help: expected a part of an option's name, got {which!r}{did_you_mean(which, options)}")
    is_short = which == "common"
    top = [option for option in options.values() if "." not in option.name]
    usage = [option.metavar + " ..." * option.is_list for option in top if option.is_positional]
    usage += [f"{o.spelled} {o.metavar}" for o in top if is_required(o.field) and not o.is_positional]
    lines = [f"usage: {' '.join([program, *usage])} [options]", "", f"{summary[:1].upper()}{summary[1:]}."]
    group = ""
    for option in sorted(shown.values(), key=lambda each: [o.group for o in options.values()].index(each.group)):
        if option.group != group and not is_short:
            group = option.group
            lines += ["", f"{group}:"]
        lines += _entry(option, is_short=is_short)
    if which in ("common", "all"):
        lines += [""] if not is_short else []
        lines += [line for name, text in _OWN.items() for line in _columns(spelled(name), text)]
    return "\n".join(lines)


def _entry(option: Option, *, is_short: bool) -> list[str]:
    name = option.spelled if option.is_positional else f"{option.spelled} {option.metavar}"
    name += " ..." * (option.is_positional and option.is_list)
    text = option.text.replace("None", "null")
    if is_short:
        return _columns(name, text.partition(". ")[0].partition(": ")[0].rstrip(".") + ".")
    default = "required" if is_required(option.field) else json.dumps(_default(option.field)).replace('"', "")
    return _columns(name, f"{text} (default: {default})" if default != "required" else f"{text} (required)")


def _columns(name: str, text: str) -> list[str]:
    width = min(shutil.get_terminal_size().columns, 100) - 1
    lines = textwrap.wrap(text, width - 26, break_long_words=False, break_on_hyphens=False)
    head = f"  {name}"
    if len(head) > 24:
        return [head, *(" " * 26 + line for line in lines)]
    return [f"{head:26}{lines[0]}", *(" " * 26 + line for line in lines[1:])]
