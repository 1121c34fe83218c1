"""What a masked auto-encoder saw, and what it made of it: pictures, videos and signals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hiperceiver.plots import style
from hiperceiver.plots.arrays import MOST_POINTS, as_array, as_mask, envelope, spread_indices

_NOT_FINITE = (0.9, 0.0, 0.9)
_ERROR_COLOURS = "magma_r"


def pasted(inputs: np.ndarray, reconstruction: np.ndarray, is_masked: np.ndarray) -> np.ndarray:
    """The reconstruction at hidden places and the input at visible ones.

    Args:
        inputs: (B, ..., C).
        reconstruction: (B, ..., C).
        is_masked: bool (B, ...), True = hidden.

    Returns:
        (B, ..., C), in the reconstruction's type.
    """
    return np.where(is_masked[..., None], reconstruction, inputs)


def draw_reconstructions(
    inputs: Any,
    reconstruction: Any,
    is_masked: Any,
    *,
    names: Sequence[str] = (),
    title: str = "",
    max_columns: int = 8,
) -> Figure:
    """Input, what the model was shown of it, its reconstruction, and the error, for each example.

    The number of grid axes says how it is drawn: one is a signal (lines, hidden spans shaded), two a picture, three a
    video, of which the first example's frames are shown. Hidden pixels are flat grey, and the output has the visible
    ones pasted in. Under each picture stand the share that was hidden and the root mean square error over the hidden
    values: of a signal in its own units, of a picture on the scale where black is 0 and white is 1.

    uint8 pictures are shown from 0 to 255, floats from 0 to 1 if the input lies in there and from its least to its
    greatest value otherwise. One channel is grey, three are colours, and of any other number the mean is shown. Values
    that are not finite are magenta.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> pictures, is_masked = rng.random((4, 16, 16, 3)), rng.random((4, 16, 16)) < 0.75
    >>> figure = draw_reconstructions(pictures, pictures * 0.9, is_masked, title="A model that darkens")

    Args:
        inputs: (B, *grid, C), decoded to raw values; uint8 or float.
        reconstruction: Like `inputs`.
        is_masked: bool (B, *grid), True = hidden.
        names: A name for each example, or none.
        title: Above the figure.
        max_columns: At most so many examples (or frames of the video) are drawn.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    legend = "(B, *grid, C), 1 to 3 grid axes"
    inputs = as_array(inputs, "inputs", ndim=(3, 4, 5), legend=legend)
    reconstruction = as_array(reconstruction, "reconstruction", ndim=inputs.ndim, legend=legend)
    if reconstruction.shape != inputs.shape:
        raise ValueError(f"reconstruction: expected the shape of inputs, {inputs.shape}, got {reconstruction.shape}")
    is_masked = as_mask(is_masked, "is_masked", shape=inputs.shape[:-1], legend="(B, *grid)")
    if names and len(names) != len(inputs):
        raise ValueError(f"names: expected one for each of {len(inputs)} examples, got {len(names)}")
    if max_columns < 1:
        raise ValueError(f"max_columns: expected a whole number >= 1, got {max_columns!r}")

    if inputs.ndim == 5:
        frames = spread_indices(inputs.shape[1], max_columns)
        names = [f"frame {frame}" for frame in frames]
        inputs, reconstruction, is_masked = inputs[0, frames], reconstruction[0, frames], is_masked[0, frames]
    inputs, reconstruction, is_masked = inputs[:max_columns], reconstruction[:max_columns], is_masked[:max_columns]
    names = list(names)[:max_columns]
    if inputs.ndim == 3:
        return _draw_signals(inputs, reconstruction, is_masked, names=names, title=title)
    return _draw_pictures(inputs, reconstruction, is_masked, names=names, title=title)


def hidden_error(inputs: np.ndarray, reconstruction: np.ndarray, is_masked: np.ndarray) -> float:
    """Root mean square error of one example over its hidden values; NaN if nothing is hidden."""
    if not is_masked.any():
        return float("nan")
    difference = reconstruction[is_masked].astype(np.float64) - inputs[is_masked].astype(np.float64)
    return float(np.sqrt(np.mean(difference**2)))


def _caption(is_masked: np.ndarray, error: float, separator: str) -> str:
    parts = [f"{is_masked.mean():.0%} hidden"]
    if is_masked.any():
        parts.append(f"error {error:.3g}" if np.isfinite(error) else "error not finite")
    return separator.join(parts)


