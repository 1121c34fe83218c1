"""Tasks by name, and models saved with their task."""

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from closeness import assert_equal

from hiperceiver.modality import Batch, Modality
from hiperceiver.model import HiP
from hiperceiver.tasks import TASKS, MaskedAutoencoding, Segmentation, load_task, save_task, task_from_settings

SETTINGS = [
    {"kind": "masked-autoencoding", "mask_ratio": 0.6, "mask_strategy": "uniform", "modality_weights": {"image": 2.0}},
    {"kind": "masked-autoencoding", "loss_on": "all", "target_normalisation": "channel"},
    {"kind": "classification", "num_classes": 4, "class_weights": [1.0, 2.0, 3.0, 4.0], "label_smoothing": 0.1},
    {"kind": "classification", "num_classes": 4, "readout": "label", "label_modality": "label"},
    {"kind": "classification", "num_classes": 4, "mixup": 0.8, "cutmix": 1},
    {"kind": "segmentation", "num_classes": 4, "background_class": 0, "input_modality": "image"},
    {"kind": "segmentation", "num_classes": 4, "own_embedding": False, "hidden_channels": 0},
    {"kind": "multilabel", "num_classes": 4, "class_weights": [1.0, 2.0, 3.0, 4.0], "mixup": 0.5, "cutmix": 1.0},
    {"kind": "multilabel", "num_classes": 4, "readout": "label", "label_modality": "label"},
    {"kind": "regression", "num_values": 2, "target_mean": [1.0, 2.0], "target_std": [0.5, 3.0], "loss": "huber"},
    {"kind": "forecasting", "horizon": 2, "input_modality": "image"},
    {
        "kind": "joint",
        "labels": {"label": 4, "size": 0},
        "shown": 0.5,
        "weights": {"size": 2.0},
        "target_mean": {"size": 7.0},
        "target_std": {"size": 3.0},
    },
]


@pytest.fixture
def model(make_model):
    image = Modality(grid=(8, 8), channels=3)
    labels = {
        "label": Modality(grid=(1,), channels=4, role="label"),
        "size": Modality(grid=(1,), channels=1, role="label"),
    }
    return make_model(image=image, **labels)


@pytest.fixture
def batch() -> Batch:
    targets = {
        "label": torch.tensor([0, 3]),
        "labels": torch.tensor([[0.0, 1, 1, 0], [0, 0, 0, 0]]),
        "segmentation": torch.randint(0, 4, (2, 64)),
        "values": torch.tensor([[0.0, 1], [2, torch.nan]]),
        "size": torch.tensor([3.0, 9]),
    }
    return Batch(inputs={"image": torch.randn(2, 64, 3)}, targets=targets)


def test_every_task_is_in_the_table_under_its_name() -> None:
    assert {kind: task.kind for kind, task in TASKS.items()} == {kind: kind for kind in TASKS}
    assert {settings["kind"] for settings in SETTINGS} == set(TASKS)
    expected = {"masked-autoencoding": "none", "forecasting": "none"}
    assert {kind: task.target_kind for kind, task in TASKS.items()} == {
        kind: expected.get(kind, kind) for kind in TASKS
    }


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_saved_task_comes_back_and_says_the_same(tmp_path: Path, model, batch, settings) -> None:
    task = task_from_settings(settings, model).eval()
    with torch.no_grad():
        for parameter in task.head.parameters():
            parameter.add_(torch.randn_like(parameter))
    encoders = {"image": {"kind": "image", "size": [8, 8]}}
    save_task(tmp_path / "model", task, encoders, ("a", "b", "c", "d"))
    loaded = load_task(tmp_path / "model")
    assert type(loaded) is type(task)
    assert loaded.config == task.config
    assert (loaded.encoders, loaded.classes) == (encoders, ("a", "b", "c", "d"))
    assert not loaded.training
    for ours, theirs in zip(task.predict(batch), loaded.predict(batch), strict=True):
        assert_equal(ours, theirs)
    assert torch.equal(task.loss(batch)[0], loaded.loss(batch)[0])
    # What was loaded can be saved again without saying anything twice, and the backbone loads alone.
    save_task(tmp_path / "again", loaded)
    assert load_task(tmp_path / "again").classes == ("a", "b", "c", "d")
    assert (tmp_path / "again/config.json").read_text() == (tmp_path / "model/config.json").read_text()
    assert HiP.from_pretrained(tmp_path / "model").metadata["encoders"] == encoders
    new = task_from_settings({"kind": "classification", "num_classes": 2}, loaded.model)
    assert new.classes == ()  # those of another task say nothing of a new one's


