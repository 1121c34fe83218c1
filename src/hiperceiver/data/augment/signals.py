"""Sound and series: other loudness, noise, other times, and a sensor that sits otherwise. The first axis is time."""

from typing import Any, ClassVar

import numpy as np

from hiperceiver.data.augment.augmentation import Augmentation, rotation_about
from hiperceiver.data.encoders import Encoder, SeriesEncoder
from hiperceiver.settings import augment as settings


class CropTime(settings.CropTimeSettings, Augmentation):
    """A part of the recording or text, at a random place; the same part of all of an example's signals.

    The best share is the length of the encoder's window divided by the recordings'.

    >>> sound = np.arange(8, dtype=np.float32)[:, None]
    >>> CropTime(share=0.5)({"sound": sound}, {"sound": "audio"}, np.random.default_rng(0))["sound"].ravel()
    array([3., 4., 5., 6.], dtype=float32)
    """

    kinds: ClassVar[tuple[str, ...]] = ("audio", "series", "bytes")

    def _draw(self, rng: np.random.Generator) -> float:
        return rng.random()

    def _change(self, value: Any, kind: str, draw: Any, rng: np.random.Generator) -> Any:
        kept = max(1, round(self.share * len(value)))
        start = min(int(draw * (len(value) - kept + 1)), len(value) - kept)
        return value[start : start + kept]


class Speed(settings.SpeedSettings, Augmentation):
    """The signal played faster or slower, and so higher or lower; all of an example's signals alike.

    Values between two steps are interpolated linearly.

    >>> sound = np.arange(8, dtype=np.float32)[:, None]
    >>> len(Speed(factors=(2, 2))({"sound": sound}, {"sound": "audio"}, np.random.default_rng(0))["sound"])
    4
    """

    kinds: ClassVar[tuple[str, ...]] = ("audio", "series")

    def _draw(self, rng: np.random.Generator) -> float:
        return np.exp(rng.uniform(*np.log(self.factors)))

    def _change(self, value: Any, kind: str, draw: Any, rng: np.random.Generator) -> Any:
        times = np.arange(max(1, round(len(value) / draw))) * draw
        before = np.minimum(times.astype(np.int64), len(value) - 1)
        after = np.minimum(before + 1, len(value) - 1)
        share = (times - before).astype(value.dtype)[:, None]
        return value[before] * (1 - share) + value[after] * share


class TimeShift(settings.ShiftSettings, Augmentation):
    """The signal comes earlier or later; all of an example's signals by the same share of their length.

    Sound is filled with silence; a series goes on with the value at its end, because its zero may mean something.

    >>> sound = np.arange(1, 9, dtype=np.float32)[:, None]
    >>> TimeShift(share=0.5)({"sound": sound}, {"sound": "audio"}, np.random.default_rng(0))["sound"].ravel()
    array([0., 1., 2., 3., 4., 5., 6., 7.], dtype=float32)
    """

    kinds: ClassVar[tuple[str, ...]] = ("audio", "series")

    def _draw(self, rng: np.random.Generator) -> float:
        return rng.uniform(-self.share, self.share)

    def _change(self, value: Any, kind: str, draw: Any, rng: np.random.Generator) -> Any:
        source = np.arange(len(value)) - round(draw * len(value))
        shifted = value.take(source, 0, mode="clip")
        if kind == "audio":
            shifted[(source < 0) | (source >= len(value))] = 0
        return shifted


class Gain(settings.GainSettings, Augmentation):
    """The signal is made louder or softer; each of an example's signals by its own factor. Nothing is cut.

    >>> sound = np.ones((2, 1), dtype=np.float32)
    >>> Gain(decibels=6)({"sound": sound}, {"sound": "audio"}, np.random.default_rng(0))["sound"].ravel()
    array([1.208..., 1.208...], dtype=float32)
    """

    kinds: ClassVar[tuple[str, ...]] = ("audio", "series")

    def _change(self, value: Any, kind: str, draw: Any, rng: np.random.Generator) -> Any:
        return value * np.float32(10 ** (rng.uniform(-self.decibels, self.decibels) / 20))


