"""How the C kernels are compiled, and what is done where they cannot be."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hiperceiver.fast.compile import kernels


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What other tests have loaded is not used here, nor the other way round."""
    kernels.cache_clear()
    yield
    kernels.cache_clear()


def test_compiled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []
    run = subprocess.run

    def note(command: list[str], **arguments: Any) -> Any:
        commands.append(command)
        return run(command, **arguments)

    monkeypatch.setattr(subprocess, "run", note)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernels() is not None
    kernels.cache_clear()
    assert kernels() is not None
    assert len(commands) == 1
    assert [path.suffix for path in (tmp_path / "hiperceiver").iterdir()] == [".so"]


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hiperceiver").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernels() is not None


def test_a_compiler_that_fails_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CC", str(broken))
    assert kernels() is not None  # by the next one
    kernels.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert kernels() is None
