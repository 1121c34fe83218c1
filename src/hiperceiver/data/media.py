"""Sound and video files, decoded with PyAV, in one thread: that works in the forked workers of a data loader."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from numbers import Real
from typing import Any, Literal, TypeAlias

import numpy as np

from hiperceiver import limits
from hiperceiver.data.containers import check_size
from hiperceiver.data.faults import Fault, faults_of, open_file
from hiperceiver.data.packages import import_extra

RawFile: TypeAlias = "str | os.PathLike[str] | bytes"  # a file's path, or its bytes

CLIP_SUFFIXES = ("mp4", "mkv", "webm", "avi", "mov", "m4v", "mpg", "mpeg")
"""Endings of files of video, which may have sound too, without the dot."""
FORMATS = (
    "3gp aac ac3 aiff amr ape asf au avi caf dv eac3 flac flv gif ivf m4v matroska mov mp3 mp4 mpeg mpegts mpegvideo "
    "nistsphere nut ogg tta w64 wav webm wv yuv4mpegpipe"
)
"""What FFmpeg may take a file for. Its other formats are pictures, texts, lists of other files and addresses."""
_ESTIMATED = ("mp3", "aac", "ac3", "eac3", "amr", "mpeg", "mpegts", "mpegvideo", "m4v")  # FFmpeg guesses their length
_PREROLL = 0.5  # seconds of sound that are decoded before the part that is wanted: codecs need a start
_LOWEST_RATE, HIGHEST_RATE_OF_SOUND = 1000, 5_000_000  # samples per second; recorders of ultrasound reach the latter
_MOST_TIMES = 256  # the rate of a sound that it may be given: more would take all memory
_NUM_TAPS = 64  # of the filter of resampling, at the lower rate
_MOST_COEFFICIENTS = 32_000_000  # of its filter: more take seconds, and hundreds of MiB
_LONGEST_LEAD = 60.0  # seconds of silence before a sound that begins later than its file; broken time stamps say more


@dataclass(frozen=True)
class Media:
    """A part of a sound or video file. Times count from the file's beginning.

    >>> Media("clip.mp4", start=30, seconds=2.56)
    Media(source='clip.mp4', start=30, seconds=2.56)
    """

    source: RawFile
    start: float = 0.0  # seconds that are left out at the beginning
    seconds: float | None = None  # length of the part; None goes to the end. A file that ends earlier gives less.

    def __post_init__(self) -> None:
        if not isinstance(self.source, str | os.PathLike | bytes):
            raise ValueError(f"source: expected a path or bytes, got {type(self.source).__name__}")
        if not (isinstance(self.start, Real) and 0 <= self.start < math.inf):
            raise ValueError(f"start: expected seconds >= 0, got {self.start!r}")
        if self.seconds is not None and not (isinstance(self.seconds, Real) and 0 < self.seconds < math.inf):
            raise ValueError(f"seconds: expected a number above 0 or None, got {self.seconds!r}")


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What the header of a file says of it."""

    duration: float | None  # seconds; None if it does not say
    has_audio: bool
    has_video: bool  # the cover of a record is none
    rate: int | None  # samples of the sound per second
    frames_per_second: float | None  # of the video, on average


def media_info(source: RawFile) -> MediaInfo:
    """What is in a file of sound or video, without decoding it."""
    with _opened(Media(source)) as container:
        audio, video = (_streams(container, kind) for kind in ("audio", "video"))
        if not audio and not video:
            raise Fault("has neither sound nor video")
        rate = video[0].average_rate if video else None
        return MediaInfo(
            duration=None if container.duration is None else container.duration / 1e6,
            has_audio=bool(audio),
            has_video=bool(video),
            rate=audio[0].rate if audio else None,
            frames_per_second=float(rate) if rate else None,
        )


