"""Folders of any files: pictures, sounds, clips, clouds and meshes, series, texts; of classes, with masks or a list.

Layouts, each with or without split folders (`train`, `validation`, `test`) around it:

    FOLDER/cat/1.jpg FOLDER/dog/2.png         a folder per class (files may lie deeper)
    FOLDER/1.wav FOLDER/more/2.wav            files without classes
    FOLDER/1.npy FOLDER/labels.csv            files and a list of what is known of them (see `label_list`)
    FOLDER/images/1.jpg FOLDER/masks/1.png    pictures and their masks, paired by name

Masks may also lie in `annotations` or `labels`, and these layouts may have the split folders inside:
FOLDER/images/train/1.jpg.

What the files hold follows from the endings of their names: the most frequent kind is read, and gives the modality its
name; files of other kinds are passed over with one warning. `kind` chooses it instead, and must for volumes and feature
vectors. With several kinds, as in `image+audio`, files of the same name but for the ending are one example, and one
that lacks some is an example without these modalities; `audio+video` reads both from each clip.

Only names are looked at; files are opened when they are read.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hiperceiver.data.record import SPLITS, TRAIN, Column, Table
from hiperceiver.data.sources.classes import CLASSES_FILE, Labels, mask_classes, number_classes, read_class_names
from hiperceiver.data.sources.kinds import ENDINGS, OTHER_ENDINGS, ending_of, split_kinds
from hiperceiver.data.sources.label_list import LABEL_LIST, read_label_list
from hiperceiver.data.sources.lists import example_list
from hiperceiver.data.sources.source import Source, SourceOptions, make_source
from hiperceiver.data.sources.tree import SPLIT_NAMES, Paths, Streams, Tree, as_paths, joined
from hiperceiver.settings.data import FolderSettings

IMAGE_FOLDER = "images"
MASK_FOLDERS = ("masks", "annotations", "labels")


@dataclass(kw_only=True)
class Listing:
    """The examples in a folder, a list a column."""

    kinds: tuple[str, ...]
    """Kinds of the files, which are the modalities' names."""
    names: list[str] = field(default_factory=list)
    """The first file of each example. All paths are relative to the folder, with `/`."""
    paths: dict[str, list[str | None]] = field(default_factory=dict)
    """Kind -> file of each example."""
    groups: list[str | None] = field(default_factory=list)
    """The name of the class folder of each; None if it lies in none."""
    masks: list[str | None] = field(default_factory=list)
    """The mask of each, if there are masks."""
    splits: list[int] = field(default_factory=list)
    """Number of the split of each."""
    warnings: list[str] = field(default_factory=list)
    """What was odd."""


def matches(tree: Tree) -> bool:
    """Any folder may be one of files."""
    return True


def open_folder(tree: Tree, own: FolderSettings, options: SourceOptions) -> Source:
    """The files of a local folder; see the module for layouts.

    Raises:
        ValueError: the folder has not what the task needs, or an option does not fit; in one line.
    """
    options.check_task(tree.name, ("classification", "multilabel", "segmentation", "regression"))
    listing = list_examples(tree, own, is_mask_needed=options.task == "segmentation")
    if own.kind is None and (kinds := _kinds_of_encoders(listing, options)):
        listing = list_examples(tree, replace(own, kind="+".join(kinds)))
    targets, names, is_known = _targets(tree, listing, options)
    table = Table(
        names=as_paths(listing.names),
        raws=_raws(tree, listing),
        targets=targets,
        splits=np.array(listing.splits, dtype=np.int8),
        only_trains=None if is_known.all() or not is_known.any() else ~is_known,
    )
    if options.task == "segmentation":
        masked = table.take(is_known & (table.splits == table.splits.min()))
        classes = mask_classes(masked, options.classes, tree.root, listing.warnings)
    else:
        classes = names.get(_TARGET_NAMES.get(options.task, "label"), ())
    return make_source(
        name=tree.name,
        table=table,
        encoders={kind: kind for kind in listing.kinds},
        options=options,
        classes=classes,
        class_names=() if options.task == "segmentation" else read_class_names(tree.root) or (),
        warnings=listing.warnings,
    )


_TARGET_NAMES = {"classification": "label", "multilabel": "labels", "regression": "values"}


