import numpy as np
import pytest
import torch
from closeness import assert_close
from matplotlib.figure import Figure

from hiperceiver.plots.segmentation import MOST_COLUMNS, draw_segmentation, palette, segmentation_picture

CLASSES = ["sea", "meadow", "town", "ice"]
IGBP = [
    "Water bodies",
    "Evergreen needleleaf forests",
    "Evergreen broadleaf forests",
    "Deciduous needleleaf forests",
    "Deciduous broadleaf forests",
    "Mixed forests",
    "Closed shrublands",
    "Open shrublands",
    "Woody savannas",
    "Savannas",
    "Grasslands",
    "Permanent wetlands",
    "Croplands",
    "Urban and built-up lands",
    "Cropland/natural vegetation mosaics",
    "Snow and ice",
    "Barren",
]


@pytest.fixture
def inputs() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    labels = np.zeros((2, 4, 5), int)
    labels[:, 2:] = 2
    labels[0, 0, 0] = -100
    return labels


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].texts]


def painted(figure: Figure, row: int) -> np.ndarray:
    return np.asarray(figure.axes[2 * row].images[0].get_array())


def test_legend_has_just_the_classes_that_are_seen(inputs: np.ndarray, labels: np.ndarray) -> None:
    predictions = np.full((2, 4, 5), 2)
    predictions[0, 0, 0] = 3  # where the label says ignore: not seen
    figure = draw_segmentation(inputs, predictions, CLASSES, labels=labels)
    assert legend_of(figure) == ["sea", "town", "no label"]
    assert legend_of(draw_segmentation(inputs, predictions, CLASSES)) == ["town", "ice"]


def test_every_place_has_the_colour_of_its_class(inputs: np.ndarray, labels: np.ndarray) -> None:
    predictions = np.full((2, 4, 5), 2)
    figure = draw_segmentation(torch.tensor(inputs), torch.tensor(predictions), CLASSES, labels=torch.tensor(labels))
    colours = palette(CLASSES)
    assert_close(painted(figure, 0), inputs[0] / 255)
    label, prediction, wrong = painted(figure, 1), painted(figure, 2), painted(figure, 3)
    assert (label[0, 1] == colours[0]).all()
    assert (label[2:] == colours[2]).all()
    assert (prediction[1:] == colours[2]).all()
    assert (label[0, 0] == 0).all() and (prediction[0, 0] == 0).all() and (wrong[0, 0] == 0).all()
    assert (wrong[2:] == wrong[2, 0]).all() and (wrong[0, 1:] == wrong[0, 1]).all()
    assert (wrong[2, 0] != wrong[0, 1]).any()
    patch = figure.legends[0].get_patches()[1]
    assert_close(patch.get_facecolor()[:3], colours[2] / 255)


def test_caption_is_the_share_of_labelled_places_that_are_right(inputs: np.ndarray, labels: np.ndarray) -> None:
    labels[1] = -100
    figure = draw_segmentation(inputs, np.full((2, 4, 5), 2), CLASSES, labels=labels)
    assert [ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()] == ["52.6% right", "no label"]  # 10 of 19


def test_without_labels_there_are_two_rows(inputs: np.ndarray) -> None:
    figure = draw_segmentation(inputs[:1], np.zeros((1, 4, 5), int), CLASSES)
    assert [ax.get_ylabel() for ax in figure.axes] == ["input", "prediction"]


def test_of_many_examples_the_first_are_drawn(inputs: np.ndarray) -> None:
    figure = draw_segmentation(inputs.repeat(5, axis=0), np.zeros((10, 4, 5), int), CLASSES)
    assert len(figure.axes) == 2 * MOST_COLUMNS


def test_everything_ignored_can_be_drawn(inputs: np.ndarray) -> None:
    nothing = np.full((2, 4, 5), -100)
    figure = draw_segmentation(inputs, nothing, CLASSES, labels=nothing)
    assert legend_of(figure) == ["no label"]
    figure.canvas.draw()


def test_the_built_in_sets_classes_are_known() -> None:
    """Their names stand in data/, which plots/ does not know: both must agree."""
    from hiperceiver.data.sources.earth import LAND_COVER

    assert (palette(LAND_COVER) == palette(IGBP)).all()


def test_land_cover_has_customary_and_different_colours() -> None:
    colours = palette(IGBP).astype(int)
    assert len(np.unique(colours, axis=0)) == 17
    assert colours[0].argmax() == 2  # water is blue
    assert all(colours[k].argmax() == 1 for k in range(1, 6))  # forests are green
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=-1) + 1000 * np.eye(17)
    assert distances.min() > 40


@pytest.mark.parametrize("count", [1, 10, 11, 21, 60])
def test_any_number_of_classes_gets_different_colours(count: int) -> None:
    colours = palette([f"class {k}" for k in range(count)])
    assert colours.dtype == np.uint8
    assert len(np.unique(colours, axis=0)) == count


def test_a_name_that_is_no_land_cover_gets_the_general_colours() -> None:
    assert (palette(["Water", "dog"]) == palette(["cat", "dog"])).all()
    assert (palette(["water", "sea water"]) == palette(["cat", "dog"])).all()


def test_palette_picture_keeps_indices_and_shows_colours() -> None:
    labels = np.array([[0, 1, 2], [3, -100, 0]])
    picture = segmentation_picture(torch.tensor(labels), CLASSES)
    assert picture.mode == "P"
    assert picture.size == (3, 2)
    assert np.asarray(picture).tolist() == [[0, 1, 2], [3, 255, 0]]
    shown = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(shown[0], palette(CLASSES)[:3])
    assert shown[1, 1].tolist() == [0, 0, 0]


def test_palette_picture_survives_the_disk(tmp_path) -> None:
    from PIL import Image

    segmentation_picture(np.array([[0, 3], [-100, 1]]), CLASSES).save(tmp_path / "prediction.png")
    with Image.open(tmp_path / "prediction.png") as picture:
        assert np.asarray(picture).tolist() == [[0, 3], [255, 1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.zeros((2, 4, 5))}, r"inputs: expected shape \(B, H, W, C\)"),
        ({"inputs": np.zeros((2, 4, 5, 2))}, "inputs: expected 1 or 3 channels, got 2"),
        ({"predictions": np.zeros((2, 4, 5))}, "predictions: expected whole numbers .*, got float64"),
        ({"predictions": np.full((2, 4, 5), 4)}, "predictions: expected class indices from 0 to 3, got 4"),
        ({"labels": np.full((2, 4, 5), -1)}, "labels: expected class indices from 0 to 3, got -1"),
        ({"labels": np.zeros((2, 4, 4), int)}, r"labels: expected shape \(2, 4, 5\) like inputs, got \(2, 4, 4\)"),
    ],
)
def test_wrong_arguments_are_named(inputs: np.ndarray, labels: np.ndarray, change: dict, message: str) -> None:
    arguments = {"inputs": inputs, "predictions": labels, "labels": labels, "classes": CLASSES, **change}
    with pytest.raises(ValueError, match=message) as caught:
        draw_segmentation(**arguments)
    assert "\n" not in str(caught.value)


def test_a_palette_picture_has_room_for_255_classes() -> None:
    with pytest.raises(ValueError, match="classes: expected at most 255 .*, got 256"):
        segmentation_picture(np.zeros((2, 2), int), ["x"] * 256)
