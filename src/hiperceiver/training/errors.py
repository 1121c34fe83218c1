"""What ends a run before its time."""

from collections.abc import Iterator
from contextlib import contextmanager


class TrainingError(ValueError):
    """Training cannot go on. The message is one line for the user: what happened, and what is left."""


@contextmanager
def write_errors(message: str, then: str = "", kinds: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """Turn a failed write, as on a full disk, into a `TrainingError`: the message, the reason, and what is left."""
    try:
        yield
    except kinds as error:
        raise TrainingError(f"{message} ({one_line(error)}){then}") from None


def one_line(error: Exception) -> str:
    """The error's text without line breaks; the system's own words where they are given."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
