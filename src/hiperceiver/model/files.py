"""A saved model is a folder of two files, neither of which executes code.

`config.json` has what `SavedModel` has beside weights; `model.safetensors` has these, those of a head under `head.`.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from hiperceiver import limits
from hiperceiver.modality import Modality
from hiperceiver.settings.base import one_line
from hiperceiver.settings.model import ARCHITECTURES, PerceiverConfig
from hiperceiver.settings.old_names import FORMAT, model_of_format_1
from hiperceiver.writing import replacing

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
HEAD_PREFIX = "head."

_MODEL_CARD = """---
library_name: hiperceiver
license: apache-2.0
tags: [perceiver]
---

A model of hiperceiver: raw signals in, without tokenizer, patches or hand-made positions. `config.json` says its
shape, its modalities, how raw values become tokens, and the task whose head is in `model.safetensors`, if any.

```python
from hiperceiver import HiP  # PerceiverIO, if config.json says so

model = HiP.from_pretrained("this repository or folder")
```

Architecture: https://arxiv.org/abs/2202.10890
"""
"""A saved model's README.md to begin with; nothing in it is measured."""


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """A saved model's folder, read and checked."""

    source: str  # the folder or hub id, for messages
    config: PerceiverConfig
    modalities: dict[str, Modality]
    encoders: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Per modality: how raw values become tokens, normalisation included."""
    classes: tuple[str, ...] = ()  # names of the labels
    task: dict[str, Any] | None = None  # the task whose head is saved, with its settings
    weights: dict[str, Tensor] = field(repr=False)
    head: dict[str, Tensor] = field(default_factory=dict, repr=False)  # the task head's weights

    @property
    def architecture(self) -> str:
        """`HiP` or `PerceiverIO`."""
        return _architecture_of(self.config)


class SavedInFolder(nn.Module):
    """A model's own methods for its folder and for the Hugging Face hub."""

    config: Any
    config_class: type[PerceiverConfig]
    modalities: dict[str, Modality]
    metadata: dict[str, Any]

    def save_pretrained(
        self, save_directory: str | Path, *, repo_id: str | None = None, push_to_hub: bool = False, **push: Any
    ) -> str | None:
        """Write a folder that `from_pretrained` reads, with a model card unless one is there.

        With `push_to_hub` it is uploaded too, to `repo_id` (None: the folder's name), with other arguments of the
        method `push_to_hub`, whose result is given.
        """
        if push and not push_to_hub:
            raise ValueError(f"push_to_hub: expected True with {', '.join(push)}, got False")
        folder = save_model(save_directory, self)
        card = folder / "README.md"
        if not card.exists():
            card.write_text(_MODEL_CARD, encoding="utf-8")
        return self.push_to_hub(repo_id or folder.name, **push) if push_to_hub else None

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: str | None = None, **upload: Any) -> str:
        """Upload the model to the Hugging Face hub; gives the commit's address.

        A missing `repo_id` is created, `private` or (None) as its owner's default is. `upload` is passed on to
        `HfApi.upload_folder` (commit_message, revision, ...); a `token` of None is the one that is logged in.
        """
        import huggingface_hub

        hub = huggingface_hub.HfApi(token=token)
        repo_id = hub.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            upload = {"commit_message": "Push model using hiperceiver.", **upload}
            return str(hub.upload_folder(repo_id=repo_id, folder_path=folder, **upload))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **download: Any) -> Self:
        """Load a model of this class, as `hiperceiver.model.load_model` does; a task's head is left out."""
        saved = read_model(pretrained_model_name_or_path, **download)
        if type(saved.config) is not cls.config_class:
            found = f"a {saved.architecture}; load it with {saved.architecture}.from_pretrained"
            raise ValueError(f"{saved.source}: expected a {cls.__name__}, got {found}")
        return build_saved(saved, cls)


ModelT = TypeVar("ModelT", bound=SavedInFolder)


def check_weights(
    source: str, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, prefix: str = ""
) -> None:
    """Refuse weights that differ from those expected in names or shapes.

    `prefix` is before the names in the file.
    """
    for name in [*expected, *weights]:
        if name not in weights:
            raise ValueError(f"{source}: {WEIGHTS_FILE} lacks {prefix}{name}, which {CONFIG_FILE} calls for")
        if name not in expected:
            raise ValueError(f"{source}: {WEIGHTS_FILE} holds {prefix}{name}, which {CONFIG_FILE} does not have")
        shape, found = tuple(expected[name].shape), tuple(weights[name].shape)
        if shape != found:
            by = f"for {prefix}{name} by {CONFIG_FILE}, got {found} in {WEIGHTS_FILE}"
            raise ValueError(f"{source}: expected shape {shape} {by}")


