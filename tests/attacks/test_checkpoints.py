"""Crafted checkpoints of runs."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hiperceiver.training.checkpoints import RUN_KEY, read_checkpoint, write_checkpoint

from .harness import assert_refused


class Writes:
    """Unpickled, it would write a file."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return os.system, ("touch canary",)


class Evaluates:
    """Unpickled, it would evaluate Python."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return eval, ("open('canary', 'w').close()",)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A whole checkpoint."""
    found = tmp_path / "last.ckpt"
    write_checkpoint(found, {RUN_KEY: {"format": 2, "step": 1}, "weights": torch.arange(8.0)})
    return found


@pytest.mark.parametrize("state", [Writes(), {RUN_KEY: {"format": 2, "more": Writes()}}, [Evaluates()]])
@pytest.mark.parametrize("is_old", [False, True])
def test_code_is_not_run(state: object, is_old: bool, path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=not is_old)
    assert_refused(lambda: read_checkpoint(path), path)


def test_a_plain_pickle_is_not_run(path: Path) -> None:
    path.write_bytes(pickle.dumps(Writes()))
    assert_refused(lambda: read_checkpoint(path), path)


def _rewritten(path: Path, change: Callable[[str, bytes], bytes], kind: int = zipfile.ZIP_STORED) -> None:
    """The same archive with other contents."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", kind, compresslevel=1) as archive:
        for name, content in contents.items():
            archive.writestr(name, change(name, content))


@pytest.mark.parametrize("part", ["data.pkl", "data/0"])
def test_an_archive_that_unpacks_to_much_more_is_refused(part: str, path: Path) -> None:
    more = bytes(3 * 2**27)
    _rewritten(path, lambda name, content: content + more * name.endswith(part), zipfile.ZIP_DEFLATED)
    assert_refused(lambda: read_checkpoint(path), path)


@pytest.mark.parametrize("count", [9, 2**20, 2**40])
def test_a_tensor_is_not_read_beyond_its_storage(count: int, path: Path) -> None:
    """What a pickle says of a storage's size is compared with what is there: behind it lies other memory."""
    size = {9: b"K\x09", 2**20: b"J\x00\x00\x10\x00", 2**40: b"\x8a\x06\x00\x00\x00\x00\x00\x01"}[count]

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("data.pkl"):
            return content
        assert content.count(b"K\x08") == 2  # of the storage, and of the tensor
        return content.replace(b"K\x08", size)

    _rewritten(path, change)
    assert_refused(lambda: float(read_checkpoint(path)["weights"].sum()), path)


def test_two_parts_of_one_name_are_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data/0", bytes(32))
    assert_refused(lambda: read_checkpoint(path), path, "several of one")


@pytest.mark.filterwarnings("ignore:.*deprecated:UserWarning")
def test_quantised_tensors_are_refused(path: Path) -> None:
    """Their strides may lead anywhere in memory."""
    torch.save(torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8), path)
    assert_refused(lambda: read_checkpoint(path), path, "quantised")


def test_a_storage_is_no_function(path: Path) -> None:
    content = b"\x80\x02ctorch\nFloatStorage\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R."  # torch.FloatStorage(2**40)
    _rewritten(path, lambda name, whole: content if name.endswith("data.pkl") else whole)
    assert_refused(lambda: read_checkpoint(path), path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02]q\x00(" + b"]" * 100_000 + b".",
        b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
        b"\x80\x02X\xff\xff\xff\x7fabc.",
        b"\x80\x04\x8d" + b"\xff" * 8 + b"abc.",
        b"\x80\x02\x8b\xff\xff\xff\x7f1.",
        b"\x80\x02cbuiltins\ngetattr\n.",
        b"\x80\x02c\x1b[2J\nos\n.",
    ],
)
def test_a_pickle_that_promises_too_much_is_refused(content: bytes, path: Path) -> None:
    _rewritten(path, lambda name, whole: content if name.endswith("data.pkl") else whole)
    assert_refused(lambda: read_checkpoint(path), path)


def test_a_file_of_terabytes_is_refused(path: Path) -> None:
    os.truncate(path, 2**43)
    assert_refused(lambda: read_checkpoint(path), path)


def test_what_is_no_file_is_refused(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)
    assert_refused(lambda: read_checkpoint(path), path, "no such checkpoint")


def test_an_archive_of_other_things_is_refused(path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../canary", b"x")
        archive.writestr("/tmp/canary", b"x")
    path.write_bytes(buffer.getvalue())
    assert_refused(lambda: read_checkpoint(path), path)
