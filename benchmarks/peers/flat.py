"""What the Perceiver IOs of other packages have in common with ours: its sizes, its embedding and its positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hiperceiver.model import PerceiverIOConfig, variant_config


def sizes(variant: str) -> PerceiverIOConfig:
    """The config of one of our Perceiver IOs."""
    config = variant_config(variant)
    assert isinstance(config, PerceiverIOConfig)
    return config


class Embedded(nn.Module):
    """Raw pixels to embedded ones, with a learned table of positions: (B, M, 3) to (B, M, E)."""

    def __init__(self, side: int, channels: int):
        super().__init__()
        self.linear = nn.Linear(3, channels)
        self.positions = nn.Parameter(torch.randn(1, side * side, channels) / side)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.positions
