"""Ours."""

from __future__ import annotations

from torch import Tensor, nn

from hiperceiver import Modality, create_model


class Ours(nn.Module):
    """Any of our models as a map from raw pixels (B, M, 3) to raw pixels (B, M, 3)."""

    def __init__(self, variant: str, side: int):
        super().__init__()
        self.model = create_model(variant, modalities={"image": Modality(grid=(side, side), channels=3)})

    def forward(self, x: Tensor) -> Tensor:
        return self.model({"image": x}).reconstruction["image"]


def make_model(variant: str, side: int) -> nn.Module:
    return Ours(variant, side)
