"""The settings of each augmentation: random changes of training examples. None is on by default."""

from typing import Annotated, Literal

from hiperceiver.settings.base import Count, Ge, Gt, Le, NonNegative, Positive, Settings, Share

Degrees = Annotated[float, Ge(0), Le(180)]
PositiveShare = Annotated[float, Gt(0), Le(1)]


class RangeSettings(Settings):
    """Base of settings whose tuples are ranges, the smaller number first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in vars(self).items():
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{name}: expected two numbers, the smaller first, got {value}")


class ModalityDropoutSettings(Settings):
    """Modalities are left out of an example."""

    probability: Share = 0.3
    """How often each is left out. Where all would be, one of them stays, all equally likely."""


class CropSettings(RangeSettings):
    """Pictures, clips and masks: a region of random place, size and shape instead of the whole."""

    scale: tuple[PositiveShare, PositiveShare] = (0.2, 1.0)
    """Smallest and largest share of the area that the grid shows of the whole; the default is the MAE recipe's."""
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    """Narrowest and widest shape of the region: width to height, relative to what the grid shows of the whole."""


class CropTimeSettings(Settings):
    """Sound, series and texts: a part, at a random place."""

    share: PositiveShare = 0.8
    """How much of the recording is kept."""


class SpeedSettings(RangeSettings):
    """Sound and series: played faster or slower."""

    factors: tuple[Positive, Positive] = (0.8, 1.25)
    """The slowest and the fastest speed; drawn evenly on a logarithmic scale."""


class ShiftSettings(Settings):
    """Sound and series: earlier or later."""

    share: Share = 0.1
    """The largest shift either way, as a share of the length; how much is drawn evenly."""


class TiltSettings(Settings):
    """Series of vectors in threes: the sensor sits at another angle."""

    degrees: Degrees = 30.0
    """The largest turn; how much is drawn evenly."""


class MirrorSettings(Settings):
    """Series of vectors in threes: the body is mirrored, and the sensor sits on its other side."""

    probability: Share = 0.5
    """How often."""
    axis: Literal["x", "y", "z"] = "x"
    """The sensor's axis that points the other way on the other side."""
    turning: tuple[Count, ...] = (2,)
    """Which of the threes are rates of turning (gyroscopes), from 1; of them the other two axes change sign."""


class GainSettings(Settings):
    """Sound and series: louder or softer."""

    decibels: Annotated[float, Ge(0), Le(120)] = 6.0
    """The largest change either way; how much is drawn evenly. 6 dB doubles or halves."""


class NoiseSettings(Settings):
    """Sound and series: Gaussian noise is added."""

    snr: Annotated[float, Ge(-120), Le(120)] = 20.0
    """Signal to noise ratio in dB, of standard deviations: 20 is noise a tenth as strong as the signal."""


class DropPointsSettings(Settings):
    """Point clouds: some points are left out."""

    share: Share = 0.5
    """The largest share of the points that is left out; how many is drawn evenly for each cloud."""


class RotateSettings(Settings):
    """Point clouds: turned about an axis through their middle."""

    axis: Literal["x", "y", "z", "any"] = "z"
    """The axis: the one that points up keeps things upright (z or y, as the files have it); `any` is drawn evenly."""
    degrees: Degrees = 180.0
    """The largest turn either way; how much is drawn evenly."""


class ScaleSettings(RangeSettings):
    """Point clouds: stretched along each axis by a factor of its own."""

    factors: tuple[Positive, Positive] = (0.8, 1.25)
    """Smallest and largest factor, drawn evenly in between."""


class JitterSettings(Settings):
    """Point clouds: every point moves a little."""

    sigma: NonNegative = 0.01
    """Standard deviation along each axis, as a share of the distance from the middle to the farthest point."""
    limit: NonNegative = 0.05
    """No point moves farther than this along an axis, in the same unit."""


class FlipSettings(Settings):
    """Pictures, clips, volumes and masks: left and right are swapped."""

    probability: Share = 0.5
    """How often."""


class TurnSettings(Settings):
    """Pictures, clips, volumes and masks: turned by 0, 90, 180 or 270 degrees; where one is not square, by 0 or 180."""


class TranslateSettings(Settings):
    """Pictures, clips, volumes and masks: moved up or down, and left or right; what comes in at an edge is mirrored."""

    share: Share = 0.125
    """The largest move either way, as a share of the height and of the width; how much is drawn evenly."""


class RandAugmentSettings(Settings):
    """Pictures and clips: some operations in a row, drawn from fifteen (the Perceiver's recipe)."""

    operations: Count = 4
    """How many are done, one after the other."""
    magnitude: Annotated[float, Ge(0), Le(10)] = 5.0
    """How strongly."""


class ColourSettings(Settings):
    """Pictures and clips: other brightness, contrast, saturation and hue."""

    brightness: Share = 0.4
    """Values are multiplied by 1 - this to 1 + this."""
    contrast: Share = 0.4
    """So is the distance from the mean grey."""
    saturation: Share = 0.4
    """So is the distance from each pixel's grey."""
    hue: Annotated[float, Ge(0), Le(0.5)] = 0.1
    """Largest turn of the colour circle either way, in turns. It takes most of the time; 0 saves it."""


class AugmentSettings(Settings):
    """Random changes of training examples, in their order; `true` takes an augmentation's defaults.

    Those before `flip` are made on what was decoded, the others on what was fitted to the grid.
    """

    modality_dropout: ModalityDropoutSettings | bool = False
    crop: CropSettings | bool = False
    crop_time: CropTimeSettings | bool = False
    speed: SpeedSettings | bool = False
    shift: ShiftSettings | bool = False
    tilt: TiltSettings | bool = False
    mirror: MirrorSettings | bool = False
    gain: GainSettings | bool = False
    noise: NoiseSettings | bool = False
    drop_points: DropPointsSettings | bool = False
    rotate: RotateSettings | bool = False
    scale: ScaleSettings | bool = False
    jitter: JitterSettings | bool = False
    flip: FlipSettings | bool = False
    turn: TurnSettings | bool = False
    translate: TranslateSettings | bool = False
    randaugment: RandAugmentSettings | bool = False
    colour: ColourSettings | bool = False
