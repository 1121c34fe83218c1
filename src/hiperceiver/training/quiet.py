"""Lightning without its announcements."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_WARNINGS = {
    # Lightning 2.6 builds PyTorch's trees as PyTorch 2.13 no longer likes it.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated": FutureWarning,
    # Data in memory is read faster by the training process itself; `num_workers` is the user's to set.
    r".*does not have many workers": UserWarning,
    # What is frozen whole is kept in evaluation mode on purpose.
    r"Found \d+ module\(s\) in eval mode at the start of training": UserWarning,
    # `accelerator="cpu"` beside a GPU is the user's wish.
    r"GPU available but not used": UserWarning,
}
"""What Lightning warns of although it is as it should be: pattern -> category."""


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's hardware report, its tips, and known needless warnings from the user."""
    hook = threading.excepthook
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        threading.excepthook = lambda args: None if _is_told_elsewhere(args) else hook(args)
        with warnings.catch_warnings():
            for pattern, category in _WARNINGS.items():
                warnings.filterwarnings("ignore", message=pattern, category=category)
            yield
    finally:
        threading.excepthook = hook
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _is_told_elsewhere(args: threading.ExceptHookArgs) -> bool:
    """Whether TensorBoard's writing thread could not write: the training loop learns of it at the next row."""
    return isinstance(args.exc_value, OSError) and type(args.thread).__name__ == "_AsyncWriterThread"
