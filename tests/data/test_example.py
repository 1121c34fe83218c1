"""Datasets made of others."""

import torch

from hiperceiver.data.example import BadExample, Example, WithAbsent
from hiperceiver.modality import Modality

BAD = BadExample("2", "is empty (0 bytes)")
SOUND = Modality(grid=(4,), channels=1)
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
    nothing = WithAbsent(dataset=[whole], modalities={"audio": SOUND, "video": VIDEO})[0]
    assert isinstance(nothing, Example)
    assert all(padding.all() for padding in nothing.is_padding.values())
