"""Packages that only some users need: their modules and data files, or the command that installs them."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def import_extra(module: str, *, extra: str) -> Any:
    """A module of another package that comes with one of our extras.

    Raises:
        ValueError: it is not installed; the message gives the command.

    >>> import_extra("not_there", extra="data")
    Traceback (most recent call last):
    ValueError: the package 'not_there' is missing: pip install 'hiperceiver[data]'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise ValueError(f"the package {missing!r} is missing: pip install 'hiperceiver[{extra}]'") from error


def packaged_files(package: str, pattern: str, *, source: str) -> list[Path]:
    """The files of a package, which is not imported, that match a pattern as for `Path.glob`, in order; at least one.

    `source` is the built-in source that needs them; the extra that installs them has its name.

    Raises:
        ValueError: there are none; the message gives the command.

    >>> packaged_files("not_there", "data/*.npy", source="watch")
    Traceback (most recent call last):
    ValueError: the source 'watch' needs data/*.npy of not_there: pip install 'hiperceiver[watch]'
    """
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:  # the package above it is not there
        spec = None
    for folder in (spec and spec.submodule_search_locations) or ():
        if found := sorted(Path(folder).glob(pattern)):
            return found
    raise ValueError(f"the source {source!r} needs {pattern} of {package}: pip install 'hiperceiver[{source}]'")
