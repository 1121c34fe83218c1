"""Tasks by name, and saved models that carry a task with its head."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hiperceiver.model import HiP, build_model, load_model, read_model, save_model
from hiperceiver.model.files import HEAD_PREFIX, check_weights, faults_of_config
from hiperceiver.settings.tasks import TaskConfig
from hiperceiver.tasks.classification import Classification
from hiperceiver.tasks.forecasting import Forecasting
from hiperceiver.tasks.joint import Joint
from hiperceiver.tasks.masked_autoencoding import MaskedAutoencoding
from hiperceiver.tasks.multilabel import Multilabel
from hiperceiver.tasks.regression import Regression
from hiperceiver.tasks.segmentation import Segmentation
from hiperceiver.tasks.task import Task

TASKS: dict[str, type[Task]] = {
    task.kind: task
    for task in (MaskedAutoencoding, Classification, Multilabel, Segmentation, Regression, Forecasting, Joint)
}
"""Every task by its name in settings and on the command line."""


def task_from_settings(settings: Mapping[str, Any], model: HiP) -> Task:
    """Build a task on a model, which becomes part of it, with a new head.

    `settings` are `kind`, a name in `TASKS`, and fields of that task's config. `ValueError`: unknown task, unknown,
    missing or wrong setting, or a model that does not fit.

    >>> from hiperceiver import Modality, create_model
    >>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    >>> task_from_settings({"kind": "classification", "num_classes": 10}, model).settings()["readout"]
    'query'
    """
    config = task_config_from_settings(settings)
    return TASKS[settings["kind"]](model, config)


def task_config_from_settings(settings: Mapping[str, Any]) -> TaskConfig:
    """The config of a task; arguments and errors as for `task_from_settings`."""
    kind = settings.get("kind")
    if not isinstance(kind, str) or kind not in TASKS:
        raise ValueError(f"task: expected one of {', '.join(TASKS)}, got {kind!r}")
    return TASKS[kind].config_class.from_dict(settings)


def save_task(
    folder: str | Path,
    task: Task,
    encoders: Mapping[str, Mapping[str, Any]] | None = None,
    classes: Sequence[str] | None = None,
) -> Path:
    """Write a saved-model folder, made if missing, with the task's model, head and settings.

    `encoders` (per modality, plain values of its encoder) and `classes` (a name for each) are the task's unless given.
    """
    classes = tuple(task.classes if classes is None else classes)
    num_classes = getattr(task.config, "num_classes", len(classes))
    if classes and len(classes) != num_classes:
        raise ValueError(f"classes: expected {num_classes} names, one for each class, got {len(classes)}")
    saved = {"encoders": task.encoders if encoders is None else encoders, "classes": classes}
    return save_model(folder, task.model, **saved, task=task.settings(), head=task.head.state_dict())


def load_task(folder_or_id: str | Path, **download: Any) -> Task:
    """Load a model with its task and head, in evaluation mode, from a folder of `save_task` or a hub id ("user/model").

    `download` goes to `huggingface_hub.snapshot_download` (revision, token, cache_dir, ...). `ValueError`: no saved
    model, one without a task, an unknown task, or a head that does not fit its settings.
    """
    saved = read_model(folder_or_id, **download)
    if saved.task is None:
        raise ValueError(f"{saved.source}: expected a model that was saved with a task, got one without")
    model = load_model(saved)
    with faults_of_config(saved), torch.device("meta"):  # shapes only, as of the model
        expected = task_from_settings(saved.task, build_model(saved.config, saved.modalities)).head.state_dict()
    check_weights(saved.source, saved.head, expected, prefix=HEAD_PREFIX)
    task = task_from_settings(saved.task, model)
    task.head.load_state_dict(saved.head)
    task.classes = tuple(saved.classes)
    return task.eval()
