"""What a command writes: never over something that is there. No torch here: mistakes are found before anything slow."""

import json
import math
from pathlib import Path
from typing import Any

from hiperceiver.cli.errors import UserError
from hiperceiver.settings.commands import RunSettings
from hiperceiver.training.folder import check_run_folder
from hiperceiver.writing import write_text


def check_new(path: str | None, option: str) -> None:
    """Refuse a file that exists already or cannot be there, before anything slow is done."""
    if path is None:
        return
    if Path(path).exists():
        raise UserError(f"{option}: {path} exists already")
    if not Path(path).absolute().parent.is_dir():
        raise UserError(f"{option}: {Path(path).parent} is not a directory")


def check_folder(settings: RunSettings) -> None:
    """Refuse a run's folder that would be overwritten, or that holds nothing to resume."""
    if settings.out is not None:
        try:
            check_run_folder(settings.out, resume=settings.resume)
        except ValueError as error:
            raise UserError(f"--out: {str(error).removeprefix('run folder: ')}") from None
    elif settings.resume:
        raise UserError("--resume: expected --out too, the folder of the run to go on with")


def check_beside_data(out: Path, *data: str | None, option: str = "--out", what: str = "pictures") -> None:
    """Refuse to write into a folder of data, in which what is written would be taken for data."""
    for folder in data:
        if folder is not None and Path(folder).is_dir() and out.resolve().is_relative_to(Path(folder).resolve()):
            reason = f"where {what} would be taken for data; name another folder"
            raise UserError(f"{option}: {out} lies in {folder}, {reason}")


def write_json(path: str | None, values: Any) -> None:
    """Write plain values; nothing for no path. JSON knows no numbers that are not finite: they become null."""
    if path is not None:
        text = json.dumps(_finite(values), indent=2, ensure_ascii=False, allow_nan=False)
        try:
            write_text(Path(path), text + "\n", errors="backslashreplace")
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None


def _finite(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
