"""What holds for every task: half precision, inference mode, nothing random in evaluation, no labels at all."""

import json

import pytest
import torch
from closeness import assert_close, assert_equal, is_close, terms_of

from hiperceiver import fast
from hiperceiver.modality import Batch, Modality
from hiperceiver.tasks import Task, task_from_settings

SETTINGS = [
    {"kind": "masked-autoencoding", "mask_ratio": 0.5},
    {"kind": "masked-autoencoding", "mask_ratio": 0.5, "mask_strategy": "uniform", "target_normalisation": "channel"},
    {"kind": "classification", "num_classes": 6, "class_weights": [1, 2, 3, 4, 5, 6]},
    {"kind": "classification", "num_classes": 6, "readout": "label", "label_modality": "label"},
    {"kind": "segmentation", "num_classes": 6, "label_smoothing": 0.1},
    {"kind": "multilabel", "num_classes": 6, "class_weights": [1, 2, 3, 4, 5, 6], "mixup": 1.0},
    {"kind": "multilabel", "num_classes": 6, "readout": "label", "label_modality": "label"},
    {"kind": "regression", "num_values": 2, "target_std": [2, 3], "loss": "huber"},
    {"kind": "forecasting", "horizon": 2},
    {"kind": "joint", "labels": {"label": 6, "size": 0}, "weights": {"size": 3.0}},
]


@pytest.fixture(params=SETTINGS, ids=lambda settings: "-".join(map(str, settings.values()))[:40])
def task(request: pytest.FixtureRequest, make_model) -> Task:
    modalities = {
        "image": Modality(grid=(5, 10), channels=3),
        "label": Modality(grid=(1,), channels=6, role="label"),
        "size": Modality(grid=(1,), channels=1, role="label"),
    }
    task = task_from_settings(request.param, make_model(**modalities))
    with torch.no_grad():
        for parameter in task.head.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return task.eval()


@pytest.fixture
def batch() -> Batch:
    targets = {
        "label": torch.randint(0, 6, (4,)),
        "labels": torch.randint(0, 2, (4, 6)).float(),
        "segmentation": torch.randint(0, 6, (4, 50)),
        "values": torch.randn(4, 2),
        "size": torch.randn(4),
    }
    is_padding = {"image": torch.rand(4, 50) < 0.2}
    return Batch(inputs={"image": torch.randn(4, 50, 3)}, is_padding=is_padding, targets=targets)


def test_half_precision_sums_in_single(task: Task, batch: Batch) -> None:
    expected, _ = task.loss(batch)
    metrics = task.make_metrics()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = task.loss(batch)
        task.update(metrics, batch)
        prediction = task.predict(batch)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.05 if fast.is_on() else 0.1)  # attention in half too
    assert_close(metrics.compute()["loss"], loss.item(), terms=terms_of(task.model), dtype=torch.float32)
    if task.kind != "masked-autoencoding":  # reconstructions are as the model made them
        assert {x.dtype for x in tensors(prediction)} <= {torch.float32, torch.int64}


def test_metrics_are_the_same_in_inference_mode(task: Task, batch: Batch) -> None:
    results = []
    for is_inference in (True, False):
        metrics = task.make_metrics()
        with torch.inference_mode(is_inference):
            task.update(metrics, batch)
            results.append({name: value.item() for name, value in metrics.compute().items()})
    assert results[0] == results[1]
    assert_close(results[0]["loss"], task.loss(batch)[0].item(), terms=terms_of(task.model), dtype=torch.float32)
    assert task.monitor[0] in results[0]


def test_nothing_is_random_in_evaluation(task: Task, batch: Batch) -> None:
    state = torch.get_rng_state()
    first, second = task.predict(batch), task.predict(batch)
    assert_equal(first, second)
    assert torch.equal(task.loss(batch)[0], task.loss(batch)[0])
    assert torch.equal(state, torch.get_rng_state())


def test_answers_follow_their_examples_through_any_batch(task: Task, batch: Batch) -> None:
    def predict(rows: list[int]) -> list[torch.Tensor]:
        drawn = [torch.Generator().manual_seed(row) for row in rows]  # what is hidden; else it follows from the place
        how = {"generator": drawn} if task.kind == "masked-autoencoding" else {}
        return tensors(task.predict(batch.take(rows), **how))

    whole = predict([0, 1, 2, 3])
    for rows in ([2, 0, 3, 1], [1], [3, 3, 0, 2, 1, 3]):
        for x, expected in zip(predict(rows), whole, strict=True):
            scale = 1 + expected[expected.isfinite()].abs().max().item() if expected.is_floating_point() else 0
            assert_close(x, expected[rows], terms=terms_of(task.model), scale=scale, equal_nan=True)


