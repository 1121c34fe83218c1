"""Arrays of numbers: read from files, lists and tensors; and brought from their units to tokens and back.

Files are .npy, .npz (one array, or a named one) and tables as text: .csv, .tsv, .txt, with or without a line of names.
Nothing is unpickled. A table's cells are parted by tabs, semicolons, commas or blanks, whichever of them comes first in
this list and is in the first line; empty cells and NA are missing numbers (NaN); lines that start with # are left out.
"""

import contextlib
import csv
import math
import os
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

RawArray: TypeAlias = "np.ndarray | Tensor | Sequence[Any] | str | os.PathLike[str] | bytes"
"""What is accepted as an array: an array, a tensor, nested lists, a path, or a file's bytes."""

_NPY, _NPZ = b"\x93NUMPY", b"PK\x03\x04"  # how such files begin
_LARGEST_TOKEN = 1e4
_MISSING = {"", "na", "n/a", "null"}


@contextlib.contextmanager
def faults_of(raw: object, *, is_path: bool | None = None) -> Iterator[None]:
    """Whatever goes wrong within becomes a `ValueError` of one line that names the path, if `raw` is one.

    Args:
        raw: what is being read.
        is_path: whether it is a path; by default, whether it is a string or a path object.

    >>> with faults_of("a.npy"):
    ...     raise KeyError("x")
    Traceback (most recent call last):
    ValueError: a.npy: cannot be decoded: 'x'
    """
    is_path = isinstance(raw, str | os.PathLike) if is_path is None else is_path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns of headers that an old Python wrote, and reads them well
            yield
    except MemoryError:
        raise
    except Exception as error:  # decoders raise many kinds on malformed files
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = reason if type(error) is ValueError else f"cannot be decoded: {reason}"
        path = f"{os.fspath(raw)}: " if is_path else ""  # type: ignore[arg-type]
        raise ValueError(path + reason.removeprefix(path)) from error


def read_file(path: str | os.PathLike[str], limit: int = -1) -> bytes:
    """A file's bytes, at most `limit` of them if it is not negative.

    Raises:
        ValueError: there is no such file, it cannot be read, or it is empty. The path is not named: see `faults_of`.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # a pipe or a device might never end
            raise ValueError("is a directory" if path.is_dir() else "is no regular file")
        with path.open("rb") as file:
            content = file.read(limit)
    except OSError as error:
        raise ValueError((error.strerror or "cannot be read").lower()) from error
    if not content:
        raise ValueError("is empty (0 bytes)")
    return content


def read_array(raw: RawArray, *, array_name: str = "") -> np.ndarray:
    r"""An array of real numbers, of any shape and dtype, with at least one number. Tables have two axes.

    Args:
        raw: what is to be read; see `RawArray`.
        array_name: which array of an .npz file; empty: the only one.

    Raises:
        ValueError: it cannot be read, or holds something else. The path is not named, and what is raised for damaged
            files may be of another kind: see `faults_of`.

    >>> read_array(b"time;level\n0;1.5\n1;NA\n")
    array([[0. , 1.5],
           [1. , nan]])
    """
    if isinstance(raw, str | os.PathLike):
        array = _from_bytes(read_file(raw), Path(raw).suffix.lower(), array_name)
    elif isinstance(raw, bytes):
        array = _from_bytes(raw, "", array_name)
    elif isinstance(raw, Tensor):
        array = raw.detach().cpu()
        array = (array.float() if array.dtype == torch.bfloat16 else array).numpy()
    elif isinstance(raw, list | tuple):
        array = _from_lists(raw)
    elif hasattr(raw, "__array__"):
        array = np.asarray(raw)
    else:
        raise ValueError(f"expected an array, lists of numbers, a path or bytes, got {type(raw).__name__}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"expected real numbers, got {array.dtype} of shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"is empty (shape {array.shape})")
    return array


def shape_reader(dimensions: Sequence[int], given: Mapping[str, Any]) -> Callable[[RawArray], tuple[int, ...]]:
    """A function that gives the shape of an array.

    Args:
        dimensions: how many it may have.
        given: settings of its encoder, among them perhaps `array_name`.

    >>> shape_reader((1, 2), {})([[1, 2, 3]])
    (1, 3)
    """

    def shape_of(raw: RawArray) -> tuple[int, ...]:
        shape = read_array(raw, array_name=given.get("array_name", "")).shape
        if len(shape) not in dimensions:
            raise ValueError(f"expected {' or '.join(map(str, dimensions))} dimensions, got shape {shape}")
        return shape

    return shape_of


def as_float32(array: np.ndarray, *, may_miss: bool = False) -> np.ndarray:
    """Real numbers as float32.

    Args:
        array: of `read_array`.
        may_miss: let NaN pass, but not only NaN.

    Raises:
        ValueError: a number is infinite, too large for float32, or NaN.

    >>> as_float32(np.array([1, 2])).dtype
    dtype('float32')
    """
    with np.errstate(over="ignore"):
        values = np.asarray(array, dtype=np.float32)
    is_bad = np.isinf(values) if may_miss else ~np.isfinite(values)
    if is_bad.any():
        place = tuple(int(index) for index in np.argwhere(is_bad)[0])
        raise ValueError(f"expected finite numbers, got {float(array[place]):g} at {place}")
    if may_miss and np.isnan(values).all():
        raise ValueError("holds no number, only NaN")
    return values


def normalised(values: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(value - mean) / std along the last axis: a new float32 array.

    Raises:
        ValueError: a result is too large for float32, or for a model where mean and std were fitted.

    >>> normalised(np.array([[3.0, 4.0]]), (1.0, 0.0), (2.0, 1.0))
    array([[1., 4.]], dtype=float32)
    """
    try:
        with np.errstate(over="raise"):
            result = values.astype(np.float32)
            result -= np.array(mean, dtype=np.float32)
            result /= np.array(std, dtype=np.float32)
    except FloatingPointError:
        raise ValueError("holds numbers that are too large for this mean and std") from None
    check_size(values, result, std)
    return result


