"""A command's settings class as options: fields by dotted names, docstrings as their help."""

import dataclasses
import json
import re
import shutil
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hiperceiver.cli.errors import UserError
from hiperceiver.settings.base import (
    Settings,
    classes_of,
    default_of,
    did_you_mean,
    field_docs,
    field_types,
    is_required,
    is_settings,
    one_line,
    plain_name,
)
from hiperceiver.settings.commands import COMMON

OWN = {
    "config FILE": "A YAML file of settings; options win over it.",
    "print-config": "Print the settings as YAML and exit; =skip_default: only those that were changed.",
    "help WORD": "Options with WORD in their names or groups: encoders, mixup, audio.",
    "help-all": "All options, of every task, encoder and augmentation.",
}
"""Options that are no settings."""
_METAVARS = {bool: "", int: " N", float: " X", str: " TEXT", Mapping: " MAPPING"}


@dataclass(frozen=True, kw_only=True)
class Option:
    """One field of a settings class, or of one inside it."""

    name: str  # as in YAML files, dotted: `encoders.audio.rate`.
    hint: Any
    field: dataclasses.Field[Any]
    text: str  # what it means
    group: str  # the title above it in the help

    @property
    def is_positional(self) -> bool:
        """Whether it is given without its name."""
        return self.field.metadata.get("is_positional", False)

    @property
    def is_list(self) -> bool:
        """Whether it may be given several times."""
        return get_origin(self.hint) is tuple

    @property
    def spelled(self) -> str:
        """As a user writes it: `--max-time`, or `FILES` for one without a name."""
        return self.name.upper() if self.is_positional else spelled(self.name)

    @property
    def usage(self) -> str:
        """With what stands for its value."""
        if self.is_positional:
            return self.spelled + " ..." * self.is_list
        if "value" in self.field.metadata:
            return f"{self.spelled} {self.field.metadata['value']}"
        kinds = [get_origin(part) or part for part in parts_of(self.hint)]
        if Literal in kinds:
            choices = [str(value) for part in parts_of(self.hint) for value in get_args(part)]
            return f"{self.spelled} {{{','.join(choices)}}}"
        return self.spelled + next((_METAVARS[kind] for kind in kinds if kind in _METAVARS), " VALUE")


def spelled(name: str) -> str:
    """A setting's name as an option.

    >>> spelled("encoders.audio.samples_per_token")
    '--encoders.audio.samples-per-token'
    """
    return f"--{name.replace('_', '-')}"


def parts_of(hint: Any) -> tuple[Any, ...]:
    """The members of a union, without None and bounds; of anything else itself.

    >>> parts_of(Literal["a"] | None)
    (typing.Literal['a'],)
    """
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    bare = [get_args(part)[0] if get_origin(part) is Annotated else part for part in parts]
    return tuple(part for part in bare if part is not types.NoneType)


@cache
def options_of(settings: type[Settings]) -> Mapping[str, Option]:
    """Every option of a command by its name."""
    return {option.name: option for option in every_option(settings)}


def every_option(settings: type[Settings], prefix: str = "", group: str = "") -> Iterator[Option]:
    """Every option; those that several classes to choose from have come once for each."""
    docs = field_docs(settings)
    for field in dataclasses.fields(settings):
        name, hint = prefix + plain_name(field), field_types(settings)[field.name]
        owner = next(each for each in settings.__mro__ if field.name in vars(each).get("__annotations__", ()))
        title = group or one_line(owner.__doc__).partition(".")[0]
        yield Option(name=name, hint=hint, field=field, text=docs[field.name], group=title)
        for kind, part in classes_of(hint).items():
            yield from every_option(part, f"{name}.", f"{name} of {kind}")
        for part in parts_of(hint):
            if is_settings(part):
                yield from every_option(part, f"{name}.", name)
            elif get_origin(part) is Mapping:
                for kind, inside in classes_of(get_args(part)[1]).items():
                    yield from every_option(inside, f"{name}.{kind}.", f"{name} of {kind}")


def hints_at(hint: Any, path: Sequence[str]) -> list[Any]:
    """The annotations that a dotted name inside an annotation may have; none if there is no such name.

    >>> hints_at(Mapping[str, float], ["audio"])
    [<class 'float'>]
    """
    if not path or hint is Any:
        return [hint]
    found: list[Any] = []
    for part in classes_of(hint).values() or parts_of(hint):
        if get_origin(part) is Mapping:
            found += hints_at(get_args(part)[1], path[1:])
        elif is_settings(part):
            fields = [field.name for field in dataclasses.fields(part) if plain_name(field) == path[0]]
            found += [each for name in fields for each in hints_at(field_types(part)[name], path[1:])]
    return found


def option_names(settings: type[Settings]) -> dict[str, str]:
    """Each setting's option, by its name in Python and in files; of those that hold others also by `name.`."""
    top = [option for name, option in options_of(settings).items() if "." not in name]
    names = {name: option.spelled for option in top for name in (option.name, option.field.name)}
    nested = {name.partition(".")[0] for name in options_of(settings) if "." in name}
    holding = [option for option in top if option.name in nested or hints_at(option.hint, ["*"])]
    return names | {f"{option.name}.": f"{option.spelled}." for option in holding}


def help_text(settings: type[Settings], which: str, *, program: str, summary: str) -> str:
    """The help of a command: its `common` options in short, `all`, or those with a word in their names or groups."""
    top = {name: option for name, option in options_of(settings).items() if "." not in name}
    required = [option for option in top.values() if option.is_positional or is_required(option.field)]
    lines = [f"usage: {' '.join([program, *(option.usage for option in required)])} [options]", ""]
    lines.append(f"{summary[:1].upper()}{summary[1:]}.")
    if which == "common":
        shown = [option for option in required if option.is_positional]
        shown += [top[name] for name in COMMON if name in top and not top[name].is_positional]
        for option in shown:
            lines.append(_entry(option.usage, re.split(r"[.:;] ", option.text)[0].rstrip(".") + "."))
    else:
        word = "" if which == "all" else which.lower()
        shown = [option for option in every_option(settings) if word in option.name or word in option.group.lower()]
        if not shown:
            raise UserError(f"--help: no option has {which!r} in its name{did_you_mean(which, options_of(settings))}")
        for group in dict.fromkeys(option.group for option in shown):
            lines += ["", f"{group}:"]
            for option in (option for option in shown if option.group == group):
                default = f"default: {json.dumps(default_of(option.field))}"
                note = "required" if is_required(option.field) else default
                lines.append(_entry(option.usage, f"{option.text} ({note})".replace('"', "")))
        lines.append("")
    lines += [_entry(f"--{name}", text) for name, text in OWN.items()]
    return "\n".join(lines)


def _entry(usage: str, text: str) -> str:
    """An option's usage, and beside or below it what it means."""
    width = min(shutil.get_terminal_size().columns, 100) - 1
    is_short = len(usage) < 23
    start = f"  {usage:24}" if is_short else " " * 26
    text = textwrap.fill(
        text.replace("None", "null"), width, initial_indent=start, subsequent_indent=" " * 26, break_on_hyphens=False
    )
    return text if is_short else f"  {usage}\n{text}"
