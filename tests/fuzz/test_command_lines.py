"""Five hundred bad command lines: no traceback, exit code 0, 1 or 2, and of 2 one line and nothing written.

`HIPERCEIVER_FUZZ=20` makes it twenty times as many, `HIPERCEIVER_TEST_SEED` others.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from collections import Counter
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiperceiver.cli import entry
from hiperceiver.data.encoders import ImageEncoder
from hiperceiver.tasks import Classification, ClassificationConfig, save_task

from ..data.pictures import encoded, gradient, write
from ..model.small_models import hip
from .cases import FIRST_SEED, LONGEST, OBEYED, TIMES
from .command_lines import command_line
from .forked import FAULT, outcomes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and counts memory as Linux does")

LINES = 500
AT_ONCE = 100  # lines in a process


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the lines speak of."""
    folder = tmp_path_factory.mktemp("lines") / "folder"
    for number in range(8):
        picture = Image.fromarray(np.roll(gradient(8, 10), number, axis=1))
        write(folder / "pictures" / ("cat", "dog")[number % 2] / f"{number}.png", encoded(picture))
        write(folder / "masks/images" / f"{number}.png", encoded(picture))
        write(folder / "masks/masks" / f"{number}.png", encoded(Image.fromarray(np.eye(8, 10, dtype=np.uint8))))
        wave = "".join(f"{np.sin(number + step / 3):.4f}\n" for step in range(32))
        write(folder / "waves" / f"{number}.csv", wave.encode())
    encoder = ImageEncoder(size=8)
    task = Classification(hip({"image": encoder.modality}), ClassificationConfig(num_classes=2))
    save_task(folder / "model", task, encoders={"image": encoder.to_dict()}, classes=("cat", "dog"))
    (folder / "empty").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "gone").symlink_to("nothing")
    write(folder / "broken.yaml", b"data: [pictures\nsteps: 1")
    write(folder / "list.yaml", b"- data\n- steps\n")
    write(folder / "good.yaml", b"batch_size: 2\nseed: 1\n")
    write(folder / "run.yaml", b"format: 2\ndata: pictures\nsteps: 1\nnot_there: 3\n")
    write(folder / "noise.bin", bytes(range(256)))
    write(folder / "table.csv", b"text,label\nwords,1\n")
    return folder


def contents(folder: Path) -> dict[str, int]:
    """The size of each file, by its path."""
    return {
        os.path.join(at, name): os.lstat(os.path.join(at, name)).st_size
        for at, _, names in os.walk(folder)
        for name in names
    }


def outcome(line: list[str], whole: Path, where: Path) -> str:
    """Runs a line in a copy of the folder; gives its exit code and what it said."""
    shutil.copytree(whole, where, symlinks=True)
    os.chdir(where)
    before, out, err = contents(where), io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = entry.main(line)
    lines = [each for each in err.getvalue().splitlines() if not each.startswith("hip: note: ")]
    assert code in (0, 1, 2), f"exit code {code}: {lines}"
    assert "Traceback" not in err.getvalue()
    assert not any(OBEYED.search(each) for each in (*lines, *out.getvalue().splitlines())), f"cannot be shown: {lines}"
    if code == 0:
        assert not lines, f"done, and yet {lines}"
    else:
        assert lines and all(each.startswith("hip: ") for each in lines), f"exit code {code}, and on stderr {lines}"
        assert max(map(len, lines)) <= LONGEST, f"a line of {max(map(len, lines))} letters: {lines[0][:200]}"
    if code == 2:
        assert len(lines) == 1, f"{len(lines)} lines: {lines}"
        after = contents(where)
        assert after == before, f"refused ({lines[0]}), and yet it wrote {sorted(after.items() ^ before.items())[:3]}"
    os.chdir(whole)
    shutil.rmtree(where)
    return f"{code}: {lines[:1]}"


@pytest.mark.parametrize("part", range(LINES // AT_ONCE))
def test_bad_command_lines(part: int, folder: Path, tmp_path: Path) -> None:
    for name, command in entry.COMMANDS.items():
        import_module(f"hiperceiver.cli.{command.module or name}")  # once, before the process is forked
    count = round(AT_ONCE * TIMES)
    first = FIRST_SEED + part * count
    lines = [command_line(seed) for seed in range(first, first + count)]
    runs = [partial(outcome, line, folder, tmp_path / str(number)) for number, line in enumerate(lines)]
    found = outcomes(runs, seconds=30, megabytes=3000)
    print(f"{count} lines: {dict(Counter(each[:2] for each in found))}")
    if os.environ.get("HIPERCEIVER_FUZZ_SAY"):
        print("\n".join(f"hip {line}\n    {each}" for line, each in zip(lines, found, strict=True)))
    faults = [f"hip {line}\n    {each}" for line, each in zip(lines, found, strict=True) if each.startswith(FAULT)]
    assert not faults, "\n".join(faults)
    assert sum(each.startswith("2") for each in found) > count / 2, "most lines are wrong"
