import numpy as np
import pytest

from hiperceiver.plots.forecasts import draw_forecast

WAVE = np.stack([np.sin(np.arange(120) / 8), 100 + np.arange(120.0)], axis=1)
PAST, FUTURE = WAVE[:100], WAVE[100:]


def test_each_channel_has_a_chart_with_past_forecast_persistence_and_true_future() -> None:
    persistence = PAST[-1:].repeat(20, 0)
    figure = draw_forecast(PAST, FUTURE + 0.5, future=FUTURE, persistence=persistence)
    assert len(figure.axes) == 2
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    assert list(lines["past"].get_ydata()) == list(PAST[-60:, 1])
    assert list(lines["true future"].get_ydata()) == [PAST[-1, 1], *FUTURE[:, 1]]
    assert list(lines["forecast"].get_xdata()) == list(range(-1, 20))
    assert list(lines["forecast"].get_ydata())[1:] == list(FUTURE[:, 1] + 0.5)
    assert set(lines["persistence"].get_ydata()) == {PAST[-1, 1]}
    texts = [ax.get_title(loc="left") for ax in figure.axes]
    assert texts[1] == f"channel 1 · error: forecast 0.5, persistence {np.sqrt(np.mean(np.arange(1, 21) ** 2.0)):.3g}"
    assert figure.axes[1].get_xlabel() == "steps from the present"
    assert {text.get_text() for text in figure.legends[0].texts} == {"past", "true future", "persistence", "forecast"}


def test_without_a_future_no_error_is_shown_and_a_rate_makes_seconds() -> None:
    figure = draw_forecast(PAST[:, :1], FUTURE[:, :1], rate=10)
    (ax,) = figure.axes
    assert ax.get_title(loc="left") == ""
    assert ax.get_xlabel() == "seconds from the present"
    assert ax.lines[-2].get_xdata()[-1] == pytest.approx(1.9)


def test_the_error_is_that_of_the_known_steps() -> None:
    made = FUTURE.copy()
    made[5:] += 9
    figure = draw_forecast(PAST, made, future=FUTURE[:5])
    assert figure.axes[0].get_title(loc="left") == "channel 0 · error: forecast 0"


def test_many_channels_and_long_lines_stay_readable() -> None:
    figure = draw_forecast(np.zeros((100_000, 30)), np.zeros((50_000, 30)))
    assert len(figure.axes) == 8
    assert "the first 8 of 30 channels are drawn" in figure.legends[0].get_title().get_text()
    assert max(len(line.get_xdata()) for line in figure.axes[0].lines) <= 4_001
    draw_forecast(np.zeros((1, 1)), np.full((1, 1), np.nan)).canvas.draw()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"past": WAVE[:, 0]}, r"past: expected shape \(T, C\)"),
        ({"forecast": FUTURE[:, :1]}, r"forecast: expected shape \(h, C\) = \(20, 2\), got \(20, 1\)"),
        ({"persistence": FUTURE[:3]}, r"persistence: expected shape \(h, C\) = \(20, 2\), got \(3, 2\)"),
        ({"future": WAVE}, r"future: expected at most 20 steps of 2 channels, got shape \(120, 2\)"),
    ],
)
def test_wrong_arguments_are_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        draw_forecast(**{"past": PAST, "forecast": FUTURE, **change})
    assert "\n" not in str(caught.value)
