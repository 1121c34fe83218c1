"""Folders of any files: pictures, sounds, clips, clouds and meshes, series, texts; of classes, with masks or a list.

Layouts, each with or without split folders (`train`, `validation`, `test`) around it:

    FOLDER/cat/1.jpg FOLDER/dog/2.png         a folder per class (files may lie deeper)
    FOLDER/1.wav FOLDER/more/2.wav            files without classes
    FOLDER/1.npy FOLDER/labels.csv            files and a list of what is known of them (see `label_list`)
    FOLDER/images/1.jpg FOLDER/masks/1.png    pictures and their masks, paired by name

Masks may also lie in `annotations` or `labels`, and these layouts may have the split folders inside:
FOLDER/images/train/1.jpg.

What the files hold follows from the endings of their names: the most frequent kind is read, and gives the modality its
name; files of other kinds are passed over with one warning. `kind` says it instead, and must for volumes and feature
vectors. With several kinds, as in `image+audio`, files of the same name but for the ending are one example, and one
that lacks some is an example without these modalities; `audio+video` reads both from each clip.

Only names are looked at; files are opened when they are read. Hidden files are passed over.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path, PurePath
from typing import Any, Unpack

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.media import Media
from hiperceiver.data.record import Record
from hiperceiver.data.sources.classes import (
    CLASSES_FILE,
    TARGET_OF_TASK,
    mask_classes,
    number_classes,
    read_class_names,
    with_unlabelled,
)
from hiperceiver.data.sources.kinds import (
    ENDINGS,
    LOOKED_AT,
    OTHER_ENDINGS,
    ending_of,
    kind_of,
    offered_encoders,
    split_kinds,
)
from hiperceiver.data.sources.label_list import LABEL_LIST, read_label_list
from hiperceiver.data.sources.lists import Streams
from hiperceiver.data.sources.source import SPLITS, Common, CommonOptions, Source, make_source

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


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of one example. Paths are relative to the folder, with `/`."""

    name: str
    """The first file."""
    paths: Mapping[str, str]
    """Modality -> file."""
    group: str | None = None
    """The name of its class folder; None if it lies in none."""
    mask: str | None = None
    """Its mask."""


@dataclass(kw_only=True)
class Listing:
    """What lies in a folder."""

    kinds: tuple[str, ...]
    """Kinds of the files, which are the modalities' names."""
    splits: dict[str, list[Files]]
    """Our name of each split -> its examples; only `train` without split folders."""
    warnings: list[str] = field(default_factory=list)
    """What was odd."""


def open_folder(
    folder: str | Path, *, kind: str | None = None, classes: Sequence[str] | None = None, **common: Unpack[Common]
) -> Source:
    """The files of a local folder; see the module for layouts.

    Args:
        folder: where they lie.
        kind: what the files hold, such as `audio`, `volume`, `audio+video` or `image+audio`; by default the kind of
            most of them, or if given encoders read none of that, what these read.
        classes: names of the classes in their order, for example a trained model's. By default the names of the class
            folders, sorted; for masks, of the file `classes.txt`, or their numbers.
        **common: see `CommonOptions`.

    Raises:
        ValueError: the folder cannot be read, or has not what the task needs.
    """
    options = CommonOptions(**common)
    options.check_task(str(folder), ("classification", "multilabel", "segmentation", "regression"))
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise ValueError(f"{root}: {'expected a folder, got a file' if root.exists() else 'no such folder'}")
    try:
        listing = list_folder(root, kind, is_mask_needed=options.task == "segmentation")
        if kind is None and (wanted := _kinds_of_encoders(listing, options)):
            listing = list_folder(root, "+".join(wanted))
    except OSError as error:
        raise ValueError(f"{error.filename or root}: {(error.strerror or 'cannot be read').lower()}") from error
    records, names = _records(root, listing, options, classes)
    train = records["train"]
    encoders = offered_encoders(
        str(folder),
        {modality: modality for modality in listing.kinds},
        lambda modality: EncodedRecords(records=train, encoders={}).raws(modality, LOOKED_AT),
        options,
    )
    return make_source(
        name=str(folder), records=records, encoders=encoders, options=options, classes=names, warnings=listing.warnings
    )


def _kinds_of_encoders(listing: Listing, options: CommonOptions) -> tuple[str, ...]:
    """What given encoders read, if the files' endings tell something else; nothing if they agree."""
    given = options.encoders or {}
    kinds = tuple(given[modality].kind for modality in options.modalities or given if modality in given)
    is_enough = set(kinds) <= set(listing.kinds) if options.modalities else not set(kinds).isdisjoint(listing.kinds)
    return () if is_enough or len(set(kinds)) < len(kinds) or "bytes" in kinds else kinds