def _shown_range(inputs: np.ndarray) -> tuple[float, float]:
    """The values that are drawn as black and as white."""
    if inputs.dtype == np.uint8:
        return 0.0, 255.0
    finite = inputs[np.isfinite(inputs)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    return (0.0, 1.0) if low >= 0.0 and high <= 1.0 else (low, high)


def _draw_pictures(
    inputs: np.ndarray, reconstruction: np.ndarray, is_masked: np.ndarray, *, names: Sequence[str], title: str
) -> Figure:
    low, high = _shown_range(inputs)
    scale = max(high - low, 1e-12)
    shown = (inputs.astype(np.float32) - low) / scale  # (B, H, W, C), 0 is black, 1 is white
    made = (reconstruction.astype(np.float32) - low) / scale
    seen = np.where(is_masked[..., None], style.HIDDEN_GREY, np.clip(shown, 0.0, 1.0))
    error = np.where(is_masked, np.abs(made - shown).mean(axis=-1), np.nan)  # (B, H, W)
    finite = error[np.isfinite(error)]
    most = max(float(np.quantile(finite, 0.99)), 1e-3) if len(finite) else 1.0

    num_examples, num_rows, num_columns = inputs.shape[:3]
    width, height = style.panel_size(num_examples, num_rows, num_columns)
    figure = style.new_figure(width * num_examples + 1.0, 4 * (height + 0.1) + 1.0, layout="compressed")
    axes = style.grid_of_axes(figure, 4, num_examples)
    rows = {"input": shown, "masked": seen, "output": pasted(shown, made, is_masked)}
    norm = Normalize(0.0, most)
    for column in range(num_examples):
        for row, (label, pictures) in enumerate(rows.items()):
            axes[row, column].imshow(_as_colours(pictures[column]), interpolation="nearest")
            name = names[column] if names and row == 0 else ""
            style.as_picture_axes(axes[row, column], column=name, row=label if column == 0 else "")
        axes[3, column].imshow(error[column], cmap=_ERROR_COLOURS, norm=norm, interpolation="nearest")
        caption = _caption(is_masked[column], hidden_error(shown[column], made[column], is_masked[column]), "\n")
        style.as_picture_axes(axes[3, column], row="error" if column == 0 else "", caption=caption)
    bar = figure.colorbar(ScalarMappable(norm, _ERROR_COLOURS), ax=list(axes[3]), pad=0.02, aspect=14)
    bar.set_ticks([0.0, most], labels=["0", f"{most:.2g}"])
    bar.ax.tick_params(labelsize=style.CAPTION_SIZE, colors=style.SOFT, length=0)
    style.without_outline(bar)
    style.add_title(figure, title, _scale_note(inputs.shape[-1], low, high))
    return figure


def _scale_note(num_channels: int, low: float, high: float) -> str:
    note = "error: root mean square over hidden pixels, black to white = 1"
    if (low, high) not in {(0.0, 1.0), (0.0, 255.0)}:
        note += f"; values from {low:.3g} (black) to {high:.3g} (white)"
    if num_channels not in {1, 3}:
        note += f"; mean of {num_channels} channels"
    return note


def _as_colours(picture: np.ndarray) -> np.ndarray:
    """(H, W, C) on a scale from 0 to 1 becomes RGB; values that are not finite become magenta."""
    if picture.shape[-1] != 3:
        picture = np.repeat(picture.mean(axis=-1, keepdims=True), 3, axis=-1)
    is_finite = np.isfinite(picture).all(axis=-1, keepdims=True)
    return np.where(is_finite, np.clip(np.nan_to_num(picture), 0.0, 1.0), np.array(_NOT_FINITE))


def _draw_signals(
    inputs: np.ndarray, reconstruction: np.ndarray, is_masked: np.ndarray, *, names: Sequence[str], title: str
) -> Figure:
    num_examples, num_tokens, num_channels = inputs.shape
    inputs, reconstruction = inputs.astype(np.float64), reconstruction.astype(np.float64)
    height = 1.0 + 0.35 * min(num_channels, 12)
    figure = style.new_figure(9.0, height * num_examples + 0.6 + (0.3 if title else 0.0))
    axes = style.grid_of_axes(figure, num_examples, 1)[:, 0]
    for example, ax in enumerate(axes):
        style.as_chart_axes(ax, x="token" if example == num_examples - 1 else "")
        ax.grid(False)
        # Channels lie above each other, each in a lane as high as the largest of them needs.
        lane = 1.1 * max(float(np.ptp(inputs[example], axis=0).max()), 1e-12)
        middles = (inputs[example].max(axis=0) + inputs[example].min(axis=0)) / 2
        offsets = -lane * np.arange(num_channels)
        edges = (offsets[-1] - 0.55 * lane, 0.55 * lane)
        ax.imshow(
            _coarse_share(is_masked[example])[None],
            extent=(-0.5, num_tokens - 0.5, *edges),
            aspect="auto",
            cmap="Greys",
            vmin=0.0,
            vmax=4.0,
            interpolation="nearest",
        )
        for channel in range(num_channels):
            shift = offsets[channel] - middles[channel]
            ax.plot(*envelope(inputs[example, :, channel] + shift), color=style.SOFT, linewidth=0.7)
            hidden = np.where(is_masked[example], reconstruction[example, :, channel], np.nan) + shift
            ax.plot(*envelope(hidden), color=style.LINES[1], linewidth=0.9, alpha=0.85)
            lone = _is_lone(is_masked[example])  # a line through one point does not show
            ax.plot(np.flatnonzero(lone), hidden[lone], ".", color=style.LINES[1], markersize=1.5)
        ax.set_xlim(-0.5, num_tokens - 0.5)
        ax.set_ylim(*edges)
        if num_channels > 1:
            ax.set_yticks(offsets, [f"channel {channel}" for channel in range(num_channels)])
        else:
            ax.set_yticks([])
        error = hidden_error(inputs[example], reconstruction[example], is_masked[example])
        caption = _caption(is_masked[example], error, " · ")
        caption = f"{names[example]} · {caption}" if names else caption
        ax.set_title(caption, fontsize=style.CAPTION_SIZE, color=style.SOFT, loc="left")
    note = "grey line: input · orange: reconstruction of hidden tokens · shaded: hidden · error: root mean square there"
    style.add_title(figure, title, note)
    return figure


def _coarse_share(is_masked: np.ndarray) -> np.ndarray:
    """Share of hidden tokens, (M,), in at most `MOST_POINTS` equal stretches."""
    num_bins = min(len(is_masked), MOST_POINTS)
    stretch = (np.arange(len(is_masked)) * num_bins) // len(is_masked)
    return np.bincount(stretch, weights=is_masked, minlength=num_bins) / np.bincount(stretch, minlength=num_bins)


def _is_lone(is_masked: np.ndarray) -> np.ndarray:
    """Hidden tokens between two visible ones, bool (M,)."""
    around = np.pad(is_masked, 1)
    return is_masked & ~around[:-2] & ~around[2:]
