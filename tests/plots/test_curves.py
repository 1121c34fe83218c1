from pathlib import Path

import numpy as np
import pytest

from hiperceiver.plots.curves import draw_curves, read_metrics

# As Lightning's CSVLogger writes it: one row for training, another for validation of the same step.
CSV = """epoch,lr-AdamW,step,train/loss,validation/loss,validation/miou
0,0.001,0,4.0,,
0,0.002,1,2.0,,
0,,1,,3.0,0.1
1,0.003,2,1.0,,
1,,2,,2.5,0.2
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "metrics.csv").write_text(CSV)
    return tmp_path


def points(curve: tuple[np.ndarray, np.ndarray]) -> list[tuple[float, float]]:
    return list(zip(*(values.tolist() for values in curve), strict=True))


def test_gaps_are_left_out(run: Path) -> None:
    curves = read_metrics(run)
    assert set(curves) == {"lr-AdamW", "train/loss", "validation/loss", "validation/miou"}
    assert points(curves["train/loss"]) == [(0, 4.0), (1, 2.0), (2, 1.0)]
    assert points(curves["validation/miou"]) == [(1, 0.1), (2, 0.2)]


@pytest.mark.parametrize("tail", ["2,0.0", "2,0.003,3,0.5,,0.", "2,0.003,3,0.5,,\n2,0.0"])
def test_a_half_written_last_line_is_left_out(run: Path, tail: str) -> None:
    with open(run / "metrics.csv", "a") as file:
        file.write(tail)
    expected = [(0, 4.0), (1, 2.0), (2, 1.0)] + ([(3, 0.5)] if "\n" in tail else [])
    curves = read_metrics(run / "metrics.csv")
    assert points(curves["train/loss"]) == expected
    assert points(curves["validation/miou"]) == [(1, 0.1), (2, 0.2)]


def test_what_a_resumed_run_writes_again_counts(run: Path) -> None:
    with open(run / "metrics.csv", "a") as file:
        file.write("1,,1,1.5,,\n1,,4,0.5,,\n")
    assert points(read_metrics(run)["train/loss"]) == [(0, 4.0), (1, 1.5), (2, 1.0), (4, 0.5)]


def test_damaged_cells_and_lines_do_not_matter(run: Path) -> None:
    with open(run / "metrics.csv", "ab") as file:
        file.write(b"x,y,3,z,,\n\0\0\0\0\n1,2\n\xff\xfe,,9,oops,,\n1,,5,0.25,,\n")
    assert points(read_metrics(run)["train/loss"])[-1] == (5, 0.25)


def test_without_steps_the_lines_are_counted(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("loss\n3\n2\n")
    assert points(read_metrics(tmp_path)["loss"]) == [(0, 3.0), (1, 2.0)]


@pytest.mark.parametrize("text", ["", "\n", "step,loss\n", "step,loss\n0,\n", "step,epoch\n0,1\n"])
def test_a_file_without_metrics_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(ValueError, match=r"path: expected metrics in '.*metrics\.csv', but") as caught:
        draw_curves(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"metrics\.csv"):
        read_metrics(tmp_path)


def test_training_and_validation_share_axes_and_losses_come_first(run: Path) -> None:
    figure = draw_curves(run, title="A run")
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]
    assert titles == ["loss", "miou", "lr-AdamW"]
    lines = figure.axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == [[4.0, 2.0, 1.0], [3.0, 2.5]]
    assert lines[0].get_color() != lines[1].get_color()
    assert [text.get_text() for text in figure.legends[0].texts] == ["validation", "train"]
    assert figure.axes[0].get_title(loc="right") == "last validation 2.5"


def test_several_runs_are_told_apart_by_name_and_may_lack_columns(run: Path) -> None:
    other = {"val_loss": (np.array([0, 1]), np.array([9.0, 8.0]))}
    figure = draw_curves({"pretrained": run, "from scratch": other})
    assert [text.get_text() for text in figure.legends[0].texts] == [
        "pretrained",
        "from scratch",
        "validation",
        "train",
    ]
    train, validation, others = figure.axes[0].lines
    assert train.get_color() == validation.get_color() != others.get_color()
    assert train.get_linestyle() == "--"
    assert validation.get_linestyle() == others.get_linestyle() == "-"
    miou = next(ax for ax in figure.axes if ax.get_title(loc="left") == "miou")
    assert len(miou.lines) == 1


def test_metrics_can_be_chosen(run: Path) -> None:
    figure = draw_curves(run, metrics=["miou"])
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["miou"]
    with pytest.raises(ValueError, match="metrics: expected some of loss, lr-AdamW, miou, got 'accuracy'"):
        draw_curves(run, metrics=["accuracy"])
    with pytest.raises(ValueError, match="runs: expected at least one, got none"):
        draw_curves({})


def test_of_steps_and_epochs_the_steps_are_drawn() -> None:
    steps = np.arange(3)
    curves = {"train/loss_step": (steps, steps + 1.0), "train/loss_epoch": (steps, steps + 5.0)}
    (ax,) = draw_curves({"run": curves}).axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[1.0, 2.0, 3.0]]
    (ax,) = draw_curves({"run": {"train/loss_epoch": curves["train/loss_epoch"]}}).axes
    assert ax.get_title(loc="left") == "loss"


def test_long_curves_are_smoothed_on_top_of_what_was_logged() -> None:
    steps = np.arange(600) * 10
    noise = np.random.default_rng(0).normal(size=600)
    noise[300] = np.nan
    (ax,) = draw_curves({"run": {"train/loss": (steps, 5 + noise)}}).axes
    logged, smooth = ax.lines
    np.testing.assert_array_equal(logged.get_ydata(), 5 + noise)
    assert np.nanstd(smooth.get_ydata()) < 0.4 * np.nanstd(noise)
    assert np.nanmean(smooth.get_ydata()) == pytest.approx(5 + np.nanmean(noise), abs=0.05)
    assert np.isnan(smooth.get_ydata()[300])


def test_a_wide_range_is_logarithmic_but_not_of_learning_rates() -> None:
    steps, values = np.arange(3), np.array([1.0, 0.1, 0.01])
    curves = {"train/loss": (steps, values), "lr": (steps, values), "miou": (steps, values + 1)}
    figure = draw_curves({"run": curves | {"positions/far_cosine": (steps, values)}})
    assert {ax.get_title(loc="left"): ax.get_yscale() for ax in figure.axes if ax.get_title(loc="left")} == {
        "loss": "log",
        "miou": "linear",
        "positions/far_cosine": "linear",
        "lr": "linear",
    }


def test_a_loss_that_is_not_finite_leaves_a_gap() -> None:
    values = np.array([1.0, np.inf, np.nan])
    figure = draw_curves({"run": {"loss": (np.arange(3), values)}})
    assert np.isnan(figure.axes[0].lines[0].get_ydata()[1:]).all()
    figure.canvas.draw()


def test_what_is_reached_otherwise_is_a_line_in_the_chart_that_it_belongs_to() -> None:
    steps = np.array([10, 20])
    curves = {
        "validation/explained": (steps, np.array([0.3, 0.6])),
        "validation/explained_by_nearest": (steps, np.array([0.5, 0.5])),
        "validation/explained_by_most_frequent": (steps, np.array([-0.1, -0.1])),
        "latents/two_by_four": (steps, np.array([1.0, 2.0])),
    }
    figure = draw_curves({"run": curves})
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]
    assert titles == ["explained", "latents/two_by_four"]
    explained = figure.axes[titles.index("explained")]
    assert [list(line.get_ydata()) for line in explained.lines] == [[0.3, 0.6], [0.5, 0.5], [-0.1, -0.1]]
    assert [text.get_text() for text in explained.texts] == ["nearest", "most frequent"]
    assert explained.get_title(loc="right") == "last validation 0.6"
    figure.canvas.draw()
