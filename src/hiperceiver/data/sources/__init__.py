"""Sources: datasets that are ready for the loaders, one a file.

Two tables say what there is: `SOURCES`, the built-in sets, by name; and `LAYOUTS`, folders in the layouts in which
published sets come, which are recognised by what lies in them. Everything else is a folder of files or a table, local
or on the Hugging Face hub.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hiperceiver.data.sources import audioset, imagenet, kinetics, modelnet40, voc, webdataset
from hiperceiver.data.sources.clip import open_clip
from hiperceiver.data.sources.earth import open_earth
from hiperceiver.data.sources.huggingface import open_huggingface
from hiperceiver.data.sources.instruments import open_instruments
from hiperceiver.data.sources.languages import open_languages
from hiperceiver.data.sources.source import CommonOptions, Floor, Source, SourceTask
from hiperceiver.data.sources.watch import open_watch


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """A set that installs with a package."""

    open: Callable[..., Source]
    """Opens it; its keyword arguments are its settings and those of `CommonOptions`."""
    task: SourceTask
    """What is learned on it where the user does not say."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a published set lies in a folder."""

    open: Callable[..., Source]
    """Opens the folder; its keyword arguments are its settings and those of `CommonOptions`."""
    matches: Callable[[Path], bool]
    """Whether a folder looks like it, told from a few names."""
    task: SourceTask
    """What is learned on it where the user does not say."""


SOURCES: dict[str, BuiltIn] = {
    "earth": BuiltIn(open=open_earth, task="segmentation"),
    "watch": BuiltIn(open=open_watch, task="classification"),
    "instruments": BuiltIn(open=open_instruments, task="classification"),
    "languages": BuiltIn(open=open_languages, task="classification"),
    "clip": BuiltIn(open=open_clip, task="none"),
}
"""The built-in sets by name."""

LAYOUTS: dict[str, Layout] = {
    "voc": Layout(open=voc.open_voc, matches=voc.matches, task="segmentation"),
    "audioset": Layout(open=audioset.open_audioset, matches=audioset.matches, task="multilabel"),
    "kinetics": Layout(open=kinetics.open_kinetics, matches=kinetics.matches, task="classification"),
    "modelnet40": Layout(open=modelnet40.open_modelnet40, matches=modelnet40.matches, task="classification"),
    "imagenet": Layout(open=imagenet.open_imagenet, matches=imagenet.matches, task="classification"),
    "webdataset": Layout(open=webdataset.open_webdataset, matches=webdataset.matches, task="classification"),
}
"""The layouts by name, in the order in which a folder is compared with them."""

_SHORT = ("size", "colours", "fit")
"""Settings of pictures' encoders that may be given without saying so."""

__all__ = [
    "LAYOUTS",
    "SOURCES",
    "BuiltIn",
    "Floor",
    "Layout",
    "Source",
    "SourceTask",
    "default_task",
    "find_layout",
    "open_source",
]


def open_source(
    name_or_path: str | Path,
    *,
    layout: str | None = None,
    classes: Sequence[str] | None = None,
    size: int | tuple[int, int] | None = None,
    colours: str | None = None,
    fit: str | None = None,
    **settings: Any,
) -> Source:
    """A dataset by its name: a built-in set, a local folder, or a hub id. None is the source's own default.

    Args:
        name_or_path: one of `SOURCES`, a folder, or a hub id `owner/name`. A folder named like a built-in set is
            written with its path: `./earth`.
        layout: one of `LAYOUTS`; None: the one that the folder looks like, if any.
        classes: names that the labels must have, in their order, for example a trained model's.
        size: rows and columns of pictures and videos, short for `encoder_settings={"*": {"size": size}}`.
        colours: their channels, `L`, `RGB` or `RGBA`, likewise.
        fit: how other shapes are brought to `size`, likewise.
        settings: the fields of `CommonOptions`, and the source's own settings: see its `open_NAME`.

    Raises:
        ValueError: there is no such source, it has not such a setting, or its data cannot be used; in one line.
    """
    name = str(name_or_path)
    opener, _ = _find(name, layout)
    own = set(inspect.signature(opener).parameters)
    common = {each.name for each in CommonOptions.__dataclass_fields__.values()}
    settings = {setting: value for setting, value in settings.items() if value is not None}
    for_all = dict(settings.get("encoder_settings", {}).get("*", {}))
    for short, value in zip(_SHORT, (size, colours, fit), strict=True):
        if value is not None and short in own:
            settings[short] = value
        elif value is not None:
            for_all[short] = list(value) if isinstance(value, tuple) else value
    if for_all:
        settings["encoder_settings"] = {**settings.get("encoder_settings", {}), "*": for_all}
    if unknown := [setting for setting in settings if setting not in own | common]:
        has = ", ".join(sorted(own - {"common", "folder", "name_or_path"})) or "none of its own"
        raise ValueError(f"{unknown[0]}: the source {name!r} has no such setting; it has {has}")
    # A source whose classes are what they are can only be asked whether it has them.
    if classes and "classes" in own:
        settings["classes"] = classes
    source = opener(**settings)
    if classes and tuple(classes) != source.classes:
        has = ", ".join(source.classes) or "none"
        raise ValueError(f"classes: the source {name!r} has {has}; got {', '.join(classes)}")
    return source


def default_task(name_or_path: str | Path, layout: str | None = None) -> SourceTask:
    """What is learned on a source where the user does not say.

    >>> default_task("earth")
    'segmentation'
    """
    return _find(str(name_or_path), layout)[1]


def find_layout(folder: Path) -> str | None:
    """The layout that a folder looks like, if any."""
    return next((name for name, each in LAYOUTS.items() if each.matches(folder)), None)


def _find(name: str, layout: str | None) -> tuple[Callable[..., Source], SourceTask]:
    """What opens a source, and what is learned on it by default."""
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"layout: expected one of {', '.join(LAYOUTS)}, got {layout!r}")
    if name in SOURCES:
        if layout is not None:
            raise ValueError(f"layout: not for the built-in set {name!r}, got {layout!r}; a folder is ./{name}")
        return SOURCES[name].open, SOURCES[name].task
    folder = Path(name).expanduser()
    if not folder.exists() and "/" not in name:
        close = difflib.get_close_matches(name, SOURCES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        choices = f"{', '.join(SOURCES)}, a folder that exists, or a hub id owner/name"
        raise ValueError(f"source: expected {choices}, got {name!r}{hint}")
    if layout is None and folder.is_dir():
        layout = find_layout(folder)
    if layout is None:
        return partial(open_huggingface, name), "classification"
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    return partial(LAYOUTS[layout].open, folder), LAYOUTS[layout].task
