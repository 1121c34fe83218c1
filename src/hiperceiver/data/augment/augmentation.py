"""What every augmentation does: it changes the values of one example at random, and what they show stays the same."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

MASK = "mask"
"""The kind of a segmentation mask, int64 (h, w), -100 = no label: it lies over the pictures and moves with them."""


@dataclass(frozen=True, kw_only=True)
class Augmentation(ABC):
    """A random change of an example's values, the arrays that its encoders read, before they become tokens.

    It draws from the generator it is given and from nothing else: the same generator gives the same change. It leaves
    the arrays that came as they are and keeps their types.
    """

    kinds: ClassVar[tuple[str, ...]]
    """The kinds of encoder whose values it changes, and `mask` if masks move with them. Others pass unchanged."""
    fewest: ClassVar[int] = 1
    """How many modalities of these kinds it needs to change anything."""

    @abstractmethod
    def __call__(
        self, values: dict[str, np.ndarray], kinds: Mapping[str, str], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """The changed values.

        Args:
            values: what `Encoder.read` gave, by modality; modalities may be missing.
            kinds: the encoder's kind of each, or `mask`.
            rng: the only source of chance.

        Returns:
            By modality. One that is left out is absent from this example.
        """

    def names(self, values: Mapping[str, np.ndarray], kinds: Mapping[str, str]) -> list[str]:
        """The modalities, and masks, that it changes."""
        return [name for name in values if kinds[name] in self.kinds]


def checked_number(name: str, value: object, low: float, high: float = math.inf) -> float:
    """A finite number in low..high.

    >>> checked_number("share", 2, 0, 1)
    Traceback (most recent call last):
    ValueError: share: expected a number in 0..1, got 2
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high and math.isfinite(value):
        return float(value)
    expected = f">= {low:g}" if high == math.inf else f"in {low:g}..{high:g}"
    raise ValueError(f"{name}: expected a number {expected}, got {value!r}")


def checked_range(name: str, value: object, low: float, high: float = math.inf) -> tuple[float, float]:
    """Two numbers in low..high, the smaller first and above 0.

    >>> checked_range("scale", [0.5, 1], 0, 1)
    (0.5, 1.0)
    """
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        first, last = (checked_number(name, each, low, high) for each in value)
        if 0 < first <= last:
            return first, last
    raise ValueError(f"{name}: expected two numbers > 0, the smaller first, got {value!r}")


def rotation_about(axis: np.ndarray, degrees: float) -> np.ndarray:
    """The matrix (3, 3) that turns vectors about an axis (3,) of any length, by Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(math.radians(degrees)) * cross + (1 - math.cos(math.radians(degrees))) * cross @ cross
