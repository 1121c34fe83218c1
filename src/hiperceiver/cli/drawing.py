"""A task's answers as pictures, and as the files that `hip predict` writes: by the encoder's kind of value.

`hip predict` and `hip plot` draw alike. Only commands that draw import this module, for it needs matplotlib.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hiperceiver.data.encoders.encoder import Drawing, DrawingKind, Encoder
from hiperceiver.data.example import Example
from hiperceiver.plots.forecasts import draw_forecast
from hiperceiver.plots.points import draw_points
from hiperceiver.plots.reconstructions import draw_reconstructions
from hiperceiver.plots.segmentation import draw_segmentation, segmentation_picture
from hiperceiver.plots.signals import draw_signals
from hiperceiver.plots.style import save_picture
from hiperceiver.plots.texts import draw_texts, marked_text
from hiperceiver.tasks.answers import DrawnTokens, ForecastTokens, LabelledTokens, ReconstructedTokens


class Tokens(NamedTuple):
    """One example of a modality, and what a model makes of its hidden tokens."""

    inputs: Tensor
    """(M, C)."""
    reconstruction: Tensor
    """(M, C)."""
    is_masked: Tensor
    """bool (M,), True = hidden."""
    is_padding: Tensor | None = None
    """bool (M,), True = absent; None: no token is."""
    name: str = ""


class Value(NamedTuple):
    """The same in the encoder's units; the masks have the shape of the values, but for channels."""

    inputs: np.ndarray
    reconstruction: np.ndarray
    is_masked: np.ndarray
    is_padding: np.ndarray
    name: str

    @property
    def output(self) -> np.ndarray:
        """The reconstruction where something was hidden, and the input elsewhere."""
        missing = self.inputs.ndim - self.is_masked.ndim
        is_masked = self.is_masked.reshape(*self.is_masked.shape, *(1,) * missing)
        return np.where(is_masked, self.reconstruction, self.inputs)


def decoded(encoder: Encoder, tokens: Tokens) -> Value:
    """Tokens as values; absent ones are left out where the encoder leaves them out."""
    inputs, made = (encoder.to_value(x, tokens.is_padding) for x in (tokens.inputs, tokens.reconstruction))
    absent, hidden = _masks(tokens)
    is_masked, is_padding = (encoder.to_value_mask(mask, inputs, absent) for mask in (hidden, absent))
    return Value(inputs, made, is_masked, is_padding, tokens.name)


def figures_of(encoder: Encoder, examples: Sequence[Tokens], *, title: str = "") -> list[Figure]:
    """Examples of a modality side by side; or a figure for each, where one fills a figure.

    Examples without any token are left out. Where the encoder does not say how its values are drawn, tokens are drawn
    on their grid if it is a plane or a stack of planes, else along a line.
    """
    examples = [each for each in examples if each.is_padding is None or not bool(each.is_padding.all())]
    if not examples:
        return []
    drawing, grid = encoder.drawing, encoder.modality.grid
    if drawing is not None:
        values = [decoded(encoder, each) for each in examples]
    else:
        values = [_token_value(each, grid if len(grid) in (2, 3) else (len(each.inputs),)) for each in examples]
        names = tuple(f"slice {k}" for k in range(grid[0])) if len(grid) == 3 else ()
        kinds: dict[int, DrawingKind] = {2: "pictures", 3: "frames"}
        drawing = Drawing(kind=kinds.get(len(grid), "signals"), names=names)
    if drawing.kind == "frames":
        return [_draw_frames(drawing, each, title) for each in values]
    inputs, made, is_masked, is_padding, names = zip(*values, strict=True)
    how: dict[str, Any] = {"names": names, "title": title}
    match drawing.kind:
        case "pictures":
            arrays = map(np.stack, (inputs, made, is_masked))
            return [draw_reconstructions(*arrays, is_padding=np.stack(is_padding), **how)]
        case "signals":
            lines = [[x.T if drawing.is_transposed else x for x in arrays] for arrays in (inputs, made, is_masked)]
            channels = drawing.names[: max(x.shape[1] for x in lines[0])]
            return [draw_signals(*lines, rate=drawing.rate, step=drawing.step, channels=channels, **how)]
        case "points":
            return [draw_points(inputs, made, is_masked, **how)]
        case "text":
            return [draw_texts(inputs, made, is_masked, **how)]


