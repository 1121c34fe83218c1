"""Settings: every annotation is checked, plain values lead back to the same settings, docstrings are found."""

import copy
import json
import math
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import pytest

from hiperceiver.settings.base import (
    ONE_FOR_ALL,
    Count,
    CountOrZero,
    NonNegative,
    Positive,
    Probability,
    Settings,
    Share,
    field_docs,
    in_words,
)


class Block(Settings):
    """A part."""

    num_latents: Count
    """Latents of
    a group."""
    dropout: Probability = 0.0


class Sound(Settings):
    kind: ClassVar[str] = "sound"

    rate: Count = 16000
    """Samples per second."""


class Picture(Settings):
    kind: ClassVar[str] = "picture"

    size: Count | tuple[Count, Count] = 32


class Everything(Settings):
    steps: Count | None = None
    """How long."""
    workers: CountOrZero = 0
    rate: Positive = 1e-3
    decay: NonNegative = 0.0
    share: Share = 1.0
    strict: bool = False
    name: str = ""
    unit: Literal["s", "m"] = "s"
    scale: tuple[float, float] = (0.2, 1.0)
    weights: tuple[float, ...] | None = None
    columns: Mapping[str, str] = ()  # pyright: ignore[reportAssignmentType]
    blocks: tuple[Block, ...] = ()
    first: Block | None = None
    inputs: Mapping[str, Sound | Picture] = ()  # pyright: ignore[reportAssignmentType]
    flip: bool | Block = False
    anything: Any = None
    box: Annotated[tuple[Count, Count], ONE_FOR_ALL] = (2, 3)

    def __post_init__(self) -> None:
        for name in ("columns", "inputs"):
            object.__setattr__(self, name, getattr(self, name) or {})
        super().__post_init__()
        if self.strict and self.workers:
            raise ValueError(f"strict: not together with workers, got {self.workers}")


