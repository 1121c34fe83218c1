"""Folders of any files: a folder per class (`cat/1.jpg`), or none, files beside `labels.csv`, or `images` and `masks`.

Each with or without split folders around it, or inside `images` and `masks`. Only names are looked at; the most
frequent kind of file is read, unless `kind` chooses. Of several kinds, files of the same name are one example.
"""

import contextlib
import csv
import io
import math
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from hiperceiver.data.encoders.text_tables import UNNAMED
from hiperceiver.data.faults import faults_of, read_file
from hiperceiver.data.record import SPLITS, TRAIN, VALIDATION, Column, Table
from hiperceiver.data.sources.classes import CLASSES_FILE, Known, mask_classes, read_class_names, target_columns
from hiperceiver.data.sources.kinds import ENDINGS, ending_of, endings_of, split_kinds
from hiperceiver.data.sources.lists import example_list
from hiperceiver.data.sources.source import TARGETS, Source, SourceOptions, make_source
from hiperceiver.data.sources.tree import Paths, Streams, Tree, as_paths, joined, named_as_splits, split_of
from hiperceiver.data.text import composed, text_of
from hiperceiver.settings.data import FolderSettings

IMAGE_FOLDER = "images"
MASK_FOLDERS = ("masks", "annotations", "labels")
LABEL_LIST = "labels.csv"
"""A file's path in `file`, and its `label`, `labels` parted by `;`, or numbers. An empty cell is none, or no class."""


class Files(NamedTuple):
    """The files of an example. All paths are relative to the folder, with `/`."""

    split: int
    paths: tuple[str | None, ...]  # of each kind; at least one
    group: str | None = None  # the name of the class folder; None if it lies in none
    mask: str | None = None

    @property
    def name(self) -> str:
        """The first of its files."""
        return min(path for path in self.paths if path is not None)


@dataclass(kw_only=True)
class Listing:
    """The examples in a folder."""

    kinds: tuple[str, ...]  # of the files; the modalities' names
    splits: Collection[int]  # that have a folder
    examples: list[Files] = field(default_factory=list)
    label_lists: Sequence[str] = ()  # paths of the lists of labels
    is_of_frames: bool = False  # clips are folders of pictures
    warnings: list[str] = field(default_factory=list)


def open_folder(tree: Tree, own: FolderSettings, options: SourceOptions) -> Source:
    """The files of a local folder."""
    options.check_task(tree.name, ("classification", "multilabel", "segmentation", "regression"))
    listing = list_examples(tree, own, is_mask_needed=options.task == "segmentation")
    if own.kind is None and (kinds := _kinds_of_encoders(listing, options)):
        listing = list_examples(tree, replace(own, kind="+".join(kinds)))
    targets, names, is_known = _targets(tree, listing, options)
    modalities = _modality_names(listing.kinds, options)
    raws: dict[str, Column] = {}
    for number, kind in enumerate(listing.kinds):
        paths = Paths(tree.root, [each.paths[number] for each in listing.examples], is_text=kind == "bytes")
        is_of_streams = set(listing.kinds) == {"audio", "video"} and not listing.is_of_frames
        raws[modalities[kind]] = Streams(paths, kind, may_lack=True) if is_of_streams else paths
    table = Table(
        names=as_paths([each.name for each in listing.examples]),
        raws=raws,
        targets=targets,
        splits=np.array([each.split for each in listing.examples], dtype=np.int8),
        only_trains=None if is_known.all() or not is_known.any() else ~is_known,
    )
    if options.task == "segmentation":
        masked = table.take(is_known & (table.splits == table.splits.min()))
        classes = mask_classes(masked, options.classes, tree.root, listing.warnings)
    else:
        classes = names.get(next(iter(TARGETS[options.task]), "label"), ())
    return make_source(
        name=tree.name,
        table=table,
        encoders={modalities[kind]: kind for kind in listing.kinds},
        options=options,
        classes=classes,
        class_names=() if options.task == "segmentation" else read_class_names(tree.root),
        warnings=listing.warnings,
    )


