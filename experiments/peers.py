"""Against what a user would pick: small CNN, U-Net, ViT with patches, Perceiver IO; same data and time, two rates."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from experiments import common
from experiments.cells import Cell, Run, Table
from experiments.common import GROUPS_OF_BYTES, SETS
from experiments.harness import main

RATES = (1e-3, 3e-3)
"""Each model is trained with both; the better one by validation is in the table."""
FASTTEXT_RATES = (1e-2, 3e-2)
_MINUTES = 4
_MINUTES_SMALL = 2
_SMALL = ("watch", "JapaneseVowels", "OSULeaf", "BasicMotions")
"""Sets of some thousand short series, or fewer."""
_TITLES = {
    "cifar-10": ("CIFAR-10", "accuracy"),
    "esc-10": ("ESC-10, fold 1", "accuracy"),
    "spoken-digits": ("Spoken digits, speaker `theo`", "accuracy"),
    "watch": ("watch", "accuracy"),
    "imdb": ("IMDB, 1,024 bytes", "accuracy"),
    "JapaneseVowels": ("JapaneseVowels", "accuracy"),
    "OSULeaf": ("OSULeaf", "accuracy"),
    "BasicMotions": ("BasicMotions", "accuracy"),
    "camvid": ("CamVid, 90 x 120", "miou"),
}
_PUBLISHED = {
    "cifar-10": "published: CNNs above 90; grey: Transformer 42.4, S4 88.5",
    "esc-10": "published, five folds: random forest 72.7, human 95.7",
    "imdb": "published, up to 4,096 bytes: Transformer 64 to 65, S4 86.5",
    "OSULeaf": "published: HIVE-COTE 2 96.7, InceptionTime 92.1",
    "camvid": "published: SegNet about 60",
}
_NAMES = {
    "hip": "HiP",
    "hip-mae": "HiP, half of the time masked auto-encoding",
    "hip-groups": "HiP, groups of bytes, as in the recipe `languages`",
    "perceiver-io": "Perceiver IO",
    "cnn": "CNN",
    "vit": "ViT, patches",
    "fasttext": "fastText, the same groups of bytes",
}
_OF_TEXTS = ("hip-groups", "fasttext")
_SINGLE_BYTES: dict[str, Any] = {"encoders": {"bytes": {**SETS["imdb"]["encoders"]["bytes"], "coding": "onehot"}}}
"""What is read of texts, unless a row says groups: by itself `hip finetune` would read those."""
_OF_PEERS: dict[str, dict[str, Any]] = {
    "imdb": _SINGLE_BYTES,
    **{
        name: {"encoders": {"audio": {**SETS[name]["encoders"]["audio"], "samples_per_token": 1}}}
        for name in ("spoken-digits", "esc-10")
    },
}
"""How peers read a set: of sound single samples, as they have a stride or patches of their own."""


def _runs(model: str, data: str, rate: float) -> tuple[Run, ...]:
    """Training with one rate."""
    minutes = _MINUTES_SMALL if data in _SMALL else _MINUTES
    own: dict[str, Any] = {"learning_rate": rate, "steps": None, "minutes": minutes, "max_time": f"{minutes}m"}
    if model in ("cnn", "vit", "fasttext"):
        reading = _OF_PEERS.get(data, {})
        if model == "fasttext":
            reading = {name: GROUPS_OF_BYTES[name] for name in ("encoders", "task_settings")}
        settings = {"peer": model, **SETS[data], **reading, "batch_size": common.BATCH, "max_time": f"{minutes}m"}
        return (Run(command="experiments.peer", settings={**settings, "learning_rate": rate}, minutes=minutes),)
    single: dict[str, Any] = _SINGLE_BYTES if data == "imdb" else {}
    if model == "hip":
        return (common.finetune(data, 0, **own, **single),)
    if model == "hip-groups":
        return (common.finetune(data, 0, **own, **GROUPS_OF_BYTES),)
    if model == "perceiver-io":
        return (common.finetune(data, 0, **own, **single, model="perceiver-io-mini"),)
    half = {"max_time": f"{minutes * 30}s", "minutes": minutes / 2}
    before = common.pretrain(data, 0, steps=None, learning_rate=rate, **half)
    return (common.finetune(data, 0, start=before, **own | half),)


def cells() -> Iterator[Cell]:
    for data, (title, _) in _TITLES.items():
        part = f"{title} ({_PUBLISHED[data]})" if data in _PUBLISHED else title
        yield Cell(name=f"{data}-baseline", labels={"set": part, "model": "baseline"}, runs=(common.baseline(data),))
        for model, words in _NAMES.items():
            if model in _OF_TEXTS and data != "imdb":
                continue
            rates = FASTTEXT_RATES if model == "fasttext" else RATES
            runs = tuple(run for rate in rates for run in _runs(model, data, rate))
            words = "U-Net" if (data, model) == ("camvid", "cnn") else words
            yield Cell(name=f"{data}-{model}", labels={"set": part, "model": words}, runs=runs, is_best_of=True)


TABLE = Table(
    name="peers",
    title="Against what a user would pick",
    about=f"""
Each model has {_MINUTES} minutes of one thread (for the sets of few or short series: {_MINUTES_SMALL}) for each of two
learning rates ({RATES[0]:g} and {RATES[1]:g}); the one that is better in validation is tested. Same splits, same random
changes of the training examples, same batches of {common.BATCH}. HiP is `hip-nano`, Perceiver IO `perceiver-io-mini`,
both as they are for every set, trained by `hip finetune`. The CNN (a ResNet-10) and the U-Net are monai's, the ViT is
that of transformers, in sizes for such inputs (`experiments/peer_models.py`). These are trained by AdamW, HiP and
Perceiver IO by Muon and AdamW, as `hip finetune` does where nothing else is said, which is worth much to HiP
([optimizers](#optimizers-and-schedules)); for convolutions we have no Muon. CNN, U-Net and ViT are told what is near in
a signal. HiP and Perceiver IO are not, but in OSULeaf, JapaneseVowels and BasicMotions, where their tokens show
neighbours ([context](#tokens-that-show-their-neighbours)); in the row with masked auto-encoding they do not, as `hip
pretrain` gives them none by itself. Of texts HiP also has a row with the model and encoder of the recipe `languages`,
and fastText's model (learning rates {FASTTEXT_RATES[0]:g} and {FASTTEXT_RATES[1]:g}) one with the same encoder. One
seed: run again on another day, `watch` moved by six points (HiP) and eight (Perceiver IO). One of the drives in
CamVid's test is in training as well, with other frames, as published.
""",
    cells=tuple(cells()),
    columns={
        "mIoU": "test.miou",  # first: of a part that has it, it is drawn
        "test accuracy": "test.accuracy",
        "validation": "validation.accuracy",
        "validation mIoU": "validation.miou",
        "steps": "steps",
        "parameters": "parameters",
    },
    parts="set",
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
