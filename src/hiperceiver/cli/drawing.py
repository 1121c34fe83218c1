"""A task's answers as pictures, and as the files that `hip predict` writes: by the encoder's kind of value.

`hip predict` and `hip plot` draw alike. Only commands that draw import this module, for it needs matplotlib.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hiperceiver.data.encoders.encoder import Drawing, DrawingKind, Encoder
from hiperceiver.data.encoders.image import ImageEncoder
from hiperceiver.data.encoders.picture_files import Picture as OpenedPicture
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

    inputs: Tensor  # (M, C)
    reconstruction: Tensor  # (M, C)
    is_masked: Tensor  # bool (M,), True = hidden
    is_padding: Tensor | None = None  # bool (M,), True = absent; None: no token is
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
    """Tokens as values; absent ones are left out where the encoder leaves them out.

    Where the encoder does not say how its values are drawn, these are the tokens, on their grid if it is a plane or a
    stack of planes, else along a line.
    """
    absent = np.zeros(len(tokens.inputs), bool) if tokens.is_padding is None else tokens.is_padding.cpu().numpy()
    hidden = tokens.is_masked.cpu().numpy() & ~absent
    parts = tokens.inputs, tokens.reconstruction
    if encoder.drawing is None:
        grid = encoder.modality.grid if len(encoder.modality.grid) in (2, 3) else (len(absent),)
        arrays = (*(x.detach().cpu().float().numpy() for x in parts), hidden, absent)
        return Value(*(x.reshape(*grid, *x.shape[1:]) for x in arrays), name=tokens.name)
    inputs, made = (encoder.to_value(x, tokens.is_padding) for x in parts)
    is_masked, is_padding = (encoder.to_value_mask(mask, inputs, absent) for mask in (hidden, absent))
    return Value(inputs, made, is_masked, is_padding, tokens.name)


def figures_of(encoder: Encoder, examples: Sequence[Tokens], *, title: str = "") -> list[Figure]:
    """Examples of a modality side by side, or a figure for each where one fills it; without examples of no token."""
    values = [decoded(encoder, x) for x in examples if x.is_padding is None or not bool(x.is_padding.all())]
    if not values:
        return []
    drawing, grid = encoder.drawing, encoder.modality.grid
    if drawing is None:
        kinds: dict[int, DrawingKind] = {2: "pictures", 3: "frames"}
        names = tuple(f"slice {k}" for k in range(grid[0])) if len(grid) == 3 else ()
        drawing = Drawing(kind=kinds.get(len(grid), "signals"), names=names)
    inputs, made, is_masked, is_padding, names = zip(*values, strict=True)
    how: dict[str, Any] = {"names": names, "title": title}
    match drawing.kind:
        case "frames":
            return [_draw_frames(drawing, each, title) for each in values]
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


def _draw_frames(drawing: Drawing, value: Value, title: str) -> Figure:
    """Frames or slices of one example."""
    inputs, made, is_masked, is_padding = (x[None] for x in value[:4])
    names, title = drawing.names[: len(value.inputs)], " · ".join(part for part in (title, value.name) if part)
    return draw_reconstructions(inputs, made, is_masked, is_padding=is_padding, frame_names=names, title=title)


def _tokens(example: Example, drawn: ReconstructedTokens | ForecastTokens) -> Tokens:
    """An example and what a model makes of it; a forecast is a reconstruction of the last steps."""
    inputs, is_padding = example.inputs[drawn.modality], example.is_padding.get(drawn.modality)
    if isinstance(drawn, ReconstructedTokens):
        return Tokens(inputs, drawn.tokens, drawn.is_masked, is_padding, example.name)
    num_past = len(inputs) - len(drawn.tokens)
    whole = torch.cat([inputs[:num_past], drawn.tokens])
    return Tokens(inputs, whole, torch.arange(len(inputs)) >= num_past, is_padding, example.name)


class Picture:
    """How a task's answers on a modality are drawn and written, by the modality's encoder: as reconstructions."""

    file_name: ClassVar[str]  # of a picture of several answers, with the modality's name for `{}`

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    @property
    def suffixes(self) -> list[str]:
        """The endings of the files that are written for one answer."""
        return [".png"]

    def draw(self, examples: Sequence[Example], drawn: Sequence[Any], title: str) -> list[Figure]:
        """Examples with the tokens of their answers, as figures."""
        return figures_of(self.encoder, list(map(_tokens, examples, drawn)), title=title)

    def write(
        self, example: Example, drawn: Any, original: Any, paths: Sequence[str]
    ) -> tuple[dict[str, Any], str] | None:
        """Write one answer. `original`: what was decoded of the file, the past of a sequence or an opened picture.

        May return values for JSON and a line that say more than the answer.
        """
        (figure,) = self.draw([example], [drawn], "")
        save_picture(figure, paths[0])
        return None


class _Reconstruction(Picture):
    file_name = "reconstructions-{}"

    @property
    def suffixes(self) -> list[str]:
        return [".png", self.encoder.written_suffix] if self.encoder.written_suffix else [".png"]

    def write(self, example: Example, drawn: ReconstructedTokens, original: Any, paths: Sequence[str]) -> None:
        """A picture; of sound also the sound, of bytes also the text."""
        super().write(example, drawn, original, paths)
        if not self.encoder.written_suffix:
            return
        value = decoded(self.encoder, _tokens(example, drawn))
        if self.encoder.drawing is not None and self.encoder.drawing.kind == "text":
            text = marked_text(value.inputs, value.output, value.is_masked)
            Path(paths[1]).write_text(text, encoding="utf-8")
        else:
            self.encoder.write(paths[1], value.output)


class _Segmentation(Picture):
    file_name = "segmentations"

    @property
    def suffixes(self) -> list[str]:
        """A picture, or where tokens lie on no plane an array: the number of each one's class, -100 of absent ones."""
        return [".png"] if self._is_plane else [".npy"]

    @property
    def _is_plane(self) -> bool:
        return len(self.encoder.modality.grid) == 2

    def draw(self, examples: Sequence[Example], drawn: Sequence[LabelledTokens], title: str) -> list[Figure]:
        grid = self.encoder.modality.grid
        inputs = np.stack([self.encoder.to_value(each.inputs[drawn[0].modality]) for each in examples])
        predictions = torch.stack([each.label for each in drawn]).view(-1, *grid)
        labels = torch.stack([each.targets["segmentation"] for each in examples]).view(-1, *grid)
        return [draw_segmentation(inputs, predictions, drawn[0].classes, labels=labels, title=title)]

    def write(self, example: Example, drawn: LabelledTokens, original: Any, paths: Sequence[str]) -> None:
        """A picture with a palette, as large as the original; or an array, in the shape of the grid."""
        labels = drawn.label.view(self.encoder.modality.grid).numpy()
        if not self._is_plane:
            np.save(paths[0], labels)
            return
        if isinstance(original, OpenedPicture) and isinstance(self.encoder, ImageEncoder):
            labels = self.encoder.mask_on_picture(labels, original)
        segmentation_picture(labels, drawn.classes).save(paths[0])


