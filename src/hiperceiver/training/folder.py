"""The files of a run's folder. Without torch: a command can refuse a folder before it loads anything slow."""

import shutil
from pathlib import Path


class RunFolder:
    """The paths in a run's folder."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.last_checkpoint = self.path / "checkpoints" / "last.ckpt"
        self.best_checkpoint = self.path / "checkpoints" / "best.ckpt"
        self.model = self.path / "model"
        self.metrics = self.path / "metrics.csv"
        self.tensorboard = self.path / "tensorboard"
        self.positions = self.path / "positions"  # pictures of position tables, as they are learned
        self.skipped = self.path / "skipped.log"  # names of unreadable examples
        self.not_finite = self.path / "not_finite.log"  # steps that diverged, with their examples
        self.members = self.path / "members.npz"  # the examples of each split
        self.settings = self.path / "settings.yaml"  # of the command line

    def clear(self) -> None:
        """Remove what a run leaves that ended before its first checkpoint, but for the names of examples."""
        self.metrics.unlink(missing_ok=True)
        for path in (self.tensorboard, self.last_checkpoint.parent, self.positions):
            shutil.rmtree(path, ignore_errors=True)


def check_run_folder(run_folder: str | Path, *, resume: bool) -> bool:
    """Whether a run goes on from a checkpoint there, or begins. `ValueError`: it can do neither without a loss.

    A new run may find `settings.yaml` and `members.npz` there, which a command line writes before it starts the run,
    and `skipped.log` and `not_finite.log`, which a run leaves that failed before its first step. With `resume` it may
    also find what a run has written before its first checkpoint: it begins again.
    """
    folder = RunFolder(run_folder)
    if folder.path.exists() and not folder.path.is_dir():
        raise ValueError(f"run folder: expected a folder, got the file {folder.path}")
    if resume and folder.last_checkpoint.is_file():
        return True
    harmless = {folder.settings, folder.members, folder.skipped, folder.not_finite}
    if resume:
        harmless |= {folder.metrics, folder.tensorboard, folder.positions}
        harmless |= {each.with_name(f"{each.name}.partial") for each in harmless}
        if not any(folder.last_checkpoint.parent.glob("*.ckpt")):
            harmless.add(folder.last_checkpoint.parent)
    if folder.path.exists() and any(each not in harmless for each in folder.path.iterdir()):
        if resume:
            raise ValueError(f"run folder: {folder.path} has no checkpoints/last.ckpt to resume from, but other files")
        raise ValueError(f"run folder: {folder.path} is not empty; resume its run, or name another folder")
    return False
