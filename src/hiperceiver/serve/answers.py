"""What the page asks, what it is told, and who answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Input:
    """A modality that can be given to the model."""

    name: str
    kind: str  # `image`, `audio`, ...
    endings: tuple[str, ...] = ()  # of its files, the usual ones
    is_text: bool = False  # whether it may be typed
    read_as: Literal["picture", "text", "table"] = "picture"  # how it is shown what the model reads of it


@dataclass(frozen=True, kw_only=True)
class About:
    """What the page must know of a model before anything is asked."""

    title: str
    subtitle: str
    inputs: tuple[Input, ...]
    labels: tuple[str, ...] = ()  # names of the answers that are classes with probabilities
    has_numbers: bool = False
    drawn: tuple[str, ...] = ()  # modalities of which pictures are drawn
    clicked: str | None = None  # the modality that is shown as a picture whose places can be clicked
    is_overlaid: bool = False  # whether segments are laid over it
    mask_ratio: float | None = None  # of a masked auto-encoder, the usual one
    examples: tuple[str, ...] = ()
    place: str = ""  # how a place is written for `attention`, such as `row,column`; empty: no attention is drawn


@dataclass(frozen=True, kw_only=True)
class Question:
    """An example, from files and texts by modality, or by its number among the examples that came along."""

    files: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    example: int | None = None
    mask_ratio: float | None = None
    seed: int = 0  # of what is hidden
    place: str | None = None  # for `attention`; None: the middle


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Pixels of one class."""

    name: str
    colour: str  # as #rrggbb
    is_part: np.ndarray  # bool (h, w)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the page shows."""

    text: str  # one line
    labels: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # answer -> class -> probability
    numbers: Sequence[tuple[str, str]] = ()
    drawn: Mapping[str, Any] = field(default_factory=dict)  # modality -> Pillow picture
    seen: np.ndarray | None = None  # what the model sees of `About.clicked`, uint8 (h, w, 3)
    read: Mapping[str, Any] = field(default_factory=dict)
    """What the model reads of other modalities, unless `drawn` shows it: a Pillow picture, a text, or a table's rows of
    names and values, as `Input.read_as` says."""
    segments: Sequence[Segment] = ()
    sounds: Sequence[str] = ()  # paths
    files: Sequence[str] = ()  # paths


class Refused(ValueError):
    """The question cannot be answered: why, in one line."""


class Answerer(Protocol):
    """Who answers. `Refused` is for the asker; any other error is a fault of ours."""

    @property
    def about(self) -> About:
        """What can be asked."""
        ...

    def answer(self, question: Question) -> Reply:
        """The prediction."""
        ...

    def attention(self, question: Question) -> list[Any]:
        """Pillow pictures of where the model looks."""
        ...

    def positions(self) -> list[Any]:
        """Pillow pictures of the model's position table; none if it has none."""
        ...
