"""Files of installed packages, found without importing the packages: only their data is wanted."""

from importlib.util import find_spec
from pathlib import Path


def packaged_files(package: str, pattern: str, *, source: str) -> list[Path]:
    """The files of an installed package that match a pattern, in order; at least one.

    Args:
        package: as it would be imported.
        pattern: relative to the package's folder, as for `Path.glob`.
        source: the built-in source that needs them; the extra that installs them has its name.

    Raises:
        ValueError: there are none; the message gives the command that installs them.

    >>> packaged_files("not_there", "data/*.npy", source="watch")
    Traceback (most recent call last):
    ValueError: the source 'watch' needs data/*.npy of not_there: pip install 'hiperceiver[watch]'
    """
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:  # the package above it is not there
        spec = None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if found := sorted(Path(folder).glob(pattern)):
            return found
    raise ValueError(f"the source {source!r} needs {pattern} of {package}: pip install 'hiperceiver[{source}]'")