def _kinds_of_encoders(listing: Listing, options: SourceOptions) -> tuple[str, ...]:
    """What given encoders read, if the files' endings say something else; nothing if they agree."""
    given = options.encoders or {}
    kinds = tuple(given[modality].kind for modality in options.modalities or given if modality in given)
    is_enough = set(kinds) <= set(listing.kinds) if options.modalities else not set(kinds).isdisjoint(listing.kinds)
    return () if is_enough or len(set(kinds)) < len(kinds) or "bytes" in kinds else kinds


def list_examples(tree: Tree, own: FolderSettings, *, is_mask_needed: bool = False) -> Listing:
    """The examples in a folder.

    Args:
        tree: the folder.
        own: what the files hold, and what folders mean.
        is_mask_needed: refuse a folder without masks.

    Raises:
        ValueError: the folder holds no files of these kinds, or none of the layouts.
    """
    kind, kinds = own.kind, None if own.kind is None else split_kinds(own.kind)
    listing = _pairs(tree, own, is_mask_needed) if kinds in (None, ("image",)) else None
    if listing is None and is_mask_needed:
        expected = f"the folders {IMAGE_FOLDER} and {MASK_FOLDERS[0]} (or {' or '.join(MASK_FOLDERS[1:])})"
        found = ", ".join(tree.folders[""]) or "no folder"
        raise ValueError(f"{tree.root}: for segmentation expected {expected}, found {found}")
    if listing is None:
        listing = _in_class_folders(tree, own, kinds)
    listing.warnings += tree.warnings()
    if not listing.names:
        kinds = kinds or tuple(ENDINGS)
        endings = [ending for each in kinds for ending in ENDINGS.get(each, OTHER_ENDINGS.get(each, ()))]
        what = f"{kind or 'pictures, sounds, clips, clouds, series or texts'} ({', '.join(endings)})"
        raise ValueError(f"{tree.root}: expected {what}, found none")
    if missing := [each for each in listing.kinds if not any(listing.paths[each])]:
        endings = (*ENDINGS.get(missing[0], ()), *OTHER_ENDINGS.get(missing[0], ()))
        raise ValueError(f"{tree.root}: expected files of {missing[0]} ({', '.join(endings)}), found only others")
    return listing


def _in_class_folders(tree: Tree, own: FolderSettings, kinds: tuple[str, ...] | None) -> Listing:
    """Files in class folders, or in none."""
    parts = _split_folders(tree, choice=own.split_folders)
    places: list[tuple[int, str, str | None]] = []  # split, folder, class
    for split, part in parts.items():
        places += [(split, part, None), *((split, joined(part, name), name) for name in tree.folders[part])]
    files = [_files(tree, place, is_deep=group is not None) for _, place, group in places]
    if kinds is None:
        counts = Counter(ending_of(path) for paths in files for path in paths)
        # Of equally many the first kind, as for a folder of GIFs.
        kinds = (max(ENDINGS, key=lambda kind: sum(counts[ending] for ending in ENDINGS[kind])),)
        endings: dict[str, tuple[str, ...] | None] = {kinds[0]: ENDINGS[kinds[0]]}
    else:
        endings = {kind: (*ENDINGS.get(kind, ()), *OTHER_ENDINGS.get(kind, ())) for kind in kinds}
        if "bytes" in kinds:
            endings["bytes"] = None
    listing = Listing(kinds=kinds, paths={kind: [] for kind in kinds})
    what = "+".join(kinds)
    passed_over: list[str] = []
    empty: dict[int, list[str]] = {}
    with_groups: set[int] = set()
    for (split, place, group), paths in zip(places, files, strict=True):
        count = len(listing.names)
        passed_over += _add_examples(listing, paths, endings)
        if added := len(listing.names) - count:
            listing.groups += [group] * added
            listing.splits += [split] * added
            with_groups |= {split} if group is not None else set()
        elif group is not None:
            empty.setdefault(split, []).append(place)
    if listing.names:
        outside = [name for name in tree.folders[""] if name not in parts.values()] if "" not in parts.values() else []
        if outside:
            listing.warnings.append(f"folders beside those of the splits are passed over: {example_list(outside)}")
        listing.warnings += [
            f"class folder {place} holds no {what} and is left out" for n in with_groups for place in empty.get(n, ())
        ]
        for split in parts.keys() - set(listing.splits):
            listing.warnings.append(f"the split folder of {SPLITS[split]} holds no files that can be used")
        if passed_over:
            example = f"for example {passed_over[0]}"
            listing.warnings.append(f"{len(passed_over)} files are passed over, because {what} is read; {example}")
    return listing


