"""The Hierarchical Perceiver (HiP, arXiv 2202.10890): one network for any raw signal.

>>> import torch
>>> from hiperceiver import Modality, create_model
>>> model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
>>> model({"image": torch.zeros(1, 1024, 3)}).reconstruction["image"].shape
torch.Size([1, 1024, 3])

The names below are loaded when first used, so that `import hiperceiver` is quick and does not load PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hiperceiver.modality import Batch, Modality
    from hiperceiver.model import BlockConfig, HiP, HiPConfig, HiPOutput, PerceiverIO, PerceiverIOConfig, create_model

    __version__: str

__all__ = [
    "Batch",
    "BlockConfig",
    "HiP",
    "HiPConfig",
    "HiPOutput",
    "Modality",
    "PerceiverIO",
    "PerceiverIOConfig",
    "__version__",
    "create_model",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value = version("hiperceiver")
    elif name in __all__:
        home = "hiperceiver.modality" if name in ("Batch", "Modality") else "hiperceiver.model"
        value = getattr(import_module(home), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
