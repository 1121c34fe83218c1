"""The models by name: the published ones and small ones for a CPU.

Source of the published shapes: "HiP", tables 1 and 8, as in the JAX reference.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hiperceiver.modality import Modality
from hiperceiver.model.files import SavedModel, build_saved, read_model
from hiperceiver.model.hip import HiP
from hiperceiver.model.perceiver_io import PerceiverIO
from hiperceiver.settings.base import did_you_mean
from hiperceiver.settings.model import BlockConfig, HiPConfig, PerceiverConfig, PerceiverIOConfig

_COLUMNS = {
    "groups": "num_groups",
    "layers": "num_self_attention_layers",
    "latents": "num_latents",
    "channels": "num_channels",
    "heads": "num_self_attention_heads",
    "widening": "self_attention_widening",
    "cross_heads": "num_cross_attention_heads",
    "cross_widening": "cross_attention_widening",
}


def _hip(embedding: int, **columns: Sequence[int]) -> HiPConfig:
    """The config with these columns of the paper's table, a number for each block."""
    names = [_COLUMNS[name] for name in columns]
    shapes = [dict(zip(names, shape, strict=True)) for shape in zip(*columns.values(), strict=True)]
    return HiPConfig(embedding_channels=embedding, blocks=tuple(BlockConfig(**shape) for shape in shapes))


def _perceiver_io(embedding: int, **columns: int) -> PerceiverIOConfig:
    shape = {_COLUMNS[name]: number for name, number in columns.items()}
    return PerceiverIOConfig(embedding_channels=embedding, block=BlockConfig(num_groups=1, **shape))


VARIANTS: dict[str, PerceiverConfig] = {
    # Ours, for a CPU: pictures of up to about 64 x 64 in minutes. CIFAR-10, 1,250 steps of 32 with labels, seed 0, test
    # accuracy and core seconds: hip-nano 48.4% in 315; with a processor of 32 x 192 48.6% in 329, of four layers 47.2%
    # in 433; with outer blocks of 8 x 96 47.7% in 339; without self-attention in them, and three layers in the
    # processor, 46.1% in 303.
    "hip-nano": _hip(
        32, groups=(16, 1, 16), layers=(1, 2, 1), latents=(16, 64, 16), channels=(64, 128, 64), heads=(2, 4, 2)
    ),
    "hip-micro": _hip(
        32,
        groups=(16, 4, 1, 4, 16),
        layers=(1, 1, 4, 1, 1),
        latents=(32, 64, 64, 64, 32),
        channels=(64, 128, 256, 128, 64),
        heads=(2, 4, 8, 4, 2),
    ),
    # Ours, for labels of texts: one group, so that a word is learnt once, wherever it stands, and few latents without
    # self-attention: many steps in a minute. `experiments.peers` and `experiments.recipes` have what it reaches.
    "hip-text": _hip(
        32, groups=(1, 1, 1), layers=(0, 0, 0), latents=(8, 8, 8), channels=(64, 128, 64), heads=(2, 4, 2)
    ),
    # Published.
    "hip-mini": _hip(
        32, groups=(16, 1, 16), layers=(2, 1, 1), latents=(128, 64, 128), channels=(128, 1024, 128), heads=(4, 32, 4)
    ),
    "hip-16": _hip(
        32,
        groups=(16, 4, 1, 1, 1, 4, 16),
        layers=(2, 2, 18, 2, 1, 1, 1),
        latents=(128, 256, 256, 64, 256, 256, 128),
        channels=(128, 256, 512, 1024, 512, 256, 128),
        heads=(4, 8, 16, 32, 16, 8, 4),
    ),
    "hip-256": _hip(
        16,
        groups=(256, 64, 16, 4, 1, 1, 1, 4, 16, 64, 256),
        layers=(1, 1, 2, 2, 18, 2, 1, 1, 1, 1, 1),
        latents=(32, 64, 128, 256, 256, 64, 256, 256, 128, 64, 32),
        channels=(64, 96, 128, 256, 512, 1024, 256, 128, 64, 32, 16),
        heads=(1, 2, 4, 8, 16, 32, 16, 8, 4, 2, 1),
    ),
    "hip-16x3": _hip(
        32, groups=(16, 1, 16), layers=(2, 18, 2), latents=(128, 256, 128), channels=(128, 1024, 128), heads=(4, 32, 4)
    ),
    "perceiver-io-mini": _perceiver_io(128, layers=2, latents=128, channels=128, heads=2, widening=2),
    "perceiver-io-50m": _perceiver_io(
        512, layers=8, latents=1024, channels=512, heads=8, cross_heads=8, cross_widening=4
    ),
    "perceiver-io-150m": _perceiver_io(
        896, layers=12, latents=1024, channels=896, heads=16, cross_heads=16, cross_widening=4
    ),
}
"""Every named model and its config; `hip info` lists them."""

_MODELS: dict[type[PerceiverConfig], type[HiP]] = {HiPConfig: HiP, PerceiverIOConfig: PerceiverIO}
"""The model of each config."""


def variant_config(name: str, **overrides: Any) -> PerceiverConfig:
    """The config of a named variant, with fields replaced.

    Raises:
        ValueError: unknown name (the closest one is suggested) or field.
    """
    if name not in VARIANTS:
        raise ValueError(f"model: expected one of {', '.join(VARIANTS)}, got {name!r}{did_you_mean(name, VARIANTS)}")
    config = VARIANTS[name]
    known = sorted(field.name for field in dataclasses.fields(config))
    for field in overrides:
        if field not in known:
            raise ValueError(f"{field}: not a setting of {name}; known: {', '.join(known)}")
    return dataclasses.replace(config, **overrides)


def usual_variant(modalities: Mapping[str, Modality], otherwise: str) -> str:
    """The variant for labels of these inputs: `hip-text` where they are numbers of categories alone, as texts are."""
    return "hip-text" if [bool(each.num_categories) for each in modalities.values()] == [True] else otherwise


def create_model(name: str, modalities: Mapping[str, Modality], **overrides: Any) -> HiP:
    """Build a model with new weights.

    Args:
        name: one of `VARIANTS`, such as "hip-16".
        modalities: every modality that a call may have, by name.
        overrides: fields of its config (`HiPConfig` or `PerceiverIOConfig`) to replace.

    Raises:
        ValueError: unknown name or field, or modalities that do not fit.

    >>> from hiperceiver import Modality
    >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)}, positions="fourier")
    >>> type(model).__name__
    'HiP'
    """
    return build_model(variant_config(name, **overrides), modalities)


def build_model(config: PerceiverConfig, modalities: Mapping[str, Modality]) -> HiP:
    """Build the model that a config belongs to, with new weights."""
    return _class_of(config)(config, modalities)


def load_model(source: SavedModel | str | Path, **download: Any) -> HiP:
    """Load a saved model of any architecture, in evaluation mode.

    Args:
        source: a saved model that was read, a folder, or a hub id such as "user/model".
        download: for a hub id, passed on to `huggingface_hub.snapshot_download` (revision, token, cache_dir, ...).

    Raises:
        ValueError: not a saved model, or weights that do not fit its config.
    """
    saved = source if isinstance(source, SavedModel) else read_model(source, **download)
    return build_saved(saved, _class_of(saved.config))


def _class_of(config: PerceiverConfig) -> type[HiP]:
    if type(config) not in _MODELS:
        raise ValueError(f"config: expected HiPConfig or PerceiverIOConfig, got {type(config).__name__}")
    return _MODELS[type(config)]
