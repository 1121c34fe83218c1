"""A trained model as what answers on the page of `hip serve`, by the ways of `hip predict` and `hip plot`."""

import copy
import dataclasses
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from hiperceiver.cli.data import open_data_for
from hiperceiver.cli.drawing import PICTURES, Tokens, decoded, figures_of
from hiperceiver.cli.errors import describe
from hiperceiver.cli.inside import Shown, attention_pictures
from hiperceiver.cli.models import locate, run_folder
from hiperceiver.cli.plot import NothingToDraw, drawn_split, position_pictures, spread_examples
from hiperceiver.cli.predict import InputFile, own_inputs, pictures_of, read_file, write_answer
from hiperceiver.data.collate import collate
from hiperceiver.data.encoders import VectorEncoder
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.example import Example
from hiperceiver.plots.segmentation import palette
from hiperceiver.plots.style import write_figure
from hiperceiver.serve.answers import About, Input, Question, Refused, Reply, Segment
from hiperceiver.settings.base import one_line, printable
from hiperceiver.settings.commands import PlotSettings, ServeSettings
from hiperceiver.tasks import Joint, MaskedAutoencoding, Regression, Task, load_task
from hiperceiver.tasks.answers import Answer, LabelledTokens
from hiperceiver.training.evaluation import find_device

_KEPT = 16  # answers whose files are kept: the page copies them at once
_CLASSES = "probability"  # name of an answer that is classes, where it has no name of its own


def open_model(settings: ServeSettings, folder: Path) -> "AnsweringModel":
    """The model, and examples of its data where they are there; files of answers are written into the folder."""
    task = load_task(locate(settings.checkpoint)).eval()
    encoders = own_inputs(task, settings.checkpoint)
    examples, classes = _examples(task, settings)
    task.to(find_device("auto"))
    name = (run_folder(settings.checkpoint) or Path(settings.checkpoint)).resolve().name
    model = AnsweringModel(task, encoders, examples, classes, folder=folder, name=name, top=settings.top)
    try:
        model.maps = [picture_of(figure) for _, figure in position_pictures(settings.checkpoint)]
    except NothingToDraw:
        model.maps = []
    return model


def _examples(task: Task, settings: ServeSettings) -> tuple[list[Example], tuple[str, ...]]:
    """Examples of the data, and the names of their classes; none if there are none, which is said on standard error."""
    is_known = settings.data is not None or run_folder(settings.checkpoint) is not None
    if not settings.num_examples or not is_known:
        return [], ()
    own = PlotSettings(checkpoint=settings.checkpoint, data=settings.data, num_examples=settings.num_examples)
    try:
        source = open_data_for(task, own)
        return spread_examples(drawn_split(source, own), source, own), tuple(source.classes)
    except (ValueError, ImportError, OSError) as error:
        if settings.data is not None or describe(error) is None:
            raise
        print(f"hip: note: no examples to choose from: {printable(one_line(error))}", file=sys.stderr)
        return [], ()


