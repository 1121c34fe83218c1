"""Pictures of every kind come in; tokens of one kind go out; what cannot be read says so in one line."""

import contextlib
import json
import os
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL
import pytest
import torch
from closeness import assert_close, assert_digits_close, assert_within
from PIL import Image

from hiperceiver.data.encoders import ENCODERS, ImageEncoder, encoder_from_dict
from hiperceiver.data.encoders.picture_files import open_picture
from hiperceiver.data.encoders.regions import fit_to_grid
from hiperceiver.modality import Modality

from ..pictures import encoded, gradient, jpeg, write

GREY = np.arange(24 * 36, dtype=np.uint16).reshape(24, 36) * 70
NOISE = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
SQUASH = ImageEncoder(size=(24, 36), fit="squash", mean=(0, 0, 0), std=(1, 1, 1))


def shown(raw: object, **settings: object) -> np.ndarray:
    """What an encoder keeps of a picture, as a picture."""
    encoder = ImageEncoder(**{"size": (24, 36), "fit": "squash", **settings})
    return encoder.to_value(encoder.encode(raw)[0]).astype(int)


def targets_of(encoder: ImageEncoder, mask: object, **settings: object) -> torch.Tensor:
    return encoder.mask_to_targets(encoder.fit_mask_to_grid(encoder.decode_mask(mask, **settings)))


def test_tokens_are_pixels_in_reading_order() -> None:
    picture = gradient(3, 5)
    tokens = ImageEncoder(size=(3, 5), mean=(0.1, 0.2, 0.3), std=(1, 2, 4)).encode(picture)[0]
    assert tokens.shape == (15, 3)
    assert tokens.dtype == torch.float32
    expected = (picture[1, 2] / 255 - [0.1, 0.2, 0.3]) / [1, 2, 4]
    assert_close(tokens[1 * 5 + 2], expected, terms=2, scale=1)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4)])
def test_decode_is_the_inverse(mode: str, channels: int) -> None:
    encoder = ImageEncoder(size=(24, 36), colours=mode, mean=(0.3,) * channels, std=(0.2,) * channels)
    assert encoder.modality == Modality(grid=(24, 36), channels=channels)
    picture = np.asarray(Image.fromarray(gradient()).convert(mode)).reshape(24, 36, channels)
    np.testing.assert_array_equal(encoder.to_value(encoder.encode(picture)[0]), picture)


def test_decode_cuts_what_is_no_colour() -> None:
    encoder = ImageEncoder(size=(1, 3), colours="L")
    tokens = torch.tensor([[-9.0], [9.0], [float("nan")]], dtype=torch.float64, requires_grad=True)
    assert encoder.to_value(tokens).ravel().tolist() == [0, 255, 0]
    with pytest.raises(ValueError, match=r"tokens: expected shape \(3, 1\), got \(4, 1\)"):
        encoder.to_value(torch.zeros(4, 1))


@pytest.mark.parametrize(
    "raw",
    [
        encoded(Image.fromarray(gradient()), "PNG"),
        encoded(Image.fromarray(gradient()), "BMP"),
        encoded(Image.fromarray(gradient()), "JPEG", quality=95),
        encoded(Image.fromarray(gradient()), "WEBP", lossless=True),
        encoded(Image.fromarray(gradient()).convert("CMYK"), "JPEG", quality=95),
        encoded(Image.fromarray(gradient()).convert("CMYK"), "TIFF"),
        pytest.param(
            encoded(Image.fromarray(gradient()).convert("YCbCr"), "TIFF"),
            marks=pytest.mark.skipif(
                int(PIL.__version__.split(".")[0]) < 13, reason="Pillow 12 refuses it as truncated"
            ),
        ),
        encoded(Image.fromarray(gradient()).convert("RGBA"), "PNG"),
        encoded(Image.fromarray(gradient()).quantize(256), "PNG"),
        Image.fromarray(gradient()),
        gradient(),
    ],
    ids=["png", "bmp", "jpeg", "webp", "cmyk-jpeg", "cmyk-tiff", "ycbcr", "rgba", "palette", "pillow", "array"],
)
def test_the_same_picture_in_any_form(raw: object) -> None:
    assert np.abs(shown(raw) - gradient()).max() <= 24  # palettes and JPEG lose a little
    assert np.abs(shown(raw) - gradient()).mean() <= 5


