"""The library `datasets` while it reads: without its chatter, and its errors in one line."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from hiperceiver.data.packages import import_extra


@contextlib.contextmanager
def reading(fault: str) -> Iterator[Any]:
    """`datasets` without progress bars and chatter; its many kinds of errors become a `ValueError` of one line."""
    datasets = import_extra("datasets", extra="data")
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    are_bars_off = datasets.utils.are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    datasets.utils.disable_progress_bars()
    try:
        yield datasets
    except Exception as error:
        raise ValueError(f"{fault}: {one_line(error)}") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not are_bars_off:
            datasets.utils.enable_progress_bars()


def one_line(error: Exception) -> str:
    """What an exception says, in one line.

    >>> one_line(OSError("no   such file"))
    'no such file'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}..."
