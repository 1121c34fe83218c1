"""`hip plot`: pictures of a run or a saved model."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from matplotlib.figure import Figure

from hiperceiver.cli.data import open_data_for, print_data
from hiperceiver.cli.drawing import PICTURES
from hiperceiver.cli.errors import UserError, describe
from hiperceiver.cli.inside import attention_pictures, feature_pictures
from hiperceiver.cli.models import locate, run_folder, run_settings
from hiperceiver.cli.results import check_beside_data
from hiperceiver.data.collate import collate
from hiperceiver.data.example import Example, ExampleDataset
from hiperceiver.data.sources.source import Source
from hiperceiver.modality import Batch
from hiperceiver.model import load_model, read_model
from hiperceiver.model.positions import CoordinatePositions
from hiperceiver.plots.arrays import spread_indices
from hiperceiver.plots.curves import draw_curves
from hiperceiver.plots.positions import draw_components, draw_similarity
from hiperceiver.plots.style import save_picture
from hiperceiver.settings.base import one_line, printable
from hiperceiver.settings.commands import PlotSettings
from hiperceiver.tasks import Segmentation, Task, load_task
from hiperceiver.training.evaluation import measure
from hiperceiver.training.logs import in_digits, split_compared

_TRIED = 16
"""Examples with labelled pixels that are looked at for each that is drawn: many show a single class."""

Pictures = Iterator[tuple[str, Figure]]  # names of files without their ending, and what is in them


def run(settings: PlotSettings) -> int:
    """Draw, write, and say where."""
    folder = run_folder(settings.checkpoint)
    target = _target(settings, folder)
    if settings.out is not None:
        check_beside_data(target, settings.data, run_settings(settings.checkpoint).get("data"))
    faults: dict[str, ValueError] = {}
    num_drawn = 0
    if settings.position is not None and settings.pictures != "attention":
        raise UserError(f"--position: only with --kind attention, got {settings.position}")
    for kind in USUAL if settings.pictures == "all" else [settings.pictures]:
        try:
            for name, figure in KINDS[kind](settings, folder):
                path = target / f"{name}.png"
                existed = path.exists()
                save_picture(figure, path)
                num_drawn += 1
                print(printable(f"{path}{' (replaced)' if existed else ''}"), flush=True)
        except ValueError as error:
            # What the others need may still be there.
            if settings.pictures != "all" or describe(error) is None:
                raise
            faults[kind] = error
    failed = {kind: one_line(error) for kind, error in faults.items() if not isinstance(error, NothingToDraw)}
    if not num_drawn:
        reasons = failed.values() or map(str, faults.values())
        raise UserError(f"{settings.checkpoint}: nothing to draw: {'; '.join(reasons)}")
    for kind, fault in failed.items():
        print(f"hip: no picture of kind {kind}: {fault}", file=sys.stderr)
    return 1 if failed else 0


class NothingToDraw(UserError):
    """This run or model has nothing for this kind of picture."""


def _target(settings: PlotSettings, folder: Path | None) -> Path:
    if settings.out is not None:
        return Path(settings.out)
    if folder is not None:
        return folder / "pictures"
    given = Path(settings.checkpoint)  # or the name of a model that is installed, or on a hub
    return given / "pictures" if given.is_dir() else Path("pictures", Path(locate(settings.checkpoint)).name)


def _curves(settings: PlotSettings, folder: Path | None) -> Pictures:
    if folder is None or not (folder / "metrics.csv").is_file():
        raise NothingToDraw(f"{settings.checkpoint} is no run with a metrics.csv to draw curves of")
    yield "curves", draw_curves(folder / "metrics.csv", title=folder.resolve().name)


def _positions(settings: PlotSettings, folder: Path | None) -> Pictures:
    yield from position_pictures(settings.checkpoint)


def position_pictures(checkpoint: str) -> Pictures:
    """Similarities and components of a saved model's position encodings."""
    saved = read_model(locate(checkpoint))
    if saved.config.positions == "none":
        raise NothingToDraw(f"{saved.source} has no position encodings to draw")
    model = load_model(saved)
    # Tokens that bring their coordinates along have no table of positions.
    names = [name for name in model.input_names if not isinstance(model.positions[name], CoordinatePositions)]
    grids = {name: grid for name in names if len(grid := model.modalities[name].grid) <= 3}
    if not grids:
        raise NothingToDraw(f"{saved.source} has no table of positions that can be drawn")
    for name, grid in grids.items():
        with torch.no_grad():
            table = model.positions[name]()
        title = f"{saved.config.positions} positions of {name!r}, {' x '.join(map(str, grid))}"
        yield f"positions-{name}-similarity", draw_similarity(table, grid, title=title)
        yield f"positions-{name}-components", draw_components(table, grid, title=title)


