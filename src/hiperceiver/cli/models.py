"""Saved models, however the user names them: a run folder, a saved model's folder, or a hub id."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hiperceiver.cli.arguments import read_config
from hiperceiver.cli.errors import UserError
from hiperceiver.model import PerceiverConfig
from hiperceiver.model.files import CONFIG_FILE


def locate(name: str) -> str:
    """The folder or hub id that `read_model` and `load_task` understand."""
    path = Path(name).expanduser()
    for folder in (path, path / "model"):
        if (folder / CONFIG_FILE).is_file():
            return str(folder)
    if (path / "settings.yaml").is_file():
        raise UserError(f"{name}: this run has no model yet; go on with its training, or wait for a validation")
    if path.exists():
        found = "another folder" if path.is_dir() else "a file"
        raise UserError(f"{name}: expected a run folder, a saved model's folder or a hub id, got {found}")
    if name.startswith(("/", ".", "~")) or name.count("/") != 1 or path.parent.is_dir():
        raise UserError(f"{name}: no such folder")
    return name


def run_folder(name: str) -> Path | None:
    """The run folder that a model belongs to; None for a model elsewhere."""
    path = Path(name).expanduser()
    for folder in (path, path.parent):
        if (folder / "settings.yaml").is_file() and (folder == path or path.name == "model"):
            return folder
    return None


def with_settings(config: PerceiverConfig, values: Mapping[str, Any]) -> PerceiverConfig:
    """A model's config changed by `--model-settings`."""
    try:
        return type(config).from_dict({**config.to_dict(), **values})
    except ValueError as error:
        raise UserError(f"--model-settings.{error}") from None


def run_settings(name: str) -> dict[str, Any]:
    """The settings of a model's run; empty for a model outside a run folder."""
    folder = run_folder(name)
    return {} if folder is None else read_config(folder / "settings.yaml")
