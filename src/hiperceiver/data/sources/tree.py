"""What lies in a folder: listed once, by names alone, for every layout that looks at it."""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hiperceiver.data.leftovers import is_leftover
from hiperceiver.data.media import Media, MediaInfo, media_info
from hiperceiver.data.record import SPLITS, Column
from hiperceiver.data.sources.lists import example_list

_RUN_FILES = {"members.npz", "metrics.csv", "checkpoints"}
"""One of these lies in the folder of a run, beside its settings."""

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trainset", "trn"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "testset", "tst", "eval", "evaluation"), "test"),
}
"""Names of splits -> our names; as for `datasets`, `eval` is a test."""
_BESIDE_SPLITS = {"", "set", "split", "data", "images", "files"}  # words beside the name of a split


def split_of(name: str) -> str | None:
    """The split that a name means, None if it means none.

    >>> split_of("Train_set"), split_of("val2017"), split_of("test "), split_of("train station")
    ('train', 'validation', 'test', None)
    """
    words = [word for word in _words(name) if word not in _BESIDE_SPLITS]
    return SPLIT_NAMES.get(words[0]) if len(words) == 1 else None


def named_as_splits(names: Iterable[str]) -> dict[str, list[str]]:
    """Split -> the names that mean it; beside one of its own, `eval` and `evaluation` mean none.

    If none does, names that are the same but for the word of a split, training among them, mean these.

    >>> named_as_splits(["seg_train", "seg_test", "seg_pred"]), named_as_splits(["acid_test", "train_station"])
    ({'train': ['seg_train'], 'test': ['seg_test']}, {})
    """
    names = list(names)
    found: dict[str, list[str]] = {}
    for name in names:
        if split := split_of(name):
            found.setdefault(split, []).append(name)
    if not found:
        alike: dict[tuple[str, ...], dict[str, list[str]]] = {}
        for name in names:
            words = [word for word in _words(name) if word not in _BESIDE_SPLITS]
            splits = [SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES]
            if len(splits) == 1:
                others = tuple(word for word in words if word not in SPLIT_NAMES)
                alike.setdefault(others, {}).setdefault(splits[0], []).append(name)
        for splits in alike.values():
            for split, each in splits.items() if len(splits) > 1 and "train" in splits else ():
                found.setdefault(split, []).extend(each)
    if own := [name for name in found.get("test", ()) if "eval" not in name.lower()]:
        found["test"] = own
    return found


def _made_of_data(names: Collection[str]) -> str:
    """What a folder with files of these names is, if it was made of data and is none itself; else empty."""
    if "settings.yaml" in names and not _RUN_FILES.isdisjoint(names):
        return "run"
    if "preprocessing.json" in names and any(name.endswith((".onnx", ".pt2")) for name in names):
        return "exported model"
    return "saved model" if {"config.json", "model.safetensors"} <= set(names) else ""


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z]+", name.lower())


