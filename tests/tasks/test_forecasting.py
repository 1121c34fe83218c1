"""Forecasting: nothing of the future is seen, and the floor is the literal one."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from closeness import assert_close, is_close, terms_of

from hiperceiver import create_model
from hiperceiver.modality import Batch, Modality
from hiperceiver.tasks import Forecasting, ForecastingConfig

SERIES = {"series": Modality(grid=(30,), channels=2)}
FRAMES = {"series": Modality(grid=(10, 3), channels=2)}
BESIDE = {"series": Modality(grid=(30,), channels=2), "weather": Modality(grid=(12,), channels=4)}


def make_task(make_model, modalities=SERIES, architecture: str = "HiP", *, shaken: bool = True, **settings):
    model = make_model(architecture, shaken=shaken, **modalities)
    return Forecasting(model, ForecastingConfig(**{"horizon": 4, "input_modality": "series", **settings})).eval()


def make_batch(task: Forecasting, batch_size: int = 5, *, has_absent: bool = False) -> Batch:
    inputs, is_padding = {}, {}
    for name, modality in task.model.modalities.items():
        inputs[name] = torch.randn(batch_size, modality.num_tokens, modality.channels).cumsum(dim=1)
        if has_absent:
            is_padding[name] = torch.rand(batch_size, modality.num_tokens) < 0.4
    return Batch(inputs=inputs, is_padding=is_padding)


def num_future(task: Forecasting) -> int:
    modality = task.model.modalities["series"]
    return task.config.horizon * modality.num_tokens // modality.grid[0]


@pytest.mark.parametrize("architecture", ["HiP", "PerceiverIO"])
@pytest.mark.parametrize("modalities", [SERIES, FRAMES, BESIDE])
def test_the_past_is_seen_and_the_future_is_not(make_model, modalities, architecture):
    task = make_task(make_model, modalities, architecture)
    batch = make_batch(task)
    for x in batch.inputs.values():
        x.requires_grad_()
    count = num_future(task)
    output = []
    task.model.register_forward_hook(lambda module, args, out: output.append(out.reconstruction["series"]))
    task.loss(batch)
    output[0].square().sum().backward()
    is_felt = {name: (x.grad != 0).all(dim=-1) for name, x in batch.inputs.items()}
    assert is_felt["series"][:, :-count].all()
    assert not batch.inputs["series"].grad[:, -count:].any()
    assert all(felt.all() for name, felt in is_felt.items() if name != "series")
    before = task.predict(batch).forecast
    assert before.shape == (5, count, 2)
    batch.inputs["series"] = batch.inputs["series"].detach().clone()
    batch.inputs["series"][:, -count:] = torch.nan
    assert torch.equal(task.predict(batch).forecast, before)


def test_it_is_masked_auto_encoding_whose_mask_is_the_future(make_model):
    task = make_task(make_model)
    batch = make_batch(task)
    plan = task.model.plan({"series": 30})
    per_group = plan.spans["series"].tokens_per_group
    visible = torch.full((5, plan.spans["series"].num_groups, per_group), -1)
    for token in range(26):
        visible[:, token // per_group, token % per_group] = token % per_group
    expected = task.model(batch.inputs, visible={"series": visible}).reconstruction["series"][:, 26:]
    assert_close(task.predict(batch).forecast, expected.detach(), terms=terms_of(task.model))


@pytest.mark.parametrize("modalities", [SERIES, FRAMES, BESIDE])
def test_metrics_are_the_literal_ones_whatever_the_batches(make_model, modalities):
    task = make_task(make_model, modalities)
    batch = make_batch(task, 12, has_absent=True)
    batch.is_padding["series"][3, -num_future(task) :] = True  # too short to be judged
    batch.is_padding["series"][4, : -num_future(task)] = True  # nothing was seen
    said = task.predict(batch).forecast.double().numpy()
    steps, *rest = task.model.modalities["series"].grid
    places, horizon = int(np.prod(rest)), task.config.horizon
    errors, floor, targets = [], [], []
    for b in range(12):
        x = batch.inputs["series"][b].double().numpy().reshape(steps, places, 2)
        is_absent = batch.is_padding["series"][b].numpy().reshape(steps, places)
        for place in range(places):
            last = np.zeros(2)
            for step in range(steps - horizon):
                if not is_absent[step, place]:
                    last = x[step, place]
            for step in range(steps - horizon, steps):
                if not is_absent[step, place]:
                    index = (step - steps + horizon) * places + place
                    targets.append(x[step, place])
                    errors.append(said[b, index] - x[step, place])
                    floor.append(last - x[step, place])
    errors, floor, targets = np.array(errors), np.array(floor), np.array(targets)
    expected = {
        "loss": (errors**2).mean(),
        "mae": np.abs(errors).mean(),
        "rmse": np.sqrt((errors**2).mean()),
        "explained": 1 - (errors**2).mean() / targets.var(axis=0).mean(),
        "skill": 1 - (errors**2).mean() / (floor**2).mean(),
    }
    for name, is_absent in batch.is_padding.items():
        batch.inputs[name] = batch.inputs[name].masked_fill(is_absent[..., None], torch.nan)
    assert_close(task.loss(batch)[0], expected["loss"], terms=terms_of(task.model), dtype=torch.float32)
    for splits in [(0, 12), (0, 4, 5, 12)]:
        metrics = task.make_metrics()
        for start, stop in pairwise(splits):
            part = Batch(
                inputs={name: x[start:stop] for name, x in batch.inputs.items()},
                is_padding={name: x[start:stop] for name, x in batch.is_padding.items()},
            )
            task.update(metrics, part)
        results = {name: value.item() for name, value in metrics.compute().items()}
        scale = max(1.0, *map(abs, expected.values()))  # shares of what is explained are 1 less a ratio of sums
        assert_close(results, expected, terms=terms_of(task.model), scale=scale, dtype=torch.float32)
    assert task.monitor[0] in results


def test_persistence_has_no_skill_and_a_still_series_has_no_floor(make_model):
    task = make_task(make_model, shaken=False)  # says 0
    batch = make_batch(task)
    batch.inputs["series"][:, 25] = 0  # the last step that is seen
    metrics = task.make_metrics()
    task.update(metrics, batch)
    assert metrics.compute()["skill"] == 0
    metrics = task.make_metrics()
    task.update(metrics, Batch(inputs={"series": torch.ones(2, 30, 2)}))
    results = metrics.compute()
    assert results["skill"].isnan()
    assert results["explained"].isnan()
    assert results["loss"] == 1


def test_other_modalities_may_be_absent_and_help_if_present(make_model):
    task = make_task(make_model, BESIDE)
    batch = make_batch(task)
    whole = task.predict(batch).forecast
    batch.is_padding["weather"] = torch.zeros(5, 12, dtype=torch.bool)
    batch.is_padding["weather"][0] = True
    partly = task.predict(batch).forecast
    assert not is_close(whole[0], partly[0], terms=terms_of(task.model)).all()
    assert_close(whole[1:], partly[1:], terms=terms_of(task.model))
    del batch.inputs["weather"], batch.is_padding["weather"]
    assert task.predict(batch).forecast.isfinite().all()
    batch.inputs = {"weather": torch.randn(5, 12, 4)}
    with pytest.raises(ValueError, match="inputs: expected the task's 'series', got weather"):
        task.loss(batch)


def test_overfits_two_waves_and_beats_persistence(make_model):
    task = make_task(make_model, shaken=False).train()
    wave = torch.linspace(0, 12, 30).sin()
    batch = Batch(inputs={"series": torch.stack([wave, -wave])[..., None].expand(2, 30, 2)})
    optimizer = torch.optim.Adam(task.parameters(), lr=3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        optimizer.step()
    metrics = task.eval().make_metrics()
    task.update(metrics, batch)
    assert metrics.compute()["skill"] > 0.8


def test_terms_compile_without_graph_breaks(make_model):
    task = make_task(make_model)
    batch = make_batch(task, has_absent=True)
    terms = torch.compile(task.terms, backend="eager", fullgraph=True)(batch)
    assert_close(terms, task.terms(batch), terms=terms_of(task.model))


def test_the_horizon_is_the_end_of_the_first_axis(make_model):
    for modalities, horizon, hidden in [(SERIES, 1, 1), (SERIES, 29, 29), (FRAMES, 1, 3), (FRAMES, 9, 27)]:
        task = make_task(make_model, modalities, horizon=horizon)
        batch, came = make_batch(task), {}
        task.model.register_forward_pre_hook(lambda _, args, kwargs, came=came: came.update(kwargs), with_kwargs=True)
        assert task.predict(batch).forecast.shape[1] == hidden
        assert torch.equal(came["is_padding"]["series"], (torch.arange(30) >= 30 - hidden).expand(5, -1))


def test_categories_are_not_forecast(make_model):
    message = "input_modality: expected one whose values are amounts, got the categories of 'series'"
    with pytest.raises(ValueError, match=f"^{message}$"):
        make_task(make_model, {"series": Modality(grid=(30,), channels=1, num_categories=9)})


def test_tokens_that_show_the_future_are_refused(make_model):
    seen = "expected 0, as neighbours would show what is hidden"
    with pytest.raises(ValueError, match=f"^encoders.series.context: {seen}$"):
        make_task(make_model, {"series": Modality(grid=(30,), channels=6, is_overlapping=True)})


def test_a_future_whose_places_are_its_own_values_is_refused():
    cloud = Modality(grid=(30,), channels=5, num_coordinates=3)
    model = create_model("hip-nano", modalities={"cloud": cloud}, positions="coordinate")
    with pytest.raises(ValueError, match="input_modality: expected one whose positions are not its own coordinates"):
        Forecasting(model, ForecastingConfig(horizon=4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizon": 0}, "horizon: expected a whole number >= 1, got 0"),
        ({"horizon": 2.0}, "horizon: expected a whole number >= 1, got 2.0"),
        ({"horizon": 30}, "horizon: expected fewer than the 30 steps of 'series', got 30"),
        ({"input_modality": None}, "input_modality: expected one of series, weather, got None"),
        ({"input_modality": "price"}, "input_modality: expected one of series, weather, got 'price'"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(make_model, settings, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make_task(make_model, BESIDE, **settings)
    assert str(error.value) == message
