"""Parts of real sound and video files are decoded where they lie; a broken file is one line, soon."""

import gc
import io
import multiprocessing
import os
import struct
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from closeness import assert_close, assert_within
from PIL import Image

from hiperceiver.data.media import Media, media_info, read_audio, read_frames, resampled, times_of_frames

from .media import clip, sine, write_media
from .pictures import encoded, jpeg, write

CLIP = clip()


def numbers(frames: np.ndarray) -> list[int]:
    """Which frames of `clip` these are."""
    return np.rint(frames[:, 20:, :, :3].mean((1, 2, 3)) / 10).astype(int).tolist()


def refusal(raw: object) -> str:
    """The one line with which a file is refused as sound and as video."""
    with pytest.raises(ValueError, match=r"^.+$") as audio:
        read_audio(raw)
    with pytest.raises(ValueError, match=r"^.+$") as video:
        read_frames(raw, 4)
    assert "\n" not in str(audio.value)
    assert str(audio.value) == str(video.value)
    return str(audio.value)


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("a.mp4", ("libx264", "aac")),
        ("a.mov", ("libx264", "pcm_s16le")),
        ("a.mkv", ("libx264", "flac")),
        ("a.webm", ("libvpx-vp9", "libopus")),
        ("vp8.webm", ("libvpx", "libopus")),
        ("a.ts", ("libx264", "aac")),
        ("a.flv", ("flv", "mp3")),
    ],
)
def test_sound_and_frames_of_one_file(tmp_path: Path, name: str, codecs: tuple[str, str]) -> None:
    rate = 48000 if "opus" in codecs[1] else 44100
    path = write_media(tmp_path / name, video=CLIP, audio=sine(2, rate, channels=2), rate=rate, codecs=codecs)
    info = media_info(path)
    assert (info.has_audio, info.has_video, info.rate) == (True, True, rate)
    assert info.frames_per_second == pytest.approx(10, rel=0.05)
    assert info.duration == pytest.approx(2, abs=0.1)
    for raw in (path, str(path), path.read_bytes(), Media(path)):
        assert numbers(read_frames(raw, 20, 10)) == list(range(20))
    samples, found = read_audio(path)
    assert (samples.dtype, samples.shape[1], found) == (np.float32, 2, rate)
    assert len(samples) == pytest.approx(2 * rate, abs=0.05 * rate)
    # The left channel is twice as loud as the right one, and the tone has its pitch.
    middle = samples[rate // 2 : rate // 2 + rate]
    assert np.abs(middle).max(0) == pytest.approx([0.5, 0.25], abs=0.05)
    assert np.argmax(np.abs(np.fft.rfft(middle[:, 0]))) == 440


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
@pytest.mark.parametrize(
    "options", [{"g": "1"}, {"g": "5"}, {"x264-params": "open-gop=1:bframes=3:keyint=6:min-keyint=1"}]
)
def test_a_part_is_that_part_of_the_whole(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    audio = sine(2, channels=2) * np.linspace(0, 1, 88200, dtype=np.float32)[:, None]
    path = write_media(tmp_path / name, video=CLIP, audio=audio, options=options)
    whole_sound, rate = read_audio(path)
    for start, seconds in [(0.0, 0.35), (0.5, 0.4), (0.55, 1.0), (1.2, None), (1.85, 0.1), (1.9, 7.0)]:
        end = 2.0 if seconds is None else min(2.0, start + seconds)
        part = Media(path, start, seconds)
        times = start + times_of_frames(end - start, 4)
        assert numbers(read_frames(part, 4)) == np.floor(times * 10 + 1e-3).astype(int).tolist()
        if name != "a.mkv":  # its time stamps are rounded to milliseconds
            samples, _ = read_audio(part)
            expected = whole_sound[round(start * rate) :][: None if seconds is None else round(seconds * rate)]
            assert_within(samples, expected, 2e-4)  # AAC, whose decoder may start at another packet: mostly 0


def test_only_what_is_needed_is_decoded(tmp_path: Path) -> None:
    changed = []
    path = write_media(tmp_path / "a.mp4", video=CLIP, options={"g": "5"})
    frames = read_frames(path, 3, change=lambda frame: changed.append(frame.shape) or frame[::2, ::2])
    assert frames.shape == (3, 24, 32, 3)
    assert changed == [(48, 64, 3)] * 3


@pytest.mark.parametrize(
    ("suffix", "subtype", "steps"),
    [
        ("wav", "PCM_U8", 2**7),
        ("wav", "PCM_16", 2**15),
        ("wav", "PCM_24", 2**23),
        ("wav", "PCM_32", 2**31),
        ("wav", "FLOAT", None),
        ("wav", "DOUBLE", None),
        ("flac", "PCM_16", 2**15),
        ("flac", "PCM_24", 2**23),
        ("aiff", "PCM_16", 2**15),
        ("w64", "PCM_16", 2**15),
        ("au", "PCM_16", 2**15),
        ("caf", "PCM_24", 2**23),
    ],
)
@pytest.mark.parametrize(("rate", "channels"), [(44100, 1), (8000, 2), (96000, 6)])
def test_what_loses_nothing_is_exact(
    tmp_path: Path, suffix: str, subtype: str, steps: int | None, rate: int, channels: int
) -> None:
    wave = sine(0.5, rate, channels=channels)
    wave = np.rint(wave.astype(np.float64) * steps) / steps if steps else wave
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, wave, rate, subtype=subtype)
    samples, found = read_audio(path)
    assert found == rate
    np.testing.assert_array_equal(samples, wave.astype(np.float32))
    part, _ = read_audio(Media(path, 0.1, 0.2))
    np.testing.assert_array_equal(part, samples[rate // 10 : rate // 10 + rate // 5])


@pytest.mark.parametrize("suffix", ["mp3", "ogg"])
@pytest.mark.parametrize("channels", [1, 2])
def test_compressed_sound_lies_where_it_lay(tmp_path: Path, suffix: str, channels: int) -> None:
    wave = sine(3, channels=channels) * np.linspace(0, 1, 3 * 44100, dtype=np.float32)[:, None]
    soundfile.write(tmp_path / f"a.{suffix}", wave, 44100)
    samples, rate = read_audio(tmp_path / f"a.{suffix}")
    assert (samples.shape, rate) == (wave.shape, 44100)
    assert_within(samples, wave, 0.03)  # the codecs' loss: 0.015; a shift by one sample changes 0.031
    part, _ = read_audio(Media(tmp_path / f"a.{suffix}", 1.5, 1))
    assert_within(part, samples[66150 : 66150 + 44100], 1e-3)  # the decoder may start at another packet: mostly 0


def test_a_gif_moves() -> None:
    pictures = [Image.fromarray(frame) for frame in CLIP]
    file = io.BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=100)
    assert numbers(read_frames(file.getvalue(), 20)) == list(range(20))
    assert media_info(file.getvalue()).has_audio is False


def test_frames_of_uneven_length(tmp_path: Path) -> None:
    """Frames 0 to 4 last a tenth of a second each, frame 5 lasts a whole second, frames 6 to 9 a tenth."""
    stamps = [0, 1, 2, 3, 4, 5, 15, 16, 17, 18]
    path = write_media(tmp_path / "a.mkv", video=CLIP[:10], stamps=stamps)
    assert numbers(read_frames(path, 19)) == [0, 1, 2, 3, 4] + [5] * 10 + [6, 7, 8, 9]
    assert numbers(read_frames(Media(path, 0.4, 0.4), 4)) == [4, 5, 5, 5]


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (-90, 3), (0, 0)])
def test_frames_are_upright(tmp_path: Path, degrees: int, turns: int) -> None:
    path = write_media(tmp_path / "a.mp4", video=CLIP, rotation=degrees, options={"crf": "1"})
    frame = read_frames(path, 1)[0].astype(int)
    expected = np.rot90(CLIP[10], turns).astype(int)
    assert frame.shape == expected.shape
    assert np.abs(frame - expected).mean() < 3


