"""ModelNet40 in its two forms: meshes in folders of classes, or points in HDF5 files.

    FOLDER/airplane/train/airplane_0001.off         9,843 meshes for training
    FOLDER/airplane/test/airplane_0627.off          2,468 for test

    FOLDER/ply_data_train0.h5, ...                  `data` (n, 2048, 3), `normal` alike, `label` (n, 1)
    FOLDER/ply_data_test0.h5, ...
    FOLDER/shape_names.txt                          a class a line, in the order of their numbers
    FOLDER/train_files.txt, test_files.txt          which files there are; without them all of these names

FOLDER may also hold `ModelNet40` or `modelnet40_ply_hdf5_2048`, as the archives give it. The aligned variants of the
meshes and ModelNet10 lie in the same way. Validation is taken out of training.

Points are drawn from the surface of a mesh whenever it is read: for many epochs the HDF5 form is faster. Its files are
compressed over many clouds, so that a file is read whole when one of them is read, and kept (50 MB; 100 with normals).
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from hiperceiver import limits
from hiperceiver.data.encoders.points import PointsEncoder
from hiperceiver.data.faults import faults_of, read_file
from hiperceiver.data.packages import import_extra
from hiperceiver.data.record import TEST, TRAIN, Computed, Table
from hiperceiver.data.sources.classes import Labels
from hiperceiver.data.sources.lists import example_list, read_lines
from hiperceiver.data.sources.published import FileRow, file_table
from hiperceiver.data.sources.source import Source, SourceOptions, make_source
from hiperceiver.data.sources.tree import Tree, as_paths, joined
from hiperceiver.settings.data import ModelNet40Settings

INSIDE = ("", "ModelNet40", "modelnet40_ply_hdf5_2048")  # where the data may lie in the folder that is given
SPLIT_NUMBERS = {"train": TRAIN, "test": TEST}


def matches(tree: Tree) -> bool:
    """Whether a folder looks like ModelNet40, in either form."""
    return _find(tree) is not None


def open_modelnet40(tree: Tree, own: ModelNet40Settings, options: SourceOptions) -> Source:
    """ModelNet40. Tasks: `none`, `classification`."""
    options.check_task("modelnet40", ("classification",))
    if (base := _find(tree)) is None:
        raise ValueError(f"{tree.root}: expected CLASS/train/*.off or ply_data_train*.h5, found neither")
    warnings = tree.warnings()
    if _is_hdf5(tree, base):
        classes = read_lines(tree.root / base / "shape_names.txt")
        table = _clouds(tree, base, classes, own.normals)
    elif own.normals:
        raise ValueError(f"normals: expected HDF5 files, got meshes in {tree.root / base}")
    else:
        classes = _mesh_classes(tree, base)
        table = _meshes(tree, base, classes, warnings)
    return make_source(
        name=tree.name,
        table=table,
        encoders={"points": PointsEncoder(num_points=2048, num_features=3 if own.normals else 0)},
        options=options,
        classes=classes,
        warnings=warnings,
    )


def _find(tree: Tree) -> str | None:
    bases = [base for base in INSIDE if tree.has_folder(base)]
    return next((base for base in bases if _is_hdf5(tree, base) or _mesh_classes(tree, base)), None)


def _is_hdf5(tree: Tree, base: str) -> bool:
    return "train_files.txt" in tree.files[base] or bool(_hdf5_names(tree, base, "train"))


def _hdf5_names(tree: Tree, base: str, split: str) -> list[str]:
    return [name for name in tree.inside(base, (".h5",)) if name.startswith(f"ply_data_{split}")]


def _mesh_names(tree: Tree, base: str, name: str, split: str) -> list[str]:
    return tree.inside(joined(base, f"{name}/{split}"), (".off",))


def _mesh_classes(tree: Tree, base: str) -> list[str]:
    return [name for name in tree.folders[base] if any(_mesh_names(tree, base, name, each) for each in SPLIT_NUMBERS)]


def _meshes(tree: Tree, base: str, classes: Sequence[str], warnings: list[str]) -> Table:
    rows: list[FileRow] = []
    for split, split_number in SPLIT_NUMBERS.items():
        meshes = {name: _mesh_names(tree, base, name, split) for name in classes}
        for number, name in enumerate(classes):
            rows += [(f"{name}/{split}/{mesh}", number, split_number) for mesh in meshes[name]]
        if empty := [name for name in classes if not meshes[name]]:
            warnings.append(f"classes without meshes for {split}: {example_list(empty)}")
    return file_table(tree.root / base, rows, "points")


def _cloud(files: Sequence[tuple[str, int]], rows: np.ndarray, arrays: Sequence[str], index: int) -> np.ndarray:
    """A cloud, by the file and the row of each; of a file its path, and when it was changed."""
    number, row = (int(n) for n in rows[index])
    return np.concatenate([_points(*files[number], name)[row] for name in arrays], axis=1)


@lru_cache(maxsize=32)
def _points(path: str, changed: int, name: str) -> np.ndarray:
    """An array of a file, kept as long as the file is not changed. Processes that are forked later share it."""
    h5py = import_extra("h5py", extra="data")
    with faults_of(path), h5py.File(path) as file:
        return _stored(file, name)[()]


def _stored(file: Any, name: str) -> Any:
    """An array of an HDF5 file that lies in this file, and is small enough to be read; `ValueError`: there is none."""
    h5py = import_extra("h5py", extra="data")
    link = file.get(name, getlink=True)
    is_linked = link is not None and not isinstance(link, h5py.HardLink)
    array: Any = None if is_linked else file.get(name)
    if is_linked or (isinstance(array, h5py.Dataset) and (array.external or array.is_virtual)):
        raise ValueError(f"{name}: expected an array in this file, got one that may lie in other files")
    if not isinstance(array, h5py.Dataset):
        raise ValueError(f"expected the array {name!r}, found none")
    limits.FILE.check(array.nbytes, f"{name} has")
    return array


def _clouds(tree: Tree, base: str, classes: Sequence[str], normals: bool) -> Table:
    """The clouds of both splits; of the files only the labels are read."""
    arrays = ("data", "normal") if normals else ("data",)
    files: list[tuple[str, int]] = []
    labels, splits, names, rows = [], [], [], []
    for split, split_number in SPLIT_NUMBERS.items():
        listed = tree.root / base / f"{split}_files.txt"  # whatever folder the list has them in
        found = [Path(line).name for line in read_lines(listed)] if listed.exists() else _hdf5_names(tree, base, split)
        for name in found:
            path = tree.root / base / name
            its_labels = _read_labels(path, len(classes), arrays)
            labels += its_labels
            splits += [split_number] * len(its_labels)
            names += [f"{name} row {row}" for row in range(len(its_labels))]
            rows += [(len(files), row) for row in range(len(its_labels))]
            files.append((str(path), path.stat().st_mtime_ns))
    # Sent to another process the column carries no points.
    clouds = Computed(len(rows), partial(_cloud, files, np.array(rows).reshape(-1, 2), arrays))
    return Table(
        names=as_paths(names),
        raws={"points": clouds},
        targets={"label": Labels(labels)},
        splits=np.array(splits, dtype=np.int8),
    )


def _read_labels(path: Path, num_classes: int, arrays: Sequence[str]) -> list[int]:
    """The class number of each cloud of a file that holds points for each."""
    h5py = import_extra("h5py", extra="data")
    with faults_of(path):
        read_file(path, 1)  # says what h5py does not: no such file, a directory, empty
        with h5py.File(path) as file:
            labels = np.asarray(_stored(file, "label")).ravel()
            for name in arrays:
                array = _stored(file, name)
                if array.ndim != 3 or array.shape[2] != 3 or len(array) != len(labels) or array.dtype.kind != "f":
                    expected = f"floats of shape ({len(labels)}, points, 3)"
                    raise ValueError(f"{name}: expected {expected}, got {array.dtype} of shape {array.shape}")
        if labels.dtype.kind not in "iu":
            raise ValueError(f"label: expected whole numbers, got {labels.dtype}")
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(f"label: expected 0 to {num_classes - 1}, got {labels.min()} to {labels.max()}")
    return labels.tolist()
