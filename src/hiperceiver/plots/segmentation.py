"""Segmentations: input, label and prediction side by side, and a prediction as a picture with a palette."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from hiperceiver.plots import style
from hiperceiver.plots.arrays import as_array

MOST_COLUMNS = 8  # examples that are drawn
IGNORE = -100  # label of an unlabelled pixel, as in `Batch.targets`
_IGNORE_INDEX = 255
_IGNORE_COLOUR = (0, 0, 0)
_RIGHT_OR_WRONG = np.array([(190, 30, 45), (236, 239, 243), _IGNORE_COLOUR], np.uint8)
"""Red where a prediction is wrong, faint where it is right, black where there is no label."""

_LAND_COVER = (
    # Words in a name -> colour, close to the customary ones for the 17 classes of the IGBP.
    ("water", (43, 108, 163)),
    ("evergreen needleleaf", (0, 60, 20)),
    ("evergreen broadleaf", (20, 120, 28)),
    ("deciduous needleleaf", (86, 148, 6)),
    ("deciduous broadleaf", (132, 214, 40)),
    ("mixed forest", (52, 150, 70)),
    ("closed shrub", (170, 150, 90)),
    ("open shrub", (231, 206, 122)),
    ("woody savanna", (178, 196, 48)),
    ("savanna", (250, 238, 60)),
    ("grassland", (176, 240, 90)),
    ("wetland", (64, 214, 180)),
    ("natural vegetation", (190, 84, 92)),
    ("cropland", (204, 126, 36)),
    ("urban", (130, 130, 138)),
    ("snow", (240, 246, 255)),
    ("barren", (233, 216, 202)),
)


def palette(classes: Sequence[str]) -> np.ndarray:
    """A colour for each class, uint8 (number of classes, 3).

    The 17 land-cover classes of the IGBP are known by their names and have about their customary colours: blue water,
    green forests, yellow savannas. Any other list of classes gets colours that differ as much as that many can.

    >>> palette(["Water Bodies", "Barren"]).tolist()
    [[43, 108, 163], [233, 216, 202]]
    """
    known = [_land_cover_colour(name) for name in classes]
    if classes and None not in known and len(set(known)) == len(known):
        return np.array(known, np.uint8)
    if len(classes) <= 20:
        colours = colormaps["tab10" if len(classes) <= 10 else "tab20"](np.arange(len(classes)))
    else:
        # Steps of the golden ratio around the circle of hues: neighbours in the list are far from each other.
        colours = colormaps["hsv"]((np.arange(len(classes)) * 0.618034) % 1.0)
        colours[:, :3] *= np.array([1.0, 0.75, 0.5])[np.arange(len(classes)) % 3, None]
    return np.round(colours[:, :3] * 255).astype(np.uint8)


def _land_cover_colour(name: str) -> tuple[int, int, int] | None:
    words = name.lower().replace("_", " ").replace("-", " ")
    return next((colour for key, colour in _LAND_COVER if key in words), None)


def segmentation_picture(labels: Any, classes: Sequence[str]) -> Image.Image:
    """Class indices (H, W), -100 = ignore, as a Pillow picture of mode P with the colours of `palette`.

    Its values are the indices, of at most 255 classes; ignored pixels have index 255 and are black.
    """
    if len(classes) > _IGNORE_INDEX:
        raise ValueError(f"classes: expected at most {_IGNORE_INDEX} for a picture with a palette, got {len(classes)}")
    indices = _checked_labels(labels, "labels", classes, ndim=2, legend="(H, W)")
    picture = Image.fromarray(np.where(indices == IGNORE, _IGNORE_INDEX, indices).astype(np.uint8), mode="L")
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(classes)] = palette(classes)
    colours[_IGNORE_INDEX] = _IGNORE_COLOUR
    picture.putpalette(colours.tobytes())
    return picture


def draw_segmentation(
    inputs: Any, predictions: Any, classes: Sequence[str], *, labels: Any = None, title: str = ""
) -> Figure:
    """Input, label and prediction below each other for each example, with a legend of the classes that occur.

    Ignored pixels are black, in the prediction too. With labels, a fourth row shows where the prediction is wrong, and
    under each example stands the share of its labelled pixels that are right.

    `inputs` are (B, H, W, C) with 1 or 3 channels, uint8, or float from 0 to 1. `predictions` and `labels` are
    (B, H, W), indices of `classes`; -100 = ignore. At most `MOST_COLUMNS` examples are drawn.

    >>> import numpy as np
    >>> pictures = np.random.default_rng(0).random((2, 8, 8, 3))
    >>> predictions = np.zeros((2, 8, 8), int)
    >>> figure = draw_segmentation(pictures, predictions, ["sea", "land"], labels=predictions)
    """
    inputs = as_array(inputs, "inputs", ndim=4, legend="(B, H, W, C)")
    if inputs.shape[-1] not in {1, 3}:
        raise ValueError(f"inputs: expected 1 or 3 channels, got {inputs.shape[-1]}")
    layers = ({} if labels is None else {"label": labels}) | {"prediction": predictions}
    for name, values in layers.items():
        layers[name] = _checked_labels(values, f"{name}s", classes, ndim=3, legend="(B, H, W)")
        if layers[name].shape != inputs.shape[:3]:
            raise ValueError(f"{name}s: expected shape {inputs.shape[:3]} like inputs, got {layers[name].shape}")
    inputs = inputs[:MOST_COLUMNS]
    layers = {name: values[:MOST_COLUMNS] for name, values in layers.items()}

    shown = inputs / 255.0 if inputs.dtype == np.uint8 else inputs
    pictures = {"input": np.broadcast_to(np.clip(shown, 0.0, 1.0), (*inputs.shape[:3], 3))}
    is_ignored = layers["label"] == IGNORE if "label" in layers else np.zeros(inputs.shape[:3], bool)
    colours = np.vstack([palette(classes), _IGNORE_COLOUR])
    for name, values in layers.items():
        pictures[name] = colours[np.where(is_ignored | (values == IGNORE), len(classes), values)]
    captions = [""] * len(inputs)
    if "label" in layers:
        is_right = layers["label"] == layers["prediction"]
        pictures["wrong"] = _RIGHT_OR_WRONG[np.where(is_ignored, 2, is_right.astype(int))]
        labelled = [right[~ignored] for right, ignored in zip(is_right, is_ignored, strict=True)]
        captions = [f"{right.mean():.1%} right" if len(right) else "no label" for right in labelled]

    num_examples, height, width = inputs.shape[:3]
    legend = _class_legend(classes, colours, layers, is_ignored)
    panel_width, panel_height = style.panel_size(num_examples, height, width)
    across = max(panel_width * num_examples + 0.4, 4.8)
    legend_columns = max(1, min(len(legend), int(across / (0.07 * max(map(len, legend)) + 0.45))))
    down = len(pictures) * (panel_height + 0.1) + 0.19 * math.ceil(len(legend) / legend_columns) + 0.9
    grid = {"rows": len(pictures), "columns": num_examples, "layout": "compressed"}
    figure, axes = style.new_figure(across, down, title=title, **grid)
    style.show_rows(axes, pictures, captions=captions)
    style.add_legend(figure, legend, columns=legend_columns)
    return figure


def _checked_labels(values: Any, name: str, classes: Sequence[str], *, ndim: int, legend: str) -> np.ndarray:
    indices = as_array(values, name, ndim=ndim, legend=legend)
    if indices.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected whole numbers (class indices), got {indices.dtype}")
    indices = indices.astype(np.int64)
    outside = indices[((indices < 0) & (indices != IGNORE)) | (indices >= len(classes))]
    if len(outside):
        raise ValueError(f"{name}: expected class indices from 0 to {len(classes) - 1}, got {outside[0]}")
    return indices


def _class_legend(
    classes: Sequence[str], colours: np.ndarray, layers: dict[str, np.ndarray], is_ignored: np.ndarray
) -> dict[str, Patch]:
    """Only the classes that occur, in the order of the list."""
    present = np.unique(np.concatenate([values[~is_ignored & (values != IGNORE)] for values in layers.values()]))
    texts = style.legend_texts([classes[int(k)] for k in present], longest=27)
    entries = {
        text: Patch(facecolor=tuple((colours[k] / 255).tolist()), edgecolor=style.NEUTRAL, linewidth=0.5)
        for text, k in zip(texts, present, strict=True)
    }
    if is_ignored.any() or not entries:
        entries["no label"] = Patch(facecolor=_IGNORE_COLOUR)
    return entries