def test_settings_of_a_task_are_plain_values_that_build_it(model) -> None:
    for settings in SETTINGS:
        task = task_from_settings(settings, model)
        plain = json.loads(json.dumps(task.settings()))
        assert plain == {**plain, **settings}
        assert task_from_settings(plain, model).config == task.config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, f"task: expected one of {', '.join(TASKS)}, got None"),
        ({"kind": "detection"}, f"task: expected one of {', '.join(TASKS)}, got 'det"),
        ({"kind": ["segmentation"]}, f"task: expected one of {', '.join(TASKS)}, got ["),
        ({"kind": "segmentation"}, "num_classes: required to build Segmentation, got 0"),
        (
            {"kind": "classification", "num_classes": 4, "head": 1},
            "head: not a setting of ClassificationConfig; known:",
        ),
    ],
)
def test_wrong_settings_are_refused_in_one_line(model, settings, message) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared
        task_from_settings(settings, model)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_task_wants_its_own_config(model) -> None:
    config = MaskedAutoencoding(model).config
    with pytest.raises(ValueError, match="config: expected SegmentationConfig for Segmentation, got MaskedAuto"):
        Segmentation(model, config)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [each for each in SETTINGS if "num_classes" in each])
def test_as_many_names_as_classes(tmp_path: Path, model, settings) -> None:
    task = task_from_settings(settings, model)
    with pytest.raises(ValueError, match="classes: expected 4 names, one for each class, got 3"):
        save_task(tmp_path, task, classes=("a", "b", "c"))
    assert not list(tmp_path.iterdir())


def edit_config(folder: Path, **changes) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, **changes}))


def edit_head(folder: Path, change) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    change(tensors)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: edit_config(f, task=None), "expected a model that was saved with a task, got one without"),
        (
            lambda f: edit_config(f, task="classification"),
            "config.json is not valid: ",
        ),
        (lambda f: edit_config(f, task={"kind": "x"}), "config.json is not valid: task: expected one of masked-auto"),
        (
            lambda f: edit_config(f, task={"kind": "classification", "num_classes": 4.5}),
            "config.json is not valid: num_classes: expected a whole number >= 0, got 4.5",
        ),
        (
            lambda f: edit_config(f, task={"kind": "classification", "num_classes": 5}),
            "expected shape (5, 32) for head.output.weight by config.json, got (4, 32) in model.safetensors",
        ),
        (
            lambda f: edit_config(f, task={"kind": "masked-autoencoding"}),
            "model.safetensors holds head.",
        ),
        (
            lambda f: edit_head(f, lambda tensors: tensors.pop("head.query")),
            "model.safetensors lacks head.query, which config.json calls for",
        ),
        (
            lambda f: edit_head(f, lambda tensors: tensors.update({"head.more": torch.zeros(1)})),
            "model.safetensors holds head.more, which config.json does not have",
        ),
        (lambda f: shutil.rmtree(f), "no such folder"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(tmp_path: Path, model, damage, message) -> None:
    folder = save_task(tmp_path / "model", task_from_settings({"kind": "classification", "num_classes": 4}, model))
    load_task(folder)
    damage(folder)
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared
        load_task(folder)
    assert str(error.value).startswith(f"{folder}: {message}")
    assert "\n" not in str(error.value)
