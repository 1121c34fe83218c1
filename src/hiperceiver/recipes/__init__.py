"""Documented runs: each module has its commands, their cost and their results.

A recipe is a module with settings by option name: `PRETRAIN` of `hip pretrain`, `FINETUNE` of `hip finetune`, `BOTH` of
the two. They hold unless the user gives others. `hip pretrain --recipe watch`, then `hip finetune --recipe watch`.
"""

from importlib import import_module
from typing import Any

from hiperceiver.settings.base import did_you_mean

RECIPES = (
    *("earth", "watch", "instruments", "languages", "clip"),
    *("imagenet", "audioset", "voc", "modelnet40", "kinetics"),
)
"""Each is the module of that name."""


def read_recipe(name: str, command: str) -> dict[str, Any]:
    """The settings of a recipe for a command: `pretrain`, or `finetune`, which goes on from there and ends with a test.

    Raises:
        ValueError: there is no such recipe, or it has nothing for the command.

    >>> read_recipe("watch", "pretrain")["data"]
    'watch'
    """
    if name not in RECIPES:
        raise ValueError(f"recipe: expected one of {', '.join(RECIPES)}, got {name!r}{did_you_mean(name, RECIPES)}")
    module = import_module(f"hiperceiver.recipes.{name}")
    own = getattr(module, command.upper(), None)
    if own is None:
        raise ValueError(f"recipe: {name!r} has nothing for this command, it is for hip pretrain")
    start = {"from": f"runs/{name}/pretrain", "test": True} if command == "finetune" else {}
    return {"recipe": name, "out": f"runs/{name}/{command}", **start, **getattr(module, "BOTH", {}), **own}
