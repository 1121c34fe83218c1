"""Models of a few thousand weights, and batches for them."""

from collections.abc import Callable

import pytest
import torch

from hiperceiver import BlockConfig, HiP, HiPConfig, Modality, PerceiverIO, PerceiverIOConfig

ModelMaker = Callable[..., HiP]


def block(groups: int, latents: int, channels: int, layers: int = 1) -> BlockConfig:
    return BlockConfig(
        num_groups=groups,
        num_latents=latents,
        num_channels=channels,
        num_self_attention_layers=layers,
        num_self_attention_heads=2,
    )


@pytest.fixture
def make_model() -> ModelMaker:
    """A model of one architecture and these modalities. `shaken`: no weight is zero, as after training."""

    def make(architecture: str = "HiP", *, shaken: bool = True, groups: int = 4, **modalities: Modality) -> HiP:
        modalities = modalities or {"image": Modality(grid=(8, 8), channels=3)}
        if architecture == "HiP":
            blocks = (block(groups, 4, 16), block(1, 8, 32), block(groups, 4, 16))
            model = HiP(HiPConfig(embedding_channels=8, blocks=blocks), modalities)
        else:
            model = PerceiverIO(PerceiverIOConfig(embedding_channels=16, block=block(1, 8, 32)), modalities)
        if shaken:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
        return model

    return make


@pytest.fixture
def two_modalities() -> dict[str, Modality]:
    """Lengths that leave padding: 50 in 2 groups of 25 places, 41 in 2 groups of 21 tokens, padded to 25 places."""
    return {"image": Modality(grid=(5, 10), channels=3), "sound": Modality(grid=(41,), channels=2)}
