"""Text in files and names, however it is encoded and its accents are written."""

import codecs
import os
import unicodedata

from hiperceiver import limits
from hiperceiver.limits import Fault, open_file

_BLOCK = 1 << 22


def text_of(content: bytes) -> str:
    """The text of every list and table: UTF-8, or UTF-16 with its byte order mark; without any such mark.

    >>> text_of("\ufeffa".encode()), text_of("a".encode("utf-16"))
    ('a', 'a')
    """
    limits.check_lines(content)
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        raise _no_text(content, error.start, 0) from None


def encoding_of(path: str | os.PathLike[str], *, is_whole_read: bool) -> str:
    """How the text of a file of any length is encoded, as for `text_of`. `Fault`: its first 4 MiB, or all, are not."""
    with open_file(path) as file:
        block = file.read(_BLOCK)
        encoding, position = _encoding(block), 0
        decoder = codecs.getincrementaldecoder(encoding)()
        while block:
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=len(block) < _BLOCK)
            except UnicodeDecodeError as error:
                raise _no_text(error.object, error.start, position - pending) from None
            position += len(block)
            block = file.read(_BLOCK) if is_whole_read else b""
    return encoding


def _encoding(content: bytes) -> str:
    return "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _no_text(content: bytes, place: int, start: int) -> Fault:
    found = f"got the byte 0x{content[place]:02x} at {start + place}"
    return Fault(f"expected text in UTF-8, {found}; save it as UTF-8")


def composed(name: str) -> str:
    """A name with accents in their letters (some systems write them apart, NFD), without invisible marks around it.

    >>> composed("nai\u0308ve") == "na\u00efve" == composed("\ufeffna\u00efve\u200b")
    True
    """
    return unicodedata.normalize("NFC", name).strip("\ufeff\u200b\u2060")
