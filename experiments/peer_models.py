"""What a user would pick instead: ResNet and U-Net of monai, ViT of transformers, fastText; in sizes for small inputs.

All take (B, C, *grid) of a grid with one or two axes; classifiers give (B, K), segmenters (B, K, *grid).
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from hiperceiver.data.packages import import_extra
from hiperceiver.modality import Modality


def make_resnet(grid: tuple[int, ...], channels: int, classes: int) -> nn.Module:
    """ResNet-10 of half the usual width, which begins as those for CIFAR do: without a reduction.

    A line of more than 512 values is reduced first, to 250 to 512, by a stride and a pooling as in ResNets for large
    pictures. ResNet and ConvNeXt of transformers are for pictures alone, and its ResNet begins with a reduction by 4.
    """
    stride = 2 ** math.ceil(math.log2(max(1.0, max(grid) / 1024))) if len(grid) == 1 else 1
    is_long = len(grid) == 1 and grid[0] > 512
    return import_extra("monai.networks.nets", extra="bench").ResNet(
        block="basic",
        layers=[1, 1, 1, 1],
        block_inplanes=[32, 64, 128, 256],
        spatial_dims=len(grid),
        n_input_channels=channels,
        conv1_t_size=4 * stride - 1,
        conv1_t_stride=stride,
        no_max_pool=not is_long,
        bias_downsample=False,
        num_classes=classes,
    )


def make_unet(grid: tuple[int, ...], channels: int, classes: int) -> nn.Module:
    """Four halvings; three quarters of monai's widths. Batch norm: its own, of instances, hides a picture's colour."""
    return import_extra("monai.networks.nets", extra="bench").BasicUNet(
        spatial_dims=len(grid),
        in_channels=channels,
        out_channels=classes,
        features=(24, 24, 48, 96, 192, 24),
        norm="batch",
    )


class ViT(nn.Module):
    """The ViT of transformers with a linear layer: of each patch for segmentation, else of their mean.

    A patch has 4 x 4 pixels, 8 x 8 of more than 4096; a line is a picture with one row, of about 128 patches.
    """

    def __init__(self, grid: tuple[int, ...], channels: int, classes: int, *, is_dense: bool):
        super().__init__()
        transformers = import_extra("transformers", extra="bench")
        side = 2 ** max(1, round(math.log2(grid[0] / 128))) if len(grid) == 1 else 4 if math.prod(grid) <= 4096 else 8
        self.patch = (side, side) if len(grid) == 2 else (1, side)
        self.grid, self.is_dense = grid, is_dense
        rows, columns = grid if len(grid) == 2 else (1, *grid)
        self.padding = (0, -columns % self.patch[1], 0, -rows % self.patch[0])
        self.size = (rows + self.padding[3], columns + self.padding[1])
        config = transformers.ViTConfig(
            image_size=self.size,
            patch_size=self.patch,
            num_channels=channels,
            hidden_size=128,
            num_hidden_layers=6,
            num_attention_heads=4,
            intermediate_size=512,
        )
        self.model = transformers.ViTModel(config, add_pooling_layer=False)
        self.head = nn.Linear(128, classes * (math.prod(self.patch) if is_dense else 1))

    def forward(self, x: Tensor) -> Tensor:
        pictures = nn.functional.pad(x if len(self.grid) == 2 else x.unsqueeze(2), self.padding)
        patches = self.model(pixel_values=pictures).last_hidden_state[:, 1:]  # without the class token
        if not self.is_dense:
            return self.head(patches.mean(1))
        scores = self.head(patches).transpose(1, 2)  # (B, K * values of a patch, patches)
        scores = nn.functional.fold(scores, self.size, self.patch, stride=self.patch)
        rows, columns = (self.size[0] - self.padding[3], self.size[1] - self.padding[1])
        return scores[..., :rows, :columns].reshape(len(x), -1, *self.grid)


class FastText(nn.Module):
    """A linear layer on the mean vector of a text's bytes and groups of bytes (arXiv 1607.01759), which are numbers.

    Its own package has loops and threads of its own, which take no time limit, split or batch of ours.
    """

    def __init__(self, num_categories: int, classes: int, width: int = 64):
        super().__init__()
        self.vectors = nn.EmbeddingBag(num_categories + 1, width, mode="mean", padding_idx=0)
        nn.init.uniform_(self.vectors.weight, -1 / width, 1 / width)  # as in its code
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.vectors(x.flatten(1).long()))


def make_peer(name: str, modality: Modality, classes: int, *, is_dense: bool) -> nn.Module:
    """`cnn` (for segmentation a U-Net) or `vit`; for numbers of categories, such as those of bytes, `fasttext`.

    Raises:
        ValueError: it does not read such values, or its library is not installed; the message gives the command.
    """
    if (name == "fasttext") != bool(modality.num_categories):
        expected = "fasttext for numbers of categories" if modality.num_categories else "cnn or vit for amounts"
        raise ValueError(f"--peer: expected {expected}, got {name}")
    if name == "fasttext":
        return FastText(modality.num_categories, classes)
    if name == "vit":
        return ViT(modality.grid, modality.channels, classes, is_dense=is_dense)
    return (make_unet if is_dense else make_resnet)(modality.grid, modality.channels, classes)
