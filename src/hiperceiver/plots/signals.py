"""Signals along a line (sound, series, feature vectors) with hidden parts, and their reconstruction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hiperceiver.plots import style
from hiperceiver.plots.arrays import MOST_POINTS, caption, checked_examples, envelope, hidden_error

MOST_LANES, MOST_LANES_IN_ALL = 12, 40  # channels that are drawn: of an example, and of all examples together
_WINDOW = 240  # steps of the enlarged part of a signal that is too long to show single steps
_INPUT, _VISIBLE, _MADE = style.SOFT, style.LINES[0], style.LINES[1]
_SHADE = "#e9ebef"


def draw_signals(
    inputs: Sequence[Any],
    reconstructions: Sequence[Any],
    is_masked: Sequence[Any],
    *,
    rate: float | None = None,
    step: str = "step",
    names: Sequence[str] = (),
    channels: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Input and reconstruction over each other, hidden spans shaded, a row for each example.

    A long signal is drawn whole, and beside it enlarged where it varies most, so that single steps show. Channels lie
    above each other, each scaled to its own values, which stand at its side. The reconstruction is drawn where the
    signal was hidden, cut off where it leaves its lane. Where nothing is hidden, the input is drawn alone.

    Of each example, `inputs` and `reconstructions` are (T, C) in its own units, and `is_masked` is bool (T,) or (T, C),
    True = hidden; T may differ. The axis counts steps, called `step`, or seconds where `rate` gives the steps in one.
    Without names of `channels` they are numbered.

    >>> import numpy as np
    >>> signal = np.sin(np.arange(100) / 5)[:, None]
    >>> figure = draw_signals([signal], [signal * 0.9], [np.arange(100) > 50], names=["a sine"])
    """
    examples = checked_examples(inputs, reconstructions, is_masked, names, ndim=2, legend="(T, C)", mask_ndims=(1, 2))
    num_channels = max(x.shape[1] for x, _, _ in examples)
    if channels and len(channels) != num_channels:
        raise ValueError(f"channels: expected a name for each of {num_channels}, got {len(channels)}")
    lanes = min(num_channels, MOST_LANES)
    labels = [channels[k] if channels else f"channel {k}" for k in range(lanes)]
    rows = [_Row(*each, labels, 1.0 / (rate or 1.0)) for each in examples[: MOST_LANES_IN_ALL // lanes]]

    is_long, has_hidden = any(row.is_long for row in rows), any(row.is_masked.any() for row in rows)
    height = (1.25 if lanes == 1 else 0.7 + 0.36 * lanes) * len(rows) + 1.0 + (0.3 if title else 0.0)
    shape = {"rows": len(rows), "columns": 1 + is_long, "gridspec_kw": {"width_ratios": [1.5, 1][: 1 + is_long]}}
    figure, axes = style.new_figure(11.0 if is_long else 9.0, height, title=title, **shape)
    caption_style = {"loc": "left", "pad": 4, **style.CAPTION}
    for number, (row, pair) in enumerate(zip(rows, axes, strict=True)):
        x = "" if number < len(rows) - 1 else "seconds" if rate else step
        for ax in pair:
            style.as_chart_axes(ax, x=x)
            ax.grid(False)
        if row.is_long:
            part = _liveliest(row.inputs, _WINDOW)
            ends, below = [part.start * row.scale, part.stop * row.scale], pair[0].get_xaxis_transform()
            bar = {"color": style.INK, "linewidth": 4.0, "solid_capstyle": "butt", "clip_on": False, "zorder": 5}
            pair[0].plot(ends, [0.0, 0.0], transform=below, **bar)  # under the part that is enlarged beside it
            row.draw(pair[1], part, is_labelled=False)
            pair[1].set_title(f"enlarged, {_WINDOW} {step}s", **caption_style)
        elif is_long:
            pair[1].set_axis_off()
        row.draw(pair[0], slice(0, len(row.inputs)))
        name = style.legend_texts(names[number : number + 1], longest=50)
        if has_hidden:
            name.append(caption(float(row.is_masked.mean()), hidden_error(row.inputs, row.made, row.is_masked), " · "))
        pair[0].set_title(" · ".join(name), **caption_style)
    notes = ["error: root mean square over hidden values"] if has_hidden else []
    if num_channels > lanes:
        notes.append(f"the first {lanes} of {num_channels} channels are drawn")
    if len(rows) < len(inputs):
        notes.append(f"{len(rows)} of {len(inputs)} examples are drawn")
    entries = {
        "input": Line2D([], [], color=_INPUT, linewidth=1.2),
        "visible": Line2D([], [], color=_VISIBLE, marker=".", markersize=5, linestyle=""),
        "reconstruction": Line2D([], [], color=_MADE, linewidth=1.2),
        "hidden": Patch(facecolor=_SHADE),
    }
    entries = entries if has_hidden else {"input": entries["input"]}
    if has_hidden or notes:
        style.add_legend(figure, entries, note="; ".join(notes))
    return figure


class _Row:
    """One example, drawn in lanes; `scale` is the length of a step along the axis."""

    def __init__(
        self, inputs: np.ndarray, made: np.ndarray, is_masked: np.ndarray, labels: Sequence[str], scale: float
    ) -> None:
        self.inputs, self.made = inputs.astype(np.float64), made.astype(np.float64)
        self.is_masked = np.broadcast_to(is_masked[:, None] if is_masked.ndim == 1 else is_masked, inputs.shape)
        self.is_long = len(inputs) > 2 * _WINDOW
        self.labels, self.scale = labels[: inputs.shape[1]], scale

    def draw(self, ax: Axes, part: slice, *, is_labelled: bool = True) -> None:
        """A part of it, in lanes."""
        lanes, scale = len(self.labels), self.scale
        is_close = part.stop - part.start <= 2 * _WINDOW
        hidden = self.is_masked[part, :lanes]
        begin, end = (part.start - 0.5) * scale, (part.stop - 0.5) * scale
        ranges = [_range(self.inputs[:, lane], self.made[:, lane]) for lane in range(lanes)]
        bottom, top = ranges[0] if lanes == 1 else (0.5 - lanes, 0.5)
        shares = np.stack([_coarse_share(hidden[:, lane]) for lane in range(lanes)])
        pale = {"cmap": "Greys", "vmin": 0.0, "vmax": 6.0, "interpolation": "nearest"}
        ax.imshow(shares, extent=(begin, end, bottom, top), aspect="auto", **pale)

        def plot(values: np.ndarray, **how: Any) -> None:
            at, shown = envelope(values)
            ax.plot((part.start + at) * scale, shown, **how)

        for lane, (low, high) in enumerate(ranges):
            true, made = self.inputs[part, lane], self.made[part, lane]
            if lanes > 1:
                true, made = (np.clip((x - low) / (high - low), 0.01, 0.99) - 0.5 - lane for x in (true, made))
            plot(true, color=_INPUT, linewidth=0.9 if is_close else 0.6)
            plot(np.where(hidden[:, lane], made, np.nan), color=_MADE, linewidth=1.1 if is_close else 0.6, alpha=0.85)
            if is_close:
                steps = (part.start + np.arange(part.stop - part.start)) * scale
                lone = _is_lone(hidden[:, lane])  # a line through one point does not show
                ax.plot(steps[lone], made[lone], ".", color=_MADE, markersize=2.5)
                visible = ~hidden[:, lane] & self.is_masked.any()  # marked only beside hidden ones
                ax.plot(steps[visible], true[visible], ".", color=_VISIBLE, markersize=3.5)
        ax.set_xlim(begin, end)
        ax.set_ylim(bottom, top)
        if lanes == 1:
            ax.tick_params(labelleft=is_labelled)
            ax.locator_params(axis="y", nbins=4)
        elif is_labelled:
            texts = [f"{label}\n{x[0]:.3g} to {x[1]:.3g}" for label, x in zip(self.labels, ranges, strict=True)]
            ax.set_yticks(-np.arange(lanes), texts, fontsize=6.5, linespacing=1.0)
        else:
            ax.set_yticks([])


def _liveliest(values: np.ndarray, width: int) -> slice:
    """The part of so many steps in which the channels (T, C) vary most, each measured by its own deviation."""
    deviation = values - values.mean(axis=0)
    power = np.nan_to_num(deviation**2 / np.maximum(deviation.var(axis=0), 1e-24)).sum(axis=1)
    total = np.concatenate([[0.0], np.cumsum(power)])
    inside = total[width:] - total[:-width]
    lively = np.flatnonzero(inside >= 0.95 * inside.max())
    start = int(lively[len(lively) // 2])
    return slice(start, start + width)


def _range(inputs: np.ndarray, made: np.ndarray) -> tuple[float, float]:
    """The values at the edges of a channel's lane."""
    finite = inputs[np.isfinite(inputs)]
    if not len(finite) or np.ptp(finite) < 1e-12:  # a constant: the reconstruction gives the scale
        finite = np.concatenate([finite, made[np.isfinite(made)]])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    margin = 0.12 * (high - low) or 0.5
    return low - margin, high + margin


def _coarse_share(is_masked: np.ndarray) -> np.ndarray:
    """Share of hidden tokens, (M,), in at most `MOST_POINTS` equal stretches."""
    num_bins = min(len(is_masked), MOST_POINTS)
    stretch = (np.arange(len(is_masked)) * num_bins) // len(is_masked)
    return np.bincount(stretch, weights=is_masked, minlength=num_bins) / np.bincount(stretch, minlength=num_bins)


def _is_lone(is_masked: np.ndarray) -> np.ndarray:
    """Hidden tokens between two visible ones, bool (M,)."""
    around = np.pad(is_masked, 1)
    return is_masked & ~around[:-2] & ~around[2:]