def test_transparent_pixels_are_kept() -> None:
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.paste(1, (0, 0, 4, 8))
    file = io.BytesIO()
    picture.save(file, "GIF", transparency=0, save_all=True, append_images=[picture.copy()], duration=100)
    frame = read_frames(file.getvalue(), 1)[0]
    assert (frame[:, :4] == [255, 0, 0, 255]).all()
    assert (frame[:, 4:, 3] == 0).all()


def test_sound_that_begins_late_begins_with_silence(tmp_path: Path) -> None:
    path = write_media(
        tmp_path / "a.mov", video=CLIP, audio=sine(1), codecs=("libx264", "pcm_s16le"), audio_first=22050
    )
    samples, _ = read_audio(path)
    assert len(samples) == 44100 + 22050
    assert not samples[:22050].any()
    assert_within(samples[22050:], sine(1), 1e-4)  # PCM of 16 bits
    samples, _ = read_audio(Media(path, 0.25, 0.5))
    assert not samples[:11025].any()
    assert_within(samples[11025:], sine(1)[:11025], 1e-4)  # the same
    with pytest.raises(ValueError, match=r"a\.mov: has no sound in this part: it begins after 0.50 seconds"):
        read_audio(Media(path, 0.0, 0.4))


def test_a_missing_track_is_named(tmp_path: Path) -> None:
    silent = write_media(tmp_path / "silent.mp4", video=CLIP)
    blind = write_media(tmp_path / "blind.mp4", audio=sine())
    with pytest.raises(ValueError, match=r"silent\.mp4: has no sound$"):
        read_audio(silent)
    with pytest.raises(ValueError, match=r"blind\.mp4: has no video$"):
        read_frames(blind, 2)
    assert (media_info(silent).has_audio, media_info(silent).rate) == (False, None)
    assert (media_info(blind).has_video, media_info(blind).frames_per_second) == (False, None)