class AnsweringModel:
    """A task that answers about files, typed texts and examples of its data; one question at a time."""

    def __init__(
        self,
        task: Task,
        encoders: dict[str, Encoder],
        examples: Sequence[Example],
        classes: Sequence[str] = (),
        *,
        folder: Path,
        name: str,
        top: int = 5,
    ):
        self.task, self.encoders, self.examples, self.classes = task, encoders, examples, classes
        self.folder, self.name, self.top = folder, name, top
        self.maps: list[Image.Image] = []
        self._pictures = pictures_of(task, encoders)
        self._drawn_names = [name for name, (_, ends) in self._pictures.items() if any(".png" in end for end in ends)]
        self._lock, self._count = threading.Lock(), 0
        self.clicked = next((each for each, encoder in encoders.items() if _kind(encoder) == "pictures"), None)

    @property
    def about(self) -> About:
        """What can be asked."""
        task = self.task
        labels: tuple[str, ...] = (_CLASSES,)
        if isinstance(task, Joint):
            labels = tuple(name for name, count in task.config.labels.items() if count)
        elif task.drawings or isinstance(task, Regression):
            labels = ()
        inputs = [
            Input(
                name=name,
                kind=each.kind,
                endings=each.suffixes or each.other_suffixes,
                is_text=each.is_text_raw,
                read_as="text" if _kind(each) == "text" else "table" if _feature_names(each) else "picture",
            )
            for name, each in self.encoders.items()
        ]
        first = self.encoders[self.clicked or next(iter(self.encoders))]
        axes = {1: "point" if _kind(first) == "points" else "step", 2: "row,column", 3: "frame,row,column"}
        return About(
            title=self.name,
            subtitle=f"{task.kind} with {', '.join(f'{each.name} ({each.kind})' for each in inputs)}",
            inputs=tuple(inputs),
            labels=labels,
            has_numbers=isinstance(task, Joint | Regression),
            drawn=tuple(self._drawn_names),
            clicked=self.clicked,
            is_overlaid=task.drawings.get(self.clicked or "") is LabelledTokens,
            mask_ratio=task.config.mask_ratio if isinstance(task, MaskedAutoencoding) else None,
            examples=tuple(f"{number + 1}: {printable(each.name)}" for number, each in enumerate(self.examples)),
            place=axes.get(len(first.modality.grid), ""),
        )

    def answer(self, question: Question) -> Reply:
        """The prediction. `Refused`: nothing was given, or it cannot be read."""
        with self._lock, torch.no_grad(), _refusing():
            file, task = self._read(question), self._task(question)
            batch = collate([file.example]).to(task.device)
            (answer,) = task.answers(batch, top=self.top, seeds=[question.seed])
            return self._reply(question, file, answer)

    def attention(self, question: Question) -> list[Image.Image]:
        """Where latents attend to, and which ones a place is read from, where the task reads places."""
        with self._lock, torch.no_grad(), _refusing():
            is_here = self.task.device.type == "cpu"  # where attention is drawn
            task, example = self.task if is_here else copy.deepcopy(self.task).cpu(), self._read(question).example
            how: dict[str, Any] = {"title": self.name, "position": question.place if task.drawings else None}
            return [picture_of(figure) for _, figure in attention_pictures(task, self.encoders, [example], **how)]

    def positions(self) -> list[Image.Image]:
        """Pictures of the table of positions."""
        return self.maps

    def _task(self, question: Question) -> Task:
        """The task, with as much hidden as is asked."""
        if question.mask_ratio is None or not isinstance(self.task, MaskedAutoencoding):
            return self.task
        task = copy.copy(self.task)  # with the same weights
        task.config = dataclasses.replace(task.config, mask_ratio=question.mask_ratio)
        return task

    def _read(self, question: Question) -> InputFile:
        """The example that is asked about; modalities that are not given are absent."""
        if question.example is not None and not question.files and not question.texts:
            if not 0 <= question.example < len(self.examples):
                raise Refused("this example is not there")
            example = self.examples[question.example]
            return InputFile(path=Path(Path(example.name).name or "example"), example=example)
        paths = {name: Path(path) for name, path in question.files.items()}
        for name, text in question.texts.items():
            paths[name] = self._new_folder() / f"{name}.txt"
            paths[name].write_text(text, encoding="utf-8", errors="replace")
        if not paths:
            raise Refused("expected a file, a text or an example, got nothing")
        if self.task.input_modality not in (None, *paths):
            raise Refused(f"expected a file for {self.task.input_modality!r}, got only {', '.join(paths)}")
        read = {name: self._read_one(name, path) for name, path in paths.items()}
        for name, encoder in self.encoders.items():
            clip = next((path for each, path in paths.items() if self.encoders[each].kind == "video"), None)
            if name not in read and clip is not None and encoder.kind == "audio":
                try:
                    read[name] = read_file(self.task, {name: encoder}, clip)  # the clip's own sound
                except ValueError:
                    continue  # it has none
        return self._together(read)

    def _read_one(self, name: str, path: Path) -> InputFile:
        try:
            return read_file(self.task, {name: self.encoders[name]}, path)
        except ValueError as error:
            reason = one_line(error).removeprefix(f"{path}: ").replace(str(path), path.name)
            raise Refused(f"{path.name}: {reason}") from None

    def _together(self, read: dict[str, InputFile]) -> InputFile:
        """One example of the modalities that were read, and of absent ones."""
        inputs, is_padding = {}, {}
        for name, encoder in self.encoders.items():
            if name in read:
                inputs |= read[name].example.inputs
                is_padding |= read[name].example.is_padding
            else:
                num_tokens, channels = encoder.modality.num_tokens, encoder.modality.channels
                inputs[name] = torch.zeros(num_tokens, channels)
                is_padding[name] = torch.ones(num_tokens, dtype=torch.bool)
        first = next(iter(read.values()))
        return InputFile(
            path=first.path,
            example=Example(inputs=inputs, is_padding=is_padding, name=first.path.name),
            absent=[name for name in self.encoders if name not in read],
            original=next((each.original for each in read.values() if each.original is not None), None),
        )

    def _reply(self, question: Question, file: InputFile, answer: Answer) -> Reply:
        is_example = question.example is not None and not question.files and not question.texts
        if is_example:
            values, text, drawn = answer.values, answer.text, self._drawn(file.example, answer)
            sounds: list[str] = []
            files: list[str] = []
        else:
            stem = self._new_folder() / (file.path.stem or "answer")
            values, text = write_answer(file, answer, stem, self._pictures)
            written = [str(path) for path in values.pop("written", [])]
            text = text.removeprefix(f"{', '.join(written)}: ")
            drawn = {}
            names = (name for name in self._drawn_names if name not in file.absent)
            for each, name in zip((x for x in written if x.endswith(".png")), names, strict=True):
                drawn[name] = _opened(each)
            sounds = [each for each in written if each.endswith(".wav")]
            files = [each for each in written if not each.endswith((".png", ".wav"))]
        seen, segments = self._seen(file.example), self._segments(answer)
        if segments and not is_example:
            drawn = {}  # lies over what is seen
        labels, numbers = _values(answer.values)
        truth = _truth(file.example, self.classes) if is_example else ""
        return Reply(
            text=f"{file.path.name}: {text}{truth}",
            labels=labels,
            numbers=numbers,
            drawn=drawn,
            seen=seen,
            read=self._read_of(file.example),
            segments=segments,
            sounds=sounds,
            files=files,
        )

    def _drawn(self, example: Example, answer: Answer) -> dict[str, Image.Image]:
        """Pictures of an answer about an example of the data, beside what is known of it."""
        pictures = {}
        for each in answer.drawn:
            if each.modality in self._drawn_names:
                picture = PICTURES[type(each)](self.encoders[each.modality])
                for figure in picture.draw([example], [each], ""):
                    pictures[each.modality] = picture_of(figure)
        return pictures

    def _seen(self, example: Example) -> np.ndarray | None:
        """What the model sees of the modality that can be clicked, uint8 (h, w, 3)."""
        if self.clicked is None:
            return None
        shown = Shown(self.clicked, self.encoders[self.clicked], [example])
        return _as_rgb(shown.pictures[0]) if shown.values else None

    def _read_of(self, example: Example) -> dict[str, Any]:
        """What the model reads of each modality that is there, but for the one that is clicked and those drawn."""
        read: dict[str, Any] = {}
        for name, encoder in self.encoders.items():
            if name == self.clicked or name in self._drawn_names:
                continue
            x, is_padding = example.inputs[name], example.is_padding.get(name)
            if is_padding is not None and bool(is_padding.all()):
                continue
            tokens = Tokens(x, x, torch.zeros(len(x), dtype=torch.bool), is_padding)
            if _kind(encoder) == "text":
                read[name] = decoded(encoder, tokens).inputs.tobytes().decode(errors="replace")
            elif names := _feature_names(encoder):
                rows = zip(names, decoded(encoder, tokens).inputs[0], strict=True)
                read[name] = [[printable(feature), f"{value:.5g}"] for feature, value in rows]
            else:
                (figure,) = figures_of(encoder, [tokens])
                read[name] = picture_of(figure)
        return read

    def _segments(self, answer: Answer) -> list[Segment]:
        for each in answer.drawn:
            if isinstance(each, LabelledTokens) and each.modality == self.clicked:
                label, colours = (
                    each.label.view(self.encoders[each.modality].modality.grid).numpy(),
                    palette(each.classes),
                )
                return [
                    Segment(name=each.classes[k], colour="#" + bytes(colours[k]).hex(), is_part=label == k)
                    for k in np.unique(label[label >= 0])
                ]
        return []

    def _new_folder(self) -> Path:
        """A folder for the files of one question; those of long ago are removed."""
        self._count += 1
        shutil.rmtree(self.folder / str(self._count - _KEPT), ignore_errors=True)
        folder = self.folder / str(self._count)
        folder.mkdir(parents=True)
        return folder


