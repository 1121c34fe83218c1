"""Every setting of every command as a page: `python -m tools.settings_page` writes docs/settings.md."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hiperceiver.cli.entry import COMMANDS, settings_class
from hiperceiver.cli.options import Option, every_option
from hiperceiver.settings.augment import AugmentSettings
from hiperceiver.settings.base import Settings, default_of, in_words, is_required
from hiperceiver.settings.data import DATA_SETTINGS
from hiperceiver.settings.encoders import ENCODER_SETTINGS
from hiperceiver.settings.model import ARCHITECTURES
from hiperceiver.settings.tasks import LEARNED

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"

_BEGINNING = """\
# Settings

Every setting of every command, with what it may be and its default. They are given as options (`--max-time 4m`), in
YAML files (`--config`; there a name has `_` for `-` and no dashes before it: `max_time: 4m`), and by recipes;
[the command line](command-line.md#options) says which of them wins. `--print-config` prints those of a run; `null` is
what is not set. In Python the same names are fields of the classes in `hiperceiver.settings`.

*`make docs` writes this page from the source.*

## Commands
"""
_NESTED: Mapping[str, tuple[str, str, Mapping[str, type[Settings]]]] = {
    "model_settings": ("Models", "Of the architecture; what `hip info` lists are values of these.", ARCHITECTURES),
    "task_settings": ("Tasks", "Of the task that `--task` names.", LEARNED),
    "encoders": (
        "Encoders",
        "How modalities are read, each by its name.",
        ENCODER_SETTINGS,
    ),
    "data_settings": (
        "Data sets and layouts",
        "Of what `--data` names, or of its layout.",
        DATA_SETTINGS,
    ),
}
"""Settings that hold those of one of several classes: title, beginning, the classes."""
_LONG = 60
"""Characters of a default that is a table of its own."""


def settings_page() -> str:
    """The page in Markdown."""
    groups: dict[str, dict[str, Option]] = {}  # by title, then by name
    commands: dict[str, list[str]] = {}  # by title of a group
    for command in COMMANDS:
        for option in every_option(settings_class(command)):
            if option.name.partition(".")[0] in _NESTED and "." in option.name:
                continue
            title = "Augmentations" if option.name.startswith("augment.") else re.split(r"[,:]", option.group)[0]
            groups.setdefault(title, {})[option.name] = option
            if command not in commands.setdefault(title, []):
                commands[title].append(command)

    lines = [_BEGINNING, "| command | its settings |", "| --- | --- |"]
    for command in COMMANDS:
        titles = [f"[{title}](#{_anchor(title)})" for title in groups if command in commands[title]]
        lines.append(f"| `hip {command}` | {', '.join(titles)} |")
    for title, options in groups.items():
        lines += ["", f"## {title}", "", f"Of {', '.join(f'`hip {command}`' for command in commands[title])}."]
        if title == "Augmentations":
            lines.append(f"{' '.join((AugmentSettings.__doc__ or '').split())} As `--augment.NAME`.")
        lines += _table(list(options.values()))
    for name, (title, beginning, classes) in _NESTED.items():
        lines += ["", f"## {title}", "", beginning]
        for kind, cls in classes.items():
            prefix = f"{name}.{kind}." if name == "encoders" else f"{name}."
            shown = f"`--{prefix}NAME`".replace("_", "-")
            lines += ["", f"### {title}: {kind}", "", f"{_cell(' '.join((cls.__doc__ or '').split()))} As {shown}."]
            lines += _table(list(every_option(cls)))
    return "\n".join(lines) + "\n"


def _anchor(title: str) -> str:
    return re.sub(r"[^\w-]+", "-", title.lower())


def _table(options: Sequence[Option]) -> list[str]:
    lines = ["", "| setting | is | default | means |", "| --- | --- | --- | --- |"]
    for option in options:
        value = json.dumps(_rounded(default_of(option.field)))
        default = "required" if is_required(option.field) else f"`{value}`" if len(value) < _LONG else "below"
        name = option.name.upper() if option.is_positional else option.name.removeprefix("augment.").replace("_", "-")
        cells = (f"`{name}`", _cell(in_words(option.hint)), default, _cell(option.text))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _rounded(value: Any) -> Any:
    """With numbers as a person writes them."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def _cell(text: str) -> str:
    """A text in a table: what Markdown would take for its own is escaped outside of code."""
    parts = re.split(r"(`[^`]*`)", text.replace("None", "null"))
    escaped = (part if part.startswith("`") else re.sub(r"([<*\[\]])", r"\\\1", part) for part in parts)
    return "".join(escaped).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
