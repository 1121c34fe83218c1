"""What holds for every augmentation, and how they are asked for."""

import dataclasses
import pickle
import sys

import numpy as np
import pytest
import torch

from hiperceiver.data.augment import AUGMENTATIONS, MASK, augmentations_from_settings, check_augmentations
from hiperceiver.data.encoders import ENCODERS, AudioEncoder, Encoder, ImageEncoder, SeriesEncoder, encoder

from .examples import KINDS, changed_by, example, same

OTHER_SETTINGS = {
    "modality_dropout": {"probability": 0.9},
    "crop": {"scale": (0.1, 0.2), "ratio": (3, 4)},
    "flip": {"probability": 1.0},
    "turn": {},
    "translate": {"share": 1.0},
    "randaugment": {"operations": 2, "magnitude": 9},
    "colour": {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.0},
    "crop_time": {"share": 0.5},
    "speed": {"factors": (0.5, 0.6)},
    "shift": {"share": 0.9},
    "tilt": {"degrees": 90},
    "mirror": {"probability": 1.0, "axis": "z", "turning": (1,)},
    "gain": {"decibels": 1},
    "noise": {"snr": 3},
    "drop_points": {"share": 0.9},
    "rotate": {"axis": "any", "degrees": 20},
    "scale": {"factors": (0.5, 0.6)},
    "jitter": {"sigma": 0.1, "limit": 0.001},
}
FIELDS = [(name, field) for name, fields in OTHER_SETTINGS.items() for field in fields]


def changed(name: str, seed: int = 0, **settings: object) -> dict[str, np.ndarray]:
    return changed_by(AUGMENTATIONS[name](**settings), example(), seed)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_same_generator_gives_the_same_change_and_no_other_is_used(name: str) -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert same(changed(name, seed=3), changed(name, seed=3))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert any(not same(changed(name, seed=3), changed(name, seed=seed)) for seed in range(8))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_what_came_is_not_changed(name: str) -> None:
    given = example()
    for value in given.values():
        value.setflags(write=False)
    for seed in range(8):
        changed_by(AUGMENTATIONS[name](), given, seed)
    assert same(given, example())


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_types_stay_and_other_kinds_pass(name: str) -> None:
    given = example()
    is_changed = dict.fromkeys(given, False)
    for seed in range(24):
        for modality, value in changed_by(AUGMENTATIONS[name](), given, seed).items():
            assert value.dtype == given[modality].dtype
            assert value.shape[1:] == given[modality].shape[1:]
            assert all(stride >= 0 for stride in value.strides)  # a tensor can be made of it
            is_changed[modality] |= not np.array_equal(value, given[modality])
    expected = AUGMENTATIONS[name].kinds if name != "modality_dropout" else ()
    assert {KINDS[modality] for modality, is_other in is_changed.items() if is_other} == set(expected)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_missing_modalities_stay_missing(name: str) -> None:
    augmentation = AUGMENTATIONS[name]()
    assert augmentation({}, KINDS, np.random.default_rng(0)) == {}
    kind = next(kind for kind in augmentation.kinds if kind in ENCODERS or name != "modality_dropout")
    modality = next(modality for modality, its_kind in KINDS.items() if its_kind == kind)
    for seed in range(8):
        alone = changed_by(augmentation, {modality: example()[modality]}, seed)
        assert list(alone) == [modality]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_every_setting_makes_a_difference(name: str, field: str) -> None:
    other = {field: OTHER_SETTINGS[name][field]}
    assert any(not same(changed(name, seed), changed(name, seed, **other)) for seed in range(12))


def test_every_setting_is_tested() -> None:
    fields = {name: {field.name for field in dataclasses.fields(kind)} for name, kind in AUGMENTATIONS.items()}
    assert fields == {name: set(settings) for name, settings in OTHER_SETTINGS.items()}


def test_kinds_are_those_of_encoders() -> None:
    for augmentation in AUGMENTATIONS.values():
        for kind in augmentation.kinds:
            assert kind == MASK or kind in ENCODERS or f"| `{kind}` |" in str(encoder.__doc__)


