"""Other people's weights and formats: the published JAX reference's Haiku weights, both ways.

The names are loaded when first used, so that the import does not load PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hiperceiver.interop import deepmind
    from hiperceiver.interop.deepmind import load_haiku, to_haiku

__all__ = ["deepmind", "load_haiku", "to_haiku"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module("hiperceiver.interop.deepmind")
    return module if name == "deepmind" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
