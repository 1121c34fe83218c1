"""HiP as a whole: against a literal version in NumPy, and what its config refuses."""

import dataclasses
from typing import Any

import pytest
import torch
from closeness import assert_close, terms_of
from literal_hip import hip_forward
from small_models import LABEL, MODALITIES, block, hip, hip_config, random_inputs, refusal, with_block

from hiperceiver.modality import Modality
from hiperceiver.model import HiP, HiPConfig, PerceiverIOConfig

DEEP = hip_config(
    blocks=(
        block(num_groups=6, num_latents=2, num_channels=8, cross_attention_widening=2),
        block(num_groups=2, num_latents=6, num_channels=12, num_cross_attention_heads=4, num_self_attention_heads=3),
        block(num_groups=1, num_latents=6, num_channels=16, num_cross_attention_heads=3, num_self_attention_layers=2),
        block(num_groups=2, num_latents=6, num_channels=12, num_cross_attention_heads=2, num_self_attention_layers=0),
        block(num_groups=6, num_latents=2, num_channels=10, self_attention_widening=1),
    )
)
EVERY_LABEL = MODALITIES | {"kind": dataclasses.replace(LABEL, grid=(3,), channels=1)}
MIXED = {
    "kind": EVERY_LABEL["kind"],
    "sound": MODALITIES["sound"],
    "label": LABEL,
    "image": MODALITIES["image"],
    "touch": Modality(grid=(2,), channels=1),
}


@pytest.mark.parametrize("mask_padding", [True, False], ids=["padding masked", "padding seen"])
@pytest.mark.parametrize(
    ("config", "modalities", "only", "regrouping", "has_absent"),
    [
        (hip_config(), MODALITIES, ("image", "sound"), "reshape", False),
        (hip_config(), MODALITIES, ("sound", "image", "label"), "transpose", True),
        (DEEP, MIXED, ("kind", "touch", "image", "label", "sound"), "transpose", False),
        (DEEP, MIXED, ("kind", "touch", "image", "label", "sound"), "reshape", True),
        (DEEP, MIXED, ("touch",), "transpose", False),  # 2 tokens in 6 groups: some groups hold none
    ],
    ids=["3 blocks", "with a label, some absent", "5 blocks, 2 labels", "5 blocks, some absent", "empty groups"],
)
def test_agrees_with_a_literal_version(
    config: HiPConfig,
    modalities: dict[str, Modality],
    only: tuple[str, ...],
    regrouping: str,
    has_absent: bool,
    mask_padding: bool,
) -> None:
    settings: dict[str, Any] = {"regrouping": regrouping, "mask_padding": mask_padding, "blocks": config.blocks}
    model = hip(modalities, **settings).double()
    inputs = {name: x.double() for name, x in random_inputs(modalities, only=only).items()}
    is_padding = {}
    if has_absent:
        is_padding = {name: torch.rand(x.shape[:2]) < 0.4 for name, x in inputs.items()}
        is_padding[only[0]][0] = True  # nothing of this modality is there
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        output = model(inputs, is_padding=is_padding)
    terms = terms_of(model)
    for example in range(2):
        reconstruction, latents, processor_latents = hip_forward(
            weights,
            model.config,
            model.label_names,
            {name: x[example].numpy() for name, x in inputs.items()},
            {name: mask[example].numpy() for name, mask in is_padding.items()},
        )
        assert output.reconstruction.keys() == reconstruction.keys()
        for name in reconstruction:
            assert_close(output.reconstruction[name][example], reconstruction[name], terms=terms)
        assert_close(output.latents[example], latents, terms=terms)
        assert_close(output.processor_latents[example], processor_latents, terms=terms)


