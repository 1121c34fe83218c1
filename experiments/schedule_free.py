"""`hip finetune` by a schedule-free optimizer: steps go from a mean of all weights so far, and the rate never falls.

`python -m experiments.schedule_free ... --out FOLDER`, with options of `hip finetune`, `--steps` among them; of `muon`
and `adamw` each becomes its schedule-free kind. A run that was interrupted begins anew.

Source: Defazio and others, "The Road Less Scheduled", arXiv 2405.15682.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from typing import Any

import torch

from hiperceiver.cli.entry import main as hip
from hiperceiver.settings.run import OptimizerName
from hiperceiver.training.optimizer import BETAS, OPTIMIZERS, MuonAdamW

MOMENTUM = 0.9
"""Share of the mean in the weights at which gradients are taken."""


class ScheduleFree(MuonAdamW):
    """Its moves without their momentum: the fast weights z take the step, x is their mean, gradients are those between.

    After `steps` steps the weights are the mean. Means are weighted by the square of the rate, so that the warm-up
    counts for little.
    """

    momentum = 0.0

    def __init__(self, groups: Any, *, steps: int):
        super().__init__(groups, betas=(0.0, BETAS[1]), fused=True)
        self.steps, self.count, self.weight = steps, 0, 0.0
        self.weights = [weight for group in self.param_groups for weight in group["params"]]
        self.fast = [weight.detach().clone() for weight in self.weights]
        self.mean = [weight.detach().clone() for weight in self.weights]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; as of the base class."""
        for weight, fast in zip(self.weights, self.fast, strict=True):
            weight.copy_(fast)
        loss = super().step(closure)
        self.count += 1
        new = min(group["lr"] / group["rate"] for group in self.param_groups) ** 2
        self.weight += new
        share = MOMENTUM if self.count < self.steps else 1.0
        for weight, fast, mean in zip(self.weights, self.fast, self.mean, strict=True):
            fast.copy_(weight)
            mean.lerp_(fast, new / self.weight)
            weight.lerp_(mean, share)
        return loss


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--optimizer", choices=("muon", "adamw"), required=True)
    given, options = parser.parse_known_args()
    shutil.rmtree(given.out, ignore_errors=True)

    def make(groups: list[dict[str, Any]]) -> ScheduleFree:
        is_muon = given.optimizer == "muon"
        return ScheduleFree([{**each, "use_muon": each["use_muon"] and is_muon} for each in groups], steps=given.steps)

    name: OptimizerName = given.optimizer
    OPTIMIZERS[name] = make
    own = ["--steps", str(given.steps), "--out", given.out, "--optimizer", name]
    return hip(["finetune", *options, *own, "--warmup", "0.05", "--flat", "0.9499"])


if __name__ == "__main__":
    sys.exit(main())
