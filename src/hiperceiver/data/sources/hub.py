"""The Hugging Face hub, and `datasets` without its chatter."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from hiperceiver.data.packages import import_extra


def read_hub(name: str, config_name: str | None, *, is_streamed: bool = False) -> dict[str, Any]:
    """Split -> table, of a dataset of the hub. `datasets` runs no code that comes with it."""
    if len(name.split("/")) != 2 or name.startswith((".", "/", "~")) or not all(name.split("/")):
        raise ValueError(f"{name}: no such folder")
    with reading(f"{name}: no such folder, and cannot be read from the hub") as datasets:
        return dict(datasets.load_dataset(name, name=config_name, streaming=is_streamed))


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
