"""Arrays come in from files, lists and tensors; whatever else comes is one line that names the path."""

import contextlib
import os
import pickle
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_digits_close
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from hiperceiver.data.encoders.arrays import (
    as_float32,
    middle,
    normalised,
    num_present,
    padded,
    physical,
    read_array,
    shape_of,
)
from hiperceiver.data.encoders.normalisation import channel_statistics
from hiperceiver.data.encoders.series import SeriesEncoder
from hiperceiver.data.faults import faults_of, read_file

TABLE = np.array([[1.5, -2.0, 3.0], [4.0, 5.25, 6.0]])


def npy(array: object, **settings: object) -> bytes:
    file = BytesIO()
    np.save(file, array, **settings)
    return file.getvalue()


def npz(**arrays: object) -> bytes:
    file = BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("dtype", ["?", "u1", "<i4", ">i8", "<f2", ">f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_every_real_dtype_comes_back(dtype: str, order: str) -> None:
    array = np.asarray(np.arange(24).reshape(2, 3, 4) % 7, dtype=dtype, order=order)
    for content in (npy(array), npz(anything=array)):
        read = read_array(content)
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


@given(arrays_of.arrays(arrays_of.floating_dtypes() | arrays_of.integer_dtypes(), arrays_of.array_shapes(min_dims=0)))
def test_npy_comes_back_bit_for_bit(array: np.ndarray) -> None:
    np.testing.assert_array_equal(read_array(npy(array)), array)


@pytest.mark.parametrize("ending", ["npy", "npz", "csv", "dat"])
def test_the_content_says_what_a_file_is(tmp_path: Path, ending: str) -> None:
    for content in (npy(TABLE), npz(a=TABLE)):
        if ending in ("csv", "dat") or content.startswith(b"PK") == (ending == "npz"):
            path = written(tmp_path / f"a.{ending}", content)
            np.testing.assert_array_equal(read_array(path), TABLE)
            np.testing.assert_array_equal(read_array(str(path)), TABLE)


@pytest.mark.parametrize(
    "text",
    [
        "1.5,-2,3\n4,5.25,6\n",
        "1.5,-2,3\r\n4,5.25,6",
        "\ufeffa,b,c\n1.5,-2,3\n4,5.25,6\n",
        "a;b;c\n1.5;-2;3\n\n4;5.25;6\n",
        "a,b\tc\td\n1.5\t-2\t3\n4\t5.25\t6\n",
        "  1.5 -2   3\n  4 5.25 6e0 \n",
        '"a, the first","b","c"\n"1.5","-2","3"\n4, 5.25 ,6\n',
        "# made by hand\n1.5,-2,3\n# and more\n4,5.25,6\n",
    ],
    ids=["comma", "crlf", "bom-and-names", "semicolon", "tab", "blanks", "quotes", "comments"],
)
def test_tables(text: str) -> None:
    np.testing.assert_array_equal(read_array(text.encode()), TABLE)


def test_tables_as_numpy_writes_them(tmp_path: Path) -> None:
    for settings in ({}, {"delimiter": ","}, {"delimiter": "\t", "header": "a\tb\tc"}):
        np.savetxt(tmp_path / "a.txt", TABLE, **settings)
        np.testing.assert_array_equal(read_array(tmp_path / "a.txt"), TABLE)


def test_missing_cells_are_nan() -> None:
    table = read_array(b"a,b,c\n,NA,n/a\nnull,NaN, \n1,2,3\n")
    assert np.isnan(table[:2]).all()
    assert table[2].tolist() == [1, 2, 3]


def test_lists_tensors_and_what_has_an_array() -> None:
    class Column:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return TABLE

    for raw in (TABLE.tolist(), tuple(TABLE), torch.tensor(TABLE), torch.tensor(TABLE).bfloat16(), Column()):
        np.testing.assert_array_equal(read_array(raw), TABLE)
    assert np.isnan(read_array([1, None])[1])
    assert read_array(torch.ones(2, requires_grad=True)).tolist() == [1, 1]


def test_named_arrays(tmp_path: Path) -> None:
    path = written(tmp_path / "a.npz", npz(x=TABLE, y=TABLE + 1))
    np.testing.assert_array_equal(read_array(path, array_name="y"), TABLE + 1)
    with pytest.raises(ValueError, match="^expected one array, or array_name, got x, y$"):
        read_array(path)
    with pytest.raises(ValueError, match="^expected an array 'z', got x, y$"):
        read_array(path, array_name="z")
    with pytest.raises(ValueError, match="^array_name: only an .npz file has named arrays, got 'x'$"):
        read_array(npy(TABLE), array_name="x")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.npy", b"", r"is empty \(0 bytes\)"),
        ("a.npy", npy(TABLE)[:-1], r"is cut off: expected float64 of shape \(2, 3\), got 47 bytes of it"),
        ("a.npy", npy(TABLE)[:40], "has a damaged header"),
        ("a.npy", npy(TABLE)[:7], "is no .npy file"),
        ("a.npy", b"words", "is no .npy file"),
        ("a.npy", npy(TABLE).replace(b"(2, 3)", b"(2, x)"), "has a damaged header"),
        ("a.npy", npy(TABLE).replace(b"(2, 3)", b"(2,-3)"), "is cut off"),
        ("a.npy", npy(TABLE).replace(b"(2, 3), }        ", b"(99999999999,), }"), "is cut off"),
        (
            "a.npy",
            npy(TABLE)[:6] + b"\x07\x00" + npy(TABLE)[8:],
            "expected an .npy file of version 1.0 or 2.0, got 7.0",
        ),
        ("a.npy", npy(np.array([{}], dtype=object), allow_pickle=True), "expected real numbers, got pickled"),
        ("a.npy", npy(np.array(["a"])), r"expected real numbers, got <U1 of shape \(1,\)"),
        ("a.npy", npy(np.array([1j])), "expected real numbers, got complex128"),
        ("a.npy", npy(np.array(["2020"], dtype="M8[Y]")), "expected real numbers, got datetime64"),
        ("a.npy", npy(np.zeros(2, dtype=[("x", "f4")])), "expected real numbers, got"),
        ("a.npy", npy(np.zeros((0, 3))), r"is empty \(shape \(0, 3\)\)"),
        ("a.npz", npz(a=TABLE)[:-30], "cannot be decoded: File is not a zip file"),
        ("a.npz", npz(a=TABLE)[:70] + b"???" + npz(a=TABLE)[73:], "cannot be decoded"),
        ("a.npz", b"words", "cannot be decoded: File is not a zip file"),
        ("a.npz", npz(), "expected one array, or array_name, got none"),
        ("a.npz", npz(a=np.array([None])), "expected real numbers, got pickled"),
        ("a.csv", "", r"is empty \(0 bytes\)"),
        ("a.csv", "\n \n", "has no line of numbers"),
        ("a.csv", "a,b\n", "has no line of numbers"),
        ("a.csv", "a,b\n1,2\n3\n", "line 3: expected 2 cells, as in line 2, got 1"),
        ("a.csv", "1,2\n3,four\n", "line 2, cell 2: expected a number, got 'four'"),
        ("a.csv", "day,b\n2020-01-01,2\n", "line 2, cell 1: expected a number, got '2020-01-01'"),
        ("a.csv", '1,2\n3,"4\n5,6\n', "line 2, cell 2: expected a number"),
        ("a.csv", "1,2\n3," + "x" * 1_000, "line 2, cell 2: expected a number, got 'x{40}'"),
        ("a.csv", '1,2\n3,"' + "x" * 200_000, "cannot be decoded: field larger than field limit"),
        ("a.csv", bytes(range(128, 256)), "expected text in UTF-8, got the byte 0x80 at 0; save it as UTF-8"),
        ("a", bytes(range(128, 256)), r"expected an .npy or .npz file or a table as text \(UTF-8\)"),
    ],
)
def test_a_bad_file_is_one_line_with_its_name(tmp_path: Path, name: str, content: bytes | str, reason: str) -> None:
    path = written(tmp_path / name, content)
    for raw in (path, str(path)):
        with pytest.raises(ValueError, match=f": ({reason})") as caught, faults_of(raw):
            read_array(raw)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < len(str(path)) + 130


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "expected an array, lists of numbers, a path or bytes, got NoneType"),
        (7.0, "expected an array, .* got float"),
        ({"a": [1]}, "expected an array, .* got dict"),
        (b"", r"is empty \(0 bytes\)"),
        ([], r"is empty \(shape \(0,\)\)"),
        ([[1, 2], [3]], "expected lists of numbers of one length each"),
        ([{"a": 1}], "expected lists of numbers of one length each"),
        (["a"], "expected real numbers, got <U1"),
        (np.array([object()]), "expected real numbers, got object"),
        (torch.zeros(2, dtype=torch.complex64), "expected real numbers, got complex64"),
        (np.zeros((2, 0)), r"is empty \(shape \(2, 0\)\)"),
    ],
)
def test_what_is_no_array_is_one_line(raw: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}") as caught, faults_of(raw):
        read_array(raw)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [npy(TABLE), npz(a=TABLE), b"a,b\n1.25,2\n3,4\n"], ids=["npy", "npz", "csv"])
