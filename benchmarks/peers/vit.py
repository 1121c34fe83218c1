"""A ViT of transformers that reconstructs pixels: patches of 16 x 16, and a linear layer from each back to its pixels.

`base` is ViT-B/16: 12 layers of 768 channels, 86.4 M parameters at 224 x 224, where HiP-16 has 100.8 M. It does the
same work at a coarser grain: its attention sees a 256th of the tokens. Its attention is PyTorch's fused one, as ours.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

_SIZES = {"base": (12, 768, 12), "tiny": (2, 64, 2)}  # layers, channels, heads
_PATCH = 16


class ReconstructingViT(nn.Module):
    def __init__(self, variant: str, side: int):
        super().__init__()
        if side % _PATCH:
            raise ValueError(f"side: expected a multiple of {_PATCH} for a ViT, got {side}")
        layers, channels, heads = _SIZES[variant]
        config = ViTConfig(
            image_size=side,
            patch_size=_PATCH,
            num_channels=3,
            hidden_size=channels,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * channels,
        )
        self.side = side
        # Attention is the fused one where nothing else is said.
        self.model = ViTModel(config, add_pooling_layer=False)
        self.head = nn.Linear(channels, 3 * _PATCH**2)

    def forward(self, x: Tensor) -> Tensor:
        images = x.transpose(1, 2).unflatten(2, (self.side, self.side))  # (B, 3, side, side)
        patches = self.model(pixel_values=images).last_hidden_state[:, 1:]  # without the class token
        pixels = self.head(patches).transpose(1, 2)  # (B, 3 * 16 * 16, patches)
        return F.fold(pixels, (self.side, self.side), _PATCH, stride=_PATCH).flatten(2).transpose(1, 2)


def make_model(variant: str, side: int) -> nn.Module:
    return ReconstructingViT(variant, side)
