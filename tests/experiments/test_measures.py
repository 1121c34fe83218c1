"""How far apart attended tokens are, against the plain formula and where it is known."""

import pytest
import torch

from experiments.measures import attended_distance, spread_batch
from hiperceiver import Modality, create_model
from hiperceiver.data.example import Example


@pytest.fixture
def model():
    torch.manual_seed(0)
    return create_model("hip-nano", {"image": Modality(grid=(8, 8), channels=3)}).eval()


def test_a_latent_that_attends_to_all_alike_has_the_spread_of_its_group(model) -> None:
    """A group has 4 tokens in a row: their distances from the middle are 1.5, 0.5, 0.5 and 1.5."""
    layer = model.blocks[0].cross_attention
    torch.nn.init.zeros_(layer.query.weight)
    torch.nn.init.zeros_(layer.query.bias)
    assert attended_distance(model, "image", torch.randn(2, 64, 3)) == pytest.approx((1.0, 1.0), rel=1e-5)


def test_a_latent_that_attends_to_one_token_has_no_spread(model) -> None:
    layer = model.blocks[0].cross_attention
    with torch.no_grad():
        layer.query.weight.mul_(1e6)
    distance, equal = attended_distance(model, "image", torch.randn(2, 64, 3))
    assert distance < 0.05 and equal == pytest.approx(1.0)


@pytest.mark.parametrize(("count", "expected"), [(5, [0, 3, 6, 9, 12]), (99, list(range(13)))])
def test_examples_are_taken_from_all_of_a_set(count: int, expected: list[int]) -> None:
    examples = [Example(inputs={"image": torch.full((1, 1), float(number))}) for number in range(13)]
    assert spread_batch(examples, count).inputs["image"].flatten().tolist() == expected


def test_in_shuffled_order_a_group_is_spread_over_the_picture() -> None:
    """The distance is that on the grid, not in the order of the tokens."""
    torch.manual_seed(0)
    shape = {"image": Modality(grid=(8, 8), channels=3)}
    raster, shuffled = (create_model("hip-nano", shape, token_order=order).eval() for order in ("raster", "shuffled"))
    x = torch.randn(2, 64, 3)
    assert attended_distance(raster, "image", x)[1] == pytest.approx(1.0)
    assert attended_distance(shuffled, "image", x)[1] > 2.0