def list_folder(folder: Path, kind: str | None = None, *, is_mask_needed: bool = False) -> Listing:
    """The examples of each split.

    Args:
        folder: where they lie.
        kind: as in `open_folder`.
        is_mask_needed: refuse a folder without masks.

    Raises:
        ValueError: the folder holds no files of these kinds, or none of the layouts.
        OSError: the folder cannot be read.
    """
    warnings: list[str] = []
    kinds = None if kind is None else split_kinds(kind)
    pairs = _pairs(folder, warnings, is_mask_needed) if kinds in (None, ("image",)) else {}
    if pairs:
        listing = Listing(kinds=("image",), splits=pairs, warnings=warnings)
    elif is_mask_needed:
        expected = f"the folders {IMAGE_FOLDER} and {MASK_FOLDERS[0]} (or {' or '.join(MASK_FOLDERS[1:])})"
        found = ", ".join(part.name for part in _folders(folder)) or "no folder"
        raise ValueError(f"{folder}: for segmentation expected {expected}, found {found}")
    else:
        listing = _listing(folder, kinds, warnings)
    if not any(listing.splits.values()):
        kinds = kinds or tuple(ENDINGS)
        endings = [ending for each in kinds for ending in ENDINGS.get(each, OTHER_ENDINGS.get(each, ()))]
        what = f"{kind or 'pictures, sounds, clips, clouds, series or texts'} ({', '.join(endings)})"
        raise ValueError(f"{folder}: expected {what}, found none")
    read = {each for found in listing.splits.values() for files in found for each in files.paths}
    if missing := [each for each in listing.kinds if each not in read]:
        endings = (*ENDINGS.get(missing[0], ()), *OTHER_ENDINGS.get(missing[0], ()))
        raise ValueError(f"{folder}: expected files of {missing[0]} ({', '.join(endings)}), found only others")
    for split in [split for split, found in listing.splits.items() if not found]:
        warnings.append(f"the split folder of {split} holds no files that can be used")
        del listing.splits[split]
    if "train" not in listing.splits:
        raise ValueError(f"{folder}: expected files for training, found only {', '.join(listing.splits)}")
    return listing


def _listing(folder: Path, kinds: tuple[str, ...] | None, warnings: list[str]) -> Listing:
    """Files in class folders, or in none."""
    parts = _split_folders(folder)
    files = {split: list(_files(folder, part, warnings)) for split, part in parts.items()}
    if kinds is None:
        counts = Counter(ending_of(path) for paths in files.values() for path in paths)
        # Of equally many the first kind, as for a folder of GIFs.
        kinds = (max(ENDINGS, key=lambda kind: sum(counts[ending] for ending in ENDINGS[kind])),)
        is_taken = {path: ending_of(path) in ENDINGS[kinds[0]] for paths in files.values() for path in paths}
    else:
        is_taken = {path: kind_of(path, among=kinds) is not None for paths in files.values() for path in paths}
    splits: dict[str, list[Files]] = {}
    used: set[str] = set()
    for split, part in parts.items():
        prefix = len(part.relative_to(folder).parts)
        splits[split] = list(_grouped([path for path in files[split] if is_taken[path]], kinds, prefix))
        used.update(path for found in splits[split] for path in found.paths.values())
        groups = {found.group for found in splits[split]} - {None}
        if groups:
            for empty in [each for each in _folders(part) if each.name not in groups]:
                warnings.append(f"class folder {empty.relative_to(folder)} holds no {'+'.join(kinds)} and is left out")
    if used and (left := [path for paths in files.values() for path in paths if path not in used]):
        warnings.append(f"{len(left)} files are passed over, because {'+'.join(kinds)} is read; for example {left[0]}")
    return Listing(kinds=kinds, splits=splits, warnings=warnings)


def _grouped(paths: Sequence[str], kinds: tuple[str, ...], prefix: int) -> Iterator[Files]:
    """Files as examples: each of its own, or those of a name if there are several kinds."""
    stems: dict[str, list[str]] = {}
    for path in paths:
        stems.setdefault(path if len(kinds) == 1 else str(PurePath(path).with_suffix("")), []).append(path)
    for together in stems.values():
        chosen: dict[str, str] = {}
        for kind in kinds:
            endings = (*ENDINGS.get(kind, ()), *OTHER_ENDINGS.get(kind, ()))
            order = {ending: place for place, ending in enumerate(endings)}
            fitting = [path for path in together if kind == "bytes" or ending_of(path) in order]
            if fitting:
                chosen[kind] = min(fitting, key=lambda path: order.get(ending_of(path), len(order)))
        folders = PurePath(together[0]).parts[prefix:-1]
        yield Files(name=min(chosen.values()), paths=chosen, group=folders[0] if folders else None)


