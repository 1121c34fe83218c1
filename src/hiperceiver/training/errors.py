"""What ends a run before its time."""


class TrainingError(ValueError):
    """Training cannot go on. The message is one line for the user: what happened, and what is left."""
