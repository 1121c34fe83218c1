"""Settings of data: where examples come from, how they are found, split and chosen."""

from collections.abc import Mapping
from typing import Annotated, Literal

from hiperceiver.settings.base import Count, CountOrZero, Ge, Le, Positive, Settings, Share

SourceTask = Literal["none", "classification", "multilabel", "segmentation", "regression", "joint"]
"""What the examples' targets are: nothing, `label`, `labels`, `segmentation`, `values`, or one by each label's name."""
LayoutName = Literal[
    "voc", "audioset", "kinetics", "modelnet40", "tinyimagenet", "imagenet", "webdataset", "table", "folder"
]
"""How a folder's files lie."""
SplitRule = Literal["names", "rows"]
"""What drawn splits follow from: the examples' names, or the numbers of their rows (runs of releases up to 0.1)."""
Missing = Literal["skip", "absent"]
"""What is done with an example without one of the modalities: `skip`: it is bad. `absent`: its tokens are absent."""


class ReadSettings(Settings):
    """What is read of any data."""

    modalities: tuple[str, ...] = ()
    """Which modalities are read, in this order; once for each. None given: all that the data has, or the model's."""
    missing: Missing = "skip"
    """What is done with an example without one of the modalities. skip: it is bad; absent: it is used without it."""
    split_seed: CountOrZero | None = None
    """Draws validation and test where the data has none; not the seed of training. None: that of the run that is
    evaluated or started from, or the data's own."""
    only_classes: tuple[str, ...] = ()
    """Classes whose examples are used; once for each. None given: all."""
    leave_out_classes: tuple[str, ...] = ()
    """Classes whose examples are left out; once for each."""


class NoSettings(Settings):
    """Of data without settings of its own: `languages`, `imagenet`, `kinetics`."""


class EarthSettings(Settings):
    """Of `earth`."""

    size: Annotated[int, Ge(8), Le(2048)] | tuple[int, int] | None = None
    """Pixels along the side of a tile, 8 to 2048. None: those of the encoders that are given, or 64; 24 for
    classification."""
    min_land: Share = 0.0
    """Leave out training tiles with a smaller share of land; validation and test stay whole."""


class WatchSettings(Settings):
    """Of `watch`."""

    test_people: tuple[int, ...] = (5, 8)
    """Whose recordings are for test, of the people 1 to 10."""
    validation_people: tuple[int, ...] | None = None
    """Whose are for validation. None: person 6, or the next one who is not tested."""


class InstrumentsSettings(Settings):
    """Of `instruments`."""

    target: Literal["family", "programme"] = "family"
    """The classes: the family, of programmes that training has not heard, or the programme, of notes that it has not
    heard. It decides the split for every task."""


class ClipSettings(Settings):
    """Of `clip`."""

    frames: Annotated[int, Ge(8), Le(64)] = 16
    """Length of a window in frames of the film; a second has 25."""


class VocSettings(Settings):
    """Of the layout `voc`."""

    extended: bool | None = None
    """Train segmentation on the extended list. None: where it is there."""


class AudioSetSettings(Settings):
    """Of the layout `audioset`."""

    train_segments: Literal["all", "balanced", "unbalanced"] = "all"
    """Which of the training lists are read; all: those that are there."""
    window: Positive = 2.56
    """Seconds of an example."""
    windows_per_clip: Count = 1
    """How many windows of a clip are examples, evenly spread over it, in all splits."""
    is_trimmed: bool = True
    """A media file holds the clip alone. False: it is the whole video."""


class ModelNet40Settings(Settings):
    """Of the layout `modelnet40`."""

    normals: bool = False
    """Give each point its normal as three more values. HDF5 only."""


class WebDatasetSettings(Settings):
    """Of the layout `webdataset`."""

    columns: Mapping[str, str] | None = None
    """Modality -> ending of the names of its files, or `ending:kind`, as {"left": "left.png"}. A modality that is named
    like a kind is of this kind. None: one modality for each kind of signal."""
    label_field: str | None = None
    """Of the json: a class or a list of classes. None: `cls`; without such files `label`, or `labels`."""
    value_fields: tuple[str, ...] = ()
    """Of the json: numbers, for regression."""


class TableSettings(Settings):
    """Of tables: Parquet, CSV, JSON lines, what `datasets` saved, and the hub."""

    columns: Mapping[str, str] | None = None
    """Modality -> column, or `column:kind`. None: found by type and usual names."""
    label_column: str | None = None
    """Column of a class or of lists of classes. None: the only column of class labels, or one of a usual name."""
    label_columns: Mapping[str, str] | tuple[str, ...] | str = ()
    """For joint labels: name -> column, or columns that name them; classes, or numbers if they are fractions."""
    value_columns: tuple[str, ...] | str = ()
    """Columns of numbers, for regression."""
    mask_column: str | None = None
    """Column of masks, for segmentation. None: the second column of pictures."""
    files_outside: bool = False
    """Whether cells may name files outside of the table's folder, by whole paths or `..`: of a table of one's own."""
    subset: str | None = None
    """Name of a hub dataset's subset, where it has several."""
    stream: bool = False
    """Read it as a stream: nothing is downloaded or read before it is needed."""
    validation_examples: Count = 512
    """Of a stream: how many records of it validate, and test, at most."""
    buffer_size: Count = 1024
    """Of a stream: records that are shuffled at a time."""


class FolderSettings(Settings):
    """Of a folder of files."""

    kind: str | None = None
    """What the files hold, as `audio`, `volume`, `audio+video` or `image+audio`. None: the kind of most of them, or
    what given encoders read. `video`: where there are pictures instead, each folder of them below a class is a clip."""
    split_folders: bool | None = None
    """Whether folders named train, validation, test and such are splits, or classes. None: splits if there are no
    others beside them, or if they hold folders themselves."""


DATA_SETTINGS: dict[str, type[Settings]] = {
    "earth": EarthSettings,
    "watch": WatchSettings,
    "instruments": InstrumentsSettings,
    "clip": ClipSettings,
    "voc": VocSettings,
    "audioset": AudioSetSettings,
    "modelnet40": ModelNet40Settings,
    "webdataset": WebDatasetSettings,
    "table": TableSettings,
    "folder": FolderSettings,
}
"""The settings of built-in sets and layouts that have any, by name."""
