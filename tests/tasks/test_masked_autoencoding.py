"""Masked auto-encoding: nothing hidden leaks, nothing hidden is paid for, and the loss is what it says."""

import dataclasses
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_gradients_close, gradient_terms_of, terms_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hiperceiver import create_model
from hiperceiver.fast import switch
from hiperceiver.masking import num_visible, sample_masked_slots
from hiperceiver.modality import Batch, Modality
from hiperceiver.model import GroupPlan, HiP
from hiperceiver.tasks import MaskedAutoencoding, MaskedAutoencodingConfig
from hiperceiver.tasks.masked_autoencoding import evaluation_generators

ARCHITECTURES = ["HiP", "PerceiverIO"]
STRATEGIES = ["group-wise", "uniform"]


def make_batch(model, batch_size: int = 3, *, has_absent: bool = False) -> Batch:
    inputs, is_padding = {}, {}
    for name, modality in model.modalities.items():
        inputs[name] = torch.randn(batch_size, modality.num_tokens, modality.channels) + 0.5
        if has_absent:
            is_padding[name] = torch.rand(batch_size, modality.num_tokens) < 0.3
    return Batch(inputs=inputs, is_padding=is_padding)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def place_of(token: int, num_tokens: int, num_groups: int) -> tuple[int, int]:
    """Group and place of a token, said once more."""
    per_group = -(-num_tokens // num_groups)
    return token // per_group, token % per_group


# --------------------------------------------------------------------------------------------------------- no cheating


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hidden_and_absent_values_reach_no_output_and_no_gradient(make_model, two_modalities, architecture, strategy):
    model = make_model(architecture, **two_modalities)
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.7, mask_strategy=strategy))
    batch = make_batch(model, has_absent=True)

    def outputs_and_gradients(batch: Batch) -> list[torch.Tensor]:
        mask = task.draw_mask(batch, generator())
        output = model(batch.inputs, is_padding=batch.is_padding, visible=mask.visible)
        model.zero_grad()
        sum(x.square().sum() for x in output.reconstruction.values()).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        return [*output.reconstruction.values(), output.latents, output.processor_latents, *gradients]

    before = outputs_and_gradients(batch)
    mask = task.draw_mask(batch, generator())
    changed = Batch(inputs={}, is_padding=batch.is_padding)
    for name, x in batch.inputs.items():
        x = torch.where(mask.is_masked[name][..., None], 1e6 * torch.randn_like(x), x)
        changed.inputs[name] = x.masked_fill(batch.is_padding[name][..., None], float("nan"))
    assert len(before) > 20
    for old, new in zip(before, outputs_and_gradients(changed), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("loss_on", ["hidden", "all"])
@pytest.mark.parametrize("normalisation", ["none", "channel", "example"])
def test_absent_values_reach_neither_loss_nor_gradient(make_model, two_modalities, loss_on, normalisation):
    model = make_model(**two_modalities)
    config = MaskedAutoencodingConfig(mask_ratio=0.6, loss_on=loss_on, target_normalisation=normalisation)
    task = MaskedAutoencoding(model, config).eval()
    batch = make_batch(model, has_absent=True)

    def loss_and_gradients(batch: Batch) -> list[torch.Tensor]:
        model.zero_grad()
        loss, logs = task.loss(batch)
        loss.backward()
        return [loss, *logs.values(), *(p.grad for p in model.parameters() if p.grad is not None)]

    before = loss_and_gradients(batch)
    for name, is_absent in batch.is_padding.items():
        batch.inputs[name] = batch.inputs[name].masked_fill(is_absent[..., None], float("nan"))
    for old, new in zip(before, loss_and_gradients(batch), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_visible_value_reaches_the_output_and_no_hidden_one_does(
    make_model, two_modalities, architecture, strategy
):
    model = make_model(architecture, **two_modalities)
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.7, mask_strategy=strategy))
    batch = make_batch(model)
    for x in batch.inputs.values():
        x.requires_grad_()
    mask = task.draw_mask(batch)
    output = model(batch.inputs, visible=mask.visible)
    sum(x.square().sum() for x in output.reconstruction.values()).backward()
    for name, x in batch.inputs.items():
        assert x.grad is not None
        is_felt = (x.grad != 0).all(dim=-1)
        assert torch.equal(is_felt, ~mask.is_masked[name])


