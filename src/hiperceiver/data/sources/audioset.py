"""AudioSet: ten-second clips of videos with the sounds that are heard in them, several for each.

    FOLDER/balanced_train_segments.csv      `YTID, start_seconds, end_seconds, "/m/09x0r,/m/05zppz"` a line, after lines
    FOLDER/unbalanced_train_segments.csv    that begin with #
    FOLDER/eval_segments.csv
    FOLDER/class_labels_indices.csv         `index,mid,display_name` a line: the 527 classes, or instead of it
    FOLDER/ontology.json                    names of classes; those that the lists use are taken, in its order
    FOLDER/.../YTID.mp4                     media

The lists may also lie one folder deeper, the media in whatever folders: `YTID`, `YTID_START` or `YTID_START_END`, in
seconds or milliseconds, with or without a Y in front of the id. A clip may have a file of video, one of sound, or both;
without one of sound, the sound is that of the video. Clips that are not there are counted in one line for each list.

`eval` is the test split; validation is 10% of the training clips. An example is a window of a clip: by default the
middle 2.56 seconds, as 8 frames of 224 x 224 and 122,880 samples at 48 kHz. A clip whose file has no sound, or no
video, lacks that modality: what becomes of it is the option `missing`. A window that is silent throughout is a bad
example; for the class Silence set `is_silence_bad` of the audio encoder to False.
"""

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hiperceiver.data.encoders.audio import AudioEncoder
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.video import VideoEncoder
from hiperceiver.data.faults import faults_of, read_file
from hiperceiver.data.members import hash_names
from hiperceiver.data.record import TEST, TRAIN, Table
from hiperceiver.data.sources import lists
from hiperceiver.data.sources.classes import Lists
from hiperceiver.data.sources.lists import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from hiperceiver.data.sources.source import Source, SourceOptions, make_source
from hiperceiver.data.sources.tree import Paths, Streams, Tree, as_paths, joined
from hiperceiver.settings.data import AudioSetSettings

BALANCED, UNBALANCED = "balanced_train_segments.csv", "unbalanced_train_segments.csv"
TRAIN_LISTS = {"all": (BALANCED, UNBALANCED), "balanced": (BALANCED,), "unbalanced": (UNBALANCED,)}
EVAL_LIST = "eval_segments.csv"
CLASSES, ONTOLOGY = "class_labels_indices.csv", "ontology.json"

_ID_LENGTH = 11  # of every id of a video
_TIMES = re.compile(r"(?:[_.-]+(\d+(?:\.\d+)?)(?:[_-]+\d+(?:\.\d+)?)?)?")


class Segment(NamedTuple):
    """A line of a list: id of the video, seconds in it, and machine ids of the classes, such as /m/09x0r."""

    video: str
    start: float
    end: float
    labels: tuple[str, ...]


class _Clip(NamedTuple):
    """A segment whose media are there: relative paths of a file of video and one of sound alone, or empty."""

    segment: Segment
    video: str
    audio: str


def matches(tree: Tree) -> bool:
    """Whether a folder looks like AudioSet."""
    return any(_beside(tree, name) is not None for name in (BALANCED, UNBALANCED, EVAL_LIST))


def open_audioset(tree: Tree, own: AudioSetSettings, options: SourceOptions) -> Source:
    """AudioSet. Tasks: `none`, `multilabel`. Modalities: `audio`, `video`, where there are such files."""
    options.check_task("audioset", ("multilabel",))
    wanted = TRAIN_LISTS[own.train_segments]
    train_lists = [path for name in wanted if (path := _beside(tree, name)) is not None]
    if not train_lists:
        raise ValueError(f"{tree.root}: expected {' or '.join(wanted)}, found none")
    eval_list = _beside(tree, EVAL_LIST)
    segments = {path: _read_segments(path) for path in (*train_lists, eval_list) if path is not None}
    used = {mid for listed in segments.values() for segment in listed for mid in segment.labels}
    classes, warnings = _classes(tree, used), []
    if unknown := sorted(used - classes.keys()):
        warnings.append(f"labels that the list of classes has not are left out: {lists.example_list(unknown)}")
    warnings += tree.warnings()
    files = _media_files(tree, {segment.video for listed in segments.values() for segment in listed})
    clips = {path: _clips(path, listed, files, warnings) for path, listed in segments.items()}
    train = [clip for path in train_lists for clip in clips[path]]
    test = clips[eval_list] if eval_list else []
    if not train:
        raise ValueError(f"{tree.root}: expected media files such as YTID.mp4, found none of the training segments")
    if options.task == "multilabel" and classes.keys().isdisjoint(mid for clip in train for mid in clip.segment.labels):
        raise ValueError(f"{tree.root}: expected labels of {len(classes)} classes in the training lists, found none")
    encoders: dict[str, Encoder] = {"audio": AudioEncoder(rate=48000, seconds=own.window)}
    if any(clip.video for clip in (*train, *test)):
        encoders["video"] = VideoEncoder(size=(224, 224), frames=8)
    splits = np.repeat(np.array([TRAIN, TEST], dtype=np.int8), [len(train), len(test)])
    may_lack = len(options.modalities or encoders) > 1
    return make_source(
        name=tree.name,
        table=_windows(tree.root, [*train, *test], splits, [*classes], own, may_lack=may_lack),
        encoders=encoders,
        options=options,
        classes=list(classes.values()),
        warnings=warnings,
    )