def test_every_cut_and_every_changed_byte_is_read_or_refused(content: bytes) -> None:
    rng = np.random.default_rng(0)
    changed = [content[:end] for end in range(len(content))]
    for _ in range(300):
        copy = bytearray(content)
        copy[rng.integers(len(copy))] = rng.integers(256)
        changed.append(bytes(copy))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for each in changed:
            with contextlib.suppress(ValueError), faults_of(each):
                read_array(each)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trapped"),)

    trap = np.array([Trap()], dtype=object)
    for content in (npy(trap), npz(a=trap), pickle.dumps(Trap())):
        with pytest.raises(ValueError, match="pickled|expected an .npy"), faults_of(content):
            read_array(content)
    assert not (tmp_path / "trapped").exists()


def test_a_damaged_file_whose_shape_is_asked_for_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.npz", npz(a=np.ones((3, 2))).replace(b"PK\3\4", b"PK\3\5"))
    with pytest.raises(ValueError, match=r"a\.npz: cannot be decoded: ") as caught:
        shape_of(path, 2)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, reason in [
        ("gone", "no such file or directory"),
        (".", "is a directory"),
        ("pipe", "is no regular file"),
        ("n" * 300, "file name too long"),
    ]:
        with pytest.raises(ValueError, match=reason):
            read_file(tmp_path / name)
    with pytest.raises(ValueError, match=r"\.npy: cannot be decoded: embedded null|null"), faults_of("a\0.npy"):
        read_array("a\0.npy")


