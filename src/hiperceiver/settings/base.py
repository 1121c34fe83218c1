"""What every settings class has: checked fields, plain values, and a sentence for each field.

A settings class is a frozen keyword-only dataclass of plain values, made so by `Settings`. Types and bounds stand in
its annotations; a docstring under each field explains it.

>>> class Loader(Settings):
...     batch_size: Count = 32
...     dropout: Probability = 0.0
>>> Loader(batch_size=0)
Traceback (most recent call last):
ValueError: batch_size: expected a whole number >= 1, got 0
>>> Loader.from_dict({"batchsize": 8})
Traceback (most recent call last):
ValueError: batchsize: not a setting of Loader; did you mean batch_size?
"""

import ast
import dataclasses
import difflib
import inspect
import math
import operator
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self, TypeGuard, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True, eq=False)
class Bound:
    """What a number or a text must also fit, in an `Annotated`."""

    holds: Callable[[Any, Any], bool]
    """Of the value of a setting and that of the bound."""
    value: Any


def _is_in(name: str, names: Iterable[str]) -> bool:
    return name in names


Ge, Gt = partial(Bound, operator.ge), partial(Bound, operator.gt)
Le, Lt = partial(Bound, operator.le), partial(Bound, operator.lt)
In = partial(Bound, _is_in)
"""A text is among the names of a table."""
ONE_FOR_ALL = "one number stands for all of a tuple"
"""`Annotated[tuple[Count, Count], ONE_FOR_ALL]`: 3 is (3, 3)."""

Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
"""A part of a whole."""
Probability = Annotated[float, Ge(0), Lt(1)]
"""From 0 to below 1: at 1 nothing would be left."""


@typing.dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of every settings class, and makes each a frozen keyword-only dataclass.

    Each field is checked against its annotation: `int`, `float` (whole numbers too; finite), `bool`, `str`, `Literal`,
    `Annotated` with bounds, `tuple` (lists become tuples), `Mapping`, other settings (a mapping becomes the class; of
    several classes the one whose `kind` it names), and unions of these. A subclass with a `__post_init__` of its own
    calls this one first, then refuses contradictions between fields.
    """

    kind: ClassVar[str] = ""
    """Which of several classes this is, in plain values; "" where there is no choice."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        for name, hint in field_types(type(self)).items():
            object.__setattr__(self, name, checked(name, getattr(self, name), hint))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and YAML; `kind` first, where the class has one."""
        values = {plain_name(field): plain(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return {"kind": self.kind, **values} if self.kind else values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ValueError: a name is unknown or missing, or a value does not fit.
        """
        values = dict(values)
        if cls.kind and (kind := values.pop("kind", cls.kind)) != cls.kind:
            raise ValueError(f"kind: expected {cls.kind}, got {shown(kind)}")
        fields = {plain_name(field): field for field in dataclasses.fields(cls)}
        for name in values:
            if name not in fields:
                hint = did_you_mean(name, fields) or f"; known: {', '.join(fields) or 'none'}"
                raise ValueError(f"{_shown_name(name)}: not a setting of {cls.__name__}{hint}")
        for name, field in fields.items():
            if is_required(field) and name not in values:
                raise ValueError(f"{name}: required by {cls.__name__}, got nothing")
        return cls(**{fields[name].name: value for name, value in values.items()})


def is_settings(hint: Any) -> TypeGuard[type[Settings]]:
    """Whether an annotation is a settings class."""
    return isinstance(hint, type) and issubclass(hint, Settings)


@dataclass(frozen=True, eq=False)
class PartOf:
    """A mapping holds some fields of one of these settings classes, by kind; those left out keep their values.

    `Annotated[Mapping[str, Any], PartOf(classes)]`. Inside another mapping, a key that is a kind chooses the class.
    """

    classes: Mapping[str, type[Settings]]


def classes_of(hint: Any) -> Mapping[str, type[Settings]]:
    """The classes of a mapping that is a part of one of them, by kind; none of any other annotation."""
    return next((each.classes for each in getattr(hint, "__metadata__", ()) if isinstance(each, PartOf)), {})


@cache
def field_types(cls: type[Settings]) -> Mapping[str, Any]:
    """The annotation of each field, evaluated."""
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def plain_name(field: dataclasses.Field[Any]) -> str:
    """A field's name in plain values: `metadata["name"]` where that is no identifier of Python."""
    return field.metadata.get("name", field.name)


def is_required(field: dataclasses.Field[Any]) -> bool:
    """Whether a field has no default."""
    return field.default is field.default_factory is dataclasses.MISSING


