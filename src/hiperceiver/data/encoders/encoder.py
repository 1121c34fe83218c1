"""What every encoder does: a raw value of one modality becomes tokens, and tokens become such a value again.

    raw --decode--> value --(random changes)--> value --fit_to_grid--> value --(random changes)--> --to_tokens--> tokens

A *value* is in physical units: `decode` gives it whole and in its own size, `fit_to_grid` in the size of the grid or
smaller. Random changes that choose a part come before the fit, so that the part is seen in full resolution.

| kind | decoded | on the grid |
| --- | --- | --- |
| `image` | `Picture`: opened; `fit_to_grid` decodes its pixels | uint8, or float32 in 0..1, (h, w, C) |
| `video` | `Clip`: likewise | the same, (frames, h, w, C) |
| `audio` | float32 (samples, channels), at the encoder's rate | the middle |
| `series` | float32 (steps, C) | the middle |
| `points` | float32 (N, 3 + features) | in order, at most as many as the grid has |
| `volume` | float32 (D, H, W, C) | resized, or the middle |
| `bytes` | uint8 (n,) | the start, or the middle |
| `vector` | float32 (n, features) | the same |
| `label` | int64 (labels,), the classes' numbers | the same |
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from torch import Tensor

from hiperceiver.data.encoders.normalisation import channel_statistics
from hiperceiver.data.faults import faults_of
from hiperceiver.modality import Modality
from hiperceiver.settings.encoders import EncoderSettings

DrawingKind = Literal["pictures", "frames", "signals", "points", "text"]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How an encoder's values are drawn."""

    kind: DrawingKind
    """`pictures`: (h, w, C). `frames`: pictures in a row, (T, h, w, C). `signals`: curves over steps, (steps, C).
    `points`: (N, 3 + features). `text`: bytes (n,)."""
    rate: float | None = None  # steps of a signal per second; None if they have no length in time
    step: str = "step"  # what a step of a signal is called
    names: tuple[str, ...] = ()  # of the frames, or the curves of a signal, of the largest value; empty: they have none
    is_transposed: bool = False  # the value of a signal is (C, steps)


class Encoder(EncoderSettings, ABC):
    """A value (frozen, with its normalisation) that is saved beside the model and makes the same tokens again.

    Its fields are those of its settings, which it inherits too. `kind` is its name in `ENCODERS` and in its saved form.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Endings of files that are of this kind, without the dot."""
    other_suffixes: ClassVar[tuple[str, ...]] = ()
    """Endings of files that are read as well if the user names the kind; `*`: all."""
    is_text_raw: ClassVar[bool] = False
    """Whether a raw string is the value itself; otherwise it is a path."""
    is_sequence: ClassVar[bool] = False
    """Whether the first axis of a value is time, so that it can be continued beyond its end."""
    least_std: ClassVar[float] = 0.0
    """A channel that varies less in training data is constant and keeps the deviation 1."""
    usual: ClassVar[float] = 0.0
    """Values up to this are not absurd, whatever the others are; see `channel_statistics`."""
    written_suffix: ClassVar[str] = ""
    """The ending, with its dot, of the files that `write` writes; empty: values are only drawn."""
    drawing: ClassVar[Drawing | None] = None
    """How values are drawn, or a property that says it; None: they are not, but their tokens can be."""

    @property
    @abstractmethod
    def modality(self) -> Modality:
        """Grid and channels of the tokens."""

    @abstractmethod
    def decode(self, raw: Any) -> Any:
        """A raw value in physical units, whole. What cannot be read is a `ValueError` of one line, naming its path."""

    def fit_to_grid(self, value: Any) -> np.ndarray:
        """What `decode` gave, changed or not, in the size of the grid or smaller; faults as of `decode`."""
        return value

    @abstractmethod
    def to_tokens(self, value: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """What `fit_to_grid` gave, changed or not, as normalised tokens in reading order.

        They are float32 (M, C), 0 where absent; and bool (M,), True = absent, or None if no token is absent.
        """

    @abstractmethod
    def to_value(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """Tokens (M, C), of any float type and device, as a value; what `is_padding` marks at its end is cut off."""

    def fitted(self, raws: Iterable[Any], notes: list[str] | None = None) -> Self:
        """The same encoder with the normalisation of these raw values of training data; see `channel_statistics`."""
        mean = getattr(self, "mean", ())
        if not mean:  # nothing, or each example by itself
            return self
        limits = {"least_std": self.least_deviation, "usual": self.usual}
        means, stds = channel_statistics(self.measured_channels, raws, **limits, notes=notes)
        return replace(self, mean=means[-len(mean) :], std=stds[-len(mean) :])

    @property
    def least_deviation(self) -> float:
        """`least_std`, or what it is for an encoder with these settings."""
        return self.least_std

    def measured_channels(self, raw: Any) -> np.ndarray:
        """What mean and std are taken from: (..., C), of which the last channels have them."""
        return self.decode(raw)

    def read(self, raw: Any) -> np.ndarray:
        """A raw value on the grid: `decode` and `fit_to_grid`."""
        with faults_of(raw, is_path=self.is_path(raw)):
            return self.fit_to_grid(self.decode(raw))

    def encode(self, raw: Any) -> tuple[Tensor, Tensor | None]:
        """A raw value as tokens: `read` and `to_tokens`."""
        with faults_of(raw, is_path=self.is_path(raw)):
            return self.to_tokens(self.read(raw))

    def is_path(self, raw: Any) -> bool:
        """Whether a raw value is the path of its file."""
        return isinstance(raw, os.PathLike) or (isinstance(raw, str) and not self.is_text_raw)

    def to_value_mask(self, is_marked: np.ndarray, value: np.ndarray, is_padding: np.ndarray) -> np.ndarray:
        """Marks of tokens, bool (M,), as marks of what `to_value` gave: bool, of its shape without channels."""
        grid = self.modality.grid
        steps = np.repeat(is_marked.reshape(grid), self.steps_per_token, axis=0)
        return steps[tuple(slice(0, length) for length in value.shape[: len(grid)])]

    @property
    def steps_per_token(self) -> int:
        """Steps of a value, along its first axis, in one token."""
        return 1

    def in_units_of(self, values: np.ndarray, past: np.ndarray) -> np.ndarray:
        """What `to_value` gave, in the units of its past, which are lost if each example is normalised by itself."""
        return values

    def write(self, path: str | os.PathLike[str], value: np.ndarray) -> None:
        """Write a value as a file of `written_suffix`."""
        raise ValueError(f"{self.kind}: is drawn, not written")

    @classmethod
    def chosen_settings(cls, raws: Iterable[Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """The settings beside those `given` of an encoder for these training signals, without normalisation."""
        return {}

    @classmethod
    def for_labels(cls, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """The settings beside those `chosen` of an encoder for learning labels."""
        return {}

    def check_tokens(self, tokens: Tensor) -> None:
        """Refuse tokens that are not of this encoder's shape."""
        expected = (self.modality.num_tokens, self.modality.channels)
        if tuple(tokens.shape) != expected:
            raise ValueError(f"tokens: expected shape {expected}, got {tuple(tokens.shape)}")


def measured(raws: Iterable[Any], measure: Callable[[Any], Any]) -> Iterator[Any]:
    """What is measured of each raw value that can be read; if none can, the first one's fault is raised."""
    fault, count = "", 0
    for raw in raws:
        try:
            value = measure(raw)
        except ValueError as error:
            fault = fault or str(error)
            continue
        count += 1
        yield value
    if not count:
        found = f"no training example can be read, the first: {fault}" if fault else "no training example has any"
        raise ValueError(f"nothing to choose its grid by: {found}")
