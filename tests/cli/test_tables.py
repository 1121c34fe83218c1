"""Numbers and tables for people."""

import pytest

from hiperceiver.cli.tables import memory, metric, print_table, quantity, shape
from hiperceiver.modality import Modality


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1.00 k"),
        (1789, "1.79 k"),
        (9_995, "10.0 k"),
        (99_949, "99.9 k"),
        (99_951, "100 k"),
        (999_499, "999 k"),
        (999_600, "1.00 M"),
        (132_280_996, "132 M"),
        (17_590_910_976, "17.6 G"),
        (4.2e15, "4.20 P"),
        (4.2e18, "4200 P"),
    ],
)
def test_quantities_have_three_digits(value: float, text: str) -> None:
    assert quantity(value) == text


def test_shapes() -> None:
    assert shape(Modality(grid=(8, 9), channels=3)) == "8 x 9 x 3"
    assert shape(Modality(grid=(64,), channels=5, num_categories=700)) == "64 x 5 of 700 categories"


def test_memory_is_in_powers_of_1024() -> None:
    assert [memory(n) for n in (512, 1023.9, 1024, 5 * 1024**2, 2_501_967_888)] == [
        "512 B",
        "1.00 KiB",
        "1.00 KiB",
        "5.00 MiB",
        "2.33 GiB",
    ]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.51349, "51.3%"),
        ("top5_accuracy", 1.0, "100.0%"),
        ("explained", -0.25, "-25.0%"),
        ("explained_image", 0.853, "85.3%"),
        ("miou", 0.2391, "0.239"),
        ("loss", 0.0, "0.000"),
        ("loss", 0.00001234, "1.23e-05"),
        ("loss", float("nan"), "-"),
        ("num_examples", 12.0, "12"),
    ],
)
def test_metrics(name: str, value: float, text: str) -> None:
    assert metric(name, value) == text


def test_a_wide_table_is_whole_when_piped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    name = "a name of sixty characters that must not be cut anywhere ..."
    print_table(("name", *"abcdefgh"), [(name, *["123.456"] * 8)], title="T" * 100, footer=("sum", *["9"] * 8))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "T" * 100
    assert any(line.startswith(name) and line.count("123.456") == 8 for line in lines)
    assert lines[-1].split() == ["sum", *["9"] * 8]


def test_texts_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """No markup, no emoji, and nothing that a terminal obeys."""
    rows = [("rate [/s]", "1"), ("weight [kg]", ":x:"), ("[red]s\x1b[31mnd", "2")]
    print_table(("name [bold]", "value"), rows, title="[i]title", footer=("[b]", "3"))
    found = capsys.readouterr().out
    assert [line.rstrip() for line in found.splitlines() if "─" not in line] == [
        "[i]title",
        "name [bold]          value",
        "rate [/s]                1",
        "weight [kg]            :x:",
        "[red]s\\x1b[31mnd        2",
        "[b]                      3",
    ]