def _kinds_of_encoders(listing: Listing, options: SourceOptions) -> tuple[str, ...]:
    """What given encoders read, if the files' endings say something else; nothing if they agree."""
    given = options.encoders or {}
    kinds = tuple(given[modality].kind for modality in options.modalities or given if modality in given)
    is_enough = set(kinds) <= set(listing.kinds) if options.modalities else not set(kinds).isdisjoint(listing.kinds)
    return () if is_enough or len(set(kinds)) < len(kinds) or "bytes" in kinds else kinds


def _modality_names(kinds: Iterable[str], options: SourceOptions) -> dict[str, str]:
    """Kind of file -> the name of its modality: that of the only given encoder of the kind, else the kind itself."""
    given: dict[str, list[str]] = {}
    for modality, encoder in (options.encoders or {}).items():
        given.setdefault(encoder.kind, []).append(modality)
    return {kind: given[kind][0] if len(given.get(kind, ())) == 1 else kind for kind in kinds}


def list_examples(tree: Tree, own: FolderSettings, *, is_mask_needed: bool = False) -> Listing:
    """The examples in a folder."""
    kinds = None if own.kind is None else split_kinds(own.kind)
    listing = _pairs(tree, own, is_mask_needed) if kinds in (None, ("image",)) else None
    if listing is None and is_mask_needed:
        expected = f"the folders {IMAGE_FOLDER} and {MASK_FOLDERS[0]} (or {' or '.join(MASK_FOLDERS[1:])})"
        found = ", ".join(tree.folders[""]) or "no folder"
        raise ValueError(f"{tree.root}: for segmentation expected {expected}, found {found}")
    if listing is None:
        listing = _in_class_folders(tree, own, kinds)
    empty = sorted({*listing.splits} - {each.split for each in listing.examples})
    listing.warnings += [f"the split folder of {SPLITS[split]} holds no files that can be used" for split in empty]
    listing.warnings += tree.warnings()
    if not listing.examples:
        endings = [ending for each in kinds or ENDINGS for ending in ENDINGS.get(each) or endings_of(each)]
        what = f"{own.kind or 'pictures, sounds, clips, clouds, series or texts'} ({', '.join(endings)})"
        there = Counter(map(ending_of, tree.below())).most_common()
        others = [f"{f'*.{ending}' if ending else 'files without an ending'} ({count})" for ending, count in there]
        only = f", only {example_list(others, 5)}" if others else ""
        raise ValueError(f"{tree.root}: expected {what}, found none{only}")
    for number, kind in enumerate(listing.kinds):
        if not any(each.paths[number] for each in listing.examples):
            expected = f"files of {kind} ({', '.join(endings_of(kind))})"
            expected += " or a folder of pictures for each clip" if kind == "video" else ""
            raise ValueError(f"{tree.root}: expected {expected}, found only others")
    return listing


