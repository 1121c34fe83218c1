import dataclasses
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from hiperceiver.data.example import BadExample, Example
from hiperceiver.tasks import load_task
from hiperceiver.training import TrainingSettings, train
from hiperceiver.training.checkpoints import FORMAT, RUN_KEY, read_checkpoint, write_checkpoint
from hiperceiver.training.folder import RunFolder
from hiperceiver.training.run import TrainingResult

from .synthetic import Source, Stripes, autoencoding, classification
from .test_run import column, rows

DROPOUT = 0.2
SETTINGS = TrainingSettings(
    steps=12, batch_size=3, accumulate=2, ema=0.9, log_every=4, validate_every=5, checkpoint_every=3, seed=5
)
SPEEDS = {"examples_per_second", "tokens_per_second", "seconds"}


class PowerCut(RuntimeError):
    pass


class Failing(Stripes):
    """Fails when the n-th example is read."""

    def __init__(self, count: int, *, at: int):
        super().__init__(count)
        self.at, self.reads = at, 0

    def __getitem__(self, index: int) -> Example | BadExample:
        self.reads += 1
        if self.reads > self.at:
            raise PowerCut
        return super().__getitem__(index)


class Interrupting(Stripes):
    """Sends this process SIGINT when the n-th example is read."""

    def __init__(self, count: int, *, seed: int, at: int):
        super().__init__(count, seed=seed)
        self.at, self.reads = at, 0

    def __getitem__(self, index: int) -> Example | BadExample:
        self.reads += 1
        if self.reads == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().__getitem__(index)


class Failed:
    """A validation set that fails when it is read."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Example | BadExample:
        raise PowerCut


def failing(steps: int) -> Source:
    """Data that are enough for so many steps."""
    # A batch is read before it is needed.
    count = SETTINGS.batch_size * (SETTINGS.accumulate * steps + 1)
    return Source(splits={"train": Failing(20, at=count), "validation": Stripes(6, seed=1)})


def history(result: TrainingResult) -> list[dict[str, str]]:
    """The rows of the log, without speeds."""
    return [{name: value for name, value in sorted(row.items()) if name not in SPEEDS} for row in rows(result)]


def weights(result: TrainingResult) -> dict[str, torch.Tensor]:
    """Last weights, averages and optimizer's moments."""
    checkpoint = read_checkpoint(RunFolder(result.run_folder).last_checkpoint)
    moments = checkpoint["optimizer"]["state"]
    named = {f"{name} {key}": moment for key, each in moments.items() for name, moment in each.items()}
    return {
        **checkpoint["weights"],
        **{f"average {n}": x for n, x in checkpoint["average"].items()},
        **named,
    }


