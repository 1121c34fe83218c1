"""The best known way to a result within a fixed time on two cores.

To enter the table, add an `Entry` behind those of its class and run the command: an entry is a record if its mean over
three seeds is above the best so far, be it the baseline, by more than the larger spread of the two. An entry that is
below the best after its first seed, or that a better one replaced, gets no others (`seeds=1`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from experiments import common
from experiments.cells import Cell, Run, Table, by_seed
from experiments.harness import main
from experiments.report import shown
from experiments.results import Results, each_once, value_at
from hiperceiver.recipes import read_recipe

_SEEDS = 3
_CORES = 2
_ABOUT = """The time is that of training on two cores, a process each (`--devices 2`), validations included; the last
validation of a run and the test come on top. The test split decides what is a record, as is usual; validation chooses
the weights. Of CIFAR-10: no convolution, patch or 2-D order is in the model; flips and shifts of the training pictures
are allowed. Tokens of sound may show their neighbours, those of texts groups of bytes. The results of a cell, with its
commands and log, lie in `experiments/results/records`, a file a seed. `python -m experiments.records --root FOLDER`
runs what has not been run, and writes this page."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One way: minutes of masked auto-encoding and of labels, and what differs from `common`."""

    what: str
    """What is new about it."""
    labels: float
    """Minutes of training with labels."""
    pretraining: float = 0.0
    """Minutes of masked auto-encoding first."""
    both: Mapping[str, Any] = field(default_factory=dict)
    """Settings of both runs."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the run with labels."""
    pre: Mapping[str, Any] = field(default_factory=dict)
    """Settings of pretraining."""
    seeds: int = _SEEDS
    """How many it is run with: 1 for what is below the best, or replaced."""

    def runs(self, data: str, seed: int) -> tuple[Run, ...]:
        """As a chain."""

        def of(minutes: float, *settings: Mapping[str, Any]) -> dict[str, Any]:
            values = {name: value for each in settings for name, value in each.items()}
            return {**values, "devices": _CORES, "steps": None, "minutes": minutes, "max_time": f"{minutes * 60:g}s"}

        if not self.pretraining:
            return (common.finetune(data, seed, **of(self.labels, self.both, self.own)),)
        before = common.pretrain(data, seed, **of(self.pretraining, self.both, self.pre))
        both = {name: value for name, value in self.both.items() if name != "model_settings"}  # which `before` brings
        return (common.finetune(data, seed, start=before, **of(self.labels, both, self.own)),)


@dataclass(frozen=True, kw_only=True)
class Class:
    """What is compared: a set and a time."""

    title: str
    data: str
    minutes: float
    entries: Sequence[Entry]
    """Oldest first."""
    metric: str = "test.accuracy"
    reading: Mapping[str, Any] = field(default_factory=dict)
    """How the baseline reads the set, if otherwise than in other tables."""


_EARTH = {"pretrain": read_recipe("earth", "pretrain"), "finetune": read_recipe("earth", "finetune")}
_NOT_OURS = ("recipe", "out", "from", "data", "test", "max_time", "steps")


def _of_earth(command: str) -> dict[str, Any]:
    return {name: value for name, value in _EARTH[command].items() if name not in _NOT_OURS}


_PICTURES = {"precision": "bf16", "batch_size": 64}  # as many pictures a process as elsewhere
_NO_SKIPS = {"model_settings": {"skips": False}}
_LAYER = {"num_self_attention_layers": 1}
_OUTER = {"num_groups": 16, "num_latents": 8, "num_channels": 64, **_LAYER, "num_self_attention_heads": 2}
_PROCESSOR = {"num_groups": 1, "num_latents": 32, "num_channels": 128, **_LAYER, "num_self_attention_heads": 4}
_FEW_LATENTS = {"model_settings": {"blocks": [_OUTER, _PROCESSOR, _OUTER]}}  # half of those of hip-nano
_DEEP = {"blocks": [_OUTER, {**_PROCESSOR, "num_self_attention_layers": 3}, _OUTER]}
_MOVED = {"augment": {**common.SETS["cifar-10"]["augment"], "translate": True}}
_FAST = {**_PICTURES, **_MOVED, **_FEW_LATENTS}
_FAST_NO_SKIPS = {"model_settings": {**_NO_SKIPS["model_settings"], **_FEW_LATENTS["model_settings"]}}
_ANYWHERE = {"augment": {"speed": True, "gain": True, "shift": True}, "model_settings": {"positions": "none"}}
_CONTEXT = {
    "encoders": {"audio": {**common.SETS["esc-10"]["encoders"]["audio"], "samples_per_token": 64, "context": 224}}
}
_LENGTH = 2048  # of a text, in bytes
_TEXTS = {
    **common.GROUPS_OF_BYTES,
    "encoders": {"bytes": {**common.GROUPS_OF_BYTES["encoders"]["bytes"], "length": _LENGTH}},
}

