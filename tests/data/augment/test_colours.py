"""Colours against their definitions, and RandAugment's operations against Pillow's and literal ones."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from hiperceiver.data.augment.colours import COLOUR_OPERATIONS, MOVES, ColorJitter, RandAugment

KINDS = {"photo": "image", "other": "image", "clip": "video", "segmentation": "mask"}
OFF = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


def picture(height: int = 32, width: int = 40) -> np.ndarray:
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    smooth = np.stack([rows, columns, 0.5 + 0.5 * np.sin(9 * rows * columns)], -1)
    return (30 + 180 * smooth).astype(np.uint8)


def photo(augmentation: ColorJitter | RandAugment, value: np.ndarray, seed: int = 0) -> np.ndarray:
    return augmentation({"photo": value}, KINDS, np.random.default_rng(seed))["photo"]


def test_nothing_is_changed_where_all_is_off() -> None:
    np.testing.assert_array_equal(photo(ColorJitter(**OFF), picture()), picture())


def test_brightness_contrast_and_saturation_by_their_definitions() -> None:
    x = picture() / 255
    grey = x @ [0.299, 0.587, 0.114]
    for seed in range(4):
        draws = 1 + np.random.default_rng(seed).uniform(-0.3, 0.3, 3)
        expected = {
            "brightness": x * draws[0],
            "contrast": grey.mean() + draws[1] * (x - grey.mean()),
            "saturation": grey[..., None] + draws[2] * (x - grey[..., None]),
        }
        for index, name in enumerate(expected):
            spans = {**OFF, name: 0.3}
            # All three are drawn whatever their spans: the same draws, scaled.
            unit = np.random.default_rng(seed).random(3)[index] * 2 - 1
            assert 1 + 0.3 * unit == pytest.approx(draws[index])
            changed = photo(ColorJitter(**spans), picture(), seed)
            assert np.abs(changed / 255 - expected[name].clip(0, 1)).max() < 0.01, name


def test_hue_turns_the_colour_circle() -> None:
    red = np.full((2, 2, 3), [200, 50, 50], dtype=np.uint8)
    seen = {tuple(photo(ColorJitter(**{**OFF, "hue": 0.5}), red, seed)[0, 0]) for seed in range(300)}
    assert {max(colour) for colour in seen} == {200}
    assert {min(colour) for colour in seen} == {50}
    for wanted in ([200, 50, 50], [50, 200, 50], [50, 50, 200], [200, 200, 50], [50, 200, 200], [200, 50, 200]):
        assert min(np.abs(np.array(colour, dtype=int) - wanted).max() for colour in seen) < 12


@pytest.mark.parametrize("augmentation", [ColorJitter(), RandAugment(), RandAugment(operations=8, magnitude=10)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grey_colour_and_alpha_as_bytes_and_as_float(augmentation: ColorJitter | RandAugment, channels: int) -> None:
    value = np.concatenate([picture(), picture()[..., :1]], -1)[..., :channels]
    for seed in range(6):
        as_bytes = photo(augmentation, value, seed)
        as_float = photo(augmentation, value.astype(np.float32) / 255, seed)
        assert as_bytes.dtype == np.uint8
        assert as_float.dtype == np.float32
        assert as_float.min() >= 0
        assert as_float.max() <= 1
        np.testing.assert_array_equal(as_bytes, np.rint(as_float * 255))
        if channels == 4 and isinstance(augmentation, ColorJitter):
            np.testing.assert_array_equal(as_bytes[..., 3], value[..., 3])


@pytest.mark.parametrize("augmentation", [ColorJitter(), RandAugment(operations=6, magnitude=7)])
def test_all_frames_and_pictures_change_alike(augmentation: ColorJitter | RandAugment) -> None:
    for seed in range(12):
        shown = picture(
            128, 160
        )  # in small ones the histogram's rounding shows: three frames have three times the pixels
        values = {"photo": shown, "other": shown, "clip": np.stack([shown] * 3)}
        changed = augmentation(values, KINDS, np.random.default_rng(seed))
        np.testing.assert_array_equal(changed["photo"], changed["other"])
        assert np.abs(changed["clip"].astype(int) - changed["photo"]).mean() < 1
        np.testing.assert_array_equal(changed["clip"][0], changed["clip"][2])


def test_a_clip_does_not_flicker() -> None:
    """A frame that is darker than the others stays darker where each frame alone would be brought to the same."""
    clip = np.stack([picture(), picture() // 4])
    frames = torch.from_numpy(clip.astype(np.float32) / 255).permute(0, 3, 1, 2)
    for name in ("auto_contrast", "equalise"):
        after = COLOUR_OPERATIONS[name](frames, 0.5)
        assert after.shape == frames.shape
        assert after[1].mean() < 0.6 * after[0].mean()


def operated(name: str, level: float, value: np.ndarray) -> np.ndarray:
    frames = torch.from_numpy(value.astype(np.float32) / 255).permute(2, 0, 1)[None]
    return (COLOUR_OPERATIONS[name](frames, level).clamp(0, 1)[0].permute(1, 2, 0).numpy() * 255).round().astype(int)


@pytest.mark.parametrize("level", [0.2, 0.5, 0.9])
def test_colour_operations_are_pillows(level: float) -> None:
    value, pillow = picture(), Image.fromarray(picture())
    bits = max(1, int(4 * level))
    added = value.astype(int) + np.where(value < 128, int(110 * level), 0)
    factor = 0.1 + 1.8 * level
    expected = {
        "auto_contrast": (ImageOps.autocontrast(pillow), 1),
        "equalise": (ImageOps.equalize(pillow), 3),
        "invert": (ImageOps.invert(pillow), 0),
        "posterise": (ImageOps.posterize(pillow, bits), 0),
        "solarise": (ImageOps.solarize(pillow, round(255 * level)), 0),
        "solarise_add": (added.clip(0, 255), 1),
        "colour": (ImageEnhance.Color(pillow).enhance(factor), 1),
        "contrast": (ImageEnhance.Contrast(pillow).enhance(factor), 1),
        "brightness": (ImageEnhance.Brightness(pillow).enhance(factor), 1),
        "sharpness": (ImageEnhance.Sharpness(pillow).enhance(factor), 1),
    }
    assert expected.keys() == COLOUR_OPERATIONS.keys()
    for name, (wanted, tolerance) in expected.items():
        if name == "solarise" and level != 0.5:
            continue  # which side of the threshold a pixel lies on is a matter of rounding
        assert np.abs(operated(name, level, value) - np.asarray(wanted).astype(int)).max() <= tolerance, name


def test_a_flat_picture_stays_what_it_is() -> None:
    flat = np.full((4, 4, 3), 90, dtype=np.uint8)
    for name in ("auto_contrast", "equalise", "contrast", "colour", "sharpness"):
        assert np.abs(operated(name, 0.9, flat) - 90).max() <= 1, name


@pytest.mark.parametrize("level", [-1.0, 0.5, 1.0])
def test_moves_against_literal_ones(level: float) -> None:
    """Where each pixel of a mask came from, computed pixel by pixel."""
    height, width = 20, 30
    places = np.arange(height * width, dtype=np.float32).reshape(height, width) + 1
    angle = np.deg2rad(30 * level)
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    sources = {
        "rotate": lambda at: turn @ (at - middle) + middle,
        "translate_x": lambda at: at - [level * width * 100 / 224, 0],
        "translate_y": lambda at: at - [0, level * height * 100 / 224],
        "shear_x": lambda at: at - [0.3 * level * at[1], 0],
        "shear_y": lambda at: at - [0, 0.3 * level * at[0]],
    }
    assert sources.keys() == MOVES.keys()
    for name, source in sources.items():
        moved = MOVES[name](torch.from_numpy(places)[None, None], level, "nearest")[0, 0].numpy()
        num_right = 0
        for y in range(height):
            for x in range(width):
                at = source(np.array([x, y], dtype=float))
                column, row = np.rint(at).astype(int)
                is_inside = 0 <= row < height and 0 <= column < width
                num_right += moved[y, x] == (places[row, column] if is_inside else 0)
        assert num_right >= 0.95 * height * width, name  # halves are rounded either way


def test_a_mask_moves_with_its_picture() -> None:
    rows, columns = np.mgrid[:64, :64]
    block = ((rows > 20) & (rows < 44) & (columns > 24) & (columns < 40)).astype(np.int64)
    values = {"photo": (block * 200).astype(np.uint8)[..., None].repeat(3, -1), "segmentation": block}
    names = [*COLOUR_OPERATIONS, *MOVES]
    num_moved = 0
    for seed in range(60):
        drawn = {names[i] for i in np.random.default_rng(seed).integers(len(names), size=2)}
        if not drawn <= MOVES.keys():
            continue
        num_moved += 1
        changed = RandAugment(operations=2)(values, KINDS, np.random.default_rng(seed))
        assert set(np.unique(changed["segmentation"])) <= {-100, 0, 1}
        grey = changed["photo"][..., 0].astype(int)
        assert (grey[changed["segmentation"] == 1] > 99).mean() > 0.9
        assert (grey[changed["segmentation"] == 0] < 101).mean() > 0.95
        outside = grey[changed["segmentation"] == -100]
        assert outside.size and (np.abs(outside - 128) < 3).mean() > 0.8
    assert num_moved >= 3


def test_labels_are_kept_where_only_colours_change() -> None:
    names = [*COLOUR_OPERATIONS, *MOVES]
    values = {"photo": picture(), "segmentation": np.arange(32 * 40).reshape(32, 40)}
    for seed in range(40):
        if names[np.random.default_rng(seed).integers(len(names), size=1)[0]] in COLOUR_OPERATIONS:
            changed = RandAugment(operations=1)(values, KINDS, np.random.default_rng(seed))
            np.testing.assert_array_equal(changed["segmentation"], values["segmentation"])


def test_all_operations_are_drawn() -> None:
    names = [*COLOUR_OPERATIONS, *MOVES]
    assert len(names) == 15
    drawn = np.concatenate([np.random.default_rng(seed).integers(len(names), size=4) for seed in range(200)])
    assert set(drawn) == set(range(15))


def test_kornia_is_loaded_when_it_is_used() -> None:
    code = "import sys, hiperceiver.data.augment; sys.exit('kornia' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
