"""Arrays of numbers: read from .npy, .npz, tables as text, lists and tensors; from their units to tokens and back."""

import math
import os
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from hiperceiver import limits
from hiperceiver.data.encoders.text_tables import read_text_table
from hiperceiver.data.faults import Fault, faults_of, read_file
from hiperceiver.data.text import composed, text_of

RawArray: TypeAlias = "np.ndarray | Tensor | Sequence[Any] | str | os.PathLike[str] | bytes"
"""What is accepted as an array: an array, a tensor, nested lists, a path, or a file's bytes."""

_NPY, _NPZ = b"\x93NUMPY", b"PK\x03\x04"  # how such files begin
_LARGEST_TOKEN = 1e3
_FARTHEST = 1e5
_SMALLEST = float(np.finfo(np.float32).tiny)
_COARSEST = 0.01  # what float32 may round a number by, as a share of how far the numbers of its channel lie apart


def read_array(raw: RawArray, *, array_name: str = "") -> np.ndarray:
    r"""An array of real numbers, of any shape and dtype, with at least one number; nothing is unpickled.

    A table as text has two axes; see `read_text_table`. Faults do not name the path and may be of any kind: see
    `faults_of`.

    >>> read_array(b"time;level\n0;1.5\n1;NA\n")
    array([[0. , 1.5],
           [1. , nan]])
    """
    return read_named(raw, array_name=array_name)[0]


def read_named(
    raw: RawArray, *, array_name: str = "", columns: Sequence[str] = ()
) -> tuple[np.ndarray, tuple[str, ...]]:
    """As `read_array`, and the names of the columns of a table, if it has some; see `read_text_table`."""
    names: tuple[str, ...] = ()
    if isinstance(raw, str | os.PathLike | bytes):
        is_path = not isinstance(raw, bytes)
        content, ending = (read_file(raw), Path(raw).suffix.lower()) if is_path else (raw, "")
        array, names = _from_bytes(content, ending, array_name, columns)
    elif isinstance(raw, list | tuple):
        array = _from_lists(raw)
    elif hasattr(raw, "__array__"):
        array = np.asarray(plain(raw))
    else:
        raise ValueError(f"expected an array, lists of numbers, a path or bytes, got {type(raw).__name__}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"expected real numbers, got {array.dtype} of shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"is empty (shape {array.shape})")
    return array, names


def plain(values: Any) -> Any:
    """A tensor as an array, and a masked array with NaN where numbers are masked; anything else as it is.

    >>> plain(np.ma.masked_equal([1, -9999, 3], -9999))
    array([ 1., nan,  3.])
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    if not np.ma.is_masked(values) or values.dtype.kind not in "biuf":
        return values
    return values.astype(np.float64).filled(np.nan)


def shape_of(raw: RawArray, *dimensions: int, array_name: str = "") -> tuple[int, ...]:
    """The shape of an array that may have so many dimensions."""
    return named_shape_of(raw, *dimensions, array_name=array_name)[0]


def named_shape_of(
    raw: RawArray, *dimensions: int, array_name: str = "", columns: Sequence[str] = ()
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """As `shape_of`, and the names of a table's columns."""
    with faults_of(raw):
        array, names = read_named(raw, array_name=array_name, columns=columns)
        if len(array.shape) not in dimensions:
            raise ValueError(f"expected {' or '.join(map(str, dimensions))} dimensions, got shape {array.shape}")
    return array.shape, names


