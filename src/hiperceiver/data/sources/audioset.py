"""AudioSet: ten-second clips of videos with the sounds that are heard in them, several for each.

    FOLDER/balanced_train_segments.csv      `YTID, start_seconds, end_seconds, "/m/09x0r,/m/05zppz"` a line, after lines
    FOLDER/unbalanced_train_segments.csv    that begin with #
    FOLDER/eval_segments.csv
    FOLDER/class_labels_indices.csv         `index,mid,display_name` a line: the 527 classes, or instead of it
    FOLDER/ontology.json                    names of classes; those that the lists use are taken, in its order
    FOLDER/.../YTID.mp4                     media

The lists may also lie one folder deeper. Media files are found by their names, in whatever folders they lie: `YTID`,
`YTID_START` or `YTID_START_END`, in seconds or milliseconds, with or without a Y in front of the id. A clip may have a
file of video, one of sound, or both; without one of sound, the sound is that of the video. Clips that are not there are
counted in one line for each list, and left out.

`eval` is the test split; validation is 10% of the training clips. An example is a window of a clip: by default the
middle 2.56 seconds, as 8 frames of 224 x 224 and 122,880 samples at 48 kHz. A clip whose file has no sound, or no
video, lacks that modality: what becomes of it is the option `missing`. A window that is silent throughout is a bad
example; for the class Silence set `is_silence_bad` of the audio encoder to False.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Unpack

import numpy as np

from hiperceiver.data.encoders.arrays import faults_of, read_file
from hiperceiver.data.encoders.audio import AudioEncoder
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.video import VideoEncoder
from hiperceiver.data.media import Media
from hiperceiver.data.record import Record, Records
from hiperceiver.data.sources.lists import (
    AUDIO_SUFFIXES,
    VIDEO_SUFFIXES,
    Streams,
    as_paths,
    example_list,
    existing_folder,
    file_stem,
    files_below,
    read_lines,
    read_table,
)
from hiperceiver.data.sources.source import TEST_SHARE, Common, CommonOptions, Source, dealt, make_source

TrainSegments = Literal["all", "balanced", "unbalanced"]

BALANCED, UNBALANCED = "balanced_train_segments.csv", "unbalanced_train_segments.csv"
TRAIN_LISTS = {"all": (BALANCED, UNBALANCED), "balanced": (BALANCED,), "unbalanced": (UNBALANCED,)}
EVAL_LIST = "eval_segments.csv"
CLASSES, ONTOLOGY = "class_labels_indices.csv", "ontology.json"
DEFAULT_SPLIT_SEED = 0

_ID_LENGTH = 11  # of every id of a video
_TIMES = re.compile(r"(?:[_.-]+(\d+(?:\.\d+)?)(?:[_-]+\d+(?:\.\d+)?)?)?")


class Segment(NamedTuple):
    """A line of a list."""

    video: str
    """Its YTID."""
    start: float
    """Seconds in the whole video."""
    end: float
    """Seconds in the whole video."""
    labels: tuple[str, ...]
    """Machine ids of the classes, such as /m/09x0r."""


def matches(folder: str | Path) -> bool:
    """Whether a folder looks like AudioSet.

    >>> matches("no/such/folder")
    False
    """
    return any(_beside(Path(folder).expanduser(), name) is not None for name in (BALANCED, UNBALANCED, EVAL_LIST))


def open_audioset(
    folder: str | Path,
    *,
    train_segments: TrainSegments = "all",
    window: float = 2.56,
    windows_per_clip: int = 1,
    is_trimmed: bool = True,
    **common: Unpack[Common],
) -> Source:
    """AudioSet. Tasks: `none`, `multilabel`. Modalities: `audio`, `video`, where there are such files.

    Args:
        folder: holds lists and media; see above.
        train_segments: which of the training lists are read; `all`: those that are there.
        window: seconds of an example.
        windows_per_clip: how many windows of a clip are examples, evenly spread over it, in all splits.
        is_trimmed: a media file holds the clip alone. False: it is the whole video.
        **common: see `CommonOptions`.

    Raises:
        ValueError: the folder is not as described above, or an option does not fit; in one line.
    """
    options = CommonOptions(**common)
    options.check_task("audioset", ("multilabel",))
    if train_segments not in TRAIN_LISTS:
        raise ValueError(f"train_segments: expected one of {', '.join(TRAIN_LISTS)}, got {train_segments!r}")
    if not (math.isfinite(window) and window > 0):
        raise ValueError(f"window: expected seconds > 0, got {window}")
    if windows_per_clip < 1:
        raise ValueError(f"windows_per_clip: expected a whole number >= 1, got {windows_per_clip}")
    base = existing_folder(folder)
    lists = [path for name in TRAIN_LISTS[train_segments] if (path := _beside(base, name)) is not None]
    if not lists:
        raise ValueError(f"{base}: expected {' or '.join(TRAIN_LISTS[train_segments])}, found none")
    eval_list = _beside(base, EVAL_LIST)
    segments = {path: _read_segments(path) for path in (*lists, *([eval_list] if eval_list else ()))}
    classes = _classes(base, [segment for listed in segments.values() for segment in listed])
    warnings: list[str] = []
    media = _MediaFiles(base, {segment.video for listed in segments.values() for segment in listed})
    clips = {path: media.clips(path, listed, warnings) for path, listed in segments.items()}
    train = [clip for path in lists for clip in clips[path]]
    test = clips[eval_list] if eval_list else []
    if not train:
        raise ValueError(f"{base}: expected media files such as YTID.mp4, found none of the training segments")

    encoders = _encoders([*train, *test], window)

    def windows(chosen: Sequence[_Clip]) -> Windows:
        return _as_windows(
            chosen,
            classes,
            folder=base,
            modalities=tuple(options.modalities or encoders),
            seconds=window,
            per_clip=windows_per_clip,
            is_trimmed=is_trimmed,
        )

    if options.task == "multilabel" and classes.keys().isdisjoint(mid for clip in train for mid in clip.segment.labels):
        raise ValueError(f"{base}: expected labels of {len(classes)} classes in the training lists, found none")

    # Windows of one clip are all in one split.
    seed = DEFAULT_SPLIT_SEED if options.split_seed is None else options.split_seed
    rows = dealt(np.zeros(len(train), dtype=np.int64), seed, test_share=0.0 if test else TEST_SHARE)
    parts = {split: [train[row] for row in chosen] for split, chosen in rows.items()}
    records: dict[str, Records] = {split: windows(part) for split, part in parts.items() if part}
    if test:
        records["test"] = windows(test)
    return make_source(
        name=str(folder),
        records=records,
        encoders=encoders,
        options=options,
        split_seed=DEFAULT_SPLIT_SEED,
        classes=list(classes.values()),
        warnings=[*_unknown_labels(segments, classes), *warnings],
    )


class _Clip(NamedTuple):
    """A segment whose media are there."""

    segment: Segment
    video: str
    """Path of the file of video relative to the folder, or nothing."""
    audio: str
    """Path of the file of sound alone relative to the folder, or nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Windows of clips as records, in order. Millions of them take little memory."""

    folder: Path
    """Where the files lie."""
    modalities: tuple[str, ...]
    """Which streams are read."""
    videos: np.ndarray
    """Paths of files of video relative to the folder, of `as_paths`; empty where there is none: (clips,)."""
    audios: np.ndarray
    """Files of sound alone, likewise: (clips,)."""
    starts: np.ndarray
    """Where the clip begins in its file, in seconds: (clips,)."""
    lengths: np.ndarray
    """Seconds of the clip: (clips,)."""
    numbers: np.ndarray
    """Class numbers of all clips, one after the other: int64 (numbers,)."""
    ends: np.ndarray
    """Where each clip's numbers end in `numbers`: (clips,)."""
    seconds: float
    """Of a window."""
    per_clip: int
    """Windows of a clip."""

    def __len__(self) -> int:
        return len(self.videos) * self.per_clip

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        clip, number = divmod(int(index), self.per_clip)
        start = window_start(number, self.per_clip, length=float(self.lengths[clip]), window=self.seconds)
        begin, seconds = float(self.starts[clip]) + start, min(self.seconds, float(self.lengths[clip]))
        video, audio = self.videos[clip], self.audios[clip]
        parts = {
            modality: Media(os.path.join(self.folder, os.fsdecode(path)), start=begin, seconds=seconds)
            for modality, path in (("audio", audio or video), ("video", video))
            if path and modality in self.modalities
        }
        name = (video or audio).decode("utf-8", errors="replace")
        first = self.ends[clip - 1] if clip else 0
        return Record(
            name=name if self.per_clip == 1 else f"{name} from {start:.2f} s",
            raws=Streams(parts),
            targets={"labels": self.numbers[first : self.ends[clip]].tolist()},
        )


