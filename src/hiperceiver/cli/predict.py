"""`hip predict`: what a trained model says of files: labels, numbers, segments, forecasts, reconstructions."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hiperceiver.cli.answers import ANSWERS, ReadFile, Result, Subject, is_line, samples_per_token, written_endings
from hiperceiver.cli.data import own_encoders
from hiperceiver.cli.errors import UserError
from hiperceiver.cli.models import read_task
from hiperceiver.cli.results import check_new, write_json
from hiperceiver.data.collate import collate
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.example import Example
from hiperceiver.data.sources.kinds import ENDINGS, OTHER_ENDINGS, kind_of
from hiperceiver.data.sources.tree import is_leftover
from hiperceiver.settings.commands import PredictSettings
from hiperceiver.tasks import Forecasting, Task
from hiperceiver.training.evaluation import find_device

SOME_FAILED = 1


def run(settings: PredictSettings) -> int:
    """Predict file by file; bad files are named and left out."""
    check_new(settings.json, "--json")
    task = read_task(settings.checkpoint)
    subject = Subject(task=task, encoders=_encoders(task, settings.checkpoint), top=settings.top)
    if task.kind not in ANSWERS:
        raise UserError(f"{settings.checkpoint}: nothing is known of how {task.kind} predicts for a file")
    endings = written_endings(subject)
    if settings.out is not None and not endings:
        raise UserError(f"--out: {settings.checkpoint} only says what it finds, it makes no pictures")
    paths = _expanded(settings.files, subject.encoders, settings.checkpoint)
    stems = _stems(paths, Path(settings.out or "predictions"), endings)
    task.to(find_device("auto"))

    results: dict[Path, Result] = {}
    for first in range(0, len(paths), settings.batch_size):
        files: list[ReadFile] = []
        for index, path in enumerate(paths[first : first + settings.batch_size], first):
            try:
                files.append(_read(subject, path, index, stems[path]))
            except ValueError as error:
                fault = f"{path}: {str(error).removeprefix(f'{path}: ')}"  # not every fault names the file
                results[path] = {"error": fault}
                print(f"hip: {fault}", file=sys.stderr)
        if not files:
            continue
        batch = collate([file.example for file in files])
        for file, result in zip(files, ANSWERS[task.kind](subject, batch, files), strict=True):
            results[file.path] = result | ({"absent": file.absent} if file.absent else {})
            print(f"{file.path}: {_described(results[file.path])}", flush=True)
    write_json(settings.json, [{"file": str(path), **results[path]} for path in paths])
    num_failed = sum("error" in result for result in results.values())
    if num_failed:
        print(f"hip: {num_failed} of {len(paths)} files could not be read", file=sys.stderr)
    return SOME_FAILED if num_failed else 0


def _described(result: Result) -> str:
    """One line for people."""
    parts = [", ".join(result["written"])] if "written" in result else []
    if "hidden_share" in result:
        parts.append(f"reconstructed with {100 * result['hidden_share']:.0f}% hidden")
    elif "steps" in result:
        seen = f" from {result['seen_steps']} before" if "seen_steps" in result else ""
        parts.append(f"{result['steps']} step{'s'[: result['steps'] > 1]} foretold{seen}")
    elif "values" in result:
        parts.append(", ".join(f"{each['name']} {each['value']:.5g}" for each in result["values"]))
    elif "joint" in result:
        parts.append(
            ", ".join(
                f"{name} {answer:.5g}" if isinstance(answer, float) else f"{name} {_named(answer[:1])}"
                for name, answer in result["joint"].items()
            )
        )
    else:
        parts.append(_named(result["labels"] if "labels" in result else result["shares"]))
    absent = f" (without {', '.join(result['absent'])})" if "absent" in result else ""
    return ": ".join(part for part in parts if part) + absent


def _named(labels: Sequence[Result]) -> str:
    return ", ".join(f"{each['name']} {100 * each['probability']:.1f}%" for each in labels)


def _encoders(task: Task, checkpoint: str) -> dict[str, Encoder]:
    """An encoder for each modality that the model takes, all from one file."""
    known = own_encoders(task.encoders) or {}
    for name in task.model.input_names:
        if name not in known:
            raise UserError(f"{checkpoint}: was saved without how {name!r} is read; files cannot be brought to it")
        if known[name].modality.grid != task.model.modalities[name].grid:
            raise UserError(f"{checkpoint}: its encoder and its model disagree on the grid of {name!r}")
    return {name: known[name] for name in task.model.input_names}


def _read(subject: Subject, path: Path, index: int, stem: Path) -> ReadFile:
    """A file as an example. Modalities that cannot be read from it are absent.

    Raises:
        ValueError: none can be read, or the one that the task needs cannot.
    """
    inputs: dict[str, Tensor] = {}
    is_padding: dict[str, Tensor] = {}
    faults: dict[str, ValueError] = {}
    file = ReadFile(
        path=path, index=index, stem=stem, example=Example(inputs=inputs, is_padding=is_padding, name=str(path))
    )
    needed = getattr(subject.task, "input_modality", None)
    for name, encoder in subject.encoders.items():
        try:
            if isinstance(subject.task, Forecasting) and name == needed and is_line(encoder):
                file.past = _past(encoder, encoder.decode(path), subject.task.config.horizon)
                inputs[name], absent = _before_the_future(encoder, file.past, subject.task.config.horizon)
            else:
                inputs[name], absent = encoder.encode(path)
        except ValueError as error:
            if name == needed:
                raise
            faults[name] = error
            inputs[name] = torch.zeros(encoder.modality.num_tokens, encoder.modality.channels)
            absent = torch.ones(encoder.modality.num_tokens, dtype=torch.bool)
        if absent is not None:
            is_padding[name] = absent
    if len(faults) == len(subject.encoders):
        if len(faults) == 1:
            raise next(iter(faults.values()))
        reasons = "; ".join(f"as {name}: {str(error).removeprefix(f'{path}: ')}" for name, error in faults.items())
        raise ValueError(f"{path}: {reasons}")
    file.absent = list(faults)
    return file


def _past(encoder: Encoder, value: np.ndarray, horizon: int) -> np.ndarray:
    """The end of a file, as far as a forecaster sees it: whole tokens."""
    size = samples_per_token(encoder)
    count = min(len(value) // size, encoder.modality.grid[0] - horizon)
    if not count:
        raise ValueError(f"is too short: expected at least {size} samples, got {len(value)}")
    return value[-count * size :]


def _before_the_future(encoder: Encoder, past: np.ndarray, horizon: int) -> tuple[Tensor, Tensor]:
    """Tokens that end where the future begins, so that what is foretold is what follows the file's end."""
    tokens, _ = encoder.to_tokens(past)
    count, seen = len(past) // samples_per_token(encoder), len(tokens) - horizon
    place = torch.arange(len(tokens))
    return tokens.roll(seen - count, dims=0), (place < seen - count) | (place >= seen)


def _expanded(names: Sequence[str], encoders: Mapping[str, Encoder], checkpoint: str) -> list[Path]:
    """Files as they are, folders as the files in them that may be what the model takes; each once."""
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
            endings = [ending for kind in kinds for ending in (*ENDINGS.get(kind, ()), *OTHER_ENDINGS.get(kind, ()))]
            known = f" ({', '.join(dict.fromkeys(endings))})" if endings else ""
            raise UserError(
                f"{name}: this folder holds no files of {' or '.join(kinds)}{known}, which {checkpoint} takes"
            )
        files.update(dict.fromkeys(inside))
    return list(files)


def _stems(files: Sequence[Path], folder: Path, endings: Sequence[str]) -> dict[Path, Path]:
    """Where what is written for each file begins: different for each, and nothing of it exists yet."""
    stems: dict[Path, Path] = {}
    taken: set[Path] = set()
    for file in files:
        stem, number = folder / file.stem, 1
        while stem in taken:
            number += 1
            stem = folder / f"{file.stem}-{number}"
        for ending in endings:
            if (path := Path(f"{stem}{ending}")).exists():
                raise UserError(f"--out: {path} exists already; name another folder")
        taken.add(stem)
        stems[file] = stem
    return stems
