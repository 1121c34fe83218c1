"""`hip predict`: labels, numbers, segments, forecasts and reconstructions of files."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hiperceiver.cli.data import own_encoders
from hiperceiver.cli.errors import UserError
from hiperceiver.cli.models import locate, run_settings
from hiperceiver.cli.results import check_beside_data, check_new, write_json
from hiperceiver.data.collate import collate
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.picture_files import Picture as OpenedPicture
from hiperceiver.data.example import Example
from hiperceiver.data.faults import faults_of
from hiperceiver.data.sources.kinds import ENDINGS, ending_of, kind_of
from hiperceiver.data.sources.tables import READERS
from hiperceiver.data.sources.tree import Tree
from hiperceiver.settings.base import printable
from hiperceiver.settings.commands import PredictSettings
from hiperceiver.tasks import Task, load_task
from hiperceiver.tasks.answers import Answer
from hiperceiver.training.evaluation import find_device

if TYPE_CHECKING:
    from hiperceiver.cli.drawing import Picture

Pictures = Mapping[str, tuple["Picture", list[str]]]  # modality -> what writes its answers, and the files' endings


@dataclass(kw_only=True)
class InputFile:
    """A file that could be read."""

    path: Path
    example: Example
    absent: list[str] = field(default_factory=list)  # modalities that could not be read from it
    original: Any = None
    """What was decoded of it and an answer needs: before a forecast of a sequence the visible part, in the file's
    units; for a segmentation the opened picture."""


def run(settings: PredictSettings) -> int:
    """Predict file by file; bad files are named and left out."""
    check_new(settings.json, "--json")
    task = load_task(locate(settings.checkpoint))
    encoders = own_inputs(task, settings.checkpoint)
    pictures = pictures_of(task, encoders)
    if settings.out is not None and not pictures:
        raise UserError(f"--out: {settings.checkpoint} only says what it finds, it makes no pictures")
    out = Path(settings.out or "predictions")
    folders = (run_settings(settings.checkpoint).get("data"), *settings.files)
    if pictures:
        check_beside_data(out, *folders)
    check_json_beside_data(settings.json, encoders, *folders)
    paths = _expanded(settings.files, encoders, settings.checkpoint)
    suffixes = [suffix for _, each in pictures.values() for suffix in each]
    stems = _stems(paths, out, suffixes)
    task.to(find_device("auto"))

    results: dict[Path, dict[str, Any]] = {}
    for first in range(0, len(paths), settings.batch_size):
        files: dict[int, InputFile] = {}
        for index, path in enumerate(paths[first : first + settings.batch_size], first):
            try:
                files[index] = read_file(task, encoders, path)
            except ValueError as error:
                fault = f"{path}: {str(error).removeprefix(f'{path}: ')}"  # not every fault names the file
                results[path] = {"error": fault}
                print(f"hip: {printable(fault)}", file=sys.stderr)
        if not files:
            continue
        batch = collate([file.example for file in files.values()]).to(task.device)
        answers = task.answers(batch, top=settings.top, seeds=list(files))
        for file, answer in zip(files.values(), answers, strict=True):
            results[file.path], text = write_answer(file, answer, stems[file.path], pictures)
            print(printable(f"{file.path}: {text}"), flush=True)
    write_json(settings.json, [{"file": str(path), **results[path]} for path in paths])
    num_failed = sum("error" in result for result in results.values())
    if num_failed:
        print(f"hip: {num_failed} of {len(paths)} files could not be read", file=sys.stderr)
    return 1 if num_failed else 0


def check_json_beside_data(path: str | None, encoders: Mapping[str, Encoder], *data: str | None) -> None:
    """Refuse to write JSON into a folder of data that would read it as a text or a table."""
    if path is not None and (
        Path(path).suffix in READERS or any(kind_of(path, among=[each.kind]) for each in encoders.values())
    ):
        check_beside_data(Path(path), *data, option="--json", what="it")


def own_inputs(task: Task, checkpoint: str) -> dict[str, Encoder]:
    """An encoder for each modality that the model takes, all from one file."""
    known = own_encoders(task.encoders, checkpoint) or {}
    for name in task.model.input_names:
        if name not in known:
            raise UserError(f"{checkpoint}: was saved without how {name!r} is read; files cannot be brought to it")
        own, model = known[name].modality, task.model.modalities[name]
        if (own.grid, own.channels, own.num_categories) != (model.grid, model.channels, model.num_categories):
            raise UserError(f"{checkpoint}: its encoder and its model disagree on the tokens of {name!r}")
    return {name: known[name] for name in task.model.input_names}


def _expanded(names: Sequence[str], encoders: Mapping[str, Encoder], checkpoint: str) -> list[Path]:
    """Files as they are, folders as what is in them that the model may take; each once.

    These are files; of video, where there are none, folders of pictures.
    """
    kinds = list(dict.fromkeys(encoder.kind for encoder in encoders.values()))
    files: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        if not path.is_dir():
            files[path] = None
            continue
        below = list(Tree(name).below())
        inside = sorted(path / each for each in below if kind_of(Path(each).name, among=kinds) is not None)
        if not inside and "video" in kinds:
            inside = sorted({(path / each).parent for each in below if ending_of(each) in ENDINGS["image"]})
        if not inside:
            suffixes = (suffix for each in encoders.values() for suffix in (*each.suffixes, *each.other_suffixes))
            known = ", ".join(dict.fromkeys(suffix for suffix in suffixes if suffix != "*"))
            expected = " or ".join(kinds) + (f" ({known})" if known else "")
            raise UserError(f"{name}: this folder holds no files of {expected}, which {checkpoint} takes")
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


def read_file(task: Task, encoders: Mapping[str, Encoder], path: Path) -> InputFile:
    """A file as an example; modalities that cannot be read are absent, unless it is all, or the one the task needs."""
    inputs: dict[str, Tensor] = {}
    is_padding: dict[str, Tensor] = {}
    faults: dict[str, ValueError] = {}
    file = InputFile(path=path, example=Example(inputs=inputs, is_padding=is_padding, name=path.name))
    for name, encoder in encoders.items():
        num_tokens, channels = encoder.modality.num_tokens, encoder.modality.channels
        try:
            if task.horizon and name == task.input_modality and encoder.is_sequence:
                file.original = _past(encoder, encoder.decode(path), task.horizon)
                inputs[name], absent = _before_the_horizon(encoder, file.original, task.horizon)
            else:
                with faults_of(path, is_path=True):
                    value = encoder.decode(path)
                    inputs[name], absent = encoder.to_tokens(encoder.fit_to_grid(value))
                if name == task.input_modality and isinstance(value, OpenedPicture):
                    file.original = value
        except ValueError as error:
            if name == task.input_modality:
                raise
            faults[name] = error
            inputs[name], absent = torch.zeros(num_tokens, channels), torch.ones(num_tokens, dtype=torch.bool)
        if absent is not None:
            is_padding[name] = absent
    if len(faults) == len(encoders):
        if len(faults) == 1:
            raise next(iter(faults.values()))
        reasons = "; ".join(f"as {name}: {str(error).removeprefix(f'{path}: ')}" for name, error in faults.items())
        raise ValueError(f"{path}: {reasons}")
    file.absent = list(faults)
    return file


def _past(encoder: Encoder, value: np.ndarray, horizon: int) -> np.ndarray:
    """The end of a file, as far as the model sees it: whole tokens."""
    size = encoder.steps_per_token
    count = min(len(value) // size, encoder.modality.grid[0] - horizon)
    if not count:
        raise ValueError(f"is too short: expected at least {size} samples, got {len(value)}")
    return value[-count * size :]


def _before_the_horizon(encoder: Encoder, past: np.ndarray, horizon: int) -> tuple[Tensor, Tensor]:
    """Tokens that end where the horizon begins, so that the forecast follows the file's end."""
    tokens, _ = encoder.to_tokens(past)
    count, num_past = len(past) // encoder.steps_per_token, len(tokens) - horizon
    index = torch.arange(len(tokens))
    return tokens.roll(num_past - count, dims=0), (index < num_past - count) | (index >= num_past)


