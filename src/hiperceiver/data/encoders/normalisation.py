"""Mean and standard deviation of a modality's channels, from training data. One absurd file cannot ruin them."""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, product
from typing import Any, NamedTuple

import numpy as np

from hiperceiver.data.media import Media

FITTED_TO = 256  # how many raw values normalisation is taken from at most
_ISOLATED, _ISOLATED_ONCE = 10.0, 100.0
"""Ranges of the others beyond which a file's extreme value is no measurement: if it occurs several times, or once."""
_FEWEST = (
    32  # values of a channel that a file must have for one of them to stand alone: smaller files are taken together
)
_LEAST = 8  # others that must be there
_FEW_ZEROS = 0.2  # share of a channel up to which isolated zeros are said
_FAR = 1e3, 2.0**24
"""How far from 0 a channel's middle may lie: times its values' spread, and up to where float32 holds whole numbers."""
_MOST_ALONE = 3  # different values on either side that may stand alone
_MANY, _BEYOND_CHANCE = 16, 1e6  # files of few values: so many tell what is usual; of fewer, what is beyond any doubt
_FARTHEST = 100.0
"""A file is left out if its values lie on average this many times as far from the middle as those of half of the files;
10 times the root of the number of files, if that is less: alone it would else shrink all others tenfold."""


