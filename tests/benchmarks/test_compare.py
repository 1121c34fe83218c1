"""Two checkouts side by side: the order of a round, the verdict, and a run that goes on."""

import json
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.compare import CELLS, Cell, difference, is_within
from benchmarks.guard import ROOT, Limits
from benchmarks.jobs import Answer

NAME = "hip-nano-32-8-inference"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder that looks like a checkout."""
    (tmp_path / "other" / "src" / "hiperceiver").mkdir(parents=True)
    return tmp_path / "other"


def made_up(other: Path, this: float, calls: list[str]):
    def run(cell: Cell, checkout: Path, limits: Limits) -> Answer:
        calls.append("other" if checkout == other else "this")
        value = 1.0 if checkout == other else this
        return Answer(status="measured", numbers={"seconds": value, "peak_bytes": 1e9 * value})

    return run


def rounds(other: list[float], this: list[float], again: list[float]) -> compare.Rounds:
    columns = zip(other, this, again, strict=True)
    return [{name: {"seconds": x} for name, x in zip(compare.SERIES, each, strict=True)} for each in columns]


def test_all_cells_are_there() -> None:
    assert len(CELLS) == 14
    assert {(each.model, each.side, each.batch) for each in CELLS.values()} == {
        *(("hip-16", 224, 1), ("hip-256", 2048, 1), ("hip-256", 4096, 1)),
        *(("hip-nano", side, batch) for side in (32, 64) for batch in (8, 64)),
    }


def test_the_verdict_allows_three_percent_or_twice_the_spread() -> None:
    quiet = rounds([1.0, 1.0, 1.2], [1.02, 1.02, 0.5], [1.0, 1.0, 0.8])
    assert difference(quiet, "seconds") == pytest.approx((0.02, 0.0))
    assert is_within(quiet, "seconds")
    assert not is_within(rounds([1.0], [1.04], [1.0]), "seconds")
    assert is_within(rounds([0.98], [1.06], [1.02]), "seconds")  # the other differs from itself by 4%
    assert not is_within(rounds([0.98], [1.1], [1.02]), "seconds")
    assert is_within(rounds([1.0], [0.5], [1.0]), "seconds")


@pytest.mark.parametrize(("this", "code", "verdict"), [(1.02, 0, "within"), (1.5, 1, "slower, larger")])
def test_a_run(
    this: float, code: int, verdict: str, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []
    options = ["--with", str(other), "--rounds", "2", "--cells", NAME, "--out", str(tmp_path / "out")]
    assert compare.main(options, made_up(other, this, calls)) == code
    assert calls == ["other", "this", "other"] * 2
    printed = capsys.readouterr()
    assert verdict in printed.out
    assert "round 2/2" in printed.err
    assert verdict in (tmp_path / "out" / "results.md").read_text()
    assert len(json.loads((tmp_path / "out" / f"{NAME}.json").read_text())["rounds"]) == 2


def test_an_interrupted_run_goes_on(other: Path, tmp_path: Path) -> None:
    calls: list[str] = []
    run = made_up(other, 1.0, calls)

    def interrupted(*arguments) -> Answer:
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run(*arguments)

    options = ["--with", str(other), "--rounds", "3", "--cells", NAME, "--out", str(tmp_path / "out")]
    with pytest.raises(KeyboardInterrupt):
        compare.main(options, interrupted)
    assert compare.main(options, run) == 0
    assert len(calls) == 9
    assert compare.main(options, run) == 0
    assert len(calls) == 9


def test_a_failure_is_not_a_success(other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--with", str(other), "--cells", NAME, "--out", str(tmp_path / "out")]
    assert compare.main(options, lambda *_: Answer(status="failed", note="no luck")) == 1
    assert "failed: no luck" in capsys.readouterr().err


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compare.main(["--with", str(tmp_path)])
    assert f"--with: expected a checkout with src/hiperceiver, got {str(tmp_path)!r}" in capsys.readouterr().err


def test_a_measurement_in_a_fresh_process() -> None:
    answer = compare.measure(CELLS["hip-nano-32-8-training"], ROOT, Limits(seconds=100.0, num_bytes=8e9))
    assert (answer.status, answer.note) == ("measured", "")
    assert answer.numbers["seconds"] > 0
    assert answer.numbers["peak_bytes"] > 1e8