def test_loss_on_hidden_ignores_errors_at_visible_tokens(make_model):
    model = make_model()
    batch = make_batch(model)
    seen = []
    model.unembedding["image"].register_forward_hook(lambda module, args, output: seen.append(output))
    for loss_on in ("hidden", "all"):
        task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.75, loss_on=loss_on)).eval()
        loss, _ = task.loss(batch)
        (gradient,) = torch.autograd.grad(loss, seen[-1])
        is_masked = task.predict(batch).is_masked["image"]
        has_gradient = (gradient != 0).any(dim=-1).flatten(1)  # of 4 full groups
        assert torch.equal(has_gradient, is_masked if loss_on == "hidden" else torch.ones_like(is_masked))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_reach_the_positions_of_hidden_tokens(make_model, architecture):
    model = make_model(architecture)
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.75)).eval()
    batch = make_batch(model, 1)
    task.loss(batch)[0].backward()
    is_masked = task.predict(batch).is_masked["image"][0]
    gradient = model.positions["image"].table.grad
    assert is_masked.sum() == 48
    assert (gradient[is_masked] != 0).any(dim=-1).all()


# -------------------------------------------------------------------------------------------------- where and how many


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.floats(0.05, 0.95), st.sampled_from([2, 4, 8]))
def test_every_group_of_every_modality_hides_the_same_places(make_model, first, second, ratio, groups):
    modalities = {"a": Modality(grid=(first,), channels=1), "b": Modality(grid=(second,), channels=1)}
    model = make_model(groups=groups, shaken=False, **modalities)
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=ratio, loss_on="all"))
    mask = task.draw_mask(make_batch(model, 2))
    plan = GroupPlan.assign({"a": first, "b": second}, groups)
    num_slots = max(-(-first // plan.spans["a"].num_groups), -(-second // plan.spans["b"].num_groups))
    for example in range(2):
        kept = set(mask.visible["a"][example, 0].tolist())
        assert len(kept) == num_visible(num_slots, ratio)
        for name, num_tokens in [("a", first), ("b", second)]:
            assert mask.is_masked[name].shape == (2, num_tokens)
            for token, is_masked in enumerate(mask.is_masked[name][example].tolist()):
                _, place = place_of(token, num_tokens, plan.spans[name].num_groups)
                assert is_masked == (place not in kept)


def test_each_modality_draws_its_own_where_all_share_one_group(make_model, two_modalities):
    model = make_model("PerceiverIO", **two_modalities)
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.8))
    mask = task.draw_mask(make_batch(model, 2))
    assert (~mask.is_masked["image"]).sum(dim=1).tolist() == [10, 10]
    assert (~mask.is_masked["sound"]).sum(dim=1).tolist() == [8, 8]
    assert not torch.equal(mask.is_masked["image"][:, :41], mask.is_masked["sound"])


def test_different_examples_get_different_masks(make_model):
    for strategy in STRATEGIES:
        model = make_model(image=Modality(grid=(16, 16), channels=3))
        task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.75, mask_strategy=strategy))
        for made_by in (task.draw_mask(make_batch(model, 6)), task.predict(make_batch(model, 6))):
            assert len({tuple(row.tolist()) for row in made_by.is_masked["image"]}) == 6


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_uniform_hides_an_exact_number_and_groups_keep_different_ones(make_model, two_modalities, architecture):
    model = make_model(architecture, **two_modalities)
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.7, mask_strategy="uniform"))
    mask = task.draw_mask(make_batch(model, 5))
    visible = (~mask.is_masked["image"]).sum(dim=1) + (~mask.is_masked["sound"]).sum(dim=1)
    assert visible.tolist() == [num_visible(91, 0.7)] * 5
    kept = torch.stack([(~mask.is_masked[name]).sum(dim=1) for name in two_modalities])
    assert len(set(kept[0].tolist())) > 1
    if architecture == "HiP":
        in_groups = (~mask.is_masked["image"]).unflatten(1, (2, 25)).sum(dim=2)
        assert (in_groups[:, 0] != in_groups[:, 1]).any()
        assert torch.equal((mask.visible["image"] >= 0).sum(dim=2), in_groups)
    for name in two_modalities:  # only tokens are listed, not the padding of their groups
        assert torch.equal((mask.visible[name] >= 0).sum(dim=(1, 2)), (~mask.is_masked[name]).sum(dim=1))


