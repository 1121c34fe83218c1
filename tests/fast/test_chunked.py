"""What is computed in chunks, and twice, is the same as what is computed once and whole; and less of it is kept."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from closeness import assert_close, assert_gradients_close, gradient_terms_of, is_close, terms_of
from small_models import IMAGE, hip, hip_config, perceiver_io, random_inputs
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hiperceiver.fast import chunked
from hiperceiver.fast.chunked import in_chunks, num_chunks
from hiperceiver.modality import Modality
from hiperceiver.model import HiP

POINTS = Modality(grid=(24,), channels=5, num_coordinates=3)


def small_chunks(monkeypatch: pytest.MonkeyPatch, num_bytes: int = 1) -> list[int]:
    """Make everything larger than this be computed in chunks as small as can be; gives the numbers of chunks."""
    numbers = []

    def noting(size: int, num_latents: int, device: torch.device) -> int:
        numbers.append(num_chunks(size, num_latents, device))
        return numbers[-1]

    monkeypatch.setattr(chunked, "_CHUNK_ABOVE", num_bytes)
    monkeypatch.setattr(chunked, "_CHUNK", {"cpu": num_bytes, "cuda": num_bytes})
    monkeypatch.setattr(chunked, "num_chunks", noting)
    return numbers


def outputs_and_gradients(
    model: HiP, inputs: dict[str, Tensor], **arguments: Any
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The latents and what is read, and the gradients of inputs and weights."""
    model.zero_grad()
    inputs = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    output = model(inputs, **arguments)
    loss = sum((x.sin() ** 2).sum() for x in output.reconstruction.values())
    loss.backward()
    of = {f"inputs.{name}": x for name, x in inputs.items()} | dict(model.named_parameters())
    gradients = {name: torch.zeros(()) if x.grad is None else x.grad for name, x in of.items()}
    return {"latents": output.latents, **output.reconstruction}, gradients


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
def test_outputs_and_gradients_are_those_of_one_chunk(
    make: Callable[[], HiP], arguments: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make().double()
    inputs = {name: x.double() for name, x in random_inputs(model.modalities).items()}
    given = arguments(inputs)
    expected = outputs_and_gradients(model, inputs, **given)
    numbers = small_chunks(monkeypatch)
    found = outputs_and_gradients(model, inputs, **given)
    assert numbers and min(numbers) > 1
    terms = terms_of(model)
    assert_close(found[0], expected[0], terms=terms)
    assert_gradients_close(found[1], expected[1], terms=gradient_terms_of(model, batch=2))
    with torch.no_grad():
        read = model(inputs, **given).reconstruction
    assert_close(read, {name: expected[0][name] for name in read}, terms=terms)


def test_frozen_weights_get_no_gradient_and_the_others_all_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    model = hip({"image": IMAGE}).double()
    inputs = {"image": random_inputs(model.modalities)["image"].double()}
    _, expected = outputs_and_gradients(model, inputs)
    frozen = [name for name in expected if name.startswith(("positions", "embedding", "readout.query"))]
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    small_chunks(monkeypatch)
    _, found = outputs_and_gradients(model, inputs)
    for name in frozen:
        assert model.get_parameter(name).grad is None
        del found[name], expected[name]
    assert_gradients_close(found, expected, terms=gradient_terms_of(model, batch=2))


def test_second_computation_is_as_precise_as_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    model = hip({"image": IMAGE})
    inputs = random_inputs(model.modalities)
    _, precise = outputs_and_gradients(model, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, expected = outputs_and_gradients(model, inputs)
    small_chunks(monkeypatch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(inputs)
        loss = sum((x.sin() ** 2).sum() for x in output.reconstruction.values())
    model.zero_grad()
    loss.backward()  # outside of autocast, as training does it
    table = model.positions["image"].table.grad
    name = "positions.image.table"
    assert_close(table, expected[name], dtype=torch.bfloat16)
    assert not is_close(table, precise[name], terms=gradient_terms_of(model, batch=2)).all()


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
    small_chunks(monkeypatch, num_bytes=4096)
    assert kept_floats() < one_activation / 4


def test_operations_in_chunks_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = hip({"image": IMAGE}), {"image": torch.randn(1, 35, 3)}

    def operations() -> tuple[int, int]:
        with FlopCounterMode(display=False) as forward:
            output = model(inputs).reconstruction["image"]
        with FlopCounterMode(display=False) as backward:
            output.sum().backward()
        return forward.get_total_flops(), backward.get_total_flops()

    whole = operations()
    small_chunks(monkeypatch)
    in_parts = operations()
    assert whole[0] <= in_parts[0] < 1.01 * whole[0]  # groups that are split project their latents in each part
    assert whole[1] < in_parts[1] < whole[1] + whole[0]  # what happens at the tokens is computed once more


def test_groups_larger_than_a_chunk_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    modality = Modality(grid=(64, 64), channels=3)
    model = HiP(hip_config(embedding_channels=8), {"image": modality}).eval()
    longest = []
    model.readout.register_forward_hook(lambda module, arguments, output: longest.append(arguments[0].shape[1:3]))
    inputs = random_inputs(model.modalities, batch=1)
    small_chunks(monkeypatch, num_bytes=4096)  # 128 tokens of 8 channels
    model(inputs)
    assert max(groups * slots for groups, slots in longest) == 128
    assert sum(groups * slots for groups, slots in longest) == 4096


def test_a_function_that_uses_nothing_of_an_argument() -> None:
    x, unused, weight = torch.randn(2, 5, 3), torch.randn(1, 5, 2), torch.randn(3)
    for each in (x, unused, weight):
        each.requires_grad_()
    out = in_chunks(lambda x, y, z: x * weight, [x, unused, None], num_chunks=3, weights=[weight])
    out.sum().backward()
    assert_close(out, x * weight)
    assert unused.grad is not None and not unused.grad.any()
    assert_close(weight.grad, x.detach().sum((0, 1)), terms=2 * 5)


def test_small_things_are_computed_whole() -> None:
    cpu = torch.device("cpu")
    assert num_chunks(2**20, 1, cpu) == 1
    assert num_chunks(2**30, 1, cpu) > num_chunks(2**28, 1, cpu) > 1
    # A GPU needs larger chunks to be busy.
    assert num_chunks(2**34, 1, cpu) > num_chunks(2**34, 1, torch.device("cuda")) > 1
    # Computing twice costs more with more latents; without gradients nothing is computed twice.
    assert num_chunks(2**27, 1024, cpu) == 1
    with torch.no_grad():
        assert num_chunks(2**27, 1024, cpu) > 1
