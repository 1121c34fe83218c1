"""What lies in a local folder of pictures: which files, of which class or with which mask, in which split.

Layouts, each with or without split folders (`train`, `validation`, `test`) around it:

    FOLDER/cat/1.jpg FOLDER/dog/2.png         a folder per class (pictures may lie deeper)
    FOLDER/1.jpg FOLDER/more/2.jpg            pictures without classes
    FOLDER/images/1.jpg FOLDER/masks/1.png    pictures and their masks, paired by name

Masks may also lie in `annotations` or `labels`, and these layouts may have the split folders inside:
FOLDER/images/train/1.jpg.

Only names are looked at; files are opened when they are read. Hidden files and files that are no pictures by name are
passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from hiperceiver.data.sources.source import SourceTask

SUFFIXES = frozenset(
    f".{ending}"
    for endings in ("avif bmp dib gif jfif jp2 jpe jpeg jpg", "pbm pgm png pnm ppm tga tif tiff webp")
    for ending in endings.split()
)
"""Endings of file names that are taken for pictures."""
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of split folders (and of a dataset's splits) -> our names."""
IMAGE_FOLDER = "images"
MASK_FOLDERS = ("masks", "annotations", "labels")


@dataclass
class Files:
    """The pictures of one split. Paths are relative to the folder."""

    pictures: list[str] = field(default_factory=list)
    """Every picture."""
    classes: list[str] = field(default_factory=list)
    """The name of each picture's class, for classification."""
    masks: list[str] = field(default_factory=list)
    """Each picture's mask, for segmentation."""


def list_folder(folder: Path, task: SourceTask) -> tuple[dict[str, Files], list[str]]:
    """The pictures of each split, and what was odd. Without split folders the only split is `train`.

    Raises:
        ValueError: the folder holds no pictures, or none of the layouts that the task needs.
    """
    warnings: list[str] = []
    if task == "segmentation":
        splits = _pairs(folder, warnings)
    elif task == "classification":
        splits = {split: _classified(folder, part, warnings) for split, part in _split_folders(folder).items()}
    else:
        parts = _split_folders(_without_masks(folder))
        splits = {
            split: Files(list(_pictures(folder, _without_masks(part), warnings))) for split, part in parts.items()
        }
    if not any(files.pictures for files in splits.values()):
        raise ValueError(f"{folder}: expected pictures ({', '.join(sorted(SUFFIXES))}), found none")
    for split in [split for split, files in splits.items() if not files.pictures]:
        warnings.append(f"the split folder of {split} holds no pictures")
        del splits[split]
    if "train" not in splits:
        raise ValueError(f"{folder}: expected pictures for training, found only {', '.join(splits)}")
    return splits, warnings


def _split_folders(folder: Path) -> dict[str, Path]:
    """Our name of each split -> its folder. All folders must be split folders, because `train` may be a class."""
    inside = _folders(folder)
    if inside and all(part.name.lower() in SPLIT_NAMES for part in inside):
        splits = {SPLIT_NAMES[part.name.lower()]: part for part in inside}
        if len(splits) < len(inside):
            raise ValueError(f"{folder}: expected one folder per split, got {', '.join(p.name for p in inside)}")
        if "train" in splits:
            return {split: splits[split] for split in ("train", "validation", "test") if split in splits}
    return {"train": folder}


def _classified(folder: Path, part: Path, warnings: list[str]) -> Files:
    """Pictures of the class folders in one split's folder."""
    files = Files()
    for class_folder in _folders(part):
        pictures = list(_pictures(folder, class_folder, warnings))
        if not pictures:
            warnings.append(f"class folder {class_folder.relative_to(folder)} holds no pictures and is left out")
        files.pictures += pictures
        files.classes += [class_folder.name] * len(pictures)
    loose = sum(_is_picture(path) for path in part.iterdir())
    if not files.pictures and loose:
        raise ValueError(f"{part}: expected a folder of pictures per class, found {loose} pictures in no folder")
    if loose:
        warnings.append(f"{loose} pictures in no class folder are left out ({part})")
    return files


def _pairs(folder: Path, warnings: list[str]) -> dict[str, Files]:
    """Pictures with masks of the same name."""
    places: dict[str, tuple[Path, Path]] = {}
    if mask_folder := _mask_folder(folder):
        in_images, in_masks = _split_folders(folder / IMAGE_FOLDER), _split_folders(mask_folder)
        places = {split: (in_images[split], in_masks[split]) for split in in_images if split in in_masks}
    else:
        for split, part in _split_folders(folder).items():
            if mask_folder := _mask_folder(part):
                places[split] = (part / IMAGE_FOLDER, mask_folder)
    if not places:
        expected = f"the folders {IMAGE_FOLDER} and {MASK_FOLDERS[0]} (or {' or '.join(MASK_FOLDERS[1:])})"
        found = ", ".join(part.name for part in _folders(folder)) or "no folder"
        raise ValueError(f"{folder}: for segmentation expected {expected}, found {found}")
    splits = {}
    for split, (image_part, mask_part) in places.items():
        masks = {_stem(path, mask_part, folder): path for path in _pictures(folder, mask_part, warnings)}
        files, without = Files(), []
        for path in _pictures(folder, image_part, warnings):
            mask = masks.pop(_stem(path, image_part, folder), None)
            if mask is None:
                without.append(path)
            else:
                files.pictures.append(path)
                files.masks.append(mask)
        for what, left in (("pictures without a mask", without), ("masks without a picture", list(masks.values()))):
            if left:
                warnings.append(f"{len(left)} {what} of the same name are left out, for example {left[0]}")
        if not files.pictures and (without or masks):
            raise ValueError(f"{folder}: expected masks with the names of the pictures, found no pair in {image_part}")
        splits[split] = files
    return splits


def _mask_folder(folder: Path) -> Path | None:
    if (folder / IMAGE_FOLDER).is_dir():
        for name in MASK_FOLDERS:
            if (folder / name).is_dir():
                return folder / name
    return None


def _without_masks(folder: Path) -> Path:
    """The folder of pictures beside one of masks, which are no pictures to look at; else the folder itself."""
    return folder / IMAGE_FOLDER if _mask_folder(folder) else folder


def _stem(path: str, part: Path, folder: Path) -> PurePath:
    """The path without the part's folder and without the ending: what a picture and its mask have in common."""
    return PurePath(path).relative_to(part.relative_to(folder)).with_suffix("")


def _folders(folder: Path) -> Sequence[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_picture(path: Path | PurePath) -> bool:
    return path.suffix.lower() in SUFFIXES and not _is_hidden(path.name)


def _pictures(folder: Path, part: Path, warnings: list[str]) -> Iterator[str]:
    """All pictures below `part`, in order, relative to `folder`. Links to folders are followed, each once."""
    seen, unreadable = set(), 0
    for place, inside, names in os.walk(part, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            inside.clear()
            continue
        seen.add(real)
        inside[:] = sorted(name for name in inside if not _is_hidden(name))
        for path in (str(Path(place, name).relative_to(folder)) for name in sorted(names) if _is_picture(Path(name))):
            if _is_text(path):
                yield path
            else:
                unreadable += 1
    if unreadable:
        warnings.append(f"{unreadable} files whose names are not UTF-8 are left out ({part})")


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
