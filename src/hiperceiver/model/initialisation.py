"""Weights as they begin: truncated normals scaled by fan-in, as the published JAX reference draws them."""

import math

import torch
from torch import Tensor, nn

from hiperceiver.modality import Modality


def init_truncated(weight: Tensor, std: float) -> Tensor:
    """Fill with a normal of this standard deviation, cut at two standard deviations and widened to keep it."""
    std = std / 0.87962566103423978
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


class Linear(nn.Linear):
    """A linear layer with the reference's initialisation: truncated normal by fan-in, bias zero."""

    def reset_parameters(self) -> None:
        """Draw new weights."""
        init_truncated(self.weight, 1 / math.sqrt(self.in_features))
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class CategoryEmbedding(nn.Embedding):
    """The sum of the vectors of a token's categories: numbers (..., C), 0 for none, to (..., E)."""

    def __init__(self, num_categories: int, num_channels: int, *, values_per_token: int):
        self.values_per_token = values_per_token
        super().__init__(1 + num_categories, num_channels, padding_idx=0)

    def reset_parameters(self) -> None:
        """Draw new vectors, so that a token's sum has a root mean square of 0.1; that of none is zero and stays so.

        They are small because a category that training never saw should say little.
        """
        init_truncated(self.weight, 0.1 / math.sqrt(self.values_per_token))
        self._fill_padding_idx_with_zero()

    def forward(self, input: Tensor) -> Tensor:
        """Look up and add."""
        return super().forward(input.long()).sum(-2)


def make_embedding(modality: Modality, num_channels: int) -> Linear | CategoryEmbedding:
    """The layer that embeds a modality's raw tokens (..., C): to (..., E)."""
    if count := modality.num_categories:
        return CategoryEmbedding(count, num_channels, values_per_token=modality.channels)
    return Linear(modality.channels, num_channels)


def learned_table(num_rows: int, num_channels: int, std: float | None = None) -> nn.Parameter:
    """A table of learned vectors (rows, channels); `std` None: 1/sqrt(rows), as the reference draws them."""
    return nn.Parameter(init_truncated(torch.empty(num_rows, num_channels), std or 1 / math.sqrt(num_rows)))
