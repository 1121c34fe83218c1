"""Sound to tokens and back: a token is a sample of the wave, or a few samples in a row."""

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from torch import Tensor

from hiperceiver.data.encoders.arrays import (
    check_spread,
    from_rows,
    in_rows,
    middle,
    normalised,
    num_present,
    padded,
    physical,
)
from hiperceiver.data.encoders.encoder import Drawing, Encoder, measured
from hiperceiver.data.faults import faults_of
from hiperceiver.data.media import (
    CLIP_SUFFIXES,
    HIGHEST_RATE_OF_SOUND,
    Media,
    RawFile,
    media_info,
    read_audio,
    resampled,
    to_floats,
)
from hiperceiver.data.packages import import_extra
from hiperceiver.modality import Modality
from hiperceiver.settings.encoders import AudioSettings

RawAudio: TypeAlias = "RawFile | Media | tuple[np.ndarray, int]"
"""A path, a file's bytes, a part of a file; or samples (n,) or (n, channels), and their rate."""

SILENT = 1e-4  # a recording whose loudest sample is below this (of 1) is silent: -80 dB, three steps of 16 bits
LOUDEST = 2.0**31  # samples beyond this are no sound, in whatever unit
HIGHEST_RATE, LONGEST_SOUND = 16_000, 10.0
"""Of grids that are chosen by training sounds: samples per second, and seconds."""
_MOST_LOST = 1 / 300  # of a sound's loudness that must be left by mixing and resampling: else it was something else
_MOST_CHANNELS = 16  # an array with fewer samples than this, and more channels, is probably turned
_SHOWN_LOUDNESS = 0.1  # deviation of a wave whose own loudness is not known: -20 dB


