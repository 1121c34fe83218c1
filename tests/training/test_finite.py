"""Steps that are not finite end a run with their examples, or are left out and counted."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from hiperceiver.modality import Batch
from hiperceiver.tasks import load_task
from hiperceiver.tasks.masked_autoencoding import MaskedAutoencoding
from hiperceiver.training import TrainingSettings, train
from hiperceiver.training.checkpoints import RUN_KEY, read_checkpoint, write_checkpoint
from hiperceiver.training.errors import TrainingError
from hiperceiver.training.finite import FiniteSteps, Loss
from hiperceiver.training.folder import RunFolder
from hiperceiver.training.launch import Launch
from hiperceiver.training.processes import Processes
from hiperceiver.training.run import TrainingResult

from .synthetic import Source, Stripes, autoencoding, make_model
from .test_run import column
from .together import Blinding

QUICK: dict[str, Any] = {"batch_size": 4, "log_every": 1, "checkpoint_every": 1}


class Steep(MaskedAutoencoding):
    """The gradient of the second step is NaN, its loss is not."""

    steps = 0

    def terms(self, batch, drawn=None):
        self.steps += 1
        error = super().terms(batch, drawn)["image"]
        return {"image": error._replace(value=error.value + (0.0 if self.steps != 2 else (error.value * 0).sqrt()))}


def blinding() -> Source:
    return Source(splits={"train": Blinding(20)})


def trained(folder: Path, task: MaskedAutoencoding | None = None, **settings: Any) -> TrainingResult:
    everything = TrainingSettings(**{"steps": 5, **QUICK, **settings})
    return train(task or autoencoding(), blinding(), everything, folder, show_progress=False)


def stopped(folder: Path, task: MaskedAutoencoding | None = None, **settings: Any) -> str:
    with pytest.raises(TrainingError) as error:
        trained(folder, task, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_loss_that_is_not_finite_ends_the_run_and_names_its_examples_and_the_last_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    message = stopped(folder.path)
    step = read_checkpoint(folder.last_checkpoint)[RUN_KEY]["step"]
    assert 1 <= step < 5
    assert message.startswith(f"training diverged: the loss at step {step + 1} is nan, first in model.blocks.0")
    assert "7.jpg" in message
    assert message.endswith(f"; {folder.last_checkpoint} is from step {step}, before that")
    assert "a lower learning_rate, a longer warmup or non_finite skip, which leaves such steps out, may help" in message
    (line,) = folder.not_finite.read_text().splitlines()
    assert line.startswith(f"step {step + 1}: the loss is nan: ")
    assert line.count(".jpg") == 4


def test_of_accumulated_batches_the_one_is_named_that_is_not_finite(tmp_path: Path) -> None:
    message = stopped(tmp_path / "run", batch_size=1, accumulate=10)
    assert ", of 7.jpg; " in message


def test_many_examples_are_named_in_the_file(tmp_path: Path) -> None:
    message = stopped(tmp_path / "run", batch_size=20)
    assert f" and 15 more, which {tmp_path / 'run' / 'not_finite.log'} names; " in message
    assert message.endswith("; nothing was saved before")
    assert (tmp_path / "run" / "not_finite.log").read_text().count(".jpg") == 20


def test_a_gradient_that_is_not_finite(tmp_path: Path) -> None:
    source = Source(splits={"train": Stripes(20)})
    task = Steep(make_model())
    with pytest.raises(TrainingError, match=r"training diverged: the gradient at step 2 is nan, of \d+\.jpg, "):
        train(task, source, TrainingSettings(steps=5, **QUICK), tmp_path / "run", show_progress=False)
    task = Steep(make_model())
    settings = TrainingSettings(steps=5, non_finite="skip", **QUICK)
    result = train(task, source, settings, tmp_path / "skipping", show_progress=False)
    assert (result.num_left_out, result.steps) == (1, 5)


def test_activations_of_bf16_that_are_not_finite(tmp_path: Path) -> None:
    """The part of the model where they are not, and another precision, are in the message."""
    task = autoencoding()
    task.model.blocks[1].register_forward_hook(lambda _, __, output: output * 1e30 * 1e30)
    message = stopped(tmp_path / "run", task, precision="bf16")
    assert message.startswith("training diverged: the loss at step 1 is nan, first in model.blocks.1, of ")
    assert "a longer warmup, precision 32 or non_finite skip" in message


def test_steps_are_left_out_counted_and_change_no_weight(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: dict[int, dict[str, torch.Tensor]] = {}

    def keep(path: Path, checkpoint: dict[str, Any]) -> None:
        saved[checkpoint[RUN_KEY]["step"]] = {name: x.clone() for name, x in checkpoint["weights"].items()}
        write_checkpoint(path, checkpoint)

    monkeypatch.setattr("hiperceiver.training.run_state.write_checkpoint", keep)
    folder = RunFolder(tmp_path / "run")
    settings = TrainingSettings(steps=10, ema=0.5, non_finite="skip", **QUICK)
    result = train(autoencoding(), blinding(), settings, folder.path)
    assert result.num_left_out == 2  # in each epoch of five steps one
    lines = folder.not_finite.read_text().splitlines()
    first, second = (int(line.removeprefix("step ").partition(":")[0]) for line in lines)
    assert first <= 5 < second
    assert all("7.jpg" in line for line in lines)
    assert f"step {first} is left out: not finite; {folder.not_finite} names" in capsys.readouterr().err
    losses, left_out = column(result, "train/loss"), column(result, "steps_left_out")
    assert set(losses) == {*range(1, 11)} - {first, second}
    assert max(losses.values()) < 100
    assert left_out == {step: 1 + (step >= second) for step in range(first, 11)}
    assert all(weight.isfinite().all() for weight in load_task(result.model_folder).parameters())
    for name, weight in saved[first].items():
        assert torch.equal(weight, saved[first - 1][name])


def test_a_run_that_stopped_goes_on_and_leaves_the_step_out(tmp_path: Path) -> None:
    """As a run that left it out from the beginning; nothing is named twice."""
    stopped(tmp_path / "run", steps=10)
    skipping = TrainingSettings(steps=10, non_finite="skip", **QUICK)
    resumed = train(autoencoding(), blinding(), skipping, tmp_path / "run", resume=True, show_progress=False)
    straight = trained(tmp_path / "straight", steps=10, non_finite="skip")
    assert (resumed.num_left_out, resumed.loss) == (straight.num_left_out, straight.loss)
    logs = [RunFolder(each.run_folder).not_finite.read_text() for each in (resumed, straight)]
    assert logs[0] == logs[1]


def test_where_nothing_waits_for_the_numbers_the_first_step_is_told(tmp_path: Path) -> None:
    """As on a GPU: several steps are judged together."""
    how: dict[str, Any] = {"processes": Processes(Launch()), "task": None, "precision": "32"}
    finite = FiniteSteps(path=tmp_path / "log", non_finite="stop", is_at_once=False, **how)
    for number, value in enumerate([1.0, float("nan"), float("inf")], start=5):
        batch = Batch(inputs={"x": torch.zeros(1, 1, 1)}, names=(f"{number}.png",))
        assert finite.accepts(number, [Loss(batch, None, torch.tensor(value), {})], torch.tensor(1.0))
    with pytest.raises(TrainingError, match=r"training diverged: the loss at step 6 is nan, of 6\.png; "):
        finite.judge()


def test_ten_steps_in_a_row_are_too_many(tmp_path: Path) -> None:
    message = stopped(tmp_path / "run", batch_size=20, steps=20, non_finite="skip")
    assert message.startswith("training diverged: 10 steps in a row are not finite, the loss at step 10 is nan")


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """The gradient is finite, and so large that moving by it is not."""
    task = autoencoding()
    source = Source(splits={"train": Stripes(20)})
    settings = TrainingSettings(steps=5, **{**QUICK, "checkpoint_every": 100})
    settings = dataclasses.replace(settings, learning_rate=3e38, optimizer="adamw", warmup=0.0)
    with pytest.raises(
        TrainingError, match=r"training diverged: weights at step 1 are not finite; .*nothing was saved"
    ):
        train(task, source, settings, tmp_path / "run", show_progress=False)
    assert not RunFolder(tmp_path / "run").last_checkpoint.exists()


def test_a_model_whose_validation_was_never_finite_is_not_saved(tmp_path: Path) -> None:
    """Its weights may be: activations overflow, and every step is left out."""
    task = autoencoding()
    with torch.no_grad():
        task.model.embedding["image"].weight.fill_(1e38)
    source = Source(splits={"train": Stripes(8), "validation": Stripes(4)})
    settings = TrainingSettings(steps=3, batch_size=4, precision="bf16", non_finite="skip")
    with pytest.raises(
        TrainingError, match=r"^training diverged: no validation loss was finite; a lower learning_rate"
    ):
        train(task, source, settings, tmp_path / "run", show_progress=False)
    assert not RunFolder(tmp_path / "run").model.exists()
    assert len(RunFolder(tmp_path / "run").not_finite.read_text().splitlines()) == 3
