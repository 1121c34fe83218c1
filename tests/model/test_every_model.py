"""Of a model of any valid shape, by property: its folder, and what of a batch matters to an example."""

import dataclasses
import math
import tempfile
from typing import Any

import torch
from closeness import assert_close, assert_equal, terms_of
from hypothesis import given
from hypothesis import strategies as st
from small_models import awake
from strategies import examples

from hiperceiver.modality import Modality
from hiperceiver.model import BlockConfig, HiP, HiPConfig, HiPOutput, PerceiverIO, PerceiverIOConfig

Inputs = dict[str, torch.Tensor]


@st.composite
def blocks(draw: st.DrawFn) -> tuple[BlockConfig, ...]:
    """Blocks that fit: latents are multiples of every block's groups."""
    groups = draw(st.lists(st.integers(1, 4), min_size=1, max_size=2))
    multiple = math.lcm(*groups)

    def block(num_groups: int, num_latents: int) -> BlockConfig:
        heads = draw(st.integers(1, 2))
        return BlockConfig(
            num_groups=num_groups,
            num_latents=num_latents,
            num_channels=heads * 2 * draw(st.integers(1, 3)),
            num_self_attention_layers=draw(st.integers(0, 2)),
            num_self_attention_heads=heads,
            num_cross_attention_heads=draw(st.integers(1, 2)),
            self_attention_widening=draw(st.integers(1, 2)),
            cross_attention_widening=draw(st.integers(1, 2)),
        )

    latents = [multiple * draw(st.integers(1, 2)) for _ in groups]
    outer = [*zip(groups, latents, strict=True)]
    middle = block(1, multiple * draw(st.integers(1, 2)))
    return (*(block(*each) for each in outer), middle, *(block(*each) for each in reversed(outer)))


@st.composite
def models(draw: st.DrawFn) -> HiP:
    """A model of any valid shape that is small, of one to three modalities."""
    every = draw(blocks())
    is_flat = draw(st.booleans()) and draw(st.booleans())
    kind = draw(st.sampled_from(["learned", "fourier", "coordinate", "none"]))
    values: dict[str, Any] = {
        "embedding_channels": 2 * draw(st.integers(1, 4)),
        "positions": kind,
        "activation": draw(st.sampled_from(["squared_relu", "gelu", "relu", "silu"])),
        "dropout": draw(st.sampled_from([0.0, 0.3])),
        "drop_path": draw(st.sampled_from([0.0, 0.3])),
    }
    if kind == "learned":
        values["position_channels"] = draw(st.none() | st.integers(1, 5))
    elif kind != "none":
        values["fourier_bands"] = draw(st.integers(1, 5))
    if not is_flat:
        order = draw(st.sampled_from(["raster", "hilbert", "morton", "shuffled"]))
        values |= {
            "regrouping": draw(st.sampled_from(["reshape", "transpose"])),
            "skips": draw(st.booleans()),
            "mask_padding": draw(st.booleans()),
            "token_order": order,
            "token_order_seed": draw(st.none() | st.integers(0, 5)) if order == "shuffled" else None,
        }
    modalities = {}
    for number in range(draw(st.integers(1, 3 if is_flat else min(3, every[0].num_groups)))):
        channels = draw(st.integers(1, 4))
        modalities[f"m{number}"] = Modality(
            grid=tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))),
            channels=channels,
            num_coordinates=draw(st.integers(int(kind == "coordinate"), channels)),
        )
    if draw(st.booleans()):
        modalities["label"] = Modality(grid=(draw(st.integers(1, 2)),), channels=3, role="label")
    if is_flat:
        return awake(PerceiverIO(PerceiverIOConfig(block=every[len(every) // 2], **values), modalities))
    return awake(HiP(HiPConfig(blocks=every, **values), modalities))


@st.composite
def batches(draw: st.DrawFn, model: HiP, count: int) -> tuple[Inputs, Inputs]:
    """Inputs and which of their tokens are absent; never all of an example's."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    inputs, is_padding = {}, {}
    for name, modality in model.modalities.items():
        inputs[name] = torch.randn(count, modality.num_tokens, modality.channels, generator=generator).tanh()
        if draw(st.booleans()):
            is_padding[name] = torch.rand(count, modality.num_tokens, generator=generator) < 0.3
            is_padding[name][:, 0] = False
    return inputs, is_padding


def take(tensors: Inputs, rows: list[int]) -> Inputs:
    return {name: x[rows] for name, x in tensors.items()}


def assert_rows(found: HiPOutput, whole: HiPOutput, rows: list[int], model: HiP) -> None:
    """The answers for these rows of a batch, but for rounding."""
    terms = terms_of(model)
    for name, x in whole.reconstruction.items():
        scale = 1 + x.abs().max().item()
        assert_close(found.reconstruction[name], x[rows], terms=terms, scale=scale, name=name)
    for name in ("latents", "processor_latents"):
        x = getattr(whole, name)
        assert_close(getattr(found, name), x[rows], terms=terms, scale=1 + x.abs().max().item(), name=name)


@examples(10)
@given(data=st.data())
def test_of_a_batch_nothing_matters_to_an_example_but_itself(data: st.DataObject) -> None:
    """Not the order, not its batch-mates, not their number, not what lies under padding; and twice is the same."""
    model = data.draw(models())
    inputs, is_padding = data.draw(batches(model, 4))
    with torch.no_grad():
        whole = model(inputs, is_padding=is_padding)
        again = model(inputs, is_padding=is_padding)
        filled = {
            n: x.masked_fill(is_padding[n][..., None], math.nan) if n in is_padding else x for n, x in inputs.items()
        }
        assert_equal(again.latents, whole.latents)
        assert_equal(again.reconstruction, whole.reconstruction)
        assert_equal(model(filled, is_padding=is_padding).reconstruction, whole.reconstruction)
        for rows in (data.draw(st.permutations(range(4))), [2], [1, 1, 3, 0, 2, 1, 1]):
            found = model(take(inputs, rows), is_padding=take(is_padding, rows))
            assert_rows(found, whole, rows, model)


@examples(10)
@given(data=st.data())
def test_its_folder_has_all_of_it(data: st.DataObject) -> None:
    """Also after it was moved to another grid, where it then takes as many tokens."""
    model = data.draw(models())
    if model.config.positions != "coordinate" and data.draw(st.booleans()):
        grid = model.modalities["m0"].grid
        moved = data.draw(st.tuples(*[st.integers(1, 6)] * len(grid)))
        model.resize_positions({"m0": moved})
        assert model.modalities["m0"] == dataclasses.replace(model.modalities["m0"], grid=moved)
    inputs, is_padding = data.draw(batches(model, 2))
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model.save_pretrained(folder)
        again = type(model).from_pretrained(folder)
        assert (again.config, again.modalities) == (model.config, model.modalities)
        assert_equal(again.state_dict(), model.state_dict())
        expected = model(inputs, is_padding=is_padding)
        found = again(inputs, is_padding=is_padding)
        assert_equal(found.latents, expected.latents)
        assert_equal(found.reconstruction, expected.reconstruction)
