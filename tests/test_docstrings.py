"""Every example in a docstring runs and prints what it says."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import hiperceiver

MODULES = ["hiperceiver"] + [
    module.name
    for module in pkgutil.walk_packages(hiperceiver.__path__, "hiperceiver.")
    if "__main__" not in module.name
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # examples may write files
    module = importlib.import_module(name)
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0, (
        f"{results.failed} of {results.attempted} examples in {name} failed; see the output above"
    )