@pytest.mark.parametrize(
    "raw",
    [
        encoded(Image.fromarray((GREY // 257).astype(np.uint8)), "JPEG", quality=95),
        encoded(Image.fromarray(GREY), "PNG"),
        encoded(Image.fromarray(GREY), "TIFF"),
        encoded(Image.fromarray(GREY.astype(np.int32)), "TIFF"),
        encoded(Image.fromarray((GREY / 65535).astype(np.float32)), "TIFF"),
        (GREY // 257).astype(np.uint8),
        (GREY // 257).astype(np.uint8)[..., None],
    ],
    ids=["grey-jpeg", "png-16", "tiff-16", "tiff-32", "tiff-float", "array", "array-1"],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grey_of_any_depth(raw: object, mode: str) -> None:
    expected = (GREY / 257)[..., None]
    assert np.abs(shown(raw, colours=mode) - expected).max() <= 4


def test_one_bit_picture_is_black_and_white() -> None:
    bits = np.zeros((24, 36), dtype=bool)
    bits[:12] = True
    assert shown(encoded(Image.fromarray(bits), "PNG"))[..., 0].mean(1).tolist() == [255] * 12 + [0] * 12


@pytest.mark.parametrize(("mode", "key"), [("RGB", (255, 0, 0)), ("L", 255)])
def test_a_colour_that_is_transparent_is_laid_on_white(mode: Literal["RGB", "L"], key: Any) -> None:
    """Also where the file has the colours of the grid already."""
    pixels = np.full((4, 4, 3) if mode == "RGB" else (4, 4), 7, np.uint8)
    pixels[0] = 255 if mode == "L" else key
    encoder = ImageEncoder(size=4, colours=mode, mean=(0.0,) * len(mode), std=(1.0,) * len(mode))
    for colour in (key, 0 if mode == "L" else (0, 0, 0)):
        read = encoder.read(encoded(Image.fromarray(pixels), transparency=colour))
        assert (read[1:] == 7).all()
        assert np.array_equal(read[0], np.broadcast_to(255 if colour == key else key, (4, len(mode))))


@pytest.mark.parametrize("colours", ["RGB", "L", "RGBA"])
def test_a_level_of_16_bits_that_is_transparent_is_laid_on_white(colours: Literal["RGB", "L", "RGBA"]) -> None:
    pixels = np.full((4, 4), 40_000, np.uint16)
    pixels[0], pixels[3] = 5_000, 65_535
    encoder = ImageEncoder(size=4, colours=colours, mean=(0.0,) * len(colours), std=(1.0,) * len(colours))
    read = encoder.read(encoded(Image.fromarray(pixels), "PNG", transparency=5_000))
    opaque = encoder.read(encoded(Image.fromarray(pixels), "PNG"))
    assert np.array_equal(read[1:], opaque[1:])
    assert_close(opaque[0, :, 0], np.full(4, 5_000 / 65_535))
    if colours == "RGBA":
        assert np.array_equal(read[0, :, 3], np.zeros(4))
        assert np.array_equal(read[1:, :, 3], np.ones((3, 4)))
    else:
        assert (read[0] == 1).all()


def test_a_jpeg_whose_rest_is_zeros_is_incomplete() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), "JPEG")
    whole = ImageEncoder(size=64).read(content)
    assert np.array_equal(ImageEncoder(size=64).read(content + bytes(500)), whole)  # as some cameras fill files up
    kept = len(content) // 2
    with pytest.raises(ValueError, match=rf"^is incomplete: its last {len(content) - kept} bytes are zeros$"):
        ImageEncoder(size=64).encode(content[:kept] + bytes(len(content) - kept))


def test_transparent_pixels_are_laid_on_white() -> None:
    picture = np.zeros((24, 36, 4), dtype=np.uint8)
    picture[:12] = [255, 0, 0, 255]
    for raw in [
        encoded(Image.fromarray(picture), "PNG"),
        encoded(Image.fromarray(picture).quantize(4), "PNG"),  # a palette with alpha
        encoded(Image.fromarray(picture).convert("LA"), "PNG"),
    ]:
        assert (shown(raw)[12:] == 255).all()
        assert (shown(raw)[:12, :, 1] < 90).all()
    keyed = Image.fromarray(np.repeat([[0], [1]], [12, 12], axis=0).astype(np.uint8).repeat(36, 1), "P")
    keyed.putpalette([10, 20, 30, 200, 100, 50])
    with_key = shown(encoded(keyed, "GIF", transparency=1))
    assert (with_key[:12] == [10, 20, 30]).all()
    assert (with_key[12:] == 255).all()
    assert (shown(Image.fromarray(picture), colours="RGBA")[12:, :, 3] == 0).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    upright = Image.fromarray(gradient())
    # What a camera would store: the inverse of the turn that the tag asks for.
    stored = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {}
    raw = encoded(stored, kind, exif=exif, **options)
    assert open_picture(raw).decoded().size == (36, 24)
    assert np.abs(shown(raw) - gradient()).max() <= 12
    # A large JPEG is decoded small: its box must be turned and shrunk with it.
    if kind == "JPEG":
        large = encoded(stored.resize((stored.width * 20, stored.height * 20)), kind, exif=exif, **options)
        assert np.abs(shown(large, fit="crop") - gradient()).max() <= 24


def test_broken_exif_does_not_lose_the_picture() -> None:
    raw = encoded(Image.fromarray(gradient()), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xffgarbage")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.abs(shown(raw) - gradient()).max() <= 12


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_a_large_jpeg_is_as_its_own_pixels(fit: str) -> None:
    """JPEGs are decoded at a fraction where that is enough; the result is that of the whole decoding."""
    large = Image.fromarray(gradient(700, 1111))
    raw = encoded(large, "JPEG", quality=95)
    whole = Image.open(BytesIO(raw))
    assert np.abs(shown(raw, fit=fit) - shown(whole, fit=fit)).max() <= 4


def test_crop_keeps_the_middle_and_pad_keeps_all() -> None:
    picture = np.zeros((10, 30, 3), dtype=np.uint8)
    picture[:, 10:20] = 255
    assert (shown(picture, size=10, fit="crop") == 255).all()
    squashed = shown(picture, size=(10, 30), fit="squash")
    np.testing.assert_array_equal(squashed, picture)

    encoder = ImageEncoder(size=30, fit="pad", mean=(0.2, 0.2, 0.2), std=(0.1, 0.1, 0.1))
    tokens, is_padding = encoder.encode(picture)
    assert is_padding is not None
    absent = is_padding.view(30, 30)
    assert absent[:10].all()
    assert not absent[10:20].any()
    assert absent[20:].all()
    assert (tokens[is_padding] == 0).all()
    np.testing.assert_array_equal(encoder.to_value(tokens)[10:20], picture)
    assert encoder.encode(np.zeros((7, 7, 3), dtype=np.uint8))[1] is None


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (7, 3)])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (3, 11)])
def test_any_shape_fits(fit: str, shape: tuple[int, int], size: tuple[int, int]) -> None:
    encoder = ImageEncoder(size=size, fit=fit, colours="L")
    tokens, is_padding = encoder.encode(np.full(shape, 200, dtype=np.uint8))
    seen = tokens if is_padding is None else tokens[~is_padding]
    assert len(seen) >= 1
    assert_close(seen, torch.full_like(seen, 200 / 127.5 - 1), terms=2, scale=1)
    left, top, right, bottom = fit_to_grid(*shape, size, fit).box
    assert 0 <= left < right <= shape[1]
    assert 0 <= top < bottom <= shape[0]


@pytest.mark.parametrize("resample", ["lanczos", "bilinear"])
def test_shrinking_does_not_alias(resample: str) -> None:
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = shown(stripes, size=8, colours="L", resample=resample)[:, 1:-1]
    assert np.abs(small - 127.5).max() < 20


def test_the_filters_differ() -> None:
    step = np.repeat([[0, 255]], 12, axis=1).astype(np.uint8)
    assert (shown(step, size=10, colours="L") != shown(step, size=10, colours="L", resample="bilinear")).any()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (jpeg(size=(60, 40))[:-200], "cannot be decoded: .*truncated"),
        (jpeg(size=(900, 700))[:-9000], "cannot be decoded: .*truncated"),
        (encoded(Image.fromarray(NOISE))[:900], "cannot be decoded: .*truncated"),
        (b"", r"is empty \(0 bytes\)"),
        (b"only words, no picture", "is not a picture in a known format"),
        (jpeg()[:10], "cannot be decoded: Truncated File Read"),
        (
            encoded(Image.fromarray(np.full((9, 9), 1e6, dtype=np.float32)), "TIFF"),
            "expected values in 0..65535",
        ),
        (
            encoded(Image.fromarray(np.full((9, 9), -5, dtype=np.int32)), "TIFF"),
            "expected values in 0..65535",
        ),
    ],
    ids=[
        "truncated-jpeg",
        "large-truncated-jpeg",
        "truncated-png",
        "empty",
        "words",
        "header-only",
        "float",
        "negative",
    ],
)
def test_a_bad_file_is_one_line_with_its_name(tmp_path: Path, content: bytes, reason: str) -> None:
    path = write(tmp_path / "some picture.jpg", content)
    for raw in (path, str(path)):
        with pytest.raises(ValueError, match=reason) as caught:
            SQUASH.encode(raw)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=f"^{reason}"):
        SQUASH.encode(content)


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.jpg: no such file or directory"):
        SQUASH.encode(tmp_path / "gone.jpg")
    with pytest.raises(ValueError, match="is a directory"):
        SQUASH.encode(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match=r"pipe\.jpg: is no regular file"):
        SQUASH.encode(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match="got NoneType"):
        SQUASH.encode(None)
    with pytest.raises(ValueError, match=r"array: expected uint8 .* got float64 of shape \(4, 4\)"):
        SQUASH.encode(np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"array: .* got uint8 of shape \(4, 4, 2\)"):
        SQUASH.encode(np.zeros((4, 4, 2), dtype=np.uint8))


