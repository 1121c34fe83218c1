import numpy as np
import pytest
from sklearn.datasets import make_blobs


@pytest.fixture
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Features (60, 6) in different units, and their three classes."""
    X, y = make_blobs(n_samples=60, n_features=6, centers=3, random_state=0)
    return X * np.array([1, 10, 1e3, 1e-3, 1, 1]), y
