"""Tables and numbers for people: readable on 80 columns, whole when piped."""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hiperceiver.modality import Modality
from hiperceiver.settings.base import printable
from hiperceiver.training.logs import split_compared

PIPED_WIDTH = 1000  # columns where there is no terminal: nothing is broken or cut


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", footer: Sequence[str] = ()
) -> None:
    """Print a table: the first column is left-aligned, the others are numbers. Texts are shown as they are."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_footer=bool(footer), show_edge=False)
    for name, below in zip(columns, footer or [""] * len(columns), strict=True):
        is_first = not table.columns
        justify = "left" if is_first else "right"
        table.add_column(_plain(name), _plain(below), justify=justify, no_wrap=not is_first, overflow="fold")
    for row in rows:
        table.add_row(*map(_plain, row))
    output = Console(file=sys.stdout, width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
    if title:
        output.print(_plain(title), style="bold", soft_wrap=True)
    output.print(table)


def _plain(text: str) -> Text:
    """A text without markup, in which a terminal obeys nothing but the ends of lines."""
    return Text("\n".join(map(printable, text.split("\n"))))


def print_metrics(columns: Mapping[str, Mapping[str, float]], *, title: str) -> None:
    """Print metrics, a row each and a column for each that measured them, in the order of the first.

    What is reached otherwise (`NAME_by_OTHER`) stands in columns of its own, beside what it is compared with.
    """
    own, compared = split_compared(next(iter(columns.values())))
    shown = {name: split_compared(values)[0] for name, values in columns.items()}
    for other in dict.fromkeys(other for others in compared.values() for other in others):
        shown[other.replace("_", " ")] = {name: others[other] for name, others in compared.items() if other in others}
    rows = [(name, *(metric(name, x[name]) if name in x else "" for x in shown.values())) for name in own]
    print_table(("metric", *shown), rows, title=title)


def quantity(value: float, *, step: int = 1000, units: Sequence[str] = ("", " k", " M", " G", " T", " P")) -> str:
    """A number with three digits and a unit, such as 1.79 k."""
    index = 0
    while abs(value) >= step * 0.9995 and index + 1 < len(units):
        value /= step
        index += 1
    digits = 0 if index == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f}{units[index]}"


def memory(num_bytes: float) -> str:
    """A number of bytes, such as 2.33 GiB."""
    return quantity(num_bytes, step=1024, units=(" B", " KiB", " MiB", " GiB", " TiB"))


def shape(modality: Modality) -> str:
    """The sizes of a modality's grid, and its channels; of how many categories, if its values are such."""
    sizes = " x ".join(map(str, (*modality.grid, modality.channels)))
    return f"{sizes} of {modality.num_categories} categories" if modality.num_categories else sizes


def metric(name: str, value: float) -> str:
    """A metric's value: shares in percent, counts whole, others with four digits; `-` where it is not defined."""
    if math.isnan(value):
        return "-"
    if name.startswith("num_"):
        return f"{value:.0f}"
    if "accuracy" in name or "share" in name or name.startswith("explained"):
        return f"{100 * value:.1f}%"
    return f"{value:.3f}" if 0.001 <= abs(value) < 1e4 or value == 0 else f"{value:.3g}"