def test_every_cut_of_a_file_is_read_or_refused() -> None:
    for whole in (jpeg(), encoded(Image.fromarray(gradient()), "GIF"), encoded(Image.fromarray(gradient()), "TIFF")):
        for end in range(0, len(whole), 37):
            with contextlib.suppress(ValueError):
                SQUASH.encode(whole[:end])


@pytest.mark.parametrize("times", [1.5, 3])
def test_a_picture_too_large_to_decode_is_refused(monkeypatch: pytest.MonkeyPatch, times: float) -> None:
    raw = encoded(Image.fromarray(np.zeros((1000, int(1000 * times)), dtype=np.uint8)))
    monkeypatch.setenv("HIPERCEIVER_MAX_MEGAPIXELS", "1")
    with pytest.raises(ValueError, match="has more than 1 million pixels"):
        SQUASH.encode(raw)


def test_fitted_is_the_mean_and_deviation_of_the_pictures() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, limit, (8, 8, 3), dtype=np.uint8) for limit in (50, 100, 250)]
    fitted = ImageEncoder(size=8).fitted(pictures)
    pixels = np.stack(pictures).reshape(-1, 3) / 255
    assert_digits_close(fitted.mean, pixels.mean(0))
    assert_digits_close(fitted.std, pixels.std(0))
    tokens = torch.stack([fitted.encode(picture)[0] for picture in pictures])
    assert_digits_close(tokens.double().mean((0, 1)), 0.0, scale=np.divide(fitted.mean, fitted.std))


