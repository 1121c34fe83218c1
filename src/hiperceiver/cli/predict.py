"""`hip predict`: labels, numbers, segments, forecasts and reconstructions of files."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hiperceiver.cli.data import own_encoders
from hiperceiver.cli.errors import UserError
from hiperceiver.cli.models import read_task
from hiperceiver.cli.predictions import InputFile, finish, read_file, written_suffixes
from hiperceiver.cli.results import check_new, write_json
from hiperceiver.data.collate import collate
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.sources.kinds import kind_of
from hiperceiver.data.sources.tree import is_leftover
from hiperceiver.settings.commands import PredictSettings
from hiperceiver.tasks import Task
from hiperceiver.training.evaluation import find_device

SOME_FAILED = 1


def run(settings: PredictSettings) -> int:
    """Predict file by file; bad files are named and left out."""
    check_new(settings.json, "--json")
    task = read_task(settings.checkpoint)
    encoders = _encoders(task, settings.checkpoint)
    suffixes = written_suffixes(task, encoders)
    if settings.out is not None and not suffixes:
        raise UserError(f"--out: {settings.checkpoint} only says what it finds, it makes no pictures")
    paths = _expanded(settings.files, encoders, settings.checkpoint)
    stems = _stems(paths, Path(settings.out or "predictions"), suffixes)
    task.to(find_device("auto"))

    results: dict[Path, dict[str, Any]] = {}
    for first in range(0, len(paths), settings.batch_size):
        files: dict[int, InputFile] = {}
        for index, path in enumerate(paths[first : first + settings.batch_size], first):
            try:
                files[index] = read_file(task, encoders, path, stems[path])
            except ValueError as error:
                fault = f"{path}: {str(error).removeprefix(f'{path}: ')}"  # not every fault names the file
                results[path] = {"error": fault}
                print(f"hip: {fault}", file=sys.stderr)
        if not files:
            continue
        batch = collate([file.example for file in files.values()]).to(task.device)
        answers = task.answers(batch, top=settings.top, seeds=list(files))
        for file, answer in zip(files.values(), answers, strict=True):
            results[file.path], text = finish(file, answer, encoders)
            print(f"{file.path}: {text}", flush=True)
    write_json(settings.json, [{"file": str(path), **results[path]} for path in paths])
    num_failed = sum("error" in result for result in results.values())
    if num_failed:
        print(f"hip: {num_failed} of {len(paths)} files could not be read", file=sys.stderr)
    return SOME_FAILED if num_failed else 0


def _encoders(task: Task, checkpoint: str) -> dict[str, Encoder]:
    """An encoder for each modality that the model takes, all from one file."""
    known = own_encoders(task.encoders) or {}
    for name in task.model.input_names:
        if name not in known:
            raise UserError(f"{checkpoint}: was saved without how {name!r} is read; files cannot be brought to it")
        if known[name].modality.grid != task.model.modalities[name].grid:
            raise UserError(f"{checkpoint}: its encoder and its model disagree on the grid of {name!r}")
    return {name: known[name] for name in task.model.input_names}


def _expanded(names: Sequence[str], encoders: Mapping[str, Encoder], checkpoint: str) -> list[Path]:
    """Files as they are, folders as the files in them that the model may take; each once."""
    kinds = list(dict.fromkeys(encoder.kind for encoder in encoders.values()))
    files: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        if not path.is_dir():
            files[path] = None
            continue
        inside = sorted(
            each
            for each in path.rglob("*")
            if kind_of(each.name, among=kinds) is not None
            and each.is_file()
            and not any(is_leftover(part) for part in each.relative_to(path).parts)
        )
        if not inside:
            suffixes = (suffix for each in encoders.values() for suffix in (*each.suffixes, *each.other_suffixes))
            known = ", ".join(dict.fromkeys(suffix for suffix in suffixes if suffix != "*"))
            known = f" ({known})" if known else ""
            raise UserError(
                f"{name}: this folder holds no files of {' or '.join(kinds)}{known}, which {checkpoint} takes"
            )
        files.update(dict.fromkeys(inside))
    return list(files)


def _stems(files: Sequence[Path], folder: Path, suffixes: Sequence[str]) -> dict[Path, Path]:
    """Beginning of the paths that are written for each file: different for each, and new."""
    stems: dict[Path, Path] = {}
    taken: set[Path] = set()
    for file in files:
        stem, number = folder / file.stem, 1
        while stem in taken:
            number += 1
            stem = folder / f"{file.stem}-{number}"
        for suffix in suffixes:
            if (path := Path(f"{stem}{suffix}")).exists():
                raise UserError(f"--out: {path} exists already; name another folder")
        taken.add(stem)
        stems[file] = stem
    return stems