def default_of(field: dataclasses.Field[Any]) -> Any:
    """A field's default as a plain value; None where there is none."""
    if field.default_factory is not dataclasses.MISSING:
        return plain(field.default_factory())
    return None if is_required(field) else plain(field.default)


@cache
def field_docs(cls: type[Settings]) -> Mapping[str, str]:
    """The docstring under each field, in one line, or else that of the settings class which it takes; or "".

    >>> field_docs(Settings)
    {}
    """
    docs = {field.name: "" for field in dataclasses.fields(cls)}
    for owner in reversed(cls.__mro__):
        for statement, below in pairwise(_class_bodies(owner.__module__).get(owner.__qualname__, [])):
            match statement, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    docs |= {name: text} if name in docs else {}
    for name, hint in field_types(cls).items():
        docs[name] = docs[name] or next((part.__doc__ or "" for part in get_args(hint) if is_settings(part)), "")
    return {name: " ".join(text.split()) for name, text in docs.items()}


@cache
def _class_bodies(module: str) -> dict[str, list[ast.stmt]]:
    """The statements in the body of each class at the top of a module."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, KeyError):  # built in, or typed at a prompt
        return {}
    return {each.name: each.body for each in tree.body if isinstance(each, ast.ClassDef)}


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A hint at the known name most like `name`; "" if none is.

    >>> did_you_mean("stesp", ["steps", "seed"])
    '; did you mean steps?'
    """
    match = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {match[0]}?" if match else ""


def one_line(text: object) -> str:
    """A text, or what an exception says, without line breaks and runs of blanks, and `printable`."""
    return printable(" ".join(str(text).split()))


