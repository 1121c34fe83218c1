"""Crafted WebDataset shards: tar files."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from hiperceiver.data.sources import open_source

from .harness import assert_refused, run_apart


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def _member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    found = tarfile.TarInfo(name)
    found.size = len(content)
    for field, value in fields.items():
        setattr(found, field, value)
    return found, content


def _shard(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return path


def _good(count: int = 6) -> list[tuple[tarfile.TarInfo, bytes]]:
    files = ((_member(f"{n}.png", _png()), _member(f"{n}.cls", str(n % 2).encode())) for n in range(count))
    return [each for pair in files for each in pair]


def _read(folder: Path, task: str = "classification") -> list[str]:
    """What is made of a folder: names of examples, and reasons of bad ones."""
    source = open_source(folder, size=8, task=task)
    return [str(getattr(each, "reason", each.name)) for part in source.splits.values() for each in part]


@pytest.fixture(scope="module", autouse=True)
def _readers_are_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("good")
    _shard(folder / "0.tar", *_good())
    _read(folder)


OUTSIDE = {
    "above": _member("../../canary.png", _png()),
    "absolute": _member("/tmp/canary.png", _png()),
    "link": _member("link.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": _member("hard.png", type=tarfile.LNKTYPE, linkname="../../etc/passwd"),
    "device": _member("zero.png", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
    "pipe": _member("pipe.png", type=tarfile.FIFOTYPE),
    "escapes": _member("\x1b[2J\x1b]0;owned\x07.png", _png()),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_members_are_read_where_they_lie_and_nothing_else(name: str, tmp_path: Path) -> None:
    _shard(tmp_path / "data" / "0.tar", *_good(), OUTSIDE[name])
    found = run_apart(lambda: _read(tmp_path / "data")).result
    assert len(found) == 6
    assert sorted(os.listdir(tmp_path)) == ["data"]


def _header(change: Callable[[bytearray], object], kind: bytes = b"0") -> bytes:
    """A header whose fields say what they like, with a right checksum."""
    member = tarfile.TarInfo("a.png")
    member.type = kind
    block = bytearray(member.tobuf(tarfile.USTAR_FORMAT))
    change(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _size(text: bytes) -> Callable[[bytearray], object]:
    return lambda block: block.__setitem__(slice(124, 136), text)


SHARDS = {
    "terabytes": _header(_size(b"\x80\0\0\0\x7f" + b"\xff" * 7)),
    "negative": _header(_size(b"\xff" * 12)),
    "pax": _header(_size(b"77777777777\0"), b"x") + bytes(512),
    "huge pax": _header(_size(b"\x80\0\0\0\x7f" + b"\xff" * 7), b"x") + bytes(512),
    "huge name": _header(_size(b"\x80\0\0\0\x7f" + b"\xff" * 7), b"L") + bytes(512),
    "record": _header(_size(b"00000001000\0"), b"x") + b"9" * 512,
    "gzip": b"\x1f\x8b\x08" + bytes(10**5),
    "empty": b"",
}


@pytest.mark.parametrize("name", SHARDS)
def test_shards_that_promise_too_much_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "data" / "0.tar"
    path.parent.mkdir()
    path.write_bytes(SHARDS[name])
    assert_refused(lambda: _read(path.parent), path.parent)


@pytest.mark.parametrize(("kind", "task"), [("png", "none"), ("cls", "classification"), ("json", "classification")])
def test_a_member_of_terabytes_is_not_read(kind: str, task: str, tmp_path: Path) -> None:
    path = _shard(tmp_path / "data" / "0.tar", *_good())
    end = len(_good()) * 1024
    with path.open("r+b") as file:
        file.seek(end)
        member = tarfile.TarInfo(f"z.{kind}")
        member.size = 2**42
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        file.truncate(end + 512 + 2**42)  # all holes
    found = run_apart(lambda: _read(tmp_path / "data", task)).result
    assert len(found) == 7
    assert kind != "png" or any("HIPERCEIVER_MAX_FILE_MB" in each for each in found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[" * 100_000, "cannot be read"),
        (b'{"label": ' + b"9" * 5000 + b"}", "cannot be read"),
        (b'{"label": {"a": 1}}', "cannot be read"),
        (b'{"label": "' + b"x" * 10**6 + b'"}', ""),
    ],
)
def test_labels_that_promise_too_much_are_refused(text: bytes, words: str, tmp_path: Path) -> None:
    images = [_member(f"{n}.png", _png()) for n in range(4)]
    members = [each for n, image in enumerate(images) for each in (image, _member(f"{n}.json", text))]
    path = _shard(tmp_path / "data" / "0.tar", *members)
    assert_refused(lambda: _read(path.parent), path.parent, words)