@contextmanager
def faults_of_config(saved: SavedModel) -> Iterator[None]:
    """What cannot be built of a saved model, because it contradicts itself or no tensor is so large: a `ValueError`."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError, OverflowError, MemoryError) as error:
        raise ValueError(f"{saved.source}: {CONFIG_FILE} is not valid: {_one_line(error)}") from error


def build_saved(saved: SavedModel, make: Callable[[Any, dict[str, Modality]], ModelT]) -> ModelT:
    """The model of a class with its saved weights, which must fit, in evaluation mode."""
    with faults_of_config(saved), torch.device("meta"):  # shapes only: sizes that are wrong must not be allocated
        expected = make(saved.config, saved.modalities).state_dict()
    check_weights(saved.source, saved.weights, expected)
    model = make(saved.config, saved.modalities)
    model.load_state_dict(saved.weights)
    model.metadata = {"encoders": saved.encoders, "classes": list(saved.classes)}
    return model.eval()


def save_model(
    folder: str | Path,
    model: SavedInFolder,
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
        task: plain values of the task whose head's weights are `head`.
        head: see `task`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "format": FORMAT,
        "architecture": _architecture_of(model.config),
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
    with replacing(folder / WEIGHTS_FILE) as weights, replacing(folder / CONFIG_FILE) as config:
        weights.write_bytes(data)
        config.write_bytes(description)
    return folder


def _architecture_of(config: PerceiverConfig) -> str:
    return next(name for name, config_class in ARCHITECTURES.items() if isinstance(config, config_class))


def read_model(folder_or_id: str | Path, **download: Any) -> SavedModel:
    """Read a saved model. Only `config.json` and `model.safetensors` are read; neither can execute code.

    Args:
        folder_or_id: a folder, or a hub id such as "user/model".
        download: for a hub id, passed on to `huggingface_hub.snapshot_download` (revision, token, cache_dir, ...).

    Raises:
        ValueError: there is no saved model there, or it is damaged, of a newer format, or diverged.
    """
    source = str(folder_or_id)
    folder = _locate(source, **download)
    try:
        values = json.loads(limits.read_text(folder / CONFIG_FILE))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source}: {CONFIG_FILE} cannot be read: {_one_line(error)}") from None
    if not isinstance(values, dict) or "architecture" not in values:
        raise ValueError(f"{source}: {CONFIG_FILE} does not describe a hiperceiver model")
    if (found := values.get("format")) not in (1, FORMAT):
        raise ValueError(f"{source}: expected format {FORMAT}, got {found!r:.60}; a newer hiperceiver may read it")
    if (architecture := values["architecture"]) not in [*ARCHITECTURES]:
        expected = f"an architecture among {', '.join(ARCHITECTURES)}"
        raise ValueError(f"{source}: expected {expected}, got {architecture!r:.60}")
    try:
        tensors = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f"{source}: {WEIGHTS_FILE} cannot be read: {_one_line(error)}") from None
    try:
        if values["format"] == 1:
            values = model_of_format_1(values)
        if len(values["modalities"]) > len(tensors):
            raise ValueError(f"{len(values['modalities'])} modalities, and {len(tensors)} weights in {WEIGHTS_FILE}")
        parts: dict[str, Any] = {
            "config": ARCHITECTURES[architecture].from_dict(values["config"]),
            "modalities": {name: Modality.from_dict(each) for name, each in values["modalities"].items()},
            "encoders": {name: dict(each) for name, each in (values.get("encoders") or {}).items()},
            "classes": tuple(str(name) for name in values.get("classes") or ()),
            "task": None if values.get("task") is None else dict(values["task"]),
        }
        _check_size(parts["config"], parts["modalities"], len(tensors))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{source}: {CONFIG_FILE} is not valid: {_one_line(error)}") from None
    if bad := next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None):
        reason = "its training diverged, or the file is damaged"
        raise ValueError(f"{source}: {bad} in {WEIGHTS_FILE} holds numbers that are not finite; {reason}")
    head = {name: tensors.pop(name) for name in list(tensors) if name.startswith(HEAD_PREFIX)}
    head = {name.removeprefix(HEAD_PREFIX): tensor for name, tensor in head.items()}
    return SavedModel(source=source, **parts, weights=tensors, head=head)


def _check_size(config: PerceiverConfig, modalities: Mapping[str, Modality], num_weights: int) -> None:
    """Refuse more layers than there are weights, which might take for ever to build, and examples without end."""
    num_layers = sum(1 + block.num_self_attention_layers for block in config.all_blocks)
    if num_layers > num_weights:
        raise ValueError(f"{num_layers} layers, and {num_weights} weights in {WEIGHTS_FILE}")
    for name, modality in modalities.items():
        limits.FILE.check(4 * modality.num_tokens * modality.channels, f"an example of {name!r} has")


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
        reason = f"it cannot be had from the Hugging Face hub: {_one_line(error)}"
        raise ValueError(f"{source}: no such folder, and {reason}") from None


def _one_line(error: Exception) -> str:
    return f"lacks {error.args[0]!r}" if isinstance(error, KeyError) else one_line(error)[:200]
