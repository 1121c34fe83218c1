import re

import pytest
import torch
from closeness import assert_close
from torch import nn

from hiperceiver.modality import Modality
from hiperceiver.model import HiP, HiPConfig
from hiperceiver.training.optimizer import group_weights, make_optimizer

from .synthetic import GRID, block, classification


def test_groups_by_name() -> None:
    task = classification()
    groups = group_weights(task)
    # Beside biases and norms: what is looked up or learned as a table.
    tables = {
        "head.query",
        "model.positions.image.table",
        "model.blocks.0.latents",
        "model.blocks.1.latents",
        "model.blocks.2.latents",
    }
    rest = set(groups.kept) - tables
    assert tables < set(groups.kept)
    assert all(name.endswith(".bias") or re.search(r"norm\.weight$", name) for name in rest)
    assert {"head.output.weight", "model.embedding.image.weight", "model.unembedding.image.weight"} < set(
        groups.decayed
    )
    assert not any("norm" in name or "position" in name for name in groups.decayed)
    names = [name for name, _ in task.named_parameters()]
    assert sorted((*groups.decayed, *groups.kept)) == sorted(names)


@pytest.mark.parametrize("positions", [{"position_channels": 4}, {"positions": "fourier", "fourier_bands": 2}])
def test_projections_of_positions_do_not_decay(positions: dict) -> None:
    blocks = (block(4, 4, 8), block(1, 4, 16), block(4, 4, 8))
    config = HiPConfig(blocks=blocks, embedding_channels=8, **positions)
    groups = group_weights(HiP(config, {"image": Modality(grid=GRID, channels=3)}))
    assert "positions.image.projection.weight" in groups.kept


def test_frozen_weights_are_in_no_group() -> None:
    task = classification()
    task.model.requires_grad_(False)
    groups = group_weights(task)
    assert all(name.startswith("head.") for name in (*groups.decayed, *groups.kept))
    task.requires_grad_(False)
    with pytest.raises(ValueError, match="task: expected weights to train"):
        make_optimizer(task, learning_rate=1.0, weight_decay=0.1)


def test_only_matrices_shrink_without_a_gradient() -> None:
    module = nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3))
    nn.init.ones_(module[1].bias)
    optimizer = make_optimizer(module, learning_rate=0.1, weight_decay=0.5)
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    for weight in module.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in module.named_parameters():
        factor = 1 - 0.1 * 0.5 if name == "1.weight" else 1.0
        assert_close(weight, factor * before[name])
