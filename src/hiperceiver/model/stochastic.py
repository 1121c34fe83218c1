"""What is random while training, beside dropout: drop path, and a subset of the latents."""

import torch
from torch import Tensor


def drop_path(x: Tensor, probability: float) -> Tensor:
    """Zero a residual branch x (B, ...) for some whole examples, without rescaling (as the reference does)."""
    if not probability:
        return x
    return x * (torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= probability)


def sample_latents(latents: Tensor, count: int, *, batch_size: int) -> Tensor:
    """A random `count` of each group's latents, in their order: (1, G, N, D) to (B, G, count, D)."""
    groups, total = latents.shape[1:3]
    order = torch.rand(batch_size, groups, total, device=latents.device).argsort(dim=-1)
    chosen = order[..., :count].sort(dim=-1).values
    return torch.take_along_dim(latents, chosen[..., None], dim=2)
