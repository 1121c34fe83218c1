"""Trained models by name: folders of the package `hiperceiver-weights`, which holds files and no code.

It is a package of its own, in `weights/` of the repository, so that this one stays small. A model's folder has the two
files of a saved model, its card (`README.md`), and `SHA256SUMS`; one without weights has a card that says how they are
made.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from hiperceiver.settings.base import did_you_mean

PACKAGE = "hiperceiver_weights"
CARD_FILE = "README.md"
SUMS_FILE = "SHA256SUMS"


def named_models() -> dict[str, Path]:
    """The folder of each model that is installed, by name, in order; empty without the package.

    >>> all((folder / CARD_FILE).is_file() for folder in named_models().values())
    True
    """
    spec = find_spec(PACKAGE)
    folders = (Path(place) for place in (spec and spec.submodule_search_locations) or ())
    cards = sorted(card for folder in folders for card in folder.glob(f"*/{CARD_FILE}"))
    return {card.parent.name: card.parent for card in cards}


def folder_of_name(name: str) -> Path | None:
    """The folder of a model by name, its files compared with their checksums; None if there is no such name.

    Raises:
        ValueError: a file is missing or is not what was published, or the model is one whose weights are not given out.
    """
    folder = named_models().get(name)
    if folder is None:
        return None
    if not (folder / SUMS_FILE).is_file():
        raise ValueError(f"{name}: its weights are not given out; hip models {name} says why, and how to make them")
    for line in (folder / SUMS_FILE).read_text(encoding="utf-8").splitlines():
        expected, file = line.split(maxsplit=1)
        path = folder / file
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            found = "another file" if path.is_file() else "none"
            raise ValueError(f"{name}: expected the {file} that was published, got {found}: install {PACKAGE} anew")
    return folder


def unless_named(name: str) -> str:
    """Behind "no such folder": that there is no model of that name either, where it could be one.

    >>> unless_named("./somewhere")
    ''
    """
    if "/" in name or "." in name:
        return ""
    if not (known := named_models()):
        return "; models by name need the package hiperceiver-weights, which is not installed"
    return f" and no model of that name, of which there are {', '.join(known)}{did_you_mean(name, known)}"
