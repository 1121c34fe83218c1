"""A regressor of any signal."""

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, check_consistent_length

from hiperceiver.data.encoders.arrays import plain
from hiperceiver.data.encoders.normalisation import values_apart
from hiperceiver.estimators.base import HiPEstimator, checked_weights
from hiperceiver.modality import Batch
from hiperceiver.tasks import Regression, Task


class HiPRegressor(RegressorMixin, HiPEstimator):
    """A network that reads one or several numbers off signals of any kind.

    Parameters, `X` and attributes are those of `HiPClassifier`, without `class_weight`; `y` is (examples,) or
    (examples, numbers).

    >>> X = np.linspace(0, 1, 16)[:, None]
    >>> HiPRegressor(steps=2, random_state=0).fit(X, np.hstack([X, 1 - X])).predict(X).shape
    (16, 2)
    """

    kinds = (Regression.kind,)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train anew on examples and their numbers; `sample_weight` is as in `HiPClassifier.fit`.

        Raises:
            ValueError: something is not as it should be; in one line.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        y = plain(y)
        if np.asarray(y).dtype.kind in "mM":
            raise ValueError(f"y: expected numbers, got {np.asarray(y).dtype}")
        numbers = check_array(y, ensure_2d=False, dtype="float64", input_name="y")
        if numbers.ndim > 2:
            raise ValueError(f"y: expected shape (examples,) or (examples, numbers), got {numbers.shape}")
        self._has_one_number = numbers.ndim == 1
        weights = checked_weights(sample_weight, numbers)
        if weights is not None:
            numbers = numbers[weights > 0]
        rows = numbers.reshape(len(numbers), -1).copy()
        for column, value in sorted(values_apart(rows)):
            warnings.warn(f"y: {value:g} lies far from all others: taken for a missing one", UserWarning, stacklevel=2)
            rows[rows[:, column] == value, column] = np.nan

        def read_targets(count: int) -> tuple[dict[str, Any], np.ndarray]:
            check_consistent_length(np.empty(count), numbers)
            return {"values": rows}, np.zeros(count, dtype=np.int64)

        return self._fit(X, read_targets=read_targets, weights=weights)

    def predict(self, X: Any) -> np.ndarray:
        """The numbers of each example, in the units and the shape of `y`: float64."""
        numbers = self._read(X, _numbers).astype(np.float64)
        return numbers[:, 0] if self._has_one_number else numbers

    def _restore_from(self, task: Task) -> None:
        super()._restore_from(task)
        assert isinstance(task, Regression)
        self._has_one_number = task.config.num_values == 1

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _numbers(task: Task, batch: Batch) -> Any:
    assert isinstance(task, Regression)
    return task.predict(batch).values
