"""The kernels against PyTorch's own operations in double precision: values, gradients, and when they are used."""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from closeness import assert_close, assert_gradients_close, gradient_terms_of, terms_of
from small_models import IMAGE, awake, hip, random_inputs
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from hiperceiver import fast
from hiperceiver.fast import kernels
from hiperceiver.fast.compile import kernels as compiled_kernels
from hiperceiver.modality import Modality
from hiperceiver.model import HiP, create_model
from hiperceiver.model.tokens import attend_to_tokens, read_tokens

POINTS = Modality(grid=(24,), channels=5, num_coordinates=3)


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small things are computed by the kernels as well."""
    monkeypatch.setattr(kernels, "_FEWEST_VALUES", {"embed_and_attend": 0, "read_tokens": 0})
    compiled_kernels.cache_clear()
    yield
    compiled_kernels.cache_clear()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels that were called."""
    called: list[str] = []
    run = kernels.run_kernel

    def count(name: str, *arguments: Any) -> None:
        called.append(name)
        run(name, *arguments)

    monkeypatch.setattr(kernels, "run_kernel", count)
    return called


Computed = tuple[dict[str, Tensor], dict[str, Tensor]]
"""The latents and what is read, and the gradients of weights."""


def outputs_and_gradients(model: HiP, inputs: dict[str, Tensor], **arguments: Any) -> Computed:
    model.zero_grad()
    output = model(inputs, **arguments)
    loss = sum((x.sin() ** 2).sum() for x in output.reconstruction.values())
    loss.backward()
    gradients = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in model.named_parameters()
    }
    return {"latents": output.latents, **output.reconstruction}, gradients


def assert_same(found: Computed, expected: Computed, model: HiP, amplified: float = 1.0) -> None:
    for name, theirs in expected[0].items():
        scale = amplified * theirs.abs().max().item()
        assert_close(found[0][name], theirs, terms=terms_of(model), scale=scale, dtype=torch.float32, name=name)
    terms = gradient_terms_of(model, batch=2)
    assert_gradients_close(found[1], expected[1], terms=terms, amplified=amplified, dtype=torch.float32)


def everything(inputs: dict[str, Tensor]) -> dict[str, Any]:
    return {}


def absent(inputs: dict[str, Tensor]) -> dict[str, Any]:
    is_padding = {name: torch.rand(x.shape[:2]) < 0.4 for name, x in inputs.items()}
    is_padding["image"][0, :12] = True  # a whole group
    return {"is_padding": is_padding}


def masked(inputs: dict[str, Tensor]) -> dict[str, Any]:
    return {"visible": {name: torch.tensor([[[0, 2, 3, -1]], [[1, 2, -1, 5]]]) for name in inputs if name != "label"}}


def large() -> HiP:
    """More slots and queries than a tile or a vector has, and neither a multiple of them."""
    return awake(create_model("hip-nano", modalities={"image": Modality(grid=(41, 43), channels=3)}))


@pytest.mark.parametrize("arguments", [everything, absent, masked], ids=["everything", "absent", "masked"])
@pytest.mark.parametrize(
    "make",
    [
        hip,
        lambda: hip({"image": IMAGE, "points": POINTS}, positions="coordinate"),
        lambda: hip({"image": IMAGE}, positions="fourier"),
        large,
    ],
    ids=["HiP", "coordinates", "fourier", "large"],
)
@pytest.mark.parametrize("sharpness", [1.0, 30.0])
def test_values_and_gradients(
    make: Callable[[], HiP], arguments: Callable[..., dict[str, Any]], sharpness: float, calls: list[str]
) -> None:
    model = make()
    with torch.no_grad():
        for attention in (model.readout, model.blocks[0].cross_attention):
            attention.query.weight.mul_(sharpness)  # scores far apart: the softmax must be scaled anew on the way
    inputs = random_inputs(model.modalities)
    given = arguments(inputs)
    found = outputs_and_gradients(model, inputs, **given)
    assert {"embed_and_attend", "embed_and_attend_backward", "read_tokens", "read_tokens_backward"} <= set(calls)
    calls.clear()
    model.double()
    expected = outputs_and_gradients(model, {name: x.double() for name, x in inputs.items()}, **given)
    assert not calls
    assert_same(found, expected, model, amplified=sharpness)


