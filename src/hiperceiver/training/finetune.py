"""Start a task from a pretrained model, and say what is trained."""

import dataclasses
from pathlib import Path
from typing import Literal, get_args

from hiperceiver.model import TransferReport, read_model, transfer_weights
from hiperceiver.model.files import SavedModel
from hiperceiver.tasks.task import Task

Start = Literal["all", "positions", "all-but-positions", "frozen-positions", "frozen-backbone"]


def start_from(task: Task, pretrained: str | Path | SavedModel, *, mode: Start = "all") -> TransferReport:
    """Copy a pretrained model's weights into a new task's model, and freeze what `mode` says. The head stays new.

    `all`: take and train all weights. `positions`: take the position encodings only, train all. `all-but-positions`:
    take all but these, train all. `frozen-positions`: take all, train all but the position encodings that were taken.
    `frozen-backbone`: take all, train only the task's own head (a linear probe); the rest stays in evaluation mode,
    without dropout.

    `pretrained` is a saved model's folder, a hub id, or what `read_model` made of one. Returns what became of the
    weights, by name. `ValueError`: no saved model; weights that do not fit; nothing to take, to freeze or to train.
    """
    if mode not in get_args(Start):
        raise ValueError(f"mode: expected one of {', '.join(get_args(Start))}, got {mode!r}")
    saved = pretrained if isinstance(pretrained, SavedModel) else read_model(pretrained)
    report = transfer_weights(task.model, saved, part=mode if mode in ("positions", "all-but-positions") else "model")
    if mode == "frozen-positions":
        taken = {name for name in (*report.loaded, *report.resized) if name.startswith("positions.")}
        frozen = [weight for name, weight in task.model.named_parameters() if name in taken]
        if not frozen:
            raise ValueError(f"mode: nothing to freeze, {saved.source} has no learned positions")
        for weight in frozen:
            weight.requires_grad_(False)
    elif mode == "frozen-backbone":
        probe = list(task.head_parameters())
        if not probe:
            raise ValueError(f"mode: frozen-backbone leaves nothing to train, the task {task.kind} has no head")
        task.model.requires_grad_(False)
        for weight in probe:
            weight.requires_grad_(True)
    head = tuple(f"head.{name}" for name in task.head.state_dict())
    return dataclasses.replace(report, new=report.new + head)
