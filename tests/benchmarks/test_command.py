"""A whole run of the command, with made-up measurements."""

import json
from pathlib import Path

import pytest

from benchmarks import command
from benchmarks.jobs import Answer, Job

ARGUMENTS = [
    "--sides",
    "32",
    "64",
    "--models",
    "hiperceiver:hip-16",
    "vit:base",
    "--modes",
    "inference",
    "--rounds",
    "2",
]


def made_up(job: Job, **_: object) -> Answer:
    if job.kind == "machine":
        return Answer(status="measured", numbers={"matmul_rate": 1e11, "narrow_rate": 1e10, "copy_rate": 1e10})
    if job.kind == "count":
        return Answer(status="measured", numbers={"flops": 1e9, "forward_flops": 1e9})
    times = {"seconds": [job.side**2 / 1e5], "compile_seconds": 0.0}
    sizes = {"peak_bytes": 3 * 10**8, "import_bytes": 10**8, "num_parameters": 10**6}
    return Answer(status="measured", numbers=times | sizes)


def test_a_run_leaves_tables_pictures_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "run_job", made_up)
    assert command.main(["peers", "tokens", *ARGUMENTS, "--out", str(tmp_path)]) == 0
    names = {"results.json", "results.md", "peers-inference-1.png", "tokens-inference-1.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    printed = capsys.readouterr()
    assert "vit:base" in printed.out and "time ~ tokens^1.00" in printed.out
    markdown = (tmp_path / "results.md").read_text()
    for title in ("## Peers: inference, batch 1", "## Tokens: inference, batch 1", "## The machine"):
        assert title in markdown
    kept = json.loads((tmp_path / "results.json").read_text())
    assert kept["options"]["rounds"] == 2
    steps = [each["name"] for each in kept["measurements"] if each["kind"] == "step" and each["side"] == 32]
    assert sorted(steps) == ["hiperceiver:hip-16"] * 2 + ["vit:base"] * 2
    assert sum(each["kind"] == "machine" for each in kept["measurements"]) == 3  # start, between the sides, end
    assert "[1/" in printed.err and "min left" in printed.err


def test_an_interrupted_run_prints_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(job: Job, **limits: object) -> Answer:
        if job.side == 64:
            raise KeyboardInterrupt
        return made_up(job)

    monkeypatch.setattr(command, "run_job", interrupted)
    assert command.main([*ARGUMENTS, "--out", str(tmp_path)]) == 130
    printed = capsys.readouterr()
    assert "interrupted" in printed.err
    assert "vit:base" in printed.out and "hiperceiver:hip-16" in printed.out
    assert " 64 " not in (tmp_path / "results.md").read_text()


def test_limits_and_interpreters_reach_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, object]] = []

    def kept(job: Job, **limits: object) -> Answer:
        given.append(limits)
        return made_up(job)

    monkeypatch.setattr(command, "run_job", kept)
    (tmp_path / "perceiver.py").touch()
    options = ["--limit", "7", "--max-memory", "1.5", "--reference", str(tmp_path), "--reference-python", "python9"]
    command.main([*ARGUMENTS, *options, "--out", str(tmp_path / "out")])
    assert given[0]["limits"] == command.Limits(seconds=7.0, num_bytes=1.5e9)
    assert given[0]["interpreters"] == command.Interpreters(reference=tmp_path, reference_python="python9")
