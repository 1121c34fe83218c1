"""Tiny ImageNet (200 classes, 64 x 64 pixels) as it is published.

    FOLDER/train/n01443537/images/n01443537_0.JPEG      500 pictures of each class for training
    FOLDER/val/images/val_0.JPEG                        10,000 for test
    FOLDER/val/val_annotations.txt                      `val_0.JPEG	n03444034	0	32	44	62` a line
    FOLDER/test/images/test_0.JPEG                      without labels: passed over
    FOLDER/wnids.txt, words.txt                         the classes, and what they are called

FOLDER may also hold `tiny-imagenet-200`, as the archive gives it. `val` is the test split; validation is taken out of
training. Classes are in the order of their WordNet ids, and named by the first word of each in `words.txt`.
"""

import numpy as np

from hiperceiver.data.encoders.image import ImageEncoder
from hiperceiver.data.record import TEST, TRAIN, Table
from hiperceiver.data.sources.classes import Labels
from hiperceiver.data.sources.imagenet import CLASS, SUFFIXES, readable_names
from hiperceiver.data.sources.lists import example_list, read_lines
from hiperceiver.data.sources.source import Source, SourceOptions, make_source
from hiperceiver.data.sources.tree import Paths, Tree, joined
from hiperceiver.settings.data import NoSettings

INSIDE = ("", "tiny-imagenet-200")
"""Where the data may lie in the folder that is given."""
ANNOTATIONS = "val/val_annotations.txt"


def matches(tree: Tree) -> bool:
    """Whether a folder looks like Tiny ImageNet."""
    return any(_classes(tree, base) for base in INSIDE)


def open_tinyimagenet(tree: Tree, own: NoSettings, options: SourceOptions) -> Source:
    """Tiny ImageNet, or some of its classes. Tasks: `none`, `classification`.

    Raises:
        ValueError: the folder is not as described above, or an option does not fit; in one line.
    """
    options.check_task("tinyimagenet", ("classification",))
    base = next((base for base in INSIDE if _classes(tree, base)), None)
    if base is None:
        raise ValueError(f"{tree.root}: expected pictures in train/n01443537/images and such, found none")
    classes, warnings = _classes(tree, base), tree.warnings()
    rows = [
        (f"train/{name}/images/{picture}", number, TRAIN)
        for number, name in enumerate(classes)
        for picture in tree.inside(joined(base, f"train/{name}/images"), SUFFIXES)
    ]
    if pictures := tree.inside(joined(base, "val/images"), SUFFIXES):
        path = tree.root / base / ANNOTATIONS
        words = [line.split() for line in read_lines(path)]
        if short := next((line for line in words if len(line) < 2), None):
            raise ValueError(f"{path}: expected a picture and its class in each line, got {' '.join(short)!r}")
        class_of = {line[0]: line[1] for line in words}
        if lost := sorted(class_of.keys() - set(pictures)):
            warnings.append(f"{len(lost)} listed pictures of val are not there: {example_list(lost)}")
        number_of = {name: number for number, name in enumerate(classes)}
        labels = [number_of.get(class_of.get(picture, ""), -1) for picture in pictures]
        rows += [(f"val/images/{picture}", label, TEST) for picture, label in zip(pictures, labels, strict=True)]
    if count := len(tree.inside(joined(base, "test/images"), SUFFIXES)):
        warnings.append(f"{count} pictures of test have no labels and are passed over")
    paths = Paths(tree.root / base, [path for path, _, _ in rows])
    return make_source(
        name=tree.name,
        table=Table(
            names=paths.paths,
            raws={"image": paths},
            targets={"label": Labels([label for _, label, _ in rows])},
            splits=np.array([split for _, _, split in rows], dtype=np.int8),
        ),
        encoders={"image": ImageEncoder(size=(64, 64))},
        options=options,
        classes=readable_names(classes, [(tree.root / base).absolute()]),
        warnings=warnings,
    )


def _classes(tree: Tree, base: str) -> list[str]:
    """The class folders of training that hold a folder of pictures."""
    train = joined(base, "train")
    names = [name for name in tree.folders.get(train, []) if CLASS.fullmatch(name)]
    return [name for name in names if tree.inside(f"{train}/{name}/images", SUFFIXES)]
