"""Texts and other bytes with hidden parts, and their reconstruction."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Patch

from hiperceiver.plots import style
from hiperceiver.plots.arrays import checked_examples

HIDDEN = "█"  # a hidden byte
MOST_TEXTS, MOST_LINES, LINE = 6, 6, 96
"""Examples, lines of each (half as many where there are more than two examples), and bytes in each that are drawn."""
_RIGHT, _WRONG = style.LINES[2], style.LINES[1]
_FONT = "DejaVu Sans Mono"
_CELL = 0.0669  # inches of a character, at `style.CAPTION_SIZE`
_INDENT, _LEAST_CELLS = 9, 80  # characters that the name of a row takes, and of the narrowest figure


def cells(values: np.ndarray, is_hidden: np.ndarray | None = None) -> list[str]:
    """A character for each byte, uint8 (n,): UTF-8 where it is, and empty after the first byte of a longer character.

    Hidden bytes, bool (n,), are blocks, and the rest of a character around them is �.

    >>> cells(np.frombuffer("naïve".encode(), np.uint8))
    ['n', 'a', 'ï', '', 'v', 'e']
    >>> "".join(cells(np.frombuffer(b"abc", np.uint8), np.array([False, True, False])))
    'a█c'
    """
    found: list[str] = []
    hidden = np.zeros(len(values), bool) if is_hidden is None else is_hidden
    for character in values.tobytes().decode(errors="surrogateescape"):  # which makes surrogates of broken characters
        length = len(character.encode(errors="surrogateescape"))
        part = hidden[len(found) : len(found) + length]
        if part.any() or "\udc80" <= character <= "\udcff":
            found += [HIDDEN if is_here else "�" for is_here in part]
        else:
            found += [character, *[""] * (length - 1)]
    return found


def marked_text(inputs: np.ndarray, output: np.ndarray, is_masked: np.ndarray) -> str:
    """Input, input with hidden bytes as blocks, and output, all uint8 (n,), below each other."""
    parts = {"input": cells(inputs), "hidden bytes are blocks": cells(inputs, is_masked), "output": cells(output)}
    return "\n\n".join(f"--- {name} ---\n{''.join(characters)}" for name, characters in parts.items()) + "\n"


def draw_texts(
    inputs: Sequence[Any],
    reconstructions: Sequence[Any],
    is_masked: Sequence[Any],
    *,
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Input, its visible bytes, and these with the reconstruction of the others, line below line, for each example.

    Hidden bytes are blocks. In the output, visible bytes are black, reconstructed ones green where they are right and
    orange where they are wrong. A byte is as wide as a letter, also in characters of several bytes. Line breaks are
    shown as ↵, other bytes without a glyph as dots.

    Of each example, `inputs` and `reconstructions` are uint8 (n,), and `is_masked` is bool (n,), True = hidden; n may
    differ. At most `MOST_TEXTS` are drawn.

    >>> import numpy as np
    >>> text = np.frombuffer(b"to be, or not to be", np.uint8)
    >>> figure = draw_texts([text], [text], [np.arange(19) % 3 > 0])
    """
    texts = checked_examples(inputs, reconstructions, is_masked, names, ndim=1, legend="(n,)")
    for number, arrays in enumerate(texts):
        for what, array in zip(("inputs", "reconstructions"), arrays, strict=False):
            if array.dtype != np.uint8:
                raise ValueError(f"{what}, example {number}: expected uint8 {array.shape}, got {array.dtype}")
    texts, names = texts[:MOST_TEXTS], style.legend_texts(names[:MOST_TEXTS], longest=60)

    width = min(LINE, max(len(values) for values, _, _ in texts))
    most = MOST_LINES if len(texts) <= 2 else MOST_LINES // 2
    lines = [min(-(-len(values) // LINE), most) for values, _, _ in texts]
    heights = [3 * count + 1.0 for count in lines]
    across = max(_INDENT + width, _LEAST_CELLS)
    down = 0.155 * sum(heights) + 0.3 * len(texts) + 0.8
    shape = {"rows": len(texts), "count": 0, "gridspec_kw": {"height_ratios": heights}}
    figure, axes = style.new_figure(across * _CELL + 0.2, down, title=title, **shape)
    for number, (ax, count, (values, made, hidden)) in enumerate(zip(axes[:, 0], lines, texts, strict=True)):
        ax.set_xlim(-_INDENT, across - _INDENT)
        ax.set_ylim(3 * count + 0.8, -0.6)
        is_right = made == values
        notes = [*names[number : number + 1], f"{hidden.mean():.0%} hidden"]
        if hidden.any():
            notes.append(f"{is_right[hidden].mean():.0%} of them right")
        if len(values) > (drawn := count * LINE):
            notes.append(f"the first {drawn} of {len(values)} bytes are drawn")
        ax.set_title(" · ".join(notes), loc="left", pad=3, **style.CAPTION)
        masked, output = cells(values, hidden), cells(np.where(hidden, made, values))
        rows = {
            "input": [(cells(values), np.ones(len(values), bool), style.INK)],
            "masked": [(masked, ~hidden, style.INK), (masked, hidden, style.NEUTRAL)],
            "output": [
                (output, ~hidden, style.INK),
                (output, hidden & is_right, _RIGHT),
                (output, hidden & ~is_right, _WRONG),
            ],
        }
        for row, (label, layers) in enumerate(rows.items()):
            top = row * (count + 0.35)
            _write(ax, -_INDENT, top, label, style.SOFT)
            for characters, is_shown, colour in layers:
                shown = [_visible(x) if is_here else " " for x, is_here in zip(characters, is_shown, strict=True)]
                for line in range(count):
                    text = "".join(shown[line * LINE : (line + 1) * LINE]).rstrip()
                    _write(ax, 0.0, top + line, text, colour, fontfamily=_FONT)
    colours = {"visible": style.INK, "hidden": style.NEUTRAL, "right": _RIGHT, "wrong": _WRONG}
    style.add_legend(figure, {name: Patch(facecolor=colour) for name, colour in colours.items()})
    return figure


def _write(ax: Axes, x: float, y: float, text: str, colour: str, **font: Any) -> None:
    if text:
        how = {"fontsize": style.CAPTION_SIZE, "va": "center", "ha": "left", "parse_math": False}
        ax.text(x, y, text, color=colour, **how, **font)


def _visible(character: str) -> str:
    """A character that the font has."""
    if character == "\n":
        return "↵"
    if not character:
        return " "
    return character if character.isprintable() and ord(character) in _glyphs() else "·"


@cache
def _glyphs() -> frozenset[int]:
    """The characters of the font, which comes with matplotlib."""
    return frozenset(get_font(findfont(FontProperties(family=_FONT))).get_charmap())
