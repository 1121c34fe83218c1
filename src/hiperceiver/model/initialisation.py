"""How weights begin: truncated normals scaled by fan-in, as the published JAX reference draws them."""

import math

import torch
from torch import Tensor, nn


def init_scaled(weight: Tensor, fan_in: int) -> Tensor:
    """Fill with a normal of std 1/sqrt(fan_in), cut at two standard deviations and widened to keep that std."""
    std = 1 / math.sqrt(fan_in) / 0.87962566103423978
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


class Linear(nn.Linear):
    """A linear layer with the reference's initialisation: truncated normal by fan-in, bias zero."""

    def reset_parameters(self) -> None:
        """Draw new weights."""
        init_scaled(self.weight, self.in_features)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def learned_table(num_rows: int, num_channels: int) -> nn.Parameter:
    """A table of learned vectors (rows, channels), drawn with std 1/sqrt(rows) as the reference draws them."""
    return nn.Parameter(init_scaled(torch.empty(num_rows, num_channels), num_rows))