def _records(
    root: Path, listing: Listing, options: CommonOptions, classes: Sequence[str] | None
) -> tuple[dict[str, Sequence[Record]], tuple[str, ...]]:
    """Records with all targets that are known, by split; and the names of the task's classes."""
    task = options.task
    targets, names = _targets(root, listing, options, classes)
    with_target: dict[str, Sequence[Record]] = {}
    without: dict[str, Sequence[Record]] = {}
    needed = TARGET_OF_TASK.get(task)
    are_known = any(targets.values())
    for split, found in listing.splits.items():
        records = [
            Record(
                name=files.name,
                raws=_raws(root, files),
                targets=targets.get(files.name, {}),
            )
            for files in found
        ]
        is_complete = [
            not are_known or (bool(record.targets) if needed is None else needed in record.targets)
            for record in records
        ]
        if any(is_complete):
            with_target[split] = list(compress(records, is_complete))
        if not all(is_complete):
            without[split] = [record for record, is_good in zip(records, is_complete, strict=True) if not is_good]
            if task != "none":
                listing.warnings.append(
                    f"{len(without[split])} of {len(records)} files of {split} have no {needed or 'label'} and are "
                    f"left out, for example {without[split][0].name}"
                )
    if "train" not in with_target:
        raise ValueError(f"{root}: expected {needed or 'labelled'} training files, found none")
    if task == "segmentation":
        names = mask_classes(with_target["train"], classes, root, listing.warnings)
    return with_unlabelled(with_target, without, options), names


def _targets(
    root: Path, listing: Listing, options: CommonOptions, classes: Sequence[str] | None
) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """What is known of each example by its name, and the names of the task's classes."""
    task, source = options.task, str(root)
    everything = [files for found in listing.splits.values() for files in found]
    if any(files.mask for files in everything):
        if task not in ("none", "segmentation"):
            raise ValueError(f"task: {source} holds pictures and masks, for segmentation; got {task!r}")
        return {files.name: {"segmentation": str(root / files.mask)} for files in everything if files.mask}, ()
    given = classes or read_class_names(root)
    if (table := read_label_list(root)) is not None:
        by_file, single, several = table.targets(
            given if task == "classification" else None, given if task == "multilabel" else None, source=source
        )
        targets = {
            files.name: known
            for files in everything
            if (known := next((by_file.pop(path) for path in _names(files) if path in by_file), None)) is not None
        }
        if by_file:
            listing.warnings.append(
                f"{LABEL_LIST}: {len(by_file)} files are not there, for example {next(iter(by_file))}"
            )
        names = {"classification": single, "multilabel": several, "regression": table.value_names}.get(task, ())
        if task != "none" and not names:
            column = {"classification": "label", "multilabel": "labels"}.get(task, "of numbers")
            raise ValueError(f"{root / LABEL_LIST}: expected a column {column}, found {', '.join(table.columns)}")
        return targets, names
    if task in ("multilabel", "regression"):
        raise ValueError(f"{root}: for {task} expected the file {LABEL_LIST} beside the files, found none")
    groups = sorted({files.group for files in everything if files.group is not None})
    if task == "classification" and not groups:
        place = root if len(listing.splits) == 1 else root / next(iter(listing.splits))
        raise ValueError(f"{place}: expected a folder of files per class, found {len(everything)} files in no folder")
    names, number = number_classes(groups, given if task == "classification" else None, source=source)
    return {files.name: {"label": number[files.group]} for files in everything if files.group is not None}, names


def _names(files: Files) -> tuple[str, ...]:
    """By which a list may call an example: its files, or these without their endings."""
    return *files.paths.values(), str(PurePath(files.name).with_suffix(""))


def _raws(root: Path, files: Files) -> Mapping[str, Any]:
    """What is read of an example. A clip is asked whether it has both sound and pictures."""
    raws = {kind: _raw(root, kind, path) for kind, path in files.paths.items()}
    is_clip = set(raws) == {"audio", "video"} and len(set(raws.values())) == 1
    return Streams({kind: Media(raw) for kind, raw in raws.items()}) if is_clip else raws


