"""Models as scikit-learn's estimators: fit, predict and transform in three lines."""

from typing import TYPE_CHECKING, Any

from hiperceiver.extras import import_part

if TYPE_CHECKING:
    from hiperceiver.estimators.classifier import HiPClassifier
    from hiperceiver.estimators.embedder import HiPEmbedder
    from hiperceiver.estimators.regressor import HiPRegressor

__all__ = ["HiPClassifier", "HiPEmbedder", "HiPRegressor"]


def __getattr__(name: str) -> Any:
    """What needs PyTorch and scikit-learn is loaded when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    part = import_part(f"hiperceiver.estimators.{name.removeprefix('HiP').lower()}")
    globals()[name] = value = getattr(part, name)
    return value
