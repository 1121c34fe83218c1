"""Pictures, videos and volumes with hidden parts, and their reconstruction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hiperceiver.plots import style
from hiperceiver.plots.arrays import as_array, as_mask, caption, check_names, hidden_error, spread_indices

MOST_COLUMNS = 8  # examples, or frames of a video, that are drawn
_NOT_FINITE = (0.9, 0.0, 0.9)


def pasted(inputs: np.ndarray, reconstruction: np.ndarray, is_masked: np.ndarray) -> np.ndarray:
    """(..., C): the reconstruction where `is_masked` (...), and the input elsewhere."""
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
) -> Figure:
    """Input, visible part, reconstruction and error, below each other for each example.

    The number of grid axes says how it is drawn: two are a picture, three a video or a volume, of whose first example
    some frames or slices are shown, evenly spread. Hidden pixels are flat grey, and the output has the visible ones
    pasted in. Under each picture stand the share that was hidden and the root mean square error over the hidden values,
    on the scale where black is 0 and white is 1. Where nothing is hidden, the input is drawn alone.

    uint8 pictures are shown from 0 to 255, floats from 0 to 1 if the input lies in there and from its least to its
    greatest value otherwise. One channel is grey, three are colours, and of any other number the mean is shown. Values
    that are not finite are magenta.

    `inputs` and `reconstruction` are (B, *grid, C), decoded to raw values, uint8 or float. `is_masked` (True = hidden)
    and `is_padding` (True = absent: neither hidden nor visible) are bool (B, *grid). At most `MOST_COLUMNS` examples,
    or frames of the video, are drawn. Without `frame_names` they are numbered.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> pictures, is_masked = rng.random((4, 16, 16, 3)), rng.random((4, 16, 16)) < 0.75
    >>> figure = draw_reconstructions(pictures, pictures * 0.9, is_masked, title="A model that darkens")
    """
    legend = "(B, *grid, C), 2 or 3 grid axes"
    inputs = as_array(inputs, "inputs", ndim=(4, 5), legend=legend)
    reconstruction = as_array(reconstruction, "reconstruction", ndim=inputs.ndim, legend=legend)
    if reconstruction.shape != inputs.shape:
        raise ValueError(f"reconstruction: expected the shape of inputs, {inputs.shape}, got {reconstruction.shape}")
    is_masked = as_mask(is_masked, "is_masked", inputs.shape[:-1])
    is_padding = np.zeros_like(is_masked) if is_padding is None else is_padding
    is_padding = as_mask(is_padding, "is_padding", inputs.shape[:-1])
    check_names(names, len(inputs))
    if frame_names and (inputs.ndim != 5 or len(frame_names) != inputs.shape[1]):
        frames = f"{inputs.shape[1]} frames" if inputs.ndim == 5 else "no frame"
        raise ValueError(f"frame_names: expected one for each of {frames}, got {len(frame_names)}")

    arrays = [inputs, reconstruction, is_masked, is_padding]
    if inputs.ndim == 5:
        frames = spread_indices(inputs.shape[1], MOST_COLUMNS)
        names = [frame_names[frame] if frame_names else f"frame {frame}" for frame in frames]
        arrays = [array[0, frames] for array in arrays]
    inputs, reconstruction, is_masked, is_padding = (array[:MOST_COLUMNS] for array in arrays)
    names = style.legend_texts(names[:MOST_COLUMNS], longest=22)
    is_masked = is_masked & ~is_padding

    low, high = _shown_range(inputs)
    # (B, H, W, C), 0 is black, 1 is white
    shown, made = ((x.astype(np.float32) - low) / max(high - low, 1e-12) for x in (inputs, reconstruction))
    visible = np.where(is_masked[..., None], style.HIDDEN_GREY, np.clip(shown, 0.0, 1.0))
    error = np.where(is_masked, np.abs(made - shown).mean(axis=-1), np.nan)  # (B, H, W)
    finite = error[np.isfinite(error)]
    most = max(float(np.quantile(finite, 0.99)), 1e-3) if len(finite) else 1.0
    shares = is_masked.sum(axis=(1, 2)) / np.maximum((~is_padding).sum(axis=(1, 2)), 1)
    errors = map(hidden_error, shown, made, is_masked)
    captions = [caption(*each, "\n") for each in zip(shares, errors, strict=True)]

    num_examples, num_rows, num_columns, num_channels = inputs.shape
    is_alone = num_examples == 1  # then its pictures stand beside, not below each other
    has_hidden = bool(is_masked.any())
    width, height = style.panel_size(2 if is_alone else num_examples, num_rows, num_columns)
    num_views = 4 if has_hidden else 1
    across, down = (num_views, 1) if is_alone else (num_examples, num_views)
    shape = {"rows": down, "columns": across, "layout": "compressed"}
    note = _scale_note(num_channels, low, high, has_hidden=has_hidden)
    figure, axes = style.new_figure(width * across + 1.0, down * (height + 0.1) + 1.0, title=title, note=note, **shape)
    axes = axes.T if is_alone else axes
    if not has_hidden:
        how = {"captions": [""] * num_examples, "is_turned": is_alone}
        style.show_rows(axes, {"input": _as_colours(shown)}, names=names, **how)
        return figure
    rows = {"input": shown, "masked": visible, "output": pasted(shown, made, is_masked)}
    rows = {label: _as_colours(pictures) for label, pictures in rows.items()} | {"error": error}
    colours = {"cmap": "magma_r", "norm": Normalize(0.0, most)}
    style.show_rows(axes, rows, names=names, captions=captions, is_turned=is_alone, **colours)
    beside = axes if is_alone else axes[3]
    style.add_colour_bar(figure, beside, {0.0: "0", most: f"{most:.2g}"}, aspect=14, **colours)
    return figure


def shown_colours(pictures: np.ndarray) -> np.ndarray:
    """Pictures (K, h, w, C) as `draw_reconstructions` shows them: RGB (K, h, w, 3) from 0 to 1."""
    low, high = _shown_range(pictures)
    return _as_colours((pictures.astype(np.float32) - low) / max(high - low, 1e-12))


def _shown_range(inputs: np.ndarray) -> tuple[float, float]:
    """The values that are drawn as black and as white."""
    if inputs.dtype == np.uint8:
        return 0.0, 255.0
    finite = inputs[np.isfinite(inputs)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    return (0.0, 1.0) if low >= 0.0 and high <= 1.0 else (low, high)


def _scale_note(num_channels: int, low: float, high: float, *, has_hidden: bool) -> str:
    notes = ["error: root mean square over hidden pixels, black to white = 1"] if has_hidden else []
    if (low, high) not in {(0.0, 1.0), (0.0, 255.0)}:
        notes.append(f"values from {low:.3g} (black) to {high:.3g} (white)")
    if num_channels not in {1, 3}:
        notes.append(f"mean of {num_channels} channels")
    return "; ".join(notes)


def _as_colours(pictures: np.ndarray) -> np.ndarray:
    """(B, H, W, C) on a scale from 0 to 1 becomes RGB; values that are not finite become magenta."""
    if pictures.shape[-1] != 3:
        pictures = np.repeat(pictures.mean(axis=-1, keepdims=True), 3, axis=-1)
    is_finite = np.isfinite(pictures).all(axis=-1, keepdims=True)
    return np.where(is_finite, np.clip(np.nan_to_num(pictures), 0.0, 1.0), np.array(_NOT_FINITE))
