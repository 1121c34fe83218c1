"""A task's answer about one example: plain values, a line of text, and tokens that can be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DrawnTokens:
    """Tokens of a modality that an encoder turns into a picture. On the CPU."""

    kind: ClassVar[str]  # which picture: its name for `hip plot --kind`

    modality: str


@dataclass(frozen=True, kw_only=True)
class ReconstructedTokens(DrawnTokens):
    """What a model makes of hidden tokens: (M, C), and bool (M,), True = was hidden."""

    kind: ClassVar[str] = "reconstruction"
    tokens: Tensor
    is_masked: Tensor


@dataclass(frozen=True, kw_only=True)
class ForecastTokens(DrawnTokens):
    """The last h steps of a series, and what repeats the last visible one instead: (tokens in h steps, C) each."""

    kind: ClassVar[str] = "forecast"
    tokens: Tensor
    persistence: Tensor
    horizon: int  # steps along the grid's first axis, h


@dataclass(frozen=True, kw_only=True)
class LabelledTokens(DrawnTokens):
    """A class for each token, int64 (M,), and the names of the classes."""

    kind: ClassVar[str] = "segmentation"
    label: Tensor
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a task says of one example."""

    values: dict[str, Any]  # for JSON
    text: str  # one line for people
    drawn: tuple[DrawnTokens, ...] = ()  # one entry for each of the task's `drawings`


def most_probable(probabilities: Tensor, classes: Sequence[str], count: int) -> list[dict[str, Any]]:
    """The classes with the largest probabilities, those of zero left out.

    >>> import torch
    >>> most_probable(torch.tensor([0.25, 0.75, 0.0]), ["cat", "dog", "bird"], 3)
    [{'name': 'dog', 'probability': 0.75}, {'name': 'cat', 'probability': 0.25}]
    """
    top = probabilities.topk(min(count, len(classes)))
    return [
        {"name": classes[index], "probability": round(float(value), 6)}
        for value, index in zip(top.values, top.indices.tolist(), strict=True)
        if value > 0
    ]


def in_words(labels: Sequence[dict[str, Any]]) -> str:
    """What `most_probable` gives, in a line."""
    return ", ".join(f"{each['name']} {100 * each['probability']:.1f}%" for each in labels)
