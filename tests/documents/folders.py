"""The folders of data that documents speak of, in the layouts that they name, as small as will do."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.media import clip, sine, write_media
from ..data.pictures import encoded, gradient, jpeg, write
from ..data.signals import npy, off, wav

PER_CLASS = 8
FEW = 4


def write_folders(root: Path) -> None:
    """All of them below `root`."""
    rng = np.random.default_rng(0)
    for folder, classes in {"photos": ("cats", "dogs"), "pictures": ("checks", "stripes")}.items():
        _write_classes(root / folder, classes, "jpg", _photo)
    for folder in ("tiles", "cifar10"):
        _write_classes(root / folder, ("a", "b"), "jpg", _photo)
    for folder in ("sounds", "recordings", "fsdd"):
        _write_classes(root / folder, ("birds", "frogs"), "wav", lambda n: wav(200 + 50 * n))
    for folder in ("sensors", "series"):
        _write_classes(root / folder, ("sitting", "walking"), "csv", _motion)
    _write_classes(root / "clouds", ("chairs", "lamps"), "off", lambda n: off(rng.normal(size=(20, 3)) * (1, 1, n)))
    _write_classes(root / "scanned", ("chairs", "lamps"), "xyz", lambda n: _cloud(rng, n))
    _write_classes(root / "texts", ("ham", "spam"), "txt", lambda n: f"A short text for you, number {n}.\n".encode())
    _write_classes(root / "vectors", ("first", "second"), "npy", lambda n: npy(rng.normal(n % 2, 1, 64)))
    for number in range(2 * PER_CLASS):
        write(root / "logs" / f"{number}.log", f"10:{number:02} started\n".encode() * 4)
    _write_films(root)
    _write_fields(root / "fields")
    _write_lists(root)
    _write_tables(root, rng)
    _write_both(root / "both")
    for number, colour in {1: (40, 90, 200), 2: (200, 90, 40)}.items():
        write(root / "new" / f"{number}.jpg", jpeg(colour))
    write(root / "motion.csv", _motion(1))
    write(root / "recording.wav", wav(300))
    write(root / "note.txt", b"A note of one line.\n")
    write(root / "tile.png", encoded(Image.fromarray(gradient(64, 64))))
    _write_mistakes(root)


def _write_classes(folder: Path, classes: Iterable[str], ending: str, content: Callable[[int], bytes]) -> None:
    """Files in a folder for each class."""
    for offset, name in enumerate(classes):
        for number in range(1, PER_CLASS + 1):
            write(folder / name / f"{number}.{ending}", content(2 * number + offset))


def _photo(number: int) -> bytes:
    return jpeg((20 + 13 * number, 90, 200))


def _motion(number: int) -> bytes:
    """48 steps of the six channels of a sensor."""
    times = np.arange(48) / 50
    waves = [np.sin(2 * np.pi * times * (1 + number % 5) + channel) + number % 2 for channel in range(6)]
    return _csv("ax,ay,az,gx,gy,gz", *(",".join(f"{value:.4f}" for value in step) for step in zip(*waves, strict=True)))


def _csv(*lines: str) -> bytes:
    return "\n".join([*lines, ""]).encode()


def _cloud(rng: np.random.Generator, number: int) -> bytes:
    """Points with colours."""
    points = rng.normal(size=(40, 3)) * (1, 1, number)
    return _csv(*(f"{x:.3f} {y:.3f} {z:.3f} {n} 90 255" for n, (x, y, z) in enumerate(points)))


def _write_films(root: Path) -> None:
    for offset, name in enumerate(("clapping", "waving")):
        (root / "films" / name).mkdir(parents=True)
        for number in range(1, PER_CLASS + 1):
            sound = sine(0.6, 8000, hertz=200 + 300 * offset)
            write_media(root / "films" / name / f"{number}.mp4", video=clip(6) + np.uint8(number), audio=sound)


def _write_fields(folder: Path) -> None:
    """Pictures and masks: what is bright is wheat."""
    rows, columns = np.mgrid[:24, :24]
    for number in range(1, PER_CLASS + 1):
        is_bright = (rows // 6 + columns // 6 + number) % 2 == 1
        pixels = np.stack([np.where(is_bright, 200, 10 * number)] * 3, axis=-1).astype(np.uint8)
        write(folder / "images" / f"{number}.jpg", encoded(Image.fromarray(pixels), "JPEG"))
        write(folder / "masks" / f"{number}.png", encoded(Image.fromarray(is_bright.astype(np.uint8))))
    write(folder / "classes.txt", _csv("soil", "wheat"))


def _write_lists(root: Path) -> None:
    """Files beside a list of their labels."""
    numbers = range(1, 2 * PER_CLASS + 1)
    for number in numbers:
        write(root / "flats" / f"{number}.jpg", _photo(number))
        write(root / "scenes" / f"{number}.wav", wav(100 + 40 * number))
    write(root / "flats" / "labels.csv", _csv("file,price", *(f"{n}.jpg,{100 + n}" for n in numbers)))
    labels = ("birds", "birds;rain", "rain")
    write(root / "scenes" / "labels.csv", _csv("file,labels", *(f"{n}.wav,{labels[n % 3]}" for n in numbers)))


def _write_tables(root: Path, rng: np.random.Generator) -> None:
    numbers = range(1, 2 * PER_CLASS + 1)
    rows = [{"features": rng.normal(n % 2, 1, 32).round(3).tolist(), "label": ("good", "bad")[n % 2]} for n in numbers]
    write(root / "features" / "train.jsonl", _csv(*map(json.dumps, rows)))
    for number in numbers:
        write(root / "trees" / "files" / f"{number}.jpg", _photo(number))
        write(root / "trees" / "files" / f"{number}.wav", wav(200 + 20 * number))
        write(root / "leaves" / f"{number}.jpg", _photo(number))
    kinds = {number: ("elm", "oak")[number % 2] for number in numbers}
    trees = [f"files/{number}.jpg,files/{number}.wav,{kind}" for number, kind in kinds.items()]
    write(root / "trees" / "train.csv", _csv("photo,sound,species", *trees))
    leaves = [f"{number}.jpg,{kind}" for number, kind in kinds.items()]
    write(root / "leaves" / "metadata.csv", _csv("file_name,species", *leaves))


def _write_both(folder: Path) -> None:
    """Sounds, most of them with a picture of the same name."""
    for number in range(1, 2 * PER_CLASS + 1):
        name = folder / ("birds", "frogs")[number % 2] / str(number)
        write(name.with_suffix(".wav"), wav(200 + 20 * number))
        if number % 4:
            write(name.with_suffix(".jpg"), _photo(number))


def _write_mistakes(root: Path) -> None:
    """What people have who get one of the lines that the documents show."""
    write(root / "new" / "note.txt", b"not a picture\n")
    write(root / "broken.jpg", _photo(1)[:500])
    series = {
        "commas": _csv("t;x", *(f"{n};1,{n}" for n in range(40))),
        "dates": _csv("t,x", *(f"2026-01-{n:02},{n}.5" for n in range(1, 31))),
        "gaps": _csv("t,x", *(f"{n}.0,{'' if n == 3 else n}" for n in range(40))),
        "short": _csv("t,x", *(f"{n}.0,{n}" for n in range(10))),
    }
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:24, :24]
    shades = ((rows // 8 + columns // 8) % 3 * 127).astype(np.uint8)
    mask, small = Image.fromarray(shades // 127), Image.fromarray(shades[::2, ::2] // 127)
    masks = {
        "jpeg-masks": ("{}.jpg", encoded(mask, "JPEG")),
        "grey-masks": ("{}.png", encoded(Image.fromarray(shades))),
        "other-names": ("{}_mask.png", encoded(mask)),
        "small-masks": ("{}.png", encoded(small)),
    }
    for number in range(1, FEW + 1):
        write(root / "unsorted" / f"{number}.jpg", _photo(number))
        write(root / "single" / "cats" / f"{number}.jpg", _photo(number))
        write(root / "silent" / f"{number}.wav", wav(0.0))
        write(root / "renamed" / f"{number}.wav", b"OggS, but not really")
        for name in ("birds", "frogs"):
            write(root / "others" / name / f"{number}.jpg", _photo(number))
        for name in ("a", "b"):
            write(root / "damaged" / name / f"{number}.jpg", _photo(number)[: 300 if number > 2 else None])
            write(root / "turned" / name / f"{number}.npy", npy(rng.normal(size=(3, 400))))
            write(root / "flat-points" / name / f"{number}.xyz", _csv(*(f"{n} {n * n}" for n in range(9))))
            for folder, content in series.items():
                write(root / folder / name / f"{number}.csv", content)
        (root / "mute").mkdir(exist_ok=True)
        write_media(root / "mute" / f"{number}.mp4", video=clip(6))
        for folder, (name, content) in masks.items():
            write(root / folder / "images" / f"{number}.jpg", encoded(Image.fromarray(shades).convert("RGB"), "JPEG"))
            write(root / folder / "masks" / name.format(number), content)
    labels = [f"{n},{n / 3:.3f},{n / 7:.3f},{('good', 'bad')[n % 2]}" for n in range(16)]
    write(root / "wide" / "train.csv", _csv("id,width,height,label", *labels))