def _masks(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens are absent, and which were hidden: bool (M,)."""
    absent = np.zeros(len(tokens.inputs), bool) if tokens.is_padding is None else tokens.is_padding.cpu().numpy()
    return absent, tokens.is_masked.cpu().numpy() & ~absent


def _token_value(tokens: Tokens, grid: tuple[int, ...]) -> Value:
    absent, hidden = _masks(tokens)
    inputs, output = (x.detach().cpu().float().numpy() for x in (tokens.inputs, tokens.reconstruction))
    arrays = [x.reshape(*grid, *x.shape[1:]) for x in (inputs, output, hidden, absent)]
    return Value(*arrays, name=tokens.name)


def _draw_frames(drawing: Drawing, value: Value, title: str) -> Figure:
    """Frames or slices of one example."""
    inputs, made, is_masked, is_padding = (x[None] for x in value[:4])
    return draw_reconstructions(
        inputs,
        made,
        is_masked,
        is_padding=is_padding,
        frame_names=drawing.names[: len(value.inputs)],
        title=" · ".join(part for part in (title, value.name) if part),
    )


def _tokens_of(example: Example, drawn: ReconstructedTokens) -> Tokens:
    inputs, is_padding = example.inputs[drawn.modality], example.is_padding.get(drawn.modality)
    return Tokens(inputs, drawn.tokens, drawn.is_masked, is_padding, example.name)


def _draw_reconstructions(
    encoder: Encoder, examples: Sequence[Example], drawn: Sequence[ReconstructedTokens], title: str
) -> list[Figure]:
    return figures_of(encoder, [_tokens_of(*each) for each in zip(examples, drawn, strict=True)], title=title)


def _write_reconstruction(
    encoder: Encoder, example: Example, drawn: ReconstructedTokens, past: None, paths: Sequence[str]
) -> None:
    """A picture; of sound also the sound, of bytes also the text."""
    tokens = _tokens_of(example, drawn)
    (figure,) = figures_of(encoder, [tokens])
    save_picture(figure, paths[0])
    if encoder.written_suffix:
        value = decoded(encoder, tokens)
        if encoder.drawing is not None and encoder.drawing.kind == "text":
            text = marked_text(value.inputs, value.output, value.is_masked)
            Path(paths[1]).write_text(text, encoding="utf-8")
        else:
            encoder.write(paths[1], value.output)


def _draw_segmentations(
    encoder: Encoder, examples: Sequence[Example], drawn: Sequence[LabelledTokens], title: str
) -> list[Figure]:
    """Input, label and predicted label."""
    grid = encoder.modality.grid
    inputs = np.stack([encoder.to_value(each.inputs[drawn[0].modality]) for each in examples])
    predictions = torch.stack([each.label for each in drawn]).view(-1, *grid)
    labels = torch.stack([each.targets["segmentation"] for each in examples]).view(-1, *grid)
    return [draw_segmentation(inputs, predictions, drawn[0].classes, labels=labels, title=title)]


def _write_labels(encoder: Encoder, example: Example, drawn: LabelledTokens, past: None, paths: Sequence[str]) -> None:
    """A picture with a palette."""
    segmentation_picture(drawn.label.view(encoder.modality.grid), drawn.classes).save(paths[0])


def _draw_forecasts(
    encoder: Encoder, examples: Sequence[Example], drawn: Sequence[ForecastTokens], title: str
) -> list[Figure]:
    """Past, forecast and true future of each example of a sequence; of others a reconstruction of the last steps.

    Raises:
        ValueError: no sequence is so long that its future is known.
    """
    figures, tokens = [], []
    for example, each in zip(examples, drawn, strict=True):
        inputs, is_padding = example.inputs[each.modality], example.is_padding.get(each.modality)
        num_past = len(inputs) - len(each.tokens)
        if not encoder.is_sequence:
            whole = torch.cat([inputs[:num_past], each.tokens])
            tokens.append(Tokens(inputs, whole, torch.arange(len(inputs)) >= num_past, is_padding, example.name))
            continue
        value, start = encoder.to_value(inputs, is_padding), num_past * encoder.steps_per_token
        if len(value) > start:  # else it is too short: there is no future to compare with
            forecast, persistence = _forecast_values(encoder, inputs, each)
            how: dict[str, Any] = {"future": value[start:], "persistence": persistence, "rate": _rate(encoder)}
            figures.append(draw_forecast(value[:start], forecast, title=f"{title} · {example.name}", **how))
    if encoder.is_sequence and not figures:
        raise ValueError("no example is so long that it reaches into the future")
    return figures if encoder.is_sequence else figures_of(encoder, tokens, title=title)


def _write_forecast(
    encoder: Encoder, example: Example, drawn: ForecastTokens, past: np.ndarray | None, paths: Sequence[str]
) -> tuple[dict[str, Any], str] | None:
    """Of a sequence a table, a row for each step and a column for each channel, and a picture."""
    if past is None:
        (figure,) = _draw_forecasts(encoder, [example], [drawn], "")
        save_picture(figure, paths[0])
        return None
    forecast = _forecast_values(encoder, example.inputs[drawn.modality], drawn)
    values, repeated = (encoder.in_units_of(x, past) for x in forecast)
    header = ",".join(f"channel_{k}" for k in range(values.shape[1]))
    np.savetxt(paths[0], values, fmt="%.9g", delimiter=",", header=header, comments="")
    save_picture(draw_forecast(past, values, persistence=repeated, rate=_rate(encoder), title=example.name), paths[1])
    text = f"{len(values)} step{'s'[: len(values) > 1]} forecast from {len(past)} before"
    return {"steps": len(values), "seen_steps": len(past)}, text


def _forecast_values(encoder: Encoder, tokens: Tensor, drawn: ForecastTokens) -> tuple[np.ndarray, np.ndarray]:
    """The forecast of a sequence, and that of persistence: (h, C), in the encoder's units."""
    past, num_steps = tokens[: len(tokens) - len(drawn.tokens)], drawn.horizon * encoder.steps_per_token
    forecast, persistence = (
        encoder.to_value(torch.cat([past, each]))[-num_steps:] for each in (drawn.tokens, drawn.persistence)
    )
    return forecast, persistence


def _rate(encoder: Encoder) -> float | None:
    return None if encoder.drawing is None else encoder.drawing.rate


class Picture(NamedTuple):
    """How the answers of a task are drawn and written."""

    file_name: str
    """Of a picture of several answers, with the modality's name for `{}`."""
    draw: Callable[..., list[Figure]]
    """Encoder, examples, tokens of each answer, and title to figures."""
    suffixes: Callable[[Encoder], list[str]]
    """The endings of the files that are written for one answer."""
    write: Callable[..., tuple[dict[str, Any], str] | None]
    """Write them. Takes encoder, example, tokens, the past of a forecast in the file's units, and paths; may return
    values for JSON and a line that say more than the answer."""


PICTURES: dict[type[DrawnTokens], Picture] = {
    ReconstructedTokens: Picture(
        "reconstructions-{}",
        _draw_reconstructions,
        lambda encoder: [".png", encoder.written_suffix] if encoder.written_suffix else [".png"],
        _write_reconstruction,
    ),
    LabelledTokens: Picture("segmentations", _draw_segmentations, lambda encoder: [".png"], _write_labels),
    ForecastTokens: Picture(
        "forecasts-{}",
        _draw_forecasts,
        lambda encoder: [".csv", ".png"] if encoder.is_sequence else [".png"],
        _write_forecast,
    ),
}
"""Tokens of an answer -> their picture."""