@contextmanager
def _refusing() -> Iterator[None]:
    """The asker's mistakes inside are `Refused`, in one line; what is wrong with this machine is not theirs to know."""
    try:
        yield
    except Refused:
        raise
    except (ValueError, MemoryError, RuntimeError) as error:
        message = describe(error)
        if message is None:
            raise
        raise Refused(message.removeprefix("--position: ")) from None


def picture_of(figure: Figure) -> Image.Image:
    """A figure as a picture."""
    buffer = BytesIO()
    write_figure(figure, buffer, format="png")
    return Image.open(buffer)


def _opened(path: str) -> Image.Image:
    """A picture that we wrote; its file may be removed."""
    with Image.open(path) as picture:
        return picture.convert("RGB")


def _kind(encoder: Encoder) -> str:
    return "" if encoder.drawing is None else encoder.drawing.kind


def _feature_names(encoder: Encoder) -> tuple[str, ...]:
    """The columns of a table's row; none of what is no such row."""
    return encoder.feature_names if isinstance(encoder, VectorEncoder) and encoder.positions == 1 else ()


def _as_rgb(picture: np.ndarray) -> np.ndarray:
    """(h, w, C), uint8 or from 0 to 1, as uint8 (h, w, 3): the first three channels, or the first one as grey."""
    if picture.dtype != np.uint8:
        picture = (np.clip(picture, 0.0, 1.0) * 255).round().astype(np.uint8)
    return picture[..., :3] if picture.shape[-1] >= 3 else picture[..., :1].repeat(3, axis=-1)


def _values(values: dict[str, Any]) -> tuple[dict[str, dict[str, float]], list[tuple[str, str]]]:
    """An answer's classes with their probabilities, by its name, and its numbers."""
    labels: dict[str, dict[str, float]] = {}
    numbers = [(each["name"], f"{each['value']:.5g}") for each in values.get("values", [])]
    named = {_CLASSES: values["labels"]} if "labels" in values else values.get("joint", {})
    for name, each in named.items():
        if isinstance(each, list):
            labels[name] = {label["name"]: label["probability"] for label in each}
        else:
            numbers.append((name, f"{each:.5g}"))
    return labels, numbers


def _truth(example: Example, classes: Sequence[str]) -> str:
    """What the data say of an example, where that is a class."""
    label = example.targets.get("label")
    if label is None or label.numel() != 1 or not 0 <= int(label) < len(classes):
        return ""
    return f" (in the data: {classes[int(label)]})"
