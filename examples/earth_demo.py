"""The demo: land cover of the Earth from raw pixels, with and without pretraining, beside a colour lookup.

Command:
    make demo
    (or: python examples/earth_demo.py --out runs/earth-demo, with hiperceiver[all] installed)

What it does, on the built-in set `earth` (64 x 64 tiles, split by place):
    1. pretrains `hip-nano` by masked auto-encoding on the training tiles, without labels;
    2. with the labels of a twentieth of these tiles: measures the baseline, a lookup of the most frequent class of each
       colour (at 4 bits a channel, which is the one usually quoted, and at as many bits as are best on the validation
       tiles), fine-tunes the pretrained model, and trains a new one for as many steps;
    3. the same with all labels;
    and measures all on the test blocks, and writes report.md, report.json and pictures.

Cost: to be measured.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hiperceiver.cli.data import with_train_share
from hiperceiver.cli.tables import print_table
from hiperceiver.data.augment import augmentations_from_settings
from hiperceiver.data.baselines import colour_lookup_baseline
from hiperceiver.data.collate import collate
from hiperceiver.data.example import Example, ExampleDataset
from hiperceiver.data.sources import Source, open_source
from hiperceiver.data.streamed import StreamedExamples
from hiperceiver.data.targets import class_counts
from hiperceiver.model import create_model
from hiperceiver.plots.arrays import spread_indices
from hiperceiver.plots.comparison import Result, draw_comparison
from hiperceiver.plots.curves import draw_curves
from hiperceiver.plots.positions import draw_components, draw_similarity
from hiperceiver.plots.reconstructions import draw_reconstructions
from hiperceiver.plots.segmentation import draw_segmentation
from hiperceiver.plots.style import save_picture
from hiperceiver.settings.run import parse_duration
from hiperceiver.tasks import MaskedAutoencoding, MaskedAutoencodingConfig, Segmentation, SegmentationConfig
from hiperceiver.tasks.losses import balanced_weights
from hiperceiver.training import TrainingSettings, check_run_folder, evaluate, format_duration, train
from hiperceiver.training.finetune import start_from
from hiperceiver.training.randomness import seed_everything


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """What the demo does."""

    model: str = "hip-nano"
    """Name of the model."""
    token_order: str = "morton"
    """How pixels are put into groups: blocks of 16 x 16 pixels."""
    size: int = 64
    """Pixels along the side of a tile."""
    mask_ratio: float = 0.75
    """Share of the pixels that is hidden in pretraining."""
    pretrain_time: str = "150s"
    """Time of pretraining."""
    few_share: float = 0.05
    """Share of the training tiles whose labels are used where labels are few."""
    few_time: str = "35s"
    """Time of each training with few labels."""
    finetune_time: str = "90s"
    """Time of each training with all labels."""
    batch_size: int = 8
    """Tiles in a batch."""
    learning_rate: float = 3e-3
    """Highest learning rate."""
    position_rate: float = 5.0
    """Rate of the position table, as a multiple of the learning rate."""
    compared_share: float = 0.25
    """Share of the pixels with labels that a training step compares."""
    min_land: float = 0.02
    """Least share of land of a training tile; others are nearly all water and teach little."""
    seed: int = 0
    """Seed of weights, order, masks and of which labels are the few. The split does not depend on it."""


WITHOUT, PRETRAINED = "without pretraining", "pretrained"


def run_demo(settings: DemoSettings, out: Path) -> dict[str, Any]:
    """Run the demo and write its results under `out`; gives what report.json holds."""
    started = time.monotonic()
    check_run_folder(out, resume=False)
    common = {
        "size": settings.size,
        "min_land": settings.min_land,
        "augmentations": augmentations_from_settings({"flip": True, "turn": True}),
    }
    tiles = open_source("earth", task="none", **common)
    labelled = open_source("earth", task="segmentation", encoders=tiles.encoders, **common)
    few = with_train_share(labelled, settings.few_share, seed=settings.seed)
    num_few, num_all = (len(_split(source, "train")) for source in (few, labelled))
    print(
        f"earth: {num_all} training tiles of {settings.size} x {settings.size} pixels with land, {num_few} of them "
        f"where labels are few; {len(_split(labelled, 'test'))} test tiles elsewhere"
    )

    print(f"\n1/3 pretraining {settings.model} by masked auto-encoding, without labels ({settings.pretrain_time})")
    seed_everything(settings.seed)
    model = create_model(settings.model, tiles.modalities, token_order=settings.token_order)
    pretraining = MaskedAutoencoding(model, MaskedAutoencodingConfig(mask_ratio=settings.mask_ratio))
    pretrained = train(pretraining, tiles, _training(settings, settings.pretrain_time), out / "pretrain")
    explained = evaluate(pretraining, _split(tiles, "test"))["explained"]

    measured: dict[str, dict[str, dict[str, float]]] = {}
    steps: dict[str, int] = {}
    finetuned = None
    for number, (source, max_time) in enumerate(((few, settings.few_time), (labelled, settings.finetune_time)), 2):
        name = _named(num_few if source is few else num_all)
        print(
            f"\n{number}/3 training with {name}: the pretrained model, then a new one, as many steps ({max_time} each)"
        )
        rows = measured[name] = _baselines(source)
        folder = out / ("few" if source is few else "all")
        finetuned = _segmentation(settings, source)
        start_from(finetuned, pretrained.model_folder)
        steps[name] = train(finetuned, source, _training(settings, max_time), folder / "pretrained").steps
        patience = f"{1.3 * parse_duration(max_time)}s"  # on a machine that has become busy meanwhile
        scratch = _segmentation(settings, source)
        steps_without = train(scratch, source, _training(settings, patience, steps[name]), folder / "scratch").steps
        if steps_without < steps[name]:
            print(f"only {steps_without} steps fitted into {patience}")
        rows |= {WITHOUT: _scores(scratch, source), PRETRAINED: _scores(finetuned, source)}

    assert finetuned is not None
    pictures = _draw(out, pretraining, finetuned, tiles, labelled, measured)
    report = {
        "settings": asdict(settings),
        "results": measured,
        "explained_variance_of_hidden_pixels": explained,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "steps_of_pretraining": pretrained.steps,
        "steps_with_labels": steps,
        "test_tiles": len(_split(labelled, "test")),
        "note": labelled.note,
        "seconds": time.monotonic() - started,
        "versions": {
            "hiperceiver": version("hiperceiver"),
            "torch": torch.__version__,
            "python": sys.version.split()[0],
        },
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "pictures": [str(path.relative_to(out)) for path in pictures],
    }
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (out / "report.md").write_text(_as_markdown(report), encoding="utf-8")
    return report


def _named(num_tiles: int) -> str:
    return f"{num_tiles} labelled tiles"


def _baselines(source: Source) -> dict[str, dict[str, float]]:
    """The colour lookup made from the source's training tiles, as usual and at its best."""
    found = {}
    for baseline in (colour_lookup_baseline(source, bits=4), colour_lookup_baseline(source)):
        scores = baseline.scores
        found[f"baseline: colour lookup, {baseline.bits} bits"] = {
            "miou": scores.mean_iou,
            "land_accuracy": scores.land_accuracy,
            "accuracy": scores.accuracy,
        }
    return found


