"""What every encoder does: a raw value of one modality becomes tokens, and tokens become such a value again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, Self

from torch import Tensor

from hiperceiver.modality import Modality


class Encoder(Protocol):
    """A value (frozen, with its normalisation) that is saved beside the model and makes the same tokens again."""

    @property
    def modality(self) -> Modality:
        """Grid and channels of the tokens."""
        ...

    def encode(self, raw: Any) -> Tensor:
        """A raw value as normalised tokens, float32 (M, C).

        Raises:
            ValueError: it cannot be read, in one line.
        """
        ...

    def encode_with_padding(self, raw: Any) -> tuple[Tensor, Tensor | None]:
        """As `encode`, with bool (M,), True = absent; None if no token is absent."""
        ...

    def decode(self, tokens: Tensor) -> Any:
        """Tokens (M, C) as a value that can be shown."""
        ...

    def fitted(self, raws: Iterable[Any]) -> Self:
        """The same encoder with the normalisation of these values."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `config.json`, with the encoder's `kind`."""
        ...

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        ...
