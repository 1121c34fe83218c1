"""Of every settings class: whatever it is given, it is kept and comes back from its file, or one clear line says no."""

import dataclasses
import datetime
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples, fitting

import hiperceiver.modality
import hiperceiver.settings.augment
import hiperceiver.settings.commands
import hiperceiver.settings.model
import hiperceiver.settings.tasks
from hiperceiver.settings.base import Settings, field_types, plain_name


def classes_below(cls: type[Settings]) -> Iterator[type[Settings]]:
    for each in cls.__subclasses__():
        yield each
        yield from classes_below(each)


CLASSES = sorted(
    {
        each
        for each in classes_below(Settings)
        if each.__module__.startswith("hiperceiver.settings.") or each is hiperceiver.modality.Modality
    },
    key=lambda each: each.__qualname__,
)

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([12, 18, 30, 400, 5000]).map(lambda digits: 10**digits),
    st.floats(),
    st.sampled_from([1e308, 5e-324, float("nan"), float("inf")]),
    st.text(max_size=8),
    st.sampled_from([1, 1000]).map(lambda times: "a\n" * times),
    st.binary(max_size=3),
    st.dates(datetime.date(2000, 1, 1)),
)
JUNK = st.recursive(
    _SCALARS,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=5) | st.integers(), part, max_size=3),
    max_leaves=5,
)
"""What a YAML file may hold where a setting is expected."""


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@examples(6)
@given(data=st.data())
def test_it_is_kept_or_refused_in_one_line(cls: type[Settings], data: st.DataObject) -> None:
    hints = field_types(cls)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if data.draw(st.booleans()):
            strategy = fitting(hints[field.name]) if data.draw(st.integers(0, 3)) else JUNK
            values[plain_name(field)] = data.draw(strategy)
    if not data.draw(st.integers(0, 9)):
        values[data.draw(st.text())] = data.draw(JUNK)
    message = ""
    try:
        settings = cls.from_dict(values)
    except ValueError as error:
        message = str(error)
    if message:
        assert message.isprintable() and len(message) < 3000
        assert "integer string conversion" not in message
        return
    plain = json.loads(json.dumps(settings.to_dict()))
    assert cls.from_dict(plain) == settings
    assert plain == settings.to_dict()
