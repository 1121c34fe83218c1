"""What kind of signal a file holds, by the ending of its name; and an encoder for signals that nobody has described."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from hiperceiver.data.encoders.arrays import read_array
from hiperceiver.data.encoders.audio import AudioEncoder
from hiperceiver.data.encoders.bytes import BytesEncoder
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.image import ImageEncoder
from hiperceiver.data.encoders.points import MESH_STARTS, PointsEncoder
from hiperceiver.data.encoders.series import SeriesEncoder
from hiperceiver.data.encoders.vector import VectorEncoder
from hiperceiver.data.encoders.video import VideoEncoder
from hiperceiver.data.encoders.volume import VolumeEncoder
from hiperceiver.data.media import Media, media_info, read_audio

Kind = Literal["video", "image", "audio", "points", "series", "bytes", "volume", "vector"]
"""The encoders' kinds. Where a file could be several, the first that can be told from the ending is taken."""

_ARRAYS = ("npy", "npz", "csv", "tsv")
_CLIPS = ("mp4", "mkv", "webm", "avi", "mov", "m4v", "mpg", "mpeg")
ENDINGS: dict[str, tuple[str, ...]] = {
    "video": (*_CLIPS, "gif"),
    "image": (
        *("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"),
        *("avif", "jfif", "jpe", "jp2", "dib", "tga", "gif"),
    ),
    "audio": ("wav", "flac", "mp3", "ogg", "oga", "opus", "m4a", "aac", "aif", "aiff", "wma"),
    "points": ("off", "ply", "obj", "stl", "glb", "xyz", "pts"),
    "series": _ARRAYS,
    "bytes": ("txt", "md", "rst", "po", "json", "xml", "html", "yaml", "yml", "py", "bin"),
}
"""Kind -> endings by which it is told. A GIF is a clip unless most of the files are pictures."""
OTHER_ENDINGS: dict[str, tuple[str, ...]] = {
    "audio": _CLIPS,
    "points": (*_ARRAYS, "txt"),
    "series": ("txt",),
    "volume": ("npy", "npz"),
    "vector": (*_ARRAYS, "txt"),
}
"""Kind -> endings that it may have as well, if the kind was asked for. `bytes` may have any."""

LOOKED_AT = 64
"""How many signals a default is chosen by, at most."""
LONGEST_SERIES, LONGEST_BYTES = 4096, 1024
"""Grids are not chosen longer than this: of longer series the middle is kept, of longer texts the beginning."""
HIGHEST_RATE, LONGEST_SOUND = 16_000, 10.0
"""Of chosen grids of sound: samples a second, and seconds."""
VECTOR_TOKENS = 128
"""Tokens that a feature vector is cut into, if it has as many features."""


def kind_of(name: str, *, among: Sequence[str] | None = None) -> str | None:
    """The kind of a file by its name; None if it is not known.

    Args:
        name: of the file.
        among: kinds that were asked for: other endings of theirs count as well.

    >>> kind_of("1.JPG"), kind_of("1.npy"), kind_of("1.npy", among=["volume"]), kind_of("1.exe")
    ('image', 'series', 'volume', None)
    """
    ending = ending_of(name)
    for kind in get_args(Kind) if among is None else among:
        if ending in ENDINGS.get(kind, ()):
            return kind
    for kind in among or ():
        if ending in OTHER_ENDINGS.get(kind, ()) or kind == "bytes":
            return kind
    return None


def ending_of(name: str) -> str:
    """The part behind a name's last dot, in small letters; empty if there is none."""
    return name.rpartition(".")[2].lower() if "." in name.strip(".") else ""


def split_kinds(kind: str) -> tuple[str, ...]:
    """The kinds in a setting such as `audio+video`.

    Raises:
        ValueError: one of them is none, or stands there twice.

    >>> split_kinds("audio+video")
    ('audio', 'video')
    """
    kinds = tuple(each.strip() for each in kind.split("+"))
    if len(set(kinds)) < len(kinds) or not set(kinds) <= set(get_args(Kind)):
        raise ValueError(f"kind: expected one of {', '.join(get_args(Kind))}, or several as audio+video, got {kind!r}")
    return kinds


def default_encoder(kind: str, raws: Iterable[Any], told: Mapping[str, Any] | None = None) -> Encoder:
    """An encoder without normalisation, for signals of a kind.

    | kind | chosen |
    | --- | --- |
    | `image` | 224 x 224, as in the paper's ImageNet experiments |
    | `video` | 8 frames of 224 x 224, as in its AudioSet experiments |
    | `audio` | the rate of the first one, at most 16 kHz; their median length in tenths of a second, at most 10 |
    | `points` | 2048 points, as in its ModelNet40 experiments, with the features that the first one has |
    | `series` | the length of the longest, at most 4096 steps; the channels of the first |
    | `bytes` | the length of the longest, at most 1024 |
    | `volume` | size and channels of the first |
    | `vector` | features of the first, in 16 tokens; positions of the largest |

    Args:
        kind: of the encoder.
        raws: signals; at most 64 are looked at, and only if something must be chosen.
        told: settings that are known already; others of the same names are not chosen. Those of other encoders are not
            looked at.

    Raises:
        ValueError: something must be chosen, and no signal can be read.

    >>> encoder = default_encoder("series", [np.zeros((100, 3)), np.zeros((80, 3))])
    >>> encoder.length, encoder.channels
    (100, 3)
    """
    choice = _CHOICES[kind]
    names = {field.name for field in dataclasses.fields(choice.encoder)}
    told = {name: value for name, value in (told or {}).items() if name in names and name not in ("mean", "std")}
    chosen = {name: value for name, value in choice.fixed.items() if name not in told}
    if choice.looks is not None and not set(choice.needed) <= set(told):
        chosen |= choice.looks(islice(raws, LOOKED_AT), told)
    return choice.encoder.from_dict({**chosen, **told})