def count_operations(run: Callable[[], object]) -> int:
    # On a CPU the counter does not know the fused attention; as plain matrix products it does.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_encoder_pays_for_visible_tokens_alone(make_model, architecture):
    model = make_model(architecture, image=Modality(grid=(32, 32), channels=3))
    batch = make_batch(model, 2)
    num_slots = model.plan({"image": 1024}).spans["image"].num_slots
    embedding, latents = model.config.embedding_channels, model.blocks[0].config.num_latents
    seen, operations = [], []
    model.embedding["image"].register_forward_hook(lambda module, args, output: seen.append(args[0].shape[2]))
    model.blocks[0].cross_attention.register_forward_hook(lambda module, args, output: seen.append(args[1].shape[2]))
    for ratio in (0.0, 0.25, 0.5, 0.75):
        task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=ratio, loss_on="all"))
        visible = task.draw_mask(batch).visible
        operations.append(count_operations(lambda visible=visible: model.encode(batch.inputs, visible=visible)))
        assert seen == [num_slots * (1 - ratio)] * 2
        seen.clear()
    # A hidden token saves at least its embedding, and being compared with and added to each latent.
    per_token = 2 * (3 * embedding + 2 * latents * embedding)
    assert (-np.diff(operations) >= 2 * 256 * per_token).all()


def test_a_training_step_costs_less_the_more_is_hidden(make_model, monkeypatch):
    """With the fast paths: without them, queries that differ between examples are projected one by one."""
    monkeypatch.setattr(switch, "_is_on", True)
    model = make_model(image=Modality(grid=(32, 32), channels=3))
    batch = make_batch(model, 2)

    def cost(**settings) -> int:
        task = MaskedAutoencoding(model, MaskedAutoencodingConfig(**settings)).train()
        return count_operations(lambda: task.loss(batch)[0].backward())

    assert (
        cost(mask_ratio=0.1, loss_on="all") > cost(mask_ratio=0.5, loss_on="all") > cost(mask_ratio=0.9, loss_on="all")
    )
    # What is visible is not read out where only what is hidden is compared.
    assert cost(mask_ratio=0.9, loss_on="all") > cost(mask_ratio=0.9)


# ----------------------------------------------------------------------------------------------------------------- loss


@pytest.mark.parametrize("loss_on", ["hidden", "all"])
@pytest.mark.parametrize("normalisation", ["none", "channel", "example"])
@pytest.mark.parametrize("weights", [None, {"sound": 3.0}, {"image": 0}])
def test_loss_is_the_literal_one(make_model, two_modalities, loss_on, normalisation, weights):
    model = make_model(**two_modalities)
    config = MaskedAutoencodingConfig(
        mask_ratio=0.6, loss_on=loss_on, target_normalisation=normalisation, modality_weights=weights
    )
    task = MaskedAutoencoding(model, config).eval()
    batch = make_batch(model, has_absent=True)
    mask = task.draw_mask(batch, [torch.Generator().manual_seed(20220222 + i) for i in range(3)])
    reconstruction = model(batch.inputs, is_padding=batch.is_padding, visible=mask.visible).reconstruction

    total, weight_sum, expected = 0.0, 0.0, {}
    for name in two_modalities:
        errors = []
        for b in range(3):
            is_real = ~batch.is_padding[name][b].numpy()
            x = batch.inputs[name][b].double().numpy()
            if normalisation == "channel":
                x = (x - x[is_real].mean(axis=0)) / x[is_real].std(axis=0)
            elif normalisation == "example":
                x = (x - x[is_real].mean()) / x[is_real].std()
            for token in range(len(x)):
                if is_real[token] and (loss_on == "all" or mask.is_masked[name][b, token]):
                    errors.append(np.mean((reconstruction[name][b, token].detach().numpy() - x[token]) ** 2))
        expected[f"loss_{name}"] = np.mean(errors)
        weight = (weights or {}).get(name, 1.0)
        total, weight_sum = total + weight * np.mean(errors), weight_sum + weight
    loss, logs = task.loss(batch)
    assert_close(loss, total / weight_sum, terms=terms_of(task.model), dtype=torch.float32)
    assert_close(
        {name: value.item() for name, value in logs.items()}, expected, terms=terms_of(task.model), dtype=torch.float32
    )
    assert not any(value.requires_grad for value in logs.values())