CLASSES: dict[str, Class] = {
    "cifar20": Class(
        title="CIFAR-10, 20 minutes",
        data="cifar-10",
        minutes=20,
        entries=(
            Entry(
                what="`hip-nano`, bfloat16, batches of 64; masked auto-encoding without skips for 8 of the 20 minutes",
                labels=12,
                pretraining=8,
                both=_PICTURES,
                pre=_NO_SKIPS,
                seeds=1,
            ),
            Entry(
                what="half of the latents, one layer in the processor; labels alone, bfloat16, batches of 64",
                labels=20,
                both=_PICTURES,
                own=_FEW_LATENTS,
                seeds=1,
            ),
            Entry(what="as 2; pictures move by an eighth at most", labels=20, both=_FAST, seeds=1),
            Entry(
                what="as 3; masked auto-encoding without skips first, 8 of the 20 minutes",
                labels=12,
                pretraining=8,
                both=_FAST,
                pre=_FAST_NO_SKIPS,
            ),
            Entry(
                what="as 4; masked auto-encoding for 12 of the 20 minutes",
                labels=8,
                pretraining=12,
                both=_FAST,
                pre=_FAST_NO_SKIPS,
                seeds=1,
            ),
        ),
    ),
    "cifar60": Class(
        title="CIFAR-10, 60 minutes",
        data="cifar-10",
        minutes=60,
        entries=(
            Entry(
                what="as `cifar20-4`; masked auto-encoding for 30 of the 60 minutes",
                labels=30,
                pretraining=30,
                both=_FAST,
                pre=_FAST_NO_SKIPS,
            ),
            Entry(
                what="as 1; each picture is seen without half of its pixels in the part with labels",
                labels=30,
                pretraining=30,
                both=_FAST,
                own={"task_settings": {"token_dropout": 0.5}},
                pre=_FAST_NO_SKIPS,
                seeds=1,
            ),
            Entry(
                what="as 1; three layers in the processor",
                labels=30,
                pretraining=30,
                both={**_FAST, "model_settings": _DEEP},
                pre={"model_settings": {**_DEEP, "skips": False}},
                seeds=1,
            ),
        ),
    ),
    "digits": Class(
        title="Spoken digits, speaker `theo` held out, 10 minutes",
        data="spoken-digits",
        minutes=10,
        entries=(Entry(what="labels alone, other speeds, no positions", labels=10, own=_ANYWHERE),),
    ),
    "esc10": Class(
        title="ESC-10, fold 1, 10 minutes",
        data="esc-10",
        minutes=10,
        entries=(
            Entry(
                what="labels alone, tokens of 64 samples that show 224 on each side",
                labels=10,
                own=_CONTEXT,
                seeds=1,
            ),
            Entry(
                what="as 1; no positions, other speeds, moved by up to half",
                labels=10,
                own={**_CONTEXT, **_ANYWHERE, "augment": {**_ANYWHERE["augment"], "shift": {"share": 0.5}}},
            ),
        ),
    ),
    "imdb": Class(
        title="IMDB, bytes, 20 minutes",
        data="imdb",
        minutes=20,
        entries=(Entry(what="labels alone, groups of bytes, 2,048 bytes", labels=20, own=_TEXTS),),
        reading={"encoders": {"bytes": {**common.SETS["imdb"]["encoders"]["bytes"], "length": _LENGTH}}},
    ),
    "earth": Class(
        title="earth, segmentation, 5 minutes",
        data="earth",
        minutes=5,
        metric="test.miou",
        entries=(
            Entry(what="the recipe", labels=3, pretraining=2, pre=_of_earth("pretrain"), own=_of_earth("finetune")),
        ),
    ),
}
"""By the beginning of their cells' names."""