def _raw(root: Path, kind: str, path: str) -> str | Path:
    return root / path if kind == "bytes" else os.path.join(root, path)  # to the encoder of bytes, a string is a text


def _split_folders(folder: Path) -> dict[str, Path]:
    """Our name of each split -> its folder. All folders must be split folders, because `train` may be a class."""
    inside = _folders(folder)
    if inside and all(part.name.lower() in SPLIT_NAMES for part in inside):
        splits = {SPLIT_NAMES[part.name.lower()]: part for part in inside}
        if len(splits) < len(inside):
            raise ValueError(f"{folder}: expected one folder per split, got {', '.join(p.name for p in inside)}")
        if "train" in splits:
            return {split: splits[split] for split in SPLITS if split in splits}
    return {"train": folder}


def _pairs(folder: Path, warnings: list[str], is_mask_needed: bool) -> dict[str, list[Files]]:
    """Pictures with masks of the same name, and pictures without; nothing if the folder has no such layout."""
    places: dict[str, tuple[Path, Path]] = {}
    if mask_folder := _mask_folder(folder):
        in_images, in_masks = _split_folders(folder / IMAGE_FOLDER), _split_folders(mask_folder)
        places = {split: (in_images[split], in_masks[split]) for split in in_images if split in in_masks}
    else:
        for split, part in _split_folders(folder).items():
            if mask_folder := _mask_folder(part):
                places[split] = (part / IMAGE_FOLDER, mask_folder)
    splits: dict[str, list[Files]] = {}
    for split, (image_part, mask_part) in places.items():
        masks = {_stem(path, mask_part, folder): path for path in _pictures(folder, mask_part, warnings)}
        num_masks = len(masks)
        splits[split] = [
            Files(name=path, paths={"image": path}, mask=masks.pop(_stem(path, image_part, folder), None))
            for path in _pictures(folder, image_part, warnings)
        ]
        if masks:
            example = next(iter(masks.values()))
            warnings.append(
                f"{len(masks)} masks without a picture of the same name are left out, for example {example}"
            )
        if is_mask_needed and splits[split] and num_masks == len(masks):
            raise ValueError(f"{folder}: expected masks with the names of the pictures, found no pair in {image_part}")
    return splits


def _mask_folder(folder: Path) -> Path | None:
    if (folder / IMAGE_FOLDER).is_dir():
        for name in MASK_FOLDERS:
            if (folder / name).is_dir():
                return folder / name
    return None


def _stem(path: str, part: Path, folder: Path) -> PurePath:
    """The path without the part's folder and without the ending: what a picture and its mask have in common."""
    return PurePath(path).relative_to(part.relative_to(folder)).with_suffix("")


def _pictures(folder: Path, part: Path, warnings: list[str]) -> Iterator[str]:
    return (path for path in _files(folder, part, warnings) if ending_of(path) in ENDINGS["image"])


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name) and path.is_dir())


def is_hidden(name: str) -> bool:
    """Whether a file or folder is not for people.

    >>> is_hidden(".DS_Store"), is_hidden("1.jpg")
    (True, False)
    """
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _files(folder: Path, part: Path, warnings: list[str]) -> Iterator[str]:
    """All files below `part`, in order, relative to `folder`. Links to folders are followed, each once.

    Only files: to open a pipe would wait for ever.
    """
    seen: set[str] = set()
    odd: dict[str, list[str]] = {}
    waiting = [part]
    while waiting:
        place = waiting.pop()
        if (real := os.path.realpath(place)) in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            odd.setdefault(f"folders cannot be listed ({(error.strerror or 'unknown').lower()})", []).append(str(place))
            continue
        inside: list[Path] = []
        prefix = place.relative_to(folder).as_posix()
        for entry in entries:
            if is_hidden(entry.name) or (place == folder and entry.name in (LABEL_LIST, CLASSES_FILE)):
                continue
            path = entry.name if prefix == "." else f"{prefix}/{entry.name}"
            try:
                path.encode()
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except UnicodeEncodeError:
                odd.setdefault("files whose names are not UTF-8 are left out", []).append(ascii(path))
                continue
            except OSError:  # a link to itself
                is_folder = is_file = False
            if is_folder:
                inside.append(place / entry.name)
            elif is_file:
                yield path
            else:
                odd.setdefault("broken links, pipes or other things that are no files are left out", []).append(path)
        waiting.extend(reversed(inside))
    warnings.extend(f"{len(paths)} {what}, for example {paths[0]}" for what, paths in odd.items())