def test_fitted_leaves_out_padding_and_bad_pictures() -> None:
    bright = np.full((5, 20, 3), 255, dtype=np.uint8)
    fitted = ImageEncoder(size=20, fit="pad").fitted([b"", bright, jpeg()[:300]])
    assert fitted.mean == (1.0, 1.0, 1.0)
    assert fitted.std == (1.0, 1.0, 1.0)  # a constant channel is not blown up
    with pytest.raises(ValueError, match="nothing to take mean and std from: is empty"):
        ImageEncoder(size=20).fitted([b""])
    with pytest.raises(ValueError, match="nothing to take mean and std from: there is no training example"):
        ImageEncoder(size=20).fitted([])


def test_mask_is_laid_like_its_picture_and_never_mixed() -> None:
    classes = np.zeros((20, 30), dtype=np.uint8)
    classes[:, 15:] = 7
    classes[0] = 255
    colour_mask = Image.fromarray(classes, "P")
    colour_mask.putpalette([3, 3, 3] * 256)
    for raw in (classes, encoded(colour_mask), encoded(Image.fromarray(classes.astype(np.uint16)))):
        labels = targets_of(ImageEncoder(size=(20, 30)), raw).view(20, 30)
        assert (labels[0] == -100).all()
        assert (labels[1:, :15] == 0).all()
        assert (labels[1:, 15:] == 7).all()
    assert (targets_of(ImageEncoder(size=(20, 30)), classes, ignore=None).view(20, 30)[0] == 255).all()
    encoder = ImageEncoder(size=10, fit="pad")
    labels = targets_of(encoder, classes)
    is_padding = encoder.encode(classes)[1]
    assert set(labels.tolist()) == {-100, 0, 7}
    assert (labels[is_padding] == -100).all()
    cropped = targets_of(ImageEncoder(size=10, fit="crop"), classes).view(10, 10)
    assert (cropped[1:, :5] == 0).all()
    assert (cropped[1:, 5:] == 7).all()
    with pytest.raises(ValueError, match="its mode is RGB"):
        targets_of(encoder, gradient())


