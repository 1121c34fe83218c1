"""`hip plot`: what a run or a saved model looks like."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from hiperceiver.cli.data import open_data_for
from hiperceiver.cli.drawing import Tokens, decoded, reconstruction_figures
from hiperceiver.cli.errors import UserError, describe, one_line
from hiperceiver.cli.models import locate, read_saved, read_task, run_folder
from hiperceiver.data.collate import collate
from hiperceiver.data.encoders import AudioEncoder, SeriesEncoder
from hiperceiver.data.example import Example, ExampleDataset
from hiperceiver.data.sources.source import Source
from hiperceiver.model import load_model
from hiperceiver.model.positions import CoordinatePositions
from hiperceiver.plots.arrays import spread_indices
from hiperceiver.plots.curves import draw_curves
from hiperceiver.plots.forecasts import draw_forecast
from hiperceiver.plots.positions import draw_components, draw_similarity
from hiperceiver.plots.segmentation import draw_segmentation
from hiperceiver.plots.style import save_picture
from hiperceiver.settings.commands import PlotSettings
from hiperceiver.tasks import Forecasting, MaskedAutoencoding, Segmentation

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
    kinds = list(KINDS) if settings.pictures == "all" else [settings.pictures]
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
            if settings.pictures != "all" or describe(error) is None:
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
    model = load_model(saved)
    # Tokens that bring their coordinates along have no table of positions.
    names = [name for name in model.input_names if not isinstance(model.positions[name], CoordinatePositions)]
    names = [name for name in names if len(model.modalities[name].grid) <= 3]
    if not names:
        raise _NothingToDraw(f"{saved.source} has no table of positions that can be drawn")
    for name in names:
        grid = model.modalities[name].grid
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
    title = f"{_title(subject)}, {task.config.mask_ratio:.0%} hidden ({task.config.mask_strategy})"
    for name, encoder in source.encoders.items():
        hidden = prediction.is_masked[name]
        tokens = _tokens(examples, name, prediction.reconstruction[name], hidden)
        yield from _numbered(f"reconstructions-{name}", reconstruction_figures(encoder, tokens, title=title))


def _forecasts(subject: _Subject) -> Pictures:
    task = read_task(subject.settings.checkpoint)
    if not isinstance(task, Forecasting):
        raise _NothingToDraw(f"{subject.settings.checkpoint} was trained for {task.kind}, it foretells nothing")
    source = _source(subject)
    examples, name = _examples(source, subject.settings), task.input_modality
    if name not in source.encoders:
        raise UserError(f"--data: {source.name} has no {name!r}, which is foretold")
    encoder, batch = source.encoders[name], collate(examples)
    forecast, persistence = task.predict(batch).forecast, task.persistence(batch)
    inputs = batch.inputs[name]
    num_seen = inputs.shape[1] - forecast.shape[1]
    whole, repeated = (torch.cat([inputs[:, :num_seen], future], dim=1) for future in (forecast, persistence))
    is_future = (torch.arange(inputs.shape[1]) >= num_seen).expand(len(inputs), -1)
    foretold = _tokens(examples, name, whole, is_future)
    if not isinstance(encoder, AudioEncoder | SeriesEncoder):
        yield from _numbered(f"forecasts-{name}", reconstruction_figures(encoder, foretold, title=_title(subject)))
        return
    figures = []
    for each, last in zip(foretold, repeated, strict=True):
        value = decoded(encoder, each)
        at = num_seen * (encoder.samples_per_token if isinstance(encoder, AudioEncoder) else 1)
        if len(value.inputs) <= at:
            continue  # too short: nothing came that could be compared
        figures.append(
            draw_forecast(
                value.inputs[:at],
                encoder.to_value(each.reconstruction)[at:],
                future=value.inputs[at:],
                persistence=encoder.to_value(last)[at:],
                rate=encoder.rate if isinstance(encoder, AudioEncoder) else None,
                title=f"{_title(subject)} · {each.name}",
            )
        )
    if not figures:
        raise UserError(f"--data: no example of {source.name} is so long that it reaches into the future")
    yield from _numbered(f"forecasts-{name}", figures)


def _tokens(examples: Sequence[Example], name: str, said: torch.Tensor, is_masked: torch.Tensor) -> list[Tokens]:
    """A modality of each example, with what was said of it."""
    return [
        Tokens(example.inputs[name], made, hidden, example.is_padding.get(name), example.name)
        for example, made, hidden in zip(examples, said, is_masked, strict=True)
    ]


def _numbered(name: str, figures: Sequence[Figure]) -> Pictures:
    """Names of a modality's pictures: with a number if there are several."""
    for number, figure in enumerate(figures, 1):
        yield name if len(figures) == 1 else f"{name}-{number}", figure


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
            np.stack([encoder.to_value(example.inputs[name]) for example in examples]),
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
    "forecast": _forecasts,
}
"""What `--kind` may say, beside `all`."""


def _source(subject: _Subject) -> Source:
    settings = subject.settings
    if settings.data is None and (subject.folder is None):
        raise _NothingToDraw(f"--data is missing, and {settings.checkpoint} does not say what it was trained on")
    return open_data_for(read_task(settings.checkpoint), settings)


def _examples(source: Source, settings: PlotSettings) -> list[Example]:
    """A few readable examples, evenly spread over the split."""
    names = (settings.split, "test", "validation", "train")
    # A stream has no places to look at.
    parts = [part for name in names if isinstance(part := source.splits.get(name), ExampleDataset) and len(part)]
    if not parts:
        raise UserError(f"--data: {source.name} has no examples that can be drawn")
    dataset = parts[0]
    indices = spread_indices(len(dataset), 4 * settings.num_examples)
    # The spread ones first; the others stand in for those that cannot be read.
    chosen = spread_indices(len(dataset), settings.num_examples)
    examples = []
    for index in [*chosen, *(each for each in indices if each not in chosen)]:
        if len(examples) == settings.num_examples:
            break
        example = dataset[index]
        if isinstance(example, Example):
            examples.append(example)
    if not examples:
        raise UserError(f"--data: no example of {source.name} could be read")
    return examples


def _title(subject: _Subject) -> str:
    return (subject.folder or Path(subject.settings.checkpoint)).resolve().name
