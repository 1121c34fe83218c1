"""The `hip` commands and the Python of the documents run, in their order, and commands print the lines below them.

Each document is told in a folder of its own with the data of `folders.py`. Training is cut short.
"""

import glob
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from hiperceiver.cli import main
from hiperceiver.cli.entry import read_command

from .folders import write_folders
from .pages import ROOT, Scene, documents, in_shape, paths_of_files, story

SHORT = ("--steps", "2", "--batch-size", "2")
MODEL, LARGEST = "hip-nano", 24
"""What training is given instead of a document's model, and of larger pictures: a command takes about a second."""

EARTH = "its tiles take most of a minute: tests/cli/test_runs.py"
EXPORT = "an export takes a quarter of a minute: tests/cli/test_export.py"
NOT_RUN = {
    "owner/dataset": "a data set of the Hugging Face hub: no network",
    "serve": "answers until it is stopped: tests/cli/test_serve.py",
    "earth": EARTH,
    "runs/earth": EARTH,
    "runs/land-cover": EARTH,
    "runs/earth-map": EARTH,
    "instruments": "its notes are played first: tests/recipes",
    "exported": EXPORT,
    "program": EXPORT,
    "sound-alone": EXPORT,
    "latents": EXPORT,
    "--recipe": "real data: tests/recipes",
    "--devices": "starts processes: tests/training",
}
"""A word of a command that is only parsed -> why."""

_FILMS = "finetune --data films --data-settings.kind audio+video --encoders.video.size 8 --encoders.audio.rate 4000"
MADE_BEFORE = {
    "runs/pretrained": "pretrain --data pictures --size 32",
    "runs/finetuned": "finetune --data pictures --size 32",
    "runs/films": _FILMS,
    "runs/audio-video": _FILMS,
}
"""A run that a document speaks of without making it -> what makes it."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("documents")
    write_folders(root)
    return root


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(before)


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def shortened(words: list[str]) -> list[str]:
    """A command that trains, cut short; any other as it is."""
    if words[0] not in ("pretrain", "finetune") or any(word.startswith("--print-config") for word in words):
        return words
    more = list(SHORT)
    if "--model" in words or not {"--from", "--recipe", "--resume", "--config"} & {*words}:
        more += ["--model", MODEL]
    if "--size" in words:
        more += ["--size", str(min(LARGEST, int(words[words.index("--size") + 1])))]
    return [*words, *more]


def reason_not_to_run(scene: Scene) -> str | None:
    if scene.faults:
        return None
    return next((reason for word, reason in NOT_RUN.items() if word in scene.words), None)


def check(scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a command, and compare what it prints with the lines below it."""
    capsys.readouterr()
    words = [path for word in scene.words for path in (sorted(glob.glob(word)) if "*" in word else [word])]
    code = main(shortened(words))
    out, err = capsys.readouterr()
    said = f"hip {' '.join(words)}: {code}\n{out}{err}"
    assert code in (1, 2) if scene.faults else code == 0, said
    if scene.target:
        Path(scene.target).write_text(out)
    shape = str.rstrip if words[0] == "info" else in_shape
    told = {shape(line) for line in (out + err).replace(str(tmp_path), "/home/you").splitlines()}
    for line in scene.printed:
        assert line in ("", "...") or shape(line) in told, f"{line!r} is not printed\n{said}"


@pytest.mark.parametrize("document", [each for each in documents() if story(each)], ids=name_of)
def test_a_document_is_a_story_that_can_be_told_again(
    document: Path, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folders, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for path in paths_of_files(document):
        assert Path(path).exists(), f"the document shows the file {path}, which is not among those of this test"
    names: dict[str, object] = {"__name__": "__main__"}  # later Python goes on from earlier
    for scene in story(document):
        if isinstance(scene, str):
            exec(compile(scene, str(document), "exec"), names)
        elif reason_not_to_run(scene):
            read_command(scene.words[0], scene.words[1:])
        else:
            for before, run in pairwise(scene.words):
                if run in MADE_BEFORE and before != "--out" and not Path(run).exists():
                    assert main([*shortened(MADE_BEFORE[run].split()), "--out", run]) == 0
            check(scene, tmp_path, capsys)


def test_what_is_not_run_or_made_before_stands_somewhere() -> None:
    scenes = [scene for document in documents() for scene in story(document)]
    words = {word for scene in scenes if isinstance(scene, Scene) for word in scene.words}
    assert {*NOT_RUN} <= words and {*MADE_BEFORE} <= words
