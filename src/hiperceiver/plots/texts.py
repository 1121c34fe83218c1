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

HIDDEN = "█"
"""A hidden byte."""
LINE, MOST_LINES = 96, 6
"""Bytes in a line, and lines of an example that are drawn; half as many where there are more than two examples."""
_RIGHT, _WRONG = style.LINES[2], style.LINES[1]
_FONT = "DejaVu Sans Mono"
_CELL = 0.0669
"""Inches of a character, at `style.CAPTION_SIZE`."""
_INDENT, _LEAST_CELLS = 9, 80
"""Characters that the name of a row takes, and of the narrowest figure."""


def cells(values: np.ndarray, is_hidden: np.ndarray | None = None) -> list[str]:
    """A character for each byte: UTF-8 where it is, and empty after the first byte of a longer character.

    Args:
        values: uint8 (n,).
        is_hidden: bool (n,), shown as blocks; the rest of a character around them as �.

    >>> cells(np.frombuffer("naïve".encode(), np.uint8))
    ['n', 'a', 'ï', '', 'v', 'e']
    >>> "".join(cells(np.frombuffer(b"abc", np.uint8), np.array([False, True, False])))
    'a█c'
    """
    found: list[str] = []
    content = values.tobytes()
    hidden = np.zeros(len(content), bool) if is_hidden is None else is_hidden
    while len(found) < len(content):
        start = len(found)
        if hidden[start]:
            found.append(HIDDEN)
            continue
        character = "�"
        length = 1
        for count in range(1, 5):
            try:
                character, length = content[start : start + count].decode(), count
            except UnicodeDecodeError:
                continue
            break
        if hidden[start : start + length].any():
            character, length = "�", 1
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
    max_examples: int = 6,
) -> Figure:
    """Input, its visible bytes, and these with the reconstruction of the others, line below line, for each example.

    Hidden bytes are blocks. In the output, visible bytes are black, reconstructed ones green where they are right and
    orange where they are wrong. A byte is as wide as a letter, also in characters of several bytes. Line breaks are
    shown as ↵, other bytes without a glyph as dots.

    >>> import numpy as np
    >>> text = np.frombuffer(b"to be, or not to be", np.uint8)
    >>> figure = draw_texts([text], [text], [np.arange(19) % 3 > 0])

    Args:
        inputs: For each example uint8 (n,); n may differ.
        reconstructions: Like `inputs`.
        is_masked: For each example bool (n,), True = hidden.
        names: A name for each example, or none.
        title: Above the figure.
        max_examples: At most so many are drawn.

    Raises:
        ValueError: There is no example, or the shapes do not fit each other.
    """
    if max_examples < 1:
        raise ValueError(f"max_examples: expected a whole number >= 1, got {max_examples!r}")
    texts = checked_examples(inputs, reconstructions, is_masked, names, ndim=1, legend="(n,)")
    for number, arrays in enumerate(texts):
        for what, array in zip(("inputs", "reconstructions"), arrays, strict=False):
            if array.dtype != np.uint8:
                raise ValueError(f"{what}, example {number}: expected uint8 {array.shape}, got {array.dtype}")
    texts, names = texts[:max_examples], style.legend_texts(list(names)[:max_examples], longest=60)

    width = min(LINE, max(len(values) for values, _, _ in texts))
    most = MOST_LINES if len(texts) <= 2 else MOST_LINES // 2
    lines = [min(-(-len(values) // LINE), most) for values, _, _ in texts]
    heights = [3 * count + 1.0 for count in lines]
    across = max(_INDENT + width, _LEAST_CELLS)
    figure = style.new_figure(across * _CELL + 0.2, 0.155 * sum(heights) + 0.3 * len(texts) + 0.8)
    axes = figure.subplots(len(texts), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for number, (ax, count, (values, made, hidden)) in enumerate(zip(axes, lines, texts, strict=True)):
        ax.set_axis_off()
        ax.set_xlim(-_INDENT, across - _INDENT)
        ax.set_ylim(3 * count + 0.8, -0.6)
        right = int((made == values)[hidden].sum())
        text = f"{hidden.mean():.0%} hidden"
        if hidden.any():
            text += f" · {right / hidden.sum():.0%} of them right"
        if len(values) > (drawn := count * LINE):
            text += f" · the first {drawn} of {len(values)} bytes are drawn"
        text = f"{names[number]} · {text}" if names else text
        ax.set_title(text, fontsize=style.CAPTION_SIZE, color=style.SOFT, loc="left", pad=3)
        output = np.where(hidden, made, values)
        rows = {
            "input": [(cells(values), np.ones(len(values), bool), style.INK)],
            "masked": [
                (cells(values, hidden), ~hidden, style.INK),
                (cells(values, hidden), hidden, style.NEUTRAL),
            ],
            "output": [
                (cells(output), ~hidden, style.INK),
                (cells(output), hidden & (made == values), _RIGHT),
                (cells(output), hidden & (made != values), _WRONG),
            ],
        }
        for row, (label, layers) in enumerate(rows.items()):
            top = row * (count + 0.35)
            _write(ax, -_INDENT, top, label, style.SOFT, is_mono=False)
            for characters, is_shown, colour in layers:
                for line in range(count):
                    part = slice(line * LINE, (line + 1) * LINE)
                    shown = [
                        _visible(each) if is_here else " "
                        for each, is_here in zip(characters[part], is_shown[part], strict=True)
                    ]
                    _write(ax, 0.0, top + line, "".join(shown).rstrip(), colour)
    colours = {"visible": style.INK, "hidden": style.NEUTRAL, "right": _RIGHT, "wrong": _WRONG}
    style.add_legend(figure, [Patch(facecolor=colour) for colour in colours.values()], list(colours))
    style.add_title(figure, title)
    return figure


def _write(ax: Axes, x: float, y: float, text: str, colour: str, *, is_mono: bool = True) -> None:
    if text:
        font = {"fontfamily": _FONT} if is_mono else {}
        how = {"fontsize": style.CAPTION_SIZE, "va": "center", "ha": "left", "parse_math": False}
        ax.text(x, y, text, color=colour, **font, **how)


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
