"""The fast paths against the formulas as they are written: values and gradients, in all shapes and both precisions."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from closeness import GRADIENT_SAFETY, assert_close, assert_gradients_close, gradient_terms_of, terms_of
from small_models import IMAGE, hip, perceiver_io, random_inputs
from torch import Tensor, nn

import hiperceiver
from hiperceiver import fast
from hiperceiver.fast import chunked, kernels
from hiperceiver.modality import Modality
from hiperceiver.model import HiP

POINTS = Modality(grid=(24,), channels=5, num_coordinates=3)

MODELS: dict[str, Callable[[], HiP]] = {
    "HiP": hip,
    "PerceiverIO": perceiver_io,
    "padding seen": lambda: hip(mask_padding=False),
    "transposed": lambda: hip(regrouping="transpose"),
    "shuffled": lambda: hip(token_order="shuffled"),
    "coordinates": lambda: hip({"image": IMAGE, "points": POINTS}, positions="coordinate"),
    "fourier": lambda: hip({"image": IMAGE}, positions="fourier"),
    "no positions": lambda: hip({"image": IMAGE}, positions="none"),
    "gelu": lambda: hip(activation="gelu"),
}


@pytest.fixture(params=["kernels", "chunks", "whole"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Take this fast path at the tokens, however small the input; `whole`: none but absorbed projections."""
    monkeypatch.setattr(fast.switch, "_is_on", True)
    fewest = 0 if request.param == "kernels" else 2**60
    monkeypatch.setattr(kernels, "_FEWEST_VALUES", {"embed_and_attend": fewest, "read_tokens": fewest})
    if request.param == "chunks":
        monkeypatch.setattr(chunked, "_CHUNK_ABOVE", 1)
        monkeypatch.setattr(chunked, "_CHUNK", {"cpu": 1, "cuda": 1})
    return request.param


def everything(model: HiP, inputs: dict[str, Tensor]) -> dict[str, Any]:
    return {}


def absent(model: HiP, inputs: dict[str, Tensor]) -> dict[str, Any]:
    is_padding = {name: torch.rand(x.shape[:2]) < 0.4 for name, x in inputs.items()}
    is_padding["image"][0, :12] = True  # a whole group
    return {"is_padding": is_padding}


def masked(model: HiP, inputs: dict[str, Tensor]) -> dict[str, Any]:
    """Some slots of each group, other ones in each example; -1 is none, and one may be there twice."""
    plan = model.plan({name: x.shape[1] for name, x in inputs.items() if name in model.input_names})
    visible = {name: torch.randint(-1, span.num_slots, (2, span.num_groups, 4)) for name, span in plan.spans.items()}
    return {"visible": visible} | absent(model, inputs)


def subset(model: HiP, inputs: dict[str, Tensor]) -> dict[str, Any]:
    """One modality, of which a label that is not given is reconstructed too."""
    for name in [name for name in inputs if name != "image"]:
        del inputs[name]
    return {"reconstruct": ["image", *model.label_names]}