_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line breaks, changes of direction, and halves of characters."""


def printable(text: str) -> str:
    r"""A text with escapes in place of what a terminal would obey, such as changes of colour, and cannot print.

    >>> printable("café \x1b[31m.jpg")
    'café \\x1b[31m.jpg'
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def shown(value: object) -> str:
    """A value as a message has it: as Python writes it, in one line, of a long one the beginning.

    >>> shown("a"), len(shown([0] * 1000))
    ("'a'", 200)
    """
    try:
        text = repr(value)
    except ValueError:  # Python does not write whole numbers of more than 4,300 digits
        return "one of thousands of digits"
    text = text if text.isprintable() else one_line(text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


_SHOWN = 200
"""Characters of a value in a message."""


def _shown_name(name: object) -> str:
    """A name in a message: as it is, unless it would spoil the line."""
    return name if isinstance(name, str) and name.isprintable() and len(name) <= _SHOWN else shown(name)


def checked(name: str, value: Any, hint: Any) -> Any:
    """The value as its annotation wants it: lists as tuples, mappings as settings.

    Raises:
        ValueError: it does not fit; the message begins with `name`.

    >>> checked("scale", [0.5, 1], tuple[Share, Share])
    (0.5, 1)
    >>> checked("scale", [0.5, 2], tuple[Share, Share])
    Traceback (most recent call last):
    ValueError: scale[1]: expected a number from 0 to 1, got 2
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if classes := classes_of(hint):
        return checked_part(name, checked(name, value, arguments[0]), classes, kind=name.rpartition(".")[2])
    if ONE_FOR_ALL in getattr(hint, "__metadata__", ()):
        each = get_args(arguments[0])
        return (checked(name, value, each[0]),) * len(each) if _is_number(value) else checked(name, value, arguments[0])
    if origin in (Union, types.UnionType):
        return _checked_union(name, value, arguments)
    if origin is tuple and isinstance(value, list | tuple):
        if arguments[-1] is ... and not get_args(arguments[0]) and all(_fits(each, arguments[0]) for each in value):
            return tuple(value)  # there may be a million numbers
        each = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        if len(each) == len(value):
            return tuple(checked(f"{name}[{i}]", *pair) for i, pair in enumerate(zip(value, each, strict=True)))
    elif origin in (dict, Mapping) and isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: checked(f"{name}.{_shown_name(key)}", each, arguments[1]) for key, each in value.items()}
    elif is_settings(hint) and isinstance(value, Mapping):
        try:
            return hint.from_dict(value)
        except ValueError as error:
            raise ValueError(f"{name}.{error}") from None
    elif origin is Literal:
        for choice in arguments:  # a file may have 32 for "32"
            if type(value) in (type(choice), int) and str(value) == str(choice):
                return choice
    elif _fits(value, hint):
        return value
    size = "" if not isinstance(value, int) or _has_64_bits(value) else " of at most 64 bits"
    raise ValueError(f"{name}: expected {in_words(hint)}{size}, got {shown(value)}")


def checked_part(
    name: str, values: Mapping[str, Any], classes: Mapping[str, type[Settings]], *, kind: str = ""
) -> Mapping[str, Any]:
    """Some fields of one of several settings classes: of this kind, or of any where `kind` is none of them.

    Raises:
        ValueError: the class has no such field, or a value does not fit; a field of another class is named as such.

    >>> checked_part("task_settings", {"horizon": 0}, {"forecasting": Settings}, kind="forecasting")
    Traceback (most recent call last):
    ValueError: task_settings.horizon: not a setting of forecasting
    """
    chosen = {kind: classes[kind]} if kind in classes else classes
    for field, value in values.items():
        hints = tuple(field_types(cls)[field] for cls in chosen.values() if field in field_types(cls))
        if not hints:
            having = [each for each, cls in classes.items() if field in field_types(cls)]
            known = [each for cls in chosen.values() for each in field_types(cls)]
            has_it = f"; {' and '.join(having)} {'has' if len(having) == 1 else 'have'} it"
            hint = has_it if having else did_you_mean(field, known)
            raise ValueError(f"{name}.{_shown_name(field)}: not a setting of {', '.join(chosen)}{hint}")
        _checked_union(f"{name}.{field}", value, hints)
    return values


_BOUNDS_IN_WORDS = {
    "ge": ">= {:g}",
    "gt": "above {:g}",
    "le": "<= {:g}",
    "lt": "below {:g}",
    "ge le": "from {:g} to {:g}",
    "ge lt": "from {:g} to below {:g}",
    "gt le": "above {:g}, up to {:g}",
    "gt lt": "above {:g} and below {:g}",
}
_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def in_words(hint: Any) -> str:
    """An annotation as a message has it; None is left out of a union.

    >>> in_words(Count | None), in_words(Literal["a", "b"]), in_words(tuple[float, ...])
    ('a whole number >= 1', 'one of a, b', 'a list of numbers')
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = {bound.holds.__name__: bound.value for bound in hint.__metadata__ if isinstance(bound, Bound)}
        if "_is_in" in bounds:
            return f"one of {', '.join(bounds['_is_in'])}"
        words = _BOUNDS_IN_WORDS.get(" ".join(bounds), "").format(*bounds.values())
        return f"{in_words(arguments[0])} {words}".rstrip()
    if origin is Literal:
        return ("one of " if len(arguments) > 1 else "") + ", ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(in_words(part) for part in arguments if part is not types.NoneType))
    if origin is tuple:
        count = "" if arguments[-1] is ... else f"{len(arguments)} "
        words = in_words(arguments[0])
        plural = words.startswith(("a whole number", "a number", "a text"))
        return f"a list of {count}" + (f"{words[2:]}s" if words.count(" ") < 3 and plural else f"values, each {words}")
    if origin in (dict, Mapping) or is_settings(hint):
        return 'a mapping such as {"name": value}'
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _checked_union(name: str, value: Any, parts: tuple[Any, ...]) -> Any:
    if value is None and types.NoneType in parts:
        return None
    parts = tuple(part for part in parts if part is not types.NoneType)
    if isinstance(value, Mapping):
        kinds = {part.kind: part for part in parts if is_settings(part)}
        if len(kinds) > 1:
            kind = value.get("kind")
            if kind not in kinds:
                hint = did_you_mean(kind, kinds)
                raise ValueError(f"{name}.kind: expected one of {', '.join(kinds)}, got {shown(kind)}{hint}")
            return checked(name, value, kinds[kind])
        parts = tuple(kinds.values()) or parts
    if len(parts) == 1:
        return checked(name, value, parts[0])
    for part in parts:
        with suppress(ValueError):
            return checked(name, value, part)
    raise ValueError(f"{name}: expected {' or '.join(map(in_words, parts))}, got {shown(value)}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value without parts is of this type and within its bounds."""
    if get_origin(hint) is Annotated:
        bounds = [bound for bound in hint.__metadata__ if isinstance(bound, Bound)]
        return _fits(value, get_args(hint)[0]) and all(bound.holds(value, bound.value) for bound in bounds)
    if hint is float:
        return _is_number(value)
    if hint is int:
        return isinstance(value, int) and _is_number(value)
    return hint is Any or isinstance(value, get_origin(hint) or hint)


def _is_number(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and _has_64_bits(value)
    return isinstance(value, float) and math.isfinite(value)


def _has_64_bits(value: int) -> bool:
    """As PyTorch and NumPy hold whole numbers."""
    return -(2**63) <= value < 2**63


def plain(value: Any) -> Any:
    """A value as JSON and YAML have it: settings as mappings, tuples as lists."""
    if isinstance(value, Settings):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value
