"""Train a peer on what `hip finetune` trains on: same splits, encoders, random changes, time, and choice of weights.

`python -m experiments.peer --peer cnn --data FOLDER --max-time 4m --out FOLDER`; other options are those of `hip
finetune`. A run that was interrupted goes on from its checkpoint. Writes `test.json` as `hip finetune --test` does.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.peer_models import make_peer
from experiments.results import write_json
from hiperceiver.cli.data import find_data, open_data
from hiperceiver.cli.entry import read_command
from hiperceiver.data.baselines.pictures import segmentation_scores
from hiperceiver.data.loading import eval_loader, train_loader
from hiperceiver.data.targets import class_counts
from hiperceiver.modality import Batch
from hiperceiver.tasks import TASKS
from hiperceiver.tasks.losses import balanced_weights
from hiperceiver.training import seed_everything
from hiperceiver.training.progress import Display
from hiperceiver.training.randomness import random_state, restore_random_state
from hiperceiver.training.schedule import CheckpointPlan, RunClock, ValidationPlan, warmup_cosine
from hiperceiver.training.signals import stop_signals

_IGNORE = -100


class PeerRun:
    """A peer, its optimizer, and how far it has come."""

    def __init__(self, peer: str, settings: Any, source: Any, task: str):
        seed_everything(settings.seed)
        self.settings, self.source, self.is_dense = settings, source, task == "segmentation"
        first, *others = source.modalities.values()
        if any(each.grid != first.grid for each in others):
            raise ValueError(f"--modalities: expected one grid for a peer, got {', '.join(source.modalities)}")
        # Modalities on one grid are channels of one picture.
        modality = dataclasses.replace(first, channels=sum(each.channels for each in (first, *others)))
        self.names, self.grid, self.num_classes = tuple(source.modalities), modality.grid, len(source.classes)
        self.model = make_peer(peer, modality, self.num_classes, is_dense=self.is_dense)
        self.class_weights = None
        if settings.balance:
            counts = class_counts(source.splits["train"], self.num_classes)
            self.class_weights = torch.tensor(balanced_weights(counts, power=settings.balance))
        rate, decay = settings.learning_rate, settings.weight_decay
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=rate, weight_decay=decay, fused=True)
        self.state = {"step": 0, "seconds": 0.0, "best": {}}
        self.token_dropout = settings.task_settings.get("token_dropout", 0.0)
        self.best_weights = copy.deepcopy(self.model.state_dict())
        self.path = Path(settings.out) / "checkpoints" / "last.ckpt"

    def scores(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The model's scores with classes second, and the targets."""
        x = torch.cat([batch.present_tokens(name) for name in self.names], dim=2)
        if self.model.training and self.token_dropout:
            x = x * (torch.rand(*x.shape[:2], 1) >= self.token_dropout)
        scores = self.model(x.transpose(1, 2).unflatten(2, self.grid))
        target = batch.targets["segmentation" if self.is_dense else "label"]
        return (scores.flatten(2), target) if self.is_dense else (scores, target)

    def train(self) -> None:
        """Until steps or time are over; leaves the best weights in the model."""
        settings = self.settings
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.state, self.best_weights = saved["state"], saved["best_weights"]
            restore_random_state(saved["random"])
        state, size = self.state, settings.batch_size
        train, count = self.source.splits["train"], len(self.source.splits["validation"])
        clock = RunClock(steps=settings.steps, max_seconds=settings.max_seconds, earlier_seconds=state["seconds"])
        validations = ValidationPlan(
            every=settings.validate_every, num_examples=count, examples_per_step=size, clock=clock, step=state["step"]
        )
        checkpoints = CheckpointPlan(every=None, seconds=settings.checkpoint_every_seconds, is_saved=True)
        display = Display(clock, step=state["step"])
        smoothing = settings.task_settings.get("label_smoothing", 0.0)
        batches = iter(train_loader(train, batch_size=size, seed=settings.seed, start_batch=state["step"]))
        clock.start()
        display.start()
        is_over = clock.progress(state["step"]) == 1
        with stop_signals(display) as is_stop_requested:
            while not is_over:
                self.model.train()
                scores, target = self.scores(next(batches))
                loss = F.cross_entropy(
                    scores, target, self.class_weights, ignore_index=_IGNORE, label_smoothing=smoothing
                )
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), settings.gradient_clip or math.inf)
                progress = clock.progress(state["step"] + 0.5)
                share = warmup_cosine(progress, warmup=settings.warmup, final=settings.final_learning_rate)
                for group in self.optimizer.param_groups:
                    group["lr"] = settings.learning_rate * share
                self.optimizer.step()
                state["step"] += 1
                state["seconds"] = clock.elapsed
                display.update(state["step"], float(loss.detach()))
                is_over = clock.progress(state["step"]) == 1
                if validations.is_due(state["step"]) or is_over:
                    started = time.monotonic()
                    display.say(f"step {state['step']}, validation: {self.validate()}")
                    validations.add(time.monotonic() - started)
                if is_stop_requested() or checkpoints.is_due(state["step"]):
                    self.save()
                    checkpoints.add(0.0)
                if is_stop_requested():
                    sys.exit(130)
        self.model.load_state_dict(self.best_weights)

    def validate(self) -> dict[str, float]:
        """Keep the weights if they are the best so far."""
        measured, name = self.measure("validation"), "miou" if self.is_dense else "accuracy"
        best = self.state["best"]
        if not best or (measured[name], -measured["loss"]) > (best[name], -best["loss"]):
            self.state["best"] = {**measured, "step": self.state["step"]}
            self.best_weights = copy.deepcopy(self.model.state_dict())
        return measured

    @torch.no_grad()
    def measure(self, split: str) -> dict[str, float]:
        """Accuracy, mean loss, and mIoU of pixels on a split."""
        self.model.eval()
        loss, count = 0.0, 0
        confusion = torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64)
        for batch in eval_loader(self.source.splits[split], batch_size=64):
            scores, target = self.scores(batch)
            known = target != _IGNORE
            loss += float(F.cross_entropy(scores, target, ignore_index=_IGNORE, reduction="sum"))
            count += int(known.sum())
            pairs = target[known] * self.num_classes + scores.argmax(1)[known]
            confusion += pairs.bincount(minlength=self.num_classes**2).view_as(confusion)
        accuracy = float(confusion.diagonal().sum() / confusion.sum())
        return {
            "accuracy": accuracy,
            "loss": loss / count,
            **({"miou": segmentation_scores(confusion.numpy()).mean_iou} if self.is_dense else {}),
        }

    def save(self) -> None:
        """A whole checkpoint or the one before."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        values = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        values |= {"state": self.state, "best_weights": self.best_weights, "random": random_state()}
        torch.save(values, new := self.path.with_suffix(".new"))
        new.replace(self.path)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--peer", choices=("cnn", "vit", "fasttext"), required=True)
    own, others = parser.parse_known_args(arguments)
    settings: Any = read_command("finetune", others)
    found = find_data(settings)
    task = settings.task or found.task
    source = open_data(settings, found, task=TASKS[task].target_kind)
    if shown := [name for name, modality in source.modalities.items() if modality.is_overlapping]:
        # Peers see neighbours by themselves.
        alone = {name: {**settings.encoders.get(name, {}), "context": 0} for name in shown}
        settings = dataclasses.replace(settings, encoders={**settings.encoders, **alone})
        source = open_data(settings, found, task=TASKS[task].target_kind)
    try:
        run = PeerRun(own.peer, settings, source, task)
    except ValueError as error:  # such as a library that is not installed
        sys.exit(f"peer: {error}")
    run.train()
    write_json(
        Path(settings.out) / "test.json",
        {
            "metrics": run.measure("test"),
            "validation": run.state["best"],
            "parameters": sum(weight.numel() for weight in run.model.parameters()),
            "steps": run.state["step"],
            "seconds": run.state["seconds"],
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