@pytest.mark.parametrize("architecture", ["HiP", "PerceiverIO"])
@pytest.mark.parametrize("normalisation", ["none", "example"])
def test_comparing_some_hidden_tokens_is_the_same_on_average(make_model, two_modalities, architecture, normalisation):
    """And with all of them exactly the same, whatever is absent."""
    settings = {"mask_ratio": 0.6, "target_normalisation": normalisation}
    model = make_model(architecture, **two_modalities)
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(**settings))
    batch = make_batch(model, has_absent=True)
    draw = MaskedAutoencoding.draw_mask
    generators = partial(evaluation_generators, 0, len(batch))
    task.draw_mask = lambda *_: draw(task, batch, generators())  # what is hidden is the same, what is compared is not
    expected, logs = task.eval().loss(batch)  # by way of every slot
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    found, found_logs = task.train().loss(batch)
    assert_close(found, expected, terms=terms_of(task.model))
    assert_close(found_logs, logs, terms=terms_of(task.model))
    found.backward()
    found_gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert_gradients_close(found_gradients, gradients, terms=gradient_terms_of(model, len(batch)))

    some = MaskedAutoencoding(model, MaskedAutoencodingConfig(**settings, compared_share=0.4)).train()
    spans = model.plan({name: x.shape[1] for name, x in batch.inputs.items()}).spans

    def draw_some(*_):
        mask = draw(some, batch, generators())
        again = {name: sample_masked_slots(mask.visible[name], spans[name].num_slots, 0.4) for name in mask.compared}
        return mask._replace(compared=again)

    some.draw_mask = draw_some
    with torch.no_grad():
        losses = torch.stack([some.loss(batch)[0] for _ in range(400)])
    assert losses.std() > 0.01 * losses.mean()
    assert losses.mean().item() == pytest.approx(expected.item(), abs=5 * losses.std().item() / 20)
    assert some.eval().loss(batch)[0] == some.loss(batch)[0] == expected


def test_comparing_fewer_tokens_costs_less(make_model):
    model = make_model(image=Modality(grid=(16, 16), channels=3))
    batch = make_batch(model)
    operations = [
        count_operations(
            lambda share=share: (
                MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.75, compared_share=share))
                .train()
                .loss(batch)[0]
                .backward()
            )
        )
        for share in (0.25, 0.5, 1.0)
    ]
    assert operations[0] < operations[1] < operations[2]


def test_a_modality_without_any_real_token_has_no_say(make_model, two_modalities):
    model = make_model(**two_modalities)
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.6)).eval()
    batch = make_batch(model)
    batch.is_padding["sound"] = torch.ones(3, 41, dtype=torch.bool)
    loss, logs = task.loss(batch)
    assert loss == logs["loss_image"] > 0
    batch.is_padding["image"] = torch.ones(3, 50, dtype=torch.bool)
    loss, _ = task.loss(batch)
    loss.backward()
    assert loss == 0


def test_any_subset_of_modalities_may_come_and_labels_are_not_shown(make_model, two_modalities):
    model = make_model(**two_modalities, label=Modality(grid=(1,), channels=4, role="label"))
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.6)).eval()
    batch = make_batch(model)
    del batch.inputs["sound"]
    loss, _ = task.loss(batch)
    batch.inputs["label"] = torch.randn(3, 1, 4)
    assert task.loss(batch)[0] == loss
    assert set(task.predict(batch).reconstruction) == {"image"}


def test_training_draws_a_new_mask_each_time_and_evaluation_never(make_model):
    task = MaskedAutoencoding(make_model(), MaskedAutoencodingConfig(mask_ratio=0.6))
    batch = make_batch(task.model)
    assert len({task.loss(batch)[0].item() for _ in range(4)}) == 4
    task.eval()
    assert len({task.loss(batch)[0].item() for _ in range(4)}) == 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_group_wise_terms_compile_without_graph_breaks(make_model, two_modalities, architecture):
    task = MaskedAutoencoding(make_model(architecture, **two_modalities))
    batch = make_batch(task.model, has_absent=True)
    compiled, drawn = torch.compile(task.terms, backend="eager", fullgraph=True), task.draw(batch)
    assert_close(compiled(batch, drawn), task.terms(batch, drawn), terms=terms_of(task.model))


