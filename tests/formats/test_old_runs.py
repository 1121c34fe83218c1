"""Runs and models of earlier revisions still work: evaluated, shown and built upon, with the splits that they had."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hiperceiver.cli import main

from .old_runs import KEPT, PREDICTED, REVISIONS, RUNS, SHORT, make_data, with_folders

EVERY = [(revision, name) for revision, names in REVISIONS.items() for name in names]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, and each revision's runs beside it as if they had been made here."""
    folder = tmp_path_factory.mktemp("old")
    make_data(folder / "data")
    for revision in REVISIONS:
        shutil.copytree(KEPT / revision, folder / revision)
        for file in (folder / revision).rglob("*.*"):
            if file.suffix in (".yaml", ".json"):
                file.write_text(with_folders(file.read_text(), folder, revision))
    return folder


@pytest.fixture
def hip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs `hip`, which must succeed, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> None:
        assert main([str(each) for each in arguments]) == 0

    return run


def close(value: Any) -> Any:
    """The same, with numbers to within another order of summation."""
    if isinstance(value, dict):
        return {name: close(each) for name, each in value.items()}
    if isinstance(value, list):
        return [close(each) for each in value]
    return pytest.approx(value, rel=1e-3, abs=1e-4) if isinstance(value, float) else value


def table(path: Path) -> list[list[Any]]:
    """The rows of a CSV file, numbers as numbers."""
    head, *rows = csv.reader(path.read_text().splitlines())
    return [head, *([float(each) for each in row] for row in rows)]


@pytest.mark.parametrize(("revision", "name"), EVERY)
def test_a_run_is_measured_on_its_own_test_split(
    revision: str, name: str, folder: Path, hip: Callable[..., None]
) -> None:
    before = json.loads((folder / revision / name / "evaluate.json").read_text())
    hip("evaluate", folder / revision / name, "--json", "now.json")
    now = json.loads(Path("now.json").read_text())
    assert {each: now[each] for each in ("checkpoint", "data", "split", "task")} == {
        each: before[each] for each in ("checkpoint", "data", "split", "task")
    }
    assert before["metrics"].keys() <= now["metrics"].keys()  # today there are also those of trivial answers
    assert {each: now["metrics"][each] for each in before["metrics"]} == close(before["metrics"])


@pytest.mark.parametrize(("revision", "name"), [each for each in EVERY if each[1] in PREDICTED])
def test_predictions_keep_their_format(revision: str, name: str, folder: Path, hip: Callable[..., None]) -> None:
    before = json.loads((folder / revision / name / "predict.json").read_text())
    hip("predict", folder / revision / name, folder / "data" / PREDICTED[name], "--json", "now.json")
    assert json.loads(Path("now.json").read_text()) == close(before)
    for file in (folder / revision / name).glob("[0-9]*.csv"):
        (head, *rows), (head_now, *rows_now) = (table(path) for path in (file, Path("predictions", file.name)))
        assert head_now == head
        assert rows_now == close(rows)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_drawn(name: str, folder: Path, hip: Callable[..., None]) -> None:
    hip("plot", folder / "f0b641a" / name, "--num-examples", 1, "--out", "drawn")
    assert Path("drawn/curves.png").is_file()


def test_a_pretrained_model_is_built_upon(folder: Path, hip: Callable[..., None], capfd: Any) -> None:
    run = folder / "f0b641a" / "pretrained-pictures"
    hip("finetune", "--from", run, "--data", folder / "data" / "pictures", *SHORT, "--steps", 2, "--out", "again")
    assert "108 weights loaded, 0 resized" in capfd.readouterr().out
    settings = yaml.safe_load(Path("again/settings.yaml").read_text())
    assert (settings["format"], settings["split_seed"], settings["split_rule"]) == (2, 3, "rows")
    hip("evaluate", "again")


def test_settings_are_repeated(folder: Path, hip: Callable[..., None]) -> None:
    run = folder / "f0b641a" / "classified-pictures"
    hip("finetune", "--config", run / "settings.yaml", "--steps", 2, "--out", "again")
    hip("evaluate", "again", "--json", "now.json")
    assert json.loads(Path("now.json").read_text())["metrics"]["num_examples"] == 8


def test_an_old_run_is_not_resumed(folder: Path, capfd: Any) -> None:
    run = folder / "f0b641a" / "segmented-masks"
    assert main(["finetune", "--out", str(run), "--resume"]) == 2
    assert (
        capfd.readouterr().err
        == f"hip: --resume: an earlier version began {run}; go on in a new run, with --from {run}\n"
    )


def test_a_newer_run_is_refused(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "settings.yaml").write_text("format: 3\ndata: earth\n")
    assert main(["pretrain", "--config", str(tmp_path / "settings.yaml")]) == 2
    assert "expected format 2, got 3" in capfd.readouterr().err