def read_audio(media: Media | RawFile, *, new_rate: int = 0) -> tuple[np.ndarray, int]:
    """The first sound track of a file: float32 (samples, channels), in -1..1; and samples per second.

    `new_rate`: to which it will be brought; what would be too much then is refused before it is decoded.

    A track that begins later than the file begins with silence. Some formats round the time stamps by which a part is
    found to milliseconds (Matroska, WebM, FLV).

    Raises:
        ValueError: it cannot be read, has no sound or none in this part, or ends before its own header says.
    """
    media = _as_media(media)
    with _opened(media) as container:
        stream = _stream(container, "audio")
        rate = stream.rate
        if not rate or not _LOWEST_RATE <= rate <= HIGHEST_RATE_OF_SOUND:  # a broken header
            raise Fault(f"expected sound of {_LOWEST_RATE} to {HIGHEST_RATE_OF_SOUND} samples per second, got {rate}")
        begin = round(media.start * rate)
        stop = None if media.seconds is None else begin + round(media.seconds * rate)
        for _ in _starts(stream, media.start - _PREROLL):
            parts, first, end = _sound(stream, begin, stop, new_rate)
            if parts and first <= begin:
                break
        if stop is None or end < stop:
            _check_whole(stream, end / rate)
            if not parts:
                raise Fault("has no sound in this part")
            if end <= begin:
                raise Fault(_past_the_end(media, end / rate))
        lead = first - begin
        if lead > _LONGEST_LEAD * rate or (stop is not None and first >= stop):
            raise Fault(f"has no sound in this part: it begins after {first / rate:.2f} seconds")
        _check_sound(max(lead, 0) + sum(map(len, parts)), parts[0].shape[1])
    samples = np.concatenate(parts)
    if lead > 0:
        samples = np.concatenate([np.zeros((lead, samples.shape[1]), dtype=np.float32), samples])
    return np.ascontiguousarray(samples[max(-lead, 0) :][: None if stop is None else stop - begin]), rate