def test_overfits_four_examples(make_model):
    model = make_model(shaken=False)
    coordinates = torch.linspace(-1, 1, 8)
    waves = [torch.outer((k * coordinates).sin(), (k * coordinates).cos()).flatten() for k in (1, 2, 3, 4)]
    batch = Batch(inputs={"image": torch.stack([torch.stack([w, -w, w * w], dim=-1) for w in waves])})
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.5))
    optimizer = torch.optim.Adam(task.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        optimizer.step()
    metrics = task.eval().make_metrics()
    task.update(metrics, batch)
    assert metrics.compute()["explained"] > 0.85


# ------------------------------------------------------------------------------------------------ metrics, predictions


@pytest.mark.parametrize("loss_on", ["hidden", "all"])
def test_metrics_are_the_literal_ones_whatever_the_batches(make_model, two_modalities, loss_on):
    model = make_model(**two_modalities)
    weights = {"image": 2.0}
    config = MaskedAutoencodingConfig(mask_ratio=0.6, loss_on=loss_on, modality_weights=weights)
    task = MaskedAutoencoding(model, config).eval()
    batch = make_batch(model, 5, has_absent=True)
    prediction = task.predict(batch)
    expected = {}
    for name in two_modalities:
        x, y = batch.inputs[name].double().numpy(), prediction.reconstruction[name].double().numpy()
        is_real = ~batch.is_padding[name].numpy()
        is_hidden = prediction.is_masked[name].numpy() & is_real
        is_counted = is_hidden if loss_on == "hidden" else is_real
        expected[f"loss_{name}"] = ((x - y)[is_counted] ** 2).mean()
        expected[f"explained_{name}"] = 1 - ((x - y)[is_hidden] ** 2).mean() / x[is_hidden].var(axis=0).mean()
    for kind in ("loss", "explained"):
        expected[kind] = (2 * expected[f"{kind}_image"] + expected[f"{kind}_sound"]) / 3

    def part(start: int, stop: int) -> Batch:
        return Batch(
            inputs={name: x[start:stop] for name, x in batch.inputs.items()},
            is_padding={name: x[start:stop] for name, x in batch.is_padding.items()},
        )

    for splits in [(0, 5), (0, 2, 4, 5)]:
        metrics = task.make_metrics()
        for start, stop in pairwise(splits):
            torch.rand(1)  # the state of the global generator does not matter
            task.update(metrics, part(start, stop))
        results = {name: value.item() for name, value in metrics.compute().items()}
        scale = max(1.0, *map(abs, expected.values()))  # shares of what is explained are 1 less a ratio of sums
        assert_close(results, expected, terms=terms_of(model), scale=scale, dtype=torch.float32)
        metrics = task.make_metrics()
        task.update(metrics, batch)
        again = {name: value.item() for name, value in metrics.compute().items()}
        assert_close(again, results, terms=terms_of(model), scale=scale, dtype=torch.float32)


def test_one_modality_has_no_metric_of_its_own_and_saying_the_mean_explains_nothing(make_model):
    model = make_model(shaken=False)  # reconstructs zeros
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(target_normalisation="channel")).eval()
    metrics = task.make_metrics()
    task.update(metrics, make_batch(model, 50))
    results = metrics.compute()
    assert set(results) == {"loss", "explained"}
    assert task.monitor[0] in results
    assert results["explained"] == pytest.approx(0, abs=0.02)


def test_a_modality_that_never_came_is_left_out_of_the_totals(make_model, two_modalities):
    task = MaskedAutoencoding(make_model(**two_modalities)).eval()
    batch = make_batch(task.model)
    del batch.inputs["sound"]
    metrics = task.make_metrics()
    task.update(metrics, batch)
    results = metrics.compute()
    assert results["loss"] == results["loss_image"]
    assert results["explained"] == results["explained_image"]
    assert results["loss_sound"].isnan()


