"""A saved model is a folder: `config.json` says what it is, `model.safetensors` holds weights; neither executes code.

`config.json` holds the architecture, its config and modalities, and what belongs to using it: each modality's encoder
(with its normalisation), the class names, and the task whose head is saved with it, if any. `model.safetensors` holds
the model's weights under their own names and the head's under `head.`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from hiperceiver.modality import Modality
from hiperceiver.model.perceiver import Perceiver, PerceiverConfig
from hiperceiver.model.variants import ARCHITECTURES

FORMAT = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
HEAD_PREFIX = "head."


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """What a saved model's folder holds, read and checked."""

    source: str
    """The folder or hub id, for messages."""
    architecture: str
    """`HiP` or `PerceiverIO`."""
    config: PerceiverConfig
    """Its config."""
    modalities: dict[str, Modality]
    """Its modalities."""
    encoders: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Per modality: how raw values become tokens, normalisation included."""
    classes: tuple[str, ...] = ()
    """Names of the labels."""
    task: dict[str, Any] | None = None
    """The task whose head is saved, with its settings."""
    weights: dict[str, Tensor] = field(repr=False)
    """The model's weights."""
    head: dict[str, Tensor] = field(default_factory=dict, repr=False)
    """The task head's weights."""

    def build(self) -> Perceiver:
        """The model with its weights, in evaluation mode.

        Raises:
            ValueError: the weights do not fit the config.
        """
        architecture = ARCHITECTURES[self.architecture]
        with torch.device("meta"):  # shapes only: sizes that are wrong must not be allocated
            expected = architecture(self.config, self.modalities).state_dict()
        for name in [*expected, *self.weights]:
            if name not in self.weights:
                raise ValueError(f"{self.source}: {WEIGHTS_FILE} lacks {name}, which {CONFIG_FILE} calls for")
            if name not in expected:
                raise ValueError(f"{self.source}: {WEIGHTS_FILE} holds {name}, which {CONFIG_FILE} has no place for")
            if self.weights[name].shape != expected[name].shape:
                raise ValueError(
                    f"{self.source}: expected shape {tuple(expected[name].shape)} for {name} by {CONFIG_FILE}, got "
                    f"{tuple(self.weights[name].shape)} in {WEIGHTS_FILE}"
                )
        model = architecture(self.config, self.modalities)
        model.load_state_dict(self.weights)
        model.metadata = {"encoders": self.encoders, "classes": list(self.classes)}
        return model.eval()


def save_model(
    folder: str | Path,
    model: Perceiver,
    *,
    encoders: Mapping[str, Mapping[str, Any]] | None = None,
    classes: tuple[str, ...] | None = None,
    task: Mapping[str, Any] | None = None,
    head: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a model's folder. What stood there before stays whole until everything new is on the disk.

    Args:
        folder: made if missing.
        model: its weights are saved as they are.
        encoders: per modality, plain values of its encoder. None: those that the model was loaded with.
        classes: names of the labels. None: those that the model was loaded with.
        task: plain values of the task whose head is saved.
        head: the task head's weights.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "format": FORMAT,
        "architecture": next(name for name, architecture in ARCHITECTURES.items() if isinstance(model, architecture)),
        "config": model.config.to_dict(),
        "modalities": {name: modality.to_dict() for name, modality in model.modalities.items()},
        "encoders": dict(model.metadata.get("encoders", {}) if encoders is None else encoders),
        "classes": list(model.metadata.get("classes", ()) if classes is None else classes),
        "task": None if task is None else dict(task),
    }
    tensors = dict(model.state_dict()) | {HEAD_PREFIX + name: tensor for name, tensor in (head or {}).items()}
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    data = safetensors.torch.save(tensors, metadata={"format": "pt"})
    description = (json.dumps(values, indent=2) + "\n").encode()
    _replace({folder / WEIGHTS_FILE: data, folder / CONFIG_FILE: description})
    return folder


def _replace(files: Mapping[Path, bytes]) -> None:
    partials = {path: path.with_name(path.name + ".partial") for path in files}
    try:
        for path, data in files.items():
            partials[path].write_bytes(data)
        for path, partial in partials.items():
            os.replace(partial, path)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


def read_model(folder_or_id: str | Path, **download: Any) -> SavedModel:
    """Read a saved model from a folder or from the Hugging Face hub.

    Args:
        folder_or_id: a folder, or a hub id such as "user/model".
        download: for a hub id, passed on to `huggingface_hub.snapshot_download` (revision, token, cache_dir, ...).

    Raises:
        ValueError: there is no saved model there, or it is damaged or of a newer format.
    """
    source = str(folder_or_id)
    folder = _locate(source, **download)
    try:
        values = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{source}: {CONFIG_FILE} cannot be read: {_one_line(error)}") from None
    if not isinstance(values, dict) or "architecture" not in values:
        raise ValueError(f"{source}: {CONFIG_FILE} does not describe a hiperceiver model")
    if values.get("format") != FORMAT:
        raise ValueError(
            f"{source}: expected format {FORMAT}, got {values.get('format')!r}; a newer hiperceiver may read it"
        )
    if values["architecture"] not in [*ARCHITECTURES]:
        raise ValueError(
            f"{source}: expected an architecture among {', '.join(ARCHITECTURES)}, got {values['architecture']!r}"
        )
    try:
        config = ARCHITECTURES[values["architecture"]].config_class.from_dict(values["config"])
        modalities = {name: Modality.from_dict(each) for name, each in values["modalities"].items()}
        encoders = {name: dict(each) for name, each in (values.get("encoders") or {}).items()}
        classes = tuple(str(name) for name in values.get("classes") or ())
        task = None if values.get("task") is None else dict(values["task"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{source}: {CONFIG_FILE} is not valid: {_one_line(error)}") from None
    try:
        tensors = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f"{source}: {WEIGHTS_FILE} cannot be read: {_one_line(error)}") from None
    return SavedModel(
        source=source,
        architecture=values["architecture"],
        config=config,
        modalities=modalities,
        encoders=encoders,
        classes=classes,
        task=task,
        weights={name: tensor for name, tensor in tensors.items() if not name.startswith(HEAD_PREFIX)},
        head={
            name.removeprefix(HEAD_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(HEAD_PREFIX)
        },
    )


def _locate(source: str, **download: Any) -> Path:
    folder = Path(source)
    if folder.is_dir():
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / name).is_file():
                raise ValueError(f"{source}: expected a saved model's folder with {name}, got one without it")
        return folder
    if folder.exists():
        raise ValueError(f"{source}: expected a saved model's folder, got a file")
    if source.count("/") != 1 or source.startswith((".", "/", "~")) or source.endswith("/"):
        raise ValueError(f"{source}: no such folder")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE], **download))
    except Exception as error:  # the hub's client and its transport raise many kinds, all meaning "could not be had"
        raise ValueError(
            f"{source}: no such folder, and it cannot be had from the Hugging Face hub: {_one_line(error)}"
        ) from None


def _one_line(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"lacks {error.args[0]!r}"
    return " ".join(str(error).split())[:200]
