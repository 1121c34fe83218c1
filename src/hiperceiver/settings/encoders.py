"""The settings of each encoder: the grid that a raw value is brought to, and how it is normalised."""

from typing import Annotated, ClassVar, Literal

from hiperceiver.settings.base import ONE_FOR_ALL, Count, CountOrZero, Ge, Positive, Settings, shown

Colours = Literal["L", "RGB", "RGBA"]
Fit = Literal["crop", "squash", "pad"]
NormaliseBy = Literal["dataset", "example"]

NUM_COLOURS: dict[str, int] = {"L": 1, "RGB": 3, "RGBA": 4}
"""Colours -> channels of a token."""
_MOST_CHANNELS = 2**24  # each has a mean and a deviation


class EncoderSettings(Settings):
    """Base of the encoders' settings; saved beside the model."""

    def check_statistics(
        self, channels: int, *, mean: float = 0.0, std: float = 1.0, unused: str = "", field: str = "channels"
    ) -> None:
        """Fill in `mean` and `std` that are not given; refuse a wrong number of them.

        `unused`: why there are none, if so. `field`: the setting that says how many there are.
        """
        if channels > _MOST_CHANNELS:
            raise ValueError(f"{field}: expected at most {_MOST_CHANNELS}, each with a mean, got {channels}")
        for name, default in (("mean", mean), ("std", std)):
            given = getattr(self, name)
            if given and not channels:
                raise ValueError(f"{name}: expected none {unused}, got {shown(given)}")
            values = tuple(map(float, given)) or (default,) * channels
            if len(values) != channels:
                raise ValueError(f"{name}: expected {channels} numbers, one for each channel, got {shown(values)}")
            object.__setattr__(self, name, values)


def check_names(field: str, names: tuple[str, ...], count: int, what: str) -> None:
    """Refuse names of columns that are not as many as there are of what they name."""
    if names and len(names) != count:
        raise ValueError(f"{field}: expected {count}, one for each {what}, got {len(names)}: {shown(names)}")


def check_context(context: int, length: int) -> None:
    """Refuse tokens that would show more beyond the ends of what they are taken from than of it."""
    if context > length:
        raise ValueError(f"context: expected at most the length, {length}, got {context}")


class NormalisedSettings(EncoderSettings):
    """Base of the settings of numbers that are normalised with mean and deviation of the training data."""

    mean: tuple[float, ...] = ()
    """Per channel, or feature of a vector or point; 0 if not given, of colours (in 0..1) 0.5."""
    std: tuple[Positive, ...] = ()
    """As `mean`; 1 if not given, of colours 0.5."""


class ArraySettings(NormalisedSettings):
    """Base of the settings of what is read from files of arrays."""

    array_name: str = ""
    """Which array of an .npz file; empty: the only one."""