class Noise(settings.NoiseSettings, Augmentation):
    """Gaussian noise is added, as strong in each channel as the channel's own changes ask for.

    >>> sound = np.sin(np.arange(1000, dtype=np.float32))[:, None]
    >>> noisy = Noise(snr=20)({"sound": sound}, {"sound": "audio"}, np.random.default_rng(0))["sound"]
    >>> round(float(sound.std() / (noisy - sound).std()))
    10
    """

    kinds: ClassVar[tuple[str, ...]] = ("audio", "series")

    def _change(self, value: Any, kind: str, draw: Any, rng: np.random.Generator) -> Any:
        strength = value.std(0) * np.float32(10 ** (-self.snr / 20))  # a channel that never changes stays as it is
        return value + strength * rng.standard_normal(value.shape, dtype=np.float32)


class RotateSensor(settings.TiltSettings, Augmentation):
    """A sensor sits otherwise: each three channels in a row are a vector, and all turn alike, about a random axis.

    For accelerometers, gyroscopes and magnetometers whose three axes are neighbouring channels.

    >>> motion = np.array([[3, 0, 4, 0, 0, 2]], dtype=np.float32)
    >>> turned = RotateSensor()({"motion": motion}, {"motion": "series"}, np.random.default_rng(0))["motion"]
    >>> np.linalg.norm(turned.reshape(2, 3), axis=1)
    array([5., 2.], dtype=float32)
    """

    kinds: ClassVar[tuple[str, ...]] = ("series",)

    def check(self, encoder: Encoder) -> None:
        """Refuse channels that are not in threes."""
        _check_threes(encoder)

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        return rotation_about(rng.standard_normal(3), rng.uniform(0, self.degrees))

    def _change(self, value: Any, kind: str, draw: Any, rng: np.random.Generator) -> Any:
        turned = _in_threes(value, "tilt") @ draw.T
        return turned.astype(value.dtype).reshape(value.shape)


class MirrorBody(settings.MirrorSettings, Augmentation):
    """Whoever wears a sensor moves as in a mirror, and wears it on the other side: the left arm becomes the right one.

    An acceleration or magnetic field changes its sign along one axis. A rate of turning is an axial vector, whose sign
    changes along the other two.

    >>> motion = np.ones((1, 6), dtype=np.float32)
    >>> mirror = MirrorBody(probability=1)
    >>> mirror({"motion": motion}, {"motion": "series"}, np.random.default_rng(0))["motion"]
    array([[-1.,  1.,  1.,  1., -1., -1.]], dtype=float32)
    """

    kinds: ClassVar[tuple[str, ...]] = ("series",)

    def check(self, encoder: Encoder) -> None:
        """Refuse channels that are not in threes."""
        _check_threes(encoder)

    def _draw(self, rng: np.random.Generator) -> bool:
        return rng.random() < self.probability

    def _change(self, value: Any, kind: str, draw: Any, rng: np.random.Generator) -> Any:
        threes = _in_threes(value, "mirror")
        if not draw:
            return value
        signs = np.where(np.arange(3) == "xyz".index(self.axis), -1, 1).astype(value.dtype)
        is_turning = np.isin(np.arange(threes.shape[1]) + 1, self.turning)[:, None]
        return (threes * np.where(is_turning, -signs, signs)).reshape(value.shape)


def _check_threes(encoder: Encoder) -> None:
    if isinstance(encoder, SeriesEncoder) and encoder.channels % 3:
        raise ValueError(
            f"expected channels in threes, got {encoder.channels}; name the sensor's alone in channel_names"
        )


def _in_threes(value: np.ndarray, name: str) -> np.ndarray:
    """Readings (steps, channels) as vectors: (steps, channels / 3, 3)."""
    if value.shape[1] % 3:
        raise ValueError(f"expected channels in threes for {name}, got {value.shape[1]}")
    return value.reshape(len(value), -1, 3)