def test_a_group_does_not_see_another_before_they_merge() -> None:
    model = hip()
    inputs = random_inputs(only=["image", "sound"])
    first = model.encode(inputs).skips[0]
    changed = dict(inputs, image=inputs["image"].clone())
    changed["image"][:, 12:24] += 1  # the tokens of the second group
    second = model.encode(changed).skips[0]
    assert [torch.equal(first[:, g], second[:, g]) for g in range(4)] == [True, False, True, True]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": (block(),) * 2}, "blocks: expected an odd number of blocks, at least 3, got 2"),
        ({"blocks": ()}, "blocks: expected an odd number of blocks, at least 3, got 0"),
        ({"blocks": (block(num_groups=1),)}, "blocks: expected an odd number of blocks, at least 3, got 1"),
        ({"blocks": (block(),) * 3}, "blocks: expected 1 group in the middle block, got 4"),
        ({"blocks": [{"num_groups": 4}] * 3}, "blocks[0].num_latents: required by BlockConfig, got nothing"),
        (
            {"blocks": (block(), block(num_groups=1, num_latents=8), block(num_groups=2))},
            "blocks: expected block 2 to have the 4 groups and 3 latents of block 0, whose latents are added to its "
            "own, got 2 and 3",
        ),
        (
            {"blocks": (block(), block(num_groups=1, num_latents=8), block(num_latents=5))},
            "blocks: expected block 2 to have the 4 groups and 3 latents of block 0, whose latents are added to its "
            "own, got 4 and 5",
        ),
        (
            {"blocks": (block(), block(num_groups=1, num_latents=8), block(num_latents=5)), "skips": False},
            "blocks: expected block 2 to have the 4 groups and 3 latents of block 0, which it mirrors, got 4 and 5",
        ),
        (
            {"blocks": (block(), block(num_groups=1, num_latents=6), block())},
            "blocks: expected the 1 x 6 latents of block 1 to divide into the 4 groups of block 2",
        ),
        (
            {"blocks": (block(), block(num_groups=1, num_latents=8, num_train_latents=6), block())},
            "blocks: expected the 1 x 6 latents of block 1 to divide into the 4 groups of block 2",
        ),
        (
            {"blocks": (block(num_train_latents=2), block(num_groups=1, num_latents=8), block())},
            "num_train_latents: expected on the middle block only, got it on block 0",
        ),
        ({"regrouping": "shuffle"}, "regrouping: expected one of reshape, transpose, got 'shuffle'"),
        ({"mask_padding": "no"}, "mask_padding: expected true or false, got 'no'"),
        ({"embedding_channels": 0}, "embedding_channels: expected a whole number >= 1, got 0"),
        ({"embedding_channels": 8.0}, "embedding_channels: expected a whole number >= 1, got 8.0"),
        ({"position_channels": 0}, "position_channels: expected a whole number >= 1, got 0"),
        ({"positions": "fourier", "fourier_bands": 0}, "fourier_bands: expected a whole number >= 1, got 0"),
        (
            {"fourier_bands": 64},
            "fourier_bands: only for positions='fourier' or 'coordinate', got 64 with positions='learned'",
        ),
        ({"positions": "sine"}, "positions: expected one of learned, fourier, coordinate, none, got 'sine'"),
        ({"activation": "tanh"}, "activation: expected one of squared_relu, gelu, relu, silu, got 'tanh'"),
        (
            {"positions": "fourier", "position_channels": 8},
            "position_channels: only learned positions have a width of their own, got 8 with positions='fourier'",
        ),
        (
            {"fourier_max_resolution": (8, 8)},
            "fourier_max_resolution: only for positions='fourier' or 'coordinate', got (8, 8) with positions='learned'",
        ),
        (
            {"positions": "fourier", "fourier_max_resolution": (8, 0)},
            "fourier_max_resolution[1]: expected a whole number >= 1, got 0",
        ),
        ({"dropout": 1.0}, "dropout: expected a number from 0 to below 1, got 1.0"),
        ({"dropout": "0.1"}, "dropout: expected a number from 0 to below 1, got '0.1'"),
        ({"drop_path": -0.1}, "drop_path: expected a number from 0 to below 1, got -0.1"),
    ],
)
def test_contradictions_in_the_config_are_refused(settings: dict[str, Any], message: str) -> None:
    with refusal(message):
        hip_config(**settings)


def test_config_survives_plain_values() -> None:
    config = with_block(hip_config(positions="fourier", fourier_max_resolution=[9, 9]), 1, num_train_latents=4)
    again = HiPConfig.from_dict(config.to_dict())
    assert again == config
    assert hash(again) == hash(config)
    with refusal("depth: not a setting of HiPConfig; known: "):
        HiPConfig.from_dict(config.to_dict() | {"depth": 3})


def test_a_saved_config_may_name_bands_that_have_no_effect() -> None:
    """Configs were once saved with 64 bands whatever their positions."""
    config = hip_config()
    assert config.fourier_bands is None
    assert HiPConfig.from_dict(config.to_dict() | {"fourier_bands": 64}) == config
    with refusal("fourier_bands: only for positions='fourier' or 'coordinate', got 3 with positions='learned'"):
        HiPConfig.from_dict(config.to_dict() | {"fourier_bands": 3})
    assert hip_config(positions="fourier") == hip_config(positions="fourier", fourier_bands=64)


def test_heads_must_divide_the_channels_that_they_share() -> None:
    config = with_block(hip_config(), 1, num_cross_attention_heads=5)
    with refusal(
        "num_cross_attention_heads: expected a divisor of the 8 channels of the tokens that are attended to, got 5"
    ):
        HiP(config, MODALITIES)


def test_another_models_config_is_refused() -> None:
    with refusal("config: expected HiPConfig, got PerceiverIOConfig"):
        HiP(PerceiverIOConfig(embedding_channels=8, block=block(num_groups=1)), MODALITIES)  # type: ignore[arg-type]
