"""`hip export`, and the example that runs what it wrote without PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hiperceiver.cli.export import _WRITERS
from hiperceiver.data.encoders import ImageEncoder

from .conftest import Hip, picture
from .saved_models import save

EXAMPLE = Path(__file__).parents[2] / "examples" / "run_exported.py"
TASK = {"kind": "classification", "num_classes": 3}


@pytest.mark.filterwarnings("ignore")  # of the exporter, on its own code
def test_the_example_runs_an_export_without_torch_and_says_what_hip_predict_says(hip: Hip) -> None:
    save(Path("model"), TASK, encoders={"image": ImageEncoder(size=16, fit="crop")}, classes=("a", "b", "c"))
    picture("stripes", 1).save("1.png")
    outcome = hip("export", "model", "--out", "exported", "--examples", "1.png")
    assert (outcome.code, outcome.err) == (0, "")
    assert "probabilities: largest difference" in outcome.out
    arguments = "sys.modules['torch'] = None; sys.argv = ['x', 'exported', '1.png']"
    program = f"import runpy, sys; {arguments}; runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = json.loads(result.stdout)
    assert hip("predict", "model", "1.png", "--json", "expected.json").code == 0
    ((expected,),) = (json.loads(Path("expected.json").read_text()),)
    labels = {each["name"]: each["probability"] for each in expected["labels"]}
    assert found["classes"] == ["a", "b", "c"]
    assert found["probabilities"] == pytest.approx([labels[name] for name in "abc"], abs=1e-4)  # rounded pixels
    assert found["label"] == int(np.argmax(found["probabilities"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "new", "--format", "tflite"], "--format: expected"),
        (["--out", "new", "--modalities", "sound"], "--modalities: expected names among image, got 'sound'"),
        (["--out", "model"], "--out: model exists already"),
    ],
)
def test_mistakes_are_one_line(options: list[str], message: str, hip: Hip) -> None:
    save(Path("model"), TASK, "image")
    outcome = hip("export", "model", *options)
    assert outcome.code == 2 and outcome.err.startswith(f"hip: {message}") and outcome.err.count("\n") == 1
    assert not Path("new").exists()


def test_a_folder_that_is_no_model_is_refused(hip: Hip) -> None:
    Path("empty").mkdir()
    outcome = hip("export", "empty", "--out", "new")
    assert outcome.code == 2 and "expected a run folder" in outcome.err


def test_an_export_that_says_something_else_is_not_kept(hip: Hip, monkeypatch: pytest.MonkeyPatch) -> None:
    save(Path("model"), TASK, "image")

    def written(module: object, program: object, folder: Path) -> tuple[Path, object]:
        (folder / "model.pt2").write_bytes(b"another")
        return folder / "model.pt2", lambda inputs, is_padding: {
            name: value + 1
            for name, value in module(inputs, is_padding).items()  # type: ignore[operator]
        }

    monkeypatch.setattr("hiperceiver.cli.export.trace", lambda module: None)
    monkeypatch.setitem(_WRITERS, "torch-export", written)
    outcome = hip("export", "model", "--format", "torch-export", "--out", "new")
    assert outcome.code == 2 and "export: expected PyTorch's 'probabilities'" in outcome.err
    assert not Path("new").exists()
