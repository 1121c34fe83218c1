import numpy as np
import pytest
import torch

from hiperceiver.data.augment import flip_and_turn
from hiperceiver.data.example import Example

GRIDS = {"image": (4, 4), "relief": (2, 2)}


def example(grids: dict[str, tuple[int, int]] = GRIDS) -> Example:
    inputs = {name: torch.arange(float(h * w * 2)).view(h * w, 2) for name, (h, w) in grids.items()}
    return Example(
        inputs=inputs,
        is_padding={"image": inputs["image"][:, 0] < 8},
        targets={"segmentation": inputs["image"][:, 0].long(), "label": torch.tensor(7)},
        name="an example",
    )


def test_labels_and_padding_move_with_the_pixels() -> None:
    for seed in range(16):
        changed = flip_and_turn(example(), GRIDS, np.random.default_rng(seed), is_turned=True)
        assert torch.equal(changed.targets["segmentation"], changed.inputs["image"][:, 0].long())
        assert torch.equal(changed.is_padding["image"], changed.inputs["image"][:, 0] < 8)
        assert changed.targets["label"] == 7
        assert changed.name == "an example"


def test_modalities_move_together() -> None:
    """The corner of one is the corner of the other."""
    corners = {0: 0, 3: 1, 12: 2, 15: 3}
    for seed in range(16):
        changed = flip_and_turn(example(), GRIDS, np.random.default_rng(seed), is_turned=True)
        image, relief = (changed.inputs[name][:, 0] / 2 for name in ("image", "relief"))
        assert corners[int(image[0])] == relief[0]


def test_all_eight_positions_occur_and_only_two_without_turning() -> None:
    def seen(**settings: bool) -> set[tuple[float, ...]]:
        changed = (flip_and_turn(example(), GRIDS, np.random.default_rng(seed), **settings) for seed in range(200))
        return {tuple(x.inputs["image"][:, 0].tolist()) for x in changed}

    assert len(seen(is_turned=True)) == 8
    original = example().inputs["image"][:, 0].view(4, 4)
    assert seen() == {tuple(original.ravel().tolist()), tuple(original.flip(1).ravel().tolist())}


def test_the_same_generator_gives_the_same_change_and_the_original_stays() -> None:
    given = example()
    first, second = (flip_and_turn(given, GRIDS, np.random.default_rng(5), is_turned=True) for _ in range(2))
    assert torch.equal(first.inputs["image"], second.inputs["image"])
    assert torch.equal(given.inputs["image"], example().inputs["image"])


def test_grids_that_cannot_be_turned_are_refused() -> None:
    grids = {"image": (2, 8)}
    assert flip_and_turn(example(grids), grids, np.random.default_rng(0)).inputs["image"].shape == (16, 2)
    with pytest.raises(ValueError, match="image: expected a square grid to flip or turn, got 2x8"):
        flip_and_turn(example(grids), grids, np.random.default_rng(0), is_turned=True)
    with pytest.raises(ValueError, match="sound: expected a 2-D grid to flip or turn, got 16"):
        flip_and_turn(example(), {"sound": (16,)}, np.random.default_rng(0))
