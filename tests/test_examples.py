"""What stands in `examples/` starts."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOUR = Path(__file__).parents[1] / "examples" / "tour.ipynb"
DEMO = TOUR.with_name("earth_demo.py")
EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.name)
def test_an_example_has_help(example: Path) -> None:
    result = subprocess.run([sys.executable, str(example), "--help"], capture_output=True, text=True, check=True)
    assert "--out" in result.stdout


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, str(EXAMPLES[0]), "--out", str(tmp_path / "file")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


def test_the_demo_puts_its_results_together(tmp_path: Path) -> None:
    lengths = {"pretrain-steps": 2, "few-steps": 2, "few-seeds": 1, "all-steps": 2}
    command = [sys.executable, str(DEMO), "--out", str(tmp_path / "demo")]
    command += [f"--{name}={value}" for name, value in lengths.items()]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert list(report["accuracy"]) == ["5% of 3,060 labels", "all 3,060 labels"]
    for rows in report["accuracy"].values():
        assert [len(values) for values in rows.values()] == [1, 1, 1]
        assert all(0 < values[0] < 1 for values in rows.values())
    assert abs(report["positions"]["near_cosine"]) < 0.1  # after two steps it is noise, and the report says so
    text = (tmp_path / "demo" / "report.md").read_text()
    pictures = re.findall(r"\(pictures/(.+\.png)\)", text)
    assert "comparison.png" in pictures and "positions-image-components.png" in pictures
    assert all((tmp_path / "demo" / "pictures" / name).stat().st_size > 1000 for name in pictures)


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("TOUR_STEPS", "3")
    notebook = nbformat.read(TOUR, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert "pretrained   " in "".join(output.get("text", "") for output in outputs)
