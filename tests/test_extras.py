"""Extras: each package that may be missing is named with an extra that brings it, and the model floor needs none."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hiperceiver.extras import EXTRAS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def distributions(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~ ]", each)[0].lower().replace("_", "-") for each in requirements}


def imported() -> set[str]:
    """The packages that modules of ours import, wherever in the file."""
    names = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - {"hiperceiver", *sys.stdlib_module_names}


@pytest.mark.needs_extras
def test_every_package_that_is_imported_is_required_or_comes_with_an_extra() -> None:
    homes = importlib.metadata.packages_distributions()
    required = distributions(PROJECT["dependencies"])
    for name in imported() - EXTRAS.keys():
        assert {each.lower().replace("_", "-") for each in homes[name]} & required, name
    for name, extra in EXTRAS.items():
        brought = distributions(PROJECT["optional-dependencies"][extra])
        assert {each.lower().replace("_", "-") for each in homes[name]} & brought, name


USES = {
    "rich": "from hiperceiver.training import train",
    "scipy": "task.trivial_answers(1)",
}


@pytest.mark.parametrize("package", USES)
def test_a_missing_package_is_named_with_its_extra(package: str) -> None:
    program = f"""
import sys
sys.modules[{package!r}] = None  # importing it is an ImportError
from hiperceiver import Modality, create_model
from hiperceiver.tasks import MaskedAutoencoding, MaskedAutoencodingConfig
model = create_model("hip-nano", modalities={{"series": Modality(grid=(64,), channels=1)}})
task = MaskedAutoencoding(model, MaskedAutoencodingConfig())
try:
    {USES[package]}
except ModuleNotFoundError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    install = f"pip install 'hiperceiver[{EXTRAS[package]}]'"
    assert result.stdout == f"the package {package!r} is missing; install it with: {install}\n"
