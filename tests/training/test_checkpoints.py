import copy
import functools
import operator
import os
import pickle
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from hiperceiver.settings.run import TrainingSettings
from hiperceiver.training import train
from hiperceiver.training.checkpoints import FORMAT, RUN_KEY, copy_checkpoint, read_checkpoint, write_checkpoint
from hiperceiver.training.errors import TrainingError

from .synthetic import Source, autoencoding


def checkpoint(size: int = 4) -> dict:
    return {RUN_KEY: {"format": FORMAT}, "weights": {"x": torch.arange(size)}}


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


@contextmanager
def full_disk(after: int) -> Iterator[None]:
    """Files of this process cannot grow beyond so many bytes: writing fails as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    write_checkpoint(path, checkpoint())
    assert torch.equal(read_checkpoint(path)["weights"]["x"], torch.arange(4))
    assert [each.name for each in path.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_in_a_checkpoint_is_refused_and_not_executed(tmp_path: Path, is_zip: bool) -> None:
    path, sprung = tmp_path / "last.ckpt", tmp_path / "sprung"
    if is_zip:
        torch.save(checkpoint() | {"extra": Trap(sprung)}, path)
    else:
        path.write_bytes(pickle.dumps(checkpoint() | {"extra": Trap(sprung)}))
    with pytest.raises(ValueError, match=r"last\.ckpt: (refused|cannot be read)") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)
    assert not sprung.exists()
    if is_zip:
        assert "it calls for posix.system" in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"not a checkpoint", "cannot be read|refused"),
        (None, "no such checkpoint"),
    ],
)
def test_no_checkpoint(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "last.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


def test_a_cut_off_checkpoint_is_an_error_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(path, checkpoint(10_000))
    path.write_bytes(path.read_bytes()[:5_000])
    with pytest.raises(ValueError, match="cannot be read") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


def test_somebody_elses_checkpoint_and_one_of_the_future(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"weights": {}}, path)
    with pytest.raises(ValueError, match="not a checkpoint of a hiperceiver run"):
        read_checkpoint(path)
    for other in (1, FORMAT + 1):  # 1: of the versions that trained with Lightning's Trainer
        torch.save({RUN_KEY: {"format": other}}, path)
        with pytest.raises(ValueError, match=f"expected format {FORMAT}, got {other}; .* version") as error:
            read_checkpoint(path)
        assert "\n" not in str(error.value)


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(path, checkpoint())
    before = path.read_bytes()
    with full_disk(100_000), pytest.raises(TrainingError) as error:
        write_checkpoint(path, checkpoint(1_000_000))
    reason = "(File too large)"  # as the system says it, whatever PyTorch makes of it
    assert str(error.value) == f"{path}: the checkpoint could not be saved {reason}; the one saved before is kept"
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_copy_does_not_change_with_its_original(tmp_path: Path) -> None:
    last, best = tmp_path / "last.ckpt", tmp_path / "best.ckpt"
    write_checkpoint(last, checkpoint(2))
    copy_checkpoint(last, best)
    write_checkpoint(last, checkpoint(3))
    assert len(read_checkpoint(best)["weights"]["x"]) == 2
    copy_checkpoint(last, best)
    assert len(read_checkpoint(best)["weights"]["x"]) == 3


def test_a_damaged_state_of_a_run_is_one_line(tmp_path: Path) -> None:
    settings = {"batch_size": 4, "num_workers": 0, "checkpoint_every": 1}
    train(autoencoding(), Source(), TrainingSettings(steps=1, **settings), tmp_path, show_progress=False)
    path = tmp_path / "checkpoints" / "last.ckpt"
    whole = read_checkpoint(path)
    moment = next(iter(whole["optimizer"]["state"]))
    for place, value, message in [
        ((RUN_KEY, "elapsed"), "long", "elapsed: expected another kind of value"),
        ((RUN_KEY, "identity"), {"task": 3}, "task: expected 3, got {"),
        ((RUN_KEY, "identity"), {"task": "{"}, "task: expected '{', got {"),
        ((RUN_KEY, "processes"), [], "is damaged, or is no checkpoint of this run: IndexError"),
        (("weights",), {}, "is damaged, or is no checkpoint of this run: RuntimeError"),
        (("optimizer", "state", moment), {"step": torch.ones(3)}, "step of the optimizer does not fit its weight"),
        (("optimizer", "param_groups"), [], "is damaged, or is no checkpoint of this run: "),
    ]:
        damaged = copy.deepcopy(whole)
        inside = functools.reduce(operator.getitem, place[:-1], damaged)
        inside[place[-1]] = value
        write_checkpoint(path, damaged)
        how = TrainingSettings(steps=2, **settings)
        with pytest.raises(ValueError, match=message) as caught:
            train(autoencoding(), Source(), how, tmp_path, resume=True, show_progress=False)
        assert "\n" not in str(caught.value)
