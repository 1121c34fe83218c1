"""What observers see: of latents of known content, of tables, and in a run."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_within

from hiperceiver.data.example import Example
from hiperceiver.settings.run import ProbeSettings
from hiperceiver.tasks import load_task
from hiperceiver.tasks.task import Task
from hiperceiver.training import TrainingSettings, evaluate, train
from hiperceiver.training.observers import LatentProbe, PositionProbe, latent_vectors, read_target
from hiperceiver.training.run import TrainingResult

from .synthetic import Source, Stripes, autoencoding, classification

QUICK = {"batch_size": 4, "log_every": 2, "learning_rate": 3e-3}
SEEN = {"effective_rank"} | {f"{how}_accuracy{by}" for how in ("knn", "linear") for by in ("", "_by_majority")}
OF_TABLES = {"near_cosine", "neighbour_share", "neighbour_share_by_chance"}  # of 6 x 6 places none are far apart


class Tossed(Stripes):
    """Labels that have nothing to do with the pictures."""

    def __getitem__(self, index: int) -> Any:
        label = np.random.default_rng([self.seed, index]).integers(2)
        return replace(super().__getitem__(index), targets={"label": torch.tensor(int(label))})


def rows(result: TrainingResult) -> list[dict[str, str]]:
    with (result.run_folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def column(result: TrainingResult, name: str) -> dict[int, float]:
    return {int(row["step"]): float(row[name]) for row in rows(result) if row.get(name)}


# -------------------------------------------------------------------------------------------------------- the observers


def test_a_probe_reads_labels_off_latents_that_hold_them() -> None:
    probe = LatentProbe(validation=Stripes(60, seed=1), train=Stripes(400))
    seen = probe(autoencoding().eval(), 0)
    assert set(seen) == {f"latents/{name}" for name in SEEN}
    # Left or right is plain to see, even in the latents of a model that has learned nothing; a coin is not.
    assert seen["latents/linear_accuracy"] > 0.85
    assert seen["latents/knn_accuracy"] > 0.7
    assert seen["latents/linear_accuracy_by_majority"] == seen["latents/knn_accuracy_by_majority"] == 0.5
    tossed = LatentProbe(validation=Tossed(60, seed=1), train=Tossed(80))(autoencoding().eval(), 0)
    assert max(tossed["latents/linear_accuracy"], tossed["latents/knn_accuracy"]) < 0.68
    assert 1 < seen["latents/effective_rank"] < 16  # channels of a latent


def test_without_labels_it_sees_the_rank_alone_and_of_unreadable_examples_nothing() -> None:
    assert set(LatentProbe(validation=Stripes(10))(autoencoding().eval(), 0)) == {"latents/effective_rank"}
    assert LatentProbe(validation=Stripes(2, bad=(0, 1)))(autoencoding().eval(), 0) == {}


def test_settings_bound_the_examples_and_the_same_are_looked_at_each_time() -> None:
    class Counting(Stripes):
        def __getitem__(self, index: int) -> Any:
            self.seen.append(index)
            return super().__getitem__(index)

    known, asked = Counting(50), Counting(40, seed=1)
    probe = LatentProbe(
        validation=asked, train=known, settings=ProbeSettings(probe_train=12, probe_validation=7), batch_size=5
    )
    looks = []
    for _ in range(2):
        known.seen, asked.seen = [], []
        probe(autoencoding().eval(), 0)
        looks.append((known.seen, asked.seen))
    assert looks[0] == looks[1]
    assert [len(each) for each in looks[0]] == [12, 7]
    assert probe.num_examples == 19
    assert len({k % 2 for k in looks[0][0]}) == 2  # both classes, though they alternate


def test_latents_are_of_inputs_that_are_not_masked_and_draw_no_random_number() -> None:
    task = autoencoding().eval()
    example = Stripes(1)[0]
    state = torch.get_rng_state()
    vectors, targets = latent_vectors(task, Stripes(1), 1)
    assert torch.equal(state, torch.get_rng_state())
    assert isinstance(example, Example)
    expected = task.model({"image": example.inputs["image"][None]}).processor_latents.mean(dim=1)
    assert_close(vectors, expected, terms=300, dtype=torch.float32)
    assert targets["label"].tolist() == [0]


def test_numbers_sets_of_labels_and_unknown_ones_are_read() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(300, 5))).float()
    values = torch.stack([x[:, 0] * 2 + 1, x[:, 1] - x[:, 2]], dim=1)
    values[::7] = torch.nan
    read = read_target(x[:200], values[:200], x[200:], values[200:])
    assert set(read) == {"knn_r2", "linear_r2"}
    assert_within(read["linear_r2"], 1.0, 1e-4)
    assert 0.2 < read["knn_r2"] < 1
    labels = (x[:, :3] > 0).float()
    read = read_target(x[:200], labels[:200], x[200:], labels[200:], is_label_set=True)
    assert set(read) == {"knn_map", "linear_map"}
    assert read["linear_map"] > 0.95
    classes = (x[:, 0] > 0.5).long()
    classes[::5] = -100
    read = read_target(x[:200], classes[:200], x[200:], classes[200:])
    assert read["linear_accuracy"] > 0.9 > read["linear_accuracy_by_majority"]
    asked = classes[200:]
    assert read["linear_accuracy_by_majority"] == pytest.approx((asked == 0).sum().item() / (asked >= 0).sum().item())
    assert read_target(x[:3], torch.full((3,), -100), x[:3], torch.zeros(3, dtype=torch.int64)) == {}


@pytest.mark.parametrize("task", ["none", "segmentation"])
def test_a_source_without_labels_of_whole_examples_is_refused(task: str) -> None:
    source: Any = Source()
    source.task, source.name = task, "stripes"
    with pytest.raises(ValueError, match=f"probe: expected labels of whole examples, got the task {task} of stripes"):
        LatentProbe.of(source)
    source.task = "classification"
    source.splits = {"train": Stripes(3)}
    with pytest.raises(ValueError, match="probe: expected a split 'validation' in stripes, got train"):
        LatentProbe.of(source)


def test_a_learned_table_is_looked_at() -> None:
    task = autoencoding()
    before = PositionProbe()(task, 0)
    assert set(before) == {f"positions/{name}" for name in OF_TABLES}
    waves = torch.arange(36.0).view(36, 1) // 6 * torch.linspace(0.1, 0.5, 8)
    with torch.no_grad():
        task.model.positions["image"].table.copy_(waves.sin() + (torch.arange(36.0) % 6)[:, None] * 0.2)
    after = PositionProbe()(task, 0)
    assert after["positions/near_cosine"] > 0.8 > before["positions/near_cosine"]
    assert after["positions/neighbour_share"] > 0.8 > 0.4 > before["positions/neighbour_share"]
    assert after["positions/neighbour_share_by_chance"] == before["positions/neighbour_share_by_chance"]


# ---------------------------------------------------------------------------------------------------------------- a run


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A masked auto-encoder that has been trained with a probe."""
    probe = LatentProbe(validation=Stripes(10, seed=1), train=Stripes(16))
    folder = tmp_path_factory.mktemp("runs") / "pretrained"
    settings = TrainingSettings(steps=20, validate_every=10, **QUICK)
    return train(autoencoding(), Source(), settings, folder, show_progress=False, observers=[probe, PositionProbe()])