def test_weights_in_any_memory_order(calls: list[str]) -> None:
    model = hip({"image": IMAGE})
    inputs = random_inputs(model.modalities)
    expected = outputs_and_gradients(model, inputs)
    for part in (model.embedding["image"], model.unembedding["image"], model.readout.feed_forward.output):
        part.weight = torch.nn.Parameter(part.weight.detach().t().contiguous().t())
    calls.clear()
    found = outputs_and_gradients(model, inputs)
    assert {"embed_and_attend_backward", "read_tokens_backward"} <= set(calls)
    assert_same(found, expected, model)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("num_groups_of_slots", [1, 4])
def test_reading_some_slots(batch: int, num_groups_of_slots: int, calls: list[str]) -> None:
    model = hip({"image": Modality(grid=(4, 70), channels=3)})
    slots = torch.rand(batch, num_groups_of_slots, 70).argsort(2)[..., :67]
    latents = torch.randn(batch, 4, 3, model.config.blocks[-1].num_channels)
    weight = torch.randn(batch, 4, 67, 3)
    results = []
    for dtype in (torch.float32, torch.float64):
        model.to(dtype).zero_grad()
        inputs = {"image": torch.zeros(batch, 280, 3, dtype=dtype)}
        read = model.read_out(model.encode(inputs), latents.to(dtype), "image", model.unembedding["image"], slots=slots)
        (read.sin() * weight).sum().backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        results.append(({"read": read.detach()}, gradients))
        assert ("read_tokens_backward" in calls) == (dtype == torch.float32)
        calls.clear()
    assert_same(*results, model)


def test_large_zeros_are_zeros_that_can_be_written() -> None:
    shape = (3, 2**22 + 5)
    for _ in range(2):  # the second time in memory that was written to before
        x = kernels._zeros(*shape)
        assert x.shape == shape
        assert x.dtype == torch.float32
        assert not x.any()
        x += 1
        assert x.sum() == x.numel()


