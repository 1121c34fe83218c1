"""Saved models and runs of format 1 (releases up to 0.1) as the present version has them."""

from collections.abc import Mapping
from typing import Any

FORMAT = 2
"""Of what is written now: `format` in `config.json` and `settings.yaml`."""

TASK_FIELDS = {"ratio": "mask_ratio", "strategy": "mask_strategy"}
"""Old name of a task's field -> its name."""
ENCODER_FIELDS = {"mode": "colours"}
"""Old name of an encoder's field -> its name."""
OLD_FULL_SCALE = 65535.0
"""The full scale of pictures of more than 8 bits, before it was measured."""


def model_of_format_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """A `config.json` of format 1 in format 2."""
    encoders = {name: _renamed(each, ENCODER_FIELDS) for name, each in (values.get("encoders") or {}).items()}
    for encoder in encoders.values():
        if encoder.get("kind") == "image":
            encoder["full_scale"] = OLD_FULL_SCALE
    task = values.get("task")
    task = None if task is None else _renamed(task, TASK_FIELDS)
    return {**values, "format": FORMAT, "encoders": encoders, "task": task}


def settings_of_format_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """A `settings.yaml` of format 1 in format 2; splits are drawn as they were."""
    encoders = {name: _renamed(each, ENCODER_FIELDS) for name, each in (values.get("encoders") or {}).items()}
    return {**values, "encoders": encoders, "split_rule": "rows"}


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}
