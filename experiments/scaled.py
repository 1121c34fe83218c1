"""`hip finetune` of a new model of which one part starts at other weights.

`python -m experiments.scaled --part latents --factor 5 ... --out FOLDER`; other options are those of `hip finetune`. A
run that was interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any

import torch

from hiperceiver.cli import finetune
from hiperceiver.cli.entry import main as hip
from hiperceiver.model.initialisation import init_truncated
from hiperceiver.tasks import Task

PARTS = {
    "latents": r"model\.blocks\.\d+\.latents",
    "embedding": r"model\.embedding\..*\.weight",
    "query": r"head\.query",
    "output": r"head\.output\.weight",
}
"""Names of a classifier's parameters. The output starts at 0: of it the factor is of the usual start, by fan-in."""


@torch.no_grad()
def scale(task: Task, part: str, factor: float) -> None:
    """Multiply the weights of a part."""
    found = [weight for name, weight in task.named_parameters() if re.fullmatch(PARTS[part], name)]
    if not found:
        raise ValueError(f"--part: {type(task).__name__} has no {part}")
    for weight in found:
        if part == "output":
            init_truncated(weight, weight.shape[1] ** -0.5)
        weight.mul_(factor)


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--part", required=True, choices=PARTS)
    parser.add_argument("--factor", type=float, required=True)
    given, options = parser.parse_known_args()
    make = finetune.task_from_settings

    def scaled(*arguments: Any) -> Task:
        task = make(*arguments)
        scale(task, given.part, given.factor)
        return task

    finetune.task_from_settings = scaled
    return hip(["finetune", *options, "--resume"])


if __name__ == "__main__":
    sys.exit(main())