@pytest.mark.parametrize("constant", [0.0, 0.1, -3e4])
def test_of_hidden_values_that_are_all_the_same_nothing_can_be_explained(make_model, two_modalities, constant):
    task = MaskedAutoencoding(make_model(**two_modalities)).eval()
    batch = make_batch(task.model)
    batch.inputs["sound"] = torch.full_like(batch.inputs["sound"], constant)
    metrics, trivial = task.make_metrics(), task.trivial_answers(len(batch))
    task.update(metrics, batch)
    trivial.add(batch)
    results = metrics.compute() | {name: torch.tensor(value) for name, value in trivial.metrics().items()}
    for by in ("", "_by_nearest", "_by_interpolation"):
        assert results[f"explained_sound{by}"].isnan()
        assert results[f"explained{by}"] == results[f"explained_image{by}"] < 1


def test_update_changes_neither_global_random_numbers_nor_gradients(make_model):
    task = MaskedAutoencoding(make_model()).eval()
    state = torch.get_rng_state()
    task.update(task.make_metrics(), make_batch_seeded(task.model))
    task.predict(make_batch_seeded(task.model))
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in task.parameters())


def make_batch_seeded(model) -> Batch:
    with torch.random.fork_rng():
        return make_batch(model)


@pytest.mark.parametrize("normalisation", ["none", "channel", "example"])
def test_predictions_are_in_the_units_of_the_input_and_know_only_what_is_visible(make_model, normalisation):
    model = make_model()
    task = MaskedAutoencoding(
        model, MaskedAutoencodingConfig(mask_ratio=0.5, target_normalisation=normalisation)
    ).eval()
    batch = make_batch(model, 2)
    prediction = task.predict(batch, generator())
    mask = task.draw_mask(batch, generator())
    raw = model(batch.inputs, visible=mask.visible).reconstruction["image"].detach()
    for b in range(2):
        visible = batch.inputs["image"][b][~mask.is_masked["image"][b]]
        axes = {"none": None, "channel": (0,), "example": (0, 1)}[normalisation]
        expected = raw[b]
        if axes is not None:
            expected = raw[b] * visible.std(dim=axes, correction=0) + visible.mean(dim=axes)
        assert_close(prediction.reconstruction["image"][b], expected, terms=terms_of(task.model))
    hidden = mask.is_masked["image"][..., None]
    batch.inputs["image"] = torch.where(hidden, 1e6, batch.inputs["image"])
    again = task.predict(batch, generator())
    assert torch.equal(again.reconstruction["image"], prediction.reconstruction["image"])


# ------------------------------------------------------------------------------------------- coordinates that are told


def make_cloud_task(**settings) -> MaskedAutoencoding:
    cloud = Modality(grid=(40,), channels=5, num_coordinates=3)
    model = create_model("hip-nano", modalities={"cloud": cloud}, positions="coordinate")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.5, **settings)).eval()


@pytest.mark.parametrize("normalisation", ["none", "channel", "example"])
def test_coordinates_that_are_positions_are_told_and_not_judged(normalisation):
    task = make_cloud_task(target_normalisation=normalisation)
    batch = make_batch(task.model, 4, has_absent=True)
    is_masked = task.predict(batch).is_masked["cloud"].numpy()
    is_real = ~batch.is_padding["cloud"].numpy()
    mask = task.draw_mask(batch, [torch.Generator().manual_seed(20220222 + i) for i in range(4)])
    y = task.model(batch.inputs, is_padding=batch.is_padding, visible=mask.visible).reconstruction["cloud"]
    y = y[..., 3:].detach().double().numpy()
    x = batch.inputs["cloud"][..., 3:].double().numpy()
    if normalisation != "none":
        axis = 0 if normalisation == "channel" else None
        x = np.stack([(x[b] - x[b][is_real[b]].mean(axis)) / x[b][is_real[b]].std(axis) for b in range(4)])
    is_counted = is_masked & is_real
    loss = ((x - y)[is_counted] ** 2).mean()
    explained = 1 - loss / x[is_counted].var(axis=0).mean()
    assert_close(task.loss(batch)[0], loss, terms=terms_of(task.model), dtype=torch.float32)
    metrics = task.make_metrics()
    task.update(metrics, batch)
    results = {name: value.item() for name, value in metrics.compute().items()}
    expected = {"loss": loss, "explained": explained}
    assert_close(results, expected, terms=terms_of(task.model), scale=max(1.0, loss), dtype=torch.float32)
    batch.inputs["cloud"] = batch.inputs["cloud"].masked_fill(batch.is_padding["cloud"][..., None], torch.nan)
    said = task.predict(batch).reconstruction["cloud"]
    assert said.isfinite().all()
    assert torch.equal(said[..., :3][is_real], batch.inputs["cloud"][..., :3][is_real])


