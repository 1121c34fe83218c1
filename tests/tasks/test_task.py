"""What holds for every task: half precision, inference mode, nothing random in evaluation, no labels at all."""

import pytest
import torch

from hiperceiver.modality import Batch, Modality
from hiperceiver.tasks import Task, task_from_settings

SETTINGS = [
    {"kind": "masked-autoencoding", "ratio": 0.5},
    {"kind": "masked-autoencoding", "ratio": 0.5, "strategy": "uniform", "target_normalisation": "channel"},
    {"kind": "classification", "num_classes": 6, "class_weights": [1, 2, 3, 4, 5, 6]},
    {"kind": "classification", "num_classes": 6, "readout": "label"},
    {"kind": "segmentation", "num_classes": 6, "label_smoothing": 0.1},
]


@pytest.fixture(params=SETTINGS, ids=lambda settings: "-".join(map(str, settings.values()))[:40])
def task(request: pytest.FixtureRequest, make_model) -> Task:
    modalities = {
        "image": Modality(grid=(5, 10), channels=3),
        "label": Modality(grid=(1,), channels=6, role="label"),
    }
    task = task_from_settings(request.param, make_model(**modalities))
    with torch.no_grad():
        for parameter in task.head.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return task.eval()


@pytest.fixture
def batch() -> Batch:
    targets = {"label": torch.randint(0, 6, (4,)), "segmentation": torch.randint(0, 6, (4, 50))}
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
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)
    assert metrics.compute()["loss"].item() == pytest.approx(expected.item(), rel=0.02)
    if "probabilities" in prediction._fields:
        assert prediction.probabilities.dtype == torch.float32


def test_metrics_in_inference_mode_are_reset_to_nothing(task: Task, batch: Batch) -> None:
    metrics = task.make_metrics()
    results = []
    for _ in range(2):
        with torch.inference_mode():
            task.update(metrics, batch)
            results.append({name: value.item() for name, value in metrics.compute().items()})
            metrics.reset()
    assert results[0] == results[1]
    assert results[0]["loss"] == pytest.approx(task.loss(batch)[0].item(), rel=1e-5)
    assert task.monitor[0] in results[0]


def test_nothing_is_random_in_evaluation(task: Task, batch: Batch) -> None:
    state = torch.get_rng_state()
    first, second = task.predict(batch), task.predict(batch)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert torch.equal(task.loss(batch)[0], task.loss(batch)[0])
    assert torch.equal(state, torch.get_rng_state())


def test_a_call_is_the_loss(task: Task, batch: Batch) -> None:
    assert torch.equal(task(batch)[0], task.loss(batch)[0])


def test_where_nothing_counts_the_loss_is_zero_and_the_gradient_finite(task: Task, batch: Batch) -> None:
    batch.targets = {name: torch.full_like(x, -100) for name, x in batch.targets.items()}
    batch.is_padding["image"] = torch.ones(4, 50, dtype=torch.bool)
    loss, _ = task.loss(batch)
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())
