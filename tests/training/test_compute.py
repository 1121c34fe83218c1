"""Operations that are counted, against closed forms and `hip info`; the rate of the machine; a run's share of it."""

import csv
from pathlib import Path

import pytest
import torch

from hiperceiver import Batch, Modality, create_model
from hiperceiver.model.summary import summarise
from hiperceiver.tasks import Classification, ClassificationConfig, MaskedAutoencoding, MaskedAutoencodingConfig
from hiperceiver.training import TrainingSettings, compute, run_state, train
from hiperceiver.training.compute import count_step, matmul_rate

from .synthetic import Source, autoencoding

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_a_step_has_about_three_times_the_operations_that_info_tells_of_its_forward_pass(precision: str) -> None:
    model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    task = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=0.5, loss_on="all")).train()
    batch = Batch(inputs={"image": torch.randn(8, 1024, 3)})
    forward = summarise(model, batch_size=8, mask_ratio=0.5).flops
    counted = count_step(task, batch, task.draw(batch), precision)  # pyright: ignore[reportArgumentType]
    assert counted == pytest.approx(3 * forward, rel=0.15)  # the backward pass of fused attention computes more
    assert all(weight.grad is None for weight in task.parameters())


def test_frozen_weights_have_no_backward_pass() -> None:
    model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    task = Classification(model, ClassificationConfig(num_classes=2)).train()
    batch = Batch(inputs={"image": torch.randn(4, 1024, 3)}, targets={"label": torch.tensor([0, 1, 0, 1])})
    whole = count_step(task, batch, None, "32")
    model.requires_grad_(False)
    assert whole / 4 < count_step(task, batch, None, "32") < whole / 2  # the forward pass, and the head's own


def test_the_rate_is_operations_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls = [0.0], []

    def mm(*arguments: object, **named: object) -> None:
        calls.append(now[0])
        now[0] += 0.0625

    monkeypatch.setattr(compute.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(torch, "mm", mm)
    assert matmul_rate(CPU, "32") == 2 * 1024**3 / 0.0625
    assert len(calls) == 6  # a warm-up, and a third of a second


def test_a_slow_machine_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def mm(*arguments: object, **named: object) -> None:
        now[0] += 2.0

    monkeypatch.setattr(compute.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(torch, "mm", mm)
    assert matmul_rate(CPU, "bf16") == 1024**3
    assert now[0] == 2.0


def test_a_run_says_what_it_made_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TrainingSettings(steps=6, batch_size=4, log_every=6)
    assert train(autoencoding(), Source(), settings, tmp_path / "short", show_progress=False).compute is None
    monkeypatch.setattr(run_state, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(run_state, "matmul_rate", lambda device, precision: 1e12)
    task = autoencoding()
    found = train(task, Source(), settings, tmp_path / "run", show_progress=False).compute
    assert found is not None
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        (speed,) = [float(row["examples_per_second"]) for row in csv.DictReader(file) if row["examples_per_second"]]
    assert found.flops_per_second == pytest.approx(speed * found.flops_per_example)
    assert found.share == pytest.approx(found.flops_per_second / 1e12)
    batch = Batch(inputs={"image": torch.randn(4, 36, 3)})
    assert found.flops_per_example == count_step(task.train(), batch, task.draw(batch), "32") / 4


def test_a_run_is_not_lost_where_there_is_no_memory_to_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(run_state, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(run_state, "count_step", full)
    settings = TrainingSettings(steps=1, batch_size=4)
    assert train(autoencoding(), Source(), settings, tmp_path / "run", show_progress=False).compute is None
