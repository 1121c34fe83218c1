"""What documents tell a reader to type, and what they say that it prints."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Scene(NamedTuple):
    """A `hip` command in a document."""

    words: list[str]  # behind `hip`
    target: str | None  # the file that its output goes to
    printed: list[str]  # the lines below it

    @property
    def faults(self) -> list[str]:
        """Those that say that something failed."""
        return [line for line in self.printed if line.startswith("hip: ") and not line.startswith("hip: note: ")]


def documents() -> list[Path]:
    """All that are for a reader's terminal."""
    found = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "weights").rglob("*.md")]
    return [ROOT / "README.md", *sorted(found)]


def paths_of_files(document: Path) -> list[str]:
    """The paths in blocks that show how files lie: the first word of a line."""
    lines = [line for _, block in _blocks(document, "files") for line in block.splitlines()]
    return [line.split()[0] for line in lines if line[:1].strip() and not line.startswith("...")]


def story(document: Path) -> list[Scene | str]:
    """The `hip` commands and the Python of a document, in their order."""
    told: list[Scene | str] = []
    for language, block in _blocks(document, "console|python"):
        told += [block] if language == "python" else _scenes(block)
    return told


def _blocks(document: Path, languages: str) -> list[tuple[str, str]]:
    """Language and content of what stands between ```language and ```."""
    text = document.read_text(encoding="utf-8")
    return re.findall(rf"^```({languages})\n(.*?)^```", text, flags=re.S | re.M)


def _scenes(block: str) -> list[Scene]:
    found: list[Scene] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            words = shlex.split(line, comments=True)[1:]
            target = words[-1] if ">" in words else None
            found.append(Scene(words[: words.index(">")] if target else words, target, []))
        elif found:
            found[-1].printed.append(line)
    return [scene._replace(words=scene.words[1:]) for scene in found if scene.words[0] == "hip"]


def in_shape(line: str) -> tuple[str, ...]:
    """A line's words, in any order and with # for numbers: these differ from run to run, and widths with them."""
    line = re.sub(r"-?\d+(?:[.,:]\d+)*(?:e-?\d+)?", "#", line.replace("─", " "))
    return tuple(sorted(re.split(r"[\s,]+", line.strip())))
