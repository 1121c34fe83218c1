"""Where things lie in a run's folder. Without torch: a command can refuse a folder before it loads anything slow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """Where things lie in a run's folder."""

    path: Path
    """The folder."""

    @property
    def last_checkpoint(self) -> Path:
        """To resume from."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """Of the best weights."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def model(self) -> Path:
        """Saved model's folder."""
        return self.path / "model"

    @property
    def metrics(self) -> Path:
        """Rows of numbers."""
        return self.path / "metrics.csv"

    @property
    def tensorboard(self) -> Path:
        """The same numbers for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def skipped(self) -> Path:
        """Names of unreadable examples."""
        return self.path / "skipped.log"

    @property
    def members(self) -> Path:
        """Which examples were in which split."""
        return self.path / "members.npz"

    @property
    def settings(self) -> Path:
        """The command line's own settings."""
        return self.path / "settings.yaml"


def check_run_folder(run_folder: str | Path, *, resume: bool) -> None:
    """Refuse a run folder that a new run would overwrite, or that holds nothing to resume.

    A new run may find `settings.yaml` and `members.npz` there, which a command line writes before it starts the run,
    and `skipped.log`, which a run leaves that failed before its first step.

    Raises:
        ValueError: one line saying which.
    """
    folder = RunFolder(Path(run_folder))
    if folder.path.exists() and not folder.path.is_dir():
        raise ValueError(f"run folder: expected a folder, got the file {folder.path}")
    harmless = {folder.settings, folder.members, folder.skipped}
    if resume:
        if not folder.last_checkpoint.is_file():
            raise ValueError(f"run folder: {folder.path} has no checkpoints/last.ckpt to resume from")
    elif folder.path.exists() and any(each not in harmless for each in folder.path.iterdir()):
        raise ValueError(
            f"run folder: {folder.path} is not empty; resume the run that it holds, or name another folder"
        )
