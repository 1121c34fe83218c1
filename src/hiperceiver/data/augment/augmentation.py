"""What every augmentation does: it changes the values of one example at random, and what they show stays the same."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hiperceiver.data.encoders import ENCODERS, Encoder
from hiperceiver.settings.augment import ModalityDropoutSettings
from hiperceiver.settings.base import Settings

MASK = "mask"  # the kind of a segmentation mask, -100 = no label: it lies over the pictures and moves with them


class ChangeFault(ValueError):
    """What an augmentation cannot change: a fault of the example, or of how it is read."""


class Augmentation(Settings):
    """A random change of an example's values before they become tokens. Its fields are those of its settings.

    It draws from the given generator alone, leaves the given arrays as they are and keeps their types.
    """

    is_on_grid: ClassVar[bool] = False
    """Whether it changes what `Encoder.fit_to_grid` gave; otherwise what `Encoder.decode` gave."""
    kinds: ClassVar[tuple[str, ...]]
    """The kinds of encoder whose values it changes, and `mask` if masks move with them. Others pass unchanged."""
    fewest: ClassVar[int] = 1
    """How many modalities of these kinds it needs to change anything."""

    def __call__(self, values: dict[str, Any], kinds: Mapping[str, str], rng: np.random.Generator) -> dict[str, Any]:
        """The changed values, by modality; one that is left out is absent from this example.

        `kinds` gives the encoder's kind of each, or `mask`; modalities may be missing. Faults name the modality.
        """
        draw, changed = self._draw(rng), dict(values)
        for name in self.names(values, kinds):
            try:
                changed[name] = self._change(values[name], kinds[name], draw, rng)
            except ValueError as error:
                raise ChangeFault(f"{name}: {error}") from None
        return changed

    def check(self, encoder: Encoder) -> None:
        """Refuse (`ValueError`) an encoder of these kinds, none of whose values it could change."""

    def _draw(self, rng: np.random.Generator) -> Any:
        """What is drawn once for an example, so that all of its values change alike."""
        return None

    def _change(self, value: Any, kind: str, draw: Any, rng: np.random.Generator) -> Any:
        """One value, changed; `rng` is for what is drawn for each value by itself."""
        return value

    def names(self, values: Mapping[str, Any], kinds: Mapping[str, str]) -> list[str]:
        """The modalities, and masks, that it changes."""
        return [name for name in values if kinds[name] in self.kinds]


class ModalityDropout(ModalityDropoutSettings, Augmentation):
    """Modalities are left out of an example at random, each on its own, but never all. Masks stay.

    >>> values = {name: np.zeros((4, 4, 3), np.uint8) for name in ("left_eye", "right_eye")}
    >>> kinds = {"left_eye": "image", "right_eye": "image"}
    >>> list(ModalityDropout(probability=1)(values, kinds, np.random.default_rng(0)))
    ['left_eye']
    """

    kinds: ClassVar[tuple[str, ...]] = tuple(ENCODERS)
    fewest: ClassVar[int] = 2

    def __call__(self, values: dict[str, Any], kinds: Mapping[str, str], rng: np.random.Generator) -> dict[str, Any]:
        """The modalities that are left, and the masks."""
        names = self.names(values, kinds)
        is_dropped = rng.random(len(names)) < self.probability
        dropped = [name for name, is_it in zip(names, is_dropped, strict=True) if is_it]
        if names and dropped == names:
            dropped.pop(int(rng.integers(len(names))))
        return {name: value for name, value in values.items() if name not in dropped}


def rotation_about(axis: np.ndarray, degrees: float) -> np.ndarray:
    """The matrix (3, 3) that turns vectors about an axis (3,) of any length, by Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(math.radians(degrees)) * cross + (1 - math.cos(math.radians(degrees))) * cross @ cross
