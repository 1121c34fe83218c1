"""From command-line arguments and YAML files to a command's settings, a frozen dataclass.

jsonargparse checks types and reads YAML. What lies around it is ours: options may be spelled with `-` or `_`, may stand
before or after positional arguments, and every mistake is one line.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import jsonargparse
import yaml

from hiperceiver.cli.errors import UserError, closest, one_line

_OURS = {"config": "FILE", "print_config": ""}
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")


@dataclass(frozen=True, kw_only=True)
class Option:
    """One field of a settings class, as the command line shows it."""

    name: str
    """As in YAML files; with dashes instead of underscores as in help."""
    field: str
    """Its name in the settings class."""
    hint: Any
    """Its type."""
    default: Any
    """`dataclasses.MISSING` if it must be given."""
    text: str
    """What it means."""
    is_positional: bool
    """Whether it is given by its place."""
    group: str
    """Title of its group in the help, and after a full stop what is said below it."""
    value_name: str = ""
    """What stands for its value in the help, where its name and type do not say it."""

    @property
    def is_list(self) -> bool:
        """Whether it may be given several times."""
        return get_origin(self.hint) in (list, tuple)

    @property
    def is_flag(self) -> bool:
        """Whether it may stand without a value."""
        return self.hint is bool

    @property
    def choices(self) -> tuple[str, ...]:
        """The only values it may take; none if that is not limited."""
        return tuple(
            str(value) for part in _parts(self.hint) if get_origin(part) is Literal for value in get_args(part)
        )

    @property
    def metavar(self) -> str:
        """What stands for its value in the help."""
        if self.value_name:
            return self.value_name
        if self.choices:
            return "{" + ",".join(self.choices) + "}"
        kinds = {int: "N", float: "X", dict: "MAPPING"}
        for part in _parts(self.hint):
            if (get_origin(part) or part) in kinds:
                return kinds[get_origin(part) or part]
        return self.name.upper().replace("_", "-")

    @property
    def spelled(self) -> str:
        """How a user writes it: `--max-time`, or `CHECKPOINT` for one that is given by its place."""
        return self.metavar if self.is_positional else f"--{_dash(self.name)}"

    def expected(self) -> str:
        """Its type in words.

        >>> from dataclasses import MISSING
        >>> Option(name="n", field="n", hint=int | None, default=1, text="", is_positional=False, group="").expected()
        'a whole number or null'
        """
        return " or ".join(dict.fromkeys(_in_words(part) for part in _parts(self.hint)))


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What a command may be told."""

    settings: type
    """Its dataclass. A field's metadata may say `positional` (True), `option` (its name, if that is no identifier) and
    `value` (what stands for its value in the help)."""
    program: str
    """Such as `hip pretrain`."""
    summary: str
    """What the command does."""
    options: Mapping[str, Option]
    """By name."""

    @classmethod
    def of(cls, settings: type, *, program: str, summary: str) -> Schema:
        """Read it off a dataclass, its types and the docstrings of its fields."""
        hints = get_type_hints(settings)
        fields = {field.name: field for field in dataclasses.fields(settings)}
        options: dict[str, Option] = {}
        for owner in settings.__mro__:
            own = [name for name in inspect.get_annotations(owner) if name in fields]
            texts = _field_texts(owner) if own else {}
            for name in own:
                field = fields[name]
                option = field.metadata.get("option", name)
                if option in options:
                    continue
                default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
                options[option] = Option(
                    name=option,
                    field=name,
                    hint=hints[name],
                    default=default,
                    text=texts.get(name, ""),
                    is_positional=field.metadata.get("positional", False),
                    value_name=field.metadata.get("value", ""),
                    group=one_line((owner.__doc__ or "").split("\n\n")[0]).rstrip("."),
                )
        return cls(settings=settings, program=program, summary=summary, options=options)

    @property
    def positional(self) -> list[Option]:
        """Options that are given by their place, in their order."""
        return [option for option in self.options.values() if option.is_positional]


