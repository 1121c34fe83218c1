"""ImageNet (ILSVRC 2012) as people have it on disk, and Tiny ImageNet as it is published.

    FOLDER/train/n01440764/n01440764_10026.JPEG     1.28 million pictures for training
    FOLDER/val/n01440764/ILSVRC2012_val_00000293.JPEG

The two folders may also be called `ILSVRC2012_img_train` and `ILSVRC2012_img_val`, and lie in `ILSVRC/Data/CLS-LOC`
(the form of Kaggle). `val` may also be flat, as it is published, with one of these lists beside it:

| list | its lines |
| --- | --- |
| `LOC_val_solution.csv` (Kaggle) | `ILSVRC2012_val_00048981,n03995372 85 1 499 272`: the class comes first |
| `val.txt` | `ILSVRC2012_val_00000001.JPEG 65`: a number from 0 in the order of the classes, or the class itself |
| `ILSVRC2012_devkit_t12/data/` | `ILSVRC2012_validation_ground_truth.txt`, whose numbers `meta.mat` explains |

Tiny ImageNet has 200 classes of 64 x 64 pixels, and may lie in `tiny-imagenet-200`, as its archive has it:

    FOLDER/train/n01443537/images/n01443537_0.JPEG      500 pictures of each class for training
    FOLDER/val/images/val_0.JPEG                        10,000 for test
    FOLDER/val/val_annotations.txt                      `val_0.JPEG	n03444034	0	32	44	62` a line

`val` is the test split: the published test pictures have no labels. Validation is taken out of training. Classes are in
the order of their WordNet ids, and named by these or by the first word of each where one of the lists
`LOC_synset_mapping.txt`, `synset_words.txt` and `words.txt` is there (`n01440764 tench, Tinca tinca`).
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from hiperceiver.data.encoders.image import ImageEncoder
from hiperceiver.data.faults import faults_of, read_file
from hiperceiver.data.packages import import_extra
from hiperceiver.data.record import TEST, TRAIN
from hiperceiver.data.sources.lists import example_list, file_stem, read_lines, read_table
from hiperceiver.data.sources.published import NO_CLASS, FileRow, file_table
from hiperceiver.data.sources.source import Source, SourceOptions, make_source
from hiperceiver.data.sources.tree import Tree, joined
from hiperceiver.settings.data import NoSettings

SUFFIXES = (".jpeg", ".jpg", ".png")
INSIDE = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")  # where its two folders may lie
INSIDE_TINY = ("", "tiny-imagenet-200")
TRAIN_FOLDERS = ("train", "ILSVRC2012_img_train")
VAL_FOLDERS = ("val", "validation", "ILSVRC2012_img_val")
NAMES = ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt")  # lists of classes and their names
DEVKIT = ("ILSVRC2012_devkit_t12/data", "data", ".")
CLASS = re.compile(r"n\d{8}")


def matches(tree: Tree) -> bool:
    """Whether a folder looks like ImageNet."""
    if (found := _find(tree)) is None:
        return False
    train = joined(*found[:2])
    return any(tree.inside(f"{train}/{name}", SUFFIXES) for name in _class_folders(tree, train))


def matches_tiny(tree: Tree) -> bool:
    """Whether a folder looks like Tiny ImageNet."""
    return any(_tiny_classes(tree, base) for base in INSIDE_TINY)


def open_imagenet(tree: Tree, own: NoSettings, options: SourceOptions) -> Source:
    """ImageNet, or some of its classes. Tasks: `none`, `classification`."""
    options.check_task("imagenet", ("classification",))
    if (found := _find(tree)) is None:
        raise ValueError(f"{tree.root}: expected the folder {' or '.join(TRAIN_FOLDERS)}, found neither")
    base, train, val = found
    # Kaggle puts its lists three folders above the pictures.
    whole = (tree.root / base).absolute()
    list_folders = [whole, *whole.parents[:3]] if whole.parts[-2:] == ("Data", "CLS-LOC") else [whole]
    classes, warnings = _class_folders(tree, joined(base, train)), tree.warnings()
    rows = _in_class_folders(tree, base, train, classes, TRAIN, warnings)
    if not rows:
        expected = "expected pictures in folders of classes such as n01440764, found none"
        raise ValueError(f"{tree.root / base / train}: {expected}")
    if val is not None and _class_folders(tree, joined(base, val)):
        rows += _in_class_folders(tree, base, val, classes, TEST, warnings)
    elif val is not None:
        if not tree.inside(joined(base, val), SUFFIXES):
            warnings.append(f"{val} holds no pictures")
        listed = _listed_classes(list_folders, classes)
        if listed is None:
            warnings.append(f"{val} has neither class folders nor a list of classes: its pictures have no label")
        rows += _listed(tree, base, val, listed or {}, classes, warnings)
    return make_source(
        name=tree.name,
        table=file_table(tree.root / base, rows, "image"),
        encoders={"image": ImageEncoder(size=(224, 224))},
        options=options,
        classes=_readable_names(classes, list_folders),
        warnings=warnings,
    )


def open_tinyimagenet(tree: Tree, own: NoSettings, options: SourceOptions) -> Source:
    """Tiny ImageNet, or some of its classes. Tasks: `none`, `classification`."""
    options.check_task("tinyimagenet", ("classification",))
    base = next((base for base in INSIDE_TINY if _tiny_classes(tree, base)), None)
    if base is None:
        raise ValueError(f"{tree.root}: expected pictures in train/n01443537/images and such, found none")
    root, classes, warnings = tree.root / base, _tiny_classes(tree, base), tree.warnings()
    rows = [
        (f"train/{name}/images/{picture}", number, TRAIN)
        for number, name in enumerate(classes)
        for picture in tree.inside(joined(base, f"train/{name}/images"), SUFFIXES)
    ]
    if tree.inside(joined(base, "val/images"), SUFFIXES):
        path = root / "val/val_annotations.txt"
        words = [line.split() for line in read_lines(path)]
        if short := next((line for line in words if len(line) < 2), None):
            raise ValueError(f"{path}: expected a picture and its class in each line, got {' '.join(short)!r}")
        class_of = {line[0]: line[1] for line in words}
        rows += _listed(tree, base, "val/images", class_of, classes, warnings)
    if count := len(tree.inside(joined(base, "test/images"), SUFFIXES)):
        warnings.append(f"{count} pictures of test have no labels and are passed over")
    return make_source(
        name=tree.name,
        table=file_table(root, rows, "image"),
        encoders={"image": ImageEncoder(size=(64, 64))},
        options=options,
        classes=_readable_names(classes, [root]),
        warnings=warnings,
    )


def _find(tree: Tree) -> tuple[str, str, str | None] | None:
    """The folder of both parts, and in it that of training and that of validation, if there is one."""
    for base in INSIDE:
        train, val = (
            next((name for name in names if tree.has_folder(joined(base, name))), None)
            for names in (TRAIN_FOLDERS, VAL_FOLDERS)
        )
        if train is not None:
            return base, train, val
    return None


def _class_folders(tree: Tree, folder: str) -> list[str]:
    return [name for name in tree.folders.get(folder, ()) if CLASS.fullmatch(name)]


def _tiny_classes(tree: Tree, base: str) -> list[str]:
    """The class folders of training that hold a folder of pictures."""
    train = joined(base, "train")
    return [name for name in _class_folders(tree, train) if tree.inside(f"{train}/{name}/images", SUFFIXES)]


def _in_class_folders(
    tree: Tree, base: str, part: str, classes: Sequence[str], split: int, warnings: list[str]
) -> list[FileRow]:
    """The pictures of one split in its class folders; those of other classes have no label."""
    number_of = {name: number for number, name in enumerate(classes)}
    names = _class_folders(tree, joined(base, part))
    if others := [name for name in names if name not in number_of]:
        warnings.append(f"{part} has classes that are not trained and have no label: {example_list(others)}")
    return [
        (f"{part}/{name}/{picture}", number_of.get(name, NO_CLASS), split)
        for name in names
        for picture in tree.inside(joined(base, f"{part}/{name}"), SUFFIXES)
    ]


def _listed(
    tree: Tree, base: str, folder: str, class_of: Mapping[str, str], classes: Sequence[str], warnings: list[str]
) -> list[FileRow]:
    """The pictures of a folder, for test; a list has the class of each name, or of each name without its ending."""
    number_of = {name: number for number, name in enumerate(classes)}
    pictures = tree.inside(joined(base, folder), SUFFIXES)
    names = [picture if picture in class_of else file_stem(picture) for picture in pictures]
    if lost := sorted(class_of.keys() - set(names)):
        part = folder.removesuffix("/images")
        warnings.append(f"{len(lost)} listed pictures of {part} are not there: {example_list(lost)}")
    labels = [number_of.get(class_of.get(name, ""), NO_CLASS) for name in names]
    return [(f"{folder}/{picture}", label, TEST) for picture, label in zip(pictures, labels, strict=True)]


def _listed_classes(folders: Sequence[Path], classes: Sequence[str]) -> dict[str, str] | None:
    """Picture (its name without ending) -> class, of the first list there is."""
    for folder in folders:
        if (path := folder / "LOC_val_solution.csv").exists():
            rows = read_table(path, ("ImageId", "PredictionString"))
            found = {row["ImageId"]: row["PredictionString"].partition(" ")[0] for row in rows}
            if bad := [name for name in found.values() if CLASS.fullmatch(name) is None]:
                raise ValueError(f"{path}: expected classes such as n01440764, got {bad[0]!r}")
            return found
        if (path := folder / "val.txt").exists():
            # All classes in the order in which lists count them: more than `classes` where only some were kept.
            named = (each / name for each in folders for name in NAMES[:2])
            lines = next((read_lines(each) for each in named if each.exists()), classes)
            numbered, found = sorted(line.split()[0] for line in lines), {}
            for line in read_lines(path):
                if len(words := line.split()) != 2:
                    raise ValueError(f"{path}: expected a picture and its class in each line, got {line!r}")
                is_name = CLASS.fullmatch(words[1])
                found[file_stem(words[0])] = words[1] if is_name else _at(numbered, words[1], path, first=0)
            return found
        for devkit in DEVKIT:
            if (path := folder / devkit / "ILSVRC2012_validation_ground_truth.txt").exists():
                numbered = _devkit_classes(path.parent / "meta.mat")
                return {
                    f"ILSVRC2012_val_{picture:08}": _at(numbered, number, path, first=1)
                    for picture, number in enumerate(read_lines(path), 1)
                }
    return None


def _at(numbered: Sequence[str], number: str, path: Path, *, first: int) -> str:
    """The class of a number, as it is written in a list."""
    index = int(number) - first if number.isdecimal() else -1
    if not 0 <= index < len(numbered):
        last = len(numbered) - 1 + first
        raise ValueError(f"{path}: expected classes from {first} to {last}, got {number!r}")
    return numbered[index]


def _devkit_classes(path: Path) -> list[str]:
    """The classes in the order in which the development kit counts them, from 1."""
    io = import_extra("scipy.io", extra="data")
    with faults_of(path):
        rows = io.loadmat(BytesIO(read_file(path)), squeeze_me=True)["synsets"]
        by_number = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in np.atleast_1d(rows)}
        return [by_number[number] for number in range(1, len(by_number) + 1)]


def _readable_names(classes: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """The first word for each class where a list has it. Two classes of one word (crane) also have their ids."""
    paths = (folder / name for folder in folders for name in NAMES)
    lines = next((read_lines(path) for path in paths if path.exists()), [])
    words = dict(line.split(None, 1) for line in lines if len(line.split(None, 1)) == 2)
    names = [words.get(name, name).partition(",")[0].strip() for name in classes]
    counts = Counter(names)
    return [word if counts[word] == 1 else f"{word} ({name})" for name, word in zip(classes, names, strict=True)]
