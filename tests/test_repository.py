"""Promises of the package as a whole: what importing it costs, what it shows, and what its files say."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hiperceiver

ROOT = Path(__file__).parents[1]


def modules_after(statement: str) -> set[str]:
    """Names of all modules that are loaded in a fresh interpreter after the statement."""
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize("module", ["hiperceiver", "hiperceiver.cli", "hiperceiver.plots"])
def test_import_does_not_load_torch(module: str) -> None:
    loaded = modules_after(f"import {module}; dir({module})")
    assert module in loaded
    assert not loaded & {"torch", "lightning_fabric", "numpy", "datasets", "matplotlib"}


def test_the_model_floor_trains_without_any_extra() -> None:
    """As if only torch, numpy, safetensors and huggingface_hub were installed: a step of masked auto-encoding."""
    program = """
import sys
for extra in ("lightning_fabric", "tensorboard", "rich", "datasets", "PIL", "matplotlib"):
    sys.modules[extra] = None  # importing it is an ImportError
import torch
from hiperceiver import Batch, Modality, create_model
from hiperceiver.tasks import MaskedAutoencoding, MaskedAutoencodingConfig
import hiperceiver.interop.deepmind
model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
task = MaskedAutoencoding(model, MaskedAutoencodingConfig())
loss, _ = task.loss(Batch(inputs={"image": torch.randn(1, 1024, 3)}))
loss.backward()
print("trained")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stdout == "trained\n", result.stderr


def test_every_public_name_is_there() -> None:
    for name in hiperceiver.__all__:
        assert name in dir(hiperceiver)
        assert getattr(hiperceiver, name) is not None
    from hiperceiver.model import HiP

    assert hiperceiver.HiP is HiP


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'hiperceiver' has no attribute 'Hip'"):
        hiperceiver.Hip  # noqa: B018 - looking it up is the test


def test_version_is_the_one_in_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert hiperceiver.__version__ == project["version"]


def test_every_direct_requirement_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    names = {re.split(r"[\[<>=!~ ]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    assert names - {"hiperceiver"} <= pinned
