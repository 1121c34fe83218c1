"""Volumes, such as scans: a token is a cell of a grid in space, and its channels are what was measured there."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hiperceiver.data.encoders import arrays
from hiperceiver.data.encoders.arrays import RawArray, read_array
from hiperceiver.data.encoders.encoder import Drawing, Encoder, measured
from hiperceiver.data.faults import faults_of
from hiperceiver.modality import Modality
from hiperceiver.settings.encoders import VolumeSettings

_MOST_FIRST, _MOST_LAST = 5, 8
"""A first axis that is no longer than the others is probably that of the channels if it is shorter than the first
number, or the last axis longer than the second. So is a second axis that is shortest, and both."""


class VolumeEncoder(VolumeSettings, Encoder):
    """Volumes of any size as (D * H * W, C) tokens, and back; values are normalised per channel.

    >>> encoder = VolumeEncoder(size=(2, 4, 4))
    >>> tokens = encoder.encode(np.ones((4, 4, 8), dtype=bool))[0]
    >>> tokens.shape, encoder.to_value(tokens).shape
    (torch.Size([32, 1]), (2, 4, 4, 1))
    """

    other_suffixes: ClassVar[tuple[str, ...]] = ("npy", "npz")

    @property
    def modality(self) -> Modality:
        """Grid (D, H, W) and channels of the tokens."""
        return Modality(grid=self.size, channels=self.channels)

    @property
    def drawing(self) -> Drawing:
        """Its slices along the first axis."""
        return Drawing(kind="frames", names=tuple(f"slice {k}" for k in range(self.size[0])))

    @classmethod
    def chosen_settings(cls, raws: Iterable[Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Size and channels of the first."""
        if {"size", "channels"} <= given.keys():
            return {}
        name = given.get("array_name", "")
        shape = next(measured(raws, lambda raw: arrays.shape_of(raw, 3, 4, array_name=name)))
        channels = shape[3] if len(shape) == 4 else 1
        is_least = shape[0] < min(shape[1:]) or (shape[0] == min(shape[1:]) < channels)
        is_turned = channels > 1 and is_least and (shape[0] < _MOST_FIRST or channels > _MOST_LAST)
        # Frames as PyTorch has them: (time, channels, rows, columns).
        is_turned |= channels > _MOST_LAST and shape[1] < min(_MOST_FIRST, shape[0], *shape[2:])
        if "channels" not in given and is_turned:
            raise ValueError(arrays.turned_axes("volume", "(D, H, W, channels)", shape, channels))
        return {"size": shape[:3], "channels": channels}

    def decode(self, raw: RawArray) -> np.ndarray:
        """A volume (d, h, w, C), or (d, h, w) of one channel, as float32 (d, h, w, C). False and True are 0 and 1."""
        with faults_of(raw):
            array = read_array(raw, array_name=self.array_name)
            values = array[..., None] if array.ndim == 3 and self.channels == 1 else array
            if values.ndim != 4 or values.shape[3] != self.channels:
                raise ValueError(f"expected a volume of shape (D, H, W, {self.channels}), got {array.shape}")
            return arrays.as_float32(values)

    def fit_to_grid(self, value: np.ndarray) -> np.ndarray:
        """Resized to the grid, or with `fit="crop"` the middle of each longer axis."""
        if self.fit == "resize":
            return _resized(value, self.size)
        return value[tuple(map(arrays.middle, value.shape, self.size))]

    def to_tokens(self, value: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """float32 (d, h, w, C) as tokens (M, C)."""
        return arrays.padded(arrays.normalised(value, self.mean, self.std), self.size)

    def to_value(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """Tokens as float32 (d, h, w, C) in the volume's units."""
        self.check_tokens(tokens)
        values = arrays.physical(tokens, self.mean, self.std).reshape(*self.size, self.channels)
        if is_padding is None:
            return values
        is_absent = is_padding.cpu().reshape(self.size)
        wholly_absent = (is_absent.movedim(axis, 0).flatten(1).all(1) for axis in range(3))
        return values[tuple(slice(0, arrays.num_present(each, len(each))) for each in wholly_absent)]

    def measured_channels(self, raw: RawArray) -> np.ndarray:
        """Volumes in the size of the grid, if they are resized."""
        return self.read(raw) if self.fit == "resize" else self.decode(raw)


def _resized(values: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """A volume (d, h, w, C) as (D, H, W, C). What shrinks comes first: nothing aliases and little is left to do."""
    if values.shape[:3] == size:
        return values
    cells = torch.from_numpy(np.array(np.moveaxis(values, 3, 0), order="C"))[None]
    shrunk = tuple(min(length, wanted) for length, wanted in zip(values.shape, size, strict=False))
    cells = functional.adaptive_avg_pool3d(cells, shrunk)
    if shrunk != size:
        cells = functional.interpolate(cells, size=size, mode="trilinear", align_corners=False)
    return np.moveaxis(cells[0].numpy(), 0, 3)