def test_settings_become_augmentations_in_the_order_of_the_table() -> None:
    assert augmentations_from_settings({}) == ()
    assert augmentations_from_settings(dict.fromkeys(AUGMENTATIONS, False)) == ()
    everything = augmentations_from_settings(dict.fromkeys(reversed(AUGMENTATIONS), True))
    assert [type(each) for each in everything] == list(AUGMENTATIONS.values())
    for settings in (OTHER_SETTINGS, {name: {} for name in AUGMENTATIONS}):
        made = augmentations_from_settings(settings)
        assert made == tuple(AUGMENTATIONS[name](**settings[name]) for name in AUGMENTATIONS)
        assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - as data loaders' processes get them
    lists = augmentations_from_settings({"crop": {"scale": [0.5, 1]}})
    assert lists == (AUGMENTATIONS["crop"](scale=(0.5, 1.0)),)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"randaugmnt": True}, "randaugmnt: not a setting of AugmentSettings; did you mean randaugment?"),
        ({"zzz": True}, "zzz: not a setting of AugmentSettings; known: modality_dropout, crop, .*, colour"),
        ({"noise": 20}, "noise: expected .*, got 20"),
        ({"noise": None}, "noise: expected .*, got None"),
        ({"noise": {"snrr": 20}}, "noise.snrr: not a setting of NoiseSettings; did you mean snr?"),
        ({"turn": {"probability": 1}}, "turn.probability: not a setting of TurnSettings; known: none"),
        ({"noise": {"snr": "20"}}, "noise.snr: expected a number from -120 to 120, got '20'"),
        ({"gain": {"decibels": float("nan")}}, "gain.decibels: expected a number from 0 to 120, got nan"),
        ({"flip": {"probability": True}}, "flip.probability: expected a number from 0 to 1, got True"),
        ({"crop": {"scale": [1, 0.5]}}, r"crop.scale: expected two numbers, the smaller first, got \(1, 0.5\)"),
        ({"crop": {"scale": 0.5}}, "crop.scale: expected a list of 2 .*, got 0.5"),
        ({"crop": {"scale": (0.5, 2)}}, r"crop.scale\[1\]: expected a number above 0, up to 1, got 2"),
        ({"crop": {"ratio": (0, 2)}}, r"crop.ratio\[0\]: expected a number above 0, got 0"),
        ({"colour": {"hue": 0.6}}, "colour.hue: expected a number from 0 to 0.5, got 0.6"),
        ({"colour": {"contrast": 2}}, "colour.contrast: expected a number from 0 to 1, got 2"),
        ({"randaugment": {"operations": 0}}, "randaugment.operations: expected a whole number >= 1, got 0"),
        ({"randaugment": {"operations": 2.5}}, "randaugment.operations: expected a whole number >= 1, got 2.5"),
        ({"randaugment": {"magnitude": 11}}, "randaugment.magnitude: expected a number from 0 to 10, got 11"),
        ({"crop_time": {"share": 0}}, "crop_time.share: expected a number above 0, up to 1, got 0"),
        ({"shift": {"share": -1}}, "shift.share: expected a number from 0 to 1, got -1"),
        ({"translate": {"share": 4}}, "translate.share: expected a number from 0 to 1, got 4"),
        ({"tilt": {"degrees": 200}}, "tilt.degrees: expected a number from 0 to 180, got 200"),
        ({"rotate": {"axis": "up"}}, "rotate.axis: expected one of x, y, z, any, got 'up'"),
        ({"rotate": {"degrees": 360}}, "rotate.degrees: expected a number from 0 to 180, got 360"),
        ({"scale": {"factors": [1]}}, r"scale.factors: expected a list of 2 .*, got \[1\]"),
        ({"jitter": {"sigma": -1}}, "jitter.sigma: expected a number >= 0, got -1"),
        ({"drop_points": {"share": 2}}, "drop_points.share: expected a number from 0 to 1, got 2"),
        (
            {"modality_dropout": {"probability": 2}},
            "modality_dropout.probability: expected .* 0 to 1, got 2",
        ),
    ],
)
def test_mistakes_are_named_in_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message.replace('?', '[?]')}$"):
        augmentations_from_settings(settings)


def test_an_augmentation_needs_a_modality_that_it_changes() -> None:
    made: dict[str, Encoder] = {"audio": AudioEncoder(rate=8000, seconds=1.0), "image": ImageEncoder(size=(8, 8))}

    def check(name: str, **kinds: str) -> None:
        check_augmentations([AUGMENTATIONS[name]()], {modality: made[kind] for modality, kind in kinds.items()})

    check("noise", sound="audio", photo="image")
    check("flip", photo="image")
    check("modality_dropout", left="image", right="image")
    check_augmentations([], {})
    with pytest.raises(
        ValueError, match="jitter: expected a modality of kind points, got sound .audio., photo .image.$"
    ):
        check("jitter", sound="audio", photo="image")
    with pytest.raises(ValueError, match="flip: expected a modality of kind image or video or volume, got none$"):
        check("flip")
    with pytest.raises(ValueError, match="modality_dropout: expected 2 modalities of kind .*, got photo .image.$"):
        check("modality_dropout", photo="image")


@pytest.mark.parametrize("name", ["tilt", "mirror"])
def test_vectors_need_channels_in_threes(name: str) -> None:
    changes = [AUGMENTATIONS[name]()]
    check_augmentations(changes, {"motion": SeriesEncoder(length=4, channels=6)})
    with pytest.raises(ValueError, match=f"^{name}: motion: expected channels in threes, got 7; name the sensor's"):
        check_augmentations(changes, {"motion": SeriesEncoder(length=4, channels=7)})


@pytest.mark.parametrize("name", ["randaugment", "colour"])
def test_a_missing_package_is_said_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kornia", None)
    with pytest.raises(ValueError, match=f"^{name}: photo: the package 'kornia' is missing: pip install"):
        check_augmentations([AUGMENTATIONS[name]()], {"photo": ImageEncoder(size=(8, 8))})
