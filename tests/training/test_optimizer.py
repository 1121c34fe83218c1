import re
import sys

import pytest
import torch
from closeness import assert_close
from torch import nn

from hiperceiver.modality import Modality
from hiperceiver.model import HiP, HiPConfig, create_model
from hiperceiver.settings.run import OptimizerName, TrainingSettings
from hiperceiver.training.optimizer import (
    MuonAdamW,
    group_weights,
    make_optimizer,
    orthogonal,
    set_learning_rate,
)

from .synthetic import GRID, block, classification


def test_groups_by_name() -> None:
    task = classification()
    groups = group_weights(task)
    # Beside biases and norms: what is looked up or learned as a table.
    latents = {
        "head.query",
        "model.blocks.0.latents",
        "model.blocks.1.latents",
        "model.blocks.2.latents",
    }
    rest = set(groups.rest) - latents
    assert latents < set(groups.rest)
    assert groups.tables == ("model.positions.image.table",)
    assert groups.categories == ()
    assert all(name.endswith(".bias") or re.search(r"norm\.weight$", name) for name in rest)
    assert {"head.output.weight", "model.embedding.image.weight", "model.unembedding.image.weight"} < set(
        groups.matrices
    )
    assert not any("norm" in name or "position" in name for name in groups.matrices)
    names = [name for name, _ in task.named_parameters()]
    assert sorted(name for group in groups for name in group) == sorted(names)


@pytest.mark.parametrize("positions", [{"position_channels": 4}, {"positions": "fourier", "fourier_bands": 2}])
def test_projections_of_positions_do_not_decay(positions: dict) -> None:
    blocks = (block(4, 4, 8), block(1, 4, 16), block(4, 4, 8))
    config = HiPConfig(blocks=blocks, embedding_channels=8, **positions)
    groups = group_weights(HiP(config, {"image": Modality(grid=GRID, channels=3)}))
    assert "positions.image.projection.weight" in groups.rest


def test_frozen_weights_are_in_no_group() -> None:
    task = classification()
    task.model.requires_grad_(False)
    assert all(name.startswith("head.") for group in group_weights(task) for name in group)
    task.requires_grad_(False)
    with pytest.raises(ValueError, match="task: expected weights to train"):
        make_optimizer(task, TrainingSettings())


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "lamb"])
def test_only_matrices_shrink_without_a_gradient(optimizer: OptimizerName) -> None:
    module = nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3))
    nn.init.ones_(module[1].bias)
    optim = make_optimizer(module, TrainingSettings(optimizer=optimizer, learning_rate=0.1, weight_decay=0.5))
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    for weight in module.parameters():
        weight.grad = torch.zeros_like(weight)
    optim.step()
    for name, weight in module.named_parameters():
        if name != "1.weight":
            assert_close(weight, before[name])
        elif optimizer == "lamb":  # the decay is a part of the move, whose length follows the weight's
            assert weight.norm() < before[name].norm()
        else:
            assert_close(weight, (1 - 0.1 * 0.5) * before[name])


def test_position_tables_have_a_rate_and_a_decay_of_their_own() -> None:
    task = classification()
    settings = TrainingSettings(learning_rate=0.1, position_rate=5.0, position_decay=0.2)
    optimizer = make_optimizer(task, settings)
    table, other = (task.get_parameter(f"model.{name}") for name in ("positions.image.table", "blocks.0.latents"))
    before = table.detach().clone(), other.detach().clone()
    table.grad, other.grad = torch.ones_like(table), torch.ones_like(other)
    set_learning_rate(optimizer, 0.01)
    optimizer.step()
    assert_close(table, before[0] * (1 - 0.05 * 0.2) - 0.05)  # AdamW's first move is the rate
    assert_close(other, before[1] - 0.01)


def test_vectors_of_categories_have_a_rate_of_their_own() -> None:
    model = create_model("hip-text", {"text": Modality(grid=(4,), channels=2, num_categories=8)})
    assert group_weights(model).categories == ("embedding.text.weight",)
    optimizer = make_optimizer(model, TrainingSettings(learning_rate=0.1, embedding_rate=3.0))
    vectors, other = (model.get_parameter(name) for name in ("embedding.text.weight", "blocks.0.latents"))
    before = vectors.detach().clone(), other.detach().clone()
    vectors.grad, other.grad = torch.ones_like(vectors), torch.ones_like(other)
    set_learning_rate(optimizer, 0.01)
    optimizer.step()
    assert_close(vectors, before[0] - 0.03)  # AdamW's first move is the rate; they do not decay
    assert_close(other, before[1] - 0.01)


def weights_of(shapes: list[tuple[int, int]]) -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in shapes]


def test_matrices_move_as_with_the_muon_of_pytorch() -> None:
    shapes = [(8, 4), (4, 8), (8, 4), (6, 6), (1, 3), (8, 4)]
    own, reference = weights_of(shapes), weights_of(shapes)
    ours = MuonAdamW([{"params": own, "use_muon": True}], lr=0.05, weight_decay=0.1, fused=True)
    theirs = torch.optim.Muon(reference, lr=0.05, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for a, b in zip(own, reference, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        ours.step()
        theirs.step()
    # Moves are computed in bfloat16, four of at most 0.05 x 0.2 x sqrt(8) x 1.2 in each entry.
    for a, b in zip(own, reference, strict=True):
        assert_close(a, b, scale=4 * 0.034, dtype=torch.bfloat16)


def test_all_singular_values_come_near_one() -> None:
    torch.manual_seed(0)
    for shape in [(3, 16, 16), (2, 48, 16), (2, 16, 64)]:
        matrices = torch.randn(shape) @ torch.diag(torch.logspace(0, 1, shape[2]))
        values = torch.linalg.svdvals(orthogonal(matrices).float())
        assert values.min() > 0.4 and values.max() < 1.3
        # The directions stay.
        u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
        assert ((u @ vh) * orthogonal(matrices).float()).sum((1, 2)).min() > 0.85 * min(shape[1:])


def test_no_gradient_moves_nothing_and_a_gradient_of_zeros_stays_finite() -> None:
    weight, still = weights_of([(4, 4), (4, 4)])
    before = weight.detach().clone(), still.detach().clone()
    optimizer = MuonAdamW([{"params": [weight, still], "use_muon": True}], lr=0.1, weight_decay=0.0, fused=True)
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert_close(weight, before[0])
    assert_close(still, before[1])


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(ValueError, match=r"^optimizer: lamb needs .*pip install 'hiperceiver\[optimizers\]'$"):
        make_optimizer(nn.Linear(2, 2), TrainingSettings(optimizer="lamb"))
