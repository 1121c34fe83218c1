"""The built-in set `languages`: catalogues, the split by English text, and its baseline."""

import gettext
import struct
from pathlib import Path

import pytest

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders import BytesEncoder
from hiperceiver.data.example import Example
from hiperceiver.data.packages import packaged_files
from hiperceiver.data.sources import languages
from hiperceiver.data.sources.languages import catalogue, read_texts
from hiperceiver.data.sources.source import Source

from .reading import built_in

open_languages = built_in("languages")


def originals(source: Source, split: str) -> set[str]:
    dataset = source.splits[split]
    assert isinstance(dataset, EncodedRecords)
    return {dataset.records[index].name.split(": ", 1)[1] for index in range(len(dataset))}


def test_catalogues_are_read_as_the_standard_library_reads_them() -> None:
    for path in packaged_files("django", "contrib/admin/locale/[cdp]*/LC_MESSAGES/*.mo", source="languages"):
        found = list(catalogue(path.read_bytes()))
        with path.open("rb") as file:
            known = gettext.GNUTranslations(file)
        expected = [text.encode() for key, text in known._catalog.items() if key]  # type: ignore[attr-defined]
        assert {translation for _, translation in found} == set(expected)


def test_a_catalogue_by_hand() -> None:
    """Big-endian, with the message without text, a context and two plural forms."""
    pairs = [(b"", b"Language: xx"), (b"a\x04one\x00many", b"eins\x00viele"), (b"two", b"zwei")]
    blob, tables, start = b"", [b"", b""], 28 + 16 * len(pairs)
    for texts in pairs:
        for number, text in enumerate(texts):
            tables[number] += struct.pack(">2I", len(text), start + len(blob))
            blob += text + b"\x00"
    header = struct.pack(">7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    found = list(catalogue(header + tables[0] + tables[1] + blob))
    assert found == [(b"one", b"eins"), (b"one", b"viele"), (b"two", b"zwei")]
    with pytest.raises(ValueError, match=r"^is no compiled catalogue of messages \(.mo\)$"):
        list(catalogue(b"msgid"))


def test_texts_and_languages() -> None:
    source = open_languages(task="classification")
    assert len(source.classes) == 80
    assert {"de", "es", "es_AR", "ja", "uk"} < set(source.classes)
    assert {name: len(part) for name, part in source.splits.items()} == {
        "train": 40624,
        "validation": 6113,
        "test": 12702,
    }
    texts = read_texts()
    assert all(original != translation for _, original, translation in texts)
    assert len({(language, translation) for language, _, translation in texts}) == len(texts)
    example = source.splits["test"][5000]
    assert isinstance(example, Example)
    language, _ = example.name.split(": ", 1)
    assert source.classes[int(example.targets["label"])] == language
    shown = source.encoders["text"].to_value(example.inputs["text"], example.is_padding.get("text"))
    candidates = {translation[:128] for tongue, _, translation in texts if tongue == language}
    assert shown.tobytes() in candidates
    assert isinstance(source.encoders["text"], BytesEncoder)


def test_no_english_text_is_in_two_splits() -> None:
    source = open_languages()
    parts = [originals(source, split) for split in ("train", "validation", "test")]
    names = [{name for name in part if len(name) < 60} for part in parts]  # longer ones are shortened
    assert not names[0] & names[1] and not names[0] & names[2] and not names[1] & names[2]
    assert originals(open_languages(split_seed=1), "test") != parts[2]
    assert originals(open_languages(split_seed=0), "test") == parts[2]


def test_the_baseline_is_that_of_the_docstring() -> None:
    baseline = open_languages(task="classification").baseline
    assert baseline is not None
    assert baseline().metrics == pytest.approx({"accuracy": 0.732, "balanced_accuracy": 0.732}, abs=0.005)
    assert open_languages().baseline is None


def test_mistakes_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^task: the source 'languages' has targets for classification; got 'joint'$"):
        open_languages(task="joint")
    path = tmp_path / "locale" / "xx" / "LC_MESSAGES" / "django.mo"
    path.parent.mkdir(parents=True)
    monkeypatch.setattr(languages, "packaged_files", lambda *_, **__: [path])
    for content in (b"", b"\xde\x12\x04\x95", b"\xde\x12\x04\x95" + bytes(4) + b"\xff" * 24, b"text"):
        path.write_bytes(content)
        read_texts.cache_clear()
        try:
            with pytest.raises(ValueError, match=f"^{path}: [^\n]*$"):
                open_languages()
        finally:
            read_texts.cache_clear()