def read_frames(
    media: Media | RawFile,
    num: int,
    frames_per_second: float | None = None,
    *,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Some frames of the first video track, upright, each as it is on screen at its time (see `times_of_frames`).

    They have square pixels: uint8 (T, h, w, 3), or (T, h, w, 4) where some are transparent, T <= num. `change` is done
    to each as soon as it is decoded, so that many large frames need not be kept; the compressed video is held in
    memory.

    Raises:
        ValueError: it cannot be read, has no video or none in this part.
    """
    media = _as_media(media)
    with _opened(media) as container:
        stream = _stream(container, "video")
        stop = math.inf if media.seconds is None else media.start + media.seconds
        packets: list[Any] = []
        for _ in _starts(stream, media.start):
            packets = _packets(stream, stop)
            if packets and _seconds(stream, packets[0].pts) <= media.start:
                break
        seen = sorted((p for p in packets if _seconds(stream, p.pts) < stop), key=lambda packet: packet.pts)
        if not packets:
            _check_whole(stream, 0.0)
        if not seen:
            raise Fault("has no video in this part")
        stamps = np.array([packet.pts for packet in seen])
        times = np.array([_seconds(stream, packet.pts) for packet in seen])
        lasts = float((seen[-1].duration or 0) * stream.time_base) or 1 / float(stream.average_rate or 25)
        end = stop if len(packets) > len(seen) else times[-1] + lasts
        if end < stop:
            _check_whole(stream, end)
        if media.start >= end:
            raise Fault(_past_the_end(media, end))
        wanted = media.start + times_of_frames(min(stop, end) - media.start, num, frames_per_second)
        # The frame on screen is the last one that has begun.
        chosen = stamps[np.maximum(np.searchsorted(times, wanted + 1e-6, side="right") - 1, 0)]
        decoded = _decoded(stream, packets, set(chosen))
        frames = {stamp: change(pixels) if change else pixels for stamp, pixels in decoded}
        if len({frame.shape for frame in frames.values()}) > 1:
            raise Fault("its frames change their size")
    return np.stack([frames[stamp] for stamp in chosen])


def times_of_frames(seconds: float, num: int, frames_per_second: float | None = None) -> np.ndarray:
    """Which moments of a clip `num` frames show: float (T,), seconds.

    Without a rate they are the middles of `num` equal parts; with one they are at this rate, of the middle if the clip
    is longer. A shorter clip gives fewer, but at least one.

    >>> times_of_frames(2.0, 4).tolist()
    [0.25, 0.75, 1.25, 1.75]
    >>> times_of_frames(2.0, 4, frames_per_second=1).tolist(), times_of_frames(8.0, 2, frames_per_second=1).tolist()
    ([0.5, 1.5], [3.5, 4.5])
    """
    if frames_per_second is None:
        return (np.arange(num) + 0.5) * seconds / num
    count = min(num, max(1, math.floor(seconds * frames_per_second + 1e-6)))
    step = min(1 / frames_per_second, seconds)
    return (seconds - count * step) / 2 + (np.arange(count) + 0.5) * step


def resampled(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Sound at another rate: float32 (samples, channels) to float32 (round(samples * new_rate / rate), channels).

    What the new rate cannot hold is filtered out (more than 90 dB down from 1.1 times half the new rate on).

    >>> resampled(np.zeros((44100, 2), dtype=np.float32), 44100, 16000).shape
    (16000, 2)
    """
    if rate == new_rate:
        return samples
    if new_rate > _MOST_TIMES * rate:
        raise ValueError(f"rate: expected at least {-(-new_rate // _MOST_TIMES)} for sound at {new_rate}, got {rate}")
    if _NUM_TAPS * max(rate, new_rate) // math.gcd(rate, new_rate) > _MOST_COEFFICIENTS:
        found = f"got {rate}, which has hardly a divisor in common with it"
        raise ValueError(f"rate: expected one that can be brought to {new_rate}, {found}: resample the file first")
    av = import_extra("av", extra="data")
    length = max(1, round(len(samples) * new_rate / rate))
    _check_sound(length, samples.shape[1], f"at {new_rate} samples per second is sound of")
    result = np.zeros((length, samples.shape[1]), dtype=np.float32)
    for channel in range(samples.shape[1]):
        # Twice the taps of the default, which lets aliases through at -58 dB.
        resampler = av.AudioResampler(
            format="fltp", layout="mono", rate=new_rate, options={"filter_size": str(_NUM_TAPS)}
        )
        mono = np.ascontiguousarray(samples[None, :, channel], dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(mono, format="fltp", layout="mono")
        frame.sample_rate = rate
        new = [part.to_ndarray()[0] for part in (*resampler.resample(frame), *resampler.resample(None))]
        values = np.concatenate(new)[:length] if new else np.zeros(0)
        result[: len(values), channel] = values
    return result


def to_floats(samples: np.ndarray) -> np.ndarray:
    """Samples of uint8, int16, int32 or floats as float32, whole numbers scaled to -1..1.

    >>> to_floats(np.array([-32768, 16384], dtype=np.int16)).tolist()
    [-1.0, 0.5]
    """
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype in (np.int16, np.int32):
        return samples.astype(np.float32) / np.float32(-float(np.iinfo(samples.dtype).min))
    if np.issubdtype(samples.dtype, np.floating):
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused where it is read
            return samples.astype(np.float32, copy=False)
    raise ValueError(f"samples: expected uint8, int16, int32 or floats, got {samples.dtype}")


def _past_the_end(media: Media, end: float) -> str:
    return f"start: expected a time before the end at {end:.2f} seconds, got {media.start:g}"


def _as_media(raw: Media | RawFile) -> Media:
    if isinstance(raw, Media):
        return raw
    if not isinstance(raw, str | os.PathLike | bytes):
        raise ValueError(f"expected a path, bytes or Media, got {type(raw).__name__}")
    return Media(raw)


@contextlib.contextmanager
def _opened(media: Media) -> Iterator[Any]:
    """An open container. Whatever goes wrong inside becomes a `ValueError` of one line."""
    av = import_extra("av", extra="data")

    def reason_of(error: Exception) -> str | None:  # one of FFmpeg's is a MemoryError: what a broken header asks for
        if not isinstance(error, av.error.FFmpegError):
            return None
        return f"cannot be decoded: {getattr(error, 'strerror', None) or type(error).__name__}".lower()

    with faults_of(media.source, reason_of=reason_of), contextlib.ExitStack() as stack:
        source = media.source
        file = stack.enter_context(BytesIO(source) if isinstance(source, bytes) else open_file(source))
        check_size(file)
        options = {"format_whitelist": FORMATS.replace(" ", ",")}
        try:
            # The file itself, never an address or a pipe that FFmpeg would make of its name.
            container = av.open(
                file,
                metadata_errors="ignore",
                container_options=options,
                options={"max_pixels": str(limits.PIXELS.most)},
            )
            stack.enter_context(container)
        except (av.error.InvalidDataError, av.error.ArgumentError, av.error.EOFError):
            raise Fault("is not a sound or video file in a known format, or is truncated") from None
        yield container


def _streams(container: Any, kind: Literal["audio", "video"]) -> list[Any]:
    """The tracks of a kind; the cover of a record is no video."""
    cover = import_extra("av.stream", extra="data").Disposition.attached_pic
    readable = (stream for stream in container.streams if stream.codec_context is not None)
    return [stream for stream in readable if stream.type == kind and not stream.disposition & cover]


def _stream(container: Any, kind: Literal["audio", "video"]) -> Any:
    """The first track of a kind, the only one that will be read, ready to be decoded in one thread."""
    found = _streams(container, kind)
    if not found:
        raise Fault("has no sound" if kind == "audio" else "has no video")
    discard = import_extra("av.stream", extra="data").Discard.all
    for stream in container.streams:
        if stream is not found[0]:
            stream.discard = discard
    if kind == "video":
        limits.PIXELS.check(found[0].codec_context.width * found[0].codec_context.height, "has frames of")
        found[0].codec_context.options = {"max_pixels": str(limits.PIXELS.most)}
    found[0].codec_context.thread_count = 1
    found[0].codec_context.thread_type = "NONE"
    return found[0]


def _seconds(stream: Any, stamp: int) -> float:
    """A time stamp as seconds since the file's beginning."""
    return float(stamp * stream.time_base) - (stream.container.start_time or 0) / 1e6


def _check_whole(stream: Any, end: float) -> None:
    """Refuse a track that ends, at so many seconds, clearly before its own header says."""
    container, stated = stream.container, -math.inf
    if stream.duration:
        stated = _seconds(stream, (stream.start_time or 0) + stream.duration)
    elif container.duration and len(container.streams) == 1:
        stated = container.duration / 1e6
    if container.format.name not in _ESTIMATED and end < stated - max(0.25, 0.01 * stated):
        raise Fault(f"is truncated: it ends after {max(end, 0):.2f} of {stated:.2f} seconds")


def _starts(stream: Any, start: float) -> Iterator[None]:
    """Go to where decoding can begin before `start`; next, as seeking may land too late, to the file's beginning."""
    container = stream.container
    if start > 0:
        origin = (container.start_time or 0) / 1e6
        with contextlib.suppress(import_extra("av", extra="data").error.FFmpegError):  # it cannot seek: read it all
            container.seek(int((start + origin) / stream.time_base), stream=stream)
        yield
        container.seek(container.start_time or 0)
    yield


def _sound(stream: Any, begin: int, stop: int | None, new_rate: int) -> tuple[list[np.ndarray], int, int]:
    """Sound up to `stop`: parts (samples, channels); the numbers of its first sample and of the one after the last."""
    parts: list[np.ndarray] = []
    first = end = count = 0
    if stop is None and stream.duration and stream.container.format.name not in _ESTIMATED:
        seconds, channels = float(stream.duration * stream.time_base), stream.codec_context.channels
        _check_sound(seconds * stream.rate, channels)
        _check_sound(seconds * new_rate, channels, f"at {new_rate} samples per second is sound of")
    for frame in stream.container.decode(stream):
        values = frame.to_ndarray()
        values = values.T if frame.format.is_planar else values.reshape(frame.samples, -1)
        if not parts:
            first = end = 0 if frame.pts is None else round(_seconds(stream, frame.pts) * stream.rate)
        elif values.shape[1] != parts[0].shape[1] or frame.sample_rate != stream.rate:
            raise Fault("its sound changes the rate or the number of channels")
        end += len(values)
        if end <= begin:  # before the wanted part: only the decoder needed it
            first = end
            parts = [np.zeros((0, values.shape[1]), dtype=np.float32)]
        else:
            parts.append(to_floats(values))
            count += len(values)
            _check_sound(count, values.shape[1])
        if stop is not None and end >= stop:
            break
    return parts, first, end


def _check_sound(num_samples: float, channels: int, words: str = "is sound of") -> None:
    """Refuse more samples than `limits.FILE` allows, as float32."""
    limits.FILE.check(4 * num_samples * channels, words)


def _packets(stream: Any, stop: float) -> list[Any]:
    """The compressed frames, with time stamps, that are decoded until `stop` is shown; of later ones at least one."""
    packets, size = [], 0
    for packet in stream.container.demux(stream):
        if packet.pts is None:
            packet.pts = packet.dts  # AVI files know no other
        if packet.pts is None or packet.is_discard:
            continue
        packets.append(packet)
        limits.FILE.check(size := size + packet.size, "has compressed frames of")
        if packet.dts is not None and _seconds(stream, packet.dts) >= stop:
            break
    return packets


def _decoded(stream: Any, packets: list[Any], wanted: set[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Wanted frames by time stamp, each decoded from the last key frame on, without what nothing depends on."""
    codec, width = stream.codec_context, float(stream.sample_aspect_ratio or 1)
    position = {packet.pts: index for index, packet in enumerate(packets)}
    keys = [index for index, packet in enumerate(packets) if packet.is_keyframe] or [0]
    groups: dict[int, list[int]] = {}
    for stamp in sorted(wanted):
        key = max((key for key in keys if packets[key].pts <= stamp and key <= position[stamp]), default=0)
        groups.setdefault(key, []).append(stamp)
    for key, stamps in groups.items():
        last = max(position[stamp] for stamp in stamps)
        shown = None
        for frame in _frames(codec, packets[key : last + 1], wanted):
            while stamps and shown is not None and frame.pts > stamps[0]:  # a packet that shows nothing of its own
                yield stamps.pop(0), _pixels(shown, width)
            shown = frame
            if stamps and frame.pts == stamps[0]:
                yield stamps.pop(0), _pixels(frame, width)
            if not stamps:
                break
        if stamps and shown is None:
            raise Fault("cannot be decoded: there is no frame")
        for stamp in stamps:
            yield stamp, _pixels(shown, width)
        codec.flush_buffers()


def _frames(codec: Any, packets: list[Any], wanted: set[int]) -> Iterator[Any]:
    """What a decoder gives for these packets, in the order in which it is shown."""
    for packet in packets:
        codec.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
        yield from (frame for frame in codec.decode(packet) if frame.pts is not None)
    yield from (frame for frame in codec.decode(None) if frame.pts is not None)


def _pixels(frame: Any, width: float) -> np.ndarray:
    """An upright frame of square pixels: uint8 (h, w, 3), or (h, w, 4) where it has transparent pixels.

    Args:
        frame: as it is stored.
        width: of a stored pixel, in heights.
    """
    columns = max(1, round(frame.width * width))
    limits.PIXELS.check(max(frame.width, columns) * frame.height, "has frames of")
    if frame.is_corrupt:
        raise Fault("cannot be decoded: a frame is corrupt")
    has_alpha = any(component.is_alpha for component in frame.format.components)
    pixels = frame.reformat(columns, format="rgba" if has_alpha else "rgb24", threads=1).to_ndarray()
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    # It shows a pixel (x, y) at (a x + c y, b x + d y), and may mirror the frame, as cameras of phones do.
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].astype(np.int64)
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
