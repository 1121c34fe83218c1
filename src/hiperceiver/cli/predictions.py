"""A task's answers as files: pictures, tables, sounds and texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.example import Example
from hiperceiver.tasks import Task
from hiperceiver.tasks.answers import Answer, DrawnTokens, ForecastTokens, LabelledTokens, ReconstructedTokens

# Values alone need no matplotlib: the functions that draw import it.


@dataclass(kw_only=True)
class InputFile:
    """A file that could be read."""

    path: Path
    stem: Path
    """Beginning of the paths of what is written for it."""
    example: Example
    absent: list[str] = field(default_factory=list)
    """Modalities that could not be read from it."""
    past: np.ndarray | None = None
    """Before a forecast of a sequence: the visible part, in the file's units."""


class Prediction(NamedTuple):
    """The result for one file."""

    values: dict[str, Any]
    """For JSON."""
    text: str
    """One line for people."""


def read_file(task: Task, encoders: Mapping[str, Encoder], path: Path, stem: Path) -> InputFile:
    """A file as an example. Modalities that cannot be read from it are absent.

    Raises:
        ValueError: none can be read, or the one that the task needs cannot.
    """
    inputs: dict[str, Tensor] = {}
    is_padding: dict[str, Tensor] = {}
    faults: dict[str, ValueError] = {}
    file = InputFile(path=path, stem=stem, example=Example(inputs=inputs, is_padding=is_padding, name=path.name))
    for name, encoder in encoders.items():
        num_tokens, channels = encoder.modality.num_tokens, encoder.modality.channels
        try:
            if task.horizon and name == task.input_modality and encoder.is_sequence:
                file.past = _past(encoder, encoder.decode(path), task.horizon)
                inputs[name], absent = _before_the_horizon(encoder, file.past, task.horizon)
            else:
                inputs[name], absent = encoder.encode(path)
        except ValueError as error:
            if name == task.input_modality:
                raise
            faults[name] = error
            inputs[name], absent = torch.zeros(num_tokens, channels), torch.ones(num_tokens, dtype=torch.bool)
        if absent is not None:
            is_padding[name] = absent
    if len(faults) == len(encoders):
        if len(faults) == 1:
            raise next(iter(faults.values()))
        reasons = "; ".join(f"as {name}: {str(error).removeprefix(f'{path}: ')}" for name, error in faults.items())
        raise ValueError(f"{path}: {reasons}")
    file.absent = list(faults)
    return file


