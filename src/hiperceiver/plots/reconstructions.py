"""Pictures, videos and volumes with hidden parts, and their reconstruction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hiperceiver.plots import style
from hiperceiver.plots.arrays import as_array, as_mask, check_names, spread_indices

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
    is_padding: Any = None,
    names: Sequence[str] = (),
    frame_names: Sequence[str] = (),
    title: str = "",
    max_columns: int = 8,
) -> Figure:
    """Input, visible part, reconstruction and error, below each other for each example.

    The number of grid axes says how it is drawn: two are a picture, three a video or a volume, of whose first example
    some frames or slices are shown, evenly spread. Hidden pixels are flat grey, and the output has the visible ones
    pasted in. Under each picture stand the share that was hidden and the root mean square error over the hidden values,
    on the scale where black is 0 and white is 1.

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
        is_padding: bool (B, *grid), True = absent: neither hidden nor visible. None: nothing is.
        names: A name for each example, or none.
        frame_names: A name for each frame or slice, or none: they are numbered.
        title: Above the figure.
        max_columns: At most so many examples (or frames of the video) are drawn.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    legend = "(B, *grid, C), 2 or 3 grid axes"
    inputs = as_array(inputs, "inputs", ndim=(4, 5), legend=legend)
    reconstruction = as_array(reconstruction, "reconstruction", ndim=inputs.ndim, legend=legend)
    if reconstruction.shape != inputs.shape:
        raise ValueError(f"reconstruction: expected the shape of inputs, {inputs.shape}, got {reconstruction.shape}")
    is_masked = as_mask(is_masked, "is_masked", shape=inputs.shape[:-1], legend="(B, *grid)")
    is_padding = np.zeros_like(is_masked) if is_padding is None else is_padding
    is_padding = as_mask(is_padding, "is_padding", shape=inputs.shape[:-1], legend="(B, *grid)")
    check_names(names, len(inputs), max_columns=max_columns)
    if frame_names and (inputs.ndim != 5 or len(frame_names) != inputs.shape[1]):
        frames = f"{inputs.shape[1]} frames" if inputs.ndim == 5 else "no frame"
        raise ValueError(f"frame_names: expected one for each of {frames}, got {len(frame_names)}")

    arrays = [inputs, reconstruction, is_masked, is_padding]
    if inputs.ndim == 5:
        frames = spread_indices(inputs.shape[1], max_columns)
        names = [frame_names[frame] if frame_names else f"frame {frame}" for frame in frames]
        arrays = [array[0, frames] for array in arrays]
    inputs, reconstruction, is_masked, is_padding = (array[:max_columns] for array in arrays)
    names = style.legend_texts(list(names)[:max_columns], longest=22)
    is_masked = is_masked & ~is_padding
    return _draw_pictures(inputs, reconstruction, is_masked, is_padding, names=names, title=title)


def hidden_error(inputs: np.ndarray, reconstruction: np.ndarray, is_masked: np.ndarray) -> float:
    """Root mean square error of one example over its hidden values; NaN if nothing is hidden."""
    if not is_masked.any():
        return float("nan")
    difference = reconstruction[is_masked].astype(np.float64) - inputs[is_masked].astype(np.float64)
    return float(np.sqrt(np.mean(difference**2)))


def caption(hidden_share: float, error: float, separator: str) -> str:
    """The line under an example: the share of it that was hidden, and the error there, NaN where nothing was.

    >>> caption(0.5, 0.1234, ", ")
    '50% hidden, error 0.123'
    """
    parts = [f"{hidden_share:.0%} hidden"]
    if hidden_share > 0:
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
    inputs: np.ndarray,
    reconstruction: np.ndarray,
    is_masked: np.ndarray,
    is_padding: np.ndarray,
    *,
    names: Sequence[str],
    title: str,
) -> Figure:
    low, high = _shown_range(inputs)
    scale = max(high - low, 1e-12)
    shown = (inputs.astype(np.float32) - low) / scale  # (B, H, W, C), 0 is black, 1 is white
    made = (reconstruction.astype(np.float32) - low) / scale
    visible = np.where(is_masked[..., None], style.HIDDEN_GREY, np.clip(shown, 0.0, 1.0))
    error = np.where(is_masked, np.abs(made - shown).mean(axis=-1), np.nan)  # (B, H, W)
    finite = error[np.isfinite(error)]
    most = max(float(np.quantile(finite, 0.99)), 1e-3) if len(finite) else 1.0

    num_examples, num_rows, num_columns = inputs.shape[:3]
    is_alone = num_examples == 1  # then its pictures stand beside, not below each other
    width, height = style.panel_size(2 if is_alone else num_examples, num_rows, num_columns)
    across, down = (4, 1) if is_alone else (num_examples, 4)
    figure = style.new_figure(width * across + 1.0, down * (height + 0.1) + 1.0, layout="compressed")
    axes = style.grid_of_axes(figure, down, across)
    axes = axes.T if is_alone else axes
    rows = {"input": shown, "masked": visible, "output": pasted(shown, made, is_masked), "error": error}
    norm = Normalize(0.0, most)
    for column in range(num_examples):
        share = is_masked[column].sum() / max((~is_padding[column]).sum(), 1)
        text = caption(share, hidden_error(shown[column], made[column], is_masked[column]), "\n")
        for row, (label, pictures) in enumerate(rows.items()):
            ax = axes[row, column]
            if label == "error":
                ax.imshow(pictures[column], cmap=_ERROR_COLOURS, norm=norm, interpolation="nearest")
            else:
                ax.imshow(_as_colours(pictures[column]), interpolation="nearest")
            name = names[column] if names and row == 0 else ""
            style.as_picture_axes(
                ax,
                column=label if is_alone else name,
                row=name if is_alone else label if column == 0 else "",
                caption=text if label == "error" else "",
            )
    bar = figure.colorbar(
        ScalarMappable(norm, _ERROR_COLOURS), ax=list(axes.flat if is_alone else axes[3]), pad=0.02, aspect=14
    )
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