def assert_same(result: TrainingResult, expected: TrainingResult) -> None:
    found, wanted = weights(result), weights(expected)
    assert found.keys() == wanted.keys()
    for name, weight in found.items():
        assert torch.equal(weight, wanted[name]), name
    assert history(result) == history(expected)
    for field in ("metrics", "last_metrics", "best_step", "steps", "loss", "num_skipped"):
        assert getattr(result, field) == getattr(expected, field)
    saved = load_task(expected.model_folder).state_dict()
    for name, weight in load_task(result.model_folder).state_dict().items():
        assert torch.equal(weight, saved[name])


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A run that nothing disturbed."""
    run_folder = tmp_path_factory.mktemp("runs") / "straight"
    return train(autoencoding(dropout=DROPOUT), Source(), SETTINGS, run_folder, show_progress=False)


def test_the_undisturbed_run_is_what_the_others_are_compared_with(straight: TrainingResult) -> None:
    assert list(column(straight, "train/loss")) == [4, 8, 12]
    assert list(column(straight, "validation/loss")) == [5, 10, 12]


# Cut off 2 steps after a checkpoint, right after a validation, and more than once.
@pytest.mark.parametrize("cuts", [[8], [10], [4, 6, 7, 11]])
def test_a_resumed_run_ends_exactly_as_an_undisturbed_one(
    tmp_path: Path, straight: TrainingResult, cuts: list[int]
) -> None:
    run_folder, done = tmp_path / "run", 0
    for number, cut in enumerate(cuts):
        task = autoencoding(dropout=DROPOUT, seed=number)  # a resumed run replaces its weights, whatever they are
        with pytest.raises(PowerCut):
            train(task, failing(cut - done), SETTINGS, run_folder, resume=number > 0, show_progress=False)
        done = read_checkpoint(RunFolder(run_folder).last_checkpoint)[RUN_KEY]["step"]
        assert cut - 3 <= done <= cut
    task = autoencoding(dropout=DROPOUT, seed=99)
    assert_same(train(task, Source(), SETTINGS, run_folder, resume=True, show_progress=False), straight)


@pytest.mark.parametrize(
    "change", [{"optimizer": "adamw"}, {"optimizer": "lamb"}, {"precision": "bf16"}, {"flat": 0.5}]
)
def test_so_does_one_with_another_optimizer_precision_or_schedule(tmp_path: Path, change: dict) -> None:
    settings = dataclasses.replace(SETTINGS, **change)
    expected, run_folder = tmp_path / "straight", tmp_path / "run"
    straight = train(autoencoding(dropout=DROPOUT), Source(), settings, expected, show_progress=False)
    with pytest.raises(PowerCut):
        train(autoencoding(dropout=DROPOUT), failing(8), settings, run_folder, show_progress=False)
    task = autoencoding(dropout=DROPOUT, seed=99)
    assert_same(train(task, Source(), settings, run_folder, resume=True, show_progress=False), straight)


class Slow(Stripes):
    """At most 200 examples a second."""

    def __getitem__(self, index: int) -> Example | BadExample:
        time.sleep(0.005)
        return super().__getitem__(index)


def test_speeds_are_those_of_the_resumed_part(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, log_every=12, checkpoint_every=10)
    with pytest.raises(PowerCut):
        train(autoencoding(), failing(10), settings, tmp_path, show_progress=False)
    source = Source(splits={"train": Slow(20)})
    result = train(autoencoding(), source, settings, tmp_path, resume=True, show_progress=False)
    assert 0 < column(result, "examples_per_second")[12] < 2 * 200  # a batch is read ahead


@pytest.mark.parametrize("step", [5, 12])
def test_a_run_that_died_while_validating_validates_first(tmp_path: Path, straight: TrainingResult, step: int) -> None:
    """At the end the checkpoint is from right before the validation; in between it may be older."""
    settings = dataclasses.replace(SETTINGS, validate_every=step, checkpoint_every=step)
    source = Source(splits={"train": Stripes(20), "validation": Failed()})  # pyright: ignore[reportArgumentType]
    task = autoencoding(dropout=DROPOUT)
    with pytest.raises(PowerCut):
        train(task, source, settings, tmp_path / "run", show_progress=False, observers=())  # these too would die
    state = read_checkpoint(RunFolder(tmp_path / "run").last_checkpoint)[RUN_KEY]
    assert (state["step"], state["is_validation_due"]) == (step, True)
    result = train(
        autoencoding(dropout=DROPOUT), Source(), SETTINGS, tmp_path / "run", resume=True, show_progress=False
    )
    assert list(column(result, "validation/loss")) == ([5, 10, 12] if step == 5 else [12])
    assert column(result, "validation/loss")[12] == column(straight, "validation/loss")[12]
    assert result.last_metrics == straight.last_metrics
    best = read_checkpoint(RunFolder(tmp_path / "run").best_checkpoint)[RUN_KEY]["step"]
    assert best == result.best_step
    # And once more: nothing is left to do.
    again = train(autoencoding(dropout=DROPOUT), Source(), SETTINGS, tmp_path / "run", resume=True, show_progress=False)
    assert history(again) == history(result)
    assert dataclasses.replace(again, seconds=0) == dataclasses.replace(result, seconds=0)


@pytest.mark.parametrize(
    ("split", "at", "step"),
    [
        ("train", 6 * 6 + 4, 7),
        ("train", 6 * 4 + 4, 5),  # a validation is due, and is made up for
        ("validation", 6 + 2, 5),  # all are observed before the first step, and after each validation
        ("validation", 6 + 6 + 2, 5),  # observing
        ("validation", 6 + 12 + 12 + 2, 12),  # in the very last one
    ],
)
def test_an_interrupted_run_goes_on_exactly(
    tmp_path: Path, straight: TrainingResult, split: str, at: int, step: int
) -> None:
    splits = {"train": Stripes(20), "validation": Stripes(6, seed=1)}
    splits[split] = Interrupting(len(splits[split]), seed=splits[split].seed, at=at)
    first = train(autoencoding(dropout=DROPOUT), Source(splits), SETTINGS, tmp_path / "run", show_progress=False)
    assert first.is_interrupted
    assert first.steps == step
    result = train(
        autoencoding(dropout=DROPOUT), Source(), SETTINGS, tmp_path / "run", resume=True, show_progress=False
    )
    assert not result.is_interrupted
    assert_same(result, straight)


def test_resuming_a_finished_run_changes_nothing(straight: TrainingResult) -> None:
    task = autoencoding(dropout=DROPOUT, seed=3)
    before = history(straight)
    again = train(task, Source(), SETTINGS, straight.run_folder, resume=True, show_progress=False)
    assert history(again) == before
    assert dataclasses.replace(again, seconds=straight.seconds) == straight
    for name, weight in load_task(straight.model_folder).state_dict().items():
        assert torch.equal(task.state_dict()[name], weight)


def test_a_run_without_a_checkpoint_begins(tmp_path: Path, straight: TrainingResult) -> None:
    """Whatever was written before the first one: the same command goes on wherever it was killed."""
    folder = RunFolder(tmp_path / "run")
    folder.last_checkpoint.parent.mkdir(parents=True)
    for path in (folder.metrics, folder.last_checkpoint):
        path.with_name(f"{path.name}.partial").write_text("half of")
    folder.metrics.write_text("step,train/loss\n0,1.0\n1")
    folder.skipped.write_text("1.jpg: is em")
    folder.positions.mkdir()
    task = autoencoding(dropout=DROPOUT)
    assert_same(train(task, Source(), SETTINGS, folder.path, resume=True, show_progress=False), straight)
    assert not folder.skipped.exists()
    assert not [*folder.path.rglob("*.partial")]


def test_a_finished_run_can_be_made_longer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = TrainingSettings(steps=2, batch_size=4)
    train(autoencoding(), Source(), settings, tmp_path / "run", show_progress=False)
    longer = dataclasses.replace(settings, steps=4, num_workers=0, log_every=1)
    result = train(autoencoding(), Source(), longer, tmp_path / "run", resume=True)
    said = "step 2: the run has another length now, and its learning rate goes from 0.00017 to 0.000344\n"
    assert said in capsys.readouterr().err
    assert column(result, "learning_rate")[3] == pytest.approx(0.000344, abs=1e-6)
    assert result.steps == 4
    assert list(column(result, "train/loss")) == [2, 3, 4]


@pytest.mark.parametrize("steps", [12, 14])
def test_a_run_whose_model_is_gone_saves_one(
    tmp_path: Path, straight: TrainingResult, capsys: pytest.CaptureFixture[str], steps: int
) -> None:
    shutil.copytree(straight.run_folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")
    settings = dataclasses.replace(SETTINGS, steps=steps)
    result = train(autoencoding(dropout=DROPOUT), Source(), settings, tmp_path / "run", resume=True)
    assert load_task(result.model_folder).state_dict().keys() == load_task(straight.model_folder).state_dict().keys()
    assert result.best_step == (None if steps == 12 else 14)
    assert f"model is gone, with the weights of step {straight.best_step}: later ones" in capsys.readouterr().err


def test_time_of_all_parts_counts(tmp_path: Path) -> None:
    settings = TrainingSettings(steps=2, batch_size=4)
    train(autoencoding(), Source(), settings, tmp_path / "run", show_progress=False)
    path = RunFolder(tmp_path / "run").last_checkpoint
    checkpoint = read_checkpoint(path)
    checkpoint[RUN_KEY]["elapsed"] = 3600.0
    write_checkpoint(path, checkpoint)
    longer = dataclasses.replace(settings, steps=4, max_time="2h")
    result = train(autoencoding(), Source(), longer, tmp_path / "run", resume=True, show_progress=False)
    assert 3600 < result.seconds < 3700
    over = dataclasses.replace(settings, steps=None, max_time="30m")
    again = train(autoencoding(), Source(), over, tmp_path / "run", resume=True, show_progress=False)
    assert again.steps == 4


def test_what_cannot_be_resumed(tmp_path: Path, straight: TrainingResult) -> None:
    def resume(task=None, source=None, settings=SETTINGS, folder: Path = straight.run_folder) -> None:
        train(
            task or autoencoding(dropout=DROPOUT),
            source or Source(),
            settings,
            folder,
            resume=True,
            show_progress=False,
        )

    before = read_checkpoint(RunFolder(straight.run_folder).last_checkpoint)[RUN_KEY]["step"]
    for change, message in [
        ({"batch_size": 4}, "^batch_size: expected 3, got 4; a run is resumed as it was begun"),
        ({"seed": 6}, "^seed: expected 5, got 6"),
        ({"ema": 0.0}, "^ema: expected 0.9, got 0.0"),
        ({"learning_rate": 1.0}, "^learning_rate: "),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            resume(settings=dataclasses.replace(SETTINGS, **change))
        assert "\n" not in str(error.value)
    for task, message in [
        (classification(dropout=DROPOUT), "^task.kind: expected 'masked-autoencoding', got 'classification'"),
        (autoencoding(dropout=0.0), "^model.dropout: expected 0.2, got 0.0"),
    ]:
        with pytest.raises(ValueError, match=message):
            resume(task)
    frozen = autoencoding(dropout=DROPOUT)
    frozen.model.positions.requires_grad_(False)
    with pytest.raises(ValueError, match=r"^trained weights\[\d+\]: expected 'model\.positions\.\w+\.table', got '"):
        resume(frozen)
    with pytest.raises(ValueError, match="^number of training examples: expected 20, got 21"):
        resume(source=Source(splits={"train": Stripes(21)}))
    for other in ("notes.txt", "model", "checkpoints/best.ckpt"):  # nothing that somebody may want is lost
        folder = tmp_path / Path(other).stem
        (folder / other).mkdir(parents=True)
        with pytest.raises(ValueError, match=r"^run folder: .* has no checkpoints/last.ckpt to resume from, but other"):
            resume(folder=folder)
    assert read_checkpoint(RunFolder(straight.run_folder).last_checkpoint)[RUN_KEY]["step"] == before


def test_a_setting_that_an_earlier_version_did_not_have(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, steps=2)
    train(autoencoding(), Source(), settings, tmp_path / "run", show_progress=False)
    path = RunFolder(tmp_path / "run").last_checkpoint
    checkpoint = read_checkpoint(path)
    del checkpoint[RUN_KEY]["identity"]["embedding_rate"]
    write_checkpoint(path, checkpoint)
    with pytest.raises(ValueError, match=r"^embedding_rate: an earlier version, .* go on in a new run, with --from, "):
        train(autoencoding(), Source(), settings, tmp_path / "run", resume=True, show_progress=False)


@pytest.mark.parametrize("number", [torch.nan, -torch.inf])
def test_a_checkpoint_that_diverged_is_not_resumed(tmp_path: Path, number: float) -> None:
    """Of an earlier release: what is written now is finite."""
    settings = TrainingSettings(steps=2, batch_size=4)
    train(autoencoding(), Source(), settings, tmp_path / "run", show_progress=False)
    path = RunFolder(tmp_path / "run").last_checkpoint
    checkpoint = read_checkpoint(path)
    name = "model.blocks.1.latents"
    checkpoint["weights"][name].view(-1)[3] = number
    write_checkpoint(path, checkpoint)
    longer = dataclasses.replace(settings, steps=4)
    with pytest.raises(
        ValueError, match=rf"last\.ckpt: {name} holds numbers that are not finite; its training div"
    ) as error:
        train(autoencoding(), Source(), longer, tmp_path / "run", resume=True, show_progress=False)
    assert "\n" not in str(error.value)


def test_a_malicious_checkpoint_is_not_resumed_and_not_executed(tmp_path: Path) -> None:
    from .test_checkpoints import Trap

    folder = RunFolder(tmp_path / "run")
    folder.last_checkpoint.parent.mkdir(parents=True)
    torch.save({RUN_KEY: {"format": FORMAT}, "weights": Trap(tmp_path / "sprung")}, folder.last_checkpoint)
    with pytest.raises(ValueError, match=r"last\.ckpt: refused, it calls for posix.system") as error:
        train(autoencoding(), Source(), SETTINGS, folder.path, resume=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "sprung").exists()
