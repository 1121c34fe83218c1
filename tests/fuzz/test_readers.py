"""Every reader is given real files with faults: what comes out is an example, or a line that says what is wrong.

A case is a sample and a seed: the same in every run. `HIPERCEIVER_FUZZ=20` makes it twenty times as many cases, and
`HIPERCEIVER_TEST_SEED` others. A failing one names its file, which is kept.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import datasets
import pytest
import torch

from hiperceiver import Modality
from hiperceiver.cli.arguments import parse
from hiperceiver.cli.data import own_encoders
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders import (
    AudioEncoder,
    BytesEncoder,
    ImageEncoder,
    PointsEncoder,
    SeriesEncoder,
    VectorEncoder,
    VideoEncoder,
    VolumeEncoder,
)
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.example import BadExample, Example
from hiperceiver.data.members import Members, read_members
from hiperceiver.data.record import Record
from hiperceiver.data.sources import open_source
from hiperceiver.data.sources.source import SourceTask
from hiperceiver.data.streamed import StreamedExamples
from hiperceiver.plots.curves import read_metrics
from hiperceiver.settings.base import one_line
from hiperceiver.settings.commands import PretrainSettings
from hiperceiver.tasks import Classification, ClassificationConfig, load_task, save_task
from hiperceiver.training.checkpoints import FORMAT, RUN_KEY, read_checkpoint, write_checkpoint

from ..model.small_models import hip
from . import samples
from .cases import FIRST_SEED, LONGEST, OBEYED, TIMES
from .forked import FAULT, outcomes
from .mutations import mutated, mutated_json, mutated_safetensors, mutated_zip
from .samples import Files, Sample

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and counts memory as Linux does")

GOOD, BAD = "good", "bad: "


class FuzzCase(NamedTuple):
    """A file or a folder with faults, which are not made before it is read."""

    name: str  # for people
    content: Callable[[], Files]
    read: Callable[[Path], str]
    is_whole: bool  # nothing is wrong with it


def run(cases: Iterable[FuzzCase], folder: Path, *, is_refused: bool = True, **most: float) -> None:
    """Each case in a folder of its own: nothing may break, and what is whole is good.

    `is_refused`: whether files of this kind can be bad at all. `most`: other limits, see `outcomes`.
    """
    cases = list(cases)

    def case(number: int) -> str:
        where = folder / str(number)
        for path, content in cases[number].content().items():
            (where / path).parent.mkdir(parents=True, exist_ok=True)
            (where / path).write_bytes(content)
        found = cases[number].read(where)
        shutil.rmtree(where)
        return found

    found = outcomes([partial(case, number) for number in range(len(cases))], **most)
    faults = [
        f"{case.name}, in {folder / str(number)}: {outcome}"
        for number, (case, outcome) in enumerate(zip(cases, found, strict=True))
        if outcome.startswith(FAULT) or (case.is_whole and outcome != GOOD)
    ]
    kinds = Counter("good" if each == GOOD else "faults" if each.startswith(FAULT) else "bad" for each in found)
    print(f"{len(cases)} cases: {dict(kinds)}")
    for case, outcome in zip(cases, found, strict=True):
        if os.environ.get("HIPERCEIVER_FUZZ_SAY"):
            print(f"{case.name}: {outcome}")
    assert not faults, "\n".join(faults)
    assert kinds["bad"] > 0 or not is_refused, "no case was refused: is anything damaged?"


def seeds(count: int) -> range:
    return range(FIRST_SEED, FIRST_SEED + max(1, round(count * TIMES)))


def file_cases(found: Iterable[Sample], read: Callable[[Path], str], count: int) -> Iterator[FuzzCase]:
    """Each sample whole, and so often with faults."""
    for sample in found:
        alone = partial(_read_only_file, read)
        yield FuzzCase(sample.name, partial(_whole, {sample.name: sample.content}), alone, True)
        for seed in seeds(count):
            content = partial(_damaged, {sample.name: sample.content}, {sample.name: sample.mutate}, sample.name, seed)
            yield FuzzCase(f"{sample.name} with seed {seed}", content, alone, False)


def folder_cases(
    name: str, files: Files, damaged: Iterable[str], read: Callable[[Path], str], count: int
) -> Iterator[FuzzCase]:
    """A folder whole, and so often with faults in one of the files that may be damaged."""
    damaged = list(damaged)
    mutates = {path: {".npz": mutated_zip, ".ckpt": mutated_zip}.get(Path(path).suffix, mutated) for path in files}
    mutates |= {"config.json": mutated_json, "model.safetensors": mutated_safetensors}
    yield FuzzCase(name, partial(_whole, files), read, True)
    for seed in seeds(count):
        content = partial(_damaged, files, mutates, damaged[seed % len(damaged)], seed)
        yield FuzzCase(f"{name} with seed {seed}", content, read, False)


def _read_only_file(read: Callable[[Path], str], folder: Path) -> str:
    return read(next(folder.iterdir()))


def _whole(files: Files) -> Files:
    return files


def _damaged(files: Files, mutates: Mapping[str, Any], name: str, seed: int) -> Files:
    return {**files, name: mutates[name](files[name], Random(f"{name} {seed}"))}


# ------------------------------------------------------------------------------------------------------- single files


def read_file(path: Path, encoders: Mapping[str, Encoder], **more: Any) -> str:
    """A file through the one way that all records go, and through what looks at files before training."""
    kind, encoder = next(iter(encoders.items()))
    raw: Any = path if kind == "bytes" else str(path)
    record = Record(name=path.name, raws={kind: raw}, **more)
    dataset = EncodedRecords(records=[record], encoders=encoders, targets=tuple(record.targets), num_classes=3)
    found = judged(dataset[0], path)
    for look in (encoder.fitted, partial(type(encoder).chosen_settings, given={})):
        try:
            look([raw])
        except ValueError as error:
            said(one_line(error))
    if kind not in ("bytes", "label"):  # a table's cell
        in_memory = Record(name="row 1", raws={kind: path.read_bytes()})
        judged(EncodedRecords(records=[in_memory], encoders=encoders)[0], None)
    return found


def judged(example: Example | BadExample, path: Path | None) -> str:
    """What came out: tokens that can be trained on, or a line."""
    if isinstance(example, BadExample):
        assert path is None or example.name == path.name, f"names {example.name!r}"
        return said(str(example))
    for name, tokens in example.inputs.items():
        assert tokens.dtype == torch.float32 and tokens.ndim == 2
        assert tokens.isfinite().all(), f"{name} has tokens that are not finite"
        absent = example.is_padding.get(name)
        assert absent is None or (absent.shape == tokens.shape[:1] and not absent.all()), f"all of {name} is absent"
        assert absent is None or not tokens[absent].any(), f"absent tokens of {name} are not 0"
    return GOOD


def said(message: str) -> str:
    """A message for people: one line that a terminal can show."""
    assert message.strip() and not OBEYED.search(message), f"cannot be shown: {message!r}"
    assert len(message) <= LONGEST, f"a message of {len(message)} letters: {message[:100]}"
    return BAD + message


FILES: dict[str, tuple[Callable[[Path], list[Sample]], Encoder, int]] = {
    "image": (lambda _: samples.pictures(), ImageEncoder(size=8, fit="pad"), 20),
    "audio": (samples.sounds, AudioEncoder(rate=8000, seconds=0.1), 16),
    "video": (samples.clips, VideoEncoder(size=(6, 8), frames=3), 10),
    "sound of clips": (samples.clips, AudioEncoder(rate=8000, seconds=0.5), 6),
    "points": (lambda _: samples.clouds(), PointsEncoder(num_points=32), 24),
    "series": (lambda _: samples.series(), SeriesEncoder(length=24, channels=2, missing="mean"), 25),
    "volume": (lambda _: samples.volumes(), VolumeEncoder(size=(2, 4, 4)), 25),
    "vector": (lambda _: samples.vectors(), VectorEncoder(features=12, split=4), 25),
    "bytes": (lambda _: samples.texts(), BytesEncoder(length=32), 20),
}
"""Kind of file -> its samples, what reads it, and how often each sample is damaged."""


LARGE = {"seconds": 20.0, "megabytes": 2500.0}
"""Limits for pictures and films, whose sizes may come to be just below `limits.PIXELS`: some bytes for each pixel."""


@pytest.mark.parametrize("kind", FILES)
def test_a_file(kind: str, tmp_path: Path) -> None:
    make, encoder, count = FILES[kind]
    found = make(tmp_path)
    if kind == "sound of clips":
        silent = ("alone.mp4", "turned.mp4", "vp9.webm", "mpeg1.mpg", "ffv1.mkv", "film.gif")
        found = [sample for sample in found if sample.name not in silent]
    cases = file_cases(found, partial(read_file, encoders={encoder.kind: encoder}), count)
    most = LARGE if kind in ("image", "video") else {}
    run(cases, tmp_path / "cases", is_refused=kind != "bytes", **most)


def test_a_file_among_others(tmp_path: Path) -> None:
    """What is measured before training, over all files, takes them one by one."""
    own: dict[str, list[Sample]] = {"series": samples.series(), "points": samples.clouds(), "image": samples.pictures()}
    cases: list[FuzzCase] = []
    for kind, found in own.items():
        for sample in (each for each in found if each.name.rpartition(".")[2] in ("csv", "npz", "off", "png", "tif")):
            if sample.name == "missing.csv":  # has to be allowed
                continue
            others = {f"{number}-{sample.name}": sample.content for number in range(5)}
            read = partial(read_folder, task="none", kind=kind, **(SMALL if kind == "image" else {}))
            cases += folder_cases(f"{kind} {sample.name}", others, [f"0-{sample.name}"], read, 4)
    run(cases, tmp_path)


def test_a_mask(tmp_path: Path) -> None:
    picture = samples.gradient()

    def read(path: Path) -> str:
        record = Record(name=path.name, raws={"image": picture}, targets={"segmentation": str(path)})
        encoders: dict[str, Encoder] = {"image": ImageEncoder(size=8)}
        dataset = EncodedRecords(records=[record], encoders=encoders, targets=("segmentation",), num_classes=3)
        labels = dataset.targets_of(0)
        assert labels is None or set(labels["segmentation"].unique().tolist()) <= {0, 1, 2, -100}
        return judged(dataset[0], path)

    run(file_cases(samples.masks(), read, 25), tmp_path)


# ------------------------------------------------------------------------------------------------------------ folders


def read_folder(folder: Path, *, task: SourceTask, **options: Any) -> str:
    """A folder as a source, with all of its examples: good only if all of them are."""
    try:
        source = open_source(folder, task=task, **options)
        lines = source.describe()
    except ValueError as error:
        return said(one_line(error))
    for line in lines:
        said(line)
    assert source.splits
    examples: list[Example | BadExample] = []
    for part in source.splits.values():
        if isinstance(part, StreamedExamples):
            try:
                examples += [part.example(*each, seed=0) for each in part.shuffled(seed=0, epoch=0)]
            except ValueError as error:  # the stream breaks off
                return said(one_line(error))
        else:
            examples += [part[number] for number in range(min(len(part), 20))]
    results = [judged(example, None) for example in examples]
    assert results, "a source without an example"
    return next((each for each in results if each != GOOD), GOOD)


SMALL = {"encoder_settings": {"*": {"size": 8}}}  # of pictures and clips


@pytest.mark.parametrize("stream", [False, True])
def test_a_table(stream: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    how = {"stream": True, "validation_examples": 2, "classes": ("cat", "dog")} if stream else {}
    read = partial(read_folder, task="classification", **how)
    found = [
        case
        for name, files in samples.tables().items()
        for case in folder_cases(
            name,
            files,
            [path for path in files if not path.endswith(".png")],
            partial(read, **(SMALL if "image" in name or "metadata" in name or "picture" in name else {})),
            4,
        )
    ]
    run(found, tmp_path / "cases")


def test_hdf5(tmp_path: Path) -> None:
    read = partial(read_folder, task="classification", layout="modelnet40")
    found = [case for name, each in samples.hdf5().items() for case in folder_cases(name, each, each, read, 20)]
    run(found, tmp_path)


def test_a_shard(tmp_path: Path) -> None:
    found = [
        case
        for name, files in samples.shards().items()
        for case in folder_cases(
            name, files, files, partial(read_folder, task="classification", **({} if name == "texts" else SMALL)), 30
        )
    ]
    run(found, tmp_path)


def test_a_list(tmp_path: Path) -> None:
    media = (".png", ".jpg", ".JPEG", ".mp4", ".wav")
    found = [
        case
        for name, (task, files) in samples.lists().items()
        for case in folder_cases(
            name,
            files,
            [each for each in files if not each.endswith(media)],
            partial(read_folder, task=task, **({} if name == "audioset" else SMALL)),
            6,
        )
    ]
    run(found, tmp_path)


# ------------------------------------------------------------------------------------------------- models and settings


def refused(read: Callable[[Path], object]) -> Callable[[Path], str]:
    """What a reader says of a file that it may refuse."""

    def judge(path: Path) -> str:
        try:
            read(path)
        except ValueError as error:
            return said(one_line(error))
        return GOOD

    return judge


@pytest.mark.parametrize("positions", ["learned", "fourier"])
def test_a_saved_model(positions: str, tmp_path: Path) -> None:
    encoder = ImageEncoder(size=(6, 8))
    modalities = {"image": encoder.modality, "mood": Modality(grid=(2,), channels=4, role="label")}
    order = "hilbert" if positions == "fourier" else "raster"
    model = hip(modalities, positions=positions, token_order=order)
    save_task(
        tmp_path / "model",
        Classification(model, ClassificationConfig(num_classes=2)),
        encoders={"image": encoder.to_dict()},
        classes=("cat", "dog"),
    )
    files = {name: (tmp_path / "model" / name).read_bytes() for name in ("config.json", "model.safetensors")}

    @refused
    def read(folder: Path) -> None:
        task = load_task(folder)
        encoders = own_encoders(task.encoders) or {}
        assert all(isinstance(each, Encoder) for each in encoders.values())

    run(folder_cases(f"a model with {positions} positions", files, files, read, 60), tmp_path / "cases")


def test_a_checkpoint(tmp_path: Path) -> None:
    weights = {f"block.{n}.weight": torch.randn(4, n + 1) for n in range(6)}
    run_state = {"format": FORMAT, "step": 3, "elapsed": 1.5, "last_metrics": {"loss": 0.5}}
    write_checkpoint(tmp_path / "last.ckpt", {RUN_KEY: run_state, "task": weights, "optimizer": [{"lr": 0.1}]})
    sample = Sample(name="last.ckpt", content=(tmp_path / "last.ckpt").read_bytes(), mutate=mutated_zip)
    run(file_cases([sample], refused(read_checkpoint), 80), tmp_path / "cases")


SETTINGS = b"""\
# a comment
data: ./pictures
model: hip-nano
steps: 20
batch_size: 4
size: 16
modalities: [image, audio]
encoders:
  image: {size: [16, 24], colours: RGB, mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2]}
  audio: &sound {rate: 8000, seconds: 1.5}