def _add_examples(
    listing: Listing, paths: Sequence[str], endings: Mapping[str, tuple[str, ...] | None]
) -> Iterable[str]:
    """Add the examples among files: each of its own, or those of a name if there are several kinds; gives the others.

    Args:
        listing: gets names and paths.
        paths: files of one folder.
        endings: kind -> endings of its files, the preferred ones first; None: any.
    """
    if len(endings) == 1:
        kind, known = next(iter(endings.items()))
        wanted = None if known is None else frozenset(known)
        taken = [path for path in paths if wanted is None or ending_of(path) in wanted]
        listing.names += taken
        listing.paths[kind] += taken
        return () if wanted is None else [path for path in paths if ending_of(path) not in wanted]
    stems: dict[str, list[str]] = {}
    for path in paths:
        stems.setdefault(_stem(path), []).append(path)
    used: set[str] = set()
    for together in stems.values():
        chosen: dict[str, str] = {}
        for kind, known in endings.items():
            order = {ending: number for number, ending in enumerate(known or ())}
            if fitting := [path for path in together if known is None or ending_of(path) in order]:
                chosen[kind] = min(fitting, key=lambda path: order.get(ending_of(path), len(order)))
        if chosen:
            used.update(chosen.values())
            listing.names.append(min(chosen.values()))
            for kind in endings:
                listing.paths[kind].append(chosen.get(kind))
    return [path for path in paths if path not in used]


def _pairs(tree: Tree, own: FolderSettings, is_mask_needed: bool) -> Listing | None:
    """Pictures with masks of the same name, and pictures without; None if the folder has no such layout."""
    parts: dict[int, tuple[str, str]] = {}
    if masks := _mask_folder(tree, ""):
        in_images, in_masks = _split_folders(tree, IMAGE_FOLDER), _split_folders(tree, masks)
        parts = {split: (in_images[split], in_masks[split]) for split in in_images if split in in_masks}
    else:
        for split, part in _split_folders(tree, choice=own.split_folders).items():
            if masks := _mask_folder(tree, part):
                parts[split] = (joined(part, IMAGE_FOLDER), masks)
    listing = Listing(kinds=("image",), paths={"image": []})
    for split, (image_part, mask_part) in parts.items():
        masks_of = {_stem(path[len(mask_part) :]): path for path in _pictures(tree, mask_part)}
        pictures = list(_pictures(tree, image_part))
        paired = [masks_of.pop(_stem(path[len(image_part) :]), None) for path in pictures]
        if masks_of:
            example = next(iter(masks_of.values()))
            listing.warnings.append(
                f"{len(masks_of)} masks without a picture of the same name are left out, for example {example}"
            )
        if is_mask_needed and pictures and not any(paired):
            place = tree.root / image_part
            raise ValueError(f"{tree.root}: expected masks with the names of the pictures, found no pair in {place}")
        if not pictures:
            listing.warnings.append(f"the split folder of {SPLITS[split]} holds no files that can be used")
        listing.names += pictures
        listing.paths["image"] += pictures
        listing.masks += paired
        listing.groups += [None] * len(pictures)
        listing.splits += [split] * len(pictures)
    return listing if parts else None


