"""What every encoder does: a raw value of one modality becomes tokens, and tokens become such a value again.

A raw value takes two steps: `read` brings whatever came (a file, bytes, an array) to a *value*, an array in physical
units whose kind of shape is the encoder's own; `to_tokens` normalises it and lays it on the grid. Augmentations change
values, between the two.

| kind | value |
| --- | --- |
| `image` | uint8 (h, w, C), at most as large as the grid |
| `video` | uint8 (frames, h, w, C) |
| `audio` | float32 (samples, channels), at the encoder's rate |
| `series` | float32 (steps, C) |
| `points` | float32 (N, 3 + features) |
| `volume` | float32 (D, H, W, C) |
| `bytes` | uint8 (n,) |
| `vector` | float32 (n, features) |
| `label` | int64 (labels,), the classes' numbers |
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor

from hiperceiver.modality import Modality


@dataclass(frozen=True, kw_only=True)
class Encoder(ABC):
    """A value (frozen, with its normalisation) that is saved beside the model and makes the same tokens again."""

    kind: ClassVar[str]
    """Its name in `ENCODERS` and in its saved form."""

    @property
    @abstractmethod
    def modality(self) -> Modality:
        """Grid and channels of the tokens."""

    @abstractmethod
    def read(self, raw: Any) -> np.ndarray:
        """A raw value as an array in physical units.

        Raises:
            ValueError: it cannot be read, in one line; a path is named.
        """

    @abstractmethod
    def to_tokens(self, value: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """What `read` gave, changed or not, as normalised tokens.

        Returns:
            float32 (M, C); and bool (M,), True = absent, or None if no token is absent.
        """

    @abstractmethod
    def decode(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """Tokens (M, C) as a value that can be shown or heard; absent ones are cut off where they lie at the end.

        Raises:
            ValueError: the shape is not this encoder's.
        """

    @abstractmethod
    def fitted(self, raws: Iterable[Any]) -> Self:
        """The same encoder with the normalisation of these raw values. Unreadable ones are left out.

        Raises:
            ValueError: none of them can be read; the first one's fault is given.
        """

    def encode(self, raw: Any) -> Tensor:
        """A raw value as normalised tokens, float32 (M, C).

        Raises:
            ValueError: it cannot be read, in one line.
        """
        return self.to_tokens(self.read(raw))[0]

    def encode_with_padding(self, raw: Any) -> tuple[Tensor, Tensor | None]:
        """As `encode`, with bool (M,), True = absent; None if no token is absent."""
        return self.to_tokens(self.read(raw))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `config.json`, with the encoder's `kind`."""
        return {"kind": self.kind, **{name: _plain(value) for name, value in dataclasses.asdict(self).items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ValueError: a value is missing, unknown or wrong.
        """
        given = {name: _frozen(value) for name, value in values.items() if name != "kind"}
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in given:
            if name not in fields:
                raise ValueError(f"{name}: not a setting of the {cls.kind} encoder; known: {', '.join(sorted(fields))}")
        for name, field in fields.items():
            has_default = not (field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)
            if not has_default and name not in given:
                raise ValueError(f"{name}: required by the {cls.kind} encoder, got nothing")
        return cls(**given)

    def check_tokens(self, tokens: Tensor) -> None:
        """Refuse tokens that are not of this encoder's shape."""
        expected = (self.modality.num_tokens, self.modality.channels)
        if tuple(tokens.shape) != expected:
            raise ValueError(f"tokens: expected shape {expected}, got {tuple(tokens.shape)}")


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value
