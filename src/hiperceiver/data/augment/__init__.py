"""Augmentations: random changes of training examples that keep their meaning. None is on by default.

Those that choose a part, and those of signals and points, change what was decoded; the others what lies on the grid.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from hiperceiver.data.augment.augmentation import MASK, Augmentation, ChangeFault, ModalityDropout
from hiperceiver.data.augment.colours import ColorJitter, RandAugment
from hiperceiver.data.augment.images import Crop, Flip, Rotate90, Translate
from hiperceiver.data.augment.points import DropPoints, Jitter, Rotate, Scale
from hiperceiver.data.augment.signals import CropTime, Gain, MirrorBody, Noise, RotateSensor, Speed, TimeShift
from hiperceiver.data.encoders import Encoder
from hiperceiver.settings.augment import AugmentSettings

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "modality_dropout": ModalityDropout,
    "crop": Crop,
    "crop_time": CropTime,
    "speed": Speed,
    "shift": TimeShift,
    "tilt": RotateSensor,
    "mirror": MirrorBody,
    "gain": Gain,
    "noise": Noise,
    "drop_points": DropPoints,
    "rotate": Rotate,
    "scale": Scale,
    "jitter": Jitter,
    "flip": Flip,
    "turn": Rotate90,
    "translate": Translate,
    "randaugment": RandAugment,
    "colour": ColorJitter,
}
"""A name in the settings -> its class. They are applied in this order: first those of decoded values, then (from `flip`
on) those of values that lie on the grid."""

__all__ = [
    "AUGMENTATIONS",
    "MASK",
    "Augmentation",
    "ChangeFault",
    "augmentations_from_settings",
    "check_augmentations",
    "names_of",
]


def augmentations_from_settings(settings: Mapping[str, Any] | AugmentSettings) -> tuple[Augmentation, ...]:
    """The augmentations that are on, in the order in which they are applied: that of `AUGMENTATIONS`.

    >>> augmentations_from_settings({"noise": {"snr": 10}, "flip": True, "crop": False})
    (Noise(snr=10), Flip(probability=0.5))
    """
    if not isinstance(settings, AugmentSettings):
        settings = AugmentSettings.from_dict(settings)
    given = {name: getattr(settings, name) for name in AUGMENTATIONS}
    chosen = {name: {} if each is True else each.to_dict() for name, each in given.items() if each is not False}
    return tuple(AUGMENTATIONS[name](**values) for name, values in chosen.items())


def names_of(augmentations: Iterable[Augmentation]) -> dict[str, dict[str, Any]]:
    """The settings that give these augmentations.

    >>> names_of(augmentations_from_settings({"flip": True}))
    {'flip': {'probability': 0.5}}
    """
    names = {augmentation: name for name, augmentation in AUGMENTATIONS.items()}
    return {names.get(type(each), type(each).__name__): each.to_dict() for each in augmentations}


def check_augmentations(augmentations: Iterable[Augmentation], encoders: Mapping[str, Encoder]) -> None:
    """Refuse an augmentation that could not change what these encoders read."""
    found = ", ".join(f"{modality} ({encoder.kind})" for modality, encoder in encoders.items()) or "none"
    for augmentation in augmentations:
        name = next(iter(names_of([augmentation])))
        changed = {modality: each for modality, each in encoders.items() if each.kind in augmentation.kinds}
        if len(changed) < augmentation.fewest:
            needed = "a modality" if augmentation.fewest == 1 else f"{augmentation.fewest} modalities"
            choices = " or ".join(kind for kind in augmentation.kinds if kind != MASK)
            raise ValueError(f"{name}: expected {needed} of kind {choices}, got {found}")
        for modality, encoder in changed.items():
            try:
                augmentation.check(encoder)
            except ValueError as error:
                raise ValueError(f"{name}: {modality}: {error}") from None
