"""Crafted sounds and films."""

import io
import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest

from hiperceiver.data.encoders import AudioEncoder, VideoEncoder
from hiperceiver.data.media import media_info

from .harness import assert_refused, run_apart

AUDIO = AudioEncoder(rate=8000, seconds=0.25, samples_per_token=4, is_silence_bad=False)
VIDEO = VideoEncoder(size=(8, 8), frames=2)


def _wav(rate: int = 8000, channels: int = 1, bits: int = 16, stated: int = 64, content: bytes = bytes(64)) -> bytes:
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate, min(rate * block, 2**32 - 1), min(block, 65535), bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", stated) + content
    return b"RIFF" + struct.pack("<I", min(len(body) - len(content) + stated, 2**32 - 1)) + body


def _box(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    return struct.pack(">I", 8 + len(content) if size is None else size) + kind + content


def _full(kind: bytes, *numbers: int) -> bytes:
    return _box(kind, struct.pack(f">I{len(numbers)}I", 0, *numbers))


def _mp4(samples: int, *, stated_width: int = 16, sample_size: int = 1, content: bytes = bytes(64)) -> bytes:
    """A film whose tables promise so many frames, all of one size."""
    sizes = (stated_width, stated_width, 0x480000, 0x480000, 0, 1)
    entry = struct.pack(">6xH16xHHIIIH32sHh", 1, *sizes, b"", 24, -1)
    stsd = _box(b"stsd", struct.pack(">II", 0, 1) + _box(b"jpeg", entry))
    stts, stsc = _full(b"stts", 1, samples, 1), _full(b"stsc", 1, 1, samples, 1)
    stsz, stco = _full(b"stsz", sample_size, samples), _full(b"stco", 1, 28)
    minf = _box(b"vmhd", bytes(12)) + _box(b"stbl", stsd + stts + stsc + stsz + stco)
    mdhd = _box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, 1000, samples, 0, 0))
    hdlr = _box(b"hdlr", struct.pack(">II4s12xx", 0, 0, b"vide"))
    trak = _box(b"tkhd", bytes(84)) + _box(b"mdia", mdhd + hdlr + _box(b"minf", minf))
    mvhd = _box(b"mvhd", struct.pack(">IIIII80x", 0, 0, 0, 1000, samples))
    return _box(b"ftyp", b"isom\0\0\0\0isom") + _box(b"mdat", content) + _box(b"moov", mvhd + _box(b"trak", trak))


