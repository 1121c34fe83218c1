"""Latents as points and colours: the components are those of a singular value decomposition."""

from pathlib import Path

import numpy as np
import pytest
from closeness import assert_within

from hiperceiver.plots import style
from hiperceiver.plots.features import draw_features, draw_token_features
from hiperceiver.plots.style import save_picture

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(40, 6)) * [5.0, 3.0, 1.0, 0.5, 0.2, 0.1] + 7.0


def points(figure) -> np.ndarray:
    return np.concatenate([np.asarray(dots.get_offsets()) for dots in figure.axes[0].collections])


def test_points_and_shares_are_those_of_a_singular_value_decomposition() -> None:
    """Up to the sign of a component."""
    figure = draw_features(VECTORS)
    centred = VECTORS - VECTORS.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    expected, shares = left[:, :2] * sizes[:2], sizes**2 / (sizes**2).sum()
    found = points(figure)
    signs = np.sign((found * expected).sum(axis=0))
    assert_within(found, expected * signs, 1e-3)  # the vectors are float32
    assert figure.axes[0].get_xlabel() == f"component 1: {shares[0]:.0%} of the variance"
    assert figure.axes[0].get_ylabel() == f"component 2: {shares[1]:.0%} of the variance"


def test_classes_have_colours_and_rare_ones_are_grey(tmp_path: Path) -> None:
    classes = np.repeat(np.arange(10), 4)
    classes[0], classes[4] = -1, 0  # class 1 has three examples, as class 0 has four then
    figure = draw_features(VECTORS, classes=classes, class_names=[f"kind {k}" for k in range(10)], note="a\nb")
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert len(texts) == len(style.LINES) + 1 and texts[-1] == "other classes"
    assert "kind 1" not in texts
    assert len(points(figure)) == 40
    save_picture(figure, tmp_path / "a.png")


def test_numbers_have_a_colour_bar(tmp_path: Path) -> None:
    numbers = np.append(np.linspace(2, 9, 39), np.nan)
    figure = draw_features(VECTORS, numbers=numbers)
    assert [text.get_text() for text in figure.axes[1].get_yticklabels()] == ["2", "9"]
    save_picture(figure, tmp_path / "a.png")


@pytest.mark.parametrize("count", [1, 3, 11])
def test_features_of_tokens_are_drawn(count: int, tmp_path: Path) -> None:
    """What varies along the rows only has colours that do."""
    features = np.zeros((count, 6, 5, 4)) + np.arange(6.0)[:, None, None] * [1.0, -2.0, 0.5, 0.0]
    figure = draw_token_features(RNG.random((count, 6, 5, 3)), features, names=["a"] * count)
    drawn = [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images][-1]
    assert np.ptp(drawn, axis=1).max() < 1e-6 and np.ptp(drawn[..., 0]) == 1.0
    save_picture(figure, tmp_path / "a.png")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [(VECTORS[:1], "at least 2 examples, got 1"), (VECTORS * np.nan, "expected finite values")],
)
def test_too_few_or_broken_vectors_are_refused(vectors: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_features(vectors)
