"""Saved models and runs of earlier versions: their names, and today's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TASK_FIELDS: dict[str, dict[str, str]] = {
    "masked-autoencoding": {"ratio": "mask_ratio", "strategy": "mask_strategy"},
}
"""Kind of task -> old name of a field -> its name."""
ENCODER_FIELDS: dict[str, dict[str, str]] = {"image": {"mode": "colours"}, "video": {"mode": "colours"}}
"""Kind of encoder -> old name of a field -> its name."""
OLD_FULL_SCALE = 65535.0
"""The full scale of pictures of more than 8 bits, before it was measured."""


def read_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run or a YAML file, by their present names."""
    return dict(values)