def parse(
    schema: Schema,
    arguments: Sequence[str],
    *,
    read_recipe: Callable[[str], dict[str, Any]] | None = None,
) -> Any | None:
    """The settings that these arguments and the YAML files among them make.

    Args:
        schema: what may be given.
        arguments: as on the command line.
        read_recipe: gives the settings that `--recipe NAME` stands for; YAML files and other options win over them.

    Returns:
        An instance of the schema's settings; None if only help or the configuration was wanted, which is printed.

    Raises:
        UserError: an argument or a file that the command does not understand.
    """
    given = _split(schema, arguments, read_recipe)
    if given.wants_help:
        print(_help(schema))
        return None
    for path in given.configs:
        _check_config(schema, path)
    parser = _make_parser(schema)
    normalised = [f"--config={json.dumps(given.recipe)}"] if given.recipe else []
    normalised += [f"--config={path}" for path in given.configs] + [f"--{k}={v}" for k, v in given.values]
    if given.print_config is not None:
        normalised.append(f"--print_config{given.print_config}")
    try:
        namespace = parser.parse_args(normalised)
    except argparse.ArgumentError as error:
        raise UserError(_explain(schema, error)) from None
    except SystemExit:  # after --print_config
        return None
    values = {option.field: getattr(namespace, name) for name, option in schema.options.items()}
    for option in schema.options.values():
        if get_origin(option.hint) is tuple:
            values[option.field] = tuple(values[option.field])
    return schema.settings(**values)


def dump(settings: Any, *, without: Sequence[str] = ()) -> str:
    """YAML from which `--config` makes the same settings again.

    Args:
        settings: an instance of a settings class.
        without: fields to leave out.
    """
    schema = Schema.of(type(settings), program="", summary="")
    values = {
        name: getattr(settings, option.field) for name, option in schema.options.items() if option.field not in without
    }
    return yaml.safe_dump(json.loads(json.dumps(values)), sort_keys=False, allow_unicode=True)


def read_config(path: Path) -> dict[str, Any]:
    """The settings in a YAML file.

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
    return values


@dataclass(kw_only=True)
class _Given:
    """Arguments, sorted by what they are."""

    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)
    configs: list[Path] = dataclasses.field(default_factory=list)
    values: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    print_config: str | None = None
    wants_help: bool = False


def _split(schema: Schema, arguments: Sequence[str], read_recipe: Callable[[str], dict[str, Any]] | None) -> _Given:
    given = _Given()
    lists: dict[str, list[str]] = {}
    places: list[str] = []
    rest = list(arguments)
    while rest:
        token = rest.pop(0)
        if token == "--":
            places += rest
            break
        if token in ("-h", "--help"):
            given.wants_help = True
        elif token.startswith("-") and len(token) > 1 and not _is_number(token):
            name, equals, value = token.partition("=")
            name = _option_name(schema, name)
            if name == "print_config":
                given.print_config = equals + value
                continue
            option = schema.options.get(name.removeprefix("no_")) if name.startswith("no_") else None
            if option is not None and option.is_flag and name not in schema.options:
                given.values.append((option.name, "false"))
                continue
            option = schema.options.get(name.partition(".")[0])
            if not equals:
                value = _next_value(option, name, rest)
            if name == "config":
                given.configs.append(Path(value))
            elif option is not None and option.is_list:
                lists.setdefault(name, []).append(value)
            else:
                given.values.append((name, value))
        else:
            places.append(token)
    resumed = _resumed(given)
    given.configs = resumed + given.configs
    recipe = dict(given.values).get("recipe")
    if recipe is not None and read_recipe is not None and not resumed:
        given.recipe = {name: value for name, value in read_recipe(recipe).items() if name in schema.options}
    _place(schema, places, given, lists)
    given.values += [(name, json.dumps(values)) for name, values in lists.items()]
    given.values = _with_whole_mappings(schema, given)
    return given


def _with_whole_mappings(schema: Schema, given: _Given) -> list[tuple[str, str]]:
    """The values with mappings made whole: `--encoders.audio.rate 8000` changes one value of what files say."""
    values: list[tuple[str, str]] = []
    mappings: dict[str, Any] = {}
    for name, text in sorted(given.values, key=lambda each: "." in each[0]):  # a mapping whole, then its parts
        stem, _, path = name.partition(".")
        option = schema.options.get(stem)
        if option is None or dict not in [get_origin(part) for part in _parts(option.hint)]:
            values.append((name, text))
            continue
        value = _plain_value(text)
        if not path:
            if not isinstance(value, dict):
                values.append((name, text))  # refused by the parser, or null
            mappings[stem] = value if isinstance(value, dict) else {}
            continue
        if stem not in mappings:
            files = [given.recipe, *map(read_config, given.configs)]
            from_files = [file[stem] for file in files if isinstance(file.get(stem), dict)]
            mappings[stem] = from_files[-1] if from_files else {}
        mappings[stem] = _with_value(mappings[stem], path.split("."), value)
    return values + [(name, json.dumps(mapping)) for name, mapping in mappings.items()]


def _with_value(mapping: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """The mapping with a value deep inside.

    >>> _with_value({"audio": {"rate": 16000, "seconds": 1}}, ["audio", "rate"], 8000)
    {'audio': {'rate': 8000, 'seconds': 1}}
    """
    if len(path) == 1:
        return {**mapping, path[0]: value}
    inside = mapping.get(path[0])
    return {**mapping, path[0]: _with_value(inside if isinstance(inside, dict) else {}, path[1:], value)}


def _plain_value(text: str) -> Any:
    """A number, text, list or mapping, as YAML has it; 1e-3 is a number too."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _resumed(given: _Given) -> list[Path]:
    """The settings of the run that is to go on: they need not be given again."""
    values = dict(given.values)
    path = Path(values.get("out", ""), "settings.yaml")
    return [path] if values.get("resume") == "true" and "out" in values and path.is_file() else []


