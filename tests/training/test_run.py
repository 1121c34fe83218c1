import csv
import json
import math
import os
import re
import signal
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from closeness import assert_close, assert_within, terms_of
from torch import nn

from hiperceiver.data.example import BadExample, Example
from hiperceiver.settings.run import OptimizerName
from hiperceiver.tasks import load_task
from hiperceiver.training import TrainingSettings, check_run_folder, evaluate, signals, train
from hiperceiver.training.checkpoints import RUN_KEY, read_checkpoint
from hiperceiver.training.errors import TrainingError
from hiperceiver.training.folder import RunFolder
from hiperceiver.training.optimizer import orthogonal
from hiperceiver.training.run import TrainingResult
from hiperceiver.training.signals import STOP_SIGNALS

from .synthetic import Source, Stripes, autoencoding, classification, make_model
from .test_checkpoints import full_disk

QUICK = {"batch_size": 4, "log_every": 2, "learning_rate": 3e-3}


def rows(result: TrainingResult) -> list[dict[str, str]]:
    with (result.run_folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def column(result: TrainingResult, name: str) -> dict[int, float]:
    return {int(row["step"]): float(row[name]) for row in rows(result) if row[name]}


class Interrupting(Stripes):
    """Sends this process a signal when the n-th example is read."""

    def __init__(self, count: int, *, at: int, number: int = signal.SIGINT):
        super().__init__(count)
        self.at, self.number, self.reads = at, number, 0

    def __getitem__(self, index: int) -> Example | BadExample:
        self.reads += 1
        if self.reads == self.at:
            os.kill(os.getpid(), self.number)
        return super().__getitem__(index)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A classifier that has been trained, and whatever its run left."""
    run_folder = tmp_path_factory.mktemp("runs") / "learned"
    settings = TrainingSettings(steps=60, validate_every=6, **{**QUICK, "learning_rate": 1e-2})
    return train(classification(), Source(), settings, run_folder, show_progress=False)


def test_it_learns(learned: TrainingResult) -> None:
    losses = column(learned, "train/loss")
    assert losses[60] < 0.5 * losses[2]
    assert learned.metrics["accuracy"] == 1.0
    assert not learned.is_interrupted
    assert (learned.steps, learned.num_skipped) == (60, 0)
    assert learned.loss == losses[60]


def test_the_run_folder_holds_what_it_should(learned: TrainingResult) -> None:
    folder = RunFolder(learned.run_folder)
    assert {each.name for each in folder.path.iterdir()} == {"metrics.csv", "tensorboard", "checkpoints", "model"}
    assert {each.name for each in folder.last_checkpoint.parent.iterdir()} == {"last.ckpt", "best.ckpt"}
    assert {each.name for each in folder.model.iterdir()} == {"config.json", "model.safetensors"}
    assert [each.name.split(".")[0] for each in folder.tensorboard.iterdir()] == ["events"]
    config = json.loads((folder.model / "config.json").read_text())
    assert config["classes"] == ["left", "right"]
    assert config["task"]["kind"] == "classification"


def test_logs_hold_what_they_should(learned: TrainingResult) -> None:
    names = {
        "step",
        "train/loss",
        "learning_rate",
        "gradient_norm",
        "examples_per_second",
        "tokens_per_second",
        "seconds",
        "validation/loss",
        "validation/accuracy",
        "validation/balanced_accuracy",
    }
    assert set(rows(learned)[0]) == names
    assert list(column(learned, "train/loss")) == list(range(2, 61, 2))
    assert list(column(learned, "validation/loss")) == list(range(6, 61, 6))
    rates = column(learned, "learning_rate")
    # The middle of step 2 of 3 of the warm-up; then half a cosine to a hundredth.
    assert rates[2] == pytest.approx(1e-2 * 1.5 / 3)
    share = (59.5 / 60 - 0.05) / 0.95
    assert rates[60] == pytest.approx(1e-2 * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2))
    examples, tokens = column(learned, "examples_per_second"), column(learned, "tokens_per_second")
    assert tokens[60] == pytest.approx(36 * examples[60])


def test_tensorboard_holds_the_same_numbers(learned: TrainingResult) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(learned.run_folder / "tensorboard"))
    events.Reload()
    points = {event.step: event.value for event in events.Scalars("validation/loss")}
    assert_close(points, column(learned, "validation/loss"), dtype=torch.float32)


def test_the_best_weights_are_kept_and_evaluation_agrees(learned: TrainingResult) -> None:
    accuracies, losses = column(learned, "validation/accuracy"), column(learned, "validation/loss")
    best = max(accuracies, key=lambda step: (accuracies[step], -losses[step]))  # of equal ones that with the least loss
    assert learned.best_step == best
    task = load_task(learned.model_folder)
    measured = evaluate(task, Source().splits["validation"], batch_size=4)
    assert measured.pop("num_examples") == 6
    assert measured.pop("num_skipped") == 0
    assert_close(measured, learned.metrics, terms=terms_of(task.model), dtype=torch.float32)
    assert_close(learned.metrics["loss"], column(learned, "validation/loss")[best], dtype=torch.float32)
    assert read_checkpoint(learned.run_folder / "checkpoints" / "best.ckpt")[RUN_KEY]["step"] == best


def test_afterwards_the_task_holds_the_saved_weights(tmp_path: Path) -> None:
    task = classification(dropout=0.1)
    result = train(task, Source(), TrainingSettings(steps=4, ema=0.9, **QUICK), tmp_path / "run", show_progress=False)
    saved = load_task(result.model_folder).state_dict()
    assert not task.training
    for name, weight in task.state_dict().items():
        assert torch.equal(weight, saved[name])


@pytest.mark.parametrize("validate_every", [3, 4])
def test_the_last_weights_are_always_validated(tmp_path: Path, validate_every: int) -> None:
    settings = TrainingSettings(steps=8, validate_every=validate_every, **QUICK)
    result = train(autoencoding(), Source(), settings, tmp_path / "run", show_progress=False)
    expected = sorted({*range(validate_every, 9, validate_every), 8})
    assert list(column(result, "validation/loss")) == expected
    assert result.last_metrics["loss"] == column(result, "validation/loss")[8]


def test_without_validation_the_last_weights_are_saved(tmp_path: Path) -> None:
    source = Source(splits={"train": Stripes(20), "validation": Stripes(0)})
    task = autoencoding()
    result = train(task, source, TrainingSettings(steps=3, ema=0.5, **QUICK), tmp_path / "run", show_progress=False)
    assert (result.metrics, result.last_metrics, result.best_step) == ({}, {}, None)
    checkpoint = read_checkpoint(result.run_folder / "checkpoints" / "last.ckpt")
    for name, weight in load_task(result.model_folder).model.state_dict().items():
        assert torch.equal(weight, checkpoint["average"][f"module.model.{name}"])  # the averages
    assert not (result.run_folder / "checkpoints" / "best.ckpt").exists()


def test_a_run_limited_by_time_ends_and_its_rate_falls(tmp_path: Path) -> None:
    settings = TrainingSettings(max_time="1.5s", batch_size=4, log_every=1)
    result = train(autoencoding(), Source(), settings, tmp_path / "run", show_progress=False)
    rates = list(column(result, "learning_rate").values())
    assert 1.5 <= result.seconds < 15
    assert result.steps > 3
    assert rates[-1] < 0.2 * max(rates)
    assert list(column(result, "validation/loss"))[-1] == result.steps


def test_the_last_step_is_validated_though_time_was_up_at_the_validation_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hiperceiver.training.schedule.ValidationPlan.is_due", lambda _, step: step == 2)
    result = train(autoencoding(), Source(), TrainingSettings(steps=3, **QUICK), tmp_path / "run", show_progress=False)
    assert list(column(result, "validation/loss")) == [2, 3]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_accumulates_batches(tmp_path: Path, optimizer: OptimizerName) -> None:
    """Two batches of two make the step that one batch of four makes.

    Adam enlarges rounding. Muon rounds each of its five iterations, on some processors to bfloat16, and moves no weight
    further in a step than 0.2 sqrt(the longer side) times the rate.
    """
    results = []
    for name, batch_size, accumulate in [("two", 2, 2), ("one", 4, 1)]:
        settings = TrainingSettings(steps=3, batch_size=batch_size, accumulate=accumulate, optimizer=optimizer)
        task = classification()
        train(task, Source(), settings, tmp_path / name, show_progress=False)
        results.append(task.state_dict())
    for name, weight in results[0].items():
        allowed = 1e-2 * settings.learning_rate
        if optimizer == "muon" and weight.ndim == 2:
            way = 3 * settings.learning_rate * 0.2 * max(weight.shape) ** 0.5
            rounding = torch.finfo(orthogonal(weight[None]).dtype).eps / 2
            allowed = max(allowed, 5 * rounding * way)
        assert_within(weight, results[1][name], allowed)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path) -> None:
    weights = []
    for number, seed in enumerate((1, 1, 2)):
        task = autoencoding(dropout=0.2)
        settings = TrainingSettings(steps=3, seed=seed, num_workers=1 if number == 1 else 0, **QUICK)
        train(task, Source(), settings, tmp_path / str(number), show_progress=False)
        weights.append(torch.cat([weight.flatten() for weight in task.state_dict().values()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_gradients_are_clipped(tmp_path: Path) -> None:
    steps = {}
    for clip in (1e-9, None):
        task = autoencoding()
        bias = task.model.unembedding["image"].bias  # never decays
        before = bias.detach().clone()
        settings = TrainingSettings(steps=1, gradient_clip=clip, **QUICK)
        result = train(task, Source(), settings, tmp_path / str(clip), show_progress=False)
        steps[clip] = (bias.detach() - before).abs().max()
        assert column(result, "gradient_norm")[1] > 0.01  # of the gradient as it was
    assert 0 < steps[1e-9] < 0.5 * steps[None]


@pytest.mark.parametrize(
    "change",
    [
        *({"precision": "bf16"}, {"ema": 0.5}, {"weight_decay": 1.0}, {"warmup": 0.9}),
        *({"flat": 0.5}, {"final_learning_rate": 1.0}, {"optimizer": "adamw"}, {"optimizer": "lamb"}),
    ],
)
def test_settings_have_an_effect(tmp_path: Path, change: dict) -> None:
    weights = []
    for number, each in enumerate(({}, change)):
        task, source = classification(), Source(splits={"train": Stripes(20)})
        train(task, source, TrainingSettings(steps=4, **QUICK, **each), tmp_path / str(number), show_progress=False)
        weights.append(task.head.output.weight.detach().clone())
    assert weights[0].isfinite().all()
    assert weights[1].isfinite().all()
    assert weights[1].dtype == torch.float32
    assert not torch.equal(*weights)


def test_compile_compiles_the_training_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def fake_compile(function):
        compiled.append(function)
        return function

    monkeypatch.setattr(torch, "compile", fake_compile)
    task = autoencoding()
    settings = TrainingSettings(steps=2, compile=True, ema=0.5, **QUICK)
    train(task, Source(), settings, tmp_path / "run", show_progress=False)
    assert compiled == [task]


def test_bad_examples_are_left_out_even_a_whole_batch_of_them(tmp_path: Path) -> None:
    source = Source(splits={"train": Stripes(8, bad=(0, 1, 2, 3, 4)), "validation": Stripes(6, bad=(2,))})
    settings = TrainingSettings(steps=12, batch_size=2, max_bad_share=0.9)
    result = train(autoencoding(), source, settings, tmp_path / "run", show_progress=False)
    assert result.num_skipped == 5  # of 15 draws
    names = (result.run_folder / "skipped.log").read_text().splitlines()
    assert sorted(names) == [f"{index}.jpg: is empty (0 bytes)" for index in range(5)]
    assert all(weight.isfinite().all() for weight in load_task(result.model_folder).parameters())


def test_too_many_bad_examples_end_the_run_which_can_then_be_started_again(tmp_path: Path) -> None:
    source = Source(splits={"train": Stripes(4, bad=(0, 1, 2, 3))})
    with pytest.raises(TrainingError, match=r"4 of 4 examples could not be read") as error:
        train(autoencoding(), source, TrainingSettings(steps=1, batch_size=100), tmp_path / "run", show_progress=False)
    assert "\n" not in str(error.value)
    source = Source(splits={"train": Stripes(4, bad=(1,))})
    with pytest.raises(TrainingError, match=r"1\.jpg: is empty"):
        train(autoencoding(), source, TrainingSettings(steps=9, strict=True), tmp_path / "run", show_progress=False)
    train(autoencoding(), Source(), TrainingSettings(steps=1, **QUICK), tmp_path / "run", show_progress=False)
    assert not (tmp_path / "run" / "skipped.log").exists()


def test_a_run_folder_is_never_overwritten(tmp_path: Path, learned: TrainingResult) -> None:
    for path in (learned.run_folder, Path(__file__)):
        with pytest.raises(ValueError, match="run folder: .*(is not empty|got the file)") as error:
            train(autoencoding(), Source(), TrainingSettings(), path)
        assert "\n" not in str(error.value)
    (tmp_path / "settings.yaml").write_text("steps: 1\n")
    for resume in (False, True):
        assert not check_run_folder(tmp_path, resume=resume)
        assert not check_run_folder(tmp_path / "new", resume=resume)


def test_sources_that_do_not_fit(tmp_path: Path) -> None:
    settings = TrainingSettings(steps=1)
    for source, message in [
        (Source(splits={}), "source: expected examples in a split 'train', got no split"),
        (Source(splits={"train": Stripes(0)}), "source: expected examples in a split 'train', got train"),
        (Source(classes=("a", "b", "c")), "source: expected 2 classes, as the task has, got 3"),
        (Source(modalities={"sound": make_model().modalities["image"]}), "source: .* got 'sound'"),
        (Source(modalities={"image": _other_grid()}), r"source: expected 'image' with grid \(6, 6\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            train(classification(), source, settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def _other_grid():
    from hiperceiver.modality import Modality

    return Modality(grid=(5, 6), channels=3)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_ends_the_run_with_what_it_has(
    tmp_path: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {each: signal.getsignal(each) for each in STOP_SIGNALS}
    source = Source(splits={"train": Interrupting(20, at=4 * 6 + 1, number=number), "validation": Stripes(6, seed=1)})
    settings = TrainingSettings(steps=100, validate_every=50, **QUICK)
    result = train(autoencoding(), source, settings, tmp_path / "run")
    assert result.is_interrupted
    assert 5 <= result.steps <= 7
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")[RUN_KEY]["step"] == result.steps
    load_task(result.model_folder)
    assert "stopping after this step" in capsys.readouterr().err
    assert {each: signal.getsignal(each) for each in before} == before


@pytest.mark.parametrize(("seconds", "is_at_once"), [(-1.0, True), (60.0, False)])
def test_a_later_signal_ends_it_at_once(
    tmp_path: Path, seconds: float, is_at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that come together are one: `timeout` and torchrun send them to a process and to its group."""
    monkeypatch.setattr(signals, "_SECONDS_OF_ONE", seconds)

    class Stubborn(Interrupting):
        def __getitem__(self, index: int) -> Example | BadExample:
            if self.reads == self.at:
                os.kill(os.getpid(), signal.SIGINT)
            return super().__getitem__(index)

    before = signal.getsignal(signal.SIGINT)
    source = Source(splits={"train": Stubborn(20, at=4 * 6 + 1)})
    with pytest.raises(KeyboardInterrupt) if is_at_once else nullcontext():
        train(autoencoding(), source, TrainingSettings(steps=100, **QUICK), tmp_path / "run", show_progress=False)
    assert signal.getsignal(signal.SIGINT) == before


def test_nohup_keeps_a_run_alive(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        source = Source(splits={"train": Interrupting(20, at=5, number=signal.SIGHUP)})
        settings = TrainingSettings(steps=4, **QUICK)
        result = train(autoencoding(), source, settings, tmp_path / "run", show_progress=False)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (result.steps, result.is_interrupted) == (4, False)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_to_the_processes_that_load_data_does_not_end_them(tmp_path: Path, number: int) -> None:
    """SLURM sends SIGUSR1 to every process of a step, a terminal that is closed SIGHUP."""

    class Told(Stripes):
        def __getitem__(self, index: int) -> Example | BadExample:
            if index == 7:
                os.kill(os.getpid(), number)
                os.kill(os.getppid(), number)
            return super().__getitem__(index)

    settings = TrainingSettings(steps=100, num_workers=1, **QUICK)
    result = train(autoencoding(), Source(splits={"train": Told(20)}), settings, tmp_path / "run", show_progress=False)
    assert result.is_interrupted
    assert 1 <= result.steps <= 5


def test_divergence_is_told_and_never_saved(tmp_path: Path) -> None:
    class Exploding(type(autoencoding())):
        steps = 0

        def terms(self, batch, drawn=None):
            self.steps += 1
            error = super().terms(batch, drawn)["image"]
            return {"image": error._replace(value=error.value * (float("inf") if self.steps == 4 else 1.0))}

    task = Exploding(make_model())
    settings = TrainingSettings(steps=9, batch_size=4, log_every=3, checkpoint_every=1)
    with pytest.raises(
        TrainingError, match=r"training diverged: the loss at step 4 is inf, of .*learning_rate"
    ) as error:
        train(task, Source(), settings, tmp_path / "run", show_progress=False)
    assert "\n" not in str(error.value)
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")[RUN_KEY]["step"] == 3


@pytest.mark.parametrize(
    ("free", "checkpoint_every", "file"),
    [(50_000, 1, "last.ckpt"), (3_000, 100, "tensorboard/"), (100, 100, "metrics.csv")],
)
def test_a_full_disk_is_one_line_and_what_was_saved_stays(
    tmp_path: Path, free: int, checkpoint_every: int, file: str
) -> None:
    class Filling(Stripes):
        """The disk is full from the n-th example on."""

        reads = 0

        def __getitem__(self, index: int) -> Example | BadExample:
            self.reads += 1
            if self.reads == 4 * 4:
                disk.__enter__()
            return super().__getitem__(index)

    disk = full_disk(free)
    source = Source(splits={"train": Filling(20)})
    settings = TrainingSettings(steps=50, checkpoint_every=checkpoint_every, **QUICK)
    try:
        with pytest.raises(TrainingError, match=f"{file}: the .* could not be (saved|written)") as error:
            train(autoencoding(), source, settings, tmp_path / "run", show_progress=False)
    finally:
        disk.__exit__(None, None, None)
    assert "\n" not in str(error.value)
    assert 1 <= read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")[RUN_KEY]["step"] <= 4


def test_progress_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(autoencoding(), Source(), TrainingSettings(steps=4, validate_every=2, **QUICK), tmp_path / "run")
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [line.split(":")[0] for line in lines] == [
        *("step 2, validation", "step 2, latents", "step 2, positions"),
        lines[3].split(":")[0],
        *("step 4, validation", "step 4, latents", "step 4, positions"),
    ]
    assert re.fullmatch(r"step 2, validation: loss \S+, explained \S+ \(nearest \S+, interpolation \S+\)", lines[0])
    assert re.fullmatch(r"step 2, latents: effective_rank \S+", lines[1])
    assert lines[3].startswith("100%  step 4/4, loss ")
    train(autoencoding(), Source(), TrainingSettings(steps=1, **QUICK), tmp_path / "quiet", show_progress=False)
    assert capfd.readouterr() == ("", "")


def test_evaluation_does_not_depend_on_batches_or_workers_and_leaves_the_task_where_it_was() -> None:
    task = autoencoding(dropout=0.5)
    nn.init.normal_(task.model.unembedding["image"].weight)
    dataset = Stripes(7, bad=(3,))
    results = [evaluate(task, dataset, batch_size=batch_size) for batch_size in (1, 4, 100)]
    assert evaluate(task, dataset, batch_size=4) == results[1]
    assert evaluate(task, dataset, batch_size=4, num_workers=2) == results[1]
    for other in results[1:]:
        assert_close(other, results[0], terms=terms_of(task.model), scale=1, dtype=torch.float32)
    assert (results[0]["num_examples"], results[0]["num_skipped"]) == (6, 1)
    assert not task.training
    assert evaluate(task, dataset, precision="bf16") != evaluate(task, dataset)


def test_nothing_to_evaluate() -> None:
    with pytest.raises(ValueError, match=r"got none \(2 unreadable, the first: 0.jpg: is empty"):
        evaluate(autoencoding(), Stripes(2, bad=(0, 1)))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="accelerator: this machine has no cuda"):
            evaluate(autoencoding(), Stripes(2), accelerator="cuda")


def test_what_is_frozen_whole_stays_in_evaluation_mode(tmp_path: Path) -> None:
    task = classification(dropout=0.5)
    task.model.requires_grad_(False)
    before = {name: weight.clone() for name, weight in task.model.state_dict().items()}
    modes = []
    handle = task.model.blocks[0].register_forward_pre_hook(
        lambda part, _: modes.append((part.training, task.training))
    )
    train(task, Source(), TrainingSettings(steps=3, **QUICK), tmp_path / "run", show_progress=False)
    handle.remove()
    assert set(modes) == {(False, True), (False, False)}
    assert not any(part.training for part in task.modules() if isinstance(part, nn.Dropout))
    for name, weight in task.model.state_dict().items():
        assert torch.equal(weight, before[name])
    assert task.head.output.weight.abs().max() > 0
