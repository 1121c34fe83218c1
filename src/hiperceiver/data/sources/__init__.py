"""Sources: datasets that are ready for the loaders, one a file.

Two tables have what there is: `SOURCES`, the built-in sets, by name; and `LAYOUTS`, how the files of a folder may lie,
which are recognised by what lies in it. Everything else is a data set of the Hugging Face hub.
"""

import dataclasses
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hiperceiver.data.sources import audioset, folder, imagenet, kinetics, modelnet40, tables, voc, webdataset
from hiperceiver.data.sources.clip import open_clip
from hiperceiver.data.sources.earth import open_earth
from hiperceiver.data.sources.instruments import open_instruments
from hiperceiver.data.sources.languages import open_languages
from hiperceiver.data.sources.source import Baseline, Source, SourceOptions
from hiperceiver.data.sources.tree import Tree
from hiperceiver.data.sources.watch import open_watch
from hiperceiver.settings.base import Settings
from hiperceiver.settings.data import DATA_SETTINGS, NoSettings, SourceTask, TableSettings

__all__ = [
    "LAYOUTS",
    "SOURCES",
    "Baseline",
    "BuiltIn",
    "Found",
    "Layout",
    "Source",
    "SourceOptions",
    "SourceTask",
    "find_source",
    "open_source",
]


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """A set that installs with a package: what opens it, and what is learned on it by default; see `Found`."""

    open: Callable[[Any, SourceOptions], Source]
    task: SourceTask


@dataclass(frozen=True)
class Layout:
    """How the files of a folder lie: as `BuiltIn`, and whether a folder looks like it."""

    open: Callable[[Tree, Any, SourceOptions], Source]
    matches: Callable[[Tree], bool]
    task: SourceTask


SOURCES: dict[str, BuiltIn] = {
    "earth": BuiltIn(open=open_earth, task="segmentation"),
    "watch": BuiltIn(open=open_watch, task="classification"),
    "instruments": BuiltIn(open=open_instruments, task="classification"),
    "languages": BuiltIn(open=open_languages, task="classification"),
    "clip": BuiltIn(open=open_clip, task="none"),
}
"""The built-in sets by name."""

LAYOUTS: dict[str, Layout] = {
    "voc": Layout(voc.open_voc, voc.matches, "segmentation"),
    "audioset": Layout(audioset.open_audioset, audioset.matches, "multilabel"),
    "kinetics": Layout(kinetics.open_kinetics, kinetics.matches, "classification"),
    "modelnet40": Layout(modelnet40.open_modelnet40, modelnet40.matches, "classification"),
    "tinyimagenet": Layout(imagenet.open_tinyimagenet, imagenet.matches_tiny, "classification"),
    "imagenet": Layout(imagenet.open_imagenet, imagenet.matches, "classification"),
    "webdataset": Layout(webdataset.open_webdataset, webdataset.matches, "classification"),
    "table": Layout(tables.open_table, tables.matches, "classification"),
    "folder": Layout(folder.open_folder, lambda tree: True, "classification"),
}
"""The layouts by name, in the order in which a folder is compared with them; any folder is one of files."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Data that is there, before it is opened: a folder is listed by now."""

    name: str  # as the user gave it
    open: Callable[[Any, SourceOptions], Source]  # opens it, with its own settings and those of any source
    task: SourceTask  # what is learned on it by default
    settings: type[Settings]  # its own settings
    layout: str | None = None  # one of `LAYOUTS` for a folder
    num_leftovers: int = 0  # of a folder: hidden files and leftovers of systems


