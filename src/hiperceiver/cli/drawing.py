"""From tokens to pictures: which modality is drawn how. `hip predict` and `hip plot` draw alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from hiperceiver.data.encoders import AudioEncoder, PointsEncoder, VectorEncoder, VideoEncoder
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.plots.points import draw_points
from hiperceiver.plots.reconstructions import draw_reconstructions
from hiperceiver.plots.signals import draw_signals
from hiperceiver.plots.texts import draw_texts


class Tokens(NamedTuple):
    """One example of a modality, as the model saw it and said it."""

    inputs: Tensor
    """(M, C)."""
    reconstruction: Tensor
    """(M, C)."""
    is_masked: Tensor
    """Bool (M,), True = hidden."""
    is_absent: Tensor | None = None
    """Bool (M,), True = there is nothing; None: something is everywhere."""
    name: str = ""
    """Of the example."""


class Value(NamedTuple):
    """One example of a modality, as people see it."""

    inputs: np.ndarray
    """What `Encoder.to_value` gives."""
    reconstruction: np.ndarray
    """Of the same shape."""
    is_masked: np.ndarray
    """Bool, True = hidden, of the same shape but for channels."""
    is_absent: np.ndarray
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
    """Tokens in the units of what they came from; absent ones are left out where the encoder leaves them out."""
    inputs = encoder.to_value(tokens.inputs, tokens.is_absent)
    absent = np.zeros(len(tokens.inputs), bool) if tokens.is_absent is None else tokens.is_absent.cpu().numpy()
    hidden = tokens.is_masked.cpu().numpy() & ~absent

    def laid(mark: np.ndarray) -> np.ndarray:
        """A mark of each token as a mark of each of the value's places."""
        if isinstance(encoder, AudioEncoder):
            return np.repeat(mark, encoder.samples_per_token)[: len(inputs)]
        if isinstance(encoder, PointsEncoder):
            return mark[~absent]
        if isinstance(encoder, VectorEncoder):
            features = np.repeat(mark.reshape(encoder.positions, -1), encoder.modality.channels, axis=1)
            return features[: inputs.shape[0], : inputs.shape[1]]
        grid = encoder.modality.grid
        return mark.reshape(grid)[tuple(slice(0, length) for length in inputs.shape[: len(grid)])]

    reconstruction = encoder.to_value(tokens.reconstruction, tokens.is_absent)
    return Value(inputs, reconstruction, laid(hidden), laid(absent), tokens.name)


def reconstruction_figures(encoder: Encoder, examples: Sequence[Tokens], *, title: str = "") -> list[Figure]:
    """Examples of a modality beside each other; or a figure for each, where one fills a figure.

    Examples of which everything is absent are left out. What has no way to be drawn of its own is drawn as tokens.
    """
    examples = [each for each in examples if each.is_absent is None or not bool(each.is_absent.all())]
    if not examples:
        return []
    draw = _DRAWN.get(encoder.kind)
    if draw is None:
        return list(_tokens(encoder, examples, title))
    return list(draw(encoder, [decoded(encoder, each) for each in examples], title))


def _pictures(encoder: Encoder, values: Sequence[Value], title: str) -> Iterator[Figure]:
    yield draw_reconstructions(
        np.stack([each.inputs for each in values]),
        np.stack([each.reconstruction for each in values]),
        np.stack([each.is_masked for each in values]),
        is_absent=np.stack([each.is_absent for each in values]),
        names=[each.name for each in values],
        title=title,
    )


def _stacks(encoder: Encoder, values: Sequence[Value], title: str) -> Iterator[Figure]:
    """Videos and volumes: frames or slices of one."""
    for each in values:
        if isinstance(encoder, VideoEncoder):
            rate = encoder.frames_per_second
            names = [f"frame {k}" if rate is None else f"{k / rate:.2f} s" for k in range(len(each.inputs))]
        else:
            names = [f"slice {k}" for k in range(len(each.inputs))]
        yield draw_reconstructions(
            each.inputs[None],
            each.reconstruction[None],
            each.is_masked[None],
            is_absent=each.is_absent[None],
            frame_names=names,
            title=" · ".join(part for part in (title, each.name) if part),
        )


def _signals(encoder: Encoder, values: Sequence[Value], title: str) -> Iterator[Figure]:
    is_sound = isinstance(encoder, AudioEncoder)
    yield draw_signals(
        [each.inputs for each in values],
        [each.reconstruction for each in values],
        [each.is_masked for each in values],
        rate=encoder.rate if is_sound else None,
        step="sample" if is_sound else "step",
        names=[each.name for each in values],
        title=title,
    )


def _vectors(encoder: Encoder, values: Sequence[Value], title: str) -> Iterator[Figure]:
    """Features along a line, a lane for each position."""
    most = max(len(each.inputs) for each in values)
    yield draw_signals(
        [each.inputs.T for each in values],
        [each.reconstruction.T for each in values],
        [each.is_masked.T for each in values],
        step="feature",
        names=[each.name for each in values],
        channels=[f"position {k}" for k in range(most)],
        title=title,
    )


def _clouds(encoder: Encoder, values: Sequence[Value], title: str) -> Iterator[Figure]:
    yield draw_points(*_columns(values), names=[each.name for each in values], title=title)


def _texts(encoder: Encoder, values: Sequence[Value], title: str) -> Iterator[Figure]:
    yield draw_texts(*_columns(values), names=[each.name for each in values], title=title)


def _columns(values: Sequence[Value]) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    return (
        [each.inputs for each in values],
        [each.reconstruction for each in values],
        [each.is_masked for each in values],
    )


def _tokens(encoder: Encoder, examples: Sequence[Tokens], title: str) -> Iterator[Figure]:
    """Tokens as they are, on their grid if it is a plane or a stack of planes, else along a line."""
    grid = encoder.modality.grid
    values = []
    for each in examples:
        absent = np.zeros(len(each.inputs), bool) if each.is_absent is None else each.is_absent.cpu().numpy()
        inputs, made = (x.detach().cpu().float().numpy() for x in (each.inputs, each.reconstruction))
        value = Value(inputs, made, each.is_masked.cpu().numpy() & ~absent, absent, each.name)
        if len(grid) in (2, 3):
            value = Value(*[x.reshape(*grid, *x.shape[1:]) for x in value[:4]], name=each.name)
        values.append(value)
    draw = {2: _pictures, 3: _stacks}.get(len(grid), _signals)
    yield from draw(encoder, values, title)


_DRAWN: Mapping[str, Callable[[Encoder, Sequence[Value], str], Iterator[Figure]]] = {
    "image": _pictures,
    "video": _stacks,
    "audio": _signals,
    "points": _clouds,
    "series": _signals,
    "volume": _stacks,
    "bytes": _texts,
    "vector": _vectors,
}
"""Kind of encoder -> how its values are drawn."""
