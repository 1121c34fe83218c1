"""Labels to tokens and back: one token, a channel for each class, which joins the model at the bottleneck."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.modality import Modality
from hiperceiver.settings.encoders import LabelSettings

RawLabel: TypeAlias = "int | str | Sequence[int | str]"  # a class by its number or name; of several, a list of them


class LabelEncoder(LabelSettings, Encoder):
    """A class, or any number of classes, as one token of 0 and 1; a label that is not known is an absent token.

    For labels that are given to a model: as tokens of a modality of role `label`. What a model has to find out are
    targets, which tasks read themselves.

    >>> encoder = LabelEncoder(classes=("cat", "dog", "bird"))
    >>> encoder.encode("dog")[0], encoder.names(encoder.to_value(encoder.encode("dog")[0]))
    (tensor([[0., 1., 0.]]), ('dog',))
    >>> LabelEncoder(classes=("cat", "dog", "bird"), is_several=True).encode(["bird", "cat"])[0]
    tensor([[1., 0., 1.]])
    """

    @property
    def modality(self) -> Modality:
        """One token at the bottleneck."""
        return Modality(grid=(1,), channels=len(self.classes), role="label")

    def decode(self, raw: RawLabel) -> np.ndarray:
        """The classes' numbers, ascending: int64 (labels,). -1 and None are a label that is not known: no number."""
        given = list(raw) if isinstance(raw, Sequence | np.ndarray) and not isinstance(raw, str) else [raw]
        if len(given) > 1 and not self.is_several:
            raise ValueError(f"expected one label, got {len(given)}: {', '.join(map(str, given[:5]))}")
        numbers = {self._number(each) for each in given if each is not None} - {-1}
        return np.array(sorted(numbers), dtype=np.int64)

    def to_tokens(self, value: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Class numbers as one token (1, K) of 0 and 1. No class at all: of several, zeros; of one, an absent token."""
        token = torch.zeros(1, len(self.classes))
        token[0, torch.from_numpy(value)] = 1
        is_absent = len(value) == 0 and not self.is_several
        return token, torch.ones(1, dtype=torch.bool) if is_absent else None

    def to_value(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """The number of the largest channel, of several those above 1/2; none for an absent token: int64 (n,)."""
        self.check_tokens(tokens)
        channels = tokens.detach().to("cpu", torch.float32)[0].numpy()
        if is_padding is not None and bool(is_padding[0]):
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(channels > 0.5) if self.is_several else np.array([channels.argmax()])

    def names(self, value: np.ndarray) -> tuple[str, ...]:
        """The names of class numbers."""
        return tuple(self.classes[number] for number in value)

    def _number(self, label: Any) -> int:
        if isinstance(label, str) and label in self.classes:
            return self.classes.index(label)
        if isinstance(label, int | np.integer) and not isinstance(label, bool) and -1 <= label < len(self.classes):
            return int(label)
        known = ", ".join(self.classes[:5]) + (", ..." if len(self.classes) > 5 else "")
        raise ValueError(f"expected a class among {known} or 0 to {len(self.classes) - 1}, got {label!r}")
