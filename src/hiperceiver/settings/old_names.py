"""Saved models and runs of format 1 (releases up to 0.1) as the present version has them."""

from collections.abc import Mapping
from typing import Any

FORMAT = 2
"""Of what is written now: `format` in `config.json` and `settings.yaml`."""

TASK_FIELDS: dict[str, dict[str, str]] = {
    "masked-autoencoding": {"ratio": "mask_ratio", "strategy": "mask_strategy"},
}
"""Kind of task -> old name of a field -> its name."""

ENCODER_FIELDS: dict[str, dict[str, str]] = {"image": {"mode": "colours"}, "video": {"mode": "colours"}}
"""Kind of encoder -> old name of a field -> its name."""

OLD_FULL_SCALE = 65535.0
"""The full scale of pictures of more than 8 bits, before it was measured."""

SETTINGS: dict[str, str] = {}
"""Old name of a setting of a run -> its name."""

DROPPED_SETTINGS: tuple[str, ...] = ()
"""Settings of a run that there are no more."""


def model_of_format_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """A `config.json` of format 1 in format 2."""
    encoders = {name: _renamed(each, ENCODER_FIELDS) for name, each in (values.get("encoders") or {}).items()}
    for encoder in encoders.values():
        if encoder.get("kind") == "image":
            encoder["full_scale"] = OLD_FULL_SCALE
    task = values.get("task")
    return {
        **values,
        "format": FORMAT,
        "encoders": encoders,
        "task": None if task is None else _renamed(task, TASK_FIELDS),
    }


def settings_of_format_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """A `settings.yaml` of format 1 in format 2; splits are drawn as they were."""
    kept = {SETTINGS.get(name, name): value for name, value in values.items() if name not in DROPPED_SETTINGS}
    old = {old: new for fields in ENCODER_FIELDS.values() for old, new in fields.items()}
    encoders = {
        modality: {old.get(name, name): value for name, value in fields.items()}
        for modality, fields in (kept.get("encoders") or {}).items()
    }
    return {**kept, "encoders": encoders, "split_rule": "rows"}


def _renamed(values: Mapping[str, Any], fields: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    names = fields.get(str(values.get("kind")), {})
    return {names.get(name, name): value for name, value in values.items()}