def test_coordinates_are_channels_as_any_where_positions_are_a_table(make_model):
    task = MaskedAutoencoding(make_model(cloud=Modality(grid=(40,), channels=5, num_coordinates=3))).eval()
    batch = make_batch(task.model)
    assert task.targets(batch)["cloud"].shape == (3, 40, 5)
    assert make_cloud_task().targets(batch)["cloud"].shape == (3, 40, 2)


def test_a_cloud_of_nothing_but_coordinates_is_refused():
    cloud = Modality(grid=(40,), channels=3, num_coordinates=3)
    model = create_model("hip-nano", modalities={"cloud": cloud}, positions="coordinate")
    with pytest.raises(
        ValueError, match="modalities: expected more channels of 'cloud' than its coordinates, .* got 3"
    ):
        MaskedAutoencoding(model)


def test_examples_may_each_lack_another_modality(make_model, two_modalities):
    """The loss is that of the modalities that came, token by token, as if the others were not there."""
    model = make_model(**two_modalities)
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.6, modality_weights={"image": 2.0})).eval()
    batch = make_batch(model, 4)
    for name, lacking in [("image", 0), ("sound", 1)]:
        batch.is_padding[name] = torch.zeros(batch.inputs[name].shape[:2], dtype=torch.bool)
        batch.is_padding[name][lacking] = True
        batch.inputs[name][lacking] = torch.nan
    prediction = task.predict(batch)
    errors = {}
    for name, lacking in [("image", 0), ("sound", 1)]:
        assert prediction.reconstruction[name].isfinite().all()
        each = []
        for b in range(4):
            if b != lacking:
                is_masked = prediction.is_masked[name][b]
                each.append((prediction.reconstruction[name][b] - batch.inputs[name][b])[is_masked].square())
        errors[name] = torch.cat(each).mean().item()
    expected = (2 * errors["image"] + errors["sound"]) / 3
    assert_close(task.loss(batch)[0], expected, terms=terms_of(task.model), dtype=torch.float32)
    metrics = task.make_metrics()
    task.update(metrics, batch)
    results = metrics.compute()
    assert_close(results["loss"], expected, terms=terms_of(task.model), dtype=torch.float32)
    assert all(value.isfinite() for value in results.values())


def test_categories_are_reconstructed_as_their_channels_would_be(make_model):
    modality = Modality(grid=(20,), channels=3, num_categories=30)
    model, plain = make_model(text=modality), make_model(text=Modality(grid=(20,), channels=30))
    weights, height = model.state_dict(), 10**0.5
    weights["embedding.text.bias"] = torch.zeros(8)
    weights["embedding.text.weight"] = weights["embedding.text.weight"][1:].T / height
    plain.load_state_dict(weights)
    config = MaskedAutoencodingConfig(mask_ratio=0.5)
    own = [torch.randint(1 + 10 * k, 11 + 10 * k, (4, 20)) for k in range(3)]
    batch = Batch(inputs={"text": torch.stack(own, dim=-1).float()}, is_padding={"text": torch.rand(4, 20) < 0.2})
    as_channels = torch.nn.functional.one_hot(torch.stack(own) - 1, 30).sum(0) * height
    tasks = MaskedAutoencoding(model, config).eval(), MaskedAutoencoding(plain, config).eval()
    found, expected = [], []
    for task, tokens, values in zip(tasks, (batch.inputs["text"], as_channels.float()), (found, expected), strict=True):
        each = Batch(inputs={"text": tokens}, is_padding=batch.is_padding)
        metrics = task.make_metrics()
        task.update(metrics, each)
        values += [task.predict(each).reconstruction["text"], task.loss(each)[0], *metrics.compute().values()]
    assert found[0].shape == (4, 20, 30)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, terms=terms_of(model), dtype=torch.float32)


