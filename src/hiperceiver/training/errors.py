"""What ends a run before its time."""

from collections.abc import Iterator
from contextlib import contextmanager

from hiperceiver.settings.base import one_line


class TrainingError(ValueError):
    """Training cannot go on. The message is one line for the user: what happened, and what is left."""


@contextmanager
def write_errors(message: str, then: str = "", kinds: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """Turn a failed write, as on a full disk, into a `TrainingError`: the message, the reason, and what is left.

    The reason is the operating system's where there is one: others speak of what they were doing when it came.
    """
    try:
        yield
    except kinds as error:
        raise TrainingError(f"{message} ({_first_cause(error)}){then}") from None


def _first_cause(error: BaseException) -> str:
    """What the operating system said first of the errors that led to this one, or else what this one says."""
    reason = one_line(error)[:200]
    cause: BaseException | None = error
    while cause is not None:
        reason = getattr(cause, "strerror", None) or reason
        cause = cause.__cause__ or cause.__context__
    return reason