def _in_class_folders(tree: Tree, own: FolderSettings, kinds: tuple[str, ...] | None) -> Listing:
    """Files in class folders, or in none."""
    parts = _split_folders(tree, choice=own.split_folders)
    words = [(PurePosixPath(part).name, SPLITS[split]) for split, part in parts.items() if part]
    others = [f"{name} is {split}" for name, split in words if name.lower() != split]
    warnings = [f"splits by the names of folders: {', '.join(others)}"] if others else []
    folders: list[tuple[int, str, str | None]] = []  # split, folder, class
    for split, part in parts.items():
        folders += [(split, part, None), *((split, joined(part, name), name) for name in tree.folders[part])]
    if own.split_folders is None:
        for part in parts.values():
            classes = {name: joined(part, name) for name in tree.folders[part]}
            _check_inside_classes(tree, classes, warnings)
    files = [_files(tree, folder, is_deep=group is not None) for _, folder, group in folders]
    if kinds is None:
        counts = Counter(ending_of(path) for paths in files for path in paths)
        # Of equally many the first kind, as for a folder of GIFs.
        kinds = (max(ENDINGS, key=lambda kind: sum(counts[ending] for ending in ENDINGS[kind])),)
        endings: dict[str, tuple[str, ...] | None] = {kinds[0]: ENDINGS[kinds[0]]}
    else:
        endings = {kind: None if kind == "bytes" else endings_of(kind) for kind in kinds}
    clips: set[str] = set()
    if "video" in kinds and not any(ending_of(path) in endings_of("video") for paths in files for path in paths):
        files = [
            _with_clips(paths, clips) if group else paths for paths, (*_, group) in zip(files, folders, strict=True)
        ]
    lists = [path for path in (joined(part, LABEL_LIST) for part in parts.values()) if tree.has_file(path)]
    lists = [LABEL_LIST] if tree.has_file(LABEL_LIST) else lists
    listing = Listing(kinds=kinds, splits=parts, label_lists=lists, is_of_frames=bool(clips), warnings=warnings)
    what = "+".join(kinds)
    if clips:
        listing.warnings.append(f"clips are folders of pictures, such as {min(clips)}: {len(clips)}")
    passed_over: list[str] = []
    for (split, _, group), paths in zip(folders, files, strict=True):
        found = [Files(split, together, group) for together in _grouped(paths, endings, clips)]
        listing.examples += found
        used = {path for each in found for path in each.paths}
        passed_over += [path for path in paths if path not in used]
    listing.warnings += _beside_splits(tree, "", parts.values(), kinds)
    filled = {(each.split, each.group) for each in listing.examples}
    with_classes = {split for split, group in filled if group is not None}
    for split, folder, group in folders:
        if split in with_classes and group is not None and (split, group) not in filled:
            listing.warnings.append(f"class folder {folder} holds no {what} and is left out")
    with_folders = [folder for _, folder, group in folders if group is not None and tree.folders[folder]]
    if with_folders and len({group for _, _, group in folders}) == 2:  # one, and none
        inside = example_list(tree.folders[with_folders[0]])
        only = f"the only class folder {with_folders[0]} holds the folders {inside}"
        listing.warnings.append(f"{only}: name it as the data if these are meant")
    if TRAIN in parts and VALIDATION not in parts:
        listing.warnings += _parted(listing.examples)
    if passed_over:
        example = f"for example {passed_over[0]}"
        listing.warnings.append(f"{len(passed_over)} files are passed over, because {what} is read; {example}")
    return listing


def _parted(examples: Iterable[Files]) -> Iterator[str]:
    """What is said where files that lie together below a class will be drawn into different splits."""
    counts = Counter((each.group, PurePosixPath(each.name).parent) for each in examples if each.group is not None)
    folders = [(group, folder) for (group, folder), count in counts.items() if count > 1 and folder.name != group]
    if len(folders) > len({group for group, _ in folders}):  # several of one class
        which = f"files of one folder, such as the {counts[folders[0]]} of {folders[0][1]}, are drawn into splits"
        remedy = "kind video reads each as a clip; else make folders train and validation"
        yield f"{which} one by one: if they are frames of a clip, {remedy}"


def _with_clips(paths: Iterable[str], clips: set[str]) -> list[str]:
    """Files below a folder of a class, and in place of pictures their folders, which become some of `clips`."""
    found: dict[str, None] = {}
    for path in paths:
        if ending_of(path) in ENDINGS["image"]:
            path = path.rpartition("/")[0]
            clips.add(path)
        found[path] = None
    return list(found)


def _grouped(
    paths: Iterable[str], endings: Mapping[str, tuple[str, ...] | None], clips: Collection[str] = ()
) -> Iterator[tuple[str | None, ...]]:
    """The files of each example in a folder: one, or of several kinds those of one name; preferred endings first.

    Args:
        paths: of files, and of the folders that are clips.
        endings: of each kind, those of its files.
        clips: folders of pictures.
    """
    examples: dict[str, list[str]] = {}
    for path in paths:
        examples.setdefault(path if len(endings) == 1 else composed(_stem(path)), []).append(path)
    for together in examples.values():
        chosen: list[str | None] = []
        for kind, known in endings.items():
            if kind == "video" and clips:
                chosen.append(next((path for path in together if path in clips), None))
                continue
            fitting = [path for path in together if known is None or ending_of(path) in known]
            chosen.append(min(fitting, key=lambda path: known.index(ending_of(path)) if known else 0, default=None))
        if any(chosen):
            yield tuple(chosen)


