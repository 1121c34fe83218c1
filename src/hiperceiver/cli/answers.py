"""What a model of each task says of files: plain values for people and programs, and pictures, tables and sounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hiperceiver.data.encoders import AudioEncoder, BytesEncoder, SeriesEncoder
from hiperceiver.data.encoders.audio import write_wav
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.example import Example
from hiperceiver.modality import Batch
from hiperceiver.tasks import (
    Classification,
    Forecasting,
    Joint,
    MaskedAutoencoding,
    Multilabel,
    Regression,
    Segmentation,
)

if TYPE_CHECKING:
    from hiperceiver.cli.drawing import Value

# What only says labels needs no matplotlib: functions that draw import what draws.

Result = dict[str, Any]
"""Plain values: what is said of one file."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model that predicts, and what it is told."""

    task: Any
    """Of the kind that the answering function is for."""
    encoders: Mapping[str, Encoder]
    """Of each modality that the model takes."""
    top: int
    """How many labels are named."""


@dataclass(kw_only=True)
class ReadFile:
    """One file that could be read."""

    path: Path
    index: int
    """Its place among all files."""
    stem: Path
    """Beginning of the paths of what is written for it."""
    example: Example
    absent: list[str] = field(default_factory=list)
    """Modalities that could not be read from it."""
    past: np.ndarray | None = None
    """For a forecaster of a line: what it saw, in the file's units."""

    def written(self, ending: str) -> str:
        """A path to write to, in a folder that is there."""
        self.stem.parent.mkdir(parents=True, exist_ok=True)
        return f"{self.stem}{ending}"


def _classes(subject: Subject, batch: Batch, files: Sequence[ReadFile]) -> Iterator[Result]:
    """The most probable labels: of a single one, or of any number."""
    for each in subject.task.predict(batch.to(subject.task.device)).probabilities.cpu():
        yield {"labels": _largest(each, _class_names(subject.task), subject.top)}


def _numbers(subject: Subject, batch: Batch, files: Sequence[ReadFile]) -> Iterator[Result]:
    count = subject.task.config.num_values
    names = subject.task.classes or [f"value {number}" if count > 1 else "value" for number in range(count)]
    for each in subject.task.predict(batch.to(subject.task.device)).values.tolist():
        yield {"values": [{"name": name, "value": value} for name, value in zip(names, each, strict=True)]}


def _joint_labels(subject: Subject, batch: Batch, files: Sequence[ReadFile]) -> Iterator[Result]:
    said = subject.task.predict(batch.to(subject.task.device))
    for index in range(len(files)):
        answers: dict[str, Any] = {}
        for name, num_classes in subject.task.config.labels.items():
            if num_classes:
                classes = (subject.task.config.class_names or {}).get(name) or [str(k) for k in range(num_classes)]
                answers[name] = _largest(said.probabilities[name][index].cpu(), classes, subject.top)
            else:
                answers[name] = float(said.labels[name][index])
        yield {"joint": answers}


def _segments(subject: Subject, batch: Batch, files: Sequence[ReadFile]) -> Iterator[Result]:
    """A picture with a palette for each file, and the share of each class; of what is there."""
    from hiperceiver.plots.segmentation import IGNORE, segmentation_picture

    classes = _class_names(subject.task)
    grid = subject.encoders[subject.task.input_modality].modality.grid
    labels = subject.task.predict(batch.to(subject.task.device)).label.cpu()
    absent = batch.is_padding.get(subject.task.input_modality, torch.zeros_like(labels, dtype=torch.bool))
    for file, label, is_absent in zip(files, labels, absent, strict=True):
        path = file.written(".png")
        segmentation_picture(label.masked_fill(is_absent, IGNORE).view(grid), classes).save(path)
        shares = torch.bincount(label[~is_absent], minlength=len(classes)) / max(int((~is_absent).sum()), 1)
        yield {"written": [path], "shares": _largest(shares, classes, subject.top)}


def _forecasts(subject: Subject, batch: Batch, files: Sequence[ReadFile]) -> Iterator[Result]:
    """A picture for each file; and of a line a table: a row for each step, a column for each channel."""
    from hiperceiver.cli.drawing import Tokens, reconstruction_figures
    from hiperceiver.plots.forecasts import draw_forecast
    from hiperceiver.plots.style import save_picture

    task: Forecasting = subject.task
    name, on_device = task.input_modality, batch.to(task.device)
    encoder = subject.encoders[name]
    inputs = batch.inputs[name]
    forecast, persistence = task.predict(on_device).forecast.cpu(), task.persistence(batch)
    num_seen = inputs.shape[1] - forecast.shape[1]
    for index, file in enumerate(files):
        seen, picture = inputs[index, :num_seen], file.written(".png")
        whole = torch.cat([seen, forecast[index]])
        if file.past is None:
            is_future = torch.arange(len(whole)) >= num_seen
            is_absent = batch.is_padding[name][index] if name in batch.is_padding else None
            tokens = Tokens(inputs[index], whole, is_future, is_absent, file.path.name)
            (figure,) = reconstruction_figures(encoder, [tokens])
            save_picture(figure, picture)
            yield {"written": [picture], "steps": task.config.horizon}
            continue
        values, repeated = (
            _in_units(encoder, encoder.to_value(each), file.past)[-task.config.horizon * samples_per_token(encoder) :]
            for each in (whole, torch.cat([seen, persistence[index]]))
        )
        table, names = file.written(".csv"), ",".join(f"channel_{k}" for k in range(values.shape[1]))
        np.savetxt(table, values, fmt="%.9g", delimiter=",", header=names, comments="")
        rate = encoder.rate if isinstance(encoder, AudioEncoder) else None
        figure = draw_forecast(file.past, values, persistence=repeated, rate=rate, title=file.path.name)
        save_picture(figure, picture)
        yield {"written": [table, picture], "steps": len(values), "seen_steps": len(file.past)}


