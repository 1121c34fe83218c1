"""Feature vectors: few positions with many channels each, cut into more tokens with fewer channels.

One token with a thousand channels would give one group of a hierarchical Perceiver all the work and leave the others
nothing. As tokens, features are distinguished by their learned positions. The paper leaves this case open.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from hiperceiver.data.encoders import arrays
from hiperceiver.data.encoders.arrays import RawArray, read_named
from hiperceiver.data.encoders.encoder import Drawing, Encoder, measured
from hiperceiver.data.faults import faults_of
from hiperceiver.modality import Modality
from hiperceiver.settings.encoders import VectorSettings

VECTOR_TOKENS = 128  # tokens that a feature vector is cut into where nobody says it, if it has as many features


class VectorEncoder(VectorSettings, Encoder):
    """One feature vector, or a few of the same features, as (positions * split, C) tokens, and back.

    Token i of a position holds its features from i * C up to (i + 1) * C; the last one is filled up with zeros. Every
    feature has a mean and a deviation of its own.

    >>> encoder = VectorEncoder(features=5, split=3)
    >>> tokens = encoder.encode([1, 2, 3, 4, 5])[0]
    >>> tokens.tolist()
    [[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]]
    >>> encoder.to_value(tokens)
    array([[1., 2., 3., 4., 5.]], dtype=float32)
    """

    other_suffixes: ClassVar[tuple[str, ...]] = ("npy", "npz", "csv", "tsv", "txt")

    @property
    def modality(self) -> Modality:
        """Grid (positions, split), or (split,) of one position; and channels of the tokens."""
        grid = (self.split,) if self.positions == 1 else (self.positions, self.split)
        return Modality(grid=grid, channels=self._channels)

    @property
    def _channels(self) -> int:
        return math.ceil(self.features / self.split)

    @property
    def drawing(self) -> Drawing:
        """Features along a line, a curve for each position."""
        names = tuple(f"position {k}" for k in range(self.positions))
        return Drawing(kind="signals", step="feature", names=names, is_transposed=True)

    def to_value_mask(self, is_marked: np.ndarray, value: np.ndarray, is_padding: np.ndarray) -> np.ndarray:
        """Marks of features, bool (n, features)."""
        features = np.repeat(is_marked.reshape(self.positions, -1), self.modality.channels, axis=1)
        return features[: value.shape[0], : value.shape[1]]

    @classmethod
    def chosen_settings(cls, raws: Iterable[Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Features of the first, in 128 tokens, and their names if it has some; positions of the largest."""
        if {"features", "positions", "split"} <= given.keys():
            return {}
        how = {"array_name": given.get("array_name", ""), "columns": given.get("feature_names", ())}
        found = list(measured(raws, lambda raw: arrays.named_shape_of(raw, 1, 2, **how)))
        shapes, names = [shape for shape, _ in found], given.get("feature_names", found[0][1])
        is_column = len(shapes[0]) == 2 and shapes[0][1] == 1
        features = shapes[0][0] if len(shapes[0]) == 1 or is_column else shapes[0][1]
        features = given.get("features", len(given.get("feature_names", ())) or features)
        channels = -(-features // min(VECTOR_TOKENS, features))
        positions = 1 if is_column else max(shape[0] if len(shape) == 2 else 1 for shape in shapes)
        chosen = {"features": features, "positions": positions, "split": -(-features // channels)}
        return {**chosen, "feature_names": names if len(set(names)) == features else ()}

    def decode(self, raw: RawArray) -> np.ndarray:
        """Vectors (n, features), or one (features,) or (features, 1), n <= positions.

        float32 (n, features), or float64 of numbers in 64 bits: far from 0 float32 is coarse.
        """
        with faults_of(raw):
            array, names = read_named(raw, array_name=self.array_name, columns=self.feature_names)
            if names and self.feature_names:
                array = arrays.columns_of(array, names, self.feature_names)
            is_one = array.shape in [(self.features,), (self.features, 1)]
            values = array.reshape(1, self.features) if is_one else array
            if values.ndim != 2 or values.shape[1] != self.features or len(values) > self.positions:
                count = "one vector" if self.positions == 1 else f"at most {self.positions} vectors"
                raise ValueError(f"expected {count} of {self.features} features, got shape {array.shape}")
            single = arrays.as_float32(values)
            return values.astype(np.float64) if values.dtype.itemsize > 4 else single

    def to_tokens(self, value: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """float32 (n, features) as tokens (positions * split, C)."""
        channels = self._channels
        values = np.zeros((len(value), self.split * channels), dtype=np.float32)
        values[:, : self.features] = arrays.normalised(value, self.mean, self.std)
        return arrays.padded(values.reshape(len(value), self.split, channels), (self.positions, self.split))

    def to_value(self, tokens: Tensor, is_padding: Tensor | None = None) -> np.ndarray:
        """Tokens as float32 (n, features) in the features' units."""
        self.check_tokens(tokens)
        vectors = tokens.reshape(self.positions, -1)[:, : self.features]
        length = math.ceil(arrays.num_present(is_padding, self.positions * self.split) / self.split)
        return arrays.physical(vectors[:length], self.mean, self.std)
