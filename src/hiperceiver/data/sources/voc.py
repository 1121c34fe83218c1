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

The real test set has no labels here, so the lists `val` are the test splits. Validation is 10% of training, drawn once
for all pictures: one that validates in one task trains in none. A class that is only there as a difficult object (0) is
counted as not there. Pictures are laid whole on 512 x 512 by default; the rest of it is absent, and ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from hiperceiver.data.encoders.image import ImageEncoder
from hiperceiver.data.record import Record
from hiperceiver.data.sources.lists import existing_folder, file_names, file_stem, read_lines
from hiperceiver.data.sources.source import VALIDATION_SHARE, Common, CommonOptions, Source, make_source

CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""What may be in a picture, in the standard order; in masks they are counted from 1, and 0 is the background."""
INSIDE = (".", "VOCdevkit/VOC2012", "VOC2012")
"""Where the data may lie in the folder that is given."""
EXTENDED = ("trainaug", "train_aug")
"""Names of the extended list of training pictures."""
MASKS, EXTENDED_MASKS = "SegmentationClass", "SegmentationClassAug"
DEFAULT_SPLIT_SEED = 0


def matches(folder: str | Path) -> bool:
    """Whether a folder looks like PASCAL VOC.

    >>> matches("no/such/folder")
    False
    """
    try:
        base = _find(Path(folder).expanduser())
    except ValueError:
        return False
    return (base / "ImageSets").is_dir() or (base / MASKS).is_dir() or (base / "Annotations").is_dir()


def open_voc(folder: str | Path, *, extended: bool | None = None, **common: Unpack[Common]) -> Source:
    """PASCAL VOC. Tasks: `none`, `segmentation`, `multilabel`.

    Args:
        folder: holds `JPEGImages` and `ImageSets`; see above.
        extended: train segmentation on the extended list. None: where it is there.
        **common: see `CommonOptions`.

    Raises:
        ValueError: the folder is not as described above, or an option does not fit; in one line.
    """
    options = CommonOptions(**common)
    options.check_task("voc", ("segmentation", "multilabel"))
    base = _find(existing_folder(folder))
    if options.task == "segmentation":
        splits = _segmentation(base, extended)
    elif options.task == "multilabel":
        splits = {"train": _main(base, "train"), "test": _main(base, "val")}
    else:
        splits = _pictures(base)
    seed = DEFAULT_SPLIT_SEED if options.split_seed is None else options.split_seed
    splits = _with_validation(splits, _drawn(base, seed))
    return make_source(
        name=str(folder),
        records={
            split: [
                Record(
                    name=f"JPEGImages/{picture}.jpg",
                    raws={"image": str(base / "JPEGImages" / f"{picture}.jpg")},
                    targets=targets,
                )
                for picture, targets in part.items()
            ]
            for split, part in splits.items()
        },
        encoders={"image": ImageEncoder(size=(512, 512), fit="pad")},
        options=options,
        split_seed=DEFAULT_SPLIT_SEED,
        background_class=0,
        classes=("background", *CLASSES) if options.task == "segmentation" else CLASSES,
    )


Part = Mapping[str, Mapping[str, Any]]
"""Picture (its name without ending) -> its targets."""


def _find(folder: Path) -> Path:
    for inside in INSIDE:
        if (folder / inside / "JPEGImages").is_dir():
            return folder / inside
    raise ValueError(f"{folder}: expected the folder JPEGImages, found none")


def _segmentation(base: Path, extended: bool | None) -> dict[str, Part]:
    lists = base / "ImageSets" / "Segmentation"
    found = [lists / f"{name}.txt" for name in EXTENDED if (lists / f"{name}.txt").exists()]
    can_extend = bool(found) and (base / EXTENDED_MASKS).is_dir()
    if extended and not can_extend:
        expected = f"ImageSets/Segmentation/{EXTENDED[0]}.txt and {EXTENDED_MASKS}"
        raise ValueError(f"extended: expected {expected} in {base}, found {'no such folder' if found else 'no list'}")
    is_extended = can_extend if extended is None else extended
    masks = base / (MASKS if (base / MASKS).is_dir() else EXTENDED_MASKS)
    return {
        "train": _masked(found[0], base / EXTENDED_MASKS) if is_extended else _masked(lists / "train.txt", masks),
        "test": _masked(lists / "val.txt", masks),
    }


def _masked(path: Path, masks: Path) -> Part:
    """The pictures of a list, each with its mask. Some extended lists give the paths of both."""
    pictures = [file_stem(line.split()[0]) for line in read_lines(path)]
    return {picture: {"segmentation": str(masks / f"{picture}.png")} for picture in pictures}


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
    return {picture: {"labels": present} for picture, present in labels.items()}


def _pictures(base: Path) -> dict[str, Part]:
    """All pictures; those of the `val` lists are for test."""
    lists = [base / "ImageSets" / kind / "val.txt" for kind in ("Segmentation", "Main")]
    tested = {line.split()[0] for path in lists if path.exists() for line in read_lines(path)}
    pictures = _names(base)
    return {
        "train": {picture: {} for picture in pictures if picture not in tested},
        "test": {picture: {} for picture in pictures if picture in tested},
    }


def _names(base: Path) -> list[str]:
    return [file_stem(name) for name in file_names(base / "JPEGImages", (".jpg",))]


def _drawn(base: Path, seed: int) -> set[str]:
    """The pictures that may validate, drawn from all of them whatever the task."""
    pictures = _names(base)
    is_drawn = np.random.default_rng(seed).random(len(pictures)) < VALIDATION_SHARE
    return {picture for picture, is_one in zip(pictures, is_drawn, strict=True) if is_one}


def _with_validation(splits: Mapping[str, Part], drawn: Iterable[str]) -> dict[str, Part]:
    """Training without the drawn pictures, which validate. Too few to draw from, or no test: left as it is."""
    train, drawn = splits["train"], set(drawn)
    validation = {picture: targets for picture, targets in train.items() if picture in drawn}
    if not validation or len(validation) == len(train) or not splits["test"]:
        return dict(splits)
    rest = {picture: targets for picture, targets in train.items() if picture not in drawn}
    return {"train": rest, "validation": validation, "test": splits["test"]}