class _Forecast(Picture):
    file_name = "forecasts-{}"

    @property
    def suffixes(self) -> list[str]:
        return [".csv", ".png"] if self.encoder.is_sequence else [".png"]

    def draw(self, examples: Sequence[Example], drawn: Sequence[ForecastTokens], title: str) -> list[Figure]:
        """Past, forecast and true future of each example of a sequence, if its future is known."""
        if not self.encoder.is_sequence:
            return super().draw(examples, drawn, title)
        figures = []
        for example, each in zip(examples, drawn, strict=True):
            inputs = example.inputs[each.modality]
            value = self.encoder.to_value(inputs, example.is_padding.get(each.modality))
            start = (len(inputs) - len(each.tokens)) * self.encoder.steps_per_token
            if len(value) > start:  # else it is too short: there is no future to compare with
                forecast, persistence = self._values(inputs, each)
                how: dict[str, Any] = {"future": value[start:], "persistence": persistence, "rate": self._rate}
                figures.append(draw_forecast(value[:start], forecast, title=f"{title} · {example.name}", **how))
        if not figures:
            raise ValueError("no example is so long that it reaches into the future")
        return figures

    def write(
        self, example: Example, drawn: ForecastTokens, original: Any, paths: Sequence[str]
    ) -> tuple[dict[str, Any], str] | None:
        """Of a sequence a table, a row for each step and a column for each channel, and a picture."""
        if not self.encoder.is_sequence:
            return super().write(example, drawn, original, paths)
        past: np.ndarray = original
        tokens = example.inputs[drawn.modality]
        values, repeated = (self.encoder.in_units_of(x, past) for x in self._values(tokens, drawn))
        names = getattr(self.encoder, "channel_names", ()) or [f"channel_{k}" for k in range(values.shape[1])]
        with Path(paths[0]).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow(names)
            np.savetxt(file, values, fmt="%.9g", delimiter=",")
        figure = draw_forecast(past, values, persistence=repeated, rate=self._rate, title=example.name)
        save_picture(figure, paths[1])
        text = f"{len(values)} step{'s'[: len(values) > 1]} forecast from {len(past)} before"
        text += f", {self._rate:g} a second" if self._rate else ""
        return {"steps": len(values), "seen_steps": len(past)}, text

    def _values(self, tokens: Tensor, drawn: ForecastTokens) -> list[np.ndarray]:
        """The forecast of a sequence, and that of persistence: (h, C), in the encoder's units."""
        past, num_steps = tokens[: len(tokens) - len(drawn.tokens)], drawn.horizon * self.encoder.steps_per_token
        futures = drawn.tokens, drawn.persistence
        return [self.encoder.to_value(torch.cat([past, each]))[-num_steps:] for each in futures]

    @property
    def _rate(self) -> float | None:
        return None if self.encoder.drawing is None else self.encoder.drawing.rate


PICTURES: dict[type[DrawnTokens], type[Picture]] = {
    ReconstructedTokens: _Reconstruction,
    LabelledTokens: _Segmentation,
    ForecastTokens: _Forecast,
}
