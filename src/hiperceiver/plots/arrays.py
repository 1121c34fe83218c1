"""Arrays or tensors of any device and type as NumPy arrays of a checked shape."""

from collections.abc import Sequence
from typing import Any

import numpy as np

MOST_POINTS = 2000  # stretches of a line that are shown: about one for each pixel of a wide picture


def as_array(values: Any, name: str, *, ndim: int | tuple[int, ...], legend: str) -> np.ndarray:
    """An array, a tensor or nested lists as a NumPy array; tensors leave their device, half types become float32.

    It must have `ndim` axes, or one of several numbers of them; `legend` is the shape in words, for the error.
    """
    if hasattr(values, "detach"):  # a tensor; PyTorch itself is not needed to draw
        values = values.detach().cpu()
        if values.dtype.itemsize < 4 and values.dtype.is_floating_point:
            values = values.float()
        values = values.numpy()
    array = np.asarray(values)
    accepted = (ndim,) if isinstance(ndim, int) else ndim
    if array.ndim not in accepted or 0 in array.shape:
        raise ValueError(f"{name}: expected shape {legend} with no empty axis, got {array.shape}")
    return array


def as_mask(values: Any, name: str, *shapes: tuple[int, ...]) -> np.ndarray:
    """Like `as_array`, for booleans of one of these shapes."""
    expected = " or ".join(map(str, shapes))
    array = as_array(values, name, ndim=tuple(map(len, shapes)), legend=expected)
    if array.dtype != bool or array.shape not in shapes:
        raise ValueError(f"{name}: expected bool {expected}, got {array.dtype} {array.shape}")
    return array


def checked_examples(
    inputs: Sequence[Any],
    reconstructions: Sequence[Any],
    is_masked: Sequence[Any],
    names: Sequence[str],
    *,
    ndim: int,
    legend: str,
    mask_ndims: tuple[int, ...] = (1,),
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Examples that may differ in size: input, reconstruction of its shape, and a bool mask over its first axes."""
    if not len(inputs) or not len(inputs) == len(reconstructions) == len(is_masked):
        counts = f"{len(inputs)}, {len(reconstructions)} and {len(is_masked)}"
        raise ValueError(f"inputs: expected as many as reconstructions and masks, at least one, got {counts}")
    check_names(names, len(inputs))
    examples = []
    for number, (x, made, hidden) in enumerate(zip(inputs, reconstructions, is_masked, strict=True)):
        x = as_array(x, f"inputs, example {number}", ndim=ndim, legend=legend)
        made = as_array(made, f"reconstructions, example {number}", ndim=ndim, legend=legend)
        if made.shape != x.shape:
            raise ValueError(f"reconstructions, example {number}: expected shape {x.shape}, got {made.shape}")
        hidden = as_mask(hidden, f"is_masked, example {number}", *(x.shape[:k] for k in mask_ndims))
        examples.append((x, made, hidden))
    return examples


def check_names(names: Sequence[str], num_examples: int) -> None:
    """Refuse another number of names than of examples, unless there are none."""
    if names and len(names) != num_examples:
        raise ValueError(f"names: expected one for each of {num_examples} examples, got {len(names)}")


def hidden_error(inputs: np.ndarray, reconstruction: np.ndarray, is_masked: np.ndarray) -> float:
    """Root mean square error of one example over its hidden values; NaN if nothing is hidden."""
    if not is_masked.any():
        return float("nan")
    difference = reconstruction[is_masked].astype(np.float64) - inputs[is_masked].astype(np.float64)
    return float(np.sqrt(np.mean(difference**2)))


def caption(hidden_share: float, error: float, separator: str) -> str:
    """The line under an example: the share of it that was hidden, and the error there."""
    parts = [f"{hidden_share:.0%} hidden"]
    if hidden_share > 0:
        parts.append(f"error {error:.3g}" if np.isfinite(error) else "error not finite")
    return separator.join(parts)


def spread_indices(length: int, count: int) -> list[int]:
    """At most `count` different indices, evenly spread over `range(length)` and away from its ends.

    >>> spread_indices(100, 4), spread_indices(3, 5)
    ([12, 37, 62, 87], [0, 1, 2])
    """
    count = min(count, length)
    return [int((k + 0.5) * length / count) for k in range(count)]


def envelope(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices and values of a line that looks like `values` (M,) with few points: extremes of each stretch."""
    num_tokens = len(values)
    if num_tokens <= 2 * MOST_POINTS:
        return np.arange(num_tokens), values
    width = -(-num_tokens // MOST_POINTS)
    stretches = np.pad(values.astype(float), (0, -num_tokens % width), constant_values=np.nan).reshape(-1, width)
    indices = (np.arange(len(stretches)) * width)[:, None] + np.array([0.25, 0.75]) * width
    # NaN is left out, unless there is nothing else.
    ends = np.stack([np.fmin.reduce(stretches, axis=1), np.fmax.reduce(stretches, axis=1)], axis=1)
    return indices.reshape(-1), ends.reshape(-1)
