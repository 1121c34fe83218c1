from pathlib import Path

import pytest
import torch

from hiperceiver.model import save_model
from hiperceiver.tasks import MaskedAutoencoding, Task, save_task
from hiperceiver.training import TrainingSettings, start_from, train
from hiperceiver.training.finetune import Start

from .synthetic import Source, Stripes, autoencoding, classification, make_model

TABLE = "positions.image.table"


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_task(tmp_path_factory.mktemp("pretrained"), autoencoding(seed=7))


def trained(task: Task, folder: Path) -> set[str]:
    """Names of the weights that two steps of training change."""
    before = {name: weight.clone() for name, weight in task.state_dict().items()}
    source = Source(splits={"train": Stripes(20)})
    train(task, source, TrainingSettings(steps=2, batch_size=4), folder, show_progress=False)
    return {name for name, weight in task.state_dict().items() if not torch.equal(weight, before[name])}


def test_all_weights_are_taken_and_trained(tmp_path: Path, pretrained: Path) -> None:
    task, expected = classification(seed=1), make_model(seed=7).state_dict()
    report = start_from(task, pretrained)
    assert set(report.loaded) == set(expected)
    assert set(report.new) == {f"head.{name}" for name in task.head.state_dict()}
    assert report.unused == ()
    for name, weight in task.model.state_dict().items():
        assert torch.equal(weight, expected[name])
    changed = trained(task, tmp_path / "run")
    assert f"model.{TABLE}" in changed
    assert "head.output.weight" in changed


def test_positions_only(tmp_path: Path, pretrained: Path) -> None:
    task, expected = classification(seed=1), make_model(seed=7).state_dict()
    other = make_model(seed=1).state_dict()
    report = start_from(task, pretrained, mode="positions")
    assert report.loaded == (TABLE,)
    for name, weight in task.model.state_dict().items():
        assert torch.equal(weight, expected[name] if name == TABLE else other[name])
    assert f"model.{TABLE}" in trained(task, tmp_path / "run")


def test_all_but_positions(tmp_path: Path, pretrained: Path) -> None:
    task, expected = classification(seed=1), make_model(seed=7).state_dict()
    own = make_model(seed=1).state_dict()[TABLE]
    report = start_from(task, pretrained, mode="all-but-positions")
    assert set(report.loaded) == set(expected) - {TABLE}
    assert TABLE in report.new and report.unused == (TABLE,)
    for name, weight in task.model.state_dict().items():
        assert torch.equal(weight, own if name == TABLE else expected[name])
    assert f"model.{TABLE}" in trained(task, tmp_path / "run")


def test_frozen_positions(tmp_path: Path, pretrained: Path) -> None:
    task = classification(seed=1)
    start_from(task, pretrained, mode="frozen-positions")
    changed = trained(task, tmp_path / "run")
    assert f"model.{TABLE}" not in changed
    assert "model.embedding.image.weight" in changed
    assert torch.equal(task.model.state_dict()[TABLE], make_model(seed=7).state_dict()[TABLE])


def test_frozen_backbone(tmp_path: Path, pretrained: Path) -> None:
    task = classification(seed=1, dropout=0.5)
    # A model that differs in dropout alone takes the same weights.
    start_from(task, pretrained, mode="frozen-backbone")
    seen = []
    task.model.processor.register_forward_hook(lambda part, _, output: seen.append((part.training, output)))
    changed = trained(task, tmp_path / "run")
    assert changed
    assert all(name.startswith("head.") for name in changed)
    assert not any(is_training for is_training, _ in seen)


def test_another_size_is_resized_and_said(pretrained: Path, tmp_path: Path) -> None:
    from hiperceiver.modality import Modality
    from hiperceiver.model import HiP

    model = make_model(seed=1)
    larger = HiP(model.config, {"image": Modality(grid=(12, 12), channels=3)})
    report = start_from(MaskedAutoencoding(larger), pretrained)
    assert report.resized == (TABLE,)
    assert "1 resized (positions.image.table)" in report.summary()


def test_what_does_not_fit_is_refused(pretrained: Path, tmp_path: Path) -> None:
    from hiperceiver.modality import Modality
    from hiperceiver.model import HiP, HiPConfig

    from .synthetic import block

    with pytest.raises(ValueError, match="mode: expected one of all, positions, all-but-positions, frozen-positions"):
        start_from(classification(), pretrained, mode="some")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="frozen-backbone leaves nothing to train, the task masked-autoencoding"):
        start_from(autoencoding(), pretrained, mode="frozen-backbone")
    with pytest.raises(ValueError, match="no such folder"):
        start_from(autoencoding(), tmp_path / "nowhere")
    wider = HiPConfig(blocks=(block(4, 4, 8), block(1, 4, 32), block(4, 4, 8)), embedding_channels=8)
    task = MaskedAutoencoding(HiP(wider, {"image": Modality(grid=(6, 6), channels=3)}))
    before = {name: weight.clone() for name, weight in task.state_dict().items()}
    with pytest.raises(ValueError, match=r"expected .*num_channels.* got ") as error:
        start_from(task, pretrained)
    assert "\n" not in str(error.value)
    assert all(torch.equal(weight, before[name]) for name, weight in task.state_dict().items())
    assert all(weight.requires_grad for weight in task.parameters())


def test_no_positions_to_freeze(tmp_path: Path) -> None:
    import dataclasses

    from hiperceiver.model import HiP

    model = make_model()
    bare = HiP(dataclasses.replace(model.config, positions="none"), model.modalities)
    folder = save_model(tmp_path / "saved", bare)
    task = MaskedAutoencoding(HiP(bare.config, bare.modalities))
    with pytest.raises(ValueError, match="mode: nothing to freeze"):
        start_from(task, folder, mode="frozen-positions")
    assert all(weight.requires_grad for weight in task.parameters())


@pytest.mark.parametrize("mode", ["all", "positions", "frozen-backbone"])
def test_a_model_that_diverged_is_no_start(tmp_path: Path, mode: Start) -> None:
    """Nor where the part that is taken is finite."""
    diverged = autoencoding(seed=7)
    with torch.no_grad():
        diverged.model.blocks[0].latents.view(-1)[0] = torch.nan
    folder = save_task(tmp_path / "diverged", diverged)
    with pytest.raises(
        ValueError, match=r"diverged: blocks\.0\.latents in model\.safetensors holds numbers that are not"
    ):
        start_from(classification(seed=1), folder, mode=mode)
