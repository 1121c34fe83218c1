"""Forecasts of a series: past, forecast, and true future."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiperceiver.plots import style
from hiperceiver.plots.arrays import as_array, envelope

MOST_CHANNELS = 8  # that are drawn
_PAST_SHARE, _LEAST_PAST = 3, 40  # the drawn part of the past: times the length of the forecast, and steps


def draw_forecast(
    past: Any, forecast: Any, *, future: Any = None, persistence: Any = None, rate: float | None = None, title: str = ""
) -> Figure:
    """The end of the past and the forecast that continues it, a chart for each channel.

    With a true future, the root mean square errors of the forecast and of persistence, which repeats the last value,
    stand above each chart.

    `past` is (T, C) in its own units, `forecast` and `persistence` are (h, C), the steps that follow, and `future` is
    (k, C), k <= h, as far as it is known. The axis counts steps, or seconds where `rate` gives the steps in one; 0 is
    where the future begins.

    >>> import numpy as np
    >>> wave = np.sin(np.arange(120) / 8)[:, None]
    >>> figure = draw_forecast(wave[:100], 0.9 * wave[100:], future=wave[100:], persistence=wave[99:100].repeat(20, 0))
    """
    past = as_array(past, "past", ndim=2, legend="(T, C)").astype(np.float64)
    lines = {"forecast": forecast} | ({} if persistence is None else {"persistence": persistence})
    lines = {name: as_array(x, name, ndim=2, legend="(h, C)").astype(np.float64) for name, x in lines.items()}
    horizon, num_channels = len(lines["forecast"]), past.shape[1]
    for name, values in lines.items():
        if values.shape != (horizon, num_channels):
            raise ValueError(f"{name}: expected shape (h, C) = {(horizon, num_channels)}, got {values.shape}")
    if future is not None:
        future = as_array(future, "future", ndim=2, legend="(k, C), k <= h").astype(np.float64)
        if future.shape[1] != num_channels or len(future) > horizon:
            expected = f"at most {horizon} steps of {num_channels} channels"
            raise ValueError(f"future: expected {expected}, got shape {future.shape}")

    shown = min(num_channels, MOST_CHANNELS)
    past = past[-max(_PAST_SHARE * horizon, _LEAST_PAST) :]
    scale = 1.0 / (rate or 1.0)
    figure, axes = style.new_figure(9.0, (2.6 if shown == 1 else 1.45 * shown) + 1.0, rows=shown, title=title)
    colours = {"forecast": style.LINES[1], "persistence": style.NEUTRAL, "true future": style.LINES[0]}
    drawn = ({} if future is None else {"true future": future}) | dict(reversed(lines.items()))
    for channel, ax in enumerate(axes[:, 0]):
        is_last = channel == shown - 1
        style.as_chart_axes(ax, x=f"{'seconds' if rate else 'steps'} from the present" if is_last else "")
        _plot(ax, -len(past), past[:, channel], scale, color=style.SOFT, label="past")
        for what, values in drawn.items():
            joined = np.concatenate([past[-1:, channel], values[:, channel]])  # from where the past ends
            _plot(ax, -1, joined, scale, color=colours[what], label=what)
        texts = [f"channel {channel}"] if num_channels > 1 else []
        if future is not None:
            errors = {what: values[: len(future), channel] - future[:, channel] for what, values in lines.items()}
            parts = [f"{what} {np.sqrt(np.mean(error**2)):.3g}" for what, error in errors.items()]
            texts.append(f"error: {', '.join(parts)}")
        ax.axvline(-0.5 * scale, color=style.NEUTRAL, linewidth=0.8, linestyle=style.DASHED)
        ax.set_xlim(-(len(past) + 0.5) * scale, (horizon - 0.5) * scale)
        ax.locator_params(axis="y", nbins=5)
        ax.tick_params(labelbottom=is_last)
        ax.set_title(" · ".join(texts), loc="left", pad=4, **style.CAPTION)
    notes = [] if future is None else ["error: root mean square"]
    if num_channels > shown:
        notes.append(f"the first {shown} of {num_channels} channels are drawn")
    style.add_legend(figure, style.labelled_lines(axes[0, 0]), note="; ".join(notes))
    return figure


def _plot(ax: Axes, start: int, values: np.ndarray, scale: float, **how: Any) -> None:
    index, shown = envelope(values)
    ax.plot((start + index) * scale, shown, linewidth=1.2 if len(values) < 1000 else 0.6, **how)
