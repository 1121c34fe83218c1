"""Datasets made of others."""

import pytest
import torch

from hiperceiver.data.example import BadExample, Example, WithAbsent
from hiperceiver.modality import Modality

BAD = BadExample("2", "is empty (0 bytes)")
VIDEO = Modality(grid=(2, 2), channels=3)


def example(name: str, **inputs: torch.Tensor) -> Example:
    return Example(inputs=inputs or {"audio": torch.ones(4, 1)}, name=name, targets={"label": torch.tensor(1)})


def test_modalities_that_are_not_there_or_not_shown() -> None:
    whole = example("0", audio=torch.ones(4, 1), video=torch.ones(4, 3))
    dataset = WithAbsent(dataset=[example("0"), whole, BAD], modalities={"video": VIDEO})
    assert len(dataset) == 3
    assert dataset[2] == BAD
    for index in (0, 1):
        shown = dataset[index]
        assert isinstance(shown, Example)
        assert (shown.name, shown.targets["label"]) == ("0", 1)
        assert list(shown.inputs) == ["audio", "video"]
        assert shown.inputs["audio"].all() and "audio" not in shown.is_padding
        assert shown.inputs["video"].shape == (4, 3)
        assert not shown.inputs["video"].any()
        assert shown.is_padding["video"].all()
    assert whole.inputs["video"].all() and not whole.is_padding  # what it is made of stays as it was


@pytest.mark.parametrize("is_there", [True, False])
def test_an_example_with_nothing_else_is_bad(is_there: bool) -> None:
    inputs = {"audio": torch.zeros(4, 1), "video": torch.ones(4, 3)}
    absent = torch.ones(4, dtype=torch.bool)
    lacks_sound = Example(
        inputs=inputs if is_there else {"video": inputs["video"]}, is_padding={"audio": absent}, name="0"
    )
    shown = WithAbsent(dataset=[lacks_sound, example("1")], modalities={"video": VIDEO})
    assert shown[0] == BadExample("0", f"has nothing of {'audio' if is_there else 'other modalities'}")
    assert isinstance(shown[1], Example)
