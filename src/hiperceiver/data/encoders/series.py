"""Series of numbers that were measured together, step by step: a token is a step, or a few steps in a row."""

import contextlib
import math
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor

from hiperceiver.data.encoders import arrays
from hiperceiver.data.encoders.arrays import RawArray, read_named
from hiperceiver.data.encoders.encoder import Drawing, Encoder, measured
from hiperceiver.data.encoders.normalisation import FITTED_TO, name_of
from hiperceiver.data.faults import faults_of
from hiperceiver.modality import Modality
from hiperceiver.settings.encoders import SeriesSettings

_LEAST_TURNED = 4  # as many times as many channels as steps: the axes are probably the other way round
_TIME = re.compile(r"(t|times?|time_?stamps?|date_?time|seconds)(\W.*|_m?s)?", re.IGNORECASE)
"""Names of columns that hold the time of each step."""
_LONGEST_CONTEXT, _WIDEST_TOKEN = 24, 256
"""Of what is chosen: steps, and values of a token. More can be better, at the cost of memory."""
LONGEST_SERIES = 4096  # grids are not chosen longer than this: of longer series the middle is kept


class SeriesEncoder(SeriesSettings, Encoder):
    """Series of any length as (length / steps_per_token, steps_per_token * channels) tokens, and back.

    Of a longer series the middle is kept; a shorter one has absent tokens at its end. Each channel is normalised. With
    `context` a token shows steps of its neighbours, too.

    >>> encoder = SeriesEncoder(length=4, channels=2, mean=(1.0, 0.0), std=(2.0, 1.0))
    >>> tokens, is_padding = encoder.encode([[1, 5], [3, 6], [5, 7]])
    >>> tokens[:, 0].tolist(), is_padding.tolist()
    ([0.0, 1.0, 2.0, 0.0], [False, False, False, True])
    >>> encoder.to_value(tokens, is_padding)
    array([[1., 5.],
           [3., 6.],
           [5., 7.]], dtype=float32)
    """

    suffixes: ClassVar[tuple[str, ...]] = ("npy", "npz", "csv", "tsv")
    other_suffixes: ClassVar[tuple[str, ...]] = ("txt",)
    is_sequence: ClassVar[bool] = True

    @property
    def drawing(self) -> Drawing:
        """A curve for each channel."""
        return Drawing(kind="signals", names=self.channel_names)

    @property
    def modality(self) -> Modality:
        """One token per `steps_per_token` steps; its channels are what it shows, all readings of each step."""
        grid, width = (self.length // self.steps_per_token,), self.steps_per_token + 2 * self.context
        return Modality(grid=grid, channels=width * self.channels, is_overlapping=self.context > 0)

    def in_units_of(self, values: np.ndarray, past: np.ndarray) -> np.ndarray:
        """With normalise="example" the level and size of `past` are given back."""
        if self.normalise == "dataset":
            return values
        level, size = past.mean(axis=0, dtype=np.float64), past.std(axis=0, dtype=np.float64)
        return values * np.where(size <= 1e-6 * np.abs(level), 1.0, size) + level

    @classmethod
    def chosen_settings(cls, raws: Iterable[Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """The length of the longest in whole tokens, at most 4096 steps; the channels of the first, and their names."""
        if {"length", "channels"} <= given.keys():
            return {}
        how = {"array_name": given.get("array_name", ""), "columns": given.get("channel_names", ())}
        shapes = list(measured(raws, lambda raw: arrays.named_shape_of(raw, 1, 2, **how)))
        shape, names = shapes[0]
        channels = shape[1] if len(shape) == 2 else 1
        steps, longest = given.get("steps_per_token", 1), min(max(shape[0] for shape, _ in shapes), LONGEST_SERIES)
        chosen = {"length": math.ceil(longest / steps) * steps}
        if "channel_names" in given:
            return {**chosen, "channels": len(given["channel_names"]) or channels}
        if "channels" in given:
            return {**chosen, "channels": given["channels"]}
        if channels >= _LEAST_TURNED * shape[0]:
            raise ValueError(arrays.turned_axes("series", "(steps, channels)", shape, channels))
        return {**chosen, "channels": channels, "channel_names": names if len(set(names)) == channels else ()}

    @classmethod
    def for_labels(cls, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """A sixteenth of the length as context, as far as tokens stay small, unless something is said of tokens."""
        if {"context", "steps_per_token"} & chosen.keys():
            return {}
        widest = (_WIDEST_TOKEN // chosen["channels"] - 1) // 2
        return {"context": max(0, min(chosen["length"] // 16, _LONGEST_CONTEXT, widest))}

    def fitted(self, raws: Iterable[Any], notes: list[str] | None = None) -> Self:
        """As `Encoder.fitted`; series of more channels than steps are said."""
        if notes is not None and not self.channel_names and self.length < self.channels < _LEAST_TURNED * self.length:
            found = f"{self.length} steps of {self.channels} channels"
            notes.append(f"{found}: is it the other way round? Steps come first, and not as with sktime and aeon")
        time = next(filter(_TIME.fullmatch, self.channel_names), None)
        if notes is not None and time is not None:
            raws = list(islice(raws, FITTED_TO))
            if out := [name_of(raw, index) for index, raw in enumerate(raws) if self._is_out_of_order(raw, time)]:
                found = f"{time!r} does not grow from step to step in {len(out)} of {len(raws)} files"
                notes.append(f"{found}, for example {out[0]}: steps are read as they stand in the file")
        return super().fitted(raws, notes)

    def _is_out_of_order(self, raw: RawArray, name: str) -> bool:
        """Whether times of a table repeat or go back."""
        with contextlib.suppress(ValueError), faults_of(raw):  # what cannot be read is named when it is
            array, names = read_named(raw, array_name=self.array_name, columns=self.channel_names)
            return bool(names) and bool((np.diff(arrays.columns_of(array, names, (name,))[:, 0]) <= 0).any())
        return False

    def decode(self, raw: RawArray) -> np.ndarray:
        """A series of any length, (steps, channels) or (steps,) of one channel: float32 (steps, channels), no NaN."""
        values = self.measured_channels(raw)
        is_missing = np.isnan(values)
        if not is_missing.any():
            return values
        own_mean = np.nansum(values, 0, dtype=np.float64) / np.maximum((~is_missing).sum(0), 1)
        mean = self.mean if self.normalise == "dataset" else own_mean
        return np.where(is_missing, np.array(mean, dtype=np.float32), values)

    def fit_to_grid(self, value: np.ndarray) -> np.ndarray:
        """The middle of a longer series."""
        return value[arrays.middle(len(value), self.length)]

    def to_tokens(self, value: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """float32 (n, channels) as tokens (M, C); the last one may be filled up with zeros."""
        mean, std = self.mean, self.std
        if self.normalise == "example":
            arrays.check_spread(value)
            own_mean, own_std = value.mean(0, dtype=np.float64), value.std(0, dtype=np.float64)
            own_std[own_std <= 1e-6 * np.abs(own_mean)] = 1.0  # a constant channel is not blown up
            mean, std = own_mean.tolist(), own_std.tolist()
        steps = arrays.normalised(value, mean, std)
        return arrays.padded(arrays.in_rows(steps, self.steps_per_token, self.context), self.modality.grid)

    def to_value(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """Tokens as float32 (steps, channels), in the units of the raw series if it was normalised by the data set."""
        self.check_tokens(tokens)
        present = tokens[: arrays.num_present(is_padding, len(tokens))]
        steps = arrays.from_rows(present, self.channels, self.context).flatten(0, 1)
        return arrays.physical(steps, self.mean or (0.0,), self.std or (1.0,))

    def measured_channels(self, raw: RawArray) -> np.ndarray:
        """As `decode`, with NaN where a reading is missing."""
        with faults_of(raw):
            array, names = read_named(raw, array_name=self.array_name, columns=self.channel_names)
            if names and self.channel_names:
                array = arrays.columns_of(array, names, self.channel_names)
            values = array[:, None] if array.ndim == 1 and self.channels == 1 else array
            if values.ndim != 2 or values.shape[1] != self.channels:
                raise ValueError(f"expected a series of shape (steps, {self.channels}), got {array.shape}")
            return arrays.as_float32(values, may_miss=self.missing == "mean", names=self.channel_names)
