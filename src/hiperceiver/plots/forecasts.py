"""Forecasts of a series: past, forecast, and true future."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiperceiver.plots import style
from hiperceiver.plots.arrays import as_array, envelope

MOST_CHANNELS = 8
"""Channels that are drawn."""
_PAST_SHARE = 3
"""The drawn part of the past is so many times as long as the forecast."""
_LEAST_PAST = 40


def draw_forecast(
    past: Any,
    forecast: Any,
    *,
    future: Any = None,
    persistence: Any = None,
    rate: float | None = None,
    channels: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """The end of the past and the forecast that continues it, a chart for each channel.

    With a true future, the root mean square errors of the forecast and of persistence, which repeats the last value,
    stand above each chart.

    >>> import numpy as np
    >>> wave = np.sin(np.arange(120) / 8)[:, None]
    >>> figure = draw_forecast(wave[:100], 0.9 * wave[100:], future=wave[100:], persistence=wave[99:100].repeat(20, 0))

    Args:
        past: (T, C), in its own units.
        forecast: (h, C), the steps that follow.
        future: (k, C), k <= h, the true future as far as it is known; or None.
        persistence: (h, C), or None.
        rate: Steps per second; None: the axis counts steps. 0 is where the future begins.
        channels: A name for each channel, or none: they are numbered.
        title: Above the figure.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    past = as_array(past, "past", ndim=2, legend="(T, C)").astype(np.float64)
    forecast = as_array(forecast, "forecast", ndim=2, legend="(h, C)").astype(np.float64)
    lines = {"forecast": forecast}
    if persistence is not None:
        lines["persistence"] = as_array(persistence, "persistence", ndim=2, legend="(h, C)").astype(np.float64)
    if future is not None:
        future = as_array(future, "future", ndim=2, legend="(k, C), k <= h").astype(np.float64)
        if future.shape[1] != past.shape[1] or len(future) > len(forecast):
            expected = f"at most {len(forecast)} steps of {past.shape[1]} channels"
            raise ValueError(f"future: expected {expected}, got shape {future.shape}")
    for name, values in lines.items():
        if values.shape != (len(forecast), past.shape[1]):
            expected = (len(forecast), past.shape[1])
            raise ValueError(f"{name}: expected shape (h, C) = {expected}, got {values.shape}")
    num_channels = past.shape[1]
    if channels and len(channels) != num_channels:
        raise ValueError(f"channels: expected a name for each of {num_channels}, got {len(channels)}")

    shown = min(num_channels, MOST_CHANNELS)
    past = past[-max(_PAST_SHARE * len(forecast), _LEAST_PAST) :]
    scale = 1.0 / (rate or 1.0)
    figure = style.new_figure(9.0, (2.6 if shown == 1 else 1.45 * shown) + 1.0)
    axes = style.grid_of_axes(figure, shown, 1)[:, 0]
    colours = {"forecast": style.LINES[1], "persistence": style.NEUTRAL, "true future": style.LINES[0]}
    for channel, ax in enumerate(axes):
        is_last = channel == shown - 1
        style.as_chart_axes(ax, x=f"{'seconds' if rate else 'steps'} from the present" if is_last else "")
        name = (channels[channel] if channels else f"channel {channel}") if num_channels > 1 or channels else ""
        _plot(ax, np.arange(-len(past), 0) * scale, past[:, channel], color=style.SOFT, label="past")
        drawn = ({} if future is None else {"true future": future}) | dict(reversed(lines.items()))
        for what, values in drawn.items():
            joined = np.concatenate([past[-1:, channel], values[:, channel]])  # from where the past ends
            _plot(ax, np.arange(-1, len(values)) * scale, joined, color=colours[what], label=what)
        if future is not None:
            errors = {what: values[: len(future), channel] - future[:, channel] for what, values in lines.items()}
            parts = ", ".join(f"{what} {np.sqrt(np.mean(error**2)):.3g}" for what, error in errors.items())
            name = f"{name} · error: {parts}" if name else f"error: {parts}"
        ax.axvline(-0.5 * scale, color=style.NEUTRAL, linewidth=0.8, linestyle=(0, (4, 3)))
        ax.set_xlim(-(len(past) + 0.5) * scale, (len(forecast) - 0.5) * scale)
        ax.locator_params(axis="y", nbins=5)
        ax.tick_params(labelbottom=is_last)
        ax.set_title(name, fontsize=style.CAPTION_SIZE, color=style.SOFT, loc="left", pad=4)
    handles, labels = axes[0].get_legend_handles_labels()
    note = f"the first {shown} of {num_channels} channels are drawn" if num_channels > shown else ""
    if future is not None:
        note = "; ".join(part for part in ("error: root mean square", note) if part)
    style.add_legend(figure, handles, labels, note=note)
    style.add_title(figure, title)
    return figure


def _plot(ax: Axes, at: np.ndarray, values: np.ndarray, **how: Any) -> None:
    index, shown = envelope(values)
    step = at[1] - at[0] if len(at) > 1 else 0.0
    ax.plot(at[0] + index * step, shown, linewidth=1.2 if len(at) < 1000 else 0.6, **how)
