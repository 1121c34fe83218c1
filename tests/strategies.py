"""Values for properties (hypothesis) that follow from the annotations of settings, and how many are tried."""

import dataclasses
import operator
import os
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import hypothesis
from hypothesis import strategies as st

from hiperceiver.settings.base import (
    ONE_FOR_ALL,
    Bound,
    Settings,
    classes_of,
    field_types,
    is_required,
    is_settings,
    plain_name,
)

SettingsT = TypeVar("SettingsT", bound=Settings)

TIMES = float(os.environ.get("HIPERCEIVER_EXAMPLES", "1"))
"""How many times as many examples are tried as in CI."""


def examples(count: int) -> hypothesis.settings:
    """Try so many examples, times HIPERCEIVER_EXAMPLES; the decorator of a property whose examples are slow."""
    return hypothesis.settings(max_examples=max(1, round(count * TIMES)))


def fitting(hint: Any, *, most: int = 12) -> st.SearchStrategy[Any]:
    """Plain values that fit an annotation. Whole numbers lie at most `most` above their lower bound."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        if classes := classes_of(hint):
            return st.sampled_from([*classes.values()]).flatmap(lambda cls: plain_settings(cls, most=most))
        pair = fitting(arguments[0], most=most)
        if ONE_FOR_ALL in hint.__metadata__:
            return pair | pair.map(lambda values: values[0])
        return _bounded(arguments[0], [each for each in hint.__metadata__ if isinstance(each, Bound)], most)
    if origin in (Union, types.UnionType):
        return st.one_of(*(fitting(each, most=most) for each in arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        if arguments[-1] is ...:
            return st.lists(fitting(arguments[0], most=most), max_size=4)
        return st.tuples(*(fitting(each, most=most) for each in arguments)).map(list)
    if origin in (dict, Mapping):
        return st.dictionaries(st.text(max_size=5), fitting(arguments[1], most=most), max_size=3)
    if is_settings(hint):
        return plain_settings(hint, most=most)
    return {
        int: st.integers(-most, most),
        float: st.floats(-1e3, 1e3, width=32),
        bool: st.booleans(),
        str: st.text(max_size=8),
        types.NoneType: st.none(),
        Any: st.none() | st.booleans() | st.integers(-most, most) | st.text(max_size=8),
    }[hint]


def plain_settings(cls: type[Settings], *, most: int = 12, **given: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Plain values of a settings class, each of which fits its annotation; they may contradict each other."""
    hints, required, optional = field_types(cls), {}, {}
    for field in dataclasses.fields(cls):
        value = given.get(field.name, fitting(hints[field.name], most=most))
        is_needed = is_required(field) or field.name in given
        (required if is_needed else optional)[plain_name(field)] = value
    values = st.fixed_dictionaries(required, optional=optional)
    return values.map(lambda each: {"kind": cls.kind, **each} if cls.kind else each)


def settings_of(cls: type[SettingsT], *, most: int = 12, **given: Any) -> st.SearchStrategy[SettingsT]:
    """Valid settings of a class; `given` are strategies of fields that are drawn otherwise."""

    def made(values: dict[str, Any]) -> SettingsT | None:
        try:
            return cls.from_dict(values)
        except ValueError:
            return None

    return plain_settings(cls, most=most, **given).map(made).filter(lambda each: each is not None)  # pyright: ignore[reportReturnType]


def _bounded(hint: Any, bounds: list[Bound], most: int) -> st.SearchStrategy[Any]:
    by = {bound.holds: bound.value for bound in bounds}
    if hint is str:
        return st.sampled_from([*by.popitem()[1]])
    low, high = by.get(operator.ge, by.get(operator.gt)), by.get(operator.le, by.get(operator.lt))
    if hint is int:
        low = -most if low is None else low + (operator.gt in by)
        return st.integers(low, low + most if high is None else min(high - (operator.lt in by), low + most))
    return st.floats(
        0.0 if low is None else low,
        1e3 if high is None else high,
        exclude_min=operator.gt in by,
        exclude_max=operator.lt in by,
        allow_subnormal=False,
    )
