"""`python -m benchmarks gpu`: the whole command on the CPU, where little is installed; what a GPU tells, made up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.counting import measure as count_steps
from benchmarks.gpu import measures
from benchmarks.gpu.classifiers import PictureClassifier, make_classifier, num_parameters
from benchmarks.gpu.command import ROOT, Result, Worker, main, run
from benchmarks.gpu.plan import COST_BATCH, Measurement, plan
from benchmarks.gpu.report import markdown
from benchmarks.jobs import Job

# PyTorch, what it needs itself, NumPy and safetensors: as if nothing else were installed.
BARE = """
import sys
from importlib.machinery import PathFinder

ALLOWED = {"benchmarks", "hiperceiver", "torch", "torchgen", "functorch", "numpy", "safetensors", "packaging",
    "typing_extensions", "filelock", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec", "setuptools"}

class Only:
    @staticmethod
    def find_spec(name, path=None, target=None):
        top = name.partition(".")[0]
        if path is None and top not in ALLOWED and top not in sys.stdlib_module_names and not top.startswith("_"):
            return None
        return PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Only if each is PathFinder else each for each in sys.meta_path]
"""


def in_a_bare_environment(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "sitecustomize.py").write_text(BARE)
    path = os.pathsep.join([str(folder), str(ROOT / "src")])
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_models_are_made_saved_and_loaded_where_little_is_installed(tmp_path: Path) -> None:
    script = f"""
