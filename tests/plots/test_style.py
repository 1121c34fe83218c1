from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from hiperceiver.plots import style
from hiperceiver.plots.arrays import as_array, as_mask, envelope, spread_indices


@pytest.fixture
def figure() -> Figure:
    figure, axes = style.new_figure(2.0, 1.0)
    style.as_chart_axes(axes[0, 0], title="loss", x="step")
    return figure


def test_save_writes_a_readable_picture_and_makes_folders(figure: Figure, tmp_path: Path) -> None:
    path = style.save_picture(figure, str(tmp_path / "run" / "pictures" / "loss.png"))
    assert path == tmp_path / "run" / "pictures" / "loss.png"
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_save_says_what_endings_there_are(figure: Figure, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"path: expected a file ending in one of .*png.*, got '.*loss\.docx'"
    ) as caught:
        style.save_picture(figure, tmp_path / "loss.docx")
    assert "\n" not in str(caught.value)


def test_save_names_the_path_that_it_cannot_write(figure: Figure, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(OSError, match=r"cannot write the picture: .*taken.*loss\.png") as caught:
        style.save_picture(figure, tmp_path / "taken" / "loss.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["$_$", "from $5 to $10_", "loss"])
def test_names_are_no_mathematics(figure: Figure, tmp_path: Path, name: str) -> None:
    axes = figure.axes[0]
    axes.set_title(name)
    axes.plot([1, 2], [1, 1000], label=name)
    axes.set_xticks([1], [name])
    axes.set_yscale("log")
    axes.legend()
    assert style.save_picture(figure, tmp_path / "names.png").stat().st_size > 0
    assert all(not text.get_parse_math() for text in (axes.title, *axes.get_legend().get_texts()))
    assert axes.get_yticklabels()[0].get_parse_math()  # a power of ten


def test_a_figure_belongs_to_no_window(figure: Figure) -> None:
    assert type(figure.canvas).__name__ == "FigureCanvasAgg"
    assert figure.canvas.manager is None


def test_long_names_keep_both_ends() -> None:
    (text,) = style.legend_texts(["Cropland and natural vegetation mosaics"], longest=21)
    assert text == "Cropland a…on mosaics"
    assert style.legend_texts(["Water"], longest=5) == ["Water"]


def test_tensors_of_any_kind_become_arrays() -> None:
    values = torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16, requires_grad=True)
    array = as_array(values, "values", ndim=2, legend="(B, M)")
    assert array.dtype == np.float32
    assert array.tolist() == [[1.5, -2.0]]


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((0, 3)), np.zeros((1, 2, 3))])
def test_wrong_shapes_are_named(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"pictures: expected shape \(B, M\) with no empty axis, got \("):
        as_array(values, "pictures", ndim=2, legend="(B, M)")


def test_masks_are_booleans_of_a_shape() -> None:
    with pytest.raises(ValueError, match=r"is_masked: expected bool \(3,\), got int64 \(3,\)"):
        as_mask(np.zeros(3, int), "is_masked", (3,))
    with pytest.raises(ValueError, match=r"is_masked: expected bool \(3,\), got bool \(4,\)"):
        as_mask(np.zeros(4, bool), "is_masked", (3,))


@pytest.mark.parametrize(("length", "count"), [(1, 3), (5, 5), (7, 3), (224, 5)])
def test_spread_indices_are_different_and_symmetric(length: int, count: int) -> None:
    indices = spread_indices(length, count)
    assert len(set(indices)) == min(length, count)
    assert min(indices) >= 0 and max(indices) < length
    assert abs((min(indices) + max(indices)) - (length - 1)) <= 1


def test_envelope_keeps_every_peak_of_a_long_signal() -> None:
    values = np.zeros(100_003)
    values[[0, 50_000, 100_002]] = 1.0, -2.0, 3.0
    places, outline = envelope(values)
    assert len(outline) <= 4_000
    assert {1.0, -2.0, 3.0} <= set(outline.tolist())
    assert abs(places[outline.argmin()] - 50_000) < 100
    values[40_000:60_000] = np.nan
    assert np.isnan(envelope(values)[1]).mean() == pytest.approx(0.2, abs=0.01)