def _option_name(schema: Schema, token: str) -> str:
    """The name of an option as in YAML files."""
    name = token.lstrip("-").replace("-", "_")
    stem = name.partition(".")[0]
    known = [name for name, option in schema.options.items() if not option.is_positional]
    if token.startswith("--") and (stem in known or stem in _OURS):
        option = schema.options.get(stem)
        if stem == name or (option is not None and dict in [get_origin(part) for part in _parts(option.hint)]):
            return name
    if token.startswith("--no-") and stem.removeprefix("no_") in known and schema.options[stem[3:]].is_flag:
        return name
    hint = closest(_dashed(stem), [_dashed(name) for name in [*known, *_OURS]])
    raise UserError(f"{token} is not an option of {schema.program}{hint}")


def _next_value(option: Option | None, name: str, rest: list[str]) -> str:
    if option is not None and option.is_flag:
        return rest.pop(0) if rest and rest[0].lower() in (*_TRUE, *_FALSE) else "true"
    if not rest or (rest[0].startswith("--") and len(rest[0]) > 2):
        expected = option.expected() if option is not None else "a file"
        raise UserError(f"{_dashed(name)}: expected {expected}, got nothing")
    return rest.pop(0)


def _place(schema: Schema, places: list[str], given: _Given, lists: dict[str, list[str]]) -> None:
    """Deal out what stands without a name."""
    for option in schema.positional:
        if option.is_list and places:
            lists[option.name], places = places, []
        elif places:
            given.values.append((option.name, places.pop(0)))
    if places:
        usage = " ".join(option.metavar for option in schema.positional) or "options alone"
        raise UserError(f"{schema.program}: expected {usage}, got {places[0]!r} as well")
    from_files = {name for path in given.configs for name in read_config(path)} | given.recipe.keys()
    named = {name for name, _ in given.values} | set(lists) | from_files
    for option in schema.options.values():
        missing = option.default is dataclasses.MISSING and option.name not in named
        if missing and not given.wants_help and given.print_config is None:
            values = dict(given.values)
            if values.get("resume") == "true" and "out" in values:
                raise UserError(f"--out: {values['out']} holds no run to go on with, it has no settings.yaml")
            raise UserError(f"{schema.program}: {option.spelled} is missing; see {schema.program} --help")


def _check_config(schema: Schema, path: Path) -> None:
    for name in read_config(path):
        if name not in schema.options:
            hint = closest(str(name), schema.options)
            raise UserError(f"--config: {path}: {name!r} is not a setting of {schema.program}{hint}")