def moved(value: Any, device: str) -> Any:
    """A tensor, or those in a mapping."""
    if isinstance(value, dict):
        return {name: moved(each, device) for name, each in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value


def computed(model: HiP, run: Callable[[], dict[str, Tensor]]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Values, and the gradients of all weights by their squared sines."""
    model.zero_grad()
    values = run()
    sum((x.float() if x.dtype == torch.bfloat16 else x).sin().square().sum() for x in values.values()).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {name: x.detach().clone() for name, x in values.items()}, gradients


def check(model: HiP, run: Callable[[], dict[str, Tensor]], dtype: torch.dtype = torch.float32) -> None:
    """The same values and gradients with the fast paths and without."""
    found = computed(model, run)
    with fast.plain():
        expected = computed(model, run)
    for name, value in expected[0].items():
        assert_close(found[0][name], value, terms=terms_of(model), dtype=dtype, name=name)
    assert_gradients_close(found[1], expected[1], terms=gradient_terms_of(model, batch=2), dtype=dtype)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("arguments", [everything, absent, masked, subset])
@pytest.mark.parametrize("name", MODELS)
def test_a_call(
    name: str,
    arguments: Callable[[HiP, dict[str, Tensor]], dict[str, Any]],
    precision: torch.dtype,
    path: str,
    device: str,
) -> None:
    model = MODELS[name]().to(device)
    inputs = random_inputs(model.modalities)
    given = moved(arguments(model, inputs), device)
    inputs = moved(inputs, device)

    def run() -> dict[str, Tensor]:
        with torch.autocast(device, dtype=precision, enabled=precision == torch.bfloat16):
            output = model(inputs, **given)
        return {**output.reconstruction, "latents": output.latents, "processor": output.processor_latents}

    check(model, run, dtype=precision)


@pytest.mark.parametrize("make", [hip, perceiver_io], ids=["HiP", "PerceiverIO"])
@pytest.mark.parametrize("name", ["image", "sound"])
def test_reading_with_own_embedding(make: Callable[[], HiP], name: str, path: str) -> None:
    model, head = make(), nn.Linear(6, 5)
    inputs = random_inputs(model.modalities)
    is_padding = absent(model, inputs)["is_padding"]

    def run() -> dict[str, Tensor]:
        encoded = model.encode(inputs, is_padding=is_padding)
        return {name: model.read_out(encoded, model.decode(encoded), name, head, own_embedding=True)}

    check(model, run)


@pytest.mark.parametrize("make", [hip, perceiver_io], ids=["HiP", "PerceiverIO"])
@pytest.mark.parametrize("per_group", [True, False], ids=["of each group", "of all groups"])
def test_reading_some_slots(make: Callable[[], HiP], per_group: bool, path: str) -> None:
    model = make()
    inputs = random_inputs(model.modalities)
    span = model.encode(inputs).plan.spans["image"]
    slots = torch.rand(2, span.num_groups if per_group else 1, span.num_slots).argsort(2)[..., :7]

    def run() -> dict[str, Tensor]:
        encoded = model.encode(inputs)
        return {
            "read": model.read_out(encoded, model.decode(encoded), "image", model.unembedding["image"], slots=slots)
        }

    check(model, run)


def test_gradients_of_inputs(path: str) -> None:
    model = hip()
    inputs = {name: x.requires_grad_() for name, x in random_inputs().items()}
    given = masked(model, inputs)

    def gradients() -> list[Tensor]:
        loss = sum(x.sin().square().sum() for x in model(inputs, **given).reconstruction.values())
        assert isinstance(loss, Tensor)
        return list(torch.autograd.grad(loss, list(inputs.values())))

    found = gradients()
    with fast.plain():
        expected = gradients()
    for name, ours, theirs in zip(inputs, found, expected, strict=True):
        scale = GRADIENT_SAFETY * theirs.abs().max().item()
        assert_close(ours, theirs, terms=gradient_terms_of(model, batch=2), scale=scale, name=name)


# ------------------------------------------------------------------------------------------------- the switch


def test_plain_is_the_formula_and_calls_nothing_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward: what stands in for a formula says that it does not, and no more happens.

    The model is small: without AVX-512, PyTorch's attention fails in bfloat16 where heads are as wide as hip-nano's.
    """
    used: list[str] = []

    def spy(owner: Any, name: str) -> None:
        monkeypatch.setattr(owner, name, lambda *_, **__: used.append(name))

    for name in ("attend_to_raw_tokens", "attend_with_raw_queries"):
        spy(fast.absorbed, name)
    for name in ("attend_to_embedded", "read", "run_kernel", "kernels", "SharedGradient"):
        spy(kernels, name)
    spy(chunked, "_forward")
    spy(fast, "squared_relu")
    spy(fast, "float32_attention")
    monkeypatch.setattr(kernels, "_FEWEST_VALUES", {"embed_and_attend": 0, "read_tokens": 0})
    monkeypatch.setattr(chunked, "_CHUNK_ABOVE", 1)
    model = hip()
    inputs = random_inputs()
    with fast.plain():
        for is_half in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_half):
                output = model(inputs)
            output.reconstruction["image"].float().square().sum().backward()
    assert not used


def test_fast_paths_are_on_unless_switched_off() -> None:
    program = "from hiperceiver import fast; print(fast.is_on())"
    for value, expected in {"0": "False", "1": "True", None: "True"}.items():
        environment = {name: text for name, text in os.environ.items() if name != "HIPERCEIVER_FAST"}
        environment |= {} if value is None else {"HIPERCEIVER_FAST": value}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == expected, done.stderr


def test_fast_knows_nothing_of_the_model() -> None:
    """Neither by name nor by way of what it imports."""
    folder = Path(hiperceiver.__file__).parent / "fast"
    assert not [
        path
        for path in folder.glob("*.py")
        if "import hiperceiver.model" in (text := path.read_text()) or "from hiperceiver.model" in text
    ]
    program = (
        "import sys, hiperceiver.fast; print([name for name in sys.modules if name.startswith('hiperceiver.model')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
