"""In which order the tokens of a grid go into groups: tokens that follow each other share one.

Data, position tables and reconstructions are in row-major order whatever this one is. Shapes: B batch, M tokens.
Source: "HiP" for `raster`, and for `shuffled`, its control; Hilbert and Morton order are ours.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from hiperceiver import fast
from hiperceiver.curves import along_curve, hilbert_code, morton_code
from hiperceiver.modality import Modality
from hiperceiver.settings.model import HiPConfig, TokenOrderKind


class TokenOrder(nn.Module):
    """An order of a grid's tokens, from row-major order and back.

    Args:
        places: where the tokens stand in row-major order, first to last: each of 0 to M - 1 once, (M,).

    >>> order = TokenOrder(np.array([0, 1, 3, 2]))
    >>> order.arrange(torch.tensor([[10, 11, 12, 13]]))
    tensor([[10, 11, 13, 12]])
    """

    places: Tensor
    """The place in row-major order of each token of this order: int64 (M,)."""
    ranks: Tensor
    """Its inverse: where in this order the token of each place is, int64 (M,)."""

    def __init__(self, places: np.ndarray):
        super().__init__()
        # Not saved: the config says how they are made.
        self.places = nn.Buffer(torch.tensor(places), persistent=False)
        self.ranks = nn.Buffer(torch.tensor(np.argsort(places)), persistent=False)

    def arrange(self, x: Tensor) -> Tensor:
        """Tokens (B, M, ...) in row-major order, in this order."""
        arranged = fast.permute(x, self.places, self.ranks)
        return x.index_select(1, self.places) if arranged is None else arranged

    def restore(self, x: Tensor) -> Tensor:
        """The inverse of `arrange`."""
        restored = fast.permute(x, self.ranks, self.places)
        return x.index_select(1, self.ranks) if restored is None else restored


def _shuffled(grid: tuple[int, ...], seed: int) -> np.ndarray:
    # Raw numbers, whose stream NumPy keeps for good; how its generators make permutations of them may change.
    return np.argsort(np.random.PCG64(seed).random_raw(math.prod(grid)), kind="stable")


TOKEN_ORDERS: dict[TokenOrderKind, Callable[[tuple[int, ...], int], np.ndarray]] = {
    "raster": lambda grid, seed: np.arange(math.prod(grid)),
    "hilbert": lambda grid, seed: along_curve(grid, hilbert_code),
    "morton": lambda grid, seed: along_curve(grid, morton_code),
    "shuffled": _shuffled,
}
"""From a grid and a seed to the `places` of a `TokenOrder`, by name."""


def make_orders(config: HiPConfig, modalities: Mapping[str, Modality]) -> nn.ModuleDict:
    """The `TokenOrder` of each modality whose tokens go into groups in another order than row-major.

    A line along a curve does not. Labels have no groups.
    """
    orders = nn.ModuleDict()
    if config.token_order != "raster":
        for name, modality in modalities.items():
            places = TOKEN_ORDERS[config.token_order](modality.grid, config.token_order_seed or 0)
            if modality.role != "label" and not np.array_equal(places, np.arange(modality.num_tokens)):
                orders[name] = TokenOrder(places)
    return orders
