"""What latents hold, seen from the two sides on which they differ most; and features of tokens as colours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hiperceiver.plots import style
from hiperceiver.plots.arrays import as_array
from hiperceiver.plots.positions import as_colours, principal_components
from hiperceiver.plots.reconstructions import MOST_COLUMNS, shown_colours

_CMAP = "viridis"


def draw_features(
    vectors: Any,
    *,
    classes: Any = None,
    class_names: Sequence[str] = (),
    numbers: Any = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """Vectors of examples as points along their first two principal components, in the colours of their labels.

    Of more classes than there are colours the most frequent ones have a colour each, and the others are grey.

    Args:
        vectors: (N, D), with at least two examples.
        classes: int (N,), the class of each example, negative where it has none; None: not known.
        class_names: the name of each class.
        numbers: float (N,) in place of classes, NaN where an example has none.
        title: above the picture.
        note: a line below it.

    >>> rng = np.random.default_rng(0)
    >>> figure = draw_features(rng.normal(size=(50, 8)), classes=rng.integers(0, 2, 50), class_names=["cat", "dog"])
    """
    vectors = as_array(vectors, "vectors", ndim=2, legend="(N, D)")
    if len(vectors) < 2:
        raise ValueError(f"vectors: expected at least 2 examples, got {len(vectors)}")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors: expected finite values, got some that are NaN or infinite")
    coordinates, shares = principal_components(vectors, 2)
    has_classes = numbers is None and classes is not None and bool((np.asarray(classes) >= 0).any())
    figure, ((ax,),) = style.new_figure(6.4, 5.6, title=title, note="" if has_classes else note)
    style.as_chart_axes(
        ax, **{axis: f"component {k + 1}: {shares[k]:.0%} of the variance" for k, axis in enumerate("xy")}
    )
    dots: dict[str, Any] = {"s": max(6.0, min(26.0, 6000 / len(vectors))), "linewidths": 0, "alpha": 0.75}
    if numbers is not None:
        values = as_array(numbers, "numbers", ndim=1, legend="(N,)").astype(float)
        is_known = np.isfinite(values)
        finite = values[is_known] if is_known.any() else np.zeros(1)
        norm = Normalize(float(finite.min()), float(finite.max()))
        ax.scatter(*coordinates[~is_known].T, color=style.NEUTRAL, **dots)
        ax.scatter(*coordinates[is_known].T, c=values[is_known], norm=norm, cmap=_CMAP, **dots)
        ticks = {float(value): f"{value:.3g}" for value in (finite.min(), finite.max())}
        style.add_colour_bar(figure, np.array([ax]), ticks, norm=norm, cmap=_CMAP, aspect=30, shrink=0.7)
        return figure
    labels = np.full(len(vectors), -1) if classes is None else as_array(classes, "classes", ndim=1, legend="(N,)")
    found, counts = np.unique(labels[labels >= 0], return_counts=True)
    most = sorted(found[np.argsort(-counts, kind="stable")][: len(style.LINES)])
    colours = {int(number): colour for number, colour in zip(most, style.LINES, strict=False)}
    is_other = ~np.isin(labels, most)
    ax.scatter(*coordinates[is_other].T, color=style.NEUTRAL, **dots)
    order = np.random.default_rng(0).permutation(np.flatnonzero(~is_other))  # no class hides another
    ax.scatter(*coordinates[order].T, color=[colours[int(labels[k])] for k in order], **dots)
    entries = {_class_name(number, class_names): colour for number, colour in colours.items()}
    if len(found) > len(most):
        entries["other classes"] = style.NEUTRAL
    if entries:
        dot = {"marker": "o", "markersize": 5, "linestyle": ""}
        names = style.legend_texts(list(entries), longest=22)
        lines = {
            name: Line2D([], [], color=colour, **dot) for name, colour in zip(names, entries.values(), strict=True)
        }
        style.add_legend(figure, lines, columns=min(len(lines), 4), note=note)
    return figure


def draw_token_features(inputs: Any, features: Any, *, names: Sequence[str] = (), title: str = "") -> Figure:
    """Pictures, and below them the features of their tokens as colours: three principal components of all of them.

    Red is the first component, green the second and blue the third, each from its least to its greatest value: where
    colours are alike, so are the features.

    `inputs` are (K, h, w, C), decoded to raw values, uint8 or float, and `features` (K, h, w, E). At most
    `MOST_COLUMNS` are drawn.

    >>> rng = np.random.default_rng(0)
    >>> figure = draw_token_features(rng.random((2, 8, 8, 3)), rng.normal(size=(2, 8, 8, 16)))
    """
    inputs = as_array(inputs, "inputs", ndim=4, legend="(K, h, w, C)")[:MOST_COLUMNS]
    features = as_array(features, "features", ndim=4, legend="(K, h, w, E)")[:MOST_COLUMNS]
    if features.shape[:3] != inputs.shape[:3]:
        raise ValueError(f"features: expected shape {inputs.shape[:3]} and E, got {features.shape}")
    coordinates, shares = principal_components(features.reshape(-1, features.shape[-1]))
    rows = {"input": shown_colours(inputs), "features": as_colours(coordinates).reshape(*features.shape[:3], 3)}
    explained = ", ".join(f"{share:.0%}" for share in shares)
    note = f"red, green, blue: principal components 1, 2, 3, with {explained} of the variance"
    is_alone = len(inputs) == 1
    width, height = style.panel_size(max(len(inputs), 2), *inputs.shape[1:3])
    across, down = (2, 1) if is_alone else (len(inputs), 2)
    size = max(width * across + 0.6, 5.5), (height + 0.12) * down + 1.0
    figure, axes = style.new_figure(*size, rows=down, columns=across, title=title, note=note, layout="compressed")
    how = {"names": style.legend_texts(names[: len(inputs)], longest=22), "captions": [""] * len(inputs)}
    style.show_rows(axes.T if is_alone else axes, rows, is_turned=is_alone, **how)
    return figure


def _class_name(number: int, names: Sequence[str]) -> str:
    return names[number] if number < len(names) else f"class {number}"
