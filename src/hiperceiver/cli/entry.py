"""`hip`: choose the command, read its options, run it, and turn mistakes into one line and an exit code."""

import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from hiperceiver.cli.errors import UserError, describe
from hiperceiver.settings.base import did_you_mean

USERS_MISTAKE = 2
INTERRUPTED = 130

_SPIN_COUNT = "20000"
"""Turns that a waiting OpenMP thread spins before it sleeps, of GNU's library, which PyTorch brings on Linux."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One word after `hip`."""

    summary: str
    """What it does, in one line."""
    settings: str
    """Name of its dataclass in `hiperceiver.settings.commands`."""
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
        0: done. 1: done, but some files or pictures failed, each named. 2: a user's mistake, in one line.
        130: interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _wait_briefly()
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


def _wait_briefly() -> None:
    """Let OpenMP threads that wait for each other sleep soon, unless the user says otherwise; before PyTorch is loaded.

    By default they spin for milliseconds, which on a shared machine keeps the thread they wait for off its core;
    docs/scaling.md has the figures.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPIN_COUNT


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
        raise UserError(f"expected a command among {', '.join(COMMANDS)}, got {name!r}{did_you_mean(name, COMMANDS)}")
    from hiperceiver.cli.options import option_names
    from hiperceiver.cli.results import check_folder
    from hiperceiver.settings import commands
    from hiperceiver.training.launch import is_first_process

    command = COMMANDS[name]
    options.update(option_names(getattr(commands, command.settings)))
    parsed = read_command(name, arguments[1:])
    if parsed is None:
        return 0
    if isinstance(parsed, commands.RunSettings) and is_first_process():
        check_folder(parsed)
    elif isinstance(parsed, commands.RunSettings):
        # Of processes that train together one talks.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for package in command.needs:
        if find_spec(package) is None:
            raise ModuleNotFoundError(name=package)
    run: Callable[[Any], int] = import_module(command.module).run
    return run(parsed)


def read_command(name: str, arguments: Sequence[str]) -> Any | None:
    """The settings that a command's arguments make; None if only help was wanted, which is printed.

    Raises:
        UserError: an argument or a file that the command does not understand.
    """
    from hiperceiver.cli.arguments import parse
    from hiperceiver.recipes import read_recipe
    from hiperceiver.settings import commands

    return parse(
        getattr(commands, COMMANDS[name].settings),
        arguments,
        program=f"hip {name}",
        summary=COMMANDS[name].summary,
        read_recipe=lambda recipe: read_recipe(recipe, name),
    )


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
            "hip COMMAND --help      shows the common options of a command.",
            "hip COMMAND --help-all  shows all; --help WORD those with WORD in their names.",
            "hip --version           shows the version.",
        ]
    )
