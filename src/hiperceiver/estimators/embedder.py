"""Vectors of any signal, learned without labels."""

from typing import Any, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from hiperceiver.estimators.base import HiPEstimator
from hiperceiver.model import HiP
from hiperceiver.tasks import MaskedAutoencoding
from hiperceiver.training.observers import mean_latents

_FEWEST_SLOTS = 8  # of a group, of which as many are hidden in each; of fewer tokens any are hidden


class HiPEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, HiPEstimator):
    """A network that learns by masked auto-encoding, and gives the mean of its processor's latents as a vector.

    Parameters, `X` and attributes are those of `HiPClassifier`, without `class_weight`, but: with `from_pretrained` and
    neither `steps` nor `max_time`, nothing is trained, and the vectors are those of the pretrained model. Where groups
    have few tokens, any of an example are hidden, unless `task_settings` has a `mask_strategy`.

    >>> X = np.random.default_rng(0).normal(size=(16, 32))
    >>> HiPEmbedder(steps=2, random_state=0).fit_transform(X).shape
    (16, 128)
    """

    kinds = (MaskedAutoencoding.kind,)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on examples; `y` is not looked at.

        Raises:
            ValueError: something is not as it should be; in one line.
        """
        is_given = self.from_pretrained is not None and self.steps is None and self.max_time is None
        return self._fit(X, is_trained=not is_given)

    def transform(self, X: Any) -> np.ndarray:
        """A vector of each example: float32 (examples, channels of the processor's latents)."""
        return self._read(X, mean_latents)

    @property
    def _n_features_out(self) -> int:
        return self.task_.model.processor.config.num_channels

    def _task_settings(self, model: HiP) -> dict[str, Any]:
        sizes = {name: each.num_tokens for name, each in model.modalities.items()}
        if sum(sizes.values()) < 2:
            raise ValueError("X: expected two or more tokens, so that some can be hidden, got 1 feature(s)")
        spans = model.plan(sizes).spans.values()
        return {"mask_strategy": "uniform"} if min(span.num_slots for span in spans) < _FEWEST_SLOTS else {}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
