"""Volumes, such as scans: a token is a cell of a grid in space, and its channels are what was measured there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

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

VolumeFit = Literal["resize", "crop"]


@dataclass(frozen=True, kw_only=True)
class VolumeEncoder(Encoder):
    """Volumes of any size as (D * H * W, C) tokens, and back; values are normalised per channel.

    >>> encoder = VolumeEncoder(size=(2, 4, 4))
    >>> tokens = encoder.encode(np.ones((4, 4, 8), dtype=bool))[0]
    >>> tokens.shape, encoder.to_value(tokens).shape
    (torch.Size([32, 1]), (2, 4, 4, 1))
    """

    kind: ClassVar[str] = "volume"
    other_suffixes: ClassVar[tuple[str, ...]] = ("npy", "npz")

    size: tuple[int, int, int]
    """Extent of the grid, (D, H, W); one number for a cube."""
    channels: int = 1
    """Values of each cell."""
    fit: VolumeFit = "resize"
    """Other sizes: `resize` stretches each axis, averaging where it shrinks and interpolating where it grows. `crop`
    keeps the scale: of a longer axis the middle, and absent tokens at the end of a shorter one."""
    mean: tuple[float, ...] = ()
    """Per channel; 0 if not given."""
    std: tuple[float, ...] = ()
    """Per channel; 1 if not given."""
    array_name: str = ""
    """Which array of an .npz file; empty: the only one."""

    def __post_init__(self) -> None:
        size = tuple(self.size) if isinstance(self.size, list | tuple) else (self.size,) * 3
        if len(size) != 3 or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in size):
            raise ValueError(f"size: expected three whole numbers >= 1, for example (16, 32, 32), got {self.size!r}")
        object.__setattr__(self, "size", size)
        check_count("channels", self.channels)
        check_choice("fit", self.fit, get_args(VolumeFit))
        for name, default in [("mean", 0.0), ("std", 1.0)]:
            values = check_statistics(name, getattr(self, name), self.channels, default=default)
            object.__setattr__(self, name, values)

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
        shape = next(measured(raws, shape_reader((3, 4), given)))
        return {"size": shape[:3], "channels": shape[3] if len(shape) == 4 else 1}

    def read(self, raw: RawArray) -> np.ndarray:
        """A volume as float32 (D, H, W, C): of the grid's size with `fit="resize"`, else of its own.

        Args:
            raw: numbers (D, H, W) of one channel or (D, H, W, C), as an array, a tensor, lists, the path of an .npy or
                .npz file, or such a file's bytes. False and True are 0 and 1.

        Raises:
            ValueError: it cannot be read, has another shape, or a number is infinite or NaN.
        """
        with faults_of(raw):
            array = read_array(raw, array_name=self.array_name)
            values = array[..., None] if array.ndim == 3 and self.channels == 1 else array
            if values.ndim != 4 or values.shape[3] != self.channels:
                raise ValueError(f"expected a volume of shape (D, H, W, {self.channels}), got {array.shape}")
            values = as_float32(values)
        return _resized(values, self.size) if self.fit == "resize" else values

    def to_tokens(self, value: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Float32 (D, H, W, C) as tokens (M, C) in reading order; and bool (M,), True = absent, or None."""
        part = tuple(middle(length, wanted) for length, wanted in zip(value.shape, self.size, strict=False))
        values = normalised(value[part], self.mean, self.std)
        if values.shape[:3] == self.size:
            return torch.from_numpy(values.reshape(-1, self.channels)), None
        tokens = np.zeros((*self.size, self.channels), dtype=np.float32)
        is_padding = np.ones(self.size, dtype=bool)
        covered = tuple(slice(0, length) for length in values.shape[:3])
        tokens[covered], is_padding[covered] = values, False
        return torch.from_numpy(tokens.reshape(-1, self.channels)), torch.from_numpy(is_padding.ravel())

    def to_value(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """Tokens as float32 (D, H, W, C) in the volume's units; what is wholly absent at the end of an axis is cut off.

        Raises:
            ValueError: the shape is not this encoder's.
        """
        self.check_tokens(tokens)
        values = physical(tokens, self.mean, self.std).reshape(*self.size, self.channels)
        if is_padding is None:
            return values
        is_absent = is_padding.cpu().reshape(self.size)
        lengths = [
            num_present(is_absent.movedim(axis, 0).flatten(1).all(1), length) for axis, length in enumerate(self.size)
        ]
        return values[tuple(slice(0, length) for length in lengths)]

    def fitted(self, raws: Iterable[RawArray]) -> Self:
        """The same encoder with the mean and deviation of each channel of these volumes.

        Raises:
            ValueError: none of them can be read; the first one's fault is given.
        """
        mean, std = channel_statistics(self.read, raws)
        return replace(self, mean=mean, std=std)


def _resized(values: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """A volume (d, h, w, C) as (D, H, W, C). What shrinks comes first: nothing aliases and little is left to do."""
    if values.shape[:3] == size:
        return values
    cells = torch.from_numpy(np.ascontiguousarray(np.moveaxis(values, 3, 0)))[None]
    shrunk = tuple(min(length, wanted) for length, wanted in zip(values.shape, size, strict=False))
    cells = functional.adaptive_avg_pool3d(cells, shrunk)
    if shrunk != size:
        cells = functional.interpolate(cells, size=size, mode="trilinear", align_corners=False)
    return np.moveaxis(cells[0].numpy(), 0, 3)
