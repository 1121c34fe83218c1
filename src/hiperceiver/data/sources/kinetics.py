"""Kinetics (400, 600 or 700): clips of human actions with one label each.

    FOLDER/train.csv, val.csv, test.csv             lists; also in FOLDER/annotations, under any name that ends in .csv
    FOLDER/train/air drumming/-0-fa0zxdl0_000012_000022.mp4
    FOLDER/train/-0-fa0zxdl0_000012_000022.mp4      or without folders of classes

The lists have the columns `label`, `youtube_id`, `time_start`, `time_end` and `split`; of a test list `label` may be
empty or missing. The clips are found by their names, `ID_START_END` in seconds with six digits, in whatever folders
they lie. Where one lies in several, a folder named `replacement...` comes first, and then that of its split. Those that
are not there (many are no longer to be had) are counted in one line for each split.

The list `test` is the test split where it has labels and clips; otherwise `validate` (`val`) is the test split, and
validation is taken out of training.

A clip is read as 16 frames of 224 x 224, evenly spread over it. `modalities=("video", "audio")` adds its sound: 10
seconds at 16 kHz.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hiperceiver.data.encoders.audio import AudioEncoder
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.video import VideoEncoder
from hiperceiver.data.record import SPLITS
from hiperceiver.data.sources.lists import VIDEO_SUFFIXES, example_list, file_stem, read_table
from hiperceiver.data.sources.published import NO_CLASS, file_table
from hiperceiver.data.sources.source import Source, SourceOptions, make_source
from hiperceiver.data.sources.tree import Streams, Tree
from hiperceiver.settings.data import NoSettings

COLUMNS = ("youtube_id", "time_start", "time_end", "split")  # what every list has; `label` beside them
SPLITS_OF_LISTS = {**{split: split for split in SPLITS}, "validate": "validation", "val": "validation"}
"""Names of splits in the lists -> our names."""


def matches(tree: Tree) -> bool:
    """Whether a folder looks like Kinetics."""
    return bool(_lists(tree))


def open_kinetics(tree: Tree, own: NoSettings, options: SourceOptions) -> Source:
    """Kinetics. Tasks: `none`, `classification`."""
    options.check_task("kinetics", ("classification",))
    lists = _lists(tree)
    if not lists:
        raise ValueError(f"{tree.root}: expected lists with the columns label, {', '.join(COLUMNS)}, found none")
    clips: dict[str, dict[str, str]] = {}
    for path in lists:
        for split, stem, label in _rows(path):
            clips.setdefault(split, {})[stem] = label
    classes = sorted({label for listed in clips.values() for label in listed.values() if label})
    number_of = {name: number for number, name in enumerate(classes)} | {"": NO_CLASS}
    where: dict[str, list[str]] = {}
    for path in tree.below(suffixes=VIDEO_SUFFIXES):
        where.setdefault(file_stem(path), []).append(path)
    warnings = tree.warnings()
    found: dict[str, list[tuple[str, int]]] = {}
    for split, listed in clips.items():
        if lost := [stem for stem in listed if stem not in where]:
            warnings.append(f"{len(lost)} of {len(listed)} clips of {split} are not there: {example_list(lost)}")
        found[split] = [
            (_of_split(where[stem], split), number_of[label]) for stem, label in listed.items() if stem in where
        ]
    if not any(found.values()):
        expected = "expected clips such as ID_000012_000022.mp4, found none of those in the lists"
        raise ValueError(f"{tree.root}: {expected}")
    if all(label < 0 for _, label in found.get("test", ())):
        found.pop("test", None)
        if "validation" in found:
            found["test"] = found.pop("validation")
    offered: dict[str, Encoder] = {"video": VideoEncoder(size=(224, 224), frames=16)}
    if "audio" in options.modalities:
        offered["audio"] = AudioEncoder(rate=16000, seconds=10.0)
    rows = [(path, label, number) for number, split in enumerate(SPLITS) for path, label in found.get(split, ())]
    table = file_table(tree.root, rows, "video")
    may_lack = len(options.modalities or offered) > 1
    streams = {modality: Streams(table.raws["video"], modality, may_lack=may_lack) for modality in offered}
    return make_source(
        name=tree.name,
        table=replace(table, raws=streams),
        encoders=offered,
        options=options,
        classes=classes,
        warnings=warnings,
    )


def _lists(tree: Tree) -> list[Path]:
    """The CSV files whose first line has the names of our columns."""
    paths = [tree.root / folder / name for folder in ("", "annotations") for name in tree.inside(folder, (".csv",))]
    return [path for path in paths if _is_list(path)]


def _is_list(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline(1000)
    except (OSError, UnicodeDecodeError):
        return False
    return {"youtube_id", "time_start"} <= {name.strip().strip('"') for name in first.split(",")}


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Split, name of the clip's file without ending, and label of each row of a list; the label may be empty."""
    for number, row in enumerate(read_table(path, COLUMNS), 2):
        line, split, label = f"{path}: line {number}", SPLITS_OF_LISTS.get(row["split"].lower()), row.get("label", "")
        if split is None:
            raise ValueError(f"{line}: expected a split among {', '.join(SPLITS_OF_LISTS)}, got {row['split']!r}")
        if not label and split != "test":
            raise ValueError(f"{line}: expected a label, found none")
        try:
            start, end = (int(float(row[name])) for name in ("time_start", "time_end"))
        except (ValueError, OverflowError):
            times = f"{row['time_start']!r} and {row['time_end']!r}"
            raise ValueError(f"{line}: expected seconds as times, got {times}") from None
        yield split, f"{row['youtube_id']}_{start:06}_{end:06}", label


def _of_split(paths: Sequence[str], split: str) -> str:
    """Which of several files of a clip is read: a replacement, then one in its split's folder, then the first."""

    def rank(path: str) -> tuple[bool, bool]:
        folders = Path(path).parts[:-1]
        is_replacement = any(name.startswith("replacement") for name in folders)
        return not is_replacement, not any(SPLITS_OF_LISTS.get(name) == split for name in folders)

    return min(paths, key=rank)