def test_one_bit_mask_has_the_classes_0_and_1() -> None:
    bits = np.eye(6, dtype=bool)
    assert targets_of(ImageEncoder(size=6), encoded(Image.fromarray(bits))).tolist() == bits.ravel().tolist()


def test_saved_form_is_plain_and_comes_back() -> None:
    encoder = ImageEncoder(size=(3, 5), colours="L", fit="pad", resample="bilinear", mean=(0.25,), std=(0.125,))
    values = json.loads(json.dumps(encoder.to_dict()))
    assert values["kind"] in ENCODERS
    assert encoder_from_dict(values) == encoder


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "smell"}, f"kind: expected an encoder among {', '.join(ENCODERS)}, got 'smell'"),
        ({}, f"kind: expected an encoder among {', '.join(ENCODERS)}, got None"),
        ({"kind": "image"}, "size: required by ImageEncoder, got nothing"),
        (
            {"kind": "image", "size": [2, 2], "colour": 1},
            "colour: not a setting of ImageEncoder; did you mean colours",
        ),
        ({"kind": "image", "size": [2]}, "size: expected a list of 2"),
        ({"kind": "image", "size": [0, 4]}, r"size\[0\]: expected a whole number >= 1, got 0"),
        ({"kind": "image", "size": [2, 2], "colours": "HSV"}, "colours: expected one of L, RGB, RGBA, got 'HSV'"),
        ({"kind": "image", "size": [2, 2], "fit": "zoom"}, "fit: expected one of crop, squash, pad, got 'zoom'"),
        ({"kind": "image", "size": [2, 2], "resample": "box"}, "resample: expected one of lanczos, bilinear"),
        ({"kind": "image", "size": [2, 2], "mean": [1.0]}, "mean: expected 3 numbers, one for each channel"),
        ({"kind": "image", "size": [2, 2], "std": [1.0, 0.0, 1.0]}, r"std\[.\]: expected a number above 0"),
    ],
)
def test_wrong_settings_are_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        encoder_from_dict(values)
    assert "\n" not in str(caught.value)