def test_a_run_writes_what_is_observed_before_the_first_step_and_at_validations(pretrained: TrainingResult) -> None:
    for name in SEEN:
        assert list(column(pretrained, f"latents/{name}")) == [0, 10, 20]
    near = column(pretrained, "positions/near_cosine")
    assert list(near) == [0, 10, 20]
    assert near[0] != near[20]
    assert list(column(pretrained, "validation/loss")) == [10, 20]
    assert pretrained.last_observed["positions/near_cosine"] == pytest.approx(near[20])
    assert pretrained.observed["positions/near_cosine"] == pytest.approx(near[pretrained.best_step or 0])


def test_trivial_answers_stand_beside_each_validation_and_evaluation_agrees(pretrained: TrainingResult) -> None:
    for how in ("nearest", "interpolation"):
        values = column(pretrained, f"validation/explained_by_{how}")
        assert list(values) == [10, 20]
        assert values[10] == values[20]
        assert pretrained.metrics[f"explained_by_{how}"] == pytest.approx(values[10])
    task = load_task(pretrained.model_folder)
    measured = evaluate(task, Source().splits["validation"], batch_size=4)
    for name in ("explained", "explained_by_nearest", "explained_by_interpolation"):
        assert_close(measured[name], pretrained.metrics[name], terms=300, scale=1, dtype=torch.float32)


def test_tensorboard_has_them_too(pretrained: TrainingResult) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(pretrained.run_folder / "tensorboard"))
    events.Reload()
    assert {f"latents/{name}" for name in SEEN} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("positions/near_cosine")] == [0, 10, 20]


def test_observing_changes_no_weight(tmp_path: Path, pretrained: TrainingResult) -> None:
    settings = TrainingSettings(steps=20, validate_every=10, **QUICK)
    plain = train(autoencoding(), Source(), settings, tmp_path / "run", show_progress=False, observers=())
    assert not any(name.startswith("latents/") for row in rows(plain) for name in row)
    one, other = (load_task(each.model_folder).state_dict() for each in (plain, pretrained))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_by_default_pretraining_is_observed_and_a_task_with_labels_is_not(tmp_path: Path) -> None:
    settings = TrainingSettings(steps=2, **QUICK)
    result = train(autoencoding(), Source(), settings, tmp_path / "a", show_progress=False)
    assert set(result.observed) == {"latents/effective_rank", *(f"positions/{name}" for name in OF_TABLES)}
    result = train(classification(), Source(), settings, tmp_path / "b", show_progress=False)
    assert result.observed == {}
    assert {row["step"] for row in rows(result)} == {"2"}


def test_a_resumed_run_keeps_what_was_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Looking:
        num_examples = 0

        def __init__(self) -> None:
            self.steps: list[int] = []

        def __call__(self, task: Task, step: int) -> dict[str, float]:
            assert not task.training
            self.steps.append(step)
            return {"seen/step": float(step), "seen/step_by_other": 0.5}

    how: dict[str, Any] = {"validate_every": 2, **QUICK}
    first, second = Looking(), Looking()
    train(autoencoding(), Source(), TrainingSettings(steps=4, **how), tmp_path / "run", observers=[first])
    assert "step 4, seen: step 4 (other 0.5)" in capsys.readouterr().err
    settings = TrainingSettings(steps=8, **how)
    result = train(
        autoencoding(), Source(), settings, tmp_path / "run", observers=[second], resume=True, show_progress=False
    )
    assert (first.steps, second.steps) == ([0, 2, 4], [6, 8])
    assert column(result, "seen/step") == {0: 0, 2: 2, 4: 4, 6: 6, 8: 8}
    assert len(set(column(result, "validation/explained_by_nearest").values())) == 1