def _reconstructions(subject: Subject, batch: Batch, files: Sequence[ReadFile]) -> Iterator[Result]:
    """A picture for each file and modality; of sound also the sound, of bytes also the text."""
    from hiperceiver.cli.drawing import Tokens, decoded, reconstruction_figures
    from hiperceiver.plots.style import save_picture

    generators = [torch.Generator().manual_seed(file.index) for file in files]
    said = subject.task.predict(batch.to(subject.task.device), generators)
    for index, file in enumerate(files):
        written: list[str] = []
        num_hidden = num_present = 0
        for name, encoder in subject.encoders.items():
            if name in file.absent:
                continue
            tokens = Tokens(
                batch.inputs[name][index],
                said.reconstruction[name][index].cpu(),
                said.is_masked[name][index].cpu(),
                batch.is_padding[name][index] if name in batch.is_padding else None,
                file.path.name,
            )
            is_present = (
                torch.ones(len(tokens.inputs), dtype=torch.bool) if tokens.is_absent is None else ~tokens.is_absent
            )
            num_hidden += int((tokens.is_masked & is_present).sum())
            num_present += int(is_present.sum())
            picture, *other = (file.written(ending) for ending in _reconstruction_endings(subject, name))
            (figure,) = reconstruction_figures(encoder, [tokens])
            save_picture(figure, picture)
            if isinstance(encoder, AudioEncoder):
                write_wav(other[0], decoded(encoder, tokens).output, encoder.rate)
            elif isinstance(encoder, BytesEncoder):
                Path(other[0]).write_text(_marked(decoded(encoder, tokens)), encoding="utf-8")
            written += [picture, *other]
        yield {"written": written, "hidden_share": num_hidden / max(num_present, 1)}


ANSWERS: dict[str, Callable[[Subject, Batch, Sequence[ReadFile]], Iterator[Result]]] = {
    Classification.kind: _classes,
    Multilabel.kind: _classes,
    Regression.kind: _numbers,
    Joint.kind: _joint_labels,
    Segmentation.kind: _segments,
    Forecasting.kind: _forecasts,
    MaskedAutoencoding.kind: _reconstructions,
}
"""Kind of task -> what it says of each file of a batch, in order."""


def written_endings(subject: Subject) -> tuple[str, ...]:
    """Of what may be written for a file; none for a model that only says what it finds."""
    task = subject.task
    if isinstance(task, Segmentation):
        return (".png",)
    if isinstance(task, Forecasting):
        return (".csv", ".png") if is_line(subject.encoders[task.input_modality]) else (".png",)
    if isinstance(task, MaskedAutoencoding):
        return tuple(ending for name in subject.encoders for ending in _reconstruction_endings(subject, name))
    return ()


def _reconstruction_endings(subject: Subject, name: str) -> list[str]:
    encoder = subject.encoders[name]
    prefix = f"-{name}" if len(subject.encoders) > 1 else ""
    other = [".wav"] if isinstance(encoder, AudioEncoder) else [".txt"] if isinstance(encoder, BytesEncoder) else []
    return [f"{prefix}{ending}" for ending in (".png", *other)]


def _marked(value: Value) -> str:
    """What a model of bytes saw, and what it made of it."""
    from hiperceiver.plots.texts import cells

    parts = {
        "input": cells(value.inputs),
        "hidden bytes are blocks": cells(value.inputs, value.is_masked),
        "output": cells(value.output),
    }
    return "\n\n".join(f"--- {name} ---\n{''.join(characters)}" for name, characters in parts.items()) + "\n"


def _class_names(task: Any) -> Sequence[str]:
    return task.classes or [str(number) for number in range(task.config.num_classes)]


def _largest(values: Tensor, classes: Sequence[str], count: int) -> list[Result]:
    top = values.topk(min(count, len(classes)))
    return [
        {"name": classes[index], "probability": round(float(value), 6)}
        for value, index in zip(top.values, top.indices.tolist(), strict=True)
        if value > 0
    ]


def is_line(encoder: Encoder) -> bool:
    """Whether its values are steps of a line, which go on behind a file's end."""
    return isinstance(encoder, AudioEncoder | SeriesEncoder)


def samples_per_token(encoder: Encoder) -> int:
    """Steps of a value in a token."""
    return encoder.samples_per_token if isinstance(encoder, AudioEncoder) else 1


def _in_units(encoder: Encoder, values: np.ndarray, past: np.ndarray) -> np.ndarray:
    """What was decoded, in the file's own units, also where the encoder takes level and size from each example."""
    if not isinstance(encoder, SeriesEncoder) or encoder.normalise == "dataset":
        return values
    level, size = past.mean(axis=0, dtype=np.float64), past.std(axis=0, dtype=np.float64)
    return values * np.where(size <= 1e-6 * np.abs(level), 1.0, size) + level
