from typing import Any

import numpy as np
import pytest
from closeness import assert_close, is_close
from matplotlib.colors import to_hex

from hiperceiver.plots import style
from hiperceiver.plots.points import MOST_POINTS, draw_points

CLOUD = np.random.default_rng(0).uniform(-1, 1, size=(200, 3))
HIDDEN = np.arange(200) >= 50


def counts(figure: Any) -> list[list[int]]:
    """Points in each axes, by what was scattered."""
    return [[len(dots._offsets3d[0]) for dots in ax.collections] for ax in figure.axes]


def test_input_visible_and_output_of_each_example() -> None:
    clouds = [CLOUD, CLOUD * 2]
    figure = draw_points(clouds, clouds, [HIDDEN, ~HIDDEN], names=["a", "b"], title="Two")
    assert counts(figure) == [[200], [200], [50], [150], [50, 150], [150, 50]]
    assert [ax.get_title() for ax in figure.axes] == ["a", "b", "", "", "", ""]
    texts = [text.get_text() for ax in figure.axes for text in ax.texts if text.get_text()]
    assert texts == ["input", "visible", "output", "75% hidden · error 0", "25% hidden · error 0"]
    seen, made = figure.axes[4].collections
    assert [to_hex(dots.get_facecolor()[0]) for dots in (seen, made)] == [style.LINES[0], style.LINES[1]]


def test_one_cloud_lies_in_a_row_at_one_scale() -> None:
    long = CLOUD * [9.0, 1.0, 1.0]
    figure = draw_points([long], [long], [HIDDEN])
    assert [ax.get_title() for ax in figure.axes] == ["input", "visible", "output"]
    for ax in figure.axes:
        room: Any = ax
        sides = [np.ptp(room.get_xlim()), np.ptp(room.get_ylim()), np.ptp(room.get_zlim())]
        assert_close(sides, sides[0])
        assert (room.get_xlabel(), room.get_ylabel(), room.get_zlabel()) == ("x", "y", "z")


def test_where_nothing_is_hidden_the_input_stands_alone() -> None:
    figure = draw_points([CLOUD], [CLOUD], [np.zeros(200, bool)])
    assert counts(figure) == [[200]] and not figure.legends
    assert figure.axes[0].get_title() == "input"


def test_features_are_colours() -> None:
    cloud = np.concatenate([CLOUD, np.zeros((200, 3))], axis=1)
    cloud[0, 3:] = 2.0
    (dots,) = draw_points([cloud], [cloud], [HIDDEN]).axes[0].collections
    assert_close(dots.get_facecolor()[:2, :3], [[1, 1, 1], [0, 0, 0]])
    shades = draw_points([cloud[:, :4]], [cloud[:, :4]], [HIDDEN]).axes[0].collections[0].get_facecolor()
    assert not is_close(shades[0], shades[1]).all()


def test_what_was_made_far_away_is_told_not_drawn() -> None:
    made = CLOUD.copy()
    made[100:150] = 99.0
    made[150:] = np.nan
    figure = draw_points([CLOUD], [made], [HIDDEN])
    assert counts(figure)[2] == [50, 50]
    assert any("50% of the points lie outside" in text.get_text() for text in figure.axes[2].texts)
    figure.canvas.draw()


def test_of_many_points_some_are_drawn_and_a_single_one_can_be() -> None:
    many = np.random.default_rng(0).normal(size=(100_000, 3))
    figure = draw_points([many], [many], [np.zeros(100_000, bool)])
    assert counts(figure)[0][0] <= MOST_POINTS
    draw_points([many[:1]], [many[:1]], [np.ones(1, bool)]).canvas.draw()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": []}, "inputs: expected as many as reconstructions and masks, at least one, got 0, 1 and 1"),
        (
            {"inputs": [CLOUD[:, :2]], "reconstructions": [CLOUD[:, :2]]},
            r"inputs, example 0: expected x, y and z of each point, got shape \(200, 2\)",
        ),
        ({"reconstructions": [CLOUD[:9]]}, r"reconstructions, example 0: expected shape \(200, 3\), got \(9, 3\)"),
        ({"is_masked": [HIDDEN[:9]]}, r"is_masked, example 0: expected bool \(200,\), got bool \(9,\)"),
        ({"names": ["a", "b"]}, "names: expected one for each of 1 examples, got 2"),
    ],
)
def test_wrong_arguments_are_named(change: dict, message: str) -> None:
    arguments = {"inputs": [CLOUD], "reconstructions": [CLOUD], "is_masked": [HIDDEN], **change}
    with pytest.raises(ValueError, match=message) as caught:
        draw_points(**arguments)
    assert "\n" not in str(caught.value)