def _pairs(tree: Tree, own: FolderSettings, is_mask_needed: bool) -> Listing | None:
    """Pictures with masks of the same name, and pictures without; None if the folder has no such layout."""
    outer = ""
    if masks := _mask_folder(tree, ""):
        outer, choice = IMAGE_FOLDER, own.split_folders
        if choice is None and named_as_splits(tree.folders[masks]) and named_as_splits(tree.folders[outer]):
            # Folders of pictures alone are no classes.
            beside = {name for name in tree.folders[outer] if split_of(name) is None}
            choice = True if beside.isdisjoint(tree.folders[masks]) else None
        in_images, in_masks = _split_folders(tree, outer, choice), _split_folders(tree, masks, choice)
        parts = {split: (in_images[split], in_masks[split]) for split in in_images if split in in_masks}
    else:
        folders = _split_folders(tree, choice=own.split_folders)
        parts = {
            split: (joined(part, IMAGE_FOLDER), masks)
            for split, part in folders.items()
            if (masks := _mask_folder(tree, part))
        }
    listing = Listing(kinds=("image",), splits=parts)
    used = [image_part if outer else image_part.rpartition("/")[0] for image_part, _ in parts.values()]
    listing.warnings += _beside_splits(tree, outer, used, ("image",))
    for split, (image_part, mask_part) in parts.items():
        masks_of: dict[str, str] = {}
        again = [
            path
            for path in _pictures(tree, mask_part)
            if masks_of.setdefault(composed(_stem(path[len(mask_part) :])), path) != path
        ]
        if again:
            which = f"{len(again)} masks have the name of another and are left out, for example {again[0]}"
            listing.warnings.append(which)
        stems = {path: composed(_stem(path[len(image_part) :])) for path in _pictures(tree, image_part)}
        found = [Files(split, (path,), mask=masks_of.pop(stem, None)) for path, stem in stems.items()]
        if masks_of:
            alone = f"{len(masks_of)} masks without a picture of the same name are left out"
            listing.warnings.append(f"{alone}, for example {next(iter(masks_of.values()))}")
        if is_mask_needed and found and not any(each.mask for each in found):
            others = _files(tree, mask_part, is_deep=True)[:1] or ["no file"]
            expected = (
                f"masks with the names of the pictures, found no pair, for example {found[0].name} and {others[0]}"
            )
            raise ValueError(f"{tree.root}: expected {expected}")
        listing.examples += found
    return listing if parts else None


def _targets(
    tree: Tree, listing: Listing, options: SourceOptions
) -> tuple[dict[str, Column], dict[str, tuple[str, ...]], np.ndarray]:
    """The columns of targets; the names of the classes or numbers of each; and which examples have a target."""
    task, root, examples = options.task, tree.root, listing.examples
    if any(each.mask for each in examples):
        if task not in ("none", "segmentation"):
            raise ValueError(f"task: {root} holds pictures and masks, for segmentation; got {task!r}")
        masks = [each.mask for each in examples]
        return {"segmentation": Paths(root, masks)}, {}, np.array([mask is not None for mask in masks])
    if listing.label_lists:
        columns, numbers, listed = _read_label_lists(root, listing.label_lists)
        named = ([composed(path) for path in (*each.paths, _stem(each.name)) if path is not None] for each in examples)
        files = [next((file for file in names if file in listed), None) for names in named]
        there = set(files)
        if absent := [file for file in listed if file not in there]:
            listing.warnings.append(f"{LABEL_LIST}: {len(absent)} files are not there, for example {absent[0]}")
        known = [Known() if file is None else listed[file] for file in files]
        targets, names = target_columns(known, listed.values())
        names["values"] = numbers
        if task != "none" and not names.get(target := TARGETS[task][0]):
            column = "of numbers" if target == "values" else target
            path = root / listing.label_lists[0]
            raise ValueError(f"{path}: expected a column {column}, found {', '.join(columns)}")
        return targets, names, np.array([file is not None for file in files])
    if task in ("multilabel", "regression"):
        raise ValueError(f"{root}: for {task} expected the file {LABEL_LIST} beside the files, found none")
    groups = [None if each.group is None else composed(each.group) for each in examples]
    targets, names = target_columns([Known(label=group) for group in groups])
    if task == "classification" and not names:
        is_whole = len({each.split for each in examples}) == 1
        folder = root if is_whole else root / examples[0].name.partition("/")[0]
        expected = f"expected a folder of files per class, found {len(examples)} files in no folder"
        remedy = (
            "" if is_whole and folder == root and not tree.folders[""] else "; split_folders false if it is a class"
        )
        raise ValueError(f"{folder}: {expected}{remedy}")
    return targets, names, np.array([each.group is not None for each in examples])


