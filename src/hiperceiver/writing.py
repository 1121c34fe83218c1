"""Files that are there whole or not at all, whatever ends the process that writes them. Without torch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; its file takes the place of `path`, and is on the disk, if the context ends without an error.

    The folder of `path` must be there. What a killed process left half written is written over by the next one. What is
    no file, such as `/dev/stdout`, is written to as it is.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, errors: str = "strict") -> None:
    """Write a whole text file in UTF-8, or leave what was there; `errors` as of `str.encode`."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors=errors)