def _windows(
    root: Path, clips: list[_Clip], splits: np.ndarray, mids: list[str], own: AudioSetSettings, *, may_lack: bool
) -> Table:
    """Windows of clips as rows, those of a clip side by side and in one split."""
    count, window = own.windows_per_clip, own.window
    clip = np.repeat(np.arange(len(clips)), count)
    lengths = np.array([each.segment.end - each.segment.start for each in clips])
    offsets = np.array([window_start(n, count, length=each, window=window) for each in lengths for n in range(count)])
    starts = offsets + (0.0 if own.is_trimmed else np.array([each.segment.start for each in clips])[clip])
    parts = {"starts": starts, "seconds": np.minimum(window, lengths)[clip]}
    files = {"audio": [each.audio or each.video for each in clips], "video": [each.video for each in clips]}
    clip_names = as_paths([each.video or each.audio for each in clips])
    names = clip_names[clip]
    if count > 1:
        names = np.array([b"%s from %.2f s" % pair for pair in zip(names, offsets, strict=True)])
    number_of = {mid: number for number, mid in enumerate(mids)}
    labels = [np.array([number_of[mid] for mid in each.segment.labels if mid in number_of], int) for each in clips]
    return Table(
        names=names,
        raws={
            stream: Streams(Paths(root, as_paths(paths)[clip]), stream, may_lack=may_lack, **parts)
            for stream, paths in files.items()
        },
        targets={"labels": Lists(labels, clip)},
        splits=splits[clip],
        groups=hash_names(clip_names)[clip],
    )


def window_start(number: int, count: int, *, length: float, window: float) -> float:
    """Where a window begins in a clip, in seconds: the middles of `count` windows are spread evenly.

    >>> [window_start(number, 3, length=10.0, window=4.0) for number in range(3)]
    [0.0, 3.0, 6.0]
    >>> window_start(0, 1, length=10.0, window=2.0)
    4.0
    """
    return max(0.0, min((number + 0.5) / count * length - window / 2, length - window))


def _beside(tree: Tree, name: str) -> Path | None:
    """A list in the folder, or in a folder in it."""
    found = (path for folder in ("", *tree.folders[""]) if tree.has_file(path := joined(folder, name)))
    return next((tree.root / path for path in found), None)


def _read_segments(path: Path) -> list[Segment]:
    lines = [line for line in lists.read_lines(path) if not line.startswith("#")]
    segments = []
    with faults_of(path):
        for cells in csv.reader(lines, skipinitialspace=True):
            try:
                video, start, end, labels = cells
                segment = Segment(video, float(start), float(end), tuple(labels.replace(",", " ").split()))
            except ValueError:
                expected = 'YTID, start_seconds, end_seconds, "labels"'
                raise ValueError(f"expected {expected}, got {', '.join(cells)[:80]!r}") from None
            if not 0 <= segment.start < segment.end < math.inf:
                raise ValueError(f"{video}: expected a start before an end, got {start} and {end}")
            segments.append(segment)
        if not segments:
            raise ValueError("has no segment")
    return segments


def _classes(tree: Tree, used: set[str]) -> dict[str, str]:
    """Machine id -> name of each class, in their order; the ids themselves where no list names them."""
    if path := _beside(tree, CLASSES):
        return {row["mid"]: row["display_name"] for row in lists.read_table(path, ("mid", "display_name"))}
    if path := _beside(tree, ONTOLOGY):
        with faults_of(path):
            named = {str(entry["id"]): str(entry["name"]) for entry in json.loads(read_file(path))}
        return {mid: name for mid, name in named.items() if mid in used}
    return {mid: mid for mid in sorted(used)}


_MediaFiles = Mapping[str, Sequence[tuple[float | None, str]]]
"""Id of a video -> its files: the start in the file's name, if there is one, and the path."""


def _media_files(tree: Tree, wanted: set[str]) -> _MediaFiles:
    found: dict[str, list[tuple[float | None, str]]] = {}
    for path in tree.below(suffixes=VIDEO_SUFFIXES + AUDIO_SUFFIXES):
        stem = lists.file_stem(path)
        for begin in (0, 1) if stem.startswith("Y") else (0,):
            name, rest = stem[begin : begin + _ID_LENGTH], stem[begin + _ID_LENGTH :]
            if name in wanted and (times := _TIMES.fullmatch(rest)):
                found.setdefault(name, []).append((None if times[1] is None else float(times[1]), path))
                break
    return found


def _clips(path: Path, segments: Sequence[Segment], files: _MediaFiles, warnings: list[str]) -> list[_Clip]:
    """The segments of a list that have a file."""
    found = []
    for segment in segments:
        times = (None, segment.start, 1000 * segment.start)
        paths = [each for start, each in files.get(segment.video, ()) if start in times]
        video = next((each for each in paths if each.lower().endswith(VIDEO_SUFFIXES)), "")
        audio = next((each for each in paths if each.lower().endswith(AUDIO_SUFFIXES)), "")
        if paths:
            found.append(_Clip(segment, video, audio))
    if len(found) < len(segments):
        warnings.append(f"{len(segments) - len(found)} of {len(segments)} segments of {path.name} have no file")
    return found
