"""Which weights `experiments.scaled` changes, and by how much."""

import pytest
import torch

from experiments.scaled import PARTS, scale
from hiperceiver import Modality, create_model
from hiperceiver.settings.tasks import ClassificationConfig
from hiperceiver.tasks import Classification


def classifier() -> Classification:
    torch.manual_seed(0)
    model = create_model("hip-nano", modalities={"image": Modality(grid=(32, 32), channels=3)})
    return Classification(model, ClassificationConfig(num_classes=10))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("latents", [f"model.blocks.{block}.latents" for block in range(3)]),
        ("embedding", ["model.embedding.image.weight"]),
        ("query", ["head.query"]),
    ],
)
def test_a_part_is_multiplied_and_nothing_else(part: str, expected: list[str]) -> None:
    before, task = dict(classifier().named_parameters()), classifier()
    scale(task, part, 5.0)
    for name, weight in task.named_parameters():
        assert torch.equal(weight, before[name] * (5.0 if name in expected else 1.0))


def test_the_output_which_starts_at_zero_is_drawn() -> None:
    task = classifier()
    scale(task, "output", 0.5)
    weight = dict(task.named_parameters())["head.output.weight"]
    assert weight.std().item() == pytest.approx(0.5 / weight.shape[1] ** 0.5, rel=0.1)
    assert set(PARTS) == {"latents", "embedding", "query", "output"}