def _good(raws: Iterable[Any], measured: Callable[[Any], Any]) -> Iterator[Any]:
    """What is measured of each signal that can be read; of one at least."""
    fault, count = "", 0
    for raw in raws:
        try:
            value = measured(raw)
        except ValueError as error:
            fault = fault or str(error)
            continue
        count += 1
        yield value
    if not count:
        raise ValueError(f"nothing to choose its grid by: {fault or 'there is no training example'}")


def _look_at_sounds(raws: Iterable[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    def rate_and_seconds(raw: Any) -> tuple[int, float]:
        if isinstance(raw, tuple):  # samples and their rate
            return int(raw[1]), len(raw[0]) / raw[1]
        info = media_info(raw.source if isinstance(raw, Media) else raw)
        if info.rate is None:
            raise ValueError("has no sound")
        if info.duration is not None:
            return info.rate, info.duration
        samples, rate = read_audio(raw)
        return rate, len(samples) / rate

    found = list(_good(raws, rate_and_seconds))
    seconds = float(np.median([length for _, length in found]))
    return {
        "rate": min(found[0][0], HIGHEST_RATE),
        "seconds": min(max(round(seconds, 1), 0.1), LONGEST_SOUND),
    }


def _look_at_series(raws: Iterable[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    shapes = list(_good(raws, _shape_of(told, dimensions=(1, 2))))
    channels = shapes[0][1] if len(shapes[0]) == 2 else 1
    return {"length": min(max(shape[0] for shape in shapes), LONGEST_SERIES), "channels": channels}


def _look_at_bytes(raws: Iterable[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    encoder = BytesEncoder(length=LONGEST_BYTES)
    return {"length": min(max(_good(raws, lambda raw: len(encoder.read(raw)))), LONGEST_BYTES)}


def _look_at_volumes(raws: Iterable[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    shape = next(_good(raws, _shape_of(told, dimensions=(3, 4))))
    return {"size": shape[:3], "channels": shape[3] if len(shape) == 4 else 1}


def _look_at_vectors(raws: Iterable[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    shapes = list(_good(raws, _shape_of(told, dimensions=(1, 2))))
    is_column = len(shapes[0]) == 2 and shapes[0][1] == 1
    features = told.get("features", shapes[0][0] if len(shapes[0]) == 1 or is_column else shapes[0][1])
    channels = -(-features // min(VECTOR_TOKENS, features))
    positions = 1 if is_column else max(shape[0] if len(shape) == 2 else 1 for shape in shapes)
    return {"features": features, "positions": positions, "split": -(-features // channels)}


def _look_at_points(raws: Iterable[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    return {"num_features": next(_good(raws, _num_features))}


def _num_features(raw: Any) -> int:
    """Channels beside x, y and z. Meshes have none."""
    if isinstance(raw, bytes):
        is_mesh = raw.startswith(tuple(start for start in MESH_STARTS.values() if start))
    else:
        is_mesh = isinstance(raw, str | os.PathLike) and Path(raw).suffix.lower() in MESH_STARTS
    if is_mesh:
        return 0
    shape = _shape_of({}, dimensions=(2,))(raw)
    if shape[1] < 3:
        raise ValueError(f"expected points of shape (N, 3 or more), got {shape}")
    return shape[1] - 3


def _shape_of(told: Mapping[str, Any], *, dimensions: Sequence[int]) -> Callable[[Any], tuple[int, ...]]:
    def shape_of(raw: Any) -> tuple[int, ...]:
        shape = read_array(raw, array_name=told.get("array_name", "")).shape
        if len(shape) not in dimensions:
            raise ValueError(f"expected {' or '.join(map(str, dimensions))} dimensions, got shape {shape}")
        return shape

    return shape_of


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """How the settings of an encoder that has to be described are chosen."""

    encoder: type[Encoder]
    """Its class."""
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Settings that are always the same."""
    needed: tuple[str, ...] = ()
    """Settings for which signals are looked at, unless all of them were told."""
    looks: Callable[[Iterable[Any], Mapping[str, Any]], dict[str, Any]] | None = None
    """Looks at signals."""


_CHOICES = {
    "image": _Choice(encoder=ImageEncoder, fixed={"size": (224, 224)}),
    "video": _Choice(encoder=VideoEncoder, fixed={"frames": 8, "size": (224, 224)}),
    "audio": _Choice(encoder=AudioEncoder, needed=("rate", "seconds"), looks=_look_at_sounds),
    "points": _Choice(
        encoder=PointsEncoder, fixed={"num_points": 2048}, needed=("num_features",), looks=_look_at_points
    ),
    "series": _Choice(encoder=SeriesEncoder, needed=("length", "channels"), looks=_look_at_series),
    "bytes": _Choice(encoder=BytesEncoder, needed=("length",), looks=_look_at_bytes),
    "volume": _Choice(encoder=VolumeEncoder, needed=("size", "channels"), looks=_look_at_volumes),
    "vector": _Choice(encoder=VectorEncoder, needed=("features", "positions", "split"), looks=_look_at_vectors),
}
