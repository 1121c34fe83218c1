"""Trivial answers, where they are known: hand-made masks, ramps, constant signals, and the task's own metrics."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_within

from hiperceiver.modality import Batch, Modality
from hiperceiver.model import HiP
from hiperceiver.tasks import MaskedAutoencoding, MaskedAutoencodingConfig, trivial
from hiperceiver.tasks.masked_autoencoding import byte_values, evaluation_generators
from hiperceiver.tasks.trivial import TrivialAnswers, fill_linear, fill_nearest


def hidden_but(visible: list[int], size: int) -> tuple[np.ndarray, np.ndarray]:
    is_visible = np.zeros(size, bool)
    is_visible[visible] = True
    return is_visible, ~is_visible


def ramp(grid: tuple[int, ...]) -> np.ndarray:
    """Two channels that are linear in the coordinates: (M, 2)."""
    places = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), -1).reshape(-1, len(grid)).astype(float)
    return places @ np.random.default_rng(0).normal(size=(len(grid), 2)) + 1


# -------------------------------------------------------------------------------------------------------------- filling


def test_the_nearest_visible_token_is_that_of_the_grid() -> None:
    tokens = np.arange(12.0)[:, None]  # 3 x 4
    is_visible, is_hidden = hidden_but([0, 11], 12)
    # rows: 0 1 2 3 / 4 5 6 7 / 8 9 10 11; token 6 lies 1 up and 1 left of 11, and sqrt(5) from 0
    expected = [0, 0, 11, 0, 0, 11, 11, 0, 11, 11]
    found = fill_nearest(tokens, is_visible, is_hidden, (3, 4)).ravel().tolist()
    distances = {k: (math.hypot(k // 4, k % 4), math.hypot(2 - k // 4, 3 - k % 4)) for k in range(12)}
    for k, got, wanted in zip(np.flatnonzero(is_hidden), found, expected, strict=True):
        assert got == wanted or distances[k][0] == distances[k][1]


@pytest.mark.parametrize("grid", [(60,), (9, 11), (4, 5, 6), (2, 3, 4, 5), (1, 40)])
def test_nearest_agrees_with_all_distances(grid: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    size = math.prod(grid)
    tokens, is_visible = rng.normal(size=(size, 1)), rng.random(size) < 0.2
    places = np.stack(np.unravel_index(np.arange(size), grid), axis=1)
    visible, wanted = np.flatnonzero(is_visible), np.flatnonzero(~is_visible)
    distance = ((places[wanted, None] - places[visible]) ** 2).sum(axis=-1)
    found = fill_nearest(tokens, is_visible, ~is_visible, grid)
    index = [int(np.flatnonzero(tokens[visible, 0] == value)[0]) for value in found[:, 0]]
    assert (distance[np.arange(len(wanted)), index] == distance.min(axis=1)).all()
    np.testing.assert_array_equal(found, fill_nearest(tokens, is_visible, ~is_visible, grid))
    given = fill_nearest(tokens, is_visible, ~is_visible, (size,), places.astype(float))
    index = [int(np.flatnonzero(tokens[visible, 0] == value)[0]) for value in given[:, 0]]
    assert (distance[np.arange(len(wanted)), index] == distance.min(axis=1)).all()


def test_of_equally_near_tokens_on_a_line_it_is_the_one_before() -> None:
    is_visible, is_hidden = hidden_but([0, 4], 5)
    assert fill_nearest(np.arange(5.0)[:, None], is_visible, is_hidden, (5,)).ravel().tolist() == [0, 0, 4]


@pytest.mark.parametrize("grid", [(30,), (8, 9), (4, 5, 6), (1, 30), (7, 1, 8)])
def test_interpolation_finds_a_ramp_between_visible_tokens(grid: tuple[int, ...]) -> None:
    tokens = ramp(grid)
    ends = [[(extent - 1) * k for extent, k in zip(grid, each, strict=True)] for each in np.ndindex(*(2,) * len(grid))]
    corners = [int(np.ravel_multi_index(each, grid)) for each in ends]
    some = np.random.default_rng(1).choice(len(tokens), len(tokens) // 5, replace=False)
    is_visible, is_hidden = hidden_but([*corners, *some], len(tokens))
    found = fill_linear(tokens, is_visible, is_hidden, grid)
    if min(grid) > 1 and len(grid) == 3:
        assert_within(found, tokens[is_hidden], 1e-4)  # the fit's slopes are held a little
    else:
        assert_close(found, tokens[is_hidden], terms=100, dtype=torch.float64)


def test_beyond_the_visible_tokens_it_is_the_nearest() -> None:
    is_visible, is_hidden = hidden_but([2, 4], 8)
    tokens = ramp((8,))
    found = fill_linear(tokens, is_visible, is_hidden, (8,))
    np.testing.assert_array_equal(found[[0, 1, 3, 4, 5]], tokens[[2, 2, 4, 4, 4]])
    is_visible, is_hidden = hidden_but([5, 6, 9, 10], 16)  # the middle of 4 x 4
    tokens = ramp((4, 4))
    found = fill_linear(tokens, is_visible, is_hidden, (4, 4))
    np.testing.assert_array_equal(found, fill_nearest(tokens, is_visible, is_hidden, (4, 4)))


def test_visible_tokens_on_one_line_of_a_plane_and_too_few_of_them_give_the_nearest() -> None:
    tokens = ramp((5, 5))
    for visible in ([0, 6, 12, 18], [7, 8], [3]):
        is_visible, is_hidden = hidden_but(visible, 25)
        nearest = fill_nearest(tokens, is_visible, is_hidden, (5, 5))
        np.testing.assert_array_equal(fill_linear(tokens, is_visible, is_hidden, (5, 5)), nearest)


def test_visible_tokens_in_one_slice_of_a_volume_say_nothing_of_the_slope_across_it() -> None:
    tokens = ramp((3, 6, 6))
    is_visible, is_hidden = hidden_but([*range(36)], 108)
    found = fill_linear(tokens, is_visible, is_hidden, (3, 6, 6))
    assert_within(found.reshape(2, 6, 6, 2)[:, 2, 3], tokens.reshape(3, 6, 6, 2)[[0, 0], 2, 3], 0.05)


@pytest.mark.parametrize("fill", [fill_nearest, fill_linear])
def test_where_nothing_is_visible_the_answer_is_zero(fill: Any) -> None:
    is_visible, is_hidden = hidden_but([], 6)
    for grid in ((6,), (2, 3)):
        np.testing.assert_array_equal(fill(np.ones((6, 2)), is_visible, is_hidden, grid), np.zeros((6, 2)))


# ------------------------------------------------------------------------------------------------------------- the task


def task_for(
    make_model: Any, config: MaskedAutoencodingConfig | None = None, **modalities: Modality
) -> MaskedAutoencoding:
    model = make_model(**modalities)
    return MaskedAutoencoding(model, config or MaskedAutoencodingConfig(mask_ratio=0.75)).eval()


def reached(task: MaskedAutoencoding, *batches: Batch) -> dict[str, float]:
    answers = TrivialAnswers(task, sum(map(len, batches)))
    for batch in batches:
        answers.add(batch)
    return answers.metrics()


def test_a_ramp_is_explained_by_interpolation_a_constant_by_both_and_noise_by_neither(make_model: Any) -> None:
    task = task_for(make_model, series=Modality(grid=(64,), channels=2))
    steps = torch.arange(64.0)[:, None] * torch.tensor([1.0, -0.5]) + torch.randn(20, 1, 1)
    found = reached(task, Batch(inputs={"series": steps}))
    assert found["explained_by_interpolation"] > 0.995
    assert 0.9 < found["explained_by_nearest"] < found["explained_by_interpolation"]
    levels = torch.randn(20, 1, 2).expand(20, 64, 2)
    found = reached(task, Batch(inputs={"series": levels}))
    assert_close([*found.values()], [1.0, 1.0], dtype=torch.float32)
    found = reached(task, Batch(inputs={"series": torch.randn(200, 64, 2)}))
    assert_within(found["explained_by_nearest"], -1.0, 0.1)  # twice the variance
    assert -0.8 < found["explained_by_interpolation"] < -0.4


@pytest.mark.parametrize("normalisation", ["none", "channel"])
def test_it_is_measured_on_the_tokens_and_in_the_units_of_the_evaluation(
    make_model: Any, two_modalities: dict[str, Modality], normalisation: Any
) -> None:
    """Against the definition, by loops: masks of an evaluation, padding left out, and the weights of the task."""
    config = MaskedAutoencodingConfig(
        mask_ratio=0.6, target_normalisation=normalisation, modality_weights={"sound": 3.0}
    )
    task = task_for(make_model, config, **two_modalities)
    batch = Batch(inputs={}, is_padding={})
    for name, modality in two_modalities.items():
        batch.inputs[name] = torch.randn(4, modality.num_tokens, modality.channels).cumsum(dim=1)
        batch.is_padding[name] = torch.rand(4, modality.num_tokens) < 0.2
        batch.inputs[name][batch.is_padding[name]] = torch.nan
    found = reached(task, batch.take([0, 1, 2]), batch.take([3]))
    mask, targets = task.draw_mask(batch, evaluation_generators(0, 4)), task.targets(batch)
    each = {}
    for name, modality in two_modalities.items():
        places = np.stack(np.unravel_index(np.arange(modality.num_tokens), modality.grid), axis=1)
        errors, hidden = [], []
        for row in range(4):
            is_hidden = (mask.is_masked[name][row] & ~batch.is_padding[name][row]).numpy()
            visible = np.flatnonzero(~mask.is_masked[name][row].numpy() & ~batch.is_padding[name][row].numpy())
            target = targets[name][row].double().numpy()
            guess = fill_nearest(target, np.isin(np.arange(len(target)), visible), is_hidden, modality.grid)
            distance = ((places[is_hidden][:, None] - places[visible]) ** 2).sum(axis=-1)
            at = np.array([np.flatnonzero((target[visible] == value).all(axis=1))[0] for value in guess])
            assert (distance[np.arange(len(at)), at] == distance.min(axis=1)).all()
            errors.append(((guess - target[is_hidden]) ** 2).mean(axis=1))
            hidden.append(target[is_hidden])
        each[name] = 1 - np.concatenate(errors).mean() / np.concatenate(hidden).var(axis=0).mean()
        assert_close(found[f"explained_{name}_by_nearest"], each[name], terms=1000, dtype=torch.float32)
    overall = (each["image"] + 3 * each["sound"]) / 4
    assert_close(found["explained_by_nearest"], overall, terms=1000, dtype=torch.float32)


def test_it_is_zero_where_the_metric_is_zero(make_model: Any) -> None:
    """The mean of the hidden values is what 0 means in both."""
    task = task_for(make_model, series=Modality(grid=(16,), channels=1))
    inputs = torch.randn(30, 16, 1)
    metrics = task.make_metrics()
    task.update(metrics, Batch(inputs={"series": inputs}))
    answers = TrivialAnswers(task, 30)
    answers.add(Batch(inputs={"series": inputs}))
    sums = answers._sums["series"]
    mask = task.draw_mask(Batch(inputs={"series": inputs}), evaluation_generators(0, 30)).is_masked["series"]
    hidden = inputs[mask].double()
    assert sums.count == len(hidden)
    assert_close(sums.total, hidden.sum(dim=0), terms=400, dtype=torch.float64, scale=400)
    variance = hidden.var(correction=0)
    error = (1 - metrics.compute()["explained"].item()) * variance
    assert_close(error, metrics.compute()["loss"], terms=400, dtype=torch.float32)


def test_of_a_large_set_every_kth_example_is_looked_at(make_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_for(make_model, series=Modality(grid=(64,), channels=2))
    inputs = torch.randn(10, 64, 2).cumsum(dim=1)
    monkeypatch.setattr(trivial, "MOST_TOKENS", 64 * 4)
    answers = TrivialAnswers(task, 10)
    assert answers.every == 3
    for part in (inputs[:4], inputs[4:5], inputs[5:]):
        answers.add(Batch(inputs={"series": part}))
    shown = inputs.clone()
    shown[[k for k in range(10) if k % 3]] = 1e6  # are not looked at
    again = TrivialAnswers(task, 10)
    again.add(Batch(inputs={"series": shown}))
    assert answers.metrics() == again.metrics()
    monkeypatch.undo()
    assert TrivialAnswers(task, 10).every == 1


def test_an_absent_modality_counts_nothing_and_one_without_visible_tokens_is_zero(
    make_model: Any, two_modalities: dict[str, Modality]
) -> None:
    task = task_for(make_model, **two_modalities)
    inputs = {name: torch.randn(2, each.num_tokens, each.channels) for name, each in two_modalities.items()}
    absent = Batch(inputs=inputs, is_padding={"sound": torch.ones(2, 41, dtype=torch.bool)})
    found = reached(task, absent)
    assert found["explained_by_nearest"] == pytest.approx(found["explained_image_by_nearest"])
    assert "explained_sound_by_nearest" not in found


def test_coordinates_that_are_positions_say_what_is_near(make_model: Any) -> None:
    """Points in random order, whose feature is a plane over their places: the list says nothing, the places all."""
    cloud = Modality(grid=(128,), channels=4, num_coordinates=3)
    config = replace(make_model().config, positions="coordinate", fourier_bands=4)
    task = MaskedAutoencoding(HiP(config, {"cloud": cloud}), MaskedAutoencodingConfig(mask_ratio=0.5)).eval()
    places = torch.rand(20, 128, 3) * 2 - 1
    feature = places.sum(dim=-1, keepdim=True)
    found = reached(task, Batch(inputs={"cloud": torch.cat([places, feature], dim=-1)}))
    assert found["explained_by_nearest"] > 0.7
    assert found["explained_by_interpolation"] > found["explained_by_nearest"]


# ---------------------------------------------------------------------------------------------------------------- bytes


@pytest.mark.parametrize("coding", ["onehot", "bits", "numbers"])
def test_bytes_are_guessed_right_or_wrong(make_model: Any, coding: str) -> None:
    from hiperceiver.data.encoders.bytes import BytesEncoder

    encoder = BytesEncoder(length=32, coding=coding)
    task = task_for(make_model, text=encoder.modality)
    task.encoders = {"text": encoder.to_dict()}
    texts = [bytes([65] * 24 + [66] * 8), bytes([66] * 8 + [65] * 24), bytes(range(32))]
    tokens, _ = zip(*map(encoder.encode, texts), strict=True)
    batch = Batch(inputs={"text": torch.stack(tokens)})
    held_as = task.byte_coding("text") or ""
    assert [bytes(row.tolist()) for row in byte_values(task.targets(batch)["text"], held_as)] == texts
    found = reached(task, batch)
    assert set(found) == {"accuracy_by_most_frequent", "accuracy_by_nearest"}
    is_masked = task.draw_mask(batch, evaluation_generators(0, 3)).is_masked["text"].numpy()
    values = np.array([list(text) for text in texts])
    assert found["accuracy_by_most_frequent"] == pytest.approx((values[is_masked] == 65).mean())
    guesses = [fill_nearest(v[:, None], ~m, m, (32,))[:, 0] for v, m in zip(values, is_masked, strict=True)]
    assert found["accuracy_by_nearest"] == pytest.approx((np.concatenate(guesses) == values[is_masked]).mean())

    metrics = task.make_metrics()
    task.update(metrics, batch)
    made = task.predict(batch).reconstruction["text"]
    expected = (byte_values(made, held_as).numpy() == values)[is_masked].mean()
    assert metrics.compute()["accuracy"].item() == pytest.approx(expected)