def test_a_part_after_the_end_is_refused(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", video=CLIP, audio=sine(2))
    for seconds in (None, 1.0):
        with pytest.raises(ValueError, match=r"a\.mp4: start: expected a time before the end at 2.\d+ seconds, got 30"):
            read_audio(Media(path, 30, seconds))
        with pytest.raises(ValueError, match=r"a\.mp4: start: expected a time before the end at 2.\d+ seconds, got 30"):
            read_frames(Media(path, 30, seconds), 2)
    whole = write_media(tmp_path / "a.wav", audio=sine(1, 8000), rate=8000, codecs=("", "pcm_s16le"))
    with pytest.raises(ValueError, match=r"a\.wav: start: expected a time before the end at 1\.00 seconds, got 3"):
        read_audio(Media(whole, 3, 2))
    samples, _ = read_audio(Media(path, 1.5, 100))
    assert 0 < len(samples) <= 0.6 * 44100


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": 3}, "source: expected a path or bytes, got int"),
        ({"source": "a", "start": -1}, "start: expected seconds >= 0, got -1"),
        ({"source": "a", "start": float("nan")}, "start: expected seconds >= 0, got nan"),
        ({"source": "a", "seconds": 0}, "seconds: expected a number above 0 or None, got 0"),
        ({"source": "a", "seconds": "1"}, "seconds: expected a number above 0 or None, got '1'"),
    ],
)
def test_wrong_parts_are_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Media(**settings)


