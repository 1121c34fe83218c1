"""What README and docs say is so, and what they point to is there; `tests/documents` runs what is to be typed."""

import re

from hiperceiver import limits

from .documents.pages import ROOT, documents


def test_every_limit_is_explained_as_it_is() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for limit in (limits.FILE, limits.PIXELS, limits.TEXT, limits.SETTINGS):
        assert f"| `{limit.variable}` | {limit.default} |" in text


def test_pictures_and_files_that_documents_point_to_are_there() -> None:
    for document in (*documents(), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"):
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (document.parent / target).exists(), f"{document.name} points to {target}, which is not there"
