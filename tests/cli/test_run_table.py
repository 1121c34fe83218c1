"""`hip runs`: real runs, and whatever else may lie in a folder."""

import json
import os
import shutil
from pathlib import Path

import pytest

from hiperceiver.cli.run_table import find_runs, summarise_run

from .conftest import Hip

HEAD = "# hip finetune 0.1.0; to repeat it: ...\n# on 3 cores\nformat: 2\ndata: /d/photos\nmodel: hip-nano\n"


def made(folder: Path, *, settings: str = HEAD, rows: str = "", task: str = "classification", at: int = 1) -> Path:
    """A run's folder; `task` empty: without a model."""
    folder.mkdir(parents=True)
    (folder / "settings.yaml").write_text(settings)
    if rows:
        (folder / "metrics.csv").write_text(rows)
    if task:
        (folder / "model").mkdir()
        (folder / "model" / "config.json").write_text(json.dumps({"task": {"kind": task}}))
    for each in folder.iterdir():
        os.utime(each, (at, at))
    return folder


ROWS = "step,train/loss,seconds,validation/accuracy,validation/loss\n2,0.7,60,,\n2,,,0.75,9\n4,0.6,120,,\n4,,,0.5,8\n"


def test_runs_that_were_made_are_listed_with_their_figures(pretrained: Path, finetuned: Path, hip: Hip) -> None:
    for name, run in {"a": pretrained, "b/c": finetuned}.items():
        shutil.copytree(run, Path("all", name))
    outcome = hip("runs", "all", "--json", "runs.json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("2 runs below all\n")
    first, last = json.loads(Path("runs.json").read_text())
    assert (first["folder"], first["command"], first["model"]) == ("a", "pretrain", "hip-nano")
    assert (first["state"], first["steps"], first["metric"]) == ("finished", 3, "loss")
    assert (first["devices"], first["device"]) == (1, "core")
    assert (last["folder"], last["command"], last["steps"], last["metric"]) == ("b/c", "finetune", 12, "accuracy")
    assert last["data"].endswith("pictures") and last["model"].endswith("pretrained")
    row = next(line for line in outcome.out.splitlines() if line.startswith("b/c"))
    assert "pictures" in row and "core-min" in row and row.split()[-1] == "finished"


def test_figures_time_and_cost(tmp_path: Path) -> None:
    run = made(tmp_path / "x", settings=f"{HEAD}steps: 4\n", rows=ROWS)
    found = summarise_run(run, tmp_path)
    assert (found.metric, found.best, found.best_step, found.steps, found.seconds) == ("accuracy", 0.75, 2, 4, 120.0)
    assert (found.state, found.devices, found.device) == ("finished", 3, "core")
    lower = made(tmp_path / "y", settings=f"{HEAD}steps: 4\n", rows=ROWS, task="regression")
    assert (summarise_run(lower, tmp_path).best, summarise_run(lower, tmp_path).best_step) == (8.0, 4)


def test_states(tmp_path: Path) -> None:
    def state(name: str, **how: str) -> str:
        return summarise_run(made(tmp_path / name, **how), tmp_path).state  # pyright: ignore[reportArgumentType]

    assert state("fewer steps", settings=f"{HEAD}steps: 5\n", rows=ROWS) == "interrupted"
    assert state("no model", settings=f"{HEAD}steps: 4\n", rows=ROWS, task="") == "interrupted"
    assert state("by time", settings=f"{HEAD}steps: null\nmax_time: 2m\n", rows=ROWS) == "finished"
    assert state("less time", settings=f"{HEAD}steps: null\nmax_time: 3m\n", rows=ROWS) == "interrupted"
    assert state("not a number", settings=f"{HEAD}steps: 9\n", rows=f"{ROWS}6,nan,130,,\n") == "diverged"
    assert state("nothing yet", task="") == "interrupted"
    run = made(tmp_path / "stopped", settings=f"{HEAD}steps: 9\n", rows=ROWS)
    (run / "not_finite.log").touch()
    assert summarise_run(run, tmp_path).state == "diverged"


def test_the_newest_is_last_and_what_is_no_run_is_left_out(tmp_path: Path, hip: Hip) -> None:
    for name, at in {"new": 300, "old": 100, "middle": 200}.items():
        made(tmp_path / "runs" / name, rows=ROWS, at=at)
    (tmp_path / "runs" / "notes" / "more").mkdir(parents=True)
    (tmp_path / "runs" / "notes" / "text.txt").write_text("x")
    (tmp_path / "runs" / "loop").symlink_to(tmp_path / "runs")
    outcome = hip("runs")
    rows = [line.split()[0] for line in outcome.out.splitlines() if "finetune" in line]
    assert rows == ["old", "middle", "new"]
    assert "6.0 core-min" in outcome.out
    assert "2:00" in outcome.out


def test_below_a_run_nothing_is_looked_for(tmp_path: Path) -> None:
    made(tmp_path / "x" / "inner")
    made(tmp_path / "a" / "b" / "c" / "d" / "too-deep")
    (tmp_path / "x" / "metrics.csv").touch()
    assert list(find_runs(tmp_path)) == [tmp_path / "x"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("settings.yaml", b"\xff\xfe", "expected text in UTF-8"),
        ("settings.yaml", b"a: [", "is not valid YAML"),
        ("settings.yaml", b"- 1\n- 2", "expected lines of `name: value`"),
        ("settings.yaml", b"# hip \nformat: 99\n", "expected format 2"),
        ("settings.yaml", b"x: " + b"y" * 300_000, "HIPERCEIVER_MAX_SETTINGS_KB"),
        ("settings.yaml", b"max_time: soon\n", "soon"),
        ("metrics.csv", b"step,train/loss\n1," + b"9" * 200_000, "field larger than field limit"),
        ("model/config.json", b"{", "Expecting property name"),
        ("model/config.json", b"[" * 100_000, "recursion"),
    ],
)
def test_a_folder_that_cannot_be_read_is_a_line(
    name: str, content: bytes, words: str, tmp_path: Path, hip: Hip
) -> None:
    made(tmp_path / "runs" / "good", rows=ROWS)
    (made(tmp_path / "runs" / "bad", rows=ROWS) / name).write_bytes(content)
    outcome = hip("runs")
    assert (outcome.code, outcome.err) == (0, "")
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("bad:")]
    assert words in line
    assert sum("finetune" in line for line in outcome.out.splitlines()) >= 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("settings.yaml", b""),
        ("settings.yaml", b"# hip finetune 1\n# on 99999999999999999999 cores\ndata: [1]\nmodel: {a: 1}\nsteps: -1\n"),
        ("settings.yaml", b"data: '[/red]'\nmodel: \"\\e[31m\"\nfrom: 7\n"),
        ("metrics.csv", b""),
        ("metrics.csv", b"\x00\xff\n\n,,,\n"),
        ("metrics.csv", b"step,seconds\n1e300,inf\nnan,nan\n-1,x\n3"),
        ("metrics.csv", b"a,b\n1,2,3,4\n"),
        ("model/config.json", b"[]"),
        ("model/config.json", b'{"task": {"kind": []}}'),
    ],
)
def test_odd_contents_are_shown_as_far_as_they_go(name: str, content: bytes, tmp_path: Path, hip: Hip) -> None:
    (made(tmp_path / "runs" / "odd", rows=ROWS) / name).write_bytes(content)
    outcome = hip("runs", "--json", "x.json")
    assert (outcome.code, outcome.err) == (0, "")
    assert "\x1b" not in outcome.out
    assert len(json.loads(Path("x.json").read_text())) == 1


def test_links_pipes_and_folders_in_place_of_files(tmp_path: Path, hip: Hip) -> None:
    run = made(tmp_path / "runs" / "piped")
    os.mkfifo(run / "metrics.csv")
    other = made(tmp_path / "runs" / "crossed")
    (other / "metrics.csv").mkdir()
    outcome = hip("runs")
    assert (outcome.code, outcome.err) == (0, "")
    assert "piped: is no regular file" in outcome.out
    assert "crossed: is a directory" in outcome.out


@pytest.mark.parametrize(("word", "found"), [("nowhere", "nothing of that name"), ("file", "a file")])
def test_a_folder_that_is_none(word: str, found: str, hip: Hip) -> None:
    Path("file").touch()
    outcome = hip("runs", word)
    assert outcome.code == 2
    assert outcome.err == f"hip: {word}: expected a folder with run folders below it, got {found}\n"
