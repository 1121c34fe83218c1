"""Examples of which a part is missing, so that a model learns to do without."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hiperceiver.data.augment.augmentation import Augmentation
from hiperceiver.data.encoders import ENCODERS
from hiperceiver.settings.augment import ModalityDropoutSettings


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
        dropped = [
            name for name, chance in zip(names, rng.random(len(names)), strict=True) if chance < self.probability
        ]
        if names and dropped == names:
            dropped.pop(int(rng.integers(len(names))))
        return {name: value for name, value in values.items() if name not in dropped}