def test_numbers_that_float32_cannot_hold_are_refused() -> None:
    assert as_float32(np.array([True, False])).tolist() == [1, 0]
    for bad, reason in [
        ([[1, 2], [3, np.inf]], r"expected finite numbers, got inf at \(1, 1\)"),
        ([-np.inf], r"got -inf at \(0,\)"),
        ([0, np.nan], r"got nan at \(1,\)"),
        ([1e39], r"got 1e\+39 at \(0,\)"),
    ]:
        with pytest.raises(ValueError, match=reason):
            as_float32(np.array(bad))
    assert np.isnan(as_float32(np.array([1, np.nan]), may_miss=True)[1])
    for bad, reason in [([np.nan, np.inf], "got inf"), ([np.nan], "holds no number, only NaN")]:
        with pytest.raises(ValueError, match=reason):
            as_float32(np.array(bad), may_miss=True)


@given(
    arrays_of.arrays(np.float32, (3, 2), elements=st.floats(-1e3, 1e3, width=32)),
    st.tuples(*[st.floats(-1e3, 1e3)] * 2),
    st.tuples(*[st.floats(2.5, 1e3)] * 2),
)
def test_normalised_and_physical_undo_each_other(
    values: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    before = values.copy()
    tokens = normalised(values, mean, std)
    scale = max(1e-30, np.abs(values).max(), *map(abs, mean))  # what is next to nothing underflows
    assert_close(tokens, (values.astype(float) - mean) / std, terms=3, scale=2 * scale / min(std))
    assert_close(physical(torch.from_numpy(tokens).double(), mean, std), values, terms=4, scale=2 * scale)
    np.testing.assert_array_equal(values, before)


def test_tokens_are_never_infinite() -> None:
    for values in (np.array([3e38], dtype=np.float32), np.array([1e39])):
        with pytest.raises(ValueError, match=r"holds .*e\+3., which is .*e\+4. standard deviations"):
            normalised(values, (0.0,), (1e-3,))


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1, 1e6])
def test_statistics_of_any_scale(scale: float) -> None:
    rng = np.random.default_rng(0)
    series = [np.stack([rng.normal(3, 2, 50), np.full(50, 0.1), np.zeros(50)], 1) * scale for _ in range(9)]
    mean, std = channel_statistics(SeriesEncoder(length=50, channels=3).decode, series)
    assert_digits_close(mean, np.concatenate(series).mean(0))
    assert_digits_close(std[0], np.concatenate(series)[:, 0].std())
    assert std[1:] == (1, 1)  # constant channels are not blown up


