"""From tokens to pictures, by the kind of their encoder. `hip predict` and `hip plot` draw alike."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hiperceiver.data.encoders.encoder import Drawing, DrawingKind, Encoder
from hiperceiver.data.example import Example
from hiperceiver.plots.forecasts import draw_forecast
from hiperceiver.plots.points import draw_points
from hiperceiver.plots.reconstructions import draw_reconstructions
from hiperceiver.plots.segmentation import draw_segmentation
from hiperceiver.plots.signals import draw_signals
from hiperceiver.plots.texts import draw_texts
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
    """Of the example."""


class Value(NamedTuple):
    """The same in the encoder's units."""

    inputs: np.ndarray
    """What `Encoder.to_value` gives."""
    reconstruction: np.ndarray
    """Of the same shape."""
    is_masked: np.ndarray
    """bool, True = hidden, of the same shape but for channels."""
    is_padding: np.ndarray
    """Like `is_masked`."""
    name: str
    """Of the example."""

    @property
    def output(self) -> np.ndarray:
        """The reconstruction where something was hidden, and the input elsewhere."""
        missing = self.inputs.ndim - self.is_masked.ndim
        is_masked = self.is_masked.reshape(*self.is_masked.shape, *(1,) * missing)
        return np.where(is_masked, self.reconstruction, self.inputs)


def decoded(encoder: Encoder, tokens: Tokens) -> Value:
    """Tokens as values; absent ones are left out where the encoder leaves them out."""
    inputs = encoder.to_value(tokens.inputs, tokens.is_padding)
    reconstruction = encoder.to_value(tokens.reconstruction, tokens.is_padding)
    absent, hidden = _masks(tokens)
    is_masked, is_padding = (encoder.to_value_mask(mask, inputs, absent) for mask in (hidden, absent))
    return Value(inputs, reconstruction, is_masked, is_padding, tokens.name)


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
    return list(_DRAWN[drawing.kind](drawing, values, title))


