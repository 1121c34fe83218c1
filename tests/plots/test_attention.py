"""Pictures of attention: what is drawn is where it was, and odd sizes are drawn or refused."""

from pathlib import Path

import numpy as np
import pytest
from closeness import assert_equal
from matplotlib import colormaps
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb

from hiperceiver.plots import style
from hiperceiver.plots.attention import (
    draw_attention,
    draw_attention_along,
    draw_attention_on_points,
    draw_reading,
    draw_reading_along,
    draw_reading_of_point,
)
from hiperceiver.plots.style import save_picture

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("count", [1, 3, 12])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_pictures_are_drawn(count: int, channels: int, tmp_path: Path) -> None:
    attention = {f"latent {k}": RNG.random((count, 6, 9)) for k in range(2)}
    figure = draw_attention(RNG.random((count, 6, 9, channels)), attention, names=["a"] * count, title="t")
    assert len([ax for ax in figure.axes if ax.images]) == 3 * min(count, 8)
    assert save_picture(figure, tmp_path / "a.png").stat().st_size > 1000


def test_colours_lie_where_the_attention_is() -> None:
    """Attended tokens are bright, equal ones red, and where there is none the picture is grey."""
    values = np.full((1, 4, 4), np.nan)
    values[0, 1], values[0, 1, 2] = 1.0, 4.0
    figure = draw_attention(np.zeros((1, 4, 4, 3)), {"latent 0": values})
    picture = np.asarray(figure.axes[1].images[0].get_array())
    assert picture.shape == (4, 4, 3)
    is_grey = np.ptp(picture, axis=-1) < 1e-6
    assert is_grey.tolist() == [[True] * 4, [False] * 4, [True] * 4, [True] * 4]
    assert picture[1].sum(axis=-1).argmax() == 2
    assert picture[1, 0].tolist() == picture[1, 1].tolist()


def test_curves_lie_along_the_signal() -> None:
    values = np.full(50, np.nan)
    values[10:20] = 2.0
    figure = draw_attention_along([np.zeros((100, 1))], [{"latent 0": values}], scale=0.5, unit="seconds")
    (curve,) = [line for line in figure.axes[1].lines if line.get_label() == "latent 0"]
    x, y = (np.asarray(each, float) for each in curve.get_data())
    is_there = np.isfinite(y)
    assert (x[is_there].min(), x[is_there].max()) == (10.5, 19.5)  # of 50 seconds, a token is one
    assert set(y[is_there]) == {2.0}


def test_bars_are_the_weights(tmp_path: Path) -> None:
    weights = np.array([[0.1, 0.6, 0.3], [0.5, 0.25, 0.25]])
    figure = draw_reading(RNG.random((2, 5, 5, 3)), weights, RNG.random((2, 5, 5)), (1, 4), names=["a", "b"])
    bars = [[bar.get_height() for bar in ax.patches] for ax in figure.axes if ax.patches]
    assert bars == weights.tolist()
    rings = [line.get_data() for ax in figure.axes for line in ax.lines if line.get_marker() == "o"]
    assert {(float(x[0]), float(y[0])) for x, y in rings} == {(4.0, 1.0)}
    save_picture(figure, tmp_path / "a.png")
    figure = draw_reading_along([RNG.random((20, 4)), RNG.random((12, 4))], weights, 3.5, names=["a", "b"])
    assert [[bar.get_height() for bar in ax.patches] for ax in figure.axes if ax.patches] == weights.tolist()
    save_picture(figure, tmp_path / "b.png")


def test_points_have_the_colours_of_their_attention() -> None:
    """On the scale of pictures: up to a quarter of equal attention is the first colour, and the most is the last."""
    clouds = [RNG.normal(size=(count, 3)) for count in (6, 4)]
    values = [np.array([np.nan, 0.1, 0.25, 1.0, 4.0, np.nan]), np.array([8.0, np.nan, 2.0, 1.0])]
    figure = draw_attention_on_points(clouds, [{"latent 0": x} for x in values], names=["a", "b"])
    first, last = np.log(0.25), np.log(np.nanquantile(np.concatenate(values), 0.999))
    for ax, cloud, each in zip(figure.axes[2:4], clouds, values, strict=True):
        (dots,) = ax.collections
        colours, sizes = PathCollection.get_facecolor(dots)[:, :3], dots._sizes3d  # not sorted by depth
        is_there = np.isfinite(each)
        assert_equal(np.stack(dots._offsets3d, axis=1), cloud)
        assert_equal(colours[~is_there], np.tile(to_rgb(style.FAINT), ((~is_there).sum(), 1)))
        shares = np.clip((np.log(each[is_there]) - first) / (last - first), 0.0, 1.0)
        assert_equal(colours[is_there], colormaps["inferno"](np.minimum((shares * 256).astype(int), 255))[:, :3])
        assert sizes[is_there].min() > sizes[~is_there].max()
    assert [ax.get_title() for ax in figure.axes[:4]] == ["a", "b", "", ""]


def test_the_point_that_is_read_at_is_ringed(tmp_path: Path) -> None:
    clouds = [RNG.normal(size=(count, 4)) for count in (30, 20)]
    weights = np.array([[0.1, 0.6, 0.3], [0.5, 0.25, 0.25]])
    figure = draw_reading_of_point(clouds, weights, [RNG.random(len(x)) for x in clouds], 7)
    assert [[bar.get_height() for bar in ax.patches] for ax in figure.axes if ax.patches] == weights.tolist()
    rings = {
        tuple(float(x[0]) for x in line.get_data_3d()) for ax in figure.axes for line in ax.lines if ax.name == "3d"
    }
    assert rings == {tuple(cloud[7, :3].tolist()) for cloud in clouds}
    save_picture(figure, tmp_path / "a.png")


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="latent 0: expected one for each of 5 points, got 4"):
        draw_attention_on_points([np.zeros((5, 3))], [{"latent 0": np.zeros(4)}])
    with pytest.raises(ValueError, match=r"latent 0: expected shape \(2, 4, 4\), got \(2, 4, 5\)"):
        draw_attention(np.zeros((2, 4, 4, 3)), {"latent 0": np.zeros((2, 4, 5))})
