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

import os
import re
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from hiperceiver.data.encoders.image import ImageEncoder
from hiperceiver.data.faults import faults_of, read_file
from hiperceiver.data.packages import import_extra
from hiperceiver.data.record import TEST, TRAIN, Table
from hiperceiver.data.sources.classes import Labels
from hiperceiver.data.sources.lists import example_list, file_stem, read_lines, read_table
from hiperceiver.data.sources.source import Source, SourceOptions, make_source
from hiperceiver.data.sources.tree import Paths, Tree, as_paths, joined
from hiperceiver.settings.data import NoSettings

SUFFIXES = (".jpeg", ".jpg", ".png")
"""Endings of pictures. (One picture of the real set is a PNG, whatever its name says.)"""
INSIDE = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
"""Where the two folders may lie in the folder that is given."""
TRAIN_FOLDERS = ("train", "ILSVRC2012_img_train")
VAL_FOLDERS = ("val", "validation", "ILSVRC2012_img_val")
NAMES = ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt")
"""Lists of classes and their names."""
DEVKIT = ("ILSVRC2012_devkit_t12/data", "data", ".")

NO_CLASS = -1

CLASS = re.compile(r"n\d{8}")


def matches(tree: Tree) -> bool:
    """Whether a folder looks like ImageNet."""
    if (found := _find(tree)) is None:
        return False
    return any(tree.inside(f"{found[1]}/{name}", SUFFIXES) for name in _class_names(tree, found[1]))


def open_imagenet(tree: Tree, own: NoSettings, options: SourceOptions) -> Source:
    """ImageNet, or some of its classes. Tasks: `none`, `classification`.

    Raises:
        ValueError: the folder is not as described above, or an option does not fit; in one line.
    """
    options.check_task("imagenet", ("classification",))
    if (found := _find(tree)) is None:
        raise ValueError(f"{tree.root}: expected the folder {' or '.join(TRAIN_FOLDERS)}, found neither")
    base, train, val = found
    # Kaggle puts its lists three folders above the pictures.
    whole = (tree.root / base).absolute()
    places = [whole, *whole.parents[:3]] if whole.parts[-2:] == ("Data", "CLS-LOC") else [whole]
    classes = _class_names(tree, train)
    warnings = tree.warnings()
    parts = [_in_class_folders(tree, train, classes, warnings)]
    if not parts[0][0]:
        expected = "expected pictures in folders of classes such as n01440764, found none"
        raise ValueError(f"{tree.root / train}: {expected}")
    if val is not None and _class_names(tree, val):
        parts.append(_in_class_folders(tree, val, classes, warnings))
    elif val is not None:
        parts.append(_flat(tree, val, classes, places, warnings))
    names = as_paths([path[len(base) + bool(base) :] for paths, _ in parts for path in paths])
    return make_source(
        name=tree.name,
        table=Table(
            names=names,
            raws={"image": Paths(tree.root / base, names)},
            targets={"label": Labels([label for _, labels in parts for label in labels])},
            splits=np.repeat(np.array([TRAIN, TEST], dtype=np.int8)[: len(parts)], [len(paths) for paths, _ in parts]),
        ),
        encoders={"image": ImageEncoder(size=(224, 224))},
        options=options,
        classes=readable_names(classes, places),
        warnings=warnings,
    )


def _find(tree: Tree) -> tuple[str, str, str | None] | None:
    """Where the data lies: the folder of both, that of training, and that of validation if there is one."""
    for base in INSIDE:
        parts = [
            next((path for name in names if tree.has_folder(path := joined(base, name))), None)
            for names in (TRAIN_FOLDERS, VAL_FOLDERS)
        ]
        if parts[0] is not None:
            return base, parts[0], parts[1]
    return None


def _class_names(tree: Tree, part: str) -> list[str]:
    return [name for name in tree.folders[part] if CLASS.fullmatch(name)]


Part = tuple[list[str], list[int]]
"""The pictures of a split, and the class number of each, -1 = none."""


def _in_class_folders(tree: Tree, part: str, classes: Sequence[str], warnings: list[str]) -> Part:
    """The pictures of one split in its class folders; those of other classes have no label."""
    number_of = {name: number for number, name in enumerate(classes)}
    paths: list[str] = []
    labels: list[int] = []
    for name in _class_names(tree, part):
        pictures = tree.inside(f"{part}/{name}", SUFFIXES)
        paths += [f"{part}/{name}/{picture}" for picture in pictures]
        labels += [number_of.get(name, NO_CLASS)] * len(pictures)
    if others := [name for name in _class_names(tree, part) if name not in number_of]:
        listed = example_list(others)
        warnings.append(f"{os.path.basename(part)} has classes that are not trained and have no label: {listed}")
    return paths, labels


def _flat(tree: Tree, val: str, classes: Sequence[str], places: Sequence[Path], warnings: list[str]) -> Part:
    """The pictures of `val` without class folders, labelled by a list."""
    pictures, folder = tree.inside(val, SUFFIXES), os.path.basename(val)
    if not pictures:
        warnings.append(f"{folder} holds no pictures")
    listed = _listed_classes(places, classes)
    if listed is None:
        warnings.append(f"{folder} has neither class folders nor a list of classes: its pictures have no label")
        listed = {}
    number_of = {name: number for number, name in enumerate(classes)}
    stems = [file_stem(picture) for picture in pictures]
    if lost := sorted(listed.keys() - set(stems)):
        warnings.append(f"{len(lost)} listed pictures of {folder} are not there: {example_list(lost)}")
    labels = [number_of.get(listed.get(stem, ""), NO_CLASS) for stem in stems]
    return [f"{val}/{picture}" for picture in pictures], labels


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
    return file_stem(picture), name if CLASS.fullmatch(name) else _at(numbered, name, path, first=0)


def _at(numbered: Sequence[str], number: str, path: Path, *, first: int) -> str:
    """The class of a number, as it is written in a list."""
    index = int(number) - first if number.isdecimal() else -1
    if not 0 <= index < len(numbered):
        last = len(numbered) - 1 + first
        raise ValueError(f"{path}: expected classes from {first} to {last}, got {number!r}")
    return numbered[index]


def _checked(name: str, path: Path) -> str:
    if CLASS.fullmatch(name) is None:
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


def readable_names(classes: Sequence[str], places: Sequence[Path]) -> list[str]:
    """The first word for each class where a list has it. Two classes of one word (crane) are told apart by ids."""
    paths = [place / name for place in places for name in NAMES]
    lines = next((read_lines(path) for path in paths if path.exists()), [])
    words = dict(line.split(None, 1) for line in lines if len(line.split(None, 1)) == 2)
    names = [words.get(name, name).partition(",")[0].strip() for name in classes]
    counts = Counter(names)
    return [word if counts[word] == 1 else f"{word} ({name})" for name, word in zip(classes, names, strict=True)]
