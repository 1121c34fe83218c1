"""What ends a run before its time."""

from collections.abc import Iterator
from contextlib import contextmanager

from hiperceiver.settings.base import one_line


class TrainingError(ValueError):
    """Training cannot go on. The message is one line for the user: what happened, and what is left."""


@contextmanager
def write_errors(message: str, then: str = "", kinds: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """Turn a failed write, as on a full disk, into a `TrainingError`: the message, the reason, and what is left."""
    try:
        yield
    except kinds as error:
        reason = getattr(error, "strerror", None) or one_line(error)[:200]
        raise TrainingError(f"{message} ({reason}){then}") from None
