"""Sound and video files that tests write."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np


def sine(seconds: float = 1.0, rate: int = 44100, *, hertz: float = 440.0, channels: int = 1) -> np.ndarray:
    """float32 (samples, channels); each channel has its own loudness."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return (wave[:, None] / (1 + np.arange(channels))).astype(np.float32)


def clip(frames: int = 20, height: int = 48, width: int = 64) -> np.ndarray:
    """uint8 (frames, height, width, 3): frame t is grey of t * 10, with a bright square that moves."""
    video = np.empty((frames, height, width, 3), dtype=np.uint8)
    for t in range(frames):
        video[t] = t * 10 % 200
        video[t, 4:12, 2 * t % (width - 8) : 2 * t % (width - 8) + 8] = 255
    return video


def write_media(
    target: Path | BytesIO,
    *,
    video: np.ndarray | None = None,
    audio: np.ndarray | None = None,
    fps: int = 10,
    rate: int = 44100,
    codecs: tuple[str, str] = ("libx264", "aac"),
    stamps: list[int] | None = None,
    options: dict[str, str] | None = None,
    rotation: int | None = None,
    kind: str | None = None,
    audio_first: int = 0,
    muxer_options: dict[str, str] | None = None,
) -> Path | BytesIO:
    """A file with a video track, a sound track or both.

    Args:
        stamps: when each frame is shown, in 1 / fps seconds; otherwise one after the other.
        audio_first: the time stamp of the first sample, in samples.
    """
    where = target if isinstance(target, BytesIO) else str(target)
    with av.open(where, "w", format=kind, options=muxer_options or {}) as container:
        if video is not None:
            stream = container.add_stream(codecs[0], rate=fps, options=options or {})
            stream.height, stream.width = video.shape[1:3]
            # GIF has palettes; x264 keeps colours of a frame exactly enough at full resolution.
            stream.pix_fmt = "rgb8" if codecs[0] == "gif" else "yuv420p"
            stream.time_base = Fraction(1, fps)
            if rotation is not None:
                stream.set_display_rotation(rotation)
        if audio is not None:
            layouts = {1: "mono", 2: "stereo", 6: "5.1"}
            sound = container.add_stream(codecs[1], rate=rate, layout=layouts[audio.shape[1]])
        if video is not None:
            for number, pixels in enumerate(video):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts = number if stamps is None else stamps[number]
                frame.time_base = Fraction(1, fps)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(audio.T), format="fltp", layout=layouts[audio.shape[1]]
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, audio_first, Fraction(1, rate)
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return target
