"""What `X` is: rows of features as scikit-learn has them, or values of one or several modalities."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from hiperceiver.data.encoders.arrays import plain
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.sources.values import Taken, take_values

ONLY = "x"
"""The name of the modality of an `X` that names none."""
NUMBERS = "numbers"
"""The modality of a data frame's columns of numbers, beside others."""


def is_rows(X: Any) -> bool:
    """Whether `X` is rows of features, which scikit-learn's own checks are for."""
    if hasattr(X, "toarray"):  # sparse; some of them are mappings
        return True
    if isinstance(X, Mapping):
        return False
    if _is_frame(X):
        return all(_is_of_numbers(X[name]) for name in X.columns)
    try:
        array = np.asarray(X)
    except ValueError:  # lists of several lengths
        return False
    if array.dtype.kind == "O":
        return array.ndim == 2
    return array.ndim <= 2 and array.dtype.kind in "biufc"


def take_inputs(
    estimator: BaseEstimator,
    X: Any,
    *,
    only: str,
    kinds: Mapping[str, str],
    encoders: Mapping[str, Encoder],
    rates: Mapping[str, int],
    reset: bool,
) -> dict[str, Taken]:
    """The modalities of `X` and their values.

    Args:
        estimator: keeps `n_features_in_` and `feature_names_in_` of rows of features, or compares with them; of a data
            frame with other columns too `number_names_in_`, by which columns of numbers are found again.
        X: a mapping of values, a data frame, or the values of one modality.
        only: the name of the modality where `X` names none.
        kinds: modality -> kind of its encoder, where the user names it.
        encoders: modality -> its encoder, where there is one already.
        rates: modality -> samples per second of sounds that are arrays.
        reset: whether the estimator is being fitted.

    Raises:
        ValueError: `X` cannot be read; in one line.
    """
    X = [plain(each) for each in X] if isinstance(X, list) else plain(X)
    if _is_frame(X) and not X.columns.is_unique:
        raise ValueError(f"X: expected each column once, got {X.columns[X.columns.duplicated()][0]!r} twice")
    is_of_rows = is_rows(X)
    if reset:
        for name in ("n_features_in_", "feature_names_in_", "number_names_in_"):
            vars(estimator).pop(name, None)
    if is_of_rows or hasattr(estimator, "n_features_in_"):
        X = validate_data(estimator, X, reset=reset)
    columns = _modalities(X, only, getattr(estimator, "number_names_in_", None))
    if reset and _is_frame(X):
        estimator.number_names_in_ = _numbers_of(X)  # pyright: ignore[reportAttributeAccessIssue]
    if unknown := [name for name in kinds if name not in columns]:
        raise ValueError(f"modalities: expected names among {', '.join(columns)}, got {unknown[0]!r}")
    if encoders and (unknown := [name for name in columns if name not in encoders]):
        raise ValueError(f"X: expected modalities among {', '.join(encoders)}, got {unknown[0]!r}")
    return {
        name: take_values(name, values, kinds.get(name), encoder=encoders.get(name), rate=rates.get(name))
        for name, values in columns.items()
    }


def _modalities(X: Any, only: str, known: Sequence[Any] | None) -> dict[str, Any]:
    """Modality -> values; `known` are the columns of numbers in their order, if they are known already."""
    if isinstance(X, Mapping):
        if not X:
            raise ValueError("X: expected one or more modalities, got an empty mapping")
        return {str(name): X[name] for name in X}
    if not _is_frame(X):
        return {only: X}
    numbers = _numbers_of(X) if known is None else list(known)
    expected = f"X: expected the columns of numbers {', '.join(map(str, numbers)) or 'none'}"
    if lacking := [name for name in numbers if name not in X.columns]:
        raise ValueError(f"{expected}; got none called {lacking[0]!r}")
    if unknown := [name for name in _numbers_of(X) if name not in numbers]:
        raise ValueError(f"{expected}; got {unknown[0]!r}, too")
    columns = {str(name): X[name] for name in X.columns if name not in numbers}
    if numbers:
        columns[NUMBERS] = X[numbers].to_numpy(dtype=np.float64)
    return columns


def _numbers_of(X: Any) -> list[Any]:
    return [name for name in X.columns if _is_of_numbers(X[name])]


def _is_frame(X: Any) -> bool:
    return hasattr(X, "columns") and hasattr(X, "iloc")


def _is_of_numbers(column: Any) -> bool:
    return getattr(column.dtype, "kind", "O") in "biufc"