class Tree:
    """The folders and files below a folder. Links to folders are followed, each folder once."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.name = os.fspath(folder)
        self.root = Path(folder).expanduser()
        # Folder, relative with `/` ("" = this one) -> names in it, sorted; each folder before those in it.
        self.files: dict[str, list[str]] = {}
        self.folders: dict[str, list[str]] = {}
        self.num_leftovers = 0
        self.odd: dict[str, list[str]] = defaultdict(list)  # why they are passed over -> paths
        if not self.root.is_dir():
            fault = "expected a folder, got a file" if self.root.exists() else "no such folder"
            raise ValueError(f"{self.root}: {fault}")
        seen: set[tuple[int, int]] = set()
        waiting = [""]
        while waiting:
            waiting.extend(reversed(self._list(waiting.pop(), seen)))

    def _list(self, folder: str, seen: set[tuple[int, int]]) -> list[str]:
        """List one folder; gives those in it."""
        try:
            status = os.stat(self.root / folder)
            if (status.st_dev, status.st_ino) in seen:
                return self._left_out(folder, "links to folders that are read already are not followed")
            with os.scandir(self.root / folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            reason = (error.strerror or "unknown").lower()
            if not folder:
                raise ValueError(f"{self.root}: {reason}") from error
            return self._left_out(folder, f"folders cannot be listed ({reason})")
        seen.add((status.st_dev, status.st_ino))
        names = {entry.name for entry in entries}
        if made := _made_of_data(names):
            if not folder:
                raise ValueError(
                    f"{self.root}: expected data, got the folder of {'an' if made[0] == 'e' else 'a'} {made}"
                )
            return self._left_out(folder, f"folders of {made}s are passed over")
        files, folders = [], []
        links = {entry.name for entry in entries if entry.is_symlink()}
        for entry in entries:
            name = entry.name
            if is_leftover(name):
                self.num_leftovers += 1
            elif not name.isprintable() and any("\ud800" <= char <= "\udfff" for char in name):
                self.odd["files whose names are not UTF-8 are left out"].append(ascii(joined(folder, name)))
            elif entry.is_file(follow_symlinks=False) or (entry.is_symlink() and os.path.isfile(entry)):
                files.append(name)
            elif entry.is_symlink() and self._is_above(entry):
                self.odd["links to folders that hold this one are not followed"].append(joined(folder, name))
            elif entry.is_dir(follow_symlinks=False) or os.path.isdir(entry):
                folders.append(name)
            else:
                what = "broken links, pipes or other things that are no files are left out"
                self.odd[what].append(joined(folder, name))
        self.files[folder], self.folders[folder] = files, folders
        return [joined(folder, name) for name in sorted(folders, key=lambda name: name in links)]

    def _left_out(self, folder: str, reason: str) -> list[str]:
        """Take a folder out of the one that it lies in."""
        parent, _, name = folder.rpartition("/")
        self.folders[parent].remove(name)
        self.odd[reason].append(folder)
        return []

    def _is_above(self, link: os.DirEntry[str]) -> bool:
        """Whether a link leads to a folder that holds the root, such as that of the whole disk."""
        root, target = os.path.realpath(self.root), os.path.realpath(link.path)
        return root != target and os.path.commonpath([root, target]) == target

    def warnings(self) -> list[str]:
        """What is passed over and why."""
        return [f"{len(paths)} {reason}, for example {paths[0]}" for reason, paths in self.odd.items()]

    def has_file(self, path: str) -> bool:
        """Whether there is a file of this relative path."""
        folder, _, name = path.rpartition("/")
        return name in self.files.get(folder, ())

    def has_folder(self, path: str) -> bool:
        """Likewise a folder."""
        return path in self.files

    def below(self, folder: str = "", suffixes: tuple[str, ...] = ("",)) -> Iterator[str]:
        """Relative paths of all files below a folder whose names end so (small letters), in order."""
        waiting = [folder]
        while waiting:
            folder = waiting.pop()
            yield from (joined(folder, name) for name in self.inside(folder, suffixes))
            waiting.extend(joined(folder, name) for name in reversed(self.folders.get(folder, ())))

    def near(self, suffixes: tuple[str, ...]) -> list[str]:
        """Relative paths of such files in the folder itself and in those in it."""
        return [joined(folder, name) for folder in ("", *self.folders[""]) for name in self.inside(folder, suffixes)]

    def too_deep(self, suffixes: tuple[str, ...]) -> list[str]:
        """A line that such files lie deeper than `near` looks, if some do."""
        near = {*self.near(suffixes)}
        deep = [path for path in self.below("", suffixes) if path not in near]
        return [f"{len(deep)} files lie too deep and are left out, for example {deep[0]}"] if deep else []

    def inside(self, folder: str = "", suffixes: tuple[str, ...] = ("",)) -> list[str]:
        """Names of the files in a folder that end so (small letters), in order."""
        return [name for name in self.files.get(folder, ()) if name.lower().endswith(suffixes)]


class Paths:
    """Files as a column of whole paths. Millions of them take little memory."""

    def __init__(self, root: Path, paths: Sequence[str | None] | np.ndarray, *, is_text: bool = False) -> None:
        """Args: their folder; paths relative to it, None or empty where there is no file; whether they hold text."""
        self.root = root
        self.paths = paths if isinstance(paths, np.ndarray) else as_paths(paths)
        self.is_text = is_text

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> str | Path | None:
        if not (path := self.paths[row]):
            return None
        whole = os.path.join(self.root, os.fsdecode(path))
        return Path(whole) if self.is_text else whole  # to the encoder of bytes a string is a text


@dataclass(frozen=True)
class Streams:
    """The sound or the pictures of media files as a column. Where both are read, a file may lack one."""

    paths: Column
    stream: str  # `audio` or `video`
    _: KW_ONLY
    may_lack: bool
    starts: Any = None  # of each part in seconds
    seconds: Any = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Media | None:
        path = self.paths[row]
        if path is None or (self.may_lack and not _has_stream(path, self.stream)):
            return None
        if self.starts is None or self.seconds is None:
            return Media(path)
        return Media(path, start=float(self.starts[row]), seconds=float(self.seconds[row]))


def _has_stream(path: str | Path, stream: str) -> bool:
    try:
        info = _info(path, os.stat(path).st_mtime_ns)
    except (OSError, ValueError):
        return True  # the encoder says what is wrong with it
    return info.has_audio if stream == "audio" else info.has_video


@lru_cache(maxsize=1)  # both streams of a file are looked up one after the other
def _info(path: str | Path, changed: int) -> MediaInfo:
    return media_info(path)


def as_paths(paths: Sequence[str | None]) -> np.ndarray:
    """Paths as an array of bytes, (paths,): one block of memory, which processes that read share.

    >>> as_paths(["a", "bc", None])
    array([b'a', b'bc', b''], dtype='|S2')
    """
    return np.array([b"" if path is None else os.fsencode(path) for path in paths], dtype=bytes)


def joined(folder: str, name: str) -> str:
    """A relative path; the folder may be "".

    >>> joined("", "train"), joined("train", "cat")
    ('train', 'train/cat')
    """
    return f"{folder}/{name}" if folder else name


def by_split(paths: Sequence[str], what: str, warnings: list[str]) -> dict[int, list[str]]:
    """Number of each split -> the paths with its name among their words; those of no split train, if none does.

    Otherwise they are left out. A warning, which calls them `what`, says what was done with them beside others.

    >>> by_split(["set-train-0.tar", "val/0.tar", "other.tar"], "shards", [])
    {0: ['set-train-0.tar'], 1: ['val/0.tar']}
    >>> by_split(["0.tar"], "shards", [])
    {0: ['0.tar']}
    """
    words = {path: next((word for word in _words(path) if word in SPLIT_NAMES), "") for path in paths}
    evaluations = {"eval", "evaluation"}
    # As in `named_as_splits`.
    unused = evaluations if any(SPLIT_NAMES.get(each) == "test" for each in {*words.values()} - evaluations) else ()
    splits: dict[str, list[str]] = {}
    others: list[str] = []
    for path, word in words.items():
        split = None if word in unused else SPLIT_NAMES.get(word)
        (others if split is None else splits.setdefault(split, [])).append(path)
    if others and splits:
        fate = "of no split are left out" if "train" in splits else "that name no split are taken for training"
        warnings.append(f"{len(others)} {what} {fate}, for example {others[0]}")
    firsts = {next(filter(None, _words(PurePosixPath(path).name))): path for path in reversed(others)}
    if not splits and len(firsts) > 1:
        remedy = "splits are found by train, validation or test in their names"
        warnings.append(f"{what} of several names all train, {example_list([*firsts.values()][::-1])}: {remedy}")
    if "train" not in splits:
        splits["train"] = others
    return {number: splits[split] for number, split in enumerate(SPLITS) if splits.get(split)}
