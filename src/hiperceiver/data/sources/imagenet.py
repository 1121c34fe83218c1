"""ImageNet (ILSVRC 2012) as people have it on disk: a folder of JPEGs for each class.

    FOLDER/train/n01440764/n01440764_10026.JPEG     1.28 million pictures for training
    FOLDER/val/n01440764/ILSVRC2012_val_00000293.JPEG

The two folders may also be called `ILSVRC2012_img_train` and `ILSVRC2012_img_val`, and lie in `ILSVRC/Data/CLS-LOC`
(the form of Kaggle). `val` may also be flat, as it is published, with one of these lists beside it:

| list | its lines |
| --- | --- |
| `LOC_val_solution.csv` (Kaggle) | `ILSVRC2012_val_00048981,n03995372 85 1 499 272`: the class comes first |
| `val.txt` | `ILSVRC2012_val_00000001.JPEG 65`: a number from 0 in the order of the classes, or the class itself |
| `ILSVRC2012_devkit_t12/data/` | `ILSVRC2012_validation_ground_truth.txt`, whose numbers `meta.mat` explains |

`val` is the test split: the real test pictures have no labels that anyone has. Validation is taken out of training.
Classes are in the order of their WordNet ids. They are named by these ids, or by the first word of each where one of
the lists `LOC_synset_mapping.txt`, `synset_words.txt` and `words.txt` is there (`n01440764 tench, Tinca tinca`).

Only names are listed (nothing is opened, and no file is asked for its size). Pictures are 224 x 224 RGB by default.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Unpack

import numpy as np

from hiperceiver.data.encoders.arrays import faults_of, read_file
from hiperceiver.data.encoders.image import ImageEncoder
from hiperceiver.data.packages import import_extra
from hiperceiver.data.sources.lists import (
    Files,
    as_paths,
    example_list,
    existing_folder,
    file_names,
    file_stem,
    folder_names,
    read_lines,
    read_table,
)
from hiperceiver.data.sources.source import Common, CommonOptions, Source, make_source

SUFFIXES = (".jpeg", ".jpg", ".png")
"""Endings of pictures. (One picture of the real set is a PNG, whatever its name says.)"""
INSIDE = (".", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
"""Where the two folders may lie in the folder that is given."""
TRAIN = ("train", "ILSVRC2012_img_train")
VAL = ("val", "validation", "ILSVRC2012_img_val")
NAMES = ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt")
"""Lists of classes and their names."""
DEVKIT = ("ILSVRC2012_devkit_t12/data", "data", ".")

NO_CLASS = -1

_CLASS = re.compile(r"n\d{8}")


def matches(folder: str | Path) -> bool:
    """Whether a folder looks like ImageNet.

    >>> matches("no/such/folder")
    False
    """
    try:
        train = _find(Path(folder).expanduser())[1]
        return any(file_names(train / name, SUFFIXES) for name in _class_names(train))
    except ValueError:
        return False


def open_imagenet(folder: str | Path, **common: Unpack[Common]) -> Source:
    """ImageNet, or some of its classes. Tasks: `none`, `classification`.

    Args:
        folder: holds `train` and `val`; see above.
        **common: see `CommonOptions`.

    Raises:
        ValueError: the folder is not as described above, or an option does not fit; in one line.
    """
    options = CommonOptions(**common)
    options.check_task("imagenet", ("classification",))
    base, train, val = _find(existing_folder(folder))
    # Kaggle puts its lists three folders above the pictures.
    whole = base.absolute()
    places = [whole, *whole.parents[:3]] if whole.parts[-2:] == ("Data", "CLS-LOC") else [whole]
    classes = _class_names(train)
    warnings: list[str] = []
    records = {"train": _in_class_folders(base, train, classes, warnings)}
    if not len(records["train"]):
        raise ValueError(f"{train}: expected pictures in folders of classes such as n01440764, found none")
    if val is not None and _class_names(val):
        records["test"] = _in_class_folders(base, val, classes, warnings)
    elif val is not None:
        records["test"] = _flat(base, val, classes, places, warnings)
    return make_source(
        name=str(folder),
        records=records,
        encoders={"image": ImageEncoder(size=(224, 224))},
        options=options,
        classes=_readable(classes, places),
        warnings=warnings,
    )


def _find(folder: Path) -> tuple[Path, Path, Path | None]:
    """Where the data lies: the folder of both, that of training, and that of validation if there is one.

    Raises:
        ValueError: there is no folder of training.
    """
    for inside in INSIDE:
        base = folder / inside
        train = next((base / name for name in TRAIN if (base / name).is_dir()), None)
        if train is not None:
            return base, train, next((base / name for name in VAL if (base / name).is_dir()), None)
    raise ValueError(f"{folder}: expected the folder {' or '.join(TRAIN)}, found neither")


def _class_names(part: Path) -> list[str]:
    return [name for name in folder_names(part) if _CLASS.fullmatch(name)]


def _in_class_folders(base: Path, part: Path, classes: Sequence[str], warnings: list[str]) -> Files:
    """The pictures of one split in its class folders; those of other classes have no label."""
    number_of = {name: number for number, name in enumerate(classes)}
    place = part.relative_to(base).as_posix()
    paths: list[str] = []
    labels: list[int] = []
    for name in _class_names(part):
        pictures = file_names(part / name, SUFFIXES)
        paths += [f"{place}/{name}/{picture}" for picture in pictures]
        labels += [number_of.get(name, NO_CLASS)] * len(pictures)
    if others := [name for name in _class_names(part) if name not in number_of]:
        warnings.append(f"{part.name} has classes that are not trained and have no label: {example_list(others)}")
    return _files(base, paths, labels)


def _flat(base: Path, val: Path, classes: Sequence[str], places: Sequence[Path], warnings: list[str]) -> Files:
    """The pictures of `val` without class folders, labelled by a list."""
    pictures = file_names(val, SUFFIXES)
    if not pictures:
        warnings.append(f"{val.name} holds no pictures")
    listed = _listed_classes(places, classes)
    if listed is None:
        warnings.append(f"{val.name} has neither class folders nor a list of classes: its pictures have no label")
        listed = {}
    number_of = {name: number for number, name in enumerate(classes)}
    stems = [file_stem(picture) for picture in pictures]
    labels = [number_of.get(listed.get(stem, ""), NO_CLASS) for stem in stems]
    if lost := sorted(listed.keys() - set(stems)):
        warnings.append(f"{len(lost)} listed pictures of {val.name} are not there: {example_list(lost)}")
    place = val.relative_to(base).as_posix()
    return _files(base, [f"{place}/{picture}" for picture in pictures], labels)


def _files(base: Path, paths: Sequence[str], labels: Sequence[int]) -> Files:
    return Files(folder=base, paths=as_paths(paths), labels=np.array(labels, dtype=np.int64), modalities=("image",))


def _listed_classes(places: Sequence[Path], classes: Sequence[str]) -> dict[str, str] | None:
    """Picture (its name without ending) -> class, of the first list there is.

    Raises:
        ValueError: the list cannot be read, or a line of it is of another form.
    """
    for place in places:
        if (path := place / "LOC_val_solution.csv").exists():
            rows = read_table(path, ("ImageId", "PredictionString"))
            return {row["ImageId"]: _checked(row["PredictionString"].partition(" ")[0], path) for row in rows}
        if (path := place / "val.txt").exists():
            numbered = _numbered(places, classes)
            return dict(_pair(line, numbered, path) for line in read_lines(path))
        for devkit in DEVKIT:
            if (path := place / devkit / "ILSVRC2012_validation_ground_truth.txt").exists():
                numbered = _devkit_classes(path.parent / "meta.mat")
                numbers = enumerate(read_lines(path), 1)
                return {
                    f"ILSVRC2012_val_{picture:08}": _at(numbered, number, path, first=1) for picture, number in numbers
                }
    return None


def _pair(line: str, numbered: Sequence[str], path: Path) -> tuple[str, str]:
    """Picture and class of a line of `val.txt`."""
    words = line.split()
    if len(words) != 2:
        raise ValueError(f"{path}: expected a picture and its class in each line, got {line!r}")
    picture, name = words
    return file_stem(picture), name if _CLASS.fullmatch(name) else _at(numbered, name, path, first=0)


def _at(numbered: Sequence[str], number: str, path: Path, *, first: int) -> str:
    """The class of a number, as it is written in a list."""
    index = int(number) - first if number.isdecimal() else -1
    if not 0 <= index < len(numbered):
        last = len(numbered) - 1 + first
        raise ValueError(f"{path}: expected classes from {first} to {last}, got {number!r}")
    return numbered[index]


def _checked(name: str, path: Path) -> str:
    if _CLASS.fullmatch(name) is None:
        raise ValueError(f"{path}: expected classes such as n01440764, got {name!r}")
    return name


def _numbered(places: Sequence[Path], classes: Sequence[str]) -> Sequence[str]:
    """All classes in the order in which lists count them; more than `classes` where only some were kept."""
    paths = [place / name for place in places for name in NAMES[:2]]
    listed = next((read_lines(path) for path in paths if path.exists()), None)
    return classes if listed is None else sorted(line.split()[0] for line in listed)


def _devkit_classes(path: Path) -> list[str]:
    """The classes in the order in which the development kit counts them, from 1."""
    io = import_extra("scipy.io", extra="data")
    with faults_of(path):
        rows = io.loadmat(BytesIO(read_file(path)), squeeze_me=True)["synsets"]
        by_number = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in np.atleast_1d(rows)}
        return [by_number[number] for number in range(1, len(by_number) + 1)]


def _readable(classes: Sequence[str], places: Sequence[Path]) -> list[str]:
    """The first word for each class where a list has it. Two classes of one word (crane) are told apart by ids."""
    paths = [place / name for place in places for name in NAMES]
    lines = next((read_lines(path) for path in paths if path.exists()), [])
    words = dict(line.split(None, 1) for line in lines if len(line.split(None, 1)) == 2)
    names = [words.get(name, name).partition(",")[0].strip() for name in classes]
    counts = Counter(names)
    return [word if counts[word] == 1 else f"{word} ({name})" for name, word in zip(classes, names, strict=True)]