def _flac(seconds: int, *, stated: int | None = None) -> bytes:
    """Silence, of which a second takes a few bytes."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=48000, layout="stereo")
        for number in range(seconds):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 96000), np.int16), format="s16", layout="stereo")
            frame.sample_rate, frame.pts = 48000, number * 48000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    content = bytearray(buffer.getvalue())
    if stated is not None:  # 36 bits of the header, 21 bytes from the start
        content[21] = (content[21] & 0xF0) | (stated >> 32)
        content[22:26] = struct.pack(">I", stated & (2**32 - 1))
    return bytes(content)


def _film(width: int, height: int, codec: str = "mpeg4", kind: str = "mp4", frames: int = 1) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = width, height
        stream.pix_fmt = {"gif": "rgb8"}.get(codec, "yuv420p")
        frame = av.VideoFrame(width, height, stream.pix_fmt)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        for number in range(frames):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.fixture(scope="module", autouse=True)
def _decoders_are_loaded() -> None:
    AUDIO.read(_wav())
    VIDEO.read(_film(32, 32))


SOUNDS = {
    "rate.wav": (_wav(rate=2**32 - 1), ""),
    "rate2.wav": (_wav(rate=2 * 10**9, bits=8), "samples per second"),
    "channels.wav": (_wav(channels=65535), ""),
    "bits.wav": (_wav(bits=65535), ""),
    "terabytes.wav": (_wav(stated=2**30), "truncated"),
    "part.wav": (_wav()[:20] + b"\xff\xff\xff\xff" + _wav()[24:], ""),
    "endless.ogg": (b"OggS" + b"\xff" * 2**16, ""),
    "stated.flac": (_flac(4, stated=2**36 - 1), ""),
    "tag.mp3": (b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(2**16), ""),
    "box.m4a": (b"\0\0\0\x20ftypM4A " + bytes(20) + struct.pack(">I4sQ", 1, b"moov", 2**62), ""),
    "list.m3u8": (b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "known format"),
    "concat.wav": (b"ffconcat version 1.0\nfile /etc/passwd\n", "known format"),
    "session.sdp": (b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n", "known format"),
}
FILMS = {
    "wide.gif": (b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x44\x01\0;", ""),
    "wide.y4m": (b"YUV4MPEG2 W30000 H30000 F25:1 Ip A1:1 C420\nFRAME\n" + bytes(2**16), ""),
    "endless.y4m": (b"YUV4MPEG2 W2000000000 H2000000000 F25:1\nFRAME\n" + bytes(64), ""),
    "tables.mp4": (_mp4(2**32 - 1), ""),
    "many.mp4": (_mp4(60_000_000), ""),
    "empty.mp4": (_mp4(60_000_000, sample_size=0), ""),
    "wide.mp4": (_mp4(1, stated_width=65535, sample_size=64), ""),
    "elements.mkv": (b"\x1a\x45\xdf\xa3" + b"\x01\xff\xff\xff\xff\xff\xff\xfe" + bytes(64), ""),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_that_promise_too_much_are_refused(name: str, tmp_path: Path) -> None:
    content, words = SOUNDS[name]
    path = tmp_path / name
    path.write_bytes(content)
    assert_refused(lambda: AUDIO.read(str(path)), path, words)


@pytest.mark.parametrize("name", FILMS)
def test_films_that_promise_too_much_are_refused(name: str, tmp_path: Path) -> None:
    content, words = FILMS[name]
    path = tmp_path / name
    path.write_bytes(content)
    assert_refused(lambda: VIDEO.read(str(path)), path, words)


@pytest.mark.parametrize("stated", [None, 0])
def test_a_sound_that_unpacks_to_more_than_is_allowed_is_refused(
    stated: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIPERCEIVER_MAX_FILE_MB", "16")  # 1 GiB else: an hour and a half of sound is nothing unusual
    path = tmp_path / "silence.flac"
    path.write_bytes(_flac(60, stated=stated))
    assert_refused(lambda: AUDIO.read(str(path)), path, "HIPERCEIVER_MAX_FILE_MB")


def test_a_sound_that_would_be_resampled_to_more_than_is_allowed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIPERCEIVER_MAX_FILE_MB", "16")
    path = tmp_path / "slow.wav"
    path.write_bytes(_wav(rate=1000, bits=8, stated=2**20, content=bytes(2**20)))
    encoder = AudioEncoder(rate=192_000, seconds=0.25, is_silence_bad=False)
    assert_refused(lambda: encoder.read(str(path)), path, "HIPERCEIVER_MAX_FILE_MB")


@pytest.mark.parametrize("stated_width", [16, 14_000])
def test_a_film_of_few_bytes_and_many_pixels_is_refused(stated_width: int, tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    frame = _jpeg_of(14_000)
    path.write_bytes(_mp4(1, stated_width=stated_width, sample_size=len(frame), content=frame))
    assert_refused(lambda: VIDEO.read(str(path)), path)


def test_a_film_is_not_held_in_memory_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPERCEIVER_MAX_FILE_MB", "1")
    path = tmp_path / "long.avi"
    path.write_bytes(_film(512, 512, "rawvideo", "avi", frames=8))
    assert_refused(lambda: VIDEO.read(str(path)), path, "HIPERCEIVER_MAX_FILE_MB")


@pytest.mark.parametrize("kind", ["fifo", "zero", "folder"])
def test_what_never_ends_is_not_opened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    {"fifo": os.mkfifo, "zero": lambda each: each.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](path)
    words = "is a directory" if kind == "folder" else "no regular file"
    assert_refused(lambda: AUDIO.read(str(path)), path, words)
    assert_refused(lambda: media_info(str(path)), path, words)


def _jpeg_of(side: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, "JPEG")
    content = buffer.getvalue()
    frame = content.index(b"\xff\xc0")
    return content[: frame + 5] + struct.pack(">HH", side, side) + content[frame + 9 :]


def test_the_crafted_film_is_a_film() -> None:
    assert run_apart(lambda: media_info(_mp4(3)).has_video).result is True
