import warnings

import numpy as np
import pytest

from hiperceiver.plots.texts import HIDDEN, LINE, MOST_LINES, MOST_TEXTS, cells, draw_texts


def as_bytes(text: str | bytes) -> np.ndarray:
    return np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8)


def test_a_character_stands_at_its_first_byte() -> None:
    assert cells(as_bytes("aü日b")) == ["a", "ü", "", "日", "", "", "b"]
    assert cells(as_bytes(b"a\xffb")) == ["a", "�", "b"]
    assert cells(as_bytes("日".encode()[:2])) == ["�", "�"]


def test_hidden_bytes_are_blocks_and_break_characters() -> None:
    assert cells(as_bytes("aüb"), np.array([False, False, True, True])) == ["a", "�", HIDDEN, HIDDEN]
    assert cells(as_bytes("aüb"), np.array([True, False, False, False])) == [HIDDEN, "ü", "", "b"]


def drawn(text: np.ndarray, made: np.ndarray, hidden: np.ndarray) -> list[str]:
    return [each.get_text() for each in draw_texts([text], [made], [hidden]).axes[0].texts]


def test_input_masked_and_output_stand_below_each_other() -> None:
    hidden = np.array([False, True, True, False])
    assert drawn(as_bytes("ab\nd"), as_bytes("xbyz"), hidden) == [
        *("input", "ab↵d"),
        *("masked", "a  d", " ██"),
        *("output", "a  d", " b", "  y"),
    ]
    figure = draw_texts([as_bytes("ab\nd")], [as_bytes("xbyz")], [hidden], names=["a.txt"])
    assert figure.axes[0].get_title(loc="left") == "a.txt · 50% hidden · 50% of them right"


def test_any_bytes_are_drawn_without_a_warning_and_nothing_is_a_formula() -> None:
    every = as_bytes(bytes(range(256)) + "日本 $x^2$ ع 😀".encode())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_texts([every], [every[::-1]], [np.arange(len(every)) % 2 == 0]).canvas.draw()


def test_of_a_long_text_the_beginning_is_drawn_and_it_is_said() -> None:
    text = as_bytes("x" * 5000)
    assert len(draw_texts([text] * 9, [text] * 9, [np.zeros(5000, bool)] * 9).axes) == MOST_TEXTS
    figure = draw_texts([text] * 2, [text] * 2, [np.zeros(5000, bool)] * 2)
    assert f"the first {LINE * MOST_LINES} of 5000 bytes" in figure.axes[0].get_title(loc="left")
    assert sum(len(each.get_text()) == LINE for each in figure.axes[0].texts) == 3 * MOST_LINES


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": []}, "inputs: expected as many as reconstructions and masks, at least one, got 0, 1 and 1"),
        ({"inputs": [np.zeros(3)]}, r"inputs, example 0: expected uint8 \(3,\), got float64"),
        ({"reconstructions": [as_bytes("ab")]}, r"reconstructions, example 0: expected shape \(3,\), got \(2,\)"),
        ({"is_masked": [np.zeros(2, bool)]}, r"is_masked, example 0: expected bool \(3,\), got bool \(2,\)"),
        ({"names": ["a", "b"]}, "names: expected one for each of 1 examples, got 2"),
    ],
)
def test_wrong_arguments_are_named(change: dict, message: str) -> None:
    text = as_bytes("abc")
    arguments = {"inputs": [text], "reconstructions": [text], "is_masked": [np.zeros(3, bool)], **change}
    with pytest.raises(ValueError, match=message) as caught:
        draw_texts(**arguments)
    assert "\n" not in str(caught.value)
