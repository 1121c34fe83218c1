"""Perceiver IO: one group for everything, from the same parts as HiP."""

import numpy as np
import torch
from closeness import assert_close, terms_of
from literal_hip import cross_attention, linear, self_attention
from small_models import MODALITIES, block, embedded, io_config, perceiver_io, random_inputs, refusal

from hiperceiver.model import PerceiverIO, PerceiverIOConfig


def test_agrees_with_a_literal_version() -> None:
    model = perceiver_io(block=block(num_groups=1, num_latents=8, num_cross_attention_heads=3)).double()
    inputs = {name: x.double() for name, x in random_inputs().items()}
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    output = model(inputs)
    terms = terms_of(model)
    for example in range(2):
        tokens = [
            linear(weights, f"embedding.{name}", token) + position
            for name, x in inputs.items()
            for token, position in zip(x[example].numpy(), weights[f"positions.{name}.table"], strict=True)
        ]
        latents = list(weights["blocks.0.latents"])
        latents = cross_attention(weights, "blocks.0.cross_attention", latents, tokens, 3, residual=True)
        latents = self_attention(weights, "blocks.0.self_attention.0", latents, 2)
        assert_close(output.latents[example, 0], np.array(latents), terms=terms)
        for name in inputs:
            # A label is read out of the processor, which is the only block, by a readout of its own.
            readout = "label_readout" if name == "label" else "readout"
            queries = list(weights[f"positions.{name}.table"])
            read = cross_attention(weights, readout, queries, latents, 1, residual=False)
            expected = [linear(weights, f"unembedding.{name}", x) for x in read]
            assert_close(output.reconstruction[name][example], np.array(expected), terms=terms)


def test_every_latent_sees_every_token() -> None:
    model = perceiver_io()
    inputs = random_inputs(only=["image", "sound"])
    encoded = model.encode(inputs)
    assert embedded(model, encoded).shape == (2, 1, 35 + 16, 6)
    assert not encoded.skips
    assert torch.equal(model(inputs).latents.squeeze(1), model(inputs).processor_latents)
    changed = dict(inputs, sound=inputs["sound"].clone())
    changed["sound"][:, -1] += 1
    difference = (model(changed).latents - model(inputs).latents).abs().amax(dim=-1)
    assert (difference > 0).all()


def test_any_number_of_modalities_fits() -> None:
    many = dict.fromkeys("abcdefghij", MODALITIES["sound"])
    assert len(perceiver_io(many)(random_inputs(many)).reconstruction) == 10


def test_mistakes_in_the_config() -> None:
    with refusal("block: expected 1 group, got 4"):
        io_config(block=block())
    with refusal("block.num_latents: required by BlockConfig, got nothing"):
        io_config(block={"num_groups": 1})
    with refusal("mask_padding: not a setting of PerceiverIOConfig; known: "):
        PerceiverIOConfig.from_dict(io_config().to_dict() | {"mask_padding": False})


def test_config_survives_plain_values() -> None:
    config = io_config(block=block(num_groups=1, num_latents=8, num_train_latents=3))
    assert PerceiverIOConfig.from_dict(config.to_dict()) == config
    assert PerceiverIO(config, MODALITIES).train()(random_inputs()).latents.shape == (2, 1, 3, 8)
