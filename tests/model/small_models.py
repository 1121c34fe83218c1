"""Models and inputs that are small enough for every test, with nothing in them that is zero by initialisation."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from closeness import assert_close, terms_of
from torch import Tensor, nn

from hiperceiver.modality import Modality
from hiperceiver.model import BlockConfig, HiP, HiPConfig, HiPOutput, PerceiverIO, PerceiverIOConfig
from hiperceiver.model.tokens import Encoded

IMAGE = Modality(grid=(5, 7), channels=3)
SOUND = Modality(grid=(16,), channels=2)
LABEL = Modality(grid=(2,), channels=4, role="label")
MODALITIES = {"image": IMAGE, "sound": SOUND, "label": LABEL}
"""With 4 groups the image gets 3 of 12, 12 and 11 tokens and the sound 1 of 16: every kind of padding is there."""


def block(**settings: Any) -> BlockConfig:
    values = {
        "num_groups": 4,
        "num_latents": 3,
        "num_channels": 8,
        "num_self_attention_layers": 1,
        "num_self_attention_heads": 2,
        "self_attention_widening": 2,
    }
    return BlockConfig(**values | settings)


def hip_config(**settings: Any) -> HiPConfig:
    blocks = (block(), block(num_groups=1, num_latents=8, num_channels=12), block(num_channels=10))
    return HiPConfig(**{"embedding_channels": 6, "blocks": blocks} | settings)


def io_config(**settings: Any) -> PerceiverIOConfig:
    return PerceiverIOConfig(**{"embedding_channels": 6, "block": block(num_groups=1, num_latents=8)} | settings)


def awake(model: HiP, seed: int = 0) -> HiP:
    """Draw every weight anew, so that no bias, norm or unembedding is still what it starts as; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:
            values = 0.2 * noise + (1 if "norm.weight" in name else 0)
        else:
            values = noise * (0.5 if name.endswith(("latents", "table")) else parameter.shape[1] ** -0.5)
        nn.init.zeros_(parameter).data.add_(values)
    return model.eval()


def hip(modalities: Mapping[str, Modality] = MODALITIES, **settings: Any) -> HiP:
    model = awake(HiP(hip_config(**settings), modalities))
    assert isinstance(model, HiP)
    return model


def perceiver_io(modalities: Mapping[str, Modality] = MODALITIES, **settings: Any) -> PerceiverIO:
    model = awake(PerceiverIO(io_config(**settings), modalities))
    assert isinstance(model, PerceiverIO)
    return model


def random_inputs(
    modalities: Mapping[str, Modality] = MODALITIES, *, batch: int = 2, only: Iterable[str] | None = None, seed: int = 1
) -> dict[str, Tensor]:
    """Per modality, in the order of `only`: (B, M, C)."""
    generator = torch.Generator().manual_seed(seed)
    every = {name: torch.randn(batch, m.num_tokens, m.channels, generator=generator) for name, m in modalities.items()}
    return {name: every[name] for name in (every if only is None else only)}


def embedded(model: HiP, encoded: Encoded) -> Tensor:
    """The embedded tokens that the encoder sees, of all modalities: (B, G, K, E)."""
    parts = {name: tokens.embed(model.embedding[name])[0] for name, tokens in encoded.tokens.items()}
    return encoded.plan.concat(parts)


def with_block(config: HiPConfig, index: int, **settings: Any) -> HiPConfig:
    """The config with one block changed."""
    blocks = list(config.blocks)
    blocks[index] = dataclasses.replace(blocks[index], **settings)
    return dataclasses.replace(config, blocks=tuple(blocks))


def assert_same(found: HiPOutput, expected: HiPOutput, model: HiP) -> None:
    """All outputs, but for rounding."""
    terms = terms_of(model)
    assert_close(found.reconstruction, expected.reconstruction, terms=terms, name="reconstruction")
    assert_close(found.latents, expected.latents, terms=terms, name="latents")
    assert_close(found.processor_latents, expected.processor_latents, terms=terms, name="processor_latents")


@contextmanager
def refusal(start: str) -> Iterator[pytest.ExceptionInfo[ValueError]]:
    """Expect a ValueError of one line that begins like this."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared below
        yield error
    assert str(error.value).startswith(start)
    assert "\n" not in str(error.value)
