"""PASCAL VOC 2012: pictures with a class for every pixel, or with the list of what is in them.

    FOLDER/JPEGImages/2007_000032.jpg
    FOLDER/SegmentationClass/2007_000032.png        a palette's numbers: 0 background, 1 to 20, 255 = no label
    FOLDER/ImageSets/Segmentation/train.txt, val.txt
    FOLDER/ImageSets/Main/aeroplane_train.txt, aeroplane_val.txt, ...   a picture and -1, 0 or 1 a line

FOLDER may also hold `VOCdevkit/VOC2012` or `VOC2012`, as the archives give it. The usual extension of the training set
(10,582 pictures) is used where it is there: `trainaug.txt` or `train_aug.txt`, with masks in `SegmentationClassAug`.

| task | training | test |
| --- | --- | --- |
| `segmentation` (21 classes) | `Segmentation/train.txt`, or the extended list | `Segmentation/val.txt` |
| `multilabel` (20 classes) | `Main/*_train.txt` | `Main/*_val.txt` |
| `none` | all pictures that are in no `val` list | those in one; without any list none |

Masks with other classes have their names in `classes.txt` in FOLDER, one a line, that of number 0 first.

The real test set has no labels. Validation is 10% of training, drawn once for all pictures: one that validates in one
task trains in none. A class that is only there as a difficult object (0) is counted as not there. Pictures are laid
whole on 512 x 512 by default; the rest of it is absent, and ignored.
"""

from collections.abc import Mapping
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from hiperceiver.data.encoders.image import ImageEncoder
from hiperceiver.data.members import VALIDATION_SHARE, hash_names, validates
from hiperceiver.data.record import TEST, TRAIN, VALIDATION, Table
from hiperceiver.data.sources.classes import mask_numbers, named_mask_classes
from hiperceiver.data.sources.lists import file_stem, read_lines
from hiperceiver.data.sources.source import TARGETS, Source, SourceOptions, make_source
from hiperceiver.data.sources.tree import Paths, Tree, joined
from hiperceiver.settings.data import VocSettings

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""What may be in a picture, in the standard order; in masks they are counted from 1, and 0 is the background."""
INSIDE = ("", "VOCdevkit/VOC2012", "VOC2012")  # where the data may lie in the folder that is given
EXTENDED = ("trainaug", "train_aug")  # names of the extended list of training pictures
MASKS, EXTENDED_MASKS = "SegmentationClass", "SegmentationClassAug"

Part = Mapping[str, Any]  # picture (its name without ending) -> its target


def matches(tree: Tree) -> bool:
    """Whether a folder looks like PASCAL VOC."""
    base = _find(tree)
    return base is not None and any(tree.has_folder(joined(base, name)) for name in ("ImageSets", MASKS, "Annotations"))


def open_voc(tree: Tree, own: VocSettings, options: SourceOptions) -> Source:
    """PASCAL VOC. Tasks: `none`, `segmentation`, `multilabel`."""
    options.check_task("voc", ("segmentation", "multilabel"))
    if (found := _find(tree)) is None:
        raise ValueError(f"{tree.root}: expected the folder JPEGImages, found none")
    base, whole = tree.root / found, [file_stem(name) for name in tree.inside(joined(found, "JPEGImages"), (".jpg",))]
    if options.task == "segmentation":
        train, test = _segmentation(base, own.extended)
    elif options.task == "multilabel":
        train, test = _main(base, "train"), _main(base, "val")
    else:
        lists = [base / "ImageSets" / kind / "val.txt" for kind in ("Segmentation", "Main")]
        tested = {line.split()[0] for path in lists if path.exists() for line in read_lines(path)}
        train, test = (dict.fromkeys(x for x in whole if (x in tested) == is_test) for is_test in (False, True))
    warnings = tree.warnings()
    classes: tuple[str, ...] = CLASSES
    if options.task == "segmentation":
        classes = ("background", *CLASSES)
        for folder in dict.fromkeys((tree.root, base)):
            classes = named_mask_classes((), folder, warnings) or classes
    splits = np.repeat(np.array([TRAIN, TEST], dtype=np.int8), [len(train), len(test)])
    paths = [f"JPEGImages/{picture}.jpg" for picture in (*train, *test)]
    seed = options.split_seed or 0
    if options.split_rule == "rows":  # drawn from all pictures whatever the task
        drawn = set(compress(whole, np.random.default_rng(seed).random(len(whole)) < VALIDATION_SHARE))
        is_drawn = np.array([picture in drawn for picture in train], dtype=bool)
    else:
        is_drawn = validates(hash_names(paths[: len(train)]), seed)
    if test and is_drawn.any() and not is_drawn.all():  # else too few to draw from all pictures
        splits[: len(train)][is_drawn] = VALIDATION
    table = Table(
        names=paths,
        raws={"image": Paths(base, paths)},
        targets={target: [*train.values(), *test.values()] for target in TARGETS[options.task]},
        splits=splits,
    )
    if options.task == "segmentation":
        mask_numbers(table)
    return make_source(
        name=tree.name,
        table=table,
        encoders={"image": ImageEncoder(size=(512, 512), fit="pad")},
        options=options,
        background_class=0 if "background" in classes[0].lower() else None,
        classes=classes,
        warnings=warnings,
    )


def _find(tree: Tree) -> str | None:
    return next((base for base in INSIDE if tree.has_folder(joined(base, "JPEGImages"))), None)


def _segmentation(base: Path, extended: bool | None) -> tuple[Part, Part]:
    """The pictures for training and for test, each with its mask."""
    lists = base / "ImageSets" / "Segmentation"
    found = [path for name in EXTENDED if (path := lists / f"{name}.txt").exists()]
    can_extend = bool(found) and (base / EXTENDED_MASKS).is_dir()
    if extended and not can_extend:
        expected = f"ImageSets/Segmentation/{EXTENDED[0]}.txt and {EXTENDED_MASKS}"
        raise ValueError(f"extended: expected {expected} in {base}, found {'no such folder' if found else 'no list'}")
    is_extended = can_extend if extended is None else extended
    masks = base / (MASKS if (base / MASKS).is_dir() else EXTENDED_MASKS)
    train = _masked(found[0], base / EXTENDED_MASKS) if is_extended else _masked(lists / "train.txt", masks)
    return train, _masked(lists / "val.txt", masks)


def _masked(path: Path, masks: Path) -> Part:
    """The pictures of a list, each with its mask. Some extended lists give the paths of both."""
    pictures = [file_stem(line.split()[0]) for line in read_lines(path)]
    return {picture: str(masks / f"{picture}.png") for picture in pictures}


def _main(base: Path, split: str) -> Part:
    """The pictures of one split, each with the numbers of the classes in it."""
    labels: dict[str, list[int]] = {}
    for number, name in enumerate(CLASSES):
        path = base / "ImageSets" / "Main" / f"{name}_{split}.txt"
        for line in read_lines(path):
            picture, _, sign = line.partition(" ")
            if sign.strip() not in ("-1", "0", "1"):
                raise ValueError(f"{path}: expected a picture and -1, 0 or 1 in each line, got {line!r}")
            present = labels.setdefault(picture, [])
            if sign.strip() == "1":
                present.append(number)
    return labels
