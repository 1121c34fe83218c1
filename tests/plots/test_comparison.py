import pytest
from matplotlib.colors import to_hex

from hiperceiver.plots import style
from hiperceiver.plots.comparison import Result, draw_comparison

BASELINE = Result(name="colour lookup", values=(0.239,), is_baseline=True)
SCRATCH = Result(name="from scratch", values=(0.25, 0.26))
PRETRAINED = Result(name="pretrained", values=(0.27,))


def test_bars_are_as_long_as_the_mean_from_top_to_bottom() -> None:
    (ax,) = draw_comparison([BASELINE, SCRATCH, PRETRAINED], metric="mIoU").axes
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.239, 0.255, 0.27])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["colour lookup", "from scratch", "pretrained"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert ax.get_xlim()[0] <= 0.0
    assert ax.get_xlabel() == "mIoU"


def test_texts_show_a_spread_only_where_there_are_several_runs() -> None:
    (ax,) = draw_comparison([BASELINE, SCRATCH, PRETRAINED], metric="mIoU").axes
    assert [text.get_text() for text in ax.texts] == ["0.239", "0.255 ± 0.007", "0.270"]
    dots = next(line for line in ax.lines if line.get_marker() == "o")
    assert list(dots.get_xdata()) == [0.25, 0.26]


@pytest.mark.parametrize(("best", "accented"), [("highest", 2), ("lowest", 1)])
def test_the_best_that_is_no_baseline_is_accented(best: str, accented: int) -> None:
    (ax,) = draw_comparison([BASELINE, SCRATCH, PRETRAINED], metric="mIoU", best=best).axes
    colours = [to_hex(bar.get_facecolor()) for bar in ax.patches]
    assert [k for k, colour in enumerate(colours) if colour == style.ACCENT] == [accented]
    assert colours[0] == style.NEUTRAL


def test_the_baseline_is_a_line_through_all_bars() -> None:
    (ax,) = draw_comparison([BASELINE, SCRATCH], metric="mIoU").axes
    assert any(list(line.get_xdata()) == [0.239, 0.239] and list(line.get_ydata()) == [0, 1] for line in ax.lines)


def test_spread_is_the_standard_deviation() -> None:
    assert Result(name="x", values=(1.0, 3.0)).spread == pytest.approx(2**0.5)
    assert PRETRAINED.spread is None


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="results: expected at least one, got none"):
        draw_comparison([], metric="mIoU")
    with pytest.raises(ValueError, match="best: expected highest or lowest, got 'biggest'"):
        draw_comparison([BASELINE], metric="mIoU", best="biggest")
    with pytest.raises(ValueError, match=r"values of 'x': expected at least one, all finite, got \(\)"):
        Result(name="x", values=())
    with pytest.raises(ValueError, match="values of 'x': expected at least one, all finite"):
        Result(name="x", values=(float("nan"),))