def _scores(task: Segmentation, source: Source) -> dict[str, float]:
    """How good a model is on the test tiles."""
    metrics = evaluate(task, _split(source, "test"))
    names = {"miou": "miou", "land_accuracy": "foreground_accuracy", "accuracy": "accuracy"}
    return {ours: metrics[theirs] for ours, theirs in names.items()}


def _split(source: Source, name: str) -> ExampleDataset:
    split = source.splits[name]
    assert not isinstance(split, StreamedExamples)
    return split


def _training(settings: DemoSettings, max_time: str, steps: int | None = None) -> TrainingSettings:
    return TrainingSettings(
        max_time=max_time,
        steps=steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        position_rate=settings.position_rate,
        seed=settings.seed,
    )


def _segmentation(settings: DemoSettings, source: Source) -> Segmentation:
    """A new model with a new head; rare classes count more, for mIoU counts all classes the same."""
    seed_everything(settings.seed)
    config = SegmentationConfig(
        num_classes=len(source.classes),
        background_class=source.classes.index("water"),
        compared_share=settings.compared_share,
        class_weights=balanced_weights(class_counts(_split(source, "train"), len(source.classes))),
    )
    return Segmentation(create_model(settings.model, source.modalities, token_order=settings.token_order), config)


def _draw(
    out: Path,
    pretraining: MaskedAutoencoding,
    finetuned: Segmentation,
    tiles: Source,
    labelled: Source,
    measured: dict[str, dict[str, dict[str, float]]],
) -> list[Path]:
    """The pictures, in the order of the report."""
    encoder, grid = tiles.encoders["image"], tiles.modalities["image"].grid
    test = _split(labelled, "test")
    examples = [test[index] for index in _varied(labelled)]
    batch = collate(examples)
    pixels = np.stack([encoder.to_value(tokens) for tokens in batch.inputs["image"]])
    guess = pretraining.predict(batch)
    table = pretraining.model.positions["image"]().detach()
    figures = {
        "comparison": draw_comparison(
            [
                Result(name=f"{name}, {labels}", values=(values["miou"],), is_baseline=name.startswith("baseline"))
                for labels, rows in measured.items()
                for name, values in rows.items()
            ],
            metric="mIoU over 17 land-cover classes",
            title="Land cover of unseen places",
        ),
        "segmentations": draw_segmentation(
            pixels,
            finetuned.predict(batch).label.view(-1, *grid),
            labelled.classes,
            labels=batch.targets["segmentation"].view(-1, *grid),
            title="Land cover of unseen places, pretrained model",
        ),
        "reconstructions": draw_reconstructions(
            pixels,
            np.stack([encoder.to_value(tokens) for tokens in guess.reconstruction["image"]]),
            guess.is_masked["image"].view(-1, *grid),
            title=f"Masked auto-encoding, {pretraining.config.mask_ratio:.0%} of the pixels hidden",
        ),
        "position-similarity": draw_similarity(table, grid, title="Positions learned in pretraining"),
        "position-components": draw_components(table, grid, title="Positions learned in pretraining"),
        "curves": draw_curves(
            {PRETRAINED: out / "all" / "pretrained", WITHOUT: out / "all" / "scratch"},
            metrics=("loss", "miou", "foreground_accuracy", "accuracy"),
            title="Training with all labels",
        ),
        "curves-few-labels": draw_curves(
            {PRETRAINED: out / "few" / "pretrained", WITHOUT: out / "few" / "scratch"},
            metrics=("loss", "miou", "foreground_accuracy", "accuracy"),
            title="Training with few labels",
        ),
        "pretraining-curves": draw_curves(
            out / "pretrain", metrics=("loss", "explained"), title="Masked auto-encoding"
        ),
    }
    return [save_picture(figure, out / "pictures" / f"{name}.png") for name, figure in figures.items()]


