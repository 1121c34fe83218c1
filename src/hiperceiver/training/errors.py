"""What ends a run before its time."""

from __future__ import annotations


class TrainingError(ValueError):
    """Training cannot go on. The message is one line for the user: what happened, and what is left."""