def _masks(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens are absent, and which were hidden: bool (M,)."""
    absent = np.zeros(len(tokens.inputs), bool) if tokens.is_padding is None else tokens.is_padding.cpu().numpy()
    return absent, tokens.is_masked.cpu().numpy() & ~absent


def _token_value(tokens: Tokens, grid: tuple[int, ...]) -> Value:
    absent, hidden = _masks(tokens)
    inputs, output = (x.detach().cpu().float().numpy() for x in (tokens.inputs, tokens.reconstruction))
    arrays = [x.reshape(*grid, *x.shape[1:]) for x in (inputs, output, hidden, absent)]
    return Value(*arrays, name=tokens.name)


def _draw_pictures(drawing: Drawing, values: Sequence[Value], title: str) -> Iterator[Figure]:
    arrays = (np.stack(arrays) for arrays in list(zip(*values, strict=True))[:4])
    inputs, reconstruction, is_masked, is_padding = arrays
    names = [each.name for each in values]
    yield draw_reconstructions(inputs, reconstruction, is_masked, is_padding=is_padding, names=names, title=title)


def _draw_frames(drawing: Drawing, values: Sequence[Value], title: str) -> Iterator[Figure]:
    """Frames or slices of one example."""
    for each in values:
        yield draw_reconstructions(
            each.inputs[None],
            each.reconstruction[None],
            each.is_masked[None],
            is_padding=each.is_padding[None],
            frame_names=drawing.names[: len(each.inputs)],
            title=" · ".join(part for part in (title, each.name) if part),
        )


def _draw_signals(drawing: Drawing, values: Sequence[Value], title: str) -> Iterator[Figure]:
    arrays = [[x.T if drawing.is_transposed else x for x in each[:3]] for each in values]
    num_curves = max(inputs.shape[1] for inputs, _, _ in arrays)
    yield draw_signals(
        *zip(*arrays, strict=True),
        rate=drawing.rate,
        step=drawing.step,
        names=[each.name for each in values],
        channels=drawing.names[:num_curves],
        title=title,
    )


def _draw_points(drawing: Drawing, values: Sequence[Value], title: str) -> Iterator[Figure]:
    inputs, reconstruction, is_masked, _, names = zip(*values, strict=True)
    yield draw_points(inputs, reconstruction, is_masked, names=names, title=title)


def _draw_text(drawing: Drawing, values: Sequence[Value], title: str) -> Iterator[Figure]:
    inputs, reconstruction, is_masked, _, names = zip(*values, strict=True)
    yield draw_texts(inputs, reconstruction, is_masked, names=names, title=title)


_DRAWN: dict[DrawingKind, Callable[[Drawing, Sequence[Value], str], Iterator[Figure]]] = {
    "pictures": _draw_pictures,
    "frames": _draw_frames,
    "signals": _draw_signals,
    "points": _draw_points,
    "text": _draw_text,
}
"""How an encoder's values are drawn."""


def tokens_of(example: Example, drawn: ReconstructedTokens) -> Tokens:
    """A modality of an example, with its reconstruction."""
    inputs, is_padding = example.inputs[drawn.modality], example.is_padding.get(drawn.modality)
    return Tokens(inputs, drawn.tokens, drawn.is_masked, is_padding, example.name)


def reconstruction_figures(
    encoder: Encoder, examples: Sequence[Example], drawn: Sequence[ReconstructedTokens], *, title: str = ""
) -> list[Figure]:
    """Input and reconstruction."""
    return figures_of(encoder, [tokens_of(*each) for each in zip(examples, drawn, strict=True)], title=title)


def segmentation_figures(
    encoder: Encoder, examples: Sequence[Example], drawn: Sequence[LabelledTokens], *, title: str = ""
) -> list[Figure]:
    """Input, label and predicted label."""
    grid = encoder.modality.grid
    return [
        draw_segmentation(
            np.stack([encoder.to_value(each.inputs[drawn[0].modality]) for each in examples]),
            torch.stack([each.label for each in drawn]).view(-1, *grid),
            drawn[0].classes,
            labels=torch.stack([each.targets["segmentation"] for each in examples]).view(-1, *grid),
            title=title,
        )
    ]


def forecast_values(encoder: Encoder, tokens: Tensor, drawn: ForecastTokens) -> tuple[np.ndarray, np.ndarray]:
    """The forecast of a sequence, and that of persistence: (h, C), in the encoder's units."""
    past, num_steps = tokens[: len(tokens) - len(drawn.tokens)], drawn.horizon * encoder.steps_per_token
    forecast, persistence = (
        encoder.to_value(torch.cat([past, each]))[-num_steps:] for each in (drawn.tokens, drawn.persistence)
    )
    return forecast, persistence


def forecast_figures(
    encoder: Encoder, examples: Sequence[Example], drawn: Sequence[ForecastTokens], *, title: str = ""
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
        if len(value) <= start:
            continue  # too short: there is no future to compare with
        forecast, persistence = forecast_values(encoder, inputs, each)
        figures.append(
            draw_forecast(
                value[:start],
                forecast,
                future=value[start:],
                persistence=persistence,
                rate=None if encoder.drawing is None else encoder.drawing.rate,
                title=f"{title} · {example.name}",
            )
        )
    if encoder.is_sequence and not figures:
        raise ValueError("no example is so long that it reaches into the future")
    return figures if encoder.is_sequence else figures_of(encoder, tokens, title=title)


class Picture(NamedTuple):
    """How the answers of a task are drawn."""

    file_name: str
    """Of its file, with the modality's name for `{}`."""
    draw: Callable[..., list[Figure]]
    """Encoder, examples, tokens of each answer and `title` to figures."""


PICTURES: dict[type[DrawnTokens], Picture] = {
    ReconstructedTokens: Picture("reconstructions-{}", reconstruction_figures),
    LabelledTokens: Picture("segmentations", segmentation_figures),
    ForecastTokens: Picture("forecasts-{}", forecast_figures),
}
"""Tokens of an answer -> their picture."""
