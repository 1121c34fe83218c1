"""Crafted arrays: NumPy's files, tables as text, HDF5."""

import io
import os
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from hiperceiver.data.encoders import BytesEncoder, PointsEncoder, SeriesEncoder, VolumeEncoder
from hiperceiver.data.sources import open_source

from .harness import assert_refused, run_apart

SERIES = SeriesEncoder(length=8, channels=2)


@pytest.fixture(scope="module", autouse=True)
def _readers_are_loaded() -> None:
    SERIES.read(b"1,2\n3,4\n")


def _npy(header: str, content: bytes = bytes(64), *, version: int = 1, length: int | None = None) -> bytes:
    text = header.encode() + b"\n"
    stated = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + stated + text + content


def _of_shape(shape: str, dtype: str = "<f4") -> str:
    return f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"


def _npz(content: bytes, name: str = "a.npy", kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind, compresslevel=1) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def _lying(content: bytes, stated: int) -> bytes:
    """An archive of one file whose headers state another size of it."""
    central = content.index(b"PK\x01\x02")
    local = content[:22] + struct.pack("<I", stated) + content[26:central]
    return local + content[central : central + 24] + struct.pack("<I", stated) + content[central + 28 :]


def _zeros(size: int = 2**25) -> bytes:
    return _npy(_of_shape(f"({size // 8}, 2)"), bytes(size))


PICKLED = b"\x80\x04cposix\nsystem\nX\x0c\x00\x00\x00touch canary\x85R."
FILES = {
    "terabytes.npy": (_npy(_of_shape("(1099511627776, 2)")), "cut off"),
    "digits.npy": (_npy(_of_shape(f"({'9' * 5000},)")), "damaged header"),
    "negative.npy": (_npy(_of_shape("(-1, 2)")), "cut off"),
    "nothing.npy": (_npy(_of_shape("(10000000000000000000000,)", "<U0")), ""),
    "header.npy": (_npy(_of_shape("(2, 2)"), version=2, length=2**32 - 1), "damaged header"),
    "nested.npy": (_npy("(" * 9000), "damaged header"),
    "code.npy": (_npy("__import__('os').system('touch canary')"), "damaged header"),
    "objects.npy": (_npy(_of_shape("(1,)", "|O"), PICKLED), "pickled"),
    "pickle.npy": (PICKLED, "no .npy file"),
    "bomb.npz": (_npz(_zeros()), "HIPERCEIVER_MAX_FILE_MB"),
    "lying.npz": (_lying(_npz(_zeros(2**28)), 1000), ""),
    "lzma.npz": (_lying(_npz(_zeros(), kind=zipfile.ZIP_LZMA), 1000), "compressed"),
    "bzip2.npz": (_lying(_npz(_zeros(), kind=zipfile.ZIP_BZIP2), 1000), "compressed"),
    "above.npz": (_npz(_npy(_of_shape("(2, 2)")), name="../../canary"), "got none"),
    "objects.npz": (_npz(_npy(_of_shape("(1,)", "|O"), PICKLED)), "pickled"),
    "line.csv": (b"1," * 2**24, "a line of"),
    "lines.csv": (b"1,2\n" + b"x" * 2**25, "more than HIPERCEIVER_MAX_FILE_MB=32"),
    "cell.csv": (b"1,2\n" + b"9" * 10**6 + b",2\n", ""),
    "quote.csv": (b'1,2\n"' + b"9,2\n" * 10**5, ""),
    "escapes.csv": (b"1,2\n\x1b[2J\x1b]0;owned\x07,2\n", "line 2"),
}


@pytest.mark.parametrize("name", FILES)
def test_arrays_that_promise_too_much_or_hold_code_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIPERCEIVER_MAX_FILE_MB", "32")  # so that bombs in a test can be small
    content, words = FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    assert_refused(lambda: SERIES.read(str(path)), path, words)


@pytest.mark.parametrize("encoder", [SERIES, VolumeEncoder(size=(2, 2, 2)), PointsEncoder(num_points=8)])
def test_every_kind_of_array_has_the_same_limits(encoder: SeriesEncoder, tmp_path: Path) -> None:
    path = tmp_path / "terabytes.npy"
    path.write_bytes(_npy(_of_shape("(1099511627776, 2)")))
    os.truncate(path, 2**43)  # the file says so too: it is all holes
    assert_refused(lambda: encoder.read(str(path)), path, "HIPERCEIVER_MAX_FILE_MB")


def test_of_bytes_no_more_is_read_than_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "endless.txt"
    path.touch()
    os.truncate(path, 2**43)
    assert run_apart(lambda: BytesEncoder(length=8).read(path).tolist()).result == [0] * 8
    assert_refused(lambda: BytesEncoder(length=8, keep="middle").read(path), path, "HIPERCEIVER_MAX_FILE_MB")


@pytest.fixture
def clouds(tmp_path: Path) -> Path:
    """A folder like ModelNet40's, whose points lie in HDF5."""
    folder = tmp_path / "clouds"
    folder.mkdir()
    (folder / "shape_names.txt").write_text("bed\nsofa\n")
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        with h5py.File(folder / f"ply_data_{split}0.h5", "w") as file:
            file["data"] = rng.normal(size=(8, 32, 3)).astype(np.float32)
            file["label"] = np.arange(8)[:, None] % 2
    return folder


def _open(folder: Path) -> object:
    source = open_source(folder, task="classification")
    return [source.splits["train"][index] for index in range(2)]


def _huge(file: h5py.File) -> None:
    file.create_dataset("data", (8, 2**40, 3), "f4", chunks=(1, 1024, 3))


def _linked(file: h5py.File) -> None:
    file["data"] = h5py.ExternalLink("/etc/passwd", "data")


def _outside(file: h5py.File) -> None:
    file.create_dataset("data", (8, 4, 3), "f4", external=[("/etc/passwd", 0, 384)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((8, 4, 3), "f4")
    layout[:] = h5py.VirtualSource("../other.h5", "data", (8, 4, 3))
    file.create_virtual_dataset("data", layout)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_huge, "HIPERCEIVER_MAX_FILE_MB"),
        (_linked, "other files"),
        (_outside, "other files"),
        (_virtual, "other files"),
    ],
)
def test_hdf5_that_promises_too_much_or_points_elsewhere_is_refused(clouds: Path, make: object, words: str) -> None:
    path = clouds / "ply_data_train0.h5"
    with h5py.File(path, "r+") as file:
        del file["data"]
        make(file)
    assert_refused(lambda: _open(clouds), path, words)


def test_labels_in_hdf5_are_held_to_the_same_limits(clouds: Path) -> None:
    path = clouds / "ply_data_train0.h5"
    with h5py.File(path, "r+") as file:
        del file["label"]
        file.create_dataset("label", (2**40,), "i8", chunks=(1024,))
    assert_refused(lambda: _open(clouds), path, "label")


def test_a_list_of_clouds_names_files_in_their_folder_only(clouds: Path, tmp_path: Path) -> None:
    os.rename(clouds / "ply_data_train0.h5", tmp_path / "other.h5")
    (clouds / "train_files.txt").write_text("../other.h5\n")
    assert_refused(lambda: _open(clouds), clouds / "other.h5", "no such file")
