"""Other people's weights and formats: the published JAX reference's Haiku weights, both ways."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hiperceiver.interop import deepmind
    from hiperceiver.interop.deepmind import load_haiku, to_haiku

_HOMES = {
    "deepmind": "hiperceiver.interop.deepmind",
    "load_haiku": "hiperceiver.interop.deepmind",
    "to_haiku": "hiperceiver.interop.deepmind",
}
"""Public name -> the module that it lives in, or is."""

__all__ = ["deepmind", "load_haiku", "to_haiku"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_HOMES[name])
    value = module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
