"""Checks of encoders' settings that several encoders share."""

from __future__ import annotations

from collections.abc import Sequence


def check_count(name: str, value: object) -> None:
    """Refuse what is no whole number >= 1.

    >>> check_count("length", 0)
    Traceback (most recent call last):
    ValueError: length: expected a whole number >= 1, got 0
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}: expected a whole number >= 1, got {value!r}")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is not among the choices.

    >>> check_choice("fit", "zoom", ["resize", "crop"])
    Traceback (most recent call last):
    ValueError: fit: expected one of resize, crop, got 'zoom'
    """
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
