"""`hip`: choose the command, read its options, run it, and turn mistakes into one line and an exit code."""

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from hiperceiver.cli.errors import UserError, describe
from hiperceiver.settings.base import did_you_mean
from hiperceiver.training.signals import taking_signals

USERS_MISTAKE = 2
INTERRUPTED = 130
_SPIN_COUNT = "2000"  # turns that a waiting thread of GNU's OpenMP, PyTorch's on Linux, spins before it sleeps
_TRAINING = ("lightning_fabric", "rich", "PIL")


class Command(NamedTuple):
    """One word after `hip`, such as `info`: `InfoSettings` in `settings/commands.py`, and `run` in `cli/info.py`."""

    summary: str  # what it does, in one line
    needs: tuple[str, ...]  # packages of extras without which it cannot run
    module: str | None = None  # of `cli/`, where its `run` is; None: that of its name


COMMANDS = {
    "pretrain": Command("learn from unlabelled data by masked auto-encoding", _TRAINING),
    "finetune": Command("learn a task from labels, pretrained or from scratch", _TRAINING),
    "evaluate": Command("measure a trained model on a split of a data set", _TRAINING),
    "predict": Command("label, segment, forecast or reconstruct files", ("PIL",)),
    "serve": Command(
        "show a trained model in the browser: drop a file, see its answer", ("gradio", "matplotlib", "PIL")
    ),
    "export": Command("write a trained model as ONNX or as a torch.export program", ("PIL",)),
    "plot": Command("draw reconstructions, positions, curves, segmentations, forecasts", ("matplotlib", "PIL")),
    "models": Command("list the trained models that have a name, or show the card of one", ("rich",)),
    "info": Command("list the models, or show what each block of one costs", ("rich",)),
    "runs": Command("list the runs below a folder: what they reached and cost", ("rich", "yaml"), "run_table"),
}
"""Every command, in the order of the help. A new one costs a line here, its settings and its module."""

_HELP = """\
usage: hip COMMAND [options]

The Hierarchical Perceiver: one network for any raw signal.

commands:
{commands}

hip COMMAND --help      shows the common options of a command.
hip COMMAND --help-all  shows all; --help WORD those with WORD in their names.
hip --version           shows the version."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `hip` with these arguments (None: those of the process).

    Gives 0: done. 1: done, but some files or pictures failed, each named. 2: a user's mistake. 130: interrupted, by
    SIGINT, SIGTERM or SIGUSR1.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _wait_briefly()  # before PyTorch is loaded
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold anything
    options: dict[str, str] = {}
    try:
        with taking_signals(_interrupt):
            code = _run(arguments, options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("hip: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        drop_output()
        return 0
    except Exception as error:
        message = describe(error, options)
        if message is None:
            raise
        print(f"hip: {message}", file=sys.stderr)
        return USERS_MISTAKE


def drop_output() -> None:
    """For a BrokenPipeError: who read our output has seen enough (`| head`), so nothing is flushed to them at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _wait_briefly() -> None:
    """Let waiting OpenMP threads sleep soon, unless the user chose otherwise; docs/scaling.md has the figures."""
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPIN_COUNT


def _run(arguments: list[str], options: dict[str, str]) -> int:
    """Run a command; `options` is filled with its options as the user spells them, by name."""
    name = arguments[0] if arguments else "--help"
    if name in ("--help", "-h", "help"):
        width = max(map(len, COMMANDS))
        lines = [f"  {each:{width}}  {command.summary}" for each, command in COMMANDS.items()]
        print(_HELP.format(commands="\n".join(lines)), flush=True)
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
    from hiperceiver.settings.commands import RunSettings
    from hiperceiver.training.launch import is_first_process

    options.update(option_names(settings_class(name)))
    parsed = read_command(name, arguments[1:])
    if parsed is None:
        return 0
    if (data := getattr(parsed, "data", None)) is not None:
        options.pop(os.path.normpath(data), None)  # mistakes in a folder that is called like an option begin so too
    if isinstance(parsed, RunSettings) and is_first_process():
        check_folder(parsed)
    elif isinstance(parsed, RunSettings):
        # Of processes that train together one talks.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for package in COMMANDS[name].needs:
        if find_spec(package) is None:
            raise ModuleNotFoundError(name=package)
    return import_module(f"hiperceiver.cli.{COMMANDS[name].module or name}").run(parsed)


def settings_class(name: str) -> Any:
    """The class of a command's settings."""
    return getattr(import_module("hiperceiver.settings.commands"), f"{name.title()}Settings")


def read_command(name: str, arguments: Sequence[str]) -> Any | None:
    """The settings that a command's arguments make; None if only help was wanted, which is printed."""
    from hiperceiver.cli.arguments import parse
    from hiperceiver.recipes import read_recipe

    return parse(
        settings_class(name),
        arguments,
        program=f"hip {name}",
        summary=COMMANDS[name].summary,
        read_recipe=lambda recipe: read_recipe(recipe, name),
    )