def channel_statistics(
    read: Callable[[Any], np.ndarray],
    raws: Iterable[Any],
    *,
    least_std: float = 0.0,
    usual: float = 0.0,
    notes: list[str] | None = None,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel (the last axis of what `read` gives), of six digits. NaN is left out.

    So are values that stand alone far beyond all others of their file (of small files: of all of them), such as -9999
    for a missing one, and files (a quarter of them at most; more are said) whose values are far larger than those of
    the others: each is named in a line of `notes`. What cannot be read is left out, unless that is all: then the first
    fault is raised.

    Args:
        read: an encoder's.
        raws: of training data only; the first `FITTED_TO` are read.
        least_std: a channel that varies less, or less than its mean is rounded, keeps the deviation 1.
        usual: values up to this are never left out: 1 for colours and sound.
        notes: is added to.
    """
    names: list[str] = []
    sums: list[np.ndarray] = []  # of powers 0, 1 and 2 of each file: (3, C)
    small: dict[int, np.ndarray] = {}  # number of a file -> its channels (n, C)
    isolated: list[_Isolated] = []
    first_fault = None
    for index, raw in enumerate(islice(raws, FITTED_TO)):
        try:
            value = read(raw)
        except ValueError as error:
            first_fault = first_fault or str(error)
            continue
        with np.errstate(invalid="ignore"):  # of NaN that a file calls a signal
            channels = value.reshape(-1, value.shape[-1]).astype(np.float64)
        if len(channels) < _FEWEST:
            small[len(names)] = channels
        else:
            isolated += _take_isolated(channels, np.full(len(channels), len(names)), usual)
        sums.append(_sums(channels))
        names.append(name_of(raw, index))
    shift = np.zeros(sums[0].shape[1] if sums else 0)
    if small:
        together, owners = np.concatenate([*small.values()]), np.repeat([*small], [*map(len, small.values())])
        if len(small) == len(names):
            shift = _far_middle(together)
            together = together - shift
        isolated += _take_isolated(together, owners, usual)
        for file in small:
            sums[file] = _sums(together[owners == file])
    if not any(each[0].any() for each in sums):
        raise ValueError(f"nothing to take mean and std from: {first_fault or 'there is no training example'}")
    times = Counter(each.value for each in isolated for _ in range(each.count))
    marked: dict[str, float] = {}
    zeros = sorted({each.file for each in isolated if each.value == 0})
    for each in isolated:
        if each.value == 0:
            continue
        if times[each.value] > 1 or each.distance > _ISOLATED_ONCE:
            marked.setdefault(names[each.file], each.value + shift[each.channel])
        else:
            sums[each.file][:, each.channel] += each.count * each.value ** np.arange(3)
    is_far = _are_far(np.stack(sums), usual)
    if notes is not None:
        if zeros:
            more = f" and {len(zeros) - 1} more" if len(zeros) > 1 else ""
            notes.append(
                f"0 in {names[zeros[0]]}{more} lies far from all other values, and counts: is it a missing one?"
            )
        notes += _notes(marked, [name for name, far in zip(names, is_far, strict=True) if far], len(names))
    if is_far.sum() > max(1, len(names) // 4):
        is_far[:] = False
    count, total, squares = np.stack(sums)[~is_far].sum(0)
    count = np.maximum(count, 1)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    is_constant = std <= np.maximum(least_std, 1e-6 * np.abs(mean))
    if notes is not None and is_constant.all() and len(names) > 1:
        notes.append("all training examples that were looked at hold the same values: there is nothing to learn")
    means, stds = ([float(f"{value:.6g}") for value in each] for each in (mean, np.where(is_constant, 1.0, std)))
    return tuple(each + float(far) for each, far in zip(means, shift, strict=True)), tuple(stds)


def values_apart(values: np.ndarray) -> set[tuple[int, float]]:
    """Channel and value of those of numbers (n, C) that stand alone far beyond all others, as in `channel_statistics`.

    >>> values_apart(np.array([[0.5], [0.25], [-9999.0], [1.0], [0.75], [-9999.0], [0.0], [0.125], [0.3], [0.9]]))
    {(0, -9999.0)}
    """
    isolated = [each for each in _take_isolated(values.astype(np.float64), np.arange(len(values)), 0.0) if each.value]
    times = Counter((each.channel, each.value) for each in isolated)
    far = {(each.channel, each.value) for each in isolated if each.distance > _ISOLATED_ONCE}
    return far | {each for each, count in times.items() if count > 1}


class _Isolated(NamedTuple):
    """A value that stands alone in a channel of a file."""

    file: int
    channel: int
    value: float
    count: int
    distance: float  # from the others, in units of their range


def _far_middle(channels: np.ndarray) -> np.ndarray:
    """The middle of channels (n, C) that lie so far from 0 that squares would lose how they vary; of others 0."""
    ordered = np.sort(channels, axis=0)  # NaN last
    rows, count = np.arange(channels.shape[1]), np.count_nonzero(~np.isnan(channels), axis=0)
    low, middle, high = (ordered[np.maximum(count - 1, 0) * quarter // 4, rows] for quarter in (1, 2, 3))
    with np.errstate(invalid="ignore"):
        is_far = np.abs(middle) > np.maximum(_FAR[0] * (high - low), _FAR[1])
    return np.where(is_far, middle, 0.0)


def _sums(channels: np.ndarray) -> np.ndarray:
    """Of powers 0, 1 and 2 of values (n, C) that are there: (3, C)."""
    is_there = ~np.isnan(channels)
    channels = np.where(is_there, channels, 0)
    return np.stack([is_there.sum(0), channels.sum(0), np.square(channels).sum(0)])


def _take_isolated(channels: np.ndarray, files: np.ndarray, usual: float) -> Iterator[_Isolated]:
    """Isolated smallest and largest values (n, C) of files (n,), which become NaN in place.

    Up to three different ones on either side: some files have a marker for each reason why a value is missing. A few
    isolated zeros stay, as they may as well be measured.
    """
    for number, channel in enumerate(channels.T):
        while alone := _values_alone(channel, usual):
            for value, distance in alone:
                is_it = channel == value
                for file, count in zip(*np.unique(files[is_it], return_counts=True), strict=True):
                    yield _Isolated(int(file), number, value, int(count), distance)
                channel[is_it] = np.nan
        num_zeros = np.count_nonzero(is_zero := channel == 0)
        if usual == 0 and 0 < num_zeros < _FEW_ZEROS * len(channel) and _values_alone(channel, -1.0):
            for file, count in zip(*np.unique(files[is_zero], return_counts=True), strict=True):
                yield _Isolated(int(file), number, 0.0, int(count), 0.0)


def _values_alone(channel: np.ndarray, usual: float) -> list[tuple[float, float]]:
    """Values that stand alone in a channel (n,), and their distance from all that do not, in ranges of these."""
    low, high = float(np.fmin.reduce(channel)), float(np.fmax.reduce(channel))
    if not (low < -usual or high > usual):
        return []
    lows, highs = _extremes(channel, low, np.fmin), _extremes(channel, high, np.fmax)
    numbers = sorted(product(range(len(lows)), range(len(highs))), key=sum)[1:]
    for num_low, num_high in numbers:
        first, last = lows[num_low], highs[num_high]
        gaps = [first - lows[num_low - 1]] * (num_low > 0) + [highs[num_high - 1] - last] * (num_high > 0)
        if not (first < last and min(gaps) > _ISOLATED * (last - first)):
            continue
        others = channel[(channel >= first) & (channel <= last)]
        others = others if num_low + num_high == 1 else np.unique(others)  # of a few codes several may stand apart
        if len(others) >= _LEAST:
            alone = [*((value, first - value) for value in lows[:num_low]), *((v, v - last) for v in highs[:num_high])]
            return [(value, gap / (last - first)) for value, gap in alone if abs(value) > usual]
    return []


def _extremes(channel: np.ndarray, first: float, extreme: np.ufunc) -> list[float]:
    """The smallest or largest values of a channel (n,), each once, from the outermost, up to `_MOST_ALONE` + 1."""
    found, rest = [first], channel
    while len(found) <= _MOST_ALONE:
        rest = rest[rest > found[-1]] if extreme is np.fmin else rest[rest < found[-1]]
        if not len(rest):
            break
        found.append(float(extreme.reduce(rest)))
    return found


def _are_far(sums: np.ndarray, usual: float) -> np.ndarray:
    """Which files have values far larger than the others': bool (files,), of sums (files, 3, C)."""
    count, total, squares = np.moveaxis(sums, 1, 0)
    is_there = count > 0
    is_small = bool(count.max() < _FEWEST)
    count = np.maximum(count, 1)
    limit = min(_FARTHEST, 10 * math.sqrt(len(sums)))
    times = np.full(count.shape, np.nan)  # as far from the middle as half of the files, in each channel
    for channel in range(sums.shape[2]):
        there = is_there[:, channel]
        means = (total / count)[there, channel]
        middle = np.sort(means)[(len(means) - 1) // 2] if len(means) else 0.0
        distance = np.sqrt(np.maximum((squares - 2 * middle * total) / count + middle**2, 0)[there, channel])
        if len(varying := np.sort(distance[distance > 1e-6 * abs(middle)])):
            half = varying[(len(varying) - 1) // 2]
            times[there, channel] = np.where(distance > usual, distance / half, 0)
    if not is_small or len(sums) >= _MANY:
        return np.fmax.reduce(times, 1) > limit
    # Few files of a few values each: by chance half of them lie next to each other in one of many channels.
    is_far = np.fmax.reduce(times, 1) > _BEYOND_CHANCE
    if sums.shape[2] >= _LEAST:
        is_far |= np.nanmedian(np.where(np.isnan(times), 0, times), 1) > limit
    return is_far


def _notes(marked: dict[str, float], far: Sequence[str], num_files: int) -> Iterator[str]:
    if marked:
        name, value = next(iter(marked.items()))
        more = f" and {len(marked) - 1} more" if len(marked) > 1 else ""
        why = "lies far from all other values (a missing one?): left out of mean and std"
        yield f"{value:g} in {name}{more} {why}"
    if len(far) > max(1, num_files // 4):
        which = f"{len(far)} of {num_files} files, for example {far[0]}"
        yield f"the values of {which}, are far larger than those of the others, which become flat: are units mixed?"
    elif far:
        more = f" and {len(far) - 3} more" if len(far) > 3 else ""
        yield f"{', '.join(far[:3])}{more}: values far larger than the others': left out of mean and std"


def name_of(raw: Any, index: int) -> str:
    """A raw value for people: its path, or its number among the examples that are looked at."""
    raw = raw.source if isinstance(raw, Media) else raw
    return os.fspath(raw) if isinstance(raw, str | os.PathLike) else f"example {index}"
