"""Files for other programs."""

import json
import os
from pathlib import Path

import pytest

from hiperceiver.cli.errors import UserError
from hiperceiver.cli.results import check_new, write_json


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(str(path), {"a": [float("nan"), 1.5], "b": (float("inf"), "nan"), "c": "ü\udce4"})
    assert json.loads(path.read_text()) == {"a": [None, 1.5], "b": [None, "nan"], "c": "ü\udce4"}
    write_json(None, {"a": object()})  # nothing is asked for


def test_only_new_files_in_folders_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_new(None, "--json")
    check_new("x.json", "--json")
    Path("x.json").touch()
    with pytest.raises(UserError, match=r"--json: x\.json exists already"):
        check_new("x.json", "--json")
    with pytest.raises(UserError, match="--json: a/b is not a directory"):
        check_new("a/b/x.json", "--json")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_one_line() -> None:
    with pytest.raises(UserError, match="^cannot write /dev/full: No space left on device$"):
        write_json("/dev/full", {"a": 1})
