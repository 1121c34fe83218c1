"""The files of a run's folder. Without torch: a command can refuse a folder before it loads anything slow."""

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
        self.members = self.path / "members.npz"  # the examples of each split
        self.settings = self.path / "settings.yaml"  # of the command line


def check_run_folder(run_folder: str | Path, *, resume: bool) -> None:
    """Refuse (`ValueError`) a run folder that a new run would overwrite, or that holds nothing to resume.

    A new run may find `settings.yaml` and `members.npz` there, which a command line writes before it starts the run,
    and `skipped.log`, which a run leaves that failed before its first step.
    """
    folder = RunFolder(run_folder)
    if folder.path.exists() and not folder.path.is_dir():
        raise ValueError(f"run folder: expected a folder, got the file {folder.path}")
    harmless = {folder.settings, folder.members, folder.skipped}
    if resume:
        if not folder.last_checkpoint.is_file():
            raise ValueError(f"run folder: {folder.path} has no checkpoints/last.ckpt to resume from")
    elif folder.path.exists() and any(each not in harmless for each in folder.path.iterdir()):
        raise ValueError(f"run folder: {folder.path} is not empty; resume its run, or name another folder")
