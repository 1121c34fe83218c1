"""Encoders: raw values to tokens and back, one modality a file."""

from collections.abc import Mapping
from typing import Any

from hiperceiver.data.encoders.audio import AudioEncoder
from hiperceiver.data.encoders.bytes import BytesEncoder
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.image import ImageEncoder
from hiperceiver.data.encoders.label import LabelEncoder
from hiperceiver.data.encoders.points import PointsEncoder
from hiperceiver.data.encoders.series import SeriesEncoder
from hiperceiver.data.encoders.vector import VectorEncoder
from hiperceiver.data.encoders.video import VideoEncoder
from hiperceiver.data.encoders.volume import VolumeEncoder

ENCODERS: dict[str, type[Encoder]] = {
    "image": ImageEncoder,
    "video": VideoEncoder,
    "audio": AudioEncoder,
    "points": PointsEncoder,
    "series": SeriesEncoder,
    "volume": VolumeEncoder,
    "bytes": BytesEncoder,
    "vector": VectorEncoder,
    "label": LabelEncoder,
}
"""The `kind` in an encoder's saved form -> its class."""

__all__ = [
    "ENCODERS",
    "AudioEncoder",
    "BytesEncoder",
    "Encoder",
    "ImageEncoder",
    "LabelEncoder",
    "PointsEncoder",
    "SeriesEncoder",
    "VectorEncoder",
    "VideoEncoder",
    "VolumeEncoder",
    "encoder_from_dict",
]


def encoder_from_dict(values: Mapping[str, Any]) -> Encoder:
    """An encoder from what its `to_dict` gave.

    Raises:
        ValueError: the kind is unknown, or a value is missing or wrong.

    >>> encoder = ImageEncoder(size=32)
    >>> encoder_from_dict(encoder.to_dict()) == encoder
    True
    """
    kind = values.get("kind")
    if kind not in [*ENCODERS]:
        raise ValueError(f"kind: expected an encoder among {', '.join(ENCODERS)}, got {kind!r:.60}")
    return ENCODERS[kind].from_dict(values)
