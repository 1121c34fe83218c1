import pytest
import torch

from hiperceiver.data.collate import collate
from hiperceiver.data.example import BadExample, Example


def example(value: float, *, absent: list[int] | None = None, tokens: int = 3) -> Example:
    is_padding = {}
    if absent is not None:
        is_padding["image"] = torch.zeros(tokens, dtype=torch.bool)
        is_padding["image"][absent] = True
    return Example(
        inputs={"image": torch.full((tokens, 2), value)},
        is_padding=is_padding,
        targets={"label": torch.tensor(int(value))},
        name=f"picture {value}",
    )


def test_examples_are_stacked_in_their_order() -> None:
    batch = collate([example(1), example(2)])
    assert len(batch) == 2
    assert batch.inputs["image"].shape == (2, 3, 2)
    assert batch.inputs["image"][:, 0, 0].tolist() == [1, 2]
    assert batch.targets["label"].tolist() == [1, 2]
    assert batch.targets["label"].dtype == torch.int64
    assert batch.is_padding == {}
    assert batch.skipped == ()


def test_an_example_without_padding_meets_one_that_has_some() -> None:
    batch = collate([example(1), example(2, absent=[2])])
    assert batch.is_padding["image"].tolist() == [[False] * 3, [False, False, True]]


def test_bad_examples_are_left_out_and_named() -> None:
    bad = BadExample("b.jpg", "is empty (0 bytes)")
    batch = collate([bad, example(1), bad, example(2)])
    assert len(batch) == 2
    assert batch.inputs["image"][:, 0, 0].tolist() == [1, 2]
    assert batch.skipped == ("b.jpg: is empty (0 bytes)",) * 2


def test_a_batch_of_bad_examples_is_empty_but_a_batch() -> None:
    batch = collate([BadExample("b.jpg", "is empty (0 bytes)")])
    assert len(batch) == 0
    assert batch.inputs == batch.targets == batch.is_padding == {}
    assert batch.skipped == ("b.jpg: is empty (0 bytes)",)
    assert len(batch.to("cpu")) == 0


def test_examples_of_different_kinds_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"inputs: .* in 'picture 1' and .* in 'picture 2'"):
        collate([example(1), example(2, tokens=4)])
    unlabelled = Example(inputs={"image": torch.zeros(3, 2)}, name="no label")
    with pytest.raises(ValueError, match=r"targets: .* in 'picture 1' and \{\} in 'no label'"):
        collate([example(1), unlabelled])