def _read_label_lists(root: Path, paths: Sequence[str]) -> tuple[list[str], tuple[str, ...], dict[str, Known]]:
    """As `_read_label_list`, of several lists of the same columns; files are relative to `root`."""
    known: dict[str, Known] = {}
    first: tuple[list[str], tuple[str, ...]] | None = None
    for path in paths:
        columns, numbers, listed = _read_label_list(root / path)
        first = first or (columns, numbers)
        if (columns, numbers) != first:
            raise ValueError(f"{root / path}: expected the columns {', '.join(first[0])}, got {', '.join(columns)}")
        folder = composed(path.rpartition("/")[0])
        known |= {joined(folder, name): each for name, each in listed.items()}
    assert first is not None  # as there is a list
    return *first, known


def _read_label_list(path: Path) -> tuple[list[str], tuple[str, ...], dict[str, Known]]:
    """The columns beside `file`, those of them that hold numbers, and what is known of each file."""
    known: dict[str, Known] = {}
    with faults_of(path):
        try:
            table = csv.DictReader(io.StringIO(text_of(read_file(path)), newline=""), strict=True)
            columns = [name.strip() for name in table.fieldnames or ()]
            table.fieldnames = columns
            lines = [(table.line_num, row) for row in table]
        except csv.Error as error:
            raise ValueError(f"expected a table with commas ({error})") from error
        if "file" not in columns or len(columns) < 2:
            found = ", ".join(columns) or "none"
            raise ValueError(f"expected the columns file and label, labels or numbers, found {found}")
        named = [name for name in columns if not UNNAMED.fullmatch(name)]  # one without a name counts the lines
        others = [name for name in named if name != "file"]
        if len({*named}) < len(named):
            raise ValueError(f"expected each column once, found {', '.join(columns)}")
        numbers = tuple(name for name in others if name not in ("label", "labels"))
        for line, row in lines:
            if None in row or None in row.values():
                raise ValueError(f"line {line}: expected {len(columns)} cells")
            name = _listed_name(row["file"].strip(), path.parent)
            if name in known:
                raise ValueError(f"line {line}: expected each file once, got {name!r} again")
            known[name] = Known(
                label=composed(row.get("label", "").strip()) or None,
                labels=_words(row["labels"]) if "labels" in row else None,
                values=[_number(row[column], column, line) for column in numbers] or None,
            )
    return others, numbers, known


def _listed_name(cell: str, root: Path) -> str:
    """A file in a list, relative to the folder of the list, however it is written."""
    file = PurePosixPath(cell if "/" in cell else cell.replace("\\", "/"))
    if file.is_absolute():
        with contextlib.suppress(ValueError):  # it lies elsewhere, and is not there
            file = file.relative_to(root.absolute())
    return composed(file.as_posix())


def _number(cell: str, column: str, line: int) -> float:
    """A cell as a finite number, NaN if it is empty."""
    with contextlib.suppress(ValueError):
        if not cell.strip() or math.isfinite(float(cell)):
            return float(cell.strip() or "nan")
    raise ValueError(f"line {line}: expected a number in column {column!r}, got {cell[:40]!r}")


def holds_media(tree: Tree) -> bool:
    """Whether there are pictures, sounds, clips or meshes."""
    endings = tuple(f".{ending}" for kind in ("image", "audio", "video", "points") for ending in ENDINGS[kind])
    return next(tree.below("", endings), None) is not None


