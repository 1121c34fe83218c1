"""`hip`: choose the command, read its options, run it, and turn mistakes into one line and an exit code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from hiperceiver.cli.errors import UserError, closest, describe

USERS_MISTAKE = 2
INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Command:
    """One word after `hip`."""

    summary: str
    """What it does, in one line."""
    settings: str
    """Name of its dataclass in `hiperceiver.cli.settings`."""
    module: str
    """Where its `run(settings) -> exit code` lives."""
    needs: tuple[str, ...]
    """Packages of extras that it cannot do without."""


COMMANDS = {
    "pretrain": Command(
        summary="learn from unlabelled data by masked auto-encoding",
        settings="PretrainSettings",
        module="hiperceiver.cli.pretrain",
        needs=("lightning", "torchmetrics", "rich", "PIL"),
    ),
    "finetune": Command(
        summary="learn a task from labels, pretrained or from scratch",
        settings="FinetuneSettings",
        module="hiperceiver.cli.finetune",
        needs=("lightning", "torchmetrics", "rich", "PIL"),
    ),
    "evaluate": Command(
        summary="measure a trained model on a split of a data set",
        settings="EvaluateSettings",
        module="hiperceiver.cli.evaluate",
        needs=("lightning", "torchmetrics", "rich", "PIL"),
    ),
    "predict": Command(
        summary="label, segment, forecast or reconstruct files",
        settings="PredictSettings",
        module="hiperceiver.cli.predict",
        needs=("PIL",),
    ),
    "plot": Command(
        summary="draw reconstructions, positions, curves, segmentations, forecasts",
        settings="PlotSettings",
        module="hiperceiver.cli.plot",
        needs=("matplotlib", "PIL"),
    ),
    "info": Command(
        summary="list the models, or show what each block of one costs",
        settings="InfoSettings",
        module="hiperceiver.cli.info",
        needs=("rich",),
    ),
}
"""Every command, in the order of the help. A new one costs a line here, its settings and its module."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `hip` with these arguments (None: those of the process).

    Returns:
        0: done. 1: done, but some of what was asked for failed, and was named. 2: a user's mistake, told in one line.
        130: interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold anything
    options: dict[str, str] = {}
    try:
        code = _run(arguments, options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("hip: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Who read our output has seen enough (`hip info | head`). Nothing may be flushed to them at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        message = describe(error, options)
        if message is None:
            raise
        print(f"hip: {message}", file=sys.stderr)
        return USERS_MISTAKE


def _run(arguments: list[str], options: dict[str, str]) -> int:
    """Run a command; `options` is filled with its options as the user spells them, by name."""
    name = arguments[0] if arguments else "--help"
    if name in ("--help", "-h", "help"):
        print(_help(), flush=True)
        if not arguments:
            raise UserError("a command is missing")
        return 0
    if name in ("--version", "-V"):
        from importlib.metadata import version

        print(f"hip {version('hiperceiver')}")
        return 0
    if name not in COMMANDS:
        raise UserError(f"expected a command among {', '.join(COMMANDS)}, got {name!r}{closest(name, COMMANDS)}")
    from hiperceiver.cli import parser, settings
    from hiperceiver.cli.results import check_folder
    from hiperceiver.recipes import read_recipe
    from hiperceiver.training.launch import is_first_process

    command = COMMANDS[name]
    schema = parser.Schema.of(getattr(settings, command.settings), program=f"hip {name}", summary=command.summary)
    options.update({name: option.spelled for name, option in schema.options.items()})
    parsed = parser.parse(schema, arguments[1:], read_recipe=lambda recipe: read_recipe(recipe, name))
    if parsed is None:
        return 0
    if isinstance(parsed, settings.RunSettings) and is_first_process():
        check_folder(parsed)
    elif isinstance(parsed, settings.RunSettings):
        # Of processes that train together one talks.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for package in command.needs:
        if find_spec(package) is None:
            raise ModuleNotFoundError(name=package)
    run: Callable[[Any], int] = import_module(command.module).run
    return run(parsed)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: hip COMMAND [options]",
            "",
            "The Hierarchical Perceiver: one network for any raw signal.",
            "",
            "commands:",
            *lines,
            "",
            "hip COMMAND --help  shows the options of a command.",
            "hip --version       shows the version.",
        ]
    )
