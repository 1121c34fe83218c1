"""Video to tokens and back: a token is a pixel of a frame."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from torch import Tensor

from hiperceiver.data.encoders.arrays import num_present, padded
from hiperceiver.data.encoders.encoder import Drawing
from hiperceiver.data.encoders.image import ImageEncoder, PictureEncoder, measured_full_scale
from hiperceiver.data.encoders.picture_files import open_picture
from hiperceiver.data.encoders.regions import Region
from hiperceiver.data.leftovers import is_leftover
from hiperceiver.data.media import CLIP_SUFFIXES, Media, RawFile, read_frames, times_of_frames
from hiperceiver.modality import Modality
from hiperceiver.settings.encoders import NUM_COLOURS, PictureSettings, VideoSettings

RawVideo: TypeAlias = "RawFile | Media | np.ndarray"
"""What is accepted as video: a path (a film, an animated GIF, or a folder of pictures), a file's bytes, a part of a
file, or uint8 (T, h, w) or (T, h, w, 1 or 3)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """A clip of any size and length. Its frames are decoded when it is fitted to the grid, only those that it needs."""

    raw: RawVideo | list[Path]  # of a folder, its pictures in order
    region: Region | None = None  # as of a picture


class VideoEncoder(VideoSettings, PictureEncoder):
    """Clips of any size and length as (frames * H * W, C) tokens, and back; frames are fitted as `ImageEncoder` does.

    >>> encoder = VideoEncoder(size=(4, 6), frames=2)
    >>> tokens, _ = encoder.encode(np.full((10, 40, 60, 3), 255, dtype=np.uint8))
    >>> tokens.shape, encoder.to_value(tokens).shape
    (torch.Size([48, 3]), (2, 4, 6, 3))
    """

    suffixes: ClassVar[tuple[str, ...]] = (*CLIP_SUFFIXES, "gif")

    @property
    def modality(self) -> Modality:
        """One token per pixel of each frame."""
        return Modality(grid=(self.frames, *self.size), channels=NUM_COLOURS[self.colours])

    @property
    def drawing(self) -> Drawing:
        """Its frames."""
        rate = self.frames_per_second
        names = (f"frame {k}" if rate is None else f"{k / rate:.2f} s" for k in range(self.frames))
        return Drawing(kind="frames", names=tuple(names))

    @classmethod
    def chosen_settings(cls, raws: Iterable[Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """8 frames of 224 x 224, as in the paper's AudioSet experiments."""
        return {"frames": 8, "size": (224, 224)}

    def decode(self, raw: RawVideo) -> Clip:
        """A clip, not decoded yet. A folder's frames are in the order of the numbers in their names."""
        if isinstance(raw, np.ndarray):
            if raw.dtype != np.uint8 or not raw.size or not (raw.ndim == 3 or raw.shape[3:] in ((1,), (3,))):
                expected = "uint8 of shape (T, H, W) or (T, H, W, 1 or 3)"
                raise ValueError(f"array: expected {expected}, got {raw.dtype} of shape {raw.shape}")
        elif isinstance(raw, str | os.PathLike) and os.path.isdir(raw):
            return Clip(raw=_pictures_of(Path(raw)))
        return Clip(raw=raw)

    def fit_to_grid(self, value: Clip) -> np.ndarray:
        """Frames in the size of the grid, (T, H, W, C), T <= frames: uint8, or float32 in 0..1 of deep pictures."""
        settings = {field.name: getattr(self, field.name) for field in fields(PictureSettings)}
        chosen: list[Path | np.ndarray] = []
        if isinstance(value.raw, np.ndarray | list):
            chosen = [value.raw[index] for index in self._chosen(len(value.raw))]
        files = [frame for frame in chosen if isinstance(frame, Path)]
        if self.full_scale is None and files and open_picture(files[0]).is_deep:  # one for the whole clip
            settings["full_scale"] = measured_full_scale(files)
        picture = ImageEncoder(**settings)

        def fitted(frame: Path | np.ndarray) -> np.ndarray:
            return picture.fit_to_grid(replace(picture.decode(frame), region=value.region))

        if chosen:
            frames = [fitted(frame) for frame in chosen]
            if len({frame.dtype for frame in frames}) > 1:
                frames = [frame / np.float32(255) if frame.dtype == np.uint8 else frame for frame in frames]
            return np.stack(frames)
        assert not isinstance(value.raw, np.ndarray | list)
        return read_frames(value.raw, self.frames, self.frames_per_second, change=fitted)

    def to_tokens(self, value: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Frames as of `fit_to_grid` as tokens (M, C), frame by frame."""
        return padded(self.normalised(value), self.modality.grid)

    def to_value(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """As of pictures, without wholly absent frames at the end; one is left in any case."""
        is_absent = None if is_padding is None else is_padding.cpu().reshape(self.frames, -1).all(1)
        return super().to_value(tokens, is_padding)[: max(1, num_present(is_absent, self.frames))]

    def pictures(self, raw: RawVideo) -> Sequence[Path]:
        """The frames that are shown of a folder."""
        with contextlib.suppress(ValueError):  # named when it is read
            frames = self.decode(raw).raw
            return [frames[index] for index in self._chosen(len(frames))] if isinstance(frames, list) else ()
        return ()

    def _chosen(self, count: int) -> np.ndarray:
        """Which of so many frames without times are shown."""
        rate = 1.0 if self.frames_per_second is None else self.frames_per_second
        times = times_of_frames(count / rate, self.frames, self.frames_per_second)
        return np.minimum((times * rate + 1e-6).astype(np.int64), count - 1)


def _pictures_of(folder: Path) -> list[Path]:
    """The pictures in a folder, by their endings if some have such, in the order of their names."""
    try:
        paths = [path for path in folder.iterdir() if path.is_file() and not is_leftover(path.name)]
    except OSError as error:
        raise ValueError(f"{folder}: {(error.strerror or 'cannot be read').lower()}") from None
    if not paths:
        raise ValueError(f"{folder}: has no pictures")
    paths = [path for path in paths if path.suffix[1:].lower() in ImageEncoder.suffixes] or paths
    # Text and numbers stand at alternate places, so that only like is compared with like.
    parts = {path: re.split(r"(\d+)", path.name.lower()) for path in paths}
    return sorted(paths, key=lambda path: ([int(t) if t.isdecimal() else t for t in parts[path]], path.name))