def _varied(source: Source, count: int = 6) -> list[int]:
    """Test tiles that show many classes, spread over the Earth."""
    test = _split(source, "test")
    examples = (test[index] for index in range(len(test)))
    num_classes = [
        len(example.targets["segmentation"].unique()) if isinstance(example, Example) else 0 for example in examples
    ]
    most = np.argsort(num_classes, kind="stable")[-8 * count :]
    return sorted(int(most[index]) for index in spread_indices(len(most), count))


_COLUMNS = ("labels", "", "mIoU", "land accuracy", "accuracy")


def _rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (labels, name, f"{row['miou']:.3f}", f"{row['land_accuracy']:.1%}", f"{row['accuracy']:.1%}")
        for labels, rows in report["results"].items()
        for name, row in rows.items()
    ]


def _as_markdown(report: dict[str, Any]) -> str:
    settings = report["settings"]
    lines = [
        "# Land cover of the Earth from raw pixels",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        f"| {' | '.join(['---'] * len(_COLUMNS))} |",
        *(f"| {' | '.join(row)} |" for row in _rows(report)),
        "",
        f"Test: {report['test_tiles']} tiles of {settings['size']} x {settings['size']} pixels in blocks of the Earth "
        "apart from those of the training tiles. mIoU is the mean over 17 classes; land accuracy leaves water out. The "
        "colour lookup gives each pixel the class that its colour, cut to so many bits a channel, most often has in "
        "the training tiles; the larger number of bits is the best on the validation tiles. One seed "
        f"({settings['seed']}). {report['note']}",
        "",
        f"Model: {settings['model']}, {report['parameters']:,} parameters; pretrained for {settings['pretrain_time']} "
        f"({report['steps_of_pretraining']} steps, {settings['mask_ratio']:.0%} of the pixels hidden; it explains "
        f"{report['explained_variance_of_hidden_pixels']:.1%} of the variance of hidden pixels of test tiles). With "
        f"labels: {'; '.join(f'{n} steps with {labels}' for labels, n in report['steps_with_labels'].items())}, with "
        f"and without pretraining. All in all {format_duration(report['seconds'])} on {report['machine']}.",
        "",
        *(f"![{Path(path).stem}]({path})" for path in report["pictures"]),
        "",
    ]
    return "\n".join(lines)


def _new_folder() -> Path:
    number = 1
    while Path("runs", f"earth-demo-{number}").exists():
        number += 1
    return Path("runs", f"earth-demo-{number}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo from the command line; 2 and one line for a user's mistake."""
    defaults = DemoSettings()
    parser = argparse.ArgumentParser(prog="python examples/earth_demo.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, help="folder of the run; new or empty (default: a new one under runs/)")
    for name, value in asdict(defaults).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"default: {value}")
    options = vars(parser.parse_args(argv))
    out = options.pop("out") or _new_folder()
    try:
        report = run_demo(DemoSettings(**options), out)
    except ValueError as error:
        print(f"earth_demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"earth_demo: interrupted; what was done is in {out}", file=sys.stderr)
        return 130
    print()
    print_table(_COLUMNS, _rows(report), title=f"Land cover of {report['test_tiles']} unseen tiles")
    print(report["note"])
    print(f"report: {out / 'report.md'}, {out / 'report.json'}; pictures: {out / 'pictures'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
