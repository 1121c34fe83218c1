"""A tiny source for training tests, and tasks on tiny models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from hiperceiver.data.example import BadExample, Example
from hiperceiver.modality import Modality
from hiperceiver.model import BlockConfig, HiP, HiPConfig
from hiperceiver.tasks import Classification, ClassificationConfig, MaskedAutoencoding, MaskedAutoencodingConfig

GRID = (6, 6)


class Stripes:
    """Pictures of two kinds, bright in the left or in the right half, with noise; some may be unreadable."""

    def __init__(self, count: int, *, seed: int = 0, bad: tuple[int, ...] = ()):
        self.count, self.seed, self.bad = count, seed, bad

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example | BadExample:
        if index in self.bad:
            return BadExample(f"{index}.jpg", "is empty (0 bytes)")
        generator = torch.Generator().manual_seed(1000 * self.seed + index)
        label = index % 2
        picture = 0.3 * torch.randn(*GRID, 3, generator=generator)
        picture[:, 3 * label : 3 * label + 3] += 1.0
        return Example(
            inputs={"image": picture.reshape(-1, 3)}, targets={"label": torch.tensor(label)}, name=f"{index}.jpg"
        )


@dataclass
class Source:
    """What training asks of data."""

    splits: dict[str, Stripes] = field(default_factory=lambda: {"train": Stripes(20), "validation": Stripes(6, seed=1)})
    modalities: dict[str, Modality] = field(default_factory=lambda: {"image": Modality(grid=GRID, channels=3)})
    encoders: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ("left", "right")


def block(num_groups: int, num_latents: int, num_channels: int) -> BlockConfig:
    return BlockConfig(
        num_groups=num_groups,
        num_latents=num_latents,
        num_channels=num_channels,
        num_self_attention_layers=1,
        num_self_attention_heads=2,
    )


def make_model(*, dropout: float = 0.0, seed: int = 0) -> HiP:
    torch.manual_seed(seed)
    config = HiPConfig(blocks=(block(4, 4, 8), block(1, 4, 16), block(4, 4, 8)), embedding_channels=8, dropout=dropout)
    return HiP(config, {"image": Modality(grid=GRID, channels=3)})


def autoencoding(*, dropout: float = 0.0, seed: int = 0) -> MaskedAutoencoding:
    return MaskedAutoencoding(make_model(dropout=dropout, seed=seed), MaskedAutoencodingConfig(mask_ratio=0.5))


def classification(*, dropout: float = 0.0, seed: int = 0) -> Classification:
    return Classification(make_model(dropout=dropout, seed=seed), ClassificationConfig(num_classes=2))