def _split_folders(tree: Tree, folder: str = "", choice: bool | None = None) -> dict[int, str]:
    """Number of each split -> its folder; only `train` if there are none. `choice`: the user's `split_folders`."""
    there = tree.folders.get(folder, [])
    named = named_as_splits(there)
    found = [name for names in named.values() for name in names]
    others = [name for name in there if name not in found]
    if choice is None and named and others:
        are_deep = [any(tree.folders[joined(folder, name)] for name in names) for names in (found, others)]
        if (are_deep[0] and are_deep[1] and len(named) == 1) or (not are_deep[0] and len(named) > 1):
            expected = f"expected true if {', '.join(found)} are splits, false if they are classes like {others[0]}"
            raise ValueError(f"split_folders: {expected}, in {tree.root / folder}")
        choice = are_deep[0]
    if not named or choice is False:
        return {TRAIN: folder}
    if len(found) > len(named):
        expected = f"expected one folder per split, got {', '.join(found)}; or split_folders false, for classes"
        raise ValueError(f"{tree.root / folder}: {expected}")
    parts = {number: joined(folder, named[split][0]) for number, split in enumerate(SPLITS) if split in named}
    return {number: _unwrapped(tree, part) for number, part in parts.items()}


def _unwrapped(tree: Tree, folder: str) -> str:
    """The folder, or the one of the same name that is all that it holds, as some archives unpack."""
    name = folder.rpartition("/")[2]
    is_wrapped = tree.folders[folder] == [name] and not tree.files[folder]
    return _unwrapped(tree, joined(folder, name)) if is_wrapped else folder


def _beside_splits(tree: Tree, outer: str, parts: Collection[str], kinds: Sequence[str]) -> Iterator[str]:
    """What is said of folders, and files that could be read, beside those of the splits in a folder."""
    if outer in parts:
        return  # it is no folder of splits
    known = {ending for kind in kinds for ending in endings_of(kind)}
    files = [path for path in _files(tree, outer, is_deep=False) if ending_of(path) in known]
    for what, paths in {"folders": [joined(outer, name) for name in tree.folders[outer]], "files": files}.items():
        if outside := [path for path in paths if not any(f"{part}/".startswith(f"{path}/") for part in parts)]:
            yield f"{what} beside those of the splits are passed over: {example_list(outside)}"


def _check_inside_classes(tree: Tree, classes: Mapping[str, str], warnings: list[str]) -> None:
    """Refuse folders of splits inside those of classes (name -> folder); say if all hold the same folders."""
    inside = {name: tree.folders[folder] for name, folder in classes.items() if tree.folders[folder]}
    for name, folders in inside.items():
        if splits := [each for names in named_as_splits(folders).values() for each in names]:
            where = f"{example_list(splits)} in the class folder {classes[name]}"
            remedy = f"put them around the classes, or name {tree.root / classes[name]} if they are all of the data"
            raise ValueError(f"split_folders: found {where}; {remedy}; false takes them for parts of the class")
    shared = set.intersection(*map(set, inside.values())) if len(inside) > 1 else set()
    if len(shared) > 1:
        beside = f"each of {example_list([*inside])} holds folders named {example_list(sorted(shared))}"
        warnings.append(f"{beside}: classes are the outer ones; splits are named train, validation and test")


def _mask_folder(tree: Tree, folder: str) -> str | None:
    """The folder of masks beside the folder of pictures in a folder."""
    if not tree.has_folder(joined(folder, IMAGE_FOLDER)):
        return None
    found = (joined(folder, name) for name in MASK_FOLDERS)
    return next((path for path in found if tree.has_folder(path)), None)


def _files(tree: Tree, folder: str, *, is_deep: bool) -> list[str]:
    """Files in a folder, or below it, but for the lists that describe them."""
    if is_deep:
        return list(tree.below(folder))
    return [joined(folder, name) for name in tree.inside(folder) if name not in (LABEL_LIST, CLASSES_FILE)]


def _pictures(tree: Tree, folder: str) -> Iterable[str]:
    return tree.below(folder, tuple(f".{ending}" for ending in ENDINGS["image"]))


def _words(cell: str) -> list[str]:
    return [composed(word.strip()) for word in cell.split(";") if word.strip()]


def _stem(path: str) -> str:
    """The path without its ending."""
    return os.path.splitext(path)[0]