class TestSharedGradient:
    """Attending and reading add to one buffer, and autograd must not notice."""

    @pytest.fixture
    def buffers(self, monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
        """Shapes of the buffers that were made."""
        made: list[torch.Size] = []
        make = kernels.SharedGradient.buffer

        def note(self: kernels.SharedGradient, like: Tensor) -> tuple[Tensor, bool]:
            buffer, adds = make(self, like)
            if not adds:
                made.append(buffer.shape)
            return buffer, adds

        monkeypatch.setattr(kernels.SharedGradient, "buffer", note)
        return made

    @staticmethod
    def loss(model: HiP, inputs: dict[str, Tensor]) -> Tensor:
        return (model(inputs).reconstruction["image"].sin() ** 2).sum()

    def test_there_is_one_buffer(self, buffers: list[torch.Size]) -> None:
        model = hip({"image": IMAGE})
        self.loss(model, random_inputs(model.modalities)).backward()
        assert len(buffers) == 1

    def test_one_kernel_beside_the_plain_path(self, calls: list[str]) -> None:
        model = hip({"image": IMAGE}, activation="gelu")  # for which there is no kernel of the readout
        inputs = random_inputs(model.modalities)
        self.loss(model, inputs).backward()
        assert "embed_and_attend_backward" in calls
        found = model.positions["image"].table.grad
        model.double().zero_grad()
        self.loss(model, {name: x.double() for name, x in inputs.items()}).backward()
        expected = model.positions["image"].table.grad
        assert_close(found, expected, terms=gradient_terms_of(model, batch=2), dtype=torch.float32)

    def test_a_graph_that_is_used_again_and_in_part(self) -> None:
        model = hip({"image": IMAGE})
        loss = self.loss(model, random_inputs(model.modalities))
        table, latents = model.positions["image"].table, model.blocks[0].latents
        (expected,) = torch.autograd.grad(loss, table, retain_graph=True)
        torch.autograd.grad(loss, latents, retain_graph=True)  # what it leaves in the buffer must not be found there
        loss.backward(retain_graph=True)
        terms = gradient_terms_of(model, batch=2)
        assert_close(table.grad, expected, terms=terms)
        loss.backward()
        assert_close(table.grad, 2 * expected, terms=terms)

    def test_backward_passes_inside_a_backward_pass(self) -> None:
        inputs = torch.randn(1, 4, 9, 3), torch.randn(6, 3), torch.randn(6), torch.randn(1, 4, 5, 6)
        shapes = [(1, 4, 5, 6), (1, 4, 5), (1, 4, 5, 6), (6,), (6, 6), (6,), (2, 6), (2, 6), (2,)]
        absorbed = [torch.randn(shape) for shape in shapes]
        table = torch.randn(1, 4, 9, 6, requires_grad=True)

        def loss(run: Callable[..., Tensor]) -> Tensor:
            positions = kernels.share_gradient(table)
            assert positions is not table
            x, weight, bias, queries = inputs
            seen = run(lambda p: kernels.attend_to_embedded(x, p, weight, bias, queries, None, None)[0], positions)
            read = run(lambda p: kernels.read(p, *absorbed), positions)
            return seen.sin().sum() + read.sin().sum()

        (expected,) = torch.autograd.grad(loss(lambda function, x: function(x)), table)
        loss(partial(checkpoint, use_reentrant=True)).backward()
        assert_close(table.grad, expected, terms=sum(math.prod(shape[1:]) for shape in shapes))

    def test_frozen_positions_cost_nothing(self, buffers: list[torch.Size], calls: list[str]) -> None:
        model = hip({"image": IMAGE})
        model.positions["image"].requires_grad_(False)
        self.loss(model, random_inputs(model.modalities)).backward()
        assert "embed_and_attend_backward" in calls
        assert not buffers
        assert model.blocks[0].latents.grad.abs().sum() > 0


@pytest.mark.parametrize("lanes", [8, 4])
def test_narrower_vectors_compute_the_same(
    lanes: int, calls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = large()
    inputs = random_inputs(model.modalities)
    expected = outputs_and_gradients(model, inputs, **masked(inputs))
    compiler = tmp_path / "cc"
    compiler.write_text(f'#!/bin/sh\ngcc "$@" -DLANES={lanes} -DROWS=2 -DNARROW_ROWS=8 && touch {tmp_path}/made\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled_kernels.cache_clear()
    calls.clear()
    found = outputs_and_gradients(model, inputs, **masked(inputs))
    assert (tmp_path / "made").exists()  # and not by another compiler, without the option
    assert "read_tokens_backward" in calls
    assert_same(found, expected, model)


def test_threads_share_the_groups(calls: list[str]) -> None:
    model = hip({"image": IMAGE})
    inputs = random_inputs(model.modalities)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 3, 16):  # of 4 groups
            torch.set_num_threads(threads)
            found.append(outputs_and_gradients(model, inputs))
    finally:
        torch.set_num_threads(before)
    assert_same(found[1], found[0], model)
    assert_same(found[2], found[0], model)


def test_nothing_but_the_arguments_is_kept() -> None:
    modality = Modality(grid=(64, 64), channels=3)
    model = hip({"image": modality}, embedding_channels=8)
    tokens = model.encode({"image": torch.randn(1, 4096, 3)}).tokens["image"]
    known = {x.untyped_storage().data_ptr() for x in (tokens.x, tokens.positions, *model.parameters())}
    kept: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        if x.untyped_storage().data_ptr() not in known:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    latents = torch.randn(1, 4, 3, model.config.blocks[-1].num_channels)
    queries = model.blocks[0].latents.unflatten(0, (1, 4, -1))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        attend_to_tokens(model.embedding["image"], model.blocks[0].cross_attention, queries, tokens)
        read_tokens(model.readout, model.unembedding["image"], latents, tokens)
    assert sum(kept.values()) < 4096 * 8 * 4 / 4  # a quarter of one activation


def test_operations_are_counted(calls: list[str]) -> None:
    b, g, p, c, e, n, r = 2, 3, 7, 4, 6, 5, 2
    x, positions, weight, bias = torch.randn(b, g, p, c), torch.randn(1, g, p, e), torch.randn(e, c), torch.randn(e)
    positions.requires_grad_()
    with FlopCounterMode(display=False) as counter:
        seen, _ = kernels.attend_to_embedded(x, positions, weight, bias, torch.randn(b, g, n, e), None, None)
    # Embedding, scores, weighted means; a multiply-add is two.
    assert counter.get_total_flops() == 2 * b * g * p * (c * e + n * e + n * e)
    with FlopCounterMode(display=False) as counter:
        seen.sum().backward()
    # Again the embedding and the scores; by the softmax, the queries, the tokens twice, and the embedding's weight.
    assert counter.get_total_flops() == 2 * b * g * p * (2 * c * e + 5 * n * e)
    visible = torch.zeros(b, g, 3, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        kernels.attend_to_embedded(x, positions, weight, bias, torch.randn(b, g, n, e), None, visible)
    assert counter.get_total_flops() == 2 * b * g * 3 * (c * e + n * e + n * e)
    shapes = [(b, g, n, e), (b, g, n), (b, g, n, e), (e,), (e, e), (e,), (r, e), (r, e), (r,)]
    arguments = [torch.randn(shape) for shape in shapes]
    with FlopCounterMode(display=False) as counter:
        result = kernels.read(positions, *arguments)
    assert counter.get_total_flops() == 2 * b * g * p * (2 * n * e + e * e + 2 * r * e)
    with FlopCounterMode(display=False) as counter:
        result.sum().backward()
    # Again the scores, what is read and the hidden layer; then two products for each of those and for both results,
    # which are not computed again but whose weights and inputs have gradients, and one more for the hidden layer's.
    assert counter.get_total_flops() == 2 * b * g * p * (6 * n * e + 3 * e * e + 4 * r * e)


@pytest.mark.parametrize("positions", ["learned", "fourier"])
def test_under_autocast_they_compute_in_float32(positions: str, calls: list[str]) -> None:
    model = awake(hip({"image": IMAGE}, positions=positions))
    inputs = random_inputs(model.modalities)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = outputs_and_gradients(model, inputs)
    assert calls == ["embed_and_attend", "read_tokens", "read_tokens_backward", "embed_and_attend_backward"]
    assert found[0]["image"].dtype == torch.float32  # of which the plain path's last layer would make bfloat16
    with fast.plain():
        expected = outputs_and_gradients(model, inputs)
    for name, theirs in expected[0].items():
        assert_close(found[0][name], theirs, terms=terms_of(model), dtype=torch.bfloat16, name=name)
    assert_gradients_close(found[1], expected[1], terms=gradient_terms_of(model, batch=2), dtype=torch.bfloat16)


@pytest.mark.parametrize("what", ["double", "input gradient", "gelu", "switched off", "plain", "no compiler"])
def test_where_it_does_not_fit_the_plain_path_is_taken(
    what: str, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = hip({"image": IMAGE}, **({"activation": "gelu"} if what == "gelu" else {}))
    inputs = random_inputs(model.modalities)
    if what == "switched off":
        monkeypatch.setenv("HIPERCEIVER_FUSED", "0")
    if what == "no compiler":
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("CC", raising=False)
    if what == "double":
        model.double()
        inputs = {name: x.double() for name, x in inputs.items()}
    if what == "input gradient":
        inputs["image"].requires_grad_()
    plain = fast.plain() if what == "plain" else nullcontext()
    with plain:
        model(inputs)
    # A readout without squared ReLU is plain; attending has no activation. Reading does not see the inputs.
    assert calls == {"gelu": ["embed_and_attend"], "input gradient": ["read_tokens"]}.get(what, [])