augment:
  flip: true
  crop: {scale: [0.5, 1.0]}
model_settings: {dropout: 0.1}
max_time: "00:04:00"
learning_rate: 1e-3
gradient_clip: null
"""


def test_a_file_of_settings(tmp_path: Path) -> None:
    @refused
    def read(path: Path) -> None:
        arguments = ["--config", str(path), "--learning-rate", "0.001"]
        assert isinstance(parse(PretrainSettings, arguments, program="hip pretrain"), PretrainSettings)

    run(file_cases([Sample(name="settings.yaml", content=SETTINGS)], read, 150), tmp_path)


def test_what_a_run_keeps(tmp_path: Path) -> None:
    """The members of its splits, and its metrics."""
    keys = {split: torch.arange(5).numpy().astype("uint64") for split in ("train", "validation")}
    Members(splits=keys).save(tmp_path / "members.npz")
    metrics = "step,train/loss,validation/loss\n" + "".join(
        f"{n},{1 / n},{2 / n if n % 2 else ''}\n" for n in range(1, 9)
    )

    def members(path: Path) -> str:
        found = read_members(path)
        if found is None:
            return BAD + "is damaged"
        assert all(each.ndim == 1 and each.dtype == "uint64" for each in found.splits.values())
        return GOOD

    kept = Sample(name="members.npz", content=(tmp_path / "members.npz").read_bytes(), mutate=mutated_zip)
    run(file_cases([kept], members, 80), tmp_path / "members")
    written = Sample(name="metrics.csv", content=metrics.encode())
    run(file_cases([written], refused(read_metrics), 80), tmp_path / "metrics")
