"""Augmentations: random changes of training examples that keep their meaning. None is on unless it is asked for.

Each changes the values that encoders read, between reading and making tokens; `AUGMENTATIONS` names them all.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from hiperceiver.data.augment.augmentation import MASK, Augmentation
from hiperceiver.data.augment.colours import Colour, RandAugment
from hiperceiver.data.augment.images import Crop, Flip, Turn
from hiperceiver.data.augment.modalities import ModalityDropout
from hiperceiver.data.augment.points import DropPoints, Jitter, Rotate, Scale
from hiperceiver.data.augment.signals import CropTime, Gain, Noise, Shift, Speed, Tilt

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "modality_dropout": ModalityDropout,
    "crop": Crop,
    "flip": Flip,
    "turn": Turn,
    "randaugment": RandAugment,
    "colour": Colour,
    "crop_time": CropTime,
    "speed": Speed,
    "shift": Shift,
    "tilt": Tilt,
    "gain": Gain,
    "noise": Noise,
    "drop_points": DropPoints,
    "rotate": Rotate,
    "scale": Scale,
    "jitter": Jitter,
}
"""A name in the settings -> its class. They are applied in this order."""

__all__ = [
    "AUGMENTATIONS",
    "MASK",
    "Augmentation",
    "augmentations_from_settings",
    "check_augmentations",
]


def augmentations_from_settings(settings: Mapping[str, Any]) -> tuple[Augmentation, ...]:
    """The augmentations that are asked for, in the order in which they are applied: that of `AUGMENTATIONS`.

    Args:
        settings: a name -> true (with its defaults), false (not at all), or its settings.

    Raises:
        ValueError: a name or setting is unknown, or a value wrong.

    >>> augmentations_from_settings({"noise": {"snr": 10}, "flip": True, "crop": False})
    (Flip(probability=0.5), Noise(snr=10))
    >>> augmentations_from_settings({"nois": True})
    Traceback (most recent call last):
    ValueError: nois: expected an augmentation among modality_dropout, ..., jitter; did you mean noise?
    """
    for name, given in settings.items():
        if name not in AUGMENTATIONS:
            raise ValueError(f"{name}: expected an augmentation among {_known(name, AUGMENTATIONS)}")
        if not isinstance(given, bool | Mapping):
            raise ValueError(f"{name}: expected true, false or settings such as {{field: value}}, got {given!r}")
    made = []
    for name, augmentation in AUGMENTATIONS.items():
        given = settings.get(name, False)
        if given is False:
            continue
        fields = {} if given is True else dict(given)
        known = [field.name for field in dataclasses.fields(augmentation)]
        for field in fields:
            if field not in known:
                expected = f"a setting among {_known(field, known)}" if known else "no settings"
                raise ValueError(f"{name}.{field}: expected {expected}")
        try:
            made.append(augmentation(**fields))
        except ValueError as error:
            raise ValueError(f"{name}.{error}") from None
    return tuple(made)


def check_augmentations(augmentations: Iterable[Augmentation], kinds: Mapping[str, str]) -> None:
    """Refuse an augmentation that would change nothing.

    Args:
        augmentations: those that are asked for.
        kinds: the encoder's kind of each modality of the data, or `mask`.

    Raises:
        ValueError: one is for other kinds, or needs more modalities.

    >>> check_augmentations(augmentations_from_settings({"noise": True}), {"photo": "image"})
    Traceback (most recent call last):
    ValueError: noise: expected a modality of kind audio or series, got photo (image)
    """
    inputs = {name: kind for name, kind in kinds.items() if kind != MASK}
    came = ", ".join(f"{name} ({kind})" for name, kind in inputs.items()) or "none"
    names = {augmentation: name for name, augmentation in AUGMENTATIONS.items()}
    for augmentation in augmentations:
        if sum(kind in augmentation.kinds for kind in inputs.values()) < augmentation.fewest:
            needed = "a modality" if augmentation.fewest == 1 else f"{augmentation.fewest} modalities"
            choices = " or ".join(kind for kind in augmentation.kinds if kind != MASK)
            raise ValueError(f"{names[type(augmentation)]}: expected {needed} of kind {choices}, got {came}")


def _known(name: object, known: Iterable[str]) -> str:
    """What there is, and what was probably meant."""
    close = difflib.get_close_matches(str(name), known, n=1)
    return ", ".join(known) + (f"; did you mean {close[0]}?" if close else "")