def test_answers_are_plain_values_and_a_line_for_each_example(task: Task, batch: Batch) -> None:
    answers = list(task.answers(batch, top=2))
    assert len(answers) == len(batch)
    for answer in answers:
        assert json.loads(json.dumps(answer.values)) == answer.values
        assert answer.text
        assert "\n" not in answer.text
        assert {each.modality: type(each) for each in answer.drawn} == task.drawings
    first, again = (next(iter(task.answers(batch, seeds=[7, 1, 2, 3]))) for _ in range(2))
    assert first.values == again.values


def test_a_call_gives_the_terms(task: Task, batch: Batch) -> None:
    assert_equal(task(batch), task.terms(batch))


def test_where_nothing_counts_the_loss_is_zero_and_the_gradient_finite(task: Task, batch: Batch) -> None:
    for x in batch.targets.values():
        x.fill_(torch.nan if x.is_floating_point() else -100)
    batch.is_padding["image"] = torch.ones(4, 50, dtype=torch.bool)
    loss, _ = task.loss(batch)
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())


def test_an_example_that_lacks_a_modality_has_finite_numbers_and_does_not_change_the_others(make_model) -> None:
    modalities = {
        "image": Modality(grid=(5, 10), channels=3),
        "sound": Modality(grid=(41,), channels=2),
        "label": Modality(grid=(1,), channels=6, role="label"),
        "size": Modality(grid=(1,), channels=1, role="label"),
    }
    inputs = {"image": torch.randn(4, 50, 3), "sound": torch.randn(4, 41, 2)}
    targets = {
        "label": torch.randint(0, 6, (4,)),
        "labels": torch.randint(0, 2, (4, 6)).float(),
        "segmentation": torch.randint(0, 6, (4, 50)),
        "values": torch.randn(4, 2),
        "size": torch.randn(4),
    }
    is_absent = torch.zeros(4, 41, dtype=torch.bool)
    lacking = is_absent.clone()
    lacking[0] = True  # no sound
    no_image = torch.zeros(4, 50, dtype=torch.bool)
    no_image[1] = True
    for settings in SETTINGS:
        if settings["kind"] in ("segmentation", "forecasting"):
            settings = {**settings, "input_modality": "image"}
        task = task_from_settings(settings, make_model(**modalities)).eval()
        with torch.no_grad():
            for parameter in task.head.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        whole = Batch(inputs=inputs, is_padding={"sound": is_absent}, targets=targets)
        partly = Batch(inputs=dict(inputs), is_padding={"sound": lacking, "image": no_image}, targets=targets)
        said = [tensors(task.predict(batch)) for batch in (whole, partly)]
        changes = False
        for before, after in zip(*said, strict=True):
            assert after.isfinite().all()
            if before.is_floating_point():
                assert_close(before[2:], after[2:], terms=terms_of(task.model))
                changes |= not is_close(before[0], after[0], terms=terms_of(task.model)).all()
        assert changes
        partly.inputs["sound"] = inputs["sound"].masked_fill(lacking[..., None], torch.nan)
        partly.inputs["image"] = inputs["image"].masked_fill(no_image[..., None], torch.nan)
        for first, second in zip(said[1], tensors(task.predict(partly)), strict=True):
            assert torch.equal(first, second)
        metrics = task.make_metrics()
        task.update(metrics, partly)
        results = metrics.compute()
        assert all(value.isfinite() for value in results.values()), results
        loss, _ = task.train().loss(partly)
        loss.backward()
        assert loss.isfinite()
        assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())


def tensors(prediction) -> list[torch.Tensor]:
    flat = [list(each.values()) if isinstance(each, dict) else [each] for each in prediction]
    return [x for group in flat for x in group]


@pytest.mark.parametrize("settings", SETTINGS[:2], ids=["group-wise", "uniform"])
def test_the_order_in_which_modalities_come_changes_nothing(settings, make_model, two_modalities) -> None:
    """The model deals its groups to modalities in the order in which they come; a batch's is an accident."""
    task = task_from_settings(settings, make_model(**two_modalities)).eval()
    inputs = {name: torch.randn(3, each.num_tokens, each.channels) for name, each in two_modalities.items()}
    said = []
    for each in (Batch(inputs=inputs), Batch(inputs=dict(reversed(inputs.items())))):
        torch.manual_seed(0)
        said.append(task.loss(each))
    assert_close(said[0], said[1], terms=terms_of(task.model))