class AudioEncoder(AudioSettings, Encoder):
    """Raw waves of any rate, as (samples / samples_per_token, samples_per_token * channels) tokens, and back.

    A recording is brought to `rate` and `channels`; one that has both already is not altered. A longer one gives its
    middle, a shorter one absent tokens at the end. With `context` a token shows samples of its neighbours, too.

    >>> encoder = AudioEncoder(rate=16000, seconds=0.5, samples_per_token=4)
    >>> wave = np.sin(np.arange(16000) / 20)
    >>> tokens = encoder.encode((wave, 16000))[0]
    >>> tokens.shape, encoder.to_value(tokens).shape
    (torch.Size([2000, 4]), (8000, 1))
    """

    suffixes = ("wav", "flac", "mp3", "ogg", "oga", "opus", "m4a", "aac", "aif", "aiff", "aifc", "au", "caf", "wma")
    other_suffixes: ClassVar[tuple[str, ...]] = CLIP_SUFFIXES
    is_sequence: ClassVar[bool] = True
    least_std: ClassVar[float] = SILENT
    usual: ClassVar[float] = 1.0
    written_suffix: ClassVar[str] = ".wav"

    @property
    def modality(self) -> Modality:
        """One token per `samples_per_token` samples; its channels are what it shows, all audio channels of each."""
        grid, width = (self.num_samples // self.samples_per_token,), self.samples_per_token + 2 * self.context
        return Modality(grid=grid, channels=width * self.channels, is_overlapping=self.context > 0)

    @property
    def steps_per_token(self) -> int:
        """Samples of each channel in a token."""
        return self.samples_per_token

    @property
    def drawing(self) -> Drawing:
        """A curve for each channel."""
        return Drawing(kind="signals", rate=self.rate, step="sample")

    def write(self, path: str | os.PathLike[str], value: np.ndarray) -> None:
        """Write sound as a WAV file; see `write_wav`."""
        write_wav(path, value, self.rate)

    @classmethod
    def chosen_settings(cls, raws: Iterable[Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Their median rate, at most 16 kHz; their median length in tenths of a second, at most 10."""
        if {"rate", "seconds"} <= given.keys():
            return {}
        found = list(measured(raws, _rate_and_seconds))
        seconds = round(float(np.median([length for _, length in found])), 1)
        rate = sorted(rate for rate, _ in found)[len(found) // 2]  # of a recording, and no mean of two
        return {"rate": min(rate, HIGHEST_RATE), "seconds": min(max(seconds, 0.1), LONGEST_SOUND)}

    def decode(self, raw: RawAudio) -> np.ndarray:
        """A whole recording, neither empty nor silent, at the encoder's rate: float32 (samples, channels)."""
        if isinstance(raw, tuple):
            return self._checked(*_samples_of(raw))
        with faults_of(raw.source if isinstance(raw, Media) else raw):
            return self._checked(*read_audio(raw, new_rate=self.rate))

    def fit_to_grid(self, value: np.ndarray) -> np.ndarray:
        """The middle of a longer recording, unless it is silent there."""
        return self._heard(value[middle(len(value), self.num_samples)], " in its middle")

    def to_tokens(self, value: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """float32 (n, channels) as tokens (M, C); the last one may be filled up with zeros."""
        mean, std = self.mean, self.std
        if self.normalise == "example":
            if np.abs(value).max() > self.usual:
                check_spread(value)
            mean = value.mean(0)
            std = (np.maximum((value - mean).std(), np.float32(SILENT)),)
        return padded(in_rows(normalised(value, mean, std), self.samples_per_token, self.context), self.modality.grid)

    def to_value(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """Tokens as a wave that `write_wav` can write: float32 (samples, channels). Absent tokens in it become 0."""
        self.check_tokens(tokens)
        samples = from_rows(tokens, self.channels, self.context)
        wave = physical(samples, self.mean or (0.0,), self.std or (_SHOWN_LOUDNESS,))
        if is_padding is not None:
            wave[is_padding.cpu().numpy()] = 0
        return wave[: num_present(is_padding, len(tokens))].reshape(-1, self.channels)

    def _checked(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Samples (n, any) with the encoder's channels and rate, if nothing is wrong with them."""
        if not len(samples):
            raise ValueError("has no samples")
        peak = np.abs(samples).max()
        if not np.isfinite(peak):
            raise ValueError("has samples that are NaN or infinite")
        if peak > LOUDEST:
            raise ValueError(f"has a sample of {peak:.3g}, where 1 is the loudest that can be played")
        before = _loudness(samples)
        count = samples.shape[1]
        if self.channels == 1:
            samples = samples.mean(1, keepdims=True) if count > 1 else samples
        elif count == 1:
            samples = np.repeat(samples, self.channels, axis=1)
        elif count != self.channels:
            raise ValueError(f"channels: expected 1 or {self.channels}, got {count}")
        if self.is_silence_bad and _loudness(samples) < _MOST_LOST * before:
            remedy = f"--encoders.audio.channels {count} keeps them"
            raise ValueError(f"is silent: its {count} channels cancel each other when they are mixed; {remedy}")
        samples = resampled(samples, rate, self.rate)
        if self.is_silence_bad and (after := _loudness(samples)) < _MOST_LOST * before:
            left = f"of a loudness of {before:.2g} only {after:.2g} is left"
            raise ValueError(f"is silent: {left} at {self.rate} samples per second")
        return self._heard(samples)

    def _heard(self, samples: np.ndarray, where: str = "") -> np.ndarray:
        """The samples, unless they are silent and that is bad."""
        if self.is_silence_bad and len(samples) > 1 and np.abs(samples - samples.mean(0)).max() < SILENT:
            peak = np.abs(samples).max()
            found = f"its loudest sample is {peak:.2g} of 1" if peak < SILENT else f"it stays at {samples.mean():.2g}"
            raise ValueError(f"is silent{where}: {found}")
        return samples


def _loudness(samples: np.ndarray) -> float:
    """The deviation (root mean square) of the loudest channel of (n, channels)."""
    return float(samples.std(0, dtype=np.float64).max())


def write_wav(path: str | os.PathLike[str], value: np.ndarray, rate: int) -> None:
    """Sound, float (samples, channels) or (samples,), as a WAV file of 16 bits; what is beyond -1..1 is cut."""
    soundfile = import_extra("soundfile", extra="data")
    content = io.BytesIO()
    soundfile.write(content, np.nan_to_num(value).clip(-1, 1), rate, subtype="PCM_16", format="WAV")
    Path(path).write_bytes(content.getvalue())  # libsndfile would not say why it failed


def _rate_and_seconds(raw: RawAudio) -> tuple[int, float]:
    if isinstance(raw, tuple):
        samples, rate = _samples_of(raw)
        return rate, len(samples) / rate
    info = media_info(raw.source if isinstance(raw, Media) else raw)
    if info.rate is not None and info.duration is not None:
        return info.rate, info.duration
    samples, rate = read_audio(raw)  # refuses what has no sound
    return rate, len(samples) / rate


def _samples_of(raw: tuple[Any, ...]) -> tuple[np.ndarray, int]:
    """Samples (n, channels) as float32, and their rate."""
    if len(raw) != 2:
        raise ValueError(f"expected samples and their rate, got {len(raw)} values")
    rate = raw[1]
    try:
        samples = np.asarray(raw[0])
        is_rate = not isinstance(rate, bool) and rate == int(rate) and 1 <= rate < 2**31
    except (TypeError, ValueError, OverflowError):
        raise ValueError("expected an array of samples and their rate, a number") from None
    if not is_rate:
        raise ValueError(f"rate: expected a whole number of samples per second, got {rate!r}")
    if rate > HIGHEST_RATE_OF_SOUND:
        raise ValueError(f"rate: expected at most {HIGHEST_RATE_OF_SOUND} samples per second, got {rate!r}")
    samples = samples[:, None] if samples.ndim == 1 else samples
    if samples.ndim != 2 or not samples.size:
        raise ValueError(f"samples: expected the shape (n,) or (n, channels), got {samples.shape}")
    if len(samples) <= _MOST_CHANNELS < samples.shape[1]:
        turned = "which looks as if channels came first; transpose them"
        raise ValueError(f"samples: expected the shape (n,) or (n, channels), got {samples.shape}, {turned}")
    return to_floats(samples), int(rate)
