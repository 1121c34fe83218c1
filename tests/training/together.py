"""Run by `test_together.py` in two processes at once: it trains several times and leaves its runs in a folder."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders.image import ImageEncoder
from hiperceiver.data.example import BadExample, Example
from hiperceiver.data.record import Record
from hiperceiver.data.streamed import StreamedExamples
from hiperceiver.modality import Modality
from hiperceiver.model import HiP
from hiperceiver.tasks import Classification, MaskedAutoencoding, Segmentation, SegmentationConfig, Task
from hiperceiver.training import TrainingResult, TrainingSettings, train
from hiperceiver.training.launch import is_first_process
from training.synthetic import GRID, Source, Stripes, autoencoding, classification, make_model

SETTINGS: dict[str, Any] = {
    "accelerator": "cpu",
    "steps": 4,
    "batch_size": 4,
    "log_every": 2,
    "learning_rate": 3e-3,
    "seed": 5,
}


class Disturbed(Stripes):
    """Something happens in one process, the first or one that is not, when it reads its n-th example."""

    def __init__(self, count: int, *, at: int, what: Callable[[], None], is_first: bool):
        super().__init__(count)
        self.at, self.what, self.is_first, self.reads = at, what, is_first, 0

    def __getitem__(self, index: int) -> Example | BadExample:
        self.reads += 1
        if self.reads == self.at and is_first_process() == self.is_first:
            self.what()
        return super().__getitem__(index)


class Blinding(Stripes):
    """One picture is so bright that nothing can be computed of it."""

    def __getitem__(self, index: int) -> Example | BadExample:
        example = super().__getitem__(index)
        assert isinstance(example, Example)
        if index == 7:
            example.inputs["image"].mul_(1e30)
        return example


class Ragged(Stripes):
    """Examples of which more or less counts: absent tokens, sounds for some alone, pixels without a label."""

    def __getitem__(self, index: int) -> Example | BadExample:
        example = super().__getitem__(index)
        assert isinstance(example, Example)
        place = torch.arange(GRID[0] * GRID[1])
        kind = (example.inputs["image"][:, 0] > 0.5).long()
        return Example(
            inputs={**example.inputs, "sound": torch.full((8, 1), index / 20)},
            is_padding={"image": place < 7 * index % 31, "sound": torch.full((8,), index % 5 != 0)},
            targets={"segmentation": kind.masked_fill(place % 7 < index % 6, -100)},
            name=example.name,
        )


def with_sound() -> dict[str, Modality]:
    return {"image": Modality(grid=GRID, channels=3), "sound": Modality(grid=(8,), channels=1)}


def ragged() -> Source:
    splits = {"train": Ragged(20), "validation": Ragged(6, seed=1)}
    return Source(splits=splits, modalities=with_sound())


def two_modalities() -> MaskedAutoencoding:
    torch.manual_seed(0)
    config = dataclasses.replace(autoencoding().config, modality_weights={"sound": 3.0})
    model = dataclasses.replace(make_model().config, token_order="shuffled")  # its buffers must be in all processes
    return MaskedAutoencoding(HiP(model, with_sound()), config)


def segmentation() -> Task:
    torch.manual_seed(0)
    config = SegmentationConfig(num_classes=2, class_weights=(0.5, 4.0), input_modality="image")
    return Segmentation(HiP(make_model().config, with_sound()), config)


def mixing() -> Task:
    task = classification()
    return Classification(task.model, dataclasses.replace(task.config, mixup=0.5, cutmix=0.5, token_dropout=0.5))


def dropout() -> Task:
    return autoencoding(dropout=0.2)


def told_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def fail() -> None:
    raise ValueError("the disk is on fire")


def bad() -> Source:
    return Source(splits={"train": Stripes(10, bad=(0, 1, 2, 3)), "validation": Stripes(6, seed=1, bad=(2,))})


def streamed(at: int = -1) -> Source:
    """Pictures that come one after the other; the first process is told to stop when it reads its n-th."""

    class Pictures:
        reads = 0

        def __iter__(self) -> Iterator[Record]:
            for number in range(20):
                self.reads += 1
                if self.reads == at and is_first_process():
                    told_to_stop()
                pixels = np.random.default_rng(number).integers(0, 256, (*GRID, 3), dtype=np.uint8)
                yield Record(name=f"{number}.png", raws={"image": pixels})

    encoded = EncodedRecords(records=[], encoders={"image": ImageEncoder(size=GRID)})
    stream = StreamedExamples(records=Pictures(), encoded=encoded, buffer_size=5)
    return Source(splits={"train": stream, "validation": Stripes(6, seed=1)})  # pyright: ignore[reportArgumentType]


def blinding() -> Source:
    """One of the pictures makes the loss NaN in the process that gets it."""
    return Source(splits={"train": Blinding(20), "validation": Stripes(6, seed=1)})


def disturbed(what: Callable[[], None], *, is_first: bool = False) -> Source:
    return Source(splits={"train": Disturbed(20, at=6, what=what, is_first=is_first), "validation": Stripes(6, seed=1)})


GENTLE: dict[str, Any] = {"validate_every": 2, "learning_rate": 1e-3}
HALF: dict[str, Any] = {"precision": "bf16", "optimizer": "adamw"}

Run = tuple[Callable[[], Task], Callable[[], Source], dict[str, Any]]

RUNS: dict[str, Run] = {
    "classes": (classification, Source, {"accumulate": 2, "gradient_clip": 0.1, "validate_every": 3}),
    "average": (classification, Source, {"ema": 0.9, "optimizer": "adamw"}),
    "adamw": (autoencoding, Source, {"optimizer": "adamw", "flat": 0.5}),
    "lamb": (classification, Source, {"optimizer": "lamb", "accumulate": 2}),
    "bad": (
        autoencoding,
        bad,
        {"max_bad_share": 0.9, "log_every": 1, "batch_size": 2, "steps": 6, "validate_every": 5},
    ),
    "modalities": (two_modalities, ragged, {"validate_every": 3}),
    "pixels": (segmentation, ragged, {"accumulate": 2}),
    "pixels-at-once": (segmentation, ragged, {"batch_size": 8}),
    "masked": (autoencoding, Source, {"validate_every": 2}),
    "masked-stopped": (autoencoding, lambda: disturbed(told_to_stop, is_first=True), {"validate_every": 2}),
    "mixed": (mixing, Source, {"validate_every": 2, "batch_size": 8}),  # pairs in each of four processes
    "mixed-stopped": (
        mixing,
        lambda: disturbed(told_to_stop, is_first=True),
        {"validate_every": 2, "batch_size": 8},
    ),
    "labelled": (classification, Source, GENTLE),
    "labelled-stopped": (
        classification,
        lambda: disturbed(told_to_stop, is_first=True),
        GENTLE,
    ),
    "streamed": (autoencoding, streamed, {"validate_every": 2}),
    "streamed-stopped": (autoencoding, lambda: streamed(14), {"validate_every": 2}),
    "blinding": (autoencoding, blinding, {"non_finite": "skip", "log_every": 1, "steps": 10, "ema": 0.5}),
    "straight": (dropout, Source, {"validate_every": 2}),
    "straight-resumed": (dropout, lambda: disturbed(told_to_stop), {"validate_every": 2}),
    "half": (dropout, Source, HALF),
    "half-resumed": (dropout, lambda: disturbed(told_to_stop), HALF),
    "labelled-resumed": (
        classification,
        lambda: disturbed(told_to_stop),
        GENTLE,
    ),
    "timed": (dropout, Source, {"steps": None, "max_time": "1s"}),
    "failing": (dropout, lambda: disturbed(fail), {}),
}
"""Name -> task, source, settings beside `SETTINGS`."""


def run(name: str, folder: Path, *, resume: bool = False, **settings: Any) -> TrainingResult:
    task, source, own = RUNS[name]
    everything = TrainingSettings(**{**SETTINGS, **own, **settings})
    return train(task(), source(), everything, folder, resume=resume, show_progress=False)


def main(folder: Path, names: list[str], *, devices: int = 2, resumed: str = "") -> None:
    """Train each run; `resumed`: go on with it instead, by the name of what it was begun as, in the same folder."""
    torch.set_num_threads(1)
    for name in names:
        run_name, _, strategy = name.rpartition("-")
        how: dict[str, Any] = {"devices": devices, "strategy": strategy}
        if resumed:
            run(run_name, folder / f"{run_name}{resumed}", resume=True, **how)
            continue
        result = run(run_name, folder / name, **how)
        if result.is_interrupted:
            print(f"{name} was interrupted after {result.steps} steps", flush=True)
        if result.is_interrupted and run_name.endswith("-resumed"):
            run(run_name.removesuffix("-resumed"), folder / name, resume=True, **how)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--resumed", default="")
    arguments = parser.parse_args()
    try:
        main(**vars(arguments))
    except ValueError as error:
        sys.exit(f"{type(error).__name__}: {error}")