def _make_parser(schema: Schema) -> jsonargparse.ArgumentParser:
    named = [option for option in schema.options.values() if not option.is_positional]
    required = [f"--{_dash(o.name)} {o.metavar}" for o in named if o.default is dataclasses.MISSING]
    usage = " ".join([schema.program, *(o.metavar + " ..." * o.is_list for o in schema.positional), *required])
    parser = jsonargparse.ArgumentParser(
        prog=schema.program,
        usage=f"{usage} [options]",
        description=schema.summary[:1].upper() + schema.summary[1:] + ".",
        formatter_class=_HelpFormatter,
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", action="config", metavar="FILE", help="A YAML file of settings; options on the command line win."
    )
    for action in parser._actions:
        if action.dest == "print_config":
            action.help = "Print all settings as YAML and exit; =skip_default leaves out what was not changed."
    groups: dict[str, Any] = {}
    for option in schema.options.values():
        title, _, description = ("arguments" if option.is_positional else option.group).partition(". ")
        if title not in groups:
            groups[title] = parser.add_argument_group(title, f"{description}." if description else None)
        is_required = option.default is dataclasses.MISSING
        note = "" if is_required and option.is_positional else f" ({_default(option)})"
        arguments = {"required": True} if is_required else {"default": option.default}
        text = (option.text + note).replace("%", "%%")
        action = groups[title].add_argument(f"--{option.name}", type=option.hint, help=text, **arguments)
        # Only for the help: what is given by its place is read as if it had been given by name.
        action.metavar = None if option.is_flag else option.metavar + " ..." * (option.is_positional and option.is_list)
        action.is_shown_as_place = option.is_positional
    return parser


def _default(option: Option) -> str:
    if option.default is dataclasses.MISSING:
        return "required"
    if option.is_list:
        return f"default: {', '.join(option.default) or 'none'}"
    return f"default: {json.dumps(option.default)}".replace('"', "")


class _HelpFormatter(argparse.HelpFormatter):
    """Argparse's, with dashes between words, and with arguments in the place of options where that is what they are."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if getattr(action, "is_shown_as_place", False):
            return str(action.metavar)
        name = _dash(max(action.option_strings, key=len))
        short = "".join(f"{each}, " for each in action.option_strings if not each.startswith("--"))
        if action.nargs == 0 or action.metavar is None:
            return short + name
        return f"{short}{name} {action.metavar}"


def _help(schema: Schema) -> str:
    spelling = "Options may be written with - or _ between their words; a YAML file uses _."
    return f"{_make_parser(schema).format_help().rstrip()}\n\n{spelling}"


def _field_texts(owner: type) -> dict[str, str]:
    """What the docstrings below a dataclass's fields say."""
    import docstring_parser

    parsed = docstring_parser.parse_from_object(owner)
    texts = {param.arg_name: one_line(param.description or "") for param in parsed.params}
    return {name: re.sub(r"\bNone\b", "null", text) for name, text in texts.items()}


def _explain(schema: Schema, error: argparse.ArgumentError) -> str:
    """Say what jsonargparse says in our words."""
    message = str(error)
    key = re.search(r'Parser key "([\w.]+)"', message)
    option = schema.options.get(key[1].partition(".")[0]) if key else None
    value = re.search(r"(?:Got value|Given value): (.*)", message, flags=re.S)
    if key is None or option is None or value is None:
        return one_line(message)
    name = option.spelled + _dash(key[1].removeprefix(option.name))
    return f"{name}: expected {option.expected()}, got {one_line(value[1])[:80]}"


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _in_words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        values = [str(value) for value in get_args(hint)]
        return f"one of {', '.join(values)}" if len(values) > 1 else values[0]
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null"}
    if hint in words:
        return words[hint]
    if get_origin(hint) in (dict, Mapping):
        return "a mapping such as '{\"dropout\": 0.1}'"
    if get_origin(hint) in (list, tuple):
        return f"a list of {_in_words(get_args(hint)[0]).removeprefix('a ')}s"
    return getattr(hint, "__name__", str(hint))


def _dash(name: str) -> str:
    return name.replace("_", "-")


def _dashed(name: str) -> str:
    return f"--{_dash(name)}"


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True
