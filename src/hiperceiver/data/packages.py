"""Packages that only some users need: imported when first used, and named with the command that installs them."""

from importlib import import_module
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
