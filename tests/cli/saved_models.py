"""Small models of every kind of signal and task, as they lie on disk after training; they were not trained."""

from pathlib import Path
from typing import Any

import torch

from hiperceiver import create_model
from hiperceiver.data.encoders import (
    AudioEncoder,
    BytesEncoder,
    ImageEncoder,
    PointsEncoder,
    SeriesEncoder,
    VectorEncoder,
    VideoEncoder,
    VolumeEncoder,
)
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.modality import Modality
from hiperceiver.tasks import save_task, task_from_settings

ENCODERS: dict[str, Encoder] = {
    "image": ImageEncoder(size=16, fit="pad"),
    "video": VideoEncoder(size=(8, 8), frames=4, frames_per_second=2),
    "audio": AudioEncoder(rate=8000, seconds=0.25, samples_per_token=4),
    "series": SeriesEncoder(length=64, channels=2, mean=(0.0, 100.0), std=(1.0, 7.0)),
    "points": PointsEncoder(num_points=128),
    "volume": VolumeEncoder(size=(4, 8, 8)),
    "bytes": BytesEncoder(length=64),
    "vector": VectorEncoder(features=60, split=60),
}


def save(
    folder: Path,
    task: dict[str, Any],
    *kinds: str,
    encoders: dict[str, Encoder] | None = None,
    labels: dict[str, Modality] | None = None,
    classes: tuple[str, ...] = (),
    **model_settings: Any,
) -> Path:
    """Save a task on a new model of these modalities. It says something, for no weights are zero."""
    encoders = encoders or {kind: ENCODERS[kind] for kind in kinds}
    modalities = {**{name: encoder.modality for name, encoder in encoders.items()}, **(labels or {})}
    torch.manual_seed(0)
    made = task_from_settings(task, create_model("hip-nano", modalities=modalities, **model_settings))
    for weight in made.parameters():
        if weight.ndim > 1 and not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    saved = {name: encoder.to_dict() for name, encoder in encoders.items()}
    return save_task(folder, made, encoders=saved, classes=classes)
