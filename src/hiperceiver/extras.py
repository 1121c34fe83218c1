"""Packages that only some users need: which of our extras brings one that is missing."""

from importlib import import_module
from types import ModuleType

EXTRAS = {
    **dict.fromkeys(("PIL", "av", "datasets", "h5py", "kornia", "soundfile", "trimesh"), "data"),
    **dict.fromkeys(("midirenderer", "mido"), "instruments"),
    **dict.fromkeys(("lightning_fabric", "rich", "scipy", "tensorboard", "yaml"), "train"),
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "export"),
    **dict.fromkeys(("gradio", "starlette"), "serve"),
    "matplotlib": "plots",
    "mpl_toolkits": "earth",
    "pytorch_optimizer": "optimizers",
    "sklearn": "sklearn",
}
"""A package that may be missing -> the extra of ours that installs it."""


def missing_package(error: ModuleNotFoundError) -> str | None:
    """What to say of a package that is missing, in one line; None if it comes with none of our extras.

    >>> missing_package(ModuleNotFoundError(name="lightning_fabric.fabric"))
    "the package 'lightning_fabric' is missing; install it with: pip install 'hiperceiver[train]'"
    """
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    return f"the package {package!r} is missing; install it with: pip install 'hiperceiver[{EXTRAS[package]}]'"


def import_part(name: str) -> ModuleType:
    """A module; where a package that it needs is missing, the `ModuleNotFoundError` says which extra brings it."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if line := missing_package(error):
            raise ModuleNotFoundError(line, name=error.name) from None
        raise
