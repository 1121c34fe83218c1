"""ModelNet40 in its two forms: meshes in folders of classes, or points in HDF5 files.

    FOLDER/airplane/train/airplane_0001.off         9,843 meshes for training
    FOLDER/airplane/test/airplane_0627.off          2,468 for test

    FOLDER/ply_data_train0.h5, ...                  `data` (n, 2048, 3), `normal` alike, `label` (n, 1)
    FOLDER/ply_data_test0.h5, ...
    FOLDER/shape_names.txt                          a class a line, in the order of their numbers
    FOLDER/train_files.txt, test_files.txt          which files there are; without them all of these names

FOLDER may also hold `ModelNet40` or `modelnet40_ply_hdf5_2048`, as the archives give it. The aligned variants of the
meshes and ModelNet10 lie in the same way. Validation is taken out of training.

Meshes are read, and points drawn from their surface, whenever an example is read: for many epochs the HDF5 form is
faster. Its files are compressed over many clouds, so that one costs as much as all of them: a file's clouds are read
together when the first of them is wanted, and kept (50 MB a file; twice as much with normals).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Unpack

import numpy as np

from hiperceiver.data.encoders.arrays import faults_of, read_file
from hiperceiver.data.encoders.points import PointsEncoder
from hiperceiver.data.packages import import_extra
from hiperceiver.data.record import Record, Records
from hiperceiver.data.sources.lists import (
    Files,
    as_paths,
    example_list,
    existing_folder,
    file_names,
    folder_names,
    read_lines,
)
from hiperceiver.data.sources.source import Common, CommonOptions, Source, make_source

INSIDE = (".", "ModelNet40", "modelnet40_ply_hdf5_2048")
"""Where the data may lie in the folder that is given."""
SPLITS = ("train", "test")


def matches(folder: str | Path) -> bool:
    """Whether a folder looks like ModelNet40, in either form.

    >>> matches("no/such/folder")
    False
    """
    try:
        return _find(Path(folder).expanduser()) is not None
    except ValueError:
        return False


def open_modelnet40(folder: str | Path, *, normals: bool = False, **common: Unpack[Common]) -> Source:
    """ModelNet40. Tasks: `none`, `classification`.

    Args:
        folder: holds folders of classes or HDF5 files; see above.
        normals: give each point its normal as three more values. HDF5 only.
        **common: see `CommonOptions`.

    Raises:
        ValueError: the folder is not as described above, or an option does not fit; in one line.
    """
    options = CommonOptions(**common)
    options.check_task("modelnet40", ("classification",))
    base = _find(existing_folder(folder))
    if base is None:
        expected = "CLASS/train/*.off or ply_data_train*.h5"
        raise ValueError(f"{folder}: expected {expected}, found neither")
    warnings: list[str] = []
    if _is_hdf5(base):
        classes = read_lines(base / "shape_names.txt")
        records: dict[str, Records] = {split: _clouds(base, split, classes, normals) for split in SPLITS}
    elif normals:
        raise ValueError(f"normals: expected HDF5 files, got meshes in {base}")
    else:
        classes = _mesh_classes(base)
        records = {split: _meshes(base, split, classes, warnings) for split in SPLITS}
    return make_source(
        name=str(folder),
        records=records,
        encoders={"points": PointsEncoder(num_points=2048, num_features=3 if normals else 0)},
        options=options,
        classes=classes,
        warnings=warnings,
    )


def _find(folder: Path) -> Path | None:
    bases = [folder / inside for inside in INSIDE if (folder / inside).is_dir()]
    return next((base for base in bases if _is_hdf5(base) or _mesh_classes(base)), None)


def _is_hdf5(base: Path) -> bool:
    return (base / "train_files.txt").is_file() or next(base.glob("ply_data_train*.h5"), None) is not None


def _mesh_classes(base: Path) -> list[str]:
    return [name for name in folder_names(base) if _has_meshes(base / name)]


def _has_meshes(folder: Path) -> bool:
    return any(next((folder / split).glob("*.off"), None) is not None for split in SPLITS)


def _meshes(base: Path, split: str, classes: Sequence[str], warnings: list[str]) -> Files:
    paths: list[str] = []
    labels: list[int] = []
    empty = []
    for number, name in enumerate(classes):
        part = base / name / split
        meshes = file_names(part, (".off",)) if part.is_dir() else []
        paths += [f"{name}/{split}/{mesh}" for mesh in meshes]
        labels += [number] * len(meshes)
        if not meshes:
            empty.append(name)
    if empty:
        warnings.append(f"classes without meshes for {split}: {example_list(empty)}")
    return Files(folder=base, paths=as_paths(paths), labels=np.array(labels, dtype=np.int64), modalities=("points",))


@dataclass(frozen=True, kw_only=True, eq=False)
class Clouds:
    """Rows of HDF5 files as records. Sent to another process it carries labels only, not the points."""

    files: tuple[tuple[str, int], ...]
    """Path of each file, and when it was changed."""
    places: np.ndarray
    """File and row of each cloud: (clouds, 2)."""
    labels: np.ndarray
    """Class numbers int64 (clouds,)."""
    normals: bool
    """Give normals too."""

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Record:
        number, row = (int(place) for place in self.places[index])
        path, changed = self.files[number]
        points = _points(path, changed, "data")[row]
        if self.normals:
            points = np.concatenate([points, _points(path, changed, "normal")[row]], axis=1)
        return Record(
            name=f"{Path(path).name} row {row}", raws={"points": points}, targets={"label": int(self.labels[index])}
        )


@lru_cache(maxsize=32)
def _points(path: str, changed: int, name: str) -> np.ndarray:
    """An array of a file, kept as long as the file is not changed. Processes that are forked later share it."""
    h5py = import_extra("h5py", extra="data")
    with faults_of(path), h5py.File(path) as file:
        return file[name][()]


def _clouds(base: Path, split: str, classes: Sequence[str], normals: bool) -> Clouds:
    """The clouds of one split; of the files only the labels are read.

    Raises:
        ValueError: a file cannot be read or is of another form.
    """
    files: list[tuple[str, int]] = []
    places, labels = [np.zeros((0, 2), dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for path in _hdf5_files(base, split):
        found = _labels(path, len(classes), ("data", "normal") if normals else ("data",))
        places.append(np.stack([np.full(len(found), len(files)), np.arange(len(found))], axis=1))
        labels.append(found)
        files.append((str(path), path.stat().st_mtime_ns))
    return Clouds(files=tuple(files), places=np.concatenate(places), labels=np.concatenate(labels), normals=normals)


def _hdf5_files(base: Path, split: str) -> list[Path]:
    """The files of a split: those of its list, whatever folder the list has them in, or all of that name."""
    listed = base / f"{split}_files.txt"
    if not listed.exists():
        return sorted(base.glob(f"ply_data_{split}*.h5"))
    return [base / Path(line).name for line in read_lines(listed)]


def _labels(path: Path, num_classes: int, arrays: Sequence[str]) -> np.ndarray:
    """The class numbers of a file, int64 (clouds,), once it is seen that it holds points for each."""
    h5py = import_extra("h5py", extra="data")
    with faults_of(path):
        read_file(path, 1)  # says what h5py does not: no such file, a directory, empty
        with h5py.File(path) as file:
            if lacking := [name for name in ("label", *arrays) if not isinstance(file.get(name), h5py.Dataset)]:
                raise ValueError(f"expected the arrays {', '.join(('label', *arrays))}, found no {lacking[0]!r}")
            labels = np.asarray(file["label"]).ravel()
            for name in arrays:
                shape = file[name].shape
                if len(shape) != 3 or shape[2] != 3 or shape[0] != len(labels) or file[name].dtype.kind != "f":
                    expected = f"floats of shape ({len(labels)}, points, 3)"
                    raise ValueError(f"{name}: expected {expected}, got {file[name].dtype} of shape {shape}")
        if labels.dtype.kind not in "iu":
            raise ValueError(f"label: expected whole numbers, got {labels.dtype}")
        labels = labels.astype(np.int64)
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(f"label: expected 0 to {num_classes - 1}, got {labels.min()} to {labels.max()}")
    return labels
