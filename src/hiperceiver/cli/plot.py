"""`hip plot`: what a run or a saved model looks like."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from hiperceiver.cli.data import open_source_for
from hiperceiver.cli.errors import UserError, describe, one_line
from hiperceiver.cli.models import locate, read_saved, read_task, run_folder
from hiperceiver.cli.settings import PlotSettings
from hiperceiver.data.collate import collate
from hiperceiver.data.example import Example
from hiperceiver.data.sources.source import Source
from hiperceiver.plots.arrays import spread_indices
from hiperceiver.plots.curves import draw_curves
from hiperceiver.plots.positions import draw_components, draw_similarity
from hiperceiver.plots.reconstructions import draw_reconstructions
from hiperceiver.plots.segmentation import draw_segmentation
from hiperceiver.plots.style import save_picture
from hiperceiver.tasks import MaskedAutoencoding, Segmentation

Pictures = Iterator[tuple[str, Figure]]
"""Names of files without their ending, and what is in them."""


class _Subject(NamedTuple):
    """What is drawn."""

    settings: PlotSettings
    folder: Path | None
    """The run's folder, if there is one."""


def run(settings: PlotSettings) -> int:
    """Draw, write, and say where."""
    folder = run_folder(settings.checkpoint)
    subject = _Subject(settings, folder)
    target = _target(settings, folder)
    kinds = list(KINDS) if settings.kind == "all" else [settings.kind]
    reasons: list[str] = []
    failures: list[str] = []
    num_drawn = 0
    for kind in kinds:
        try:
            for name, figure in KINDS[kind](subject):
                path = target / f"{name}.png"
                existed = path.exists()
                save_picture(figure, path)
                num_drawn += 1
                print(f"{path}{' (replaced)' if existed else ''}", flush=True)
        except ValueError as error:
            # What the others need may still be there.
            if settings.kind != "all" or describe(error) is None:
                raise
            reasons.append(str(error))
            if not isinstance(error, _NothingToDraw):
                failures.append(f"no picture of kind {kind}: {one_line(error)}")
    if not num_drawn:
        raise UserError(f"{settings.checkpoint}: nothing to draw: {reasons[0] if failures else '; '.join(reasons)}")
    for failure in failures:
        print(f"hip: {failure}", file=sys.stderr)
    return 1 if failures else 0


class _NothingToDraw(UserError):
    """This run or model has nothing for this kind of picture."""


def _target(settings: PlotSettings, folder: Path | None) -> Path:
    if settings.out is not None:
        return Path(settings.out)
    if folder is not None:
        return folder / "pictures"
    located = Path(locate(settings.checkpoint))
    return located / "pictures" if located.is_dir() else Path("pictures", located.name)


def _curves(subject: _Subject) -> Pictures:
    metrics = None if subject.folder is None else subject.folder / "metrics.csv"
    if metrics is None or not metrics.is_file():
        raise _NothingToDraw(f"{subject.settings.checkpoint} is no run with a metrics.csv to draw curves of")
    assert subject.folder is not None
    yield "curves", draw_curves(metrics, title=subject.folder.resolve().name)


def _positions(subject: _Subject) -> Pictures:
    saved = read_saved(subject.settings.checkpoint)
    if saved.config.positions == "none":
        raise _NothingToDraw(f"{saved.source} has no position encodings to draw")
    model = saved.build()
    for name in model.input_names:
        grid = model.modalities[name].grid
        if len(grid) > 3:
            continue
        with torch.no_grad():
            table = model.positions[name]()
        title = f"{saved.config.positions} positions of {name!r}, {' x '.join(map(str, grid))}"
        yield f"positions-{name}-similarity", draw_similarity(table, grid, title=title)
        yield f"positions-{name}-components", draw_components(table, grid, title=title)


def _reconstructions(subject: _Subject) -> Pictures:
    task = read_task(subject.settings.checkpoint)
    if not isinstance(task, MaskedAutoencoding):
        raise _NothingToDraw(f"{subject.settings.checkpoint} was trained for {task.kind}, it reconstructs nothing")
    source = _source(subject)
    examples = _examples(source, subject.settings)
    prediction = task.predict(collate(examples))
    for name in examples[0].inputs:
        encoder, grid = source.encoders[name], source.modalities[name].grid
        figure = draw_reconstructions(
            np.stack([encoder.decode(example.inputs[name]) for example in examples]),
            np.stack([encoder.decode(tokens) for tokens in prediction.reconstruction[name]]),
            prediction.is_masked[name].view(-1, *grid),
            title=f"{_title(subject)}, {task.config.ratio:.0%} hidden ({task.config.strategy})",
        )
        yield f"reconstructions-{name}", figure


def _segmentations(subject: _Subject) -> Pictures:
    task = read_task(subject.settings.checkpoint)
    if not isinstance(task, Segmentation):
        raise _NothingToDraw(f"{subject.settings.checkpoint} was trained for {task.kind}, it segments nothing")
    source = _source(subject)
    examples = _examples(source, subject.settings)
    name = task.input_modality
    encoder, grid = source.encoders[name], source.modalities[name].grid
    predicted = task.predict(collate(examples)).label.view(-1, *grid)
    labels = torch.stack([example.targets["segmentation"] for example in examples]).view(-1, *grid)
    yield (
        "segmentations",
        draw_segmentation(
            np.stack([encoder.decode(example.inputs[name]) for example in examples]),
            predicted,
            source.classes,
            labels=labels,
            title=_title(subject),
        ),
    )


KINDS: dict[str, Callable[[_Subject], Pictures]] = {
    "curves": _curves,
    "positions": _positions,
    "reconstruction": _reconstructions,
    "segmentation": _segmentations,
}
"""What `--kind` may say, beside `all`."""


def _source(subject: _Subject) -> Source:
    settings = subject.settings
    if settings.data is None and (subject.folder is None):
        raise _NothingToDraw(f"--data is missing, and {settings.checkpoint} does not say what it was trained on")
    return open_source_for(read_task(settings.checkpoint), settings)


def _examples(source: Source, settings: PlotSettings) -> list[Example]:
    """A few readable examples, evenly spread over the split."""
    name = next((name for name in (settings.split, "test", "validation", "train") if name in source.splits), None)
    if name is None:
        raise UserError(f"--data: {source.name} has no examples")
    dataset = source.splits[name]
    indices = spread_indices(len(dataset), 4 * settings.num_examples)
    # The spread ones first; the others stand in for those that cannot be read.
    chosen = spread_indices(len(dataset), settings.num_examples)
    examples = []
    for index in [*chosen, *(each for each in indices if each not in chosen)]:
        example = dataset[index]
        if isinstance(example, Example) and len(examples) < settings.num_examples:
            examples.append(example)
    if not examples:
        raise UserError(f"--data: no example of {source.name} could be read")
    return examples


def _title(subject: _Subject) -> str:
    return (subject.folder or Path(subject.settings.checkpoint)).resolve().name
