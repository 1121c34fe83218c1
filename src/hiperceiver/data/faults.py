"""Files come from strangers: whatever is wrong with one is a `ValueError` of one line that names its path."""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator

from hiperceiver import limits
from hiperceiver.limits import Fault, open_file
from hiperceiver.settings.base import one_line

__all__ = ["Fault", "faults_of", "open_file", "read_file"]

_LONGEST = 500  # characters of a reason: a file may have anything in it


@contextlib.contextmanager
def faults_of(
    raw: object, *, is_path: bool | None = None, reason_of: Callable[[Exception], str | None] | None = None
) -> Iterator[None]:
    """Whatever goes wrong within becomes a `ValueError` of one line that names the path, if `raw` is one.

    Args:
        raw: what is being read.
        is_path: whether it is a path; by default, whether it is a string or a path object.
        reason_of: a decoder's words for what it raises, None for all else; by default, a `ValueError` says what it is.

    >>> with faults_of("a.npy"):
    ...     raise KeyError("x")
    Traceback (most recent call last):
    ValueError: a.npy: cannot be decoded: 'x'
    """
    is_path = isinstance(raw, str | os.PathLike) if is_path is None else is_path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old headers and odd metadata, which change nothing
            yield
    except Exception as error:  # decoders raise many kinds on malformed files
        text = one_line(error)
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
        reason = None if reason_of is None else reason_of(error)
        if isinstance(error, Fault) or (reason_of is None and type(error) is ValueError):
            reason = text
        if reason is None and isinstance(error, MemoryError):
            raise
        path = f"{os.fspath(raw)}: " if is_path else ""  # type: ignore[arg-type]
        reason = reason or f"cannot be decoded: {text or type(error).__name__}"
        raise ValueError(path + reason.removeprefix(path)) from error


def read_file(path: str | os.PathLike[str], limit: int = -1) -> bytes:
    """A regular file's bytes, of which there must be some, and not more than `limits.FILE` allows.

    With a `limit` that is not negative, at most so many of a file of any size.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if limit < 0:
            limits.FILE.check(size, "has")
        content = file.read(size if limit < 0 else limit)
    if not content:
        raise Fault("is empty (0 bytes)")
    return content
