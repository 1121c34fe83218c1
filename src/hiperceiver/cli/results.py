"""Files that a command writes for other programs: never over something that is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hiperceiver.cli.errors import UserError


def check_new(path: str | None, option: str) -> None:
    """Refuse a file that exists already or cannot be there, before anything slow is done."""
    if path is None:
        return
    if Path(path).exists():
        raise UserError(f"{option}: {path} exists already")
    if not Path(path).absolute().parent.is_dir():
        raise UserError(f"{option}: {Path(path).parent} is no folder")


def write_json(path: str | None, values: Any) -> None:
    """Write plain values; nothing for no path."""
    if path is not None:
        Path(path).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
