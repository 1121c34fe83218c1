"""The switch of all fast paths."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_is_on = os.environ.get("HIPERCEIVER_FAST", "1") != "0"


def is_on() -> bool:
    """Whether fast paths may be taken in this process."""
    return _is_on


@contextmanager
def plain() -> Iterator[None]:
    """Switch the fast paths off inside a `with` block: the model computes its formulas as they are written.

    >>> with plain():
    ...     print(is_on())
    False
    """
    global _is_on
    before, _is_on = _is_on, False
    try:
        yield
    finally:
        _is_on = before
