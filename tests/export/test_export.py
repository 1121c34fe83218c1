"""An exported model says what PyTorch says, for any batch size, and leaves out what is absent."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hiperceiver import Modality, create_model
from hiperceiver.export import ExportModule, check, export_onnx, export_torch, preprocessing, trace
from hiperceiver.tasks import Task, label_modalities, task_from_settings

SERIES = {"series": Modality(grid=(48,), channels=2)}
TASKS: dict[str, dict[str, Any]] = {
    "classification": {"num_classes": 3},
    "multilabel": {"num_classes": 3},
    "segmentation": {"num_classes": 3},
    "regression": {"num_values": 2, "target_mean": (3.0, 4.0)},
    "forecasting": {"horizon": 8},
    "masked-autoencoding": {},
    "joint": {"labels": {"pitch": 3, "loudness": 0}},
}


def make_task(kind: str, model: str = "hip-nano", modalities: dict[str, Modality] = SERIES) -> Task:
    labels = label_modalities(TASKS[kind]["labels"]) if kind == "joint" else {}
    torch.manual_seed(0)
    task = task_from_settings({"kind": kind, **TASKS[kind]}, create_model(model, modalities={**modalities, **labels}))
    for weight in task.parameters():
        if weight.ndim > 1 and not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    return task.eval()


@pytest.mark.filterwarnings("ignore")  # of the exporter, on its own code
@pytest.mark.parametrize("kind", TASKS)
def test_both_formats_of_every_task(kind: str, tmp_path: Path) -> None:
    module = ExportModule(make_task(kind))
    program = trace(module)
    for export in (export_torch, export_onnx):
        _, run = export(module, program, tmp_path)
        for batch_size in (1, 3):
            assert max(check(module, run, *module.random_tensors(batch_size)).differences.values()) < 1e-4


@pytest.mark.filterwarnings("ignore")
def test_an_output_never_has_the_name_of_an_input(tmp_path: Path) -> None:
    modalities = {"probabilities": Modality(grid=(48,), channels=2)}
    module = ExportModule(make_task("classification", modalities=modalities))
    _, run = export_onnx(module, trace(module), tmp_path)
    tensors = module.random_tensors(3)
    assert [*run(*tensors)] == ["label", "predicted.probabilities"]
    assert check(module, run, *tensors).differences["predicted.probabilities"] < 1e-4
    names = [*ExportModule(make_task("masked-autoencoding"))(*ExportModule(make_task("joint")).random_tensors())]
    assert names == ["reconstruction.series"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", ["predictions", "encoder", "processor"])
def test_absent_tokens_influence_nothing(what: str, tmp_path: Path) -> None:
    module = ExportModule(make_task("classification"), what=what)
    path, run = export_onnx(module, trace(module), tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]  # the weights are inside
    for batch_size in (1, 3):
        inputs, is_padding = module.random_tensors(batch_size)
        before = run(inputs, is_padding)
        assert max(check(module, run, inputs, is_padding).differences.values()) < 1e-4
        inputs["series"][is_padding["series"]] += 100.0  # absent: must not matter
        assert all(torch.equal(x, before[name]) for name, x in run(inputs, is_padding).items())


def test_an_export_that_says_something_else_is_refused() -> None:
    module = ExportModule(make_task("regression"))

    def wrong(inputs: Any, is_padding: Any) -> dict[str, Tensor]:
        return {name: x + 1 for name, x in module(dict(inputs), dict(is_padding)).items()}

    with pytest.raises(ValueError, match="expected PyTorch's 'values', got a difference of"):
        check(module, wrong, *module.random_tensors())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modalities": ["image"]}, "modalities: expected names among series, got 'image'"),
        ({"what": "decoder"}, "what: expected one of predictions, encoder, processor, got 'decoder'"),
    ],
)
def test_what_the_model_has_not_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - compared below
        ExportModule(make_task("classification"), **arguments)
    assert str(error.value) == message


def test_perceiver_io_has_no_encoder() -> None:
    task = make_task("regression", model="perceiver-io-mini")
    with pytest.raises(ValueError, match="this model has no encoder"):
        ExportModule(task, what="encoder")


def test_the_preprocessing_tells_shapes() -> None:
    module = ExportModule(make_task("segmentation"))
    with torch.no_grad():
        values = preprocessing(module, module(*module.random_tensors()), Path("model.onnx"))
    assert values["inputs"]["series"]["tokens"] == 48
    assert values["outputs"]["label"] == {"dtype": "int64", "shape": ["batch", 48]}