# --------------------------------------------------------------------------------------------------------------- errors


def test_tokens_that_show_hidden_ones_are_refused(make_model):
    model = make_model(
        image=Modality(grid=(4, 4), channels=3), sound=Modality(grid=(20,), channels=3, is_overlapping=True)
    )
    with pytest.raises(ValueError, match=r"^encoders\.sound\.context: expected 0, as neighbours"):
        MaskedAutoencoding(model)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_ratio": 1.0}, "mask_ratio: expected a number from 0 to below 1, got 1.0"),
        ({"mask_ratio": "0.5"}, "mask_ratio: expected a number from 0 to below 1, got '0.5'"),
        ({"mask_ratio": 0}, "mask_ratio: expected above 0 with loss_on='hidden', got 0, which hides nothing"),
        ({"mask_strategy": "random"}, "mask_strategy: expected one of group-wise, uniform, got 'random'"),
        ({"compared_share": 0}, "compared_share: expected a number above 0, up to 1, got 0"),
        ({"compared_share": 1.5}, "compared_share: expected a number above 0, up to 1, got 1.5"),
        (
            {"compared_share": 0.5, "loss_on": "all"},
            "compared_share: expected 1, as less goes with mask_strategy='group-wise' and loss_on='hidden', got 0.5 "
            "with 'group-wise' and 'all'",
        ),
        ({"loss_on": "visible"}, "loss_on: expected one of hidden, all, got 'visible'"),
        ({"target_normalisation": 1}, "target_normalisation: expected one of none, channel, example, got 1"),
        ({"modality_weights": {"image": -1}}, "modality_weights.image: expected a number >= 0, got -1"),
        ({"modality_weights": [1]}, 'modality_weights: expected a mapping such as {"name": value}, got [1]'),
        ({"modality_weights": {"smell": 1}}, "modality_weights: expected names among image, got 'smell'"),
        ({"modality_weights": {"image": 0}}, "modality_weights: expected at least one above 0, got none"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(make_model, settings, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        MaskedAutoencoding(make_model(), MaskedAutoencodingConfig(**settings))
    assert str(error.value) == message


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_neighbours_are_hidden_together(make_model, strategy):
    """Of 64 tokens in groups of 16 a quarter is seen: whole blocks of 4."""
    model = make_model()
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.75, mask_strategy=strategy, mask_block=4))
    mask = task.draw_mask(make_batch(model))
    (is_masked,) = mask.is_masked.values()
    blocks = is_masked.unflatten(1, (-1, 4)).sum(dim=2)
    assert set(blocks.flatten().tolist()) == {0, 4}
    assert len({tuple(row) for row in blocks.tolist()}) > 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_neighbours_along_a_curve_are_hidden_together(make_model, strategy):
    """Along a Morton curve four tokens are a square of 2 x 2 pixels."""
    model = make_model()
    model = HiP(dataclasses.replace(model.config, token_order="morton"), model.modalities)
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.75, mask_strategy=strategy, mask_block=4))
    (is_masked,) = task.draw_mask(make_batch(model)).is_masked.values()
    squares = is_masked.unflatten(1, (4, 2, 4, 2)).sum(dim=(2, 4))
    assert set(squares.flatten().tolist()) == {0, 4}
    assert len({tuple(row) for row in squares.flatten(1).tolist()}) > 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_blocks_larger_than_what_they_are_drawn_from_are_refused(make_model, strategy):
    model = make_model()
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_strategy=strategy, mask_block=1000))
    with pytest.raises(ValueError, match=r"mask_block: expected at most the \d+ tokens that are drawn from, got 1000"):
        task.loss(make_batch(model))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_ratio_that_hides_nothing_of_so_few_is_refused(make_model, strategy):
    model = make_model(groups=2, sound=Modality(grid=(8,), channels=1))
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.05, mask_strategy=strategy))
    with pytest.raises(ValueError, match="mask_ratio: expected one that hides something of [48] tokens, got 0.05"):
        task.loss(make_batch(model))


def test_a_batch_without_inputs_is_refused(make_model):
    with pytest.raises(ValueError, match="inputs: expected at least one of image, got none"):
        MaskedAutoencoding(make_model()).loss(Batch(inputs={}))
