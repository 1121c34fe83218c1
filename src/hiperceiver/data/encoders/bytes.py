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
        return Modality(grid=(self.length,), channels=self._num_own + (self.buckets if self.ngrams else 0))

    @property
    def _num_own(self) -> int:
        """Channels of the byte itself, the first ones."""
        return 256 if self.coding == "onehot" else 8

    def write(self, path: str | os.PathLike[str], value: np.ndarray) -> None:
        """Write the bytes as they are."""
        Path(path).write_bytes(value.tobytes())

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
        tokens = np.zeros((len(value), self.modality.channels), dtype=np.float32)
        if self.coding == "onehot":
            tokens[np.arange(len(value)), value] = _HOT
        else:
            tokens[:, : self._num_own] = np.unpackbits(value).reshape(-1, 8) * np.float32(2) - 1
        for length in self.ngrams:
            if len(value) >= length:
                channels = _hashed(value, length) % np.uint64(self.buckets) + np.uint64(self._num_own)
                tokens[np.arange(length - 1, len(value)), channels] = _GROUP_HOT
        return padded(tokens, (self.length,))

    def to_value(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """The likeliest byte of each token: uint8 (n,)."""
        self.check_tokens(tokens)
        values = tokens[: num_present(is_padding, self.length), : self._num_own]
        values = values.detach().to("cpu", torch.float32).numpy()
        if self.coding == "onehot":
            return values.argmax(1).astype(np.uint8)
        return np.packbits(values > 0, axis=1)[:, 0]

    @staticmethod
    def text(value: np.ndarray) -> str:
        """What `to_value` gave, as text: UTF-8, with � where it is not."""
        return value.tobytes().decode("utf-8", errors="replace")


def _hashed(value: np.ndarray, length: int) -> np.ndarray:
    """Numbers of each group of bytes in a row, the same on every machine: uint64 (2, n - length + 1)."""
    groups = np.lib.stride_tricks.sliding_window_view(value, length).astype(np.uint64)  # (n - length + 1, length)
    key = np.full(len(groups), length, dtype=np.uint64)
    for byte in groups.T:
        key = (key ^ byte) * _MIX  # modulo 2**64
        key ^= key >> np.uint64(32)
    return np.stack([key >> np.uint64(32), key & np.uint64(2**32 - 1)])
