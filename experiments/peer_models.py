"""What a user would pick instead, in plain PyTorch: small convolutional networks, a U-Net, and a ViT with patches.

All take (B, C, *grid) of a grid with one or two axes; classifiers give (B, K), segmenters (B, K, *grid).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

CONV = {1: nn.Conv1d, 2: nn.Conv2d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
POOL = {1: nn.MaxPool1d, 2: nn.MaxPool2d}


def convolve(axes: int, channels: int, width: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    layer = CONV[axes](channels, width, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(layer, NORM[axes](width), nn.ReLU())


class Residual(nn.Module):
    """Two convolutions around which the input passes."""

    def __init__(self, axes: int, width: int):
        super().__init__()
        self.inner = nn.Sequential(convolve(axes, width, width), convolve(axes, width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class ConvNet(nn.Module):
    """A small residual network: halved at least twice, and until 8 cells are left along an axis; then averaged."""

    def __init__(self, grid: tuple[int, ...], channels: int, classes: int, width: int = 32):
        super().__init__()
        axes, extent = len(grid), max(grid)
        stride = 4 if axes == 1 and extent > 512 else 1
        layers: list[nn.Module] = [convolve(axes, channels, width, kernel=9 if axes == 1 else 3, stride=stride)]
        for _ in range(max(2, math.ceil(math.log2(extent / stride / 8)))):
            wider = min(2 * width, 256)
            layers += [convolve(axes, width, wider), POOL[axes](2, ceil_mode=True), Residual(axes, wider)]
            width = wider
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).flatten(2).mean(2))


class UNet(nn.Module):
    """The U-Net for pictures: three halvings, skips, transposed convolutions."""

    def __init__(self, grid: tuple[int, ...], channels: int, classes: int, width: int = 24):
        super().__init__()
        widths = [width * 2**k for k in range(4)]
        self.down = nn.ModuleList(
            nn.Sequential(convolve(2, before, after), convolve(2, after, after))
            for before, after in zip([channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in reversed(widths[:-1]))
        self.join = nn.ModuleList(convolve(2, 2 * w, w) for w in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[2:]
        x = nn.functional.pad(x, (0, -columns % 8, 0, -rows % 8))
        skips = []
        for index, block in enumerate(self.down):
            x = block(x if index == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, reversed(skips[:-1]), strict=True):
            x = join(torch.cat([up(x), skip], dim=1))
        return self.head(x)[..., :rows, :columns]


class ViT(nn.Module):
    """Patches, a learned position each, and PyTorch's transformer encoder."""

    def __init__(
        self, grid: tuple[int, ...], channels: int, classes: int, *, is_dense: bool, width: int = 128, layers: int = 6
    ):
        super().__init__()
        side = 4 if len(grid) == 2 else max(2, min(16, grid[0] // 32))
        side = side if math.prod(grid) <= 4096 else 2 * side
        self.grid, self.side, self.is_dense, self.classes = grid, side, is_dense, classes
        patches = math.prod(-(-extent // side) for extent in grid)
        self.embedding = CONV[len(grid)](channels, width, side, stride=side)
        self.positions = nn.Parameter(0.02 * torch.randn(1, patches, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, classes * (side ** len(grid) if is_dense else 1))

    def forward(self, x: Tensor) -> Tensor:
        padding = [amount for extent in reversed(self.grid) for amount in (0, -extent % self.side)]
        x = self.embedding(nn.functional.pad(x, padding))
        shape = x.shape[2:]
        x = self.encoder(x.flatten(2).transpose(1, 2) + self.positions)
        if not self.is_dense:
            return self.head(x.mean(1))
        x = self.head(x).transpose(1, 2)  # (B, K side^2, patches)
        size = tuple(self.side * extent for extent in shape)
        x = nn.functional.fold(x, size, self.side, stride=self.side)
        return x[..., : self.grid[0], : self.grid[1]]


def make_peer(name: str, grid: tuple[int, ...], channels: int, classes: int, *, is_dense: bool) -> nn.Module:
    """`cnn` (for segmentation a U-Net) or `vit`."""
    if name == "vit":
        return ViT(grid, channels, classes, is_dense=is_dense)
    return UNet(grid, channels, classes) if is_dense else ConvNet(grid, channels, classes)
