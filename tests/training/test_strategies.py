from pathlib import Path

import pytest
import torch
from closeness import assert_close

from hiperceiver.data.collate import collate
from hiperceiver.modality import Modality
from hiperceiver.model import HiP
from hiperceiver.tasks import Joint, JointConfig
from hiperceiver.training import TrainingSettings, train
from hiperceiver.training.strategies import average_weights, find_unused

from .synthetic import Source, Stripes, autoencoding, classification, make_model


def test_weights_without_a_gradient_are_found() -> None:
    batch = collate([Stripes(1)[0]])
    assert find_unused(autoencoding().train(), batch) == []
    task = classification().train()
    names = set(find_unused(task, batch))
    decoder = {name.partition("blocks.2.")[0] + "blocks.2" if "blocks.2." in name else name for name in names}
    assert "model.blocks.2" in decoder
    assert {name.split(".")[1] for name in names} == {"blocks", "readout", "unembedding"}
    assert all(weight.grad is None and weight.requires_grad for weight in task.parameters())
    task.loss(batch)[0].backward()
    for name, weight in task.named_parameters():
        assert (weight.grad is None) == (name in names)


def test_what_a_loaded_joint_task_trains_is_used() -> None:
    """In evaluation mode no label is shown to the model, in training some are."""
    config = JointConfig(labels={"kind": 2})
    modalities = {**make_model().modalities, "kind": Modality(grid=(1,), channels=2, role="label")}
    task, batch = Joint(HiP(make_model().config, modalities), config), collate([Stripes(1)[0]])
    batch.targets["kind"] = batch.targets.pop("label")
    assert find_unused(task.eval(), batch) == find_unused(task.train(), batch)


def test_one_device_shares_with_nobody(tmp_path: Path) -> None:
    settings = TrainingSettings(accelerator="cpu", steps=1, batch_size=4, strategy="ddp")
    assert train(autoencoding(), Source(), settings, tmp_path / "run", show_progress=False).steps == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"devices": 2, "batch_size": 3}, "batch_size: expected a multiple of 2, the processes, got 3"),
        ({"devices": 1, "strategy": "fsdp"}, "devices: expected several for the strategy fsdp, got 1"),
        ({"devices": 2, "strategy": "fsdp", "ema": 0.9}, "ema: expected 0 with the strategy fsdp, got 0.9"),
        (
            {"devices": 2, "strategy": "fsdp", "optimizer": "lamb"},
            "optimizer: expected muon or adamw with the strategy fsdp, got lamb",
        ),
        (
            {"devices": 2, "strategy": "fsdp", "compile": True},
            "compile: expected false with the strategy fsdp, got true",
        ),
    ],
)
def test_what_cannot_be_shared(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        train(classification(), Source(), TrainingSettings(steps=1, **settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_seeds_of_processes_differ() -> None:
    from hiperceiver.training.randomness import seed_everything

    drawn = []
    for seed, rank in [(1, 0), (1, 1), (1, 2), (2, 0), (1, 1)]:
        seed_everything(seed, rank=rank)
        drawn.append(torch.rand(3))
    assert torch.equal(drawn[1], drawn[4])
    assert len({tuple(each.tolist()) for each in drawn}) == 4


def test_average_follows_the_definition() -> None:
    task = classification()
    average = average_weights(task, 0.5)
    weight, averaged = task.head.output.weight, average.module.head.output.weight
    expected = weight.detach().clone()
    for count in range(11):
        with torch.no_grad():
            for each in task.parameters():
                each.add_(torch.randn_like(each))
        average.update_parameters(task)
        decay = min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * weight.detach()
    assert_close(averaged, expected, terms=11, scale=weight.abs().max().item())
