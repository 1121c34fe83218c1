"""Crafted folders: links, pipes, names, lists."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiperceiver.cli import main
from hiperceiver.data.sources import open_source
from hiperceiver.data.sources.tree import Tree

from .harness import assert_command_refuses, assert_refused, run_apart

ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three pictures."""
    rng = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / kind / f"{number}.png")
    return tmp_path / "data"


def _read(folder: Path) -> list[str]:
    source = open_source(folder, size=8, task="classification")
    return sorted(str(getattr(each, "reason", each.name)) for part in source.splits.values() for each in part)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("/proc/self/mem"),
        lambda path: path.symlink_to(path.name),
        lambda path: path.symlink_to("../../nowhere.png"),
    ],
    ids=["fifo", "zero", "memory", "itself", "nowhere"],
)
def test_what_is_no_picture_is_passed_over_or_named(make: Callable[[Path], None], folder: Path) -> None:
    make(folder / "cat" / "x.png")
    found = run_apart(lambda: _read(folder), seconds=3).result  # the first picture loads what it needs
    assert len(found) in (6, 7)


def test_a_link_to_the_whole_disk_is_not_followed(folder: Path) -> None:
    (folder / "cat" / "all").symlink_to("/")
    (folder / "cat" / "up").symlink_to("../..")

    def read() -> list[object]:
        tree = Tree(folder)
        return [sorted(tree.files), tree.warnings()]

    folders, warnings = run_apart(read).result
    assert folders == ["", "cat", "dog"]
    assert "2 links to folders that hold this one are not followed, for example cat/all" in warnings


def test_folders_in_folders_without_end_are_listed_as_far_as_they_go(folder: Path) -> None:
    deep = os.open(folder / "cat", os.O_RDONLY)
    for _ in range(2100):
        os.mkdir("d", dir_fd=deep)
        below = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    try:
        # The system looks each of two thousand up from the first on.
        assert any("cannot be listed" in each for each in run_apart(lambda: Tree(folder).warnings(), seconds=4).result)
    finally:
        subprocess.run(["rm", "-rf", folder / "cat"], check=True)  # Python, and so pytest, cannot remove it


def test_names_that_are_given_do_not_reach_the_terminal_as_they_are(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = str(tmp_path / ESCAPES)
    commands = [
        ["pretrain", "--data", name],
        ["pretrain", "--data", "watch", "--config", name],
        ["predict", name, "a.png"],
        ["evaluate", name],
        ["info", name],
        ["plot", name],
        [ESCAPES],
        ["pretrain", f"--{ESCAPES}"],
    ]
    assert [main(command) for command in commands] == [2] * len(commands)
    lines = "".join(capfd.readouterr()).splitlines()
    assert len(lines) == len(commands) and all(line.isprintable() and "\\x1b" in line for line in lines), lines


def test_names_do_not_reach_the_terminal_as_they_are(folder: Path) -> None:
    """Of classes, files, and what is passed over: whatever a command shows of them."""
    (folder / "cat").rename(folder / f"cat{ESCAPES}")
    (folder / "dog" / f"bad{ESCAPES}.png").write_bytes(b"no picture")
    (folder / "dog" / f"other{ESCAPES}.txt").write_text("passed over")
    options = ["--model", "hip-nano", "--size", "8", "--batch-size", "2", "--max-bad-share", "1", "--num-workers", "0"]
    commands = [
        ["finetune", "--data", str(folder), *options, "--steps", "1", "--out", "run"],
        ["predict", "run", str(folder / "dog")],
    ]
    # A run, and all that has to be loaded for it.
    outcome = run_apart(lambda: [main(command) for command in commands], seconds=60, mebibytes=1500)
    shown = outcome.shown
    assert outcome.result == [0, 1], shown
    assert "cat\\x1b[2J" in shown and "bad\\x1b[2J" in shown
    assert all(line.isprintable() for line in shown.splitlines()), repr(shown)


LISTS = {
    "endless line": ("labels.csv", b"file,label\n" + b"x" * 2**23),
    "endless cell": ("labels.csv", b'file,label\n"' + b"a,b\n" * 10**6),
    "escapes": ("labels.csv", f"file,label\n{ESCAPES}.png,1,2\n".encode()),
    "names": ("labels.csv", b"file,label\n" + b"../../canary.png,cat\n" * 2),
    "columns": ("labels.csv", b"file," * 10**5),
    "no text": ("labels.csv", b"\xff\xfe\x00"),
    "classes": ("classes.txt", b"x" * 2**23),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_that_promise_too_much_are_refused(name: str, folder: Path) -> None:
    file, content = LISTS[name]
    path = folder / file
    path.write_bytes(content)
    assert_refused(lambda: _read(folder), path)


@pytest.mark.parametrize("file", ["labels.csv", "classes.txt"])
def test_lists_of_terabytes_are_refused(file: str, folder: Path) -> None:
    path = folder / file
    path.touch()
    os.truncate(path, 2**43)
    assert_refused(lambda: _read(folder), path, "HIPERCEIVER_MAX_FILE_MB")


def test_files_that_a_list_names_outside_are_not_read(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "outside.png")
    lines = ["file,label", "../outside.png,cat", f"{tmp_path}/outside.png,dog", "cat/0.png,cat", "dog/0.png,dog"]
    (folder / "labels.csv").write_text("\n".join([*lines, "cat/1.png,cat", "dog/1.png,dog", ""]))
    found = run_apart(lambda: _read(folder), seconds=3).result
    assert found == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]


def test_a_command_names_a_pipe_in_place_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    assert_command_refuses(["predict", path, path], path, "expected a run folder")
