"""From arguments, YAML files and recipes to a command's settings.

`argparse` splits the arguments. Which options there are, and what their values may be, follows from the settings class.
"""

import json
import re
from argparse import SUPPRESS, ArgumentError, ArgumentParser
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, pairwise, product
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_origin

import yaml

from hiperceiver import limits
from hiperceiver.cli.errors import UserError, renamed
from hiperceiver.cli.options import help_text, hints_at, option_names, options_of, parts_of, spelled
from hiperceiver.settings.base import Settings, checked, default_of, did_you_mean, in_words, is_required, one_line
from hiperceiver.settings.old_names import FORMAT, settings_of_format_1

Command = TypeVar("Command", bound=Settings)

_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_MOST_VALUES = 1_000_000  # in a file of settings
_LONGEST_NUMBER = 100  # digits
_OWN = ("config", "print_config", "help", "help_all")  # options that are no settings


def parse(
    settings: type[Command],
    arguments: Sequence[str],
    *,
    program: str,
    summary: str = "",
    read_recipe: Callable[[str], Mapping[str, Any]] | None = None,
) -> Command | None:
    """A command's settings: options win over YAML files, these over the recipe, and that over the defaults.

    `program`: `hip pretrain`; `read_recipe` gives the settings of `--recipe NAME`. None: help or settings were printed.
    """
    with renamed(option_names(settings)):
        given = _split(settings, list(arguments), program)
        own = {name: given.pop(name) for name in _OWN if name in given}
        if "help" in own:
            print(help_text(settings, own["help"].replace("-", "_"), program=program, summary=summary))
            return None
        top = {name: option for name, option in options_of(settings).items() if "." not in name}
        values: dict[str, Any] = {}
        out = given.get("out") or ""
        is_resumed = given.get("resume") is True and bool(out)
        run, configs = Path(out, "settings.yaml"), [Path(path) for path in own.get("config", ())]
        if is_resumed and run.is_file():
            if _read_yaml(run)[1] != FORMAT:
                raise UserError(f"--resume: an earlier version began {out}; go on in a new run, with --from {out}")
            configs.insert(0, run)
        elif read_recipe is not None and given.get("recipe") is not None:
            values = {name: value for name, value in read_recipe(given["recipe"]).items() if name in top}
        for path in configs:
            values |= read_config(path)
            for name in values:
                if name not in top:
                    hint = did_you_mean(name, top)
                    raise UserError(f"--config: {path}: {name!r} is not a setting of {program}{hint}")
        for name in sorted(given, key=lambda name: name.count(".")):
            values = _with_value(values, name.split("."), given[name])
        if "print_config" in own:
            defaults = {name: default_of(option.field) for name, option in top.items()}
            changed = {name: value for name, value in values.items() if value != defaults[name]}
            print(_to_yaml(changed if own["print_config"] == "skip_default" else defaults | changed), end="")
            return None
        for name, option in top.items():
            if is_required(option.field) and name not in values:
                if is_resumed:
                    raise UserError(f"--out: {out} holds no run to go on with, it has no settings.yaml")
                raise UserError(f"{program}: {option.spelled} is missing; see {program} --help")
        return settings.from_dict(values)


def dump(settings: Settings, *, without: Sequence[str] = ()) -> str:
    """YAML from which `--config` makes the same settings again, but for the names to leave out."""
    return _to_yaml({name: value for name, value in settings.to_dict().items() if name not in without})


def read_config(path: Path) -> dict[str, Any]:
    """The settings in a YAML file; a run's, which say which version wrote them, as the present version has them."""
    values, written_as = _read_yaml(path)
    return settings_of_format_1(values) if written_as == 1 else values


def _read_yaml(path: Path) -> tuple[dict[str, Any], int]:
    """A file's settings, and their format."""
    try:
        text = limits.read_text(path, limits.SETTINGS)
        values = _from_yaml(text)
    except limits.Fault as error:
        raise UserError(f"--config: {path}: {error}") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"--config: {path}: is not valid YAML: {one_line(error)[:200]}") from None
    if not isinstance(values, dict):
        raise UserError(f"--config: {path}: expected lines of `name: value`, got {one_line(values)[:60]!r}")
    written_as = values.pop("format", 1 if text.startswith("# hip ") else FORMAT)
    if written_as not in (1, FORMAT):
        newer = "a newer hiperceiver may read it"
        raise UserError(f"--config: {path}: expected format {FORMAT}, got {written_as!r:.60}; {newer}")
    return values, written_as


class _Loader(yaml.SafeLoader):
    """YAML with the numbers of version 1.2: 1e-3 is one; 12:30 and 010 (750 and 8 before) are texts, as are dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - by PyYAML's name
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":int", ":float", ":timestamp"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _Dumper(yaml.SafeDumper):
    """Quotes texts that either version would take for something else."""


for _each in (_Loader, _Dumper):
    for _kind, _pattern in {
        "int": r"[-+]?(0|[1-9][0-9]*|0x[0-9a-fA-F]+)$",
        "float": r"[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(inf|Inf|INF))$"
        r"|\.(nan|NaN|NAN)$",
    }.items():
        _each.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(_pattern), list("-+.0123456789"))


def _from_yaml(text: str) -> Any:
    """What a text in YAML says. `limits.Fault`: a few lines of it stand for very much."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count_nodes(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count_nodes(node: yaml.Node, counts: dict[int, int]) -> int:
    """How many values a node stands for, references repeated; `counts` has those of nodes that were counted before."""
    if id(node) in counts:
        if not counts[id(node)]:
            raise limits.Fault("is not valid YAML: a value is a part of itself")
        return counts[id(node)]
    counts[id(node)] = 0  # while its parts are counted
    if isinstance(node, yaml.ScalarNode):
        if len(node.value) > _LONGEST_NUMBER and node.tag.endswith((":int", ":float")):
            raise limits.Fault(f"is not valid YAML: a number has {len(node.value)} digits")
        parts: Iterable[yaml.Node] = ()
    elif isinstance(node, yaml.MappingNode):
        parts = chain.from_iterable(node.value)
    else:
        parts = node.value
    total = 1 + sum(_count_nodes(part, counts) for part in parts)
    if total > _MOST_VALUES:
        raise limits.Fault(f"is not valid YAML: with its references it has more than {_MOST_VALUES} values")
    counts[id(node)] = total
    return total


