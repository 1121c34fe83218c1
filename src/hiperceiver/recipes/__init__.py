"""Documented runs: each module has its commands, their cost and their results.

A recipe is a module with settings by option name: `PRETRAIN` of `hip pretrain`, `FINETUNE` of `hip finetune`, `BOTH` of
the two. They hold unless the user gives others. `hip pretrain --recipe earth`, then `hip finetune --recipe earth`. One
of the two may be missing: then nothing is learned from labels, or all from scratch.
"""

from importlib import import_module
from types import ModuleType
from typing import Any

from hiperceiver.settings.base import did_you_mean

RECIPES = (
    *("earth", "earth-classes", "watch", "instruments", "languages", "clip"),
    *("imagenet", "audioset", "voc", "modelnet40", "kinetics"),
)
"""Each is the module of that name, with `_` for `-`."""


def recipe_module(name: str) -> ModuleType:
    """The module of a recipe, whose docstring has its commands, cost and results."""
    return import_module(f"hiperceiver.recipes.{name.replace('-', '_')}")


def recipe_commands(name: str) -> tuple[str, ...]:
    """The commands that a recipe has settings for: `pretrain`, `finetune` or both.

    >>> recipe_commands("clip")
    ('pretrain',)
    """
    module = recipe_module(name)
    return tuple(command for command in ("pretrain", "finetune") if hasattr(module, command.upper()))


def read_recipe(name: str, command: str) -> dict[str, Any]:
    """The settings of a recipe for a command: `pretrain`, or `finetune`, which ends with a test.

    Where a recipe has both, the second goes on from the first.

    Raises:
        ValueError: there is no such recipe, or it has nothing for the command.

    >>> read_recipe("watch", "finetune")["data"]
    'watch'
    """
    if name not in RECIPES:
        raise ValueError(f"recipe: expected one of {', '.join(RECIPES)}, got {name!r}{did_you_mean(name, RECIPES)}")
    module, commands = recipe_module(name), recipe_commands(name)
    if command not in commands:
        raise ValueError(f"recipe: {name!r} has nothing for this command, it is for hip {commands[0]}")
    start: dict[str, Any] = {"test": True} if command == "finetune" else {}
    if start and "pretrain" in commands:
        start["from"] = f"runs/{name}/pretrain"
    own = getattr(module, command.upper())
    return {"recipe": name, "out": f"runs/{name}/{command}", **start, **getattr(module, "BOTH", {}), **own}