def _past(encoder: Encoder, value: np.ndarray, horizon: int) -> np.ndarray:
    """The end of a file, as far as the model sees it: whole tokens."""
    size = encoder.steps_per_token
    count = min(len(value) // size, encoder.modality.grid[0] - horizon)
    if not count:
        raise ValueError(f"is too short: expected at least {size} samples, got {len(value)}")
    return value[-count * size :]


def _before_the_horizon(encoder: Encoder, past: np.ndarray, horizon: int) -> tuple[Tensor, Tensor]:
    """Tokens that end where the horizon begins, so that the forecast follows the file's end."""
    tokens, _ = encoder.to_tokens(past)
    count, num_past = len(past) // encoder.steps_per_token, len(tokens) - horizon
    index = torch.arange(len(tokens))
    return tokens.roll(num_past - count, dims=0), (index < num_past - count) | (index >= num_past)


def written_suffixes(task: Task, encoders: Mapping[str, Encoder]) -> list[str]:
    """Endings of the files that may be written for an input; none for a task whose answers are values alone."""
    return [
        suffix
        for modality, drawn in task.drawings.items()
        for suffix in _suffixes(drawn, encoders[modality], modality if len(task.drawings) > 1 else "")
    ]


def _suffixes(drawn: type[DrawnTokens], encoder: Encoder, prefix: str) -> Sequence[str]:
    return [f"-{prefix}{suffix}" if prefix else suffix for suffix in _WRITERS[drawn].suffixes(encoder)]


def finish(file: InputFile, answer: Answer, encoders: Mapping[str, Encoder]) -> Prediction:
    """Write the files of an answer, and put its values and its text together."""
    written: list[str] = []
    values, text = answer.values, answer.text
    for drawn in answer.drawn:
        if drawn.modality in file.absent:
            continue
        encoder, prefix = encoders[drawn.modality], drawn.modality if len(answer.drawn) > 1 else ""
        file.stem.parent.mkdir(parents=True, exist_ok=True)
        paths = [f"{file.stem}{suffix}" for suffix in _suffixes(type(drawn), encoder, prefix)]
        more = _WRITERS[type(drawn)].write(file, encoder, drawn, paths)
        written += paths
        if more is not None:
            values, text = {**values, **more.values}, more.text
    if answer.drawn:
        values = {"written": written, **values}
    if file.absent:
        values = {**values, "absent": file.absent}
    text = ": ".join(part for part in (", ".join(written), text) if part)
    return Prediction(values, f"{text} (without {', '.join(file.absent)})" if file.absent else text)


def _write_labels(file: InputFile, encoder: Encoder, drawn: LabelledTokens, paths: Sequence[str]) -> None:
    """A picture with a palette."""
    from hiperceiver.plots.segmentation import segmentation_picture

    segmentation_picture(drawn.label.view(encoder.modality.grid), drawn.classes).save(paths[0])


def _write_forecast(
    file: InputFile, encoder: Encoder, drawn: ForecastTokens, paths: Sequence[str]
) -> Prediction | None:
    """Of a sequence a table, a row for each step and a column for each channel, and a picture."""
    from hiperceiver.cli.drawing import forecast_figures, forecast_values
    from hiperceiver.plots.forecasts import draw_forecast
    from hiperceiver.plots.style import save_picture

    if file.past is None:
        (figure,) = forecast_figures(encoder, [file.example], [drawn])
        save_picture(figure, paths[0])
        return None
    tokens = file.example.inputs[drawn.modality]
    values, repeated = (encoder.in_units_of(x, file.past) for x in forecast_values(encoder, tokens, drawn))
    header = ",".join(f"channel_{k}" for k in range(values.shape[1]))
    np.savetxt(paths[0], values, fmt="%.9g", delimiter=",", header=header, comments="")
    rate = None if encoder.drawing is None else encoder.drawing.rate
    save_picture(draw_forecast(file.past, values, persistence=repeated, rate=rate, title=file.path.name), paths[1])
    text = f"{len(values)} step{'s'[: len(values) > 1]} forecast from {len(file.past)} before"
    return Prediction({"steps": len(values), "seen_steps": len(file.past)}, text)


def _write_reconstruction(file: InputFile, encoder: Encoder, drawn: ReconstructedTokens, paths: Sequence[str]) -> None:
    """A picture; of sound also the sound, of bytes also the text."""
    from hiperceiver.cli.drawing import decoded, figures_of, tokens_of
    from hiperceiver.plots.style import save_picture
    from hiperceiver.plots.texts import marked_text

    tokens = tokens_of(file.example, drawn)
    (figure,) = figures_of(encoder, [tokens])
    save_picture(figure, paths[0])
    if encoder.written_suffix:
        value = decoded(encoder, tokens)
        if encoder.drawing is not None and encoder.drawing.kind == "text":
            text = marked_text(value.inputs, value.output, value.is_masked)
            Path(paths[1]).write_text(text, encoding="utf-8")
        else:
            encoder.write(paths[1], value.output)


class _Writer(NamedTuple):
    suffixes: Callable[[Encoder], Sequence[str]]
    write: Callable[[InputFile, Encoder, Any, Sequence[str]], Prediction | None]


_WRITERS: dict[type[DrawnTokens], _Writer] = {
    LabelledTokens: _Writer(lambda encoder: (".png",), _write_labels),
    ForecastTokens: _Writer(lambda encoder: (".csv", ".png") if encoder.is_sequence else (".png",), _write_forecast),
    ReconstructedTokens: _Writer(
        lambda encoder: (".png", encoder.written_suffix) if encoder.written_suffix else (".png",),
        _write_reconstruction,
    ),
}
"""Tokens of an answer -> the endings of its files, and what writes them."""