def columns_of(array: np.ndarray, names: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Columns of a table by name, of which accents may be written otherwise."""
    names, wanted = ([composed(name) for name in each] for each in (names, wanted))
    if lacking := [name for name in wanted if name not in names]:
        found = f"got {', '.join(names)}; no {lacking[0]!r}"
        raise ValueError(f"expected the columns {', '.join(wanted)}, {found}")
    if len(set(names)) < len(names):
        raise ValueError(f"expected each column once, got {', '.join(names)}")
    return array[:, [names.index(name) for name in wanted]]


def turned_axes(kind: str, expected: str, shape: tuple[int, ...], channels: int) -> str:
    """What is said of an array whose first axis looks like channels."""
    option = f"--encoders.{kind}.channels {channels}"
    remedy = f"transpose them, or set channels to {channels} ({option}) if they are as they should be"
    return f"channels: expected {expected}, got {shape}, which looks as if channels came first; {remedy}"


def as_float32(array: np.ndarray, *, may_miss: bool = False, names: Sequence[str] = ()) -> np.ndarray:
    """Finite numbers as float32, channels last; with `may_miss` some, but not all, may be NaN.

    Numbers that float32 cannot tell apart, such as seconds since 1970, are refused.
    """
    with np.errstate(over="ignore"):
        values = np.asarray(array, dtype=np.float32)
    is_bad = np.isinf(values) if may_miss else ~np.isfinite(values)
    if is_bad.any():
        index = tuple(int(index) for index in np.argwhere(is_bad)[0])
        raise ValueError(f"expected finite numbers, got {float(array[index]):g} at {index}")
    if may_miss and np.isnan(values).all():
        raise ValueError("holds no number, only NaN")
    if array.dtype.itemsize > 2 and array.dtype != np.float32:
        _check_resolution(array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1), names)
    return values


def _check_resolution(values: np.ndarray, names: Sequence[str]) -> None:
    """Refuse channels (n, C), perhaps with names, whose numbers differ by less than float32 holds of them."""
    low, high = (reduce(values, axis=0).astype(np.float64) for reduce in (np.fmin.reduce, np.fmax.reduce))
    largest = np.maximum(np.abs(low), np.abs(high))
    is_lost = (high > low) & ((largest * 2.0**-24 > _COARSEST * (high - low)) | (largest < _SMALLEST))
    if is_lost.any():
        channel = int(is_lost.argmax())
        found = f"numbers from {low[channel]:.10g} to {high[channel]:.10g} in channel {channel}"
        remedy = "subtract an offset, or scale them"
        if len(names) > 1:
            found += f", {names[channel]}"
            others = ", ".join(name for name in names if name != names[channel])
            remedy += f", or read the others alone (--encoders.series.channel_names '[{others}]')"
        raise ValueError(f"expected numbers that float32 can tell apart, got {found}; {remedy}")


def check_spread(value: np.ndarray) -> None:
    """Refuse a signal (steps, C) with a value so far from the others that these would vanish beside it."""
    distances = np.abs(value - np.median(value, 0))
    most, usual = distances.max(0), np.quantile(distances, 0.9, 0)
    if (bad := (most > _FARTHEST * usual) & (usual > 0)).any():
        channel = int(bad.argmax())
        place = float(value[distances[:, channel].argmax(), channel])
        raise ValueError(f"holds {place:.6g}, far from all other values of channel {channel}; a missing one is NaN")


def normalised(values: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(value - mean) / std along the last axis: a new float32 array, of float64 computed in float64.

    Results above 1000, which would ruin a training step, are refused, but of channels of std 1, perhaps not fitted.
    """
    with np.errstate(over="ignore"):
        dtype = np.float64 if values.dtype == np.float64 else np.float32
        result = values.astype(dtype)
        result -= np.array(mean, dtype=dtype)
        result /= np.array(std, dtype=dtype)
        result = result.astype(np.float32, copy=False)
    size = np.where((np.asarray(std) == 1) & np.isfinite(result), 0, np.abs(result))
    if size.size and size.max() > _LARGEST_TOKEN:
        index = np.unravel_index(size.argmax(), size.shape)
        value = float(values[index])
        own_mean, own_std = (np.broadcast_to(each, size.shape[-1:])[index[-1]] for each in (mean, std))
        far = f"{abs(value - own_mean) / own_std:.3g} standard deviations of the training data from their mean"
        raise ValueError(f"holds {value:.6g}, which is {far}")
    return result


def physical(tokens: Tensor, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """The inverse of `normalised`, of tokens on any device and of any float type: float32."""
    values = tokens.detach().to("cpu", torch.float32).numpy()
    return values * np.array(std, dtype=np.float32) + np.array(mean, dtype=np.float32)


def middle(length: int, wanted: int) -> slice:
    """Where the middle of a longer axis lies; all of an axis that is not longer."""
    start = max(0, length - wanted) // 2
    return slice(start, start + min(length, wanted))


def padded(
    values: np.ndarray, grid: tuple[int, ...], covered: tuple[slice, ...] | None = None
) -> tuple[Tensor, Tensor | None]:
    """Values (..., C) that cover a part of a grid, by default its start, as `Encoder.to_tokens` gives all tokens."""
    channels = values.shape[-1]
    if values.shape[:-1] == grid:
        return torch.from_numpy(values.reshape(-1, channels)), None
    tokens, is_padding = np.zeros((*grid, channels), dtype=np.float32), np.ones(grid, dtype=bool)
    covered = covered or tuple(slice(0, length) for length in values.shape[:-1])
    tokens[covered], is_padding[covered] = values, False
    return torch.from_numpy(tokens.reshape(-1, channels)), torch.from_numpy(is_padding.ravel())


def in_rows(values: np.ndarray, length: int, context: int = 0) -> np.ndarray:
    """Values (n, C), `length` in a row between `context` neighbours each side: (ceil(n / length), (c + l + c) * C).

    Beyond the ends are zeros.

    >>> in_rows(np.array([[1], [2], [3]]), 2, context=1)
    array([[0, 1, 2, 3],
           [2, 3, 0, 0]])
    """
    channels, num_rows = values.shape[1], math.ceil(len(values) / length)
    filled = np.zeros((num_rows * length + 2 * context, channels), dtype=values.dtype)
    filled[context : context + len(values)] = values
    if not context:
        return filled.reshape(num_rows, length * channels)
    windows = np.lib.stride_tricks.sliding_window_view(filled.ravel(), (length + 2 * context) * channels)
    return windows[:: length * channels].copy()


def from_rows(rows: Tensor, channels: int, context: int = 0) -> Tensor:
    """Rows (M, (c + l + c) * C) of `in_rows` without their neighbours: (M, l, C)."""
    steps = rows.unflatten(1, (rows.shape[1] // channels, channels))
    return steps[:, context : steps.shape[1] - context]


def num_present(is_padding: Tensor | None, length: int) -> int:
    """How many of `length` positions are left when the absent ones at the end are cut off."""
    if is_padding is None:
        return length
    present = (~is_padding).nonzero()
    return int(present[-1]) + 1 if len(present) else 0


def _from_lists(lists: Sequence[Any]) -> np.ndarray:
    try:
        array = np.asarray(lists)
        # None stands where a number is missing.
        return np.asarray(lists, dtype=np.float64) if array.dtype.kind == "O" else array
    except (TypeError, ValueError):
        raise ValueError("expected lists of numbers of one length each") from None


def _from_bytes(
    content: bytes, ending: str, array_name: str, columns: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """An array from a file's bytes, of a kind given by the path's ending or its first bytes; names of its columns."""
    if not content:
        raise ValueError("is empty (0 bytes)")
    if content.startswith(_NPZ) or ending == ".npz":
        return _from_npz(content, array_name), ()
    if array_name:
        raise ValueError(f"array_name: only an .npz file has named arrays, got {array_name!r}")
    if content.startswith(_NPY) or ending == ".npy":
        return _from_npy(content), ()
    limits.check_lines(content)
    try:
        text = text_of(content)
    except Fault:
        if ending in (".csv", ".tsv", ".txt", ".xyz", ".pts"):
            raise
        raise ValueError("expected an .npy or .npz file or a table as text (UTF-8)") from None
    names, numbers = read_text_table(text, columns)
    return numbers, names


def _from_npz(content: bytes, array_name: str) -> np.ndarray:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if array_name not in names and (array_name or len(names) != 1):
            expected = f"an array {array_name!r}" if array_name else "one array, or array_name"
            raise ValueError(f"expected {expected}, got {', '.join(names) or 'none'}")
        packed = archive.getinfo(f"{array_name or names[0]}.npy")
        if packed.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("expected an .npz file as NumPy writes it, got one that is compressed in another way")
        limits.FILE.check(packed.file_size, f"its array {packed.filename.removesuffix('.npy')!r} has")
        with archive.open(packed) as file:
            return _from_npy(file.read(packed.file_size))  # not one byte more, whatever there is


def _from_npy(content: bytes) -> np.ndarray:
    """As `numpy.load` without pickle, which would take the memory that a damaged header asks for."""
    file = BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        raise ValueError("is no .npy file") from None
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"expected an .npy file of version 1.0 or 2.0, got {'.'.join(map(str, version))}")
    try:
        shape, is_fortran, dtype = readers[version](file)
    except Exception as error:
        raise ValueError("has a damaged header") from error
    if dtype.hasobject:
        raise ValueError("expected real numbers, got pickled Python objects")
    count, length = math.prod(shape), len(content) - file.tell()
    if min(shape, default=1) < 0 or count * dtype.itemsize > length:
        raise ValueError(f"is cut off: expected {dtype} of shape {shape}, got {length} bytes of it")
    if rest := length - count * dtype.itemsize:
        raise ValueError(f"has {rest} bytes behind its array of shape {shape}: several arrays belong into an .npz file")
    array = np.frombuffer(content, dtype=dtype, count=count, offset=file.tell())
    return array.reshape(shape, order="F" if is_fortran else "C")
