"""Users' mistakes in one line; our own faults keep their traceback."""

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from hiperceiver.extras import missing_package
from hiperceiver.settings.base import one_line

PACKAGE = Path(__file__).parents[1]

_LONGEST = 900  # characters of a message: a file that it is about may have anything in it


class UserError(ValueError):
    """A user's mistake: what was given, what was expected, in one line."""


def describe(error: BaseException, options: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """A user's mistake in one line; None if it is none, but a fault of ours.

    A `ValueError` is a user's mistake where our own code raised it; one from inside another package is a fault of ours.
    """
    message = _message(error)
    if message is not None and len(message) > _LONGEST:
        message = f"{message[:_LONGEST]}..."
    return None if message is None else with_option_names(message, options)


def _message(error: BaseException) -> str | None:
    """As `describe`, of any length and with names of settings."""
    if isinstance(error, ModuleNotFoundError):
        return missing_package(error)
    if isinstance(error, OSError) and error.filename is not None:
        return one_line(f"{error.filename}: {error.strerror or type(error).__name__}")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"cannot write: {error.strerror}"  # a failed write does not know its file
    is_full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if is_full or (isinstance(error, RuntimeError) and "allocate mem" in str(error)):
        return f"out of memory; a smaller --batch-size or --size needs less: {one_line(error)[:200]}"
    if isinstance(error, RuntimeError) and (found := re.search(r"DataLoader worker .*", one_line(error))):
        return f"--num-workers: a process that loads data ended by itself: {found[0][:200]}"
    is_ours = isinstance(error, ValueError) and _comes_from_us(error)
    is_mistake = is_ours or type(error).__name__ == "MisconfigurationException"  # Lightning's
    return one_line(error) if is_mistake else None


def with_option_names(message: str, options: Mapping[str, str]) -> str:
    """A message that begins with a setting's name, with the option in its place.

    >>> with_option_names("batch_size: expected more", {"batch_size": "--batch-size"})
    '--batch-size: expected more'
    """
    name = re.match(r"(\w+\.?)([\w.]*)(?=\S*: )", message)
    if name is None or name[1] not in options:
        return message
    return options[name[1]] + name[2].replace("_", "-") + message[name.end() :]


@contextmanager
def renamed(names: Mapping[str, str]) -> Iterator[None]:
    """Mistakes inside speak of the user's options instead of what `names` has, see `with_option_names`."""
    try:
        yield
    except ValueError as error:
        if not _comes_from_us(error):
            raise
        raise UserError(with_option_names(one_line(error), names)) from None


def _comes_from_us(error: BaseException) -> bool:
    traceback = error.__traceback__
    if traceback is None:
        return True
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return Path(traceback.tb_frame.f_code.co_filename).is_relative_to(PACKAGE) or isinstance(error, UserError)