def window_start(number: int, count: int, *, length: float, window: float) -> float:
    """Where a window begins in a clip, in seconds: the middles of `count` windows are spread evenly.

    >>> [window_start(number, 3, length=10.0, window=4.0) for number in range(3)]
    [0.0, 3.0, 6.0]
    >>> window_start(0, 1, length=10.0, window=2.0)
    4.0
    """
    return max(0.0, min((number + 0.5) / count * length - window / 2, length - window))


def _beside(base: Path, name: str) -> Path | None:
    """A list in the folder, or in a folder in it."""
    if (base / name).is_file():
        return base / name
    return next((path for path in sorted(base.glob(f"*/{name}")) if path.is_file()), None)


def _read_segments(path: Path) -> list[Segment]:
    """The lines of a list.

    Raises:
        ValueError: it cannot be read, holds none, or one is of another form.
    """
    lines = [line for line in read_lines(path) if not line.startswith("#")]
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
        raise ValueError(f"{path}: has no segment")
    return segments


def _classes(base: Path, segments: Sequence[Segment]) -> dict[str, str]:
    """Machine id -> name of each class, in their order; the ids themselves where no list names them."""
    if path := _beside(base, CLASSES):
        rows = read_table(path, ("mid", "display_name"))
        return {row["mid"]: row["display_name"] for row in rows}
    used = {mid for segment in segments for mid in segment.labels}
    if path := _beside(base, ONTOLOGY):
        with faults_of(path):
            named = {str(entry["id"]): str(entry["name"]) for entry in json.loads(read_file(path))}
        return {mid: name for mid, name in named.items() if mid in used}
    return {mid: mid for mid in sorted(used)}


