"""A full disk, one that is read-only, a run folder that somebody removes: one line, and what was saved stays whole."""

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import TINY, Hip, Outcome


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, *, but: int) -> None:
    """Leave so many bytes of a disk free."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    filler.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - but)))


def line(outcome: Outcome) -> str:
    """The error of a command that failed."""
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    return outcome.err.splitlines()[-1]


def test_predictions_on_a_full_disk(disk: Path, pretrained: Path, pictures: Path, hip: Hip) -> None:
    (disk / "drawn").mkdir()
    fill(disk, but=0)
    outcome = hip("predict", pretrained, pictures / "checks" / "1.jpg", "--out", disk / "drawn")
    assert line(outcome) == f"hip: {disk}/drawn/1.png: cannot write the picture: No space left on device"


def test_a_full_disk_and_a_read_only_one(disk: Path, pictures: Path, hip: Hip) -> None:
    run, options = disk / "run", ("--data", pictures, *TINY, "--log-every", 1, "--checkpoint-every", 1)
    assert hip("pretrain", *options, "--steps", 1, "--out", run).code == 0
    checkpoint, settings, model = (
        run / each for each in ("checkpoints/last.ckpt", "settings.yaml", "model/model.safetensors")
    )
    saved = {path: path.read_bytes() for path in (checkpoint, settings, model)}

    resume = ("pretrain", "--out", run, "--resume", "--steps", 3)
    fill(disk, but=0)
    assert line(hip(*resume)) == f"hip: --out: {run} cannot be written to (No space left on device)"
    assert {path: path.read_bytes() for path in saved} == saved
    fill(disk, but=len(saved[checkpoint]) // 2)
    failed = "the checkpoint could not be saved (No space left on device); the one saved before is kept"
    assert line(hip(*resume)) == f"hip: {checkpoint}: {failed}"
    assert {path: path.read_bytes() for path in (checkpoint, model)} == {p: saved[p] for p in (checkpoint, model)}
    assert not [*run.rglob("*.partial")]

    (disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for arguments in (resume, ("pretrain", *options, "--out", disk / "new")):
        folder = arguments[arguments.index("--out") + 1]
        assert line(hip(*arguments)) == f"hip: --out: {folder} cannot be written to (Read-only file system)"
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    outcome = hip(*resume)
    assert (outcome.code, "3 steps in" in outcome.out) == (0, True)


def test_a_run_folder_that_is_removed_is_not_made_again(pictures: Path, hip: Hip) -> None:
    def remove() -> None:
        while not Path("run/checkpoints/last.ckpt").exists():
            time.sleep(0.01)
        while Path("run").exists():
            shutil.rmtree("run", ignore_errors=True)

    thread = threading.Thread(target=remove)
    thread.start()
    how = ("--steps", 100000, "--log-every", 1, "--checkpoint-every", 1, "--validate-every", 2)
    said = line(hip("pretrain", "--data", pictures, *TINY, *how, "--out", "run"))
    thread.join()
    assert said.startswith("hip: run/")
    assert "(No such file or directory)" in said
    assert not Path("run").exists()