def test_reading_leaves_a_given_picture_and_array_alone() -> None:
    picture, array = Image.fromarray(gradient()), gradient()
    tokens = SQUASH.encode(array)[0]
    tokens.zero_()
    SQUASH.encode(picture)
    np.testing.assert_array_equal(array, gradient())
    np.testing.assert_array_equal(np.asarray(picture), gradient())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_size_in_the_header_is_that_of_the_upright_picture(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = encoded(Image.fromarray(gradient(24, 36)), kind, exif=exif)
    width, height = open_picture(raw).decoded().size
    assert open_picture(raw).size == (height, width) == ((24, 36) if orientation < 5 else (36, 24))
    with pytest.raises(ValueError, match="is not a picture"):
        open_picture(b"words")


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", [(40, 60), (60, 40), (7, 31), (24, 36), (1, 1)])
def test_a_mask_lies_on_its_picture_as_the_picture_on_the_grid(fit: str, size: tuple[int, int]) -> None:
    """What is taken from the picture comes back to the same places."""
    encoder = ImageEncoder(size=(24, 36), fit=fit)
    picture = open_picture(np.zeros((*size, 3), dtype=np.uint8))
    own = np.arange(size[0] * size[1]).reshape(size) % 1000
    grid = targets_of(encoder, own.astype(np.uint8), ignore=None).numpy().reshape(24, 36)
    found = encoder.mask_on_picture(grid, picture)
    assert found.shape == size
    left, top, right, bottom = fit_to_grid(*size, (24, 36), fit).box
    y, x = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    is_inside = ((y > top) & (y < bottom))[:, None] & ((x > left) & (x < right))
    np.testing.assert_array_equal(found != -100, is_inside)
    if size == (24, 36):
        np.testing.assert_array_equal(found, own % 256)
    # Each half keeps its label, to within a cell of the border.
    halves = (np.arange(size[1]) >= size[1] / 2).astype(np.uint8)[None].repeat(size[0], 0)
    grid = targets_of(encoder, halves, ignore=None).numpy().reshape(24, 36)
    found = encoder.mask_on_picture(grid, picture)
    cell = max(1, (right - left) / 30)
    is_far = is_inside & (abs(x - size[1] / 2) > cell)
    np.testing.assert_array_equal(found[is_far], halves[is_far])


def test_a_jpeg_is_no_mask() -> None:
    buffer = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # it lies on its side
    Image.fromarray(np.eye(16, dtype=np.uint8)).save(buffer, "JPEG", exif=exif)
    with pytest.raises(ValueError, match="a mask needs exact class numbers, which JPEG does not keep; save masks as P"):
        SQUASH.decode_mask(buffer.getvalue())


@pytest.mark.parametrize("most", [255, 4095, 65535])
@pytest.mark.parametrize("kind", ["P5", "P6"])
def test_netpbm_files_keep_their_levels(kind: str, most: int) -> None:
    """Grey and coloured; Pillow would leave 8 bits of the coloured ones."""
    levels = np.linspace(0, most, 4096).round().reshape(64, 64).astype(">u2" if most > 255 else np.uint8)
    pixels = np.repeat(levels[..., None], 3 if kind == "P6" else 1, axis=2)
    content = f"{kind}\n64 64\n{most}\n".encode() + pixels.tobytes()
    found = ImageEncoder(size=64, colours="RGB").read(content)
    expected = np.repeat(levels[..., None], 3, axis=2).astype(np.float64) / most
    assert_within(found / 255 if most == 255 else found, expected, 1e-4)


def tiff(pixels: np.ndarray, *, is_planar: bool = False, photometric: int | None = None) -> bytes:
    """A TIFF file of 16 bits without compression: (H, W), or (H, W, 3) whose channels may lie one after the other."""
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    planes = np.moveaxis(pixels, 2, 0) if is_planar else pixels[None]
    data = b"".join(plane.astype("<u2").tobytes() for plane in planes)
    length = len(data) // len(planes)
    photometric = photometric if photometric is not None else 1 + (channels > 1)
    after = 8 + 2 + 12 * 10 + 4  # header, and ten entries
    lists = {258: [16] * channels, 273: [after + 64 + n * length for n in range(len(planes))]}
    lists[279] = [length] * len(planes)
    entries, extra = [], b""
    values = {256: [width], 257: [height], 259: [1], 262: [photometric], 277: [channels], 278: [height]}
    for tag, numbers in sorted({**values, **lists, 284: [2 if is_planar else 1]}.items()):
        content = b"".join(number.to_bytes(4, "little") for number in numbers)
        where = content if len(numbers) == 1 else (after + len(extra)).to_bytes(4, "little")
        extra += content if len(numbers) > 1 else b""
        kind, count = (4).to_bytes(2, "little"), len(numbers).to_bytes(4, "little")
        entries.append(tag.to_bytes(2, "little") + kind + count + where)
    start = b"II*\0" + (8).to_bytes(4, "little") + len(entries).to_bytes(2, "little")
    return start + b"".join(entries) + bytes(4) + extra.ljust(64, b"\0") + data


@pytest.mark.parametrize("is_planar", [False, True])
def test_colours_of_16_bits_may_lie_one_after_the_other(is_planar: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (8, 8, 3), dtype=np.uint16)
    found = ImageEncoder(size=8, colours="RGB").read(tiff(pixels, is_planar=is_planar))
    assert_within(found, pixels / 65535, 1e-4)


def test_zero_may_be_white_at_16_bits() -> None:
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    for photometric, expected in ((1, pixels), (0, 65535 - pixels)):
        found = ImageEncoder(size=8, colours="L", full_scale=65535).read(tiff(pixels, photometric=photometric))
        assert_within(found[..., 0], expected / 65535, 1e-4)


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG"])
def test_files_of_several_pictures_are_said(kind: str, tmp_path: Path) -> None:
    first, second = (Image.fromarray(np.full((8, 8, 3), level, dtype=np.uint8)) for level in (0, 255))
    several = write(tmp_path / "several", encoded(first, kind, save_all=True, append_images=[second]))
    single = write(tmp_path / "single", encoded(second, kind))
    notes: list[str] = []
    ImageEncoder(size=8).fitted([single, several], notes)
    found = f"1 of 2 files hold several pictures, of which the first is read, for example {several}"
    assert notes == [found]
    assert shown(several, size=8).max() == 0
