"""Series of numbers that were measured together, step by step: a token is a step, and its channels are its readings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from hiperceiver.data.encoders.arrays import (
    RawArray,
    as_float32,
    faults_of,
    middle,
    normalised,
    num_present,
    physical,
    read_array,
    shape_reader,
)
from hiperceiver.data.encoders.encoder import Drawing, Encoder, measured
from hiperceiver.data.encoders.normalisation import channel_statistics, check_statistics
from hiperceiver.data.encoders.settings import check_choice, check_count
from hiperceiver.modality import Modality

Missing = Literal["refuse", "mean"]
NormaliseBy = Literal["dataset", "example"]
LONGEST_SERIES = 4096
"""Grids are not chosen longer than this: of longer series the middle is kept."""


@dataclass(frozen=True, kw_only=True)
class SeriesEncoder(Encoder):
    """Series of any length as (length, channels) tokens, and back.

    Of a longer series the middle is kept; a shorter one has absent tokens at its end. Each channel is normalised.

    >>> encoder = SeriesEncoder(length=4, channels=2, mean=(1.0, 0.0), std=(2.0, 1.0))
    >>> tokens, is_padding = encoder.encode([[1, 5], [3, 6], [5, 7]])
    >>> tokens[:, 0].tolist(), is_padding.tolist()
    ([0.0, 1.0, 2.0, 0.0], [False, False, False, True])
    >>> encoder.to_value(tokens, is_padding)
    array([[1., 5.],
           [3., 6.],
           [5., 7.]], dtype=float32)
    """

    kind: ClassVar[str] = "series"
    suffixes: ClassVar[tuple[str, ...]] = ("npy", "npz", "csv", "tsv")
    other_suffixes: ClassVar[tuple[str, ...]] = ("txt",)
    is_sequence: ClassVar[bool] = True

    length: int
    """Steps of the grid."""
    channels: int = 1
    """Readings of each step."""
    normalise: NormaliseBy = "dataset"
    """`dataset`: with `mean` and `std`. `example`: with the mean and deviation of each channel in what is kept of the
    example. Its level and size are lost: `to_value` then gives normalised values."""
    missing: Missing = "refuse"
    """What NaN, None or an empty cell means. `refuse`: the example is bad. `mean`: a reading is missing; it becomes the
    mean of its channel, in the data set or the example as `normalise` says, which is 0 in a token."""
    mean: tuple[float, ...] = ()
    """Per channel; 0 if not given."""
    std: tuple[float, ...] = ()
    """Per channel; 1 if not given."""
    array_name: str = ""
    """Which array of an .npz file; empty: the only one."""

    def __post_init__(self) -> None:
        check_count("length", self.length)
        check_count("channels", self.channels)
        check_choice("normalise", self.normalise, get_args(NormaliseBy))
        check_choice("missing", self.missing, get_args(Missing))
        for name, default in [("mean", 0.0), ("std", 1.0)]:
            values = getattr(self, name)
            if self.normalise == "dataset":
                values = check_statistics(name, values, self.channels, default=default)
            elif values:
                raise ValueError(f"{name}: expected none with normalise='example', got {values!r}")
            object.__setattr__(self, name, values)

    @property
    def modality(self) -> Modality:
        """Grid (length,) and channels of the tokens."""
        return Modality(grid=(self.length,), channels=self.channels)

    @property
    def drawing(self) -> Drawing:
        """A curve for each channel."""
        return Drawing(kind="signals")

    def in_units_of(self, values: np.ndarray, past: np.ndarray) -> np.ndarray:
        """With normalise="example" the level and size of `past` are given back."""
        if self.normalise == "dataset":
            return values
        level, size = past.mean(axis=0, dtype=np.float64), past.std(axis=0, dtype=np.float64)
        return values * np.where(size <= 1e-6 * np.abs(level), 1.0, size) + level

    @classmethod
    def chosen_settings(cls, raws: Iterable[Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """The length of the longest, at most 4096 steps; the channels of the first."""
        if {"length", "channels"} <= given.keys():
            return {}
        shapes = list(measured(raws, shape_reader((1, 2), given)))
        channels = shapes[0][1] if len(shapes[0]) == 2 else 1
        return {"length": min(max(shape[0] for shape in shapes), LONGEST_SERIES), "channels": channels}

    def read(self, raw: RawArray) -> np.ndarray:
        """A series as float32 (steps, channels), of any length, without NaN.

        Args:
            raw: numbers (steps,) of one channel or (steps, channels), as an array, a tensor, lists, the path of an
                .npy, .npz, .csv, .tsv or .txt file, or such a file's bytes.

        Raises:
            ValueError: it cannot be read, has another shape, or a number is infinite (or missing, if that is refused).
        """
        values = self._readings(raw)
        is_missing = np.isnan(values)
        if not is_missing.any():
            return values
        count = (~is_missing).sum(0)
        own_mean = np.nansum(values, 0, dtype=np.float64) / np.maximum(count, 1)
        mean = self.mean if self.normalise == "dataset" else own_mean
        return np.where(is_missing, np.array(mean, dtype=np.float32), values)

    def to_tokens(self, value: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Float32 (steps, channels) as tokens (length, channels); and bool (length,), True = absent, or None."""
        value = value[middle(len(value), self.length)]
        mean, std = self.mean, self.std
        if self.normalise == "example":
            own_mean, own_std = value.mean(0, dtype=np.float64), value.std(0, dtype=np.float64)
            own_std[own_std <= 1e-6 * np.abs(own_mean)] = 1.0  # a constant channel is not blown up
            mean, std = own_mean.tolist(), own_std.tolist()
        values = normalised(value, mean, std)
        if len(values) == self.length:
            return torch.from_numpy(values), None
        tokens = np.zeros((self.length, self.channels), dtype=np.float32)
        tokens[: len(values)] = values
        return torch.from_numpy(tokens), torch.arange(self.length) >= len(values)

    def to_value(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """Tokens as float32 (steps, channels), in the units of the raw series if it was normalised by the data set.

        Raises:
            ValueError: the shape is not this encoder's.
        """
        self.check_tokens(tokens)
        shown = tokens[: num_present(is_padding, self.length)]
        if self.normalise == "example":
            return physical(shown, (0.0,), (1.0,))
        return physical(shown, self.mean, self.std)

    def fitted(self, raws: Iterable[RawArray]) -> Self:
        """The same encoder with the mean and deviation of each channel; of steps in which nothing is missing.

        Raises:
            ValueError: none of the series can be read; the first one's fault is given.
        """
        if self.normalise == "example":
            return self
        mean, std = channel_statistics(self._readings, raws)
        return replace(self, mean=mean, std=std)

    def _readings(self, raw: RawArray) -> np.ndarray:
        """As `read`, with NaN where a reading is missing."""
        with faults_of(raw):
            array = read_array(raw, array_name=self.array_name)
            values = array[:, None] if array.ndim == 1 and self.channels == 1 else array
            if values.ndim != 2 or values.shape[1] != self.channels:
                raise ValueError(f"expected a series of shape (steps, {self.channels}), got {array.shape}")
            return as_float32(values, may_miss=self.missing == "mean")
