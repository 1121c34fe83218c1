"""The models that are compared, and how their operations are counted."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch
import torch._inductor.config as inductor
from closeness import assert_close, terms_of
from torch import nn

from benchmarks.counting import measure as measure_count
from benchmarks.jobs import Job
from benchmarks.loading import built_in_recipes, recipe_settings
from benchmarks.peers import DEFAULT, PEERS, check_name, is_jax, ours_for
from benchmarks.suites import MASKS, MODES, SUITES, Options
from benchmarks.torch_steps import make_step, num_parameters
from benchmarks.values import measure as measure_values
from hiperceiver.recipes import RECIPES
from hiperceiver.training.compute import count_flops

SIDE = 32


def made(name: str, side: int = SIDE) -> nn.Module:
    implementation, _, variant = name.partition(":")
    return import_module(PEERS[implementation].module).make_model(variant, side)


@pytest.mark.parametrize(
    "name",
    ["hiperceiver:hip-nano", "perceiver-pytorch:perceiver-io-mini", "transformers:perceiver-io-mini", "vit:tiny"],
)
def test_every_model_reconstructs_pixels_and_learns_from_all_of_them(name: str) -> None:
    torch.manual_seed(0)
    model = made(name)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.02 * torch.randn_like(weight)  # some begin at zero, where nothing depends on anything
    x = torch.randn(2, SIDE**2, 3)
    y = model(x)
    assert y.shape == x.shape
    y[1].square().sum().backward()
    assert sum(weight.grad is not None and bool(weight.grad.any()) for weight in model.parameters()) > 10
    with torch.no_grad():
        changed = x.clone()
        changed[1, 7] += 1.0
        assert not torch.equal(model(changed)[1], y[1])
        assert_close(model(changed)[0], y[0], terms=terms_of(model))  # pictures of a batch do not meet


@pytest.mark.parametrize("peer", ["perceiver-pytorch", "transformers"])
def test_peers_are_about_as_large_as_ours(peer: str) -> None:
    with torch.device("meta"):
        theirs, ours = (num_parameters(made(f"{each}:perceiver-io-50m", 224)) for each in (peer, "hiperceiver"))
    assert 0.95 < theirs / ours < 1.25


def test_the_vit_is_about_as_large_as_ours() -> None:
    with torch.device("meta"):
        assert 0.8 < num_parameters(made("vit:base", 224)) / num_parameters(made("hiperceiver:hip-16", 224)) < 1.0


@pytest.mark.parametrize("mode", MODES)
def test_counted_operations_of_a_linear_model(mode: str) -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 3))
    job = Job(kind="step", side=4, batch=2, mode=mode)  # pyright: ignore[reportArgumentType]
    step = make_step(job, model)
    products = 2 * 2 * 16 * (3 * 8 + 8 * 3)
    if mode == "inference":
        assert count_flops(step.run) == products
    else:  # gradients of weights cost another forward pass, those of activations too, but the pixels need none
        assert count_flops(step.run) == 3 * products - 2 * 2 * 16 * 3 * 8


def test_counted_attention_is_that_of_the_formula() -> None:
    q, k, v = torch.randn(1, 2, 10, 8), torch.randn(1, 2, 30, 8), torch.randn(1, 2, 30, 8)
    attend = nn.functional.scaled_dot_product_attention
    assert count_flops(lambda: attend(q, k, v)) == 2 * 2 * (2 * 10 * 30 * 8)


def test_a_training_step_needs_about_three_forward_passes() -> None:
    job = Job(kind="count", name="hiperceiver:hip-nano", side=SIDE, mode="training")
    numbers = measure_count(job)
    assert 2.5 < numbers["flops"] / numbers["forward_flops"] < 4.5


def test_a_training_step_changes_the_weights() -> None:
    model = nn.Linear(3, 3)
    before = model.weight.detach().clone()
    make_step(Job(kind="step", side=4, mode="training"), model).run()
    assert not torch.equal(model.weight, before)


def test_gradients_alone_change_nothing_and_are_not_kept() -> None:
    model = nn.Linear(3, 3)
    before = model.weight.detach().clone()
    make_step(Job(kind="step", side=4, mode="gradients"), model).run()
    assert torch.equal(model.weight, before)
    assert model.weight.grad is None


def test_the_table_of_peers_is_sound() -> None:
    for name in DEFAULT:
        check_name(name)
        check_name(ours_for(name))
    assert {ours_for("vit:base"), ours_for("jax:hip-16")} == {"hiperceiver:hip-16"}


def test_options_choose_what_is_done() -> None:
    jobs = [job for series in SUITES["peers"](Options()) for job in series.jobs]
    assert {job.side for job in jobs} == {224, 512, 1024, 2048, 4096}
    assert not any(is_jax(job.name) for job in jobs)
    assert any(is_jax(job.name) for each in SUITES["peers"](Options(has_reference=True)) for job in each.jobs)
    chosen = Options(
        models=("vit:base",), sides=(64,), batches=(8,), modes=("training",), device="cuda", precision="bf16"
    )
    (job,) = [job for series in SUITES["peers"](chosen) for job in series.jobs]
    assert (job.name, job.side, job.batch, job.mode) == ("vit:base", 64, 8, "training")
    assert (job.device, job.precision) == ("cuda", "bf16")


def test_what_each_suite_turns() -> None:
    options = Options(models=("hiperceiver:hip-nano", "vit:tiny"), sides=(32, 64))
    masked = [job for series in SUITES["masking"](options) for job in series.jobs]
    assert [(job.ratio, job.compared) for job in masked if job.side == 32] == list(MASKS)
    tokens = [job for series in SUITES["tokens"](options) for job in series.jobs]
    assert {(job.name, job.side) for job in tokens} == {("hiperceiver:hip-nano", 32), ("hiperceiver:hip-nano", 64)}


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of PyTorch's own modules as the compiler loads them
def test_ours_compiled_is_ours_with_the_same_operations() -> None:
    with inductor.patch(freezing=False):
        model = made("compiled:hip-nano")
        assert inductor.freezing
    assert model._compiled_call_impl is not None
    assert model.state_dict().keys() == made("hiperceiver:hip-nano").state_dict().keys()
    chosen = Options(models=("hiperceiver:hip-nano", "compiled:hip-nano"), sides=(32,), modes=("inference",))
    (series,) = SUITES["peers"](chosen)
    assert [job.name for job in series.jobs] == ["hiperceiver:hip-nano", "compiled:hip-nano"]
    assert [job.name for job in series.once] == ["hiperceiver:hip-nano"]


def test_recipes_with_data_of_their_own_are_loaded() -> None:
    loaded = built_in_recipes()
    assert loaded and set(loaded) <= set(RECIPES)
    for name in loaded:
        assert recipe_settings(name).batch_size > 0


def test_values_are_as_far_from_the_formulas_as_the_precision_is(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(kind="values", name="hiperceiver:hip-nano", side=16, batch=2, ratio=0.75, device=device)
    single, half = measure_values(job), measure_values(replace(job, precision="bf16"))
    for name in ("outputs", "gradients", "worst"):
        assert 1e-8 < single[name] < 1e-4
        assert 1e-3 < half[name] < 0.2
    assert single["loss"] < 1e-5
    monkeypatch.setattr("hiperceiver.fast.layers._SquaredReLU.backward", lambda ctx, gradient: gradient)
    assert measure_values(job)["gradients"] > 0.1  # a wrong derivative is seen