def _parser() -> ArgumentParser:
    """It knows the options that are no settings, and may get the same option twice."""
    parser = ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False, conflict_handler="resolve", argument_default=SUPPRESS
    )
    parser.add_argument("--help", "-h", nargs="?", const="common")
    parser.add_argument("--help_all", dest="help", action="store_const", const="all")
    parser.add_argument("--config", action="append")
    parser.add_argument("--print_config")
    return parser


def _split(settings: type[Settings], arguments: list[str], program: str) -> dict[str, Any]:
    """The plain values of arguments, by the names of settings and of the options that are no settings."""
    positional = [option for option in options_of(settings).values() if option.is_positional]
    parser = _parser()
    for option in positional:
        parser.add_argument(option.name, nargs="*" if option.is_list else "?")
    hints: dict[str, Sequence[Any]] = {}
    words: list[str] = []
    end = arguments.index("--") if "--" in arguments else len(arguments)
    for word, following in pairwise([*arguments[:end], ""]):
        if not word.startswith("--"):
            if word.startswith("-") and words and words[-1].startswith("--") and "=" not in words[-1]:
                words[-1] += f"={word}"  # argparse takes -1e-3 for an option
            else:
                words.append(word)
            continue
        name, equals, text = word[2:].partition("=")
        name = name.replace("-", "_")
        if name.startswith("no_") and hints_at(settings, name[3:].split(".")) == [bool]:
            name, equals, text = name[3:], "=", "false"
        if name not in _OWN:
            hints[name] = hints_at(settings, name.split("."))
            if not hints[name] or any(name == option.name for option in positional):
                _refuse(word, settings, program)
            parser.add_argument(f"--{name}", action="append" if _items(hints[name]) else "store")
        is_flag = name == "print_config" or hints.get(name) == [bool]
        if is_flag and not equals and following.lower() not in _BOOLEANS:
            equals, text = "=", "true"
        if text == "--":  # which argparse throws away
            raise UserError(f"{spelled(name)}: expected {in_words(hints.get(name, [str])[0])}, got '--'")
        words.append(f"--{name}{equals}{text}")
    try:
        namespace, rest = parser.parse_known_intermixed_args(words + arguments[end:])
    except ArgumentError as error:  # a value is missing
        name = str(error.argument_name).removeprefix("--")
        expected = in_words(hints[name][0]) if name in hints else "a file"
        raise UserError(f"{spelled(name)}: expected {expected}, got nothing") from None
    if rest and rest[0].startswith("-") and rest[0] in words:
        _refuse(rest[0], settings, program)
    if rest:
        usage = " ".join(option.spelled for option in positional) or "options alone"
        raise UserError(f"{program}: expected {usage}, got {rest[0]!r} as well")
    given = vars(namespace)
    for name in hints:
        read = _listed if isinstance(given[name], list) else _value
        given[name] = read(name, given[name], hints[name])
    return given


def _refuse(word: str, settings: type[Settings], program: str) -> NoReturn:
    """Refuse an option that there is not, with the name most like it."""
    word, name = word.partition("=")[0], word.partition("=")[0].lstrip("-").replace("-", "_")
    named = [option.name for option in options_of(settings).values() if not option.is_positional]
    inside = [spelled(each) for each in named if each.endswith(f".{name}")]
    hint = f"; did you mean {inside[0]}?" if inside else did_you_mean(spelled(name), map(spelled, [*named, *_OWN]))
    raise UserError(f"{word} is not an option of {program}{hint}")


def _value(name: str, text: str, hints: Sequence[Any]) -> Any:
    """A text as the plain value that fits one of these annotations: itself, or what it is in JSON or YAML."""
    value: Any = text
    for read in (json.loads, _from_yaml):
        with suppress(ValueError, RecursionError, yaml.YAMLError):
            value = read(text)
            break
    if isinstance(value, str) and not _is_quoted(text):
        value = text  # as it stands: to YAML " #" begins a comment
    if any(bool in parts_of(hint) for hint in hints):
        value = _BOOLEANS.get(text.lower(), value)
    for candidate, hint in product((value, text), hints):
        with suppress(ValueError):
            checked(name, candidate, hint)
            return candidate
    return checked(name, value, hints[0])


def _is_quoted(text: str) -> bool:
    """Whether quotes around a text say that it is one: "null" is no nothing then."""
    return len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"


def _items(hints: Sequence[Any]) -> list[Any]:
    """What the items of lists are, of annotations that allow one."""
    parts = (part for hint in hints for part in parts_of(hint))
    return [get_args(part)[0] for part in parts if get_origin(part) is tuple]


def _listed(name: str, texts: Sequence[str], hints: Sequence[Any]) -> Any:
    """What an option that may be a list was given: an item each time, or once the whole, in JSON or YAML."""
    if len(texts) == 1:
        with suppress(ValueError):
            return _value(name, texts[0], hints)
    return [_value(name, text, _items(hints)) for text in texts]


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
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
