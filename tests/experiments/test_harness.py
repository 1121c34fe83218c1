"""Cells are done once, go on where they were, share their runs, and never mix with those of another scale."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from experiments.cells import Cell, Data, Run, Table, TimeOf
from experiments.harness import Harness, Process, main
from experiments.results import ROOT, Places, write_json

FAKE = "tests.experiments.fake_run"
_CORES = (("one", 1), ("two", 2), ("last", 1))


def fake(**settings: Any) -> Run:
    return Run(command=FAKE, settings={"steps": 4, **settings}, minutes=0.1)


def table(*cells: Cell) -> Table:
    return Table(name="fakes", title="Fakes", about="Made up.", cells=cells, columns={"accuracy": "test.accuracy"})


def results(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("experiments/results/fakes/*.json")}


def runs(folder: Path, kind: str = "whole") -> list[Path]:
    return sorted(path for path in folder.glob(f"runs/experiments/{kind}/*") if path.is_dir())


def test_runs_that_cells_share_are_done_once_and_in_their_order(tmp_path: Path) -> None:
    shared = fake(steps=6)
    cells = [Cell(name="plain", seed=seed, runs=(fake(start=shared, seed=seed),), labels={"a": "b"}) for seed in (0, 2)]
    assert main(table(*cells), ["--root", str(tmp_path)], tmp_path) == 0
    assert len(runs(tmp_path)) == 3
    found = results(tmp_path)
    assert {name: each["test"] for name, each in found.items()} == {
        "plain-seed0": {"accuracy": 0.5},
        "plain-seed2": {"accuracy": 0.52},
    }
    one = found["plain-seed0"]
    assert one["commands"][0].startswith(f"python -m {FAKE} --steps 6 --out RUNS/fake_run-")
    assert one["commands"][1].startswith(f"python -m {FAKE} --steps 4 --start RUNS/fake_run-")
    assert (
        one["core_seconds"] > 0
        and 0 < one["share_of_core"] <= 1
        and one["peak_bytes"] > 1e6
        and one["labels"] == {"a": "b"}
    )
    assert one["rerun"] == "python -m experiments.fakes --root ROOT --only plain --seeds 0 --into NEW"
    assert "| b | 51.0 ± 1.4% | 2 |" in (tmp_path / "docs" / "results.md").read_text()
    assert (tmp_path / "docs" / "pictures" / "results-fakes.png").exists()


def test_what_is_done_is_not_done_again_unless_its_settings_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = Cell(name="plain", runs=(fake(),))
    main(table(cell), [], tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/**/test.json")}
    main(table(cell), [], tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/**/test.json")}
    changed = table(Cell(name="plain", runs=(fake(seed=9),)))
    main(changed, ["--list"], tmp_path)
    assert "outdated" in capsys.readouterr().out
    main(changed, [], tmp_path)
    assert results(tmp_path)["plain-seed0"]["test"] == {"accuracy": 0.59}


def test_who_reads_the_list_may_stop_early() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "experiments.masking", "--list"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, timeout=300, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_run_that_broke_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = table(Cell(name="bad", runs=(fake(break_at=3),)), Cell(name="good", runs=(fake(seed=1),)))
    assert main(cells, ["--jobs", "1"], tmp_path) == 1
    assert "bad-seed0 failed: it broke (exit code 1;" in capsys.readouterr().err
    assert results(tmp_path).keys() == {"good-seed0"}
    assert main(cells, [], tmp_path) == 0
    assert results(tmp_path).keys() == {"good-seed0", "bad-seed0"}
    test = json.loads(next(path for path in tmp_path.glob("runs/**/test.json") if "3" in path.read_text()).read_text())
    assert test["began_at"] == 3


def test_ctrl_c_stops_cleanly_and_the_next_call_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = table(*(Cell(name="long", seed=seed, runs=(fake(steps=60, seed=seed),)) for seed in range(3)))

    def interrupt() -> None:
        wait = threading.Event()
        while len(list(tmp_path.glob("runs/**/last.ckpt"))) < 2:
            wait.wait(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=interrupt)
    thread.start()
    assert main(cells, ["--jobs", "2"], tmp_path) == 130
    thread.join()
    assert "the same command goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    assert not results(tmp_path)
    assert main(cells, ["--jobs", "3"], tmp_path) == 0
    began = sorted(json.loads(path.read_text())["began_at"] for path in tmp_path.glob("runs/**/test.json"))
    assert began[0] == 0 < began[1] < 60
    costs = [json.loads(path.read_text()) for path in tmp_path.glob("runs/experiments/whole/*.json")]
    assert all(cost["is_done"] and cost["wall_seconds"] > 2.5 for cost in costs)


def test_a_run_on_two_cores_waits_until_both_are_free(tmp_path: Path) -> None:
    """And is not passed by those behind it; alone it starts even where fewer are allowed."""
    cells = [Cell(name=name, runs=(fake(seed=seed, devices=cores),)) for seed, (name, cores) in enumerate(_CORES)]
    assert main(table(*cells), ["--jobs", "2"], tmp_path) == 0
    spans = {}
    for path in tmp_path.glob("runs/**/test.json"):
        test = json.loads(path.read_text())
        spans[test["metrics"]["accuracy"]] = test["from"], test["to"]
    first, both, last = (spans[accuracy] for accuracy in sorted(spans))
    assert first[1] < both[0] < both[1] < last[0]
    assert main(table(cells[1]), ["--jobs", "1", "--into", str(tmp_path / "new")], tmp_path) == 0


def test_cells_are_chosen_by_name_and_seed(tmp_path: Path) -> None:
    cells = table(*(Cell(name=name, seed=seed, runs=(fake(seed=seed, data=name),)) for name in "ab" for seed in (0, 1)))
    main(cells, ["--only", "b*", "--seeds", "1"], tmp_path)
    assert results(tmp_path).keys() == {"b-seed1"}
    with pytest.raises(SystemExit):
        main(cells, ["--only", "c"], tmp_path)


def test_runs_on_a_gpu_are_told_so_and_name_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.harness.gpu_name", lambda: "")
    with pytest.raises(SystemExit) as error:
        main(table(Cell(name="a", runs=(fake(),))), ["--root", str(tmp_path), "--gpu"], tmp_path)
    assert error.value.code == 2
    assert capsys.readouterr().err.endswith("error: --gpu: expected a GPU, but PyTorch finds none\n")
    for module in ("harness", "results"):
        monkeypatch.setattr(f"experiments.{module}.gpu_name", lambda: "a GPU")
    assert main(table(Cell(name="a", runs=(fake(),))), ["--root", str(tmp_path), "--gpu"], tmp_path) == 0
    assert [each["gpu"] for each in results(tmp_path)["a-seed0"]["machines"]] == ["a GPU"]
    ours = Run(command="pretrain", settings={"steps": 4}, minutes=0.1)
    on_gpu, on_cores = (Places(root=tmp_path, base=tmp_path, gpu=gpu).command(ours) for gpu in (True, False))
    assert on_gpu == [*on_cores, "--accelerator", "gpu", "--num-workers", "1"]


def test_another_scale_has_folders_of_its_own(tmp_path: Path) -> None:
    cell = Cell(name="plain", runs=(fake(steps=40),))
    main(table(cell), ["--scale", "0.1"], tmp_path)
    assert not results(tmp_path) and not (tmp_path / "docs").exists() and not runs(tmp_path)
    apart = tmp_path / "runs" / "experiments" / "scale-0.1"
    assert json.loads((apart / "results" / "fakes" / "plain-seed0.json").read_text())["steps"] == 4
    assert (apart / "docs" / "results.md").exists()


def test_a_set_that_is_not_there_fails_its_cells_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = table(Cell(name="away", runs=(fake(data=Data("cifar-10")),)), Cell(name="here", runs=(fake(),)))
    assert main(cells, ["--root", str(tmp_path / "sets")], tmp_path) == 1
    assert f"away-seed0 failed: cifar-10: expected the folder {tmp_path}/sets/CIFAR-10" in capsys.readouterr().err
    assert results(tmp_path).keys() == {"here-seed0"}


def test_a_run_that_another_call_is_doing_is_left_to_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = table(Cell(name="plain", runs=(fake(steps=20),)))
    codes = []
    both = [threading.Thread(target=lambda: codes.append(main(cells, [], tmp_path))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert codes == [0, 0]
    (log,) = tmp_path.glob("runs/experiments/whole/*.log")
    assert log.read_text().count("$ python") == 1
    assert capsys.readouterr().err.count("is being done by another call") == 1


def test_keys_follow_from_settings_and_not_from_folders() -> None:
    first, again, other = fake(seed=1), fake(seed=1), fake(seed=2)
    assert first == again and first.key == again.key and first != other
    assert fake(start=first).key != fake(start=other).key
    assert Run(command=FAKE, settings={"max_time": TimeOf((first,))}, minutes=1).key != first.key
    assert list(fake(start=first).before()) == [first]
    assert [run.settings.get("seed") for run in Cell(name="x", runs=(fake(start=first),)).all_runs()] == [1, None]


def test_a_run_that_ends_as_a_signal_comes_is_counted(tmp_path: Path) -> None:
    cell = Cell(name="plain", runs=(fake(steps=1),))
    harness = Harness(table(cell), [cell], Places(root=tmp_path, base=tmp_path), jobs=1)
    harness._start(cell.runs[0], cell)
    os.waitid(os.P_PID, harness.active[0].popen.pid, os.WEXITED | os.WNOWAIT)  # it has ended, nobody has seen it
    harness._stop(signal.SIGINT, None)
    harness._reap()
    cost = json.loads(next(tmp_path.glob("runs/experiments/whole/*.json")).read_text())
    assert not harness.active and cost["is_done"] and cost["core_seconds"] > 0


def test_processes_that_outlive_the_first_are_waited_for_and_counted(tmp_path: Path) -> None:
    cell = Cell(name="plain", runs=(fake(devices=2),))
    assert main(table(cell), ["--root", str(tmp_path)], tmp_path) == 0
    assert results(tmp_path)["plain-seed0"]["core_seconds"] > 1


def test_killing_a_run_reaches_processes_that_outlive_the_first(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        popen = subprocess.Popen(["sh", "-c", "sleep 1000 & echo $!"], stdout=subprocess.PIPE, start_new_session=True)
        assert popen.stdout is not None
        second = int(popen.stdout.readline())
        popen.stdout.close()
        run = Process(fake(), popen, lock, 0.0, {}, tmp_path / "log")
        os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
        run.reap()
        assert popen.returncode == 0
        run.send(signal.SIGINT)  # is for the first
        os.kill(second, 0)
        run.send(signal.SIGKILL)
        while not has_ended(second):
            time.sleep(0.01)
        run.send(signal.SIGKILL)  # nobody is left


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_what_nobody_counted_costs_what_it_trained(tmp_path: Path) -> None:
    """The call that began it was killed, and the process went on to its end."""
    cell = Cell(name="plain", runs=(fake(),))
    places = Places(root=tmp_path, base=tmp_path)
    folder = places.of(cell.runs[0])
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").write_text("2")
    (folder / "metrics.csv").write_text("step,seconds\n1,50\n2,100.0\n")
    write_json(places.of(cell.runs[0], ".json"), {"core_seconds": 10.0, "is_counted": False, "is_done": False})
    assert main(table(cell), [], tmp_path) == 0
    assert 100 <= results(tmp_path)["plain-seed0"]["core_seconds"] < 110


def test_a_result_names_the_code_of_all_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = iter(("one", "two", "three"))
    monkeypatch.setattr("experiments.harness.revision", lambda: next(codes))
    first = fake(break_at=2)
    cells = table(Cell(name="plain", runs=(fake(start=first, seed=1),)))
    assert main(cells, [], tmp_path) == 1
    assert main(cells, [], tmp_path) == 0
    assert results(tmp_path)["plain-seed0"]["revision"] == "one, two, three"


def test_another_folder_does_anew_what_has_a_result(tmp_path: Path) -> None:
    cells = table(Cell(name="plain", runs=(fake(),)))
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    main(cells, [], here)
    again = results(here)["plain-seed0"]["rerun"].split("--root ROOT ")[1].replace("NEW", str(there)).split()
    assert main(cells, again, here) == 0
    assert results(there)["plain-seed0"]["test"] == results(here)["plain-seed0"]["test"]
    assert len(runs(there)) == 1 and (there / "docs" / "results.md").exists()


def test_a_run_whose_folder_is_gone_is_done_again(tmp_path: Path) -> None:
    shared = fake()
    assert main(table(Cell(name="a", runs=(shared,))), [], tmp_path) == 0
    shutil.rmtree(runs(tmp_path)[0])
    assert main(table(Cell(name="b", runs=(shared,))), [], tmp_path) == 0
    assert results(tmp_path)["b-seed0"]["test"] == {"accuracy": 0.5}