class More(Everything):
    steps: Count | None = 5
    """How much longer."""
    extra: int = 0
    """One more."""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps: expected a whole number >= 1, got 0"),
        ({"steps": 1.0}, "steps: expected a whole number >= 1, got 1.0"),
        ({"steps": True}, "steps: expected a whole number >= 1, got True"),
        ({"steps": "3"}, "steps: expected a whole number >= 1, got '3'"),
        ({"workers": -1}, "workers: expected a whole number >= 0, got -1"),
        ({"rate": 0}, "rate: expected a number above 0, got 0"),
        ({"rate": math.inf}, "rate: expected a number above 0, got inf"),
        ({"rate": math.nan}, "rate: expected a number above 0, got nan"),
        ({"rate": False}, "rate: expected a number above 0, got False"),
        ({"rate": None}, "rate: expected a number above 0, got None"),
        ({"decay": -0.1}, "decay: expected a number >= 0, got -0.1"),
        ({"share": 1.5}, "share: expected a number from 0 to 1, got 1.5"),
        ({"strict": 1}, "strict: expected true or false, got 1"),
        ({"name": 3}, "name: expected a text, got 3"),
        ({"unit": "h"}, "unit: expected one of s, m, got 'h'"),
        ({"scale": 1}, "scale: expected a list of 2 numbers, got 1"),
        ({"scale": [1, 2, 3]}, r"scale: expected a list of 2 numbers, got \[1, 2, 3\]"),
        ({"scale": "ab"}, "scale: expected a list of 2 numbers, got 'ab'"),
        ({"weights": [1, "x"]}, r"weights\[1\]: expected a number, got 'x'"),
        ({"weights": 1}, "weights: expected a list of numbers, got 1"),
        ({"columns": {"image": 3}}, "columns.image: expected a text, got 3"),
        ({"columns": "image"}, "columns: expected a mapping"),
        ({"columns": {3: "image"}}, "columns: expected a mapping"),
        ({"blocks": [{"num_latents": 0}]}, r"blocks\[0\].num_latents: expected a whole number >= 1, got 0"),
        ({"blocks": [{}]}, r"blocks\[0\].num_latents: required by Block, got nothing"),
        ({"blocks": [7]}, r"blocks\[0\]: expected a mapping .*, got 7"),
        ({"first": {"num_latent": 3}}, "first.num_latent: not a setting of Block; did you mean num_latents?"),
        ({"first": 3}, "first: expected a mapping .*, got 3"),
        ({"inputs": {"a": {"rate": 3}}}, "inputs.a.kind: expected one of sound, picture, got None"),
        ({"inputs": {"a": {"kind": "sounds"}}}, "inputs.a.kind: .*; did you mean sound?"),
        ({"inputs": {"a": {"kind": "sound", "size": 3}}}, "inputs.a.size: not a setting of Sound; known: rate"),
        ({"inputs": {"a": {"kind": "picture", "size": [3, 0]}}}, "inputs.a.size: expected a whole number >= 1 or "),
        ({"flip": "yes"}, "flip: expected true or false or a mapping"),
        ({"flip": {"num_latents": 1, "dropout": 1}}, "flip.dropout: expected a number from 0 to below 1, got 1"),
        ({"box": 0}, "box: expected a whole number >= 1, got 0"),
        ({"box": [1]}, r"box: expected a list of 2 values, each a whole number >= 1, got \[1\]"),
        ({"strict": True, "workers": 2}, "strict: not together with workers, got 2"),
        ({"stepz": 2}, "stepz: not a setting of Everything; did you mean steps?"),
        ({"xyz": 2}, "xyz: not a setting of Everything; known: steps, workers"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as raised:
        Everything.from_dict(values)
    assert "\n" not in str(raised.value)


def test_values_are_checked_without_from_dict_too() -> None:
    with pytest.raises(ValueError, match="^steps: expected a whole number >= 1, got 0$"):
        Everything(steps=0)


def test_what_fits_is_kept() -> None:
    settings = Everything.from_dict(
        {
            "steps": 3,
            "rate": 1,
            "scale": [0.5, 1],
            "weights": [1, 2.5],
            "columns": {"image": "img"},
            "blocks": [{"num_latents": 2}],
            "first": {"num_latents": 1},
            "inputs": {"a": {"kind": "sound", "rate": 8000}, "b": {"kind": "picture", "size": [4, 5]}},
            "flip": {"num_latents": 7},
            "anything": [1, {}],
        }
    )
    assert settings.rate == 1
    assert settings.scale == (0.5, 1)
    assert settings.blocks == (Block(num_latents=2),)
    assert settings.inputs == {"a": Sound(rate=8000), "b": Picture(size=(4, 5))}
    assert settings.flip == Block(num_latents=7)
    assert Everything(flip=True).flip is True
    assert Everything.from_dict({"box": 4}).box == (4, 4)
    assert Everything(box=(4, 5)).box == (4, 5)


def test_plain_values_lead_back_by_way_of_json() -> None:
    settings = More(
        steps=None,
        scale=(0.5, 1.5),
        blocks=(Block(num_latents=2), Block(num_latents=3, dropout=0.5)),
        inputs={"a": Sound(rate=8000), "b": Picture(size=(4, 5))},
        first=Block(num_latents=1),
    )
    plain = json.loads(json.dumps(settings.to_dict()))
    assert plain == settings.to_dict()
    assert plain["inputs"]["a"] == {"kind": "sound", "rate": 8000}
    assert More.from_dict(plain) == settings
    assert copy.deepcopy(settings) == settings
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301


def test_a_kind_must_be_the_right_one() -> None:
    assert Sound.from_dict({"rate": 8000}) == Sound.from_dict({"kind": "sound", "rate": 8000})
    with pytest.raises(ValueError, match="kind: expected sound, got 'picture'"):
        Sound.from_dict({"kind": "picture"})


def test_sentences_under_fields_are_found() -> None:
    assert field_docs(Block) == {"num_latents": "Latents of a group.", "dropout": ""}
    docs = field_docs(More)
    assert (docs["steps"], docs["extra"], docs["unit"]) == ("How much longer.", "One more.", "")
    assert field_docs(Everything)["steps"] == "How long."


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (Positive, "a number above 0"),
        (Probability | None, "a number from 0 to below 1"),
        (tuple[str, ...], "a list of texts"),
        (tuple[Count, ...], "a list of values, each a whole number >= 1"),
        (float | Literal["auto"], "a number or auto"),
        (Mapping[str, float], 'a mapping such as {"name": value}'),
    ],
)
def test_annotations_in_words(hint: Any, words: str) -> None:
    assert in_words(hint) == words


def test_nothing_slow_is_imported() -> None:
    code = "import sys, hiperceiver.settings.base; assert not {'torch', 'numpy', 'yaml'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