class PictureSettings(NormalisedSettings):
    """Base of the settings of pictures and of frames."""

    size: Annotated[tuple[Count, Count], ONE_FOR_ALL]
    """Rows and columns of the grid, (H, W); one number for a square."""
    colours: Colours = "RGB"
    """Channels of a token: `L` (grey), `RGB` or `RGBA`."""
    fit: Fit = "crop"
    """Other shapes: `crop` keeps the middle, `squash` changes proportions, `pad` marks the rest as absent tokens."""
    resample: Literal["lanczos", "bilinear"] = "lanczos"
    """The resizing filter; both average over what a pixel covers, so that nothing aliases."""
    full_scale: Positive | None = None
    """White in files of whole numbers of more than 8 bits. None: that of the bits that training data use (12: 4095)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_statistics(NUM_COLOURS[self.colours], mean=0.5, std=0.5)


class ImageSettings(PictureSettings):
    """Pictures: a token is a pixel."""

    kind: ClassVar[str] = "image"


class VideoSettings(PictureSettings):
    """Clips: a token is a pixel of a frame."""

    kind: ClassVar[str] = "video"
    frames: Count = 8
    """Frames of the grid."""
    frames_per_second: Positive | None = None
    """None: the frames are spread evenly over the clip, repeated if it has fewer. A rate: from the middle of a longer
    clip; of a shorter one those at the end are absent. Frames of arrays and folders are taken to be at this rate."""
    colours: Literal["L", "RGB"] = "RGB"
    """Channels of a token: `L` (grey) or `RGB`."""
    fit: Literal["crop", "squash"] = "crop"
    """Other shapes: `crop` keeps the middle, `squash` changes proportions."""


class AudioSettings(NormalisedSettings):
    """Sound: a token is a sample of the wave, or a few samples in a row."""

    kind: ClassVar[str] = "audio"
    rate: Count = 16000
    """Samples per second."""
    seconds: Positive = 1.0
    """Length of the window."""
    channels: Count = 1
    """1: channels of a recording are averaged. Others: it must have as many, or one, which is repeated."""
    samples_per_token: Count = 1
    """How many samples in a row are the channels of one token; must divide the samples of the window."""
    context: CountOrZero = 0
    """Samples before its own, and as many after them, that a token shows as well. By them hidden ones would be seen:
    for labels alone."""
    normalise: NormaliseBy = "dataset"
    """`dataset`: by `mean` and `std`. `example`: by those of the window, all channels together; loudness is lost."""
    is_silence_bad: bool = True
    """Refuse a recording that is silent throughout."""

    @property
    def num_samples(self) -> int:
        """Samples of the window."""
        return round(self.rate * self.seconds)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.5 < self.rate * self.seconds < 2**63:
            expected = "the length of at least one sample" if self.seconds < 1 else "fewer than 2**63 samples"
            raise ValueError(f"seconds: expected {expected}, got {self.seconds!r}")
        if self.num_samples % self.samples_per_token:
            expected = f"a divisor of the window's {self.num_samples} samples"
            raise ValueError(f"samples_per_token: expected {expected}, got {self.samples_per_token}")
        check_context(self.context, self.num_samples)
        channels = 0 if self.normalise == "example" else self.channels
        self.check_statistics(channels, unused="with normalise='example'")


class SeriesSettings(ArraySettings):
    """Series of numbers measured together: a token is a step, or a few in a row; its channels are its readings."""

    kind: ClassVar[str] = "series"
    length: Count
    """Steps of the grid."""
    channels: Count = 1
    """Readings of each step."""
    steps_per_token: Count = 1
    """How many steps in a row are the channels of one token; must divide `length`."""
    context: CountOrZero = 0
    """Steps before its own, and as many after them, that a token shows as well. By them hidden ones would be seen: for
    labels alone. Where labels are learned, and neither this nor `steps_per_token` is given: a sixteenth of the length,
    24 at most, and fewer where a token would have more than 256 values."""
    channel_names: tuple[str, ...] = ()
    """Columns of tables that have names, in the order of the channels; none: all of them, in theirs."""
    normalise: NormaliseBy = "dataset"
    """`dataset`: by `mean` and `std`. `example`: by those of what is kept of it; its level and size are lost."""
    missing: Literal["refuse", "mean"] = "refuse"
    """What NaN, None or an empty cell means. `refuse`: the example is bad. `mean`: its channel's mean, 0 in a token."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names("channel_names", self.channel_names, self.channels, "channel")
        if self.length % self.steps_per_token:
            expected = f"a divisor of the length {self.length}"
            raise ValueError(f"steps_per_token: expected {expected}, got {self.steps_per_token}")
        check_context(self.context, self.length)
        channels = 0 if self.normalise == "example" else self.channels
        self.check_statistics(channels, unused="with normalise='example'")


class PointsSettings(NormalisedSettings):
    """Point clouds and meshes: a token is a point."""

    kind: ClassVar[str] = "points"
    num_points: Count = 2048
    """Tokens of the grid; also how many points of a mesh's surface are taken."""
    num_features: CountOrZero = 0
    """Channels of a point beside x, y and z, such as 3 for a normal or a colour. Meshes have none."""
    order: Literal["hilbert", "morton", "index"] = "hilbert"
    """Token order: along the `hilbert` or `morton` curve, or as in the file (`index`, the published model's)."""
    normalise: Literal["sphere", "box", "none"] = "sphere"
    """`sphere`: each cloud's centroid becomes 0 and its farthest point lies at distance 1. `box`: the centre of its
    bounding box becomes 0 and its longest half side 1. `none`: coordinates are normalised with `mean` and `std`."""
    feature_names: tuple[str, ...] = ()
    """Columns of tables that name x, y and z, in the order of the features; none: all others, in theirs."""
    mean: tuple[float, ...] = ()
    """Per feature; with normalise="none" of x, y and z too, which come first. 0 if not given."""

    @property
    def num_own_scale(self) -> int:
        """Channels that are normalised by the cloud's own size."""
        return 0 if self.normalise == "none" else 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names("feature_names", self.feature_names, self.num_features, "feature")
        count = 3 + self.num_features - self.num_own_scale
        self.check_statistics(count, unused="without features", field="num_features")


