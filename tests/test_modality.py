"""The shared words: what a modality may be, and moving a batch."""

from typing import Any

import pytest
import torch

from hiperceiver.modality import Batch, Modality


def test_tokens_are_the_product_of_the_grid() -> None:
    assert Modality(grid=(224, 224), channels=3).num_tokens == 50176
    assert Modality(grid=(8, 4, 2), channels=1).num_tokens == 64
    assert Modality(grid=[5], channels=1).grid == (5,)  # type: ignore[arg-type]
    assert Modality(grid=7, channels=1).grid == (7,)  # type: ignore[arg-type]


def test_it_is_a_value() -> None:
    assert Modality(grid=(3,), channels=1) == Modality(grid=(3,), channels=1, role="input")
    assert len({Modality(grid=(3,), channels=1), Modality(grid=(3,), channels=1, role="label")}) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid": ()}, "grid: expected one or more whole numbers >= 1, for example (224, 224), got ()"),
        ({"grid": (0, 3)}, "grid[0]: expected a whole number >= 1, got 0"),
        ({"grid": (2.0,)}, "grid[0]: expected a whole number >= 1, got 2.0"),
        ({"grid": (True,)}, "grid[0]: expected a whole number >= 1, got True"),
        ({"channels": 0}, "channels: expected a whole number >= 1, got 0"),
        ({"channels": "3"}, "channels: expected a whole number >= 1, got '3'"),
        ({"channels": True}, "channels: expected a whole number >= 1, got True"),
        ({"num_coordinates": 4}, "num_coordinates: expected 0 to channels=3, got 4"),
        ({"num_coordinates": -1}, "num_coordinates: expected a whole number >= 0, got -1"),
        ({"num_coordinates": 1.0}, "num_coordinates: expected a whole number >= 0, got 1.0"),
        (
            {"num_coordinates": 1, "role": "label"},
            "num_coordinates: expected 0 for a label, which has no position, got 1",
        ),
        ({"num_categories": -1}, "num_categories: expected a whole number >= 0, got -1"),
        (
            {"num_categories": 2**24 + 1},
            "num_categories: expected at most 16777216, which float32 still counts one by one, got 16777217",
        ),
        ({"num_categories": 9, "role": "label"}, "num_categories: expected 0 for a label, got 9"),
        (
            {"num_categories": 9, "num_coordinates": 3},
            "num_categories: expected 0 with num_coordinates, which are amounts, got 9",
        ),
        ({"role": "output"}, "role: expected one of input, label, got 'output'"),
    ],
)
def test_mistakes(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        Modality(**{"grid": (4,), "channels": 3} | settings)
    assert str(error.value) == message


def test_plain_values_and_back() -> None:
    modality = Modality(grid=(4, 5), channels=3, role="label")
    plain = {"grid": [4, 5], "channels": 3, "num_categories": 0, "role": "label", "num_coordinates": 0}
    plain["is_overlapping"] = False
    assert modality.to_dict() == plain
    assert Modality.from_dict(modality.to_dict()) == modality
    assert Modality.from_dict({"grid": [2], "channels": 1}) == Modality(grid=(2,), channels=1)  # of an older version
    points = Modality(grid=(9,), channels=6, num_coordinates=3)
    assert Modality.from_dict(points.to_dict()) == points


def test_outputs() -> None:
    amounts = torch.randn(2, 4, 3)
    modality = Modality(grid=(4,), channels=3)
    assert modality.num_outputs == 3
    assert modality.as_outputs(amounts) is amounts
    modality = Modality(grid=(1,), channels=3, num_categories=12)
    assert modality.num_outputs == 12
    outputs = modality.as_outputs(torch.tensor([[12.0, 1.0, 4.0], [2.0, 0.0, 0.0]]))
    assert outputs.nonzero().tolist() == [[0, 0], [0, 3], [0, 11], [1, 1]]
    assert outputs[0].square().mean() == 1


def test_a_batch_moves_whole() -> None:
    batch = Batch(
        inputs={"image": torch.zeros(3, 4, 1)},
        is_padding={"image": torch.zeros(3, 4, dtype=torch.bool)},
        targets={"label": torch.zeros(3, dtype=torch.int64)},
        skipped=("a.jpg: damaged",),
    )
    assert len(batch) == 3
    assert len(Batch(inputs={})) == 0
    moved = batch.to("meta", non_blocking=True)
    assert moved.skipped == batch.skipped
    assert len(moved) == 3
    for tensors in (moved.inputs, moved.is_padding, moved.targets):
        assert [x.device.type for x in tensors.values()] == ["meta"]
    assert batch.inputs["image"].device.type == "cpu"
