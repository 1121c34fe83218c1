"""Numbers of an example: units, what is unknown, and metrics beside literal ones."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from closeness import assert_close, terms_of

from hiperceiver.modality import Batch, Modality
from hiperceiver.tasks import Regression, RegressionConfig

MEAN, STD = (20.0, 1000.0, -3.0), (5.0, 30.0, 0.1)


def make_task(make_model, *, shaken: bool = True, **settings) -> Regression:
    model = make_model(shaken=shaken, series=Modality(grid=(40,), channels=3))
    settings = {"num_values": 3, "target_mean": MEAN, "target_std": STD, **settings}
    task = Regression(model, RegressionConfig(**settings))
    if shaken:
        with torch.no_grad():
            for parameter in task.head.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return task.eval()


def make_batch(batch_size: int = 6) -> Batch:
    values = torch.randn(batch_size, 3) * torch.tensor(STD) + torch.tensor(MEAN)
    return Batch(inputs={"series": torch.randn(batch_size, 40, 3)}, targets={"values": values})


def test_the_decoder_is_neither_run_nor_trained(make_model):
    task = make_task(make_model)
    task.loss(make_batch())[0].backward()
    for block in task.model.blocks[task.model.processor_index + 1 :]:
        assert all(p.grad is None for p in block.parameters())
    assert all(p.grad is not None for p in task.head_parameters())


def test_a_new_model_says_the_mean_in_the_targets_units(make_model):
    task = make_task(make_model, shaken=False)
    assert_close(task.predict(make_batch(2)).values, torch.tensor([MEAN, MEAN]), terms=terms_of(task.model))
    plain = make_task(make_model, shaken=False, target_mean=None, target_std=None)
    assert not plain.predict(make_batch(2)).values.any()


@pytest.mark.parametrize("kind", ["squared", "absolute", "huber"])
def test_loss_is_the_literal_one(make_model, kind):
    task = make_task(make_model, loss=kind)
    batch = make_batch(8)
    batch.targets["values"][[0, 3], [0, 2]] = torch.nan
    batch.targets["values"][5] = torch.nan
    values = task.predict(batch).values
    losses = []
    for example in range(8):
        for index in range(3):
            target = batch.targets["values"][example, index].item()
            if np.isnan(target):
                continue
            distance = abs(values[example, index].item() - target) / STD[index]
            half_square = distance**2 / 2 if distance < 1 else distance - 0.5
            losses.append({"squared": distance**2, "absolute": distance, "huber": half_square}[kind])
    assert len(losses) == 8 * 3 - 5
    assert_close(task.loss(batch)[0], np.mean(losses), terms=terms_of(task.model), dtype=torch.float32)


def test_metrics_are_the_literal_ones_whatever_the_batches(make_model):
    task = make_task(make_model, num_values=4, target_mean=(*MEAN, 0), target_std=(*STD, 1))
    batch = make_batch(30)
    values = torch.cat([batch.targets["values"], torch.full((30, 1), 7.3)], dim=1)  # the last is always the same
    values[:2] = torch.nan
    values[9, 1] = torch.nan
    said, y = task.predict(batch).values.double().numpy(), values.double().numpy()
    mae, rmse, r2 = [], [], []
    for index in range(4):
        is_known = ~np.isnan(y[:, index])
        error = said[is_known, index] - y[is_known, index]
        mae.append(np.abs(error).mean())
        rmse.append(np.sqrt((error**2).mean()))
        if index < 3:
            r2.append(1 - (error**2).mean() / y[is_known, index].var())
    batch.targets["values"] = values
    expected = {"loss": task.loss(batch)[0].item(), "mae": np.mean(mae), "rmse": np.mean(rmse), "r2": np.mean(r2)}
    for splits in [(0, 30), (0, 2, 5, 17, 30)]:
        metrics = task.make_metrics()
        for start, stop in pairwise(splits):
            part = Batch(inputs={"series": batch.inputs["series"][start:stop]}, targets={"values": values[start:stop]})
            task.update(metrics, part)
        results = {name: value.item() for name, value in metrics.compute().items()}
        scale = max(1.0, *map(abs, expected.values()))  # shares of what is explained are 1 less a ratio of sums
        assert_close(results, expected, terms=terms_of(task.model), scale=scale, dtype=torch.float32)
    assert task.monitor[0] in results


def test_saying_the_mean_explains_nothing(make_model):
    task = make_task(make_model, shaken=False)
    batch = make_batch(12)
    values = batch.targets["values"]
    batch.targets["values"] = values - values.mean(dim=0) + torch.tensor(MEAN)
    metrics = task.make_metrics()
    task.update(metrics, batch)
    assert_close(metrics.compute()["r2"].item(), 0.0, terms=terms_of(task.model), scale=1, dtype=torch.float32)


def test_overfits_two_examples(make_model):
    task = make_task(make_model, shaken=False).train()
    batch = make_batch(2)
    optimizer = torch.optim.Adam(task.parameters(), lr=3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        optimizer.step()
    error = (task.eval().predict(batch).values - batch.targets["values"]).abs() / torch.tensor(STD)
    assert error.max() < 0.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_values": -1}, "num_values: expected a whole number >= 0, got -1"),
        ({"num_values": True}, "num_values: expected a whole number >= 0, got True"),
        ({"target_mean": [1]}, "target_mean: expected 2 numbers, one for each value, got (1,)"),
        ({"target_mean": [1, "2"]}, "target_mean[1]: expected a number, got '2'"),
        ({"target_std": [1, 0]}, "target_std[1]: expected a number above 0, got 0"),
        ({"target_std": 1}, "target_std: expected a list of values, each a number above 0, got 1"),
        ({"loss": "cubic"}, "loss: expected one of squared, absolute, huber, got 'cubic'"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        RegressionConfig(**{"num_values": 2, **settings})
    assert str(error.value) == message


def test_terms_compile_without_graph_breaks(make_model):
    task = make_task(make_model)
    batch = make_batch()
    batch.targets["values"][0] = torch.nan
    terms = torch.compile(task.terms, backend="eager", fullgraph=True)(batch)
    assert_close(terms, task.terms(batch), terms=terms_of(task.model))