def _targets(
    tree: Tree, listing: Listing, options: SourceOptions
) -> tuple[dict[str, Column], dict[str, tuple[str, ...]], np.ndarray]:
    """The columns of targets; the names of the classes or numbers of each; and which examples have a target."""
    task, root = options.task, tree.root
    if any(listing.masks):
        if task not in ("none", "segmentation"):
            raise ValueError(f"task: {root} holds pictures and masks, for segmentation; got {task!r}")
        return {"segmentation": Paths(root, listing.masks)}, {}, np.array([mask is not None for mask in listing.masks])
    if (table := read_label_list(root)) is not None:
        columns = list(listing.paths.values())
        listed = [
            next((file for file in (*(paths[row] for paths in columns), _stem(name)) if file in table.rows), None)
            for row, name in enumerate(listing.names)
        ]
        if absent := [file for file in table.rows if file not in set(listed)]:
            listing.warnings.append(f"{LABEL_LIST}: {len(absent)} files are not there, for example {absent[0]}")
        targets, names = table.targets(listed)
        if task != "none" and not names.get(_TARGET_NAMES.get(task, "")):
            column = {"classification": "label", "multilabel": "labels"}.get(task, "of numbers")
            raise ValueError(f"{root / LABEL_LIST}: expected a column {column}, found {', '.join(table.columns)}")
        return targets, names, np.array([file is not None for file in listed])
    if task in ("multilabel", "regression"):
        raise ValueError(f"{root}: for {task} expected the file {LABEL_LIST} beside the files, found none")
    names, number = number_classes(listing.groups)
    if task == "classification" and not names:
        place = root if len(set(listing.splits)) == 1 else root / listing.names[0].partition("/")[0]
        count = len(listing.names)
        raise ValueError(f"{place}: expected a folder of files per class, found {count} files in no folder")
    labels = np.array([-1 if group is None else number[group] for group in listing.groups])
    return ({"label": Labels(labels)} if names else {}), {"label": names}, labels >= 0


def _raws(tree: Tree, listing: Listing) -> dict[str, Column]:
    """The columns of files. Where sound and pictures are read, a clip may lack one."""
    files = {kind: Paths(tree.root, paths, is_text=kind == "bytes") for kind, paths in listing.paths.items()}
    if set(files) == {"audio", "video"}:
        return {kind: Streams(paths, kind, may_lack=True) for kind, paths in files.items()}
    return dict(files)


def holds_media(tree: Tree) -> bool:
    """Whether there are pictures, sounds, clips or meshes."""
    endings = tuple(f".{ending}" for kind in ("image", "audio", "video", "points") for ending in ENDINGS[kind])
    return next(tree.below("", endings), None) is not None


def _split_folders(tree: Tree, folder: str = "", choice: bool | None = None) -> dict[int, str]:
    """Number of each split -> its folder; only `train`, if there are no split folders.

    Args:
        tree: what lies there.
        folder: where the split folders may lie.
        choice: as `FolderSettings.split_folders`.
    """
    named = [name for name in tree.folders.get(folder, []) if name.lower() in SPLIT_NAMES]
    others = [name for name in tree.folders.get(folder, []) if name not in named]
    splits = {SPLIT_NAMES[name.lower()]: joined(folder, name) for name in named}
    if choice is None and named and others:
        are_deep = [any(tree.folders[joined(folder, name)] for name in names) for names in (named, others)]
        if (are_deep[0] and are_deep[1] and len(splits) == 1) or (not are_deep[0] and len(splits) > 1):
            expected = f"expected true if {', '.join(named)} are splits, false if they are classes like {others[0]}"
            raise ValueError(f"split_folders: {expected}, in {tree.root / folder}")
        choice = are_deep[0]
    if not named or choice is False:
        return {TRAIN: folder}
    if len(splits) < len(named):
        raise ValueError(f"{tree.root / folder}: expected one folder per split, got {', '.join(named)}")
    return {number: splits[split] for number, split in enumerate(SPLITS) if split in splits}


def _mask_folder(tree: Tree, folder: str) -> str | None:
    if not tree.has_folder(joined(folder, IMAGE_FOLDER)):
        return None
    found = (joined(folder, name) for name in MASK_FOLDERS)
    return next((path for path in found if tree.has_folder(path)), None)


def _files(tree: Tree, folder: str, *, is_deep: bool) -> list[str]:
    """Files in a folder, or below it, but for the lists that describe them."""
    if is_deep:
        return list(tree.below(folder))
    return [joined(folder, name) for name in tree.inside(folder) if folder or name not in (LABEL_LIST, CLASSES_FILE)]


def _pictures(tree: Tree, folder: str) -> Iterable[str]:
    return tree.below(folder, tuple(f".{ending}" for ending in ENDINGS["image"]))


def _stem(path: str) -> str:
    """The path without its ending."""
    return os.path.splitext(path)[0]
