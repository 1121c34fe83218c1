"""What README and docs tell a reader to type works."""

import re
import shlex
from pathlib import Path

import pytest

from hiperceiver import limits
from hiperceiver.cli.entry import COMMANDS, read_command

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "weights").rglob("*.md"))]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), flags=re.S | re.M)


def commands() -> list[str]:
    lines = [line for document in DOCUMENTS for block in blocks(document, "console") for line in block.splitlines()]
    return sorted({line.removeprefix("$ ") for line in lines if line.startswith("$ hip ")})


@pytest.mark.parametrize("document", [each for each in DOCUMENTS if blocks(each, "python")], ids=lambda each: each.name)
def test_the_python_in_a_document_runs(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # it may write files
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(document, "python"):  # later ones go on from the earlier ones
        exec(compile(block, str(document), "exec"), names)


@pytest.mark.parametrize("command", commands())
def test_a_command_in_a_document_is_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command.split(" > ")[0], comments=True)[1:]
    if words[0] not in COMMANDS:
        assert words[0] in ("--help", "--version")
        return
    if "--config" in words:
        Path(words[words.index("--config") + 1]).write_text("data: earth\n", encoding="utf-8")
    if "--resume" in words:
        run = Path(words[words.index("--out") + 1])
        run.mkdir(parents=True)
        (run / "settings.yaml").write_text("data: earth\n", encoding="utf-8")
    read_command(words[0], words[1:])  # raises for what it does not understand


def test_every_limit_is_explained_as_it_is() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for limit in (limits.FILE, limits.PIXELS, limits.TEXT, limits.SETTINGS):
        assert f"| `{limit.variable}` | {limit.default} |" in text


def test_pictures_and_files_that_documents_point_to_are_there() -> None:
    for document in (*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"):
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (document.parent / target).exists(), f"{document.name} points to {target}, which is not there"
