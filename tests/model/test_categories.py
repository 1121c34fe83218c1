"""Tokens that are numbers of categories: each has a vector, and a token is their sum."""

import pytest
import torch
from closeness import assert_close, assert_equal, terms_of
from torch import nn

from hiperceiver import create_model
from hiperceiver.modality import Modality
from hiperceiver.model import load_model
from hiperceiver.model.initialisation import CategoryEmbedding

from .small_models import hip, perceiver_io

TEXT = Modality(grid=(13,), channels=3, num_categories=20)
NUMBERS = torch.randint(0, 21, (2, 13, 3), generator=torch.Generator().manual_seed(4)).float()


def channels_of(numbers: torch.Tensor) -> torch.Tensor:
    """How often each category stands in a token: (B, M, 20)."""
    return nn.functional.one_hot(numbers.long(), 21).sum(-2)[..., 1:].float()


@pytest.mark.parametrize("make", [hip, perceiver_io])
def test_it_is_the_linear_embedding_of_a_channel_for_each_category(make) -> None:
    model, plain = make({"text": TEXT}), make({"text": Modality(grid=(13,), channels=20)})
    weights = model.state_dict()
    table = weights["embedding.text.weight"]
    table[0] = 0
    weights |= {"embedding.text.weight": table[1:].T, "embedding.text.bias": torch.zeros(len(table.T))}
    plain.load_state_dict(weights)
    model.embedding["text"].weight.data[0] = 0
    is_padding = {"text": torch.arange(13).expand(2, 13) > 10}
    for settings in ({}, {"is_padding": is_padding}):
        found = model({"text": NUMBERS}, **settings)
        expected = plain({"text": channels_of(NUMBERS)}, **settings)
        assert found.reconstruction["text"].shape == (2, 13, 20)
        assert_close(found.reconstruction, expected.reconstruction, terms=terms_of(model))
        assert_close(found.processor_latents, expected.processor_latents, terms=terms_of(model))


def test_none_is_zero_and_stays_zero() -> None:
    embedding = CategoryEmbedding(1000, 64, values_per_token=4)
    assert not embedding(torch.zeros(1, 4)).any()
    embedding(torch.tensor([[0.0, 7.0, 7.0, 9.0]])).sum().backward()
    assert embedding.weight.grad is not None
    assert embedding.weight.grad.count_nonzero(dim=1).nonzero().flatten().tolist() == [7, 9]


def test_a_new_embedding_is_small() -> None:
    torch.manual_seed(0)
    embedding = CategoryEmbedding(1000, 64, values_per_token=4)
    tokens = embedding(torch.randint(1, 1001, (2000, 4)).float())
    assert tokens.square().mean().sqrt().item() == pytest.approx(0.1, rel=0.05)


def test_they_are_saved_with_the_model(tmp_path) -> None:
    model = create_model("hip-nano", {"text": TEXT}).eval()
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert again.modalities == {"text": TEXT}
    assert_equal(again({"text": NUMBERS}).processor_latents, model({"text": NUMBERS}).processor_latents)