def _answers(kind: str, settings: PlotSettings, folder: Path | None) -> Pictures:
    """Pictures of what the task answers on some examples."""
    task = load_task(locate(settings.checkpoint))
    drawings = {name: drawn for name, drawn in task.drawings.items() if drawn.kind == kind}
    if not drawings:
        raise NothingToDraw(f"{settings.checkpoint} was trained for {task.kind}, it has no {kind} to draw")
    if settings.data is None and folder is None:
        raise NothingToDraw(f"--data is missing, and {settings.checkpoint} does not say what it was trained on")
    source = open_data_for(task, settings)
    if task.input_modality is not None and task.input_modality not in source.encoders:
        raise UserError(f"--data: expected {task.input_modality!r} in {source.name}, got {', '.join(source.encoders)}")
    examples = spread_examples(drawn_split(source, settings), source, settings)
    print_data(source)
    batch = collate(examples)
    answers = list(task.answers(batch))
    title = ", ".join(part for part in (_subject(settings, folder), task.drawing_note) if part)
    reached = _reached(task, batch)
    for name in (each for each in source.encoders if each in drawings):
        picture = PICTURES[drawings[name]](source.encoders[name])
        drawn = [each for answer in answers for each in answer.drawn if each.modality == name]
        try:
            figures = picture.draw(examples, drawn, "\n".join(filter(None, (title, reached.get(name)))))
        except ValueError as error:
            raise UserError(f"--data: {source.name}: {error}") from None
        for number, figure in enumerate(figures, 1):
            yield picture.file_name.format(name) + (f"-{number}" if len(figures) > 1 else ""), figure


def _reached(task: Task, batch: Batch) -> dict[str, str]:
    """What the model, and trivial answers, reach on the hidden tokens of what is drawn: a line for each modality."""
    if (trivial := task.trivial_answers(len(batch))) is None:
        return {}
    measured = measure(task.eval(), [batch], precision="32", after_batch=lambda count: False, trivial=trivial)
    assert measured is not None
    own, compared = split_compared(measured.metrics)
    names, lines = list(task.drawings), {}
    for name in names:
        suffix = "" if len(names) == 1 else f"_{name}"
        parts = []
        for base in (f"explained{suffix}", f"accuracy{suffix}"):
            if base in compared:
                others = compared[base].items()
                behind = ", ".join(f"{other.replace('_', ' ')} {in_digits(value, '.2f')}" for other, value in others)
                parts.append(f"{base.removesuffix(suffix)} {in_digits(own[base], '.2f')} ({behind})")
        if parts:
            lines[name] = "of what is drawn: " + ", ".join(parts)
    return lines


def _attention(settings: PlotSettings, folder: Path | None) -> Pictures:
    task, title = load_task(locate(settings.checkpoint)), _subject(settings, folder)
    source = open_data_for(task, settings)
    examples = spread_examples(drawn_split(source, settings), source, settings)
    print_data(source)
    yield from attention_pictures(task, source.encoders, examples, title=title, position=settings.position)


def _features(settings: PlotSettings, folder: Path | None) -> Pictures:
    task, title = load_task(locate(settings.checkpoint)), _subject(settings, folder)
    source = open_data_for(task, settings, with_labels=True)
    dataset = drawn_split(source, settings)
    examples = spread_examples(dataset, source, settings)
    print_data(source)
    yield from feature_pictures(task, source, dataset, examples, title=title)


USUAL: dict[str, Callable[[PlotSettings, Path | None], Pictures]] = {
    **{drawn.kind: partial(_answers, drawn.kind) for drawn in PICTURES},
    "curves": _curves,
    "positions": _positions,
}
"""What `--kind all` draws; answers first, for they print what the data are."""

KINDS = {**USUAL, "attention": _attention, "features": _features}
"""What `--kind` may say, beside `all`."""


def _subject(settings: PlotSettings, folder: Path | None) -> str:
    """What the pictures are of, for their title."""
    return (folder or Path(settings.checkpoint)).resolve().name


def drawn_split(source: Source, settings: PlotSettings) -> ExampleDataset:
    """The split that examples come from."""
    names = (settings.split, "test", "validation", "train")
    # A stream has no examples by number.
    parts = [part for name in names if isinstance(part := source.splits.get(name), ExampleDataset) and len(part)]
    if not parts:
        raise UserError(f"--data: {source.name} has no examples that can be drawn")
    return parts[0]


def spread_examples(dataset: ExampleDataset, source: Source, settings: PlotSettings) -> list[Example]:
    """A few readable examples, evenly spread over the split; of labelled pixels, those nearby with the most classes."""
    num = settings.num_examples
    # The spread ones first; the others stand in for those that cannot be read.
    indices = [index for n in (1, 4) for index in spread_indices(len(dataset), n * num)]
    readable = (each for index in dict.fromkeys(indices) if isinstance(each := dataset[index], Example))
    examples = list(islice(readable, num))
    if not examples:
        raise UserError(f"--data: no example of {source.name} could be read")
    if Segmentation.target_kind not in examples[0].targets:
        return examples
    spread = spread_indices(len(dataset), _TRIED * num)
    tried = [each for index in spread if isinstance(each := dataset[index], Example)]
    parts = (tried[len(tried) * n // num : len(tried) * (n + 1) // num] for n in range(num))
    return [max(part, key=_num_classes) for part in parts if part] or examples


def _num_classes(example: Example) -> int:
    return len(example.targets[Segmentation.target_kind].unique())
