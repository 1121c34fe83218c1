"""What is computed in pieces, and twice, is the same as what is computed once and whole; and less of it is kept."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_models import IMAGE, hip, hip_config, perceiver_io, random_inputs
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hiperceiver.fast.chunked import in_chunks, num_chunks
from hiperceiver.modality import Modality
from hiperceiver.model import HiP, chunked

POINTS = Modality(grid=(24,), channels=5, num_coordinates=3)


def in_pieces(monkeypatch: pytest.MonkeyPatch, num_bytes: int = 1) -> list[int]:
    """Make everything larger than this be computed in pieces as small as can be; gives the numbers of pieces wanted."""
    asked = []

    def asking(size: int, num_latents: int, device: torch.device) -> int:
        asked.append(num_chunks(size, num_latents, device))
        return asked[-1]

    monkeypatch.setattr(chunked, "_CHUNK_ABOVE", num_bytes)
    monkeypatch.setattr(chunked, "_CHUNK", {"cpu": num_bytes, "cuda": num_bytes})
    monkeypatch.setattr("hiperceiver.model.tokens.num_chunks", asking)
    return asked


def outputs_and_gradients(model: HiP, inputs: dict[str, Tensor], **arguments: Any) -> list[Tensor]:
    model.zero_grad()
    inputs = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    output = model(inputs, **arguments)
    loss = sum((x.sin() ** 2).sum() for x in output.reconstruction.values())
    loss.backward()
    found = [*output.reconstruction.values(), output.latents, *(x.grad for x in inputs.values())]
    return found + [p.grad if p.grad is not None else torch.zeros(()) for p in model.parameters()]


def absent(inputs: dict[str, Tensor]) -> dict[str, Any]:
    return {"is_padding": {name: torch.rand(x.shape[:2]) < 0.4 for name, x in inputs.items()}}


def masked(inputs: dict[str, Tensor]) -> dict[str, Any]:
    return {"visible": {name: torch.tensor([[[0, 2, 3, -1]], [[1, 2, -1, 5]]]) for name in inputs if name != "label"}}


def everything(inputs: dict[str, Tensor]) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("arguments", [everything, absent, masked], ids=["everything", "absent", "masked"])
@pytest.mark.parametrize(
    "make",
    [
        hip,
        perceiver_io,
        lambda: hip(mask_padding=False),
        lambda: hip({"image": IMAGE, "points": POINTS}, positions="coordinate"),
        lambda: hip({"image": IMAGE}, positions="fourier"),
    ],
    ids=["HiP", "PerceiverIO", "padding-seen", "coordinates", "fourier"],
)
def test_outputs_and_gradients_are_those_of_one_piece(
    make: Callable[[], HiP], arguments: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make().double()
    inputs = {name: x.double() for name, x in random_inputs(model.modalities).items()}
    given = arguments(inputs)
    expected = outputs_and_gradients(model, inputs, **given)
    asked = in_pieces(monkeypatch)
    found = outputs_and_gradients(model, inputs, **given)
    assert asked and min(asked) > 1
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        read = model(inputs, **given).reconstruction
    torch.testing.assert_close(list(read.values()), expected[: len(read)])


def test_frozen_weights_get_no_gradient_and_the_others_all_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    model = hip({"image": IMAGE}).double()
    inputs = {"image": random_inputs(model.modalities)["image"].double()}
    outputs_and_gradients(model, inputs)
    expected = {name: p.grad for name, p in model.named_parameters()}
    frozen = [name for name in expected if name.startswith(("positions", "embedding", "readout.query"))]
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    in_pieces(monkeypatch)
    outputs_and_gradients(model, inputs)
    for name, parameter in model.named_parameters():
        if name in frozen:
            assert parameter.grad is None
        else:
            torch.testing.assert_close(parameter.grad, expected[name])


def test_second_computation_is_as_precise_as_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    model = hip({"image": IMAGE})
    inputs = random_inputs(model.modalities)
    precise = outputs_and_gradients(model, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = outputs_and_gradients(model, inputs)
    in_pieces(monkeypatch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(inputs)
        loss = sum((x.sin() ** 2).sum() for x in output.reconstruction.values())
    model.zero_grad()
    loss.backward()  # outside of autocast, as training does it
    table = model.positions["image"].table.grad
    index = len(expected) - 1 - [p is model.positions["image"].table for p in model.parameters()][::-1].index(True)
    torch.testing.assert_close(table, expected[index], rtol=0.05, atol=0.05)
    assert not torch.allclose(table, precise[index], rtol=1e-4, atol=1e-5)


def test_activations_at_the_tokens_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    modality = Modality(grid=(64, 64), channels=3)
    model = HiP(hip_config(embedding_channels=8), {"image": modality})
    inputs = random_inputs(model.modalities, batch=1)

    def kept_floats() -> int:
        known = {p.untyped_storage().data_ptr() for p in model.parameters()}
        known.add(inputs["image"].untyped_storage().data_ptr())
        kept: dict[int, int] = {}

        def note(x: Tensor) -> Tensor:
            storage = x.untyped_storage()
            if storage.data_ptr() not in known:
                kept[storage.data_ptr()] = storage.nbytes() // 4
            return x

        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            model(inputs)
        return sum(kept.values())

    one_activation = modality.num_tokens * 8
    assert kept_floats() > 5 * one_activation
    in_pieces(monkeypatch, num_bytes=4096)
    assert kept_floats() < one_activation / 4


def test_operations_of_streamed_models_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = hip({"image": IMAGE}), {"image": torch.randn(1, 35, 3)}

    def operations() -> tuple[int, int]:
        with FlopCounterMode(display=False) as forward:
            output = model(inputs).reconstruction["image"]
        with FlopCounterMode(display=False) as backward:
            output.sum().backward()
        return forward.get_total_flops(), backward.get_total_flops()

    whole = operations()
    in_pieces(monkeypatch)
    streamed = operations()
    assert whole[0] <= streamed[0] < 1.01 * whole[0]  # groups that are split project their latents in each part
    assert whole[1] < streamed[1] < whole[1] + whole[0]  # what happens at the tokens is computed once more


def test_groups_larger_than_a_piece_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    modality = Modality(grid=(64, 64), channels=3)
    model = HiP(hip_config(embedding_channels=8), {"image": modality}).eval()
    longest = []
    model.readout.register_forward_hook(lambda module, arguments, output: longest.append(arguments[0].shape[1:3]))
    inputs = random_inputs(model.modalities, batch=1)
    in_pieces(monkeypatch, num_bytes=4096)  # 128 tokens of 8 channels
    model(inputs)
    assert max(groups * places for groups, places in longest) == 128
    assert sum(groups * places for groups, places in longest) == 4096


def test_a_function_that_uses_nothing_of_an_argument() -> None:
    x, unused, weight = torch.randn(2, 5, 3), torch.randn(1, 5, 2), torch.randn(3)
    for each in (x, unused, weight):
        each.requires_grad_()
    out = in_chunks(lambda x, y, z: x * weight, [x, unused, None], num_chunks=3, weights=[weight])
    out.sum().backward()
    torch.testing.assert_close(out, x * weight)
    assert unused.grad is not None and not unused.grad.any()
    torch.testing.assert_close(weight.grad, x.detach().sum((0, 1)))


def test_small_things_are_computed_whole() -> None:
    cpu = torch.device("cpu")
    assert num_chunks(2**20, 1, cpu) == 1
    assert num_chunks(2**30, 1, cpu) > num_chunks(2**28, 1, cpu) > 1
    # A GPU needs larger pieces to be busy.
    assert num_chunks(2**34, 1, cpu) > num_chunks(2**34, 1, torch.device("cuda")) > 1
    # Computing twice costs more with more latents; without gradients nothing is computed twice.
    assert num_chunks(2**27, 1024, cpu) == 1
    with torch.no_grad():
        assert num_chunks(2**27, 1024, cpu) > 1
