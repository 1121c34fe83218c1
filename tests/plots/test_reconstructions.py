import numpy as np
import pytest
import torch
from closeness import assert_close
from matplotlib.figure import Figure

from hiperceiver.plots import style
from hiperceiver.plots.arrays import hidden_error
from hiperceiver.plots.reconstructions import draw_reconstructions, pasted


def pictures_of(figure: Figure) -> dict[tuple[str, int], np.ndarray]:
    """What is painted in the axes of each named row and each column; of one example rows are columns."""
    found, row, column = {}, "", 0
    labels = ("input", "masked", "output", "error")
    for ax in figure.axes:
        if ax.images:
            label = next((each for each in (ax.get_ylabel(), ax.get_title()) if each in labels), "")
            row, column = (label, 0) if label else (row, column + 1)
            found[row, column] = np.ma.filled(ax.images[0].get_array(), np.nan)
    return found


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)


@pytest.fixture
def is_masked() -> np.ndarray:
    return np.random.default_rng(1).random((3, 6, 8)) < 0.5


def test_hidden_pixels_are_grey_and_visible_ones_are_the_input(pictures: np.ndarray, is_masked: np.ndarray) -> None:
    painted = pictures_of(draw_reconstructions(pictures, pictures // 2, is_masked))
    for example in range(3):
        seen = painted["masked", example]
        assert np.all(seen[is_masked[example]] == style.HIDDEN_GREY)
        assert_close(seen[~is_masked[example]], pictures[example][~is_masked[example]] / 255, dtype=torch.float32)
        assert_close(painted["input", example], pictures[example] / 255, dtype=torch.float32)


def test_output_is_the_reconstruction_only_where_it_was_hidden(pictures: np.ndarray, is_masked: np.ndarray) -> None:
    painted = pictures_of(draw_reconstructions(pictures, pictures // 2, is_masked))
    expected = pasted(pictures, pictures // 2, is_masked)
    assert (expected[is_masked] == (pictures // 2)[is_masked]).all()
    assert (expected[~is_masked] == pictures[~is_masked]).all()
    assert_close(painted["output", 1], expected[1] / 255, dtype=torch.float32)


def test_error_map_is_empty_at_visible_pixels_and_the_distance_at_hidden_ones(is_masked: np.ndarray) -> None:
    pictures = np.full((3, 6, 8, 1), 0.25)
    error = pictures_of(draw_reconstructions(pictures, pictures + 0.5, is_masked))["error", 0]
    assert np.isnan(error[~is_masked[0]]).all()
    assert_close(error[is_masked[0]], 0.5, dtype=torch.float32)


def test_captions_tell_ratio_and_error_of_each_example() -> None:
    pictures = np.zeros((2, 4, 4, 1))
    is_masked = np.zeros((2, 4, 4), bool)
    is_masked[0, :3] = True
    figure = draw_reconstructions(pictures, pictures + 0.5, is_masked, names=["first", "second"], title="Both")
    captions = [ax.get_xlabel() for ax in figure.axes if "hidden" in ax.get_xlabel()]
    assert captions == ["75% hidden\nerror 0.5", "0% hidden"]
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == ["first", "second"]
    assert figure.get_suptitle() == "Both"


def test_values_outside_zero_to_one_are_shown_on_the_inputs_own_scale() -> None:
    pictures = np.linspace(-2.0, 2.0, 16).reshape(1, 4, 4, 1)
    is_masked = np.ones((1, 4, 4), bool)
    figure = draw_reconstructions(pictures, pictures + 8.0, is_masked)
    painted = pictures_of(figure)
    assert painted["input", 0].min() == 0.0
    assert painted["input", 0].max() == 1.0
    assert (painted["output", 0] == 1.0).all()  # clipped
    assert "from -2 (black) to 2 (white)" in figure.get_supxlabel()
    assert any("error 2" in ax.get_xlabel() for ax in figure.axes)  # 8 of a range of 4


def test_a_diverged_model_is_drawn_and_said() -> None:
    pictures = np.zeros((1, 4, 4, 3), np.float32)
    made = pictures.copy()
    made[0, 0, 0] = np.nan
    figure = draw_reconstructions(pictures, made, np.ones((1, 4, 4), bool))
    red, green, blue = pictures_of(figure)["output", 0][0, 0]
    assert red > 0.8 > 0.2 > green and blue > 0.8
    assert any("error not finite" in ax.get_xlabel() for ax in figure.axes)


def test_other_channel_counts_are_shown_as_their_mean() -> None:
    pictures = np.stack([np.zeros((1, 3, 3)), np.ones((1, 3, 3))], axis=-1)
    figure = draw_reconstructions(pictures, pictures, np.zeros((1, 3, 3), bool))
    assert np.all(pictures_of(figure)["input", 0] == 0.5)
    assert "mean of 2 channels" in figure.get_supxlabel()


def test_a_video_shows_frames_of_its_first_example() -> None:
    video = np.zeros((2, 20, 4, 4, 1))
    video[0] += np.linspace(0, 1, 20)[:, None, None, None]
    video[1] = 1.0
    figure = draw_reconstructions(torch.tensor(video), video, np.zeros((2, 20, 4, 4), bool))
    frames = (1, 3, 6, 8, 11, 13, 16, 18)
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == [f"frame {k}" for k in frames]
    assert_close(pictures_of(figure)["input", 2][0, 0, 0], 6 / 19, dtype=torch.float32)


def test_frames_may_have_names() -> None:
    video = np.zeros((1, 3, 4, 4, 1))
    figure = draw_reconstructions(video, video, video[..., 0] > 0, frame_names=["0.0 s", "0.5 s", "1.0 s"])
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == ["0.0 s", "0.5 s", "1.0 s"]


def test_what_is_padding_is_neither_hidden_nor_counted() -> None:
    pictures = np.full((2, 4, 4, 1), 0.25)
    is_padding = np.zeros((2, 4, 4), bool)
    is_padding[:, 2:] = True
    is_masked = np.ones((2, 4, 4), bool)
    is_masked[:, 0] = False
    figure = draw_reconstructions(pictures, pictures + 0.5, is_masked, is_padding=is_padding)
    painted = pictures_of(figure)
    assert (painted["masked", 0][:, 0, 0] == [0.25, style.HIDDEN_GREY, 0.25, 0.25]).all()
    assert np.isnan(painted["error", 0][is_padding[0]]).all()
    assert [ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()] == ["50% hidden\nerror 0.5"] * 2


def test_one_example_lies_in_a_row() -> None:
    pictures = np.zeros((1, 4, 4, 1))
    figure = draw_reconstructions(pictures, pictures, np.ones((1, 4, 4), bool), names=["a.png"])
    assert [ax.get_title() for ax in figure.axes[:4]] == ["input", "masked", "output", "error"]
    assert figure.axes[0].get_ylabel() == "a.png"
    width, height = figure.get_size_inches()
    assert width > 2 * height


def test_long_names_are_shortened() -> None:
    pictures = np.zeros((2, 4, 4, 1))
    figure = draw_reconstructions(pictures, pictures, pictures[..., 0] > 0, names=["x" * 99, "b"])
    assert [len(ax.get_title()) for ax in figure.axes[:2]] == [21, 1]


def test_error_of_nothing_hidden_is_not_a_number() -> None:
    assert np.isnan(hidden_error(np.zeros((2, 2, 1)), np.ones((2, 2, 1)), np.zeros((2, 2), bool)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.zeros((6, 8))}, r"inputs: expected shape \(B, \*grid, C\)"),
        (
            {"reconstruction": np.zeros((3, 6, 7, 3))},
            r"reconstruction: expected the shape of inputs, \(3, 6, 8, 3\), got",
        ),
        ({"is_masked": np.zeros((3, 6, 7), bool)}, r"is_masked: expected bool \(3, 6, 8\), got bool"),
        ({"is_masked": np.zeros((3, 6, 8))}, r"is_masked: expected bool .* got float64"),
        ({"is_padding": np.zeros((3, 6, 7), bool)}, r"is_padding: expected bool \(3, 6, 8\), got bool"),
        ({"frame_names": ["one"]}, "frame_names: expected one for each of no frame, got 1"),
        ({"names": ["one"]}, "names: expected one for each of 3 examples, got 1"),
    ],
)
def test_wrong_arguments_are_named(pictures: np.ndarray, is_masked: np.ndarray, change: dict, message: str) -> None:
    arguments = {"inputs": pictures, "reconstruction": pictures, "is_masked": is_masked, **change}
    with pytest.raises(ValueError, match=message) as caught:
        draw_reconstructions(**arguments)
    assert "\n" not in str(caught.value)