def test_what_is_absent_at_the_end_is_counted() -> None:
    assert num_present(None, 3) == 3
    for is_padding, length in [([0, 0, 0], 3), ([0, 1, 1], 1), ([1, 1, 0], 3), ([1, 1, 1], 0)]:
        assert num_present(torch.tensor(is_padding, dtype=torch.bool), 3) == length


def test_a_part_of_a_grid() -> None:
    assert (middle(10, 4), middle(3, 4)) == (slice(3, 7), slice(0, 3))
    tokens, is_padding = padded(np.ones((1, 1), dtype=np.float32), (2,))
    assert is_padding is not None
    assert (tokens.tolist(), is_padding.tolist()) == ([[1], [0]], [False, True])
    assert padded(np.ones((2, 1), dtype=np.float32), (2,))[1] is None


@pytest.mark.parametrize(
    "values",
    [
        [1.7e9, 1.7e9 + 1, 1.7e9 + 60],  # seconds since 1970
        np.array([2**40, 2**40 + 7]),
        [[0.0, 300.0], [1.0, 300.00001]],
        [1e-300, 2e-300],  # both become 0
    ],
)
def test_numbers_that_float32_cannot_tell_apart_are_refused(values: object) -> None:
    with pytest.raises(
        ValueError, match=r"^expected numbers that float32 can tell apart, got numbers from .* in channel "
    ):
        as_float32(np.asarray(values))


@pytest.mark.parametrize(
    "values",
    [[1.7e9] * 3, [1.7e9, 1.8e9], [300.0, 300.5], [[np.nan, 1.0], [2.0, 1.5]], np.arange(5, dtype=np.int16) + 20000],
)
def test_other_numbers_are_not(values: object) -> None:
    as_float32(np.asarray(values), may_miss=True)


def test_bytes_behind_an_array_are_refused() -> None:
    """As `np.save` leaves them that was called twice with one file."""
    file = BytesIO()
    np.save(file, np.ones((4, 2)))
    np.save(file, np.zeros((4, 2)))
    with pytest.raises(
        ValueError, match=r"^has 192 bytes behind its array of shape \(4, 2\): several arrays belong into"
    ):
        read_array(file.getvalue())


def test_masked_numbers_are_missing() -> None:
    masked = np.ma.masked_equal(np.array([[1, -9999], [3, 4]]), -9999)
    np.testing.assert_array_equal(read_array(masked), [[1, np.nan], [3, 4]])
    assert read_array(np.ma.masked_equal(np.array([1, 2], np.uint8), 9)).dtype == np.uint8  # nothing is masked
