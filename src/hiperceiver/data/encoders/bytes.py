"""Bytes of any file, and text as its bytes: a token is a byte."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hiperceiver.data.encoders.arrays import middle, num_present, padded
from hiperceiver.data.encoders.encoder import Drawing, Encoder, measured
from hiperceiver.data.faults import faults_of, read_file
from hiperceiver.modality import Modality
from hiperceiver.settings.encoders import BytesSettings

_HOT = 16.0
"""The square root of 256: the mean square of a byte's channels is 1, and its embedding as large as that of a pixel."""
_GROUP_HOT = 4.0
"""Lower than a byte's: groups are many, and as high as bytes they are learnt in steps that are too large."""
_MIX = np.uint64(0x9E3779B97F4A7C15)  # an odd number, 2**64 divided by the golden ratio: times it, bits spread upwards
_HALF = np.uint64(32)
_MOST_READ = 2**24  # bytes that are read of a file whose start is kept, if the grid has fewer
LONGEST_BYTES = 1024  # grids are not chosen longer than this: of longer texts the beginning is kept


class BytesEncoder(BytesSettings, Encoder):
    """Bytes of any length as (length, C) tokens, and back: C is 256 or 8, and `buckets` more where there are `ngrams`.

    Text is its bytes in UTF-8. A shorter value has absent tokens at its end.

    With `ngrams` a token also shows which bytes it follows, as in fastText (arXiv 1607.04606) and the Byte Latent
    Transformer (arXiv 2412.09871): a linear embedding of single bytes cannot distinguish groups of them. In masked
    auto-encoding a visible token may then reveal hidden ones before it.

    >>> encoder = BytesEncoder(length=8)
    >>> tokens, is_padding = encoder.encode("naïve")
    >>> tokens.shape, is_padding.tolist()
    (torch.Size([8, 256]), [False, False, False, False, False, False, True, True])
    >>> BytesEncoder.text(encoder.to_value(tokens, is_padding))
    'naïve'
    """

    suffixes: ClassVar[tuple[str, ...]] = ("txt", "md", "rst", "po", "json", "xml", "html", "yaml", "yml", "py", "bin")
    other_suffixes: ClassVar[tuple[str, ...]] = ("*",)
    is_text_raw: ClassVar[bool] = True
    written_suffix: ClassVar[str] = ".txt"
    drawing = Drawing(kind="text")

    @property
    def modality(self) -> Modality:
        """Grid (length,) and channels of the tokens."""
        num_all = self._num_own + (self.buckets if self.ngrams else 0)
        if self.coding == "numbers":
            return Modality(grid=(self.length,), channels=1 + len(self.ngrams), num_categories=num_all)
        return Modality(grid=(self.length,), channels=num_all)

    @property
    def _num_own(self) -> int:
        """Channels, or categories, of the byte itself, the first ones."""
        return 8 if self.coding == "bits" else 256

    def write(self, path: str | os.PathLike[str], value: np.ndarray) -> None:
        """Write the bytes as they are."""
        Path(path).write_bytes(value.tobytes())

    @classmethod
    def for_labels(cls, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Groups of bytes as numbers, unless something is said of the coding."""
        groups = {"coding": "numbers", "ngrams": (2, 3, 4, 5), "buckets": 131_072}
        return {} if groups.keys() & chosen.keys() else groups

    @classmethod
    def chosen_settings(cls, raws: Iterable[Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """The length of the longest, at most 1024."""
        if "length" in given:
            return {}
        encoder = cls(length=LONGEST_BYTES)
        return {"length": min(max(measured(raws, lambda raw: len(encoder.read(raw)))), LONGEST_BYTES)}

    def decode(self, raw: str | bytes | os.PathLike[str] | np.ndarray) -> np.ndarray:
        """Bytes as uint8 (n,), n >= 1. A string is the text itself and never a path; a path object is a file."""
        with faults_of(raw, is_path=isinstance(raw, os.PathLike)):
            if isinstance(raw, os.PathLike):
                raw = read_file(raw, max(self.length, _MOST_READ) if self.keep == "start" else -1)
            if isinstance(raw, str):
                try:
                    raw = raw.encode()
                except UnicodeEncodeError:
                    raise ValueError("expected text that UTF-8 can hold, got half of a surrogate pair") from None
            if isinstance(raw, bytes | bytearray | memoryview):
                raw = np.frombuffer(raw, dtype=np.uint8)
            if not isinstance(raw, np.ndarray):
                raise ValueError(f"expected bytes, text, a path object or uint8 (n,), got {type(raw).__name__}")
            if raw.dtype != np.uint8 or raw.ndim != 1:
                raise ValueError(f"array: expected uint8 of shape (n,), got {raw.dtype} of shape {raw.shape}")
            if len(raw) == 0:
                raise ValueError("is empty (0 bytes)")
            return raw

    def fit_to_grid(self, value: np.ndarray) -> np.ndarray:
        """The start or the middle of a longer value: uint8 (n,), n <= length."""
        return value[: self.length] if self.keep == "start" else value[middle(len(value), self.length)]

    def to_tokens(self, value: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """uint8 (n,) as tokens (length, C)."""
        if self.coding == "numbers":
            return padded(self._numbers(value), (self.length,))
        tokens = np.zeros((len(value), self.modality.channels), dtype=np.float32)
        if self.coding == "onehot":
            tokens[np.arange(len(value)), value] = _HOT
        else:
            tokens[:, : self._num_own] = np.unpackbits(value).reshape(-1, 8) * np.float32(2) - 1
        for length in self.ngrams:
            if len(value) >= length:
                key = _hashed(value.astype(np.uint64), length, len(value) - length + 1)
                halves = np.stack([key >> _HALF, key & np.uint64(2**32 - 1)])
                channels = halves % np.uint64(self.buckets) + np.uint64(self._num_own)
                tokens[np.arange(length - 1, len(value)), channels] = _GROUP_HOT
        return padded(tokens, (self.length,))

    def _numbers(self, value: np.ndarray) -> np.ndarray:
        """Categories of each byte, from 1 on: its own and those of the groups around it; float32 (n, C)."""
        numbers = np.empty((len(value), 1 + len(self.ngrams)), dtype=np.float32)
        numbers[:, 0] = value + np.float32(1)
        reach = max(self.ngrams, default=0) // 2
        around = np.zeros(len(value) + 2 * reach, dtype=np.uint64)
        around[reach : reach + len(value)] = value
        for column, length in enumerate(self.ngrams, start=1):
            key = _hashed(around[reach - length // 2 :], length, len(value))
            numbers[:, column] = (key >> _HALF) % np.uint64(self.buckets) + np.uint64(1 + self._num_own)
        return numbers

    def to_value(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """The likeliest byte of each token, or score for each category: uint8 (n,)."""
        if self.coding == "numbers" and tokens.shape[-1] == self.modality.num_outputs:
            tokens = tokens[: num_present(is_padding, self.length), : self._num_own]
            return tokens.detach().cpu().float().numpy().argmax(1).astype(np.uint8)
        self.check_tokens(tokens)
        if self.coding == "numbers":
            numbers = tokens[: num_present(is_padding, self.length), 0]
            return (numbers.detach().cpu().numpy() - 1).astype(np.uint8)
        values = tokens[: num_present(is_padding, self.length), : self._num_own]
        values = values.detach().to("cpu", torch.float32).numpy()
        if self.coding == "onehot":
            return values.argmax(1).astype(np.uint8)
        return np.packbits(values > 0, axis=1)[:, 0]

    @staticmethod
    def text(value: np.ndarray) -> str:
        """What `to_value` gave, as text: UTF-8, with � where it is not."""
        return value.tobytes().decode("utf-8", errors="replace")


def _hashed(value: np.ndarray, length: int, count: int) -> np.ndarray:
    """Numbers of the first `count` groups of bytes in a row, the same on every machine: uint64 (count,)."""
    key = np.full(count, length, dtype=np.uint64)
    for place in range(length):
        key = (key ^ value[place : place + count]) * _MIX  # modulo 2**64
        key ^= key >> _HALF
    return key
