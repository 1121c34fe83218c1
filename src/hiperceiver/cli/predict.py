"""`hip predict`: labels with probabilities, segmentation pictures, or reconstructions, for files."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hiperceiver.cli.data import own_encoders
from hiperceiver.cli.errors import UserError
from hiperceiver.cli.models import read_task
from hiperceiver.cli.results import check_new, write_json
from hiperceiver.cli.settings import PredictSettings
from hiperceiver.data.collate import collate
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.example import Example
from hiperceiver.modality import Batch
from hiperceiver.tasks import Classification, MaskedAutoencoding, Segmentation, Task
from hiperceiver.training.evaluation import find_device

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Endings of the files that are taken from a folder."""
SOME_FAILED = 1


def run(settings: PredictSettings) -> int:
    """Predict file by file; bad files are named and left out."""
    check_new(settings.json, "--json")
    task = read_task(settings.checkpoint)
    name, encoder = _only_encoder(task, settings.checkpoint)
    files = _expanded(settings.files)
    pictures: dict[Path, Path] = {}
    if isinstance(task, Segmentation | MaskedAutoencoding):
        pictures = _picture_names(files, Path(settings.out or "predictions"))
    elif settings.out is not None:
        raise UserError(f"--out: {settings.checkpoint} says labels, it makes no pictures")
    task.to(find_device("auto"))

    results: dict[Path, dict[str, Any]] = {}
    for first in range(0, len(files), settings.batch_size):
        chunk = files[first : first + settings.batch_size]
        read: dict[Path, Example] = {}
        for file in chunk:
            try:
                tokens, is_padding = encoder.encode_with_padding(file)
            except ValueError as error:
                results[file] = {"error": str(error)}
                print(f"hip: {error}", file=sys.stderr)
            else:
                padding = {} if is_padding is None else {name: is_padding}
                read[file] = Example(inputs={name: tokens}, is_padding=padding, name=str(file))
        if read:
            batch = collate(list(read.values()))
            for file, result in zip(read, _predict(task, batch, encoder, settings, pictures, list(read)), strict=True):
                results[file] = result
                print(f"{file}: {_described(result)}", flush=True)
    write_json(settings.json, [{"file": str(file), **results[file]} for file in files])
    num_failed = sum("error" in result for result in results.values())
    if num_failed:
        print(f"hip: {num_failed} of {len(files)} files could not be read", file=sys.stderr)
    return SOME_FAILED if num_failed else 0


def _predict(
    task: Task,
    batch: Batch,
    encoder: Encoder,
    settings: PredictSettings,
    pictures: Mapping[Path, Path],
    files: Sequence[Path],
) -> list[dict[str, Any]]:
    """What is said of each example of a batch, in its order; pictures are written."""
    name, grid = next(iter(batch.inputs)), encoder.modality.grid
    on_device = batch.to(task.device)
    if isinstance(task, Classification):
        probabilities = task.predict(on_device).probabilities.cpu()
        return [{"labels": _largest(each, _class_names(task), settings.top)} for each in probabilities]
    results = []
    if isinstance(task, Segmentation):
        from hiperceiver.plots.segmentation import segmentation_picture

        classes = _class_names(task)
        for file, label in zip(files, task.predict(on_device).label.cpu(), strict=True):
            pictures[file].parent.mkdir(parents=True, exist_ok=True)
            segmentation_picture(label.view(grid), classes).save(pictures[file])
            shares = torch.bincount(label, minlength=len(classes)) / len(label)
            results.append({"picture": str(pictures[file]), "shares": _largest(shares, classes, settings.top)})
        return results
    from hiperceiver.plots.reconstructions import draw_reconstructions
    from hiperceiver.plots.style import save_picture

    assert isinstance(task, MaskedAutoencoding)
    prediction = task.predict(on_device)
    reconstruction, is_masked = prediction.reconstruction[name].cpu(), prediction.is_masked[name].cpu()
    for index, file in enumerate(files):
        figure = draw_reconstructions(
            encoder.decode(batch.inputs[name][index])[None],
            encoder.decode(reconstruction[index])[None],
            is_masked[index].view(1, *grid),
            names=[file.name],
        )
        save_picture(figure, pictures[file])
        results.append({"picture": str(pictures[file]), "hidden_share": float(is_masked[index].float().mean())})
    return results


def _class_names(task: Classification | Segmentation) -> Sequence[str]:
    return task.classes or [str(number) for number in range(task.config.num_classes)]


def _largest(values: Tensor, classes: Sequence[str], count: int) -> list[dict[str, Any]]:
    top = values.topk(min(count, len(classes)))
    return [
        {"name": classes[index], "probability": round(float(value), 6)}
        for value, index in zip(top.values, top.indices.tolist(), strict=True)
        if value > 0
    ]


def _described(result: Mapping[str, Any]) -> str:
    named = ", ".join(
        f"{each['name']} {100 * each['probability']:.1f}%" for each in result.get("labels", result.get("shares", []))
    )
    hidden = f"reconstructed with {100 * result['hidden_share']:.0f}% hidden" if "hidden_share" in result else ""
    return ": ".join(part for part in (result.get("picture", ""), named or hidden) if part)


def _only_encoder(task: Task, checkpoint: str) -> tuple[str, Encoder]:
    names = task.model.input_names
    encoders = own_encoders(task.encoders) or {}
    if len(names) != 1:
        raise UserError(f"{checkpoint}: expected a model of one modality for files, got one of {', '.join(names)}")
    if names[0] not in encoders:
        raise UserError(f"{checkpoint}: was saved without how {names[0]!r} is read; files cannot be brought to it")
    encoder = encoders[names[0]]
    if encoder.modality.grid != task.model.modalities[names[0]].grid:
        raise UserError(f"{checkpoint}: its encoder and its model disagree on the grid of {names[0]!r}")
    return names[0], encoder


def _expanded(names: Sequence[str]) -> list[Path]:
    """Files as they are, folders as the pictures in them; each once."""
    files: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.suffix.lower() in PICTURES and each.is_file())
            if not inside:
                raise UserError(f"{name}: this folder holds no pictures ({', '.join(PICTURES)})")
            files.update(dict.fromkeys(inside))
        else:
            files[path] = None
    return list(files)


def _picture_names(files: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """A PNG for each file, none of which exists yet."""
    names: dict[Path, Path] = {}
    for file in files:
        picture, number = folder / f"{file.stem}.png", 1
        while picture in names.values():
            number += 1
            picture = folder / f"{file.stem}-{number}.png"
        if picture.exists():
            raise UserError(f"--out: {picture} exists already; name another folder")
        names[file] = picture
    return names