def _unknown_labels(segments: Mapping[Path, Sequence[Segment]], classes: Mapping[str, str]) -> list[str]:
    used = {mid for listed in segments.values() for segment in listed for mid in segment.labels}
    unknown = sorted(used - classes.keys())
    return [f"labels that the list of classes has not are left out: {example_list(unknown)}"] if unknown else []


class _MediaFiles:
    """The media files below a folder by the ids in their names."""

    def __init__(self, base: Path, wanted: set[str]) -> None:
        self.of_video: dict[str, list[tuple[float | None, str]]] = {}
        for path in files_below(base, VIDEO_SUFFIXES + AUDIO_SUFFIXES):
            stem = file_stem(path)
            for begin in (0, 1) if stem.startswith("Y") else (0,):
                name, rest = stem[begin : begin + _ID_LENGTH], stem[begin + _ID_LENGTH :]
                if name in wanted and (times := _TIMES.fullmatch(rest)):
                    start = None if times[1] is None else float(times[1])
                    self.of_video.setdefault(name, []).append((start, path))
                    break

    def clips(self, path: Path, segments: Sequence[Segment], warnings: list[str]) -> list[_Clip]:
        """The segments of a list that have a file."""
        found = []
        for segment in segments:
            times = (None, segment.start, 1000 * segment.start)
            paths = [each for start, each in self.of_video.get(segment.video, ()) if start in times]
            video = next((each for each in paths if each.lower().endswith(VIDEO_SUFFIXES)), "")
            audio = next((each for each in paths if each.lower().endswith(AUDIO_SUFFIXES)), "")
            if paths:
                found.append(_Clip(segment, video, audio))
        if len(found) < len(segments):
            warnings.append(f"{len(segments) - len(found)} of {len(segments)} segments of {path.name} have no file")
        return found


def _as_windows(
    clips: Sequence[_Clip],
    classes: Mapping[str, str],
    *,
    folder: Path,
    modalities: tuple[str, ...],
    seconds: float,
    per_clip: int,
    is_trimmed: bool,
) -> Windows:
    number_of = {mid: number for number, mid in enumerate(classes)}
    numbers = [[number_of[mid] for mid in clip.segment.labels if mid in number_of] for clip in clips]
    return Windows(
        folder=folder,
        modalities=modalities,
        videos=as_paths([clip.video for clip in clips]),
        audios=as_paths([clip.audio for clip in clips]),
        starts=np.array([0.0 if is_trimmed else clip.segment.start for clip in clips]),
        lengths=np.array([clip.segment.end - clip.segment.start for clip in clips]),
        numbers=np.array([number for each in numbers for number in each], dtype=np.int64),
        ends=np.cumsum([len(each) for each in numbers], dtype=np.int64),
        seconds=seconds,
        per_clip=per_clip,
    )


def _encoders(clips: Sequence[_Clip], window: float) -> dict[str, Encoder]:
    """What is offered: video only where there are such files."""
    encoders: dict[str, Encoder] = {"audio": AudioEncoder(rate=48000, seconds=window)}
    if any(clip.video for clip in clips):
        encoders["video"] = VideoEncoder(size=(224, 224), frames=8)
    return encoders