def pictures_of(task: Task, encoders: Mapping[str, Encoder]) -> Pictures:
    """None for a task whose answers are values alone, which needs no matplotlib."""
    if not task.drawings:
        return {}
    from hiperceiver.cli.drawing import PICTURES

    pictures = {name: PICTURES[drawn](encoders[name]) for name, drawn in task.drawings.items()}
    marks = {name: f"-{name}" if len(pictures) > 1 else "" for name in pictures}
    return {name: (each, [f"{marks[name]}{suffix}" for suffix in each.suffixes]) for name, each in pictures.items()}


def write_answer(file: InputFile, answer: Answer, stem: Path, pictures: Pictures) -> tuple[dict[str, Any], str]:
    """Write the files of an answer, and put together its values for JSON and its line for people."""
    written: list[str] = []
    values, text = answer.values, answer.text
    for drawn in answer.drawn:
        if drawn.modality in file.absent:
            continue
        stem.parent.mkdir(parents=True, exist_ok=True)
        picture, suffixes = pictures[drawn.modality]
        paths = [f"{stem}{suffix}" for suffix in suffixes]
        try:
            more = picture.write(file.example, drawn, file.original, paths)
        except OSError as error:  # a failed write does not know its file
            raise OSError(error.errno, error.strerror, error.filename or ", ".join(paths)) from None
        written += paths
        if more is not None:
            values, text = {**values, **more[0]}, more[1]
    if answer.drawn:
        values = {"written": written, **values}
    if file.absent:
        values = {**values, "absent": file.absent}
    text = ": ".join(part for part in (", ".join(written), text) if part)
    return values, f"{text} (without {', '.join(file.absent)})" if file.absent else text
