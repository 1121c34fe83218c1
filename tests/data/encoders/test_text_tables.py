"""Tables as people's programs write them: what is a name, a row's number or a channel is told, or said, or refused."""

import re

import numpy as np
import pytest

from hiperceiver.data.encoders.text_tables import columns_in_words, read_text_table

ROWS = [[0.5, -2.25], [1.5, 3.0], [-4.0, 0.125]]


def lines(form: str) -> str:
    return "".join(form.format(n, n + 1, *row) + "\n" for n, row in enumerate(ROWS))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (lines("{2},{3}"), ()),
        ("a,b\n" + lines("{2},{3}"), ("a", "b")),
        ("0,1\n" + lines("{2},{3}"), ("0", "1")),  # pandas without names of columns
        (",0,1\n" + lines("{0},{2},{3}"), ("0", "1")),
        ("2019,2020\n0.5,-2.25\n1.5,3.0\n-4.0,0.125\n", ("2019", "2020")),
        (",400,410\n" + lines("{0},{2},{3}"), ("400", "410")),  # wavelengths
        (",a,b\n" + lines("{0},{2},{3}"), ("a", "b")),  # pandas with its index
        (",a,b\n7,0.5,-2.25\n3,1.5,3\n900,-4,0.125\n", ("a", "b")),  # of chosen rows
        ("Unnamed: 0,a,b\n" + lines("{0},{2},{3}"), ("a", "b")),  # read and written again
        (",Unnamed: 0,a,b\n" + lines("{0},{1},{2},{3}"), ("a", "b")),
        ('"","a","b"\n' + lines('"{1}",{2},{3}'), ("a", "b")),  # R's write.csv
        ('"a" "b"\n' + lines('"{1}" {2} {3}'), ("a", "b")),  # R's write.table
        ('"a","b"\n' + lines('"{1}",{2},{3}'), ("a", "b")),  # with commas
        ("a,b\n" + lines("{1},{2},{3}"), ("a", "b")),  # without quotes
        ("\ta\tb\n" + lines("{0}\t{2}\t{3}"), ("a", "b")),
        ("a;b\n" + lines("{2};{3}"), ("a", "b")),
        ("a,b,\n" + lines("{2},{3},"), ("a", "b")),  # each line ends with a comma
        ("a,b\n" + lines("{2},{3},"), ("a", "b")),
        (lines("{2};{3};"), ()),
        (lines('"{2}","{3}"'), ()),
        ("# made by hand\n#a,b\n" + lines("{2},{3}"), ()),
        (lines("{2},{3}").replace("\n", "\r"), ()),
        ("a,b\r\n0.5,-2.25\n1.5,3\r-4,0.125\r\n", ("a", "b")),
        ("time (s) level (m)\n" + lines("{2} {3}"), ("", "")),  # four words over two columns
        ("time,inf\n" + lines("{2},{3}"), ("time", "inf")),
    ],
)
def test_names_and_numbers_of_rows_are_no_data(text: str, names: tuple[str, ...]) -> None:
    table = read_text_table(text)
    assert table.numbers.tolist() == ROWS
    assert table.names == names


@pytest.mark.parametrize(
    ("text", "shape", "words"),
    [
        ("0,1\n4,5\n6,7\n", (3, 2), "columns without names, the first line is '0,1'"),
        ("2001,2002\n0.5,1.5\n", (2, 2), "columns without names, the first line is '2001,2002'"),
        ("2,327\n2,619\n", (2, 2), "columns without names, the first line is '2,327'"),
        ("index,a\n0,0.5\n1,1.5\n", (2, 2), "columns index, a"),
        ("5,3\n0.5,1.5\n2.5,3.5\n4.5,5.5\n", (4, 2), "columns without names, the first line is '5,3'"),
        ("1,2\n0.5,1.5\n2.5,3\n4.5,5.5\n", (4, 2), "columns without names, the first line is '1,2'"),
        (",a\n0.5,1\n0.5,2\n", (2, 2), "columns without a name, a"),  # no numbers of rows
        (",a\n,5\n,6\n", (2, 2), "columns without a name, a"),
        ("2,32\n1,50\n3,41\n", (3, 2), "columns without names, the first line is '2,32'"),
    ],
)
def test_what_cannot_be_told_is_said(text: str, shape: tuple[int, int], words: str) -> None:
    assert read_text_table(text).numbers.shape == shape
    assert columns_in_words(text) == words


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2,000\n2,327\n", "line 1: got '2,000', which looks like numbers with decimal commas"),
        ("0,0471\n1,5\n2,25\n", "line 1: got '0,0471', which looks like numbers with decimal commas"),
        ("2,5,3,05\n2,7,3,10\n", "line 1: got '2,5,3,05', which looks like numbers with decimal commas"),
        ("1,2\n-0,3\n", "line 1: got '1,2', which looks like numbers with decimal commas"),
        ("x\n2,000\n", "line 2, cell 1: expected a number, got '2,000'; write numbers with decimal points"),
        ("x;y\n2,0;3,5\n", "line 2, cell 1: expected a number, got '2,0'; write numbers with decimal points"),
        ('1,2\n2.5,"3,5"\n', "line 2, cell 2: expected a number, got '3,5'; write numbers with decimal points"),
        ("x,y\n2,0,3,5\n", "line 1: expected 4 names, one for each cell of line 2, got 2: are there decimal commas?"),
        (
            ",x\n0,2,0\n1,3,5\n",
            "line 1: expected 3 names, one for each cell of line 2, got 2: are there decimal commas?",
        ),
        (
            "x,y\n1,5,2\n2,7,3\n",
            "line 1: expected 3 names, one for each cell of line 2, got 2: are there decimal commas?",
        ),
        ("# a\nx,y,z\n2,3\n", "line 2: expected 2 names, one for each cell of line 3, got 3"),
        ("x,y\n2020-01-01,1,2\n", "line 1: expected 3 names, one for each cell of line 2, got 2"),
        ("x,y\ns,m\n1,2\n", "line 2, cell 1: expected a number, got 's'"),
        ("1,2\n3 m,4\n", "line 2, cell 1: expected a number, got '3 m'"),
        ("1,2\nx,y\n", "line 2, cell 1: expected a number, got 'x'"),
        (
            "time x\n0.5,1.5\n",
            "line 2, cell 1: expected a number, got '0.5,1.5'; cells are parted by blanks, as in line 1",
        ),
        (
            "0,5 1,5\n0,5 2,5\n",
            "line 2, cell 2: expected a number, got '5 2'; cells are parted by commas, as in line 1",
        ),
        ("1|2\n3|4\n", "line 2, cell 1: expected a number, got '3|4'; cells are parted by blanks, as in line 1"),
        ("1,2\n3\n", "line 2: expected 2 cells, as in line 1, got 1"),
    ],
)
def test_faults_name_line_and_cell(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}"):
        read_text_table(text)


def test_missing_cells_at_the_end_are_no_end_of_the_table() -> None:
    table = read_text_table("a,b\n1,\n2,\n")
    assert table.names == ("a", "b")
    assert np.isnan(table.numbers[:, 1]).all()
