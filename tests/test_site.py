"""The documentation site has every page, and no page leads out of it. Broken links in it fail `make docs`."""

import contextlib
import io
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hiperceiver.cli.entry import COMMANDS, read_command
from tools.settings_page import PAGE, settings_page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SHAPE = r"\(\d+(?:, \d+)+\)"
OWN_NAMES = {"config", "print-config", "help", "help-all"}


def pages(nav: Any) -> Iterator[str]:
    """The files of a navigation, in its order."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from pages(part)


def test_the_navigation_has_every_page_once() -> None:
    nav = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    assert sorted(pages(nav)) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda each: each.relative_to(DOCS).as_posix())
def test_a_page_leads_to_nothing_outside_of_the_site(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).resolve().is_relative_to(DOCS), f"{target}: name the file in code instead"


def test_the_page_of_settings_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "make docs writes it anew"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_of_settings_has_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    read_command(command, ["--help-all"])
    shown = set(re.findall(r"^  --([\w.-]+)", capsys.readouterr().out, flags=re.M)) - OWN_NAMES
    named = set(re.findall(r"^\| `([\w.-]+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.M))
    assert len(shown) > 0
    endings = {name: {name[at:] for at in range(len(name)) if name[at - 1] in "." or not at} for name in shown}
    assert not [name for name in shown if not endings[name] & named]  # inside a section names are without its prefix


def test_the_shapes_on_the_page_of_the_model_are_the_models() -> None:
    text, names = (DOCS / "model.md").read_text(encoding="utf-8"), {}
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.S | re.M)
    for block in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(block, "model.md", "exec"), names)
        comments = " ".join(line.partition("#")[2] for line in block.splitlines() if line.startswith("print"))
        if "forward_features" in block:
            for line in printed.getvalue().splitlines():
                name, shape = line.split(" (")
                assert f"| `{name}` | ({shape} |" in text
                assert f"{name} ({shape.replace('2', 'B', 1)} " in text  # in the drawing
        elif comments:
            assert re.findall(SHAPE, printed.getvalue()) == re.findall(SHAPE, comments)
    assert len(blocks) == 6
