"""Run folders: where a new one goes, its training, and the settings from which it can be repeated."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from hiperceiver.cli.arguments import dump
from hiperceiver.cli.data import changes_since, print_data
from hiperceiver.cli.errors import UserError
from hiperceiver.cli.position_maps import PositionMaps
from hiperceiver.cli.tables import metric, print_metrics, print_table, quantity
from hiperceiver.data.sources.source import Source
from hiperceiver.settings.commands import FinetuneSettings, PretrainSettings
from hiperceiver.settings.old_names import FORMAT
from hiperceiver.settings.run import TrainingSettings
from hiperceiver.tasks import Task
from hiperceiver.training import TrainingResult, format_duration, train
from hiperceiver.training.errors import TrainingError, write_errors
from hiperceiver.training.evaluation import find_device
from hiperceiver.training.folder import RunFolder, check_run_folder
from hiperceiver.training.launch import find_launch, is_first_process
from hiperceiver.training.observers import Observer
from hiperceiver.writing import write_text

AnySettings = PretrainSettings | FinetuneSettings


def train_and_report(
    task: Task,
    source: Source,
    settings: AnySettings,
    *,
    command: str,
    model: str,
    observers: Sequence[Observer] = (),
) -> tuple[int, Path]:
    """Train, print the results, and return the exit code and the run's folder.

    Where there are `observers`, position tables are drawn too. Of processes that train together the first alone does
    more than train; for the others this is the end.
    """
    how = settings.part(TrainingSettings)
    seen: dict[str, Any] = {"resume": settings.resume, "observers": observers}
    if not is_first_process():
        train(task, source, how, settings.out or "runs", show_progress=False, **seen)
        sys.exit(0)
    folder = _choose_folder(settings, command=command, model=model)
    print_data(source)
    print(f"run folder: {folder}", flush=True)
    if observers:
        seen["observers"] = (*observers, PositionMaps(RunFolder(folder).positions))
    with _recorded(settings, folder, source, command=command):
        result = train(task, source, how, folder, **seen)
    _report(result, f"{command} {model} on {source.name}, {task.kind}", source.note)
    if result.is_interrupted:
        print(f"hip: interrupted; go on with: hip {command} --out {folder} --resume", file=sys.stderr)
        return 130, folder
    return 0, folder


def _report(result: TrainingResult, title: str, note: str) -> None:
    title = f"{title}: {result.steps} steps in {format_duration(result.seconds)}"
    if result.metrics:
        columns = {f"validation\nbest, step {result.best_step}": result.metrics | result.observed}
        columns["last"] = result.last_metrics | result.last_observed
        print_metrics(columns, title=title)
    else:
        rows = [] if result.loss is None else [("training loss", metric("loss", result.loss))]
        print_table(("metric", "last"), rows, title=title)
    if note and result.metrics:
        print(note)
    if result.compute is not None:
        done, limit = (quantity(each) for each in (result.compute.flops_per_second, result.compute.limit))
        print(f"{done}FLOP/s in training, {result.compute.share:.0%} of the {limit}FLOP/s of matrix products here")
    if result.num_left_out:
        were = "step was" if result.num_left_out == 1 else "steps were"
        named = RunFolder(result.run_folder).not_finite
        print(f"{result.num_left_out} {were} left out, not finite; the examples are named in {named}")
    skipped = RunFolder(result.run_folder).skipped
    if skipped.exists():
        count = len(skipped.read_text(encoding="utf-8").splitlines())
        were = "example was left out; it is" if count == 1 else "examples were left out; they are"
        print(f"{count} unreadable {were} named in {skipped}")
    print(f"model: {result.model_folder}")


def _choose_folder(settings: AnySettings, *, command: str, model: str) -> Path:
    """`--out`, or a new `runs/COMMAND-DATA-MODEL-NUMBER`."""
    if settings.out is not None:
        return Path(settings.out)
    stem = "-".join([command, _as_word(settings.data), _as_word(model)])
    number = 1
    while True:
        folder = Path("runs", f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1


def _as_word(name: str) -> str:
    """Part of a folder's name."""
    return re.sub(r"[^\w.]+", "-", Path(name).resolve().name if Path(name).exists() else name).strip("-.") or "data"


def _hardware(settings: AnySettings) -> str:
    """What the run has to itself, such as `2 cores` or `1 GPU (its name)`: `hip runs` reads it."""
    count = find_launch(settings.devices, settings.num_nodes).num_ranks
    is_gpu = (device := find_device(settings.accelerator)).type != "cpu"
    count *= 1 if is_gpu else torch.get_num_threads()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{count} {'GPU' if is_gpu else 'core'}{'s' * (count != 1)}" + (f" ({name})" if is_gpu else "")


@contextmanager
def _recorded(settings: AnySettings, folder: Path, source: Source, *, command: str) -> Iterator[None]:
    """Write `settings.yaml` for what runs inside. A run that fails before it has written anything leaves no folder."""
    path, kept = RunFolder(folder).settings, RunFolder(folder).members
    is_new = not check_run_folder(folder, resume=settings.resume)
    before = path.read_text(encoding="utf-8") if path.exists() else None
    if not is_new and (changes := changes_since(folder, source)):
        if changes.moved:
            raise UserError(f"--resume: the run has other splits (by --data, --split-seed, ...): {changes}")
        print(f"hip: note: the data have changed since the run began: {changes}", file=sys.stderr)
    if is_new and settings.resume:
        print(f"hip: note: {folder} has no checkpoint yet: the run begins", file=sys.stderr)
    head = f"# hip {command} {version('hiperceiver')}; to repeat it: hip {command} --config {path.name} --out OTHER"
    head += f"\n# on {_hardware(settings)}"
    text = dump(settings.with_absolute_paths(), without=("out", "resume"))
    with write_errors(f"--out: {folder} cannot be written to"):
        if is_new:
            folder.mkdir(parents=True, exist_ok=True)
            source.members.save(kept)
        write_text(path, f"{head}\nformat: {FORMAT}\n{text}")  # a longer run is longer when it is resumed once more
    try:
        yield
    except BaseException as error:
        there = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
        is_unused = is_new and there <= {path.name, kept.name}
        is_refused = isinstance(error, ValueError) and not isinstance(error, TrainingError)
        if before is not None and (is_unused or is_refused):
            with suppress(OSError):
                write_text(path, before)  # it did not go on with these settings
        if is_unused and there:
            kept.unlink(missing_ok=True)
            if before is None:
                path.unlink(missing_ok=True)
                folder.rmdir()
        elif there:
            error.add_note(f"The files of the run are in {folder}.")
        raise