class VolumeSettings(ArraySettings):
    """Volumes, such as scans: a token is a cell of a grid in space."""

    kind: ClassVar[str] = "volume"
    size: Annotated[tuple[Count, Count, Count], ONE_FOR_ALL]
    """Extent of the grid, (D, H, W); one number for a cube."""
    channels: Count = 1
    """Values of each cell."""
    fit: Literal["resize", "crop"] = "resize"
    """Other sizes: `resize` stretches each axis, averaging where it shrinks and interpolating where it grows. `crop`
    keeps the scale: of a longer axis the middle, and absent tokens at the end of a shorter one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_statistics(self.channels)


class BytesSettings(EncoderSettings):
    """Bytes of any file, and text as its bytes: a token is a byte."""

    kind: ClassVar[str] = "bytes"
    length: Count
    """Bytes of the grid."""
    coding: Literal["onehot", "bits", "numbers"] = "onehot"
    """`onehot`: 256 channels, the byte's own is 16 (a mean square of 1), others 0. `bits`: 8 of -1 or 1, high first.
    `numbers`: the byte as the number of a category, and a number more for each of `ngrams`; many times as quick. Where
    labels are learned, and neither this nor `ngrams` nor `buckets` is given: `numbers` with groups of 2 to 5 bytes in
    131,072 buckets."""
    keep: Literal["start", "middle"] = "start"
    """Of a longer value: its first bytes, where texts and files say what they are, or its middle."""
    ngrams: tuple[Annotated[int, Ge(2)], ...] = ()
    """Lengths of the groups of bytes, such as (2, 3), that a token shows beside its byte: those that end with it; with
    `numbers` those around it, also beyond the ends of the text, so that these can be seen."""
    buckets: Count = 4096
    """Channels, or categories, that groups are hashed to, after the byte's own; none without `ngrams`. A group is 4 in
    two channels, or the number of one category."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.ngrams)) < len(self.ngrams):
            raise ValueError(f"ngrams: expected each length once, got {shown(self.ngrams)}")


class VectorSettings(ArraySettings):
    """Feature vectors: a token is a part of one."""

    kind: ClassVar[str] = "vector"
    features: Count
    """Values of each position."""
    split: Count
    """Tokens that each position is cut into, of C = ceil(features / split) channels. Take as many as the model's first
    block has groups, or more, so that each group sees a part."""
    positions: Count = 1
    """Vectors of an example at most; of fewer, the rest is absent."""
    feature_names: tuple[str, ...] = ()
    """Columns of tables that have names, in the order of the features; none: all of them, in theirs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        channels = -(-self.features // self.split)
        if (filled := -(-self.features // channels)) != self.split:
            expected = f"{filled}, for {self.features} features in tokens of {channels}"
            raise ValueError(f"split: expected a number that leaves no token empty ({expected}), got {self.split}")
        check_names("feature_names", self.feature_names, self.features, "feature")
        self.check_statistics(self.features, field="features")


class LabelSettings(EncoderSettings):
    """Labels that are given to a model: one token, a channel for each class."""

    kind: ClassVar[str] = "label"
    classes: tuple[str, ...]
    """Names of the classes, in the order of their numbers."""
    is_several: bool = False
    """Whether an example may have any number of classes; else it has one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes: expected two or more different names, got {shown(self.classes)}")


ENCODER_SETTINGS: dict[str, type[EncoderSettings]] = {
    "image": ImageSettings,
    "video": VideoSettings,
    "audio": AudioSettings,
    "points": PointsSettings,
    "series": SeriesSettings,
    "volume": VolumeSettings,
    "bytes": BytesSettings,
    "vector": VectorSettings,
    "label": LabelSettings,
}
"""Kind of encoder -> its settings."""