def is_record(new: Sequence[float], best: Sequence[float]) -> bool:
    """Whether results of three seeds or more beat the best ones so far by more than the larger of the two spreads.

    >>> is_record([0.61, 0.62, 0.60], [0.58, 0.59, 0.585]), is_record([0.60, 0.58, 0.62], [0.58, 0.60, 0.57])
    (True, False)
    """
    if len(new) < _SEEDS:
        return False
    return not best or mean(new) - mean(best) > max(stdev(each) for each in (new, best) if len(each) > 1)


def verdict(entry: Entry, values: Sequence[float], best: Sequence[float]) -> str:
    """What an entry with these results is beside the best ones so far.

    >>> verdict(Entry(what="slower", labels=20, seeds=1), [0.58], best=[0.60, 0.58, 0.62])
    'tried with one seed'
    """
    if len(values) < entry.seeds:
        return "not run with three seeds yet" if entry.seeds > 1 else "not run yet"
    if entry.seeds < _SEEDS:
        return "tried with one seed"
    return "**record**" if is_record(values, best) else "not above the best so far by more than the spread"


def cells() -> Iterator[Cell]:
    for name, each in CLASSES.items():
        labels = {"class": each.title, "what": "baseline"}
        yield Cell(name=f"{name}-baseline", labels=labels, runs=(common.baseline(each.data, **each.reading),))
        for number, entry in enumerate(each.entries, start=1):
            if entry.labels + entry.pretraining > each.minutes:
                raise ValueError(f"{name}: entry {number} takes longer than {each.minutes} minutes")
            for seed in range(entry.seeds):
                labels = {"class": each.title, "what": entry.what}
                yield Cell(name=f"{name}-{number}", seed=seed, labels=labels, runs=entry.runs(each.data, seed))


def write_records(results: Results) -> None:
    """`docs/records.md`: the entries of each class, the last one first, and which were a record when they came."""
    found = {cell.name: rows for cell, rows in results.rows()}
    lines = ["# Records", "", (__doc__ or "").strip(), "", _ABOUT]
    for name, each in CLASSES.items():
        best: list[float] = []
        rows = []
        for number, entry in enumerate((None, *each.entries)):  # number 0 is the baseline
            stem = f"{name}-{number or 'baseline'}"
            those = found[stem]
            values = [value for row in those if (value := value_at(row, each.metric)) is not None]
            what, said = "baseline", ""
            if entry is not None:
                what, said = entry.what, verdict(entry, values, best)
            elif those:
                what = f"baseline: {those[0]['floor']['name']}"
            best = max(best, values, key=lambda those: mean(those) if those else 0.0)
            seeds = ", ".join(str(row["seed"]) for row in those)
            code = each_once(row["revision"] for row in those) or "–"
            reached = shown(values, each.metric)
            rows.append(f"| {number} | {what} | {reached} | {said} | {code} | `{stem}` | {seeds or '–'} |")
        metric = each.metric.removeprefix("test.")
        lines += ["", f"## {each.title}", "", f"| | what is new | {metric} | | code | cell | seeds |"]
        lines += ["| ---: | --- | ---: | --- | --- | --- | --- |", *reversed(rows)]
    path = results.places.docs / "records.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


TABLE = Table(
    name="records",
    title="Records",
    about="""
All entries that were tried; [records.md](records.md) says which were records and how to enter one. Core times of
`earth-1`, and of `digits-1` and `cifar20-1` with seed 0, lack a part of what the second process took.
""",
    cells=by_seed(cells()),
    columns={
        "mIoU": "test.miou",  # first: of a part that has it, it is drawn
        "test accuracy": "test.accuracy",
        "steps with labels": "steps",
    },
    parts="class",
    finish=write_records,
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
