"""Tables and numbers for people: readable on 80 columns, whole when piped."""

import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from hiperceiver.modality import Modality

PIPED_WIDTH = 1000  # columns where there is no terminal: nothing is broken or cut


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", footer: Sequence[str] = ()
) -> None:
    """Print a table: the first column is left-aligned, the others are numbers."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_footer=bool(footer), show_edge=False)
    for name, below in zip(columns, footer or [""] * len(columns), strict=True):
        is_first = not table.columns
        table.add_column(name, below, justify="left" if is_first else "right", no_wrap=not is_first, overflow="fold")
    for row in rows:
        table.add_row(*row)
    output = Console(file=sys.stdout, width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
    if title:
        output.print(title, style="bold", markup=False, soft_wrap=True)
    output.print(table)


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
    """The sizes of a modality's grid, and its channels."""
    return " x ".join(map(str, (*modality.grid, modality.channels)))


def metric(name: str, value: float) -> str:
    """A metric's value: shares in percent, counts whole, others with four digits."""
    if name.startswith("num_"):
        return f"{value:.0f}"
    if name.endswith("accuracy") or name.startswith("explained"):
        return f"{100 * value:.1f}%"
    return f"{value:.3f}" if 0.001 <= abs(value) < 1e4 or value == 0 else f"{value:.3g}"