import importlib.util
assert not any(importlib.util.find_spec(name) for name in ("huggingface_hub", "psutil", "rich", "lightning_fabric"))
import benchmarks, hiperceiver
model = hiperceiver.create_model("hip-nano", {{"image": hiperceiver.Modality(grid=(32, 32), channels=3)}})
model.save_pretrained({str(tmp_path / "saved")!r})
hiperceiver.HiP.from_pretrained({str(tmp_path / "saved")!r})
"""
    done = in_a_bare_environment(tmp_path, "-c", script)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_whole_command_where_little_is_installed(tmp_path: Path) -> None:
    options = [
        "--device",
        "cpu",
        "--models",
        "hip-nano",
        "hip-nano:fourier",
        "vit-b",
        "--sides",
        "32",
        "--batches",
        "2",
    ]
    parts = ["--parts", "values", "throughput", "profile", "cost"]
    out = tmp_path / "out"
    done = in_a_bare_environment(tmp_path, "-m", "benchmarks", "gpu", *options, *parts, "--out", str(out))
    assert done.returncode == 0, done.stderr
    found = json.loads((out / "gpu.json").read_text())["measurements"]
    by_status = {(each["part"], each["model"]): each["status"] for each in found}
    assert by_status.pop(("cost", "vit-b")) == "not installed"
    assert set(by_status.values()) == {"measured"}, found
    for title in ("## Values", "## Throughput", "## Cost of a training step", "operations of a training step"):
        assert title in done.stdout
    assert "It says nothing of a GPU" in done.stdout
    assert "| cost vit-b training 32 batch 8 32 | not installed | needs timm or transformers |" in done.stdout
    assert done.stderr.count("s left)") == len(found)


def test_what_is_measured_in_which_order() -> None:
    found = plan(device="cuda", precision="bf16")
    assert found[0] == found[-5] and found[0].part == "device"
    assert [each.part for each in found[-4:]] == ["compiled"] * 4
    assert {(each.batch, each.mode) for each in found if each.part == "throughput"} == {
        (batch, mode) for batch in (64, 256) for mode in ("training", "inference")
    }
    cost = [each for each in found if each.part == "cost"]
    assert {each.side for each in cost} == {224, 384, 512, 1024, 2048}
    assert {each.batch for each in cost} == {COST_BATCH}
    assert [each.side for each in cost] == sorted(each.side for each in cost)  # what is too large comes last


STEP = Measurement(part="throughput", model="hip-nano", side=32, batch=4, device="cpu", precision="32")


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_step_needs_the_operations_that_are_counted_elsewhere(mode: str) -> None:
    what = Measurement(**{**vars(STEP), "mode": mode})
    numbers = next(measures.measure(what))
    job = Job(kind="count", name="hiperceiver:hip-nano", side=32, batch=4)
    times = 3 if mode == "training" else 1
    # Queries that all pictures share are projected once; here two pictures are counted and doubled.
    assert numbers["flops"] == pytest.approx(times * count_steps(job)["forward_flops"], rel=0.02)
    assert numbers["num_parameters"] > 500_000


def test_seconds_of_a_window_are_those_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(measures.time, "perf_counter", lambda: now[0])

    def step() -> None:
        now[0] += 0.125

    assert measures._windows(step, "cpu") == [0.125] * 3
    assert now[0] == 0.125 * (1 + 3 * 4)  # one to see how long it takes, then half a second each


def test_weights_that_a_classifier_trains_are_counted() -> None:
    model = make_classifier("hip-nano", 32).train()
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.02 * torch.randn_like(weight)  # some begin at zero
    model(torch.randn(2, 1024, 3)).square().sum().backward()
    assert num_parameters(model) == sum(weight.numel() for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize(("name", "published"), [("resnet-50", 25_557_032), ("vit-b", 86_567_656)])
def test_others_are_as_large_as_published(name: str, published: int) -> None:
    with torch.device("meta"):
        assert num_parameters(make_classifier(name, 224)) == published


def test_pixels_are_put_in_rows() -> None:
    model = PictureClassifier(torch.nn.Identity(), 2)
    x = torch.arange(12.0).view(1, 4, 3)
    assert model(x)[0, 1].tolist() == [[1.0, 4.0], [7.0, 10.0]]  # the second channel of four pixels


def test_time_that_is_over_is_said_and_nothing_more_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("benchmarks.gpu.command.time.monotonic", lambda: now[0])
    limits = []

    def do(result: Result, limit: float) -> None:
        limits.append(limit)
        now[0] += 40.0
        result.status, result.note = "does not fit", "out of memory"

    results = run([STEP] * 4, seconds=100.0, options={}, out=tmp_path, do=do)
    assert limits == [90.0, 60.0, 20.0]
    assert [each.status for each in results] == ["does not fit"] * 3 + ["no time left"]
    assert "does not fit: out of memory (40 of 100 s, about 60 s left)" in capsys.readouterr().err
    assert (tmp_path / "gpu.md").read_text().count("does not fit") == 3


def test_what_was_measured_stays_after_an_interruption(tmp_path: Path) -> None:
    def do(result: Result, limit: float) -> None:
        if result.what.part == "values":
            raise KeyboardInterrupt
        result.status, result.numbers = "measured", {"device_name": "a card", "matmul_rate": 1e14}

    first = Measurement(part="device")
    with pytest.raises(KeyboardInterrupt):
        run([first, Measurement(part="values")], seconds=100.0, options={}, out=tmp_path, do=do)
    assert len(json.loads((tmp_path / "gpu.json").read_text())["measurements"]) == 1
    assert "hiperceiver on a card" in (tmp_path / "gpu.md").read_text()


@pytest.mark.parametrize(
    ("program", "status", "words"),
    [
        ("raise SystemExit('no luck')", "failed", "no luck"),
        (
            "input(); print('{\"numbers\": {\"flops\": 7}}', flush=True); raise SystemExit('no luck')",
            "failed",
            "no luck",
        ),
        ("import os; input(); os.kill(os.getpid(), 9)", "failed", "ended with -9"),
        ("import time; time.sleep(60)", "too slow", "more than 2 s"),
    ],
)
def test_a_worker_that_ends_or_hangs_is_a_line_and_the_next_one_goes_on(program: str, status: str, words: str) -> None:
    worker = Worker([sys.executable, "-c", program])
    try:
        for _ in range(2):
            result = Result(what=STEP)
            worker.do(result, limit=2.0 if status == "too slow" else 30.0)
            assert result.status == status
            assert words in result.note
            assert result.numbers == ({"flops": 7} if "flops" in program else {})
    finally:
        worker.stop()


def test_tables_of_a_gpu() -> None:
    """The shapes of what only a GPU gives, with numbers of a card that is none."""

    def made(part: str, numbers: dict, **fields: object) -> dict:
        what = Measurement(part=part, model="hip-16", side=224, batch=64, **fields)  # pyright: ignore
        return Result(what=what, status="measured", wall=1.0, numbers=numbers).to_dict()

    step = {"flops": 4e13, "seconds": [0.1, 0.2, 0.1], "peak_bytes": 3e9, "first_seconds": 1.0, "num_parameters": 10**8}
    rows = [{"name": "aten::mm", "share": 0.75, "calls": 10.0}]
    text = markdown(
        [
            made("device", {"device_name": "a card", "matmul_rate": 8e14, "copy_rate": 3e12}),
            made("device", {"device_name": "a card", "matmul_rate": 8e14}),
            made("throughput", {**step, "graph_seconds": [0.08, 0.08, 0.09]}),
            made("compiled", {**step, "graph_problem": "RuntimeError: not permitted"}),
            made("cost", step),
            made(
                "profile", {"seconds": 0.1, "operations": rows, "kernels": rows, "num_kernels": 1e3, "busy_share": 0.5}
            ),
            made("profile", {"seconds": 0.1, "operations": []}),
            Result(what=Measurement(part="cost", model="hip-16", side=2048), status="does not fit").to_dict(),
        ],
        seconds=540.0,
    )
    assert "CPU, to try" not in text
    eager, graph, compiled = (line for line in text.splitlines() if line.startswith("| hip-16 | 224 | training | 64 |"))
    # 4e13 operations in 0.1 s are 400 TFLOP/s, half of the card's 800; in 0.08 s 500.
    assert "| eager | 100 ms | 100 ms to 200 ms | 640 | 400 | 50% | 3.00 GB |" in eager
    assert "| eager, CUDA graph | 80.0 ms | 80.0 ms to 90.0 ms | 800 | 500 | 62% |" in graph
    assert "| compiled | 100 ms |" in compiled
    assert "| hip-16 | 224 | 100 ms | 10.0 | 50% | 3.00 GB | 100.0 M | 10.8 |" in text
    assert "| hip-16 | 2048 | does not fit |" in text
    assert "1,000 kernels a step, which take 50% of its 100 ms" in text
    assert "compiled hip-16 training 224 batch 64 bf16, CUDA graph | failed | RuntimeError: not permitted |" in text
    assert "large matrix products, TFLOP/s | 800 | 800 |" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--device: PyTorch finds no GPU; --device cpu tries the command out"),
        (["--device", "cpu", "--models", "hip-17"], "--models: expected names among"),
        (["--device", "cpu", "--models", "resnet-50"], "--models: expected one of ours as the first"),
        (["--seconds", "-1"], "expected a number above 0, got '-1'"),
        (["--sides", "0"], "expected a whole number from 1, got '0'"),
        (["--device", "cpu", "--out", "/dev/null/results"], "--out: /dev/null"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1
