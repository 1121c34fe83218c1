"""The models by name: parameter counts of the published ones, and what may be asked of `create_model`."""

import dataclasses

import pytest
import torch
from small_models import refusal

import hiperceiver
from hiperceiver.modality import Modality
from hiperceiver.model import VARIANTS, HiP, HiPConfig, PerceiverConfig, PerceiverIO, build_model, create_model
from hiperceiver.model.variants import variant_config

IMAGE = Modality(grid=(1024,), channels=3)
IMAGE_LABEL = Modality(grid=(32,), channels=1)
AUDIO = Modality(grid=(128,), channels=16)
AUDIO_LABEL = Modality(grid=(16,), channels=16)
ALL = {"image": IMAGE, "image_label": IMAGE_LABEL, "audio": AUDIO, "audio_label": AUDIO_LABEL}
AT_BOTTLENECK = ALL | {name: dataclasses.replace(ALL[name], role="label") for name in ("image_label", "audio_label")}


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("hip-mini", 18_707_620),
        ("hip-16", 99_222_948),
        ("hip-256", 95_584_676),
        ("hip-16x3", 233_238_308),
        ("perceiver-io-mini", 644_388),
        ("perceiver-io-50m", 31_129_124),
        ("perceiver-io-150m", 132_280_996),
    ],
)
def test_published_parameter_counts(name: str, count: int) -> None:
    with torch.device("meta"):
        model = create_model(name, ALL)
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize(
    ("name", "count"), [("hip-mini", 21_113_764), ("hip-16", 102_941_988), ("hip-256", 99_305_060)]
)
def test_published_parameter_counts_with_labels_at_the_bottleneck(name: str, count: int) -> None:
    with torch.device("meta"):
        model = create_model(name, AT_BOTTLENECK)
    assert sum(p.numel() for p in model.parameters()) == count


def test_published_shapes() -> None:
    config = VARIANTS["hip-256"]
    assert isinstance(config, HiPConfig)
    assert [b.num_groups for b in config.blocks] == [256, 64, 16, 4, 1, 1, 1, 4, 16, 64, 256]
    assert [b.num_self_attention_layers for b in config.blocks] == [1, 1, 2, 2, 18, 2, 1, 1, 1, 1, 1]
    assert [b.num_latents for b in config.blocks] == [32, 64, 128, 256, 256, 64, 256, 256, 128, 64, 32]
    assert [b.num_channels for b in config.blocks] == [64, 96, 128, 256, 512, 1024, 256, 128, 64, 32, 16]
    assert [b.num_self_attention_heads for b in config.blocks] == [1, 2, 4, 8, 16, 32, 16, 8, 4, 2, 1]
    for config in VARIANTS.values():
        if isinstance(config, HiPConfig):
            assert {b.num_cross_attention_heads for b in config.blocks} == {1}
            assert {(b.cross_attention_widening, b.self_attention_widening) for b in config.blocks} == {(1, 4)}
            assert config.embedding_channels == (16 if config is VARIANTS["hip-256"] else 32)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_runs(name: str) -> None:
    """On the meta device: shapes without numbers."""
    inputs = {"image": IMAGE} if name == "hip-text" else AT_BOTTLENECK  # it has one group, which is one modality's
    with torch.device("meta"):
        model = create_model(name, inputs)
        output = model({each: torch.zeros(2, m.num_tokens, m.channels) for each, m in inputs.items()})
    assert isinstance(model, PerceiverIO if name.startswith("perceiver-io") else HiP)
    for each, modality in inputs.items():
        assert output.reconstruction[each].shape == (2, modality.num_tokens, modality.channels)
    last = model.config.all_blocks[-1]
    assert output.latents.shape == (2, last.num_groups, last.num_latents, last.num_channels)


@pytest.mark.parametrize("name", ["hip-nano", "hip-micro"])
def test_small_variants_are_small(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, {"image": Modality(grid=(64, 64), channels=3)})
    assert sum(p.numel() for p in model.parameters()) < 5_000_000


def test_fields_can_be_overridden() -> None:
    model = create_model("hip-nano", {"image": IMAGE}, positions="none", dropout=0.1)
    assert (model.config.positions, model.config.dropout) == ("none", 0.1)
    assert VARIANTS["hip-nano"].positions == "learned"
    assert hiperceiver.create_model is create_model


def test_mistakes() -> None:
    with refusal("model: expected one of hip-nano, hip-micro, ") as _:
        create_model("hip", {"image": IMAGE})
    with pytest.raises(ValueError, match=r"got 'hip16'; did you mean hip-16\?$"):
        create_model("hip16", {"image": IMAGE})
    with refusal("depth: not a setting of hip-nano; known: activation, blocks, drop_path, dropout, "):
        variant_config("hip-nano", depth=3)
    with refusal("mask_padding: not a setting of perceiver-io-mini; known: "):
        variant_config("perceiver-io-mini", mask_padding=False)
    with refusal("config: expected HiPConfig or PerceiverIOConfig, got PerceiverConfig"):
        build_model(PerceiverConfig(embedding_channels=8), {"image": IMAGE})