def test_what_is_no_media_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, content, reason in [
        ("empty.mp4", b"", "is empty (0 bytes)"),
        ("text.txt", b"only words, no film\n" * 50, "is not a sound or video file in a known format, or is truncated"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nhttp://localhost/a.ts\n", "is not a sound or video file in a known"),
        ("list.ffconcat", b"ffconcat version 1.0\nfile a.mp4\n", "is not a sound or video file in a known format"),
        ("a.jpg", jpeg(), "is not a sound or video file in a known format"),
        ("a.png", encoded(Image.fromarray(CLIP[0])), "is not a sound or video file in a known format"),
        ("zeros.wav", bytes(5000), "is not a sound or video file in a known format"),
    ]:
        path = write(tmp_path / name, content)
        assert refusal(path).startswith(f"{path}: {reason}")
        assert refusal(content).startswith(reason)
    assert refusal(tmp_path) == f"{tmp_path}: is a directory"
    assert refusal(tmp_path / "pipe") == f"{tmp_path / 'pipe'}: is no regular file"
    assert refusal(tmp_path / "gone.mp4") == f"{tmp_path / 'gone.mp4'}: no such file or directory"
    assert refusal("http://localhost/a.mp4") == "http://localhost/a.mp4: no such file or directory"
    assert refusal(None) == "expected a path, bytes or Media, got NoneType"


def test_the_cover_of_a_record_is_no_video(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", sine()[:, 0], 44100)
    cover = encoded(Image.fromarray(CLIP[0]))
    # What `metaflac --import-picture-from` writes: a block of type 6 after the first one.
    flac = (tmp_path / "a.flac").read_bytes()
    body = b"".join(
        [
            (3).to_bytes(4, "big"),
            (9).to_bytes(4, "big") + b"image/png",
            (0).to_bytes(4, "big"),
            *(n.to_bytes(4, "big") for n in (64, 48, 24, 0, len(cover))),
            cover,
        ]
    )
    with_cover = flac[:42] + bytes([6]) + len(body).to_bytes(3, "big") + body + flac[42:]
    with av.open(io.BytesIO(with_cover)) as container:
        assert len(container.streams.video) == 1  # the library shows the cover as a video
    assert media_info(with_cover).has_video is False
    with pytest.raises(ValueError, match="^has no video$"):
        read_frames(with_cover, 1)
    assert len(read_audio(with_cover)[0]) == 44100


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    wave = sine(1, channels=2)
    for suffix, subtype in [("wav", "PCM_16"), ("flac", "PCM_16"), ("mp3", None), ("ogg", None), ("aiff", "PCM_24")]:
        soundfile.write(folder / f"a.{suffix}", wave, 44100, subtype=subtype)
    video = clip(12)
    write_media(folder / "a.mp4", video=video, audio=wave)
    write_media(folder / "fast.mp4", video=video, audio=wave, muxer_options={"movflags": "faststart"})
    write_media(folder / "a.mkv", video=video, audio=wave)
    write_media(folder / "a.avi", video=video, audio=wave, codecs=("mpeg4", "mp3"))
    write_media(folder / "a.webm", video=video, codecs=("libvpx-vp9", ""))
    write_media(folder / "a.ts", video=video, audio=wave)
    write_media(folder / "a.gif", video=video, codecs=("gif", ""))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


NAMES = [
    "a.wav", "a.flac", "a.mp3", "a.ogg", "a.aiff", "a.mp4", "fast.mp4", "a.mkv", "a.avi", "a.webm", "a.ts", "a.gif"
]  # fmt: skip


def check_good_or_refused(content: bytes) -> None:
    """Reads sound and frames, whole and in part: each is a value or one line."""
    faults = []
    for part in (Media(content), Media(content, 0.4, 0.3)):
        for read in (lambda media: read_audio(media)[0], lambda media: read_frames(media, 3)):
            try:
                assert read(part).size
            except ValueError as fault:
                faults.append(str(fault))
    assert not [fault for fault in faults if "\n" in fault or not fault]


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_of_a_file_is_read_or_refused(
    whole_files: dict[str, bytes], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    content = whole_files[name]
    begin = time.monotonic()
    for cut in sorted({*range(0, 200, 13), *np.linspace(200, len(content) - 1, 25, dtype=int).tolist()}):
        check_good_or_refused(content[:cut])
    assert time.monotonic() - begin < 60
    assert capfd.readouterr() == ("", "")  # no decoder prints a warning


@pytest.mark.parametrize("name", NAMES)
def test_every_broken_byte_is_read_or_refused(
    whole_files: dict[str, bytes], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    content = np.frombuffer(whole_files[name], dtype=np.uint8)
    rng = np.random.default_rng(0)
    begin = time.monotonic()
    for number in range(40):
        broken = content.copy()
        # Headers and what follows them, a few bytes or many.
        limit = len(broken) if number % 2 else min(len(broken), 600)
        places = rng.integers(0, limit, 1 + number % 8)
        broken[places] ^= rng.integers(1, 256, len(places)).astype(np.uint8)
        check_good_or_refused(broken.tobytes())
    assert time.monotonic() - begin < 60
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.ogg", "a.mp4", "fast.mp4", "a.webm", "a.avi"])
def test_half_a_file_is_refused_as_a_whole(whole_files: dict[str, bytes], name: str) -> None:
    half = whole_files[name][: len(whole_files[name]) // 2]
    with pytest.raises(ValueError, match="truncated|cannot be decoded"):
        read_frames(half, 3) if name == "a.webm" else read_audio(half)


def _read_in_worker(content: bytes) -> tuple[list[int], float]:
    return numbers(read_frames(content, 5)), float(np.abs(read_audio(content)[0]).max())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_workers_read_after_their_parent(whole_files: dict[str, bytes]) -> None:
    here = _read_in_worker(whole_files["a.mp4"])
    with multiprocessing.get_context("fork").Pool(2) as pool:
        there = pool.map_async(_read_in_worker, [whole_files["a.mp4"]] * 4).get(timeout=60)
    pool.join()
    assert there == [here] * 4
    assert here[0] == [1, 3, 6, 8, 10]


def test_reading_leaves_no_thread_and_no_open_file(whole_files: dict[str, bytes], tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", whole_files["a.mp4"])
    bad = write(tmp_path / "bad.mp4", whole_files["a.mp4"][:3000])
    before = None
    gc.collect()  # what other tests left behind must not go while this one counts
    for _ in range(4):
        read_audio(path), read_frames(path, 2), media_info(path)
        resampled(sine(0.1), 44100, 16000)
        refusal(bad)
        now = (len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")))
        assert before in (None, now)
        before = now


@pytest.mark.parametrize(
    ("rate", "new"), [(48000, 16000), (44100, 16000), (22050, 16000), (96000, 16000), (44100, 48000)]
)
def test_resampling_keeps_tones_and_makes_no_others(rate: int, new: int) -> None:
    lowest = min(rate, new) / 2
    for hertz in np.linspace(50, rate / 2 * 0.99, 40):
        old = sine(0.5, rate, hertz=hertz)
        result = resampled(old, rate, new)
        assert len(result) == round(len(old) * new / rate)
        middle = slice(len(result) // 8, -len(result) // 8)
        expected = sine(0.5, new, hertz=hertz) if hertz < new / 2 else np.zeros_like(result)
        error = 20 * np.log10(np.abs(result - expected)[middle].max() / 0.5 + 1e-9)
        if hertz < 0.85 * lowest:
            assert error < -60
        elif hertz > 1.1 * new / 2:
            assert error < -80


def test_resampling_of_next_to_nothing() -> None:
    for length in (1, 2, 7):
        result = resampled(np.full((length, 2), 0.5, dtype=np.float32), 8000, 48000)
        assert result.shape == (6 * length, 2)
        assert np.isfinite(result).all()
    assert resampled(np.full((3, 1), 0.5, dtype=np.float32), 48000, 1000).shape == (1, 1)
    same = sine(0.1)
    assert resampled(same, 44100, 44100) is same


def test_frames_are_chosen_evenly_or_at_a_rate() -> None:
    assert_close(times_of_frames(2.56, 8), (np.arange(8) + 0.5) * 0.32)
    assert_close(times_of_frames(2.0, 8, 2), [0.25, 0.75, 1.25, 1.75])
    assert_close(times_of_frames(10.0, 4, 2), [4.25, 4.75, 5.25, 5.75])
    assert_close(times_of_frames(0.1, 4, 2), [0.05])  # at least one
    for seconds in (0.01, 0.5, 3.3, 10):
        for rate in (None, 0.3, 3, 25, 1000):
            times = times_of_frames(seconds, 7, rate)
            assert 1 <= len(times) <= 7
            assert times[0] > 0
            assert times[-1] < seconds


def with_sizes(content: bytes, riff: int, data: int) -> bytes:
    """A WAV file whose header states other sizes."""
    at = content.find(b"data") + 4
    sizes = (riff.to_bytes(4, "little"), data.to_bytes(4, "little"))
    return content[:4] + sizes[0] + content[8:at] + sizes[1] + content[at + 4 :]


def test_sizes_that_a_header_states(tmp_path: Path) -> None:
    """Those of a recording that went through a pipe are not known; else they must be those of the file."""
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(1.0, 4000), 4000, subtype="PCM_16")
    content = path.read_bytes()
    whole = read_audio(content)[0]
    assert len(whole) == 4000
    for riff, data in [(0x7FFFF024, 0x7FFFF000), (0xFFFFFFFF, 0xFFFFFFFF), (0x80000024, 0x80000000), (0, 0xFFFFFFFF)]:
        np.testing.assert_array_equal(read_audio(with_sizes(content, riff, data))[0], whole)
    shown = "its header states 2044 of its 8044 bytes: the rest would not be heard"
    assert refusal(with_sizes(content, 2036, 2000)) == shown
    assert refusal(content + content[44:] * 2).startswith("its header states 8044 of its 24044 bytes")
    assert refusal(content[:-200]) == "is truncated: it has 7844 of 8044 bytes"
    for tags in (b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10), bytes(512), b"LIST\x04\x00\x00\x00INFO", b"\x00"):
        np.testing.assert_array_equal(read_audio(content + tags)[0], whole)


@pytest.mark.parametrize("rate", [0, 1, 999, 5_000_001, 64_000_000, 2**31 - 1])
def test_rates_that_no_sound_has_are_named_before_they_take_memory(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(1.0, 4000), 4000)
    content = path.read_bytes()
    content = content[:24] + rate.to_bytes(4, "little") + (2 * rate % 2**32).to_bytes(4, "little") + content[32:]
    message = f"expected sound of 1000 to 5000000 samples per second, got {rate}" if rate else "is not a sound or video"
    with pytest.raises(ValueError, match=f"^{message}"):
        read_audio(content)


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("a.mkv", ("libx264", "aac")),
        ("a.webm", ("libvpx", "libopus")),
        ("live.mkv", ("libx264", "aac")),
        ("a.avi", ("mpeg4", "mp2")),
        ("a.mov", ("libx264", "aac")),
        ("a.ts", ("libx264", "aac")),
        ("a.flv", ("flv1", "aac")),
        ("a.asf", ("mpeg4", "mp2")),
        ("parts.mp4", ("libx264", "aac")),
    ],
)
def test_a_cut_file_with_sound_and_video_is_not_taken_for_a_short_one(
    tmp_path: Path, name: str, codecs: tuple[str, str]
) -> None:
    path = tmp_path / name
    options = {"live.mkv": {"live": "1"}, "parts.mp4": {"movflags": "frag_keyframe+empty_moov"}}.get(name)
    rate = 48000 if codecs[1] == "libopus" else 44100
    write_media(path, video=CLIP, audio=sine(2.0, rate), rate=rate, codecs=codecs, muxer_options=options)
    content = path.read_bytes()
    read_audio(content)
    read_frames(content, 3)
    for share in (0.5, 0.803, 0.95 if name == "parts.mp4" else 0.99):  # behind its last part is an index alone
        cut = content[: int(len(content) * share)]
        for read in (read_audio, lambda each: read_frames(each, 3)):
            with pytest.raises(ValueError, match=r"^(is truncated: |cannot be decoded: |is not a .*or is truncated$)"):
                read(cut)


@pytest.mark.parametrize(
    ("name", "codecs"),
    [("a.mkv", ("libx264", "aac")), ("a.webm", ("libvpx", "libopus")), ("a.ts", ("libx264", "aac"))],
)
def test_a_file_that_ends_with_zeros_is_incomplete(tmp_path: Path, name: str, codecs: tuple[str, str]) -> None:
    """As a copy that was broken off, whose place had been kept."""
    rate = 48000 if codecs[1] == "libopus" else 44100
    write_media(tmp_path / name, video=CLIP, audio=sine(2.0, rate), rate=rate, codecs=codecs)
    content = (tmp_path / name).read_bytes()
    kept = int(len(content) * 0.6)
    for read in (read_audio, lambda each: read_frames(each, 3)):
        with pytest.raises(ValueError, match=r"^is incomplete: its last \d+ bytes are zeros$"):
            read(content[:kept] + bytes(len(content) - kept))


@pytest.mark.parametrize("suffix", ["wav", "w64", "caf", "rf64", "au", "aiff", "flac", "ogg", "mp3", "opus", "m4a"])
def test_a_cut_recording_is_not_taken_for_a_short_one(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    wave = sine(4.0, 48000)
    if suffix in ("opus", "m4a"):
        write_media(path, audio=wave, rate=48000, codecs=("", "libopus" if suffix == "opus" else "aac"))
    else:
        soundfile.write(path, wave, 48000)
    content = path.read_bytes()
    assert len(read_audio(content)[0]) == pytest.approx(4 * 48000, abs=3000)
    for share in (0.4, 0.703, 0.95, 0.97):
        with pytest.raises(ValueError, match=r"^(is truncated: |cannot be decoded: |is not a .*or is truncated$)"):
            read_audio(content[: int(len(content) * share)])


@pytest.mark.parametrize("stated", [2, 12, 2000, 7999])
def test_sound_behind_the_stated_end_is_said(tmp_path: Path, stated: int) -> None:
    """The file's own size may be right."""
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(1.0, 4000), 4000, subtype="PCM_16")
    content = path.read_bytes()
    if stated == 7999:  # an odd number of bytes, with one to fill up
        assert len(read_audio(with_sizes(content, len(content) - 8, stated))[0]) == 3999
        return
    expected = f"its header states {stated} of its 8000 bytes: the rest would not be heard"
    assert refusal(with_sizes(content, len(content) - 8, stated)) == expected


def test_sound_behind_the_stated_end_of_a_long_wav_file_is_said() -> None:
    file = io.BytesIO()
    soundfile.write(file, sine(1.0, 4000), 4000, format="RF64")
    content = file.getvalue()
    assert len(read_audio(content)[0]) == 4000
    stated = content[:28] + (2000).to_bytes(8, "little") + content[36:]
    assert refusal(stated) == "its header states 2000 of its 8000 bytes: the rest would not be heard"


def test_a_w64_header_that_states_too_few_or_too_many_bytes() -> None:
    file = io.BytesIO()
    soundfile.write(file, sine(1.0, 4000), 4000, format="W64")
    content = file.getvalue()
    at = content.index(b"data\xf3\xac\xd3\x11") + 16
    size = len(content) - at + 16

    def stating(length: int) -> bytes:
        return content[:at] + length.to_bytes(8, "little") + content[at + 8 :]

    assert stating(size) == content
    for whole in (
        content,
        content + bytes(64),
        stating(2**62),
        content + b"list" + bytes(12) + bytes([32]) + bytes(15),
    ):
        assert len(read_audio(whole)[0]) == 4000
    assert refusal(stating(2024)) == "its header states 2000 of its 8000 bytes: the rest would not be heard"
    assert refusal(stating(9_000_000)).startswith(f"is truncated: it has {len(content)} of 90000")


def test_rates_without_a_common_divisor_are_named_before_they_take_memory() -> None:
    with pytest.raises(ValueError, match=r"^rate: expected one that can be brought to 4000, got 4999999, which"):
        resampled(np.zeros((100, 1), dtype=np.float32), 4_999_999, 4000)
    assert len(resampled(np.zeros((50_000, 1), dtype=np.float32), 5_000_000, 4000)) == 40


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
        ((1, 0, 0, -1), lambda frame: frame[::-1]),
        ((0, 1, 1, 0), lambda frame: frame.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda frame: frame.swapaxes(0, 1)[::-1, ::-1]),
    ],
)
def test_mirrored_video_is_mirrored_back(
    tmp_path: Path, matrix: tuple[int, ...], expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Front cameras of phones write so. The matrix stands in the header of the track."""
    write_media(tmp_path / "a.mp4", video=CLIP, options={"crf": "1"})
    content = (tmp_path / "a.mp4").read_bytes()
    numbers = {True: (1, 0, 0, 1), False: matrix}
    stored = {
        key: struct.pack(">9i", *(65536 * n for n in (*v[:2], 0, *v[2:], 0, 0, 0, 16384))) for key, v in numbers.items()
    }
    at = content.index(stored[True], content.index(b"tkhd"))
    turned = read_frames(content[:at] + stored[False] + content[at + 36 :], 3)
    assert_within(turned, np.stack([expected(frame) for frame in read_frames(content, 3)]).astype(float), 3)


@pytest.mark.parametrize(("name", "aspect"), [("a.mp4", "2:1"), ("a.mkv", "64:45"), ("a.mp4", "8:9"), ("a.avi", "2:1")])
def test_pixels_that_are_not_square_become_square(tmp_path: Path, name: str, aspect: str) -> None:
    """As of DVD and DV tapes, whose wide pictures are stored narrow."""
    path, share = tmp_path / name, Fraction(*map(int, aspect.split(":")))
    write_media(tmp_path / f"square-{name}", video=CLIP, options={"crf": "1"})
    write_media(path, video=CLIP, options={"crf": "1", "aspect": aspect})
    plain, frames = read_frames(tmp_path / f"square-{name}", 3), read_frames(path, 3)
    height, width = plain.shape[1:3]
    assert frames.shape == (3, height, round(width * share), 3)
    middles = ((np.arange(frames.shape[2]) + 0.5) / share).astype(int)
    assert np.abs(frames.astype(float) - plain[:, :, middles]).mean() < 8


@pytest.mark.parametrize(("kind", "codec"), [("mpeg", "mpeg1video"), ("svcd", "mpeg2video")])
def test_a_cut_program_stream_is_not_taken_for_a_short_one(tmp_path: Path, kind: str, codec: str) -> None:
    path = tmp_path / "a.mpg"
    write_media(path, video=np.tile(CLIP, (4, 1, 1, 1)), fps=25, codecs=(codec, ""), kind=kind)
    content = path.read_bytes()
    assert len(read_frames(content, 80)) == 80
    assert len(read_frames(content + b"\x00\x00\x01\xb9", 80)) == 80  # some have an end
    kept = len(content) // 2 + 100
    for rest, reason in ((b"", r"is truncated: it has \d+ of \d+ bytes"), (bytes(8 * kept), "is incomplete: .*zeros")):
        with pytest.raises(ValueError, match=f"^{reason}$"):
            read_frames(content[:kept] + rest, 4)


def test_a_cut_gif_is_not_taken_for_a_short_one() -> None:
    frames = [Image.fromarray(frame) for frame in CLIP[:6]]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    whole = read_frames(content, 6)
    assert np.array_equal(read_frames(content + bytes(99), 6), whole)
    assert np.array_equal(read_frames(content[:-1], 6), whole)  # nothing is missing but the mark of the end
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(ValueError, match="^is truncated: it ends within a picture$"):
            read_frames(content[: int(len(content) * share)], 6)


def test_a_film_whose_rest_is_zeros_is_incomplete(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    write_media(path, video=CLIP, audio=sine(2.0), codecs=("mpeg4", "mp3"))
    content = path.read_bytes()
    assert len(read_audio(content + bytes(9000))[0]) == pytest.approx(88200, abs=2000)  # zeros behind the file
    kept = len(content) // 2
    assert refusal(content[:kept] + bytes(len(content) - kept)).startswith("is incomplete: its last ")


def test_a_header_whose_samples_have_two_sizes_is_refused() -> None:
    file = io.BytesIO()
    soundfile.write(file, sine(1.0, 4000, channels=2), 4000, format="WAV", subtype="PCM_24")
    content = bytearray(file.getvalue())
    assert len(read_audio(bytes(content))[0]) == 4000
    at = content.index(b"fmt ") + 8
    content[at + 2] = 1
    assert refusal(bytes(content)) == "its header contradicts itself: 1 x 24 bits a sample, in 6 bytes"
    content[at + 2], content[at + 14] = 2, 16
    assert refusal(bytes(content)) == "its header contradicts itself: 2 x 16 bits a sample, in 6 bytes"


def test_files_joined_to_one_are_not_heard_in_part() -> None:
    file = io.BytesIO()
    soundfile.write(file, sine(1.0, 4000), 4000, format="WAV", subtype="PCM_16")
    content = file.getvalue()
    assert refusal(2 * content) == "its header states 8044 of its 16088 bytes: the rest would not be heard"


def test_speech_as_the_nist_stores_it_is_read(tmp_path: Path) -> None:
    """TIMIT's files have the ending .wav, and the cut ones are noticed."""
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(1.0, 16000), 16000, format="NIST", subtype="PCM_16")
    samples, rate = read_audio(path)
    assert rate == 16000
    assert_within(samples, sine(1.0, 16000), 1e-4)
    with pytest.raises(ValueError, match="is truncated: it ends after 0.49 of 1.00 seconds"):
        read_audio(path.read_bytes()[: 1024 + 15_800])
