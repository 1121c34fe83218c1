"""The built-in real set `languages`: short texts as raw bytes, and the language that each is in.

The texts are translations of what the web framework Django 5.2 shows its users ("Enter a valid URL.", "Mo", ...). Its
compiled catalogues (.mo) are read; Django itself is not imported. 59,439 texts in the 80 languages that have 400 or
more; half of the texts have 22 bytes or fewer, 5% more than the 128 that are kept. Regional variants are languages of
their own (`es` and `es_AR`), so that no method can be right always. Left out: what is the same as the English text, and
what a language repeats.

**The split is by the English text**: all its translations are in one split, and nothing but the text's own hash and the
seed decides which. 1.5% of the test texts are also in training as a text of another language.

| split | texts |
| --- | --- |
| train | 40,624 |
| validation | 6,113 |
| test | 12,702 |

Baseline on the test split, in six seconds: naive Bayes on groups of three bytes names 73.2% of the languages (73.2%
balanced); the most frequent language is 1.6%. With other seeds (1 to 3) it reaches 72.1% to 74.6%.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import cache

import numpy as np

from hiperceiver.data.baselines import naive_bayes_baseline
from hiperceiver.data.encoders.bytes import BytesEncoder
from hiperceiver.data.faults import faults_of
from hiperceiver.data.members import hash_names
from hiperceiver.data.packages import packaged_files
from hiperceiver.data.record import TEST, TRAIN, VALIDATION, Table
from hiperceiver.data.sources.source import Baseline, Source, SourceOptions, make_source
from hiperceiver.settings.data import NoSettings

LENGTH = 128  # bytes of the grid
FEWEST = 400  # texts: languages with fewer are left out
NOTE = "The texts are messages of one program; a text's language is that of the catalogue in which it stands."


def catalogue(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The messages of a compiled catalogue (.mo): what is translated, without its context, and its translations."""
    order = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}.get(content[:4])
    if order is None:
        raise ValueError("is no compiled catalogue of messages (.mo)")
    _, count, originals, translations = struct.unpack_from(f"{order}4I", content, 4)
    for number in range(count):
        texts = []
        for table in (originals, translations):
            length, start = struct.unpack_from(f"{order}2I", content, table + 8 * number)
            texts.append(content[start : start + length])
        original = texts[0].split(b"\x04")[-1].split(b"\x00")[0]  # context EOT singular NUL plural
        if original:  # the message without text has the catalogue's own facts
            for translation in texts[1].split(b"\x00"):  # a form for each number: "1 file", "2 files"
                yield original, translation


@cache
def read_texts() -> tuple[tuple[str, bytes, bytes], ...]:
    """Language, English text and translation of all that are used, in the order of languages. Read once per process."""
    found: dict[tuple[str, bytes], bytes] = {}
    for path in packaged_files("django", "**/locale/*/LC_MESSAGES/*.mo", source="languages"):
        language = path.parts[-3]
        with faults_of(path):
            for original, translation in catalogue(path.read_bytes()):
                if translation.strip() and translation != original:
                    found.setdefault((language, translation), original)
    count = Counter(language for language, _ in found)
    return tuple(
        (language, original, translation)
        for (language, translation), original in sorted(found.items())
        if count[language] >= FEWEST
    )


def open_languages(own: NoSettings, options: SourceOptions) -> Source:
    """Translated texts; one modality, `text`, the bytes of which the first 128 are kept. Tasks: `classification`."""
    options.check_task("languages", ("classification",))
    languages, originals, translations = zip(*read_texts(), strict=True)
    classes, labels = np.unique(languages, return_inverse=True)
    # Of ten English texts seven, one and two.
    salt = f"{options.split_seed or 0}:".encode()
    shares = np.array([zlib.crc32(salt + original) % 10 for original in originals])
    names = zip(languages, originals, strict=True)
    keys = [f"{language}: ".encode() + text for language, text in zip(languages, translations, strict=True)]
    return make_source(
        name="languages",
        table=Table(
            names=[f"{language}: {original.decode(errors='replace')[:60]!r}" for language, original in names],
            raws={"text": translations},
            targets={"label": labels},
            splits=np.select([shares < 2, shares == 2], [TEST, VALIDATION], TRAIN),
            keys=hash_names(keys),
        ),
        encoders={"text": BytesEncoder(length=LENGTH)},
        options=options,
        classes=classes.tolist(),
        baseline=lambda it: Baseline(name="naive Bayes on 3 bytes", metrics=naive_bayes_baseline(it, modality="text")),
        note=NOTE,
    )
