"""What kind of signal a file holds, by the ending of its name."""

from collections.abc import Sequence

from hiperceiver.data.encoders import ENCODERS

KINDS = tuple(kind for kind, encoder in ENCODERS.items() if encoder.suffixes or encoder.other_suffixes)
"""The kinds of encoders that read files."""

_FIRST = ("video", *(kind for kind in KINDS if kind != "video"))  # of equally many files the first: a GIF is a clip
ENDINGS = {kind: ENCODERS[kind].suffixes for kind in _FIRST if ENCODERS[kind].suffixes}
"""Kind -> endings of its files. A GIF is a clip unless most of the files are pictures."""


def endings_of(kind: str) -> tuple[str, ...]:
    """All endings of a kind's files, if the user names the kind: the usual ones first. `bytes` may have any."""
    return (*ENDINGS.get(kind, ()), *(ending for ending in ENCODERS[kind].other_suffixes if ending != "*"))


def kind_of(name: str, *, among: Sequence[str] | None = None) -> str | None:
    """The kind of a file by its name; None if it is not known. Of kinds that the user chose, other endings count too.

    >>> kind_of("1.JPG"), kind_of("1.npy"), kind_of("1.npy", among=["volume"]), kind_of("1.exe")
    ('image', 'series', 'volume', None)
    """
    ending = ending_of(name)
    for kind in ENDINGS if among is None else among:
        if ending in ENDINGS.get(kind, ()):
            return kind
    return next((kind for kind in among or () if {ending, "*"} & set(ENCODERS[kind].other_suffixes)), None)


def ending_of(name: str) -> str:
    """The part behind a name's last dot, in small letters; empty if there is none."""
    return name.rpartition(".")[2].lower() if "." in name.strip(".") else ""


def split_kinds(kind: str) -> tuple[str, ...]:
    """The kinds in a setting such as `audio+video`.

    >>> split_kinds("audio+video")
    ('audio', 'video')
    """
    kinds = tuple(map(str.strip, kind.split("+")))
    if len(set(kinds)) < len(kinds) or not set(kinds) <= set(KINDS):
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, or several as audio+video, got {kind!r}")
    return kinds