def find_source(name_or_path: str | Path, layout: str | None = None, *, are_columns_named: bool = False) -> Found:
    """What a name means: a built-in set, a folder and its layout, or a data set of the hub.

    Args:
        name_or_path: one of `SOURCES`, a folder (`./earth` if it is named like one of these), or a hub id `owner/name`.
        layout: one of `LAYOUTS`; None: the one that the folder looks like.
        are_columns_named: whether the user names columns: then a CSV file of any name is a table.

    Raises:
        ValueError: there is no such source; in one line.

    >>> find_source("earth").task
    'segmentation'
    """
    name = str(name_or_path)
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"layout: expected one of {', '.join(LAYOUTS)}, got {layout!r}")
    if name in SOURCES:
        if layout is not None:
            raise ValueError(f"layout: not for the built-in set {name!r}, got {layout!r}; a folder is ./{name}")
        return Found(name=name, settings=DATA_SETTINGS.get(name, NoSettings), **vars(SOURCES[name]))
    path = Path(name).expanduser()
    if not path.exists() and "/" not in name:
        close = difflib.get_close_matches(name, SOURCES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        choices = f"{', '.join(SOURCES)}, a folder that exists, or a hub id owner/name"
        raise ValueError(f"source: expected {choices}, got {name!r}{hint}")
    if not path.exists() and layout is None:
        opener = partial(tables.open_hub, name)
        return Found(name=name, settings=TableSettings, open=opener, task=LAYOUTS["table"].task)
    tree = Tree(name)
    layout = layout or _find_layout(tree, are_columns_named)
    return Found(
        name=name,
        open=partial(LAYOUTS[layout].open, tree),
        task=LAYOUTS[layout].task,
        settings=DATA_SETTINGS.get(layout, NoSettings),
        layout=layout,
        num_leftovers=tree.num_leftovers,
    )


def _find_layout(tree: Tree, are_columns_named: bool) -> str:
    """The layout that a folder looks like."""
    if are_columns_named and tables.table_files(tree, are_columns_named=True):
        return "table"
    fitting = [name for name, each in LAYOUTS.items() if each.matches(tree)]
    # Any folder is one of files, and the lists of a published layout are tables.
    others = [name for name in fitting[1:] if name != "folder" and (name != "table" or fitting[0] == "webdataset")]
    if others or (fitting[0] == "webdataset" and folder.holds_media(tree)):
        raise ValueError(f"layout: {tree.root} fits {', '.join(fitting)}, expected one of them to be chosen")
    return fitting[0]


_NAME_COLUMNS = ("columns", "label_column", "label_columns", "value_columns", "mask_column")


def open_source(
    found: str | Path | Found,
    *,
    layout: str | None = None,
    size: int | tuple[int, int] | None = None,
    colours: str | None = None,
    fit: str | None = None,
    **settings: Any,
) -> Source:
    """A dataset by its name. None is the source's own default.

    Args:
        found: a name or path as for `find_source`, or what that gave.
        layout: as for `find_source`.
        size: rows and columns of pictures and videos, short for `encoder_settings={"*": {"size": size}}`.
        colours: their channels, `L`, `RGB` or `RGBA`, likewise.
        fit: how other shapes are brought to `size`, likewise.
        settings: the fields of `SourceOptions`, and the source's own: see `Found.settings`.

    Raises:
        ValueError: there is no such source, it has not such a setting, or its data cannot be used; in one line.
    """
    settings = {setting: value for setting, value in settings.items() if value is not None}
    if not isinstance(found, Found):
        found = find_source(found, layout, are_columns_named=any(name in settings for name in _NAME_COLUMNS))
    own = {each.name for each in dataclasses.fields(found.settings)}
    common = {each.name for each in dataclasses.fields(SourceOptions)}
    for_all = dict(settings.get("encoder_settings", {}).get("*", {}))
    for short, value in {"size": size, "colours": colours, "fit": fit}.items():
        if value is not None and short in own:
            settings[short] = value
        elif value is not None:
            for_all[short] = list(value) if isinstance(value, tuple) else value
    if for_all:
        settings["encoder_settings"] = {**settings.get("encoder_settings", {}), "*": for_all}
    if unknown := [setting for setting in settings if setting not in own | common]:
        has = ", ".join(sorted(own)) or "none of its own"
        raise ValueError(f"{unknown[0]}: the source {found.name!r} has no such setting; it has {has}")
    options = SourceOptions(**{setting: value for setting, value in settings.items() if setting in common})
    own_settings = found.settings(**{setting: value for setting, value in settings.items() if setting in own})
    source = found.open(own_settings, options)
    return dataclasses.replace(source, layout=found.layout or "", num_leftovers=found.num_leftovers)
