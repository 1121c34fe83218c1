"""Files of strangers: which are opened, and the limits on what one may take, all in one place.

A few bytes can promise terabytes, or become as many when they are unpacked. A user whose own files are larger than what
is usual raises a limit by its environment variable.
"""

import os
import stat
from dataclasses import dataclass
from typing import BinaryIO


class Fault(ValueError):
    """What is wrong with a file, found before it is decoded: its text is the whole reason."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The most that there may be of something.

    >>> Limit(variable="MAX_PARTS", default=3, unit="parts").check(4, "has")
    Traceback (most recent call last):
    hiperceiver.limits.Fault: has 4 parts, more than MAX_PARTS=3 in the environment allows
    """

    variable: str
    """Of the environment, by which a user sets another."""
    default: int
    unit: str
    size: int = 1  # of a unit

    @property
    def most(self) -> int:
        """The most that is allowed, not in units."""
        return self._given * self.size

    @property
    def _given(self) -> int:
        text = os.environ.get(self.variable, "") or str(self.default)
        if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text)):
            raise Fault(f"{self.variable}: expected a whole number above 0 in the environment, got {text[:40]!r}")
        return int(text)

    def check(self, amount: float, words: str) -> None:
        """Refuse more than that; `words` stand before the amount in the message, such as "its header states"."""
        if amount > self.most:
            count = f"{amount / self.size:.4g} {self.unit}"
            raise Fault(f"{words} {count}, more than {self.variable}={self._given} in the environment allows")


FILE = Limit(variable="HIPERCEIVER_MAX_FILE_MB", default=1024, unit="MiB", size=2**20)
"""What a file may have that is read whole, and what may be decoded of any: numbers, samples, triangles. Sounds and
films are read in parts: they may be larger, their decoded part not."""
PIXELS = Limit(variable="HIPERCEIVER_MAX_MEGAPIXELS", default=90, unit="million pixels", size=10**6)
"""Of a picture, or a frame of a film, before it is brought to the grid."""
SCANS = 12  # as many times as many pixels as `PIXELS` may a progressive JPEG go through, scan by scan
TEXT = Limit(variable="HIPERCEIVER_MAX_TEXT_MB", default=4, unit="MiB", size=2**20)
"""Of the description of a model, or of a line of a list or table: read, they take many times their size."""
SETTINGS = Limit(variable="HIPERCEIVER_MAX_SETTINGS_KB", default=256, unit="KiB", size=2**10)
"""Of a YAML file of settings, of which a MiB takes five seconds."""


def check_lines(content: bytes) -> None:
    """Refuse text with a line that is longer than `TEXT` allows."""
    start, most = 0, TEXT.most
    while len(content) - start > most:
        window = (start, start + most + 1)
        end = max(content.rfind(b"\n", *window), content.rfind(b"\r", *window))
        if end < 0:
            TEXT.check(most + 1, "has a line of more than")
        start = end + 1


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file: a pipe or a device might never end, or never open. `Fault`: it cannot be opened."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return open(path, "rb")
    except OSError as error:
        raise Fault((error.strerror or "cannot be read").lower()) from error
    raise Fault("is a directory" if stat.S_ISDIR(mode) else "is no regular file")


def read_text(path: str | os.PathLike[str], limit: Limit = TEXT) -> str:
    """A file in UTF-8. `Fault`: it cannot be read, or is larger than the limit allows."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        limit.check(size, "has")
        try:
            return file.read(size).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Fault(f"expected text in UTF-8, got {error.reason} at byte {error.start}") from None
        except OSError as error:
            raise Fault((error.strerror or "cannot be read").lower()) from error
