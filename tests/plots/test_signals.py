import time

import numpy as np
import pytest
from closeness import assert_close

from hiperceiver.plots.signals import MOST_LANES, draw_signals

SINE = np.sin(np.arange(100) / 5)[:, None] * np.ones(2)


def test_hidden_spans_are_shaded_and_the_reconstruction_is_drawn_only_there() -> None:
    is_masked = np.zeros(100, bool)
    is_masked[20:50] = is_masked[70] = True
    figure = draw_signals([SINE[:, :1]], [SINE[:, :1] + 0.1], [is_masked])
    (ax,) = figure.axes
    assert ax.images[0].get_array().ravel().tolist() == is_masked.tolist()
    inputs, span, lone, seen = ax.lines
    made = np.asarray(span.get_ydata())
    assert np.array_equal(np.isfinite(made), is_masked)
    assert_close((made - np.asarray(inputs.get_ydata()))[is_masked], 0.1, scale=1)
    assert list(lone.get_xdata()) == [70]
    assert list(seen.get_xdata()) == np.flatnonzero(~is_masked).tolist()
    assert ax.get_title(loc="left") == "31% hidden · error 0.1"
    assert ax.get_xlabel() == "step"
    labels = [text.get_text() for text in figure.legends[0].texts]
    assert labels == ["input", "visible", "reconstruction", "hidden"]


def test_channels_lie_above_each_other_each_at_its_own_scale() -> None:
    signal = SINE * [1.0, 1000.0]
    (ax,) = draw_signals([signal], [signal * 9], [np.ones(100, bool)], channels=["small", "large"]).axes
    assert [label.get_text().partition("\n")[0] for label in ax.get_yticklabels()] == ["small", "large"]
    assert "-1.24 to 1.24" in ax.get_yticklabels()[0].get_text()
    lines = [np.asarray(line.get_ydata()) for line in ax.lines if len(line.get_ydata()) == 100]
    small, large = lines[0], lines[2]
    assert_close(small - large, 1.0)
    assert -0.5 < small.min() < small.max() < 0.5
    for line in lines:  # a wild reconstruction stays in its lane
        lane = 0 if np.nanmean(line) > -0.5 else -1
        assert np.nanmin(line) > lane - 0.5
        assert np.nanmax(line) < lane + 0.5


def test_each_channel_may_have_its_own_mask() -> None:
    is_masked = np.zeros((100, 2), bool)
    is_masked[:50, 1] = True
    (ax,) = draw_signals([SINE], [SINE], [is_masked]).axes
    np.testing.assert_array_equal(ax.images[0].get_array(), is_masked.T)


def test_a_long_signal_is_drawn_whole_and_enlarged_where_it_lives() -> None:
    signal = np.zeros((16000, 1))
    signal[9000:9100] = 0.5
    is_masked = np.random.default_rng(0).random(16000) < 0.85
    figure = draw_signals([signal], [signal], [is_masked], rate=16000, step="sample", names=["a.wav"])
    whole, part = figure.axes
    assert (whole.get_xlabel(), part.get_xlabel()) == ("seconds", "seconds")
    assert part.get_title(loc="left") == "enlarged, 240 samples"
    begin, end = part.get_xlim()
    assert begin < 9000 / 16000 < 9100 / 16000 < end
    assert whole.get_xlim()[1] == pytest.approx(1.0, abs=1e-3)
    shares = np.asarray(whole.images[0].get_array())
    assert shares.mean() == pytest.approx(0.85, abs=0.01)
    assert set(np.unique(part.images[0].get_array())) == {0.0, 1.0}


def test_signals_of_several_lengths_stand_below_each_other() -> None:
    signals = [SINE, np.tile(SINE, (10, 1))]
    figure = draw_signals(signals, signals, [np.zeros(len(each), bool) for each in signals], names=["a", "b"])
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "a",
        "",
        "b",
        "enlarged, 240 steps",
    ]
    assert figure.axes[0].get_xlim()[1] == 99.5


def test_a_huge_signal_is_drawn_quickly_with_few_points() -> None:
    signal = np.random.default_rng(0).normal(size=(500_000, 1))
    start = time.process_time()
    figure = draw_signals([signal], [signal], [np.random.default_rng(1).random(len(signal)) < 0.9])
    figure.canvas.draw()
    assert time.process_time() - start < 10
    assert len(figure.axes[0].lines[1].get_xdata()) <= 4_000


def test_only_some_of_many_channels_are_drawn_and_it_is_said() -> None:
    signal = np.random.default_rng(0).normal(size=(50, 40))
    figure = draw_signals([signal], [signal], [np.zeros(50, bool)])
    assert len(figure.axes[0].get_yticks()) == MOST_LANES
    assert "the first 12 of 40 channels are drawn" in figure.legends[0].get_title().get_text()


def test_of_many_examples_with_many_channels_as_many_are_drawn_as_fit() -> None:
    figure = draw_signals([np.ones((9, 10))] * 6, [np.ones((9, 10))] * 6, [np.zeros(9, bool)] * 6, names=list("abcdef"))
    assert [ax.get_title(loc="left") for ax in figure.axes] == list("abcd")
    assert figure.get_size_inches()[1] < 20
    assert "4 of 6 examples are drawn" in figure.legends[0].get_title().get_text()


@pytest.mark.parametrize("inputs", [np.zeros((10, 1)), np.full((10, 2), np.nan), np.zeros((1, 1))])
def test_flat_short_and_broken_signals_are_drawn(inputs: np.ndarray) -> None:
    made = np.full(inputs.shape, np.nan)
    figure = draw_signals([inputs], [made], [np.ones(len(inputs), bool)])
    figure.canvas.draw()
    assert figure.axes[0].get_title(loc="left") == "100% hidden · error not finite"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": []}, "inputs: expected as many as reconstructions and masks, at least one, got 0, 1 and 1"),
        ({"inputs": [np.zeros(100)]}, r"inputs, example 0: expected shape \(T, C\)"),
        ({"reconstructions": [SINE[:9]]}, r"reconstructions, example 0: expected shape \(100, 2\), got \(9, 2\)"),
        ({"is_masked": [np.zeros(9, bool)]}, r"is_masked, example 0: expected bool \(100,\) or \(100, 2\), got bool"),
        ({"is_masked": [np.zeros(100)]}, "is_masked, example 0: expected bool .* got float64"),
        ({"names": ["a", "b"]}, "names: expected one for each of 1 examples, got 2"),
        ({"channels": ["x"]}, "channels: expected a name for each of 2, got 1"),
    ],
)
def test_wrong_arguments_are_named(change: dict, message: str) -> None:
    arguments = {"inputs": [SINE], "reconstructions": [SINE], "is_masked": [np.zeros(100, bool)], **change}
    with pytest.raises(ValueError, match=message) as caught:
        draw_signals(**arguments)
    assert "\n" not in str(caught.value)