def check_size(values: np.ndarray, tokens: np.ndarray, std: Sequence[float]) -> None:
    """Refuse a value (..., C) whose tokens lie absurdly far from those of the training data, and would ruin a step.

    Channels of std 1 are not looked at: theirs may not have been fitted.

    Raises:
        ValueError: a token is larger than 10,000.

    >>> check_size(np.array([[3e9]]), np.array([[1e9]]), (3.0,))
    Traceback (most recent call last):
    ValueError: holds 3e+09, which is 1e+09 standard deviations of the training data from their mean
    """
    size = np.where(np.asarray(std) == 1, 0, np.abs(tokens))
    if size.size and size.max() > _LARGEST_TOKEN:
        place = np.unravel_index(size.argmax(), size.shape)
        far = f"{size[place]:.3g} standard deviations of the training data from their mean"
        raise ValueError(f"holds {float(values[place]):.6g}, which is {far}")


def physical(tokens: Tensor, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """The inverse of `normalised`, of tokens on any device and of any float type: float32.

    >>> physical(torch.tensor([[1.0, 4.0]]), (1.0, 0.0), (2.0, 1.0))
    array([[3., 4.]], dtype=float32)
    """
    values = tokens.detach().to("cpu", torch.float32).numpy()
    return values * np.array(std, dtype=np.float32) + np.array(mean, dtype=np.float32)


def middle(length: int, wanted: int) -> slice:
    """Where the middle of a longer axis lies; all of an axis that is not longer.

    >>> middle(10, 4), middle(3, 4)
    (slice(3, 7, None), slice(0, 3, None))
    """
    start = max(0, length - wanted) // 2
    return slice(start, start + min(length, wanted))


def padded(values: np.ndarray, length: int) -> tuple[Tensor, Tensor | None]:
    """Values (n, C), n <= length, as tokens with absent ones at the end: (length, C); and bool (length,), or None.

    >>> padded(np.ones((1, 1), dtype=np.float32), 2)
    (tensor([[1.],
            [0.]]), tensor([False,  True]))
    """
    if len(values) == length:
        return torch.from_numpy(values), None
    tokens = np.zeros((length, values.shape[1]), dtype=np.float32)
    tokens[: len(values)] = values
    return torch.from_numpy(tokens), torch.arange(length) >= len(values)


def num_present(is_padding: Tensor | None, length: int) -> int:
    """How many of `length` positions are left when the absent ones at the end are cut off.

    >>> num_present(torch.tensor([False, True, False, True]), 4)
    3
    """
    if is_padding is None:
        return length
    present = (~is_padding).nonzero()
    return int(present[-1]) + 1 if len(present) else 0


def _from_lists(lists: Sequence[Any]) -> np.ndarray:
    try:
        array = np.asarray(lists)
        if array.dtype.kind == "O":  # None where a number is missing
            array = np.asarray(lists, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("expected lists of numbers of one length each") from None
    return array


def _from_bytes(content: bytes, ending: str, array_name: str) -> np.ndarray:
    """An array from a file's bytes; of a kind given by the path's ending or its first bytes."""
    if not content:
        raise ValueError("is empty (0 bytes)")
    is_npz = content.startswith(_NPZ) or ending == ".npz"
    if array_name and not is_npz:
        raise ValueError(f"array_name: only an .npz file has named arrays, got {array_name!r}")
    if is_npz:
        return _from_npz(content, array_name)
    if content.startswith(_NPY) or ending == ".npy":
        return _from_npy(content)
    return _from_table(content)


def _from_npz(content: bytes, array_name: str) -> np.ndarray:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if array_name not in names and (array_name or len(names) != 1):
            expected = f"an array {array_name!r}" if array_name else "one array, or array_name"
            raise ValueError(f"expected {expected}, got {', '.join(names) or 'none'}")
        return _from_npy(archive.read(f"{array_name or names[0]}.npy"))


def _from_npy(content: bytes) -> np.ndarray:
    file = BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        raise ValueError("is no .npy file") from None
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"expected an .npy file of version 1.0 or 2.0, got {'.'.join(map(str, version))}")
    is_first = version == (1, 0)
    read_header = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
    try:
        shape, is_fortran, dtype = read_header(file)
    except Exception as error:
        raise ValueError("has a damaged header") from error
    if dtype.hasobject:
        raise ValueError("expected real numbers, got pickled Python objects")
    count, length = math.prod(shape), len(content) - file.tell()
    if count == 0:
        raise ValueError(f"is empty (shape {shape})")
    if min(shape, default=1) < 0 or count * dtype.itemsize > length:  # such a header could ask for any amount of memory
        raise ValueError(f"is cut off: expected {dtype} of shape {shape}, got {length} bytes of it")
    array = np.frombuffer(content, dtype=dtype, count=count, offset=file.tell())
    return array.reshape(shape, order="F" if is_fortran else "C")


def _from_table(content: bytes) -> np.ndarray:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("expected an .npy or .npz file or a table as text (UTF-8)") from None
    lines = {
        number: line for number, line in enumerate(text.splitlines(), 1) if line.strip() and line.strip()[0] != "#"
    }
    first = next(iter(lines.values()), "")
    delimiter = next((each for each in "\t;," if each in first), None)
    has_names = bool(first) and not all(_is_number(cell) for cell in next(_cells([first], delimiter)))
    if len(lines) == has_names:
        raise ValueError("has no line of numbers")
    with contextlib.suppress(ValueError):  # by far the fastest, if no cell is missing
        return np.loadtxt([*lines.values()][has_names:], delimiter=delimiter, comments=None, quotechar='"', ndmin=2)
    # A quoted cell over several lines leaves fewer rows than lines.
    rows = [*zip(lines, _cells(lines.values(), delimiter), strict=False)][has_names:]
    values = []
    for number, row in rows:
        if len(row) != len(rows[0][1]):
            raise ValueError(
                f"line {number}: expected {len(rows[0][1])} cells, as in line {rows[0][0]}, got {len(row)}"
            )
        try:
            values.append([float(cell) for cell in row])
        except ValueError:
            for column, cell in enumerate(row, 1):
                if not _is_number(cell):
                    raise ValueError(f"line {number}, cell {column}: expected a number, got {cell[:40]!r}") from None
            values.append([float("nan") if cell.strip().lower() in _MISSING else float(cell) for cell in row])
    return np.array(values, dtype=np.float64)


def _cells(lines: Iterable[str], delimiter: str | None) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=delimiter) if delimiter else (line.split() for line in lines)


def _is_number(cell: str) -> bool:
    """Whether a cell of a table holds a number, or is one that misses."""
    try:
        float(cell)
    except ValueError:
        return cell.strip().lower() in _MISSING
    return True
