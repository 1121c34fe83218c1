"""Sources: datasets that are ready for the loaders, one a file."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.image import Fit, Mode
from hiperceiver.data.sources.earth import open_earth
from hiperceiver.data.sources.huggingface import open_huggingface
from hiperceiver.data.sources.source import Source, SourceTask

SOURCES: dict[str, Callable[..., Source]] = {
    "earth": open_earth,
}
"""Name of a built-in source -> the function that opens it. Any other name is a folder or a hub id."""

__all__ = ["SOURCES", "Source", "SourceTask", "open_earth", "open_huggingface", "open_source"]


def open_source(
    name_or_path: str | Path,
    *,
    task: SourceTask = "none",
    size: int | tuple[int, int] | None = None,
    encoders: Mapping[str, Encoder] | None = None,
    classes: Sequence[str] | None = None,
    split_seed: int | None = None,
    max_train_examples: int | None = None,
    flip: bool = False,
    min_land: float | None = None,
    mode: Mode | None = None,
    fit: Fit | None = None,
    columns: Mapping[str, str] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    mask_column: str | None = None,
    config_name: str | None = None,
) -> Source:
    """A dataset by its name: a built-in source, a local folder, or a hub id. None is the source's own default.

    Args:
        name_or_path: one of `SOURCES`, a folder, or a hub id `owner/name`. A folder named like a built-in source is
            written with its path: `./earth`.
        task: what the examples' targets are: `none`, `classification` or `segmentation`.
        size: rows and columns of the pictures.
        encoders: to use instead of fitting normalisation to the training data, for example a pretrained model's.
        classes: names that the labels must have, in their order, for example a trained model's.
        split_seed: draws the splits where the data has none. Not the seed of a training run: keep it the same for
            pretraining, fine-tuning and evaluation.
        max_train_examples: take only so many training examples.
        flip: mirror (and on `earth` turn) training examples at random.
        min_land: `earth` only, see `open_earth`.
        mode: folders and hub only, see `open_huggingface`; so are the following.
        fit: how other shapes are brought to `size`.
        columns: modality -> column.
        image_column: short for `columns={"image": ...}`.
        label_column: column of classes.
        mask_column: column of masks.
        config_name: of a hub dataset that has several.

    Raises:
        ValueError: there is no such source, it has not such a setting, or its data cannot be used; in one line.
    """
    settings = {
        "size": size,
        "encoders": encoders,
        "classes": classes or None,
        "split_seed": split_seed,
        "max_train_examples": max_train_examples,
        "min_land": min_land,
        "mode": mode,
        "fit": fit,
        "columns": columns,
        "image_column": image_column,
        "label_column": label_column,
        "mask_column": mask_column,
        "config_name": config_name,
    }
    settings = {setting: value for setting, value in settings.items() if value is not None}
    name = str(name_or_path)
    opener = SOURCES.get(name) or partial(open_huggingface, _folder_or_hub_id(name))
    known = inspect.signature(opener).parameters
    # A source whose classes are what they are can only be asked whether it has them.
    expected = settings.pop("classes") if "classes" in settings and "classes" not in known else None
    if unknown := [setting for setting in settings if setting not in known]:
        raise ValueError(f"{unknown[0]}: the source {name!r} has no such setting, got {settings[unknown[0]]!r}")
    source = opener(task=task, flip=flip, **settings)
    if expected is not None and tuple(expected) != source.classes:
        has = ", ".join(source.classes) or "none"
        raise ValueError(f"classes: the source {name!r} has {has}; got {', '.join(expected)}")
    return source


def _folder_or_hub_id(name: str) -> str:
    if "/" in name or Path(name).expanduser().exists():
        return name
    close = difflib.get_close_matches(name, SOURCES, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    choices = f"{', '.join(SOURCES)}, a folder that exists, or a hub id owner/name"
    raise ValueError(f"source: expected {choices}, got {name!r}{hint}")
